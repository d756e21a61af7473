//! A stand-in for the ReplicaSet controller and the kubelets: it counts pods, and makes none.

use std::time::Duration;

use lab::kubernetes::{Cluster, Kind};
use serde_json::{Value, json};

/// From being made until available.
const START_UP: Duration = Duration::from_secs(1);

/// Pods of one ReplicaSet do not become available all at once.
const APART: Duration = Duration::from_millis(3);

/// Follows all ReplicaSets, until it is aborted.
pub(crate) async fn run(cluster: Cluster) {
    let mut version = cluster.version();
    loop {
        version.borrow_and_update();
        for set in cluster.list(Kind::REPLICA_SET, None).0 {
            let (wanted, made) = (number(&set, "/spec/replicas"), number(&set, "/status/replicas"));
            if wanted == made && set.pointer("/status/replicas").is_some() {
                continue;
            }
            let available = number(&set, "/status/availableReplicas").min(wanted);
            report(&cluster, &set, &json!({ "replicas": wanted, "availableReplicas": available }));
            for pod in made..wanted {
                tokio::spawn(start(cluster.clone(), Value::clone(&set), pod));
            }
        }
        if version.changed().await.is_err() {
            return;
        }
    }
}

/// A pod becomes available, unless it had to go before.
async fn start(cluster: Cluster, set: Value, pod: u64) {
    tokio::time::sleep(START_UP + APART * u32::try_from(pod).unwrap()).await;
    let (namespace, name) = (text(&set, "/metadata/namespace"), text(&set, "/metadata/name"));
    let Some(set) = cluster.get(Kind::REPLICA_SET, namespace, name) else { return };
    let (made, available) = (number(&set, "/status/replicas"), number(&set, "/status/availableReplicas"));
    if available < made {
        report(&cluster, &set, &json!({ "availableReplicas": available + 1 }));
    }
}

fn report(cluster: &Cluster, set: &Value, status: &Value) {
    let (namespace, name) = (text(set, "/metadata/namespace"), text(set, "/metadata/name"));
    cluster.merge_patch(Kind::REPLICA_SET, namespace, name, &json!({ "status": status })).unwrap();
}

fn number(object: &Value, path: &str) -> u64 {
    object.pointer(path).and_then(Value::as_u64).unwrap_or_default()
}

fn text<'a>(object: &'a Value, path: &str) -> &'a str {
    object.pointer(path).and_then(Value::as_str).unwrap_or_default()
}
