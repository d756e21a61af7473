//! A Rollout's world as objects of a cluster: read for a reconcile, and written by it.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::time::SystemTime;

use serde::Deserialize;
use serde_json::{Map, Value, json};
use tokio::time::Instant;

use super::rollout::Rollout;
use super::state::{Hands, ReplicaSet, Service, State, Write};
use super::status::{Status, whole_seconds};
use crate::kubernetes::{Cluster, Kind, Refusal};

/// The label that tells whose pods a Pod, a ReplicaSet or a selector means.
pub const POD_HASH: &str = "rollouts-pod-template-hash";

const REVISION: &str = "rollout.argoproj.io/revision";
const DESIRED_REPLICAS: &str = "rollout.argoproj.io/desired-replicas";
const SCALE_DOWN_DEADLINE: &str = "scale-down-deadline";
const MANAGED_BY: &str = "argo-rollouts.argoproj.io/managed-by-rollouts";

/// A Rollout that this model cannot play.
#[derive(Debug, thiserror::Error)]
#[error("Rollout {rollout} is not one that the lab can play: {problem}")]
pub struct Unreadable {
    rollout: String,
    problem: serde_json::Error,
}

/// Wall-clock time that goes as tokio's clock goes, paused or not. It starts with a whole second: what the controller
/// writes down is cut to whole seconds, and a pause shall not last longer in one run than in another.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clock {
    started: Instant,
    started_at: SystemTime,
}

impl Clock {
    pub(super) fn start() -> Self {
        Self { started: Instant::now(), started_at: whole_seconds(SystemTime::now()) }
    }

    pub(super) fn now(&self) -> SystemTime {
        self.started_at + self.started.elapsed()
    }
}

/// Reads all that a reconcile decides by; nothing if the Rollout is gone.
pub(super) fn read(cluster: &Cluster, namespace: &str, name: &str) -> Result<Option<State>, Unreadable> {
    let Some(object) = cluster.get(Kind::ROLLOUT, namespace, name) else { return Ok(None) };
    let rollout = Rollout::deserialize(&*object);
    let rollout = rollout.map_err(|problem| Unreadable { rollout: format!("{namespace}/{name}"), problem })?;
    let (sets, _) = cluster.list(Kind::REPLICA_SET, Some(namespace));
    let mut sets: Vec<&Value> = sets.iter().map(|set| &**set).filter(|set| is_owned(set, &rollout)).collect();
    sets.sort_by_key(|set| number(set, &annotation_path(REVISION)));
    let services = named_services(&rollout).filter_map(|name| {
        let service = cluster.get(Kind::SERVICE, namespace, name)?;
        Some((name.to_owned(), read_service(&service)))
    });
    let services = services.collect();
    let replica_sets = sets.into_iter().map(read_replica_set).collect();
    let pod_hash = short_hash(&rollout.spec.template);
    let step_hash = short_hash(object.pointer("/spec/strategy/canary/steps").unwrap_or(&Value::Null));
    Ok(Some(State { object, rollout, pod_hash, step_hash, replica_sets, services }))
}

/// The Services that a Rollout names.
pub(super) fn named_services(rollout: &Rollout) -> impl Iterator<Item = &str> {
    let canary = rollout.canary();
    let turns = canary.ping_pong.iter().flat_map(|services| [&services.ping_service, &services.pong_service]);
    let named = [&canary.stable_service, &canary.canary_service].into_iter().chain(turns);
    named.map(String::as_str).filter(|name| !name.is_empty())
}

/// The Rollout controls the object.
pub(super) fn is_owned(object: &Value, rollout: &Rollout) -> bool {
    let owners = object.pointer("/metadata/ownerReferences").and_then(Value::as_array);
    let mut owners = owners.into_iter().flatten();
    owners.any(|owner| owner.get("uid").and_then(Value::as_str) == Some(&rollout.metadata.uid))
}

fn read_replica_set(object: &Value) -> ReplicaSet {
    let text = |path: &str| object.pointer(path).and_then(Value::as_str);
    let deadline = text(&annotation_path(SCALE_DOWN_DEADLINE));
    ReplicaSet {
        hash: text(&format!("/metadata/labels/{POD_HASH}")).unwrap_or_default().to_owned(),
        replicas: number(object, "/spec/replicas"),
        desired_annotation: number(object, &annotation_path(DESIRED_REPLICAS)),
        scale_down_deadline: deadline.and_then(|deadline| humantime::parse_rfc3339(deadline).ok()),
        created: number(object, "/status/replicas"),
        available: number(object, "/status/availableReplicas"),
        version: text("/metadata/resourceVersion").unwrap_or_default().to_owned(),
    }
}

