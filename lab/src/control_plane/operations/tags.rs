//! AddTags, RemoveTags, DescribeTags.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::control_plane::error::ApiError;
use crate::control_plane::model::Account;
use crate::control_plane::model::shapes::Tag;
use crate::control_plane::operations::{Nothing, Read, Write, Written};
use crate::control_plane::validate;

/// "You can specify up to 20 resources in a single call" (API reference, DescribeTags).
const MAX_RESOURCES: usize = 20;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct AddTags {
    pub(crate) resource_arns: Vec<String>,
    pub(crate) tags: Vec<Tag>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct RemoveTags {
    pub(crate) resource_arns: Vec<String>,
    pub(crate) tag_keys: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DescribeTags {
    pub(crate) resource_arns: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagDescriptions {
    pub(crate) tag_descriptions: Vec<TagDescription>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagDescription {
    pub(crate) resource_arn: String,
    pub(crate) tags: Vec<Tag>,
}

impl Write for AddTags {
    type Output = Nothing;

    fn write(self, account: &mut Account) -> Result<Written<Nothing>, ApiError> {
        resources(&self.resource_arns)?;
        for arn in &self.resource_arns {
            let tags = account.tags_mut(arn)?;
            *tags = validate::tags(tags, &self.tags)?;
        }
        Ok(Written::new(Nothing {}, self.resource_arns))
    }
}

impl Write for RemoveTags {
    type Output = Nothing;

    fn write(self, account: &mut Account) -> Result<Written<Nothing>, ApiError> {
        resources(&self.resource_arns)?;
        for arn in &self.resource_arns {
            account.tags_mut(arn)?.retain(|key, _| !self.tag_keys.contains(key));
        }
        Ok(Written::new(Nothing {}, self.resource_arns))
    }
}

impl Read for DescribeTags {
    type Output = TagDescriptions;

    fn read(self, account: &Account, _now: SystemTime) -> Result<TagDescriptions, ApiError> {
        resources(&self.resource_arns)?;
        let mut tag_descriptions = Vec::with_capacity(self.resource_arns.len());
        for resource_arn in self.resource_arns {
            let tags = account.tags(&resource_arn)?;
            let tags = tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect();
            tag_descriptions.push(TagDescription { resource_arn, tags });
        }
        Ok(TagDescriptions { tag_descriptions })
    }
}

fn resources(arns: &[String]) -> Result<(), ApiError> {
    match arns.len() {
        0 => Err(ApiError::validation("At least one resource ARN must be specified")),
        count if count > MAX_RESOURCES => Err(ApiError::validation(format!(
            "{count} resource ARNs are specified, but at most {MAX_RESOURCES} can be"
        ))),
        _ => Ok(()),
    }
}
