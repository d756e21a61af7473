//! A load balancer without sockets, for simulations on tokio's paused clock: the account, its bad days and its nodes are those
//! of the rest of the lab, but nobody sends a request, and a health check is a question to whoever plays the pods.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use fastrand::Rng;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::control_plane::error::ApiError;
use crate::control_plane::faults::{Fault, InvalidFault};
use crate::control_plane::model::shapes::{Action, ActionType};
use crate::control_plane::model::targets::{Probing, Target};
use crate::control_plane::model::{Account, Limits, ListenerProtocol, Rule};
use crate::control_plane::operations::{
    CreateRule, DeregisterTargets, DescribeRules, DescribeTargetHealth, ModifyRule, RegisterTargets, TargetDescription,
};
use crate::control_plane::{ControlPlane, JournalTail, calls::NoAnswer};
use crate::data_plane::config::DataPlaneConfig;
use crate::data_plane::node::Node;
use crate::scenario;

/// What the journal calls whoever sets the simulation up.
const AGENT: &str = "simulation";

/// Why a check failed, as DescribeTargetHealth has it.
const FAILED: (&str, &str) = ("Target.FailedHealthChecks", "Health checks failed");

/// A load balancer with target groups of addresses. Its nodes live as long as it does.
pub struct LoadBalancer {
    control_plane: ControlPlane,
    nodes: Vec<Arc<Mutex<Node>>>,
    moved: watch::Sender<u64>,
    _tasks: JoinSet<()>,
}

/// A rule that forwards: its ARN, and its groups' ARNs with their weights, 0 to 999.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forward {
    /// The rule.
    pub rule: String,
    /// In the rule's order.
    pub groups: Vec<(String, u16)>,
}

/// A part of a rule's requests, as one node sends them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// The target group's ARN.
    pub group: String,
    /// Its weight among the groups of the rule.
    pub weight: u16,
    /// Addresses that the node would choose from.
    pub targets: Vec<String>,
}

/// A target of a group: its address, and whether its state is `healthy`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Health {
    /// The address.
    pub address: String,
    /// Every node has found it healthy.
    pub healthy: bool,
}

impl LoadBalancer {
    /// Makes one with these target groups, whose targets listen on `port`, and a listener with one rule for each item of `rules`: groups
    /// by their place in `groups`, with their weights. Gives the ARNs of the groups and of the rules.
    ///
    /// A node's health check asks `is_up` about the address.
    ///
    /// # Errors
    /// [`ApiError`] if AWS would refuse it.
    pub fn start(
        config: &DataPlaneConfig,
        port: u16,
        groups: &[&str],
        rules: &[Vec<(usize, u16)>],
        is_up: impl Fn(&str) -> bool + Send + Sync + 'static,
    ) -> Result<(Self, Vec<String>, Vec<String>), ApiError> {
        let limits = Limits { rules_per_load_balancer: 100, page_size: 100 };
        let control_plane = ControlPlane::new("us-east-1", config.seed, limits);
        let load_balancer = scenario::load_balancer(&control_plane, "simulated")?;
        let groups: Vec<String> =
            groups.iter().map(|name| scenario::target_group(&control_plane, name)).collect::<Result<_, _>>()?;
        let mut arns = Vec::new();
        for (listener_port, rule) in (port..).zip(rules) {
            let listener = scenario::listener(&control_plane, &load_balancer, ListenerProtocol::Http, listener_port)?;
            let forward: Vec<(&str, u16)> =
                rule.iter().filter_map(|(place, weight)| Some((groups.get(*place)?.as_str(), *weight))).collect();
            let input = CreateRule {
                listener_arn: listener,
                priority: 1,
                conditions: vec![scenario::host("shop.example.com")],
                actions: vec![scenario::forward(1, &forward)],
                ..CreateRule::default()
            };
            arns.push(scenario::rule(&control_plane, input)?);
        }
        control_plane.set_probing(Probing::Nodes(config.nodes.max(1)));
        let moved = watch::Sender::new(0);
        let is_up: Arc<dyn Fn(&str) -> bool + Send + Sync> = Arc::new(is_up);
        let (mut seeds, mut tasks, mut nodes) = (Rng::with_seed(config.seed), JoinSet::new(), Vec::new());
        // Changes from here on are news to the nodes, although their tasks begin later.
        let mut accounts = control_plane.accounts();
        let account = Arc::clone(&accounts.borrow_and_update());
        for number in 1..=config.nodes.max(1) {
            let node = Node::new(seeds.u64(..), config, control_plane.now(), Arc::clone(&account));
            let node = Arc::new(Mutex::new(node));
            let name = format!("node-{number}");
            let (control_plane, accounts) = (control_plane.clone(), accounts.clone());
            tasks.spawn(run(name, Arc::clone(&node), control_plane, accounts, moved.clone(), Arc::clone(&is_up)));
            nodes.push(node);
        }
        Ok((Self { control_plane, nodes, moved, _tasks: tasks }, groups, arns))
    }

