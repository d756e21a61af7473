//! Which targets a TargetGroupBinding wants to have registered. Pure: objects in, targets out.
//!
//! As LBC pkg/backend/endpoint_resolver.go and the EndpointSlices that Kubernetes makes of a Service.

use std::collections::{BTreeMap, BTreeSet};

use crate::control_plane::model::targets::Target;
use crate::load_balancer_controller::manifest::{Binding, Node, Pod, PortRef, Service, condition};

/// Targets of one group.
pub(super) type Targets = BTreeSet<Target>;

/// The Pods that the Service selects now, by IP and port. Empty if the Service or its port is missing.
///
/// A Pod counts if it has an IP, is not on its way out, and is ready; or if only a readiness gate keeps it from being ready and
/// its Node is ready, since the gate may wait for this very registration. A Node that the cluster does not know counts as ready.
pub(super) fn wanted(
    binding: &Binding,
    service: Option<&Service>,
    pods: &[Pod],
    nodes: &BTreeMap<String, Node>,
) -> Targets {
    let Some(service) = service else { return Targets::new() };
    let Some(port) = service.port(&binding.spec.service_ref.port) else { return Targets::new() };
    let port = port.target();
    let serving = pods.iter().filter(|pod| {
        pod.metadata.namespace == service.metadata.namespace
            && service.selects(&pod.metadata.labels)
            && pod.metadata.deletion_timestamp.is_none()
            && (is_ready(pod) || containers_are_ready(pod) && node_is_ready(pod, nodes))
    });
    serving.filter_map(|pod| target(pod, &port)).collect()
}

fn target(pod: &Pod, port: &PortRef) -> Option<Target> {
    let port = match port {
        PortRef::Number(number) => *number,
        PortRef::Name(name) => {
            let mut ports = pod.spec.containers.iter().flat_map(|container| &container.ports);
            ports.find(|port| port.name == *name)?.container_port
        }
    };
    (!pod.status.pod_ip.is_empty()).then(|| Target { id: pod.status.pod_ip.clone(), port })
}

fn is_ready(pod: &Pod) -> bool {
    condition(&pod.status.conditions, "Ready") == Some("True")
}

fn containers_are_ready(pod: &Pod) -> bool {
    let statuses = &pod.status.container_statuses;
    match condition(&pod.status.conditions, "ContainersReady") {
        Some(status) => status == "True",
        None => !statuses.is_empty() && statuses.iter().all(|status| status.ready),
    }
}

fn node_is_ready(pod: &Pod, nodes: &BTreeMap<String, Node>) -> bool {
    nodes.get(&pod.spec.node_name).is_none_or(|node| condition(&node.status.conditions, "Ready") == Some("True"))
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::load_balancer_controller::manifest;

    fn service(selector: Value) -> Service {
        let ports = json!([{"name": "http", "port": 80, "targetPort": "web"}, {"name": "admin", "port": 81}]);
        let object = json!({"metadata": {"namespace": "shop", "name": "stable"}, "spec": {"selector": selector, "ports": ports}});
        manifest::read("Service", &object).expect("a Service")
    }

    fn binding(port: Value) -> Binding {
        let spec = json!({"targetGroupARN": "arn:x", "serviceRef": {"name": "stable", "port": port}});
        manifest::read("TargetGroupBinding", &json!({"spec": spec})).expect("a binding")
    }

    fn pod(ip: &str, hash: &str, status: Value, deleted: bool) -> Pod {
        let mut metadata = json!({"namespace": "shop", "name": ip, "labels": {"app": "shop", "hash": hash}});
        if deleted {
            metadata["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        let spec = json!({"nodeName": "node", "containers": [{"ports": [{"name": "web", "containerPort": 8080}]}]});
        let mut status = status;
        status["podIP"] = json!(ip);
        manifest::read("Pod", &json!({"metadata": metadata, "spec": spec, "status": status})).expect("a Pod")
    }

    fn ready() -> Value {
        json!({"conditions": [{"type": "Ready", "status": "True"}]})
    }

    fn gated() -> Value {
        json!({"conditions": [{"type": "Ready", "status": "False"}, {"type": "ContainersReady", "status": "True"}]})
    }

    fn ids(targets: &Targets) -> Vec<(&str, u16)> {
        targets.iter().map(|target| (&*target.id, target.port)).collect()
    }

    #[test]
    fn ready_pods_of_the_selector_count_and_no_others() {
        let pods = [
            pod("10.0.0.1", "a", ready(), false),
            pod("10.0.0.2", "b", ready(), false),
            pod("10.0.0.3", "a", ready(), true),
            pod("10.0.0.4", "a", json!({}), false),
            pod("", "a", ready(), false),
            pod("10.0.0.6", "a", json!({"containerStatuses": [{"ready": true}]}), false),
        ];
        let service = service(json!({"app": "shop", "hash": "a"}));
        let targets = wanted(&binding(json!("http")), Some(&service), &pods, &BTreeMap::new());
        assert_eq!(ids(&targets), [("10.0.0.1", 8080), ("10.0.0.6", 8080)]);
        let targets = wanted(&binding(json!(81)), Some(&service), &pods, &BTreeMap::new());
        assert_eq!(ids(&targets), [("10.0.0.1", 81), ("10.0.0.6", 81)]);
    }

    #[test]
    fn without_service_port_or_selector_nothing_is_wanted() {
        let pods = [pod("10.0.0.1", "a", ready(), false)];
        let none = BTreeMap::new();
        assert!(wanted(&binding(json!(80)), None, &pods, &none).is_empty());
        assert!(wanted(&binding(json!(82)), Some(&service(json!({"hash": "a"}))), &pods, &none).is_empty());
        assert!(wanted(&binding(json!(80)), Some(&service(json!({}))), &pods, &none).is_empty());
    }

    #[test]
    fn a_readiness_gate_does_not_keep_a_pod_out_but_a_lost_node_does() {
        let pods = [pod("10.0.0.1", "a", gated(), false)];
        let service = service(json!({"hash": "a"}));
        let with_node = |status: &str| {
            let node = json!({"status": {"conditions": [{"type": "Ready", "status": status}]}});
            let nodes = BTreeMap::from([("node".to_owned(), manifest::read("Node", &node).expect("a Node"))]);
            wanted(&binding(json!(80)), Some(&service), &pods, &nodes).len()
        };
        assert_eq!((with_node("True"), with_node("Unknown")), (1, 0));
    }
}
