//! Many Rollouts, each with a rule, two target groups, two Services and Pods of its own.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde_json::json;
use tokio::sync::watch;

use super::super::*;
use crate::alb::fake_aws::{FakeAws, group, rule};
use crate::alb::{RuleArn, TargetGroupArn, WeightedGroup};
use crate::cluster::{self, Announcement, Backends, Binding, Cluster, Event, Ingress, Pod, Route, Service};
use crate::rollout::Metadata;

/// So many Pods stand behind each Service, and their group says that they are healthy.
const PODS: u8 = 10;

/// Where a Rollout is.
#[derive(Clone, Copy, Debug)]
pub(super) enum At {
    /// Fully promoted, weight 0.
    Rest,
    /// The same, but the host did not record that the weight was verified.
    Installed,
    /// In mid-update at weight 20, confirmed and recorded, with dynamicStableScale.
    Step,
    /// A new version has its Pods, and no weight yet.
    Begin,
    /// Given up at weight 20.
    Abort,
}

#[derive(Debug)]
pub(super) struct Town {
    pub(super) aws: Arc<FakeAws>,
    rollouts: Vec<watch::Sender<Rollout>>,
}

impl Town {
    pub(super) fn of(count: usize, seed: u64, place: impl Fn(usize) -> At) -> Self {
        let rules = (0..count).map(|number| {
            let canary = match place(number) {
                At::Rest | At::Installed | At::Begin => 0,
                At::Step | At::Abort => 20,
            };
            let held = |group: TargetGroupArn, weight| WeightedGroup { group, weight };
            (rule(number), vec![held(stable(number), 100 - canary), held(tried(number), canary)])
        });
        let aws = FakeAws::with_rules(rules, seed);
        aws.state().delay = 10..30;
        let rollouts = (0..count).map(|number| watch::Sender::new(rollout(number, place(number)))).collect();
        Self { aws, rollouts }
    }

    pub(super) fn rollout_now(&self, number: usize) -> Rollout {
        self.rollouts[number].borrow().clone()
    }

    /// The version behind a Service.
    fn selector(&self, service: &str) -> BTreeMap<String, String> {
        let (web, role) = service.rsplit_once('-').unwrap();
        let number: usize = web.trim_start_matches("web-").parse().unwrap();
        let status = self.rollout_now(number).status;
        let hash = if role == "stable" { status.stable_rs } else { status.current_pod_hash };
        [("rollouts-pod-template-hash".to_owned(), hash)].into()
    }

    /// The Rollouts whose rules were written, in that order.
    pub(super) fn written(&self) -> Vec<usize> {
        let written = self.aws.state().written.clone();
        written.iter().map(number_of).collect()
    }
}

/// Calls that AWS has seen, throttled ones among them.
#[derive(Clone, Copy, Debug)]
pub(super) struct Calls {
    pub(super) looks: usize,
    pub(super) targets: usize,
    pub(super) around: usize,
    pub(super) writes: usize,
    pub(super) throttled: usize,
}

impl Calls {
    pub(super) fn all(self) -> usize {
        self.looks + self.targets + self.around + self.writes
    }
}

impl Town {
    pub(super) fn calls(&self) -> Calls {
        let state = self.aws.state();
        Calls {
            looks: state.looks.len(),
            targets: state.looks_at_targets,
            around: state.looks_around,
            writes: state.written.len(),
            throttled: state.throttled,
        }
    }
}

fn stable(number: usize) -> TargetGroupArn {
    group(2 * number)
}

fn tried(number: usize) -> TargetGroupArn {
    group(2 * number + 1)
}

fn number_of(rule: &RuleArn) -> usize {
    rule.as_str().rsplit('/').next().unwrap().parse().unwrap()
}

