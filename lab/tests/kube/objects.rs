//! Reading and writing objects.

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, Preconditions};
use kube::core::DynamicObject;
use kube::{Api, ResourceExt};
use lab::kubernetes::{Kind, Verb};
use serde_json::json;

use crate::{World, create, merge, refusal};

fn names<K: ResourceExt>(objects: impl IntoIterator<Item = K>) -> Vec<String> {
    objects.into_iter().map(|object| object.name_any()).collect()
}

#[tokio::test]
async fn a_service_lives_from_creation_to_deletion() {
    let world = World::new().await;
    let services: Api<Service> = Api::namespaced(world.client.clone(), "shop");
    let wished =
        json!({"metadata": {"name": "stable"}, "spec": {"selector": {"app": "shop"}}, "status": {"conditions": []}});
    let made = create(&services, wished.clone()).await.expect("a new name");
    assert_eq!(made.namespace().as_deref(), Some("shop"));
    assert!(made.uid().is_some() && made.creation_timestamp().is_some());
    assert_eq!(made.status, None, "nobody begins with a status");

    let (code, reason, message) = refusal(create(&services, wished)).await;
    assert_eq!((code, reason.as_str()), (409, "AlreadyExists"));
    assert_eq!(message, "services \"stable\" already exists");

    let hash = json!({"spec": {"selector": {"rollouts-pod-template-hash": "abc"}}});
    let moved = merge(&services, "stable", hash).await.expect("it is there");
    assert_ne!(moved.resource_version(), made.resource_version());
    let selector = services.get("stable").await.expect("it is there").spec.and_then(|spec| spec.selector);
    assert_eq!(json!(selector), json!({"app": "shop", "rollouts-pod-template-hash": "abc"}));

    let gone = services.delete("stable", &DeleteParams::default()).await.expect("it is there");
    assert!(gone.right().is_some_and(|status| status.is_success()));
    let (code, reason, message) = refusal(services.get("stable")).await;
    assert_eq!((code, reason.as_str(), message.as_str()), (404, "NotFound", "services \"stable\" not found"));
    assert_eq!(refusal(services.delete("stable", &DeleteParams::default())).await.0, 404);
}

#[tokio::test]
async fn lists_by_place_label_and_name() {
    let world = World::new().await;
    for (name, track) in [("a", "stable"), ("b", "canary"), ("c", "canary")] {
        world.put(Kind::ROLLOUT, name, json!({"metadata": {"labels": {"track": track}}}));
    }
    let elsewhere = json!({"metadata": {"name": "d", "namespace": "till", "labels": {"track": "canary"}}});
    world.cluster.create(Kind::ROLLOUT, elsewhere).expect("a new name");
    let here = world.of(Kind::ROLLOUT);
    let everywhere: Api<DynamicObject> = Api::all_with(world.client.clone(), &crate::resource(Kind::ROLLOUT));

    let list = here.list(&ListParams::default()).await.expect("a list");
    assert_eq!(names(list.items), ["a", "b", "c"]);
    assert_eq!(list.metadata.resource_version.as_deref(), Some("4"));
    let canaries = ListParams::default().labels("track in (canary),track!=x");
    assert_eq!(names(everywhere.list(&canaries).await.expect("a list")), ["b", "c", "d"]);
    let one = ListParams::default().fields("metadata.name=b").limit(1);
    assert_eq!(names(here.list(&one).await.expect("a list")), ["b"]);
    let (code, reason, _) = refusal(here.list(&ListParams::default().fields("spec.replicas=1"))).await;
    assert_eq!((code, reason.as_str()), (400, "BadRequest"));
}

#[tokio::test]
async fn only_custom_resources_say_in_lists_what_they_are() {
    let world = World::new().await;
    world.put(Kind::POD, "a", json!({}));
    world.put(Kind::TARGET_GROUP_BINDING, "b", json!({}));
    let types = |kind| {
        let api = world.of(kind);
        async move { api.list(&ListParams::default()).await.expect("a list").items[0].types.clone() }
    };
    assert_eq!(types(Kind::POD).await, None);
    assert_eq!(types(Kind::TARGET_GROUP_BINDING).await.expect("said").api_version, "elbv2.k8s.aws/v1beta1");
    let auto_mode = world.of(Kind::AUTO_MODE_BINDING).list(&ListParams::default()).await.expect("a list");
    assert_eq!(auto_mode.items.len(), 0, "another group, other objects");
}

