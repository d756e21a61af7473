//! CreateTargetGroup, DescribeTargetGroups, DeleteTargetGroup.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::control_plane::error::ApiError;
use crate::control_plane::model::arn::Kind;
use crate::control_plane::model::shapes::Tag;
use crate::control_plane::model::{Account, Matcher, Tags, TargetGroup, well_formed};
use crate::control_plane::operations::pages::page;
use crate::control_plane::operations::{Nothing, Read, Write, Written};
use crate::control_plane::validate::{self, within};

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

#[derive(Debug, Default, Deserialize)]
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
            let same = TargetGroup { arn: existing.arn.clone(), ..wanted.clone() } == *existing;
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
        if !matches!(protocol.as_str(), "HTTP" | "HTTPS") {
            return Err(ApiError::not_modelled(format_args!(
                "target groups with protocol '{protocol}', only HTTP and HTTPS"
            )));
        }
        let target_type = self.target_type.unwrap_or_else(|| "instance".to_owned());
        if !matches!(target_type.as_str(), "instance" | "ip") {
            return Err(ApiError::not_modelled(format_args!(
                "target groups of type '{target_type}', only instance and ip"
            )));
        }
        let port = self.port.ok_or_else(|| ApiError::validation("A port must be specified"))?;
        within("Port", port, 1, u16::MAX)?;
        let vpc_id = self.vpc_id.ok_or_else(|| ApiError::validation("A VPC ID must be specified"))?;
        let protocol_version = self.protocol_version.unwrap_or_else(|| "HTTP1".to_owned());
        let is_grpc = protocol_version == "GRPC";
        if !matches!(protocol_version.as_str(), "HTTP1" | "HTTP2" | "GRPC") {
            return Err(ApiError::validation(format!("Protocol version '{protocol_version}' is not supported")));
        }
        let interval = self.health_check_interval_seconds.unwrap_or(30);
        within("HealthCheckIntervalSeconds", interval, 5, 300)?;
        let timeout = self.health_check_timeout_seconds.unwrap_or(if protocol == "HTTPS" { 10 } else { 6 });
        within("HealthCheckTimeoutSeconds", timeout, 2, 120)?;
        let healthy = self.healthy_threshold_count.unwrap_or(5);
        within("HealthyThresholdCount", healthy, 2, 10)?;
        let unhealthy = self.unhealthy_threshold_count.unwrap_or(2);
        within("UnhealthyThresholdCount", unhealthy, 2, 10)?;
        if self.health_check_enabled == Some(false) {
            return Err(ApiError::validation(format!(
                "Health checks cannot be disabled for target type '{target_type}'"
            )));
        }
        let grpc_path = "/AWS.ALB/healthcheck";
        Ok(TargetGroup {
            arn: String::new(),
            name: self.name,
            protocol,
            protocol_version,
            port,
            vpc_id,
            target_type,
            ip_address_type: self.ip_address_type.unwrap_or_else(|| "ipv4".to_owned()),
            health_check_enabled: true,
            health_check_protocol: self.health_check_protocol.unwrap_or_else(|| "HTTP".to_owned()),
            health_check_port: self.health_check_port.unwrap_or_else(|| "traffic-port".to_owned()),
            health_check_path: self
                .health_check_path
                .unwrap_or_else(|| if is_grpc { grpc_path } else { "/" }.to_owned()),
            health_check_interval_seconds: interval,
            health_check_timeout_seconds: timeout,
            healthy_threshold_count: healthy,
            unhealthy_threshold_count: unhealthy,
            matcher: self.matcher.unwrap_or_else(|| {
                if is_grpc {
                    Matcher { http_code: None, grpc_code: Some("12".to_owned()) }
                } else {
                    Matcher { http_code: Some("200".to_owned()), grpc_code: None }
                }
            }),
            load_balancer_arns: Vec::new(),
            attributes: BTreeMap::new(),
            tags: validate::tags(&Tags::new(), &self.tags)?,
        })
    }
}

impl Read for DescribeTargetGroups {
    type Output = TargetGroups;

    fn read(self, account: &Account) -> Result<TargetGroups, ApiError> {
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
        Ok(Written::new(Nothing {}, [arn]))
    }
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
