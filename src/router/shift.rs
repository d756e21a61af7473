//! One pass toward a wish: look at the gates, read, plan, announce, write every rule, see it in observations begun after the
//! writes, and see it still when the load balancer's nodes, and whoever else writes the rules, had time to follow.
//!
//! A pass may be dropped at any point, when a newer wish has come. What was sent is carried through all the same, and its
//! locks are kept until then.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};
use tracing::info;

use super::Settings;
use super::echo::Echo;
use super::hold::Calls;
use super::locks::{Locked, RuleLocks};
use super::passage::{Gatekeeper, Passage, toward};
use super::plan::{Direction, Plan, Split};
use super::progress::{Ask, Sight};
use super::report::Report;
use super::rules::holding_both;
use super::settle::Shown;
use super::unfinished::{Cause, Unfinished, delays};
use super::wish::HANDS_OFF;
use crate::alb::{LoadBalancer, Observation, Rule, RuleArn, TargetGroupArn, Turn, Urgency, WeightedGroup};
use crate::cluster::Cluster;

/// How long written weights may stay unseen before everything is read and planned anew: either AWS's answer is stale
/// or somebody else wrote.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(5);

/// How often Pods and target health are looked at while a gate is closed. What they showed is good for as long.
pub(super) const GATE_INTERVAL: Duration = Duration::from_secs(3);

/// A write that has waited for so long waits for others of the same account, and people should know.
const IN_A_QUEUE: Duration = Duration::from_secs(2);

/// What all shifts work with.
#[derive(Clone, Debug)]
pub(super) struct Means {
    pub(super) settings: Arc<Settings>,
    pub(super) balancer: Arc<dyn LoadBalancer>,
    pub(super) cluster: Arc<dyn Cluster>,
    pub(super) locks: Arc<RuleLocks>,
}

/// What is known of a Rollout's rules, from pass to pass.
#[derive(Debug, Default)]
pub(super) struct Track {
    /// The rules, once they are found.
    pub(super) rules: Option<Vec<RuleArn>>,
    /// What the rules showed last, once that is known.
    pub(super) shown: Option<Shown>,
    /// The wish was true before, so that at rest nobody has to look at Pods again.
    pub(super) was_true: bool,
    /// Nothing is known but what the host recorded, in mid-update. An earlier process may have written another weight since,
    /// which was never recorded, and nodes may still follow that.
    pub(super) is_fresh: bool,
    /// Something was written for the wish.
    pub(super) written: bool,
    /// The announcement that somebody else is to follow.
    pub(super) echo: Option<Echo>,
}

/// What a look at the rules of a true wish shows.
#[derive(Debug)]
pub(super) enum Glance {
    /// Every rule still shows it, in an observation that began then.
    True(Instant),
    /// This rule shows other weights.
    Changed(RuleArn, String),
}

/// A shift of one Rollout's rules toward a wish.
#[derive(Debug)]
pub(super) struct Shift<'a> {
    pub(super) means: &'a Means,
    pub(super) ask: &'a Ask,
    pub(super) calls: &'a Calls,
    pub(super) track: &'a mut Track,
    pub(super) report: &'a Report,
}

