//! Weights must stay true for a while before a host may let pods go.

use super::*;

const SETTLE: Duration = Duration::from_secs(10);

fn settling(fake: &Arc<Fake>) -> Router {
    router_with(Settings { settle: SETTLE, ..settings() }, fake)
}

fn settling_rules() -> (Arc<Fake>, Rollout) {
    (two_rules().0, dynamic("web", &["http", "https"]))
}

async fn took(router: &Router, rollout: &Rollout, weight: i64) -> Duration {
    let began = Instant::now();
    router.set_weight(rollout, weight, &[]).await.unwrap();
    began.elapsed()
}

#[tokio::test(start_paused = true)]
async fn with_dynamic_stable_scale_every_shift_settles_once() {
    let (fake, rollout) = settling_rules();
    let router = settling(&fake);
    for weight in [10, 100, 0] {
        assert_eq!(took(&router, &rollout, weight).await, SETTLE);
        assert_eq!(took(&router, &rollout, weight).await, Duration::ZERO);
    }
    tokio::time::advance(OBSERVATION_STANDS).await;
    assert_eq!(took(&router, &rollout, 0).await, Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn without_it_a_decrease_of_the_canary_settles_and_the_maximum() {
    let (fake, rollout) = two_rules();
    let router = settling(&fake);
    assert_eq!(took(&router, &rollout, 10).await, Duration::ZERO);
    assert_eq!(took(&router, &rollout, 100).await, SETTLE, "the promotion is next");
    assert_eq!(took(&router, &rollout, 60).await, SETTLE);
    assert_eq!(took(&router, &rollout, 0).await, SETTLE);
}

#[tokio::test(start_paused = true)]
async fn a_settle_time_beyond_the_budget_goes_on_in_the_next_call() {
    let (fake, rollout) = settling_rules();
    let settle = BUDGET + Duration::from_secs(10);
    let router = router_with(Settings { settle, ..settings() }, &fake);
    let began = Instant::now();
    let error = error_of(&router, &rollout, 10).await;
    assert!(error.contains("must stay true for 55 s"), "{error}");
    assert_eq!(router.verify_weight(&rollout, 10, &[]).await, Verification::NotVerified);
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(began.elapsed(), settle);
    let writes = fake.calls().iter().filter(|call| call.starts_with("write")).count();
    assert_eq!(writes, 2);
}

#[tokio::test(start_paused = true)]
async fn weights_that_somebody_puts_back_meanwhile_are_written_and_settle_again() {
    let (fake, rollout) = settling_rules();
    let router = settling(&fake);
    let began = Instant::now();
    let meddle = async {
        tokio::time::sleep(SETTLE / 2).await;
        fake.set("http", &[("stable", 100), ("canary", 0)]);
    };
    let (answer, ()) = tokio::join!(router.set_weight(&rollout, 10, &[]), meddle);
    answer.unwrap();
    assert_eq!(fake.shares(), [("http", 90, 10), ("https", 90, 10)]);
    assert!(began.elapsed() >= SETTLE / 2 + SETTLE, "{:?}", began.elapsed());
    assert_eq!(fake.events(), ["WeightsPutBack"]);
}

#[tokio::test(start_paused = true)]
async fn at_rest_a_fresh_process_believes_what_the_host_recorded_as_verified() {
    let (fake, mut rollout) = settling_rules();
    fake.set("http", &[("stable", 90), ("canary", 10)]);
    fake.set("https", &[("stable", 90), ("canary", 10)]);
    assert_eq!(took(&settling(&fake), &rollout, 10).await, SETTLE);
    let recorded = |current, verified| {
        json!({"weights": {
            "canary": {"weight": 10, "podTemplateHash": current}, "stable": {"weight": 90, "podTemplateHash": "old"},
            "verified": verified,
        }})
    };
    // In mid-update an earlier process may have written something that was never recorded.
    for (current, verified, settles) in
        [("old", Some(true), Duration::ZERO), ("old", None, SETTLE), ("new", Some(true), SETTLE), ("new", None, SETTLE)]
    {
        rollout.status.current_pod_hash = current.to_owned();
        rollout.status.canary = serde_json::from_value(recorded(current, verified)).unwrap();
        assert_eq!(took(&settling(&fake), &rollout, 10).await, settles, "{current} {verified:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_old_record_is_no_reason_to_believe_a_weight_that_somebody_else_made_true_again() {
    let (fake, mut rollout) = settling_rules();
    fake.set("http", &[("stable", 90), ("canary", 10)]);
    fake.set("https", &[("stable", 90), ("canary", 10)]);
    // Recorded before the canary got anything; a process that is gone has written since.
    rollout.status.canary = serde_json::from_value(json!({"weights": {
        "canary": {"weight": 0, "podTemplateHash": "new"}, "stable": {"weight": 100, "podTemplateHash": "old"}, "verified": true,
    }}))
    .unwrap();
    let router = settling(&fake);
    let abort = async {
        tokio::time::sleep(Duration::from_millis(2900)).await;
        fake.set("http", &[("stable", 100), ("canary", 0)]);
        fake.set("https", &[("stable", 100), ("canary", 0)]);
        // The guard has seen it, and has not written yet.
        tokio::time::sleep(Duration::from_millis(150)).await;
        let mut aborted = rollout.clone();
        aborted.status.abort = true;
        took(&router, &aborted, 0).await
    };
    let (_, took) = tokio::join!(router.set_weight(&rollout, 10, &[]), abort);
    assert!(took >= SETTLE, "{took:?}");
}
