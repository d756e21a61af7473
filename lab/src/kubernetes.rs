//! A small Kubernetes cluster in memory: the objects that the plugin, the rival and the host's model read and write.
//!
//! [`Cluster`] is the objects. [`KubernetesApi`] serves them over HTTP, to the plugin and to anybody with `kubectl`.

mod api;
mod events;
mod kind;
mod patch;
mod selector;
mod store;
mod validate;

pub use api::{Effect, Fault, FaultSwitch, InvalidFault, KubernetesApi, Request, Verb};
pub use kind::Kind;
pub use store::{Change, Cluster, Deletion, Refusal};
