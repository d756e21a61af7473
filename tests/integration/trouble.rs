//! The real plugin while Kubernetes misbehaves, behind an Ingress that a load balancer controller follows.
//!
//! An update goes its way in the end, nothing that others wrote is lost, and what was wrong is said in words that help.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::Rule;
use lab::kubernetes::{Cluster as Objects, Effect, Fault, Kind, KubernetesApi, Verb};
use lab::load_balancer_controller::{LbcConfig, LoadBalancerController};
use lab::{Lab, LabConfig};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use crate::host::{self, Host, Program};
use crate::shop::{SECRET, plugin};

mod anew;
mod away;
mod others;
mod rights;

/// Longer than any wait that is meant to end.
const PATIENCE: Duration = Duration::from_secs(60);

const PREFIX: &str = "alb.ingress.kubernetes.io";

/// What tells Pods of one version from another's.
const HASH: &str = "rollouts-pod-template-hash";

/// How long a call may be held.
const BUDGET: &str = "12s";

/// A cluster with the Rollout `shop/web`, an AWS account, a load balancer controller between them, and a host with its plugin.
struct World {
    lab: Lab,
    objects: Objects,
    server: KubernetesApi,
    controller: LoadBalancerController,
    host: Host,
    folder: TempDir,
}

/// The Services of the shop: stable, canary, and the one that the Ingress's path names.
const SERVICES: [(&str, Option<&str>); 3] =
    [("web-stable", Some("stable")), ("web-canary", Some("canary")), ("web", None)];

/// The Ingress's action, as its author wrote it.
fn action(stable: u32, canary: u32) -> String {
    format!(
        r#"{{"type":"forward","forwardConfig":{{"targetGroups":[{{"serviceName":"web-stable","servicePort":80,"weight":{stable}}},{{"serviceName":"web-canary","servicePort":80,"weight":{canary}}}]}}}}"#
    )
}

fn path(path: &str) -> Value {
    let service = json!({"name": "web", "port": {"name": "use-annotation"}});
    json!({"path": path, "pathType": "Prefix", "backend": {"service": service}})
}

/// Waits for a condition that nothing reports.
async fn until<F: Future<Output = Result<bool>>>(what: &str, mut condition: impl FnMut() -> F) -> Result<()> {
    let held = async {
        while !condition().await? {
            sleep(Duration::from_millis(20)).await;
        }
        anyhow::Ok(())
    };
    timeout(PATIENCE, held).await.with_context(|| format!("waiting until {what}"))?
}

impl World {
    /// All of it, with a load balancer whose rule sends everything to stable, in the middle of an update.
    async fn open() -> Result<Self> {
        let world = Self::empty().await?;
        world.services()?;
        world.ingress(Some(&action(100, 0)))?;
        world.pods(true)?;
        world.rollout_object("stable", "canary")?;
        until("the load balancer is there", || async { Ok(world.shares().await? == ["/*: web-stable 100"]) }).await?;
        world.until_registered().await?;
        Ok(world)
    }

    /// A cluster without objects.
    async fn empty() -> Result<Self> {
        let lab = Lab::start(LabConfig::default()).await?;
        let objects = Objects::default();
        let server = KubernetesApi::start(objects.clone())?;
        let folder = tempfile::tempdir()?;
        std::fs::write(folder.path().join("kubeconfig"), server.kubeconfig())?;
        let controller =
            LoadBalancerController::start(objects.clone(), lab.control_plane().clone(), LbcConfig::idle(1));
        let host = start_host(&lab, &folder, BUDGET).await?;
        Ok(Self { lab, objects, server, controller, host, folder })
    }

    fn services(&self) -> Result<()> {
        for (name, hash) in SERVICES {
            let selector = hash.map_or_else(|| json!({"app": "web"}), |hash| json!({"app": "web", HASH: hash}));
            let spec = json!({"selector": selector, "ports": [{"port": 80, "targetPort": 8080}]});
            self.objects
                .create(Kind::SERVICE, json!({"metadata": {"name": name, "namespace": "shop"}, "spec": spec}))?;
        }
        Ok(())
    }

    /// The Ingress `web`, with an action or without one.
    fn ingress(&self, action: Option<&str>) -> Result<()> {
        let metadata = json!({"name": "web", "namespace": "shop", "annotations": {"team": "checkout"}});
        let spec = json!({"ingressClassName": "alb", "rules": [{"http": {"paths": [path("/")]}}]});
        self.objects.create(Kind::INGRESS, json!({"metadata": metadata, "spec": spec}))?;
        self.annotate(&format!("{PREFIX}/actions.web"), action)
    }

