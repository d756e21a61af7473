//! The operations that the lab knows. Each takes a typed input and reads the account, or changes a copy of it.
//!
//! Nothing here knows of HTTP, locks or clocks. A write that fails half-way leaves no trace, because its copy is thrown away.

mod attributes;
mod limits;
mod listeners;
mod load_balancers;
mod networking;
mod pages;
mod rules;
mod tags;
mod target_groups;
mod targets;

use std::time::SystemTime;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::control_plane::error::ApiError;
use crate::control_plane::model::Account;
use crate::control_plane::query::Node;
use crate::control_plane::xml;

pub(crate) use attributes::{
    DescribeListenerAttributes, DescribeLoadBalancerAttributes, DescribeTargetGroupAttributes,
    ModifyListenerAttributes, ModifyLoadBalancerAttributes, ModifyTargetGroupAttributes,
};
pub(crate) use limits::DescribeAccountLimits;
pub(crate) use listeners::{CreateListener, DeleteListener, DescribeListeners, ModifyListener};
pub(crate) use load_balancers::{CreateLoadBalancer, DeleteLoadBalancer, DescribeLoadBalancers, VPC};
pub(crate) use networking::{SetIpAddressType, SetSecurityGroups, SetSubnets};
pub(crate) use rules::{CreateRule, DeleteRule, DescribeRules, ModifyRule, RulePriority, SetRulePriorities};
pub(crate) use tags::{AddTags, DescribeTags, RemoveTags};
pub(crate) use target_groups::{CreateTargetGroup, DeleteTargetGroup, DescribeTargetGroups, ModifyTargetGroup};
pub(crate) use targets::{DeregisterTargets, DescribeTargetHealth, RegisterTargets, TargetDescription};

/// An operation that only looks.
pub(crate) trait Read: DeserializeOwned + Send {
    type Output: Serialize;

    /// `now` is the time of the call; the account may be older.
    fn read(self, account: &Account, now: SystemTime) -> Result<Self::Output, ApiError>;
}

/// An operation that changes something.
pub(crate) trait Write: DeserializeOwned + Send {
    type Output: Serialize;

    fn write(self, account: &mut Account) -> Result<Written<Self::Output>, ApiError>;
}

/// What a write answers, and the ARNs of all that it made, changed or deleted.
#[derive(Debug)]
pub(crate) struct Written<T> {
    pub(crate) output: T,
    pub(crate) touched: Vec<String>,
}

/// An operation, from its name and parameters to the result element of the answer.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Handler {
    Read(fn(&str, &Node, &Account, SystemTime) -> Result<String, ApiError>),
    Write(fn(&str, &Node, &mut Account) -> Result<Written<String>, ApiError>),
}

/// The answer of an operation that has nothing to say.
#[derive(Debug, Serialize)]
pub(crate) struct Nothing {}

impl<T> Written<T> {
    pub(crate) fn new(output: T, touched: impl IntoIterator<Item = String>) -> Self {
        Self { output, touched: touched.into_iter().collect() }
    }
}

/// Finds an operation by its name.
pub(crate) fn find(name: &str) -> Option<Handler> {
    Some(match name {
        "AddTags" => Handler::Write(write::<AddTags>),
        "CreateListener" => Handler::Write(write::<CreateListener>),
        "CreateLoadBalancer" => Handler::Write(write::<CreateLoadBalancer>),
        "CreateRule" => Handler::Write(write::<CreateRule>),
        "CreateTargetGroup" => Handler::Write(write::<CreateTargetGroup>),
        "DeleteListener" => Handler::Write(write::<DeleteListener>),
        "DeleteLoadBalancer" => Handler::Write(write::<DeleteLoadBalancer>),
        "DeleteRule" => Handler::Write(write::<DeleteRule>),
        "DeleteTargetGroup" => Handler::Write(write::<DeleteTargetGroup>),
        "DeregisterTargets" => Handler::Write(write::<DeregisterTargets>),
        "DescribeAccountLimits" => Handler::Read(read::<DescribeAccountLimits>),
        "DescribeListenerAttributes" => Handler::Read(read::<DescribeListenerAttributes>),
        "DescribeListeners" => Handler::Read(read::<DescribeListeners>),
        "DescribeLoadBalancerAttributes" => Handler::Read(read::<DescribeLoadBalancerAttributes>),
        "DescribeLoadBalancers" => Handler::Read(read::<DescribeLoadBalancers>),
        "DescribeRules" => Handler::Read(read::<DescribeRules>),
        "DescribeTags" => Handler::Read(read::<DescribeTags>),
        "DescribeTargetGroupAttributes" => Handler::Read(read::<DescribeTargetGroupAttributes>),
        "DescribeTargetGroups" => Handler::Read(read::<DescribeTargetGroups>),
        "DescribeTargetHealth" => Handler::Read(read::<DescribeTargetHealth>),
        "ModifyListener" => Handler::Write(write::<ModifyListener>),
        "ModifyListenerAttributes" => Handler::Write(write::<ModifyListenerAttributes>),
        "ModifyLoadBalancerAttributes" => Handler::Write(write::<ModifyLoadBalancerAttributes>),
        "ModifyRule" => Handler::Write(write::<ModifyRule>),
        "ModifyTargetGroup" => Handler::Write(write::<ModifyTargetGroup>),
        "ModifyTargetGroupAttributes" => Handler::Write(write::<ModifyTargetGroupAttributes>),
        "RegisterTargets" => Handler::Write(write::<RegisterTargets>),
        "RemoveTags" => Handler::Write(write::<RemoveTags>),
        "SetIpAddressType" => Handler::Write(write::<SetIpAddressType>),
        "SetRulePriorities" => Handler::Write(write::<SetRulePriorities>),
        "SetSecurityGroups" => Handler::Write(write::<SetSecurityGroups>),
        "SetSubnets" => Handler::Write(write::<SetSubnets>),
        _ => return None,
    })
}

/// What a call is about: the ARN that it names, or the name that it gives. For the journal, also of refused calls.
pub(crate) fn subject(parameters: &Node) -> Option<&str> {
    // The narrowest first: CreateRule names a listener, CreateListener a load balancer.
    ["RuleArn", "ListenerArn", "LoadBalancerArn", "TargetGroupArn", "Name"]
        .iter()
        .find_map(|name| parameters.text(name))
}

fn read<I: Read>(operation: &str, parameters: &Node, account: &Account, now: SystemTime) -> Result<String, ApiError> {
    let output = parameters.read::<I>()?.read(account, now)?;
    Ok(xml::element(&result_name(operation), &output)?)
}

fn write<I: Write>(operation: &str, parameters: &Node, account: &mut Account) -> Result<Written<String>, ApiError> {
    let Written { output, touched } = parameters.read::<I>()?.write(account)?;
    Ok(Written { output: xml::element(&result_name(operation), &output)?, touched })
}

fn result_name(operation: &str) -> String {
    format!("{operation}Result")
}
