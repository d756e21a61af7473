//! A plain raise, as a host sees it, beside the calls of AWS's SDK that it cannot do without: one ModifyRule and one
//! DescribeRules that begins after it. `make bench-shift` runs this on the static binary.
//!
//! Each contender has a lab of its own, and they take turns. Times are printed and not asserted; the calls of a raise are counted.

use std::collections::BTreeMap;
use std::net::SocketAddrV4;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum, ForwardActionConfig, TargetGroupTuple};
use lab::kubernetes::{Cluster, Kind, KubernetesApi};
use lab::scenario::register;
use serde_json::{Value, json};
use tokio::time::{Instant, interval};

use crate::host::{self, Host};
use crate::shop::{SECRET, Shop};

/// Raises of each contender, from 1 to so many percent.
const RAISES: u32 = 60;
/// AWS lets an account write three times a second, and the plugin keeps to that. A raise that waits for it is no plain one.
const PACE: Duration = Duration::from_millis(500);
/// Pods of each version.
const PODS: u8 = 4;

/// What AWS is asked in one raise.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Asked {
    modify_rule: u64,
    describe_rules: u64,
    describe_target_health: u64,
    /// Calls of any name.
    all: u64,
}

impl Asked {
    fn so_far(shop: &Shop) -> Self {
        let counts = shop.lab.counts();
        let of = |operation: &str| counts.get(operation).map_or(0, |count| count.calls);
        Self {
            modify_rule: of("ModifyRule"),
            describe_rules: of("DescribeRules"),
            describe_target_health: of("DescribeTargetHealth"),
            all: counts.values().map(|count| count.calls).sum(),
        }
    }

    fn since(self, before: Self) -> Self {
        Self {
            modify_rule: self.modify_rule - before.modify_rule,
            describe_rules: self.describe_rules - before.describe_rules,
            describe_target_health: self.describe_target_health - before.describe_target_health,
            all: self.all - before.all,
        }
    }
}

/// A plugin that raises the weight of one rule.
struct Contender {
    shop: Shop,
    kubernetes: KubernetesApi,
    _kubeconfig: tempfile::NamedTempFile,
    host: Host,
    rollout: Value,
    took: Vec<Duration>,
    asked: Vec<Asked>,
    /// What Kubernetes is asked in each raise, by verb and resource.
    asked_kubernetes: Vec<BTreeMap<String, u64>>,
}

impl Contender {
    async fn start(gates: bool) -> Result<Self> {
        let (kubernetes, kubeconfig) = pods()?;
        let path = kubeconfig.path().to_str().context("a path of a temporary file is text")?;
        let binary =
            PathBuf::from(std::env::var("DIST_BINARY").context("DIST_BINARY names no binary: run `make bench-shift`")?);
        let shop = Shop::open().await?;
        for (group, pods) in [(&shop.arns.stable, 1), (&shop.arns.canary, 101)] {
            let targets: Vec<SocketAddrV4> =
                (pods..pods + PODS).map(|pod| SocketAddrV4::new(address(pod).into(), 8080)).collect();
            register(&shop.lab, group, &targets)?;
        }
        let env = [
            ("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", shop.lab.endpoint()),
            ("AWS_ACCESS_KEY_ID", "lab"),
            ("AWS_SECRET_ACCESS_KEY", SECRET),
            ("KUBECONFIG", path),
        ];
        let host = Host::start(&binary, &["--allow", "shop=*"], &env)?;
        host.connect().await?;
        let entry = json!({
            "stableTargetGroupArn": shop.arns.stable, "canaryTargetGroupArn": shop.arns.canary,
            "ruleArns": [shop.arns.http_rule], "gates": {"rising": gates, "promotion": gates},
        });
        let mut rollout = host::rollout("shop", "web", &entry);
        let dynamic = rollout.pointer_mut("/spec/strategy/canary/dynamicStableScale").context("the Rollout says so")?;
        *dynamic = json!(false);
        Ok(Self {
            shop,
            kubernetes,
            _kubeconfig: kubeconfig,
            host,
            rollout,
            took: Vec::new(),
            asked: Vec::new(),
            asked_kubernetes: Vec::new(),
        })
    }

    async fn raise(&mut self, weight: u32) -> Result<()> {
        let before = Asked::so_far(&self.shop);
        let before_in_kubernetes = self.kubernetes.counts();
        self.took.push(self.host.set_weight(&self.rollout, weight).await?);
        self.asked.push(Asked::so_far(&self.shop).since(before));
        let mut asked_kubernetes = self.kubernetes.counts();
        for (request, count) in &mut asked_kubernetes {
            *count -= before_in_kubernetes.get(request).unwrap_or(&0);
        }
        asked_kubernetes.retain(|_, count| *count > 0);
        self.asked_kubernetes.push(asked_kubernetes);
        assert_eq!(self.shop.weights_of(&self.shop.arns.http_rule).await?, format!("{}:{weight}", 100 - weight));
        Ok(())
    }
}

