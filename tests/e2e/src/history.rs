//! What happened in a scenario, in the words of those who were asked to make it happen: the API server and the lab.
//!
//! Both take the time from the same clock. The API server's is the one at which a request came in, before it had any
//! effect; the lab's is the one at which a write took effect. So "not before" can be shown to the millisecond.

use std::time::SystemTime;

use lab::{JournalEntry, Weights};
use serde::Deserialize;

mod audit;

pub(crate) use audit::Audit;

/// The status of a Rollout, as far as scenarios ask for it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(crate) struct RolloutStatus {
    pub(crate) phase: String,
    pub(crate) message: String,
    pub(crate) abort: bool,
    pub(crate) current_step_index: Option<u32>,
    /// Pods of all versions.
    pub(crate) replicas: u32,
    /// Those of them that are ready.
    pub(crate) available_replicas: u32,
    /// The generation of the spec that the rest is about, as text.
    pub(crate) observed_generation: String,
    #[serde(rename = "stableRS")]
    pub(crate) stable_rs: String,
    pub(crate) current_pod_hash: String,
    pub(crate) canary: CanaryStatus,
}

/// `status.canary`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct CanaryStatus {
    pub(crate) weights: Option<RecordedWeights>,
}

/// `status.canary.weights`: what the controller holds for true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct RecordedWeights {
    pub(crate) canary: RecordedWeight,
    pub(crate) stable: RecordedWeight,
    pub(crate) verified: Option<bool>,
}

/// The weight of one destination.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(crate) struct RecordedWeight {
    pub(crate) weight: u32,
}

/// Something that the API server was asked to store, and did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ClusterWrite {
    /// When the request came in.
    pub(crate) at: SystemTime,
    pub(crate) stored: Stored,
}

/// What was stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Stored {
    Status(RolloutStatus),
    ReplicaSet {
        /// Its pod template hash.
        hash: String,
        replicas: u32,
    },
    Service {
        name: String,
        /// The pod template hash that its selector asks for, if any.
        hash: Option<String>,
    },
    Pod {
        name: String,
        /// Its pod template hash.
        hash: String,
        /// It is ready and was not told to go.
        serves: bool,
    },
}

/// The weights of one rule over time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct RuleHistory {
    pub(crate) arn: String,
    /// The weights, each with the moment from which they were true. The first ones came with the rule.
    pub(crate) states: Vec<(SystemTime, Weights)>,
}

/// Who is who.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Roles {
    pub(crate) stable_group: String,
    pub(crate) canary_group: String,
    pub(crate) stable_service: String,
    pub(crate) canary_service: String,
}

/// All that happened in one scenario.
#[derive(Clone, Debug)]
pub(crate) struct History {
    pub(crate) roles: Roles,
    /// In the order in which the requests came in.
    pub(crate) cluster: Vec<ClusterWrite>,
    pub(crate) rules: Vec<RuleHistory>,
}

impl RecordedWeights {
    /// Both destinations together.
    pub(crate) fn total(&self) -> u32 {
        self.canary.weight + self.stable.weight
    }
}

impl RuleHistory {
    /// Reads one rule's history out of the lab's journal.
    pub(crate) fn of(arn: &str, journal: &[JournalEntry]) -> Self {
        let accepted = journal.iter().filter(|entry| entry.accepted());
        let states = accepted.filter_map(|entry| Some((entry.at, entry.change(arn)?.weights_after.clone()?)));
        Self { arn: arn.to_owned(), states: states.collect() }
    }

    /// The weights at a moment; nothing before the rule was made.
    pub(crate) fn at(&self, moment: SystemTime) -> Option<&Weights> {
        self.states.iter().rev().find(|(since, _)| *since <= moment).map(|(_, weights)| weights)
    }

    /// The canary group's weights, one for each write.
    pub(crate) fn canary_weights(&self, roles: &Roles) -> Vec<u32> {
        self.states.iter().map(|(_, weights)| roles.canary_weight(weights)).collect()
    }
}

impl Roles {
    pub(crate) fn canary_weight(&self, weights: &Weights) -> u32 {
        weights.get(&self.canary_group).copied().unwrap_or_default().into()
    }

    pub(crate) fn stable_weight(&self, weights: &Weights) -> u32 {
        weights.get(&self.stable_group).copied().unwrap_or_default().into()
    }
}

impl History {
    /// The canary weights that were recorded in the Rollout's status, one after the other.
    pub(crate) fn recorded(&self) -> Vec<u32> {
        self.weights_recorded().map(|(_, weights)| weights.canary.weight).collect()
    }

    /// Each change of the recorded weights, and when it was asked for.
    pub(crate) fn weights_recorded(&self) -> impl Iterator<Item = (SystemTime, RecordedWeights)> {
        let mut before = None;
        self.cluster.iter().filter_map(move |write| {
            let Stored::Status(status) = &write.stored else { return None };
            let weights = status.canary.weights?;
            let now = (weights.canary, weights.stable);
            (before.replace(now) != Some(now)).then_some((write.at, weights))
        })
    }

    /// When a Service was last made to select this version.
    pub(crate) fn selected_since(&self, service: &str, version: &str) -> Option<SystemTime> {
        let selects = |write: &&ClusterWrite| match &write.stored {
            Stored::Service { name, hash } => name == service && hash.as_deref() == Some(version),
            _ => false,
        };
        self.cluster.iter().rev().find(selects).map(|write| write.at)
    }

    /// The last size of a ReplicaSet.
    pub(crate) fn size(&self, replica_set: &str) -> Option<u32> {
        self.cluster.iter().rev().find_map(|write| match &write.stored {
            Stored::ReplicaSet { hash, replicas } if hash == replica_set => Some(*replicas),
            _ => None,
        })
    }
}
