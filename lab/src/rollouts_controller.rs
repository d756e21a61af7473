//! A model of the Argo Rollouts controller: one canary Rollout with a traffic router, reconciled as release 1.10.2 does.
//!
//! The decisions are pure functions of what a reconcile has read ([`State`]); [`reconcile`] makes them in the controller's
//! order and hands each write out before it makes the next. [`Controller`] drives it over a [`Cluster`](crate::kubernetes::Cluster),
//! with the controller's queue. What is the same in the real controller is shown by recordings of it ([`recording`]).
//!
//! Not modelled: analysis, experiments, header and mirror routes, step plugins, rollback windows, restarts, the progress
//! deadline, and the revision history limit.

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
pub use reconcile::reconcile;
pub use rollout::{
    Alb, Canary, CanaryScale, Metadata, Pause, PingPong, Rollout, Spec, Step, Stickiness, Strategy, TrafficRouting,
};
pub use state::{CallError, Hands, Outcome, ReconcileError, ReplicaSet, Service, State, TrafficRouter, Write};
pub use status::{CanaryStatus, Destination, PauseCondition, Phase, Status, Weights};
