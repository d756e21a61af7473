//! Why a shift is not done, in one sentence that stays the same from try to try: it becomes an event of the Rollout.

use std::fmt;
use std::time::Duration;

use super::plan::Refusal;
use super::rules::RulesError;
use crate::alb::{self, RuleArn, TargetGroupArn};
use crate::cluster;

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
    #[error("{0}; the plugin looks at Pods before it moves traffic to them (gates in the plugin entry)")]
    Cluster(#[from] cluster::Error),
    #[error(transparent)]
    Rules(#[from] RulesError),
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
        "every rule shows the weights; they must stay true for {} s before pods may go, since the load balancer's nodes \
         follow in their own time (settleSeconds)",
        .0.as_secs()
    )]
    Settling(Duration),
    #[error("AWS or Kubernetes did not answer before the call had to be answered")]
    Slow,
    #[error("another shift is writing the same rules")]
    Busy,
}

impl Unfinished {
    /// A write that failed in part.
    pub(super) fn in_part(cause: impl Into<Cause>, done: Vec<RuleArn>, open: Vec<RuleArn>) -> Self {
        Self { cause: Box::new(cause.into()), done, open }
    }

    /// Waiting may help.
    pub(super) fn may_pass(&self) -> bool {
        match &*self.cause {
            Cause::Alb(error) => error.kind() == alb::ErrorKind::Transient,
            // A Service that is not there yet comes with the Rollout's other manifests.
            Cause::Cluster(error) => {
                matches!(error.kind(), cluster::ErrorKind::Transient | cluster::ErrorKind::Missing)
            }
            Cause::Unconfirmed(_)
            | Cause::Moved(_)
            | Cause::Rising { .. }
            | Cause::TooFewPods { .. }
            | Cause::Promotion { .. }
            | Cause::Settling(_)
            | Cause::Slow
            | Cause::Busy => true,
            Cause::Rules(_) | Cause::Refused { .. } => false,
        }
    }

    /// It waits for pods, which takes seconds: nothing is won by asking in milliseconds.
    pub(super) fn waits_for_pods(&self) -> bool {
        matches!(&*self.cause, Cause::Rising { .. } | Cause::Promotion { .. })
    }

    /// It waits for something that the host does only once it has an answer.
    pub(super) fn waits_for_host(&self) -> bool {
        matches!(&*self.cause, Cause::TooFewPods { .. })
    }

    /// Nothing is known but that time ran out.
    pub(super) fn is_slow(&self) -> bool {
        matches!(&*self.cause, Cause::Slow)
    }

    /// The rules are not the ones they were: they must be looked up again.
    pub(super) fn rules_are_gone(&self) -> bool {
        matches!(&*self.cause, Cause::Alb(error) if error.kind() == alb::ErrorKind::Missing)
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
