//! When the model asks again, and what goes on meanwhile, as the real controller was seen to do with a plugin's answers.

use std::time::Duration;

use lab::kubernetes::Kind;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::router::{Answer, Says};
use crate::shop::{Shop, is};

const LONG: usize = usize::MAX;

/// An update to version 2, with pods of version 1 going as its weight goes.
async fn update(steps: Value, answers: &[Answer]) -> Shop {
    let shop = Shop::open(json!({ "dynamicStableScale": true, "steps": steps }), answers);
    shop.until_healthy().await;
    shop.set_version("2");
    shop
}

/// The times between these moments.
fn gaps(moments: &[Instant]) -> Vec<Duration> {
    moments.windows(2).map(|pair| pair[1] - pair[0]).collect()
}

fn warnings(shop: &Shop, reason: &str) -> usize {
    let (events, _) = shop.cluster.list(Kind::EVENT, None);
    events.iter().filter(|event| event["reason"] == reason).count()
}

fn index(rollout: &Value) -> Option<u64> {
    rollout.pointer("/status/currentStepIndex").and_then(Value::as_u64)
}

fn verified(rollout: &Value) -> Option<&Value> {
    rollout.pointer("/status/canary/weights/verified")
}

#[tokio::test(start_paused = true)]
async fn errors_are_loud_and_slow() {
    let answers = [Answer { weight: 10, times: 14, says: Says::Failed }];
    let shop = update(json!([{ "setWeight": 10 }, { "pause": {} }]), &answers).await;
    shop.until_paused(10, 10).await;
    assert_eq!(warnings(&shop, "TrafficRoutingError"), 14);
    let gaps = gaps(&shop.router.until_asked(10, 16).await);
    let (failing, after) = gaps.split_at(14);
    // The first failure came with an event of its own, a Service that was moved.
    let doubled = |pair: &[Duration]| pair[1] == (pair[0] * 2).min(Duration::from_secs(10));
    assert!(failing.windows(2).skip(1).all(doubled), "{failing:?}");
    assert_eq!(failing.last(), Some(&Duration::from_secs(10)));
    // Events of the reconcile that succeeded came while the key still had its back-off.
    assert_eq!(after.first(), Some(&Duration::from_secs(10)));
}

#[tokio::test(start_paused = true)]
async fn a_call_that_is_held_costs_nothing_but_time() {
    let hold = Duration::from_secs(25);
    let answers = [Answer { weight: 10, times: 1, says: Says::After(hold) }];
    let shop = update(json!([{ "setWeight": 10 }, { "setWeight": 60 }, { "pause": {} }]), &answers).await;
    shop.router.until_asked(10, 1).await;
    let before = shop.rollout();
    tokio::time::sleep(hold / 2).await;
    assert_eq!(shop.rollout(), before);
    // An abort waits for the answer, and is not lost in what is then recorded.
    shop.abort();
    shop.until(|rollout| is(rollout, "Degraded", 0)).await;
    let recording = shop.recording();
    let end = "status: Progressing, stable V1, step 1, weight 10 verified\n\
               web-canary -> V1\n\
               RemoveManagedRoutes, UpdateHash V2 V1, SetWeight 0, VerifyWeight 0 verified\n\
               V2 = 0\n\
               status: Degraded, stable V1, step 0, weight 0 verified\n";
    assert!(recording.ends_with(end), "{recording}");
    let (asked, back) = (shop.router.times_of(10), shop.router.times_of(0));
    let went_on = back.iter().find(|at| **at > asked[0]).unwrap().duration_since(asked[0] + hold);
    assert!(went_on < Duration::from_millis(10), "{went_on:?}");
    assert_eq!(warnings(&shop, "TrafficRoutingError"), 0);
    assert_eq!(shop.router.times_of(60), []);
}

#[tokio::test(start_paused = true)]
async fn what_is_not_verified_is_asked_again_after_ten_seconds() {
    let answers = [Answer { weight: 10, times: 6, says: Says::NotVerified }];
    let shop = update(json!([{ "setWeight": 10 }, { "pause": {} }]), &answers).await;
    shop.until(|rollout| is(rollout, "Progressing", 10)).await;
    assert_eq!((index(&shop.rollout()), verified(&shop.rollout())), (Some(0), Some(&json!(false))));
    shop.until_paused(10, 10).await;
    let asked_after = gaps(&shop.router.times_of(10));
    assert!(asked_after.contains(&Duration::from_secs(10)), "{asked_after:?}");
    assert_eq!(warnings(&shop, "TrafficRoutingError"), 0);
    // Only other weights reach the status with another answer.
    assert_eq!(verified(&shop.rollout()), Some(&json!(false)));
}

