//! Weights that every rule shows must stay so for a while before Pods may go on the strength of them: the load balancer's
//! nodes follow in their own time, and an older write of somebody else may still be on its way.

use std::time::Duration;

use tokio::time::Instant;
use tracing::{info, warn};

use super::echo::Echo;
use super::plan::{Direction, Split};
use super::shift::{Shift, first_untrue, weights};
use super::unfinished::{Cause, Unfinished};
use super::wish::Settle;
use crate::alb::{Observation, Rule, RuleArn, WeightedGroup};

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
        rules: &[RuleArn],
        mut observation: Observation,
        moved: Option<Direction>,
    ) -> Result<Instant, Unfinished> {
        let shown = self.show(&observation, moved);
        loop {
            self.listen(&observation.rules);
            let left = shown.left();
            let awaits_echo = shown.lets_pods_go && self.awaits_echo(&observation.rules);
            if left.is_zero() && !awaits_echo {
                self.still_all(rules, &shown).await?;
                return Ok(observation.began);
            }
            let ingress = self.ask.wish.ingress.clone().filter(|_| left.is_zero());
            self.report.unfinished(&match ingress {
                Some(ingress) => Cause::Echo { ingress }.into(),
                None => Cause::Settling(shown.settle).into(),
            });
            tokio::time::sleep(if left.is_zero() { INTERVAL } else { left.min(INTERVAL) }).await;
            observation = self.observe(rules, Instant::now()).await?;
            if let Some(rule) = first_untrue(&self.ask.wish.split, &observation) {
                self.track.shown = None;
                self.report.put_back(self.ask, rule.arn(), &weights(&self.ask.wish.split, &rule.groups()));
                return Err(Cause::Unconfirmed(rule.arn().clone()).into());
            }
        }
    }

    /// Remembers that every rule shows the wish.
    ///
    /// It settles where pods may go next: always with dynamicStableScale, otherwise when the canary had more before. A
    /// fresh process does not know how long it has been so, unless the host is at rest and has recorded it as verified.
    pub(super) fn show(&mut self, observation: &Observation, moved: Option<Direction>) -> Shown {
        let wish = &self.ask.wish;
        let known = self.track.shown.take().filter(|shown| shown.split == wish.split && moved.is_none());
        let shown = known.unwrap_or_else(|| {
            let lowered = match moved {
                Some(direction) => direction == Direction::ToStable,
                None => wish.split.canary_weight == 0,
            };
            let is_new = self.track.written || !self.track.was_true || self.track.is_fresh;
            // At the maximum the old version is done with: the promotion comes next.
            let lets_pods_go = (wish.lets_stable_go || lowered || wish.is_maximum()) && is_new;
            let settle = if lets_pods_go { self.settle_time(&observation.rules) } else { Duration::ZERO };
            Shown { split: wish.split.clone(), since: observation.began, settle, lets_pods_go }
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
    async fn still_all(&mut self, rules: &[RuleArn], shown: &Shown) -> Result<(), Unfinished> {
        if !shown.lets_pods_go || !self.track.written || self.ask.wish.rules.is_some() {
            return Ok(());
        }
        let found = self.rules_that_hold_both().await?;
        let Some(added) = found.iter().find(|rule| !rules.contains(rule)) else { return Ok(()) };
        let added = added.clone();
        info!(rollout = self.ask.rollout.key(), rule = %added, "a rule was added while the weights settled");
        self.track.rules = Some(found);
        Err(Cause::Moved(added).into())
    }

    /// Tells the other writer what is written, so that it comes to the same.
    pub(super) async fn announce(&mut self, split: &Split, observation: &Observation) -> Result<(), Unfinished> {
        let wish = &self.ask.wish;
        let Some(ingress) = &wish.ingress else { return Ok(()) };
        let numbers = split.numbers(&observation.rules).map_err(|(rule, refusal)| Cause::Refused { rule, refusal })?;
        let (stable, canary) = numbers.ok_or_else(|| Cause::Announcement { ingress: ingress.clone() })?;
        let weights = [(wish.services.stable.clone(), stable), (wish.services.canary.clone(), canary)];
        self.means.cluster.announce(&wish.services.namespace, ingress, &weights).await?;
        if !self.has_announced(split) {
            self.track.echo = Some(Echo::of(split));
        }
        Ok(())
    }

    /// The rules show the division without our writing it. The other writer may not know.
    pub(super) async fn announce_late(&mut self, split: &Split, observation: &Observation) -> Result<(), Unfinished> {
        if self.is_news_to_the_other_writer(split) { self.announce(split, observation).await } else { Ok(()) }
    }

    /// The other writer has not been told of this division, as far as this process knows.
    pub(super) fn is_news_to_the_other_writer(&self, split: &Split) -> bool {
        let wish = &self.ask.wish;
        wish.ingress.is_some() && !self.track.was_true && !wish.hands_off && !self.has_announced(split)
    }

    /// The numbers in which a division is written: others than the announced ones, where an echo is listened for.
    pub(super) fn written_as(&self, split: &Split, rule: &Rule, groups: Vec<WeightedGroup>) -> Vec<WeightedGroup> {
        if self.ask.wish.ingress.is_none() {
            return groups;
        }
        split.announced(&rule.groups()).map_or(groups, |announced| split.written_beside(announced))
    }

    fn has_announced(&self, split: &Split) -> bool {
        self.track.echo.as_ref().is_some_and(|echo| echo.is_about(split))
    }

    fn listen(&mut self, rules: &[Rule]) {
        let Some(echo) = &mut self.track.echo else { return };
        if echo.is_heard(rules) {
            let milliseconds = u64::try_from(echo.waited().as_millis()).unwrap_or(u64::MAX);
            info!(rollout = self.ask.rollout.key(), milliseconds, "the load balancer controller has followed");
        }
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
        self.report.no_echo(self.ask, timeout);
        false
    }
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
