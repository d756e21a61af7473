//! SetRulePriorities, and the state at a glance.

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::RulePriorityPair;
use lab::scenario::TwoListeners;
use lab::{Lab, LabConfig};

use crate::{code, forward, host, http, raw, start};

fn pair(arn: &str, priority: i32) -> RulePriorityPair {
    RulePriorityPair::builder().rule_arn(arn).priority(priority).build()
}

/// The scenario with a second rule on the HTTP listener, at priority 20.
async fn two_rules() -> (Lab, Client, TwoListeners, String) {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    let create = client.create_rule().listener_arn(&shop.http_listener).priority(20).conditions(host("b.example.com"));
    let answer = create.actions(forward(&[(&shop.stable, 1)])).send().await.expect("a second rule");
    let second = answer.rules().first().and_then(|rule| rule.rule_arn()).expect("an ARN").to_owned();
    (lab, client, shop, second)
}

async fn order(client: &Client, listener: &str) -> Vec<(String, String)> {
    let answer = client.describe_rules().listener_arn(listener).send().await.expect("rules");
    let text = |value: Option<&str>| value.unwrap_or_default().to_owned();
    answer.rules().iter().map(|rule| (text(rule.priority()), text(rule.rule_arn()))).collect()
}

#[tokio::test]
async fn two_rules_change_places_in_one_call() {
    let (lab, client, shop, second) = two_rules().await;
    let first = shop.http_rule.as_str();
    let swap = client.set_rule_priorities().rule_priorities(pair(first, 20)).rule_priorities(pair(&second, 10));
    let answer = swap.send().await.expect("no conflict in the new order");
    let answered: Vec<_> = answer.rules().iter().filter_map(|rule| rule.priority()).collect();
    assert_eq!(answered, ["20", "10"], "in the order asked for");
    let order = order(&client, &shop.http_listener).await;
    assert_eq!(order[..2], [("10".to_owned(), second.clone()), ("20".to_owned(), first.to_owned())]);
    let last = lab.journal().pop().expect("a write");
    assert!(last.change(first).is_some() && last.change(&second).is_some());
}

#[tokio::test]
async fn what_would_conflict_changes_nothing() {
    let (_lab, client, shop, second) = two_rules().await;
    let before = order(&client, &shop.http_listener).await;
    let first = shop.http_rule.as_str();
    let (_, default) = before.last().cloned().expect("the default rule");
    let unknown = format!("{}0123456789abcdef", &first[..first.len() - 16]);
    for (what, pairs, expected) in [
        ("a priority of another rule", vec![pair(first, 20)], "PriorityInUse"),
        ("one priority for two", vec![pair(first, 30), pair(&second, 30)], "ValidationError"),
        ("the default rule", vec![pair(&default, 30)], "OperationNotPermitted"),
        ("out of range", vec![pair(first, 50_001)], "ValidationError"),
        ("a rule twice", vec![pair(first, 30), pair(first, 40)], "ValidationError"),
        ("an unknown rule", vec![pair(&second, 30), pair(&unknown, 40)], "RuleNotFound"),
    ] {
        let set = client.set_rule_priorities().set_rule_priorities(Some(pairs));
        assert_eq!(code(set.send()).await, expected, "{what}");
        assert_eq!(order(&client, &shop.http_listener).await, before, "{what}");
    }
    let other_listener = client.set_rule_priorities().rule_priorities(pair(&shop.https_rule, 20));
    other_listener.send().await.expect("each listener has its own priorities");
}

#[tokio::test]
async fn the_state_at_a_glance() {
    let (lab, _client, shop, _second) = two_rules().await;
    lab::scenario::register(&lab, &shop.stable, &["127.0.0.1:8080".parse().unwrap()]).expect("a target");
    let answer = raw(&lab, &http("GET", "/lab", "", "")).await;
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    let glance: serde_json::Value = serde_json::from_str(body).expect("JSON");
    let rule = &glance["load_balancers"][0]["listeners"][0]["rules"][0];
    assert_eq!(rule["weights"], serde_json::json!({"shop-canary": 0, "shop-stable": 100}), "{glance:#}");
    assert_eq!(glance["load_balancers"][0]["listeners"][1]["on"], "HTTPS 443");
    assert_eq!(glance["load_balancers"][0]["listeners"][1]["rules"][0]["actions"], "authenticate-oidc, forward");
    assert_eq!(glance["target_groups"][0]["targets"], serde_json::json!({"127.0.0.1:8080": "healthy"}));
    assert_eq!(glance["buckets"], serde_json::Value::Null);
}