fn read_service(object: &Value) -> Service {
    let selects = object.pointer(&format!("/spec/selector/{POD_HASH}")).and_then(Value::as_str);
    let is_managed = object.pointer(&annotation_path(MANAGED_BY)).is_some();
    Service { selects: selects.unwrap_or_default().to_owned(), is_managed }
}

/// The writes of one reconcile, on a cluster.
#[derive(Debug)]
pub(super) struct ClusterHands<'a> {
    pub(super) cluster: &'a Cluster,
    pub(super) state: &'a State,
    pub(super) clock: Clock,
}

impl Hands for ClusterHands<'_> {
    fn write(&mut self, write: Write) -> Result<(), Refusal> {
        let rollout = &self.state.rollout.metadata;
        let (namespace, name) = (rollout.namespace.as_str(), rollout.name.as_str());
        let patch = |kind, name: &str, patch| self.cluster.merge_patch(kind, namespace, name, &patch).map(|_| ());
        let replica_set = |hash: &str| format!("{name}-{hash}");
        match write {
            Write::CreateReplicaSet { hash } => {
                let object = self.replica_set(&replica_set(&hash), &hash);
                self.cluster.create(Kind::REPLICA_SET, object).map(|_| ())
            }
            Write::Scale { set } => {
                let deadline = set.scale_down_deadline.map(|at| humantime::format_rfc3339_seconds(at).to_string());
                let annotations = json!({
                    DESIRED_REPLICAS: set.desired_annotation.to_string(),
                    SCALE_DOWN_DEADLINE: deadline,
                });
                let metadata = json!({ "resourceVersion": set.version, "annotations": annotations });
                let after = json!({ "metadata": metadata, "spec": { "replicas": set.replicas } });
                patch(Kind::REPLICA_SET, &replica_set(&set.hash), after)
            }
            Write::ScaleDownDeadline { hash, deadline } => {
                let deadline = deadline.map(|at| humantime::format_rfc3339_seconds(at).to_string());
                let after = json!({ "metadata": { "annotations": { SCALE_DOWN_DEADLINE: deadline } } });
                patch(Kind::REPLICA_SET, &replica_set(&hash), after)
            }
            Write::Select { service, hash } => {
                let after = json!({
                    "metadata": { "annotations": { MANAGED_BY: name } },
                    "spec": { "selector": { POD_HASH: hash } },
                });
                patch(Kind::SERVICE, &service, after)
            }
            Write::Status { before, after } => patch(Kind::ROLLOUT, name, status_patch(&before, &after)),
            Write::Warn { reason, message } => {
                self.cluster.create(Kind::EVENT, self.warning(reason, &message)).map(|_| ())
            }
        }
    }

    fn now(&self) -> SystemTime {
        self.clock.now()
    }
}

