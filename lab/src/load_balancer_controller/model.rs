//! The desired model of one ingress group: load balancer, listeners, rules and target groups. Pure: objects in, model out.
//!
//! Order and names are those of LBC pkg/ingress/model_builder.go and its model_build_*.go. Left out: security groups, WAF,
//! certificates by host name (one of the lab's own stands for all), Cognito, JWT, the optimizer that drops redirect loops.

use std::collections::BTreeMap;

use crate::control_plane::model::shapes::{
    Action, ActionType, Condition, FixedResponseConfig, ForwardConfig, RedirectConfig, StickinessConfig,
    TargetGroupTuple, Transform,
};
use crate::control_plane::model::{Certificate, ListenerProtocol};
use crate::load_balancer_controller::annotations::{self, BuildError, PREFIX};
use crate::load_balancer_controller::group::GroupId;
use crate::load_balancer_controller::manifest::{Ingress, PathType, PortRef, Service};
use crate::load_balancer_controller::record::Announced;
use backends::Backends;

mod backends;
mod conditions;

/// Services by namespace and name.
pub(super) type Services = BTreeMap<(String, String), Service>;

/// All that a group wants to be there.
#[derive(Debug)]
pub(super) struct Model {
    pub(super) load_balancer_name: String,
    pub(super) scheme: String,
    pub(super) listeners: Vec<WantedListener>,
    /// By the resource that their tag names: Ingress, Service and port as written.
    pub(super) target_groups: BTreeMap<String, WantedGroup>,
    /// The weights that the annotations named.
    pub(super) announced: Vec<Announced>,
}

#[derive(Debug)]
pub(super) struct WantedListener {
    pub(super) port: u16,
    pub(super) protocol: ListenerProtocol,
    pub(super) certificate: Option<Certificate>,
    pub(super) default_actions: Vec<WantedAction>,
    /// In the order of their priorities, 1 to n.
    pub(super) rules: Vec<WantedRule>,
}

#[derive(Debug, Clone)]
pub(super) struct WantedRule {
    pub(super) conditions: Vec<Condition>,
    pub(super) actions: Vec<WantedAction>,
    pub(super) transforms: Vec<Transform>,
}

/// An action whose target groups may not exist yet.
#[derive(Debug, Clone)]
pub(super) enum WantedAction {
    Forward { shares: Vec<Share>, stickiness: Option<StickinessConfig> },
    Other(Box<Action>),
}

/// A target group in a forward; a single one may be without a weight.
#[derive(Debug, Clone)]
pub(super) struct Share {
    pub(super) group: GroupRef,
    pub(super) weight: Option<u16>,
}

/// Which target group is meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum GroupRef {
    /// One of the model's own, by its resource.
    Own(String),
    Arn(String),
    Name(String),
}

/// A target group for one port of one Service, as one Ingress uses it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct WantedGroup {
    pub(super) name: String,
    pub(super) namespace: String,
    pub(super) service: String,
    pub(super) port: PortRef,
    /// The port of the target group itself. Targets bring their own; 1 stands for a named port (LBC buildTargetGroupPort).
    pub(super) target_port: u16,
    pub(super) protocol: String,
    pub(super) protocol_version: String,
    pub(super) health_check: HealthCheck,
    pub(super) attributes: BTreeMap<String, String>,
}

/// Seconds and counts, with LBC's defaults, which are not AWS's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct HealthCheck {
    pub(super) path: String,
    pub(super) interval: u16,
    pub(super) timeout: u16,
    pub(super) healthy: u16,
    pub(super) unhealthy: u16,
    pub(super) codes: String,
}

/// Where the target groups of a model ended up.
#[derive(Debug, Default)]
pub(super) struct Arns {
    pub(super) by_resource: BTreeMap<String, String>,
    /// Of all target groups there are.
    pub(super) by_name: BTreeMap<String, String>,
}

