//! A shop behind one Ingress, a controller that looks after it, and another writer.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use crate::control_plane::ControlPlane;
use crate::control_plane::error::ApiError;
use crate::control_plane::journal::JournalEntry;
use crate::control_plane::model::shapes::{Action, ActionType, ForwardConfig, TargetGroupTuple};
use crate::control_plane::model::{Limits, Rule, Tags};
use crate::control_plane::operations::ModifyRule;
use crate::kubernetes::{Cluster, Kind};
use crate::load_balancer_controller::aws::AGENT;
use crate::load_balancer_controller::{LbcConfig, LoadBalancerController};

/// Who writes beside the controller.
pub(super) const OTHER: &str = "another writer";

pub(super) struct Shop {
    pub(super) cluster: Cluster,
    pub(super) control_plane: ControlPlane,
    pub(super) lbc: LoadBalancerController,
}

pub(super) fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

/// The weights of an annotation, as a person would write them.
pub(super) fn action(stable: u16, canary: u16) -> String {
    format!(
        r#"{{"type":"forward","forwardConfig":{{"targetGroups":[
            {{"serviceName":"web-stable","servicePort":80,"weight":{stable}}},
            {{"serviceName":"web-canary","servicePort":80,"weight":{canary}}}]}}}}"#
    )
}

pub(super) fn service(name: &str, hash: &str) -> Value {
    json!({
        "metadata": {"namespace": "shop", "name": name},
        "spec": {"selector": {"app": "web", "hash": hash}, "ports": [{"port": 80, "targetPort": 8080}]},
    })
}

pub(super) fn path(path: &str, backend: &str) -> Value {
    let service = json!({"name": backend, "port": {"name": "use-annotation"}});
    json!({"path": path, "pathType": "Prefix", "backend": {"service": service}})
}

impl Shop {
    /// Objects without a controller yet: an Ingress `web` with all weight on stable, and more annotations.
    pub(super) fn objects(annotations: &[(&str, &str)]) -> (Cluster, ControlPlane) {
        let cluster = Cluster::default();
        cluster.create(Kind::SERVICE, service("web-stable", "v1")).expect("a Service");
        cluster.create(Kind::SERVICE, service("web-canary", "v1")).expect("a Service");
        let mut written = json!({"alb.ingress.kubernetes.io/actions.web": action(100, 0)});
        for (name, text) in annotations {
            written[format!("alb.ingress.kubernetes.io/{name}")] = json!(text);
        }
        let spec = json!({"ingressClassName": "alb", "rules": [{"http": {"paths": [path("/", "web")]}}]});
        let metadata = json!({"namespace": "shop", "name": "web", "annotations": written});
        cluster.create(Kind::INGRESS, json!({"metadata": metadata, "spec": spec})).expect("an Ingress");
        let limits = Limits { rules_per_load_balancer: 100, page_size: 100 };
        (cluster, ControlPlane::new("us-east-1", 1, limits))
    }

    /// A shop that the controller has set up, and nothing more to do.
    pub(super) async fn open(config: LbcConfig, annotations: &[(&str, &str)]) -> Self {
        let (cluster, control_plane) = Self::objects(annotations);
        let lbc = LoadBalancerController::start(cluster.clone(), control_plane.clone(), config);
        let shop = Self { cluster, control_plane, lbc };
        shop.until(|shop| shop.lbc.records().iter().any(|record| record.ended_ms.is_some())).await;
        shop.quiet().await;
        shop
    }

    /// Waits for a condition, for an hour of simulated time at most.
    pub(super) async fn until(&self, condition: impl Fn(&Self) -> bool) {
        let held = async {
            while !condition(self) {
                sleep(ms(1)).await;
            }
        };
        assert!(timeout(Duration::from_secs(3600), held).await.is_ok(), "never held:\n{}", self.story());
    }

    /// Waits until no run has begun for 20 seconds of simulated time, and none is going on.
    pub(super) async fn quiet(&self) {
        loop {
            let runs = self.lbc.records().len();
            sleep(Duration::from_secs(20)).await;
            let records = self.lbc.records();
            if records.len() == runs && records.iter().all(|record| record.ended_ms.is_some()) {
                return;
            }
        }
    }

    /// Writes weights into the annotation.
    pub(super) fn announce(&self, stable: u16, canary: u16) {
        self.annotate("actions.web", &action(stable, canary));
    }

    pub(super) fn annotate(&self, name: &str, text: &str) {
        let patch = json!({"metadata": {"annotations": {format!("alb.ingress.kubernetes.io/{name}"): text}}});
        self.cluster.merge_patch(Kind::INGRESS, "shop", "web", &patch).expect("patched");
    }