fn rollout(number: usize, at: At) -> Rollout {
    let (stable_hash, weight, recorded, abort, dynamic) = match at {
        At::Rest | At::Installed => ("new", 0, "new", false, true),
        At::Step => ("old", 20, "new", false, true),
        // What is recorded is about the version before.
        At::Begin => ("old", 0, "old", false, false),
        At::Abort => ("old", 20, "new", true, false),
    };
    let entry = json!({
        "stableTargetGroupArn": stable(number).as_str(), "canaryTargetGroupArn": tried(number).as_str(),
        "ruleArns": [rule(number).as_str()],
    });
    serde_json::from_value(json!({
        "metadata": {"namespace": "shop", "name": format!("web-{number}"), "uid": format!("u{number}"), "resourceVersion": "1"},
        "spec": {"replicas": PODS, "strategy": {"canary": {
            "steps": [{}, {}], "dynamicStableScale": dynamic,
            "stableService": format!("web-{number}-stable"), "canaryService": format!("web-{number}-canary"),
            "trafficRouting": {"plugins": {"argoproj-labs/alb": entry}},
        }}},
        "status": {
            "stableRS": stable_hash, "currentPodHash": "new", "replicas": PODS, "abort": abort,
            "canary": {"weights": {
                "canary": {"weight": weight, "podTemplateHash": recorded},
                "stable": {"weight": 100 - weight, "podTemplateHash": stable_hash},
                "verified": !matches!(at, At::Installed),
            }},
        },
    }))
    .unwrap()
}

#[async_trait]
impl Cluster for Town {
    /// The targets are instances, so it does not matter which addresses the Pods have.
    async fn backends(&self, _: &str, service: &str) -> Result<Backends, cluster::Error> {
        let labels = self.selector(service);
        let pod = |of: u8| Pod {
            name: format!("{service}-{of}"),
            labels: labels.clone(),
            addresses: vec![[10, 0, 0, of].into()],
            ports: vec![8080],
        };
        Ok(Backends { selector: labels.clone(), pods: (0..PODS).map(pod).collect() })
    }

    async fn desired_pods(&self, _: &str, _: &str, _: &str) -> Result<usize, cluster::Error> {
        Ok(usize::from(PODS))
    }

    async fn rollout(&self, _: &str, name: &str) -> Result<Rollout, cluster::Error> {
        Ok(self.rollout_now(name.trim_start_matches("web-").parse().unwrap()))
    }

    async fn next_rollout(&self, _: &str, name: &str, version: &str) -> Result<Rollout, cluster::Error> {
        let number: usize = name.trim_start_matches("web-").parse().unwrap();
        let mut watched = self.rollouts[number].subscribe();
        Ok(watched.wait_for(|now| now.metadata.resource_version != version).await.unwrap().clone())
    }

    async fn reason_to_abort(&self, _: &str, _: &str) -> Result<Option<String>, cluster::Error> {
        Ok(None)
    }

    async fn abort(&self, _: &str, name: &str, _: &str) -> Result<(), cluster::Error> {
        panic!("there is no reason to abort {name}")
    }

    async fn tell(&self, _: &Metadata, event: &Event) -> Result<(), cluster::Error> {
        panic!("nothing happens that people must know: {event:?}")
    }

    async fn announce(&self, _: &str, ingress: &str, _: &Announcement) -> Result<bool, cluster::Error> {
        panic!("nobody else writes here, so there is no {ingress}")
    }

    async fn service(&self, _: &str, service: &str) -> Result<Service, cluster::Error> {
        Ok(Service { selector: self.selector(service), ports: Vec::new() })
    }

    async fn bindings(&self, _: Option<&str>) -> Result<Vec<Binding>, cluster::Error> {
        panic!("the target groups are named")
    }

    async fn ingresses(&self, _: &str, _: &str) -> Result<Vec<Ingress>, cluster::Error> {
        panic!("the target groups are named")
    }

    async fn add_route(&self, _: &str, _: &str, _: &str, _: &[String; 2], _: &Route) -> Result<(), cluster::Error> {
        panic!("the target groups are named")
    }

    async fn remove_routes(&self, _: &str, _: &str, _: &str, _: &[String]) -> Result<(), cluster::Error> {
        panic!("the target groups are named")
    }

    async fn note(&self, _: &Metadata, _: &str, _: &str) -> Result<(), cluster::Error> {
        Ok(())
    }
}
