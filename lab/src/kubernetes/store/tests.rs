use super::*;

fn cluster() -> Cluster {
    let cluster = Cluster::default();
    let rollout = json!({"metadata": {"name": "shop", "namespace": "shop"}, "spec": {"replicas": 1}});
    cluster.create(Kind::ROLLOUT, rollout).expect("an empty cluster");
    cluster
}

fn pod(cluster: &Cluster, name: &str, spec: &Value) {
    let pod = json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec});
    cluster.create(Kind::POD, pod).expect("a new name");
}

fn generation(cluster: &Cluster, kind: Kind) -> u64 {
    let object = cluster.get(kind, "shop", "shop").expect("it is there");
    object["metadata"]["generation"].as_u64().expect("a number")
}

/// Deletes a Pod at the epoch.
fn delete(cluster: &Cluster, name: &str, seconds: Option<u64>) -> Option<Arc<Value>> {
    let deletion = Deletion { grace_period_seconds: seconds, ..Deletion::default() };
    cluster.delete_with(Kind::POD, "shop", name, &deletion, SystemTime::UNIX_EPOCH).expect("it is there")
}

#[test]
fn versions_count_every_change_and_nothing_else() {
    let cluster = cluster();
    let patch = |patch: Value| cluster.merge_patch(Kind::ROLLOUT, "shop", "shop", &patch);
    patch(json!({"spec": {"replicas": 2}})).expect("a change");
    patch(json!({"spec": {"replicas": 2}})).expect("no change");
    patch(json!({"metadata": {"generation": 9, "resourceVersion": null}})).expect("no change");
    cluster.delete(Kind::ROLLOUT, "shop", "shop").expect("it is there");
    let changes = cluster.changes_after(0).expect("nothing is forgotten");
    let seen: Vec<_> = changes
        .iter()
        .map(|change| (change.event, change.version, change.object["metadata"]["resourceVersion"].clone()))
        .collect();
    assert_eq!(seen, [("ADDED", 1, json!("1")), ("MODIFIED", 2, json!("2")), ("DELETED", 3, json!("3"))]);
    let replicas = |object: Option<&Arc<Value>>| object.map(|object| object["spec"]["replicas"].clone());
    assert_eq!(replicas(changes[0].before.as_ref()), None);
    assert_eq!(replicas(changes[1].before.as_ref()), Some(json!(1)));
    assert_eq!(replicas(changes[2].before.as_ref()), Some(json!(2)));
    assert_eq!(cluster.changes_after(2).expect("nothing is forgotten").len(), 1);
}

#[test]
fn forgotten_changes_are_missed_only_by_those_who_have_not_seen_them() {
    let cluster = cluster();
    cluster.forget_changes();
    assert!(cluster.changes_after(0).is_none());
    assert!(cluster.changes_after(1).expect("all is seen").is_empty());
    cluster.merge_patch(Kind::ROLLOUT, "shop", "shop", &json!({"spec": {"replicas": 5}})).expect("a change");
    assert!(cluster.changes_after(0).is_none());
    assert_eq!(cluster.changes_after(1).expect("not forgotten").len(), 1);
}

#[test]
fn the_generation_counts_wishes() {
    let cluster = cluster();
    let patch = |kind, patch: Value| cluster.merge_patch(kind, "shop", "shop", &patch).expect("a change");
    patch(Kind::ROLLOUT, json!({"metadata": {"annotations": {"a": "b"}}}));
    patch(Kind::ROLLOUT, json!({"status": {"abort": true}}));
    assert_eq!(generation(&cluster, Kind::ROLLOUT), 1);
    patch(Kind::ROLLOUT, json!({"spec": {"replicas": 3}}));
    assert_eq!(generation(&cluster, Kind::ROLLOUT), 2);

    cluster.create(Kind::ANALYSIS_RUN, json!({"metadata": {"name": "shop", "namespace": "shop"}})).expect("a new name");
    patch(Kind::ANALYSIS_RUN, json!({"status": {"phase": "Failed"}}));
    assert_eq!(generation(&cluster, Kind::ANALYSIS_RUN), 2, "without a subresource the status is like any field");
}

#[test]
fn a_patch_cannot_move_an_object_or_break_its_metadata() {
    let cluster = cluster();
    let refusal =
        |patch: Value| cluster.merge_patch(Kind::ROLLOUT, "shop", "shop", &patch).expect_err("must be refused");
    assert!(matches!(refusal(json!({"metadata": {"resourceVersion": "7"}})), Refusal::Conflict(_)));
    for patch in [
        json!(null),
        json!({"metadata": null}),
        json!({"metadata": {"uid": "another"}}),
        json!({"metadata": {"name": "till"}}),
        json!({"metadata": {"namespace": null}}),
        json!({"kind": "Pod"}),
        json!({"metadata": {"annotations": {"weight": 10}}}),
    ] {
        assert!(matches!(refusal(patch.clone()), Refusal::Invalid(_)), "{patch}");
    }
    assert_eq!(*cluster.version().borrow(), 1, "nothing was changed");
}

