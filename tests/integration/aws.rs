//! The router against AWS's own SDK and the lab: good days and bad ones.

use anyhow::Result;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, TargetGroupStickinessConfig, TargetGroupTuple,
};
use lab::{Effect, Fault};
use serde_json::json;

use crate::host::{self, Host};
use crate::shop::Shop;

mod balancer;

async fn error_of(host: &Host, rollout: &serde_json::Value, weight: u32) -> String {
    host.set_weight(rollout, weight).await.expect_err("it cannot succeed").to_string()
}

#[tokio::test]
async fn what_is_not_ours_comes_out_untouched() -> Result<()> {
    let shop = Shop::open().await?;
    let before = shop.rule(&shop.arns.https_rule).await?;
    let host = shop.host().await?;
    host.set_weight(&shop.rollout(), 60).await?;
    host.set_weight(&shop.rollout(), 0).await?;
    let after = shop.rule(&shop.arns.https_rule).await?;
    assert_eq!(after, before);
    assert_eq!(after.actions().first().and_then(Action::r#type), Some(&ActionTypeEnum::AuthenticateOidc));
    Ok(())
}

#[tokio::test]
async fn group_stickiness_survives() -> Result<()> {
    let shop = Shop::open().await?;
    let group = |arn: &str, weight| TargetGroupTuple::builder().target_group_arn(arn).weight(weight).build();
    let stickiness = TargetGroupStickinessConfig::builder().enabled(true).duration_seconds(600).build();
    let forward = ForwardActionConfig::builder()
        .target_groups(group(&shop.arns.stable, 100))
        .target_groups(group(&shop.arns.canary, 0))
        .target_group_stickiness_config(stickiness.clone());
    let forward = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(forward.build()).build();
    shop.client().modify_rule().rule_arn(&shop.arns.http_rule).actions(forward).send().await?;
    shop.host().await?.set_weight(&shop.rollout(), 10).await?;
    let rule = shop.rule(&shop.arns.http_rule).await?;
    let shown = rule.actions().first().and_then(Action::forward_config);
    assert_eq!(shown.and_then(ForwardActionConfig::target_group_stickiness_config), Some(&stickiness));
    Ok(())
}

#[tokio::test]
async fn without_rule_arns_every_rule_that_holds_both_is_shifted_default_actions_too() -> Result<()> {
    let shop = Shop::open().await?;
    let group = |arn: &str, weight| TargetGroupTuple::builder().target_group_arn(arn).weight(weight).build();
    let forward = ForwardActionConfig::builder()
        .target_groups(group(&shop.arns.stable, 1))
        .target_groups(group(&shop.arns.canary, 0))
        .build();
    let forward = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(forward).build();
    shop.client().modify_listener().listener_arn(&shop.arns.http_listener).default_actions(forward).send().await?;
    let rules = shop.client().describe_rules().listener_arn(&shop.arns.http_listener).send().await?;
    let default = rules.rules().iter().find(|rule| rule.is_default() == Some(true)).and_then(|rule| rule.rule_arn());
    let default = default.expect("every listener has a default rule").to_owned();

    let host = shop.host().await?;
    let length = shop.lab.journal().len();
    host.set_weight(&shop.rollout_on(&[]), 10).await?;
    assert_eq!(shop.weights().await?, ["90:10", "90:10"]);
    assert_eq!(shop.weights_of(&default).await?, "90:10");
    let mut operations: Vec<String> = shop.writes_since(length).into_iter().map(|entry| entry.operation).collect();
    operations.sort();
    assert_eq!(operations, ["ModifyListener", "ModifyRule", "ModifyRule"]);
    // A default rule that the author names is changed through its listener too.
    host.set_weight(&shop.rollout_on(&[&default]), 60).await?;
    assert_eq!(shop.weights_of(&default).await?, "40:60");
    Ok(())
}

#[tokio::test]
async fn an_unchanged_wish_costs_no_write_and_soon_no_read() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    host.set_weight(&shop.rollout(), 10).await?;
    let (length, reads) = (shop.lab.journal().len(), shop.lab.counts()["DescribeRules"].calls);
    host.load("SetWeight", json!({"rollout": shop.rollout(), "weight": 10}), 50, 5).await?;
    assert_eq!(shop.lab.journal().len(), length);
    assert_eq!(shop.lab.counts()["DescribeRules"].calls, reads);
    Ok(())
}

#[tokio::test]
async fn throttling_is_waited_for_then_said_and_the_next_try_succeeds() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    shop.lab.faults().add(Fault::throttling("ModifyRule").times(2))?;
    host.set_weight(&shop.rollout(), 10).await?;
    shop.lab.faults().add(Fault::throttling("ModifyRule"))?;
    let error = error_of(&host, &shop.rollout(), 60).await;
    assert!(error.contains("ModifyRule of") && error.contains("AWS answered Throttling: Rate exceeded"), "{error}");
    assert_eq!(shop.weights().await?, ["90:10", "90:10"]);
    shop.lab.faults().clear();
    host.set_weight(&shop.rollout(), 60).await?;
    assert_eq!(shop.weights().await?, ["40:60", "40:60"]);
    Ok(())
}

#[tokio::test]
async fn faults_of_aws_are_waited_for_then_said_and_the_next_try_succeeds() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    shop.lab.faults().add(Fault::error("*", 500, "InternalFailure", "An internal error has occurred."))?;
    let error = error_of(&host, &shop.rollout(), 10).await;
    assert!(error.contains("DescribeRules of") && error.contains("InternalFailure"), "{error}");
    shop.lab.faults().clear();
    assert_eq!(shop.weights().await?, ["100:0", "100:0"]);
    host.set_weight(&shop.rollout(), 10).await?;
    assert_eq!(shop.weights().await?, ["90:10", "90:10"]);
    Ok(())
}

