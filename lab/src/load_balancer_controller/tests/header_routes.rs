//! A header route: a path before another one, with an action and conditions of its own.

use serde_json::{Value, json};

use super::shop::{Shop, action, path};
use crate::control_plane::model::shapes::HttpHeaderConfig;
use crate::control_plane::model::{Priority, Rule};
use crate::kubernetes::Kind;
use crate::load_balancer_controller::{Edition, LbcConfig};

/// What the route's action says: everything to canary.
const ROUTE: &str = r#"{"type":"forward","forwardConfig":{"targetGroups":[
    {"serviceName":"web-canary","servicePort":80,"weight":100}]}}"#;

/// What its conditions say: two headers, one by patterns and one by regular expressions.
const CONDITIONS: &str = r#"[
    {"field":"http-header","httpHeaderConfig":{"httpHeaderName":"X-Canary","values":["yes","please*"]}},
    {"field":"http-header","httpHeaderConfig":{"httpHeaderName":"X-User","regexValues":["^test-[0-9]+$"]}}]"#;

/// One patch, as the plugin sends it.
fn set(shop: &Shop, paths: &[Value], annotations: &Value) {
    let spec = json!({"rules": [{"http": {"paths": paths}}]});
    let patch = json!({"metadata": {"annotations": annotations}, "spec": spec});
    shop.cluster.merge_patch(Kind::INGRESS, "shop", "web", &patch).expect("patched");
}

fn add(shop: &Shop) {
    let annotations = json!({
        "alb.ingress.kubernetes.io/actions.route": ROUTE,
        "alb.ingress.kubernetes.io/conditions.route": CONDITIONS,
    });
    set(shop, &[path("/", "route"), path("/", "web")], &annotations);
}

fn remove(shop: &Shop) {
    let annotations = json!({
        "alb.ingress.kubernetes.io/actions.route": null,
        "alb.ingress.kubernetes.io/conditions.route": null,
    });
    set(shop, &[path("/", "web")], &annotations);
}

/// Priority, and what the tag says of it.
fn places(rules: &[Rule]) -> Vec<(Priority, &str)> {
    let mut places: Vec<_> =
        rules.iter().map(|rule| (rule.priority, rule.tags["ingress.k8s.aws/resource"].as_str())).collect();
    places.sort();
    places
}

#[tokio::test(start_paused = true)]
async fn a_header_route_becomes_a_rule_before_the_one_that_it_stands_before_and_goes_again() {
    let shop = Shop::open(LbcConfig::idle(1), &[]).await;
    let before = shop.rule();
    add(&shop);
    shop.quiet().await;
    let rules = shop.rules();
    assert_eq!(places(&rules), [(Priority::At(1), "80:1"), (Priority::At(2), "80:2")], "{}", shop.story());
    let route = rules.iter().find(|rule| rule.priority == Priority::At(1)).expect("the route");
    let headers: Vec<&HttpHeaderConfig> =
        route.conditions.iter().filter_map(|condition| condition.http_header_config.as_ref()).collect();
    let patterns = HttpHeaderConfig {
        http_header_name: Some("X-Canary".to_owned()),
        values: Some(vec!["yes".to_owned(), "please*".to_owned()]),
        regex_values: None,
    };
    let regular_expressions = HttpHeaderConfig {
        http_header_name: Some("X-User".to_owned()),
        values: None,
        regex_values: Some(vec!["^test-[0-9]+$".to_owned()]),
    };
    assert_eq!(headers, [&patterns, &regular_expressions]);
    let path = before.conditions.first();
    assert_eq!(route.conditions.last(), path, "the path of the one that it stands before");
    let leads_to: Vec<&str> =
        route.actions.iter().flat_map(|action| action.target_groups()).map(|group| &*group.target_group_arn).collect();
    assert_eq!(leads_to, [shop.group("web-canary")]);
    assert!(rules.iter().any(|rule| rule.arn == before.arn && rule.priority == Priority::At(2)), "it only made way");

    remove(&shop);
    shop.quiet().await;
    let rule = shop.rule();
    assert_eq!((&rule.arn, places(std::slice::from_ref(&rule))), (&before.arn, vec![(Priority::At(1), "80:1")]));
}

