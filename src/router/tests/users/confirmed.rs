//! An answer is given when it is true, and not before.

use super::super::gates::{NEW, after, update};
use super::super::*;
use super::SETTLE;
use super::host::{Host, Reconcile, configure, ping_pong, ready};

/// <https://github.com/kubernetes-sigs/aws-load-balancer-controller/issues/3588>: the controller wrote the rule 70 s after the
/// annotation, and the Pods that still had the traffic were gone by then.
#[tokio::test(start_paused = true)]
async fn lbc_3588_pods_keep_until_a_slow_controller_has_followed_and_traffic_does_not_wait_for_it() {
    let (fake, mut rollout) = ready(false, &[]);
    configure(&mut rollout, &json!({"ingress": "web"}));
    fake.set("http", &[("stable", 40), ("canary", 60)]);
    let mut host = Host::new(&fake, rollout);
    host.record(60, Verification::Verified);
    // A third version: the canary Service is about its Pods, of which there are none yet, and the second version's are to go.
    fake.select("web-canary", "newest", []);
    host.change(|rollout| "newest".clone_into(&mut rollout.status.current_pod_hash));
    let began = Instant::now();
    let held = async {
        host.reconcile_until_verified(0).await;
        began.elapsed()
    };
    let (held, soon, ()) = tokio::join!(
        held,
        after(1, || fake.shares()),
        after(70, || fake.set("http", &[("stable", 100), ("canary", 0)])),
    );
    assert_eq!((soon, fake.announced()), (vec![("http", 200, 0)], vec![vec![100, 0]]));
    assert!(held >= Duration::from_secs(70), "{held:?}");
}

/// <https://github.com/argoproj/argo-rollouts/issues/3926>: with dynamicStableScale the host scaled stable by weights that it had
/// recorded and nobody had verified, so the stable Pods left met all the traffic.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_3926_stable_is_not_scaled_before_the_weights_are_true() {
    let (fake, rollout) = ready(true, &["https"]);
    let mut host = Host::new(&fake, rollout);
    fake.fail_always("write https", Fault::Transient);
    for _ in 0..10 {
        assert!(matches!(host.reconcile(50).await, Reconcile::Stopped(_)));
        assert_eq!((fake.shares()[1], host.stable_pods()), (("https", 100, 0), 10));
    }
    // Written, but AWS does not show it: for all anybody knows it is not so.
    fake.heal();
    fake.be_stale(1000);
    assert!(matches!(host.reconcile(50).await, Reconcile::Stopped(_)));
    assert_eq!(host.stable_pods(), 10);
    fake.be_stale(0);
    host.reconcile_until_verified(50).await;
    assert_eq!((fake.shares(), host.stable_pods()), (vec![("http", 50, 50), ("https", 50, 50)], 5));
}

/// <https://github.com/argoproj/argo-rollouts/issues/3586>: at weight 100 the last stable Pod went while the load balancer still
/// sent it requests.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_3586_the_last_stable_pod_stays_until_the_canary_has_everything() {
    let (fake, rollout) = ready(true, &[]);
    fake.set("http", &[("stable", 10), ("canary", 90)]);
    let mut host = Host::new(&fake, rollout);
    host.record(90, Verification::Verified);
    // The tenth of the canary's Pods is there, but half of them are not in its group.
    fake.register("canary", NEW.take(5));
    assert!(matches!(host.reconcile(100).await, Reconcile::Stopped(_)));
    assert_eq!((fake.shares(), host.stable_pods()), (vec![("http", 10, 90)], 1));
    fake.register("canary", NEW);
    fake.be_stale(1000);
    assert!(matches!(host.reconcile(100).await, Reconcile::Stopped(_)));
    assert_eq!(host.stable_pods(), 1);
    fake.be_stale(0);
    host.reconcile_until_verified(100).await;
    assert_eq!((fake.weights_at_a_node("http", SETTLE), host.stable_pods()), (vec![0, 100], 0));
}

/// <https://github.com/argoproj/argo-rollouts/issues/3333>: ping-pong from 0 to 100 in a throttled account; the verification's error
/// let the host promote while all traffic was on the old group, and scale it away.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_3333_what_aws_does_not_answer_promotes_nothing() {
    for (dynamic, call, fault) in [
        (false, "observe", Fault::Transient),
        (true, "observe", Fault::Transient),
        (false, "write http", Fault::Transient),
        (false, "observe", Fault::Access),
    ] {
        let (fake, rollout) = ping_pong(dynamic);
        let mut host = Host::new(&fake, rollout);
        fake.fail_always(call, fault);
        for _ in 0..10 {
            assert!(matches!(host.reconcile(100).await, Reconcile::Stopped(_)), "{call} {fault:?}");
            let verification = host.router.verify_weight(&host.rollout, 100, &[]).await;
            assert_eq!(verification, Verification::NotVerified, "{call} {fault:?}");
            assert_eq!(fake.weights("http"), [0, 100]);
        }
        fake.heal();
        host.reconcile_until_verified(100).await;
        assert_eq!(fake.weights("http"), [100, 0]);
    }
}

