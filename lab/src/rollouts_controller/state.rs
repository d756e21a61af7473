//! What a reconcile has read, and what it does to the world.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use serde_json::Value;

use super::rollout::Rollout;
use super::status::Status;
use crate::kubernetes::Refusal;

/// All that a reconcile has read. It decides by nothing else, so what changes meanwhile is seen by the next one.
#[derive(Debug, Clone)]
pub struct State {
    /// The Rollout as its router gets it.
    pub object: Arc<Value>,
    /// The same, as far as it is understood.
    pub rollout: Rollout,
    /// The hash of the Rollout's Pod template.
    pub pod_hash: String,
    /// The hash of the Rollout's steps.
    pub step_hash: String,
    /// The Rollout's ReplicaSets in the order in which they were made.
    pub replica_sets: Vec<ReplicaSet>,
    /// The Services that the Rollout names, by their names.
    pub services: BTreeMap<String, Service>,
}

/// A ReplicaSet of the Rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplicaSet {
    /// Its pod template hash.
    pub hash: String,
    /// `spec.replicas`.
    pub replicas: u32,
    /// The Rollout's `spec.replicas` at the time of the last scaling: the annotation `desired-replicas`.
    pub desired_annotation: u32,
    /// When its pods are to go: the annotation `scale-down-deadline`, in whole seconds.
    pub scale_down_deadline: Option<SystemTime>,
    /// Pods that were made: `status.replicas`.
    pub created: u32,
    /// Pods that are available: `status.availableReplicas`.
    pub available: u32,
    /// `metadata.resourceVersion`. A write that names an older one is a conflict.
    pub version: String,
}

/// A Service.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Service {
    /// The pod template hash that its selector asks for; empty if none.
    pub selects: String,
    /// A rollouts controller has moved it before: the annotation `managed-by-rollouts`.
    pub is_managed: bool,
}

/// One thing that a reconcile writes.
#[derive(Debug, Clone, PartialEq)]
pub enum Write {
    /// Makes a ReplicaSet without pods for the Rollout's present template.
    CreateReplicaSet {
        /// Its pod template hash.
        hash: String,
    },
    /// Replaces a ReplicaSet by one of another size: a conflict if it is not the version that was read.
    Scale {
        /// The ReplicaSet as it is to be.
        set: ReplicaSet,
    },
    /// Patches the time when a ReplicaSet's pods are to go.
    ScaleDownDeadline {
        /// The ReplicaSet.
        hash: String,
        /// The time; nothing removes it.
        deadline: Option<SystemTime>,
    },
    /// Patches a Service's selector.
    Select {
        /// The Service.
        service: String,
        /// The pod template hash to ask for.
        hash: String,
    },
    /// Patches those fields of the Rollout's status that differ.
    Status {
        /// The status as it was read.
        before: Box<Status>,
        /// The status as it is to be.
        after: Box<Status>,
    },
    /// Warns people by an Event about the Rollout.
    Warn {
        /// The Event's reason.
        reason: &'static str,
        /// Its text.
        message: String,
    },
}

/// The hands of a reconcile. Each write takes effect before the next decision.
pub trait Hands {
    /// Carries a write out.
    ///
    /// # Errors
    /// [`Refusal`] if the cluster does not take it.
    fn write(&mut self, write: Write) -> Result<(), Refusal>;

    /// The time now. It passes while a router holds a call.
    fn now(&self) -> SystemTime;
}

/// Who routes the traffic of a Rollout. A Rollout is given as its object is, before this reconcile changed it.
///
/// Source: `rollout/trafficrouting/trafficroutingutil.go`, without header and mirror routes.
#[async_trait]
pub trait TrafficRouter: Send + Sync + fmt::Debug {
    /// Its name in the log.
    async fn r#type(&self) -> Result<String, CallError>;

    /// Tells the pod template hashes.
    async fn update_hash(&self, rollout: &Value, canary: &str, stable: &str) -> Result<(), CallError>;

    /// Asks for the canary's weight, out of the Rollout's maximum.
    async fn set_weight(&self, rollout: &Value, weight: u32) -> Result<(), CallError>;

    /// Asks whether the canary has this weight; nothing means that this router does not verify.
    async fn verify_weight(&self, rollout: &Value, weight: u32) -> Result<Option<bool>, CallError>;

    /// Has managed routes removed.
    async fn remove_managed_routes(&self, rollout: &Value) -> Result<(), CallError>;
}

/// A router's call failed, in words for people.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct CallError(pub String);

/// A reconcile stopped half-way. What it had written stays written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReconcileError {
    /// The router did not do what it was asked for.
    #[error("the traffic router failed: {0}")]
    Router(#[from] CallError),
    /// The update must not end before its last weight is true.
    #[error("end of rollout, desired weight {0} not yet verified")]
    NotVerified(u32),
    /// Release 1.10.2 dereferences the index of the current step, and there are no steps.
    #[error("Recovered from Panic: the maximum weight is not verified, and the Rollout has no steps")]
    NoStepIndex,
    /// A Service that the Rollout names is not there.
    #[error("Service {0} not found")]
    NoService(String),
    /// The cluster refused a write.
    #[error("the cluster refused: {0}")]
    Refused(#[from] Refusal),
}

/// A reconcile came to its end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Outcome {
    /// When to look again, events or not.
    pub again_in: Option<Duration>,
}

impl Outcome {
    /// The sooner of what was wished before and this.
    pub(super) fn wish(&mut self, after: Duration) {
        self.again_in = Some(self.again_in.map_or(after, |before| before.min(after)));
    }
}
