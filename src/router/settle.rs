//! Weights that every rule shows must stay so for a while before Pods may go on the strength of them: the load balancer's
//! nodes follow in their own time, and an older write of somebody else may still be on its way.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::Instant;
use tracing::{info, warn};

use super::echo::Echo;
use super::find::Found;
use super::plan::{Direction, Plan, Split};
use super::shift::{Shift, first_untrue, weights};
use super::unfinished::{Cause, Unfinished};
use super::wish::Settle;
use crate::alb::{Observation, Rule, WeightedGroup};
use crate::cluster::Announcement;

/// How often the rules are looked at while they settle.
const INTERVAL: Duration = Duration::from_secs(3);

/// A group's cookie can keep people on it for a week. Nobody waits that long for a step.
const LONGEST_STICKINESS: Duration = Duration::from_secs(300);

/// A division of traffic that every rule shows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Shown {
    split: Split,
    /// Since when, as far as we know.
    since: Instant,
    /// How long it must stay so.
    settle: Duration,
    /// It is new, and Pods may go on the strength of it.
    lets_pods_go: bool,
}

impl Shown {
    /// It was true for long enough.
    pub(super) fn has_settled(&self) -> bool {
        self.left().is_zero()
    }

    fn left(&self) -> Duration {
        (self.since + self.settle).saturating_duration_since(Instant::now())
    }
}

