//! Carries a wish out: look at the gates, read, plan, write every rule, see it in observations begun after the writes,
//! and see it still when the load balancer's nodes had time to follow.

use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout_at};
use tracing::info;

use super::hold::Hold;
use super::locks::RuleLocks;
use super::passage::{Gatekeeper, Passage};
use super::plan::{Direction, Plan, Split};
use super::rules::holding_both;
use super::unfinished::{Cause, Unfinished};
use super::wish::{Recorded, Wish};
use crate::alb::{LoadBalancer, Observation, Rule, RuleArn, TargetGroupArn, WeightedGroup};
use crate::cluster::Cluster;

/// How long written weights may stay unseen before everything is read and planned anew: either AWS's answer is stale
/// or somebody else wrote.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(5);

/// How often Pods and target health are looked at while a gate is closed.
const GATE_INTERVAL: Duration = Duration::from_secs(3);

/// What all shifts work with.
#[derive(Clone, Copy, Debug)]
pub(super) struct Means<'a> {
    pub(super) balancer: &'a dyn LoadBalancer,
    pub(super) cluster: &'a dyn Cluster,
    pub(super) locks: &'a RuleLocks,
}

/// A division of traffic that every rule shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    split: Split,
    /// Since when, as far as we know.
    since: Instant,
    /// How long it must stay so.
    settle: Duration,
}

/// A shift of one Rollout's rules toward a wish.
#[derive(Debug)]
pub(super) struct Shift<'a> {
    means: Means<'a>,
    /// `namespace/name`, for the log.
    rollout: String,
    wish: &'a Wish,
    recorded: Recorded,
    /// When the call must be answered. Reads are given up then; a write is not, since nobody would know what it did.
    deadline: Instant,
    /// The rules, once they are found.
    rules: Option<Vec<RuleArn>>,
    /// What the rules showed last, once that is known.
    shown: Option<Shown>,
    /// The wish was true before, so that at rest nobody has to look at Pods again.
    was_true: bool,
    written: bool,
    yes_is_safe: bool,
}

impl<'a> Shift<'a> {
    /// A shift that begins with these rules, or looks for them.
    pub(super) fn new(means: Means<'a>, rollout: &str, wish: &'a Wish, recorded: Recorded, deadline: Instant) -> Self {
        let verified = recorded.verified_weight.and_then(|weight| u32::try_from(weight).ok());
        Self {
            means,
            rollout: rollout.to_owned(),
            wish,
            recorded,
            deadline,
            rules: wish.rules.clone(),
            shown: None,
            was_true: verified == Some(wish.split.canary_weight),
            written: false,
            yes_is_safe: false,
        }
    }

    /// Goes on from what an earlier shift of the same Rollout saw. `rules` are those on which this very wish was true.
    pub(super) fn resume(mut self, rules: Option<Vec<RuleArn>>, shown: Option<Shown>) -> Self {
        self.was_true = rules.is_some() || (self.was_true && shown.is_none());
        self.rules = rules.or(self.rules);
        self.shown = shown;
        self
    }

    /// The rules that the wish is about, and what they show.
    pub(super) fn into_parts(self) -> (Vec<RuleArn>, Option<Shown>) {
        (self.rules.unwrap_or_default(), self.shown)
    }

    /// The host may go on although the wish is not true yet: nothing that has traffic is let go.
    pub(super) fn yes_is_safe(&self) -> bool {
        self.yes_is_safe
    }

