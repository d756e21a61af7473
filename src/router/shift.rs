//! Carries a wish out: read, plan, write every rule, and see it in observations begun after the writes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::hold::Hold;
use super::plan::{Plan, Refusal, Split};
use super::rules::{RulesError, holding_both};
use super::wish::Wish;
use crate::alb::{self, ErrorKind, LoadBalancer, Observation, Rule, RuleArn, TargetGroupArn, WeightedGroup};

/// How long written weights may stay unseen before everything is read and planned anew: either AWS's answer is stale
/// or somebody else wrote.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(5);

/// One lock a rule: a rule is read and written by one shift at a time, since ModifyRule has no version check.
#[derive(Debug, Default)]
pub(super) struct RuleLocks(Mutex<HashMap<RuleArn, Arc<AsyncMutex<()>>>>);

/// A shift of one Rollout's rules toward a wish.
#[derive(Debug)]
pub(super) struct Shift<'a> {
    balancer: &'a dyn LoadBalancer,
    locks: &'a RuleLocks,
    /// `namespace/name`, for the log.
    rollout: String,
    wish: &'a Wish,
    /// When the call must be answered. Reads are given up then; a write is not, since nobody would know what it did.
    deadline: Instant,
    /// The rules, once they are found.
    rules: Option<Vec<RuleArn>>,
    written: bool,
}

/// Why a shift is not done, and how far it got.
#[derive(Debug)]
pub(super) struct Unfinished {
    cause: Box<Cause>,
    /// After a write that failed in part: rules that have the new weights, and rules that may not.
    done: Vec<RuleArn>,
    open: Vec<RuleArn>,
}

