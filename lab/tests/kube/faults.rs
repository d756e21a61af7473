//! Bad days, as a client lives through them.

use std::io::ErrorKind;
use std::time::Duration;

use kube::api::ListParams;
use lab::kubernetes::{Effect, Fault, InvalidFault, Kind, Verb};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::{PATIENCE, World, merge, page, refusal};

async fn with_a_rollout() -> World {
    let world = World::new().await;
    world.put(Kind::ROLLOUT, "shop", json!({}));
    world
}

/// Opens a connection, as a client does before anything else.
async fn connect(endpoint: &str) -> std::io::Result<TcpStream> {
    TcpStream::connect(endpoint.strip_prefix("http://").expect("plain HTTP")).await
}

#[tokio::test]
async fn no_role_allows_it() {
    let world = with_a_rollout().await;
    world.api.faults().add(Fault::new(Verb::Patch, "rollouts/status", Effect::Forbidden)).expect("a sound fault");
    let rollouts = world.of(Kind::ROLLOUT);
    merge(&rollouts, "shop", json!({"metadata": {"labels": {"a": "b"}}})).await.expect("another resource");
    let patch = kube::api::Patch::Merge(json!({"status": {"abort": true}}));
    let (code, reason, message) = refusal(rollouts.patch_status("shop", &Default::default(), &patch)).await;
    assert_eq!((code, reason.as_str()), (403, "Forbidden"));
    assert_eq!(
        message,
        "rollouts.argoproj.io \"shop\" is forbidden: User \"lab\" cannot patch resource \"rollouts/status\" in API group \
         \"argoproj.io\" in the namespace \"shop\""
    );
    world.api.faults().clear();
    rollouts.patch_status("shop", &Default::default(), &patch).await.expect("a good day");
}

#[tokio::test]
async fn too_many_requests_and_other_refusals() {
    let world = with_a_rollout().await;
    let (faults, rollouts) = (world.api.faults(), world.of(Kind::ROLLOUT));
    let throttled = Effect::TooManyRequests { retry_after_seconds: 7 };
    faults.add(Fault::new(Verb::Get, "rollouts", throttled).times(1)).expect("a sound fault");
    match rollouts.get("shop").await {
        Err(kube::Error::Api(status)) => {
            assert_eq!((status.code, status.reason.as_str()), (429, "TooManyRequests"));
            assert_eq!(status.details.expect("details").retry_after_seconds, 7);
        }
        other => panic!("not throttled: {other:?}"),
    }
    faults.add(Fault::everywhere(Effect::InternalError).times(1)).expect("a sound fault");
    assert_eq!(refusal(rollouts.list(&ListParams::default())).await.0, 500);

    faults.add(Fault::new(Verb::Patch, "rollouts", Effect::Conflict).times(1)).expect("a sound fault");
    let patch = json!({"metadata": {"annotations": {"a": "b"}}});
    assert_eq!(refusal(merge(&rollouts, "shop", patch.clone())).await.1, "Conflict");
    merge(&rollouts, "shop", patch).await.expect("only the next one conflicts");
    assert_eq!(faults.list(), [], "used up");
    let statuses: Vec<u16> = world.api.requests().iter().map(|request| request.status).collect();
    assert_eq!(statuses, [429, 500, 409, 200]);
}

#[tokio::test]
async fn a_slow_answer_and_one_that_never_comes() {
    let world = with_a_rollout().await;
    let (faults, rollouts) = (world.api.faults(), world.of(Kind::ROLLOUT));
    faults.add(Fault::everywhere(Effect::Delay { ms: 30 }).times(1)).expect("a sound fault");
    let asked = Instant::now();
    rollouts.get("shop").await.expect("late, but well");
    assert!(asked.elapsed() >= Duration::from_millis(30));

    faults.add(Fault::new(Verb::Patch, "rollouts", Effect::CutAfterEffect).times(1)).expect("a sound fault");
    let error = merge(&rollouts, "shop", json!({"spec": {"replicas": 3}})).await.expect_err("no answer");
    assert!(!matches!(error, kube::Error::Api(_)), "{error:?}");
    assert_eq!(rollouts.get("shop").await.expect("it is there").data["spec"]["replicas"], 3, "it took effect");
}

