//! AWS in memory: rules, a bucket of its own for each kind of call, and answers that take their time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use crate::alb::{
    Error, ErrorKind, LoadBalancer, Observation, Rule, RuleArn, Target, TargetGroupArn, Turn, Urgency, WeightedGroup,
};

/// AWS's bucket for writes, see `BucketSize::MODIFY`.
pub(super) const BURST: f64 = 20.0;
pub(super) const PER_SECOND: f64 = 3.0;

#[derive(Debug)]
pub(super) struct FakeAws(Mutex<State>);

#[derive(Debug)]
pub(super) struct State {
    rng: fastrand::Rng,
    /// Rules that exist, with the weight of their only group.
    rules: BTreeMap<RuleArn, u32>,
    /// A rule shows when it was looked at, in milliseconds after this, instead of its weight.
    pub(super) shows_time_since: Option<Instant>,
    /// How the next calls of an operation end.
    pub(super) failures: HashMap<&'static str, Vec<Failure>>,
    pub(super) delay: std::ops::Range<u64>,
    tokens: f64,
    refilled: Instant,
    /// What DescribeRules was asked for, call by call.
    pub(super) looks: Vec<Vec<RuleArn>>,
    pub(super) looks_around: usize,
    pub(super) looks_at_targets: usize,
    /// Writes in the order they were taken.
    pub(super) written: Vec<RuleArn>,
    pub(super) throttled: usize,
}

#[derive(Clone, Copy, Debug)]
pub(super) enum Failure {
    Kind(ErrorKind, &'static str),
    Panic,
}

pub(super) fn rule(number: usize) -> RuleArn {
    format!("arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/web/a/b/{number}").parse().unwrap()
}

pub(super) fn rules(count: usize) -> Vec<RuleArn> {
    (0..count).map(rule).collect()
}

pub(super) fn group(number: usize) -> TargetGroupArn {
    format!("arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/g{number}/1").parse().unwrap()
}

pub(super) fn weight(weight: u32) -> Vec<WeightedGroup> {
    vec![WeightedGroup { group: group(0), weight }]
}

impl FakeAws {
    pub(super) fn new(count: usize, seed: u64) -> Arc<Self> {
        Arc::new(Self(Mutex::new(State {
            rng: fastrand::Rng::with_seed(seed),
            rules: rules(count).into_iter().map(|rule| (rule, 0)).collect(),
            shows_time_since: None,
            failures: HashMap::new(),
            delay: 20..120,
            tokens: BURST,
            refilled: Instant::now(),
            looks: Vec::new(),
            looks_around: 0,
            looks_at_targets: 0,
            written: Vec::new(),
            throttled: 0,
        })))
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    pub(super) fn all_rules(&self) -> Vec<RuleArn> {
        rules(self.state().rules.len())
    }

    /// Another tool writes: it draws from the same bucket, and does not care about us. False when it was throttled.
    pub(super) fn another_tool_writes(&self) -> bool {
        self.state().draw()
    }

    /// Somebody else changes a rule.
    pub(super) fn change(&self, rule: &RuleArn, weight: u32) {
        self.state().rules.insert(rule.clone(), weight);
    }

    pub(super) fn delete(&self, rule: &RuleArn) {
        self.state().rules.remove(rule);
    }

    pub(super) fn weight_of(&self, rule: &RuleArn) -> u32 {
        self.state().rules[rule]
    }

    /// A rule as it is now.
    pub(super) fn read(&self, rule: &RuleArn) -> Rule {
        Rule::forwarding(rule.clone(), &weight(self.weight_of(rule)))
    }

    /// One way over the network.
    async fn travel(&self) {
        let delay = {
            let mut state = self.state();
            let range = state.delay.clone();
            state.rng.u64(range)
        };
        sleep(Duration::from_millis(delay)).await;
    }

    /// Goes there, and fails where a failure was ordered.
    async fn begin(&self, operation: &'static str) -> Result<(), Error> {
        self.travel().await;
        let failure = self.state().failures.get_mut(operation).and_then(Vec::pop);
        match failure {
            None => Ok(()),
            Some(Failure::Kind(kind, code)) => Err(Error::fake(kind, operation, code)),
            Some(Failure::Panic) => panic!("as ordered"),
        }
    }
}

impl State {
    fn draw(&mut self) -> bool {
        let now = Instant::now();
        let earned = (now - self.refilled).as_secs_f64() * PER_SECOND;
        self.tokens = (self.tokens + earned).min(BURST);
        self.refilled = now;
        let enough = self.tokens >= 1.0;
        self.tokens -= if enough { 1.0 } else { 0.0 };
        enough
    }
}

#[async_trait]
impl LoadBalancer for FakeAws {
    async fn observe(&self, rules: &[RuleArn], _: Instant) -> Result<Observation, Error> {
        let began = Instant::now();
        self.state().looks.push(rules.to_vec());
        self.begin("observe").await?;
        let seen: Result<Vec<Rule>, Error> = {
            let state = self.state();
            let time = state.shows_time_since.map(|since| u32::try_from(since.elapsed().as_millis()).unwrap());
            let seen = rules.iter().map(|arn| match state.rules.get(arn) {
                Some(shown) => Ok(Rule::forwarding(arn.clone(), &weight(time.unwrap_or(*shown)))),
                None => Err(Error::fake(ErrorKind::Missing, "one of them", "RuleNotFound")),
            });
            seen.collect()
        };
        self.travel().await;
        Ok(Observation { began, rules: seen? })
    }

    async fn rules_around(&self, _: &TargetGroupArn) -> Result<Observation, Error> {
        let began = Instant::now();
        self.state().looks_around += 1;
        self.begin("look around").await?;
        let groups: Vec<_> = (0..5).map(|number| WeightedGroup { group: group(number), weight: 1 }).collect();
        Ok(Observation { began, rules: vec![Rule::forwarding(rule(0), &groups)] })
    }

    async fn turn(&self, _: &RuleArn, _: Urgency) -> Turn {
        Turn::free()
    }

    async fn set_weights(&self, rule: &Rule, groups: &[WeightedGroup], _: Turn) -> Result<(), Error> {
        self.begin("write").await?;
        {
            let mut state = self.state();
            if !state.draw() {
                state.throttled += 1;
                return Err(Error::fake(ErrorKind::Transient, rule.arn().as_str(), "Throttling"));
            }
            let set = groups.iter().find(|set| set.group == group(0)).unwrap().weight;
            state.rules.insert(rule.arn().clone(), set);
            state.written.push(rule.arn().clone());
        }
        self.travel().await;
        Ok(())
    }

    async fn targets(&self, group: &TargetGroupArn, _: Instant) -> Result<Vec<Target>, Error> {
        self.state().looks_at_targets += 1;
        self.begin("targets").await?;
        Ok(vec![Target { id: group.as_str().to_owned(), port: Some(80), healthy: true }])
    }
}