#[tokio::test(start_paused = true)]
async fn a_pause_does_not_wait_for_verification() {
    let steps = json!([{ "setWeight": 10 }, { "pause": { "duration": "1m" } }, { "setWeight": 60 }]);
    let shop = update(steps, &[]).await;
    shop.until_paused(10, 10).await;
    shop.router.will_say(Answer { weight: 10, times: LONG, says: Says::NotVerified });
    shop.until_healthy().await;
}

#[tokio::test(start_paused = true)]
async fn the_promotion_is_healthy_before_its_traffic_is_back_on_stable() {
    let shop = update(json!([{ "setWeight": 50 }, { "pause": { "duration": "1m" } }]), &[]).await;
    shop.until_paused(50, 10).await;
    shop.router.will_say(Answer { weight: 0, times: LONG, says: Says::NotVerified });
    let before = shop.router.times_of(0).len();
    shop.until(|rollout| is(rollout, "Healthy", 100)).await;
    shop.until(|rollout| is(rollout, "Healthy", 0)).await;
    assert_eq!(verified(&shop.rollout()), Some(&json!(false)));
    let asked = shop.router.until_asked(0, before + 8).await;
    let again = gaps(asked.split_at(before + 4).1);
    assert!(again.iter().all(|gap| *gap == Duration::from_secs(10)), "{again:?}");
}

#[tokio::test(start_paused = true)]
async fn a_router_that_does_not_verify_holds_nothing() {
    let answers = [10, 60, 100, 0].map(|weight| Answer { weight, times: LONG, says: Says::Unknown });
    let shop = update(json!([{ "setWeight": 10 }, { "setWeight": 60 }, { "setWeight": 100 }]), &answers).await;
    shop.until_healthy().await;
    assert_eq!(verified(&shop.rollout()), None);
}

#[tokio::test(start_paused = true)]
async fn an_error_of_verify_weight_lets_the_update_end() {
    let answers = [Answer { weight: 100, times: LONG, says: Says::CannotVerify }];
    let shop = update(json!([{ "setWeight": 10 }]), &answers).await;
    shop.until_healthy().await;
    assert!(warnings(&shop, "WeightVerifyError") > 0);
}

#[tokio::test(start_paused = true)]
async fn a_no_at_the_maximum_weight_keeps_stable() {
    let answers = [Answer { weight: 100, times: LONG, says: Says::NotVerified }];
    let shop = update(json!([{ "setWeight": 10 }]), &answers).await;
    shop.router.until_asked(100, 20).await;
    assert!(is(&shop.rollout(), "Progressing", 10), "{}", shop.rollout());
    let stable = shop.rollout().pointer("/status/stableRS").cloned();
    assert_ne!(stable, shop.rollout().pointer("/status/currentPodHash").cloned());
}

#[tokio::test(start_paused = true)]
async fn an_old_version_stays_for_its_delay() {
    let canary = json!({ "scaleDownDelaySeconds": 120, "steps": [{ "setWeight": 50 }] });
    let shop = Shop::open(canary, &[]);
    shop.until_healthy().await;
    shop.set_version("2");
    shop.until_healthy().await;
    let (promoted, pods) = (Instant::now(), json!(20));
    assert_eq!(shop.rollout().pointer("/status/replicas"), Some(&pods));
    shop.until(|rollout| rollout.pointer("/status/replicas") == Some(&json!(10))).await;
    let stayed = promoted.elapsed().as_secs_f64();
    assert!((118.0..122.0).contains(&stayed), "{stayed}");
}

#[tokio::test(start_paused = true)]
async fn a_rollout_with_an_unknown_step_is_not_played() {
    let cluster = lab::kubernetes::Cluster::default();
    let router = std::sync::Arc::new(crate::router::Router::new(cluster.clone(), &[]));
    let canary = json!({ "trafficRouting": {}, "steps": [{ "analysis": {} }] });
    let spec = json!({ "selector": {}, "template": {}, "strategy": { "canary": canary } });
    let object = json!({ "metadata": { "namespace": "shop", "name": "web" }, "spec": spec });
    cluster.create(Kind::ROLLOUT, object).unwrap();
    let controller = lab::rollouts_controller::Controller::new(cluster, "shop", "web", router);
    let error = controller.run().await.unwrap_err().to_string();
    assert!(error.contains("shop/web") && error.contains("analysis"), "{error}");
}