#[derive(Debug, thiserror::Error)]
enum Cause {
    #[error(transparent)]
    Alb(#[from] alb::Error),
    #[error(transparent)]
    Rules(#[from] RulesError),
    #[error("rule {rule} cannot be shifted: {refusal}")]
    Refused { rule: RuleArn, refusal: Refusal },
    #[error("the weights were written, but DescribeRules does not show them yet on {0}")]
    Unconfirmed(RuleArn),
    #[error("AWS did not answer before the call had to be answered")]
    Slow,
    #[error("another shift is writing the same rules")]
    Busy,
}

impl RuleLocks {
    /// Locks these rules. Always in the order of their ARNs, so that two shifts cannot wait for each other.
    async fn lock(&self, rules: &[RuleArn]) -> Vec<OwnedMutexGuard<()>> {
        let mut sorted: Vec<&RuleArn> = rules.iter().collect();
        sorted.sort();
        sorted.dedup();
        let locks: Vec<_> = {
            let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            known.retain(|_, lock| Arc::strong_count(lock) > 1);
            sorted.into_iter().map(|rule| Arc::clone(known.entry(rule.clone()).or_default())).collect()
        };
        let mut guards = Vec::with_capacity(locks.len());
        for lock in locks {
            guards.push(lock.lock_owned().await);
        }
        guards
    }
}

impl<'a> Shift<'a> {
    /// A shift that begins with these rules, or looks for them.
    pub(super) fn new(
        balancer: &'a dyn LoadBalancer,
        locks: &'a RuleLocks,
        rollout: &str,
        wish: &'a Wish,
        deadline: Instant,
        rules: Option<Vec<RuleArn>>,
    ) -> Self {
        let rules = rules.or_else(|| wish.rules.clone());
        Self { balancer, locks, rollout: rollout.to_owned(), wish, deadline, rules, written: false }
    }

    /// The rules that the wish is about.
    pub(super) fn into_rules(self) -> Vec<RuleArn> {
        self.rules.unwrap_or_default()
    }

    /// Goes on until every rule shows the wish, and answers when the observation that showed it began.
    ///
    /// What may pass by itself is waited for as long as `hold` lets the call wait.
    pub(super) async fn carry_out(&mut self, hold: &mut Hold) -> Result<Instant, Unfinished> {
        let began = Instant::now();
        // What the last pass said. A read that is cut short by the deadline knows less, and would change the text.
        let mut last: Option<Unfinished> = None;
        loop {
            let found_anew = self.rules.is_none();
            match self.attempt(hold).await {
                Ok(seen) => {
                    if self.written {
                        let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                        let Split { canary_weight: canary, max: of, .. } = self.wish.split;
                        info!(rollout = self.rollout, canary, of, milliseconds, "weights confirmed on every rule");
                    }
                    return Ok(seen);
                }
                // Rules that were found earlier may have been replaced since. Rules that the author named are not ours to replace.
                Err(unfinished) if unfinished.rules_are_gone() && !found_anew && self.wish.rules.is_none() => {
                    self.rules = None;
                }
                Err(unfinished) => {
                    let unfinished = match last.take() {
                        Some(last) if matches!(*unfinished.cause, Cause::Slow) => last,
                        _ => unfinished,
                    };
                    if !(unfinished.may_pass() && hold.wait().await) {
                        return Err(unfinished);
                    }
                    last = Some(unfinished);
                }
            }
        }
    }

    /// Looks once. The time of the observation, if every rule shows the wish.
    pub(super) async fn look(&mut self) -> Result<Option<Instant>, Unfinished> {
        let rules = self.find_rules().await?;
        let observation = self.observe(&rules).await?;
        Ok(self.first_untrue(&observation).is_none().then_some(observation.began))
    }

    /// One pass: find, read, plan, write, confirm.
    async fn attempt(&mut self, hold: &mut Hold) -> Result<Instant, Unfinished> {
        let rules = self.find_rules().await?;
        {
            let locked = timeout_at(self.deadline, self.locks.lock(&rules)).await;
            let _locked = locked.map_err(|_| Unfinished::because(Cause::Busy))?;
            let observation = self.observe(&rules).await?;
            let planned = self.plan(&observation)?;
            if planned.is_empty() {
                return Ok(observation.began);
            }
            self.written = true;
            self.write(&rules, planned).await?;
        }
        hold.restart();
        self.confirm(&rules, hold).await
    }

    async fn find_rules(&mut self) -> Result<Vec<RuleArn>, Unfinished> {
        if let Some(rules) = &self.rules {
            return Ok(rules.clone());
        }
        let around = self.in_time(self.balancer.rules_around(&self.wish.split.stable)).await?;
        let rules = holding_both(&around.rules, &self.wish.split, self.wish.lets_stable_go);
        let rules = rules.map_err(|error| Unfinished::because(error.into()))?;
        self.rules = Some(rules.clone());
        Ok(rules)
    }

    /// The rules to write, each with its new groups. One rule that cannot carry the wish stops all of them.
    fn plan<'r>(&self, observation: &'r Observation) -> Result<Vec<(&'r Rule, Vec<WeightedGroup>)>, Unfinished> {
        let mut writes = Vec::new();
        for rule in &observation.rules {
            match self.wish.split.plan(&rule.groups()) {
                Ok(Plan::AlreadyTrue) => {}
                Ok(Plan::Write(groups)) => writes.push((rule, groups)),
                Err(refusal) => {
                    return Err(Unfinished::because(Cause::Refused { rule: rule.arn().clone(), refusal }));
                }
            }
        }
        Ok(writes)
    }

    /// Writes all rules at once. When some fail, says which have the new weights all the same.
    async fn write(&self, rules: &[RuleArn], planned: Vec<(&Rule, Vec<WeightedGroup>)>) -> Result<(), Unfinished> {
        let results = join_all(planned.iter().map(|(rule, groups)| self.balancer.set_weights(rule, groups))).await;
        let mut open = Vec::new();
        let mut first_error = None;
        for ((rule, groups), result) in planned.iter().zip(results) {
            match result {
                Ok(()) => {
                    let stable = change(rule, groups, &self.wish.split.stable);
                    let canary = change(rule, groups, &self.wish.split.canary);
                    info!(rollout = self.rollout, rule = %rule.arn(), stable, canary, "weights written");
                }
                Err(error) => {
                    open.push(rule.arn().clone());
                    first_error.get_or_insert(error);
                }
            }
        }
        match first_error {
            None => Ok(()),
            Some(error) => {
                let done = rules.iter().filter(|rule| !open.contains(rule)).cloned().collect();
                Err(Unfinished { cause: Box::new(error.into()), done, open })
            }
        }
    }

    /// Observes until every rule shows the wish. Only an observation that began after the writes proves anything.
    async fn confirm(&self, rules: &[RuleArn], hold: &mut Hold) -> Result<Instant, Unfinished> {
        let written = Instant::now();
        loop {
            let observation = self.observe(rules).await?;
            match self.first_untrue(&observation) {
                None => return Ok(observation.began),
                Some(rule) => {
                    let rule = rule.clone();
                    if written.elapsed() > CONFIRM_PATIENCE || !hold.wait().await {
                        return Err(Unfinished::because(Cause::Unconfirmed(rule)));
                    }
                }
            }
        }
    }

    fn first_untrue<'r>(&self, observation: &'r Observation) -> Option<&'r RuleArn> {
        let untrue = |rule: &&Rule| self.wish.split.plan(&rule.groups()) != Ok(Plan::AlreadyTrue);
        observation.rules.iter().find(untrue).map(Rule::arn)
    }

    async fn observe(&self, rules: &[RuleArn]) -> Result<Observation, Unfinished> {
        self.in_time(self.balancer.observe(rules)).await
    }

    async fn in_time<T>(&self, read: impl Future<Output = Result<T, alb::Error>>) -> Result<T, Unfinished> {
        match timeout_at(self.deadline, read).await {
            Ok(read) => read.map_err(|error| Unfinished::because(error.into())),
            Err(_) => Err(Unfinished::because(Cause::Slow)),
        }
    }
}

/// A group's weight before and after a write, as people read it in the log.
fn change(rule: &Rule, groups: &[WeightedGroup], group: &TargetGroupArn) -> String {
    let after = groups.iter().find(|held| held.group == *group).map_or(0, |held| held.weight);
    format!("{} -> {after}", rule.weight_of(group).unwrap_or_default())
}

impl Unfinished {
    fn because(cause: Cause) -> Self {
        Self { cause: Box::new(cause), done: Vec::new(), open: Vec::new() }
    }

    /// Waiting may help.
    fn may_pass(&self) -> bool {
        match &*self.cause {
            Cause::Alb(error) => error.kind() == ErrorKind::Transient,
            Cause::Unconfirmed(_) | Cause::Slow | Cause::Busy => true,
            Cause::Rules(_) | Cause::Refused { .. } => false,
        }
    }

    /// The rules are not the ones they were: they must be looked up again.
    pub(super) fn rules_are_gone(&self) -> bool {
        matches!(&*self.cause, Cause::Alb(error) if error.kind() == ErrorKind::Missing)
    }
}

impl fmt::Display for Unfinished {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}", self.cause)?;
        if !self.done.is_empty() {
            let list = |rules: &[RuleArn]| rules.iter().map(RuleArn::as_str).collect::<Vec<_>>().join(", ");
            let (done, open) = (list(&self.done), list(&self.open));
            write!(
                formatter,
                ". The new weights are on {done}; on {open} they are not known to be. The next try goes on from there"
            )?;
        }
        Ok(())
    }
}
