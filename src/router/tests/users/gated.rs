//! No group gets traffic before its Pods are there.

use super::super::gates::{NEW, OLD, after, promotion, update};
use super::super::*;
use super::host::{Host, Reconcile, every_second, ready};

/// <https://github.com/argoproj/argo-rollouts/issues/4433>: at the end of an update the host moved the stable Service's selector and
/// all weight to its group, where the new Pods were not yet.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_4433_after_a_promotion_no_traffic_meets_an_empty_stable_group() {
    // Also where it was promoted in full, with the weight still on the stable group, whose Pods have just become others.
    for weights in [[("stable", 0), ("canary", 100)], [("stable", 100), ("canary", 0)]] {
        let (fake, rollout) = promotion();
        fake.set("http", &weights);
        let mut host = Host::new(&fake, rollout);
        tokio::join!(
            host.reconcile_until_verified(0),
            after(40, || fake.register("stable", NEW)),
            every_second(40, |second| assert!(second == 0 || fake.shares() == [("http", 0, 100)], "after {second} s")),
        );
        assert_eq!(fake.shares(), [("http", 100, 0)]);
    }
}

/// <https://github.com/argoproj/argo-rollouts/issues/2864>: the same with hundreds of targets, which take a minute to be registered.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_2864_the_stable_group_gets_traffic_when_nine_tenths_of_its_targets_are_there() {
    const PODS: u8 = 240;
    let (fake, mut rollout) = promotion();
    rollout.spec.replicas = Some(PODS.into());
    for side in ["stable", "canary"] {
        fake.select(&format!("web-{side}"), "new", 0..PODS);
    }
    fake.register("canary", 0..PODS);
    let mut host = Host::new(&fake, rollout);
    let mut there = 0;
    let (before, ()) = tokio::join!(
        host.reconcile_until_verified(0),
        every_second(90, |second| {
            let moved = fake.shares() != [("http", 0, 100)];
            assert!(!moved || there >= 216, "with {there} of {PODS} targets after {second} s");
            assert!(
                moved || second < 77,
                "it is held longer than needed: the gate opens after 72 s and is looked at every 3 s"
            );
            there = u8::try_from(second * 3).map_or(PODS, |registered| registered.min(PODS));
            fake.register("stable", 0..there);
        }),
    );
    // Meanwhile the host scales, which it must: but no step ends, and it is told so.
    assert!(before.iter().all(|reconcile| *reconcile == Reconcile::GoesOn(Verification::NotVerified)), "{before:?}");
    assert_eq!(fake.shares(), [("http", 100, 0)]);
}

/// <https://github.com/argoproj/argo-rollouts/issues/2064> and 1826: for half a minute after a promotion the old version was back, since
/// the stable group still held its Pods.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_2064_after_a_promotion_the_old_version_does_not_come_back() {
    let (fake, mut rollout) = promotion();
    rollout.spec.strategy.canary.as_mut().unwrap().dynamic_stable_scale = false;
    fake.register("stable", OLD);
    let mut host = Host::new(&fake, rollout);
    tokio::join!(
        host.reconcile_until_verified(0),
        after(30, || fake.register("stable", NEW)),
        every_second(30, |second| assert_eq!(fake.shares(), [("http", 0, 100)], "after {second} s")),
    );
    assert_eq!(fake.shares(), [("http", 100, 0)]);
}

/// <https://github.com/kubernetes-sigs/aws-load-balancer-controller/issues/4889>: the controller took its targets for unchanged, and
/// for half an hour nobody repaired the group.
#[tokio::test(start_paused = true)]
async fn lbc_4889_a_group_that_nobody_repairs_gets_no_more_traffic() {
    for dynamic in [false, true] {
        let (fake, rollout) = ready(dynamic, &[]);
        let mut host = Host::new(&fake, rollout);
        host.reconcile_until_verified(10).await;
        fake.register("canary", NEW.take(4));
        let began = Instant::now();
        while began.elapsed() < Duration::from_secs(1800) {
            let reconcile = host.reconcile(60).await;
            if dynamic {
                assert!(matches!(reconcile, Reconcile::Stopped(_)), "{reconcile:?}");
            } else {
                assert_eq!(reconcile, Reconcile::GoesOn(Verification::NotVerified));
            }
            assert_eq!(fake.shares(), [("http", 90, 10)]);
        }
        fake.register("canary", NEW);
        host.reconcile_until_verified(60).await;
        assert_eq!(fake.shares(), [("http", 40, 60)]);
    }
}

/// <https://github.com/argoproj/argo-rollouts/pull/4753>: the weight came before a selector that the host had just moved, and reached
/// Pods of the version before.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_4752_weight_waits_for_what_a_moved_selector_selects() {
    for dynamic in [false, true] {
        let (fake, rollout) = update(dynamic);
        fake.register("canary", 100..110);
        let mut host = Host::new(&fake, rollout);
        tokio::join!(
            host.reconcile_until_verified(10),
            after(20, || fake.register("canary", NEW)),
            every_second(20, |second| assert_eq!(fake.shares(), [("http", 100, 0)], "after {second} s")),
        );
        assert_eq!(fake.shares(), [("http", 90, 10)]);
    }
}
