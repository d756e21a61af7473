//! What changed in the cluster since the last look, with the objects as they were before.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use tokio::sync::watch;

use crate::kubernetes::{Cluster, Kind};
use crate::load_balancer_controller::manifest;

/// One object before and after a change. `None`: it was not there yet, or is there no longer.
#[derive(Debug, Clone)]
pub(super) struct Event {
    pub(super) kind: Kind,
    pub(super) before: Option<Arc<Value>>,
    pub(super) after: Option<Arc<Value>>,
}

/// Follows some kinds of objects, as an informer does.
#[derive(Debug)]
pub(super) struct Watch {
    cluster: Cluster,
    kinds: &'static [Kind],
    known: BTreeMap<(Kind, String, String), Arc<Value>>,
    seen: u64,
    version: watch::Receiver<u64>,
}

impl Event {
    /// The object, before or after.
    pub(super) fn states(&self) -> impl Iterator<Item = &Value> {
        self.before.iter().chain(&self.after).map(|object| &**object)
    }

    /// Whether one of these parts differs, such as `/spec`. Coming and going count as a difference.
    pub(super) fn touches(&self, parts: &[&str]) -> bool {
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => parts.iter().any(|part| before.pointer(part) != after.pointer(part)),
            _ => true,
        }
    }
}

impl Watch {
    /// Begins with the objects that are there now; they are no events.
    pub(super) fn new(cluster: &Cluster, kinds: &'static [Kind]) -> Self {
        let version = cluster.version();
        let mut watch = Self { cluster: cluster.clone(), kinds, known: BTreeMap::new(), seen: 0, version };
        watch.relist();
        watch
    }

    /// Waits for changes. Safe to cancel: an event is not lost.
    pub(super) async fn next(&mut self) -> Vec<Event> {
        loop {
            let newest = *self.version.borrow_and_update();
            if newest > self.seen {
                let events = self.catch_up();
                if !events.is_empty() {
                    return events;
                }
            }
            // The sender lives in the cluster, which this watch holds.
            let _ = self.version.changed().await;
        }
    }

    fn catch_up(&mut self) -> Vec<Event> {
        let Some(changes) = self.cluster.changes_after(self.seen) else { return self.relist() };
        let mut events = Vec::new();
        for change in changes {
            self.seen = change.version;
            if self.kinds.contains(&change.kind) {
                let after = (change.event != "DELETED").then_some(change.object.clone());
                events.push(self.learn(change.kind, &change.object, after));
            }
        }
        events
    }

    /// Some changes are forgotten, or this is the first look: compares all objects instead.
    fn relist(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        let mut oldest = u64::MAX;
        for kind in self.kinds {
            let (objects, version) = self.cluster.list(*kind, None);
            // Kinds listed later may be newer: what changed in between comes once more, and in order.
            oldest = oldest.min(version);
            let listed: BTreeSet<(String, String)> = objects.iter().map(|object| manifest::key(object)).collect();
            let known = self.known.iter().filter(|((of, namespace, name), _)| {
                of == kind && !listed.contains(&(namespace.clone(), name.clone()))
            });
            let gone: Vec<Arc<Value>> = known.map(|(_, object)| Arc::clone(object)).collect();
            events.extend(gone.iter().map(|object| self.learn(*kind, object, None)));
            for object in objects {
                let (namespace, name) = manifest::key(&object);
                if self.known.get(&(*kind, namespace, name)) != Some(&object) {
                    events.push(self.learn(*kind, &object, Some(Arc::clone(&object))));
                }
            }
        }
        self.seen = oldest;
        events
    }

    fn learn(&mut self, kind: Kind, object: &Value, after: Option<Arc<Value>>) -> Event {
        let (namespace, name) = manifest::key(object);
        let key = (kind, namespace, name);
        let before = match &after {
            Some(after) => self.known.insert(key, Arc::clone(after)),
            None => self.known.remove(&key),
        };
        Event { kind, before, after }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn service(name: &str, hash: &str) -> Value {
        json!({"metadata": {"namespace": "shop", "name": name}, "spec": {"selector": {"hash": hash}}})
    }

    fn seen(events: &[Event]) -> Vec<(String, bool, bool)> {
        let name = |event: &Event| event.states().next().map(manifest::key).unwrap_or_default().1;
        events.iter().map(|event| (name(event), event.before.is_some(), event.after.is_some())).collect()
    }

    #[tokio::test(start_paused = true)]
    async fn every_change_is_seen_once_with_its_before() {
        let cluster = Cluster::default();
        cluster.create(Kind::SERVICE, service("old", "a")).expect("made");
        let mut watch = Watch::new(&cluster, &[Kind::SERVICE]);
        cluster.create(Kind::SERVICE, service("web", "a")).expect("made");
        cluster.create(Kind::POD, json!({"metadata": {"namespace": "shop", "name": "pod"}})).expect("made");
        let selector = json!({"spec": {"selector": {"hash": "b"}}});
        cluster.merge_patch(Kind::SERVICE, "shop", "web", &selector).expect("patched");
        cluster.delete(Kind::SERVICE, "shop", "old").expect("deleted");

        let events = watch.next().await;
        let expected = [("web", false, true), ("web", true, true), ("old", true, false)];
        assert_eq!(seen(&events), expected.map(|(name, before, after)| (name.to_owned(), before, after)));
        let touched: Vec<bool> = events.iter().map(|event| event.touches(&["/metadata/annotations"])).collect();
        assert_eq!(touched, [true, false, true]);
        assert!(tokio::time::timeout(std::time::Duration::from_secs(1), watch.next()).await.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn forgotten_changes_are_found_by_listing() {
        let cluster = Cluster::default();
        cluster.create(Kind::SERVICE, service("gone", "a")).expect("made");
        cluster.create(Kind::SERVICE, service("same", "a")).expect("made");
        cluster.create(Kind::SERVICE, service("web", "a")).expect("made");
        let mut watch = Watch::new(&cluster, &[Kind::SERVICE]);
        cluster.delete(Kind::SERVICE, "shop", "gone").expect("deleted");
        for hash in 0..11_000 {
            let selector = json!({"spec": {"selector": {"hash": hash.to_string()}}});
            cluster.merge_patch(Kind::SERVICE, "shop", "web", &selector).expect("patched");
        }
        assert_eq!(seen(&watch.next().await), [("gone".to_owned(), true, false), ("web".to_owned(), true, true)]);
        cluster.create(Kind::SERVICE, service("new", "a")).expect("made");
        assert_eq!(seen(&watch.next().await), [("new".to_owned(), false, true)]);
    }
}
