//! A small shop for tests of the control plane: one load balancer, one rule that splits between a stable and a canary group.

use std::time::Duration;

use crate::control_plane::ControlPlane;
use crate::control_plane::error::ApiError;
use crate::control_plane::model::attributes::Attribute;
use crate::control_plane::model::shapes::ActionType;
use crate::control_plane::model::shapes::{
    Action, Condition, FixedResponseConfig, ForwardConfig, PatternConfig, TargetGroupTuple,
};
use crate::control_plane::model::targets::Target;
use crate::control_plane::model::{Limits, ListenerProtocol};
use crate::control_plane::operations::{
    CreateListener, CreateLoadBalancer, CreateRule, CreateTargetGroup, DeregisterTargets, DescribeTargetHealth,
    ModifyRule, ModifyTargetGroupAttributes, Read, RegisterTargets, TargetDescription, Write,
};

pub(crate) struct Shop {
    pub(crate) control_plane: ControlPlane,
    pub(crate) stable: String,
    pub(crate) canary: String,
    pub(crate) rule: String,
    pub(crate) listener: String,
}

impl Shop {
    /// The rule begins with 100 for stable and 0 for canary.
    pub(crate) fn new() -> Self {
        let limits = Limits { rules_per_load_balancer: 100, page_size: 100 };
        let control_plane = ControlPlane::new("us-east-1", 1, limits);
        let mut shop = Self {
            control_plane,
            stable: String::new(),
            canary: String::new(),
            rule: String::new(),
            listener: String::new(),
        };
        let load_balancer = CreateLoadBalancer {
            name: "shop".to_owned(),
            subnets: vec!["subnet-a".to_owned(), "subnet-b".to_owned()],
            ..CreateLoadBalancer::default()
        };
        let load_balancer = shop.write(load_balancer).expect("a load balancer").load_balancers[0].arn.clone();
        shop.stable = shop.group("stable");
        shop.canary = shop.group("canary");
        let config = FixedResponseConfig { status_code: "404".to_owned(), ..FixedResponseConfig::default() };
        let not_found =
            Action { r#type: ActionType::FixedResponse, fixed_response_config: Some(config), ..Action::default() };
        let listener = CreateListener {
            load_balancer_arn: load_balancer,
            protocol: Some(ListenerProtocol::Http),
            port: Some(80),
            default_actions: vec![not_found],
            ..CreateListener::default()
        };
        shop.listener = shop.write(listener).expect("a listener").listeners[0].arn.clone();
        shop.rule = shop.rule_at(10).expect("a rule");
        shop
    }

    /// Another rule at this priority, all weight on stable.
    pub(crate) fn rule_at(&self, priority: u16) -> Result<String, ApiError> {
        let config = PatternConfig { values: Some(vec![format!("p{priority}.example.com")]), regex_values: None };
        let host =
            Condition { field: "host-header".to_owned(), host_header_config: Some(config), ..Condition::default() };
        let rule = CreateRule {
            listener_arn: self.listener.clone(),
            priority,
            conditions: vec![host],
            actions: vec![self.forward(100, 0)],
            ..CreateRule::default()
        };
        Ok(self.write(rule)?.rules[0].arn.clone())
    }

    /// A target group in no rule.
    pub(crate) fn group(&self, name: &str) -> String {
        let group = CreateTargetGroup {
            name: name.to_owned(),
            protocol: Some("HTTP".to_owned()),
            port: Some(8080),
            vpc_id: Some("vpc-1".to_owned()),
            target_type: Some("ip".to_owned()),
            ..CreateTargetGroup::default()
        };
        self.write(group).expect("a target group").target_groups[0].arn.clone()
    }

    pub(crate) fn forward(&self, stable: u16, canary: u16) -> Action {
        let tuple = |arn: &str, weight| TargetGroupTuple { target_group_arn: arn.to_owned(), weight: Some(weight) };
        let target_groups = vec![tuple(&self.stable, stable), tuple(&self.canary, canary)];
        let config = ForwardConfig { target_groups, target_group_stickiness_config: None };
        Action { forward_config: Some(config), ..Action::default() }
    }

    pub(crate) fn shift(&self, stable: u16, canary: u16) -> ModifyRule {
        ModifyRule { rule_arn: self.rule.clone(), actions: vec![self.forward(stable, canary)], ..ModifyRule::default() }
    }

    pub(crate) fn register(&self, group: &str, targets: &[&str]) -> Result<(), ApiError> {
        let input = RegisterTargets { target_group_arn: group.to_owned(), targets: described(targets) };
        self.write(input).map(drop)
    }

    pub(crate) fn deregister(&self, group: &str, targets: &[&str]) -> Result<(), ApiError> {
        let input = DeregisterTargets { target_group_arn: group.to_owned(), targets: described(targets) };
        self.write(input).map(drop)
    }

    pub(crate) fn set_attribute(&self, group: &str, key: &str, value: &str) -> Result<(), ApiError> {
        let attributes = vec![Attribute { key: key.to_owned(), value: value.to_owned() }];
        self.write(ModifyTargetGroupAttributes { target_group_arn: group.to_owned(), attributes }).map(drop)
    }

    /// Targets as `address:port` with state and reason; all of the group, or those asked for.
    pub(crate) fn health(&self, group: &str, targets: &[&str]) -> Vec<String> {
        let input = DescribeTargetHealth {
            target_group_arn: group.to_owned(),
            targets: described(targets),
            ..DescribeTargetHealth::default()
        };
        let answer = input.read(&self.control_plane.account(), self.control_plane.now()).expect("an answer");
        let mut lines = Vec::new();
        for found in answer.target_health_descriptions {
            let port = found.target.port.expect("always given");
            let reason = found.target_health.reason.map(|reason| format!(" {reason}")).unwrap_or_default();
            lines.push(format!("{}:{port} {}{reason}", found.target.id, found.target_health.state));
        }
        lines
    }

    pub(crate) fn write<I: Write>(&self, input: I) -> Result<I::Output, ApiError> {
        self.control_plane.write("test", std::any::type_name::<I>(), "test", input)
    }
}

/// At the port of the group.
pub(crate) fn at_group_port(id: &str) -> Target {
    Target { id: id.to_owned(), port: 8080 }
}

/// Lets so much of tokio's clock pass.
pub(crate) async fn pass(seconds: u64) {
    tokio::time::advance(Duration::from_secs(seconds)).await;
}

/// `address` or `address:port`.
fn described(targets: &[&str]) -> Vec<TargetDescription> {
    let described = |target: &&str| {
        let (id, port) = target.split_once(':').map_or((*target, None), |(id, port)| (id, Some(port)));
        let port = port.map(|port| port.parse().expect("a port"));
        TargetDescription { id: id.to_owned(), port, availability_zone: None }
    };
    targets.iter().map(described).collect()
}