/// <https://github.com/argoproj/argo-rollouts/pull/4867>: the deadline after which an aborted canary's Pods go began before
/// traffic had left them.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_4867_an_abort_does_not_go_on_before_traffic_has_left_the_canary() {
    let (fake, rollout) = ready(false, &["https"]);
    fake.set("http", &[("stable", 40), ("canary", 60)]);
    fake.set("https", &[("stable", 40), ("canary", 60)]);
    let mut host = Host::new(&fake, rollout);
    host.record(60, Verification::Verified);
    host.change(|rollout| rollout.status.abort = true);
    fake.fail_always("write http", Fault::Transient);
    for _ in 0..5 {
        assert!(matches!(host.reconcile(0).await, Reconcile::Stopped(_)));
        assert_eq!(fake.shares(), [("http", 40, 60), ("https", 100, 0)], "what can be moved has moved");
    }
    fake.heal();
    host.reconcile_until_verified(0).await;
    for rule in ["http", "https"] {
        assert_eq!(fake.weights_at_a_node(rule, SETTLE), [100, 0]);
    }
}

/// <https://github.com/argoproj/argo-rollouts/issues/3617>: an update that a third version interrupts; the second version's Pods
/// went while their group had weight. The host moves the selector before it calls, which nobody can undo: what is left is not to wait.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_3617_traffic_leaves_an_interrupted_version_at_once() {
    let (fake, rollout) = ping_pong(false);
    fake.set("http", &[("ping", 80), ("pong", 20)]);
    let mut host = Host::new(&fake, rollout);
    host.record(80, Verification::Verified);
    fake.select("web-ping", "newest", []);
    fake.register("ping", NEW.take(2));
    host.change(|rollout| "newest".clone_into(&mut rollout.status.current_pod_hash));
    let began = Instant::now();
    let (answer, soon) = tokio::join!(host.reconcile(0), after(1, || fake.weights("http")));
    assert_eq!((answer, soon), (Reconcile::GoesOn(Verification::Verified), vec![0, 100]));
    assert_eq!(began.elapsed(), SETTLE, "its Pods go next");
}

/// <https://github.com/argoproj/argo-rollouts/issues/701>: a step ended, and analysis began, before the load balancer had the weight.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_701_no_step_ends_before_its_weight_is_true() {
    let (fake, rollout) = ready(false, &[]);
    let mut host = Host::new(&fake, rollout);
    fake.be_stale(1000);
    for _ in 0..3 {
        assert_eq!(host.reconcile(10).await, Reconcile::GoesOn(Verification::NotVerified));
    }
    fake.be_stale(0);
    host.reconcile_until_verified(10).await;
    assert_eq!(fake.shares(), [("http", 90, 10)]);
}

/// <https://github.com/kubernetes-sigs/aws-load-balancer-controller/issues/1871> and 2809: every reconcile asked AWS about everything,
/// and an account once throttled stayed so.
#[tokio::test(start_paused = true)]
async fn lbc_1871_a_throttled_account_is_asked_no_more_than_needed() {
    let (fake, rollout) = ready(true, &["https"]);
    let mut host = Host::new(&fake, rollout);
    fake.fail_always("write https", Fault::Transient);
    let began = Instant::now();
    let mut errors = Vec::new();
    while began.elapsed() < Duration::from_secs(600) {
        let Reconcile::Stopped(error) = host.reconcile(10).await else { panic!("it is not true") };
        errors.push(error);
    }
    errors.dedup();
    assert_eq!(errors.len(), 1, "one Event, counted: {errors:?}");
    // Nothing that is true is written again, and the host's own tries add none.
    let written = |rule: &str| fake.calls().iter().filter(|call| **call == format!("write {rule}")).count();
    assert_eq!(written("http"), 1);
    let seconds = usize::try_from(began.elapsed().as_secs()).unwrap();
    assert!((seconds / 10..=seconds).contains(&written("https")), "{} writes in {seconds} s", written("https"));
    fake.heal();
    host.reconcile_until_verified(10).await;
    assert_eq!(fake.shares(), [("http", 90, 10), ("https", 90, 10)]);
}

/// <https://github.com/argoproj-labs/rollouts-plugin-trafficrouter-gatewayapi/issues/95>: a route that was not there could not be
/// removed, on every reconcile again, and the host got no further.
#[tokio::test(start_paused = true)]
async fn gateway_api_95_routes_that_are_not_there_are_removed() {
    let (fake, rollout) = update(false);
    fake.replace("http", "new", &[("stable", 100), ("canary", 0)]);
    let router = router(&fake);
    for _ in 0..3 {
        router.remove_managed_routes(&rollout);
        router.set_header_route(&rollout, &HeaderRoute { name: "beta".to_owned(), matches: Vec::new() }).await.unwrap();
        router.set_mirror_route(&rollout, &MirrorRoute { name: "beta".to_owned(), matches: Vec::new() }).unwrap();
    }
    assert!(fake.calls().is_empty(), "{:?}", fake.calls());
}
