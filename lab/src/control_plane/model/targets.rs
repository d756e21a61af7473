//! Targets of target groups: who is registered, and what the load balancer's nodes find out about them.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::{Deserialize, Serialize};

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