    /// Two Pods of each version; those of the canary may not be ready yet.
    fn pods(&self, canary_is_ready: bool) -> Result<()> {
        for (hash, ready, number) in [("stable", true, 1), ("canary", canary_is_ready, 3)] {
            let labels = json!({"app": "web", HASH: hash});
            let set = json!({"metadata": {"name": format!("web-{hash}"), "namespace": "shop", "labels": labels}, "spec": {"replicas": 2}});
            self.objects.create(Kind::REPLICA_SET, set)?;
            for number in [number, number + 1] {
                let object = json!({
                    "metadata": {"name": format!("web-{number}"), "namespace": "shop", "labels": labels},
                    "spec": {"nodeName": "node", "containers": [{"name": "web", "ports": [{"containerPort": 8080}]}]},
                    "status": status(number, ready),
                });
                self.objects.create(Kind::POD, object)?;
            }
        }
        Ok(())
    }

    fn canary_pods_are_ready(&self, ready: bool) -> Result<()> {
        for number in [3, 4] {
            let status = json!({"status": status(number, ready)});
            self.objects.merge_patch(Kind::POD, "shop", &format!("web-{number}"), &status)?;
        }
        Ok(())
    }

    /// The Rollout, with these versions.
    fn rollout_object(&self, stable: &str, current: &str) -> Result<()> {
        self.objects.create(Kind::ROLLOUT, host::rollout("shop", "web", &json!({})))?;
        let canary = json!({"trafficRouting": {"managedRoutes": [{"name": "beta"}]}});
        let patch = json!({
            "spec": {"replicas": 2, "strategy": {"canary": canary}},
            "status": {"stableRS": stable, "currentPodHash": current},
        });
        self.objects.merge_patch(Kind::ROLLOUT, "shop", "web", &patch)?;
        Ok(())
    }

    /// The Rollout as a host would hand it over now.
    fn rollout(&self) -> Result<Value> {
        Ok(Value::clone(&*self.objects.get(Kind::ROLLOUT, "shop", "web").context("the Rollout")?))
    }

    async fn set_weight(&self, weight: u32) -> Result<()> {
        self.host.set_weight(&self.rollout()?, weight).await?;
        Ok(())
    }

    /// The words of a call that fails.
    async fn error(&self, weight: u32) -> Result<String> {
        let failed = self.set_weight(weight).await.err();
        Ok(failed.context("it cannot succeed")?.to_string())
    }

    fn fault(&self, verb: Verb, resource: &str, effect: Effect) -> Result<()> {
        Ok(self.server.faults().add(Fault::new(verb, resource, effect))?)
    }

    /// How often this was asked for, such as `get rollouts`.
    fn asked(&self, what: &str) -> u64 {
        self.server.counts().get(what).copied().unwrap_or_default()
    }

    async fn until_asked(&self, what: &str) -> Result<()> {
        until(what, || async { Ok(self.asked(what) > 0) }).await
    }

    fn annotation(&self, key: &str) -> Result<Option<String>> {
        let ingress = self.objects.get(Kind::INGRESS, "shop", "web").context("the Ingress")?;
        let annotations = ingress.pointer("/metadata/annotations");
        Ok(annotations.and_then(|all| all.get(key)).and_then(Value::as_str).map(str::to_owned))
    }

    fn action(&self) -> Result<Option<String>> {
        self.annotation(&format!("{PREFIX}/actions.web"))
    }

    fn annotate(&self, key: &str, text: Option<&str>) -> Result<()> {
        let patch = json!({"metadata": {"annotations": {key: text}}});
        self.objects.merge_patch(Kind::INGRESS, "shop", "web", &patch)?;
        Ok(())
    }

    /// The Events of this reason.
    fn events(&self, reason: &str) -> Vec<Value> {
        let all = self.objects.list(Kind::EVENT, Some("shop")).0;
        all.iter()
            .filter(|event| event.get("reason").and_then(Value::as_str) == Some(reason))
            .map(|event| Value::clone(event))
            .collect()
    }

    fn client(&self) -> Client {
        crate::shop::client(&self.lab)
    }

    /// The rules by priority, but for default ones: their conditions, and the shares of the Services that have one.
    async fn shares(&self) -> Result<Vec<String>> {
        let client = self.client();
        let groups = self.groups().await?;
        let mut shown = Vec::new();
        for balancer in client.describe_load_balancers().send().await?.load_balancers() {
            let arn = balancer.load_balancer_arn().context("an ARN")?;
            for listener in client.describe_listeners().load_balancer_arn(arn).send().await?.listeners() {
                let arn = listener.listener_arn().context("an ARN")?;
                let rules = client.describe_rules().listener_arn(arn).send().await?;
                let mut rules: Vec<&Rule> =
                    rules.rules().iter().filter(|rule| rule.is_default() == Some(false)).collect();
                rules.sort_by_key(|rule| rule.priority().and_then(|text| text.parse::<u32>().ok()));
                shown.extend(rules.into_iter().map(|rule| describe(rule, &groups)));
            }
        }
        Ok(shown)
    }

