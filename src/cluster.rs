//! A Kubernetes cluster, seen through the few things a router asks of it and tells it: which Pods and which target groups stand
//! behind a Service, how a Rollout goes on, what people should know, which weights another controller should follow.
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
mod api;
mod bindings;
mod error;
mod events;
mod ingress;
mod nodes;
mod note;
mod objects;
mod pages;
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

/// A Service's port, as somebody wrote it: a number, or a name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServicePort(pub String);

/// What a Service selects, and where it listens.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Service {
    /// The labels of its Pods; empty for a Service that selects nothing.
    pub selector: BTreeMap<String, String>,
    /// Its ports.
    pub ports: Vec<Port>,
}

/// A port of a Service, and where it leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Port {
    /// Its name, if it has one.
    pub name: Option<String>,
    /// Its number.
    pub number: u16,
    /// The Pods' port: a number, or the name of a container's port.
    pub target: String,
}

impl Service {
    /// The port that somebody wrote, by its number or its name.
    #[must_use]
    pub fn port(&self, written: &ServicePort) -> Option<&Port> {
        let ServicePort(written) = written;
        self.ports.iter().find(|port| port.name.as_ref() == Some(written) || port.number.to_string() == *written)
    }
}

/// A TargetGroupBinding: the Pods behind a Service are registered in a target group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// Its namespace, which is the Service's.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The Service.
    pub service: String,
    /// The Service's port.
    pub port: ServicePort,
    /// The target group's ARN, as it is written there; empty while nobody has filled it in.
    pub group: String,
    /// Who made it.
    pub maker: Maker,
}

/// Who made a binding, by the prefix of its stack label (`pkg/deploy/tracking/provider.go` of the AWS Load Balancer Controller).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Maker {
    /// A load balancer controller, for an Ingress.
    Ingress,
    /// A load balancer controller, for a Gateway.
    Gateway,
    /// A load balancer controller, for a Service of type LoadBalancer.
    Service,
    /// A person, or a program such as Terraform.
    Somebody,
}

/// An Ingress, as far as its actions go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ingress {
    /// Its name.
    pub name: String,
    /// The actions that its backends with the port `use-annotation` name, each once.
    pub actions: Vec<Action>,
}

/// An action of an Ingress.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// Its name, which is the backend's Service.
    pub name: String,
    /// The Services that it forwards to, with their ports and weights. None while there is no such annotation; empty when it
    /// does not forward to Services.
    pub forwards: Option<Vec<Forward>>,
    /// What its conditions ask of headers.
    pub headers: Vec<HeaderCondition>,
}

impl Action {
    /// How it forwards to this Service, if it does.
    #[must_use]
    pub fn forward(&self, service: &str) -> Option<&Forward> {
        self.forwards.iter().flatten().find(|forward| forward.service == service)
    }
}

/// A Service that an action forwards to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Forward {
    /// The Service.
    pub service: String,
    /// Its port, as it is written there.
    pub port: ServicePort,
    /// Its weight, if one is written.
    pub weight: Option<u32>,
}

/// Weights that whoever follows an Ingress should make true.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Announcement {
    /// The controller's annotations begin so.
    pub prefix: String,
    /// The name of the Rollout, in the Ingress's namespace. The built-in router's note that it manages the actions of this
    /// Rollout goes in the same patch: otherwise it would reset them (`ingress/alb.go` of Argo Rollouts).
    pub rollout: String,
    /// Services with their weights. The first two are stable and canary: an action is ours if it names both.
    pub weights: Vec<(String, u32)>,
    /// Services that come into those of our actions that do not name them yet.
    pub joining: Vec<Joining>,
    /// Services that leave our actions: they are about to be deleted.
    pub leaving: Vec<String>,
    /// An action to make for this port of the Services, if there is none of this name yet, or one that forwards to the Service of
    /// its own name alone.
    pub root: Option<(String, ServicePort)>,
    /// What our actions shall say about stickiness; none leaves it as its author wrote it.
    pub stickiness: Option<Stickiness>,
}

/// A Service that comes into our actions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Joining {
    /// The Service. It has a weight among those that are announced.
    pub service: String,
    /// For each port of stable in our actions, the one of this Service that leads to the same.
    pub ports: Vec<(ServicePort, ServicePort)>,
}