/// Builds the model of a group. `members` are in the group's order; `None` if there are none.
pub(super) fn build(
    group: &GroupId,
    members: &[Ingress],
    services: &Services,
    cluster: &str,
) -> Result<Option<Model>, BuildError> {
    let Some(first) = members.first() else { return Ok(None) };
    let mut ports: BTreeMap<u16, (ListenerProtocol, Vec<&Ingress>)> = BTreeMap::new();
    for ingress in members {
        for (port, protocol) in listen_ports(ingress)? {
            let (known, members) = ports.entry(port).or_insert_with(|| (protocol, Vec::new()));
            if *known != protocol {
                return Err(BuildError::new(ingress, format!("port {port} has another protocol in the same group")));
            }
            members.push(ingress);
        }
    }
    let setting = |name| members.iter().find_map(|ingress| annotations::text(ingress, name));
    let scheme = setting("scheme").unwrap_or("internal").to_owned();
    let redirect = members.iter().find_map(|ingress| Some((ingress, annotations::text(ingress, "ssl-redirect")?)));
    let redirect = redirect.map(|(ingress, port)| ssl_redirect(ingress, port, &ports)).transpose()?;

    let mut backends = Backends::new(cluster, group, services);
    let mut listeners = Vec::new();
    for (port, (protocol, members)) in &ports {
        let redirect = redirect.clone().filter(|_| *protocol == ListenerProtocol::Http);
        let default_actions = match &redirect {
            Some(redirect) => vec![redirect.clone()],
            None => default_actions(&mut backends, *protocol, members, first)?,
        };
        let rules = if redirect.is_some() { Vec::new() } else { rules(&mut backends, *protocol, members)? };
        let is_secure = *protocol == ListenerProtocol::Https;
        let certificate = is_secure.then(|| certificate(members));
        listeners.push(WantedListener { port: *port, protocol: *protocol, certificate, default_actions, rules });
    }
    Ok(Some(Model {
        load_balancer_name: setting("load-balancer-name")
            .map_or_else(|| backends::load_balancer_name(cluster, group, &scheme), str::to_owned),
        scheme,
        listeners,
        target_groups: backends.target_groups,
        announced: backends.announced,
    }))
}

/// One rule for each path of each Ingress: exact paths first, then prefixes, the longest first, then the rest as written.
fn rules(
    backends: &mut Backends<'_>,
    protocol: ListenerProtocol,
    members: &[&Ingress],
) -> Result<Vec<WantedRule>, BuildError> {
    let mut rules = Vec::new();
    for ingress in members {
        for rule in &ingress.spec.rules {
            let mut paths: Vec<_> = rule.http.paths.iter().collect();
            paths.sort_by_key(|path| match path.path_type {
                kind @ PathType::Prefix => (kind, usize::MAX - path.path.len()),
                kind => (kind, 0),
            });
            for path in paths {
                rules.push(WantedRule {
                    conditions: conditions::build(ingress, rule, path)?,
                    actions: backends.actions(ingress, protocol, &path.backend)?,
                    transforms: annotations::transforms(ingress, &path.backend.service.name)?,
                });
            }
        }
    }
    Ok(rules)
}

/// The default backend of the one member that has one; otherwise 404.
fn default_actions(
    backends: &mut Backends<'_>,
    protocol: ListenerProtocol,
    members: &[&Ingress],
    first: &Ingress,
) -> Result<Vec<WantedAction>, BuildError> {
    let mut with_default = members.iter().filter_map(|ingress| Some((ingress, ingress.spec.default_backend.as_ref()?)));
    match (with_default.next(), with_default.next()) {
        (None, _) => {
            let config = FixedResponseConfig {
                status_code: "404".to_owned(),
                content_type: Some("text/plain".to_owned()),
                message_body: None,
            };
            Ok(vec![WantedAction::fixed_response(config)])
        }
        (Some((ingress, backend)), None) => backends.actions(ingress, protocol, backend),
        (Some(_), Some(_)) => Err(BuildError::new(first, "several Ingresses of the group have a defaultBackend")),
    }
}

