//! DescribeAccountLimits.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::control_plane::error::ApiError;
use crate::control_plane::model::Account;
use crate::control_plane::operations::Read;
use crate::control_plane::operations::pages::page;

/// AWS's defaults: quotas pages of the user guides and the example in AWS CLI's reference of describe-account-limits.
const LIMITS: [(&str, &str); 16] = [
    ("application-load-balancers", "50"),
    ("network-load-balancers", "50"),
    ("target-groups", "3000"),
    ("listeners-per-application-load-balancer", "50"),
    ("listeners-per-network-load-balancer", "50"),
    ("certificates-per-application-load-balancer", "25"),
    ("certificates-per-network-load-balancer", "25"),
    ("condition-values-per-alb-rule", "5"),
    ("condition-wildcards-per-alb-rule", "5"),
    ("target-groups-per-application-load-balancer", "100"),
    ("target-groups-per-action-on-application-load-balancer", "5"),
    ("target-groups-per-action-on-network-load-balancer", "5"),
    ("targets-per-target-group", "1000"),
    ("targets-per-application-load-balancer", "1000"),
    ("targets-per-network-load-balancer", "3000"),
    ("targets-per-availability-zone-per-network-load-balancer", "500"),
];

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DescribeAccountLimits {
    marker: Option<String>,
    page_size: Option<u16>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AccountLimits {
    limits: Vec<Limit>,
    next_marker: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Limit {
    name: &'static str,
    max: String,
}

impl Read for DescribeAccountLimits {
    type Output = AccountLimits;

    fn read(self, account: &Account, _now: SystemTime) -> Result<AccountLimits, ApiError> {
        let mut limits: Vec<Limit> = LIMITS.iter().map(|(name, max)| Limit { name, max: (*max).to_owned() }).collect();
        let rules = account.limits.rules_per_load_balancer.to_string();
        limits.push(Limit { name: "rules-per-application-load-balancer", max: rules });
        let (limits, next_marker) = page(limits, self.page_size, self.marker.as_deref(), account.limits.page_size)?;
        Ok(AccountLimits { limits, next_marker })
    }
}