#[tokio::test(start_paused = true)]
async fn a_route_that_comes_while_weights_are_not_the_announced_ones_takes_the_rule_over() {
    let shop = Shop::open(LbcConfig::idle(1), &[]).await;
    let before = shop.rule();
    shop.lbc.stop().await;
    shop.announce(90, 10);
    shop.modify(&before, 180, 20).expect("written");
    add(&shop);
    shop.lbc.resume();
    shop.quiet().await;
    let rules = shop.rules();
    // The rule does not look like what is wanted, so it is changed by its priority: what leads to the Rollout is another one.
    let same = rules.iter().find(|rule| rule.arn == before.arn).expect("it is kept");
    assert!(same.conditions.iter().any(|condition| condition.http_header_config.is_some()), "{}", shop.story());
    let other = rules.iter().find(|rule| rule.arn != before.arn).expect("another one");
    assert_eq!(shop.weights(other), (90, 10));
}

#[tokio::test(start_paused = true)]
async fn a_route_to_a_service_that_is_not_there_stops_nothing_but_one_of_several_does() {
    let shop = Shop::open(LbcConfig::idle(1), &[]).await;
    shop.cluster.delete(Kind::SERVICE, "shop", "web-canary").expect("deleted");
    shop.announce(50, 50);
    add(&shop);
    shop.until(|shop| shop.lbc.records().iter().any(|record| record.failure.is_some())).await;
    assert_eq!(shop.rules().len(), 1, "the whole group waits");
    shop.annotate("actions.web", &ROUTE.replace("web-canary", "web-stable"));
    shop.quiet().await;
    let kinds: Vec<bool> = shop
        .rules()
        .iter()
        .map(|rule| rule.actions.iter().any(|action| action.fixed_response_config.is_some()))
        .collect();
    assert_eq!(kinds.iter().filter(|fixed| **fixed).count(), 1, "503 for the route alone: {}", shop.story());
}

#[tokio::test(start_paused = true)]
async fn a_named_port_is_written_into_the_tag_as_it_is() {
    let shop = Shop::open(LbcConfig::idle(1), &[]).await;
    let named = json!({"spec": {"ports": [{"name": "http", "port": 80, "targetPort": 8080}]}});
    for service in ["web-stable", "web-canary"] {
        shop.cluster.merge_patch(Kind::SERVICE, "shop", service, &named).expect("patched");
    }
    shop.annotate("actions.web", &action(100, 0).replace(":80,", r#":"http","#));
    shop.quiet().await;
    let account = shop.control_plane.state().account.clone();
    let mut resources: Vec<&str> =
        account.target_groups.iter().map(|group| &*group.tags["ingress.k8s.aws/resource"]).collect();
    resources.sort_unstable();
    assert_eq!(resources, ["shop/web-web-canary:http", "shop/web-web-stable:http"]);
}

#[tokio::test(start_paused = true)]
async fn auto_mode_makes_bindings_of_its_own_group() {
    let auto = LbcConfig { edition: Edition::AutoMode, ..LbcConfig::idle(1) };
    let shop = Shop::open(auto, &[]).await;
    let count = |kind| shop.cluster.list(kind, None).0.len();
    assert_eq!((count(Kind::AUTO_MODE_BINDING), count(Kind::TARGET_GROUP_BINDING)), (2, 0));
    shop.cluster.delete(Kind::INGRESS, "shop", "web").expect("deleted");
    shop.quiet().await;
    assert_eq!(count(Kind::AUTO_MODE_BINDING), 0);
    assert!(shop.control_plane.state().account.load_balancers.is_empty());
}