    /// Rules by their ARNs, in this order (DescribeRules).
    ///
    /// # Errors
    /// [`NoAnswer`] if it is refused or cut.
    pub async fn rules(&self, agent: &str, arns: &[String]) -> Result<Vec<Forward>, NoAnswer> {
        let input = DescribeRules { rule_arns: arns.to_vec(), ..DescribeRules::default() };
        let found = self.control_plane.read(agent, "DescribeRules", input).await?;
        Ok(found.rules.iter().map(forward).collect())
    }

    /// The rules of all listeners, default rules too (DescribeRules, once for each listener).
    ///
    /// # Errors
    /// [`NoAnswer`] if one of the calls is refused or cut.
    pub async fn all_rules(&self, agent: &str) -> Result<Vec<Forward>, NoAnswer> {
        let listeners: Vec<String> =
            self.control_plane.account().listeners.iter().map(|listener| listener.arn.clone()).collect();
        let mut rules = Vec::new();
        for listener in listeners {
            let input = DescribeRules { listener_arn: Some(listener), ..DescribeRules::default() };
            let found = self.control_plane.read(agent, "DescribeRules", input).await?;
            rules.extend(found.rules.iter().map(forward));
        }
        Ok(rules)
    }

    /// Gives a rule these groups and weights (ModifyRule).
    ///
    /// # Errors
    /// [`NoAnswer`] if it is refused, or cut: then nobody knows whether it took effect.
    pub async fn set_weights(&self, agent: &str, rule: &str, groups: &[(String, u16)]) -> Result<(), NoAnswer> {
        let groups: Vec<(&str, u16)> = groups.iter().map(|(arn, weight)| (arn.as_str(), *weight)).collect();
        let actions = vec![scenario::forward(1, &groups)];
        let input = ModifyRule { rule_arn: rule.to_owned(), actions, ..ModifyRule::default() };
        self.control_plane.call(agent, "ModifyRule", rule, input).await.map(drop)
    }

    /// The targets of a group (DescribeTargetHealth).
    ///
    /// # Errors
    /// [`NoAnswer`] if it is refused or cut.
    pub async fn targets(&self, agent: &str, group: &str) -> Result<Vec<Health>, NoAnswer> {
        let input = DescribeTargetHealth { target_group_arn: group.to_owned(), ..DescribeTargetHealth::default() };
        let found = self.control_plane.read(agent, "DescribeTargetHealth", input).await?;
        let described = found.target_health_descriptions.into_iter().map(|described| Health {
            address: described.target.id,
            healthy: described.target_health.state == "healthy",
        });
        Ok(described.collect())
    }

    /// Registers an address with a group, whatever faults there are.
    ///
    /// # Errors
    /// [`ApiError`] if AWS would refuse it.
    pub fn register(&self, group: &str, address: &str) -> Result<(), ApiError> {
        let input = RegisterTargets { target_group_arn: group.to_owned(), targets: vec![described(address)] };
        self.control_plane.write(AGENT, "RegisterTargets", group, input).map(drop)
    }

    /// Takes an address out of a group, whatever faults there are.
    ///
    /// # Errors
    /// [`ApiError`] if AWS would refuse it.
    pub fn deregister(&self, group: &str, address: &str) -> Result<(), ApiError> {
        let input = DeregisterTargets { target_group_arn: group.to_owned(), targets: vec![described(address)] };
        self.control_plane.write(AGENT, "DeregisterTargets", group, input).map(drop)
    }

    /// What the rules of these ARNs show now. Not a call: nothing can go wrong.
    #[must_use]
    pub fn shown(&self, arns: &[String]) -> Vec<Forward> {
        let account = self.control_plane.account();
        arns.iter().filter_map(|arn| account.rule(arn).ok().map(forward)).collect()
    }

