//! Every host plays the same scenario: the controllers of four releases, and one that offers both doors.

use std::time::Duration;

use anyhow::Result;
use lab::Fault;
use serde_json::json;
use tokio::time::{interval, timeout};

use crate::host::Program;
use crate::scenario;
use crate::shop::{SECRET, Shop};

/// Longer than what goes on without its caller may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Plays the scenario on the door that this host and the plugin agree on, and ends the plugin.
async fn plays(program: Program, version: u32) -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host_as(program).await?;
    assert_eq!(host.connect().await?.result.version, version);
    scenario::play(&shop, &host).await?;
    let killed = host.kill().await?.result;
    assert!(killed.clean && killed.failure.is_none(), "{killed:?}");
    assert!(host.sockets()?.is_empty());
    Ok(())
}

#[tokio::test]
async fn the_controller_of_1_7_plays_the_scenario() -> Result<()> {
    plays(Program::argo("argo-1.7.2"), 1).await
}

#[tokio::test]
async fn the_controller_of_1_8_plays_the_scenario() -> Result<()> {
    plays(Program::argo("argo-1.8.5"), 1).await
}

#[tokio::test]
async fn the_controller_of_1_9_plays_the_scenario() -> Result<()> {
    plays(Program::argo("argo-1.9.3"), 1).await
}

#[tokio::test]
async fn the_controller_of_1_10_plays_the_scenario() -> Result<()> {
    plays(Program::NEWEST, 1).await
}

#[tokio::test]
async fn a_host_that_lists_version_1_alone_gets_netrpc() -> Result<()> {
    plays(Program::both_doors(&["-versions=1"]), 1).await
}

#[tokio::test]
async fn a_host_that_lists_version_2_too_gets_grpc() -> Result<()> {
    plays(Program::both_doors(&[]), 2).await
}

#[tokio::test]
async fn grpc_with_certificates() -> Result<()> {
    plays(Program::both_doors(&["-mtls"]), 2).await
}

#[tokio::test]
async fn grpc_over_one_connection() -> Result<()> {
    plays(Program::both_doors(&["-multiplex"]), 2).await
}

#[tokio::test]
async fn grpc_over_one_connection_with_certificates() -> Result<()> {
    plays(Program::both_doors(&["-multiplex", "-mtls"]), 2).await
}

#[tokio::test]
async fn netrpc_with_certificates() -> Result<()> {
    plays(Program::both_doors(&["-versions=1", "-mtls"]), 1).await
}

#[tokio::test]
async fn the_operator_overrides_the_negotiation() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.start(Program::both_doors(&[]), &["--door", "netrpc"], &[]).await?;
    assert_eq!(host.connect().await?.result.version, 1);
    assert_eq!(host.call("Type", json!({})).await?.result, "alb");
    Ok(())
}

#[tokio::test]
async fn grpc_calls_in_parallel() -> Result<()> {
    for flags in [&[][..], &["-multiplex", "-mtls"]] {
        let shop = Shop::open().await?;
        let host = shop.host_as(Program::both_doors(flags)).await?;
        let calls = json!({"rollout": shop.rollout(), "weight": 10});
        let spread = host.load("SetWeight", calls.clone(), 100, 100).await?.result;
        assert_eq!((spread.runs, spread.errors.len()), (100, 0), "{flags:?}: {:?}", spread.errors);
        let spread = host.load("VerifyWeight", calls, 1000, 10).await?.result;
        assert_eq!((spread.runs, spread.errors.len()), (1000, 0), "{flags:?}: {:?}", spread.errors);
        assert_eq!(shop.weights().await?, ["90:10", "90:10"]);
    }
    Ok(())
}

/// The host sends all of a Rollout, also what our messages have no field for, such as annotations.
#[tokio::test]
async fn large_rollouts_over_grpc() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host_as(Program::both_doors(&[])).await?;
    let with_annotations = |kilobytes: usize| {
        let mut rollout = shop.rollout();
        let notes = (0..kilobytes).map(|number| (format!("note-{number}"), json!("x".repeat(1024))));
        rollout["metadata"]["annotations"] = notes.collect();
        rollout
    };
    let three_megabytes = json!({"rollout": with_annotations(3 << 10), "weight": 10});
    let spread = host.load("SetWeight", three_megabytes, 10, 10).await?.result;
    assert_eq!(spread.errors.len(), 0, "{:?}", spread.errors);
    assert_eq!(shop.weights().await?, ["90:10", "90:10"]);
    let error = host.set_weight(&with_annotations(17 << 10), 60).await.unwrap_err().to_string();
    assert!(error.contains("code = OutOfRange"), "{error}");
    host.set_weight(&shop.rollout(), 60).await?;
    Ok(())
}

#[tokio::test]
async fn an_unknown_grpc_method_is_unimplemented() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host_as(Program::both_doors(&[])).await?;
    let method = "/rollouts.trafficrouter.v1.TrafficRouter/CanScaleDown";
    let error = host.raw(method, &shop.rollout()).await.unwrap_err().to_string();
    assert!(error.contains("code = Unimplemented"), "{error}");
    host.set_weight(&shop.rollout(), 10).await?;
    Ok(())
}

#[tokio::test]
async fn a_call_that_the_host_gave_up_is_carried_on() -> Result<()> {
    let shop = Shop::open().await?;
    let credentials = [("AWS_ACCESS_KEY_ID", "lab"), ("AWS_SECRET_ACCESS_KEY", SECRET)];
    let host = shop.start(Program::both_doors(&[]), &["--allow", "shop=*"], &credentials).await?;
    shop.lab.faults().add(Fault::throttling("ModifyRule"))?;
    let hurried = json!({"rollout": shop.rollout(), "weight": 10, "deadlineMillis": 3000});
    let error = host.call("SetWeight", hurried).await.unwrap_err().to_string();
    assert!(error.contains("code = DeadlineExceeded"), "{error}");
    assert!(shop.lab.counts().contains_key("ModifyRule"), "the shift had begun");
    shop.lab.faults().clear();
    let mut ticks = interval(Duration::from_millis(20));
    let done = async {
        while shop.weights().await? != ["90:10", "90:10"] {
            ticks.tick().await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, done).await?
}
