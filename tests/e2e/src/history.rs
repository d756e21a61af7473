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
    pub(crate) controller_pause: bool,
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
#[serde(rename_all = "camelCase", default)]
pub(crate) struct CanaryStatus {
    pub(crate) weights: Option<RecordedWeights>,
    /// `ping` or `pong`: whose Service is the stable one. Empty before the first promotion, and without ping-pong.
    pub(crate) stable_ping_pong: String,
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

/// Weights that the controller held for true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Claim {
    pub(crate) at: SystemTime,
    pub(crate) weights: RecordedWeights,
    /// With ping-pong: the canary was in the group that is called the stable one in [`Roles`].
    pub(crate) swapped: bool,
}

/// Who is who. With ping-pong, ping is called stable here and pong canary, as it is at first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
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

impl RolloutStatus {
    /// A step waits for somebody to say that it goes on.
    pub(crate) fn is_paused(&self) -> bool {
        self.phase == "Paused" && self.controller_pause
    }
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
        let mut recorded: Vec<u32> = self.claims().map(|claim| claim.weights.canary.weight).collect();
        recorded.dedup();
        recorded
    }

    /// Each time that other weights were recorded as true, and when that was asked for. What is recorded as not yet verified
    /// is no claim.
    pub(crate) fn claims(&self) -> impl Iterator<Item = Claim> {
        let mut before = None;
        let mut pong_is_stable = false;
        self.cluster.iter().filter_map(move |write| {
            let Stored::Status(status) = &write.stored else { return None };
            // The status that ends a promotion names the new roles, but its weights are those of the old ones.
            let swapped = std::mem::replace(&mut pong_is_stable, status.canary.stable_ping_pong == "pong");
            let weights = status.canary.weights?;
            let new = before.replace((weights, swapped)) != Some((weights, swapped));
            (new && weights.verified != Some(false)).then_some(Claim { at: write.at, weights, swapped })
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
