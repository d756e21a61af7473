//! CreateTargetGroup, DescribeTargetGroups, ModifyTargetGroup, DeleteTargetGroup.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::control_plane::error::ApiError;
use crate::control_plane::model::arn::Kind;
use crate::control_plane::model::attributes::Attributes;
use crate::control_plane::model::shapes::Tag;
use crate::control_plane::model::{Account, Matcher, Tags, TargetGroup, well_formed};
use crate::control_plane::operations::pages::page;
use crate::control_plane::operations::{Nothing, Read, Write, Written};
use crate::control_plane::validate::{self, HealthChecks, within};

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct CreateTargetGroup {
    pub(crate) name: String,
    pub(crate) protocol: Option<String>,
    pub(crate) protocol_version: Option<String>,
    pub(crate) port: Option<u16>,
    pub(crate) vpc_id: Option<String>,
    pub(crate) health_check_protocol: Option<String>,
    pub(crate) health_check_port: Option<String>,
    pub(crate) health_check_enabled: Option<bool>,
    pub(crate) health_check_path: Option<String>,
    pub(crate) health_check_interval_seconds: Option<u16>,
    pub(crate) health_check_timeout_seconds: Option<u16>,
    pub(crate) healthy_threshold_count: Option<u16>,
    pub(crate) unhealthy_threshold_count: Option<u16>,
    pub(crate) matcher: Option<Matcher>,
    pub(crate) target_type: Option<String>,
    #[serde(default)]
    pub(crate) tags: Vec<Tag>,
    pub(crate) ip_address_type: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DescribeTargetGroups {
    pub(crate) load_balancer_arn: Option<String>,
    #[serde(default)]
    pub(crate) target_group_arns: Vec<String>,
    #[serde(default)]
    pub(crate) names: Vec<String>,
    pub(crate) marker: Option<String>,
    pub(crate) page_size: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct ModifyTargetGroup {
    target_group_arn: String,
    health_check_protocol: Option<String>,
    health_check_port: Option<String>,
    health_check_path: Option<String>,
    health_check_enabled: Option<bool>,
    health_check_interval_seconds: Option<u16>,
    health_check_timeout_seconds: Option<u16>,
    healthy_threshold_count: Option<u16>,
    unhealthy_threshold_count: Option<u16>,
    matcher: Option<Matcher>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DeleteTargetGroup {
    pub(crate) target_group_arn: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TargetGroups {
    pub(crate) target_groups: Vec<TargetGroup>,
    pub(crate) next_marker: Option<String>,
}

impl Write for CreateTargetGroup {
    type Output = TargetGroups;

    fn write(self, account: &mut Account) -> Result<Written<TargetGroups>, ApiError> {
        let wanted = self.checked()?;
        if let Some(existing) = account.target_groups.iter().find(|existing| existing.name == wanted.name) {
            // Attributes are set by calls of their own, so they are no settings of this one.
            let (arn, attributes) = (existing.arn.clone(), existing.attributes.clone());
            let same = TargetGroup { arn, attributes, ..wanted.clone() } == *existing;
            return if same {
                Ok(Written::new(one(account.describe_target_group(existing)), [existing.arn.clone()]))
            } else {
                Err(ApiError::new(
                    "DuplicateTargetGroupName",
                    format!("A target group with the name '{}' exists, but with different settings", wanted.name),
                ))
            };
        }
        let id = account.ids.next();
        let created = TargetGroup { arn: account.home.target_group(&wanted.name, &id), ..wanted };
        account.target_groups.push(created.clone());
        let touched = [created.arn.clone()];
        Ok(Written::new(one(created), touched))
    }
}

impl CreateTargetGroup {
    /// The target group as it is kept, with AWS's defaults, but without an ARN yet.
    fn checked(self) -> Result<TargetGroup, ApiError> {
        validate::name("target group", &self.name)?;
        let protocol = self.protocol.ok_or_else(|| ApiError::validation("A protocol must be specified"))?;
        let is_http = matches!(protocol.as_str(), "HTTP" | "HTTPS");
        if !is_http && !matches!(protocol.as_str(), "TCP" | "TLS" | "UDP" | "TCP_UDP") {
            return Err(ApiError::not_modelled(format_args!("target groups with protocol '{protocol}'")));
        }
        let target_type = self.target_type.unwrap_or_else(|| "instance".to_owned());
        if !matches!(target_type.as_str(), "instance" | "ip") {
            return Err(ApiError::not_modelled(format_args!(
                "target groups of type '{target_type}', only instance and ip"
            )));
        }
        let port = self.port.ok_or_else(|| ApiError::validation("A port must be specified"))?;
        within("Port", port, 1, u16::MAX)?;
        let protocol_version = match self.protocol_version {
            None if is_http => "HTTP1".to_owned(),
            None => String::new(),
            Some(version) if is_http && matches!(version.as_str(), "HTTP1" | "HTTP2" | "GRPC") => version,
            Some(version) => {
                return Err(ApiError::validation(format!(
                    "Protocol version '{version}' is not supported with the protocol '{protocol}'"
                )));
            }
        };
        let mut group = TargetGroup {
            arn: String::new(),
            name: self.name,
            protocol_version,
            port,
            vpc_id: self.vpc_id.ok_or_else(|| ApiError::validation("A VPC ID must be specified"))?,
            ip_address_type: validate::one_of("IpAddressType", self.ip_address_type, &["ipv4", "ipv6"])?,
            health_check_enabled: true,
            health_check_protocol: String::new(),
            health_check_port: String::new(),
            health_check_path: String::new(),
            health_check_interval_seconds: 0,
            health_check_timeout_seconds: 0,
            healthy_threshold_count: 0,
            unhealthy_threshold_count: 0,
            matcher: Matcher::default(),
            load_balancer_arns: Vec::new(),
            attributes: own_defaults(&protocol, &target_type),
            protocol,
            target_type,
            tags: validate::tags(&Tags::new(), &self.tags)?,
        };
        HealthChecks::defaults(&group).put_into(&mut group)?;
        let given = HealthChecks {
            enabled: self.health_check_enabled,
            protocol: self.health_check_protocol,
            port: self.health_check_port,
            path: self.health_check_path,
            interval_seconds: self.health_check_interval_seconds,
            timeout_seconds: self.health_check_timeout_seconds,
            healthy_threshold: self.healthy_threshold_count,
            unhealthy_threshold: self.unhealthy_threshold_count,
            matcher: self.matcher,
        };
        given.put_into(&mut group)?;
        Ok(group)
    }
}

impl Write for ModifyTargetGroup {
    type Output = TargetGroups;

    /// What is not specified stays.
    fn write(self, account: &mut Account) -> Result<Written<TargetGroups>, ApiError> {
        let group = account.target_group_mut(&self.target_group_arn)?;
        let given = HealthChecks {
            enabled: self.health_check_enabled,
            protocol: self.health_check_protocol,
            port: self.health_check_port,
            path: self.health_check_path,
            interval_seconds: self.health_check_interval_seconds,
            timeout_seconds: self.health_check_timeout_seconds,
            healthy_threshold: self.healthy_threshold_count,
            unhealthy_threshold: self.unhealthy_threshold_count,
            matcher: self.matcher,
        };
        given.put_into(group)?;
        let changed = group.clone();
        let touched = [changed.arn.clone()];
        Ok(Written::new(one(account.describe_target_group(&changed)), touched))
    }
}

impl Read for DescribeTargetGroups {
    type Output = TargetGroups;

    fn read(self, account: &Account, _now: SystemTime) -> Result<TargetGroups, ApiError> {
        let found: Vec<&TargetGroup> = match (&self.load_balancer_arn, &*self.target_group_arns, &*self.names) {
            (None, [], []) => account.target_groups.iter().collect(),
            (Some(load_balancer), [], []) => {
                let arn = &account.load_balancer(load_balancer)?.arn;
                account
                    .target_groups
                    .iter()
                    .filter(|group| account.load_balancers_of(&group.arn).contains(arn))
                    .collect()
            }
            (None, arns, []) => arns.iter().map(|arn| account.target_group(arn)).collect::<Result<_, _>>()?,
            (None, [], names) => names.iter().map(|name| by_name(account, name)).collect::<Result<_, _>>()?,
            _ => {
                return Err(ApiError::validation(
                    "Only one of a load balancer ARN, target group ARNs and target group names can be specified",
                ));
            }
        };
        let (found, next_marker) = page(found, self.page_size, self.marker.as_deref(), account.limits.page_size)?;
        let target_groups = found.into_iter().map(|group| account.describe_target_group(group)).collect();
        Ok(TargetGroups { target_groups, next_marker })
    }
}

impl Write for DeleteTargetGroup {
    type Output = Nothing;

    /// TargetGroupNotFound is no error of this operation (service model): deleting what is not there succeeds.
    fn write(self, account: &mut Account) -> Result<Written<Nothing>, ApiError> {
        let arn = self.target_group_arn;
        well_formed(&arn, Kind::TargetGroup)?;
        if account.rules.iter().any(|rule| rule.names(&arn)) {
            return Err(ApiError::new(
                "ResourceInUse",
                format!("Target group '{arn}' is currently in use by a listener or a rule"),
            ));
        }
        account.target_groups.retain(|group| group.arn != arn);
        account.forget_gone_targets();
        Ok(Written::new(Nothing {}, [arn]))
    }
}

/// The attributes whose defaults depend on more than the kind of load balancer (API reference of TargetGroupAttribute).
fn own_defaults(protocol: &str, target_type: &str) -> Attributes {
    let mut attributes = Attributes::new();
    let mut set = |key: &str, value: &str| attributes.insert(key.to_owned(), value.to_owned());
    if target_type == "ip" && matches!(protocol, "TCP" | "TLS") {
        set("preserve_client_ip.enabled", "false");
    }
    if matches!(protocol, "UDP" | "TCP_UDP") {
        set("deregistration_delay.connection_termination.enabled", "true");
        set("target_health_state.unhealthy.connection_termination.enabled", "false");
    }
    attributes
}

fn one(group: TargetGroup) -> TargetGroups {
    TargetGroups { target_groups: vec![group], next_marker: None }
}

fn by_name<'a>(account: &'a Account, name: &str) -> Result<&'a TargetGroup, ApiError> {
    account
        .target_groups
        .iter()
        .find(|group| group.name == name)
        .ok_or_else(|| ApiError::new("TargetGroupNotFound", format!("Target groups '[{name}]' not found")))
}
