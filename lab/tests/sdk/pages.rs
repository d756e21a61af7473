//! Long answers, and how a caller chooses among them.

use aws_sdk_elasticloadbalancingv2::Client;
use lab::scenario::TwoListeners;
use lab::{Lab, LabConfig};

use crate::{code, forward, host, start};

/// The scenario with more rules on the HTTP listener, made in falling order of priority.
async fn with_rules(config: LabConfig, more: u16) -> (Lab, Client, TwoListeners) {
    let (lab, client) = start(config).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    for priority in (100..100 + more).rev() {
        client
            .create_rule()
            .listener_arn(&shop.http_listener)
            .priority(i32::from(priority))
            .conditions(host(&format!("n{priority}.example.com")))
            .actions(forward(&[(&shop.stable, 1)]))
            .send()
            .await
            .expect("another rule");
    }
    (lab, client, shop)
}

#[tokio::test]
async fn rules_come_in_order_of_evaluation_page_by_page() {
    let (_lab, client, shop) = with_rules(LabConfig { page_size: 4, ..LabConfig::default() }, 9).await;
    let expected: Vec<String> =
        std::iter::once(10).chain(100..109).map(|n| n.to_string()).chain(["default".to_owned()]).collect();
    for page_size in [None, Some(1), Some(3), Some(400)] {
        let mut pages =
            client.describe_rules().listener_arn(&shop.http_listener).set_page_size(page_size).into_paginator().send();
        let mut seen = Vec::new();
        while let Some(page) = pages.next().await {
            let page = page.expect("a page");
            assert!(page.rules().len() <= usize::try_from(page_size.unwrap_or(4)).unwrap());
            seen.extend(page.rules().iter().map(|rule| rule.priority().unwrap().to_owned()));
        }
        assert_eq!(seen, expected, "page size {page_size:?}");
    }
    let first = client.describe_rules().listener_arn(&shop.http_listener).send().await.expect("a page");
    assert_eq!(first.rules().len(), 4, "the default page size is the one configured");
    assert!(first.next_marker().is_some());
}

#[tokio::test]
async fn rules_by_arn_are_all_or_nothing() {
    let (_lab, client, shop) = with_rules(LabConfig::default(), 0).await;
    let both = client.describe_rules().rule_arns(&shop.https_rule).rule_arns(&shop.http_rule).send().await;
    let both = both.expect("both exist");
    let arns: Vec<&str> = both.rules().iter().filter_map(|rule| rule.rule_arn()).collect();
    assert_eq!(arns, [&shop.https_rule, &shop.http_rule]);

    let unknown = format!("{}/0123456789abcdef", shop.http_listener.replace(":listener/", ":listener-rule/"));
    let describe = || client.describe_rules();
    assert_eq!(code(describe().rule_arns(&shop.http_rule).rule_arns(&unknown).send()).await, "RuleNotFound");
    assert_eq!(code(describe().rule_arns("not-an-arn").send()).await, "ValidationError");
    assert_eq!(code(describe().rule_arns(&shop.http_listener).send()).await, "ValidationError");
    assert_eq!(code(describe().send()).await, "ValidationError");
    let both_ways = describe().rule_arns(&shop.http_rule).listener_arn(&shop.http_listener);
    assert_eq!(code(both_ways.send()).await, "ValidationError");
    for size in [0, 401] {
        let sized = describe().listener_arn(&shop.http_listener).page_size(size);
        assert_eq!(code(sized.send()).await, "ValidationError");
    }
    let marked = describe().listener_arn(&shop.http_listener).marker("yesterday");
    assert_eq!(code(marked.send()).await, "ValidationError");
}

#[tokio::test]
async fn target_groups_are_chosen_one_way_at_a_time() {
    let (_lab, client, shop) = with_rules(LabConfig::default(), 0).await;
    let describe = || client.describe_target_groups();
    let names =
        |answer: aws_sdk_elasticloadbalancingv2::operation::describe_target_groups::DescribeTargetGroupsOutput| {
            answer.target_groups().iter().map(|group| group.target_group_name().unwrap().to_owned()).collect::<Vec<_>>()
        };
    let all = names(describe().send().await.expect("all"));
    assert_eq!(all, ["shop-stable", "shop-canary", "legacy"]);
    let attached = names(describe().load_balancer_arn(&shop.load_balancer).send().await.expect("the attached ones"));
    assert_eq!(attached, all);
    assert_eq!(names(describe().names("legacy").send().await.expect("by name")), ["legacy"]);
    assert_eq!(code(describe().names("legacy").target_group_arns(&shop.stable).send()).await, "ValidationError");
    assert_eq!(code(describe().names("nobody").send()).await, "TargetGroupNotFound");

    // Once no rule names it, a target group belongs to no load balancer.
    let modify = client.modify_rule().rule_arn(&shop.https_rule).actions(forward(&[(&shop.stable, 1)]));
    modify.send().await.expect("without the foreign group");
    let attached = names(describe().load_balancer_arn(&shop.load_balancer).send().await.expect("the attached ones"));
    assert_eq!(attached, ["shop-stable", "shop-canary"]);
}

#[tokio::test]
async fn the_quota_of_rules_is_per_load_balancer() {
    let config = LabConfig { rules_per_load_balancer: 5, ..LabConfig::default() };
    let (_lab, client, shop) = with_rules(config, 3).await;
    let one_more = client
        .create_rule()
        .listener_arn(&shop.https_listener)
        .priority(500)
        .conditions(host("more.example.com"))
        .actions(forward(&[(&shop.stable, 1)]));
    assert_eq!(code(one_more.send()).await, "TooManyRules");
}

#[tokio::test]
async fn tags_of_at_most_twenty_resources() {
    let (_lab, client, shop) = with_rules(LabConfig::default(), 0).await;
    let twenty = client.describe_tags().set_resource_arns(Some(vec![shop.stable.clone(); 20]));
    assert_eq!(twenty.send().await.expect("twenty").tag_descriptions().len(), 20);
    let more = client.describe_tags().set_resource_arns(Some(vec![shop.stable.clone(); 21]));
    assert_eq!(code(more.send()).await, "ValidationError");
    let gone = |arn: &str| format!("{}{}", &arn[..arn.len() - 16], "0123456789abcdef");
    for (arn, expected) in [
        (&shop.load_balancer, "LoadBalancerNotFound"),
        (&shop.stable, "TargetGroupNotFound"),
        (&shop.http_listener, "ListenerNotFound"),
        (&shop.http_rule, "RuleNotFound"),
    ] {
        let describe = client.describe_tags().resource_arns(&shop.stable).resource_arns(gone(arn));
        assert_eq!(code(describe.send()).await, expected);
    }
}
