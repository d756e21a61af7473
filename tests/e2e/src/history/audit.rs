//! The API server's audit log.

use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::Context;
use serde::Deserialize;
use serde_json::Value;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::{ClusterWrite, RolloutStatus, Stored};

/// How long the log may take to show what a watch has shown.
const CATCHES_UP_WITHIN: Duration = Duration::from_secs(30);

/// Reads the log, which the API server writes one event a line.
#[derive(Debug, Clone)]
pub(crate) struct Audit {
    log: PathBuf,
}

/// One event, as far as it is read. Names: `audit.k8s.io/v1`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    request_received_timestamp: String,
    verb: String,
    object_ref: ObjectRef,
    response_status: ResponseStatus,
    #[serde(default)]
    response_object: Value,
}

#[derive(Debug, Deserialize)]
struct ObjectRef {
    resource: String,
    #[serde(default)]
    namespace: String,
}

#[derive(Debug, Deserialize)]
struct ResponseStatus {
    code: u16,
}

impl Audit {
    pub(crate) fn new(log: &Path) -> Self {
        Self { log: log.to_owned() }
    }

    /// What was stored in a namespace, up to and including the Rollout with this resource version.
    pub(crate) async fn until(&self, namespace: &str, resource_version: &str) -> anyhow::Result<Vec<ClusterWrite>> {
        let caught_up = async {
            let mut ticks = interval(Duration::from_millis(50));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let text = tokio::fs::read_to_string(&self.log).await?;
                if let Some(writes) = read(&text, namespace, resource_version)? {
                    return anyhow::Ok(writes);
                }
            }
        };
        let late = || format!("the audit log does not show resource version {resource_version} in {namespace}");
        timeout(CATCHES_UP_WITHIN, caught_up).await.with_context(late)?
    }
}

/// What the log says about a namespace; nothing if it does not reach the resource version yet.
fn read(log: &str, namespace: &str, resource_version: &str) -> anyhow::Result<Option<Vec<ClusterWrite>>> {
    let mut reached = false;
    let mut writes = Vec::new();
    // The last line may not be whole yet.
    let whole = log.rfind('\n').and_then(|end| log.get(..end)).unwrap_or_default();
    // Most lines are about other scenarios; this spares parsing them.
    for line in whole.lines().filter(|line| line.contains(namespace)) {
        let event: Event = serde_json::from_str(line).context("an audit event cannot be read")?;
        if event.object_ref.namespace != namespace || event.response_status.code >= 300 {
            continue;
        }
        let version = event.response_object.pointer("/metadata/resourceVersion").and_then(Value::as_str);
        reached |= event.object_ref.resource == "rollouts" && version == Some(resource_version);
        if let Some(stored) = stored(&event).context("an audit event has an object that cannot be read")? {
            writes.push(ClusterWrite { at: moment(&event)?, stored });
        }
    }
    writes.sort_by_key(|write| write.at);
    Ok(reached.then_some(writes))
}

fn stored(event: &Event) -> serde_json::Result<Option<Stored>> {
    let object = &event.response_object;
    let text = |pointer| object.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
    Ok(Some(match event.object_ref.resource.as_str() {
        "rollouts" => match object.get("status") {
            Some(status) => Stored::Status(RolloutStatus::deserialize(status)?),
            None => return Ok(None),
        },
        "replicasets" => Stored::ReplicaSet {
            hash: text("/metadata/labels/rollouts-pod-template-hash").unwrap_or_default(),
            replicas: u32::deserialize(object.pointer("/spec/replicas").unwrap_or(&Value::Null))?,
        },
        "services" => Stored::Service {
            name: text("/metadata/name").unwrap_or_default(),
            hash: text("/spec/selector/rollouts-pod-template-hash"),
        },
        "pods" => Stored::Pod {
            name: text("/metadata/name").unwrap_or_default(),
            hash: text("/metadata/labels/rollouts-pod-template-hash").unwrap_or_default(),
            serves: event.verb != "delete" && text("/metadata/deletionTimestamp").is_none() && is_ready(object),
        },
        _ => return Ok(None),
    }))
}

fn is_ready(pod: &Value) -> bool {
    let conditions = pod.pointer("/status/conditions").and_then(Value::as_array);
    conditions.into_iter().flatten().any(|condition| condition["type"] == "Ready" && condition["status"] == "True")
}

