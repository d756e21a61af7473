//! Follows one Rollout: makes its newest wish true, call or no call, and keeps it true as long as it is anybody's wish.
//!
//! A host that is told to wait may skip its calls and go on scaling, so a shift cannot live in a call. It lives in a task of
//! its own. Calls hand their wish over and wait for what comes of it; a newer wish takes the place of an older one at once, but
//! for a write that was sent already.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;
use tracing::info;

use super::OBSERVATION_STANDS;
use super::abort::HostWatch;
use super::guard::{self, Deviation};
use super::hold::Calls;
use super::means::Means;
use super::progress::Ask;
use super::report::Report;
use super::routes::Managed;
use super::shift::{GATE_INTERVAL, Glance, Shift, Track};
use super::unfinished::{Cause, Retry, delays};
use crate::alb::{RuleArn, Urgency};

/// A host that works on a Rollout writes its status in the end. If somebody else has written to the Rollout meanwhile, it may
/// begin again with what it read before its own write, and undo that (seen with Argo Rollouts 1.10.2). So nothing is written
/// to a Rollout before the host has been away for so long.
const QUIET: Duration = Duration::from_secs(10);

/// What became of rules that showed the wish.
#[derive(Debug)]
enum Watched {
    /// Nobody wishes it any more.
    Expired,
    /// They cannot be looked at any more as they were, or more than the rules must be looked at: the next pass says.
    Lost,
    /// Somebody else has changed one of them to this.
    Changed(RuleArn, String),
}

/// One Rollout's follower.
#[derive(Debug)]
pub(super) struct Follower {
    pub(super) means: Means,
    pub(super) asks: watch::Receiver<Option<Arc<Ask>>>,
    pub(super) calls: Calls,
    pub(super) managed: Managed,
    pub(super) report: Report,
    pub(super) track: Track,
}

impl Follower {
    /// Goes on until the router forgets the Rollout, or is gone.
    pub(super) async fn run(mut self) {
        let mut before: Option<Arc<Ask>> = None;
        loop {
            let newest = self.asks.borrow_and_update().clone();
            let Some(ask) = newest else {
                if self.asks.changed().await.is_err() {
                    return;
                }
                continue;
            };
            self.begin(&ask, before.as_deref());
            let mut other = self.asks.clone();
            let gone = tokio::select! {
                biased;
                gone = other_wish(&mut other, &ask) => gone,
                never = self.keep(Arc::clone(&ask)) => match never {},
            };
            if gone {
                return;
            }
            before = Some(ask);
        }
    }

    /// What is known of an older wish's rules, as far as it says something about this one.
    fn begin(&mut self, ask: &Arc<Ask>, before: Option<&Ask>) {
        let same = before.is_some_and(|before| before.wish == ask.wish);
        if same {
            return;
        }
        // Rules are listed anew before Pods go in any case. Where traffic must leave at once, nobody waits for a list before.
        let about_same = before.is_some_and(|before| before.wish.is_about_same_groups(&ask.wish));
        if !(about_same && ask.wish.urgency() == Urgency::First) {
            self.track.found = None;
        } else if let Some(found) = &mut self.track.found {
            Arc::make_mut(found).split.division = ask.wish.division.clone();
        }
        // What the host recorded is all that a fresh process knows. Later, another wish may have reached the nodes since.
        self.track.was_true = before.is_none() && ask.is_recorded();
        self.track.is_fresh = before.is_none() && !ask.wish.is_promoted();
        self.track.written = false;
        self.report.begin(ask);
    }

    /// Makes the wish true, and keeps it so until nobody wishes it any more. Then waits for the next call. Goes on until it is
    /// dropped.
    async fn keep(&mut self, mut ask: Arc<Ask>) -> Infallible {
        let host = HostWatch::new(&self.means, &self.asks, &self.report);
        loop {
            let shifted = tokio::select! {
                biased;
                shifted = self.shift(&mut ask) => shifted,
                never = host.run() => match never {},
            };
            let watched = match shifted {
                Some(seen) => self.guard(&mut ask, seen).await,
                None => Watched::Expired,
            };
            match watched {
                Watched::Lost => {}
                Watched::Changed(rule, shown) => self.deviates(&mut ask, rule, shown).await,
                Watched::Expired => self.next_call(&mut ask).await,
            }
        }
    }

    /// Somebody else has changed the weights: they are put back, or people are told.
    async fn deviates(&mut self, ask: &mut Arc<Ask>, rule: RuleArn, shown: String) {
        self.track.shown = None;
        self.track.was_true = false;
        match guard::deviation(&ask.wish, self.is_followed()) {
            Deviation::PutBack => {
                self.report.put_back(ask, &rule, &shown);
                // What was seen before does not stand any more.
                self.report.unfinished(&Cause::Unconfirmed(rule).into());
            }
            Deviation::Report => {
                self.report.changed(ask, &rule, &shown);
                self.report.unfinished(&Cause::Changed { rule, shown }.into());
                self.next_call(ask).await;
            }
        }
    }

