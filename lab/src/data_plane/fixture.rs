//! A shop in an account, for tests: one listener, one rule, a stable and a canary target group.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::control_plane::ControlPlane;
use crate::control_plane::model::shapes::{
    Action, ActionType, Condition, FixedResponseConfig, ForwardConfig, PatternConfig, StickinessConfig,
    TargetGroupTuple,
};
use crate::control_plane::model::targets::{NodeHealth, Registration, Target};
use crate::control_plane::model::{Account, Limits, ListenerProtocol, Rule, TargetGroup};
use crate::control_plane::operations::{CreateListener, CreateLoadBalancer, CreateRule, CreateTargetGroup, VPC};

/// The host that the rule is for.
pub(crate) const HOST: &str = "shop.example.com";

pub(crate) struct Shop {
    pub(crate) control_plane: ControlPlane,
    pub(crate) listener: String,
    pub(crate) rule: String,
    pub(crate) stable: String,
    pub(crate) canary: String,
}

impl Shop {
    /// All weight is on stable: 100 to 0. No target is registered. Other hosts get 404.
    pub(crate) fn new() -> Self {
        let control_plane = ControlPlane::new("us-east-1", 1, Limits { rules_per_load_balancer: 100, page_size: 100 });
        let group = |name: &str| {
            let input = CreateTargetGroup {
                name: name.to_owned(),
                protocol: Some("HTTP".to_owned()),
                port: Some(8080),
                vpc_id: Some(VPC.to_owned()),
                target_type: Some("ip".to_owned()),
                ..CreateTargetGroup::default()
            };
            let made = control_plane.write("test", "CreateTargetGroup", name, input).expect("a sound target group");
            made.target_groups[0].arn.clone()
        };
        let (stable, canary) = (group("stable"), group("canary"));
        let input = CreateLoadBalancer {
            name: "shop".to_owned(),
            subnets: vec!["subnet-0000000000000000a".to_owned(), "subnet-0000000000000000b".to_owned()],
            ..CreateLoadBalancer::default()
        };
        let made = control_plane.write("test", "CreateLoadBalancer", "shop", input).expect("a sound load balancer");
        let listener = listener(&control_plane, &made.load_balancers[0].arn, 80);
        let host = PatternConfig { values: Some(vec![HOST.to_owned()]), regex_values: None };
        let input = CreateRule {
            listener_arn: listener.clone(),
            priority: 10,
            conditions: vec![Condition {
                field: "host-header".to_owned(),
                host_header_config: Some(host),
                ..Condition::default()
            }],
            actions: vec![forward(&[(&stable, 100), (&canary, 0)], None)],
            ..CreateRule::default()
        };
        let made = control_plane.write("test", "CreateRule", &listener, input).expect("a sound rule");
        let rule = made.rules[0].arn.clone();
        Self { control_plane, listener, rule, stable, canary }
    }

    pub(crate) fn account(&self) -> Arc<Account> {
        Arc::clone(&self.control_plane.state().account)
    }

    /// Makes another listener on the load balancer; all that it gets is answered with 404.
    pub(crate) fn another_listener(&self, port: u16) -> String {
        let load_balancer = self.account().load_balancers[0].arn.clone();
        listener(&self.control_plane, &load_balancer, port)
    }

    pub(crate) fn weights(&self, stable: u16, canary: u16) {
        self.set_rule(|rule| rule.actions = vec![forward(&[(&self.stable, stable), (&self.canary, canary)], None)]);
    }

    pub(crate) fn sticky_weights(&self, stable: u16, canary: u16, seconds: u32) {
        let groups = [(self.stable.as_str(), stable), (self.canary.as_str(), canary)];
        self.set_rule(|rule| rule.actions = vec![forward(&groups, Some(seconds))]);
    }

    pub(crate) fn set_rule(&self, set: impl FnOnce(&mut Rule)) {
        self.set(|account| set(account.rule_mut(&self.rule).expect("the rule is there")));
    }

    pub(crate) fn set_groups(&self, set: impl Fn(&mut TargetGroup)) {
        self.set(|account| account.target_groups.iter_mut().for_each(set));
    }

    pub(crate) fn drains_for(&self, seconds: u16) {
        let delay = ("deregistration_delay.timeout_seconds".to_owned(), seconds.to_string());
        self.set_groups(|group| group.attributes = BTreeMap::from([delay.clone()]));
    }

    pub(crate) fn register_stable(&self, id: &str, port: u16) -> Target {
        self.register(&self.stable, id, port)
    }

    pub(crate) fn register(&self, group_arn: &str, id: &str, port: u16) -> Target {
        let target = Target { id: id.to_owned(), port };
        let since = self.control_plane.now();
        self.set(|account| {
            account.registrations.retain(|found| found.group_arn != group_arn || found.target != target);
            account.registrations.push(Registration {
                group_arn: group_arn.to_owned(),
                target: target.clone(),
                zone: None,
                since,
                deregistered: None,
            });
        });
        target
    }

    pub(crate) fn deregister(&self, target: &Target) {
        let now = self.control_plane.now();
        self.set(|account| {
            let found = account.registrations.iter_mut().filter(|found| found.target == *target);
            found.for_each(|found| found.deregistered = Some(now));
        });
    }

    /// Forgets it, as when its deregistration delay is over.
    pub(crate) fn forget(&self, target: &Target) {
        self.set(|account| account.registrations.retain(|found| found.target != *target));
    }

    pub(crate) fn report_healthy(&self, node: &str, target: &Target) {
        self.control_plane.report_health(node, &self.stable, target, NodeHealth::Healthy);
    }

    /// What the nodes have reported about a target.
    pub(crate) fn reported(&self, group_arn: &str, target: &Target) -> Vec<NodeHealth> {
        let account = self.account();
        let reports = account.health.get(&(group_arn.to_owned(), target.clone()));
        reports.map(|reports| reports.values().copied().collect()).unwrap_or_default()
    }

    pub(crate) fn set(&self, set: impl FnOnce(&mut Account)) {
        self.control_plane.change(|state, _| set(Arc::make_mut(&mut state.account)));
    }
}

pub(crate) fn forward(groups: &[(&str, u16)], sticky_seconds: Option<u32>) -> Action {
    let target_groups = groups
        .iter()
        .map(|(arn, weight)| TargetGroupTuple { target_group_arn: (*arn).to_owned(), weight: Some(*weight) })
        .collect();
    let stickiness = StickinessConfig { enabled: Some(sticky_seconds.is_some()), duration_seconds: sticky_seconds };
    Action {
        r#type: ActionType::Forward,
        forward_config: Some(ForwardConfig { target_groups, target_group_stickiness_config: Some(stickiness) }),
        ..Action::default()
    }
}

/// A time that no test comes to the end of.
pub(crate) const LONG: Duration = Duration::from_secs(3600);

fn listener(control_plane: &ControlPlane, load_balancer: &str, port: u16) -> String {
    let not_found = FixedResponseConfig {
        status_code: "404".to_owned(),
        content_type: None,
        message_body: Some("no such shop".to_owned()),
    };
    let input = CreateListener {
        load_balancer_arn: load_balancer.to_owned(),
        protocol: Some(ListenerProtocol::Http),
        port: Some(port),
        default_actions: vec![Action {
            r#type: ActionType::FixedResponse,
            fixed_response_config: Some(not_found),
            ..Action::default()
        }],
        ..CreateListener::default()
    };
    let made = control_plane.write("test", "CreateListener", load_balancer, input).expect("a sound listener");
    made.listeners[0].arn.clone()
}
