//! A model of the Argo Rollouts controller: one canary Rollout with a traffic router, reconciled as release 1.10.2 does.
//!
//! The decisions are pure functions of what a reconcile has read ([`State`]). [`reconcile`] makes them in the controller's
//! order, calls a [`TrafficRouter`] and hands each write out before it decides further. [`Controller`] drives it over a
//! [`Cluster`](crate::kubernetes::Cluster) with the controller's queue. Routers are a real plugin ([`PluginProcess`]) and
//! Argo's own ALB router ([`BuiltIn`]).
//!
//! That the real controller does the same is shown by recordings of it, in `tests/data/host-calls/` ([`recording`]).
//!
//! Not modelled: analysis, experiments, header and mirror routes, step plugins, rollback windows, restarts, the progress
//! deadline, `minPodsPerReplicaSet`, `replicaProgressThreshold`, `maxUnavailable` other than its default, the delay's
//! revision limit, and the revision history limit.

pub mod recording;

mod built_in;
mod controller;
mod objects;
mod plugin_process;
mod queue;
mod reconcile;
mod rollout;
mod sizes;
mod state;
mod status;
mod weight;

pub use built_in::BuiltIn;
pub use controller::Controller;
pub use objects::{POD_HASH, Unreadable};
pub use plugin_process::PluginProcess;
pub use queue::Queue;
pub use reconcile::reconcile;
pub use rollout::{
    Alb, Canary, CanaryScale, Metadata, Pause, PingPong, Rollout, Spec, Step, Stickiness, Strategy, TrafficRouting,
};
pub use state::{CallError, Hands, Outcome, ReconcileError, ReplicaSet, Service, State, TrafficRouter, Write};
pub use status::{CanaryStatus, Destination, PauseCondition, Phase, Status, Weights};
