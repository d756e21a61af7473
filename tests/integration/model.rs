//! The lab's model of the rollouts controller with the real plugin behind its gRPC door.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::kubernetes::{Cluster, Kind};
use lab::rollouts_controller::{Controller, PluginProcess, TrafficRouter as _};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::shop::{SECRET, Shop, plugin};

/// Longer than any wait that is meant to end.
const PATIENCE: Duration = Duration::from_secs(60);

async fn start(shop: &Shop) -> Result<PluginProcess> {
    let environment = [
        ("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", shop.lab.endpoint()),
        ("AWS_ACCESS_KEY_ID", "lab"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
        ("AWS_EC2_METADATA_DISABLED", "true"),
    ];
    PluginProcess::start(&plugin(), ["--allow", "shop=*", "--log-level", "debug"], &environment).await
}

#[tokio::test]
async fn the_plugin_answers_every_call_and_ends_when_told_to() -> Result<()> {
    let shop = Shop::open().await?;
    let plugin = start(&shop).await?;
    let rollout = shop.rollout();
    assert_eq!(plugin.r#type().await?, "alb");
    plugin.remove_managed_routes(&rollout).await?;
    plugin.update_hash(&rollout, "canary", "stable").await?;
    plugin.set_weight(&rollout, 40).await?;
    assert_eq!(shop.weights().await?, ["60:40", "60:40"]);
    assert_eq!(plugin.verify_weight(&rollout, 40).await?, Some(true));
    assert_eq!(plugin.verify_weight(&rollout, 50).await?, Some(false));
    let mut without_entry = rollout.clone();
    without_entry["spec"]["strategy"]["canary"]["trafficRouting"] = json!({ "plugins": {} });
    let error = plugin.set_weight(&without_entry, 50).await.unwrap_err().to_string();
    assert!(error.contains("shop/web"), "{error}");

    let mut log = plugin.log();
    let said = |lines: &Vec<String>| lines.iter().any(|line| line.contains("UpdateHash"));
    timeout(PATIENCE, log.wait_for(said)).await.context("the log has no line of the call")??;
    assert!(plugin.stop().await?.success());
    let error = plugin.set_weight(&rollout, 50).await.unwrap_err().to_string();
    assert!(error.contains("call to the plugin failed"), "{error}");
    assert_eq!(plugin.verify_weight(&rollout, 50).await?, Some(false), "a call that failed is a no");
    Ok(())
}

#[tokio::test]
async fn what_is_no_plugin_is_named() -> Result<()> {
    for (program, problem) in [("/no/such/plugin", "cannot start the plugin"), ("/bin/true", "does not speak gRPC")] {
        let error = PluginProcess::start(Path::new(program), [""; 0], &[]).await.unwrap_err();
        assert!(format!("{error:#}").contains(problem), "{error:#}");
    }
    Ok(())
}

#[tokio::test]
async fn an_update_of_the_model_goes_through_the_real_plugin() -> Result<()> {
    let shop = Shop::open().await?;
    let plugin = Arc::new(start(&shop).await?);
    let cluster = Cluster::default();
    for service in ["web-stable", "web-canary"] {
        let metadata = json!({ "namespace": "shop", "name": service });
        cluster.create(Kind::SERVICE, json!({ "metadata": metadata, "spec": { "selector": { "app": "web" } } }))?;
    }
    let mut rollout = shop.rollout();
    rollout["status"] = json!({});
    cluster.create(Kind::ROLLOUT, rollout)?;
    let controller = Controller::new(cluster.clone(), "shop", "web", Arc::<PluginProcess>::clone(&plugin));
    let tasks = [tokio::spawn(pods_at_once(cluster.clone())), tokio::spawn(async { Ok(controller.run().await?) })];

    until_healthy(&cluster).await?;
    let before = shop.lab.journal().len();
    let version = json!({ "spec": { "template": { "metadata": { "annotations": { "version": "2" } } } } });
    cluster.merge_patch(Kind::ROLLOUT, "shop", "web", &version)?;
    until_healthy(&cluster).await?;
    let writes = shop.writes_since(before);
    let weights = writes.iter().filter_map(|entry| entry.change(&shop.arns.http_rule)?.weights_after.as_ref());
    let canary: Vec<u16> = weights.filter_map(|weights| weights.get(&shop.arns.canary)).copied().collect();
    assert_eq!(canary, [10, 60, 80, 90, 100, 0]);
    assert_eq!(cluster.list(Kind::EVENT, None).0, Vec::<Arc<Value>>::new(), "nothing was to be warned of");
    for task in tasks {
        task.abort();
    }
    assert!(plugin.stop().await?.success());
    Ok(())
}

/// Pods that are available as soon as they are asked for.
async fn pods_at_once(cluster: Cluster) -> Result<()> {
    let mut version = cluster.version();
    loop {
        for set in cluster.list(Kind::REPLICA_SET, None).0 {
            let pods = set.pointer("/spec/replicas");
            let status = json!({ "status": { "replicas": pods, "availableReplicas": pods } });
            let name = set.pointer("/metadata/name").and_then(Value::as_str).context("a ReplicaSet has a name")?;
            cluster.merge_patch(Kind::REPLICA_SET, "shop", name, &status)?;
        }
        version.changed().await?;
    }
}

/// Waits until the newest version is stable and its traffic comes through the stable Service.
async fn until_healthy(cluster: &Cluster) -> Result<()> {
    let mut version = cluster.version();
    let met =
        version.wait_for(|_| cluster.get(Kind::ROLLOUT, "shop", "web").is_some_and(|rollout| is_healthy(&rollout)));
    let last = || format!("the Rollout is not healthy: {:?}", cluster.get(Kind::ROLLOUT, "shop", "web"));
    timeout(PATIENCE, met).await.with_context(last)??;
    Ok(())
}

fn is_healthy(rollout: &Value) -> bool {
    let text = |path: &str| rollout.pointer(path).and_then(Value::as_str).map(str::to_owned);
    let generation = rollout.pointer("/metadata/generation").map(Value::to_string);
    text("/status/phase").as_deref() == Some("Healthy")
        && text("/status/observedGeneration") == generation
        && rollout.pointer("/status/canary/weights/canary/weight") == Some(&json!(0))
}
