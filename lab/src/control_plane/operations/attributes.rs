//! Describe and Modify of the attributes of load balancers, target groups and listeners.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::control_plane::error::ApiError;
use crate::control_plane::model::arn::Family;
use crate::control_plane::model::attributes::{Attribute, Attributed, Attributes};
use crate::control_plane::model::{Account, TargetGroup};
use crate::control_plane::operations::{Read, Write, Written};
use crate::control_plane::validate;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DescribeLoadBalancerAttributes {
    load_balancer_arn: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DescribeTargetGroupAttributes {
    target_group_arn: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DescribeListenerAttributes {
    listener_arn: String,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct ModifyLoadBalancerAttributes {
    load_balancer_arn: String,
    #[serde(default)]
    attributes: Vec<Attribute>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct ModifyTargetGroupAttributes {
    pub(crate) target_group_arn: String,
    #[serde(default)]
    pub(crate) attributes: Vec<Attribute>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct ModifyListenerAttributes {
    listener_arn: String,
    #[serde(default)]
    attributes: Vec<Attribute>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Described {
    attributes: Vec<Attribute>,
}

impl Read for DescribeLoadBalancerAttributes {
    type Output = Described;

    fn read(self, account: &Account, _now: SystemTime) -> Result<Described, ApiError> {
        Ok(Described { attributes: account.load_balancer(&self.load_balancer_arn)?.attributes_described() })
    }
}

impl Read for DescribeTargetGroupAttributes {
    type Output = Described;

    fn read(self, account: &Account, _now: SystemTime) -> Result<Described, ApiError> {
        Ok(Described { attributes: account.target_group(&self.target_group_arn)?.attributes_described() })
    }
}

impl Read for DescribeListenerAttributes {
    type Output = Described;

    fn read(self, account: &Account, _now: SystemTime) -> Result<Described, ApiError> {
        Ok(Described { attributes: account.listener(&self.listener_arn)?.attributes_described() })
    }
}

impl Write for ModifyLoadBalancerAttributes {
    type Output = Described;

    fn write(self, account: &mut Account) -> Result<Written<Described>, ApiError> {
        let load_balancer = account.load_balancer_mut(&self.load_balancer_arn)?;
        load_balancer.attributes = changed("Load balancer", load_balancer, &self.attributes)?;
        for logs in ["access_logs.s3", "connection_logs.s3", "health_check_logs.s3"] {
            let is_on = load_balancer.attribute(&format!("{logs}.enabled")) == "true";
            if is_on && load_balancer.attribute(&format!("{logs}.bucket")).is_empty() {
                return Err(invalid(format!("{logs}.bucket must be set when {logs}.enabled is true")));
            }
        }
        Ok(Written::new(Described { attributes: load_balancer.attributes_described() }, [self.load_balancer_arn]))
    }
}

impl Write for ModifyTargetGroupAttributes {
    type Output = Described;

    fn write(self, account: &mut Account) -> Result<Written<Described>, ApiError> {
        let mut group = account.target_group(&self.target_group_arn)?.clone();
        stickiness_type(&group, &self.attributes)?;
        group.attributes = changed("Target group", &group, &self.attributes)?;
        fit_together(&group)?;
        if group.is_sticky() && account.rules.iter().any(|rule| rule.splits_without_stickiness(&group.arn)) {
            return Err(validate::group_stickiness_needed(&group));
        }
        let described = Described { attributes: group.attributes_described() };
        let touched = [group.arn.clone()];
        *account.target_group_mut(&self.target_group_arn)? = group;
        Ok(Written::new(described, touched))
    }
}

impl Write for ModifyListenerAttributes {
    type Output = Described;

    fn write(self, account: &mut Account) -> Result<Written<Described>, ApiError> {
        let listener = account.listener_mut(&self.listener_arn)?;
        listener.attributes = changed("Listener", listener, &self.attributes)?;
        Ok(Written::new(Described { attributes: listener.attributes_described() }, [self.listener_arn]))
    }
}

/// The attributes set, with those of a request among them. Each must be one that the resource can have.
fn changed(noun: &str, resource: &impl Attributed, given: &[Attribute]) -> Result<Attributes, ApiError> {
    if given.is_empty() {
        return Err(ApiError::validation("At least one attribute must be specified"));
    }
    let mut attributes = resource.attributes_set().clone();
    for Attribute { key, value } in given {
        let known = resource
            .attributes_known()
            .find(|known| known.key == key)
            .ok_or_else(|| ApiError::validation(format!("{noun} attribute key '{key}' is not recognized")))?;
        if !known.values.contain(value) {
            return Err(ApiError::validation(format!(
                "{noun} attribute value '{value}' is not valid for the key '{key}'"
            )));
        }
        attributes.insert(key.clone(), value.clone());
    }
    Ok(attributes)
}

/// A type of stickiness that only other protocols have, in AWS's words (hashicorp/terraform-provider-aws#15603).
fn stickiness_type(group: &TargetGroup, given: &[Attribute]) -> Result<(), ApiError> {
    let fits = |kind: &str| match group.family() {
        Family::Application => kind != "source_ip",
        Family::Network => !matches!(kind, "lb_cookie" | "app_cookie"),
    };
    match given.iter().find(|attribute| attribute.key == "stickiness.type" && !fits(&attribute.value)) {
        None => Ok(()),
        Some(Attribute { value, .. }) => Err(invalid(format!(
            "Stickiness type '{value}' is not supported for target groups with the {} protocol",
            group.protocol
        ))),
    }
}

/// What the user guide says of attributes that exclude or need each other ("Edit target group attributes").
fn fit_together(group: &TargetGroup) -> Result<(), ApiError> {
    let algorithm = group.attribute("load_balancing.algorithm.type");
    let has_slow_start = !matches!(group.attribute("slow_start.duration_seconds"), "" | "0");
    if has_slow_start && matches!(algorithm, "least_outstanding_requests" | "weighted_random") {
        return Err(invalid(format!("Slow start cannot be used with the algorithm '{algorithm}'")));
    }
    if group.attribute("load_balancing.algorithm.anomaly_mitigation") == "on" && algorithm != "weighted_random" {
        return Err(invalid("Anomaly mitigation needs the algorithm 'weighted_random'"));
    }
    let cookie = group.attribute("stickiness.app_cookie.cookie_name");
    if cookie.starts_with("AWSALB") {
        return Err(invalid(format!("The cookie name '{cookie}' is reserved for the load balancer")));
    }
    if group.is_sticky() && group.attribute("stickiness.type") == "app_cookie" && cookie.is_empty() {
        return Err(invalid("Stickiness of type 'app_cookie' needs stickiness.app_cookie.cookie_name"));
    }
    Ok(())
}

fn invalid(message: impl Into<String>) -> ApiError {
    ApiError::new("InvalidConfigurationRequest", message)
}
