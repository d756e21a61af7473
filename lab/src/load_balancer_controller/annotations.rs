//! What the annotations of an Ingress say: actions, conditions and transforms in JSON, and plain settings.
//!
//! Go's JSON reader does not mind the case of keys, so Argo's `ForwardConfig` and a person's `forwardConfig` are the same; nor
//! does it mind keys that it does not know (LBC pkg/ingress/config_types.go, enhanced_backend_builder.go).

use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::control_plane::model::shapes::{
    FixedResponseConfig, QueryStringPair, RedirectConfig, Rewrite, RewriteConfig, StickinessConfig, Transform,
    TransformType,
};
use crate::load_balancer_controller::manifest::{Backend, Ingress, PortRef};

/// What all annotations of the controller begin with.
pub(super) const PREFIX: &str = "alb.ingress.kubernetes.io";

/// Why the model of a group could not be built. One such Ingress stops its whole group.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("Ingress {ingress}: {reason}")]
pub(super) struct BuildError {
    ingress: String,
    reason: String,
}

/// What is done with a request, before Services have become target groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum BackendAction {
    Forward { tuples: Vec<Tuple>, stickiness: Option<StickinessConfig> },
    Redirect(RedirectConfig),
    FixedResponse(FixedResponseConfig),
}

/// A destination and its share.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tuple {
    pub(super) destination: Destination,
    pub(super) weight: Option<u16>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Destination {
    Service { name: String, port: PortRef },
    Arn(String),
    Name(String),
}

/// A condition beside host and path. `values` of a query string are pairs, of all others texts.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct ConditionText {
    pub(super) field: String,
    #[serde(rename = "hostheaderconfig")]
    pub(super) host_header: Option<Values>,
    #[serde(rename = "pathpatternconfig")]
    pub(super) path_pattern: Option<Values>,
    #[serde(rename = "httpheaderconfig")]
    pub(super) http_header: Option<Values>,
    #[serde(rename = "httprequestmethodconfig")]
    pub(super) http_request_method: Option<Values>,
    #[serde(rename = "sourceipconfig")]
    pub(super) source_ip: Option<Values>,
    #[serde(rename = "querystringconfig")]
    pub(super) query_string: Option<Pairs>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Values {
    #[serde(rename = "httpheadername")]
    pub(super) http_header_name: Option<String>,
    #[serde(default)]
    pub(super) values: Vec<String>,
    #[serde(rename = "regexvalues", default)]
    pub(super) regex_values: Vec<String>,
}

#[derive(Debug, Clone, Deserialize)]
pub(super) struct Pairs {
    values: Vec<Pair>,
}

#[derive(Debug, Clone, Deserialize)]
struct Pair {
    key: Option<String>,
    value: String,
}

/// The identity provider of `auth-idp-oidc`.
#[derive(Debug, Clone, Deserialize)]
pub(super) struct OidcText {
    pub(super) issuer: String,
    #[serde(rename = "authorizationendpoint")]
    pub(super) authorization_endpoint: String,
    #[serde(rename = "tokenendpoint")]
    pub(super) token_endpoint: String,
    #[serde(rename = "userinfoendpoint")]
    pub(super) user_info_endpoint: String,
    #[serde(rename = "secretname")]
    pub(super) secret_name: String,
}

#[derive(Debug, Deserialize)]
struct ActionText {
    r#type: String,
    #[serde(rename = "targetgrouparn")]
    target_group_arn: Option<String>,
    #[serde(rename = "targetgroupname")]
    target_group_name: Option<String>,
    #[serde(rename = "forwardconfig")]
    forward: Option<ForwardText>,
    #[serde(rename = "redirectconfig")]
    redirect: Option<RedirectText>,
    #[serde(rename = "fixedresponseconfig")]
    fixed_response: Option<FixedResponseText>,
}

#[derive(Debug, Deserialize)]
struct ForwardText {
    #[serde(rename = "targetgroups", default)]
    target_groups: Vec<TupleText>,
    #[serde(rename = "targetgroupstickinessconfig")]
    stickiness: Option<StickinessText>,
}

#[derive(Debug, Deserialize)]
struct TupleText {
    #[serde(rename = "targetgrouparn")]
    target_group_arn: Option<String>,
    #[serde(rename = "targetgroupname")]
    target_group_name: Option<String>,
    #[serde(rename = "servicename")]
    service_name: Option<String>,
    #[serde(rename = "serviceport")]
    service_port: Option<PortRef>,
    weight: Option<u16>,
}

