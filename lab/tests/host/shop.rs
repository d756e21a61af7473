//! A cluster with a Rollout, its controller and its pods; and what people do to it.

use std::sync::Arc;
use std::time::Duration;

use lab::kubernetes::{Cluster, Kind};
use lab::rollouts_controller::recording::{Deed, written};
use lab::rollouts_controller::{Controller, POD_HASH};
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::pods;
use crate::router::{Answer, Router};

/// Simulated; nobody waits for it.
pub(crate) const PATIENCE: Duration = Duration::from_secs(3600);

const NAMESPACE: &str = "shop";

/// The Rollout `shop/web` and all who work on it.
pub(crate) struct Shop {
    pub(crate) cluster: Cluster,
    pub(crate) router: Arc<Router>,
    tasks: [JoinHandle<()>; 2],
}

impl Drop for Shop {
    fn drop(&mut self) {
        for task in &self.tasks {
            task.abort();
        }
    }
}

impl Shop {
    /// Opens it with version 1, ten pods, this canary strategy besides the Services, and a router that gives `answers`.
    pub(crate) fn open(canary: Value, answers: &[Answer]) -> Self {
        let cluster = Cluster::default();
        let mut strategy = json!({
            "stableService": "web-stable",
            "canaryService": "web-canary",
            "trafficRouting": { "plugins": { "test/test": {} } },
        });
        for (name, value) in canary.as_object().unwrap() {
            strategy[name] = value.clone();
        }
        for service in ["web-stable", "web-canary", "web-ping", "web-pong"] {
            let spec = json!({ "selector": { "app": "web" }, "ports": [{ "port": 80 }] });
            create(&cluster, Kind::SERVICE, service, json!({ "spec": spec }));
        }
        let template = json!({ "metadata": { "labels": { "app": "web" }, "annotations": { "version": "1" } } });
        let spec = json!({
            "replicas": 10,
            "selector": { "matchLabels": { "app": "web" } },
            "template": template,
            "strategy": { "canary": strategy },
        });
        create(&cluster, Kind::ROLLOUT, "web", json!({ "spec": spec }));
        let router = Arc::new(Router::new(cluster.clone(), answers));
        let controller = Controller::new(cluster.clone(), NAMESPACE, "web", Arc::<Router>::clone(&router));
        let controller = tokio::spawn(async move { controller.run().await.unwrap() });
        let tasks = [controller, tokio::spawn(pods::run(cluster.clone()))];
        Self { cluster, router, tasks }
    }

    /// Waits until the Rollout is as it should be.
    pub(crate) async fn until(&self, condition: impl Fn(&Value) -> bool) {
        let mut version = self.cluster.version();
        let met = version.wait_for(|_| condition(&self.rollout()));
        assert!(timeout(PATIENCE, met).await.is_ok(), "it never was: {}", self.rollout());
    }

    pub(crate) async fn until_healthy(&self) {
        self.until(|rollout| is(rollout, "Healthy", 0) && is_current(rollout)).await;
    }

    /// Waits until all pods of a pause are there, and none besides.
    pub(crate) async fn until_paused(&self, weight: u64, pods: u64) {
        let all = |rollout: &Value, path: &str| rollout.pointer(path) == Some(&json!(pods));
        let settled = |rollout: &Value| all(rollout, "/status/replicas") && all(rollout, "/status/availableReplicas");
        self.until(|rollout| is(rollout, "Paused", weight) && is_current(rollout) && settled(rollout)).await;
    }

    pub(crate) fn set_version(&self, version: &str) {
        let metadata = json!({ "annotations": { "version": version } });
        self.patch(json!({ "spec": { "template": { "metadata": metadata } } }));
    }

    pub(crate) fn abort(&self) {
        self.patch(json!({ "status": { "abort": true } }));
    }

    pub(crate) fn patch(&self, patch: Value) {
        self.cluster.merge_patch(Kind::ROLLOUT, NAMESPACE, "web", &patch).unwrap();
    }

    pub(crate) fn rollout(&self) -> Value {
        Value::clone(&self.cluster.get(Kind::ROLLOUT, NAMESPACE, "web").unwrap())
    }

    /// All that the controller did, with the calls that the router saw.
    pub(crate) fn recording(&self) -> String {
        let changes = self.cluster.changes_after(0).unwrap();
        let writes = changes.iter().filter_map(|change| Some((change.version, 0, deed(change.kind, &change.object)?)));
        let calls = self.router.calls().into_iter().map(|call| (call.version, 1, Deed::Called(call.called)));
        let mut deeds: Vec<(u64, u8, Deed)> = writes.chain(calls).collect();
        deeds.sort_by_key(|(version, call, _)| (*version, *call));
        written(deeds.into_iter().map(|(_, _, deed)| deed))
    }
}

fn create(cluster: &Cluster, kind: Kind, name: &str, mut object: Value) {
    object["metadata"] = json!({ "namespace": NAMESPACE, "name": name });
    cluster.create(kind, object).unwrap();
}

/// Its phase, and the recorded weight of the canary.
pub(crate) fn is(rollout: &Value, phase: &str, weight: u64) -> bool {
    rollout.pointer("/status/phase") == Some(&json!(phase))
        && rollout.pointer("/status/canary/weights/canary/weight") == Some(&json!(weight))
}

fn is_current(rollout: &Value) -> bool {
    let generation = rollout.pointer("/metadata/generation").and_then(Value::as_u64).unwrap();
    rollout.pointer("/status/observedGeneration") == Some(&json!(generation.to_string()))
}

fn deed(kind: Kind, object: &Value) -> Option<Deed> {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let number = |path: &str| object.pointer(path).and_then(Value::as_u64).map(|number| u32::try_from(number).unwrap());
    let weight = number("/status/canary/weights/canary/weight");
    let verified = object.pointer("/status/canary/weights/verified").and_then(Value::as_bool);
    match kind {
        Kind::SERVICE => {
            Some(Deed::Selected { service: text("/metadata/name"), hash: text(&format!("/spec/selector/{POD_HASH}")) })
        }
        Kind::REPLICA_SET => Some(Deed::Scaled {
            hash: text(&format!("/metadata/labels/{POD_HASH}")),
            replicas: number("/spec/replicas")?,
        }),
        Kind::ROLLOUT => Some(Deed::Recorded {
            phase: text("/status/phase"),
            step: number("/status/currentStepIndex"),
            stable: text("/status/stableRS"),
            weight: weight.map(|weight| (weight, verified)),
        }),
        _ => None,
    }
}
