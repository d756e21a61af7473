//! Targets, their health and their group's settings.

use std::net::SocketAddrV4;

use aws_sdk_elasticloadbalancingv2::types::{
    Matcher, TargetDescription, TargetGroupAttribute, TargetHealthReasonEnum, TargetHealthStateEnum,
};
use aws_sdk_elasticloadbalancingv2::{Client, types::ProtocolEnum};
use lab::{Lab, LabConfig, scenario};

use crate::{code, forward, start};

fn target(id: &str) -> TargetDescription {
    TargetDescription::builder().id(id).port(8080).build()
}

fn attribute(key: &str, value: &str) -> TargetGroupAttribute {
    TargetGroupAttribute::builder().key(key).value(value).build()
}

/// Targets with state and reason.
async fn health(client: &Client, group: &str) -> Vec<(String, TargetHealthStateEnum, Option<TargetHealthReasonEnum>)> {
    let answer = client.describe_target_health().target_group_arn(group).send().await.expect("an answer");
    let found = answer.target_health_descriptions().iter().map(|description| {
        let health = description.target_health().expect("always given");
        let id = description.target().and_then(|target| target.id()).unwrap_or_default().to_owned();
        (id, health.state().expect("always given").clone(), health.reason().cloned())
    });
    found.collect()
}

async fn shop() -> (Lab, Client, scenario::TwoListeners) {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = scenario::two_listeners(&lab).expect("an empty lab");
    (lab, client, shop)
}

#[tokio::test]
async fn targets_are_registered_described_and_drained() {
    let (lab, client, shop) = shop().await;
    let register = client.register_targets().target_group_arn(&shop.canary);
    register.targets(target("10.0.0.1")).targets(target("10.0.0.2")).send().await.expect("two targets");
    let healthy = |id: &str| (id.to_owned(), TargetHealthStateEnum::Healthy, None);
    assert_eq!(health(&client, &shop.canary).await, [healthy("10.0.0.1"), healthy("10.0.0.2")]);

    let deregister = client.deregister_targets().target_group_arn(&shop.canary).targets(target("10.0.0.1"));
    deregister.send().await.expect("one goes");
    let (_, state, reason) = health(&client, &shop.canary).await.remove(0);
    assert_eq!(
        (state, reason),
        (TargetHealthStateEnum::Draining, Some(TargetHealthReasonEnum::DeregistrationInProgress))
    );
    let stranger = client.describe_target_health().target_group_arn(&shop.canary).targets(target("10.9.9.9"));
    let answer = stranger.send().await.expect("an answer");
    let stranger = &answer.target_health_descriptions()[0];
    let reason = stranger.target_health().and_then(|health| health.reason());
    assert_eq!((reason, stranger.health_check_port()), (Some(&TargetHealthReasonEnum::NotRegistered), None));

    let now = client.modify_target_group_attributes().target_group_arn(&shop.canary);
    now.attributes(attribute("deregistration_delay.timeout_seconds", "0")).send().await.expect("no delay");
    assert_eq!(health(&client, &shop.canary).await, [healthy("10.0.0.2")], "the delay is that of now");

    let journal = lab.journal();
    let writes: Vec<&str> = journal.iter().rev().take(3).map(|entry| entry.operation.as_str()).collect();
    assert_eq!(writes, ["ModifyTargetGroupAttributes", "DeregisterTargets", "RegisterTargets"]);
    assert!(journal.iter().all(|entry| entry.operation != "RegisterTargets" || entry.change(&shop.canary).is_some()));
}

#[tokio::test]
async fn a_scenario_registers_targets_too() {
    let (lab, client, shop) = shop().await;
    let targets: [SocketAddrV4; 2] = ["127.0.0.1:1001", "127.0.0.1:1002"].map(|target| target.parse().unwrap());
    scenario::register(&lab, &shop.stable, &targets).expect("two targets");
    scenario::deregister(&lab, &shop.stable, &targets[..1]).expect("one goes");
    let states: Vec<_> = health(&client, &shop.stable).await.into_iter().map(|(_, state, _)| state).collect();
    assert_eq!(states, [TargetHealthStateEnum::Draining, TargetHealthStateEnum::Healthy]);
    assert_eq!(scenario::register(&lab, "nowhere", &targets).expect_err("no group").code, "ValidationError");
}

