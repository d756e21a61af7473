//! Another writer: it shifts weights and reads them through AWS's SDK, one call after the other, and keeps its own books.

use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::config::retry::RetryConfig;
use aws_sdk_elasticloadbalancingv2::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum, ForwardActionConfig, Rule, TargetGroupTuple};
use fastrand::Rng;
use lab::Weights;
use lab::load_balancer_controller::CallEnd;
use tokio::sync::watch;
use tokio::time::sleep;

use crate::world::World;

/// One call as its caller knows it.
pub(crate) struct Called {
    pub(crate) operation: &'static str,
    pub(crate) end: CallEnd,
    /// What was to be written, or what was read; empty if nothing was.
    pub(crate) weights: Weights,
    /// How many writes the journal had when the call began.
    pub(crate) after: usize,
}

/// Calls until it is told to stop, and never stops within a call.
pub(crate) async fn write(world: &World, done: &watch::Sender<bool>, seed: u64) -> Vec<Called> {
    let client = client(world.lab.endpoint());
    let mut rng = Rng::with_seed(seed);
    let mut book = Vec::new();
    while !*done.borrow() {
        let after = world.lab.journal().len();
        let called = match rng.u8(..10) {
            0..6 => modify(world, &client, &mut rng, after).await,
            6..9 => describe(world, &client, after).await,
            _ => {
                let group = world.groups.first().map(String::as_str).unwrap_or_default();
                let (end, _) = end(client.describe_target_health().target_group_arn(group).send().await);
                Called { operation: "DescribeTargetHealth", end, weights: Weights::new(), after }
            }
        };
        book.push(called);
        // Mostly so fast that the account's Modify bucket runs dry.
        let pause = if rng.u8(..20) == 0 { rng.u64(100..600) } else { rng.u64(..30) };
        sleep(Duration::from_millis(pause)).await;
    }
    book
}

async fn modify(world: &World, client: &Client, rng: &mut Rng, after: usize) -> Called {
    let weights: Weights = world.groups.iter().map(|group| (group.clone(), rng.u16(..=999))).collect();
    let tuple = |(group, weight): (&String, &u16)| {
        TargetGroupTuple::builder().target_group_arn(group).weight(i32::from(*weight)).build()
    };
    let forward = ForwardActionConfig::builder().set_target_groups(Some(weights.iter().map(tuple).collect())).build();
    let action = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(forward).build();
    let (end, _) = end(client.modify_rule().rule_arn(&world.rule).actions(action).send().await);
    Called { operation: "ModifyRule", end, weights, after }
}

async fn describe(world: &World, client: &Client, after: usize) -> Called {
    let (end, answer) = end(client.describe_rules().rule_arns(&world.rule).send().await);
    let weights = answer.iter().flat_map(|answer| answer.rules()).flat_map(weights).collect();
    Called { operation: "DescribeRules", end, weights, after }
}

fn weights(rule: &Rule) -> Weights {
    let forwards = rule.actions().iter().filter_map(Action::forward_config);
    let weight = |tuple: &TargetGroupTuple| {
        let weight = tuple.weight().and_then(|weight| u16::try_from(weight).ok());
        Some((tuple.target_group_arn()?.to_owned(), weight?))
    };
    forwards.flat_map(ForwardActionConfig::target_groups).filter_map(weight).collect()
}

/// An error without a code of AWS's is a connection that broke.
fn end<T, E>(result: Result<T, SdkError<E>>) -> (CallEnd, Option<T>)
where
    SdkError<E>: ProvideErrorMetadata,
{
    match result {
        Ok(answer) => (CallEnd::Answered, Some(answer)),
        Err(error) => (error.code().map_or(CallEnd::Cut, |code| CallEnd::Refused(code.to_owned())), None),
    }
}

/// It tries once, so that every call is one request.
fn client(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .region(Region::from_static("us-east-1"))
        .endpoint_url(endpoint)
        .credentials_provider(Credentials::new("lab", "lab", None, None, "test"))
        .retry_config(RetryConfig::disabled())
        .build();
    Client::from_conf(config)
}
