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

use super::echo::Echo;
use super::find::{self, Finder, Found, KnownTags};
use super::hold::Calls;
use super::locks::Locked;
use super::means::Means;
use super::passage::{Gatekeeper, Passage, carrying, toward};
use super::plan::{Direction, Plan, Split, ratio};
use super::progress::{Ask, Sight};
use super::report::Report;
use super::routes::{self, Managed};
use super::settle::{Shown, written_as};
use super::unfinished::{Cause, Unfinished, delays};
use super::wish::HANDS_OFF;
use crate::alb::{LoadBalancer, Observation, Rule, RuleArn, Turn, Urgency, WeightedGroup};

/// How long written weights may stay unseen before everything is read and planned anew: either AWS's answer is stale
/// or somebody else wrote.
const CONFIRM_PATIENCE: Duration = Duration::from_secs(5);

/// How often Pods and target health are looked at while a gate is closed. What they showed is good for as long.
pub(super) const GATE_INTERVAL: Duration = Duration::from_secs(3);

/// A write that has waited for so long waits for others of the same account, and people should know.
const IN_A_QUEUE: Duration = Duration::from_secs(2);

/// What is known of a Rollout's rules, from pass to pass.
#[derive(Debug, Default)]
pub(super) struct Track {
    /// The rules and target groups, once they are found.
    pub(super) found: Option<Arc<Found>>,
    pub(super) tags: KnownTags,
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
    /// The load balancer, in the name of whom the wish is carried out.
    pub(super) balancer: Arc<dyn LoadBalancer>,
    pub(super) ask: &'a Ask,
    pub(super) calls: &'a Calls,
    pub(super) managed: &'a Managed,
    pub(super) track: &'a mut Track,
    pub(super) report: &'a Report,
}

