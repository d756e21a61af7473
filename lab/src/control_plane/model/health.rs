//! The one answer about a target's health that DescribeTargetHealth gives, from all that is known of the target.
//!
//! Source of states, reasons and sentences: user guide for Application Load Balancers, "Health checks for your target groups".

use std::time::{Duration, SystemTime};

use serde::Serialize;

use crate::control_plane::model::arn::Family;
use crate::control_plane::model::targets::{NodeHealth, Probing, Registration};
use crate::control_plane::model::{Account, TargetGroup};

/// The health of a target, as AWS describes it. Only a healthy target has neither reason nor description.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TargetHealth {
    /// `initial`, `healthy`, `unhealthy`, `unused` or `draining`.
    pub(crate) state: &'static str,
    pub(crate) reason: Option<&'static str>,
    pub(crate) description: Option<&'static str>,
}

impl TargetHealth {
    pub(crate) const HEALTHY: Self = Self { state: "healthy", reason: None, description: None };
    pub(crate) const REGISTERING: Self =
        Self::of("initial", "Elb.RegistrationInProgress", "Target registration is in progress");
    pub(crate) const CHECKING: Self =
        Self::of("initial", "Elb.InitialHealthChecking", "Initial health checks in progress");
    pub(crate) const DRAINING: Self =
        Self::of("draining", "Target.DeregistrationInProgress", "Target deregistration is in progress");
    pub(crate) const NOT_REGISTERED: Self =
        Self::of("unused", "Target.NotRegistered", "Target is not registered to the target group");
    pub(crate) const NOT_IN_USE: Self = Self::of(
        "unused",
        "Target.NotInUse",
        "Target group is not configured to receive traffic from the load balancer",
    );

    const fn of(state: &'static str, reason: &'static str, description: &'static str) -> Self {
        Self { state, reason: Some(reason), description: Some(description) }
    }
}

impl Account {
    /// The health of a registered target at a time.
    ///
    /// Where nodes disagree: unhealthy if any says so, healthy if every node says so. AWS does not document how it sums them up; this
    /// is the reading that whoever waits for health can rely on. Nobody in the lab probes targets of
    /// Network Load Balancers, so without reports these follow the time alone.
    pub(crate) fn health_of(&self, group: &TargetGroup, registration: &Registration, now: SystemTime) -> TargetHealth {
        if registration.is_draining() {
            return TargetHealth::DRAINING;
        }
        if self.load_balancers_of(&group.arn).is_empty() {
            return TargetHealth::NOT_IN_USE;
        }
        let reports = self.health.get(&(group.arn.clone(), registration.target.clone()));
        if let Some(reports) = reports.filter(|reports| !reports.is_empty()) {
            let nodes = if let Probing::Nodes(nodes) = self.probing { nodes } else { reports.len() };
            let silent = (reports.len()..nodes).map(|_| NodeHealth::Initial);
            return agreed(reports.values().copied().chain(silent));
        }
        let healthy_after = match self.probing {
            Probing::Nodes(_) if group.family() == Family::Application => return TargetHealth::REGISTERING,
            Probing::Nodes(_) => Duration::ZERO,
            Probing::Nobody { healthy_after } => healthy_after,
        };
        if now >= registration.since + healthy_after { TargetHealth::HEALTHY } else { TargetHealth::CHECKING }
    }
}

fn agreed(reports: impl Iterator<Item = NodeHealth>) -> TargetHealth {
    let mut health = TargetHealth::HEALTHY;
    for report in reports {
        match report {
            NodeHealth::Unhealthy(reason, description) => return TargetHealth::of("unhealthy", reason, description),
            NodeHealth::Initial => health = TargetHealth::CHECKING,
            NodeHealth::Healthy => {}
        }
    }
    health
}

#[cfg(test)]
mod tests {
    use super::*;

    const REFUSED: NodeHealth = NodeHealth::Unhealthy("Target.FailedHealthChecks", "Health checks failed");

    #[test]
    fn nodes_agree_on_one_answer() {
        use NodeHealth::{Healthy, Initial};
        for (reports, expected) in [
            (vec![Healthy, Healthy], "healthy"),
            (vec![Healthy, Initial], "initial"),
            (vec![Initial, Initial], "initial"),
            (vec![Healthy, Initial, REFUSED], "unhealthy"),
            (vec![REFUSED, Healthy], "unhealthy"),
        ] {
            assert_eq!(agreed(reports.clone().into_iter()).state, expected, "{reports:?}");
        }
        assert_eq!(agreed([REFUSED].into_iter()).reason, Some("Target.FailedHealthChecks"));
        assert_eq!(agreed([Initial].into_iter()), TargetHealth::CHECKING);
    }
}