    /// Moves the selector of a Service.
    pub(super) fn select(&self, service: &str, hash: &str) {
        let patch = json!({"spec": {"selector": {"hash": hash}}});
        self.cluster.merge_patch(Kind::SERVICE, "shop", service, &patch).expect("patched");
    }

    /// Sets the weights of a rule by ModifyRule, as the plugin does: the forward alone is replaced.
    pub(super) fn modify(&self, rule: &Rule, stable: u16, canary: u16) -> Result<(), ApiError> {
        let mut actions = rule.actions.clone();
        actions.retain(|action| action.r#type != ActionType::Forward);
        let tuple = |(name, weight)| TargetGroupTuple { target_group_arn: self.group(name), weight: Some(weight) };
        let target_groups = [("web-stable", stable), ("web-canary", canary)].map(tuple).to_vec();
        actions.push(Action {
            r#type: ActionType::Forward,
            order: Some(9),
            forward_config: Some(ForwardConfig { target_groups, target_group_stickiness_config: None }),
            ..Action::default()
        });
        let input = ModifyRule { rule_arn: rule.arn.clone(), actions, ..ModifyRule::default() };
        self.control_plane.write(OTHER, "ModifyRule", &rule.arn, input).map(drop)
    }

    /// The rules that are not default rules, by listener port and priority.
    pub(super) fn rules(&self) -> Vec<Rule> {
        let account = self.control_plane.state().account.clone();
        let mut listeners: Vec<_> = account.listeners.iter().collect();
        listeners.sort_by_key(|listener| listener.port);
        let rules = listeners.iter().flat_map(|listener| account.rules_of(&listener.arn));
        rules.filter(|rule| !rule.is_default).cloned().collect()
    }

    /// The only rule.
    pub(super) fn rule(&self) -> Rule {
        let rules = self.rules();
        assert_eq!(rules.len(), 1, "{}", self.story());
        rules[0].clone()
    }

    /// Weights of stable and canary in a rule as it is now.
    pub(super) fn weights(&self, rule: &Rule) -> (u16, u16) {
        let rule = self.rules().into_iter().find(|now| now.arn == rule.arn).expect("the rule is there");
        let weight = |name| {
            let arn = self.group(name);
            let mut tuples = rule.actions.iter().flat_map(Action::target_groups);
            tuples.find(|tuple| tuple.target_group_arn == arn).and_then(|tuple| tuple.weight).unwrap_or_default()
        };
        (weight("web-stable"), weight("web-canary"))
    }

    /// The ARN of the target group of a Service.
    pub(super) fn group(&self, service: &str) -> String {
        let account = self.control_plane.state().account.clone();
        let resource = format!("shop/web-{service}:80");
        let tagged = |tags: &Tags| tags.get("ingress.k8s.aws/resource") == Some(&resource);
        account.target_groups.iter().find(|group| tagged(&group.tags)).expect("a target group").arn.clone()
    }

    /// The number of the last write in the journal.
    pub(super) fn last_write(&self) -> u64 {
        self.control_plane.journal().last().map_or(0, |entry| entry.sequence)
    }

    /// What the controller wrote to the rule after another write: when, and the weights of stable and canary then.
    pub(super) fn written_after(&self, rule: &Rule, write: u64) -> Vec<(u64, (u16, u16))> {
        let (stable, canary) = (self.group("web-stable"), self.group("web-canary"));
        let by_lbc = |entry: &JournalEntry| entry.user_agent.as_deref() == Some(AGENT) && entry.accepted();
        let journal = self.control_plane.journal();
        let writes = journal.iter().filter(|entry| entry.sequence > write && by_lbc(entry));
        let weights = writes.filter_map(|entry| Some((entry.ms, entry.change(&rule.arn)?.weights_after.as_ref()?)));
        weights.map(|(ms, weights)| (ms, (weights[&stable], weights[&canary]))).collect()
    }

    /// Milliseconds since the start of the control plane, as in journal and records.
    pub(super) fn now_ms(&self) -> u64 {
        let since = self.control_plane.now().duration_since(self.control_plane.started_at()).expect("later");
        u64::try_from(since.as_millis()).expect("a short time")
    }

    /// All writes and runs, for the message of a failed test.
    pub(super) fn story(&self) -> String {
        let mut story = String::new();
        for entry in self.control_plane.journal() {
            writeln!(story, "{} {entry}", entry.user_agent.as_deref().unwrap_or_default()).expect("written");
        }
        for record in self.lbc.records() {
            writeln!(story, "{record:?}").expect("written");
        }
        story
    }
}
