//! The operations that the lab knows. Each takes a typed input and reads the account, or changes a copy of it.
//!
//! Nothing here knows of HTTP, locks or clocks. A write that fails half-way leaves no trace, because its copy is thrown away.

mod listeners;
mod load_balancers;
mod pages;
mod rules;
mod tags;
mod target_groups;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::control_plane::error::ApiError;
use crate::control_plane::model::Account;
use crate::control_plane::query::Node;
use crate::control_plane::xml;

pub(crate) use listeners::{CreateListener, DeleteListener, DescribeListeners, ModifyListener};
pub(crate) use load_balancers::{CreateLoadBalancer, DeleteLoadBalancer, DescribeLoadBalancers, VPC};
pub(crate) use rules::{CreateRule, DeleteRule, DescribeRules, ModifyRule};
pub(crate) use tags::{AddTags, DescribeTags, RemoveTags};
pub(crate) use target_groups::{CreateTargetGroup, DeleteTargetGroup, DescribeTargetGroups};

/// An operation that only looks.
pub(crate) trait Read: DeserializeOwned {
    type Output: Serialize;

    fn read(self, account: &Account) -> Result<Self::Output, ApiError>;
}

/// An operation that changes something.
pub(crate) trait Write: DeserializeOwned {
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
    Read(fn(&str, &Node, &Account) -> Result<String, ApiError>),
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
        "CreateLoadBalancer" => Handler::Write(write::<CreateLoadBalancer>),
        "DescribeLoadBalancers" => Handler::Read(read::<DescribeLoadBalancers>),
        "DeleteLoadBalancer" => Handler::Write(write::<DeleteLoadBalancer>),
        "CreateTargetGroup" => Handler::Write(write::<CreateTargetGroup>),
        "DescribeTargetGroups" => Handler::Read(read::<DescribeTargetGroups>),
        "DeleteTargetGroup" => Handler::Write(write::<DeleteTargetGroup>),
        "CreateListener" => Handler::Write(write::<CreateListener>),
        "DescribeListeners" => Handler::Read(read::<DescribeListeners>),
        "ModifyListener" => Handler::Write(write::<ModifyListener>),
        "DeleteListener" => Handler::Write(write::<DeleteListener>),
        "CreateRule" => Handler::Write(write::<CreateRule>),
        "DescribeRules" => Handler::Read(read::<DescribeRules>),
        "ModifyRule" => Handler::Write(write::<ModifyRule>),
        "DeleteRule" => Handler::Write(write::<DeleteRule>),
        "AddTags" => Handler::Write(write::<AddTags>),
        "RemoveTags" => Handler::Write(write::<RemoveTags>),
        "DescribeTags" => Handler::Read(read::<DescribeTags>),
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

fn read<I: Read>(operation: &str, parameters: &Node, account: &Account) -> Result<String, ApiError> {
    let output = parameters.read::<I>()?.read(account)?;
    Ok(xml::element(&result_name(operation), &output)?)
}

fn write<I: Write>(operation: &str, parameters: &Node, account: &mut Account) -> Result<Written<String>, ApiError> {
    let Written { output, touched } = parameters.read::<I>()?.write(account)?;
    Ok(Written { output: xml::element(&result_name(operation), &output)?, touched })
}

fn result_name(operation: &str) -> String {
    format!("{operation}Result")
}
