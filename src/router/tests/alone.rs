//! What goes on when no call is there: shifts, the guard, an AWS that does not answer.

use super::gates::{NEW, OLD, promotion, update};
use super::*;

/// The cluster has this Rollout now, under a new resource version.
fn publish(fake: &Fake, rollout: &Rollout) {
    let mut now = rollout.clone();
    let version = fake.rollout.borrow().as_ref().map_or(0, |old| old.metadata.resource_version.parse::<u64>().unwrap());
    now.metadata.resource_version = (version + 1).to_string();
    fake.rollout.send_replace(Some(now));
}

async fn pause(seconds: u64) {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
}

#[tokio::test(start_paused = true)]
async fn a_shift_goes_on_when_its_call_was_answered() {
    let (fake, rollout) = update(true);
    publish(&fake, &rollout);
    let router = router(&fake);
    error_of(&router, &rollout, 10).await;
    assert_eq!(fake.shares(), [("http", 100, 0)]);
    fake.register("canary", NEW);
    pause(5).await;
    assert_eq!(fake.shares(), [("http", 90, 10)]);
    router.set_weight(&rollout, 10, &[]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_written_without_a_call_once_the_rollout_means_something_else() {
    let (fake, rollout) = update(true);
    let mut aborted = rollout.clone();
    aborted.status.abort = true;
    publish(&fake, &aborted);
    let router = router(&fake);
    error_of(&router, &rollout, 10).await;
    fake.register("canary", NEW);
    pause(60).await;
    assert_eq!(fake.shares(), [("http", 100, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_promotion_moves_to_stable_unasked_as_soon_as_stable_has_its_pods() {
    let (fake, rollout) = promotion();
    publish(&fake, &rollout);
    let router = router(&fake);
    router.set_weight(&rollout, 0, &[]).await.unwrap();
    assert_eq!(fake.shares(), [("http", 0, 100)]);
    fake.register("stable", NEW);
    pause(5).await;
    assert_eq!(fake.shares(), [("http", 100, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_held_call_returns_at_once_when_the_rollout_was_changed() {
    let changes: [fn(&mut Rollout); 3] = [
        |rollout| rollout.status.abort = true,
        |rollout| rollout.metadata.generation += 1,
        |rollout| edit_entry(rollout, |entry| entry["gates"] = json!({"rising": false})),
    ];
    for change in changes {
        let (fake, rollout) = update(true);
        publish(&fake, &rollout);
        let router = router(&fake);
        let began = Instant::now();
        let changed = async {
            pause(10).await;
            let mut now = rollout.clone();
            change(&mut now);
            publish(&fake, &now);
        };
        let (error, ()) = tokio::join!(error_of(&router, &rollout, 10), changed);
        assert!(error.contains("was changed while its weights were waited for"), "{error}");
        assert_eq!(began.elapsed(), Duration::from_secs(10));
    }
}

#[tokio::test(start_paused = true)]
async fn a_new_version_does_not_end_a_promotions_hold() {
    let (fake, rollout) = promotion();
    publish(&fake, &rollout);
    let began = Instant::now();
    let router = router(&fake);
    let changed = async {
        pause(10).await;
        let mut now = rollout.clone();
        now.metadata.generation += 1;
        publish(&fake, &now);
    };
    let (answer, ()) = tokio::join!(router.set_weight(&rollout, 0, &[]), changed);
    answer.unwrap();
    assert_eq!(began.elapsed(), BUDGET);
}

#[tokio::test(start_paused = true)]
async fn a_new_version_does_not_end_the_way_back_while_stable_is_sized_by_recorded_weights() {
    let (fake, mut rollout) = update(true);
    fake.set("http", &[("stable", 70), ("canary", 30)]);
    fake.register("canary", NEW);
    fake.register("stable", OLD.take(4));
    rollout.status.abort = true;
    publish(&fake, &rollout);
    let (router, began) = (router(&fake), Instant::now());
    let changed = async {
        pause(5).await;
        let mut now = rollout.clone();
        now.metadata.generation += 1;
        publish(&fake, &now);
        pause(5).await;
        fake.register("stable", OLD);
    };
    let (answer, ()) = tokio::join!(router.set_weight(&rollout, 0, &[]), changed);
    answer.unwrap();
    assert!(began.elapsed() >= Duration::from_secs(10), "{:?}", began.elapsed());
    assert_eq!(fake.shares(), [("http", 100, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_newer_wish_takes_the_place_of_one_that_waits() {
    let (fake, rollout) = update(true);
    fake.set("http", &[("stable", 90), ("canary", 10)]);
    let router = Arc::new(router(&fake));
    let waiting = tokio::spawn({
        let (router, rollout) = (Arc::clone(&router), rollout.clone());
        async move { router.set_weight(&rollout, 60, &[]).await.is_ok() }
    });
    pause(10).await;
    let mut aborted = rollout.clone();
    aborted.status.abort = true;
    let began = Instant::now();
    router.set_weight(&aborted, 0, &[]).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!(fake.shares(), [("http", 100, 0)]);
    assert!(!waiting.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn what_the_host_would_give_up_is_given_up_while_it_is_held() {
    for on in [true, false] {
        let (fake, mut rollout) = update(true);
        if !on {
            edit_entry(&mut rollout, |entry| entry["abortWhileHeld"] = json!(false));
        }
        publish(&fake, &rollout);
        fake.give_reason_to_abort("AnalysisRun web-1 has failed");
        error_of(&router(&fake), &rollout, 10).await;
        assert_eq!(fake.calls().iter().any(|call| call == "abort u"), on);
        assert_eq!(fake.events().contains(&"RolloutAborted"), on);
    }
    // Without dynamicStableScale a raise does not keep the host from looking by itself.
    let (fake, rollout) = update(false);
    fake.give_reason_to_abort("AnalysisRun web-1 has failed");
    router(&fake).set_weight(&rollout, 10, &[]).await.unwrap();
    assert!(!fake.calls().iter().any(|call| call.starts_with("abort")));
}

#[tokio::test(start_paused = true)]
async fn in_mid_update_weights_that_somebody_changes_are_put_back_without_a_call() {
    let (fake, rollout) = two_rules();
    publish(&fake, &rollout);
    let router = router(&fake);
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    fake.set("https", &[("stable", 100), ("canary", 0)]);
    pause(5).await;
    assert_eq!(fake.shares(), [("http", 90, 10), ("https", 90, 10)]);
    assert_eq!(fake.events(), ["WeightsPutBack"]);
    // Later it takes a little longer.
    pause(900).await;
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    fake.set("https", &[("stable", 100), ("canary", 0)]);
    pause(31).await;
    assert_eq!(fake.shares(), [("http", 90, 10), ("https", 90, 10)]);
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_nobody_has_asked_for_in_a_while_is_nobodys() {
    let (fake, rollout) = two_rules();
    publish(&fake, &rollout);
    let router = router(&fake);
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    pause(1000).await;
    fake.forget_calls();
    fake.set("https", &[("stable", 100), ("canary", 0)]);
    pause(3000).await;
    assert!(fake.calls().is_empty(), "an idle plugin costs nothing: {:?}", fake.calls());
    assert_eq!(fake.shares()[1], ("https", 100, 0));
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(fake.shares()[1], ("https", 90, 10));
}

#[tokio::test(start_paused = true)]
async fn outside_an_update_a_change_is_told_and_left_until_the_host_calls() {
    let (fake, mut rollout) = two_rules();
    rollout.status.current_pod_hash = "old".to_owned();
    publish(&fake, &rollout);
    let router = router(&fake);
    router.set_weight(&rollout, 0, &[]).await.unwrap();
    fake.set("https", &[("stable", 50), ("canary", 50)]);
    pause(30).await;
    assert_eq!((fake.shares()[1], fake.events()), (("https", 50, 50), vec!["WeightsChanged"]));
    router.set_weight(&rollout, 0, &[]).await.unwrap();
    assert_eq!(fake.shares()[1], ("https", 100, 0));
}

#[tokio::test(start_paused = true)]
async fn with_hands_off_nothing_is_written_and_success_needs_the_weights_all_the_same() {
    let (fake, mut rollout) = update(true);
    fake.register("canary", NEW);
    rollout.metadata.annotations.insert(wish::HANDS_OFF.to_owned(), "true".to_owned());
    let router = router(&fake);
    let error = error_of(&router, &rollout, 10).await;
    assert!(error.contains("nothing is written") && error.contains("100:0") && error.contains("90:10"), "{error}");
    assert_eq!(fake.shares(), [("http", 100, 0)]);
    fake.set("http", &[("stable", 9), ("canary", 1)]);
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    assert!(!fake.calls().iter().any(|call| call.starts_with("write")));
}

/// Weights that the host recorded as verified, for the Rollout as it is.
fn recorded(rollout: &mut Rollout, weight: u32) {
    let (stable, canary) = (&rollout.status.stable_rs, &rollout.status.current_pod_hash);
    rollout.status.canary = serde_json::from_value(json!({"weights": {
        "canary": {"weight": weight, "podTemplateHash": canary},
        "stable": {"weight": 100 - weight, "podTemplateHash": stable}, "verified": true,
    }}))
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_aws_that_does_not_answer_makes_no_rollout_at_rest_unhealthy_and_lets_none_in_mid_shift_through() {
    let (fake, mut at_rest) = two_rules();
    at_rest.status.current_pod_hash = "old".to_owned();
    recorded(&mut at_rest, 0);
    // Known from before, and seen by a fresh process for the first time.
    let known = router(&fake);
    known.set_weight(&at_rest, 0, &[]).await.unwrap();
    let fresh = router(&fake);
    let mut updating = rollout_on("other", &["http"]);
    recorded(&mut updating, 0);
    fake.fail_always("observe", Fault::Transient);
    for _ in 0..10 {
        for router in [&known, &fresh] {
            let began = Instant::now();
            router.set_weight(&at_rest, 0, &[]).await.unwrap();
            assert_eq!(router.verify_weight(&at_rest, 0, &[]).await, Verification::Verified);
            assert!(began.elapsed() < Duration::from_millis(5), "{:?}", began.elapsed());
        }
        pause(30).await;
    }
    // The recorded weight still stands in mid-update, but no step may end on it; a new weight is held.
    fresh.set_weight(&updating, 0, &[]).await.unwrap();
    assert_eq!(fresh.verify_weight(&updating, 0, &[]).await, Verification::NotVerified);
    error_of(&fresh, &updating, 10).await;
}