#[tokio::test]
async fn a_server_that_is_away_refuses_connections_and_comes_back_with_its_objects() {
    let world = with_a_rollout().await;
    let (faults, rollouts) = (world.api.faults(), world.of(Kind::ROLLOUT));
    rollouts.get("shop").await.expect("a good day");
    for _ in 0..3 {
        faults.go_away().await;
        let error = rollouts.get("shop").await.expect_err("nobody is there");
        assert!(!matches!(error, kube::Error::Api(_)), "{error:?}");
        let refused = connect(world.api.endpoint()).await.expect_err("nobody is there");
        assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
        faults.come_back().await;
        rollouts.get("shop").await.expect("on the same port");
    }
}

/// Returns when nobody takes connections there; somebody else may have got the port in between.
async fn refuses(endpoint: &str) {
    let refused = async {
        while connect(endpoint).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    timeout(PATIENCE, refused).await.expect("it has stopped");
}

#[tokio::test]
async fn a_stopped_server_is_gone_for_good() {
    let world = with_a_rollout().await;
    let (faults, endpoint) = (world.api.faults(), world.api.endpoint().to_owned());
    world.api.shutdown().await;
    faults.come_back().await;
    refuses(&endpoint).await;
}

#[tokio::test]
async fn a_dropped_server_stops() {
    let World { api, client, cluster } = with_a_rollout().await;
    let endpoint = api.endpoint().to_owned();
    drop((api, client));
    refuses(&endpoint).await;
    assert!(cluster.get(Kind::ROLLOUT, "shop", "shop").is_some(), "the objects are not the server's");
}

#[tokio::test]
async fn bad_days_are_switched_over_http_too() {
    let world = with_a_rollout().await;
    let (client, rollouts) = (&world.client, world.of(Kind::ROLLOUT));
    let fault = json!({"verb": "get", "resource": "rollouts", "effect": "forbidden"});
    page(client, "POST", "/lab/faults", fault).await.expect("a sound fault");
    assert_eq!(refusal(rollouts.get("shop")).await.0, 403);
    let listed = page(client, "GET", "/lab/faults", Value::Null).await.expect("a page");
    let listed: Vec<Fault> = serde_json::from_str(&listed).expect("faults");
    assert_eq!(listed, [Fault::new(Verb::Get, "rollouts", Effect::Forbidden)]);
    page(client, "DELETE", "/lab/faults", Value::Null).await.expect("a page");
    rollouts.get("shop").await.expect("a good day");

    let unknown = json!({"resource": "secrets", "effect": "forbidden"});
    page(client, "POST", "/lab/faults", unknown).await.expect_err("nothing to meet");
    let error =
        world.api.faults().add(Fault::new(Verb::Get, "secrets", Effect::Forbidden)).expect_err("nothing to meet");
    assert_eq!(error, InvalidFault::UnknownResource("secrets".to_owned()));

    let log = page(client, "GET", "/lab/requests", Value::Null).await.expect("a page");
    let log: Value = serde_json::from_str(&log).expect("JSON");
    assert_eq!(log["counts"], json!({"get rollouts": 2}));
    assert_eq!((&log["requests"][0]["verb"], &log["requests"][0]["status"]), (&json!("get"), &json!(403)));
}

#[tokio::test]
async fn an_outage_ends_by_itself() {
    let world = with_a_rollout().await;
    let outage = json!({"after_ms": 0, "for_ms": 1});
    // It may break its own answer.
    let _ = page(&world.client, "POST", "/lab/outage", outage).await;
    let rollouts = world.of(Kind::ROLLOUT);
    let answers = async { while rollouts.get("shop").await.is_err() {} };
    timeout(PATIENCE, answers).await.expect("it is back");
}
