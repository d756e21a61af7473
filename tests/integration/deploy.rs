//! What `deploy/` tells people to use is what the plugin takes.

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::shop::{SECRET, Shop};

fn manifest(name: &str) -> Result<Value> {
    let text = std::fs::read_to_string(format!("deploy/{name}"))?;
    serde_saphyr::from_str(&text).with_context(|| format!("deploy/{name}"))
}

#[tokio::test]
async fn the_config_map_and_the_rollout_fit_the_plugin() -> Result<()> {
    let config = manifest("argo-rollouts-config.yaml")?;
    let plugins = config.pointer("/data/trafficRouterPlugins").and_then(Value::as_str).context("a list of plugins")?;
    let plugins: Value = serde_saphyr::from_str(plugins)?;
    let plugin = plugins.get(0).context("one plugin")?;
    let args: Vec<&str> = plugin["args"].as_array().context("args")?.iter().filter_map(Value::as_str).collect();
    let mut rollout = manifest("rollout.yaml")?;
    rollout["status"] = json!({"stableRS": "stable", "currentPodHash": "canary"});
    let routed = rollout.pointer("/spec/strategy/canary/trafficRouting/plugins").and_then(Value::as_object);
    assert_eq!(routed.context("plugins")?.keys().collect::<Vec<_>>(), [plugin["name"].as_str().context("a name")?]);

    // The lab has no such rules: all that can fail is that AWS does not know them.
    let shop = Shop::open().await?;
    let host = shop.host_with(&args, &[("AWS_ACCESS_KEY_ID", "lab"), ("AWS_SECRET_ACCESS_KEY", SECRET)]).await?;
    let error = host.set_weight(&rollout, 10).await.unwrap_err().to_string();
    assert!(error.contains("RuleNotFound"), "{error}");
    Ok(())
}

#[test]
fn the_policy_names_every_right_that_is_used() -> Result<()> {
    let policy = manifest("iam-policy.json")?;
    let mut rights: Vec<String> = Vec::new();
    for statement in policy["Statement"].as_array().context("statements")? {
        match &statement["Action"] {
            Value::Array(actions) => rights.extend(actions.iter().filter_map(Value::as_str).map(str::to_owned)),
            action => rights.extend(action.as_str().map(str::to_owned)),
        }
    }
    rights.sort();
    let used = [
        "DescribeListeners",
        "DescribeRules",
        "DescribeTargetGroups",
        "DescribeTargetHealth",
        "ModifyListener",
        "ModifyRule",
    ];
    assert_eq!(rights, used.map(|operation| format!("elasticloadbalancing:{operation}")));
    Ok(())
}