    /// The Services of target groups, by ARN.
    async fn groups(&self) -> Result<BTreeMap<String, String>> {
        let client = self.client();
        let mut services = BTreeMap::new();
        for group in client.describe_target_groups().send().await?.target_groups() {
            let arn = group.target_group_arn().context("an ARN")?;
            let tagged = match client.describe_tags().resource_arns(arn).send().await {
                Ok(tagged) => tagged,
                // The controller has deleted it since the groups were listed.
                Err(error) if error.as_service_error().is_some_and(|why| why.is_target_group_not_found_exception()) => {
                    continue;
                }
                Err(error) => return Err(error.into()),
            };
            let tags = tagged.tag_descriptions().iter().flat_map(|one| one.tags());
            let resource = tags.into_iter().find(|tag| tag.key() == Some("ingress.k8s.aws/resource"));
            let resource = resource.and_then(|tag| tag.value()).unwrap_or_default();
            let service = resource.trim_start_matches("shop/web-").split(':').next().unwrap_or_default();
            services.insert(arn.to_owned(), service.to_owned());
        }
        Ok(services)
    }

    async fn until_shares(&self, wanted: &str) -> Result<()> {
        until(wanted, || async { Ok(self.shares().await? == [wanted]) }).await.with_context(|| self.story())
    }

    async fn until_registered(&self) -> Result<()> {
        until("targets are registered", || async { Ok(self.controller.binding_records().len() >= 2) }).await
    }

    /// What happened, for a test that failed.
    fn story(&self) -> String {
        let writes: Vec<String> = self.lab.journal().iter().map(|entry| format!("  {entry}")).collect();
        let runs: Vec<String> = self.controller.records().iter().map(|record| format!("  {record:?}")).collect();
        format!(
            "writes:\n{}\nruns:\n{}\nlog:\n{}\naction: {:?}",
            writes.join("\n"),
            runs.join("\n"),
            self.host.log().join("\n"),
            self.action()
        )
    }
}

async fn start_host(lab: &Lab, folder: &TempDir, budget: &str) -> Result<Host> {
    let kubeconfig = folder.path().join("kubeconfig");
    let args = [
        ["--kubeconfig", kubeconfig.to_str().context("a path")?],
        ["--block-budget", budget],
        ["--settle", "1s"],
        ["--echo-timeout", "20s"],
    ];
    let env = [
        ("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", lab.endpoint()),
        ("AWS_EC2_METADATA_DISABLED", "true"),
        ("AWS_ACCESS_KEY_ID", "lab"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ];
    let host = Host::start_as(Program::NEWEST, &plugin(), args.as_flattened(), &env)?;
    host.connect().await?;
    Ok(host)
}

fn status(number: u8, ready: bool) -> Value {
    json!({
        "phase": "Running", "podIP": format!("10.0.0.{number}"),
        "containerStatuses": [{"name": "web", "ready": ready, "image": "web", "imageID": "", "restartCount": 0}],
        "conditions": [{"type": "Ready", "status": if ready { "True" } else { "False" }}],
    })
}

/// Such as `/*: web-stable 90, web-canary 10`, in percent.
fn describe(rule: &Rule, services: &BTreeMap<String, String>) -> String {
    let conditions: Vec<String> = rule
        .conditions()
        .iter()
        .map(|condition| {
            let header = condition.http_header_config().and_then(|config| config.http_header_name());
            let path = condition.path_pattern_config().map(|config| config.values().join(" "));
            path.or_else(|| header.map(str::to_owned)).unwrap_or_default()
        })
        .collect();
    let forward = rule.actions().last().and_then(|action| action.forward_config());
    let groups = forward.map(|forward| forward.target_groups()).unwrap_or_default();
    let sum: i32 = groups.iter().filter_map(|group| group.weight()).sum();
    let shares: Vec<String> = groups
        .iter()
        .filter(|group| group.weight() > Some(0))
        .map(|group| {
            let service = services.get(group.target_group_arn().unwrap_or_default());
            format!("{} {}", service.map_or("?", String::as_str), group.weight().unwrap_or_default() * 100 / sum)
        })
        .collect();
    format!("{}: {}", conditions.join(" & "), shares.join(", "))
}

/// Two out of ten, say, as [`World::shares`] has it for the one path.
fn split(canary: u32) -> String {
    match canary {
        0 => "/*: web-stable 100".to_owned(),
        100 => "/*: web-canary 100".to_owned(),
        _ => format!("/*: web-stable {}, web-canary {canary}", 100 - canary),
    }
}

#[tokio::test]
async fn a_shift_without_trouble_ends_in_the_rule_and_in_the_ingress() -> Result<()> {
    let world = World::open().await?;
    for weight in [10, 60, 100] {
        world.set_weight(weight).await.with_context(|| world.story())?;
        assert_eq!(world.shares().await?, [split(weight)]);
        assert_eq!(world.action()?, Some(action(100 - weight, weight)));
        assert_eq!(world.host.verify_weight(&world.rollout()?, weight).await?, Some(true));
    }
    assert_eq!(world.annotation("team")?.as_deref(), Some("checkout"));
    Ok(())
}
