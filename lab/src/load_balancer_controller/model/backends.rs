//! From backends to actions, and to the target groups that these need.

use std::collections::BTreeMap;

use crate::control_plane::model::ListenerProtocol;
use crate::control_plane::model::shapes::{Action, ActionType, OidcConfig, OnUnauthenticated};
use crate::load_balancer_controller::annotations::{
    self, BackendAction, BuildError, Destination, OidcText, PREFIX, Tuple,
};
use crate::load_balancer_controller::group::GroupId;
use crate::load_balancer_controller::manifest::{Backend, Ingress, PortRef};
use crate::load_balancer_controller::model::{GroupRef, HealthCheck, Services, Share, WantedAction, WantedGroup};
use crate::load_balancer_controller::record::Announced;

/// Builds the actions of a group and collects what they name.
pub(super) struct Backends<'a> {
    cluster: &'a str,
    group: &'a GroupId,
    services: &'a Services,
    pub(super) target_groups: BTreeMap<String, WantedGroup>,
    pub(super) announced: Vec<Announced>,
}

impl<'a> Backends<'a> {
    pub(super) fn new(cluster: &'a str, group: &'a GroupId, services: &'a Services) -> Self {
        Self { cluster, group, services, target_groups: BTreeMap::new(), announced: Vec::new() }
    }

    /// The actions of a rule: who must authenticate (HTTPS only), then what is done.
    pub(super) fn actions(
        &mut self,
        ingress: &Ingress,
        protocol: ListenerProtocol,
        backend: &Backend,
    ) -> Result<Vec<WantedAction>, BuildError> {
        let mut actions = Vec::new();
        if protocol == ListenerProtocol::Https {
            actions.extend(authentication(ingress)?.map(|action| WantedAction::Other(Box::new(action))));
        }
        actions.push(match annotations::action(ingress, backend)? {
            BackendAction::Forward { tuples, stickiness } => {
                self.announce(ingress, &backend.service.name, &tuples);
                match self.forward(ingress, tuples)? {
                    Some(shares) => WantedAction::Forward { shares, stickiness },
                    None => WantedAction::fixed_response(annotations::unavailable("Backend service does not exist")),
                }
            }
            BackendAction::FixedResponse(config) => WantedAction::fixed_response(config),
            BackendAction::Redirect(config) => WantedAction::redirect(config),
        });
        Ok(actions)
    }

    /// The groups of a forward. `None`: its only Service does not exist (flag `tolerate-non-existent-backend-service`).
    fn forward(&mut self, ingress: &Ingress, tuples: Vec<Tuple>) -> Result<Option<Vec<Share>>, BuildError> {
        let is_single = tuples.len() == 1;
        let mut shares = Vec::with_capacity(tuples.len());
        for Tuple { destination, weight } in tuples {
            let group = match destination {
                Destination::Arn(arn) => GroupRef::Arn(arn),
                Destination::Name(name) => GroupRef::Name(name),
                Destination::Service { name, .. } if is_single && !self.knows(ingress, &name) => return Ok(None),
                Destination::Service { name, port } => GroupRef::Own(self.target_group(ingress, &name, port)?),
            };
            shares.push(Share { group, weight });
        }
        Ok(Some(shares))
    }

    /// The target group for a port of a Service, made known if it was not yet. Gives its resource.
    fn target_group(&mut self, ingress: &Ingress, service: &str, port: PortRef) -> Result<String, BuildError> {
        let namespace = &ingress.metadata.namespace;
        let resource = format!("{}-{service}:{port}", ingress.metadata.full_name());
        if self.target_groups.contains_key(&resource) {
            return Ok(resource);
        }
        let found = self
            .services
            .get(&(namespace.clone(), service.to_owned()))
            .ok_or_else(|| BuildError::new(ingress, format!("Service {namespace}/{service} not found")))?;
        let service_port = found
            .port(&port)
            .ok_or_else(|| BuildError::new(ingress, format!("Service {namespace}/{service} has no port {port}")))?;
        // Annotations of the Ingress go before those of the Service.
        let setting = |name: &str| {
            let of_service = || found.metadata.annotations.get(&format!("{PREFIX}/{name}")).map(String::as_str);
            annotations::text(ingress, name).or_else(of_service)
        };
        let target_type = setting("target-type").unwrap_or("ip");
        if target_type != "ip" {
            return Err(BuildError::new(
                ingress,
                format!("the lab does not model target-type '{target_type}', only 'ip'"),
            ));
        }
        let protocol = setting("backend-protocol").unwrap_or("HTTP").to_owned();
        let protocol_version = setting("backend-protocol-version").unwrap_or("HTTP1").to_owned();
        let is_grpc = protocol_version == "GRPC";
        let number = |name: &str, default| match setting(name) {
            None => Ok(default),
            Some(text) => {
                text.parse().map_err(|_| BuildError::new(ingress, format!("{PREFIX}/{name}: '{text}' is not a number")))
            }
        };
        let group = WantedGroup {
            name: format!(
                "k8s-{}-{}-{}",
                short(namespace, 8),
                short(service, 8),
                digest(&[self.cluster, &self.group.to_string(), &resource, &protocol, &protocol_version])
            ),
            namespace: namespace.clone(),
            service: service.to_owned(),
            port,
            target_port: match service_port.target() {
                PortRef::Number(number) => number,
                PortRef::Name(_) => 1,
            },
            health_check: HealthCheck {
                path: setting("healthcheck-path")
                    .unwrap_or(if is_grpc { "/AWS.ALB/healthcheck" } else { "/" })
                    .to_owned(),
                interval: number("healthcheck-interval-seconds", 15)?,
                timeout: number("healthcheck-timeout-seconds", 5)?,
                healthy: number("healthy-threshold-count", 2)?,
                unhealthy: number("unhealthy-threshold-count", 2)?,
                codes: setting("success-codes").unwrap_or(if is_grpc { "12" } else { "200" }).to_owned(),
            },
            attributes: attributes(ingress, setting("target-group-attributes").unwrap_or_default())?,
            protocol,
            protocol_version,
        };
        self.target_groups.insert(resource.clone(), group);
        Ok(resource)
    }

