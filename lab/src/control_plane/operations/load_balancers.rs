//! CreateLoadBalancer, DescribeLoadBalancers, DeleteLoadBalancer.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::control_plane::error::ApiError;
use crate::control_plane::model::arn::{Family, Kind};
use crate::control_plane::model::attributes::{Attributed, Attributes};
use crate::control_plane::model::shapes::Tag;
use crate::control_plane::model::{Account, LoadBalancer, LoadBalancerState, Tags, well_formed};
use crate::control_plane::operations::pages::page;
use crate::control_plane::operations::{Nothing, Read, Write, Written};
use crate::control_plane::validate;

/// The VPC that all load balancers of the lab are in. AWS takes it from the subnets, which the lab does not keep.
pub(crate) const VPC: &str = "vpc-0a1b2c3d4e5f60718";
/// Of the region us-east-1; the lab has no DNS.
const APPLICATION_HOSTED_ZONE: &str = "Z35SXDOTRQ7X7K";
const NETWORK_HOSTED_ZONE: &str = "Z26RNL4JYFTOTI";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct CreateLoadBalancer {
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) subnets: Vec<String>,
    #[serde(default)]
    pub(crate) subnet_mappings: Vec<SubnetMapping>,
    #[serde(default)]
    pub(crate) security_groups: Vec<String>,
    pub(crate) scheme: Option<String>,
    #[serde(default)]
    pub(crate) tags: Vec<Tag>,
    pub(crate) r#type: Option<String>,
    pub(crate) ip_address_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct SubnetMapping {
    pub(crate) subnet_id: String,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DescribeLoadBalancers {
    #[serde(default)]
    pub(crate) load_balancer_arns: Vec<String>,
    #[serde(default)]
    pub(crate) names: Vec<String>,
    pub(crate) marker: Option<String>,
    pub(crate) page_size: Option<u16>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DeleteLoadBalancer {
    pub(crate) load_balancer_arn: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct LoadBalancers {
    pub(crate) load_balancers: Vec<LoadBalancer>,
    pub(crate) next_marker: Option<String>,
}

impl Write for CreateLoadBalancer {
    type Output = LoadBalancers;

    fn write(self, account: &mut Account) -> Result<Written<LoadBalancers>, ApiError> {
        validate::name("load balancer", &self.name)?;
        if self.name.starts_with("internal-") {
            return Err(ApiError::validation("A load balancer name cannot begin with 'internal-'"));
        }
        let (family, hosted_zone) = match self.r#type.as_deref().unwrap_or("application") {
            "application" => (Family::Application, APPLICATION_HOSTED_ZONE),
            "network" => (Family::Network, NETWORK_HOSTED_ZONE),
            other => return Err(ApiError::not_modelled(format_args!("load balancers of type '{other}'"))),
        };
        let scheme = validate::one_of("Scheme", self.scheme, &["internet-facing", "internal"])?;
        let mut attributes = Attributes::new();
        if scheme == "internal" {
            attributes.insert("ipv6.deny_all_igw_traffic".to_owned(), "true".to_owned());
        }
        let mapped = self.subnet_mappings.into_iter().map(|mapping| mapping.subnet_id).collect();
        let wanted = LoadBalancer {
            arn: String::new(),
            dns_name: String::new(),
            canonical_hosted_zone_id: hosted_zone.to_owned(),
            created_time: account.now,
            name: self.name,
            scheme,
            vpc_id: VPC.to_owned(),
            state: LoadBalancerState { code: "provisioning" },
            r#type: self.r#type.unwrap_or_else(|| "application".to_owned()),
            availability_zones: validate::zones(&account.home.region, family, self.subnets, mapped)?,
            security_groups: self.security_groups,
            ip_address_type: validate::ip_address_type(family, self.ip_address_type)?,
            attributes,
            tags: validate::tags(&Tags::new(), &self.tags)?,
        };
        if let Some(existing) = account.load_balancers.iter().find(|existing| existing.name == wanted.name) {
            return if same_settings(existing, &wanted) {
                Ok(Written::new(one(existing.clone()), [existing.arn.clone()]))
            } else {
                Err(ApiError::new(
                    "DuplicateLoadBalancerName",
                    format!("A load balancer with the name '{}' exists, but with different settings", wanted.name),
                ))
            };
        }
        let id = account.ids.next();
        let (name, region) = (&wanted.name, &account.home.region);
        let created = LoadBalancer {
            arn: account.home.load_balancer(family, name, &id),
            dns_name: match family {
                Family::Application if wanted.scheme == "internal" => {
                    format!("internal-{name}-{id}.{region}.elb.amazonaws.com")
                }
                Family::Application => format!("{name}-{id}.{region}.elb.amazonaws.com"),
                Family::Network => format!("{name}-{id}.elb.{region}.amazonaws.com"),
            },
            ..wanted
        };
        account.load_balancers.push(LoadBalancer { state: LoadBalancerState { code: "active" }, ..created.clone() });
        let touched = [created.arn.clone()];
        Ok(Written::new(one(created), touched))
    }
}

impl Read for DescribeLoadBalancers {
    type Output = LoadBalancers;

    fn read(self, account: &Account, _now: SystemTime) -> Result<LoadBalancers, ApiError> {
        let found = match (self.load_balancer_arns.as_slice(), self.names.as_slice()) {
            ([], []) => account.load_balancers.clone(),
            (arns, []) => arns.iter().map(|arn| account.load_balancer(arn).cloned()).collect::<Result<_, _>>()?,
            ([], names) => names.iter().map(|name| by_name(account, name).cloned()).collect::<Result<_, _>>()?,
            _ => return Err(ApiError::validation("Load balancer ARNs and names cannot both be specified")),
        };
        let (load_balancers, next_marker) =
            page(found, self.page_size, self.marker.as_deref(), account.limits.page_size)?;
        Ok(LoadBalancers { load_balancers, next_marker })
    }
}

impl Write for DeleteLoadBalancer {
    type Output = Nothing;

    /// Listeners and rules go with it. "If the load balancer does not exist or has already been deleted, the call succeeds."
    fn write(self, account: &mut Account) -> Result<Written<Nothing>, ApiError> {
        well_formed(&self.load_balancer_arn, Kind::LoadBalancer)?;
        if let Ok(load_balancer) = account.load_balancer(&self.load_balancer_arn)
            && load_balancer.attribute("deletion_protection.enabled") == "true"
        {
            return Err(ApiError::new(
                "OperationNotPermitted",
                format!(
                    "Load balancer '{}' cannot be deleted because deletion protection is enabled",
                    load_balancer.arn
                ),
            ));
        }
        let mut touched = Vec::new();
        let listeners: Vec<String> = account
            .listeners
            .iter()
            .filter(|listener| listener.load_balancer_arn == self.load_balancer_arn)
            .map(|listener| listener.arn.clone())
            .collect();
        for listener in listeners {
            touched.extend(account.remove_listener(&listener));
        }
        account.load_balancers.retain(|load_balancer| load_balancer.arn != self.load_balancer_arn);
        touched.push(self.load_balancer_arn);
        Ok(Written::new(Nothing {}, touched))
    }
}

fn one(load_balancer: LoadBalancer) -> LoadBalancers {
    LoadBalancers { load_balancers: vec![load_balancer], next_marker: None }
}

fn by_name<'a>(account: &'a Account, name: &str) -> Result<&'a LoadBalancer, ApiError> {
    account
        .load_balancers
        .iter()
        .find(|load_balancer| load_balancer.name == name)
        .ok_or_else(|| ApiError::new("LoadBalancerNotFound", format!("Load balancers '[{name}]' not found")))
}

fn same_settings(existing: &LoadBalancer, wanted: &LoadBalancer) -> bool {
    existing.r#type == wanted.r#type
        && existing.scheme == wanted.scheme
        && existing.availability_zones == wanted.availability_zones
        && existing.security_groups == wanted.security_groups
        && existing.ip_address_type == wanted.ip_address_type
        && existing.tags == wanted.tags
}
