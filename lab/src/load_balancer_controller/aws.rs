//! The calls of ELBv2 that the controller makes: through its own limiter, then to the control plane, in process.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Instant, sleep_until};

use crate::control_plane::ControlPlane;
use crate::control_plane::calls::NoAnswer;
use crate::control_plane::error::ApiError;
use crate::control_plane::model::attributes::Attribute;
use crate::control_plane::model::health::TargetHealth;
use crate::control_plane::model::shapes::Tag;
use crate::control_plane::model::targets::Target;
use crate::control_plane::model::{Listener, LoadBalancer, Rule, Tags, TargetGroup};
use crate::control_plane::operations::{
    AddTags, CreateListener, CreateLoadBalancer, CreateRule, CreateTargetGroup, DeleteListener, DeleteLoadBalancer,
    DeleteRule, DeleteTargetGroup, DeregisterTargets, DescribeListeners, DescribeLoadBalancers, DescribeRules,
    DescribeTargetGroups, DescribeTargetHealth, ModifyListener, ModifyRule, ModifyTargetGroupAttributes, Read,
    RegisterTargets, RulePriority, SetRulePriorities, TargetDescription, Write,
};
use crate::load_balancer_controller::calls::Calls;
use crate::load_balancer_controller::config::ClientLimits;
use crate::load_balancer_controller::limiter::Limiter;

/// What the journal calls the controller.
pub(super) const AGENT: &str = "aws-load-balancer-controller";

/// The account as the controller reaches it.
#[derive(Debug)]
pub(super) struct Aws {
    control_plane: ControlPlane,
    limiter: Mutex<Limiter>,
    calls: Arc<Calls>,
}

/// A call without a usable answer.
#[derive(Debug, thiserror::Error)]
#[error("{operation} {subject}: {source}")]
pub(super) struct CallError {
    operation: &'static str,
    subject: String,
    source: NoAnswer,
}

impl CallError {
    /// The target group of the call is gone.
    pub(super) fn is_target_group_not_found(&self) -> bool {
        self.is_refused("TargetGroupNotFound")
    }

    /// The load balancer has no room for another rule.
    pub(super) fn is_too_many_rules(&self) -> bool {
        self.is_refused("TooManyRules")
    }

    fn is_refused(&self, code: &str) -> bool {
        matches!(&self.source, NoAnswer::Refused(error) if error.code == code)
    }
}

impl Aws {
    pub(super) fn new(control_plane: ControlPlane, limits: ClientLimits, calls: Arc<Calls>) -> Self {
        Self { control_plane, limiter: Mutex::new(Limiter::new(limits, Instant::now())), calls }
    }

    /// Waits until the limiter lets a call through.
    pub(super) async fn admitted(&self, operation: &str) {
        let now = Instant::now();
        // A panic would have left the limiter as it was before a call, so it stays usable.
        let at = self.limiter.lock().unwrap_or_else(PoisonError::into_inner).take(operation, now);
        if at > now {
            sleep_until(at).await;
        }
    }

