//! Ready-made set-ups for tests and the demo, made by the same operations that AWS's clients call.

use std::net::SocketAddrV4;

use serde::Serialize;

use crate::control_plane::ControlPlane;
use crate::control_plane::error::ApiError;
use crate::control_plane::model::shapes::{
    Action, ActionType, Condition, FixedResponseConfig, ForwardConfig, OidcConfig, PatternConfig, Rewrite,
    RewriteConfig, Tag, TargetGroupTuple, Transform, TransformType,
};
use crate::control_plane::model::{Certificate, ListenerProtocol};
use crate::control_plane::operations::{
    CreateListener, CreateLoadBalancer, CreateRule, CreateTargetGroup, DeregisterTargets, RegisterTargets,
    TargetDescription, VPC,
};
use crate::server::Lab;

/// What the journal calls the writer of a scenario.
const AGENT: &str = "lab scenario";

/// ARNs of the scenario [`two_listeners`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TwoListeners {
    /// The load balancer `shop`.
    pub load_balancer: String,
    /// Target group `shop-stable`.
    pub stable: String,
    /// Target group `shop-canary`.
    pub canary: String,
    /// Target group `legacy`, which belongs to someone else.
    pub foreign: String,
    /// HTTP on port 80.
    pub http_listener: String,
    /// HTTPS on port 443.
    pub https_listener: String,
    /// On the HTTP listener: host `shop.example.com`; stable 100, canary 0.
    pub http_rule: String,
    /// On the HTTPS listener: the same host and path `/*`; OIDC first, then stable 100, canary 0, foreign 50; with a URL rewrite.
    pub https_rule: String,
}

/// A shop behind one load balancer: one rule on each of two listeners, all weight on stable.
///
/// Both default actions answer 404. Fails if the lab already has something of these names with other settings.
pub fn two_listeners(lab: &Lab) -> Result<TwoListeners, ApiError> {
    let load_balancer = load_balancer(lab.control_plane(), "shop")?;
    let stable = target_group(lab.control_plane(), "shop-stable")?;
    let canary = target_group(lab.control_plane(), "shop-canary")?;
    let foreign = target_group(lab.control_plane(), "legacy")?;
    let http_listener = listener(lab.control_plane(), &load_balancer, ListenerProtocol::Http, 80)?;
    let https_listener = listener(lab.control_plane(), &load_balancer, ListenerProtocol::Https, 443)?;
    let http_rule = rule(
        lab.control_plane(),
        CreateRule {
            listener_arn: http_listener.clone(),
            priority: 10,
            conditions: vec![host("shop.example.com")],
            actions: vec![forward(1, &[(&stable, 100), (&canary, 0)])],
            ..CreateRule::default()
        },
    )?;
    let https_rule = rule(
        lab.control_plane(),
        CreateRule {
            listener_arn: https_listener.clone(),
            priority: 10,
            conditions: vec![host("shop.example.com"), path("/*")],
            actions: vec![oidc(1), forward(2, &[(&stable, 100), (&canary, 0), (&foreign, 50)])],
            transforms: vec![url_rewrite("^/shop/(.*)$", "/$1")],
            tags: vec![Tag { key: "team".to_owned(), value: "shop".to_owned() }],
        },
    )?;
    Ok(TwoListeners { load_balancer, stable, canary, foreign, http_listener, https_listener, http_rule, https_rule })
}

/// Registers targets with a target group of type `ip`. Fails if there is no such group.
pub fn register(lab: &Lab, target_group: &str, targets: &[SocketAddrV4]) -> Result<(), ApiError> {
    let input = RegisterTargets { target_group_arn: target_group.to_owned(), targets: described(targets) };
    lab.control_plane().write(AGENT, "RegisterTargets", target_group, input).map(drop)
}

/// Deregisters targets: they drain for the group's deregistration delay. Fails if there is no such group.
pub fn deregister(lab: &Lab, target_group: &str, targets: &[SocketAddrV4]) -> Result<(), ApiError> {
    let input = DeregisterTargets { target_group_arn: target_group.to_owned(), targets: described(targets) };
    lab.control_plane().write(AGENT, "DeregisterTargets", target_group, input).map(drop)
}

fn described(targets: &[SocketAddrV4]) -> Vec<TargetDescription> {
    let described = |target: &SocketAddrV4| TargetDescription {
        id: target.ip().to_string(),
        port: Some(target.port()),
        availability_zone: None,
    };
    targets.iter().map(described).collect()
}

/// ARNs of the scenario [`web`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Web {
    /// Target group `web-stable`.
    pub stable: String,
    /// Target group `web-canary`.
    pub canary: String,
    /// The rule of the HTTP listener, for host `shop.example.com`: stable 100, canary 0.
    pub rule: String,
}

