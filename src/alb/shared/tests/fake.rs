//! AWS in memory: rules, a bucket of its own for each kind of call, and answers that take their time.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use async_trait::async_trait;
use tokio::time::{Instant, sleep};

use crate::alb::{
    BucketSize, Error, ErrorKind, LoadBalancer, NewRule, Observation, Role, Rule, RuleArn, Tags, Target,
    TargetGroupArn, Turn, Urgency, WeightedGroup,
};

#[derive(Debug)]
pub(crate) struct FakeAws {
    state: Arc<Mutex<State>>,
    /// In whose name; none for the process's own.
    role: Option<Role>,
}

#[derive(Debug)]
pub(crate) struct State {
    rng: fastrand::Rng,
    /// Rules that exist, with their groups.
    rules: BTreeMap<RuleArn, Vec<WeightedGroup>>,
    /// A rule shows when it was looked at, in milliseconds after this, instead of its weight.
    pub(crate) shows_time_since: Option<Instant>,
    /// No call gets an answer but an error.
    pub(crate) down: bool,
    /// How the next calls of an operation end.
    pub(crate) failures: HashMap<&'static str, Vec<Failure>>,
    pub(crate) delay: std::ops::Range<u64>,
    writes: Tokens,
    reads: Tokens,
    /// What DescribeRules was asked for, call by call.
    pub(crate) looks: Vec<Vec<RuleArn>>,
    pub(crate) looks_around: usize,
    pub(crate) looks_at_targets: usize,
    /// What DescribeTags was asked for, call by call.
    pub(crate) looks_at_tags: Vec<Vec<String>>,
    /// In whose name each call was made, in the order in which they began.
    pub(crate) names: Vec<Option<Role>>,
    /// Writes in the order they were taken.
    pub(crate) written: Vec<RuleArn>,
    /// When the last of them was.
    pub(crate) last_written: Option<Instant>,
    /// Calls of any kind that found AWS's bucket empty.
    pub(crate) throttled: usize,
}