fn moment(event: &Event) -> anyhow::Result<SystemTime> {
    let text = &event.request_received_timestamp;
    humantime::parse_rfc3339(text).with_context(|| format!("`{text}` is not a time"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LOG: &str = concat!(
        r#"{"kind":"Event","requestReceivedTimestamp":"2026-01-02T03:04:05.250000Z","verb":"patch","objectRef":{"resource":"rollouts","namespace":"shop","name":"web","subresource":"status"},"responseStatus":{"code":200},"responseObject":{"metadata":{"resourceVersion":"7"},"status":{"phase":"Progressing","stableRS":"aaa","currentStepIndex":1,"canary":{"weights":{"canary":{"weight":10,"serviceName":"c"},"stable":{"weight":90},"verified":true}}}}}"#,
        "\n",
        r#"{"kind":"Event","requestReceivedTimestamp":"2026-01-02T03:04:05.100000Z","verb":"update","objectRef":{"resource":"replicasets","namespace":"shop","name":"web-aaa"},"responseStatus":{"code":200},"responseObject":{"metadata":{"resourceVersion":"6","labels":{"rollouts-pod-template-hash":"aaa"}},"spec":{"replicas":9}}}"#,
        "\n",
        r#"{"kind":"Event","requestReceivedTimestamp":"2026-01-02T03:04:05.300000Z","verb":"update","objectRef":{"resource":"replicasets","namespace":"shop","name":"web-aaa"},"responseStatus":{"code":409},"responseObject":{"kind":"Status"}}"#,
        "\n",
        r#"{"kind":"Event","requestReceivedTimestamp":"2026-01-02T03:04:05.400000Z","verb":"patch","objectRef":{"resource":"services","namespace":"shop-2","name":"web"},"responseStatus":{"code":200},"responseObject":{"metadata":{"name":"web"},"spec":{}}}"#,
        "\n",
    );

    #[test]
    fn what_was_stored_is_read_in_the_order_of_the_requests() {
        let writes = read(LOG, "shop", "7").unwrap().unwrap();
        assert_eq!(writes.len(), 2, "{writes:?}");
        assert_eq!(writes[0].stored, Stored::ReplicaSet { hash: "aaa".to_owned(), replicas: 9 });
        let Stored::Status(status) = &writes[1].stored else { panic!("{writes:?}") };
        let weights = status.canary.weights.unwrap();
        assert_eq!((weights.canary.weight, weights.stable.weight, weights.verified), (10, 90, Some(true)));
        assert_eq!(writes[1].at.duration_since(writes[0].at).unwrap(), Duration::from_millis(150));
    }

    #[test]
    fn a_pod_serves_from_ready_until_it_is_told_to_go() {
        let event = |verb: &str, ready: &str, deleted: Value| {
            let metadata = json!({
                "name": "web-1", "labels": { "rollouts-pod-template-hash": "aaa" }, "deletionTimestamp": deleted,
            });
            let event = serde_json::from_value::<Event>(json!({
                "requestReceivedTimestamp": "2026-01-02T03:04:05.000000Z",
                "verb": verb,
                "objectRef": { "resource": "pods", "namespace": "shop" },
                "responseStatus": { "code": 200 },
                "responseObject": {
                    "metadata": metadata, "status": { "conditions": [{ "type": "Ready", "status": ready }] },
                },
            }));
            stored(&event.unwrap()).unwrap()
        };
        let pod = |serves| Some(Stored::Pod { name: "web-1".to_owned(), hash: "aaa".to_owned(), serves });
        assert_eq!(event("patch", "True", Value::Null), pod(true));
        assert_eq!(event("patch", "False", Value::Null), pod(false));
        assert_eq!(event("patch", "True", json!("2026-01-02T03:04:35Z")), pod(false));
        assert_eq!(event("delete", "True", Value::Null), pod(false));
    }

    #[test]
    fn a_log_that_is_behind_is_not_taken() {
        assert_eq!(read(LOG, "shop", "8").unwrap(), None);
        let half = LOG.get(..LOG.find('\n').unwrap()).unwrap();
        assert_eq!(read(half, "shop", "7").unwrap(), None);
    }
}
