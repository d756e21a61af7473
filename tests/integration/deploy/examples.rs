//! The examples hold together, and the real plugin reads each of their entries.

use anyhow::{Context as _, Result, ensure};
use lab::kubernetes::{Cluster as Objects, Kind, KubernetesApi};
use serde_json::{Value, json};

use super::{example_files, objects, only, plugin_item, text};
use crate::shop::{SECRET, Shop};

/// What a Rollout says to the plugin.
const PLUGINS: &str = "/spec/strategy/canary/trafficRouting/plugins";

/// The error is about the entry itself, or about what the operator has not allowed, and not about the world around it.
fn is_of_the_entry(error: &str, plugin: &str) -> bool {
    error.contains(&format!("plugin entry {plugin}:")) || error.contains("has not allowed")
}

fn name(object: &Value) -> &str {
    object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default()
}

/// The ConfigMap of the example, or the one for all that bring none.
fn item_for(example: &[Value]) -> Result<Value> {
    match example.iter().find(|object| object["kind"] == "ConfigMap") {
        Some(config) => plugin_item(config),
        None => plugin_item(only(&objects("deploy/argo-rollouts-config.yaml")?, "ConfigMap")?),
    }
}

/// The Services of a Rollout that get its traffic.
fn services_of(rollout: &Value) -> Vec<&str> {
    let canary = |field: &str| rollout.pointer(&format!("/spec/strategy/canary/{field}")).and_then(Value::as_str);
    ["stableService", "canaryService", "pingPong/pingService", "pingPong/pongService"]
        .into_iter()
        .filter_map(canary)
        .collect()
}

/// A number, or the name, of one of the Service's ports.
fn has_port(service: &Value, port: &Value) -> bool {
    let ports = service.pointer("/spec/ports").and_then(Value::as_array);
    ports.is_some_and(|ports| ports.iter().any(|one| one["port"] == *port || one["name"] == *port))
}

#[test]
fn what_an_example_refers_to_is_in_it() -> Result<()> {
    for file in example_files()? {
        let example = objects(&file)?;
        let about = file.display();
        let service =
            |wanted: &str| example.iter().find(|object| object["kind"] == "Service" && name(object) == wanted);
        let rollout = only(&example, "Rollout")?;
        let labels = rollout.pointer("/spec/template/metadata/labels");
        let ours = services_of(rollout);
        assert_eq!(ours.len(), 2, "{about}");
        for wanted in &ours {
            let found = service(wanted).with_context(|| format!("{about}: Service {wanted}"))?;
            assert_eq!(found.pointer("/spec/selector"), labels, "{about}: {wanted}");
        }

        // The one entry of the Rollout has the name that the ConfigMap gives to the plugin.
        let routing = rollout.pointer(PLUGINS).and_then(Value::as_object).context("plugins")?;
        assert_eq!(routing.keys().collect::<Vec<_>>(), [item_for(&example)?["name"].as_str().context("a name")?]);

        for ingress in example.iter().filter(|object| object["kind"] == "Ingress") {
            let backend = ingress.pointer("/spec/rules/0/http/paths/0/backend/service").context("a backend")?;
            assert_eq!(backend["port"]["name"], "use-annotation", "{about}");
            let action = backend["name"].as_str().context("a name")?;
            let action = &ingress["metadata"]["annotations"][format!("alb.ingress.kubernetes.io/actions.{action}")];
            let action: Value = serde_json::from_str(action.as_str().context("an action")?)?;
            let groups = action.pointer("/forwardConfig/targetGroups").and_then(Value::as_array).context("groups")?;
            let named: Vec<&str> = groups.iter().filter_map(|group| group["serviceName"].as_str()).collect();
            assert_eq!(named, ours, "{about}");
            for group in groups {
                let found = group["serviceName"].as_str().and_then(service).context("the action's Service")?;
                ensure!(has_port(found, &group["servicePort"]), "{about}: {group}");
            }
            assert_eq!(groups.iter().map(|group| group["weight"].clone()).collect::<Vec<_>>(), [100, 0], "{about}");
        }
        for binding in example.iter().filter(|object| object["kind"] == "TargetGroupBinding") {
            let reference = binding.pointer("/spec/serviceRef").context("a Service")?;
            let found = reference["name"].as_str().and_then(service).context("the binding's Service")?;
            ensure!(has_port(found, &reference["port"]), "{about}: {reference}");
        }
        let steps = rollout.pointer("/spec/strategy/canary/steps").and_then(Value::as_array).context("steps")?;
        let managed = &rollout.pointer(PLUGINS.trim_end_matches("/plugins")).context("a routing")?["managedRoutes"];
        for route in steps.iter().filter_map(|step| step.pointer("/setHeaderRoute/name")) {
            let managed = managed.as_array().context("managedRoutes")?;
            ensure!(managed.iter().any(|one| one["name"] == *route), "{about}: {route} is not managed");
        }
    }
    Ok(())
}

