//! What was asked of the API server.

use std::collections::BTreeMap;

use serde::Serialize;
use serde_json::Value;

use super::request::{RequestInfo, Verb};

/// One request to the objects.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Request {
    /// Milliseconds from the server's start until the answer.
    pub at_ms: u64,
    /// What was done.
    pub verb: Verb,
    /// `rollouts`, `rollouts/status`.
    pub resource: String,
    /// `None` for all namespaces, and for kinds that live in none.
    pub namespace: Option<String>,
    /// Empty for a whole collection.
    pub name: String,
    /// What was sent: an object or a merge patch.
    pub body: Option<Value>,
    /// HTTP status of the answer, even if the connection was cut before it.
    pub status: u16,
}

/// All requests, in the order in which they were answered.
#[derive(Debug, Default)]
pub(super) struct Log {
    pub(super) requests: Vec<Request>,
}

impl Log {
    pub(super) fn add(&mut self, at_ms: u64, info: &RequestInfo, body: Option<Value>, status: u16) {
        self.requests.push(Request {
            at_ms,
            verb: info.verb,
            resource: info.resource_text(),
            namespace: info.namespace.clone(),
            name: info.name.clone(),
            body,
            status,
        });
    }

    /// By verb and resource.
    pub(super) fn counts(&self) -> BTreeMap<String, u64> {
        let mut counts = BTreeMap::new();
        for request in &self.requests {
            *counts.entry(format!("{} {}", request.verb, request.resource)).or_default() += 1;
        }
        counts
    }
}