    /// The healthy targets of a group now. Not a call.
    #[must_use]
    pub fn healthy(&self, group: &str) -> Vec<String> {
        let (account, now) = (self.control_plane.account(), self.control_plane.now());
        let Ok(group) = account.target_group(group) else { return Vec::new() };
        let healthy = |account: &Account| {
            let targets = account.targets_of(group, now);
            let targets = targets.filter(|target| account.health_of(group, target, now).state == "healthy");
            targets.map(|target| target.target.id.clone()).collect()
        };
        healthy(&account)
    }

    /// Where each node sends the requests of each rule now.
    #[must_use]
    pub fn routes(&self) -> Vec<Vec<Vec<Route>>> {
        let now = self.control_plane.now();
        let address = |target: Target| target.id;
        let route = |(group, weight, targets): (Arc<str>, u16, Vec<Target>)| Route {
            group: group.to_string(),
            weight,
            targets: targets.into_iter().map(address).collect(),
        };
        let rules = |node: &Arc<Mutex<Node>>| {
            let forwards = open(node).forwards(now);
            forwards.into_iter().map(|groups| groups.into_iter().map(route).collect()).collect()
        };
        self.nodes.iter().map(rules).collect()
    }

    /// Changes whenever a node has learnt something.
    #[must_use]
    pub fn moved(&self) -> watch::Receiver<u64> {
        self.moved.subscribe()
    }

    /// Switches a fault on.
    ///
    /// # Errors
    /// [`InvalidFault`] if it could never do what it says.
    pub fn add_fault(&self, fault: Fault) -> Result<(), InvalidFault> {
        self.control_plane.add_fault(fault)
    }

    /// Switches all faults off.
    pub fn clear_faults(&self) {
        self.control_plane.clear_faults();
    }

    /// All writes, from the first on, and those to come.
    #[must_use]
    pub fn follow(&self) -> JournalTail {
        self.control_plane.follow()
    }
}

impl fmt::Debug for LoadBalancer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadBalancer").field("nodes", &self.nodes.len()).finish_non_exhaustive()
    }
}

/// One node at work.
async fn run(
    name: String,
    node: Arc<Mutex<Node>>,
    control_plane: ControlPlane,
    mut accounts: watch::Receiver<Arc<Account>>,
    moved: watch::Sender<u64>,
    is_up: Arc<dyn Fn(&str) -> bool + Send + Sync>,
) {
    loop {
        let due = fulfil(&name, &node, &control_plane, &*is_up);
        moved.send_modify(|moves| *moves += 1);
        let wait = due.map(|due| due.duration_since(control_plane.now()).unwrap_or_default());
        tokio::select! {
            // A fixed order, so that runs can be repeated.
            biased;
            // The sender lives in the control plane, which this node holds.
            _ = accounts.changed() => {
                let account = Arc::clone(&accounts.borrow_and_update());
                open(&node).announce(control_plane.now(), account);
            }
            () = sleep(wait.unwrap_or_default()), if wait.is_some() => {}
        }
    }
}

/// Does what the node has to do now, and tells when there will be more.
fn fulfil(
    name: &str,
    node: &Mutex<Node>,
    control_plane: &ControlPlane,
    is_up: &(dyn Fn(&str) -> bool + Send + Sync),
) -> Option<SystemTime> {
    loop {
        let duties = open(node).duties(control_plane.now());
        for (member, health) in &duties.reports {
            control_plane.report_health(name, &member.group_arn, &member.target, *health);
        }
        for probe in &duties.probes {
            let found = if is_up(&probe.member.target.id) { Ok(()) } else { Err(FAILED) };
            open(node).probed(probe, found);
        }
        if duties.probes.is_empty() {
            return open(node).due();
        }
    }
}

fn open(node: &Mutex<Node>) -> MutexGuard<'_, Node> {
    node.lock().unwrap_or_else(PoisonError::into_inner)
}

fn described(address: &str) -> TargetDescription {
    TargetDescription { id: address.to_owned(), port: None, availability_zone: None }
}

fn forward(rule: &Rule) -> Forward {
    let forwards = rule.actions.iter().filter(|action| action.r#type == ActionType::Forward);
    let tuples = forwards.flat_map(Action::target_groups);
    let groups = tuples.map(|tuple| (tuple.target_group_arn.clone(), tuple.weight.unwrap_or(1))).collect();
    Forward { rule: rule.arn.clone(), groups }
}