#[tokio::test]
async fn a_change_by_halves_is_said_and_finished_by_the_next_try() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    let denied =
        "User: arn:aws:iam::000000000000:role/rollouts is not authorized to perform: elasticloadbalancing:ModifyRule";
    shop.lab.faults().add(Fault::error("ModifyRule", 403, "AccessDenied", denied).times(1))?;
    let error = error_of(&host, &shop.rollout(), 10).await;
    let weights = shop.weights().await?;
    let (done, open) = match weights.each_ref().map(String::as_str) {
        ["90:10", "100:0"] => (&shop.arns.http_rule, &shop.arns.https_rule),
        ["100:0", "90:10"] => (&shop.arns.https_rule, &shop.arns.http_rule),
        other => panic!("{other:?}: one rule was to change; {error}"),
    };
    assert!(error.contains(&format!("The new weights are on {done}; on {open} they are not known to be")), "{error}");
    assert!(error.contains(denied) && error.contains("deploy/iam"), "{error}");
    host.set_weight(&shop.rollout(), 10).await?;
    assert_eq!(shop.weights().await?, ["90:10", "90:10"]);
    Ok(())
}

#[tokio::test]
async fn a_lost_answer_and_a_stale_read_end_in_the_truth() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    shop.lab.faults().add(Fault::new("ModifyRule", Effect::CutAfterEffect).times(1))?;
    host.set_weight(&shop.rollout(), 10).await?;
    assert_eq!(shop.weights().await?, ["90:10", "90:10"]);
    shop.lab.faults().add(Fault::new("DescribeRules", Effect::StaleReads).times(4))?;
    host.set_weight(&shop.rollout(), 60).await?;
    assert_eq!(shop.weights().await?, ["40:60", "40:60"]);
    Ok(())
}

#[tokio::test]
async fn a_rule_that_is_gone_is_named_and_nothing_is_changed() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    let length = shop.lab.journal().len();
    let (listener, _) = shop.arns.https_rule.rsplit_once('/').expect("an ARN has slashes");
    let gone = format!("{listener}/00000000000000aa");
    let error = error_of(&host, &shop.rollout_on(&[&shop.arns.http_rule, &gone]), 10).await;
    assert!(error.contains(&format!("DescribeRules of {gone} failed: AWS answered RuleNotFound")), "{error}");
    assert!(error.contains("correct the ARN in the Rollout's plugin entry"), "{error}");
    assert_eq!(shop.lab.journal().len(), length);
    host.set_weight(&shop.rollout(), 10).await?;
    Ok(())
}

#[tokio::test]
async fn a_group_that_is_not_in_the_rule_is_named_and_nothing_is_changed() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    let length = shop.lab.journal().len();
    let entry = json!({
        "stableTargetGroupArn": shop.arns.stable, "canaryTargetGroupArn": shop.arns.foreign,
        "ruleArns": [shop.arns.https_rule, shop.arns.http_rule],
    });
    let error = error_of(&host, &host::rollout("shop", "web", &entry), 10).await;
    assert!(error.contains(&format!("rule {} cannot be shifted", shop.arns.http_rule)), "{error}");
    assert!(error.contains(&format!("does not hold the canary target group {}", shop.arns.foreign)), "{error}");
    assert_eq!(shop.lab.journal().len(), length);
    Ok(())
}

#[tokio::test]
async fn missing_credentials_are_an_error_that_says_where_they_come_from() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host_with(&["--allow", "shop=*"], &[]).await?;
    let error = error_of(&host, &shop.rollout(), 10).await;
    assert!(error.contains("no usable AWS credentials") && error.contains("IRSA or EKS Pod Identity"), "{error}");
    assert!(!error.contains('\n'), "{error}");
    Ok(())
}

#[tokio::test]
async fn the_region_is_the_arns_and_an_arn_without_one_is_an_error() -> Result<()> {
    let shop = Shop::open().await?;
    // No host of these tests has a region in its environment.
    let host = shop.host().await?;
    host.set_weight(&shop.rollout(), 10).await?;
    let stable = shop.arns.stable.replace(":us-east-1:", "::");
    let entry = json!({"stableTargetGroupArn": stable, "canaryTargetGroupArn": shop.arns.canary});
    let error = error_of(&host, &host::rollout("shop", "web", &entry), 10).await;
    assert!(error.contains("names no region"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_bad_entry_and_a_stranger_are_refused_before_anything_is_changed() -> Result<()> {
    let shop = Shop::open().await?;
    let host = shop.host().await?;
    let length = shop.lab.journal().len();
    let entry = json!({"stableTargetGroupARN": shop.arns.stable, "canaryTargetGroupArn": shop.arns.canary});
    let error = error_of(&host, &host::rollout("shop", "web", &entry), 10).await;
    assert!(error.contains("plugin entry argoproj-labs/alb"), "{error}");
    assert!(
        error.contains("`stableTargetGroupARN` is not a key of this plugin; did you mean `stableTargetGroupArn`?"),
        "{error}"
    );
    let stranger = host::rollout(
        "other",
        "web",
        &json!({
            "stableTargetGroupArn": shop.arns.stable, "canaryTargetGroupArn": shop.arns.canary,
        }),
    );
    let error = error_of(&host, &stranger, 10).await;
    assert!(error.contains("the operator has not allowed namespace other to name"), "{error}");
    assert_eq!(shop.lab.journal().len(), length);
    assert_eq!(shop.lab.counts().get("DescribeRules").map_or(0, |count| count.calls), 0);
    Ok(())
}
