//! The real Elastic Load Balancing v2, through AWS's own SDK.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::sync::Arc;

use async_trait::async_trait;
use aws_config::SdkConfig;
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_elasticloadbalancingv2::types::{Tag, TargetHealthDescription, TargetHealthStateEnum};
use tokio::time::Instant;

use self::clients::Clients;
use super::{
    Error, ErrorKind, LoadBalancer, NewRule, Observation, Role, Rule, RuleArn, Tags, Target, TargetGroupArn, Turn,
    Urgency, WeightedGroup, arn,
};

mod clients;
mod find;

/// How many rules one DescribeRules names. AWS documents no limit; this keeps a request small.
pub(super) const RULES_PER_CALL: usize = 20;
/// How many resources one DescribeTags names at most (API reference, `DescribeTags`).
pub(super) const TAGS_PER_CALL: usize = 20;

/// Elastic Load Balancing v2 in the name of the process, or of a role. Every call is made once, at once: [`super::Shared`] is
/// for whoever calls more than a little.
#[derive(Debug, Default)]
pub struct Aws {
    clients: Arc<Clients>,
    role: Option<Role>,
}

impl Aws {
    /// No client yet; credentials are looked up when the first call needs them, the way every AWS SDK does.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// With the endpoint and the credentials of `config` instead of those that the environment names. Its region does not
    /// matter: each call goes to the region of what it is about.
    #[must_use]
    pub fn with_config(config: SdkConfig) -> Self {
        Self { clients: Arc::new(Clients::with_config(config)), role: None }
    }

    async fn client(&self, region: &str) -> Arc<Client> {
        self.clients.client(region, self.role.as_ref()).await
    }

    fn failed<E, R>(&self, operation: &'static str, subject: &str, error: &SdkError<E, R>) -> Error
    where
        E: ProvideErrorMetadata + StdError + 'static,
        R: std::fmt::Debug,
    {
        Error::of(operation, subject, self.role.as_ref(), error)
    }
}

#[async_trait]
impl LoadBalancer for Aws {
    async fn observe(&self, arns: &[RuleArn], _: Instant) -> Result<Observation, Error> {
        let began = Instant::now();
        let seen = self.rules(arns).await?;
        // AWS answers in an order of its own.
        let rules = arns.iter().map(|arn| {
            seen.iter()
                .find(|rule| rule.arn() == arn)
                .cloned()
                .ok_or_else(|| Error::refused("DescribeRules", arn.as_str(), "AWS's answer did not contain the rule"))
        });
        Ok(Observation { began, rules: rules.collect::<Result<_, _>>()? })
    }

    async fn rules_around(&self, group: &TargetGroupArn) -> Result<Observation, Error> {
        let began = Instant::now();
        Ok(Observation { began, rules: self.around(group).await? })
    }

    async fn turn(&self, _: &RuleArn, _: Urgency) -> Turn {
        Turn::free()
    }

    async fn set_weights(&self, rule: &Rule, groups: &[WeightedGroup], _: Turn) -> Result<(), Error> {
        let client = self.client(rule.arn().region()).await;
        let actions = |operation| {
            let actions = rule.actions_with(groups);
            actions.map_err(|unknown| Error::refused(operation, rule.arn().as_str(), unknown.to_string()))
        };
        if rule.is_default() {
            // ModifyRule refuses a default rule (API reference, "ModifyRule": OperationNotPermitted).
            let listener = rule.arn().listener();
            let request = client.modify_listener().listener_arn(&listener);
            let sent = request.set_default_actions(Some(actions("ModifyListener")?)).send().await;
            sent.map_err(|error| self.failed("ModifyListener", &listener, &error))?;
        } else {
            let request = client.modify_rule().rule_arn(rule.arn().as_str());
            let sent = request.set_actions(Some(actions("ModifyRule")?)).send().await;
            sent.map_err(|error| self.failed("ModifyRule", rule.arn().as_str(), &error))?;
        }
        Ok(())
    }

    async fn targets(&self, group: &TargetGroupArn, _: Instant) -> Result<Vec<Target>, Error> {
        let request = self.client(group.region()).await.describe_target_health().target_group_arn(group.as_str());
        let described = request.send().await;
        let described = described.map_err(|error| self.failed("DescribeTargetHealth", group.as_str(), &error))?;
        let target = |health: &TargetHealthDescription| {
            let target = health.target()?;
            let state = health.target_health().and_then(|health| health.state());
            Some(Target {
                id: target.id()?.to_owned(),
                port: target.port().and_then(|port| u16::try_from(port).ok()),
                healthy: state == Some(&TargetHealthStateEnum::Healthy),
            })
        };
        Ok(described.target_health_descriptions().iter().filter_map(target).collect())
    }