#[test]
fn one_annotation_changes_alone() {
    let cluster = cluster();
    let patch = |patch: Value| cluster.merge_patch(Kind::ROLLOUT, "shop", "shop", &patch).expect("a change");
    patch(json!({"metadata": {"annotations": {"a": "1", "b": "2", "c": "3"}}}));
    let after = patch(json!({"metadata": {"annotations": {"b": "20", "c": null}}}));
    assert_eq!(after["metadata"]["annotations"], json!({"a": "1", "b": "20"}));
}

#[test]
fn a_pod_on_a_node_is_told_to_go_first() {
    let cluster = Cluster::default();
    pod(&cluster, "a", &json!({"nodeName": "n", "terminationGracePeriodSeconds": 60}));
    let told = delete(&cluster, "a", None).expect("still there");
    assert_eq!(told["metadata"]["deletionTimestamp"], "1970-01-01T00:01:00Z");
    assert_eq!(told["metadata"]["deletionGracePeriodSeconds"], 60);
    assert_eq!(told["metadata"]["generation"], 2);

    let again = delete(&cluster, "a", None).expect("still there");
    assert_eq!(again["metadata"]["resourceVersion"], told["metadata"]["resourceVersion"], "nothing new");
    let longer = delete(&cluster, "a", Some(90)).expect("still there");
    assert_eq!(longer["metadata"]["deletionGracePeriodSeconds"], 60);
    let shorter = delete(&cluster, "a", Some(5)).expect("still there");
    assert_eq!(shorter["metadata"]["deletionTimestamp"], "1970-01-01T00:00:05Z");
    assert_eq!(delete(&cluster, "a", Some(0)), None);
    assert_eq!(cluster.get(Kind::POD, "shop", "a"), None);
}

#[test]
fn everything_else_goes_at_once() {
    let cluster = Cluster::default();
    pod(&cluster, "unplaced", &json!({}));
    pod(&cluster, "ended", &json!({"nodeName": "n"}));
    cluster.merge_patch(Kind::POD, "shop", "ended", &json!({"status": {"phase": "Failed"}})).expect("a change");
    assert_eq!(delete(&cluster, "unplaced", None), None);
    assert_eq!(delete(&cluster, "ended", Some(30)), None);
}

#[test]
fn a_deletion_can_name_the_very_object() {
    let cluster = cluster();
    let delete =
        |deletion: &Deletion| cluster.delete_with(Kind::ROLLOUT, "shop", "shop", deletion, SystemTime::UNIX_EPOCH);
    let another = Deletion { uid: Some("another".to_owned()), ..Deletion::default() };
    assert!(matches!(delete(&another), Err(Refusal::Conflict(_))));
    let older = Deletion { resource_version: Some("0".to_owned()), ..Deletion::default() };
    assert!(matches!(delete(&older), Err(Refusal::Conflict(_))));
    let this = Deletion { resource_version: Some("1".to_owned()), ..Deletion::default() };
    assert_eq!(delete(&this), Ok(None));
    assert!(matches!(delete(&this), Err(Refusal::NotFound(_))));
}

#[test]
fn names_are_made_where_only_a_beginning_is_given() {
    let cluster = Cluster::default();
    let create = |kind| cluster.create(kind, json!({"metadata": {"generateName": "shop-", "namespace": "shop"}}));
    let names = [create(Kind::POD), create(Kind::POD)].map(|pod| pod.expect("a new name")["metadata"]["name"].clone());
    assert_ne!(names[0], names[1]);
    assert!(names[0].as_str().expect("text").starts_with("shop-"), "{names:?}");
}

#[test]
fn a_copy_stays_what_it_is_elsewhere_but_for_its_version() {
    let cluster = cluster();
    let copy = |ready: bool| {
        let metadata =
            json!({"name": "web-1", "namespace": "shop", "uid": "theirs", "generation": 7, "resourceVersion": "93"});
        json!({"metadata": metadata, "status": {"ready": ready}})
    };
    for (ready, event, version) in [(false, "ADDED", 2), (true, "MODIFIED", 3)] {
        cluster.put_copy(Kind::POD, copy(ready)).expect("it has a name");
        let mut expected = copy(ready);
        expected["metadata"]["resourceVersion"] = json!(version.to_string());
        assert_eq!(*cluster.get(Kind::POD, "shop", "web-1").expect("it is there"), expected);
        let changes = cluster.changes_after(version - 1).expect("nothing is forgotten");
        assert_eq!(changes.iter().map(|change| change.event).collect::<Vec<_>>(), [event]);
    }
    assert!(matches!(cluster.put_copy(Kind::POD, json!({"metadata": {}})), Err(Refusal::Invalid(_))));
}
