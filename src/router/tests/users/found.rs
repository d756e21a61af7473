//! Every rule that is concerned is found, and nothing else is touched.

use super::super::gates::{OLD, after};
use super::super::*;
use super::SETTLE;
use super::host::{Host, Reconcile, configure, ping_pong, ready};
use crate::alb::{BucketSize, Shared};

/// <https://github.com/argoproj/argo-rollouts/issues/2471>, with 709, 710 and 2639: with several ingresses the host stopped at the
/// first one that needed no change, and the later ones kept their weights.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_2471_a_rule_that_is_right_already_hides_no_other() {
    let (fake, rollout) = ready(true, &["https", "new"]);
    fake.set("http", &[("stable", 90), ("canary", 10)]);
    let mut host = Host::new(&fake, rollout);
    assert_eq!(host.router.verify_weight(&host.rollout, 10, &[]).await, Verification::NotVerified);
    fake.fail_always("write new", Fault::Transient);
    assert!(matches!(host.reconcile(10).await, Reconcile::Stopped(_)));
    fake.heal();
    host.reconcile_until_verified(10).await;
    assert_eq!(fake.shares(), [("http", 90, 10), ("https", 90, 10), ("new", 90, 10)]);
}

/// <https://github.com/argoproj/argo-rollouts/issues/2998>: one Service behind several actions, of which one got the weights. The
/// check of the weights compared whichever rule came last.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_2998_every_rule_with_both_groups_is_shifted_one_that_comes_late_too() {
    let (fake, mut rollout) = ready(true, &[]);
    configure(&mut rollout, &json!({"ruleArns": null}));
    fake.set("a", &[("canary", 0), ("stable", 1)]);
    fake.set("b", &[("canary", 100)]);
    let mut host = Host::new(&fake, rollout);
    let (answer, ()) = tokio::join!(
        host.reconcile(10),
        after(SETTLE.as_secs() / 2, || fake.set("c", &[("stable", 100), ("canary", 0)]))
    );
    assert_eq!(answer, Reconcile::GoesOn(Verification::Verified));
    assert_eq!(fake.shares(), [("a", 90, 10), ("b", 0, 100), ("c", 90, 10), ("http", 90, 10)]);
    assert_eq!(fake.weights_at_a_node("c", SETTLE), [90, 10]);
}

/// <https://github.com/argoproj/argo-rollouts/issues/1963>: the load balancer was looked for by its name among all of the region, and
/// beyond the 300th it was not found.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_1963_the_rules_are_found_by_their_groups_however_many_others_there_are() {
    let (fake, mut rollout) = ready(true, &[]);
    configure(&mut rollout, &json!({"ruleArns": null}));
    for number in 0..400 {
        fake.set(&format!("other-{number}"), &[(&format!("other-{number}"), 1)]);
    }
    let mut host = Host::new(&fake, rollout);
    assert_eq!(host.reconcile(10).await, Reconcile::GoesOn(Verification::Verified));
    assert_eq!((fake.weights("http"), fake.weights("other-399")), (vec![90, 10], vec![1]));
    assert_eq!(fake.most_rules_at_once(), 1, "the others are nobody's concern");
}

/// <https://github.com/argoproj/argo-rollouts/issues/2569>: AWS takes 20 ARNs in a call, and the host asked about more.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_2569_more_rules_than_a_call_takes_are_all_shifted() {
    let names: Vec<String> = (0..45).map(|number| format!("rule-{number}")).collect();
    let (fake, rollout) = ready(true, &names.iter().map(String::as_str).collect::<Vec<_>>());
    let mut host = Host::new(&fake, rollout);
    let shared = Arc::new(Shared::new(Arc::clone(&fake) as Arc<dyn LoadBalancer>, BucketSize::MODIFY));
    host.router = Router::new(Ok(settings()), shared, Arc::clone(&fake) as Arc<dyn Cluster>);
    host.reconcile_until_verified(10).await;
    assert!(names.iter().all(|name| fake.weights(name) == [90, 10]));
    assert_eq!(fake.most_rules_at_once(), 20);
}

/// <https://github.com/argoproj/argo-rollouts/issues/1572>: the action was written anew, and what its owner had put there was lost.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_1572_groups_of_others_keep_their_place_and_their_share() {
    let (fake, rollout) = ready(true, &[]);
    fake.set("http", &[("before", 30), ("canary", 0), ("between", 0), ("stable", 200), ("after", 70)]);
    let mut host = Host::new(&fake, rollout);
    for (weight, weights) in [(10, [30, 20, 0, 180, 70]), (100, [30, 200, 0, 0, 70]), (0, [30, 0, 0, 200, 70])] {
        host.reconcile_until_verified(weight).await;
        assert_eq!(fake.weights("http"), weights);
    }
}

/// <https://github.com/argoproj/argo-rollouts/issues/4184>: after a promotion with ping-pong stable and canary were mixed up. And
/// 3628: with stableService and canaryService beside pingPong, the two of ping-pong count.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_4184_with_ping_pong_the_roles_change_and_traffic_stays() {
    let (fake, rollout) = ping_pong(true);
    let mut host = Host::new(&fake, rollout);
    host.reconcile_until_verified(100).await;
    assert_eq!(fake.weights("http"), [100, 0]);
    // Promoted: ping is stable now, and the weight 0 is pong's.
    host.change(|rollout| {
        "new".clone_into(&mut rollout.status.stable_rs);
        "ping".clone_into(&mut rollout.status.canary.stable_ping_pong);
    });
    fake.forget_calls();
    host.reconcile_until_verified(0).await;
    assert_eq!(fake.weights("http"), [100, 0]);
    assert!(!fake.calls().iter().any(|call| call.starts_with("write")), "{:?}", fake.calls());
    // The next version is tried in pong.
    fake.select("web-pong", "newest", OLD);
    host.change(|rollout| "newest".clone_into(&mut rollout.status.current_pod_hash));
    host.reconcile_until_verified(10).await;
    assert_eq!(fake.weights("http"), [90, 10]);
}