    async fn tags(&self, arns: &[String]) -> Result<Vec<Tags>, Error> {
        let mut seen: HashMap<String, Tags> = HashMap::with_capacity(arns.len());
        for (region, batch) in batches(arns.iter().map(String::as_str), TAGS_PER_CALL) {
            let names = batch.join(", ");
            if region.is_empty() {
                return Err(Error::refused("DescribeTags", names, "this is not the ARN of a load balancer's resource"));
            }
            let request = self.client(&region).await.describe_tags().set_resource_arns(Some(batch));
            let described = request.send().await.map_err(|error| self.failed("DescribeTags", &names, &error))?;
            let described = described.tag_descriptions.unwrap_or_default().into_iter();
            seen.extend(described.filter_map(|described| {
                let tags = described.tags().iter().map(|tag| {
                    let key = tag.key().unwrap_or_default();
                    (key.to_owned(), tag.value().unwrap_or_default().to_owned())
                });
                Some((described.resource_arn()?.to_owned(), tags.collect()))
            }));
        }
        let tags = arns.iter().map(|arn| {
            let missing = || Error::refused("DescribeTags", arn.as_str(), "AWS's answer did not contain the resource");
            seen.get(arn).cloned().ok_or_else(missing)
        });
        tags.collect()
    }

    async fn add_rule(&self, rule: &NewRule) -> Result<RuleArn, Error> {
        const OPERATION: &str = "CreateRule";
        let before = rule.before.arn();
        let refused = |cause: String| Error::refused(OPERATION, format!("a rule before {before}"), cause);
        let priority =
            i32::try_from(rule.priority).map_err(|_| refused(format!("{} is no priority", rule.priority)))?;
        let tags = rule.tags.iter().map(|(key, value)| Tag::builder().key(key).value(value).build());
        let request = self.client(before.region()).await.create_rule().listener_arn(before.listener());
        let request = request
            .priority(priority)
            .set_conditions(Some(rule.conditions().map_err(|refusal| refused(refusal.to_string()))?))
            .set_actions(Some(rule.actions().map_err(|refusal| refused(refusal.to_string()))?))
            // What is rewritten for the rule before which it comes, its targets expect rewritten.
            .set_transforms(Some(rule.before.transforms().to_vec()).filter(|transforms| !transforms.is_empty()))
            .set_tags(Some(tags.collect::<Vec<_>>()).filter(|tags| !tags.is_empty()));
        let made = request.send().await;
        let made = made.map_err(|error| self.failed(OPERATION, &format!("a rule before {before}"), &error))?;
        let made = made.rules().first().and_then(|made| made.rule_arn()).map(RuleArn::from_aws);
        made.ok_or_else(|| refused("AWS's answer did not contain the rule".to_owned()))
    }

    async fn remove_rule(&self, rule: &RuleArn) -> Result<(), Error> {
        let sent = self.client(rule.region()).await.delete_rule().rule_arn(rule.as_str()).send().await;
        match sent.map_err(|error| self.failed("DeleteRule", rule.as_str(), &error)) {
            Err(error) if error.kind() != ErrorKind::Missing => Err(error),
            _ => Ok(()),
        }
    }

    fn assuming(self: Arc<Self>, role: &Role) -> Arc<dyn LoadBalancer> {
        Arc::new(Self { clients: Arc::clone(&self.clients), role: Some(role.clone()) })
    }
}

/// Cuts the ARNs into calls: one region each, `most` ARNs at most.
fn batches<'a>(arns: impl Iterator<Item = &'a str>, most: usize) -> Vec<(String, Vec<String>)> {
    let mut batches: Vec<(String, Vec<String>)> = Vec::new();
    for text in arns {
        let (region, _) = arn::home(text);
        match batches.iter_mut().find(|(of, batch)| batch.len() < most && of == region) {
            Some((_, batch)) => batch.push(text.to_owned()),
            None => batches.push((region.to_owned(), vec![text.to_owned()])),
        }
    }
    batches
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_of_one_region_and_not_too_long() {
        let arn = |region: &str, number: usize| {
            format!("arn:aws:elasticloadbalancing:{region}:1:listener-rule/app/a/b/c/{number}")
        };
        let mut arns: Vec<_> = (0..45).map(|number| arn("eu-west-1", number)).collect();
        arns.insert(7, arn("us-east-1", 0));
        let batches = batches(arns.iter().map(String::as_str), 20);
        assert_eq!(batches.iter().map(|(_, batch)| batch.len()).sum::<usize>(), 46);
        assert!(
            batches
                .iter()
                .all(|(region, batch)| { batch.len() <= 20 && batch.iter().all(|text| arn::home(text).0 == region) })
        );
        assert_eq!(batches.len(), 4);
    }
}
