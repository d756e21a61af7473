//! Managed routes: there on every rule before a step goes on, and gone before traffic is said to have left the canary.

use super::gates::{NEW, update};
use super::*;
use crate::alb::HeaderCondition;
use crate::cluster::Maker;

/// As [`update`], with two managed routes and target groups that this one bound.
fn managing(maker: Maker) -> (Arc<Fake>, Rollout) {
    let (fake, mut rollout) = update(true);
    fake.register("canary", NEW);
    edit_entry(&mut rollout, |entry| *entry = json!({}));
    let routing = rollout.spec.strategy.canary.as_mut().unwrap().traffic_routing.as_mut().unwrap();
    routing.managed_routes = serde_json::from_value(json!([{"name": "beta"}, {"name": "staff"}])).unwrap();
    fake.bind("shop/web-stable", "stable", maker);
    fake.bind("shop/web-canary", "canary", maker);
    fake.tag(group("stable").as_str(), "ingress.k8s.aws/resource", "shop/web-web-stable:80");
    fake.tag(group("canary").as_str(), "ingress.k8s.aws/resource", "shop/web-web-canary:80");
    fake.route_through("web", "web-root", &[("web-stable", 100), ("web-canary", 0)]);
    fake.rollout.send_replace(Some(rollout.clone()));
    (fake, rollout)
}

fn route(name: &str, value: serde_json::Value) -> HeaderRoute {
    let matches = json!([{"headerName": "x-beta", "headerValue": value}]);
    serde_json::from_value(json!({"name": name, "match": matches})).unwrap()
}

fn beta() -> [HeaderCondition; 1] {
    [HeaderCondition::exact("x-beta", "1").unwrap()]
}

#[tokio::test(start_paused = true)]
async fn where_nobody_else_writes_rules_a_route_is_a_rule_of_our_own() {
    let (fake, mut rollout) = managing(Maker::Somebody);
    let router = router(&fake);
    router.set_header_route(&rollout, &route("beta", json!({"exact": "1"}))).await.unwrap();
    router.set_header_route(&rollout, &route("staff", json!({"prefix": "s"}))).await.unwrap();
    assert_eq!(fake.rules(), ["http", "route-8", "route-9"]);
    assert_eq!(fake.weights("route-8"), [1]);
    // The host asks in every reconcile of the step.
    fake.forget_calls();
    router.set_header_route(&rollout, &route("beta", json!({"exact": "1"}))).await.unwrap();
    assert!(!fake.calls().iter().any(|call| call.starts_with("add")), "{:?}", fake.calls());
    // Another value is another rule.
    router.set_header_route(&rollout, &route("beta", json!({"exact": "2"}))).await.unwrap();
    assert!(fake.calls().contains(&"remove route-8".to_owned()), "{:?}", fake.calls());
    // The update is given up.
    rollout.status.abort = true;
    router.remove_managed_routes(&rollout);
    router.set_weight(&rollout, 0, &[]).await.unwrap();
    assert_eq!(fake.rules(), ["http"]);
    fake.forget_calls();
    router.remove_managed_routes(&rollout);
    router.set_weight(&rollout, 0, &[]).await.unwrap();
    assert!(fake.calls().is_empty(), "at rest it costs nothing: {:?}", fake.calls());
}

#[tokio::test(start_paused = true)]
async fn a_fresh_process_removes_what_an_earlier_one_made() {
    let (fake, mut rollout) = managing(Maker::Somebody);
    router(&fake).set_header_route(&rollout, &route("beta", json!({"regex": "^1$"}))).await.unwrap();
    rollout.status.abort = true;
    let router = router(&fake);
    router.remove_managed_routes(&rollout);
    router.set_weight(&rollout, 0, &[]).await.unwrap();
    assert_eq!(fake.rules(), ["http"]);
}

#[tokio::test(start_paused = true)]
async fn beside_a_load_balancer_controller_a_route_goes_through_the_ingress() {
    let (fake, mut rollout) = managing(Maker::Ingress);
    let router = router(&fake);
    let beta_route = route("beta", json!({"exact": "1"}));
    let (answer, ()) = tokio::join!(router.set_header_route(&rollout, &beta_route), async {
        tokio::time::sleep(Duration::from_secs(20)).await;
        fake.set_route("a", 9, &beta(), &[("canary", 1)]);
    });
    answer.unwrap();
    assert!(fake.calls().contains(&"add route beta".to_owned()));
    // Its requests go to stable at once, and the controller deletes the rule when it gets to it.
    rollout.status.abort = true;
    router.remove_managed_routes(&rollout);
    let (answer, ()) = tokio::join!(router.set_weight(&rollout, 0, &[]), async {
        tokio::time::sleep(Duration::from_secs(5)).await;
        fake.set("http", &[("stable", 100), ("canary", 0)]);
    });
    answer.unwrap();
    assert_eq!(fake.shares(), [("a", 1, 0), ("http", 100, 0)]);
    assert!(fake.calls().contains(&"remove routes beta, staff".to_owned()));
    assert!(!fake.calls().iter().any(|call| call.starts_with("remove route-") || call.starts_with("add route-")));
}

