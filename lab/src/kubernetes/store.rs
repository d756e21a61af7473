//! The objects, as JSON, and the one counter of their versions.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use serde_json::{Map, Value, json};
use tokio::sync::watch;

use super::kind::Kind;
use super::patch::merge;
use super::{events, validate};

/// How many changes are remembered. A watch that starts further back is told that it is too late (410 Gone).
const REMEMBERED: usize = 10_000;

/// What a Pod that names none gets (kubernetes `pkg/apis/core/v1/defaults.go`).
const DEFAULT_GRACE_PERIOD_SECONDS: u64 = 30;

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
    /// The object before it, if it was there.
    pub before: Option<Arc<Value>>,
    /// The version that the change made.
    pub version: u64,
}

/// How an object is to go: the part of Kubernetes' `DeleteOptions` that the lab knows.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Deletion {
    /// Seconds that a Pod gets to end; what its `terminationGracePeriodSeconds` says if `None`. With 0 it is gone at once.
    pub grace_period_seconds: Option<u64>,
    /// The object must be this very one.
    pub uid: Option<String>,
    /// The object must not have changed since this version.
    pub resource_version: Option<String>,
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

/// Kind, namespace (empty for a kind without) and name.
type Key = (Kind, String, String);

#[derive(Debug, Default)]
struct Objects {
    by_name: BTreeMap<Key, Arc<Value>>,
    changes: VecDeque<Change>,
    version: u64,
    made: u64,
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
            validate::metadata(kind, &object).map_err(Refusal::Invalid)?;
            let key = (kind, namespace, name);
            if objects.by_name.contains_key(&key) {
                return Err(Refusal::AlreadyExists(path(&key)));
            }
            let metadata = metadata_mut(&mut object)?;
            metadata.insert("uid".to_owned(), json!(format!("00000000-0000-0000-0000-{made:012x}")));
            metadata.insert("generation".to_owned(), json!(1));
            metadata.entry("creationTimestamp").or_insert_with(|| json!("2026-01-01T00:00:00Z"));
            if let Value::Object(fields) = &mut object {
                fields.insert("apiVersion".to_owned(), json!(kind.api_version()));
                fields.insert("kind".to_owned(), json!(kind.kind));
            }
            if kind == Kind::EVENT {
                events::validate(&object).map_err(Refusal::Invalid)?;
            }
            objects.put(key, "ADDED", object)
        })
    }

    /// Stores a copy of another cluster's object, in place of an earlier copy: uid, generation and status stay as they are
    /// there, and only the version becomes this cluster's own.
    pub fn put_copy(&self, kind: Kind, object: Value) -> Result<Arc<Value>, Refusal> {
        self.change(|objects| {
            let part = |name: &str| object.pointer(&format!("/metadata/{name}")).and_then(Value::as_str);
            let name = part("name").ok_or_else(|| Refusal::Invalid("metadata.name is missing".to_owned()))?;
            let key = (kind, part("namespace").unwrap_or_default().to_owned(), name.to_owned());
            let event = if objects.by_name.contains_key(&key) { "MODIFIED" } else { "ADDED" };
            objects.put(key, event, object)
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

    /// Changes an object by a JSON merge patch (RFC 7396), its status too. A `metadata.resourceVersion` in the patch must be
    /// the object's, and its uid, place and kind cannot be changed. A patch that changes nothing makes no change.
    pub fn merge_patch(&self, kind: Kind, namespace: &str, name: &str, patch: &Value) -> Result<Arc<Value>, Refusal> {
        self.change(|objects| {
            let (key, before) = objects.find(kind, namespace, name)?;
            let version = "/metadata/resourceVersion";
            let named = patch.pointer(version).filter(|named| !named.is_null());
            if named.is_some_and(|named| Some(named) != before.pointer(version)) {
                return Err(Refusal::Conflict(path(&key)));
            }
            let mut after = Value::clone(&before);
            merge(&mut after, patch);
            for kept in ["/metadata/name", "/metadata/namespace", "/metadata/uid", "/apiVersion", "/kind"] {
                if after.pointer(kept) != before.pointer(kept) {
                    return Err(Refusal::Invalid(format!("{}: {kept} cannot be changed", path(&key))));
                }
            }
            let metadata = metadata_mut(&mut after)?;
            for kept in ["resourceVersion", "generation", "creationTimestamp"] {
                if let Some(value) = before.pointer(&format!("/metadata/{kept}")) {
                    metadata.insert(kept.to_owned(), value.clone());
                }
            }
            if after == *before {
                return Ok(before);
            }
            validate::metadata(kind, &after).map_err(Refusal::Invalid)?;
            if kind == Kind::EVENT {
                events::validate(&after).map_err(Refusal::Invalid)?;
            }
            if is_another_wish(kind, &before, &after) {
                raise_generation(&mut after)?;
            }
            objects.put(key, "MODIFIED", after)
        })
    }

    /// Takes an object away at once.
    pub fn delete(&self, kind: Kind, namespace: &str, name: &str) -> Result<Arc<Value>, Refusal> {
        self.change(|objects| {
            let (key, last) = objects.find(kind, namespace, name)?;
            objects.remove(key, last)
        })
    }

    /// Takes an object away as the API server does: a Pod on a node that has not ended is only told to go, by its
    /// `metadata.deletionTimestamp`, and its kubelet deletes it with 0 seconds later. A second deletion may only shorten the
    /// time (kubernetes/apiserver `pkg/registry/rest/delete.go`). Finalizers are not looked at.
    ///
    /// Answers the object as it is now, or `None` if it is gone.
    pub fn delete_with(
        &self,
        kind: Kind,
        namespace: &str,
        name: &str,
        deletion: &Deletion,
        now: SystemTime,
    ) -> Result<Option<Arc<Value>>, Refusal> {
        self.change(|objects| {
            let (key, before) = objects.find(kind, namespace, name)?;
            for (wanted, pointer) in
                [(&deletion.uid, "/metadata/uid"), (&deletion.resource_version, "/metadata/resourceVersion")]
            {
                let found = before.pointer(pointer).and_then(Value::as_str);
                if wanted.is_some() && wanted.as_deref() != found {
                    return Err(Refusal::Conflict(path(&key)));
                }
            }
            let seconds = grace_period(kind, &before, deletion.grace_period_seconds);
            if seconds == 0 {
                objects.remove(key, before)?;
                return Ok(None);
            }
            let pending = before.pointer("/metadata/deletionGracePeriodSeconds").and_then(Value::as_u64);
            if pending.is_some_and(|pending| deletion.grace_period_seconds.is_none_or(|wished| wished >= pending)) {
                return Ok(Some(before));
            }
            let mut after = Value::clone(&before);
            if pending.is_none() {
                raise_generation(&mut after)?;
            }
            let until = humantime::format_rfc3339_seconds(now + Duration::from_secs(seconds));
            let metadata = metadata_mut(&mut after)?;
            metadata.insert("deletionTimestamp".to_owned(), json!(until.to_string()));
            metadata.insert("deletionGracePeriodSeconds".to_owned(), json!(seconds));
            objects.put(key, "MODIFIED", after).map(Some)
        })
    }

    /// The changes after a version, oldest first; `None` if some of them are forgotten.
    #[must_use]
    pub fn changes_after(&self, version: u64) -> Option<Vec<Change>> {
        let objects = self.objects();
        let oldest = objects.changes.front().map_or(objects.version + 1, |change| change.version);
        let start = objects.changes.partition_point(|change| change.version <= version);
        (version + 1 >= oldest).then(|| objects.changes.range(start..).cloned().collect())
    }

    /// Forgets all changes so far, as etcd does every few minutes. Whoever has not seen them yet comes too late.
    pub fn forget_changes(&self) {
        self.objects().changes.clear();
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
    fn find(&self, kind: Kind, namespace: &str, name: &str) -> Result<(Key, Arc<Value>), Refusal> {
        let key = (kind, namespace.to_owned(), name.to_owned());
        match self.by_name.get(&key) {
            Some(object) => Ok((key, Arc::clone(object))),
            None => Err(Refusal::NotFound(path(&key))),
        }
    }

    fn put(&mut self, key: Key, event: &'static str, object: Value) -> Result<Arc<Value>, Refusal> {
        let (kind, object) = (key.0, self.stamped(object)?);
        let before = self.by_name.insert(key, Arc::clone(&object));
        self.remember(Change { event, kind, object: Arc::clone(&object), before, version: self.version });
        Ok(object)
    }

    fn remove(&mut self, key: Key, last: Arc<Value>) -> Result<Arc<Value>, Refusal> {
        let object = self.stamped(Value::clone(&last))?;
        self.by_name.remove(&key);
        let before = Some(Arc::clone(&last));
        self.remember(Change { event: "DELETED", kind: key.0, object, before, version: self.version });
        Ok(last)
    }

    /// Gives the object the next version.
    fn stamped(&mut self, mut object: Value) -> Result<Arc<Value>, Refusal> {
        let next = self.version + 1;
        metadata_mut(&mut object)?.insert("resourceVersion".to_owned(), json!(next.to_string()));
        self.version = next;
        Ok(Arc::new(object))
    }

    fn remember(&mut self, change: Change) {
        self.changes.push_back(change);
        if self.changes.len() > REMEMBERED {
            self.changes.pop_front();
        }
    }
}

/// Something else is wished for than before: not a change of metadata, nor of a status that has a path of its own.
fn is_another_wish(kind: Kind, before: &Value, after: &Value) -> bool {
    let wish = |object: &Value| {
        let mut fields = object.as_object().cloned().unwrap_or_default();
        fields.remove("metadata");
        if kind.status_subresource {
            fields.remove("status");
        }
        fields
    };
    wish(before) != wish(after)
}

fn raise_generation(object: &mut Value) -> Result<(), Refusal> {
    let metadata = metadata_mut(object)?;
    let generation = metadata.get("generation").and_then(Value::as_u64).unwrap_or_default();
    metadata.insert("generation".to_owned(), json!(generation + 1));
    Ok(())
}

/// Seconds from being told to go until gone (kubernetes `pkg/registry/core/pod/strategy.go`, `CheckGracefulDelete`).
fn grace_period(kind: Kind, object: &Value, wished: Option<u64>) -> u64 {
    let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let has_ended = matches!(text("/status/phase"), "Succeeded" | "Failed");
    if kind != Kind::POD || text("/spec/nodeName").is_empty() || has_ended {
        return 0;
    }
    wished.unwrap_or_else(|| {
        let own = object.pointer("/spec/terminationGracePeriodSeconds").and_then(Value::as_u64);
        own.unwrap_or(DEFAULT_GRACE_PERIOD_SECONDS)
    })
}

fn metadata_mut(object: &mut Value) -> Result<&mut Map<String, Value>, Refusal> {
    let metadata = object.get_mut("metadata").and_then(Value::as_object_mut);
    metadata.ok_or_else(|| Refusal::Invalid("metadata is missing".to_owned()))
}

fn text(fields: &Map<String, Value>, name: &str) -> Option<String> {
    fields.get(name).and_then(Value::as_str).map(str::to_owned)
}

fn path((kind, namespace, name): &Key) -> String {
    format!("{} {namespace}/{name}", kind.kind)
}

#[cfg(test)]
mod tests;
