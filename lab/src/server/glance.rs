//! The state at a glance, for people: what listens, where each rule leads, and how the targets are.

use std::collections::BTreeMap;
use std::time::SystemTime;

use serde::Serialize;

use crate::control_plane::ControlPlane;
use crate::control_plane::buckets::BucketLevels;
use crate::control_plane::faults::Fault;
use crate::control_plane::model::shapes::Action;
use crate::control_plane::model::{Account, Priority, Rule, TargetGroup};

/// The account as reads see it, and the bad days that are switched on.
#[derive(Debug, Serialize)]
pub(super) struct Glance {
    load_balancers: Vec<LoadBalancer>,
    target_groups: Vec<Group>,
    /// Writes so far, accepted or refused.
    writes: usize,
    faults: Vec<Fault>,
    buckets: Option<BucketLevels>,
}

#[derive(Debug, Serialize)]
struct LoadBalancer {
    name: String,
    arn: String,
    listeners: Vec<Listener>,
}

#[derive(Debug, Serialize)]
struct Listener {
    arn: String,
    /// Such as `HTTP 80`.
    on: String,
    rules: Vec<RuleLine>,
}

#[derive(Debug, Serialize)]
struct RuleLine {
    arn: String,
    priority: Priority,
    /// The action types in order, such as `authenticate-oidc, forward`.
    actions: String,
    /// Of the forward action, by name of the target group.
    weights: BTreeMap<String, u16>,
}

#[derive(Debug, Serialize)]
struct Group {
    name: String,
    arn: String,
    /// Targets as `address:port`, with state and reason.
    targets: BTreeMap<String, String>,
}

impl Glance {
    pub(super) fn of(control_plane: &ControlPlane) -> Self {
        let (account, now) = (control_plane.account(), control_plane.now());
        let writes = control_plane.state().journal.entries.len();
        let load_balancer = |found: &crate::control_plane::model::LoadBalancer| LoadBalancer {
            name: found.name.clone(),
            arn: found.arn.clone(),
            listeners: listeners(&account, &found.arn),
        };
        Self {
            load_balancers: account.load_balancers.iter().map(load_balancer).collect(),
            target_groups: account.target_groups.iter().map(|group| targets(&account, group, now)).collect(),
            writes,
            faults: control_plane.faults(),
            buckets: control_plane.bucket_levels(),
        }
    }
}

fn listeners(account: &Account, load_balancer_arn: &str) -> Vec<Listener> {
    let listeners = account.listeners.iter().filter(|listener| listener.load_balancer_arn == load_balancer_arn);
    listeners
        .map(|listener| Listener {
            arn: listener.arn.clone(),
            on: format!("{} {}", listener.protocol.name(), listener.port),
            rules: account.rules_of(&listener.arn).into_iter().map(|rule| line(account, rule)).collect(),
        })
        .collect()
}

fn line(account: &Account, rule: &Rule) -> RuleLine {
    let types: Vec<&str> = rule.actions.iter().map(|action| action.r#type.name()).collect();
    let name = |arn: &str| account.target_group(arn).map_or_else(|_| arn.to_owned(), |group| group.name.clone());
    let groups = rule.actions.iter().flat_map(Action::target_groups);
    RuleLine {
        arn: rule.arn.clone(),
        priority: rule.priority,
        actions: types.join(", "),
        weights: groups.map(|tuple| (name(&tuple.target_group_arn), tuple.weight.unwrap_or_default())).collect(),
    }
}

fn targets(account: &Account, group: &TargetGroup, now: SystemTime) -> Group {
    let registered = account.targets_of(group, now).map(|registration| {
        let health = account.health_of(group, registration, now);
        let reason = health.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let target = &registration.target;
        (format!("{}:{}", target.id, target.port), format!("{}{reason}", health.state))
    });
    Group { name: group.name.clone(), arn: group.arn.clone(), targets: registered.collect() }
}
