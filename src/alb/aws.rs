//! The real Elastic Load Balancing v2, through AWS's own SDK.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use aws_config::retry::RetryConfig;
use aws_config::timeout::TimeoutConfig;
use aws_config::{AppName, BehaviorVersion, Region};
use aws_sdk_elasticloadbalancingv2::types::{Rule as SdkRule, TargetHealthDescription, TargetHealthStateEnum};
use aws_sdk_elasticloadbalancingv2::{Client, Config};
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::{Error, LoadBalancer, Observation, Rule, RuleArn, Target, TargetGroupArn, Turn, Urgency, WeightedGroup};

/// How many rules one DescribeRules names. AWS documents no limit; this keeps a request small.
pub(super) const RULES_PER_CALL: usize = 20;

/// The SDK sets none of these by itself, and a host never gives up on a call.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(2);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(4);
const OPERATION_TIMEOUT: Duration = Duration::from_secs(12);

/// Clients of Elastic Load Balancing v2, one a region, made on first use. Every call is made once, at once: [`super::Shared`]
/// is for whoever calls more than a little.
#[derive(Debug, Default)]
pub struct Aws {
    clients: Mutex<HashMap<String, Client>>,
}

impl Aws {
    /// No client yet; credentials are looked up when the first call needs them, the way every AWS SDK does.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    async fn client(&self, region: &str) -> Client {
        let mut clients = self.clients.lock().await;
        if let Some(client) = clients.get(region) {
            return client.clone();
        }
        let mut config =
            aws_config::defaults(BehaviorVersion::v2026_01_12()).region(Region::new(region.to_owned())).timeout_config(
                TimeoutConfig::builder()
                    .connect_timeout(CONNECT_TIMEOUT)
                    .operation_attempt_timeout(ATTEMPT_TIMEOUT)
                    .operation_timeout(OPERATION_TIMEOUT)
                    .build(),
            );
        // CloudTrail shows the name as `app/rollouts-plugin-trafficrouter-alb`.
        if let Ok(name) = AppName::new(env!("CARGO_PKG_NAME")) {
            config = config.app_name(name);
        }
        // One attempt a call: whoever calls tries again, for a new token of the account's budget (`Shared`). The calls for
        // credentials keep the SDK's own retries.
        let config = config.load().await;
        let config = Config::from(&config).to_builder().retry_config(RetryConfig::disabled()).build();
        let client = Client::from_conf(config);
        clients.insert(region.to_owned(), client.clone());
        client
    }

    /// The rules of up to [`RULES_PER_CALL`] ARNs of one region.
    async fn describe(&self, arns: &[RuleArn]) -> Result<Vec<Rule>, Error> {
        let Some(first) = arns.first() else { return Ok(Vec::new()) };
        let names = || arns.iter().map(RuleArn::as_str).collect::<Vec<_>>().join(", ");
        let request = self.client(first.region()).await.describe_rules();
        let mut pages = request
            .set_rule_arns(Some(arns.iter().map(|arn| arn.as_str().to_owned()).collect()))
            .into_paginator()
            .send();
        let mut rules = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| Error::of("DescribeRules", names(), &error))?;
            rules.extend(page.rules().iter().filter_map(from_sdk));
        }
        Ok(rules)
    }
}

#[async_trait]
impl LoadBalancer for Aws {
    async fn observe(&self, arns: &[RuleArn], _: Instant) -> Result<Observation, Error> {
        let began = Instant::now();
        let mut seen = Vec::with_capacity(arns.len());
        for batch in batches(arns) {
            seen.extend(self.describe(&batch).await?);
        }
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
        let client = self.client(group.region()).await;
        let described = client.describe_target_groups().target_group_arns(group.as_str()).send().await;
        let described = described.map_err(|error| Error::of("DescribeTargetGroups", group.as_str(), &error))?;
        let mut rules = Vec::new();
        for balancer in described.target_groups().iter().flat_map(|group| group.load_balancer_arns()) {
            if !balancer.contains(":loadbalancer/app/") {
                let cause =
                    format!("{balancer} is not an Application Load Balancer; this version supports no other yet");
                return Err(Error::refused("DescribeListeners", group.as_str(), cause));
            }
            let mut listeners = client.describe_listeners().load_balancer_arn(balancer).into_paginator().items().send();
            while let Some(listener) = listeners.next().await {
                let listener = listener.map_err(|error| Error::of("DescribeListeners", balancer, &error))?;
                let Some(listener) = listener.listener_arn() else { continue };
                let mut pages = client.describe_rules().listener_arn(listener).into_paginator().send();
                while let Some(page) = pages.next().await {
                    let page = page.map_err(|error| Error::of("DescribeRules", listener, &error))?;
                    rules.extend(page.rules().iter().filter_map(from_sdk));
                }
            }
        }
        Ok(Observation { began, rules })
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
            let request = client.modify_listener().listener_arn(rule.arn().listener());
            let sent = request.set_default_actions(Some(actions("ModifyListener")?)).send().await;
            sent.map_err(|error| Error::of("ModifyListener", rule.arn().listener(), &error))?;
        } else {
            let request = client.modify_rule().rule_arn(rule.arn().as_str());
            let sent = request.set_actions(Some(actions("ModifyRule")?)).send().await;
            sent.map_err(|error| Error::of("ModifyRule", rule.arn().as_str(), &error))?;
        }
        Ok(())
    }

    async fn targets(&self, group: &TargetGroupArn, _: Instant) -> Result<Vec<Target>, Error> {
        let request = self.client(group.region()).await.describe_target_health().target_group_arn(group.as_str());
        let described = request.send().await;
        let described = described.map_err(|error| Error::of("DescribeTargetHealth", group.as_str(), &error))?;
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
}

/// Cuts the ARNs into calls: one region each, [`RULES_PER_CALL`] at most.
fn batches(arns: &[RuleArn]) -> Vec<Vec<RuleArn>> {
    let mut regions: Vec<Vec<RuleArn>> = Vec::new();
    for arn in arns {
        match regions.iter_mut().find(|batch| {
            batch.len() < RULES_PER_CALL && batch.first().is_some_and(|first| first.region() == arn.region())
        }) {
            Some(batch) => batch.push(arn.clone()),
            None => regions.push(vec![arn.clone()]),
        }
    }
    regions
}

fn from_sdk(rule: &SdkRule) -> Option<Rule> {
    let arn = RuleArn::from_aws(rule.rule_arn()?);
    Some(Rule::new(arn, rule.is_default().unwrap_or(false), rule.actions().to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_of_one_region_and_not_too_long() {
        let arn = |region: &str, number: usize| {
            RuleArn::from_aws(&format!("arn:aws:elasticloadbalancing:{region}:1:listener-rule/app/a/b/c/{number}"))
        };
        let mut arns: Vec<_> = (0..45).map(|number| arn("eu-west-1", number)).collect();
        arns.insert(7, arn("us-east-1", 0));
        let batches = batches(&arns);
        assert_eq!(batches.iter().map(Vec::len).sum::<usize>(), 46);
        assert!(batches.iter().all(|batch| {
            batch.len() <= RULES_PER_CALL && batch.iter().all(|arn| arn.region() == batch[0].region())
        }));
        assert_eq!(batches.len(), 4);
    }
}
