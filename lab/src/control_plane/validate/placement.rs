//! Where a load balancer is: subnets and the type of its addresses.

use std::collections::BTreeSet;

use crate::control_plane::error::ApiError;
use crate::control_plane::model::AvailabilityZone;
use crate::control_plane::model::arn::Family;

/// Each subnet is taken to be in an Availability Zone of its own: a, b, c and so on. An Application Load Balancer needs two.
pub(crate) fn zones(
    region: &str,
    family: Family,
    subnets: Vec<String>,
    mapped: Vec<String>,
) -> Result<Vec<AvailabilityZone>, ApiError> {
    if subnets.is_empty() == mapped.is_empty() {
        return Err(ApiError::validation("Either subnets or subnet mappings must be specified, not both"));
    }
    let ids: Vec<String> = subnets.into_iter().chain(mapped).collect();
    if let Some(bad) = ids.iter().find(|id| !id.starts_with("subnet-")) {
        return Err(ApiError::validation(format!("The subnet ID '{bad}' is not valid")));
    }
    if ids.iter().collect::<BTreeSet<_>>().len() < ids.len() {
        return Err(ApiError::validation("A load balancer cannot be attached to the same subnet twice"));
    }
    if family == Family::Application && ids.len() < 2 {
        return Err(ApiError::validation("At least two subnets in two different Availability Zones must be specified"));
    }
    if ids.len() > 6 {
        return Err(ApiError::not_modelled("regions with more than six Availability Zones"));
    }
    Ok(ids
        .into_iter()
        .zip('a'..='f')
        .map(|(subnet_id, letter)| AvailabilityZone { zone_name: format!("{region}{letter}"), subnet_id })
        .collect())
}

/// IPv4 unless specified.
pub(crate) fn ip_address_type(family: Family, given: Option<String>) -> Result<String, ApiError> {
    let values: &[&str] = match family {
        Family::Application => &["ipv4", "dualstack", "dualstack-without-public-ipv4"],
        Family::Network => &["ipv4", "dualstack"],
    };
    one_of("IpAddressType", given, values)
}

/// The first value is AWS's default.
pub(crate) fn one_of(what: &str, given: Option<String>, values: &[&str]) -> Result<String, ApiError> {
    match given {
        None => Ok(values.first().copied().unwrap_or_default().to_owned()),
        Some(given) if values.contains(&given.as_str()) => Ok(given),
        Some(given) => Err(ApiError::validation(format!("{what} '{given}' is not one of {}", values.join(", ")))),
    }
}