#[tokio::test]
#[ignore = "run by make bench-shift, on the binary of make dist"]
async fn shift() -> Result<()> {
    let mut gated = Contender::start(true).await?;
    let mut open = Contender::start(false).await?;
    let plain = Shop::open().await?;
    let client = plain.client();
    let mut bare = Vec::new();

    let mut pace = interval(PACE);
    for weight in 1..=RAISES {
        pace.tick().await;
        bare.push(bare_calls(&client, &plain, weight).await?);
        gated.raise(weight).await?;
        open.raise(weight).await?;
    }

    println!("{:32}{:>12}{:>12}{:>12}", "a raise of one rule, ms", "p50", "p90", "p99");
    for (name, took) in
        [("the SDK's two calls", &mut bare), ("gates off", &mut open.took), ("gates on", &mut gated.took)]
    {
        // The first raise waits for clients that are made when they are needed.
        let first = took.remove(0);
        took.sort();
        let [p50, p90, p99] = [50, 90, 99].map(|percent| milliseconds(took[took.len() * percent / 100]));
        println!("{name:32}{p50:>12.2}{p90:>12.2}{p99:>12.2}   the first {:.2}", milliseconds(first));
    }
    println!(
        "{RAISES} raises each, in turns; calls of a raise: {:?} with gates off, {:?} with gates on",
        open.asked[1], gated.asked[1]
    );
    // One look to see what is to be done, one with the rule's lock, and one that proves the write.
    let looks = Asked { modify_rule: 1, describe_rules: 3, describe_target_health: 0, all: 4 };
    assert_eq!(open.asked, vec![looks; RAISES as usize]);
    // Only the group that gets more is looked at.
    let looks = Asked { describe_target_health: 1, all: 5, ..looks };
    assert_eq!(gated.asked, vec![looks; RAISES as usize]);
    // A gate asks for the Service and its Pods. Which Nodes are not ready is known for a while.
    let looks = BTreeMap::from(["get services", "list pods"].map(|request| (request.to_owned(), 1)));
    for asked in &mut gated.asked_kubernetes {
        asked.remove("list nodes");
    }
    assert_eq!(gated.asked_kubernetes, vec![looks; RAISES as usize]);
    assert_eq!(open.asked_kubernetes, vec![BTreeMap::new(); RAISES as usize]);
    Ok(())
}

/// What nobody can do without who changes a rule and proves it.
async fn bare_calls(client: &Client, shop: &Shop, weight: u32) -> Result<Duration> {
    let held = |group: &str, weight: u32| {
        TargetGroupTuple::builder().target_group_arn(group).weight(i32::try_from(weight).unwrap_or_default()).build()
    };
    let forward = ForwardActionConfig::builder()
        .target_groups(held(&shop.arns.stable, 100 - weight))
        .target_groups(held(&shop.arns.canary, weight))
        .build();
    let forward = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(forward).build();
    let began = Instant::now();
    client.modify_rule().rule_arn(&shop.arns.http_rule).actions(forward).send().await?;
    client.describe_rules().rule_arns(&shop.arns.http_rule).send().await?;
    Ok(began.elapsed())
}

/// A Kubernetes API with both Services and their Pods, and its kubeconfig.
fn pods() -> Result<(KubernetesApi, tempfile::NamedTempFile)> {
    let cluster = Cluster::default();
    for (service, hash, pods) in [("web-stable", "stable", 1), ("web-canary", "canary", 101)] {
        let labels = json!({"app": "web", "rollouts-pod-template-hash": hash});
        cluster.create(
            Kind::SERVICE,
            json!({
                "metadata": {"name": service, "namespace": "shop"},
                "spec": {"selector": labels, "ports": [{"port": 80, "targetPort": 8080}]},
            }),
        )?;
        for pod in pods..pods + PODS {
            let ip = address(pod).map(|part| part.to_string()).join(".");
            cluster.create(
                Kind::POD,
                json!({
                    "metadata": {"name": format!("web-{pod}"), "namespace": "shop", "labels": labels},
                    "spec": {"containers": [{"name": "web", "ports": [{"containerPort": 8080}]}]},
                    "status": {
                        "phase": "Running", "podIP": ip,
                        "containerStatuses": [
                            {"name": "web", "ready": true, "image": "web", "imageID": "", "restartCount": 0},
                        ],
                    },
                }),
            )?;
        }
    }
    let server = KubernetesApi::start(cluster)?;
    let kubeconfig = tempfile::NamedTempFile::new()?;
    std::fs::write(kubeconfig.path(), server.kubeconfig())?;
    Ok((server, kubeconfig))
}

/// The address of a Pod. Nobody sends it anything.
fn address(pod: u8) -> [u8; 4] {
    [127, 0, 0, pod]
}

fn milliseconds(took: Duration) -> f64 {
    took.as_secs_f64() * 1e3
}
