//! The model against recordings of the real controller; their README says how they were made.

use std::path::Path;

use serde_json::{Value, json};

use crate::router::{Answer, Says};
use crate::shop::{Shop, is};

fn recording(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../tests/data/host-calls/{name}.txt"));
    std::fs::read_to_string(path).unwrap()
}

/// V1, then V2 through all its steps, with pods of V1 going as its weight goes.
async fn update(answers: &[Answer]) -> String {
    let steps =
        json!([{ "setWeight": 10 }, { "pause": { "duration": "2s" } }, { "setWeight": 60 }, { "setWeight": 100 }]);
    let shop = Shop::open(json!({ "dynamicStableScale": true, "steps": steps }), answers);
    shop.until_healthy().await;
    shop.set_version("2");
    shop.until_healthy().await;
    shop.recording()
}

/// V1, then V2 up to a pause at 60, where someone aborts.
async fn abort(answers: &[Answer]) -> String {
    let shop = Shop::open(json!({ "dynamicStableScale": true, "steps": steps_to_pause() }), answers);
    shop.until_healthy().await;
    shop.set_version("2");
    shop.until_paused(60, 10).await;
    shop.abort();
    shop.until(|rollout| is(rollout, "Degraded", 0)).await;
    shop.recording()
}

/// V1, then V2 up to a pause at 60, where V3 comes. All pods of V1 stay.
async fn interrupted(answers: &[Answer]) -> String {
    let steps = json!([{ "setWeight": 10 }, { "setWeight": 60 }, { "pause": { "duration": "5s" } }]);
    let shop = Shop::open(json!({ "steps": steps }), answers);
    shop.until_healthy().await;
    shop.set_version("2");
    shop.until_paused(60, 16).await;
    shop.set_version("3");
    shop.until_healthy().await;
    shop.recording()
}

fn steps_to_pause() -> Value {
    json!([{ "setWeight": 10 }, { "setWeight": 60 }, { "pause": {} }, { "setWeight": 100 }])
}

#[tokio::test(start_paused = true)]
async fn an_update_goes_as_recorded() {
    assert_eq!(update(&[]).await, recording("update"));
}

#[tokio::test(start_paused = true)]
async fn an_abort_goes_as_recorded() {
    assert_eq!(abort(&[]).await, recording("abort"));
}

#[tokio::test(start_paused = true)]
async fn an_interrupted_update_goes_as_recorded() {
    assert_eq!(interrupted(&[]).await, recording("interrupted"));
}

#[tokio::test(start_paused = true)]
async fn a_return_to_stable_goes_as_recorded() {
    let shop = Shop::open(json!({ "dynamicStableScale": true, "steps": steps_to_pause() }), &[]);
    shop.until_healthy().await;
    shop.set_version("2");
    shop.until_paused(60, 10).await;
    shop.set_version("1");
    shop.until(|rollout| is(rollout, "Healthy", 0) && rollout.pointer("/status/replicas") == Some(&json!(10))).await;
    assert_eq!(shop.recording(), recording("back-to-stable"));
}

#[tokio::test(start_paused = true)]
async fn a_promotion_without_further_steps_goes_as_recorded() {
    let shop = Shop::open(json!({ "steps": steps_to_pause() }), &[]);
    shop.until_healthy().await;
    shop.set_version("2");
    shop.until_paused(60, 16).await;
    shop.patch(json!({ "status": { "promoteFull": true } }));
    shop.until_healthy().await;
    assert_eq!(shop.recording(), recording("promoted"));
}

#[tokio::test(start_paused = true)]
async fn an_update_with_ping_pong_goes_as_recorded() {
    let canary = json!({
        "stableService": "",
        "canaryService": "",
        "pingPong": { "pingService": "web-ping", "pongService": "web-pong" },
        "scaleDownDelaySeconds": 5,
        "steps": [{ "setWeight": 10 }, { "pause": { "duration": "2s" } }],
    });
    let shop = Shop::open(canary, &[]);
    shop.until_healthy().await;
    shop.set_version("2");
    shop.until_healthy().await;
    shop.until(|rollout| rollout.pointer("/status/replicas") == Some(&json!(10))).await;
    assert_eq!(shop.recording(), recording("ping-pong"));
}

#[tokio::test(start_paused = true)]
async fn other_sizes_go_as_recorded() {
    let canary = json!({ "abortScaleDownDelaySeconds": 5, "steps": [
        { "setCanaryScale": { "replicas": 1 } }, { "setWeight": 20 },
        { "setCanaryScale": { "matchTrafficWeight": true } }, { "setWeight": 60 }, { "pause": {} },
    ] });
    let shop = Shop::open(canary, &[]);
    shop.until_healthy().await;
    shop.set_version("2");
    shop.until_paused(60, 16).await;
    shop.patch(json!({ "spec": { "replicas": 20 } }));
    shop.until_paused(60, 32).await;
    shop.abort();
    shop.until(|rollout| is(rollout, "Degraded", 0) && rollout.pointer("/status/replicas") == Some(&json!(20))).await;
    assert_eq!(shop.recording(), recording("resized"));
}

#[tokio::test(start_paused = true)]
async fn a_weight_that_is_not_verified_holds_its_step_alone() {
    let answers = [Answer { weight: 10, times: 2, says: Says::NotVerified }];
    assert_eq!(update(&answers).await, recording("not-verified"));
}

#[tokio::test(start_paused = true)]
async fn a_refused_weight_holds_everything() {
    let answers = [Answer { weight: 60, times: 3, says: Says::Failed }];
    assert_eq!(abort(&answers).await, recording("refused"));
}

#[tokio::test(start_paused = true)]
async fn the_last_weight_holds_the_end_until_it_is_verified() {
    let answers = [Answer { weight: 100, times: 3, says: Says::NotVerified }];
    assert_eq!(interrupted(&answers).await, recording("end-not-verified"));
}
