//! The parts of Kubernetes objects that the controller reads, and nothing else.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::Value;

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Metadata {
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) labels: BTreeMap<String, String>,
    pub(super) annotations: BTreeMap<String, String>,
    pub(super) deletion_timestamp: Option<String>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Ingress {
    pub(super) metadata: Metadata,
    pub(super) spec: IngressSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct IngressSpec {
    pub(super) ingress_class_name: Option<String>,
    pub(super) default_backend: Option<Backend>,
    pub(super) rules: Vec<IngressRule>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct IngressRule {
    pub(super) host: Option<String>,
    pub(super) http: Http,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Http {
    pub(super) paths: Vec<Path>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Path {
    #[serde(default)]
    pub(super) path: String,
    #[serde(default)]
    pub(super) path_type: PathType,
    pub(super) backend: Backend,
}

/// In the order in which their paths become rules.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
pub(super) enum PathType {
    Exact,
    Prefix,
    #[default]
    ImplementationSpecific,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Backend {
    pub(super) service: BackendService,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct BackendService {
    pub(super) name: String,
    #[serde(default)]
    pub(super) port: BackendPort,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct BackendPort {
    pub(super) name: Option<String>,
    pub(super) number: Option<u16>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    pub(super) metadata: Metadata,
    pub(super) spec: ServiceSpec,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ServiceSpec {
    pub(super) selector: BTreeMap<String, String>,
    pub(super) ports: Vec<ServicePort>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ServicePort {
    #[serde(default)]
    pub(super) name: String,
    pub(super) port: u16,
    pub(super) target_port: Option<PortRef>,
}

/// A port by number or by name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize)]
#[serde(untagged)]
pub(super) enum PortRef {
    Number(u16),
    Name(String),
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Pod {
    pub(super) metadata: Metadata,
    pub(super) spec: PodSpec,
    pub(super) status: PodStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodSpec {
    pub(super) node_name: String,
    pub(super) containers: Vec<Container>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Container {
    pub(super) ports: Vec<ContainerPort>,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ContainerPort {
    #[serde(default)]
    pub(super) name: String,
    pub(super) container_port: u16,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PodStatus {
    #[serde(rename = "podIP")]
    pub(super) pod_ip: String,
    pub(super) conditions: Vec<Condition>,
    pub(super) container_statuses: Vec<ContainerStatus>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Condition {
    pub(super) r#type: String,
    pub(super) status: String,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct ContainerStatus {
    pub(super) ready: bool,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct Node {
    pub(super) status: NodeStatus,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeStatus {
    pub(super) conditions: Vec<Condition>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Binding {
    #[serde(default)]
    pub(super) metadata: Metadata,
    pub(super) spec: BindingSpec,
}

#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct BindingSpec {
    #[serde(rename = "targetGroupARN")]
    pub(super) target_group_arn: Option<String>,
    pub(super) target_group_name: Option<String>,
    pub(super) target_type: Option<String>,
    pub(super) service_ref: ServiceRef,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct ServiceRef {
    pub(super) name: String,
    pub(super) port: PortRef,
}

/// An object that does not have the shape of its kind.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {object} cannot be read: {reason}")]
pub(super) struct Malformed {
    kind: &'static str,
    object: String,
    reason: String,
}

/// Namespace and name.
pub(super) fn key(object: &Value) -> (String, String) {
    let part = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    (part("/metadata/namespace"), part("/metadata/name"))
}

/// Reads an object as what it is; `kind` is the word for people.
pub(super) fn read<'a, T: Deserialize<'a>>(kind: &'static str, object: &'a Value) -> Result<T, Malformed> {
    T::deserialize(object).map_err(|error| {
        let (namespace, name) = key(object);
        Malformed { kind, object: format!("{namespace}/{name}"), reason: error.to_string() }
    })
}

impl Metadata {
    /// As people write it: namespace and name.
    pub(super) fn full_name(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }
}

impl Service {
    /// The port that an action or a binding means.
    pub(super) fn port(&self, wanted: &PortRef) -> Option<&ServicePort> {
        self.spec.ports.iter().find(|port| match wanted {
            PortRef::Number(number) => port.port == *number,
            PortRef::Name(name) => port.name == *name,
        })
    }

    /// Whether the selector selects these labels. A Service without a selector selects nothing.
    pub(super) fn selects(&self, labels: &BTreeMap<String, String>) -> bool {
        let selector = &self.spec.selector;
        !selector.is_empty() && selector.iter().all(|(label, value)| labels.get(label) == Some(value))
    }
}

impl ServicePort {
    /// The port of the Pods; the Service's own number if it names none.
    pub(super) fn target(&self) -> PortRef {
        self.target_port.clone().unwrap_or(PortRef::Number(self.port))
    }
}

impl PortRef {
    /// A text of digits counts as a number (LBC `normalizeServicePortForBackwardsCompatibility`).
    pub(super) fn normalised(self) -> Self {
        match self {
            Self::Name(name) => name.parse().map_or(Self::Name(name), Self::Number),
            number @ Self::Number(_) => number,
        }
    }
}

impl fmt::Display for PortRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Name(name) => name.fmt(f),
        }
    }
}

/// The status of a condition, such as `True`; `None` if there is no such condition.
pub(super) fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a str> {
    conditions.iter().find(|condition| condition.r#type == kind).map(|condition| &*condition.status)
}
