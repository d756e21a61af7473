//! Watches: the changes of a kind, as they happen.

use std::collections::VecDeque;
use std::io;
use std::time::Duration;

use axum::body::Bytes;
use futures_util::{Stream, stream};
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::Instant;

use super::super::store::{Change, Cluster};
use super::request::RequestInfo;
use super::status::Status;

/// How often a watch that wants bookmarks gets one (kubernetes/apiserver `pkg/storage/cacher/cacher.go`: about a minute).
const BOOKMARK_EVERY: Duration = Duration::from_secs(60);

/// One comes so long before the watch's end too (`pkg/storage/cacher/cache_watcher.go`).
const LAST_BOOKMARK_BEFORE_END: Duration = Duration::from_secs(2);

/// The life of a watch that names none (`--min-request-timeout`; there up to twice as long, by chance).
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(1800);

/// One watch. It ends by itself, or is cut.
#[derive(Debug)]
pub(super) struct Watch {
    cluster: Cluster,
    request: RequestInfo,
    /// Everything up to this version is sent, or was not asked for.
    version: u64,
    unsent: VecDeque<Value>,
    /// Nothing comes after what is unsent.
    is_over: bool,
    grown: watch::Receiver<u64>,
    cuts: watch::Receiver<u64>,
    next_bookmark: Option<Instant>,
    end: Instant,
}

/// The watch was cut on purpose: its connection is to break.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Cut;

impl Watch {
    /// Begins where the request says: after its version, or with all objects that there are if it names none (or 0).
    pub(super) fn begin(cluster: Cluster, request: RequestInfo, cuts: watch::Receiver<u64>) -> Self {
        let grown = cluster.version();
        let query = &request.query;
        let named = query.resource_version.filter(|version| *version > 0);
        let sends_all = query.send_initial_events.unwrap_or_else(|| named.is_none());
        let mut unsent = VecDeque::new();
        let version = if sends_all {
            let (objects, version) = cluster.list(request.resource.stored, request.namespace.as_deref());
            let chosen = objects.iter().filter(|object| query.selector.matches(object));
            unsent.extend(chosen.map(|object| event("ADDED", request.resource.show(object))));
            if query.send_initial_events == Some(true) {
                let annotations = json!({"k8s.io/initial-events-end": "true"});
                unsent.push_back(bookmark(&request, version, &annotations));
            }
            version
        } else {
            named.unwrap_or_else(|| *grown.borrow())
        };
        let end = Instant::now() + query.timeout.unwrap_or(DEFAULT_TIMEOUT);
        let next_bookmark = query.wants_bookmarks.then(|| bookmark_time(end));
        Self { cluster, request, version, unsent, is_over: false, grown, cuts, next_bookmark, end }
    }

    /// The next event; waits for it. `None` at the end.
    pub(super) async fn next(&mut self) -> Option<Result<Value, Cut>> {
        loop {
            if let Some(event) = self.unsent.pop_front() {
                return Some(Ok(event));
            }
            if self.is_over {
                return None;
            }
            self.grown.mark_unchanged();
            match self.cluster.changes_after(self.version) {
                Some(changes) => self.take(&changes),
                None => self.give_up(),
            }
            if !self.unsent.is_empty() {
                continue;
            }
            let next_bookmark = self.next_bookmark;
            tokio::select! {
                // The cluster is held here, so it cannot be gone.
                _ = self.grown.changed() => {}
                cut = self.cuts.changed() => {
                    self.is_over = true;
                    return cut.is_ok().then_some(Err(Cut));
                }
                () = tokio::time::sleep_until(self.end) => self.is_over = true,
                () = tokio::time::sleep_until(next_bookmark.unwrap_or(self.end)), if next_bookmark.is_some() => {
                    self.unsent.push_back(bookmark(&self.request, self.version, &Value::Null));
                    self.next_bookmark = Some(bookmark_time(self.end));
                }
            }
        }
    }

    fn take(&mut self, changes: &[Change]) {
        for change in changes {
            self.version = change.version;
            self.unsent.extend(seen(&self.request, change));
        }
    }

    /// Changes were forgotten before they could be sent: the client has to list again.
    fn give_up(&mut self) {
        let newest = *self.grown.borrow();
        self.unsent.push_back(event("ERROR", Status::too_old(self.version, newest).to_json()));
        self.is_over = true;
    }

    /// The events as lines of JSON. A cut is an error, upon which hyper breaks the connection.
    pub(super) fn lines(self) -> impl Stream<Item = io::Result<Bytes>> {
        stream::unfold(self, |mut watch| async {
            let line = watch.next().await?.map(|event| Bytes::from(format!("{event}\n")));
            let line = line.map_err(|Cut| io::Error::new(io::ErrorKind::ConnectionAborted, "cut on purpose"));
            Some((line, watch))
        })
    }
}

/// A change as a watch shows it. With a selector, an object that begins to fit is added, and one that no longer fits is
/// deleted, in its last fitting state (kubernetes/apiserver `pkg/storage/cacher/cache_watcher.go`).
fn seen(request: &RequestInfo, change: &Change) -> Option<Value> {
    if change.kind != request.resource.stored {
        return None;
    }
    let fits = |object: &Value| {
        let within = object.pointer("/metadata/namespace").and_then(Value::as_str);
        let is_here = request.namespace.is_none() || request.namespace.as_deref() == within;
        is_here && request.query.selector.matches(object)
    };
    let shown = |object: &Value| request.resource.show(object);
    let fitting = change.before.as_deref().filter(|before| fits(before));
    let is_there = change.event != "DELETED" && fits(&change.object);
    match (fitting, is_there) {
        (None, false) => None,
        (None, true) => Some(event("ADDED", shown(&change.object))),
        (Some(_), true) => Some(event("MODIFIED", shown(&change.object))),
        (Some(last), false) => {
            let mut last = shown(last);
            if let Some(version) = last.pointer_mut("/metadata/resourceVersion") {
                *version = json!(change.version.to_string());
            }
            Some(event("DELETED", last))
        }
    }
}

fn event(what: &str, object: Value) -> Value {
    json!({"type": what, "object": object})
}

/// Tells the client how far it has come, when nothing happens to what it watches.
fn bookmark(request: &RequestInfo, version: u64, annotations: &Value) -> Value {
    let kind = request.resource.served;
    let metadata = match annotations {
        Value::Null => json!({"resourceVersion": version.to_string()}),
        annotations => json!({"resourceVersion": version.to_string(), "annotations": annotations}),
    };
    event("BOOKMARK", json!({"apiVersion": kind.api_version(), "kind": kind.kind, "metadata": metadata}))
}

/// About a minute from now, or shortly before the end if that is sooner and still to come.
fn bookmark_time(end: Instant) -> Instant {
    let now = Instant::now();
    let regular = now + BOOKMARK_EVERY;
    end.checked_sub(LAST_BOOKMARK_BEFORE_END).filter(|last| *last > now).map_or(regular, |last| regular.min(last))
}

#[cfg(test)]
mod tests;