impl ClusterHands<'_> {
    /// A ReplicaSet for the Rollout's present template, without pods (`createDesiredReplicaSet`).
    fn replica_set(&self, name: &str, hash: &str) -> Value {
        let rollout = &self.state.rollout;
        let with_hash = |labels: Option<&Value>| {
            let mut labels = labels.and_then(Value::as_object).cloned().unwrap_or_default();
            labels.insert(POD_HASH.to_owned(), json!(hash));
            labels
        };
        let labels = with_hash(rollout.spec.template.pointer("/metadata/labels"));
        let mut template = rollout.spec.template.clone();
        if let Some(template) = template.as_object_mut() {
            let metadata = template.entry("metadata").or_insert_with(|| json!({}));
            if let Some(metadata) = metadata.as_object_mut() {
                metadata.insert("labels".to_owned(), labels.clone().into());
            }
        }
        json!({
            "metadata": {
                "name": name,
                "namespace": rollout.metadata.namespace,
                "labels": labels,
                "annotations": {
                    REVISION: (self.state.replica_sets.len() + 1).to_string(),
                    DESIRED_REPLICAS: rollout.spec.replicas.to_string(),
                },
                "ownerReferences": [self.owner()],
            },
            "spec": {
                "replicas": 0,
                "selector": { "matchLabels": with_hash(rollout.spec.selector.get("matchLabels")) },
                "template": template,
            },
        })
    }

    fn warning(&self, reason: &str, message: &str) -> Value {
        let rollout = &self.state.rollout.metadata;
        let now = humantime::format_rfc3339_seconds(self.now()).to_string();
        json!({
            "metadata": { "generateName": format!("{}.", rollout.name), "namespace": rollout.namespace },
            "type": "Warning",
            "reason": reason,
            "message": message,
            "involvedObject": self.owner(),
            "source": { "component": "rollouts-controller" },
            "firstTimestamp": now,
            "lastTimestamp": now,
            "count": 1,
        })
    }

    fn owner(&self) -> Value {
        let rollout = &self.state.rollout.metadata;
        json!({
            "apiVersion": Kind::ROLLOUT.api_version(),
            "kind": Kind::ROLLOUT.kind,
            "name": rollout.name,
            "namespace": rollout.namespace,
            "uid": rollout.uid,
            "controller": true,
        })
    }
}

/// The fields that differ, as a merge patch: what somebody else wrote meanwhile, an abort for example, stays.
fn status_patch(before: &Status, after: &Status) -> Value {
    let json = |status: &Status| serde_json::to_value(status).unwrap_or_default();
    json!({ "status": difference(&json(before), &json(after)) })
}

/// The merge patch (RFC 7396) that makes `after` of `before`.
fn difference(before: &Value, after: &Value) -> Value {
    let (Value::Object(before), Value::Object(after)) = (before, after) else { return after.clone() };
    let gone = before.keys().filter(|name| !after.contains_key(*name)).map(|name| (name.clone(), Value::Null));
    let changed = after.iter().filter(|(name, value)| before.get(*name) != Some(value));
    let changed = changed.map(|(name, value)| {
        (name.clone(), before.get(name).map_or_else(|| value.clone(), |before| difference(before, value)))
    });
    gone.chain(changed).collect::<Map<String, Value>>().into()
}

/// Ten characters that stand for a value.
fn short_hash(value: &Value) -> String {
    let mut hasher = DefaultHasher::new();
    // Its keys are sorted.
    value.to_string().hash(&mut hasher);
    format!("{:010x}", hasher.finish() & 0xff_ffff_ffff)
}

fn annotation_path(annotation: &str) -> String {
    format!("/metadata/annotations/{}", annotation.replace('/', "~1"))
}

/// A number, as such or as text; 0 if there is none.
fn number(object: &Value, path: &str) -> u32 {
    let number = object.pointer(path);
    let text = number.and_then(Value::as_str).and_then(|text| text.parse().ok());
    text.or_else(|| u32::try_from(number?.as_u64()?).ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_patch_has_the_differences_and_no_more() {
        let before = json!({ "a": 1, "gone": true, "same": { "x": 1 }, "deep": { "x": 1, "y": 2, "z": 3 } });
        let after = json!({ "a": 2, "new": [1], "same": { "x": 1 }, "deep": { "x": 1, "y": 3 } });
        let patch = json!({ "a": 2, "gone": null, "new": [1], "deep": { "y": 3, "z": null } });
        assert_eq!(difference(&before, &after), patch);
        assert_eq!(difference(&before, &before), json!({}));
    }

    #[test]
    fn what_others_write_into_the_status_meanwhile_stays() {
        let before = Status { current_step_index: Some(1), controller_pause: true, ..Status::default() };
        let after = Status { current_step_index: Some(2), stable_rs: "a".to_owned(), ..Status::default() };
        let status = json!({ "currentStepIndex": 2, "stableRS": "a", "controllerPause": null });
        assert_eq!(status_patch(&before, &after), json!({ "status": status }));
    }

    #[test]
    fn what_is_equal_has_equal_hashes() {
        let template = json!({ "metadata": { "annotations": { "version": "1" } }, "spec": {} });
        let same: Value = serde_json::from_str(&template.to_string()).unwrap();
        assert_eq!(short_hash(&template), short_hash(&same));
        assert_ne!(short_hash(&template), short_hash(&json!({})));
        assert_eq!(short_hash(&template).len(), 10);
    }
}