impl Shift<'_> {
    /// One pass: find, gate, read, plan, write, confirm, settle. Answers when the observation that showed the wish began.
    pub(super) async fn pass(&mut self) -> Result<Instant, Unfinished> {
        let found = self.find().await?;
        let (seen, moved) = if self.ask.wish.urgency() == Urgency::First {
            // A version that was given up does not keep its traffic because a route of it cannot be removed now.
            let divided = self.divide(&found).await;
            let cleared = self.clear_routes(&found).await;
            let divided = divided?;
            cleared?;
            divided
        } else {
            self.clear_routes(&found).await?;
            self.divide(&found).await?
        };
        self.settle(&found, seen, moved).await
    }

    /// Gate, plan, write, confirm. Answers as [`Shift::bring_to`] does.
    async fn divide(&mut self, found: &Found) -> Result<(Observation, Option<Direction>), Unfinished> {
        self.let_in(found).await?;
        let (passage, looked) = self.pass_gates(found).await?;
        let brought = match &passage.split {
            Some(split) if self.planned(found, split, &looked)?.is_empty() => {
                self.announce_late(found, split, &looked).await?;
                (looked, None)
            }
            Some(split) => self.bring_to(found, split, &passage, &looked).await?,
            None => return Err(passage.awaits.map_or_else(|| Cause::Changing.into(), Unfinished::from)),
        };
        if let Some(awaits) = passage.awaits {
            self.track.shown = None;
            return Err(awaits.into());
        }
        Ok(brought)
    }

    /// Looks once, and changes nothing. The time of the observation, if every rule shows the wish and has settled.
    pub(super) async fn look(&mut self) -> Result<Option<Instant>, Unfinished> {
        let found = self.find().await?;
        let observation = self.observe(&found.rules, Instant::now()).await?;
        if first_untrue(&found.split, &observation).is_some() {
            return Ok(None);
        }
        Ok(self.show(&found, &observation, None).has_settled().then_some(observation.began))
    }

    /// Looks at the rules alone. An observation that began at `since` or later will do.
    pub(super) async fn glance(&self, since: Instant) -> Result<Glance, Unfinished> {
        let found = self.track.found.as_deref().ok_or(Cause::Changing)?;
        let observation = self.observe(&found.rules, since).await?;
        let split = &found.split;
        Ok(match first_untrue(split, &observation) {
            None => Glance::True(observation.began),
            Some(rule) => Glance::Changed(rule.arn().clone(), weights(split, &rule.groups())),
        })
    }

    /// What the gates let through, and the weights by which they decided: they were read without a lock.
    async fn pass_gates(&mut self, found: &Found) -> Result<(Passage, Observation), Unfinished> {
        let observation = self.observe(&found.rules, Instant::now()).await?;
        let passage = self.let_through(&found.split, &observation).await?;
        Ok((passage, observation))
    }

    /// What the gates let through now, for rules that looked like this.
    async fn let_through(&mut self, split: &Split, observation: &Observation) -> Result<Passage, Unfinished> {
        let wish = &self.ask.wish;
        // A rule that cannot carry the wish is an error before anybody is waited for.
        let nothing_to_do = plan(split, observation)?.is_empty();
        if nothing_to_do && self.track.was_true && !wish.is_promoted_next() {
            return Ok(Passage::free(split));
        }
        // Whatever was true before, the rules say otherwise now.
        self.track.was_true &= nothing_to_do;
        // Whose Pods serve is not known before the gates have looked.
        let toward = toward(split, observation);
        self.report.sight(Sight { toward, carrying: None });
        // Who only looks on waits for no Pods: the built-in router does not either.
        if wish.gates.are_off() || wish.observes {
            return Ok(Passage::free(split));
        }
        let gatekeeper = Gatekeeper {
            balancer: &*self.balancer,
            cluster: &*self.means.cluster,
            wish,
            split,
            recorded: self.ask.recorded,
            was_true: self.track.was_true,
        };
        let passage = gatekeeper.let_through(observation).await?;
        let carrying = (!passage.old_pods_serve).then(|| carrying(split, observation));
        self.report.sight(Sight { toward, carrying });
        Ok(passage)
    }

    /// Writes the rules that do not show this division, and observes until all do. Answers with that observation, and which
    /// way traffic moved. `looked` is what the gates saw.
    async fn bring_to(
        &mut self,
        found: &Found,
        split: &Split,
        passage: &Passage,
        looked: &Observation,
    ) -> Result<(Observation, Option<Direction>), Unfinished> {
        let rules = &found.rules;
        let mut turns = self.turns(found, split, looked).await?;
        self.look_again(&found.split, passage, looked).await?;
        let locked = self.means.locks.lock(rules).await;
        let observation = self.observe(rules, Instant::now()).await?;
        let planned = self.planned(found, split, &observation)?;
        if planned.is_empty() {
            self.announce_late(found, split, &observation).await?;
            return Ok((observation, None));
        }
        let mut writes = Vec::with_capacity(planned.len());
        let mut moved = None;
        for (rule, groups) in planned {
            let directions = split.directions(&rule.groups());
            let turn = turns.iter().position(|(arn, _)| arn == rule.arn()).map(|at| turns.swap_remove(at).1);
            // It was seen otherwise, so its gates or its turn were another's.
            let (Some(turn), true) = (turn, directions.iter().all(|way| passage.directions.contains(way))) else {
                return Err(Cause::Moved(rule.arn().clone()).into());
            };
            moved = moved.max(directions.into_iter().max());
            writes.push((rule.clone(), groups, turn));
        }
        let announced = match self.announce(found, split, &observation).await {
            // A version that was given up does not wait for Kubernetes.
            Err(error) if self.ask.wish.urgency() != Urgency::First => return Err(error),
            announced => announced,
        };
        if self.listens_for(split) {
            for (rule, groups, _) in &mut writes {
                *groups = written_as(split, rule, std::mem::take(groups));
            }
        }
        writes.retain(|(rule, groups, _)| *groups != rule.groups());
        if writes.is_empty() {
            announced?;
            return Ok((observation, None));
        }
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
        found: &Found,
        split: &Split,
        observation: &'r Observation,
    ) -> Result<Vec<(&'r Rule, Vec<WeightedGroup>)>, Unfinished> {
        let mut planned = plan(split, observation)?;
        if self.is_news_to_the_other_writer(found, split) {
            let true_already = observation.rules.iter().filter(|rule| split.is_announced_in(rule));
            planned.extend(true_already.map(|rule| (rule, rule.groups())));
        }
        Ok(planned)
    }

    /// Leave to write each rule that does not show this division. Waited for here, where no lock is held.
    async fn turns(
        &self,
        found: &Found,
        split: &Split,
        looked: &Observation,
    ) -> Result<Vec<(RuleArn, Turn)>, Unfinished> {
        let wish = &self.ask.wish;
        if let Some(rule) = first_untrue(split, looked).filter(|_| wish.writes_nothing()) {
            let (rule, shown, wished) =
                (rule.arn().clone(), weights(split, &rule.groups()), split.division.to_string());
            return Err(match wish.observes {
                true => self.unfollowed(rule, shown, wished).await.into(),
                false => Cause::HandsOff { shown, wished, annotation: HANDS_OFF }.into(),
            });
        }
        let urgency = wish.urgency();
        let turns = self.planned(found, split, looked)?.into_iter().map(|(rule, _)| async move {
            let turn = self.balancer.turn(rule.arn(), urgency).await;
            (rule.arn().clone(), turn)
        });
        let mut turns = pin!(join_all(turns));
        if let Ok(turns) = timeout(IN_A_QUEUE, &mut turns).await {
            return Ok(turns);
        }
        self.report.unfinished(&Cause::Turn.into());
        Ok(turns.await)
    }

    /// Right before a write: the wish is still meant, and Pods that were looked at a while ago are looked at again. The rules
    /// are read again in a moment, with their locks.
    async fn look_again(&mut self, split: &Split, passage: &Passage, looked: &Observation) -> Result<(), Unfinished> {
        self.check_meant().await?;
        let on_our_own = self.calls.is_empty();
        if on_our_own || looked.began.elapsed() > GATE_INTERVAL {
            let again = self.let_through(split, looked).await?;
            if again.split != passage.split {
                return Err(again.awaits.map_or_else(|| Cause::Changing.into(), Unfinished::from));
            }
        }
        Ok(())
    }

    /// Where no call is there to say so, the Rollout must still mean this wish.
    pub(super) async fn check_meant(&self) -> Result<(), Unfinished> {
        if !self.calls.is_empty() {
            return Ok(());
        }
        let metadata = &self.ask.rollout.metadata;
        let now = self.means.cluster.rollout(&metadata.namespace, &metadata.name).await?;
        if self.ask.is_meant_by(&now, &self.means.settings) { Ok(()) } else { Err(Cause::Outdated.into()) }
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

    /// What the built-in router, or the controller that follows it, has not done yet.
    async fn unfollowed(&self, rule: RuleArn, shown: String, wished: String) -> Cause {
        let wish = &self.ask.wish;
        let here = self.means.cluster.ingresses(&wish.services.namespace, &wish.narrowing.prefix).await;
        let lacking = here.ok().and_then(|here| find::lacking(&here, &wish.services, &wish.division));
        Cause::Observed { rule, shown, wished, lacking }
    }

    async fn find(&mut self) -> Result<Arc<Found>, Unfinished> {
        if let Some(found) = &self.track.found {
            return Ok(Arc::clone(found));
        }
        let found = Arc::new(self.find_anew().await?);
        self.track.found = Some(Arc::clone(&found));
        Ok(found)
    }

    pub(super) async fn find_anew(&mut self) -> Result<Found, Cause> {
        let mut tags = std::mem::take(&mut self.track.tags);
        let found = self.finder().find(&mut tags).await;
        self.track.tags = tags;
        found
    }

    /// Managed routes that nobody wishes any more do not lead to the canary when this returns.
    async fn clear_routes(&self, found: &Found) -> Result<(), Cause> {
        let maker = routes::Maker { finder: self.finder(), managed: self.managed, rollout: self.ask.rollout.key() };
        maker.clear(found).await
    }

    fn finder(&self) -> Finder<'_> {
        let (wish, rollout) = (&self.ask.wish, self.ask.rollout.metadata.name.as_str());
        Finder { means: self.means, balancer: &*self.balancer, wish, managed: self.managed, rollout }
    }

    pub(super) async fn observe(&self, rules: &[RuleArn], since: Instant) -> Result<Observation, Unfinished> {
        Ok(self.balancer.observe(rules, since).await?)
    }

    /// Writes all rules at once. When some fail, says which have the new weights all the same.
    ///
    /// The task goes on when nobody waits for it any more: what was sent may arrive, and until that is known the rules stay
    /// locked.
    pub(super) async fn write(
        &self,
        split: &Split,
        rules: &[RuleArn],
        writes: Vec<(Rule, Vec<WeightedGroup>, Turn)>,
        locked: Locked,
    ) -> Result<(), Unfinished> {
        let (balancer, rollout, split) = (Arc::clone(&self.balancer), self.ask.rollout.key(), split.clone());
        let task = tokio::spawn(async move {
            let sent = writes.into_iter().map(|(rule, groups, turn)| {
                let (balancer, rollout, split) = (&balancer, &rollout, &split);
                async move {
                    balancer.set_weights(&rule, &groups, turn).await.map_err(|error| (rule.arn().clone(), error))?;
                    let (from, to) = (weights(split, &rule.groups()), weights(split, &groups));
                    info!(rollout, rule = %rule.arn(), from, to, "weights written");
                    for added in groups.iter().filter(|held| rule.weight_of(&held.group).is_none()) {
                        info!(rollout, rule = %rule.arn(), group = %added.group, "target group added to the rule");
                    }
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

/// Our groups' weights, as people read them: stable, canary, and what further ones there are.
pub(super) fn weights(split: &Split, groups: &[WeightedGroup]) -> String {
    split.ours(groups).map_or_else(|| "other groups".to_owned(), |weights| ratio(&weights))
}
