//! The plugin may ask the Kubernetes API for what it asks: by the role that Argo Rollouts publishes, or by `deploy/rbac.yaml`.

use std::collections::BTreeSet;
use std::time::{Duration, SystemTime};

use anyhow::{Context as _, Result};
use lab::kubernetes::{Cluster as Objects, Kind, KubernetesApi};
use serde_json::{Value, json};
use tokio::time::timeout;
use trafficrouter_alb::cluster::{Announcement, Api, Cluster as _, Event, HeaderCondition, Route};
use trafficrouter_alb::rollout::Metadata;

use super::{objects, only};

/// Longer than any wait that is meant to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the published role lets the controller do, as far as the plugin does it. Argo Rollouts
/// `manifests/role/argo-rollouts-clusterrole.yaml`: the same in 1.7.2, 1.8.5, 1.9.3 and 1.10.2.
const PUBLISHED: [(&str, &str, &[&str]); 10] = [
    ("", "services", &["get"]),
    ("", "pods", &["list"]),
    ("", "events", &["create", "patch"]),
    ("apps", "replicasets", &["list"]),
    ("networking.k8s.io", "ingresses", &["get", "list", "patch"]),
    ("argoproj.io", "rollouts", &["get", "list", "watch", "patch"]),
    ("argoproj.io", "rollouts/status", &["patch"]),
    ("argoproj.io", "analysisruns", &["get"]),
    ("argoproj.io", "experiments", &["get"]),
    ("elbv2.k8s.aws", "targetgroupbindings", &["list"]),
];

/// A verb, an API group and a resource, as a role names them.
type Right = (String, String, String);

fn right(verb: &str, group: &str, resource: &str) -> Right {
    (verb.to_owned(), group.to_owned(), resource.to_owned())
}

/// What `deploy/rbac.yaml` gives.
fn extra() -> Result<BTreeSet<Right>> {
    let manifest = objects("deploy/rbac.yaml")?;
    let role = only(&manifest, "ClusterRole")?;
    let binding = only(&manifest, "ClusterRoleBinding")?;
    assert_eq!(binding.pointer("/roleRef/name"), role.pointer("/metadata/name"));
    let texts = |rule: &Value, field: &str| -> Vec<String> {
        let texts = rule[field].as_array().into_iter().flatten();
        texts.filter_map(Value::as_str).map(str::to_owned).collect()
    };
    let mut rights = BTreeSet::new();
    for rule in role["rules"].as_array().context("rules")? {
        for group in texts(rule, "apiGroups") {
            for resource in texts(rule, "resources") {
                rights.extend(texts(rule, "verbs").iter().map(|verb| right(verb, &group, &resource)));
            }
        }
    }
    Ok(rights)
}

/// A Rollout in mid-update, past its deadline, at its one step.
fn rollout(step: &Value, canary: &Value) -> Value {
    let long_ago = humantime::format_rfc3339_seconds(SystemTime::now() - Duration::from_secs(120));
    let condition = json!({
        "type": "Progressing", "status": "True", "reason": "ReplicaSetUpdated", "lastUpdateTime": long_ago.to_string(),
    });
    json!({
        "metadata": {"name": "web", "namespace": "shop"},
        "spec": {
            "progressDeadlineAbort": true, "progressDeadlineSeconds": 60, "replicas": 1,
            "strategy": {"canary": {"steps": [step]}},
        },
        "status": {
            "currentStepIndex": 0, "stableRS": "old", "currentPodHash": "new", "conditions": [condition],
            "canary": canary,
        },
    })
}

/// The Ingress, its Services and nothing else.
fn fill(cluster: &Objects) -> Result<()> {
    let action = json!({"type": "forward", "forwardConfig": {"targetGroups": [
        {"serviceName": "web-stable", "servicePort": 80, "weight": 100},
        {"serviceName": "web-canary", "servicePort": 80, "weight": 0},
    ]}});
    let backend = json!({"service": {"name": "web", "port": {"name": "use-annotation"}}});
    let path = json!({"path": "/", "pathType": "Prefix", "backend": backend});
    cluster.create(
        Kind::INGRESS,
        json!({
            "metadata": {"name": "web", "namespace": "shop", "annotations": {
                "alb.ingress.kubernetes.io/actions.web": action.to_string(),
            }},
            "spec": {"rules": [{"http": {"paths": [path]}}]},
        }),
    )?;
    for name in ["web-stable", "web-canary"] {
        let spec = json!({"selector": {"app": "web"}, "ports": [{"port": 80, "targetPort": 8080}]});
        cluster.create(Kind::SERVICE, json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec}))?;
    }
    Ok(())
}

