//! What is true for the load balancer's API is not yet true for its nodes.

use super::super::*;
use super::SETTLE;
use super::host::{Host, Reconcile, configure, ping_pong, ready};

/// <https://github.com/argoproj/argo-rollouts/issues/4595>: ping-pong and dynamicStableScale, with every check that there was. The
/// nodes followed seconds after the API, and the Pods were gone by then.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_4595_pods_stay_until_the_slowest_node_has_followed() {
    let (fake, rollout) = ping_pong(true);
    let mut host = Host::new(&fake, rollout);
    for weight in [10, 60, 80, 90, 100] {
        host.reconcile_until_verified(weight).await;
        let canary = u32::try_from(weight).unwrap();
        assert_eq!(fake.weights_at_a_node("http", SETTLE), [canary, 100 - canary]);
    }
    host.change(|rollout| {
        "new".clone_into(&mut rollout.status.stable_rs);
        "ping".clone_into(&mut rollout.status.canary.stable_ping_pong);
    });
    host.reconcile_until_verified(0).await;
    assert_eq!(fake.weights_at_a_node("http", SETTLE), [100, 0]);
}

/// <https://github.com/argoproj/argo-rollouts/issues/4926>, with 4925 and 4337: people asked for a delay of their own choice before
/// dynamicStableScale lets Pods go. `settleSeconds` is one, for every step.
#[tokio::test(start_paused = true)]
async fn argo_rollouts_4926_every_step_waits_as_long_as_its_author_wants() {
    const WANTED: Duration = Duration::from_secs(120);
    let (fake, mut rollout) = ready(true, &["https"]);
    configure(&mut rollout, &json!({"settleSeconds": WANTED.as_secs()}));
    let mut host = Host::new(&fake, rollout);
    for weight in [10, 60, 80, 90, 100] {
        let began = Instant::now();
        let before = host.stable_pods();
        while let Reconcile::Stopped(error) = host.reconcile(weight).await {
            assert!(error.contains("must stay true for 120 s"), "{error}");
            assert_eq!(host.stable_pods(), before);
        }
        assert!((WANTED..WANTED + BUDGET).contains(&began.elapsed()), "{:?}", began.elapsed());
        let canary = u32::try_from(weight).unwrap();
        for rule in ["http", "https"] {
            assert_eq!(fake.weights_at_a_node(rule, WANTED), [100 - canary, canary]);
        }
    }
    assert_eq!(host.stable_pods(), 0);
}
