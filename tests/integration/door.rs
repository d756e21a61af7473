//! The netrpc door, through Argo's own client code (1.10.2).

use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::host::{self, Host};
use crate::shop::{SECRET, Shop, example};

/// go-plugin gives an ended plugin two seconds before it kills it; we promise half of that.
const AFTER_KILL: Duration = Duration::from_secs(1);
/// How long a plugin may outlive a host that was killed.
const AFTER_HOST: Duration = Duration::from_secs(5);

#[tokio::test]
async fn every_method_answers() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    let rollout = shop.rollout();
    assert_eq!(host.connect().await?.result.version, 1);
    assert_eq!(host.call("InitPlugin", json!({})).await?.result, Value::Null);
    assert_eq!(host.call("Type", json!({})).await?.result, "alb");
    host.call("UpdateHash", json!({"rollout": rollout, "canaryHash": "canary", "stableHash": "stable"})).await?;
    for weight in [10, 60, 80, 90, 100, 0] {
        host.set_weight(&rollout, weight).await?;
        let shown = format!("{}:{weight}", 100 - weight);
        assert_eq!(shop.weights().await?, [shown.clone(), shown]);
        assert_eq!(host.verify_weight(&rollout, weight).await?, Some(true));
    }
    assert_eq!(host.verify_weight(&rollout, 50).await?, Some(false));
    host.call("RemoveManagedRoutes", json!({"rollout": rollout})).await?;
    let removal = json!({"rollout": rollout, "headerRoute": {"name": "beta"}, "mirrorRoute": {"name": "copy"}});
    host.call("SetHeaderRoute", removal.clone()).await?;
    host.call("SetMirrorRoute", removal).await?;
    let mut rollout = rollout;
    rollout["spec"]["strategy"]["canary"]["trafficRouting"]["managedRoutes"] = json!([{"name": "beta"}]);
    let route = json!({"rollout": rollout,
        "headerRoute": {"name": "beta", "match": [{"headerName": "x-beta", "headerValue": {"exact": "1"}}]},
        "mirrorRoute": {"name": "copy", "match": [{"path": {"prefix": "/"}}]}});
    let error = host.call("SetHeaderRoute", route.clone()).await.unwrap_err().to_string();
    assert!(error.contains("header route beta") && error.contains("shows its client secret to nobody"), "{error}");
    assert_eq!(shop.header_rules().await?, 0, "a route on one of two rules is none");
    let error = host.call("SetMirrorRoute", route).await.unwrap_err().to_string();
    assert!(error.contains("cannot mirror"), "{error}");
    Ok(())
}

#[tokio::test]
async fn an_unknown_method_is_answered_as_go_answers_it() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    let error = host.raw("Plugin.CanScaleDown", &shop.rollout()).await.unwrap_err().to_string();
    assert_eq!(error, "rpc: can't find method Plugin.CanScaleDown");
    let error = host.raw("Nobody.Ping", &shop.rollout()).await.unwrap_err().to_string();
    assert_eq!(error, "rpc: can't find service Nobody.Ping");
    // The argument is an interface of another type than the method takes.
    let error = host.raw("Plugin.SetWeight", &shop.rollout()).await.unwrap_err().to_string();
    assert!(error.contains("invalid args RemoveManagedRoutesArgs"), "{error}");
    host.set_weight(&shop.rollout(), 10).await?;
    Ok(())
}

#[tokio::test]
async fn a_hundred_calls_in_parallel() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    let calls = json!({"rollout": shop.rollout(), "weight": 10});
    let spread = host.load("SetWeight", calls.clone(), 100, 100).await?.result;
    assert_eq!((spread.runs, spread.errors.len()), (100, 0), "{:?}", spread.errors);
    let spread = host.load("VerifyWeight", calls, 1000, 10).await?.result;
    assert_eq!((spread.runs, spread.errors.len()), (1000, 0), "{:?}", spread.errors);
    assert_eq!(shop.weights().await?, ["90:10", "90:10"]);
    Ok(())
}

#[tokio::test]
async fn a_rollout_of_three_megabytes() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    let mut rollout = shop.rollout();
    let annotations: Value = (0..3000).map(|number| (format!("note-{number}"), json!("x".repeat(1024)))).collect();
    rollout["metadata"]["annotations"] = annotations;
    let spread = host.load("SetWeight", json!({"rollout": rollout, "weight": 10}), 10, 10).await?.result;
    assert_eq!(spread.errors.len(), 0, "{:?}", spread.errors);
    assert_eq!(shop.weights().await?, ["90:10", "90:10"]);
    Ok(())
}

/// The host closes a connection on which any stream was not acknowledged within 75 s, and one that does not answer its
/// keepalives, every 30 s. So the wait itself is the test.
#[tokio::test]
async fn eighty_idle_seconds() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    host.set_weight(&shop.rollout(), 10).await?;
    sleep(Duration::from_secs(80)).await;
    host.set_weight(&shop.rollout(), 60).await?;
    let complaints: Vec<String> = host.log().into_iter().filter(|line| line.contains("yamux")).collect();
    assert!(complaints.is_empty(), "{complaints:?}");
    assert!(host.kill().await?.result.clean);
    Ok(())
}