/// `listen-ports`, such as `[{"HTTP": 80}, {"HTTPS": 443}]`; without it 443 if there is a certificate, 80 otherwise.
fn listen_ports(ingress: &Ingress) -> Result<BTreeMap<u16, ListenerProtocol>, BuildError> {
    let Some(entries) = annotations::json::<Vec<BTreeMap<String, u16>>>(ingress, "listen-ports")? else {
        let is_secure = annotations::text(ingress, "certificate-arn").is_some();
        let implied = if is_secure { (443, ListenerProtocol::Https) } else { (80, ListenerProtocol::Http) };
        return Ok(BTreeMap::from([implied]));
    };
    let entries = entries.into_iter().flatten().map(|(protocol, port)| match protocol.as_str() {
        // Keys come in small letters.
        "http" => Ok((port, ListenerProtocol::Http)),
        "https" => Ok((port, ListenerProtocol::Https)),
        _ => Err(BuildError::new(ingress, format!("{PREFIX}/listen-ports: '{protocol}' is neither HTTP nor HTTPS"))),
    });
    entries.collect()
}

fn ssl_redirect(
    ingress: &Ingress,
    port: &str,
    ports: &BTreeMap<u16, (ListenerProtocol, Vec<&Ingress>)>,
) -> Result<WantedAction, BuildError> {
    let listens = port.parse().ok().and_then(|port| ports.get(&port));
    if listens.is_none_or(|(protocol, _)| *protocol != ListenerProtocol::Https) {
        return Err(BuildError::new(ingress, format!("{PREFIX}/ssl-redirect: no HTTPS listener on port {port}")));
    }
    let config = RedirectConfig {
        protocol: Some("HTTPS".to_owned()),
        port: Some(port.to_owned()),
        status_code: "HTTP_301".to_owned(),
        ..RedirectConfig::default()
    };
    Ok(WantedAction::redirect(config))
}

fn certificate(members: &[&Ingress]) -> Certificate {
    let named = members.iter().find_map(|ingress| annotations::text(ingress, "certificate-arn")?.split(',').next());
    let found = "arn:aws:acm:us-east-1:000000000000:certificate/00000000-0000-0000-0000-000000000001";
    Certificate { certificate_arn: named.unwrap_or(found).trim().to_owned() }
}

impl WantedAction {
    fn fixed_response(config: FixedResponseConfig) -> Self {
        let kind = ActionType::FixedResponse;
        Self::Other(Box::new(Action { r#type: kind, fixed_response_config: Some(config), ..Action::default() }))
    }

    fn redirect(config: RedirectConfig) -> Self {
        let kind = ActionType::Redirect;
        Self::Other(Box::new(Action { r#type: kind, redirect_config: Some(config), ..Action::default() }))
    }

    /// The action as it is sent. Fails with the name of a target group that there is not.
    fn resolve(&self, arns: &Arns) -> Result<Action, String> {
        let (shares, stickiness) = match self {
            Self::Other(action) => return Ok(Action::clone(action)),
            Self::Forward { shares, stickiness } => (shares, stickiness),
        };
        let tuple = |Share { group, weight }: &Share| {
            let found = match group {
                GroupRef::Own(resource) => arns.by_resource.get(resource).ok_or(resource),
                GroupRef::Name(name) => arns.by_name.get(name).ok_or(name),
                GroupRef::Arn(arn) => Ok(arn),
            };
            Ok(TargetGroupTuple { target_group_arn: found.map_err(String::clone)?.clone(), weight: *weight })
        };
        Ok(Action {
            r#type: ActionType::Forward,
            forward_config: Some(ForwardConfig {
                target_groups: shares.iter().map(tuple).collect::<Result<_, String>>()?,
                target_group_stickiness_config: stickiness.clone(),
            }),
            ..Action::default()
        })
    }
}

/// The actions as they are sent, with their order.
pub(super) fn resolve(actions: &[WantedAction], arns: &Arns) -> Result<Vec<Action>, String> {
    let resolved = (1..).zip(actions).map(|(order, action)| Ok(Action { order: Some(order), ..action.resolve(arns)? }));
    resolved.collect()
}

#[cfg(test)]
mod tests;
