//! No group gets traffic that its pods are not there for.

use super::*;

pub(super) const OLD: std::ops::Range<u8> = 10..20;
pub(super) const NEW: std::ops::Range<u8> = 20..30;

/// The version `old` is stable, with all traffic and ten healthy pods; `new` is being tried, and none of its pods is in
/// its group yet.
pub(super) fn update(dynamic: bool) -> (Arc<Fake>, Rollout) {
    let fake = Fake::new(&[("http", &[("stable", 100), ("canary", 0)])]);
    fake.select("web-stable", "old", OLD);
    fake.select("web-canary", "new", NEW);
    fake.register("stable", OLD);
    let mut rollout = rollout_on("web", &["http"]);
    let canary = rollout.spec.strategy.canary.as_mut().unwrap();
    canary.dynamic_stable_scale = dynamic;
    "web-stable".clone_into(&mut canary.stable_service);
    "web-canary".clone_into(&mut canary.canary_service);
    let entry = json!({
        "stableTargetGroupArn": group("stable").as_str(), "canaryTargetGroupArn": group("canary").as_str(),
        "ruleArns": [arn("http").as_str()],
    });
    let plugins = &mut canary.traffic_routing.as_mut().unwrap().plugins;
    plugins.insert("argoproj-labs/alb".to_owned(), entry.to_string().into_bytes());
    rollout.spec.replicas = Some(10);
    rollout.status.replicas = 10;
    (fake, rollout)
}

/// The update has all traffic, its old pods are gone, and the host has just moved the stable Service's selector.
pub(super) fn promotion() -> (Arc<Fake>, Rollout) {
    let (fake, mut rollout) = update(true);
    fake.set("http", &[("stable", 0), ("canary", 100)]);
    fake.register("stable", []);
    fake.register("canary", NEW);
    fake.select("web-stable", "new", NEW);
    rollout.status.stable_rs = "new".to_owned();
    let recorded = json!({"weights": {
        "canary": {"weight": 100, "podTemplateHash": "new"}, "stable": {"weight": 0, "podTemplateHash": "old"}, "verified": true,
    }});
    rollout.status.canary = serde_json::from_value(recorded).unwrap();
    (fake, rollout)
}

pub(super) async fn after<T>(seconds: u64, change: impl FnOnce() -> T) -> T {
    tokio::time::sleep(Duration::from_secs(seconds)).await;
    change()
}

