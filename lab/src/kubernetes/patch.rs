//! Merge patches, and what of an object a request may patch at all.

use serde_json::{Map, Value};

use super::kind::Kind;

/// Fields of `metadata` that belong to the API server. It drops them from patches without a word.
const SERVER_OWNED: [&str; 5] =
    ["creationTimestamp", "deletionTimestamp", "deletionGracePeriodSeconds", "generation", "managedFields"];

/// What of a patch's `metadata` counts for the status of a custom resource: they choose the object and change nothing. A uid
/// does not, a real API server ignores even a wrong one there.
const PRECONDITIONS: [&str; 3] = ["name", "namespace", "resourceVersion"];

/// What a request is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// The object's own path. It does not change the status of a kind with a status subresource.
    Main,
    /// The path that ends in `/status`.
    Status,
}

impl Part {
    /// Takes out of a patch what the API server would ignore.
    ///
    /// `/status` of a custom resource changes its status alone (apiextensions-apiserver
    /// `pkg/registry/customresource/status_strategy.go`); that of a built-in kind leaves the spec alone, so labels and
    /// annotations can be changed through it (kubernetes `pkg/registry/networking/ingress/strategy.go`).
    pub(super) fn narrow(self, kind: Kind, patch: &mut Value) {
        let Some(fields) = patch.as_object_mut() else { return };
        match self {
            Self::Main if kind.status_subresource => {
                fields.remove("status");
            }
            Self::Main => {}
            Self::Status if kind.is_custom() => {
                fields.retain(|name, _| matches!(name.as_str(), "apiVersion" | "kind" | "metadata" | "status"));
                if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
                    metadata.retain(|name, _| PRECONDITIONS.contains(&name.as_str()));
                }
            }
            Self::Status => {
                fields.remove("spec");
            }
        }
        if let Some(metadata) = fields.get_mut("metadata").and_then(Value::as_object_mut) {
            metadata.retain(|name, _| !SERVER_OWNED.contains(&name.as_str()));
        }
    }
}

/// Applies a JSON merge patch (RFC 7396).
pub(super) fn merge(target: &mut Value, patch: &Value) {
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

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn narrowed(part: Part, kind: Kind, mut patch: Value) -> Value {
        part.narrow(kind, &mut patch);
        patch
    }

    #[test]
    fn the_main_path_leaves_the_status_alone_where_it_has_a_path_of_its_own() {
        let patch = json!({"spec": {"replicas": 1}, "status": {"abort": true}});
        assert_eq!(narrowed(Part::Main, Kind::ROLLOUT, patch.clone()), json!({"spec": {"replicas": 1}}));
        assert_eq!(narrowed(Part::Main, Kind::ANALYSIS_RUN, patch.clone()), patch);
    }

    #[test]
    fn the_status_path_of_a_custom_resource_changes_nothing_else() {
        let patch = json!({
            "metadata": {"resourceVersion": "7", "uid": "u", "annotations": {"a": "b"}}, "spec": {},
            "status": {"abort": true}, "data": 1,
        });
        assert_eq!(
            narrowed(Part::Status, Kind::ROLLOUT, patch),
            json!({"metadata": {"resourceVersion": "7"}, "status": {"abort": true}})
        );
    }

    #[test]
    fn the_status_path_of_a_built_in_kind_reaches_its_annotations() {
        let patch = json!({"metadata": {"annotations": {"a": "b"}}, "spec": {}, "status": {"phase": "Running"}});
        assert_eq!(
            narrowed(Part::Status, Kind::POD, patch),
            json!({"metadata": {"annotations": {"a": "b"}}, "status": {"phase": "Running"}})
        );
    }

    #[test]
    fn nobody_patches_what_belongs_to_the_server() {
        let patch = json!({"metadata": {"generation": 9, "deletionTimestamp": null, "labels": {"a": "b"}}});
        assert_eq!(narrowed(Part::Main, Kind::POD, patch), json!({"metadata": {"labels": {"a": "b"}}}));
    }

    fn json_value() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i32>().prop_map(Value::from),
            "[a-c]{0,2}".prop_map(Value::from),
        ];
        // Few names, so that patch and target meet.
        leaf.prop_recursive(4, 32, 4, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
                prop::collection::btree_map("[a-d]", inner, 0..4)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect())),
            ]
        })
    }

    proptest! {
        #[test]
        fn merges_as_another_implementation_does(target in json_value(), patch in json_value()) {
            let mut ours = target.clone();
            merge(&mut ours, &patch);
            let mut theirs = target;
            json_patch::merge(&mut theirs, &patch);
            prop_assert_eq!(ours, theirs);
        }
    }
}
