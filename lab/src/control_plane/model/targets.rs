//! Targets of target groups: who is registered, and what the load balancer's nodes find out about them.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};

use crate::control_plane::model::{Account, TargetGroup};

/// An address (or an instance) and a port.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Target {
    pub(crate) id: String,
    pub(crate) port: u16,
}

/// A target in its group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Registration {
    pub(crate) group_arn: String,
    pub(crate) target: Target,
    pub(crate) zone: Option<String>,
    /// When it was registered, the last time if it came back while it was draining.
    pub(crate) since: SystemTime,
    /// When it was deregistered. It stays, draining, for the group's deregistration delay.
    pub(crate) deregistered: Option<SystemTime>,
}

/// What one node of the load balancer finds out about a registered target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NodeHealth {
    /// Not enough checks yet.
    Initial,
    Healthy,
    /// The reason as DescribeTargetHealth gives it, such as `Target.FailedHealthChecks`, and its sentence.
    Unhealthy(&'static str, &'static str),
}

/// What all nodes find out, by node name, of the targets of one group. Without a data plane nobody finds out anything.
pub(crate) type HealthReports = BTreeMap<(String, Target), BTreeMap<String, NodeHealth>>;

/// Who finds out whether the targets of Application Load Balancers are healthy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Probing {
    /// Nobody: a target is healthy so long after its registration.
    Nobody { healthy_after: Duration },
    /// So many nodes of a data plane. A target is healthy when all of them have found it so.
    Nodes(usize),
}

impl Registration {
    /// It is being deregistered, so it gets no new requests.
    pub(crate) fn is_draining(&self) -> bool {
        self.deregistered.is_some()
    }
}

impl Account {
    /// The targets of a group at a time, draining ones too, in the order of registration.
    pub(crate) fn targets_of<'a>(
        &'a self,
        group: &'a TargetGroup,
        now: SystemTime,
    ) -> impl Iterator<Item = &'a Registration> {
        let delay = group.deregistration_delay();
        self.registrations
            .iter()
            .filter(move |registration| registration.group_arn == group.arn && !is_over(registration, delay, now))
    }

    /// The registration of a target at a time, draining or not.
    pub(crate) fn registration(&self, group_arn: &str, target: &Target, now: SystemTime) -> Option<&Registration> {
        let group = self.target_groups.iter().find(|group| group.arn == group_arn)?;
        self.targets_of(group, now).find(|registration| registration.target == *target)
    }

    /// Forgets the targets whose deregistration delay is over by now or whose group is gone, and what was reported of them.
    pub(crate) fn forget_gone_targets(&mut self) {
        let (groups, now) = (&self.target_groups, self.now);
        self.registrations.retain(|registration| {
            let group = groups.iter().find(|group| group.arn == registration.group_arn);
            group.is_some_and(|group| !is_over(registration, group.deregistration_delay(), now))
        });
        let registrations = &self.registrations;
        self.health.retain(|(group_arn, target), _| {
            registrations.iter().any(|found| found.group_arn == *group_arn && found.target == *target)
        });
    }
}

fn is_over(registration: &Registration, delay: Duration, now: SystemTime) -> bool {
    registration.deregistered.is_some_and(|deregistered| now >= deregistered + delay)
}