/// What Terraform would make for one application: a load balancer, an HTTP listener, a rule that holds two target groups.
pub fn web(lab: &Lab) -> Result<Web, ApiError> {
    let load_balancer = load_balancer(lab.control_plane(), "web")?;
    let stable = target_group(lab.control_plane(), "web-stable")?;
    let canary = target_group(lab.control_plane(), "web-canary")?;
    let listener = listener(lab.control_plane(), &load_balancer, ListenerProtocol::Http, 80)?;
    let rule = rule(
        lab.control_plane(),
        CreateRule {
            listener_arn: listener,
            priority: 1,
            conditions: vec![host("shop.example.com")],
            actions: vec![forward(1, &[(&stable, 100), (&canary, 0)])],
            ..CreateRule::default()
        },
    )?;
    Ok(Web { stable, canary, rule })
}

pub(crate) fn load_balancer(control_plane: &ControlPlane, name: &str) -> Result<String, ApiError> {
    let input = CreateLoadBalancer {
        name: name.to_owned(),
        subnets: vec!["subnet-0000000000000000a".to_owned(), "subnet-0000000000000000b".to_owned()],
        ..CreateLoadBalancer::default()
    };
    let made = control_plane.write(AGENT, "CreateLoadBalancer", name, input)?.load_balancers;
    only(made.into_iter().map(|made| made.arn))
}

pub(crate) fn target_group(control_plane: &ControlPlane, name: &str) -> Result<String, ApiError> {
    let input = CreateTargetGroup {
        name: name.to_owned(),
        protocol: Some("HTTP".to_owned()),
        port: Some(8080),
        vpc_id: Some(VPC.to_owned()),
        target_type: Some("ip".to_owned()),
        ..CreateTargetGroup::default()
    };
    let made = control_plane.write(AGENT, "CreateTargetGroup", name, input)?.target_groups;
    only(made.into_iter().map(|made| made.arn))
}

pub(crate) fn listener(
    control_plane: &ControlPlane,
    load_balancer: &str,
    protocol: ListenerProtocol,
    port: u16,
) -> Result<String, ApiError> {
    let certificate_arn =
        "arn:aws:acm:us-east-1:000000000000:certificate/00000000-0000-0000-0000-000000000001".to_owned();
    let input = CreateListener {
        load_balancer_arn: load_balancer.to_owned(),
        protocol: Some(protocol),
        port: Some(port),
        certificates: if protocol.ends_tls() { vec![Certificate { certificate_arn }] } else { Vec::new() },
        default_actions: vec![not_found()],
        ..CreateListener::default()
    };
    let made = control_plane.write(AGENT, "CreateListener", load_balancer, input)?.listeners;
    only(made.into_iter().map(|made| made.arn))
}

pub(crate) fn rule(control_plane: &ControlPlane, input: CreateRule) -> Result<String, ApiError> {
    let listener = input.listener_arn.clone();
    let made = control_plane.write(AGENT, "CreateRule", &listener, input)?.rules;
    only(made.into_iter().map(|made| made.arn))
}

/// A create operation answers with exactly the one resource that it made.
fn only(mut arns: impl Iterator<Item = String>) -> Result<String, ApiError> {
    arns.next().ok_or_else(|| ApiError::validation("nothing was made"))
}

pub(crate) fn forward(order: u16, groups: &[(&str, u16)]) -> Action {
    let target_groups = groups
        .iter()
        .map(|(arn, weight)| TargetGroupTuple { target_group_arn: (*arn).to_owned(), weight: Some(*weight) })
        .collect();
    Action {
        r#type: ActionType::Forward,
        order: Some(order),
        forward_config: Some(ForwardConfig { target_groups, target_group_stickiness_config: None }),
        ..Action::default()
    }
}

fn oidc(order: u16) -> Action {
    let idp = "https://login.example.com";
    let config = OidcConfig {
        issuer: idp.to_owned(),
        authorization_endpoint: format!("{idp}/authorize"),
        token_endpoint: format!("{idp}/token"),
        user_info_endpoint: format!("{idp}/userinfo"),
        client_id: "shop".to_owned(),
        client_secret: Some("not a real secret".to_owned()),
        ..OidcConfig::default()
    };
    Action {
        r#type: ActionType::AuthenticateOidc,
        order: Some(order),
        authenticate_oidc_config: Some(config),
        ..Action::default()
    }
}

fn not_found() -> Action {
    let config = FixedResponseConfig {
        status_code: "404".to_owned(),
        content_type: Some("text/plain".to_owned()),
        message_body: Some("no such shop".to_owned()),
    };
    Action { r#type: ActionType::FixedResponse, fixed_response_config: Some(config), ..Action::default() }
}

pub(crate) fn host(name: &str) -> Condition {
    let config = PatternConfig { values: Some(vec![name.to_owned()]), regex_values: None };
    Condition { field: "host-header".to_owned(), host_header_config: Some(config), ..Condition::default() }
}

fn path(pattern: &str) -> Condition {
    let config = PatternConfig { values: Some(vec![pattern.to_owned()]), regex_values: None };
    Condition { field: "path-pattern".to_owned(), path_pattern_config: Some(config), ..Condition::default() }
}

fn url_rewrite(regex: &str, replace: &str) -> Transform {
    let rewrites = vec![Rewrite { regex: regex.to_owned(), replace: replace.to_owned() }];
    Transform {
        r#type: TransformType::UrlRewrite,
        host_header_rewrite_config: None,
        url_rewrite_config: Some(RewriteConfig { rewrites }),
    }
}
