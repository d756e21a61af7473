//! Statuses, and who may write them where.

use kube::ResourceExt;
use kube::api::{Patch, PatchParams};
use lab::kubernetes::Kind;
use serde_json::{Value, json};

use crate::{World, merge, refusal};

async fn merge_status(world: &World, kind: Kind, name: &str, patch: Value) -> kube::Result<Value> {
    let patched = world.of(kind).patch_status(name, &PatchParams::default(), &Patch::Merge(patch)).await;
    patched.map(|object| serde_json::to_value(object).expect("JSON"))
}

#[tokio::test]
async fn the_status_of_a_rollout_has_a_path_of_its_own() {
    let world = World::new().await;
    world.put(Kind::ROLLOUT, "shop", json!({"spec": {"replicas": 1}, "status": {"phase": "Progressing"}}));
    let both = json!({"metadata": {"annotations": {"a": "b"}}, "spec": {"replicas": 9}, "status": {"abort": true}});

    let patched = merge_status(&world, Kind::ROLLOUT, "shop", both.clone()).await.expect("it is there");
    assert_eq!(patched["status"], json!({"phase": "Progressing", "abort": true}));
    assert_eq!((&patched["spec"], &patched["metadata"]["annotations"]), (&json!({"replicas": 1}), &Value::Null));
    assert_eq!(patched["metadata"]["generation"], 1);

    merge_status(&world, Kind::ROLLOUT, "shop", json!({"status": {"abort": null}})).await.expect("it is there");
    let patched = merge(&world.of(Kind::ROLLOUT), "shop", both).await.expect("it is there");
    assert_eq!(patched.data, json!({"spec": {"replicas": 9}, "status": {"phase": "Progressing"}}));
    assert_eq!((patched.annotations().len(), patched.metadata.generation), (1, Some(2)));
    assert_eq!(world.api.counts()["patch rollouts/status"], 2);
}

#[tokio::test]
async fn a_status_can_conflict() {
    let world = World::new().await;
    world.put(Kind::ROLLOUT, "shop", json!({}));
    let patch = json!({"metadata": {"resourceVersion": "7"}, "status": {"abort": true}});
    assert_eq!(refusal(merge_status(&world, Kind::ROLLOUT, "shop", patch)).await.1, "Conflict");
    assert_eq!(refusal(merge_status(&world, Kind::ROLLOUT, "till", json!({"status": {}}))).await.1, "NotFound");
}

#[tokio::test]
async fn an_analysis_run_has_its_status_among_its_fields() {
    let world = World::new().await;
    world.put(Kind::ANALYSIS_RUN, "shop-1", json!({"spec": {}}));
    let failed = json!({"status": {"phase": "Failed"}});
    let (code, reason, message) = refusal(merge_status(&world, Kind::ANALYSIS_RUN, "shop-1", failed.clone())).await;
    assert_eq!((code, reason.as_str()), (404, "NotFound"));
    assert_eq!(message, "the server could not find the requested resource");
    let patched = merge(&world.of(Kind::ANALYSIS_RUN), "shop-1", failed).await.expect("it is there");
    assert_eq!(patched.data["status"]["phase"], "Failed");
}

#[tokio::test]
async fn the_status_path_of_a_pod_leaves_its_spec_alone() {
    let world = World::new().await;
    world.put(Kind::POD, "a", json!({"spec": {"nodeName": "n"}}));
    let patch = json!({"spec": {"nodeName": "m"}, "status": {"phase": "Running", "podIP": "127.1.0.1"}});
    let patched = merge_status(&world, Kind::POD, "a", patch).await.expect("it is there");
    assert_eq!((&patched["spec"]["nodeName"], &patched["status"]["podIP"]), (&json!("n"), &json!("127.1.0.1")));
    let read = world.of(Kind::POD).get_status("a").await.expect("it is there");
    assert_eq!(read.data["status"]["phase"], "Running");
}