#[derive(Debug, Deserialize)]
struct StickinessText {
    enabled: Option<bool>,
    #[serde(rename = "durationseconds")]
    duration_seconds: Option<u32>,
}

#[derive(Debug, Deserialize)]
struct RedirectText {
    host: Option<String>,
    path: Option<String>,
    port: Option<String>,
    protocol: Option<String>,
    query: Option<String>,
    #[serde(rename = "statuscode")]
    status_code: String,
}

#[derive(Debug, Deserialize)]
struct FixedResponseText {
    #[serde(rename = "contenttype")]
    content_type: Option<String>,
    #[serde(rename = "messagebody")]
    message_body: Option<String>,
    #[serde(rename = "statuscode")]
    status_code: String,
}

#[derive(Debug, Deserialize)]
struct TransformText {
    r#type: TransformType,
    #[serde(rename = "hostheaderrewriteconfig")]
    host_header_rewrite: Option<RewritesText>,
    #[serde(rename = "urlrewriteconfig")]
    url_rewrite: Option<RewritesText>,
}

#[derive(Debug, Deserialize)]
struct RewritesText {
    rewrites: Vec<RewriteText>,
}

#[derive(Debug, Deserialize)]
struct RewriteText {
    regex: String,
    replace: String,
}

impl BuildError {
    pub(super) fn new(ingress: &Ingress, reason: impl Into<String>) -> Self {
        Self { ingress: ingress.metadata.full_name(), reason: reason.into() }
    }
}

impl BackendAction {
    /// The Services that it forwards to.
    pub(super) fn services(&self) -> impl Iterator<Item = &str> {
        let tuples = match self {
            Self::Forward { tuples, .. } => tuples.as_slice(),
            Self::Redirect(_) | Self::FixedResponse(_) => &[],
        };
        tuples.iter().filter_map(|tuple| match &tuple.destination {
            Destination::Service { name, .. } => Some(&**name),
            Destination::Arn(_) | Destination::Name(_) => None,
        })
    }
}

/// The answer of a backend that there is not (flags `tolerate-non-existent-backend-…`, on by default).
pub(super) fn unavailable(message: &str) -> FixedResponseConfig {
    FixedResponseConfig {
        content_type: Some("text/plain".to_owned()),
        message_body: Some(message.to_owned()),
        status_code: "503".to_owned(),
    }
}

/// The value of an annotation of the controller.
pub(super) fn text<'a>(ingress: &'a Ingress, name: &str) -> Option<&'a str> {
    ingress.metadata.annotations.get(&format!("{PREFIX}/{name}")).map(String::as_str)
}

/// What a backend does: forwards to its Service, or what the annotation says that `use-annotation` points to.
pub(super) fn action(ingress: &Ingress, backend: &Backend) -> Result<BackendAction, BuildError> {
    let service = &backend.service;
    let port = match (&service.port.name, service.port.number) {
        (Some(name), _) if name == "use-annotation" => return named_action(ingress, &service.name),
        (Some(name), _) => PortRef::Name(name.clone()),
        (None, Some(number)) => PortRef::Number(number),
        (None, None) => {
            return Err(BuildError::new(ingress, format!("backend {} has neither port name nor number", service.name)));
        }
    };
    let destination = Destination::Service { name: service.name.clone(), port };
    Ok(BackendAction::Forward { tuples: vec![Tuple { destination, weight: None }], stickiness: None })
}

/// The conditions that `conditions.<backend>` adds to those of host and path.
pub(super) fn conditions(ingress: &Ingress, backend: &str) -> Result<Vec<ConditionText>, BuildError> {
    Ok(json(ingress, &format!("conditions.{backend}"))?.unwrap_or_default())
}

/// The changes that `transforms.<backend>` makes to a request.
pub(super) fn transforms(ingress: &Ingress, backend: &str) -> Result<Vec<Transform>, BuildError> {
    let texts: Vec<TransformText> = json(ingress, &format!("transforms.{backend}"))?.unwrap_or_default();
    let config = |text: RewritesText| RewriteConfig {
        rewrites: text.rewrites.into_iter().map(|RewriteText { regex, replace }| Rewrite { regex, replace }).collect(),
    };
    let transform = |text: TransformText| Transform {
        r#type: text.r#type,
        host_header_rewrite_config: text.host_header_rewrite.map(config),
        url_rewrite_config: text.url_rewrite.map(config),
    };
    Ok(texts.into_iter().map(transform).collect())
}

