//! A Kubernetes cluster, seen through the few things a router asks of it and tells it: which Pods stand behind a Service,
//! how a Rollout goes on, what people should know, which weights another controller should follow.
//!
//! Nothing here knows of load balancers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_trait::async_trait;

use crate::rollout::{Metadata, Rollout};

pub use api::Api;
pub use error::{Error, ErrorKind};

mod abort;
mod access;
mod actions;
mod api;
mod error;
mod events;
mod ingress;
mod nodes;
mod objects;
mod pods;
mod told;
mod verdict;
mod watch;

/// What stands behind a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backends {
    /// The Service's selector, as it was when the Pods were read.
    pub selector: BTreeMap<String, String>,
    /// The Pods that it selects and that could serve.
    pub pods: Vec<Pod>,
}

/// A Pod whose containers are ready, that is not on its way out, and whose Node is ready as far as Nodes may be read.
///
/// Its condition `Ready` is not looked at: a readiness gate of another target group may have cleared it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Its name.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its addresses, of one or both families.
    pub addresses: Vec<IpAddr>,
    /// The ports to which the Service leads on this Pod: each `targetPort`, a name looked up in its containers.
    pub ports: Vec<u16>,
}

/// Something that people should read about a Rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// It needs somebody's attention.
    pub warning: bool,
    /// One word in CamelCase.
    pub reason: &'static str,
    /// A sentence.
    pub message: String,
}

/// Kubernetes, as the router needs it.
#[async_trait]
pub trait Cluster: std::fmt::Debug + Send + Sync {
    /// Reads a Service and the Pods behind it, now. The Service is read first: Pods that it selects only since then may
    /// be missing, Pods that it no longer selects are not among them.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Missing`] when there is no such Service, or any other kind.
    async fn backends(&self, namespace: &str, service: &str) -> Result<Backends, Error>;

    /// How many Pods with this label their ReplicaSets are to have, now. Pods beyond that number are on their way out, even if
    /// nobody has told them yet.
    ///
    /// # Errors
    /// [`Error`] of any kind but [`ErrorKind::Missing`].
    async fn desired_pods(&self, namespace: &str, label: &str, value: &str) -> Result<usize, Error>;

    /// Reads a Rollout, now.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Missing`] when there is none of this name, or any other kind.
    async fn rollout(&self, namespace: &str, name: &str) -> Result<Rollout, Error>;

    /// Waits until the Rollout is another than the one of this resource version, and reads it. Watches; does not ask again and again.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Missing`] when it is gone, or any other kind. Nothing is retried here.
    async fn next_rollout(&self, namespace: &str, name: &str, version: &str) -> Result<Rollout, Error>;

    /// Why the host would give the update up, if it got to look: a current AnalysisRun has failed, or the progress deadline
    /// is over and `progressDeadlineAbort` is set. In words for people.
    ///
    /// # Errors
    /// [`Error`] of any kind.
    async fn reason_to_abort(&self, namespace: &str, name: &str) -> Result<Option<String>, Error>;

    /// Gives the update up, as `kubectl argo rollouts abort` does. Only the very Rollout that was meant: another uid is refused.
    ///
    /// # Errors
    /// [`Error`] of any kind.
    async fn abort(&self, namespace: &str, name: &str, uid: &str) -> Result<(), Error>;

    /// Writes an Event about a Rollout. The same words again within a while are counted and not written anew.
    ///
    /// # Errors
    /// [`Error`] of any kind.
    async fn tell(&self, about: &Metadata, event: &Event) -> Result<(), Error>;

    /// Writes weights into the actions of an Ingress that name all these Services, by a merge-patch of those annotations alone.
    /// Whoever follows the Ingress makes them true. What shows them already is not written.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Missing`] when there is no such Ingress or none of its actions names the Services, or any other kind.
    async fn announce(&self, namespace: &str, ingress: &str, weights: &[(String, u32)]) -> Result<(), Error>;
}