#[tokio::test(start_paused = true)]
async fn a_raise_waits_until_the_pods_are_healthy_targets() {
    let (fake, rollout) = update(true);
    let router = router(&fake);
    let began = Instant::now();
    let (answer, before) = tokio::join!(
        router.set_weight(&rollout, 10, &[]),
        after(20, || {
            let before = fake.shares();
            fake.register("canary", NEW);
            before
        })
    );
    answer.unwrap();
    assert_eq!(before, [("http", 100, 0)]);
    assert_eq!(fake.shares(), [("http", 90, 10)]);
    assert!((20..=23).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
    // Every three seconds, both groups: no more than that, however long it takes.
    let looks = fake.calls().iter().filter(|call| *call == "targets").count();
    assert!((12..=18).contains(&looks), "{looks}");
}

#[tokio::test(start_paused = true)]
async fn a_raise_that_waits_in_vain_names_the_group_and_the_service_and_says_the_same_each_time() {
    let (fake, rollout) = update(true);
    let router = router(&fake);
    let first = error_of(&router, &rollout, 10).await;
    for part in [group("canary").as_str(), "90% of the Pods that Service shop/web-canary selects", "gates.rising"] {
        assert!(first.contains(part), "{part} in {first}");
    }
    fake.register("canary", NEW.take(3));
    assert_eq!(error_of(&router, &rollout, 10).await, first);
    assert_eq!(fake.shares(), [("http", 100, 0)]);
}

#[tokio::test(start_paused = true)]
async fn healthy_old_pods_in_the_group_open_no_gate() {
    let (fake, rollout) = update(true);
    fake.register("canary", 100..110);
    error_of(&router(&fake), &rollout, 10).await;
    assert_eq!(fake.shares(), [("http", 100, 0)]);
}

#[tokio::test(start_paused = true)]
async fn an_abort_is_gated_only_where_stable_was_scaled_down() {
    for (dynamic, moved) in [(false, true), (true, false)] {
        let (fake, mut rollout) = update(dynamic);
        fake.set("http", &[("stable", 40), ("canary", 60)]);
        fake.register("canary", NEW);
        fake.register("stable", OLD.take(4));
        rollout.status.abort = true;
        let answer = router(&fake).set_weight(&rollout, 0, &[]).await;
        assert_eq!(answer.is_ok(), moved, "{answer:?}");
        assert_eq!(fake.shares(), [if moved { ("http", 100, 0) } else { ("http", 40, 60) }]);
    }
}

#[tokio::test(start_paused = true)]
async fn stable_gets_no_more_than_its_pods_can_carry_after_they_were_let_go() {
    let (fake, mut rollout) = update(true);
    fake.set("http", &[("stable", 40), ("canary", 60)]);
    fake.register("canary", NEW);
    // Right after the step the host has let six of ten stable pods go, but still counts them: aborted, it asks for 10.
    fake.select("web-stable", "old", OLD.take(4));
    fake.register("stable", OLD.take(4));
    rollout.status.abort = true;
    let (router, began) = (router(&fake), Instant::now());
    let error = error_of(&router, &rollout, 10).await;
    assert!(error.contains("needs 9 Pods, and Service shop/web-stable has too few"), "{error}");
    // A moment earlier the pods are all there, healthy, and do not know yet that they go.
    fake.select("web-stable", "old", OLD);
    fake.register("stable", OLD);
    fake.scale("old", 4);
    error_of(&router, &rollout, 10).await;
    assert_eq!(fake.shares(), [("http", 40, 60)]);
    let began = began + SOONEST_ERROR;
    // It is answered soon: the host scales stable up only once it has an answer.
    assert_eq!((began.elapsed(), fake.shares()), (SOONEST_ERROR, vec![("http", 40, 60)]));
    fake.scale("old", 9);
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(fake.shares(), [("http", 90, 10)]);
}

#[tokio::test(start_paused = true)]
async fn a_dying_canary_holds_nothing() {
    let (fake, mut rollout) = update(true);
    fake.set("http", &[("stable", 40), ("canary", 60)]);
    fake.register("canary", NEW.take(1));
    fake.register("stable", OLD.take(4));
    rollout.status.abort = true;
    router(&fake).set_weight(&rollout, 0, &[]).await.unwrap();
    assert_eq!(fake.shares(), [("http", 100, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_promotion_keeps_all_traffic_on_the_canary_group_until_the_stable_group_has_its_pods() {
    let (fake, rollout) = promotion();
    let router = router(&fake);
    let began = Instant::now();
    let (answer, before) = tokio::join!(
        router.set_weight(&rollout, 0, &[]),
        after(30, || {
            let before = fake.shares();
            fake.register("stable", NEW);
            before
        })
    );
    answer.unwrap();
    assert_eq!(before, [("http", 0, 100)]);
    assert_eq!(fake.shares(), [("http", 100, 0)]);
    assert!((30..=33).contains(&began.elapsed().as_secs()), "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_takes_longer_is_answered_with_yes_and_not_verified() {
    let (fake, rollout) = promotion();
    let router = router(&fake);
    for _ in 0..3 {
        router.set_weight(&rollout, 0, &[]).await.unwrap();
        assert_eq!(router.verify_weight(&rollout, 0, &[]).await, Verification::NotVerified);
        assert_eq!(fake.shares(), [("http", 0, 100)]);
    }
    fake.register("stable", NEW);
    router.set_weight(&rollout, 0, &[]).await.unwrap();
    assert_eq!(fake.shares(), [("http", 100, 0)]);
    assert_eq!(router.verify_weight(&rollout, 0, &[]).await, Verification::Verified);
}

#[tokio::test(start_paused = true)]
async fn a_promotions_hold_ends_when_the_canary_service_stands_for_another_version() {
    let (fake, rollout) = promotion();
    // The next update has begun: the targets that have all traffic are about to be deregistered.
    fake.select("web-canary", "newest", []);
    fake.register("stable", NEW.take(2));
    router(&fake).set_weight(&rollout, 0, &[]).await.unwrap();
    assert_eq!(fake.shares(), [("http", 100, 0)]);
}

#[tokio::test(start_paused = true)]
async fn a_promotion_that_still_has_traffic_on_stable_moves_it_away_first() {
    // Promoted in full, or without steps: the weight was on the stable group, whose old pods go now.
    let (fake, rollout) = promotion();
    fake.set("http", &[("stable", 100), ("canary", 0)]);
    let router = router(&fake);
    let (answer, before) = tokio::join!(
        router.set_weight(&rollout, 0, &[]),
        after(5, || {
            let before = fake.shares();
            fake.register("stable", NEW);
            before
        })
    );
    answer.unwrap();
    assert_eq!((before, fake.shares()), (vec![("http", 0, 100)], vec![("http", 100, 0)]));
}

#[tokio::test(start_paused = true)]
async fn a_first_install_moves_nothing() {
    let (fake, mut rollout) = promotion();
    fake.set("http", &[("stable", 100), ("canary", 0)]);
    rollout.status.canary = Default::default();
    router(&fake).set_weight(&rollout, 0, &[]).await.unwrap();
    assert_eq!(fake.calls(), ["observe"]);
}

#[tokio::test(start_paused = true)]
async fn a_rollout_at_rest_asks_for_no_health() {
    let (fake, rollout) = promotion();
    fake.register("stable", NEW);
    let router = router(&fake);
    router.set_weight(&rollout, 0, &[]).await.unwrap();
    fake.forget_calls();
    for _ in 0..10 {
        tokio::time::advance(OBSERVATION_STANDS).await;
        router.set_weight(&rollout, 0, &[]).await.unwrap();
    }
    let looks = fake.calls().iter().filter(|call| *call == "targets").count();
    assert_eq!(looks, 0, "{:?}", fake.calls());
}

#[tokio::test(start_paused = true)]
async fn a_rollout_at_rest_does_not_fail_because_its_pods_cannot_be_looked_at() {
    let (fake, mut rollout) = promotion();
    fake.set("http", &[("stable", 100), ("canary", 0)]);
    fake.fail_always("targets", Fault::Access);
    let router = router(&fake);
    // While the promotion is recorded of nobody, stable's group may still hold the old Pods.
    let error = error_of(&router, &rollout, 0).await;
    assert!(error.contains("AccessDenied"), "{error}");
    let weights = rollout.status.canary.weights.as_mut().unwrap();
    weights.canary.weight = 0;
    weights.stable.pod_template_hash = "new".to_owned();
    tokio::time::sleep(OBSERVATION_STANDS).await;
    router.set_weight(&rollout, 0, &[]).await.unwrap();
    assert_eq!(router.verify_weight(&rollout, 0, &[]).await, Verification::Verified);
    // What would move traffic is another matter.
    fake.set("http", &[("stable", 0), ("canary", 100)]);
    tokio::time::sleep(OBSERVATION_STANDS).await;
    let error = error_of(&router, &rollout, 0).await;
    assert!(error.contains("AccessDenied"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn a_plain_raise_without_dynamic_stable_scale_is_answered_with_yes_in_the_end() {
    let (fake, rollout) = update(false);
    let router = router(&fake);
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(router.verify_weight(&rollout, 10, &[]).await, Verification::NotVerified);
    assert_eq!(fake.shares(), [("http", 100, 0)]);
    // At the maximum the old version would be done with.
    error_of(&router, &rollout, 100).await;
}

#[tokio::test(start_paused = true)]
async fn scaled_to_zero_there_is_nobody_to_wait_for() {
    let (fake, mut rollout) = update(true);
    fake.select("web-canary", "new", []);
    rollout.spec.replicas = None;
    error_of(&router(&fake), &rollout, 10).await;
    rollout.status.replicas = 0;
    router(&fake).set_weight(&rollout, 10, &[]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn weights_that_change_under_a_gate_are_looked_at_again() {
    let (fake, rollout) = update(true);
    fake.set("http", &[("stable", 100), ("canary", 0)]);
    fake.register("canary", NEW);
    // Between the look without lock and the read inside it the rule comes to have more than is wished.
    fake.change_before_observation(2, "http", &[("stable", 0), ("canary", 100)]);
    router(&fake).set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(fake.shares(), [("http", 90, 10)]);
    assert_eq!(fake.calls().iter().filter(|call| *call == "targets").count(), 3, "the other way has its own gate");
}

#[tokio::test(start_paused = true)]
async fn without_steps_the_host_is_held_until_the_new_group_can_take_over() {
    for full in [false, true] {
        let (fake, mut rollout) = update(false);
        if full {
            rollout.status.promote_full = true;
        } else {
            rollout.spec.strategy.canary.as_mut().unwrap().steps.clear();
        }
        let router = router(&fake);
        // The host must get to scale the new version up, and is asked anew each time.
        fake.scale("new", 4);
        router.set_weight(&rollout, 0, &[]).await.unwrap();
        fake.scale("new", 10);
        let (answer, ()) =
            tokio::join!(router.set_weight(&rollout, 0, &[]), after(20, || fake.register("canary", NEW)));
        answer.unwrap();
        fake.register("canary", NEW.take(3));
        let error = error_of(&router, &rollout, 0).await;
        assert!(error.contains("held before its promotion until 90% of 10 Pods"), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn the_same_weight_for_another_version_waits_for_its_pods() {
    let (fake, mut rollout) = update(true);
    fake.set("http", &[("stable", 70), ("canary", 30)]);
    fake.register("canary", NEW);
    let router = router(&fake);
    router.set_weight(&rollout, 30, &[]).await.unwrap();
    // A third version: the canary Service has left the Pods that the group still holds. Its first weight may be smaller.
    for (version, pods, weight, stable) in [("newer", 40..50, 30, 70), ("newest", 60..70, 10, 90)] {
        rollout.status.current_pod_hash = version.to_owned();
        fake.select("web-canary", version, pods.clone());
        let (answer, before) = tokio::join!(
            router.set_weight(&rollout, weight, &[]),
            after(10, || {
                let before = fake.shares();
                fake.register("canary", pods);
                before
            })
        );
        answer.unwrap();
        let canary = u32::try_from(weight).unwrap();
        assert_eq!((before, fake.shares()), (vec![("http", 100, 0)], vec![("http", stable, canary)]));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lower_weight_for_another_version_waits_for_its_pods_too() {
    let (fake, mut rollout) = update(true);
    fake.set("http", &[("stable", 60), ("canary", 40)]);
    fake.scale("old", 10);
    // The group still holds the Pods of the version before, and the host would scale them down on a success.
    fake.register("canary", NEW);
    rollout.status.current_pod_hash = "newest".to_owned();
    fake.select("web-canary", "newest", 40..50);
    let router = router(&fake);
    let (answer, before) = tokio::join!(
        router.set_weight(&rollout, 30, &[]),
        after(20, || {
            let before = fake.shares();
            fake.register("canary", 40..50);
            before
        })
    );
    answer.unwrap();
    assert_eq!((before, fake.shares()), (vec![("http", 100, 0)], vec![("http", 70, 30)]));
}

#[tokio::test(start_paused = true)]
async fn a_promotion_is_gated_although_the_next_update_has_begun() {
    let (fake, mut rollout) = promotion();
    fake.set("http", &[("stable", 100), ("canary", 0)]);
    fake.register("stable", OLD);
    rollout.status.current_pod_hash = "newest".to_owned();
    let router = router(&fake);
    error_of(&router, &rollout, 0).await;
    assert_eq!(fake.shares(), [("http", 0, 100)]);
    fake.register("stable", NEW);
    router.set_weight(&rollout, 0, &[]).await.unwrap();
    assert_eq!(fake.shares(), [("http", 100, 0)]);
}

#[tokio::test(start_paused = true)]
async fn no_pod_may_go_while_neither_group_is_ready_for_a_promotion() {
    let (fake, rollout) = promotion();
    fake.set("http", &[("stable", 100), ("canary", 0)]);
    fake.register("stable", OLD);
    fake.register("canary", NEW.take(2));
    let error = error_of(&router(&fake), &rollout, 0).await;
    assert!(error.contains("keeps its traffic in target group"), "{error}");
}