impl Shift<'_> {
    /// Waits until the weights that `observation` shows were true for long enough, and until whoever else writes the rules has
    /// followed. Answers when the last observation began.
    pub(super) async fn settle(
        &mut self,
        found: &Found,
        mut observation: Observation,
        moved: Option<Direction>,
    ) -> Result<Instant, Unfinished> {
        let mut shown = self.show(found, &observation, moved);
        loop {
            if self.listen(&observation.rules) {
                // An older write may have come and gone since the rules were seen last, and nodes may have followed it.
                shown.since = observation.began;
                self.track.shown = Some(shown.clone());
            }
            let left = shown.left();
            let awaits_echo = shown.lets_pods_go && self.awaits_echo(&observation.rules);
            if left.is_zero() && !awaits_echo {
                self.still_all(found, &shown).await?;
                return Ok(observation.began);
            }
            self.report.unfinished(&match left.is_zero() {
                true => Cause::Echo { ingresses: found.ingresses.join(", ") }.into(),
                false => Cause::Settling(shown.settle).into(),
            });
            tokio::time::sleep(if left.is_zero() { INTERVAL } else { left.min(INTERVAL) }).await;
            observation = self.observe(&found.rules, Instant::now()).await?;
            if let Some(rule) = first_untrue(&found.split, &observation) {
                self.track.shown = None;
                if self.ask.wish.writes_nothing() {
                    return Err(Cause::Changing.into());
                }
                self.report.put_back(self.ask, rule.arn(), &weights(&found.split, &rule.groups()));
                return Err(Cause::Unconfirmed(rule.arn().clone()).into());
            }
        }
    }

    /// Remembers that every rule shows the wish.
    ///
    /// It settles where pods may go next: always with dynamicStableScale, otherwise when the canary had more before. A
    /// fresh process does not know how long it has been so, unless the host is at rest and has recorded it as verified.
    pub(super) fn show(&mut self, found: &Found, observation: &Observation, moved: Option<Direction>) -> Shown {
        let wish = &self.ask.wish;
        let known = self.track.shown.take().filter(|shown| shown.split == found.split && moved.is_none());
        let shown = known.unwrap_or_else(|| {
            let lowered = match moved {
                Some(direction) => direction == Direction::Stable,
                None => wish.division.canary == 0,
            };
            let is_new = self.track.written || !self.track.was_true || self.track.is_fresh;
            // At the maximum the old version is done with: the promotion comes next.
            let lets_pods_go = (wish.lets_stable_go || lowered || wish.is_maximum()) && is_new;
            // At a first install there is nobody to go.
            let lets_pods_go = lets_pods_go && !self.ask.is_first_install();
            let settle = if lets_pods_go { self.settle_time(&observation.rules) } else { Duration::ZERO };
            Shown { split: found.split.clone(), since: observation.began, settle, lets_pods_go }
        });
        self.track.shown = Some(shown.clone());
        shown
    }

    fn settle_time(&self, rules: &[Rule]) -> Duration {
        let settle = self.ask.wish.settle;
        let sticky = rules.iter().filter_map(Rule::stickiness).max().unwrap_or_default();
        let waited = waited(settle, sticky);
        if sticky > settle.time {
            let (rollout, cookie, waits) = (self.ask.rollout.key(), sticky.as_secs(), waited.as_secs());
            warn!(
                rollout,
                cookie, waits, "cookies keep people on a target group; a step waits for them as long as it may"
            );
        }
        waited
    }

    /// A rule that was added meanwhile is shifted too, before Pods go under it.
    async fn still_all(&mut self, found: &Found, shown: &Shown) -> Result<(), Unfinished> {
        let wish = &self.ask.wish;
        if !shown.lets_pods_go || !(self.track.written || wish.observes) || wish.names_rules() {
            return Ok(());
        }
        let now = self.find_anew().await?;
        let Some(added) = now.rules.iter().find(|rule| !found.rules.contains(rule)).cloned() else { return Ok(()) };
        info!(rollout = self.ask.rollout.key(), rule = %added, "a rule was added while the weights settled");
        self.track.found = Some(Arc::new(now));
        Err(Cause::Moved(added).into())
    }

    /// Tells the other writer what is written, so that it comes to the same.
    pub(super) async fn announce(
        &mut self,
        found: &Found,
        split: &Split,
        observation: &Observation,
    ) -> Result<(), Unfinished> {
        let wish = &self.ask.wish;
        if !found.is_followed() {
            return Ok(());
        }
        let numbers = split.numbers(&observation.rules).map_err(|(rule, refusal)| Cause::Refused { rule, refusal })?;
        let numbers = numbers.ok_or_else(|| Cause::Announcement { ingresses: found.ingresses.join(", ") })?;
        let further = &split.division.further;
        let services = wish.services.names().into_iter().chain(further.iter().map(|further| further.service.as_str()));
        let weights = services.map(str::to_owned).zip(numbers);
        // A Service that is to have nothing any more is deleted next.
        let ended = |service: &String| further.iter().any(|further| further.service == *service && further.weight == 0);
        let (leaving, weights): (Vec<_>, Vec<_>) = weights.partition(|(service, _)| ended(service));
        let announcement = Announcement {
            prefix: wish.narrowing.prefix.clone(),
            rollout: self.ask.rollout.metadata.name.clone(),
            weights,
            joining: found.joining.clone(),
            leaving: leaving.into_iter().map(|(service, _)| service).collect(),
            root: None,
            stickiness: wish.narrowing.stickiness,
        };
        let cluster = &self.means.cluster;
        let namespace = &wish.services.namespace;
        let told = found.ingresses.iter().map(|ingress| cluster.announce(namespace, ingress, &announcement));
        let (mut all_changed, mut any_changed) = (true, false);
        for changed in join_all(told).await {
            let changed = changed?;
            all_changed &= changed;
            any_changed |= changed;
        }
        // What was announced and followed before, and then wiped by somebody, may still be on its way to the rules.
        if any_changed || !self.has_announced(split) {
            // Where nothing changed, nobody has a reason to follow; unless the rules show that an earlier announcement, of
            // an earlier process perhaps, was not followed yet.
            let is_behind =
                |rule: &Rule| split.plan(&rule.groups()) != Ok(Plan::AlreadyTrue) || split.awaits_echo_in(rule);
            let is_followed = all_changed || observation.rules.iter().any(is_behind);
            self.track.echo = Some(if is_followed { Echo::of(split) } else { Echo::of_nobody(split) });
        }
        Ok(())
    }

    /// The rules show the division without our writing it. The other writer may not know.
    pub(super) async fn announce_late(
        &mut self,
        found: &Found,
        split: &Split,
        observation: &Observation,
    ) -> Result<(), Unfinished> {
        if !self.is_news_to_the_other_writer(found, split) {
            return Ok(());
        }
        self.announce(found, split, observation).await
    }

    /// The other writer has not been told of this division, as far as this process knows.
    pub(super) fn is_news_to_the_other_writer(&self, found: &Found, split: &Split) -> bool {
        let wish = &self.ask.wish;
        found.is_followed()
            && !self.track.was_true
            && !self.ask.is_first_install()
            && !wish.writes_nothing()
            && !self.has_announced(split)
    }

    /// Somebody was told of this division, and is to follow.
    pub(super) fn listens_for(&self, split: &Split) -> bool {
        self.track.echo.as_ref().is_some_and(|echo| echo.is_about(split) && !echo.is_given_up())
    }

    fn has_announced(&self, split: &Split) -> bool {
        self.track.echo.as_ref().is_some_and(|echo| echo.is_about(split))
    }

    /// Whether the echo is heard now, for the first time.
    fn listen(&mut self, rules: &[Rule]) -> bool {
        let Some(echo) = &mut self.track.echo else { return false };
        let is_heard = echo.is_heard(rules);
        if is_heard {
            let milliseconds = u64::try_from(echo.waited().as_millis()).unwrap_or(u64::MAX);
            info!(rollout = self.ask.rollout.key(), milliseconds, "the load balancer controller has followed");
        }
        is_heard
    }

    /// No older write of somebody else is known to be over yet, and it is worth waiting for that.
    fn awaits_echo(&mut self, rules: &[Rule]) -> bool {
        let timeout = self.means.settings.echo_timeout;
        let Some(echo) = &mut self.track.echo else { return false };
        if !echo.is_awaited(rules) {
            return false;
        }
        if echo.waited() < timeout {
            return true;
        }
        echo.give_up();
        let ingresses = self.track.found.as_ref().map(|found| found.ingresses.join(", ")).unwrap_or_default();
        self.report.no_echo(self.ask, &ingresses, timeout);
        false
    }
}

/// The numbers in which a division is written where an echo is listened for: others than the announced ones.
pub(super) fn written_as(split: &Split, rule: &Rule, groups: Vec<WeightedGroup>) -> Vec<WeightedGroup> {
    split.announced(&rule.groups()).map_or(groups, |announced| split.written_beside(announced))
}

/// People with a cookie of a group stay on it until the cookie ends, whatever the group's weight says (not documented
/// by AWS, so assumed). Who said how long to wait has thought of them.
fn waited(settle: Settle, cookie: Duration) -> Duration {
    if settle.by_author { settle.time } else { settle.time.max(cookie.min(LONGEST_STICKINESS)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_is_waited_for_up_to_a_limit_unless_the_author_says_how_long() {
        let seconds = Duration::from_secs;
        for (time, by_author, cookie, expected) in [
            (10, false, 0, 10),
            (10, false, 60, 60),
            (90, false, 60, 90),
            (10, false, 86_400, 300),
            (10, true, 86_400, 10),
        ] {
            let settle = Settle { time: seconds(time), by_author };
            assert_eq!(waited(settle, seconds(cookie)), seconds(expected), "{time} {by_author} {cookie}");
        }
    }
}
