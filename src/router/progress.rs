//! What a call asks for, and what is known of it: the two ends between the calls of a Rollout and its follower.

use std::sync::Arc;

use tokio::time::Instant;

use super::answer::{Situation, Stage, Toward};
use super::wish::{Recorded, Wish};
use super::{OBSERVATION_STANDS, Settings};
use crate::rollout::{Rollout, WeightDestination};

/// One call's wish, with the Rollout that it was made for.
#[derive(Clone, Debug)]
pub(super) struct Ask {
    /// Later calls have larger numbers.
    pub(super) number: u64,
    pub(super) wish: Wish,
    pub(super) recorded: Recorded,
    pub(super) rollout: Rollout,
    weight: i64,
    further: Vec<WeightDestination>,
}

/// How far a follower is with the wish of `ask`.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    /// The newest ask that what follows was found out for.
    pub(super) ask: Option<Arc<Ask>>,
    pub(super) state: State,
    pub(super) sight: Option<Sight>,
}

/// Where a wish stands.
#[derive(Clone, Debug, Default)]
pub(super) enum State {
    /// Nobody has looked yet.
    #[default]
    Begun,
    /// It is not true, or has not settled.
    Unfinished { why: Arc<str>, stage: Stage },
    /// It was true and settled when the rules were looked at.
    Settled {
        /// None: the host recorded it as verified, and nobody has seen it since this process began.
        seen: Option<Instant>,
        /// Why they could not be looked at since.
        unseen: Option<Arc<str>>,
    },
}

/// What a look at rules and Pods says about answers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sight {
    pub(super) toward: Toward,
    /// Which groups have traffic; none where old Pods may serve, whatever their Service selects by now.
    pub(super) carrying: Option<Carrying>,
}

/// Which groups have a weight above zero on some rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Carrying {
    pub(super) stable: bool,
    pub(super) canary: bool,
}

impl Ask {
    /// A call's ask. It gets its number from whoever hands it on.
    pub(super) fn new(wish: Wish, rollout: &Rollout, weight: i64, further: &[WeightDestination]) -> Self {
        let recorded = Recorded::of(rollout);
        Self { number: 0, wish, recorded, rollout: rollout.clone(), weight, further: further.to_vec() }
    }

    /// The Rollout as it is now still means this wish.
    pub(super) fn is_meant_by(&self, now: &Rollout, settings: &Settings) -> bool {
        now.metadata.uid == self.rollout.metadata.uid
            && Wish::of(now, self.weight, &self.further, settings).is_ok_and(|wish| wish == self.wish)
    }

    /// The host should look at the Rollout again before anything else. A new version does not end a promotion's hold: traffic
    /// stays where the promoted version has its Pods. Nor does it end the way back with dynamicStableScale: the host sizes stable
    /// by the weights that it recorded last, so the new version's update would begin by scaling down who has all traffic again.
    pub(super) fn is_overtaken_by(&self, now: &Rollout, settings: &Settings) -> bool {
        let newer = now.metadata.generation != self.rollout.metadata.generation
            && !self.wish.is_promoted()
            && !(self.wish.is_aborted() && self.wish.lets_stable_go);
        newer || !self.is_meant_by(now, settings)
    }

    /// There was no update yet, so that no Pod goes on the strength of any weight.
    pub(super) fn is_first_install(&self) -> bool {
        self.wish.is_promoted() && self.recorded.nothing
    }

    /// The host recorded this very weight as verified.
    pub(super) fn is_recorded(&self) -> bool {
        self.is_weight(self.recorded.verified_weight)
    }

    /// No update is under way, and the host recorded this very weight for its one version: a success lets it do nothing new.
    fn is_at_rest(&self) -> bool {
        self.wish.is_promoted() && self.is_weight(self.recorded.weight)
    }

    fn is_weight(&self, recorded: Option<i32>) -> bool {
        recorded.and_then(|weight| u32::try_from(weight).ok()) == Some(self.wish.division.canary)
    }
}

impl Progress {
    /// The stage of `ask`, as far as this tells. What was found out for an earlier call is no reason to refuse a later one.
    pub(super) fn stage(&self, ask: &Ask) -> Stage {
        let Some(found_for) = self.found_for(ask) else { return Stage::Underway };
        let is_news = found_for.number >= ask.number;
        // The next success may be the one that promotes: Pods are looked at for each.
        if ask.wish.is_promoted_next() && !is_news {
            return Stage::Underway;
        }
        match &self.state {
            State::Settled { seen: Some(seen), .. } if seen.elapsed() < OBSERVATION_STANDS => Stage::Settled,
            // The follower looks again and again, so this is no older than a look's time.
            State::Settled { unseen: Some(_), .. } => Stage::Unseen,
            // At rest nothing is scaled by weights: the look that is due does not have to be waited for.
            State::Settled { .. } if ask.wish.is_promoted() => Stage::Settled,
            State::Unfinished { stage, .. } if is_news => *stage,
            State::Begun | State::Settled { .. } | State::Unfinished { .. } => Stage::Underway,
        }
    }

    /// The wish of `ask` was true when its rules were seen last. Only a look that is due is missing.
    pub(super) fn was_settled(&self, ask: &Ask) -> bool {
        self.found_for(ask).is_some() && matches!(self.state, State::Settled { .. }) && !ask.wish.is_promoted_next()
    }

    /// What decides about the answer to `ask`, but for Services, which only the call itself has read since it began.
    pub(super) fn situation(&self, ask: &Ask) -> Situation {
        let mut situation = Situation::of(&ask.wish);
        if let Some(sight) = self.sight_for(ask) {
            situation.toward = sight.toward;
        }
        situation
    }

    /// Which groups have the traffic that `ask` is about, if no old Pod is among those who serve it.
    pub(super) fn carrying(&self, ask: &Ask) -> Option<Carrying> {
        self.sight_for(ask)?.carrying
    }

    /// Nothing is to be moved, and nothing new would be done. Nobody has to be held for that.
    pub(super) fn rests(&self, ask: &Ask) -> bool {
        ask.is_at_rest() && self.sight_for(ask).is_some_and(|sight| sight.toward == Toward::Nobody)
    }

    fn sight_for(&self, ask: &Ask) -> Option<Sight> {
        self.sight.filter(|_| self.found_for(ask).is_some())
    }

    /// Why `ask` is not done, if somebody has found out.
    pub(super) fn why(&self, ask: &Ask) -> Option<Arc<str>> {
        match &self.state {
            State::Unfinished { why, .. } if self.found_for(ask).is_some() => Some(Arc::clone(why)),
            _ => None,
        }
    }

    /// The ask that this was found out for, if it wished the same.
    fn found_for(&self, ask: &Ask) -> Option<&Ask> {
        self.ask.as_deref().filter(|found_for| found_for.wish == ask.wish)
    }
}
