//! What a call is answered, and what a host makes of it. Pure.
//!
//! Three ways to make a host wait, each dearer than the one before. *Block*: the call does not return yet. *Soft*:
//! SetWeight succeeds and VerifyWeight says "not verified", so the host's step waits, but nothing keeps it from scaling Pods by the
//! weights that it has recorded now. *Hard*: SetWeight's error, the only answer that stops a host before it scales or records
//! anything (`rollout/trafficrouting.go` of Argo Rollouts).

use super::Verification;
use super::wish::Wish;

/// How far a shift is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// Every rule shows the wish, it has settled, and that was seen a moment ago.
    Settled,
    /// It was so, or the host recorded it as verified; AWS cannot say now whether it still is.
    Unseen,
    /// Waiting helps: for AWS, for Pods, for nodes to follow.
    Underway,
    /// It needs something that the host does once it has an answer.
    AwaitsHost,
    /// There is nothing to shift yet: no load balancer, no target group, and the wish was never true.
    NothingYet,
    /// Somebody has to correct something.
    Refused,
}

/// Which way the traffic of the rules is to move, as they were seen last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Toward {
    /// The canary gets more, on every rule that does not show the wish.
    Canary,
    /// Stable gets more, on one rule at least.
    Stable,
    /// Nowhere: the rules show the wish, or nobody has seen them.
    Nobody,
}

/// What decides about an answer, beside the stage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Situation {
    /// No update is under way: the version that was tried last is the stable one.
    pub(super) promoted: bool,
    /// The update was given up.
    pub(super) aborted: bool,
    /// Stable Pods go as the canary's weight rises.
    pub(super) lets_stable_go: bool,
    /// The canary is to have everything.
    pub(super) maximum: bool,
    /// The update has steps. A host without them does not survive a "not verified".
    pub(super) has_steps: bool,
    /// Where traffic is to move.
    pub(super) toward: Toward,
    /// Each group with weight stands behind a Service that selects the stable version. Read since the call began.
    pub(super) stable_serves_all: bool,
}

/// What to do with a SetWeight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// It succeeds at once.
    Success,
    /// It fails at once.
    Failure,
    /// It is held, and succeeds when its time is up.
    BlockThenSoft,
    /// It is held, and fails when its time is up.
    BlockThenHard,
    /// It succeeds at once, and is not verified.
    Soft,
}

/// Decides about a SetWeight.
pub(super) fn set_weight(stage: Stage, situation: Situation) -> Answer {
    match stage {
        Stage::Settled | Stage::Unseen => Answer::Success,
        Stage::Refused | Stage::AwaitsHost => Answer::Failure,
        // The host skips a Rollout without stable Pods, so a promoted one is a first install, whose load balancer comes later.
        Stage::NothingYet if situation.promoted => Answer::Soft,
        Stage::NothingYet => Answer::Failure,
        Stage::Underway if situation.soft_is_safe() => Answer::BlockThenSoft,
        Stage::Underway => Answer::BlockThenHard,
    }
}

/// Decides about a VerifyWeight. An error is not among the answers: a host takes it as leave to promote.
pub(super) fn verify_weight(stage: Stage, situation: Situation) -> Verification {
    match stage {
        Stage::Settled => Verification::Verified,
        // At rest the last answer stands. In mid-update a step must not end on it.
        Stage::Unseen if situation.promoted => Verification::Verified,
        _ if !situation.has_steps => Verification::Unknown,
        // A "no" at the maximum stops the host before it scales. On the way back that would keep stable from growing.
        _ if situation.maximum && (situation.aborted || situation.toward == Toward::Stable) => Verification::Unknown,
        _ => Verification::NotVerified,
    }
}

impl Situation {
    /// What the wish says by itself.
    pub(super) fn of(wish: &Wish) -> Self {
        Self {
            promoted: wish.is_promoted(),
            aborted: wish.is_aborted(),
            lets_stable_go: wish.lets_stable_go,
            maximum: wish.is_maximum(),
            has_steps: wish.has_steps,
            toward: Toward::Nobody,
            stable_serves_all: false,
        }
    }

    /// A success lets no Pod go that still has traffic.
    fn soft_is_safe(self) -> bool {
        if self.promoted {
            // A rollback lets the Pods of other versions go, so no group with traffic may stand for one.
            return self.stable_serves_all;
        }
        // Without dynamicStableScale a raise lets nobody go, and only at the maximum is the old version done with.
        !self.lets_stable_go && !self.aborted && !self.maximum && self.toward == Toward::Canary
    }
}

#[cfg(test)]
mod tests;