/// One of AWS's buckets.
#[derive(Debug)]
struct Tokens {
    size: BucketSize,
    left: f64,
    refilled: Instant,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Failure {
    Kind(ErrorKind, &'static str),
    Panic,
}

pub(crate) fn rule(number: usize) -> RuleArn {
    format!("arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/web/a/b/{number}").parse().unwrap()
}

pub(crate) fn rules(count: usize) -> Vec<RuleArn> {
    (0..count).map(rule).collect()
}

pub(crate) fn group(number: usize) -> TargetGroupArn {
    format!("arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/g{number}/1").parse().unwrap()
}

pub(crate) fn weight(weight: u32) -> Vec<WeightedGroup> {
    vec![WeightedGroup { group: group(0), weight }]
}

impl FakeAws {
    /// Rules with one group each.
    pub(crate) fn new(count: usize, seed: u64) -> Arc<Self> {
        Self::with_rules(rules(count).into_iter().map(|rule| (rule, weight(0))), seed)
    }

    pub(crate) fn with_rules(rules: impl IntoIterator<Item = (RuleArn, Vec<WeightedGroup>)>, seed: u64) -> Arc<Self> {
        let state = State {
            rng: fastrand::Rng::with_seed(seed),
            rules: rules.into_iter().collect(),
            shows_time_since: None,
            down: false,
            failures: HashMap::new(),
            delay: 20..120,
            writes: Tokens::full(BucketSize::MODIFY),
            reads: Tokens::full(BucketSize::DESCRIBE),
            looks: Vec::new(),
            looks_around: 0,
            looks_at_targets: 0,
            looks_at_tags: Vec::new(),
            names: Vec::new(),
            written: Vec::new(),
            last_written: None,
            throttled: 0,
        };
        Arc::new(Self { state: Arc::new(Mutex::new(state)), role: None })
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    pub(crate) fn all_rules(&self) -> Vec<RuleArn> {
        rules(self.state().rules.len())
    }

    /// Another tool writes: it draws from the same bucket, and does not care about us. False when it was throttled.
    pub(crate) fn another_tool_writes(&self) -> bool {
        self.state().writes.draw(1.0)
    }

    /// Somebody else changes a rule.
    pub(crate) fn change(&self, rule: &RuleArn, weight: u32) {
        self.state().rules.insert(rule.clone(), self::weight(weight));
    }

    pub(crate) fn delete(&self, rule: &RuleArn) {
        self.state().rules.remove(rule);
    }

    /// The weight of a rule's first group.
    pub(crate) fn weight_of(&self, rule: &RuleArn) -> u32 {
        self.state().rules[rule][0].weight
    }

    /// A rule as it is now.
    pub(crate) fn read(&self, rule: &RuleArn) -> Rule {
        Rule::forwarding(rule.clone(), &self.state().rules[rule])
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

    /// Goes there, and fails where a failure was ordered, or where its bucket does not hold so many tokens.
    async fn begin(&self, operation: &'static str, cost: f64) -> Result<(), Error> {
        self.state().names.push(self.role.clone());
        self.travel().await;
        let mut state = self.state();
        let failure = state.failures.get_mut(operation).and_then(Vec::pop);
        let failure =
            failure.or_else(|| state.down.then_some(Failure::Kind(ErrorKind::Transient, "ServiceUnavailable")));
        match failure {
            Some(Failure::Kind(kind, code)) => return Err(Error::fake(kind, operation, code)),
            Some(Failure::Panic) => {
                drop(state);
                panic!("as ordered");
            }
            None => {}
        }
        let bucket = if operation == "write" { &mut state.writes } else { &mut state.reads };
        if !bucket.draw(cost) {
            state.throttled += 1;
            return Err(Error::fake(ErrorKind::Transient, operation, "Throttling"));
        }
        Ok(())
    }
}

impl Tokens {
    fn full(size: BucketSize) -> Self {
        Self { size, left: f64::from(size.burst), refilled: Instant::now() }
    }

    fn draw(&mut self, cost: f64) -> bool {
        let now = Instant::now();
        let earned = (now - self.refilled).as_secs_f64() * self.size.per_second;
        self.left = (self.left + earned).min(f64::from(self.size.burst));
        self.refilled = now;
        let enough = self.left >= cost;
        self.left -= if enough { cost } else { 0.0 };
        enough
    }
}

#[async_trait]
impl LoadBalancer for FakeAws {
    async fn observe(&self, rules: &[RuleArn], _: Instant) -> Result<Observation, Error> {
        let began = Instant::now();
        self.state().looks.push(rules.to_vec());
        self.begin("observe", 1.0).await?;
        let seen: Result<Vec<Rule>, Error> = {
            let state = self.state();
            let time = state.shows_time_since.map(|since| u32::try_from(since.elapsed().as_millis()).unwrap());
            let seen = rules.iter().map(|arn| match state.rules.get(arn) {
                Some(shown) => Ok(Rule::forwarding(arn.clone(), &time.map_or_else(|| shown.clone(), weight))),
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
        self.begin("look around", 4.0).await?;
        let groups: Vec<_> = (0..5).map(|number| WeightedGroup { group: group(number), weight: 1 }).collect();
        Ok(Observation { began, rules: vec![Rule::forwarding(rule(0), &groups)] })
    }

    async fn turn(&self, _: &RuleArn, _: Urgency) -> Turn {
        Turn::free()
    }

    async fn set_weights(&self, rule: &Rule, groups: &[WeightedGroup], _: Turn) -> Result<(), Error> {
        self.begin("write", 1.0).await?;
        {
            let mut state = self.state();
            state.rules.insert(rule.arn().clone(), groups.to_vec());
            state.written.push(rule.arn().clone());
            state.last_written = Some(Instant::now());
        }
        self.travel().await;
        Ok(())
    }

    async fn targets(&self, group: &TargetGroupArn, _: Instant) -> Result<Vec<Target>, Error> {
        self.state().looks_at_targets += 1;
        self.begin("targets", 1.0).await?;
        Ok(vec![Target { id: group.as_str().to_owned(), port: Some(80), healthy: true }])
    }

    /// Each resource has its own ARN as a tag.
    async fn tags(&self, arns: &[String]) -> Result<Vec<Tags>, Error> {
        self.state().looks_at_tags.push(arns.to_vec());
        self.begin("tags", 1.0).await?;
        if arns.iter().any(|arn| arn.contains("gone")) {
            return Err(Error::fake(ErrorKind::Missing, "one of them", "TargetGroupNotFound"));
        }
        self.travel().await;
        Ok(arns.iter().map(|arn| Tags::from([("arn".to_owned(), arn.clone())])).collect())
    }

    /// The priority becomes the end of the ARN.
    async fn add_rule(&self, rule: &NewRule) -> Result<RuleArn, Error> {
        self.begin("write", 1.0).await?;
        let arn = self::rule(rule.priority.try_into().unwrap());
        {
            let mut state = self.state();
            state.rules.insert(arn.clone(), vec![WeightedGroup { group: rule.group.clone(), weight: 1 }]);
            state.written.push(arn.clone());
        }
        self.travel().await;
        Ok(arn)
    }

    async fn remove_rule(&self, rule: &RuleArn) -> Result<(), Error> {
        self.begin("write", 1.0).await?;
        {
            let mut state = self.state();
            state.rules.remove(rule);
            state.written.push(rule.clone());
        }
        self.travel().await;
        Ok(())
    }

    fn assuming(self: Arc<Self>, role: &Role) -> Arc<dyn LoadBalancer> {
        Arc::new(Self { state: Arc::clone(&self.state), role: Some(role.clone()) })
    }
}
