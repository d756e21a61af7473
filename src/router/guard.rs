//! After a shift: how often its rules are looked at, and what is done when somebody else has changed them. Pure.
//!
//! A load balancer controller that read an Ingress before our announcement can apply older weights after our write, and
//! a person can have a reason to change a rule by hand.

use std::time::Duration;

use super::wish::Wish;

/// A wish that no call has asked for since is nobody's any more. A host asks at least every 15 minutes
/// (`--rollout-resync` of Argo Rollouts), and the last second of that is worth a little more.
pub(super) const EXPIRES_AFTER: Duration = Duration::from_secs(16 * 60);

/// Right after a shift an older write of somebody else is likeliest.
const FIRST: Duration = Duration::from_secs(60);
const SOON: Duration = Duration::from_secs(3);
const LATER: Duration = Duration::from_secs(10);
const LATE: Duration = Duration::from_secs(30);

/// What to do about weights that are not the wished ones any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deviation {
    /// They are written again.
    PutBack,
    /// People are told, and the next call decides.
    Report,
}

/// How long until the next look at rules that somebody else writes too, if they are followed, that have been true for `settled`, and were not before if that `is_new`. None: when
/// somebody asks.
pub(super) fn next_look(wish: &Wish, is_followed: bool, is_new: bool, settled: Duration) -> Option<Duration> {
    let mid_update = !wish.is_promoted();
    if is_new && settled < FIRST {
        return Some(SOON);
    }
    match settled.as_secs() {
        _ if !mid_update && !is_followed => None,
        0..600 => Some(LATER),
        _ => mid_update.then_some(LATE),
    }
}

/// What to do when somebody else has changed the weights.
pub(super) fn deviation(wish: &Wish, is_followed: bool) -> Deviation {
    // Where no second writer is known and no update is under way, it may be a person's own hand.
    let ours = !wish.is_promoted() || is_followed;
    if ours && wish.guarded && !wish.writes_nothing() { Deviation::PutBack } else { Deviation::Report }
}
