//! Events, which the API server serves twice: as `v1`, and with other field names as `events.k8s.io/v1`.
//!
//! There is one store of them. The lab keeps them as `v1`, since the rollouts controller's own role may write those and no
//! others (argo-rollouts `manifests/role/argo-rollouts-clusterrole.yaml`).

use serde_json::{Map, Value, json};

use super::kind::Kind;
use super::validate::is_qualified_name;

/// Events under their newer address.
pub(super) const NEWER: Kind = Kind { group: "events.k8s.io", ..Kind::EVENT };

/// Names in `v1` and in `events.k8s.io/v1` (kubernetes `pkg/apis/events/v1/conversion.go`). All others are the same.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// An Event of `v1` in the newer form.
pub(super) fn to_newer(event: &Value) -> Value {
    renamed(event.clone(), |name| NAMES.iter().find(|(older, _)| *older == name).map(|(_, newer)| *newer), &NEWER)
}

/// An Event in the newer form, or a merge patch of one, as `v1`.
pub(super) fn to_older(event: Value) -> Value {
    renamed(event, |name| NAMES.iter().find(|(_, newer)| *newer == name).map(|(older, _)| *older), &Kind::EVENT)
}

fn renamed(event: Value, rename: impl Fn(&str) -> Option<&'static str>, kind: &Kind) -> Value {
    let Value::Object(fields) = event else { return event };
    let mut fields: Map<String, Value> =
        fields.into_iter().map(|(name, value)| (rename(&name).map_or(name, str::to_owned), value)).collect();
    if let Some(version) = fields.get_mut("apiVersion") {
        *version = json!(kind.api_version());
    }
    Value::Object(fields)
}

/// Looks at an Event (as `v1`) that is to be stored, as kubernetes `pkg/apis/core/validation/events.go` does. The error is a
/// sentence that begins with the field.
pub(super) fn validate(event: &Value) -> Result<(), String> {
    let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let (namespace, of_object) = (text("/metadata/namespace"), text("/involvedObject/namespace"));
    let has_time = !text("/eventTime").is_empty();
    let agree = if of_object.is_empty() {
        namespace == "default" || (has_time && namespace == "kube-system")
    } else {
        has_time || namespace == of_object
    };
    if !agree {
        return Err(format!(
            "involvedObject.namespace: Invalid value: \"{of_object}\": does not match event.namespace {namespace}"
        ));
    }
    // Without a time it is an Event of the old kind, and nothing else is looked at.
    if !has_time {
        return Ok(());
    }
    let controller = text("/reportingComponent");
    if !is_qualified_name(controller) {
        return Err(format!(
            "reportingController: Invalid value: \"{controller}\": must be a qualified name, such as example.com/shop"
        ));
    }
    for (field, value) in
        [("reportingInstance", text("/reportingInstance")), ("action", text("/action")), ("reason", text("/reason"))]
    {
        if value.is_empty() {
            return Err(format!("{field}: Required value"));
        }
        if value.len() > 128 {
            return Err(format!("{field}: Invalid value: can have at most 128 characters"));
        }
    }
    if text("/message").len() > 1024 {
        return Err("message: Invalid value: can have at most 1024 characters".to_owned());
    }
    Ok(())
}

/// What is asked besides of an Event that is created at the newer address.
pub(super) fn validate_newer(event: &Value) -> Result<(), String> {
    if event.get("eventTime").is_none_or(Value::is_null) {
        return Err("eventTime: Required value".to_owned());
    }
    if !matches!(event.get("type").and_then(Value::as_str), Some("Normal" | "Warning")) {
        return Err("type: has invalid value: must be Normal or Warning".to_owned());
    }
    let is_set = |field: &&str| event.get(*field).is_some_and(|value| !value.is_null());
    match ["firstTimestamp", "lastTimestamp", "count", "source"].iter().find(|field| is_set(field)) {
        Some(field) => Err(format!("{field}: Invalid value: needs to be unset")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn older() -> Value {
        json!({
            "apiVersion": "v1", "kind": "Event", "metadata": {"name": "shop.1", "namespace": "shop"},
            "involvedObject": {"kind": "Rollout", "name": "shop", "namespace": "shop"},
            "eventTime": "2026-01-01T00:00:00.000000Z", "type": "Normal", "reason": "Shifted", "action": "SetWeight",
            "message": "10 %", "reportingComponent": "example.com/alb", "reportingInstance": "alb-1",
        })
    }

    #[test]
    fn both_forms_say_the_same() {
        let newer = to_newer(&older());
        assert_eq!(newer["apiVersion"], "events.k8s.io/v1");
        assert_eq!(newer["regarding"]["name"], "shop");
        assert_eq!(newer["note"], "10 %");
        assert_eq!(newer["reportingController"], "example.com/alb");
        assert!(newer.get("message").is_none(), "{newer}");
        assert_eq!(to_older(newer), older());
        assert_eq!(
            to_older(json!({"note": "20 %", "series": {"count": 2}})),
            json!({"message": "20 %", "series": {"count": 2}})
        );
    }

    #[test]
    fn an_event_with_a_time_must_be_complete() {
        assert_eq!(validate(&older()), Ok(()));
        assert_eq!(validate_newer(&older()), Ok(()));
        for (field, value, begins) in [
            ("reportingComponent", json!(""), "reportingController"),
            ("reportingComponent", json!("a b"), "reportingController"),
            ("reportingInstance", json!(null), "reportingInstance: Required"),
            ("action", json!(""), "action: Required"),
            ("reason", json!("x".repeat(129)), "reason: Invalid"),
            ("message", json!("x".repeat(1025)), "message: Invalid"),
            ("involvedObject", json!({}), "involvedObject.namespace: Invalid"),
        ] {
            let mut event = older();
            event[field] = value;
            let text = validate(&event).expect_err("must be refused");
            assert!(text.starts_with(begins), "{text}");
        }
    }

    #[test]
    fn an_event_of_the_old_kind_only_has_to_be_where_its_object_is() {
        let event =
            |namespace: &str| json!({"metadata": {"namespace": namespace}, "involvedObject": {"namespace": "shop"}});
        assert_eq!(validate(&event("shop")), Ok(()));
        validate(&event("till")).expect_err("another namespace");
        assert_eq!(validate(&json!({"metadata": {"namespace": "default"}})), Ok(()));
        let text = validate_newer(&event("shop")).expect_err("not at the newer address");
        assert!(text.starts_with("eventTime"), "{text}");
    }
}
