//! CreateListener, DescribeListeners, ModifyListener, DeleteListener.
//!
//! The default actions of a listener are the actions of its default rule. They are kept there and nowhere else.

use serde::{Deserialize, Serialize};

use crate::control_plane::error::ApiError;
use crate::control_plane::model::arn::{self, Kind};
use crate::control_plane::model::shapes::{Action, Tag};
use crate::control_plane::model::{
    Account, Certificate, Listener, ListenerProtocol, MutualAuthentication, Priority, Rule, Tags,
};
use crate::control_plane::operations::pages::page;
use crate::control_plane::operations::{Nothing, Read, Write, Written};
use crate::control_plane::validate::{self, within};

/// What AWS's API uses when none is named.
const DEFAULT_SSL_POLICY: &str = "ELBSecurityPolicy-2016-08";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct CreateListener {
    pub(crate) load_balancer_arn: String,
    pub(crate) protocol: Option<ListenerProtocol>,
    pub(crate) port: Option<u16>,
    pub(crate) ssl_policy: Option<String>,
    #[serde(default)]
    pub(crate) certificates: Vec<Certificate>,
    #[serde(default)]
    pub(crate) default_actions: Vec<Action>,
    #[serde(default)]
    pub(crate) tags: Vec<Tag>,
    pub(crate) mutual_authentication: Option<MutualAuthentication>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DescribeListeners {
    pub(crate) load_balancer_arn: Option<String>,
    #[serde(default)]
    pub(crate) listener_arns: Vec<String>,
    pub(crate) marker: Option<String>,
    pub(crate) page_size: Option<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct ModifyListener {
    pub(crate) listener_arn: String,
    pub(crate) port: Option<u16>,
    pub(crate) protocol: Option<ListenerProtocol>,
    pub(crate) ssl_policy: Option<String>,
    #[serde(default)]
    pub(crate) certificates: Vec<Certificate>,
    #[serde(default)]
    pub(crate) default_actions: Vec<Action>,
    pub(crate) mutual_authentication: Option<MutualAuthentication>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DeleteListener {
    pub(crate) listener_arn: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listeners {
    pub(crate) listeners: Vec<Listener>,
    pub(crate) next_marker: Option<String>,
}

/// The settings that only an HTTPS listener has.
#[derive(Debug, Default, PartialEq, Eq)]
struct Tls {
    certificates: Option<Vec<Certificate>>,
    ssl_policy: Option<String>,
    mutual_authentication: Option<MutualAuthentication>,
}

impl Write for CreateListener {
    type Output = Listeners;

    fn write(self, account: &mut Account) -> Result<Written<Listeners>, ApiError> {
        let load_balancer_arn = account.load_balancer(&self.load_balancer_arn)?.arn.clone();
        let protocol = self.protocol.ok_or_else(|| ApiError::validation("A protocol must be specified"))?;
        let port = self.port.ok_or_else(|| ApiError::validation("A port must be specified"))?;
        within("Port", port, 1, u16::MAX)?;
        let certificates = (!self.certificates.is_empty()).then_some(self.certificates);
        let given =
            Tls { certificates, ssl_policy: self.ssl_policy, mutual_authentication: self.mutual_authentication };
        let tls = given.checked(protocol)?;
        let actions = validate::actions(self.default_actions, protocol, &[])?;
        validate::target_groups(account, &load_balancer_arn, &actions)?;
        let wanted = Listener {
            arn: String::new(),
            load_balancer_arn,
            port,
            protocol,
            certificates: tls.certificates,
            ssl_policy: tls.ssl_policy,
            mutual_authentication: tls.mutual_authentication,
            default_actions: actions,
            tags: validate::tags(&Tags::new(), &self.tags)?,
        };
        if let Some(existing) = on_port(account, &wanted.load_balancer_arn, port) {
            let existing = account.describe_listener(existing);
            return if same_settings(&existing, &wanted) {
                let touched = [existing.arn.clone()];
                Ok(Written::new(one(existing), touched))
            } else {
                Err(duplicate(port))
            };
        }
        let created =
            Listener { arn: arn::below(&wanted.load_balancer_arn, Kind::Listener, &account.ids.next()), ..wanted };
        let default_rule = Rule {
            arn: arn::below(&created.arn, Kind::Rule, &account.ids.next()),
            priority: Priority::Default,
            conditions: Vec::new(),
            actions: created.default_actions.clone(),
            transforms: Vec::new(),
            is_default: true,
            listener_arn: created.arn.clone(),
            tags: Tags::new(),
        };
        let touched = [created.arn.clone(), default_rule.arn.clone()];
        account.listeners.push(Listener { default_actions: Vec::new(), ..created.clone() });
        account.rules.push(default_rule);
        Ok(Written::new(one(created), touched))
    }
}

impl Read for DescribeListeners {
    type Output = Listeners;

    fn read(self, account: &Account) -> Result<Listeners, ApiError> {
        let found: Vec<&Listener> = match (&self.load_balancer_arn, self.listener_arns.as_slice()) {
            (Some(load_balancer), []) => {
                let arn = &account.load_balancer(load_balancer)?.arn;
                account.listeners.iter().filter(|listener| listener.load_balancer_arn == *arn).collect()
            }
            (None, arns) if !arns.is_empty() => {
                arns.iter().map(|arn| account.listener(arn)).collect::<Result<_, _>>()?
            }
            _ => return Err(ApiError::validation("You must specify either listener ARNs or a load balancer ARN")),
        };
        let (found, next_marker) = page(found, self.page_size, self.marker.as_deref(), account.limits.page_size)?;
        let listeners = found.into_iter().map(|listener| account.describe_listener(listener)).collect();
        Ok(Listeners { listeners, next_marker })
    }
}

impl Write for ModifyListener {
    type Output = Listeners;

    /// What is not specified stays. Default actions are replaced as a whole.
    fn write(self, account: &mut Account) -> Result<Written<Listeners>, ApiError> {
        let listener = account.listener(&self.listener_arn)?.clone();
        let port = self.port.unwrap_or(listener.port);
        within("Port", port, 1, u16::MAX)?;
        if on_port(account, &listener.load_balancer_arn, port).is_some_and(|other| other.arn != listener.arn) {
            return Err(duplicate(port));
        }
        let protocol = self.protocol.unwrap_or(listener.protocol);
        let tls = self.tls(&listener, protocol).checked(protocol)?;
        if protocol != listener.protocol {
            suit(account, &listener.arn, protocol, !self.default_actions.is_empty())?;
        }
        let mut touched = vec![listener.arn.clone()];
        if !self.default_actions.is_empty() {
            let default_rule = account.default_rule_mut(&listener.arn)?;
            let actions = validate::actions(self.default_actions, protocol, &default_rule.actions)?;
            default_rule.actions.clone_from(&actions);
            touched.push(default_rule.arn.clone());
            validate::target_groups(account, &listener.load_balancer_arn, &actions)?;
        }
        let changed = Listener {
            port,
            protocol,
            certificates: tls.certificates,
            ssl_policy: tls.ssl_policy,
            mutual_authentication: tls.mutual_authentication,
            ..listener
        };
        *account.listener_mut(&changed.arn)? = changed.clone();
        Ok(Written::new(one(account.describe_listener(&changed)), touched))
    }
}

impl ModifyListener {
    /// A change from HTTPS to HTTP removes the settings of TLS; otherwise what is not specified stays.
    fn tls(&self, listener: &Listener, protocol: ListenerProtocol) -> Tls {
        let keeps = protocol == ListenerProtocol::Https;
        let given = Some(self.certificates.clone()).filter(|certificates| !certificates.is_empty());
        Tls {
            certificates: given.or_else(|| listener.certificates.clone().filter(|_| keeps)),
            ssl_policy: self.ssl_policy.clone().or_else(|| listener.ssl_policy.clone().filter(|_| keeps)),
            mutual_authentication: self
                .mutual_authentication
                .clone()
                .or_else(|| listener.mutual_authentication.clone().filter(|_| keeps)),
        }
    }
}

impl Write for DeleteListener {
    type Output = Nothing;

    /// Its rules go with it.
    fn write(self, account: &mut Account) -> Result<Written<Nothing>, ApiError> {
        account.listener(&self.listener_arn)?;
        let touched = account.remove_listener(&self.listener_arn);
        Ok(Written::new(Nothing {}, touched))
    }
}

impl Tls {
    /// HTTPS needs exactly one certificate; HTTP may have none of this.
    fn checked(self, protocol: ListenerProtocol) -> Result<Self, ApiError> {
        if protocol == ListenerProtocol::Http {
            return if self == Self::default() {
                Ok(self)
            } else {
                Err(ApiError::validation("A certificate, SSL policy or mutual authentication needs an HTTPS listener"))
            };
        }
        match self.certificates.as_deref().unwrap_or_default() {
            [_] => {}
            [] => return Err(ApiError::validation("A certificate must be specified for HTTPS listeners")),
            _ => return Err(ApiError::new("TooManyCertificates", "Exactly one default certificate can be specified")),
        }
        let mutual = self.mutual_authentication.unwrap_or_else(|| MutualAuthentication { mode: "off".to_owned() });
        if !matches!(mutual.mode.as_str(), "off" | "passthrough") {
            return Err(ApiError::not_modelled(format_args!("mutual authentication mode '{}'", mutual.mode)));
        }
        Ok(Self {
            certificates: self.certificates,
            ssl_policy: Some(self.ssl_policy.unwrap_or_else(|| DEFAULT_SSL_POLICY.to_owned())),
            mutual_authentication: Some(mutual),
        })
    }
}

impl Account {
    /// Removes a listener and its rules, and names all that went.
    pub(super) fn remove_listener(&mut self, listener_arn: &str) -> Vec<String> {
        let mut gone = vec![listener_arn.to_owned()];
        gone.extend(self.rules.iter().filter(|rule| rule.listener_arn == listener_arn).map(|rule| rule.arn.clone()));
        self.rules.retain(|rule| rule.listener_arn != listener_arn);
        self.listeners.retain(|listener| listener.arn != listener_arn);
        gone
    }
}

fn one(listener: Listener) -> Listeners {
    Listeners { listeners: vec![listener], next_marker: None }
}

fn on_port<'a>(account: &'a Account, load_balancer_arn: &str, port: u16) -> Option<&'a Listener> {
    account.listeners.iter().find(|listener| listener.load_balancer_arn == load_balancer_arn && listener.port == port)
}

/// The rules that stay must be possible on a listener of the new protocol.
fn suit(account: &Account, arn: &str, protocol: ListenerProtocol, replaces_default: bool) -> Result<(), ApiError> {
    let stay = account.rules_of(arn).into_iter().filter(|rule| !(rule.is_default && replaces_default));
    stay.flat_map(|rule| &rule.actions).try_for_each(|action| validate::suits(action.r#type, protocol))
}

fn duplicate(port: u16) -> ApiError {
    ApiError::new("DuplicateListener", format!("A listener already exists on port '{port}' for this load balancer"))
}

fn same_settings(existing: &Listener, wanted: &Listener) -> bool {
    existing.protocol == wanted.protocol
        && existing.certificates == wanted.certificates
        && existing.ssl_policy == wanted.ssl_policy
        && existing.mutual_authentication == wanted.mutual_authentication
        && existing.default_actions == wanted.default_actions
        && existing.tags == wanted.tags
}
