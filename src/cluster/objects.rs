//! Where the objects are, and the parts of the objects that are read: a Pod has hundreds of fields.
//!
//! Names and types are those of the Kubernetes API, version v1.

use std::collections::BTreeMap;

use kube::Client;
use kube::core::{ApiResource, Object, Request, Resource as _};
use serde::Deserialize;
use serde_json::Value;

/// A Service.
pub(super) type ServiceObject = Object<ServiceSpec, Ignored>;

/// A Pod.
pub(super) type PodObject = Object<PodSpec, PodStatus>;

/// A ReplicaSet.
pub(super) type ReplicaSetObject = Object<ReplicaSetSpec, Ignored>;

/// A Node.
pub(super) type NodeObject = Object<Ignored, NodeStatus>;

/// An Ingress. Its rules are one value for whoever patches them, so none of their fields may be lost.
pub(super) type IngressObject = Object<Value, Ignored>;

/// A TargetGroupBinding, of either group.
pub(super) type BindingObject = Object<BindingSpec, Ignored>;

/// An object of which only its metadata counts.
pub(super) type MetadataObject = Object<Ignored, Ignored>;

/// A part that nobody looks at.
#[derive(Clone, Debug, Default, Deserialize)]
pub(super) struct Ignored {}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ServiceSpec {
    pub(super) selector: BTreeMap<String, String>,
    pub(super) ports: Vec<ServicePort>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServicePort {
    pub(super) name: Option<String>,
    pub(super) port: u16,
    pub(super) target_port: Option<Port>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct BindingSpec {
    pub(super) service_ref: ServiceRef,
    #[serde(rename = "targetGroupARN")]
    pub(super) target_group_arn: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ServiceRef {
    pub(super) name: String,
    /// A number or a name.
    pub(super) port: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReplicaSetSpec {
    /// The API server always fills it in.
    pub(super) replicas: usize,
}

impl From<ServicePort> for super::Port {
    fn from(ServicePort { name, port, target_port }: ServicePort) -> Self {
        let target = match target_port {
            Some(Port::Name(target)) => target,
            Some(Port::Number(target)) => target.to_string(),
            None => port.to_string(),
        };
        Self { name, number: port, target }
    }
}

/// A number, or the name of a container's port.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Port {
    Number(u16),
    Name(String),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpec {
    pub(super) node_name: Option<String>,
    pub(super) containers: Vec<Container>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct Container {
    #[serde(default)]
    pub(super) ports: Vec<ContainerPort>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerPort {
    pub(super) name: Option<String>,
    pub(super) container_port: u16,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodStatus {
    pub(super) phase: String,
    #[serde(rename = "podIP")]
    pub(super) pod_ip: Option<String>,
    #[serde(rename = "podIPs")]
    pub(super) pod_ips: Vec<PodIp>,
    pub(super) container_statuses: Vec<ContainerStatus>,
    pub(super) conditions: Vec<Condition>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeStatus {
    pub(super) conditions: Vec<Condition>,
}

/// A condition of a Pod or a Node.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Condition {
    #[serde(rename = "type")]
    pub(super) name: String,
    pub(super) status: String,
    #[serde(default)]
    pub(super) last_transition_time: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PodIp {
    pub(super) ip: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct ContainerStatus {
    pub(super) ready: bool,
}

/// A kind of objects, in the words of the API and of its roles.
#[derive(Clone, Copy, Debug)]
pub(super) struct Resource {
    pub(super) group: &'static str,
    version: &'static str,
    kind: &'static str,
    pub(super) plural: &'static str,
}

impl Resource {
    pub(super) const PODS: Self = Self::of("", "v1", "Pod", "pods");
    pub(super) const SERVICES: Self = Self::of("", "v1", "Service", "services");
    pub(super) const NODES: Self = Self::of("", "v1", "Node", "nodes");
    pub(super) const EVENTS: Self = Self::of("", "v1", "Event", "events");
    pub(super) const REPLICA_SETS: Self = Self::of("apps", "v1", "ReplicaSet", "replicasets");
    pub(super) const INGRESSES: Self = Self::of("networking.k8s.io", "v1", "Ingress", "ingresses");
    pub(super) const ROLLOUTS: Self = Self::of("argoproj.io", "v1alpha1", "Rollout", "rollouts");
    /// What a role calls the status of Rollouts.
    pub(super) const ROLLOUTS_STATUS: Self = Self { plural: "rollouts/status", ..Self::ROLLOUTS };
    pub(super) const ANALYSIS_RUNS: Self = Self::of("argoproj.io", "v1alpha1", "AnalysisRun", "analysisruns");
    pub(super) const EXPERIMENTS: Self = Self::of("argoproj.io", "v1alpha1", "Experiment", "experiments");

    /// Those of the AWS Load Balancer Controller.
    pub(super) const BINDINGS: Self = Self::of("elbv2.k8s.aws", "v1beta1", "TargetGroupBinding", "targetgroupbindings");
    /// Those of EKS Auto Mode.
    pub(super) const AUTO_MODE_BINDINGS: Self =
        Self::of("eks.amazonaws.com", "v1", "TargetGroupBinding", "targetgroupbindings");

    const fn of(group: &'static str, version: &'static str, kind: &'static str, plural: &'static str) -> Self {
        Self { group, version, kind, plural }
    }

    /// Its objects in a namespace.
    pub(super) fn within<P: Clone, S: Clone>(self, client: &Client, namespace: &str) -> kube::Api<Object<P, S>> {
        kube::Api::namespaced_with(client.clone(), namespace, &self.address())
    }

    /// Its objects everywhere, or those of a kind that lives in no namespace.
    pub(super) fn everywhere<P: Clone, S: Clone>(self, client: &Client) -> kube::Api<Object<P, S>> {
        kube::Api::all_with(client.clone(), &self.address())
    }

    /// Requests about its objects in a namespace, for objects with a model of their own.
    pub(super) fn requests(self, namespace: &str) -> Request {
        Request::new(Object::<Ignored, Ignored>::url_path(&self.address(), Some(namespace)))
    }

    fn address(self) -> ApiResource {
        let Self { group, version, kind, plural } = self;
        ApiResource {
            group: group.to_owned(),
            version: version.to_owned(),
            api_version: if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") },
            kind: kind.to_owned(),
            plural: plural.to_owned(),
        }
    }
}