#[tokio::test]
async fn kill_ends_the_plugin_cleanly_and_its_socket_is_gone() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    let sockets = host.sockets()?;
    assert_eq!(sockets.len(), 1);
    assert_eq!(sockets[0].metadata()?.permissions().mode() & 0o777, 0o600);
    let killed = host.kill().await?;
    assert_eq!(killed.result.failure, None, "it ended by itself, with exit status 0");
    assert!(killed.result.clean, "go-plugin has nothing to complain of");
    assert!(killed.took < AFTER_KILL, "{:?}", killed.took);
    assert_eq!(host.sockets()?, Vec::<PathBuf>::new());
    Ok(())
}

#[tokio::test]
async fn kill_does_not_wait_for_a_call() -> Result<()> {
    let shop = Shop::open().await?;
    let host =
        shop.host_with(&["--allow", "shop=*"], &[("AWS_ACCESS_KEY_ID", "lab"), ("AWS_SECRET_ACCESS_KEY", SECRET)]);
    let host = host.await?;
    shop.lab.faults().add(lab::Fault::throttling("*"))?;
    let rollout = shop.rollout();
    let held = host.set_weight(&rollout, 10);
    tokio::pin!(held);
    let mut served = tokio::time::interval(Duration::from_millis(10));
    while !shop.lab.counts().contains_key("DescribeRules") {
        tokio::select! {
            answer = &mut held => panic!("it should be held: {answer:?}"),
            _ = served.tick() => {}
        }
    }
    let killed = host.kill().await?;
    assert_eq!(killed.result.failure, None);
    assert!(killed.result.clean);
    assert!(killed.took < 2 * AFTER_KILL, "{:?}", killed.took);
    assert!(held.await.is_err());
    Ok(())
}

#[tokio::test]
async fn a_killed_host_takes_the_plugin_with_it() -> Result<()> {
    let shop = Shop::open().await?;
    let mut host = shop.host().await?;
    let pid = host.connect().await?.result.pid;
    host.sigkill().await?;
    timeout(AFTER_HOST, host::ended(pid)).await??;
    assert_eq!(host.sockets()?, Vec::<PathBuf>::new());
    Ok(())
}

#[tokio::test]
async fn sigint_is_the_hosts_and_sigterm_ends_the_plugin() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    let pid = host.connect().await?.result.pid.to_string();
    let send = async |signal: &str| Command::new("kill").args([signal, &pid]).status().await;
    assert!(send("-INT").await?.success());
    host.set_weight(&shop.rollout(), 10).await?;
    assert!(send("-TERM").await?.success());
    assert_eq!(host.wait_exit().await?.failure, None);
    assert_eq!(host.sockets()?, Vec::<PathBuf>::new());
    Ok(())
}

#[tokio::test]
async fn log_lines_reach_the_hosts_log_at_their_level_and_without_secrets() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    host.set_weight(&shop.rollout(), 10).await?;
    host.log_line(&["[INFO]  plugin.alb: weights written", "rollout=shop/web", &shop.arns.http_rule]).await?;
    host.log_line(&["[INFO]  plugin.alb: weights confirmed on every rule", "canary=10"]).await?;
    let stranger = host::rollout("other", "web", &json!({"stableTargetGroupArn": shop.arns.stable}));
    host.set_weight(&stranger, 10).await.unwrap_err();
    host.log_line(&["[WARN]  plugin.alb: ", "canaryTargetGroupArn is missing", "rollout=other/web"]).await?;
    host.kill().await?;
    assert!(!host.log().concat().contains(SECRET));
    Ok(())
}

#[tokio::test]
async fn a_panic_fails_its_call_and_nothing_else() -> Result<()> {
    let host = Host::start(&example("panicking_plugin"), &[], &[])?;
    host.connect().await?;
    let fine = host::rollout("shop", "web", &json!({}));
    let panicking = host::rollout("shop", "panic", &json!({}));
    let (one, other) = tokio::join!(host.set_weight(&panicking, 10), host.set_weight(&fine, 10));
    let error = one.unwrap_err().to_string();
    assert!(error.contains("Plugin.SetWeight panicked in the plugin"), "{error}");
    other?;
    host.log_line(&["[ERROR] plugin.alb: panic: asked to"]).await?;
    host.set_weight(&fine, 10).await?;
    assert!(host.kill().await?.result.clean);
    Ok(())
}

#[tokio::test]
async fn arguments_that_cannot_be_used_are_said_by_every_call() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host_with(&["--alow", "shop=*"], &[]).await?;
    let error = host.set_weight(&shop.rollout(), 10).await.unwrap_err().to_string();
    assert!(error.contains("argo-rollouts-config") && error.contains("--allow"), "{error}");
    host.log_line(&["[ERROR] plugin.alb: the arguments in argo-rollouts-config cannot be used"]).await?;
    Ok(())
}
