//! The objects, as JSON, and the one counter of their versions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::{Map, Value, json};
use tokio::sync::watch;

/// How many changes are remembered. A watch that starts further back is told that it is too late (410 Gone).
const REMEMBERED: usize = 10_000;

/// A kind of object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Kind {
    /// Such as `argoproj.io`; empty for the core group.
    pub group: &'static str,
    /// Such as `v1alpha1`.
    pub version: &'static str,
    /// The plural in paths, such as `rollouts`.
    pub plural: &'static str,
    /// Such as `Rollout`.
    pub kind: &'static str,
    /// Objects of it live in namespaces.
    pub namespaced: bool,
}

/// Why the cluster refused something.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No such object.
    #[error("{0} not found")]
    NotFound(String),
    /// There is one of this name.
    #[error("{0} already exists")]
    AlreadyExists(String),
    /// The object has changed since the version that the writer named.
    #[error("the object {0} has been modified; please apply your changes to the latest version and try again")]
    Conflict(String),
    /// It cannot be an object of this kind.
    #[error("{0}")]
    Invalid(String),
}

/// One change of one object.
#[derive(Debug, Clone)]
pub struct Change {
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub event: &'static str,
    /// What kind of object it was.
    pub kind: Kind,
    /// The object after it; of a deleted one, its last state.
    pub object: Arc<Value>,
    /// The version that the change made.
    pub version: u64,
}

/// All objects of a cluster. Clones are the same cluster.
#[derive(Debug, Clone)]
pub struct Cluster {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    objects: Mutex<Objects>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Objects {
    by_name: BTreeMap<(Kind, String, String), Arc<Value>>,
    changes: VecDeque<Change>,
    version: u64,
    made: u64,
}

impl Kind {
    /// Pods.
    pub const POD: Self = Self::core("pods", "Pod", true);
    /// Services.
    pub const SERVICE: Self = Self::core("services", "Service", true);
    /// Nodes.
    pub const NODE: Self = Self::core("nodes", "Node", false);
    /// Events.
    pub const EVENT: Self = Self::core("events", "Event", true);
    /// ReplicaSets.
    pub const REPLICA_SET: Self = Self::of("apps", "v1", "replicasets", "ReplicaSet");
    /// Ingresses.
    pub const INGRESS: Self = Self::of("networking.k8s.io", "v1", "ingresses", "Ingress");
    /// Rollouts.
    pub const ROLLOUT: Self = Self::of("argoproj.io", "v1alpha1", "rollouts", "Rollout");
    /// AnalysisRuns.
    pub const ANALYSIS_RUN: Self = Self::of("argoproj.io", "v1alpha1", "analysisruns", "AnalysisRun");
    /// TargetGroupBindings of the AWS Load Balancer Controller.
    pub const TARGET_GROUP_BINDING: Self =
        Self::of("elbv2.k8s.aws", "v1beta1", "targetgroupbindings", "TargetGroupBinding");
    /// TargetGroupBindings of EKS Auto Mode.
    pub const AUTO_MODE_BINDING: Self =
        Self::of("eks.amazonaws.com", "v1", "targetgroupbindings", "TargetGroupBinding");

    /// All that the lab knows.
    pub const ALL: [Self; 10] = [
        Self::POD,
        Self::SERVICE,
        Self::NODE,
        Self::EVENT,
        Self::REPLICA_SET,
        Self::INGRESS,
        Self::ROLLOUT,
        Self::ANALYSIS_RUN,
        Self::TARGET_GROUP_BINDING,
        Self::AUTO_MODE_BINDING,
    ];

    const fn core(plural: &'static str, kind: &'static str, namespaced: bool) -> Self {
        Self { group: "", version: "v1", plural, kind, namespaced }
    }

    const fn of(group: &'static str, version: &'static str, plural: &'static str, kind: &'static str) -> Self {
        Self { group, version, plural, kind, namespaced: true }
    }

    /// As in manifests: `v1`, `apps/v1`.
    #[must_use]
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.to_owned() } else { format!("{}/{}", self.group, self.version) }
    }
}

impl Default for Cluster {
    fn default() -> Self {
        Self { shared: Arc::new(Shared { objects: Mutex::default(), version: watch::Sender::new(0) }) }
    }
}

impl Cluster {
    /// Adds an object; its `metadata` needs a name (or `generateName`), and a namespace if the kind has one.
    pub fn create(&self, kind: Kind, mut object: Value) -> Result<Arc<Value>, Refusal> {
        self.change(|objects| {
            objects.made += 1;
            let made = objects.made;
            let metadata = metadata_mut(&mut object)?;
            if let (None, Some(prefix)) = (text(metadata, "name"), text(metadata, "generateName")) {
                metadata.insert("name".to_owned(), json!(format!("{prefix}{made:05x}")));
            }
            let name = text(metadata, "name").ok_or_else(|| Refusal::Invalid("metadata.name is missing".to_owned()))?;
            let namespace = text(metadata, "namespace").unwrap_or_default();
            if kind.namespaced == namespace.is_empty() {
                return Err(Refusal::Invalid(format!("{} {name}: wrong metadata.namespace", kind.kind)));
            }
            let key = (kind, namespace, name);
            if objects.by_name.contains_key(&key) {
                return Err(Refusal::AlreadyExists(path(&key)));
            }
            metadata.insert("uid".to_owned(), json!(format!("00000000-0000-0000-0000-{made:012x}")));
            metadata.insert("generation".to_owned(), json!(1));
            metadata.entry("creationTimestamp").or_insert_with(|| json!("2026-01-01T00:00:00Z"));
            if let Value::Object(fields) = &mut object {
                fields.insert("apiVersion".to_owned(), json!(kind.api_version()));
                fields.insert("kind".to_owned(), json!(kind.kind));
            }
            objects.put(key, "ADDED", object)
        })
    }

