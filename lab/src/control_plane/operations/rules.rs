//! CreateRule, DescribeRules, ModifyRule, DeleteRule.

use serde::{Deserialize, Serialize};

use crate::control_plane::error::ApiError;
use crate::control_plane::model::arn::{self, Kind};
use crate::control_plane::model::shapes::{Action, Condition, Tag, Transform};
use crate::control_plane::model::{Account, Priority, Rule, Tags};
use crate::control_plane::operations::pages::page;
use crate::control_plane::operations::{Nothing, Read, Write, Written};
use crate::control_plane::validate;

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct CreateRule {
    pub(crate) listener_arn: String,
    pub(crate) priority: u16,
    #[serde(default)]
    pub(crate) conditions: Vec<Condition>,
    #[serde(default)]
    pub(crate) actions: Vec<Action>,
    #[serde(default)]
    pub(crate) transforms: Vec<Transform>,
    #[serde(default)]
    pub(crate) tags: Vec<Tag>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DescribeRules {
    pub(crate) listener_arn: Option<String>,
    #[serde(default)]
    pub(crate) rule_arns: Vec<String>,
    pub(crate) marker: Option<String>,
    pub(crate) page_size: Option<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct ModifyRule {
    pub(crate) rule_arn: String,
    #[serde(default)]
    pub(crate) conditions: Vec<Condition>,
    #[serde(default)]
    pub(crate) actions: Vec<Action>,
    #[serde(default)]
    pub(crate) transforms: Vec<Transform>,
    pub(crate) reset_transforms: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DeleteRule {
    pub(crate) rule_arn: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Rules {
    pub(crate) rules: Vec<Rule>,
    pub(crate) next_marker: Option<String>,
}

impl Write for CreateRule {
    type Output = Rules;

    fn write(self, account: &mut Account) -> Result<Written<Rules>, ApiError> {
        let listener = account.listener(&self.listener_arn)?;
        let load_balancer_arn = listener.load_balancer_arn.clone();
        validate::priority(self.priority)?;
        let conditions = validate::conditions(self.conditions)?;
        let actions = validate::actions(self.actions, listener.protocol, &[])?;
        let transforms = validate::transforms(self.transforms)?;
        validate::target_groups(account, &load_balancer_arn, &actions)?;
        let priority = Priority::At(self.priority);
        if account.rules_of(&self.listener_arn).iter().any(|rule| rule.priority == priority) {
            return Err(ApiError::new("PriorityInUse", format!("Priority '{}' is currently in use", self.priority)));
        }
        let of_load_balancer = account
            .rules
            .iter()
            .filter(|rule| !rule.is_default && account.load_balancer_of(rule) == Some(&load_balancer_arn));
        if of_load_balancer.count() >= account.limits.rules_per_load_balancer {
            return Err(ApiError::new(
                "TooManyRules",
                format!("The maximum number of rules has been reached for load balancer '{load_balancer_arn}'"),
            ));
        }
        let rule = Rule {
            arn: arn::below(&self.listener_arn, Kind::Rule, &account.ids.next()),
            priority,
            conditions,
            actions,
            transforms,
            is_default: false,
            listener_arn: self.listener_arn,
            tags: validate::tags(&Tags::new(), &self.tags)?,
        };
        account.rules.push(rule.clone());
        let touched = [rule.arn.clone()];
        Ok(Written::new(one(rule), touched))
    }
}

impl Read for DescribeRules {
    type Output = Rules;

    /// By listener: in the order of evaluation. By ARN: in the order asked for; AWS promises none.
    fn read(self, account: &Account) -> Result<Rules, ApiError> {
        let found: Vec<&Rule> = match (&self.listener_arn, self.rule_arns.as_slice()) {
            (Some(listener), []) => account.rules_of(&account.listener(listener)?.arn),
            (None, arns) if !arns.is_empty() => arns.iter().map(|arn| account.rule(arn)).collect::<Result<_, _>>()?,
            _ => return Err(ApiError::validation("You must specify either listener rule ARNs or a listener ARN")),
        };
        let (found, next_marker) = page(found, self.page_size, self.marker.as_deref(), account.limits.page_size)?;
        Ok(Rules { rules: found.into_iter().cloned().collect(), next_marker })
    }
}

impl Write for ModifyRule {
    type Output = Rules;

    /// What is not specified stays; what is specified is replaced as a whole. An empty list counts as not specified.
    fn write(self, account: &mut Account) -> Result<Written<Rules>, ApiError> {
        let rule = account.rule(&self.rule_arn)?.clone();
        if rule.is_default {
            return Err(not_permitted(&rule, "modified"));
        }
        let listener = account.listener(&rule.listener_arn)?;
        let resets = self.reset_transforms.unwrap_or(false);
        if self.conditions.is_empty() && self.actions.is_empty() && self.transforms.is_empty() && !resets {
            return Err(ApiError::validation("At least one of conditions, actions and transforms must be specified"));
        }
        if resets && !self.transforms.is_empty() {
            return Err(ApiError::validation("Transforms and ResetTransforms cannot both be specified"));
        }
        let mut changed = rule.clone();
        if !self.conditions.is_empty() {
            changed.conditions = validate::conditions(self.conditions)?;
        }
        if !self.actions.is_empty() {
            changed.actions = validate::actions(self.actions, listener.protocol, &rule.actions)?;
            validate::target_groups(account, &listener.load_balancer_arn, &changed.actions)?;
        }
        if resets || !self.transforms.is_empty() {
            changed.transforms = validate::transforms(self.transforms)?;
        }
        *account.rule_mut(&rule.arn)? = changed.clone();
        Ok(Written::new(one(changed), [rule.arn]))
    }
}

impl Write for DeleteRule {
    type Output = Nothing;

    fn write(self, account: &mut Account) -> Result<Written<Nothing>, ApiError> {
        let rule = account.rule(&self.rule_arn)?;
        if rule.is_default {
            return Err(not_permitted(rule, "deleted"));
        }
        account.rules.retain(|rule| rule.arn != self.rule_arn);
        Ok(Written::new(Nothing {}, [self.rule_arn]))
    }
}

fn one(rule: Rule) -> Rules {
    Rules { rules: vec![rule], next_marker: None }
}

fn not_permitted(rule: &Rule, what: &str) -> ApiError {
    ApiError::new("OperationNotPermitted", format!("Default rule '{}' cannot be {what}", rule.arn))
}
