//! Pods as JSON: how they are made from a template, and how a kubelet reports on them.

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Map, Value, json};

use super::kubelet::Clock;
use crate::kubernetes::Kind;

/// The label that names the version; the rollouts controller sets it on every ReplicaSet and its template.
const HASH_LABEL: &str = "/metadata/labels/rollouts-pod-template-hash";

/// Kubernetes' default for `terminationGracePeriodSeconds`.
const GRACE_PERIOD: Duration = Duration::from_secs(30);

/// A new Pod of a ReplicaSet, bound to a node and with its address. Its container has not started yet.
///
/// In a real cluster scheduler and network give node and address within milliseconds; here they come with the object.
pub(super) fn create(replica_set: &Value, node: &str, address: Ipv4Addr, at: &str) -> Value {
    let template = |part: &str| replica_set.pointer(&format!("/spec/template/{part}")).cloned();
    let mut spec =
        template("spec").filter(Value::is_object).unwrap_or_else(|| json!({"containers": [{"name": "app"}]}));
    if let Some(fields) = spec.as_object_mut() {
        fields.insert("nodeName".to_owned(), json!(node));
    }
    let owner = json!({
        "apiVersion": Kind::REPLICA_SET.api_version(),
        "kind": Kind::REPLICA_SET.kind,
        "name": text(replica_set, "/metadata/name"),
        "uid": text(replica_set, "/metadata/uid"),
        "controller": true,
        "blockOwnerDeletion": true,
    });
    let mut status = report(&spec, "Pending", json!({"waiting": {"reason": "ContainerCreating"}}), false, at);
    let places = json!({"hostIP": "127.0.0.1", "podIP": address, "podIPs": [{"ip": address}], "startTime": at});
    if let (Some(status), Value::Object(places)) = (status.as_object_mut(), places) {
        status.extend(places);
    }
    json!({
        "metadata": {
            "generateName": format!("{}-", text(replica_set, "/metadata/name")),
            "namespace": text(replica_set, "/metadata/namespace"),
            "labels": template("metadata/labels").unwrap_or_else(|| json!({})),
            "annotations": template("metadata/annotations").unwrap_or_else(|| json!({})),
            "ownerReferences": [owner],
            "creationTimestamp": at,
        },
        "spec": spec,
        "status": status,
    })
}

/// The patch that says that all containers run and are ready.
pub(super) fn ready(pod: &Value, at: &str) -> Value {
    let running = json!({"running": {"startedAt": at}});
    json!({"status": report(pod.get("spec").unwrap_or(&Value::Null), "Running", running, true, at)})
}

/// The patch that says why no container runs.
pub(super) fn failed(pod: &Value, message: &str, at: &str) -> Value {
    let waiting = json!({"waiting": {"reason": "RunContainerError", "message": message}});
    json!({"status": report(pod.get("spec").unwrap_or(&Value::Null), "Pending", waiting, false, at)})
}

/// The patch by which a Pod on a node is deleted: the node's kubelet does the rest. The timestamp is when the time for that is up.
pub(super) fn delete(clock: Clock) -> Value {
    json!({"metadata": {
        "deletionTimestamp": clock.timestamp_in(GRACE_PERIOD),
        "deletionGracePeriodSeconds": GRACE_PERIOD.as_secs(),
    }})
}

/// The Node that all Pods are on.
pub(super) fn node(name: &str, at: &str) -> Value {
    let ready = json!({"type": "Ready", "status": "True", "reason": "KubeletReady", "lastTransitionTime": at});
    json!({
        "metadata": {"name": name, "labels": {"kubernetes.io/hostname": name}, "creationTimestamp": at},
        "spec": {},
        "status": {"conditions": [ready], "addresses": [{"type": "InternalIP", "address": "127.0.0.1"}]},
    })
}

pub(super) fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

pub(super) fn is_terminating(pod: &Value) -> bool {
    pod.pointer("/metadata/deletionTimestamp").is_some()
}

/// The version of a Pod; of one without the label, the name of its ReplicaSet.
pub(super) fn version(pod: &Value) -> &str {
    match text(pod, HASH_LABEL) {
        "" => text(pod, "/metadata/ownerReferences/0/name"),
        hash => hash,
    }
}

/// The text at a JSON pointer, or an empty one.
pub(super) fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// The part of a Pod's status that follows its containers, which are all in the same state.
fn report(spec: &Value, phase: &str, state: Value, ready: bool, at: &str) -> Value {
    let condition = |of: &str, holds: bool| json!({"type": of, "status": if holds { "True" } else { "False" }, "lastTransitionTime": at});
    let containers = spec.get("containers").and_then(Value::as_array).into_iter().flatten();
    let container = |container: &Value| {
        let mut status = Map::new();
        for field in ["name", "image"] {
            status.insert(field.to_owned(), container.get(field).cloned().unwrap_or_else(|| json!("")));
        }
        status.extend([
            ("ready".to_owned(), json!(ready)),
            ("started".to_owned(), json!(ready)),
            ("restartCount".to_owned(), json!(0)),
            ("state".to_owned(), state.clone()),
        ]);
        Value::Object(status)
    };
    json!({
        "phase": phase,
        "conditions": [
            condition("PodScheduled", true),
            condition("Initialized", true),
            condition("ContainersReady", ready),
            condition("Ready", ready),
        ],
        "containerStatuses": containers.map(container).collect::<Vec<_>>(),
    })
}