/// Everything that the plugin asks a cluster, once.
async fn ask_everything(cluster: &Objects, api: &Api) -> Result<()> {
    fill(cluster)?;
    api.backends("shop", "web-stable").await?;
    api.service("shop", "web-stable").await?;
    api.desired_pods("shop", "rollouts-pod-template-hash", "new").await?;
    api.bindings(Some("shop")).await?;
    api.bindings(None).await?;

    let step = json!({"experiment": {"templates": []}});
    let made = cluster.create(Kind::ROLLOUT, rollout(&step, &json!({"currentExperiment": "web-exp"})))?;
    let uid = made.pointer("/metadata/uid").and_then(Value::as_str).context("a uid")?;
    let known = api.rollout("shop", "web").await?.metadata;
    api.reason_to_abort("shop", "web").await?;
    let step = json!({"analysis": {"templates": [{"templateName": "errors"}]}});
    let run = json!({"name": "web-step", "status": "Running"});
    let canary = json!({"currentExperiment": null, "currentStepAnalysisRunStatus": run});
    cluster.merge_patch(Kind::ROLLOUT, "shop", "web", &rollout(&step, &canary))?;
    api.reason_to_abort("shop", "web").await?;
    cluster.merge_patch(Kind::ROLLOUT, "shop", "web", &rollout(&json!({"setWeight": 10}), &Value::Null))?;
    api.reason_to_abort("shop", "web").await?.context("the deadline is over")?;
    // What happened since is forgotten: it has to be listed.
    cluster.forget_changes();
    timeout(PATIENCE, api.next_rollout("shop", "web", &known.resource_version)).await??;
    api.abort("shop", "web", uid).await?;

    let about = Metadata { name: "web".to_owned(), namespace: "shop".to_owned(), uid: uid.to_owned(), ..known };
    let event = Event { warning: true, reason: "Held", message: "no healthy pods".to_owned() };
    api.tell(&about, &event).await?;
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(11)).await;
    tokio::time::resume();
    api.tell(&about, &event).await?;
    api.note(&about, "trafficrouter-alb/targets", "{}").await?;

    let prefix = "alb.ingress.kubernetes.io";
    api.ingresses("shop", prefix).await?;
    let ours = ["web-stable".to_owned(), "web-canary".to_owned()];
    let announcement = Announcement {
        prefix: prefix.to_owned(),
        rollout: "web".to_owned(),
        weights: ours.iter().cloned().zip([90, 10]).collect(),
        joining: Vec::new(),
        leaving: Vec::new(),
        root: None,
        stickiness: None,
    };
    api.announce("shop", "web", &announcement).await?;
    let beta = HeaderCondition { header: "x-beta".to_owned(), values: vec!["1".to_owned()], regex_values: Vec::new() };
    let route = Route { name: "beta".to_owned(), conditions: vec![beta], service: "web-canary".to_owned() };
    api.add_route("shop", "web", prefix, &ours, &route).await?;
    api.remove_routes("shop", "web", prefix, &["beta".to_owned()]).await?;
    Ok(())
}

#[tokio::test]
async fn what_the_plugin_asks_for_it_may() -> Result<()> {
    let cluster = Objects::default();
    let server = KubernetesApi::start(cluster.clone())?;
    let folder = tempfile::tempdir()?;
    let kubeconfig = folder.path().join("kubeconfig");
    std::fs::write(&kubeconfig, server.kubeconfig())?;
    ask_everything(&cluster, &Api::new(Some(kubeconfig))).await?;

    let mut asked = BTreeSet::new();
    for request in server.requests() {
        let plural = request.resource.split('/').next().unwrap_or_default();
        let groups: Vec<&str> = Kind::ALL.iter().filter(|kind| kind.plural == plural).map(|kind| kind.group).collect();
        // TargetGroupBindings are of two groups, and both are asked for.
        assert!(!groups.is_empty(), "{plural}");
        asked.extend(groups.into_iter().map(|group| right(&request.verb.to_string(), group, &request.resource)));
    }
    let published = PUBLISHED
        .iter()
        .flat_map(|(group, resource, verbs)| verbs.iter().map(move |verb| right(verb, group, resource)));
    let published: BTreeSet<Right> = published.collect();
    let extra = extra()?;
    // Neither more, nor less: what nobody asks for needs no right.
    assert_eq!(asked, published.union(&extra).cloned().collect());
    assert!(published.is_disjoint(&extra), "the extra rights are those that the published role lacks");
    Ok(())
}
