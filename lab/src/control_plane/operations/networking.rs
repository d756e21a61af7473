//! SetSecurityGroups, SetSubnets, SetIpAddressType: where a load balancer is, changed after it was made.

use serde::{Deserialize, Serialize};

use crate::control_plane::error::ApiError;
use crate::control_plane::model::arn::Family;
use crate::control_plane::model::{Account, AvailabilityZone, LoadBalancer};
use crate::control_plane::operations::load_balancers::SubnetMapping;
use crate::control_plane::operations::{Write, Written};
use crate::control_plane::validate;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct SetSecurityGroups {
    load_balancer_arn: String,
    #[serde(default)]
    security_groups: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct SetSubnets {
    load_balancer_arn: String,
    #[serde(default)]
    subnets: Vec<String>,
    #[serde(default)]
    subnet_mappings: Vec<SubnetMapping>,
    ip_address_type: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct SetIpAddressType {
    load_balancer_arn: String,
    ip_address_type: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SecurityGroups {
    security_group_ids: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Subnets {
    availability_zones: Vec<AvailabilityZone>,
    ip_address_type: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct IpAddressType {
    ip_address_type: String,
}

impl Write for SetSecurityGroups {
    type Output = SecurityGroups;

    fn write(self, account: &mut Account) -> Result<Written<SecurityGroups>, ApiError> {
        let load_balancer = account.load_balancer_mut(&self.load_balancer_arn)?;
        if self.security_groups.is_empty() {
            return Err(ApiError::validation("At least one security group must be specified"));
        }
        if load_balancer.family() == Family::Network && load_balancer.security_groups.is_empty() {
            return Err(ApiError::new(
                "InvalidConfigurationRequest",
                "Security groups cannot be set on a Network Load Balancer that was created without",
            ));
        }
        load_balancer.security_groups.clone_from(&self.security_groups);
        let touched = [load_balancer.arn.clone()];
        Ok(Written::new(SecurityGroups { security_group_ids: self.security_groups }, touched))
    }
}

impl Write for SetSubnets {
    type Output = Subnets;

    fn write(self, account: &mut Account) -> Result<Written<Subnets>, ApiError> {
        let region = account.home.region.clone();
        let load_balancer = account.load_balancer_mut(&self.load_balancer_arn)?;
        let mapped = self.subnet_mappings.into_iter().map(|mapping| mapping.subnet_id).collect();
        load_balancer.availability_zones = validate::zones(&region, load_balancer.family(), self.subnets, mapped)?;
        if let Some(given) = self.ip_address_type {
            set_ip_address_type(load_balancer, given)?;
        }
        let touched = [load_balancer.arn.clone()];
        let LoadBalancer { availability_zones, ip_address_type, .. } = load_balancer.clone();
        Ok(Written::new(Subnets { availability_zones, ip_address_type }, touched))
    }
}

impl Write for SetIpAddressType {
    type Output = IpAddressType;

    fn write(self, account: &mut Account) -> Result<Written<IpAddressType>, ApiError> {
        let load_balancer = account.load_balancer_mut(&self.load_balancer_arn)?;
        set_ip_address_type(load_balancer, self.ip_address_type)?;
        let touched = [load_balancer.arn.clone()];
        Ok(Written::new(IpAddressType { ip_address_type: load_balancer.ip_address_type.clone() }, touched))
    }
}

fn set_ip_address_type(load_balancer: &mut LoadBalancer, given: String) -> Result<(), ApiError> {
    load_balancer.ip_address_type = validate::ip_address_type(load_balancer.family(), Some(given))?;
    Ok(())
}
