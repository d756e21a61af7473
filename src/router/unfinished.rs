//! Why a shift is not done, in one sentence that stays the same from try to try: it becomes an event of the Rollout.

use std::fmt;
use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

use super::answer::Stage;
use super::find::{FindError, Remedy, RulesError};
use super::plan::Refusal;
use crate::alb::{self, RuleArn, TargetGroupArn};
use crate::cluster;

const FIRST_DELAY: Duration = Duration::from_millis(100);
const LONGEST_DELAY: Duration = Duration::from_secs(2);

/// Why a shift is not done, and how far it got.
#[derive(Debug)]
pub(super) struct Unfinished {
    cause: Box<Cause>,
    /// After a write that failed in part: rules that have the new weights, and rules that may not.
    done: Vec<RuleArn>,
    open: Vec<RuleArn>,
}

#[derive(Debug, thiserror::Error)]
pub(super) enum Cause {
    #[error(transparent)]
    Alb(#[from] alb::Error),
    #[error(transparent)]
    Cluster(#[from] cluster::Error),
    #[error("{0}; the plugin looks at Pods before it moves traffic to them (gates in the plugin entry)")]
    Pods(cluster::Error),
    #[error(transparent)]
    Find(FindError),
    #[error("rule {rule} cannot be shifted: {refusal}")]
    Refused { rule: RuleArn, refusal: Refusal },
    #[error("the weights were written, but DescribeRules does not show them yet on {0}")]
    Unconfirmed(RuleArn),
    #[error("the weights of {0} changed while the Pods behind it were looked at")]
    Moved(RuleArn),
    #[error(
        "no weight moves to target group {group} until {percent}% of the Pods that Service {service} selects are healthy \
         in it; look at its targets, or switch this gate off in the plugin entry (gates.rising: false)"
    )]
    Rising { group: TargetGroupArn, service: String, percent: u32 },
    #[error(
        "no weight moves to target group {group}: with dynamicStableScale its share of the traffic needs {pods} Pods, and \
         Service {service} has too few healthy ones; the rollouts controller scales stable up first, and then asks again"
    )]
    TooFewPods { group: TargetGroupArn, service: String, pods: usize },
    #[error(
        "the promoted version keeps its traffic in target group {canary} until {percent}% of the Pods that Service \
         {service} selects are healthy in {stable}; look at its targets, or switch this gate off in the plugin entry \
         (gates.promotion: false)"
    )]
    Promotion { canary: TargetGroupArn, stable: TargetGroupArn, service: String, percent: u32 },
    #[error(
        "the update is held before its promotion until {percent}% of {pods} Pods of Service {service} are healthy in target group \
         {group}; look at its targets, or switch this gate off in the plugin entry (gates.promotion: false)"
    )]
    TakingOver { group: TargetGroupArn, service: String, pods: usize, percent: u32 },
    #[error(
        "every rule shows the weights; they must stay true for {} s before pods may go, since the load balancer's nodes \
         follow in their own time (settleSeconds)",
        .0.as_secs()
    )]
    Settling(Duration),
    #[error(
        "every rule shows the weights; the load balancer controller has not followed the Ingress {ingresses} yet, and until it \
         does an older run of it could put older weights back; look at its log and at the events of the Ingress"
    )]
    Echo { ingresses: String },
    #[error(
        "the rules show {shown} where {wished} is wished, and nothing is written while the Rollout has the annotation {annotation}: true"
    )]
    HandsOff { shown: String, wished: String, annotation: &'static str },
    #[error(
        "rule {rule} shows {shown} where {wished} is wished; the built-in router and the load balancer controller set it, and this \
         plugin waits for them and writes nothing while trafficRouting has alb{}",
        .lacking.as_ref().map(|ingress| format!("; the actions of Ingress {ingress} do not show the weights yet")).unwrap_or_default()
    )]
    Observed { rule: RuleArn, shown: String, wished: String, lacking: Option<String> },
    #[error("header route {route}: {why}")]
    Route { route: String, why: String },
    #[error("{0}")]
    AwaitsRoute(String),
    #[error("it cannot stand before rule {before}: {why}")]
    NoRoute { before: RuleArn, why: String },
    #[error(
        "somebody else changed the weights of {rule} to {shown} while no update was under way; the next call of the rollouts controller puts them back"
    )]
    Changed { rule: RuleArn, shown: String },
    #[error("what a gate showed has changed while leave to write was waited for")]
    Changing,
    #[error(
        "the write waits for its turn: AWS takes only so many weight changes a second from an account (--modify-rate), and \
         others came first"
    )]
    Turn,
    #[error(
        "the load balancer controller replaced rules or target groups while the weights were shifted; they are looked up anew"
    )]
    Replaced,
    #[error("a write was cut off, and nobody knows what it did")]
    CutOff,
    #[error(
        "the Rollout has changed since the rollouts controller asked for these weights; nothing is written before it asks again"
    )]
    Outdated,
    #[error(
        "the rules of Ingress {ingresses} divide the weights of the two target groups differently beside other groups, and one \
         announcement cannot say both; give their actions the same sum of weights"
    )]
    Announcement { ingresses: String },
}

