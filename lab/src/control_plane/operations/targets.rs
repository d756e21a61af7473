//! RegisterTargets, DeregisterTargets, DescribeTargetHealth.

use std::time::SystemTime;

use serde::{Deserialize, Serialize};

use crate::control_plane::error::ApiError;
use crate::control_plane::model::health::TargetHealth;
use crate::control_plane::model::targets::{Registration, Target};
use crate::control_plane::model::{Account, TargetGroup};
use crate::control_plane::operations::{Nothing, Read, Write, Written};
use crate::control_plane::validate::{self, within};

/// Targets per target group (DescribeAccountLimits, `targets-per-target-group`).
const MAX_TARGETS: usize = 1000;

/// A target in a request or an answer. Without a port it is the port of the group.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct TargetDescription {
    pub(crate) id: String,
    pub(crate) port: Option<u16>,
    pub(crate) availability_zone: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct RegisterTargets {
    pub(crate) target_group_arn: String,
    #[serde(default)]
    pub(crate) targets: Vec<TargetDescription>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DeregisterTargets {
    pub(crate) target_group_arn: String,
    #[serde(default)]
    pub(crate) targets: Vec<TargetDescription>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
pub(crate) struct DescribeTargetHealth {
    pub(crate) target_group_arn: String,
    #[serde(default)]
    pub(crate) targets: Vec<TargetDescription>,
    #[serde(default)]
    pub(crate) include: Vec<Include>,
}

/// What an answer has beside health.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub(crate) enum Include {
    AnomalyDetection,
    All,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TargetHealthDescriptions {
    pub(crate) target_health_descriptions: Vec<TargetHealthDescription>,
}

#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TargetHealthDescription {
    pub(crate) target: TargetDescription,
    /// Not known of a target that is not registered.
    pub(crate) health_check_port: Option<String>,
    pub(crate) target_health: TargetHealth,
    pub(crate) anomaly_detection: Option<AnomalyDetection>,
}

/// The lab finds no anomalies.
#[derive(Debug, Clone, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AnomalyDetection {
    result: &'static str,
    mitigation_in_effect: &'static str,
}

impl Write for RegisterTargets {
    type Output = Nothing;

    /// Registering again changes nothing, except that a draining target comes back.
    fn write(self, account: &mut Account) -> Result<Written<Nothing>, ApiError> {
        let group = account.target_group(&self.target_group_arn)?.clone();
        let targets = targets(&group, &self.targets)?;
        let now = account.now;
        for (target, zone) in targets {
            let known = account
                .registrations
                .iter_mut()
                .find(|registration| registration.group_arn == group.arn && registration.target == target);
            match known {
                Some(registration) if registration.is_draining() => {
                    account.health.remove(&(group.arn.clone(), target));
                    registration.deregistered = None;
                    registration.since = now;
                }
                Some(_) => {}
                None => account.registrations.push(Registration {
                    group_arn: group.arn.clone(),
                    target,
                    zone,
                    since: now,
                    deregistered: None,
                }),
            }
        }
        if account.targets_of(&group, now).filter(|registration| !registration.is_draining()).count() > MAX_TARGETS {
            return Err(ApiError::new(
                "TooManyTargets",
                format!("Target group '{}' can have at most {MAX_TARGETS} targets", group.arn),
            ));
        }
        Ok(Written::new(Nothing {}, [group.arn]))
    }
}

impl Write for DeregisterTargets {
    type Output = Nothing;

    /// "If the specified target does not exist, the action returns successfully" (API reference).
    fn write(self, account: &mut Account) -> Result<Written<Nothing>, ApiError> {
        let group = account.target_group(&self.target_group_arn)?.clone();
        let targets = targets(&group, &self.targets)?;
        let now = account.now;
        for registration in &mut account.registrations {
            let is_meant =
                registration.group_arn == group.arn && targets.iter().any(|(target, _)| *target == registration.target);
            if is_meant {
                registration.deregistered.get_or_insert(now);
            }
        }
        Ok(Written::new(Nothing {}, [group.arn]))
    }
}

impl Read for DescribeTargetHealth {
    type Output = TargetHealthDescriptions;

    /// All targets in the order of registration, or those asked for in the order asked for.
    fn read(self, account: &Account, now: SystemTime) -> Result<TargetHealthDescriptions, ApiError> {
        let group = account.target_group(&self.target_group_arn)?;
        let mut descriptions = Vec::new();
        if self.targets.is_empty() {
            let registered = account.targets_of(group, now);
            descriptions.extend(registered.map(|registration| describe(account, group, registration, now)));
        } else {
            for (target, zone) in targets(group, &self.targets)? {
                descriptions.push(match account.registration(&group.arn, &target, now) {
                    Some(registration) => describe(account, group, registration, now),
                    None => TargetHealthDescription {
                        target: TargetDescription { id: target.id, port: Some(target.port), availability_zone: zone },
                        health_check_port: None,
                        target_health: TargetHealth::NOT_REGISTERED,
                        anomaly_detection: None,
                    },
                });
            }
        }
        if !self.include.is_empty() {
            for description in &mut descriptions {
                description.anomaly_detection = Some(AnomalyDetection { result: "normal", mitigation_in_effect: "no" });
            }
        }
        Ok(TargetHealthDescriptions { target_health_descriptions: descriptions })
    }
}

fn describe(
    account: &Account,
    group: &TargetGroup,
    registration: &Registration,
    now: SystemTime,
) -> TargetHealthDescription {
    let Target { id, port } = registration.target.clone();
    let health_check_port = match group.health_check_port.as_str() {
        "traffic-port" => port.to_string(),
        fixed => fixed.to_owned(),
    };
    TargetHealthDescription {
        target: TargetDescription { id, port: Some(port), availability_zone: registration.zone.clone() },
        health_check_port: Some(health_check_port),
        target_health: account.health_of(group, registration, now),
        anomaly_detection: None,
    }
}

/// The targets of a request with their zones, checked.
fn targets(group: &TargetGroup, descriptions: &[TargetDescription]) -> Result<Vec<(Target, Option<String>)>, ApiError> {
    if descriptions.is_empty() {
        return Err(ApiError::validation("At least one target must be specified"));
    }
    let target = |description: &TargetDescription| {
        validate::target_id(group, &description.id)?;
        let port = description.port.unwrap_or(group.port);
        within("Port", port, 1, u16::MAX)?;
        if group.target_type == "instance" && description.availability_zone.is_some() {
            return Err(ApiError::validation(
                "An Availability Zone cannot be specified for targets of type 'instance'",
            ));
        }
        Ok((Target { id: description.id.clone(), port }, description.availability_zone.clone()))
    };
    descriptions.iter().map(target).collect()
}

#[cfg(test)]
mod tests;