    /// Passes until one goes through. None when the wish is nobody's any more.
    async fn shift(&mut self, ask: &mut Arc<Ask>) -> Option<Instant> {
        let began = Instant::now();
        let mut waits = delays();
        let mut looked_on = false;
        loop {
            self.newest(ask);
            self.report.about(ask);
            let (found_anew, wrote) = (self.track.found.is_none(), self.track.written);
            let mut unfinished = match self.shift_of(ask).pass().await {
                Ok(seen) => {
                    if self.track.written {
                        let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                        let (canary, of) = (ask.wish.division.canary, ask.wish.division.max);
                        info!(rollout = ask.rollout.key(), canary, of, milliseconds, "weights confirmed on every rule");
                    }
                    if looked_on {
                        let milliseconds = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
                        info!(rollout = ask.rollout.key(), milliseconds, "the load balancer controller has followed");
                    }
                    self.report.settled(seen);
                    return Some(seen);
                }
                Err(unfinished) => unfinished,
            };
            looked_on |= unfinished.is_observed();
            // Rules that were found earlier may have been replaced since. Rules that the author named are not ours to replace.
            if unfinished.is_about_other_rules() && !ask.wish.names_rules() {
                let were_found = self.track.found.take().is_some();
                if !found_anew {
                    continue;
                }
                // They were there when this pass looked for them.
                if were_found && unfinished.rules_are_gone() {
                    unfinished = Cause::Replaced.into();
                }
            }
            if self.track.was_true && unfinished.saw_nothing() {
                self.report.unseen(None, &unfinished);
            } else {
                let never_true = !self.track.was_true && ask.recorded.verified_weight.is_none();
                self.report.failed(&unfinished, never_true);
            }
            if self.track.written && !wrote {
                waits = delays();
            }
            match unfinished.retry() {
                Retry::Soon => tokio::time::sleep(waits.next().unwrap_or(GATE_INTERVAL)).await,
                Retry::Seconds => tokio::time::sleep(GATE_INTERVAL).await,
                Retry::NextCall => self.next_call(ask).await,
            }
            if self.calls.ended().elapsed() > guard::EXPIRES_AFTER {
                return None;
            }
        }
    }

    /// Looks at the rules now and then, until they are not as they were.
    async fn guard(&mut self, ask: &mut Arc<Ask>, mut seen: Instant) -> Watched {
        // Where nothing is new, no older write of somebody else is likelier than at any other time.
        let is_new = self.track.written || !self.track.was_true;
        self.track.was_true = true;
        self.track.written = false;
        let settled = Instant::now();
        let mut noted = false;
        loop {
            if self.calls.ended().elapsed() > guard::EXPIRES_AFTER {
                return Watched::Expired;
            }
            let interval = guard::next_look(&ask.wish, self.is_followed(), is_new, settled.elapsed());
            let asked = tokio::select! {
                biased;
                () = self.next_call(ask) => true,
                () = self.calls.are_over_for(QUIET), if !noted => {
                    noted = true;
                    if let Some(found) = &self.track.found {
                        self.report.found(ask, found);
                    }
                    continue;
                }
                () = pause(interval) => false,
            };
            if asked && (ask.wish.is_promoted_next() || self.managed.has_unwished()) {
                return Watched::Lost;
            }
            self.report.about(ask);
            if asked && seen.elapsed() < OBSERVATION_STANDS {
                self.report.settled(seen);
                continue;
            }
            // A look that serves several Rollouts is cheaper than one for each.
            let old = if asked { OBSERVATION_STANDS } else { interval.unwrap_or_default() / 2 };
            let since = Instant::now().checked_sub(old).unwrap_or_else(Instant::now);
            match self.shift_of(ask).glance(since).await {
                Ok(Glance::True(began)) => {
                    seen = began;
                    self.report.settled(seen);
                }
                Ok(Glance::Changed(rule, shown)) => return Watched::Changed(rule, shown),
                Err(unfinished) if unfinished.saw_nothing() => self.report.unseen(Some(seen), &unfinished),
                Err(_) => return Watched::Lost,
            }
        }
    }

    fn shift_of<'s>(&'s mut self, ask: &'s Ask) -> Shift<'s> {
        let Self { means, calls, managed, track, report, .. } = self;
        Shift { means, balancer: means.balancer_for(&ask.wish), ask, calls, managed, track, report }
    }

    fn is_followed(&self) -> bool {
        self.track.found.as_ref().is_some_and(|found| found.is_followed())
    }

    /// Takes the newest call's ask for the same wish, if there is one.
    fn newest(&self, ask: &mut Arc<Ask>) {
        if let Some(newest) = self.asks.borrow().as_ref().filter(|newest| newest.wish == ask.wish) {
            *ask = Arc::clone(newest);
        }
    }

    /// Waits for a newer call with the same wish.
    async fn next_call(&self, ask: &mut Arc<Ask>) {
        let mut asks = self.asks.clone();
        let number = ask.number;
        let newer = |newest: &Option<Arc<Ask>>| newest.as_ref().is_some_and(|newest| newest.number > number);
        if asks.wait_for(newer).await.is_ok() {
            self.newest(ask);
        }
    }
}

/// Ends when somebody wishes something else (false), or nobody can any more (true).
async fn other_wish(asks: &mut watch::Receiver<Option<Arc<Ask>>>, ask: &Ask) -> bool {
    let other = |newest: &Option<Arc<Ask>>| newest.as_ref().is_some_and(|newest| newest.wish != ask.wish);
    asks.wait_for(other).await.is_err()
}

async fn pause(time: Option<Duration>) {
    match time {
        Some(time) => tokio::time::sleep(time).await,
        None => std::future::pending().await,
    }
}
