//! A Kubernetes cluster, seen through the few things a router asks of it: which Pods stand behind a Service.
//!
//! Nothing here knows of Rollouts or load balancers.

use std::collections::BTreeMap;
use std::net::IpAddr;

use async_trait::async_trait;

pub use api::Api;
pub use error::{Error, ErrorKind};

mod api;
mod error;
mod objects;
mod pods;

/// What stands behind a Service.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Backends {
    /// The Service's selector, as it was when the Pods were read.
    pub selector: BTreeMap<String, String>,
    /// The Pods that it selects and that could serve.
    pub pods: Vec<Pod>,
}

/// A Pod whose containers are ready and that is not on its way out.
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
}