/// Half of the traffic is the canary's, and an earlier process has made a route through the Ingress.
fn in_the_middle() -> (Arc<Fake>, Rollout) {
    let (fake, rollout) = managing(Maker::Ingress);
    fake.set("http", &[("stable", 50), ("canary", 50)]);
    fake.set_route("a", 9, &beta(), &[("canary", 1)]);
    fake.write_route("web", "beta", "web-canary", "x-beta");
    (fake, rollout)
}

/// The load balancer controller's own webhook refuses every patch while the controller is down.
#[tokio::test(start_paused = true)]
async fn a_version_that_is_given_up_loses_its_traffic_though_its_route_cannot_be_removed() {
    let (fake, mut rollout) = in_the_middle();
    let router = router(&fake);
    rollout.status.abort = true;
    fake.fail_always("remove routes beta, staff", Fault::Transient);
    router.remove_managed_routes(&rollout);
    error_of(&router, &rollout, 0).await;
    assert_eq!((fake.weights("http")[1], fake.weights("a")), (0, vec![1]));
    assert!(fake.shares().iter().any(|(rule, stable, canary)| (*rule, *stable, *canary) == ("a", 0, 1)));
    fake.heal();
    tokio::time::sleep(Duration::from_secs(30)).await;
    assert!(fake.shares().iter().any(|(rule, stable, canary)| (*rule, *stable, *canary) == ("a", 1, 0)));
}

#[tokio::test(start_paused = true)]
async fn a_fresh_process_knows_a_route_again_that_leads_to_stable_until_it_is_deleted() {
    let (fake, mut rollout) = in_the_middle();
    let router = router(&fake);
    rollout.status.abort = true;
    fake.rollout.send_replace(Some(rollout.clone()));
    router.remove_managed_routes(&rollout);
    for (weight, shown) in [(25, [75, 25]), (0, [100, 0])] {
        let (answer, ()) = tokio::join!(router.set_weight(&rollout, weight, &[]), async {
            tokio::time::sleep(Duration::from_secs(5)).await;
            fake.set("http", &[("stable", shown[0]), ("canary", shown[1])]);
        });
        answer.unwrap();
    }
    assert_eq!(fake.shares(), [("a", 1, 0), ("http", 100, 0)]);
}

#[tokio::test(start_paused = true)]
async fn another_rollouts_route_of_the_same_name_in_a_shared_ingress_stays() {
    let (fake, rollout) = managing(Maker::Ingress);
    fake.write_route("web", "beta", "shop-canary", "x-beta");
    let router = router(&fake);
    router.remove_managed_routes(&rollout);
    // The controller follows nobody here.
    error_of(&router, &rollout, 0).await;
    let asked: Vec<String> = fake.calls().into_iter().filter(|call| call.starts_with("remove routes")).collect();
    assert_eq!(asked, ["remove routes staff"]);
}

#[tokio::test(start_paused = true)]
async fn a_route_that_does_not_come_is_an_error_that_says_what_is_waited_for() {
    let (fake, rollout) = managing(Maker::Ingress);
    let router = router(&fake);
    let error = router.set_header_route(&rollout, &route("beta", json!({"exact": "1"}))).await.unwrap_err().to_string();
    assert!(error.contains("header route beta: the load balancer controller does not show it yet"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn what_cannot_be_routed_is_refused_with_nothing_changed() {
    let (fake, rollout) = managing(Maker::Somebody);
    let router = router(&fake);
    for (asked, part) in [
        (route("gamma", json!({"exact": "1"})), "header route gamma: it is not among the Rollout's"),
        (route("beta", json!({})), "one of exact, prefix and regex"),
        (route("beta", json!({"exact": "1", "regex": "1"})), "one of exact, prefix and regex"),
        (route("beta", json!({"exact": "x".repeat(129)})), "at most 128"),
    ] {
        let error = router.set_header_route(&rollout, &asked).await.unwrap_err().to_string();
        assert!(error.contains(part), "{error}");
    }
    assert!(fake.calls().is_empty(), "{:?}", fake.calls());
    fake.set("a", &[("other", 1)]);
    fake.set_route("a", 9, &[], &[("other", 1)]);
    let error =
        router.set_header_route(&rollout, &route("staff", json!({"exact": "1"}))).await.unwrap_err().to_string();
    assert!(error.contains("between the rule with priority 9 and 10"), "{error}");
    assert_eq!(fake.rules(), ["a", "http"]);
}
