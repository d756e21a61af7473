//! The lab as AWS's own client for Rust sees it.

use std::future::Future;
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::config::retry::RetryConfig;
use aws_sdk_elasticloadbalancingv2::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, HostHeaderConditionConfig, Rule, RuleCondition, TargetGroupTuple,
};
use lab::{Lab, LabConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

mod command;
mod data_plane;
mod faults;
mod journal;
mod lifecycle;
mod network;
mod pages;
mod priorities;
mod refusals;
mod targets;
mod tokens;

/// Long enough for any machine; only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// A lab of the test's own, and a client that tries once.
async fn start(config: LabConfig) -> (Lab, Client) {
    let lab = Lab::start(config).await.expect("a loopback port is free");
    let client = client(&lab, 1);
    (lab, client)
}

/// A client that tries so often, without waiting long between two tries.
fn client(lab: &Lab, attempts: u32) -> Client {
    client_of(lab.endpoint(), attempts)
}

fn client_of(endpoint: &str, attempts: u32) -> Client {
    let retry = RetryConfig::standard().with_max_attempts(attempts).with_initial_backoff(Duration::from_millis(1));
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("lab", "lab", None, None, "test"))
        .retry_config(retry)
        .build();
    Client::from_conf(config)
}

/// AWS's error code of a refused call.
async fn code<T, E>(call: impl Future<Output = Result<T, SdkError<E>>>) -> String
where
    T: std::fmt::Debug,
    SdkError<E>: ProvideErrorMetadata + std::fmt::Debug,
{
    match call.await {
        Ok(output) => format!("accepted: {output:?}"),
        Err(error) => error.code().map_or_else(|| format!("{error:?}"), str::to_owned),
    }
}

fn forward(groups: &[(&str, i32)]) -> Action {
    let tuples = groups
        .iter()
        .map(|(arn, weight)| TargetGroupTuple::builder().target_group_arn(*arn).weight(*weight).build())
        .collect();
    let config = ForwardActionConfig::builder().set_target_groups(Some(tuples)).build();
    Action::builder().r#type(ActionTypeEnum::Forward).order(1).forward_config(config).build()
}

fn host(name: &str) -> RuleCondition {
    let config = HostHeaderConditionConfig::builder().values(name).build();
    RuleCondition::builder().field("host-header").host_header_config(config).build()
}

/// The weights of a rule's forward action, in its own order.
fn weights(rule: &Rule) -> Vec<(&str, i32)> {
    rule.actions()
        .iter()
        .filter_map(Action::forward_config)
        .flat_map(ForwardActionConfig::target_groups)
        .map(|tuple| (tuple.target_group_arn().unwrap_or_default(), tuple.weight().unwrap_or(-1)))
        .collect()
}

/// Sends raw bytes and reads until the lab closes the connection.
async fn raw(lab: &Lab, request: &str) -> String {
    raw_to(lab.endpoint(), request).await
}

async fn raw_to(endpoint: &str, request: &str) -> String {
    let address = endpoint.strip_prefix("http://").expect("plain HTTP");
    let mut stream = TcpStream::connect(address).await.expect("the lab listens");
    stream.write_all(request.as_bytes()).await.expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer is text");
    answer
}

/// A request for [`raw`]; each of the headers ends with a line break.
fn http(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

async fn rule(client: &Client, arn: &str) -> Rule {
    let answer = client.describe_rules().rule_arns(arn).send().await.expect("the rule exists");
    answer.rules().first().expect("one rule was asked for").clone()
}