    /// Goes on until every rule shows the wish and has settled, and answers when the observation that showed it began.
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
                        Some(last) if unfinished.is_slow() => last,
                        _ => unfinished,
                    };
                    let goes_on = unfinished.may_pass()
                        && !unfinished.waits_for_host()
                        && if unfinished.waits_for_pods() {
                            hold.wait_for(GATE_INTERVAL).await
                        } else {
                            hold.wait().await
                        };
                    if !goes_on {
                        return Err(unfinished);
                    }
                    last = Some(unfinished);
                }
            }
        }
    }

    /// Looks once. The time of the observation, if every rule shows the wish and has settled.
    pub(super) async fn look(&mut self) -> Result<Option<Instant>, Unfinished> {
        let rules = self.find_rules().await?;
        let observation = self.observe(&rules).await?;
        if first_untrue(&self.wish.split, &observation).is_some() {
            return Ok(None);
        }
        let shown = self.show(&self.wish.split.clone(), observation.began, None);
        Ok((shown.since + shown.settle <= Instant::now()).then_some(observation.began))
    }

    /// One pass: find, gate, read, plan, write, confirm, settle.
    async fn attempt(&mut self, hold: &mut Hold) -> Result<Instant, Unfinished> {
        let rules = self.find_rules().await?;
        let (passage, observation) = self.pass_gates(&rules).await?;
        self.yes_is_safe = passage.yes_is_safe;
        let (seen, moved) = match (&passage.split, observation) {
            (Some(split), Some(observation)) if first_untrue(split, &observation).is_none() => {
                (observation.began, None)
            }
            (Some(split), _) => self.bring_to(split, &passage.directions, &rules, hold).await?,
            (None, _) => (Instant::now(), None),
        };
        if let Some(awaits) = passage.awaits {
            self.shown = None;
            return Err(awaits.into());
        }
        self.settle(&rules, seen, moved, hold).await
    }

    /// What the gates let through, and the weights by which they decided: they were read without a lock.
    async fn pass_gates(&mut self, rules: &[RuleArn]) -> Result<(Passage, Option<Observation>), Unfinished> {
        if self.wish.gates.are_off() {
            return Ok((Passage::free(&self.wish.split), None));
        }
        self.yes_is_safe = false;
        let observation = self.observe(rules).await?;
        // A rule that cannot carry the wish is an error before anybody is waited for.
        let nothing_to_do = plan(&self.wish.split, &observation)?.is_empty();
        if nothing_to_do && self.was_true {
            return Ok((Passage::free(&self.wish.split), Some(observation)));
        }
        let Means { balancer, cluster, .. } = self.means;
        let gatekeeper = Gatekeeper { balancer, cluster, wish: self.wish, recorded: self.recorded };
        let passage = self.in_time(gatekeeper.let_through(&observation)).await?;
        Ok((passage, Some(observation)))
    }

    /// Writes the rules that do not show this division, and observes until all do. Answers when that observation began,
    /// and which way traffic moved.
    async fn bring_to(
        &mut self,
        split: &Split,
        directions: &[Direction],
        rules: &[RuleArn],
        hold: &mut Hold,
    ) -> Result<(Instant, Option<Direction>), Unfinished> {
        let moved = {
            let locked = timeout_at(self.deadline, self.means.locks.lock(rules)).await;
            let _locked = locked.map_err(|_| Cause::Busy)?;
            let observation = self.observe(rules).await?;
            let planned = plan(split, &observation)?;
            if planned.is_empty() {
                return Ok((observation.began, None));
            }
            let moves = observation.rules.iter().filter_map(|rule| Some((rule, split.direction(&rule.groups())?)));
            let moves: Vec<(&Rule, Direction)> = moves.collect();
            if let Some((rule, _)) = moves.iter().find(|(_, direction)| !directions.contains(direction)) {
                return Err(Cause::Moved(rule.arn().clone()).into());
            }
            let moved = moves.iter().map(|(_, direction)| *direction).max();
            self.written = true;
            self.shown = None;
            self.write(split, rules, planned).await?;
            moved
        };
        hold.restart();
        Ok((self.confirm(split, rules, hold).await?, moved))
    }

    /// Waits until the weights were true for as long as the load balancer's nodes may need to follow them.
    async fn settle(
        &mut self,
        rules: &[RuleArn],
        seen: Instant,
        moved: Option<Direction>,
        hold: &mut Hold,
    ) -> Result<Instant, Unfinished> {
        let shown = self.show(&self.wish.split.clone(), seen, moved);
        let until = shown.since + shown.settle;
        let now = Instant::now();
        if until <= now {
            return Ok(seen);
        }
        if !hold.wait_for(until - now).await {
            return Err(Cause::Settling(shown.settle).into());
        }
        let observation = self.observe(rules).await?;
        match first_untrue(&self.wish.split, &observation) {
            None => Ok(observation.began),
            Some(rule) => {
                self.shown = None;
                Err(Cause::Unconfirmed(rule.clone()).into())
            }
        }
    }

    /// Remembers that every rule shows this division.
    ///
    /// It settles where pods may go next: always with dynamicStableScale, otherwise when the canary had more before. A
    /// fresh process does not know how long it has been so, unless the host recorded it as verified.
    fn show(&mut self, split: &Split, seen: Instant, moved: Option<Direction>) -> Shown {
        let known = self.shown.take().filter(|shown| shown.split == *split && moved.is_none());
        let shown = known.unwrap_or_else(|| {
            let lowered = match moved {
                Some(direction) => direction == Direction::ToStable,
                None => split.canary_weight == 0,
            };
            let pods_may_go = self.wish.lets_stable_go || lowered;
            let settle =
                if pods_may_go && (self.written || !self.was_true) { self.wish.settle } else { Duration::ZERO };
            Shown { split: split.clone(), since: seen, settle }
        });
        self.shown = Some(shown.clone());
        shown
    }

    async fn find_rules(&mut self) -> Result<Vec<RuleArn>, Unfinished> {
        if let Some(rules) = &self.rules {
            return Ok(rules.clone());
        }
        let around = self.in_time(self.means.balancer.rules_around(&self.wish.split.stable)).await?;
        let rules = holding_both(&around.rules, &self.wish.split, self.wish.lets_stable_go);
        let rules = rules.map_err(Cause::from)?;
        self.rules = Some(rules.clone());
        Ok(rules)
    }

    /// Writes all rules at once. When some fail, says which have the new weights all the same.
    async fn write(
        &self,
        split: &Split,
        rules: &[RuleArn],
        planned: Vec<(&Rule, Vec<WeightedGroup>)>,
    ) -> Result<(), Unfinished> {
        let results =
            join_all(planned.iter().map(|(rule, groups)| self.means.balancer.set_weights(rule, groups))).await;
        let mut open = Vec::new();
        let mut first_error = None;
        for ((rule, groups), result) in planned.iter().zip(results) {
            match result {
                Ok(()) => {
                    let stable = change(rule, groups, &split.stable);
                    let canary = change(rule, groups, &split.canary);
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
                Err(Unfinished::in_part(error, done, open))
            }
        }
    }

    /// Observes until every rule shows the wish. Only an observation that began after the writes proves anything.
    async fn confirm(&self, split: &Split, rules: &[RuleArn], hold: &mut Hold) -> Result<Instant, Unfinished> {
        let written = Instant::now();
        loop {
            let observation = self.observe(rules).await?;
            match first_untrue(split, &observation) {
                None => return Ok(observation.began),
                Some(rule) => {
                    let rule = rule.clone();
                    if written.elapsed() > CONFIRM_PATIENCE || !hold.wait().await {
                        return Err(Cause::Unconfirmed(rule).into());
                    }
                }
            }
        }
    }

    async fn observe(&self, rules: &[RuleArn]) -> Result<Observation, Unfinished> {
        self.in_time(self.means.balancer.observe(rules)).await
    }

    async fn in_time<T, E: Into<Cause>>(&self, read: impl Future<Output = Result<T, E>>) -> Result<T, Unfinished> {
        match timeout_at(self.deadline, read).await {
            Ok(read) => read.map_err(Unfinished::from),
            Err(_) => Err(Cause::Slow.into()),
        }
    }
}

/// The rules to write, each with its new groups. One rule that cannot carry the wish stops all of them.
fn plan<'r>(split: &Split, observation: &'r Observation) -> Result<Vec<(&'r Rule, Vec<WeightedGroup>)>, Unfinished> {
    let mut writes = Vec::new();
    for rule in &observation.rules {
        match split.plan(&rule.groups()) {
            Ok(Plan::AlreadyTrue) => {}
            Ok(Plan::Write(groups)) => writes.push((rule, groups)),
            Err(refusal) => return Err(Cause::Refused { rule: rule.arn().clone(), refusal }.into()),
        }
    }
    Ok(writes)
}

fn first_untrue<'r>(split: &Split, observation: &'r Observation) -> Option<&'r RuleArn> {
    let untrue = |rule: &&Rule| split.plan(&rule.groups()) != Ok(Plan::AlreadyTrue);
    observation.rules.iter().find(untrue).map(Rule::arn)
}

/// A group's weight before and after a write, as people read it in the log.
fn change(rule: &Rule, groups: &[WeightedGroup], group: &TargetGroupArn) -> String {
    let after = groups.iter().find(|held| held.group == *group).map_or(0, |held| held.weight);
    format!("{} -> {after}", rule.weight_of(group).unwrap_or_default())
}
