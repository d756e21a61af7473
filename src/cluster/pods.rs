//! Which Pods could serve a Service, and where. Pure.

use std::collections::BTreeMap;
use std::net::IpAddr;

use super::Pod;
use super::objects::{PodObject, Port, ServicePort};

/// The Pod, if it could serve a Service with these ports.
pub(super) fn serving(pod: &PodObject, ports: &[ServicePort]) -> Option<Pod> {
    let status = pod.status.as_ref()?;
    let containers = &status.container_statuses;
    let ready = containers.len() >= pod.spec.containers.len() && containers.iter().all(|container| container.ready);
    if pod.metadata.deletion_timestamp.is_some() || status.phase != "Running" || !ready {
        return None;
    }
    let addresses: Vec<IpAddr> = addresses(pod);
    if addresses.is_empty() {
        return None;
    }
    Some(Pod {
        name: pod.metadata.name.clone().unwrap_or_default(),
        labels: pod.metadata.labels.clone().unwrap_or_default(),
        addresses,
        ports: ports.iter().filter_map(|port| target_port(pod, port)).collect(),
    })
}

/// The selector in the form of a query. `None` for a Service without one: it selects nothing.
pub(super) fn label_query(selector: &BTreeMap<String, String>) -> Option<String> {
    let terms: Vec<String> = selector.iter().map(|(key, value)| format!("{key}={value}")).collect();
    (!terms.is_empty()).then(|| terms.join(","))
}

fn addresses(pod: &PodObject) -> Vec<IpAddr> {
    let Some(status) = &pod.status else { return Vec::new() };
    let all = status.pod_ips.iter().map(|address| address.ip.as_str());
    let mut addresses: Vec<IpAddr> =
        all.chain(status.pod_ip.as_deref()).filter_map(|address| address.parse().ok()).collect();
    addresses.sort();
    addresses.dedup();
    addresses
}

/// A `targetPort` left out is the Service's own port; a name is one of a container's ports (Kubernetes, "Service").
fn target_port(pod: &PodObject, port: &ServicePort) -> Option<u16> {
    match &port.target_port {
        None | Some(Port::Number(0)) => Some(port.port),
        Some(Port::Number(number)) => Some(*number),
        Some(Port::Name(name)) => {
            let mut ports = pod.spec.containers.iter().flat_map(|container| &container.ports);
            ports.find(|port| port.name.as_ref() == Some(name)).map(|port| port.container_port)
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(change: &Value) -> PodObject {
        let mut pod = json!({
            "metadata": {"name": "web-1", "labels": {"app": "web"}},
            "spec": {"containers": [{"name": "web", "ports": [{"name": "http", "containerPort": 8080}]}]},
            "status": {
                "phase": "Running", "podIP": "10.0.0.1", "podIPs": [{"ip": "10.0.0.1"}, {"ip": "fd00::1"}],
                "containerStatuses": [{"name": "web", "ready": true, "image": "", "imageID": "", "restartCount": 0}],
                "conditions": [{"type": "Ready", "status": "False"}],
            },
        });
        for (part, fields) in change.as_object().unwrap() {
            for (name, value) in fields.as_object().unwrap() {
                pod[part][name] = value.clone();
            }
        }
        serde_json::from_value(pod).unwrap()
    }

    fn ports(ports: &Value) -> Vec<ServicePort> {
        serde_json::from_value(ports.clone()).unwrap()
    }

    #[test]
    fn a_pod_with_ready_containers_serves_whatever_its_readiness_gates_say() {
        let http = ports(&json!([{"port": 80, "targetPort": "http"}]));
        let found = serving(&pod(&json!({})), &http).unwrap();
        assert_eq!((found.name.as_str(), found.ports), ("web-1", vec![8080]));
        assert_eq!(found.addresses, ["10.0.0.1".parse::<IpAddr>().unwrap(), "fd00::1".parse().unwrap()]);
    }

    #[test]
    fn who_cannot_serve_is_not_expected() {
        let http = ports(&json!([{"port": 80}]));
        for change in [
            json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}}),
            json!({"status": {"phase": "Pending"}}),
            json!({"status": {"containerStatuses": []}}),
            json!({"status": {"containerStatuses": [{"name": "web", "ready": false, "image": "", "imageID": "", "restartCount": 0}]}}),
            json!({"status": {"podIP": null, "podIPs": []}}),
        ] {
            assert_eq!(serving(&pod(&change), &http), None, "{change}");
        }
    }

    #[test]
    fn ports_are_resolved_as_kubernetes_does() {
        for (port, expected) in [
            (json!({"port": 80}), vec![80]),
            (json!({"port": 80, "targetPort": 0}), vec![80]),
            (json!({"port": 80, "targetPort": 9090}), vec![9090]),
            (json!({"port": 80, "targetPort": "http"}), vec![8080]),
            (json!({"port": 80, "targetPort": "grpc"}), vec![]),
        ] {
            assert_eq!(serving(&pod(&json!({})), &ports(&json!([port]))).unwrap().ports, expected, "{port}");
        }
    }

    #[test]
    fn a_service_without_selector_selects_nothing() {
        assert_eq!(label_query(&BTreeMap::new()), None);
        let selector = [("a", "1"), ("b", "2")].map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        assert_eq!(label_query(&selector).as_deref(), Some("a=1,b=2"));
    }
}