/// An annotation that holds JSON.
pub(super) fn json<T: DeserializeOwned>(ingress: &Ingress, name: &str) -> Result<Option<T>, BuildError> {
    let Some(text) = text(ingress, name) else { return Ok(None) };
    let read = serde_json::from_str(text).and_then(|value| serde_json::from_value(small_keys(value)));
    read.map(Some).map_err(|error| BuildError::new(ingress, format!("{PREFIX}/{name}: {error}")))
}

impl Pairs {
    pub(super) fn pairs(&self) -> Vec<QueryStringPair> {
        self.values.iter().map(|pair| QueryStringPair { key: pair.key.clone(), value: pair.value.clone() }).collect()
    }
}

fn named_action(ingress: &Ingress, name: &str) -> Result<BackendAction, BuildError> {
    let annotation = format!("actions.{name}");
    let Some(text) = json::<ActionText>(ingress, &annotation)? else {
        return Ok(BackendAction::FixedResponse(unavailable("Backend action does not exist")));
    };
    text.action().map_err(|reason| BuildError::new(ingress, format!("{PREFIX}/{annotation}: {reason}")))
}

impl ActionText {
    fn action(self) -> Result<BackendAction, String> {
        match self.r#type.as_str() {
            "forward" => self.forward(),
            "redirect" => {
                let text = self.redirect.ok_or("a redirect needs redirectConfig")?;
                Ok(BackendAction::Redirect(RedirectConfig {
                    protocol: text.protocol,
                    port: text.port,
                    host: text.host,
                    path: text.path,
                    query: text.query,
                    status_code: text.status_code,
                }))
            }
            "fixed-response" => {
                let text = self.fixed_response.ok_or("a fixed response needs fixedResponseConfig")?;
                Ok(BackendAction::FixedResponse(FixedResponseConfig {
                    message_body: text.message_body,
                    status_code: text.status_code,
                    content_type: text.content_type,
                }))
            }
            other => Err(format!("'{other}' is none of forward, redirect and fixed-response")),
        }
    }

    fn forward(self) -> Result<BackendAction, String> {
        let single = self.target_group_arn.map(Destination::Arn);
        let single = single.or_else(|| self.target_group_name.map(Destination::Name));
        let forward = match (single, self.forward) {
            (Some(destination), None) => {
                return Ok(BackendAction::Forward {
                    tuples: vec![Tuple { destination, weight: None }],
                    stickiness: None,
                });
            }
            (None, Some(forward)) => forward,
            _ => return Err("a forward needs either forwardConfig or one target group".to_owned()),
        };
        let tuples = forward.target_groups.into_iter().map(TupleText::tuple).collect::<Result<Vec<_>, _>>()?;
        if tuples.len() > 1 && tuples.iter().any(|tuple| tuple.weight.is_none()) {
            return Err("each of several target groups needs a weight".to_owned());
        }
        let stickiness = forward
            .stickiness
            .map(|StickinessText { enabled, duration_seconds }| StickinessConfig { enabled, duration_seconds });
        Ok(BackendAction::Forward { tuples, stickiness })
    }
}

impl TupleText {
    fn tuple(self) -> Result<Tuple, String> {
        let destination = match (self.target_group_arn, self.target_group_name, self.service_name) {
            (Some(arn), _, None) => Destination::Arn(arn),
            (None, Some(name), None) => Destination::Name(name),
            (None, None, Some(name)) => {
                let port = self.service_port.ok_or_else(|| format!("Service {name} needs a servicePort"))?.normalised();
                Destination::Service { name, port }
            }
            _ => {
                return Err("each target group needs one of serviceName, targetGroupARN and targetGroupName".to_owned());
            }
        };
        Ok(Tuple { destination, weight: self.weight })
    }
}

/// The same JSON with all keys in small letters: how keys are made comparable whatever their case.
fn small_keys(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            Value::Object(fields.into_iter().map(|(key, value)| (key.to_lowercase(), small_keys(value))).collect())
        }
        Value::Array(items) => Value::Array(items.into_iter().map(small_keys).collect()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