#[tokio::test]
async fn one_annotation_is_patched_alone() {
    let world = World::new().await;
    let actions = "alb.ingress.kubernetes.io/actions.shop";
    world.put(Kind::INGRESS, "shop", json!({"metadata": {"annotations": {actions: "{}", "other": "kept"}}}));
    let ingresses = world.of(Kind::INGRESS);
    let patch = json!({"metadata": {"annotations": {actions: "{\"type\":\"forward\"}"}}});
    let patched = merge(&ingresses, "shop", patch.clone()).await.expect("it is there");
    assert_eq!(json!(patched.annotations()), json!({actions: "{\"type\":\"forward\"}", "other": "kept"}));

    let log = world.api.requests();
    let request = log.last().expect("one request");
    assert_eq!((request.verb, request.resource.as_str(), request.name.as_str()), (Verb::Patch, "ingresses", "shop"));
    assert_eq!(
        (request.namespace.as_deref(), request.body.as_ref(), request.status),
        (Some("shop"), Some(&patch), 200)
    );
    assert_eq!(world.api.counts()["patch ingresses"], 1);
}

#[tokio::test]
async fn a_patch_that_names_an_older_version_conflicts() {
    let world = World::new().await;
    world.put(Kind::ROLLOUT, "shop", json!({}));
    let rollouts = world.of(Kind::ROLLOUT);
    let versioned = |version: &str| json!({"metadata": {"resourceVersion": version, "annotations": {"seen": version}}});
    merge(&rollouts, "shop", versioned("1")).await.expect("the newest version");
    let (code, reason, message) = refusal(merge(&rollouts, "shop", versioned("1"))).await;
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert!(message.starts_with("Operation cannot be fulfilled on rollouts.argoproj.io \"shop\""), "{message}");
}

#[tokio::test]
async fn what_cannot_be_an_object_is_invalid() {
    let world = World::new().await;
    world.put(Kind::INGRESS, "shop", json!({}));
    let ingresses = world.of(Kind::INGRESS);
    let (code, reason, message) =
        refusal(merge(&ingresses, "shop", json!({"metadata": {"annotations": {"weight": 10}}}))).await;
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert!(message.starts_with("Ingress.networking.k8s.io \"shop\" is invalid: metadata.annotations"), "{message}");
    let (code, _, message) = refusal(create(&ingresses, json!({"metadata": {"name": "Shop"}}))).await;
    assert_eq!(code, 422, "{message}");
    let elsewhere = json!({"metadata": {"name": "shop", "namespace": "till"}});
    assert_eq!(refusal(create(&ingresses, elsewhere)).await.0, 400);
    let (code, _, message) = refusal(merge(&ingresses, "shop", json!({"kind": "Pod"}))).await;
    assert_eq!(code, 400, "{message}");
}

#[tokio::test]
async fn other_kinds_of_patches_are_refused_with_a_reason() {
    let world = World::new().await;
    world.put(Kind::POD, "a", json!({}));
    let pods = world.of(Kind::POD);
    let apply = json!({"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}});
    for (params, patch) in
        [(PatchParams::apply("test"), Patch::Apply(apply.clone())), (PatchParams::default(), Patch::Strategic(apply))]
    {
        let (code, reason, message) = refusal(pods.patch("a", &params, &patch)).await;
        assert_eq!((code, reason.as_str()), (415, "UnsupportedMediaType"));
        assert!(message.contains("application/merge-patch+json"), "{message}");
    }
}

#[tokio::test]
async fn a_running_pod_is_told_to_go_and_its_kubelet_lets_it_go() {
    let world = World::new().await;
    world.put(Kind::POD, "a", json!({"spec": {"nodeName": "n", "containers": []}}));
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), "shop");
    let told = pods.delete("a", &DeleteParams::default()).await.expect("it is there").left().expect("still there");
    assert!(told.metadata.deletion_timestamp.is_some());
    assert_eq!(told.metadata.deletion_grace_period_seconds, Some(30));

    let another = Preconditions { uid: Some("another".to_owned()), resource_version: None };
    let at_once = DeleteParams::default().grace_period(0);
    let (code, reason, _) = refusal(pods.delete("a", &at_once.clone().preconditions(another))).await;
    assert_eq!((code, reason.as_str()), (409, "Conflict"));
    assert!(pods.delete("a", &at_once).await.expect("it is there").is_right());
    assert_eq!(pods.get_opt("a").await.expect("an answer"), None);
}

#[tokio::test]
async fn a_dry_run_is_refused_since_it_would_not_be_dry() {
    let world = World::new().await;
    world.put(Kind::POD, "a", json!({}));
    let pods = world.of(Kind::POD);
    let dry = PatchParams { dry_run: true, ..PatchParams::default() };
    let patch = Patch::Merge(json!({"metadata": {"labels": {"a": "b"}}}));
    assert_eq!(refusal(pods.patch("a", &dry, &patch)).await.0, 400);
    assert_eq!(refusal(pods.delete("a", &DeleteParams::default().dry_run())).await.0, 400);
    assert!(pods.get("a").await.expect("it is there").labels().is_empty());
}