impl Shift<'_> {
    /// One pass: find, gate, read, plan, write, confirm, settle. Answers when the observation that showed the wish began.
    pub(super) async fn pass(&mut self) -> Result<Instant, Unfinished> {
        let rules = self.find_rules().await?;
        let (passage, looked) = self.pass_gates(&rules).await?;
        let (seen, moved) = match &passage.split {
            Some(split) if self.planned(split, &looked)?.is_empty() => {
                self.announce_late(split, &looked).await?;
                (looked, None)
            }
            Some(split) => self.bring_to(split, &passage, &rules, &looked).await?,
            None => return Err(passage.awaits.map_or_else(|| Cause::Changing.into(), Unfinished::from)),
        };
        if let Some(awaits) = passage.awaits {
            self.track.shown = None;
            return Err(awaits.into());
        }
        self.settle(&rules, seen, moved).await
    }

    /// Looks once, and changes nothing. The time of the observation, if every rule shows the wish and has settled.
    pub(super) async fn look(&mut self) -> Result<Option<Instant>, Unfinished> {
        let rules = self.find_rules().await?;
        let observation = self.observe(&rules, Instant::now()).await?;
        if first_untrue(&self.ask.wish.split, &observation).is_some() {
            return Ok(None);
        }
        Ok(self.show(&observation, None).has_settled().then_some(observation.began))
    }

    /// Looks at the rules alone. An observation that began at `since` or later will do.
    pub(super) async fn glance(&self, since: Instant) -> Result<Glance, Unfinished> {
        let observation = self.observe(self.track.rules.as_deref().unwrap_or_default(), since).await?;
        let split = &self.ask.wish.split;
        Ok(match first_untrue(split, &observation) {
            None => Glance::True(observation.began),
            Some(rule) => Glance::Changed(rule.arn().clone(), weights(split, &rule.groups())),
        })
    }

    /// What the gates let through, and the weights by which they decided: they were read without a lock.
    async fn pass_gates(&mut self, rules: &[RuleArn]) -> Result<(Passage, Observation), Unfinished> {
        let observation = self.observe(rules, Instant::now()).await?;
        let passage = self.let_through(&observation).await?;
        Ok((passage, observation))
    }

    /// What the gates let through now, for rules that looked like this.
    async fn let_through(&mut self, observation: &Observation) -> Result<Passage, Unfinished> {
        let wish = &self.ask.wish;
        let began = Instant::now();
        // A rule that cannot carry the wish is an error before anybody is waited for.
        let nothing_to_do = plan(&wish.split, observation)?.is_empty();
        if nothing_to_do && self.track.was_true && !wish.is_promoted_next() {
            return Ok(Passage::free(&wish.split));
        }
        // Whatever was true before, the rules say otherwise now.
        self.track.was_true &= nothing_to_do;
        if wish.gates.are_off() {
            self.report.sight(Sight { began, toward: toward(&wish.split, observation), stable_serves_all: false });
            return Ok(Passage::free(&wish.split));
        }
        let gatekeeper = Gatekeeper {
            balancer: &*self.means.balancer,
            cluster: &*self.means.cluster,
            wish,
            recorded: self.ask.recorded,
            was_true: self.track.was_true,
        };
        let passage = gatekeeper.let_through(observation).await?;
        let (toward, stable_serves_all) = (toward(&wish.split, observation), passage.stable_serves_all);
        self.report.sight(Sight { began, toward, stable_serves_all });
        Ok(passage)
    }

    /// Writes the rules that do not show this division, and observes until all do. Answers with that observation, and which
    /// way traffic moved. `looked` is what the gates saw.
    async fn bring_to(
        &mut self,
        split: &Split,
        passage: &Passage,
        rules: &[RuleArn],
        looked: &Observation,
    ) -> Result<(Observation, Option<Direction>), Unfinished> {
        let mut turns = self.turns(split, looked).await?;
        self.look_again(passage, looked).await?;
        let locked = self.means.locks.lock(rules).await;
        let observation = self.observe(rules, Instant::now()).await?;
        let planned = self.planned(split, &observation)?;
        if planned.is_empty() {
            self.announce_late(split, &observation).await?;
            return Ok((observation, None));
        }
        let mut writes = Vec::with_capacity(planned.len());
        let mut moved = None;
        for (rule, groups) in planned {
            let direction = split.direction(&rule.groups());
            let turn = turns.iter().position(|(arn, _)| arn == rule.arn()).map(|at| turns.swap_remove(at).1);
            // It was seen otherwise, so its gates or its turn were another's.
            let (Some(turn), true) = (turn, direction.is_none_or(|way| passage.directions.contains(&way))) else {
                return Err(Cause::Moved(rule.arn().clone()).into());
            };
            moved = moved.max(direction);
            writes.push((rule.clone(), self.written_as(split, rule, groups), turn));
        }
        let announced = match self.announce(split, &observation).await {
            // A version that was given up does not wait for Kubernetes.
            Err(error) if self.ask.wish.urgency() != Urgency::First => return Err(error),
            announced => announced,
        };
        self.track.written = true;
        self.track.shown = None;
        self.write(split, rules, writes, locked).await?;
        announced?;
        Ok((self.confirm(split, rules).await?, moved))
    }

    /// The rules to write, each with its new groups. Where another writer is to follow, numbers that it may have come to by an
    /// older announcement are no sign that it has: they are written in others first.
    fn planned<'r>(
        &self,
        split: &Split,
        observation: &'r Observation,
    ) -> Result<Vec<(&'r Rule, Vec<WeightedGroup>)>, Unfinished> {
        let mut planned = plan(split, observation)?;
        if self.is_news_to_the_other_writer(split) {
            let true_already = observation.rules.iter().filter(|rule| split.is_announced_in(rule));
            planned.extend(true_already.map(|rule| (rule, rule.groups())));
        }
        Ok(planned)
    }

    /// Leave to write each rule that does not show this division. Waited for here, where no lock is held.
    async fn turns(&self, split: &Split, looked: &Observation) -> Result<Vec<(RuleArn, Turn)>, Unfinished> {
        if let Some(rule) = first_untrue(split, looked).filter(|_| self.ask.wish.hands_off) {
            let (shown, wished) = (weights(split, &rule.groups()), split.to_string());
            return Err(Cause::HandsOff { shown, wished, annotation: HANDS_OFF }.into());
        }
        let urgency = self.ask.wish.urgency();
        let turns = self.planned(split, looked)?.into_iter().map(|(rule, _)| async move {
            let turn = self.means.balancer.turn(rule.arn(), urgency).await;
            (rule.arn().clone(), turn)
        });
        let mut turns = pin!(join_all(turns));
        if let Ok(turns) = timeout(IN_A_QUEUE, &mut turns).await {
            return Ok(turns);
        }
        self.report.unfinished(&Cause::Turn.into());
        Ok(turns.await)
    }

    /// Right before a write: Pods that were looked at a while ago are looked at again. Where no call is there to say so, the
    /// Rollout must still mean this wish, too. The rules are read again in a moment, with their locks.
    async fn look_again(&mut self, passage: &Passage, looked: &Observation) -> Result<(), Unfinished> {
        let on_our_own = self.calls.is_empty();
        if on_our_own {
            let metadata = &self.ask.rollout.metadata;
            let now = self.means.cluster.rollout(&metadata.namespace, &metadata.name).await?;
            if !self.ask.is_meant_by(&now, &self.means.settings) {
                return Err(Cause::Outdated.into());
            }
        }
        if on_our_own || looked.began.elapsed() > GATE_INTERVAL {
            let again = self.let_through(looked).await?;
            if again.split != passage.split {
                return Err(again.awaits.map_or_else(|| Cause::Changing.into(), Unfinished::from));
            }
        }
        Ok(())
    }

    /// Observes until every rule shows the division. Only an observation that began after the writes proves anything.
    async fn confirm(&mut self, split: &Split, rules: &[RuleArn]) -> Result<Observation, Unfinished> {
        let written = Instant::now();
        let mut waits = delays();
        loop {
            let observation = self.observe(rules, Instant::now()).await?;
            let Some(rule) = first_untrue(split, &observation) else { return Ok(observation) };
            let unconfirmed = Cause::Unconfirmed(rule.arn().clone()).into();
            if written.elapsed() > CONFIRM_PATIENCE {
                return Err(unconfirmed);
            }
            self.report.unfinished(&unconfirmed);
            tokio::time::sleep(waits.next().unwrap_or(CONFIRM_PATIENCE)).await;
        }
    }

    async fn find_rules(&mut self) -> Result<Vec<RuleArn>, Unfinished> {
        if let Some(rules) = &self.track.rules {
            return Ok(rules.clone());
        }
        let rules = match &self.ask.wish.rules {
            Some(named) => named.clone(),
            None => self.rules_that_hold_both().await?,
        };
        self.track.rules = Some(rules.clone());
        Ok(rules)
    }

    pub(super) async fn rules_that_hold_both(&self) -> Result<Vec<RuleArn>, Unfinished> {
        let wish = &self.ask.wish;
        let around = self.means.balancer.rules_around(&wish.split.stable).await?;
        Ok(holding_both(&around.rules, &wish.split, wish.lets_stable_go)?)
    }

    pub(super) async fn observe(&self, rules: &[RuleArn], since: Instant) -> Result<Observation, Unfinished> {
        Ok(self.means.balancer.observe(rules, since).await?)
    }

    /// Writes all rules at once. When some fail, says which have the new weights all the same.
    ///
    /// The task goes on when nobody waits for it any more: what was sent may arrive, and until that is known the rules stay
    /// locked.
    async fn write(
        &self,
        split: &Split,
        rules: &[RuleArn],
        writes: Vec<(Rule, Vec<WeightedGroup>, Turn)>,
        locked: Locked,
    ) -> Result<(), Unfinished> {
        let (balancer, rollout, split) = (Arc::clone(&self.means.balancer), self.ask.rollout.key(), split.clone());
        let task = tokio::spawn(async move {
            let sent = writes.into_iter().map(|(rule, groups, turn)| {
                let (balancer, rollout, split) = (&balancer, &rollout, &split);
                async move {
                    balancer.set_weights(&rule, &groups, turn).await.map_err(|error| (rule.arn().clone(), error))?;
                    let (stable, canary) =
                        (change(&rule, &groups, &split.stable), change(&rule, &groups, &split.canary));
                    info!(rollout, rule = %rule.arn(), stable, canary, "weights written");
                    Ok(())
                }
            });
            let results = join_all(sent).await;
            drop(locked);
            results
        });
        let results = task.await.map_err(|_| Cause::CutOff)?;
        let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
        let open: Vec<RuleArn> = failed.iter().map(|(rule, _)| rule.clone()).collect();
        match failed.into_iter().next() {
            None => Ok(()),
            Some((_, error)) => {
                let done = rules.iter().filter(|rule| !open.contains(rule)).cloned().collect();
                Err(Unfinished::in_part(error, done, open))
            }
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

/// A rule that does not divide its traffic so.
pub(super) fn first_untrue<'r>(split: &Split, observation: &'r Observation) -> Option<&'r Rule> {
    observation.rules.iter().find(|rule| split.plan(&rule.groups()) != Ok(Plan::AlreadyTrue))
}

/// Our groups' weights, as people read them: stable, then canary.
pub(super) fn weights(split: &Split, groups: &[WeightedGroup]) -> String {
    split.ours(groups).map_or_else(|| "other groups".to_owned(), |(stable, canary)| format!("{stable}:{canary}"))
}

/// A group's weight before and after a write, as people read it in the log.
fn change(rule: &Rule, groups: &[WeightedGroup], group: &TargetGroupArn) -> String {
    let after = groups.iter().find(|held| held.group == *group).map_or(0, |held| held.weight);
    format!("{} -> {after}", rule.weight_of(group).unwrap_or_default())
}