#[tokio::test]
async fn health_checks_are_modified_within_bounds() {
    let (_lab, client, shop) = shop().await;
    let modify = || client.modify_target_group().target_group_arn(&shop.stable);
    let answer =
        modify().health_check_path("/ready").health_check_interval_seconds(10).send().await.expect("new checks");
    let group = &answer.target_groups()[0];
    assert_eq!((group.health_check_path(), group.health_check_interval_seconds()), (Some("/ready"), Some(10)));
    assert_eq!(group.health_check_timeout_seconds(), Some(6), "what is not specified stays");
    assert_eq!(group.load_balancer_arns(), std::slice::from_ref(&shop.load_balancer));
    let described = client.describe_target_groups().target_group_arns(&shop.stable).send().await.expect("it is there");
    assert_eq!(&described.target_groups()[0], group);
    for refused in [
        modify().health_check_interval_seconds(5),
        modify().health_check_protocol(ProtocolEnum::Tcp),
        modify().health_check_enabled(false),
        modify().matcher(Matcher::builder().http_code("500").build()),
    ] {
        assert_eq!(code(refused.send()).await, "ValidationError");
    }
}

#[tokio::test]
async fn attributes_have_defaults_and_bounds() {
    let (_lab, client, shop) = shop().await;
    let describe = || async {
        let answer = client.describe_target_group_attributes().target_group_arn(&shop.stable).send().await;
        let answer = answer.expect("an answer");
        let found = |key: &str| {
            let attribute = answer.attributes().iter().find(|attribute| attribute.key() == Some(key));
            attribute.and_then(|attribute| attribute.value()).map(str::to_owned)
        };
        [found("deregistration_delay.timeout_seconds"), found("slow_start.duration_seconds")]
    };
    assert_eq!(describe().await, [Some("300".to_owned()), Some("0".to_owned())]);
    let modify = |key: &str, value: &str| {
        client.modify_target_group_attributes().target_group_arn(&shop.stable).attributes(attribute(key, value)).send()
    };
    modify("slow_start.duration_seconds", "30").await.expect("slow start");
    assert_eq!(describe().await, [Some("300".to_owned()), Some("30".to_owned())]);
    assert_eq!(code(modify("slow_start.duration_seconds", "29")).await, "ValidationError");
    assert_eq!(code(modify("slow.start", "30")).await, "ValidationError");
    let algorithm = modify("load_balancing.algorithm.type", "least_outstanding_requests");
    assert_eq!(code(algorithm).await, "InvalidConfigurationRequest", "slow start excludes it");
    assert_eq!(
        code(modify("stickiness.type", "source_ip")).await,
        "InvalidConfigurationRequest",
        "for other protocols"
    );
    assert_eq!(code(modify("stickiness.type", "cookie")).await, "ValidationError");
}

#[tokio::test]
async fn target_stickiness_in_a_split_needs_group_stickiness() {
    let (_lab, client, shop) = shop().await;
    let sticky = |group: &str, on: &str| {
        client
            .modify_target_group_attributes()
            .target_group_arn(group)
            .attributes(attribute("stickiness.enabled", on))
            .send()
    };
    assert_eq!(code(sticky(&shop.stable, "true")).await, "InvalidConfigurationRequest");
    for rule in [&shop.http_rule, &shop.https_rule] {
        let shift = client.modify_rule().rule_arn(rule).actions(forward(&[(&shop.stable, 1)]));
        shift.send().await.expect("no split any more");
    }
    sticky(&shop.stable, "true").await.expect("no split any more");
    let split =
        || client.modify_rule().rule_arn(&shop.http_rule).actions(forward(&[(&shop.stable, 1), (&shop.canary, 1)]));
    assert_eq!(code(split().send()).await, "InvalidConfigurationRequest");
    sticky(&shop.stable, "false").await.expect("not sticky any more");
    split().send().await.expect("a split");
}