/// When the next try makes sense.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Retry {
    /// Soon, and later each time.
    Soon,
    /// Pods take seconds: nothing is won by asking in milliseconds.
    Seconds,
    /// When the host asks again.
    NextCall,
}

impl Unfinished {
    /// A write that failed in part.
    pub(super) fn in_part(cause: impl Into<Cause>, done: Vec<RuleArn>, open: Vec<RuleArn>) -> Self {
        Self { cause: Box::new(cause.into()), done, open }
    }

    /// When the next try makes sense.
    pub(super) fn retry(&self) -> Retry {
        match &*self.cause {
            Cause::Alb(error) if error.kind() == alb::ErrorKind::Transient => Retry::Soon,
            // A Service that is not there yet comes with the Rollout's other manifests.
            Cause::Cluster(error) | Cause::Pods(error) => match error.kind() {
                cluster::ErrorKind::Transient => Retry::Soon,
                cluster::ErrorKind::Missing => Retry::Seconds,
                cluster::ErrorKind::Access | cluster::ErrorKind::Refused => Retry::NextCall,
            },
            Cause::Unconfirmed(_)
            | Cause::Moved(_)
            | Cause::Changing
            | Cause::Replaced
            | Cause::CutOff
            | Cause::Turn
            | Cause::Settling(_)
            | Cause::Observed { .. }
            | Cause::Route { .. }
            | Cause::AwaitsRoute(_)
            | Cause::Echo { .. } => Retry::Soon,
            Cause::Find(error) if error.remedy() == Remedy::Time => Retry::Seconds,
            Cause::Rising { .. }
            | Cause::TooFewPods { .. }
            | Cause::Promotion { .. }
            | Cause::TakingOver { .. }
            | Cause::HandsOff { .. } => Retry::Seconds,
            Cause::Alb(_)
            | Cause::Find(_)
            | Cause::NoRoute { .. }
            | Cause::Refused { .. }
            | Cause::Changed { .. }
            | Cause::Outdated
            | Cause::Announcement { .. } => Retry::NextCall,
        }
    }

    /// How far the shift is. `never_true`: as far as anybody knows, the wish was not true before. `at_rest`: no update is
    /// under way.
    pub(super) fn stage(&self, never_true: bool, at_rest: bool) -> Stage {
        match (&*self.cause, self.retry()) {
            (Cause::TooFewPods { .. }, _) => Stage::AwaitsHost,
            (Cause::Alb(error), _) if error.kind() == alb::ErrorKind::Missing && never_true => Stage::NothingYet,
            // At rest nobody's traffic moves, and what is missing comes with other manifests, or is on its way out.
            (Cause::Find(error), _) if error.remedy() == Remedy::Time && at_rest => Stage::NothingYet,
            (Cause::Find(FindError::Rules(RulesError::None { .. })), _) if never_true => Stage::NothingYet,
            (Cause::Outdated, _) => Stage::Underway,
            (_, Retry::NextCall) => Stage::Refused,
            (_, Retry::Soon | Retry::Seconds) => Stage::Underway,
        }
    }

    /// AWS or Kubernetes did not say how things are, so what was known last may still be so.
    pub(super) fn saw_nothing(&self) -> bool {
        matches!(&*self.cause, Cause::Alb(error) if matches!(error.kind(), alb::ErrorKind::Transient | alb::ErrorKind::Access))
    }

    /// It is somebody else's to make it true.
    pub(super) fn is_observed(&self) -> bool {
        matches!(&*self.cause, Cause::Observed { .. })
    }

    /// The rules may not be the ones they were, or do not hold the groups that they held: they must be looked up again.
    pub(super) fn is_about_other_rules(&self) -> bool {
        self.rules_are_gone() || matches!(&*self.cause, Cause::Refused { .. })
    }

    /// A rule or a target group does not exist any more.
    pub(super) fn rules_are_gone(&self) -> bool {
        matches!(&*self.cause, Cause::Alb(error) if error.kind() == alb::ErrorKind::Missing)
    }
}

/// Doubling delays with jitter, so that shifts do not ask in step.
pub(super) fn delays() -> ExponentialBackoff {
    ExponentialBuilder::default()
        .with_min_delay(FIRST_DELAY)
        .with_max_delay(LONGEST_DELAY)
        .without_max_times()
        .with_jitter()
        .build()
}

impl<E: Into<FindError>> From<E> for Cause {
    fn from(error: E) -> Self {
        Self::Find(error.into())
    }
}

impl<C: Into<Cause>> From<C> for Unfinished {
    fn from(cause: C) -> Self {
        Self::in_part(cause, Vec::new(), Vec::new())
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
