//! What an account has in one region: load balancers, target groups, listeners, rules and their tags, as plain data.
//!
//! The struct of a resource is also its shape in an answer. What AWS derives when it answers (the default actions of a listener, the
//! load balancers of a target group) is derived here too, and kept in one place only.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime};

use serde::{Serialize, Serializer};

pub(crate) mod arn;
pub(crate) mod attributes;
pub(crate) mod health;
pub(crate) mod protocol;
pub(crate) mod shapes;
pub(crate) mod targets;

use crate::control_plane::error::ApiError;
use arn::{Family, Home, Ids, Kind};
use attributes::Attributes;
pub(crate) use protocol::ListenerProtocol;
use shapes::{Action, Condition, Transform};
use targets::{HealthReports, Probing, Registration};

/// Tags of one resource, by key.
pub(crate) type Tags = BTreeMap<String, String>;

/// Numbers of AWS that a test may want otherwise.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Limits {
    pub(crate) rules_per_load_balancer: usize,
    pub(crate) page_size: u16,
}

/// The whole state of the control plane. Operations read it, or change a copy that replaces it when they succeed.
#[derive(Debug, Clone)]
pub(crate) struct Account {
    pub(crate) home: Home,
    pub(crate) ids: Ids,
    pub(crate) limits: Limits,
    /// The time of the call that is being carried out.
    pub(crate) now: SystemTime,
    pub(crate) load_balancers: Vec<LoadBalancer>,
    pub(crate) target_groups: Vec<TargetGroup>,
    pub(crate) listeners: Vec<Listener>,
    /// Default rules too, each made and deleted with its listener.
    pub(crate) rules: Vec<Rule>,
    /// In the order of registration. Those whose deregistration delay is over are gone, see [`Account::targets_of`].
    pub(crate) registrations: Vec<Registration>,
    pub(crate) health: HealthReports,
    pub(crate) probing: Probing,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LoadBalancer {
    #[serde(rename = "LoadBalancerArn")]
    pub(crate) arn: String,
    #[serde(rename = "DNSName")]
    pub(crate) dns_name: String,
    pub(crate) canonical_hosted_zone_id: String,
    #[serde(serialize_with = "timestamp")]
    pub(crate) created_time: SystemTime,
    #[serde(rename = "LoadBalancerName")]
    pub(crate) name: String,
    pub(crate) scheme: String,
    pub(crate) vpc_id: String,
    pub(crate) state: LoadBalancerState,
    pub(crate) r#type: String,
    pub(crate) availability_zones: Vec<AvailabilityZone>,
    pub(crate) security_groups: Vec<String>,
    pub(crate) ip_address_type: String,
    /// Attributes that were set; the others have AWS's defaults.
    #[serde(skip)]
    pub(crate) attributes: Attributes,
    #[serde(skip)]
    pub(crate) tags: Tags,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LoadBalancerState {
    pub(crate) code: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AvailabilityZone {
    pub(crate) zone_name: String,
    pub(crate) subnet_id: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TargetGroup {
    #[serde(rename = "TargetGroupArn")]
    pub(crate) arn: String,
    #[serde(rename = "TargetGroupName")]
    pub(crate) name: String,
    pub(crate) protocol: String,
    /// Empty, and not given out, unless the protocol is HTTP or HTTPS.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) protocol_version: String,
    pub(crate) port: u16,
    pub(crate) vpc_id: String,
    pub(crate) target_type: String,
    pub(crate) ip_address_type: String,
    pub(crate) health_check_enabled: bool,
    pub(crate) health_check_protocol: String,
    pub(crate) health_check_port: String,
    /// Empty, and not given out, for health checks over TCP.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub(crate) health_check_path: String,
    pub(crate) health_check_interval_seconds: u16,
    pub(crate) health_check_timeout_seconds: u16,
    pub(crate) healthy_threshold_count: u16,
    pub(crate) unhealthy_threshold_count: u16,
    /// Without codes, and not given out, for health checks over TCP.
    #[serde(skip_serializing_if = "Matcher::is_empty")]
    pub(crate) matcher: Matcher,
    /// Empty in the state; [`Account::describe_target_group`] fills it from the rules.
    pub(crate) load_balancer_arns: Vec<String>,
    /// Attributes that were set; the others have AWS's defaults.
    #[serde(skip)]
    pub(crate) attributes: Attributes,
    #[serde(skip)]
    pub(crate) tags: Tags,
}

/// The answers that count as healthy.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Matcher {
    pub(crate) http_code: Option<String>,
    pub(crate) grpc_code: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Listener {
    #[serde(rename = "ListenerArn")]
    pub(crate) arn: String,
    pub(crate) load_balancer_arn: String,
    pub(crate) port: u16,
    pub(crate) protocol: ListenerProtocol,
    pub(crate) certificates: Option<Vec<Certificate>>,
    pub(crate) ssl_policy: Option<String>,
    pub(crate) mutual_authentication: Option<MutualAuthentication>,
    pub(crate) alpn_policy: Option<Vec<String>>,
    /// Empty in the state; [`Account::describe_listener`] fills it from the default rule.
    pub(crate) default_actions: Vec<Action>,
    /// Attributes that were set; the others have AWS's defaults.
    #[serde(skip)]
    pub(crate) attributes: Attributes,
    #[serde(skip)]
    pub(crate) tags: Tags,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct Certificate {
    pub(crate) certificate_arn: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct MutualAuthentication {
    pub(crate) mode: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Rule {
    #[serde(rename = "RuleArn")]
    pub(crate) arn: String,
    pub(crate) priority: Priority,
    pub(crate) conditions: Vec<Condition>,
    pub(crate) actions: Vec<Action>,
    pub(crate) transforms: Vec<Transform>,
    pub(crate) is_default: bool,
    #[serde(skip)]
    pub(crate) listener_arn: String,
    #[serde(skip)]
    pub(crate) tags: Tags,
}

/// The order of evaluation: lower numbers first, the default rule last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Priority {
    /// 1 to 50000.
    At(u16),
    Default,
}

impl Account {
    pub(crate) fn new(home: Home, seed: u64, limits: Limits, now: SystemTime) -> Self {
        Self {
            home,
            ids: Ids::new(seed),
            limits,
            now,
            load_balancers: Vec::new(),
            target_groups: Vec::new(),
            listeners: Vec::new(),
            rules: Vec::new(),
            registrations: Vec::new(),
            health: HealthReports::new(),
            probing: Probing::Nobody { healthy_after: Duration::ZERO },
        }
    }

    pub(crate) fn load_balancer(&self, arn: &str) -> Result<&LoadBalancer, ApiError> {
        well_formed(arn, Kind::LoadBalancer)?;
        self.load_balancers
            .iter()
            .find(|load_balancer| load_balancer.arn == arn)
            .ok_or_else(|| load_balancer_not_found(arn))
    }

    pub(crate) fn load_balancer_mut(&mut self, arn: &str) -> Result<&mut LoadBalancer, ApiError> {
        well_formed(arn, Kind::LoadBalancer)?;
        self.load_balancers
            .iter_mut()
            .find(|load_balancer| load_balancer.arn == arn)
            .ok_or_else(|| load_balancer_not_found(arn))
    }

    pub(crate) fn target_group(&self, arn: &str) -> Result<&TargetGroup, ApiError> {
        well_formed(arn, Kind::TargetGroup)?;
        self.target_groups.iter().find(|group| group.arn == arn).ok_or_else(|| target_group_not_found(arn))
    }

    pub(crate) fn target_group_mut(&mut self, arn: &str) -> Result<&mut TargetGroup, ApiError> {
        well_formed(arn, Kind::TargetGroup)?;
        self.target_groups.iter_mut().find(|group| group.arn == arn).ok_or_else(|| target_group_not_found(arn))
    }

    pub(crate) fn listener(&self, arn: &str) -> Result<&Listener, ApiError> {
        well_formed(arn, Kind::Listener)?;
        self.listeners.iter().find(|listener| listener.arn == arn).ok_or_else(|| listener_not_found(arn))
    }

    pub(crate) fn listener_mut(&mut self, arn: &str) -> Result<&mut Listener, ApiError> {
        well_formed(arn, Kind::Listener)?;
        self.listeners.iter_mut().find(|listener| listener.arn == arn).ok_or_else(|| listener_not_found(arn))
    }

    pub(crate) fn rule(&self, arn: &str) -> Result<&Rule, ApiError> {
        well_formed(arn, Kind::Rule)?;
        self.rules.iter().find(|rule| rule.arn == arn).ok_or_else(|| rule_not_found(arn))
    }

    pub(crate) fn rule_mut(&mut self, arn: &str) -> Result<&mut Rule, ApiError> {
        well_formed(arn, Kind::Rule)?;
        self.rules.iter_mut().find(|rule| rule.arn == arn).ok_or_else(|| rule_not_found(arn))
    }

    /// The rules of a listener, the default rule last.
    pub(crate) fn rules_of(&self, listener_arn: &str) -> Vec<&Rule> {
        let mut rules: Vec<&Rule> = self.rules.iter().filter(|rule| rule.listener_arn == listener_arn).collect();
        rules.sort_by_key(|rule| rule.priority);
        rules
    }

    pub(crate) fn default_rule_mut(&mut self, listener_arn: &str) -> Result<&mut Rule, ApiError> {
        self.rules
            .iter_mut()
            .find(|rule| rule.is_default && rule.listener_arn == listener_arn)
            .ok_or_else(|| listener_not_found(listener_arn))
    }

    /// The load balancers whose rules name the target group. AWS allows one at most.
    pub(crate) fn load_balancers_of(&self, target_group_arn: &str) -> Vec<String> {
        let mut load_balancers: Vec<String> = self
            .rules
            .iter()
            .filter(|rule| rule.names(target_group_arn))
            .filter_map(|rule| self.load_balancer_of(rule))
            .map(str::to_owned)
            .collect();
        load_balancers.sort();
        load_balancers.dedup();
        load_balancers
    }

    pub(crate) fn load_balancer_of(&self, rule: &Rule) -> Option<&str> {
        let listener = self.listeners.iter().find(|listener| listener.arn == rule.listener_arn)?;
        Some(&listener.load_balancer_arn)
    }

    /// The target group as AWS describes it.
    pub(crate) fn describe_target_group(&self, group: &TargetGroup) -> TargetGroup {
        TargetGroup { load_balancer_arns: self.load_balancers_of(&group.arn), ..group.clone() }
    }

    /// The listener as AWS describes it.
    pub(crate) fn describe_listener(&self, listener: &Listener) -> Listener {
        let default_rule = self.rules.iter().find(|rule| rule.is_default && rule.listener_arn == listener.arn);
        Listener {
            default_actions: default_rule.map(|rule| rule.actions.clone()).unwrap_or_default(),
            ..listener.clone()
        }
    }

    pub(crate) fn tags(&self, arn: &str) -> Result<&Tags, ApiError> {
        match Kind::of(arn) {
            Some(Kind::LoadBalancer) => self.load_balancer(arn).map(|found| &found.tags),
            Some(Kind::TargetGroup) => self.target_group(arn).map(|found| &found.tags),
            Some(Kind::Listener) => self.listener(arn).map(|found| &found.tags),
            Some(Kind::Rule) => self.rule(arn).map(|found| &found.tags),
            None => Err(ApiError::validation(format!("'{arn}' is not a valid ARN of this service"))),
        }
    }

    pub(crate) fn tags_mut(&mut self, arn: &str) -> Result<&mut Tags, ApiError> {
        // The checks are those of reading; after them the resource is known to be there.
        self.tags(arn)?;
        let all = (self.load_balancers.iter_mut().map(|found| (&found.arn, &mut found.tags)))
            .chain(self.target_groups.iter_mut().map(|found| (&found.arn, &mut found.tags)))
            .chain(self.listeners.iter_mut().map(|found| (&found.arn, &mut found.tags)))
            .chain(self.rules.iter_mut().map(|found| (&found.arn, &mut found.tags)));
        let mut matching = all.filter(|(found, _)| *found == arn);
        matching.next().map(|(_, tags)| tags).ok_or_else(|| ApiError::validation(format!("'{arn}' not found")))
    }
}

impl LoadBalancer {
    pub(crate) fn family(&self) -> Family {
        if self.r#type == "network" { Family::Network } else { Family::Application }
    }
}

impl TargetGroup {
    /// The kind of load balancer that can use it: its protocol decides.
    pub(crate) fn family(&self) -> Family {
        if matches!(self.protocol.as_str(), "HTTP" | "HTTPS") { Family::Application } else { Family::Network }
    }
}

impl Matcher {
    /// Without codes.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

impl Rule {
    /// An action of this rule forwards to the target group, with whatever weight.
    pub(crate) fn names(&self, target_group_arn: &str) -> bool {
        self.actions.iter().flat_map(Action::target_groups).any(|tuple| tuple.target_group_arn == target_group_arn)
    }

    /// See [`Action::splits_without_stickiness`].
    pub(crate) fn splits_without_stickiness(&self, target_group_arn: &str) -> bool {
        self.actions.iter().any(|action| action.splits_without_stickiness(target_group_arn))
    }
}

impl Serialize for Priority {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::At(number) => serializer.collect_str(number),
            Self::Default => serializer.serialize_str("default"),
        }
    }
}

/// Refuses an ARN that cannot name a resource of this kind, as AWS does before it looks anything up.
pub(crate) fn well_formed(arn: &str, kind: Kind) -> Result<(), ApiError> {
    if Kind::of(arn) == Some(kind) {
        Ok(())
    } else {
        Err(ApiError::validation(format!("'{arn}' is not a valid {} ARN", kind.noun())))
    }
}

fn load_balancer_not_found(arn: &str) -> ApiError {
    ApiError::new("LoadBalancerNotFound", format!("Load balancer '{arn}' not found"))
}

fn target_group_not_found(arn: &str) -> ApiError {
    ApiError::new("TargetGroupNotFound", format!("Target group '{arn}' not found"))
}

fn listener_not_found(arn: &str) -> ApiError {
    ApiError::new("ListenerNotFound", format!("Listener '{arn}' not found"))
}

fn rule_not_found(arn: &str) -> ApiError {
    ApiError::new("RuleNotFound", format!("Rule '{arn}' not found"))
}

fn timestamp<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_millis(*time))
}