/// What Terraform makes cannot be read here; what matters most can.
#[test]
fn terraform_leaves_the_weights_to_the_plugin() -> Result<()> {
    let main = text("deploy/examples/terraform/main.tf")?;
    let rule =
        main.split("\nresource ").find(|block| block.starts_with("\"aws_lb_listener_rule\"")).context("a rule")?;
    ensure!(rule.contains("ignore_changes = [action]"), "{rule}");
    for role in ["stable", "canary"] {
        ensure!(rule.contains(&format!("aws_lb_target_group.web[\"{role}\"].arn")), "{rule}");
    }
    for service in services_of(only(&objects("deploy/examples/terraform/rollout.yaml")?, "Rollout")?) {
        let role = service.strip_prefix("web-").context("a role")?;
        ensure!(main.contains(&format!("\"{role}\"")), "{service}");
    }
    Ok(())
}

/// AWS is a lab that has nothing of it, and the cluster has the example's objects alone. What fails then must not be the entry.
async fn read_by_the_plugin(file: &std::path::Path) -> Result<()> {
    let about = file.display();
    let example = objects(file)?;
    let cluster = Objects::default();
    for object in &example {
        let kind = Kind::ALL.into_iter().find(|kind| {
            object["kind"] == kind.kind && object["apiVersion"].as_str() == Some(kind.api_version().as_str())
        });
        if let Some(kind) = kind {
            cluster.create(kind, object.clone())?;
        }
    }
    let server = KubernetesApi::start(cluster)?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig())?;
    let kubeconfig = kubeconfig.to_str().context("a path")?;

    let item = item_for(&example)?;
    let args = item.get("args").and_then(Value::as_array).context("args")?;
    let mut args: Vec<&str> = args.iter().filter_map(Value::as_str).collect();
    args.extend(["--kubeconfig", kubeconfig, "--block-budget", "1s"]);
    let shop = Shop::open().await?;
    let host = shop.host_with(&args, &[("AWS_ACCESS_KEY_ID", "lab"), ("AWS_SECRET_ACCESS_KEY", SECRET)]).await?;
    let plugin = item.get("name").and_then(Value::as_str).context("a name")?;
    let mut rollout = only(&example, "Rollout")?.clone();
    let status = json!({"stableRS": "stable", "currentPodHash": "canary"});
    rollout.as_object_mut().context("an object")?.insert("status".to_owned(), status);
    // The maximum is never answered by a success before it is true.
    let error = host.set_weight(&rollout, 100).await.err().with_context(|| format!("{about}: no rule was there"))?;
    let error = error.to_string();
    ensure!(!is_of_the_entry(&error, plugin), "{about}: {error}");
    // Where ARNs are given, by the entry or by a binding, it was AWS who did not know them.
    let arns = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:targetgroup/";
    if example.iter().any(|object| object.to_string().contains(arns)) {
        ensure!(error.contains("RuleNotFound") || error.contains("TargetGroupNotFound"), "{about}: {error}");
    }

    // And an entry that is wrong would have been seen.
    let entry = rollout.pointer_mut(PLUGINS).and_then(|plugins| plugins.get_mut(plugin)?.as_object_mut());
    entry.context("an entry")?.insert("zzz".to_owned(), json!(1));
    let error =
        host.set_weight(&rollout, 100).await.err().with_context(|| format!("{about}: zzz was read"))?.to_string();
    let is_named = error.contains("`zzz` is not a key of this plugin");
    ensure!(is_of_the_entry(&error, plugin) && is_named, "{about}: {error}");
    Ok(())
}

#[tokio::test]
async fn the_plugin_reads_every_example() -> Result<()> {
    let files = example_files()?;
    assert_eq!(files.len(), 8, "{files:?}");
    let read = files.iter().map(|file| read_by_the_plugin(file));
    let problems: Vec<String> = futures_util::future::join_all(read)
        .await
        .into_iter()
        .filter_map(|read| Some(read.err()?.to_string()))
        .collect();
    assert_eq!(problems, Vec::<String>::new());
    Ok(())
}