/// How long a client stays with the target group it was sent to first (`targetGroupStickinessConfig`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stickiness {
    /// Whether it does.
    pub enabled: bool,
    /// 1 to 604,800 seconds.
    pub seconds: u32,
}

/// What one header of a request must be, in the words of an Ingress's `conditions.` annotation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeaderCondition {
    /// The header's name.
    pub header: String,
    /// Texts in which `*` and `?` stand for others. One of them is enough.
    pub values: Vec<String>,
    /// Regular expressions.
    pub regex_values: Vec<String>,
}

/// A managed route through an Ingress: before each path that leads to one of our actions, one with the same path and host, and
/// with conditions of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its name, which is its backend's and its annotations'.
    pub name: String,
    /// All of them must hold.
    pub conditions: Vec<HeaderCondition>,
    /// Where it leads, all of it.
    pub service: String,
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

    /// Reads a Service, now.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Missing`] when there is no such Service, or any other kind.
    async fn service(&self, namespace: &str, name: &str) -> Result<Service, Error>;

    /// The bindings of a namespace, or of all, of both API groups that have them: `elbv2.k8s.aws` and EKS Auto Mode's
    /// `eks.amazonaws.com`. A cluster without one of the groups has no bindings of it, and where only one of them may be read,
    /// what can be read counts.
    ///
    /// # Errors
    /// [`Error`] of any kind but [`ErrorKind::Missing`].
    async fn bindings(&self, namespace: Option<&str>) -> Result<Vec<Binding>, Error>;

    /// The Ingresses of a namespace that have backends with the port `use-annotation`. Annotations begin with `prefix`.
    ///
    /// # Errors
    /// [`Error`] of any kind but [`ErrorKind::Missing`].
    async fn ingresses(&self, namespace: &str, prefix: &str) -> Result<Vec<Ingress>, Error>;

    /// Writes weights into the actions of an Ingress that name stable and canary, by a merge-patch of those annotations alone.
    /// Whoever follows the Ingress makes them true. Of an action only the digits of our Services' weights change. A Service that
    /// joins comes in behind all others; one that leaves goes with its comma. The built-in router's note about the Rollout goes
    /// in the same patch. What is so already is not written.
    ///
    /// True when something was written, so that whoever follows the Ingress has something to follow.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Missing`] when there is no such Ingress, or none of its actions names stable and canary and
    /// none is to be made; or any other kind.
    async fn announce(&self, namespace: &str, ingress: &str, announcement: &Announcement) -> Result<bool, Error>;

    /// Puts a managed route into an Ingress, in one patch of its paths and annotations. What is there already is not written.
    /// The conditions and transforms of the actions that it stands before hold for it too.
    ///
    /// A new route stands right before each path of ours and behind the routes that are there for this path, so it comes after
    /// them: added one by one, routes count in the order in which they were added, and one that was taken out and is added again
    /// counts last. One that stands elsewhere is moved. Requests that no path takes go to the default backend as before.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Missing`] when there is no such Ingress or none of its actions names `ours`, stable and
    /// canary; of kind [`ErrorKind::Refused`] when the name is somebody else's backend or action, when no path leads to our
    /// actions, when these differ in what a route shares with them, or when ELBv2 would refuse the rule; of kind
    /// [`ErrorKind::Transient`] when others change the Ingress all the time; or any other kind.
    async fn add_route(
        &self,
        namespace: &str,
        ingress: &str,
        prefix: &str,
        ours: &[String; 2],
        route: &Route,
    ) -> Result<(), Error>;

    /// Takes managed routes of these names out of an Ingress, in one patch. Those that are not there are as good as taken out, and
    /// what has such a name and is no route stays: an action for several target groups or without conditions, a backend
    /// with a port, the default backend.
    ///
    /// # Errors
    /// [`Error`] of any kind but [`ErrorKind::Missing`].
    async fn remove_routes(&self, namespace: &str, ingress: &str, prefix: &str, names: &[String]) -> Result<(), Error>;

    /// Notes something on a Rollout, as an annotation. Only on the very Rollout that is meant: another uid is refused. What it
    /// shows already is not written.
    ///
    /// # Errors
    /// [`Error`] of kind [`ErrorKind::Missing`] when there is none of this name, or any other kind.
    async fn note(&self, about: &Metadata, annotation: &str, value: &str) -> Result<(), Error>;
}
