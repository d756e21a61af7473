//! Reads of rules: by their names, or all around a target group.

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::Listener;

use super::{Aws, RULES_PER_CALL, batches};
use crate::alb::{Error, Rule, RuleArn, TargetGroupArn};

impl Aws {
    /// The rules of these ARNs, in AWS's order. Those that AWS's answer leaves out are missing.
    pub(super) async fn rules(&self, arns: &[RuleArn]) -> Result<Vec<Rule>, Error> {
        let mut seen = Vec::with_capacity(arns.len());
        let (listeners, rules): (Vec<&RuleArn>, Vec<&RuleArn>) = arns.iter().partition(|arn| arn.is_listener());
        for (region, batch) in batches(rules.into_iter().map(RuleArn::as_str), RULES_PER_CALL) {
            seen.extend(self.rules_named(&*self.client(&region).await, batch).await?);
        }
        for (region, batch) in batches(listeners.into_iter().map(RuleArn::as_str), RULES_PER_CALL) {
            seen.extend(self.default_actions_of(&*self.client(&region).await, batch).await?);
        }
        Ok(seen)
    }

    async fn rules_named(&self, client: &Client, arns: Vec<String>) -> Result<Vec<Rule>, Error> {
        let names = arns.join(", ");
        let mut pages = client.describe_rules().set_rule_arns(Some(arns)).into_paginator().send();
        let mut rules = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed("DescribeRules", &names, &error))?;
            rules.extend(page.rules().iter().filter_map(Rule::from_sdk));
        }
        Ok(rules)
    }

    async fn default_actions_of(&self, client: &Client, listeners: Vec<String>) -> Result<Vec<Rule>, Error> {
        let names = listeners.join(", ");
        let mut pages = client.describe_listeners().set_listener_arns(Some(listeners)).into_paginator().send();
        let mut rules = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed("DescribeListeners", &names, &error))?;
            rules.extend(page.listeners().iter().filter_map(Rule::default_of));
        }
        Ok(rules)
    }

    /// Every rule of every listener of the load balancers of a target group.
    pub(super) async fn around(&self, group: &TargetGroupArn) -> Result<Vec<Rule>, Error> {
        let client = self.client(group.region()).await;
        let described = client.describe_target_groups().target_group_arns(group.as_str()).send().await;
        let described = described.map_err(|error| self.failed("DescribeTargetGroups", group.as_str(), &error))?;
        let mut rules = Vec::new();
        for balancer in described.target_groups().iter().flat_map(|group| group.load_balancer_arns()) {
            let mut listeners = client.describe_listeners().load_balancer_arn(balancer).into_paginator().items().send();
            while let Some(listener) = listeners.next().await {
                let listener = listener.map_err(|error| self.failed("DescribeListeners", balancer, &error))?;
                rules.extend(self.rules_of(&client, &listener).await?);
            }
        }
        Ok(rules)
    }

    async fn rules_of(&self, client: &Client, listener: &Listener) -> Result<Vec<Rule>, Error> {
        let Some(arn) = listener.listener_arn() else { return Ok(Vec::new()) };
        let mut pages = client.describe_rules().listener_arn(arn).into_paginator().send();
        let mut rules = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.map_err(|error| self.failed("DescribeRules", arn, &error))?;
            rules.extend(page.rules().iter().filter_map(Rule::from_sdk));
        }
        Ok(with_default(rules, listener))
    }
}

/// The rules of a listener with its default action among them. AWS documents the default rule for Application Load Balancers
/// only, and the default actions in DescribeListeners for all: where no rule shows it, the listener does.
fn with_default(mut rules: Vec<Rule>, listener: &Listener) -> Vec<Rule> {
    if !rules.iter().any(Rule::is_default) {
        rules.extend(Rule::default_of(listener));
    }
    rules
}

#[cfg(test)]
mod tests {
    use aws_config::BehaviorVersion;
    use aws_credential_types::Credentials;
    use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum};
    use lab::{Lab, LabConfig};
    use tokio::time::Instant;

    use super::*;
    use crate::alb::{ErrorKind, LoadBalancer as _, Turn, WeightedGroup};

    #[test]
    fn a_default_action_is_there_once() {
        let arn = "arn:aws:elasticloadbalancing:eu-west-1:1:listener/net/web/a/b";
        let forward = Action::builder().r#type(ActionTypeEnum::Forward).build();
        let listener = Listener::builder().listener_arn(arn).default_actions(forward).build();
        let rule = |number: u32| {
            let arn = format!("arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/net/web/a/b/{number}");
            Rule::forwarding(arn.parse().unwrap(), &[])
        };
        let rules = with_default(vec![rule(1).with_priority(7)], &listener);
        assert_eq!((rules.len(), rules[1].arn().as_str(), rules[1].is_default()), (2, arn, true));
        assert_eq!(with_default(vec![rule(2).into_default()], &listener), [rule(2).into_default()]);
    }

    #[tokio::test]
    async fn a_default_action_that_no_rule_shows_is_read_and_changed_by_its_listener() {
        let lab = Lab::start(LabConfig::default()).await.unwrap();
        let shop = lab::scenario::two_listeners(&lab).unwrap();
        let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
            .endpoint_url(lab.endpoint())
            .credentials_provider(Credentials::new("lab", "secret", None, None, "test"));
        let aws = Aws::with_config(config.load().await);
        let default = RuleArn::from_aws(&shop.http_listener);
        let group = |arn: &str, weight| WeightedGroup { group: arn.parse().unwrap(), weight };
        let wanted = [group(&shop.stable, 30), group(&shop.canary, 70)];
        let unread = Rule::forwarding(default.clone(), &wanted).into_default();
        aws.set_weights(&unread, &wanted, Turn::free()).await.unwrap();
        let both = [default.clone(), RuleArn::from_aws(&shop.http_rule)];
        let seen = aws.observe(&both, Instant::now()).await.unwrap().rules;
        assert_eq!(seen.iter().map(Rule::arn).collect::<Vec<_>>(), both.iter().collect::<Vec<_>>());
        assert!(seen[0].is_default() && !seen[1].is_default());
        assert_eq!(seen[0].groups(), wanted);
        let gone = RuleArn::from_aws(&format!("{}aa", &shop.http_listener[..shop.http_listener.len() - 2]));
        let error = aws.observe(&[gone], Instant::now()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Missing, "{error}");
        assert!(error.to_string().contains("DescribeListeners of"), "{error}");
    }
}