    fn knows(&self, ingress: &Ingress, service: &str) -> bool {
        self.services.contains_key(&(ingress.metadata.namespace.clone(), service.to_owned()))
    }

    fn announce(&mut self, ingress: &Ingress, action: &str, tuples: &[Tuple]) {
        let weight = |tuple: &Tuple| {
            let destination = match &tuple.destination {
                Destination::Service { name, .. } | Destination::Arn(name) | Destination::Name(name) => name,
            };
            Some((destination.clone(), tuple.weight?))
        };
        let announced = Announced {
            ingress: ingress.metadata.full_name(),
            action: action.to_owned(),
            weights: tuples.iter().filter_map(weight).collect(),
        };
        if !announced.weights.is_empty() && !self.announced.contains(&announced) {
            self.announced.push(announced);
        }
    }
}

/// The name of the group's load balancer, where no annotation gives one.
pub(super) fn load_balancer_name(cluster: &str, group: &GroupId, scheme: &str) -> String {
    let digest = digest(&[cluster, &group.to_string(), scheme]);
    if group.namespace.is_empty() {
        format!("k8s-{}-{digest}", short(&group.name, 17))
    } else {
        format!("k8s-{}-{}-{digest}", short(&group.namespace, 8), short(&group.name, 8))
    }
}

/// `auth-type: oidc`. The client's id is the name of its Secret, since the lab keeps no Secrets.
fn authentication(ingress: &Ingress) -> Result<Option<Action>, BuildError> {
    match annotations::text(ingress, "auth-type").unwrap_or("none") {
        "none" => return Ok(None),
        "oidc" => {}
        other => {
            return Err(BuildError::new(ingress, format!("the lab does not model auth-type '{other}', only 'oidc'")));
        }
    }
    let text: OidcText = annotations::json(ingress, "auth-idp-oidc")?
        .ok_or_else(|| BuildError::new(ingress, format!("auth-type oidc needs {PREFIX}/auth-idp-oidc")))?;
    let config = OidcConfig {
        issuer: text.issuer,
        authorization_endpoint: text.authorization_endpoint,
        token_endpoint: text.token_endpoint,
        user_info_endpoint: text.user_info_endpoint,
        client_id: text.secret_name,
        client_secret: Some("not a real secret".to_owned()),
        session_cookie_name: Some("AWSELBAuthSessionCookie".to_owned()),
        scope: Some("openid".to_owned()),
        session_timeout: Some(604_800),
        on_unauthenticated_request: Some(OnUnauthenticated::Authenticate),
        ..OidcConfig::default()
    };
    Ok(Some(Action {
        r#type: ActionType::AuthenticateOidc,
        authenticate_oidc_config: Some(config),
        ..Action::default()
    }))
}

/// `key=value`, separated by commas.
fn attributes(ingress: &Ingress, text: &str) -> Result<BTreeMap<String, String>, BuildError> {
    let pairs = text.split(',').map(str::trim).filter(|pair| !pair.is_empty()).map(|pair| {
        let (key, value) = pair.split_once('=').ok_or_else(|| {
            BuildError::new(ingress, format!("{PREFIX}/target-group-attributes: '{pair}' is not key=value"))
        })?;
        Ok((key.to_owned(), value.to_owned()))
    });
    pairs.collect()
}

/// The first letters and digits of a name.
fn short(name: &str, length: usize) -> String {
    name.chars().filter(char::is_ascii_alphanumeric).take(length).collect()
}

/// Ten hex digits that follow from the parts alone (FNV-1a), so that a name is found again after a restart.
fn digest(parts: &[&str]) -> String {
    let bytes = parts.iter().flat_map(|part| part.bytes().chain([0]));
    let hash =
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3));
    format!("{:010x}", hash >> 24)
}