    /// One object. The namespace of an object that lives in none is empty.
    #[must_use]
    pub fn get(&self, kind: Kind, namespace: &str, name: &str) -> Option<Arc<Value>> {
        self.objects().by_name.get(&(kind, namespace.to_owned(), name.to_owned())).cloned()
    }

    /// The objects of a kind, by namespace and name, and the version at which they were so.
    #[must_use]
    pub fn list(&self, kind: Kind, namespace: Option<&str>) -> (Vec<Arc<Value>>, u64) {
        let objects = self.objects();
        let wanted = objects
            .by_name
            .iter()
            .filter(|((of, within, _), _)| *of == kind && namespace.is_none_or(|namespace| namespace == within));
        (wanted.map(|(_, object)| Arc::clone(object)).collect(), objects.version)
    }

    /// Changes an object by a JSON merge patch (RFC 7396). A `metadata.resourceVersion` in it must be the object's.
    pub fn merge_patch(&self, kind: Kind, namespace: &str, name: &str, patch: &Value) -> Result<Arc<Value>, Refusal> {
        self.change(|objects| {
            let key = (kind, namespace.to_owned(), name.to_owned());
            let before = objects.by_name.get(&key).cloned().ok_or_else(|| Refusal::NotFound(path(&key)))?;
            let named = patch.pointer("/metadata/resourceVersion").filter(|version| !version.is_null());
            if named.is_some_and(|named| Some(named) != before.pointer("/metadata/resourceVersion")) {
                return Err(Refusal::Conflict(path(&key)));
            }
            let mut after = Value::clone(&before);
            merge(&mut after, patch);
            if after == *before {
                return Ok(before);
            }
            if after.get("spec") != before.get("spec") {
                let generation = before.pointer("/metadata/generation").and_then(Value::as_u64).unwrap_or_default();
                metadata_mut(&mut after)?.insert("generation".to_owned(), json!(generation + 1));
            }
            objects.put(key, "MODIFIED", after)
        })
    }

    /// Takes an object away.
    pub fn delete(&self, kind: Kind, namespace: &str, name: &str) -> Result<Arc<Value>, Refusal> {
        self.change(|objects| {
            let key = (kind, namespace.to_owned(), name.to_owned());
            let last = objects.by_name.get(&key).cloned().ok_or_else(|| Refusal::NotFound(path(&key)))?;
            objects.put(key.clone(), "DELETED", Value::clone(&last))?;
            objects.by_name.remove(&key);
            Ok(last)
        })
    }

    /// The changes after a version, oldest first; `None` if some of them are forgotten.
    #[must_use]
    pub fn changes_after(&self, version: u64) -> Option<Vec<Change>> {
        let objects = self.objects();
        let oldest = objects.changes.front().map_or(objects.version + 1, |change| change.version);
        (version + 1 >= oldest)
            .then(|| objects.changes.iter().filter(|change| change.version > version).cloned().collect())
    }

    /// The version of the newest change, now and as it grows.
    #[must_use]
    pub fn version(&self) -> watch::Receiver<u64> {
        self.shared.version.subscribe()
    }

    fn objects(&self) -> MutexGuard<'_, Objects> {
        self.shared.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn change<T>(&self, change: impl FnOnce(&mut Objects) -> Result<T, Refusal>) -> Result<T, Refusal> {
        let mut objects = self.objects();
        let result = change(&mut objects);
        let version = objects.version;
        drop(objects);
        self.shared.version.send_if_modified(|known| {
            let grown = version > *known;
            *known = version.max(*known);
            grown
        });
        result
    }
}

impl Objects {
    fn put(
        &mut self,
        key: (Kind, String, String),
        event: &'static str,
        mut object: Value,
    ) -> Result<Arc<Value>, Refusal> {
        self.version += 1;
        metadata_mut(&mut object)?.insert("resourceVersion".to_owned(), json!(self.version.to_string()));
        let object = Arc::new(object);
        self.changes.push_back(Change { event, kind: key.0, object: Arc::clone(&object), version: self.version });
        if self.changes.len() > REMEMBERED {
            self.changes.pop_front();
        }
        self.by_name.insert(key, Arc::clone(&object));
        Ok(object)
    }
}

/// RFC 7396.
fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        target.clone_from(patch);
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(fields) = target else { return };
    for (name, value) in patch {
        if value.is_null() {
            fields.remove(name);
        } else {
            merge(fields.entry(name).or_insert(Value::Null), value);
        }
    }
}

fn metadata_mut(object: &mut Value) -> Result<&mut Map<String, Value>, Refusal> {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    metadata.ok_or_else(|| Refusal::Invalid("metadata is missing".to_owned()))
}

fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    fields.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn path((kind, namespace, name): &(Kind, String, String)) -> String {
    format!("{} {namespace}/{name}", kind.kind)
}
