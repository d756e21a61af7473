//! The backends in the `spec` of an Ingress (`networking.k8s.io/v1`), which is kept as it came: what is written back must not
//! lose a field. Pure.

use serde_json::Value;

use super::action::USE_ANNOTATION;

/// The paths of a rule.
pub(super) fn paths(rule: &Value) -> &[Value] {
    list(rule.pointer("/http/paths"))
}

/// The rules, each with the host and the paths of it.
pub(super) fn rules(spec: &Value) -> &[Value] {
    list(spec.get("rules"))
}

/// The backend of requests that no path takes.
pub(super) fn default_backend(spec: &Value) -> Option<&Value> {
    spec.get("defaultBackend")
}

/// The backends of all paths, in their order, and the one of all other requests.
pub(super) fn backends(spec: &Value) -> impl Iterator<Item = &Value> {
    let of_paths = rules(spec).iter().flat_map(paths).filter_map(|path| path.get("backend"));
    of_paths.chain(default_backend(spec))
}

/// The name of a backend's Service, or of the action that stands for it.
pub(super) fn name(backend: &Value) -> Option<&str> {
    backend.pointer("/service/name").and_then(Value::as_str)
}

/// The name of a backend whose action stands in an annotation.
pub(super) fn action(backend: &Value) -> Option<&str> {
    let port = backend.pointer("/service/port/name").and_then(Value::as_str);
    name(backend).filter(|_| port == Some(USE_ANNOTATION))
}

/// The action that a path leads to.
pub(super) fn action_of(path: &Value) -> Option<&str> {
    path.get("backend").and_then(action)
}

/// Both paths take the same requests, but for conditions.
pub(super) fn is_same(one: &Value, other: &Value) -> bool {
    ["path", "pathType"].iter().all(|field| one.get(field) == other.get(field))
}

fn list(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}
