//! A controller that starts anew with many Rollouts, each with an entry of `{}` behind an Ingress: what finding everything costs,
//! and what the calls after that cost. AWS throttles as it does. `make bench-many` runs this on the static binary.
//!
//! Times are printed and not asserted. That no call fails is, and that AWS throttles nobody: a plugin that must be throttled to be
//! slow enough takes from everybody else in the account.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use lab::kubernetes::{Cluster, Kind, KubernetesApi};
use lab::load_balancer_controller::{ClientLimits, LbcConfig, LoadBalancerController};
use lab::{BucketSizes, Lab, LabConfig};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep, timeout};

use crate::host::{self, Host};
use crate::measure::resident;
use crate::shop::SECRET;

/// Namespaces, each with a load balancer of its own.
const TEAMS: usize = 10;
/// Rollouts in each.
const ROLLOUTS: usize = 20;
/// How many Rollouts a controller works on at a time (`--rollout-threads`).
const AT_A_TIME: usize = 10;
/// Longer than the load balancer controller needs for all.
const PATIENCE: Duration = Duration::from_secs(300);

/// What was asked since somebody last looked.
struct Asked {
    aws: BTreeMap<String, u64>,
    refused: u64,
    kubernetes: BTreeMap<String, u64>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "run by make bench-many, on the binary of make dist"]
async fn many() -> Result<()> {
    let binary =
        PathBuf::from(std::env::var("DIST_BINARY").context("DIST_BINARY names no binary: run `make bench-many`")?);
    let lab = Lab::start(LabConfig { rules_per_load_balancer: 100, ..LabConfig::default() }).await?;
    let objects = Cluster::default();
    let server = KubernetesApi::start(objects.clone())?;
    let kubeconfig = tempfile::NamedTempFile::new()?;
    std::fs::write(kubeconfig.path(), server.kubeconfig())?;
    let config = LbcConfig { limits: ClientLimits::Off, ..LbcConfig::idle(1) };
    let controller = LoadBalancerController::start(objects.clone(), lab.control_plane().clone(), config);
    let mut rollouts = rollouts(&objects)?;
    let bound = async {
        while objects.list(Kind::TARGET_GROUP_BINDING, None).0.len() < 2 * rollouts.len() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, bound).await.context("the load balancer controller did not bind all groups")?;
    drop(controller);

    let path = kubeconfig.path().to_str().context("a path of a temporary file is text")?;
    println!("{} Rollouts on {TEAMS} load balancers, {AT_A_TIME} calls at a time", rollouts.len());
    // After a first install the host does not record that the weights were verified.
    for verified in [true, false] {
        lab.set_buckets(Some(BucketSizes::default()));
        let env = [
            ("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", lab.endpoint()),
            ("AWS_ACCESS_KEY_ID", "lab"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("KUBECONFIG", path),
        ];
        let host = Host::start(&binary, &[], &env)?;
        let pid = host.connect().await?.result.pid;
        for rollout in &mut rollouts {
            let known = rollout.pointer_mut("/status/canary/weights/verified").context("weights are recorded")?;
            *known = json!(verified);
        }
        println!("recorded as verified: {verified}");
        let mut before = so_far(&lab, &server);
        for round in ["all anew", "all again"] {
            let began = Instant::now();
            let calls = stream::iter(&rollouts).map(|rollout| host.set_weight(rollout, 0));
            let mut took: Vec<Duration> = calls.buffer_unordered(AT_A_TIME).try_collect().await?;
            let whole = began.elapsed();
            took.sort();
            let [p50, p99] = [50, 99].map(|percent| took[took.len() * percent / 100].as_secs_f64() * 1e3);
            let now = so_far(&lab, &server);
            let asked = now.since(&before);
            before = now;
            println!("  {round}: {whole:.1?}, a call p50 {p50:.1} ms, p99 {p99:.1} ms, {:.1} MB", resident(pid)? / 1e3);
            println!("    AWS: {:?}, throttled {}", asked.aws, asked.refused);
            println!("    Kubernetes: {:?}", asked.kubernetes);
            ensure!(asked.refused == 0, "AWS throttled {} calls", asked.refused);
        }
        host.kill().await?;
    }
    Ok(())
}

/// The Rollouts, at rest, with all that is about them in the cluster.
fn rollouts(objects: &Cluster) -> Result<Vec<Value>> {
    let mut rollouts = Vec::new();
    for team in 0..TEAMS {
        let namespace = format!("team-{team}");
        for number in 0..ROLLOUTS {
            let name = format!("web-{number}");
            for (service, hash) in [("stable", Some("stable")), ("canary", Some("stable")), ("root", None)] {
                let labels = match hash {
                    Some(hash) => json!({"app": name, "rollouts-pod-template-hash": hash}),
                    None => json!({"app": name}),
                };
                let spec = json!({"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]});
                let metadata = json!({"namespace": namespace, "name": format!("{name}-{service}")});
                objects.create(Kind::SERVICE, json!({"metadata": metadata, "spec": spec}))?;
            }
            objects.create(Kind::INGRESS, ingress(&namespace, &name))?;
            let mut rollout = host::rollout(&namespace, &name, &json!({}));
            let recorded = |service: &str, weight: u32| json!({"serviceName": format!("{name}-{service}"), "podTemplateHash": "stable", "weight": weight});
            let status =
                rollout.get_mut("status").and_then(Value::as_object_mut).context("the Rollout has a status")?;
            status.insert("currentPodHash".to_owned(), json!("stable"));
            let weights = json!({"canary": recorded("canary", 0), "stable": recorded("stable", 100), "verified": true});
            status.insert("canary".to_owned(), json!({"weights": weights}));
            objects.create(Kind::ROLLOUT, rollout)?;
            let stored = objects.get(Kind::ROLLOUT, &namespace, &name).context("the Rollout is there")?;
            rollouts.push(Value::clone(&stored));
        }
    }
    Ok(rollouts)
}

fn ingress(namespace: &str, name: &str) -> Value {
    let group = |service: &str, weight: u32| json!({"serviceName": format!("{name}-{service}"), "servicePort": 80, "weight": weight});
    let action = json!({
        "type": "forward",
        "forwardConfig": {"targetGroups": [group("stable", 100), group("canary", 0)]},
    });
    let backend = json!({"service": {"name": format!("{name}-root"), "port": {"name": "use-annotation"}}});
    json!({
        "metadata": {
            "namespace": namespace, "name": name,
            "annotations": {
                "alb.ingress.kubernetes.io/group.name": namespace,
                format!("alb.ingress.kubernetes.io/actions.{name}-root"): action.to_string(),
            },
        },
        "spec": {"ingressClassName": "alb", "rules": [{
            "host": format!("{name}.{namespace}.example.com"),
            "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]},
        }]},
    })
}

fn so_far(lab: &Lab, server: &KubernetesApi) -> Asked {
    let counts = lab.counts();
    Asked {
        refused: counts.values().map(|count| count.refused).sum(),
        aws: counts.into_iter().map(|(operation, count)| (operation, count.calls)).collect(),
        kubernetes: server.counts(),
    }
}

impl Asked {
    fn since(&self, before: &Self) -> Self {
        let less = |now: &BTreeMap<String, u64>, before: &BTreeMap<String, u64>| {
            let counted = now.iter().map(|(what, count)| (what.clone(), count - before.get(what).unwrap_or(&0)));
            counted.filter(|(_, count)| *count > 0).collect()
        };
        Self {
            aws: less(&self.aws, &before.aws),
            refused: self.refused - before.refused,
            kubernetes: less(&self.kubernetes, &before.kubernetes),
        }
    }
}
