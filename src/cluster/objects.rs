//! The parts of Services, Pods and ReplicaSets that are read, and nothing else: a Pod has hundreds of fields.
//!
//! Names and types are those of the Kubernetes API, version v1.

use std::collections::BTreeMap;

use kube::core::{ApiResource, Object};
use serde::Deserialize;

/// A Service.
pub(super) type ServiceObject = Object<ServiceSpec, Ignored>;

/// A Pod.
pub(super) type PodObject = Object<PodSpec, PodStatus>;

/// A ReplicaSet.
pub(super) type ReplicaSetObject = Object<ReplicaSetSpec, Ignored>;

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
    pub(super) port: u16,
    pub(super) target_port: Option<Port>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ReplicaSetSpec {
    /// The API server always fills it in.
    pub(super) replicas: usize,
}

/// A number, or the name of a container's port.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Port {
    Number(u16),
    Name(String),
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PodSpec {
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
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct PodIp {
    pub(super) ip: String,
}

#[derive(Clone, Debug, Deserialize)]
pub(super) struct ContainerStatus {
    pub(super) ready: bool,
}

/// Where Services are.
pub(super) fn services() -> ApiResource {
    resource("", "Service", "services")
}

/// Where Pods are.
pub(super) fn pods() -> ApiResource {
    resource("", "Pod", "pods")
}

/// Where ReplicaSets are.
pub(super) fn replica_sets() -> ApiResource {
    resource("apps", "ReplicaSet", "replicasets")
}

fn resource(group: &str, kind: &str, plural: &str) -> ApiResource {
    ApiResource {
        group: group.to_owned(),
        version: "v1".to_owned(),
        api_version: if group.is_empty() { "v1".to_owned() } else { format!("{group}/v1") },
        kind: kind.to_owned(),
        plural: plural.to_owned(),
    }
}