    /// All target groups, with their tags and attributes.
    pub(super) async fn target_groups(&self) -> Result<Vec<TargetGroup>, CallError> {
        let mut all = Vec::new();
        let mut marker = None;
        loop {
            let input = DescribeTargetGroups { marker, ..DescribeTargetGroups::default() };
            let page = self.read("DescribeTargetGroups", "", input).await?;
            all.extend(page.target_groups);
            marker = page.next_marker;
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// All load balancers, with their tags.
    pub(super) async fn load_balancers(&self) -> Result<Vec<LoadBalancer>, CallError> {
        let mut all = Vec::new();
        let mut marker = None;
        loop {
            let input = DescribeLoadBalancers { marker, ..DescribeLoadBalancers::default() };
            let page = self.read("DescribeLoadBalancers", "", input).await?;
            all.extend(page.load_balancers);
            marker = page.next_marker;
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    pub(super) async fn listeners(&self, load_balancer_arn: &str) -> Result<Vec<Listener>, CallError> {
        let mut all = Vec::new();
        let mut marker = None;
        loop {
            let load_balancer = Some(load_balancer_arn.to_owned());
            let input = DescribeListeners { load_balancer_arn: load_balancer, marker, ..DescribeListeners::default() };
            let page = self.read("DescribeListeners", load_balancer_arn, input).await?;
            all.extend(page.listeners);
            marker = page.next_marker;
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// The rules of a listener, with their tags.
    pub(super) async fn rules(&self, listener_arn: &str) -> Result<Vec<Rule>, CallError> {
        let mut all = Vec::new();
        let mut marker = None;
        loop {
            let listener = Some(listener_arn.to_owned());
            let input = DescribeRules { listener_arn: listener, marker, ..DescribeRules::default() };
            let page = self.read("DescribeRules", listener_arn, input).await?;
            all.extend(page.rules);
            marker = page.next_marker;
            if marker.is_none() {
                return Ok(all);
            }
        }
    }

    /// The targets that are registered and do not drain.
    pub(super) async fn targets(&self, group_arn: &str) -> Result<Vec<Target>, CallError> {
        let input = DescribeTargetHealth { target_group_arn: group_arn.to_owned(), ..DescribeTargetHealth::default() };
        let described = self.read("DescribeTargetHealth", group_arn, input).await?.target_health_descriptions;
        let kept = described.into_iter().filter(|one| one.target_health != TargetHealth::DRAINING);
        Ok(kept.filter_map(|one| Some(Target { id: one.target.id, port: one.target.port? })).collect())
    }

    /// Gives the ARN.
    pub(super) async fn create_load_balancer(&self, input: CreateLoadBalancer) -> Result<String, CallError> {
        let name = input.name.clone();
        let made = self.write("CreateLoadBalancer", &name, input).await?.load_balancers;
        only("CreateLoadBalancer", &name, made.into_iter().map(|made| made.arn))
    }

    pub(super) async fn delete_load_balancer(&self, arn: &str) -> Result<(), CallError> {
        let input = DeleteLoadBalancer { load_balancer_arn: arn.to_owned() };
        self.write("DeleteLoadBalancer", arn, input).await.map(drop)
    }

    /// Gives the ARN.
    pub(super) async fn create_target_group(&self, input: CreateTargetGroup) -> Result<String, CallError> {
        let name = input.name.clone();
        let made = self.write("CreateTargetGroup", &name, input).await?.target_groups;
        only("CreateTargetGroup", &name, made.into_iter().map(|made| made.arn))
    }

    /// Sets attributes beside those that are set.
    pub(super) async fn set_attributes(
        &self,
        arn: &str,
        attributes: &BTreeMap<String, String>,
    ) -> Result<(), CallError> {
        let attribute = |(key, value): (&String, &String)| Attribute { key: key.clone(), value: value.clone() };
        let attributes = attributes.iter().map(attribute).collect();
        let input = ModifyTargetGroupAttributes { target_group_arn: arn.to_owned(), attributes };
        self.write("ModifyTargetGroupAttributes", arn, input).await.map(drop)
    }

    pub(super) async fn delete_target_group(&self, arn: &str) -> Result<(), CallError> {
        let input = DeleteTargetGroup { target_group_arn: arn.to_owned() };
        self.write("DeleteTargetGroup", arn, input).await.map(drop)
    }

    /// Gives the ARN.
    pub(super) async fn create_listener(&self, input: CreateListener) -> Result<String, CallError> {
        let load_balancer = input.load_balancer_arn.clone();
        let made = self.write("CreateListener", &load_balancer, input).await?.listeners;
        only("CreateListener", &load_balancer, made.into_iter().map(|made| made.arn))
    }

    pub(super) async fn modify_listener(&self, input: ModifyListener) -> Result<(), CallError> {
        let arn = input.listener_arn.clone();
        self.write("ModifyListener", &arn, input).await.map(drop)
    }

    pub(super) async fn delete_listener(&self, arn: &str) -> Result<(), CallError> {
        let input = DeleteListener { listener_arn: arn.to_owned() };
        self.write("DeleteListener", arn, input).await.map(drop)
    }

    /// Gives the ARN.
    pub(super) async fn create_rule(&self, input: CreateRule) -> Result<String, CallError> {
        let listener = input.listener_arn.clone();
        let made = self.write("CreateRule", &listener, input).await?.rules;
        only("CreateRule", &listener, made.into_iter().map(|made| made.arn))
    }

    pub(super) async fn modify_rule(&self, input: ModifyRule) -> Result<(), CallError> {
        let arn = input.rule_arn.clone();
        self.write("ModifyRule", &arn, input).await.map(drop)
    }

    pub(super) async fn delete_rule(&self, arn: &str) -> Result<(), CallError> {
        let input = DeleteRule { rule_arn: arn.to_owned() };
        self.write("DeleteRule", arn, input).await.map(drop)
    }

    /// Moves several rules at once.
    pub(super) async fn set_rule_priorities(&self, priorities: &[(&str, u16)]) -> Result<(), CallError> {
        let first = priorities.first().map_or("", |(arn, _)| *arn);
        let moved = |(arn, priority): &(&str, u16)| RulePriority { rule_arn: (*arn).to_owned(), priority: *priority };
        let input = SetRulePriorities { rule_priorities: priorities.iter().map(moved).collect() };
        self.write("SetRulePriorities", first, input).await.map(drop)
    }

    pub(super) async fn add_tags(&self, arn: &str, tags: &Tags) -> Result<(), CallError> {
        let input = AddTags { resource_arns: vec![arn.to_owned()], tags: as_list(tags) };
        self.write("AddTags", arn, input).await.map(drop)
    }

    pub(super) async fn register_targets(&self, group_arn: &str, targets: &[Target]) -> Result<(), CallError> {
        let input = RegisterTargets { target_group_arn: group_arn.to_owned(), targets: described(targets) };
        self.write("RegisterTargets", group_arn, input).await.map(drop)
    }

    pub(super) async fn deregister_targets(&self, group_arn: &str, targets: &[Target]) -> Result<(), CallError> {
        let input = DeregisterTargets { target_group_arn: group_arn.to_owned(), targets: described(targets) };
        self.write("DeregisterTargets", group_arn, input).await.map(drop)
    }

    async fn read<I: Read>(&self, operation: &'static str, subject: &str, input: I) -> Result<I::Output, CallError> {
        self.admitted(operation).await;
        let call = self.calls.begin(operation);
        let answer = self.control_plane.read(AGENT, operation, input).await;
        call.end(&answer);
        answer.map_err(|source| error(operation, subject, source))
    }

    async fn write<I: Write>(&self, operation: &'static str, subject: &str, input: I) -> Result<I::Output, CallError> {
        self.admitted(operation).await;
        let call = self.calls.begin(operation);
        let answer = self.control_plane.call(AGENT, operation, subject, input).await;
        call.end(&answer);
        answer.map_err(|source| error(operation, subject, source))
    }
}

fn described(targets: &[Target]) -> Vec<TargetDescription> {
    let description = |target: &Target| TargetDescription {
        id: target.id.clone(),
        port: Some(target.port),
        ..TargetDescription::default()
    };
    targets.iter().map(description).collect()
}

/// Tags as the API takes them.
pub(super) fn as_list(tags: &Tags) -> Vec<Tag> {
    tags.iter().map(|(key, value)| Tag { key: key.clone(), value: value.clone() }).collect()
}

/// A create operation answers with exactly the one resource that it made.
fn only(operation: &'static str, subject: &str, mut arns: impl Iterator<Item = String>) -> Result<String, CallError> {
    arns.next().ok_or_else(|| error(operation, subject, ApiError::validation("nothing was made").into()))
}

fn error(operation: &'static str, subject: &str, source: NoAnswer) -> CallError {
    CallError { operation, subject: subject.to_owned(), source }
}
