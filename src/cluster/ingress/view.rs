//! An Ingress, as the router sees it. Pure.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::action::{self, Forwarding};
use super::members::meaning;
use super::spec;
use crate::cluster::{Action, HeaderCondition, Ingress};

/// `None` if no backend has its action in an annotation.
pub(super) fn seen(name: &str, annotations: &BTreeMap<String, String>, spec: &Value, prefix: &str) -> Option<Ingress> {
    let mut known = BTreeSet::new();
    let names = spec::backends(spec).filter_map(spec::action).filter(|name| known.insert(*name));
    let action = |name: &str| {
        let text = annotations.get(&action::key(prefix, "actions", name));
        let forwards = text.map(|text| Forwarding::of(text).map(|action| action.forwards()).unwrap_or_default());
        let conditions = annotations.get(&action::key(prefix, "conditions", name));
        Action { name: name.to_owned(), forwards, headers: conditions.map(|text| headers(text)).unwrap_or_default() }
    };
    let actions: Vec<Action> = names.map(action).collect();
    (!actions.is_empty()).then(|| Ingress { name: name.to_owned(), actions })
}

/// What a list of conditions asks of headers.
fn headers(text: &str) -> Vec<HeaderCondition> {
    let conditions = meaning(text).unwrap_or_default();
    let condition = |condition: &Value| {
        let config = condition.get("httpheaderconfig")?;
        let texts = |key: &str| {
            let all = config.get(key).and_then(Value::as_array).into_iter().flatten();
            all.filter_map(Value::as_str).map(str::to_owned).collect()
        };
        let header = config.get("httpheadername")?.as_str()?.to_owned();
        Some(HeaderCondition { header, values: texts("values"), regex_values: texts("regexvalues") })
    };
    conditions.as_array().into_iter().flatten().filter_map(condition).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::cluster::{Forward, ServicePort};

    fn backend(name: &str, port: &Value) -> Value {
        json!({"service": {"name": name, "port": port}})
    }

    fn forward(service: &str, port: &str, weight: Option<u32>) -> Forward {
        Forward { service: service.to_owned(), port: ServicePort(port.to_owned()), weight }
    }

    #[test]
    fn each_action_is_seen_once_with_what_it_forwards_to() {
        let by_annotation = json!({"name": "use-annotation"});
        let path = |name: &str, port: &Value| json!({"path": "/", "backend": backend(name, port)});
        let spec = json!({
            "rules": [
                {"host": "a", "http": {"paths": [path("root", &by_annotation), path("web", &json!({"number": 80}))]}},
                {"host": "b"},
                {"http": {"paths": [path("root", &by_annotation), {"path": "/x", "backend": {"resource": {}}}]}},
                {"http": {"paths": [path("redirect", &by_annotation), path("none", &by_annotation)]}},
            ],
            "defaultBackend": backend("last", &by_annotation),
        });
        let annotations = [
            (
                "my.prefix/actions.root",
                r#"{"Type":"forward","ForwardConfig":{"TargetGroups":[
                    {"ServiceName":"web-canary","ServicePort":"080","Weight":10},
                    {"TargetGroupARN":"arn","Weight":1},
                    {"serviceName":"web-stable","servicePort":80,"weight":90},
                    {"serviceName":"extra","servicePort":"http"}]}}"#,
            ),
            ("my.prefix/actions.redirect", r#"{"type":"redirect"}"#),
            ("my.prefix/actions.last", "{"),
            ("alb.ingress.kubernetes.io/actions.none", "{}"),
        ];
        let annotations = annotations.map(|(key, text)| (key.to_owned(), text.to_owned())).into();
        let seen = seen("web", &annotations, &spec, "my.prefix").unwrap();
        let action = |name: &str, forwards| Action { name: name.to_owned(), forwards, headers: Vec::new() };
        let of_root = vec![
            forward("web-canary", "80", Some(10)),
            forward("web-stable", "80", Some(90)),
            forward("extra", "http", None),
        ];
        assert_eq!(
            seen.actions,
            [
                action("root", Some(of_root)),
                action("redirect", Some(Vec::new())),
                action("none", None),
                action("last", Some(Vec::new())),
            ]
        );
    }

    #[test]
    fn without_actions_there_is_nothing_to_see() {
        let spec = json!({"defaultBackend": backend("web", &json!({"number": 80}))});
        assert_eq!(seen("web", &BTreeMap::new(), &spec, "p"), None);
        assert_eq!(seen("web", &BTreeMap::new(), &json!({}), "p"), None);
    }
}
