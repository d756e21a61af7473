//! Elastic Load Balancing as the router sees it, over the lab's account in this process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use lab::NoAnswer;
use lab::simulated::Forward;
use tokio::time::{Instant, sleep};
use trafficrouter_alb::alb::{
    Error, LoadBalancer, NewRule, Observation, Role, Rule, RuleArn, Tags, Target, TargetGroupArn, Turn, Urgency,
    WeightedGroup,
};

use super::case::Without;
use super::plugin::Life;
use super::world::{PORT, World};

/// What the journal calls the plugin.
pub(crate) const AGENT: &str = "plugin";

/// The longest way of a request or of an answer.
const WAY: Duration = Duration::from_millis(80);

/// The account, for one process.
#[derive(Debug)]
pub(crate) struct Balancer {
    world: Arc<World>,
    life: Life,
    /// What it believes of the rules, where a story wants it to look no more.
    memory: Option<Mutex<BTreeMap<String, Vec<WeightedGroup>>>>,
}

impl Balancer {
    pub(crate) fn new(world: Arc<World>, life: Life) -> Self {
        let memory = (world.case.without == Without::Freshness).then(Mutex::default);
        Self { world, life, memory }
    }

    /// One call: there, done, and back.
    async fn call<T>(
        &self,
        operation: &'static str,
        subject: &str,
        call: impl Future<Output = Result<T, NoAnswer>>,
    ) -> Result<T, Error> {
        self.life.goes_on().await;
        sleep(self.world.draw(WAY)).await;
        self.life.goes_on().await;
        let answer = call.await;
        sleep(self.world.draw(WAY)).await;
        answer.map_err(|error| match error {
            NoAnswer::Refused(error) => Error::answered(operation, subject, &error.code, &error.message),
            NoAnswer::Cut => Error::unanswered(operation, subject),
        })
    }

    fn remember(&self, rule: &str, groups: &[WeightedGroup]) {
        if let Some(memory) = &self.memory {
            memory.lock().unwrap().insert(rule.to_owned(), groups.to_vec());
        }
    }

    fn remembered(&self, rules: &[RuleArn]) -> Option<Vec<Rule>> {
        let memory = self.memory.as_ref()?.lock().unwrap();
        let rule = |arn: &RuleArn| Some(Rule::forwarding(arn.clone(), memory.get(arn.as_str())?));
        rules.iter().map(rule).collect()
    }
}

#[async_trait]
impl LoadBalancer for Balancer {
    async fn observe(&self, rules: &[RuleArn], _: Instant) -> Result<Observation, Error> {
        let began = Instant::now();
        if let Some(rules) = self.remembered(rules) {
            return Ok(Observation { began, rules });
        }
        let arns: Vec<String> = rules.iter().map(|arn| arn.as_str().to_owned()).collect();
        let found = self.call("DescribeRules", &arns.join(", "), self.world.balancer.rules(AGENT, &arns)).await?;
        let rules: Vec<Rule> = found.iter().map(rule).collect();
        rules.iter().for_each(|rule| self.remember(rule.arn().as_str(), &rule.groups()));
        Ok(Observation { began, rules })
    }

    async fn rules_around(&self, group: &TargetGroupArn) -> Result<Observation, Error> {
        let began = Instant::now();
        let found = self.call("DescribeRules", group.as_str(), self.world.balancer.all_rules(AGENT)).await?;
        Ok(Observation { began, rules: found.iter().map(rule).collect() })
    }

    async fn turn(&self, _: &RuleArn, _: Urgency) -> Turn {
        Turn::free()
    }

    async fn set_weights(&self, rule: &Rule, groups: &[WeightedGroup], _: Turn) -> Result<(), Error> {
        let arn = rule.arn().as_str();
        self.remember(arn, groups);
        let weights: Vec<(String, u16)> = groups
            .iter()
            .map(|held| (held.group.as_str().to_owned(), u16::try_from(held.weight).unwrap_or(u16::MAX)))
            .collect();
        self.call("ModifyRule", arn, self.world.balancer.set_weights(AGENT, arn, &weights)).await
    }

    async fn targets(&self, group: &TargetGroupArn, _: Instant) -> Result<Vec<Target>, Error> {
        let call = self.world.balancer.targets(AGENT, group.as_str());
        let found = self.call("DescribeTargetHealth", group.as_str(), call).await?;
        let target =
            |target: lab::simulated::Health| Target { id: target.address, port: Some(PORT), healthy: target.healthy };
        Ok(found.into_iter().map(target).collect())
    }

    async fn tags(&self, _: &[String]) -> Result<Vec<Tags>, Error> {
        unreachable!("the rules are named")
    }

    async fn add_rule(&self, _: &NewRule) -> Result<RuleArn, Error> {
        unreachable!("the rules are named")
    }

    async fn remove_rule(&self, _: &RuleArn) -> Result<(), Error> {
        unreachable!("the rules are named")
    }

    fn assuming(self: Arc<Self>, _: &Role) -> Arc<dyn LoadBalancer> {
        unreachable!("no role is named")
    }
}

fn rule(found: &Forward) -> Rule {
    let groups: Vec<WeightedGroup> = found
        .groups
        .iter()
        .map(|(group, weight)| WeightedGroup { group: group.parse().expect("an ARN"), weight: u32::from(*weight) })
        .collect();
    Rule::forwarding(found.rule.parse().expect("an ARN"), &groups)
}
