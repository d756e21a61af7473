//! The router against a load balancer in memory, on a stopped clock.

mod alone;
mod contrary;
mod crowd;
mod echo;
mod fake;
mod found;
mod gates;
mod routes;
mod settle;
mod users;

use serde_json::json;

use super::*;
use crate::rollout::Present;
use fake::{Fake, Fault, arn, group};

const BUDGET: Duration = Duration::from_secs(45);

fn settings() -> Settings {
    Settings {
        allow: vec!["*=*".parse().unwrap()],
        plugin_name: None,
        block_budget: BUDGET,
        max_held: 5,
        settle: Duration::ZERO,
        echo_timeout: Duration::from_secs(120),
    }
}

fn router(fake: &Arc<Fake>) -> Router {
    router_with(settings(), fake)
}

fn router_with(settings: Settings, fake: &Arc<Fake>) -> Router {
    Router::new(Ok(settings), Arc::clone(fake) as Arc<dyn LoadBalancer>, Arc::clone(fake) as Arc<dyn Cluster>)
}

fn rollout_on(name: &str, rules: &[&str]) -> Rollout {
    let mut entry = json!({
        "stableTargetGroupArn": group("stable").as_str(), "canaryTargetGroupArn": group("canary").as_str(),
        "gates": {"rising": false, "promotion": false},
    });
    if !rules.is_empty() {
        entry["ruleArns"] = rules.iter().map(|rule| arn(rule).as_str().to_owned()).collect();
    }
    serde_json::from_value(json!({
        "metadata": {"namespace": "shop", "name": name, "uid": "u"},
        "spec": {"strategy": {"canary": {"steps": [{}], "trafficRouting": {"plugins": {"argoproj-labs/alb": entry}}}}},
        "status": {"stableRS": "old", "currentPodHash": "new"},
    }))
    .unwrap()
}

/// Changes the plugin's entry in a Rollout.
fn edit_entry(rollout: &mut Rollout, edit: impl FnOnce(&mut serde_json::Value)) {
    let routing = rollout.spec.strategy.canary.as_mut().unwrap().traffic_routing.as_mut().unwrap();
    let text = routing.plugins.get_mut("argoproj-labs/alb").unwrap();
    let mut entry = serde_json::from_slice(text).unwrap();
    edit(&mut entry);
    *text = entry.to_string().into_bytes();
}

/// Whose stable Pods go on the strength of an answer, so that nothing but the truth will do.
fn dynamic(name: &str, rules: &[&str]) -> Rollout {
    let mut rollout = rollout_on(name, rules);
    rollout.spec.strategy.canary.as_mut().unwrap().dynamic_stable_scale = true;
    rollout
}

fn two_rules() -> (Arc<Fake>, Rollout) {
    let fake = Fake::new(&[("http", &[("stable", 100), ("canary", 0)]), ("https", &[("stable", 1), ("canary", 0)])]);
    (fake, rollout_on("web", &["http", "https"]))
}

async fn error_of(router: &Router, rollout: &Rollout, weight: i64) -> String {
    router.set_weight(rollout, weight, &[]).await.unwrap_err().to_string()
}

#[tokio::test(start_paused = true)]
async fn every_rule_is_written_and_seen_before_the_answer() {
    let (fake, rollout) = two_rules();
    router(&fake).set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(fake.shares(), [("http", 90, 10), ("https", 90, 10)]);
    assert_eq!(fake.calls(), ["observe", "observe", "write http", "write https", "observe"]);
}

#[tokio::test(start_paused = true)]
async fn a_wish_that_is_already_true_costs_no_write() {
    let fake = Fake::new(&[("http", &[("stable", 9), ("canary", 1)]), ("https", &[("stable", 180), ("canary", 20)])]);
    router(&fake).set_weight(&rollout_on("web", &["http", "https"]), 10, &[]).await.unwrap();
    assert_eq!(fake.calls(), ["observe"]);
}

#[tokio::test(start_paused = true)]
async fn a_steady_rollout_costs_one_look_in_thirty_seconds() {
    let (fake, rollout) = two_rules();
    let router = router(&fake);
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    fake.forget_calls();
    for _ in 0..100 {
        router.set_weight(&rollout, 10, &[]).await.unwrap();
        assert_eq!(router.verify_weight(&rollout, 10, &[]).await, Verification::Verified);
    }
    assert!(fake.calls().is_empty());
    tokio::time::advance(OBSERVATION_STANDS).await;
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(fake.calls(), ["observe"]);
    // Another state of the Rollout is another wish, and needs a look of its own.
    let mut aborted = rollout.clone();
    aborted.status.abort = true;
    router.set_weight(&aborted, 10, &[]).await.unwrap();
    assert_eq!(fake.calls(), ["observe", "observe"]);
}

#[tokio::test(start_paused = true)]
async fn one_rule_that_cannot_carry_the_wish_stops_all() {
    let fake = Fake::new(&[("http", &[("stable", 1), ("canary", 0)]), ("https", &[("stable", 1)])]);
    let began = Instant::now();
    let error = error_of(&router(&fake), &rollout_on("web", &["http", "https"]), 10).await;
    assert!(
        error.contains(arn("https").as_str()) && error.contains("does not hold the canary target group"),
        "{error}"
    );
    assert_eq!(fake.calls(), ["observe"]);
    assert!((SOONEST_ERROR..BUDGET).contains(&began.elapsed()), "an error is neither at once nor held");
}

#[tokio::test(start_paused = true)]
async fn what_passes_by_itself_is_waited_for() {
    let (fake, rollout) = two_rules();
    for fault in ["observe", "write http", "write https", "observe"] {
        fake.fail(fault, Fault::Transient);
    }
    router(&fake).set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(fake.shares(), [("http", 90, 10), ("https", 90, 10)]);
}

#[tokio::test(start_paused = true)]
async fn a_call_is_answered_when_its_budget_is_used_up_and_says_the_same_each_time() {
    let (fake, rollout) = (two_rules().0, dynamic("web", &["http", "https"]));
    let router = router(&fake);
    fake.fail_always("write https", Fault::Transient);
    let began = Instant::now();
    let first = error_of(&router, &rollout, 10).await;
    assert!(began.elapsed() <= BUDGET, "{:?}", began.elapsed());
    assert!(
        first.contains(&format!("The new weights are on {}; on {} they are not", arn("http"), arn("https"))),
        "{first}"
    );
    assert_eq!(error_of(&router, &rollout, 10).await, first);
    fake.heal();
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(fake.shares(), [("http", 90, 10), ("https", 90, 10)]);
}

#[tokio::test(start_paused = true)]
async fn what_needs_somebody_is_not_waited_for() {
    let (fake, rollout) = two_rules();
    fake.fail_always("write http", Fault::Access);
    let began = Instant::now();
    let error = error_of(&router(&fake), &rollout, 10).await;
    assert!(error.contains("AccessDenied") && error.contains("The new weights are on"), "{error}");
    assert!((SOONEST_ERROR..BUDGET).contains(&began.elapsed()));
}

#[tokio::test(start_paused = true)]
async fn only_so_many_calls_are_held_and_others_are_not_delayed() {
    let (fake, _) = two_rules();
    fake.fail_always("write http", Fault::Transient);
    let router = Arc::new(router(&fake));
    let began = Instant::now();
    let calls = (0..7).map(|number| {
        let router = Arc::clone(&router);
        tokio::spawn(async move {
            let failed = router.set_weight(&dynamic(&format!("web-{number}"), &["http"]), 10, &[]).await.is_err();
            (failed, began.elapsed())
        })
    });
    let mut answered = Vec::new();
    for call in calls.collect::<Vec<_>>() {
        let (failed, after) = call.await.unwrap();
        assert!(failed);
        answered.push(after > Duration::from_secs(30));
    }
    assert_eq!(answered.iter().filter(|held| **held).count(), 5, "{answered:?}");
    // A Rollout whose rules are well is served meanwhile as ever.
    router.set_weight(&rollout_on("other", &["https"]), 10, &[]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_call_for_a_rollout_that_is_held_already_waits_within_its_own_budget() {
    let (fake, rollout) = (two_rules().0, dynamic("web", &["http", "https"]));
    fake.fail_always("write http", Fault::Transient);
    let router = router(&fake);
    let began = Instant::now();
    tokio::join!(error_of(&router, &rollout, 10), error_of(&router, &rollout, 60));
    assert!(began.elapsed() <= BUDGET + SOONEST_ERROR, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_read_that_is_cut_short_does_not_hide_what_aws_said() {
    let (fake, rollout) = two_rules();
    fake.fail("observe", Fault::Transient);
    fake.hang_after("observe", 1);
    assert!(error_of(&router(&fake), &rollout, 10).await.contains("Throttling"));
}

#[tokio::test(start_paused = true)]
async fn many_calls_for_one_rollout_at_once_are_all_answered() {
    let (fake, rollout) = two_rules();
    let router = router(&fake);
    let calls = (0..100).map(|_| router.set_weight(&rollout, 10, &[]));
    assert!(futures_util::future::join_all(calls).await.iter().all(Result::is_ok));
    assert_eq!(fake.calls(), ["observe", "observe", "write http", "write https", "observe"]);
}

#[tokio::test(start_paused = true)]
async fn a_read_that_hangs_is_given_up_when_the_call_must_be_answered() {
    let (fake, rollout) = two_rules();
    fake.hang_after("observe", 0);
    let (router, began) = (router(&fake), Instant::now());
    assert!(error_of(&router, &rollout, 10).await.contains("has not answered yet"));
    assert_eq!(began.elapsed(), BUDGET);
    assert_eq!(router.verify_weight(&rollout, 10, &[]).await, Verification::NotVerified);
    assert_eq!(began.elapsed(), BUDGET, "what is known already is said at once");
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_confirms_nothing() {
    let (fake, rollout) = two_rules();
    fake.be_stale(5);
    router(&fake).set_weight(&rollout, 10, &[]).await.unwrap();
    let writes = fake.calls().iter().filter(|call| call.starts_with("write")).count();
    assert_eq!((fake.shares(), writes), (vec![("http", 90, 10), ("https", 90, 10)], 2));
}

#[tokio::test(start_paused = true)]
async fn weights_that_somebody_put_back_are_written_again() {
    let (fake, rollout) = two_rules();
    fake.put_back_after_write("http", &[("stable", 100), ("canary", 0)]);
    router(&fake).set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(fake.shares(), [("http", 90, 10), ("https", 90, 10)]);
}

#[tokio::test(start_paused = true)]
async fn rules_are_found_by_their_groups_and_found_again_when_replaced() {
    let fake = Fake::new(&[("a", &[("stable", 1), ("canary", 0)]), ("b", &[("other", 1)])]);
    let (router, rollout) = (router(&fake), rollout_on("web", &[]));
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(fake.calls(), ["look around", "observe", "observe", "write a", "observe"]);
    fake.replace("a", "c", &[("stable", 100), ("canary", 0)]);
    tokio::time::advance(OBSERVATION_STANDS).await;
    router.set_weight(&rollout, 10, &[]).await.unwrap();
    assert_eq!(fake.shares(), [("b", 0, 0), ("c", 90, 10)]);
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_the_author_named_and_that_is_gone_is_an_error() {
    let (fake, rollout) = two_rules();
    fake.replace("https", "new", &[("stable", 1), ("canary", 0)]);
    let error = error_of(&router(&fake), &rollout, 10).await;
    assert!(error.contains(arn("https").as_str()) && error.contains("RuleNotFound"), "{error}");
    assert_eq!(fake.shares()[0], ("http", 100, 0));
}

#[tokio::test(start_paused = true)]
async fn two_rollouts_on_one_rule_do_not_undo_each_other() {
    let fake = Fake::new(&[("r", &[("stable", 50), ("canary", 0), ("stable-b", 50), ("canary-b", 0)])]);
    let router = Arc::new(router(&fake));
    let mut other = serde_json::to_value(json!({})).unwrap();
    other["stableTargetGroupArn"] = group("stable-b").as_str().into();
    other["canaryTargetGroupArn"] = group("canary-b").as_str().into();
    other["gates"] = json!({"rising": false, "promotion": false});
    let mut second = rollout_on("b", &["r"]);
    let routing = second.spec.strategy.canary.as_mut().unwrap().traffic_routing.as_mut().unwrap();
    routing.plugins.insert("argoproj-labs/alb".to_owned(), other.to_string().into_bytes());
    let first = rollout_on("a", &["r"]);
    for weight in [10, 60, 100, 0] {
        let (one, two) =
            tokio::join!(router.set_weight(&first, weight, &[]), router.set_weight(&second, 100 - weight, &[]));
        one.unwrap();
        two.unwrap();
        let canary = u32::try_from(weight).unwrap() / 2;
        assert_eq!(fake.weights("r"), [50 - canary, canary, canary, 50 - canary]);
    }
}

#[tokio::test(start_paused = true)]
async fn verify_weight_says_no_only_where_the_host_survives_it() {
    let (fake, rollout) = two_rules();
    let router = router(&fake);
    let mut without_steps = rollout.clone();
    without_steps.spec.strategy.canary.as_mut().unwrap().steps.clear();
    assert_eq!(router.verify_weight(&rollout, 10, &[]).await, Verification::NotVerified);
    assert_eq!(router.verify_weight(&without_steps, 10, &[]).await, Verification::Unknown);
    assert_eq!(router.verify_weight(&without_steps, 0, &[]).await, Verification::Verified);
    fake.fail_always("observe", Fault::Access);
    assert_eq!(router.verify_weight(&rollout, 10, &[]).await, Verification::NotVerified);
    assert!(fake.calls().iter().all(|call| call == "observe"), "looking changes nothing");
}

#[tokio::test(start_paused = true)]
async fn arguments_that_cannot_be_used_are_an_error_of_the_call() {
    let (fake, rollout) = two_rules();
    let router = Router::new(Err("--allow: nonsense".to_owned()), Arc::clone(&fake) as Arc<dyn LoadBalancer>, fake);
    let error = error_of(&router, &rollout, 10).await;
    assert!(error.contains("argo-rollouts-config") && error.contains("--allow: nonsense"), "{error}");
    assert_eq!(router.verify_weight(&rollout, 10, &[]).await, Verification::NotVerified);
}

#[tokio::test]
async fn mirror_routes_are_refused_and_their_removal_succeeds() {
    let (fake, rollout) = two_rules();
    let router = router(&fake);
    let route = MirrorRoute { name: "beta".to_owned(), matches: vec![Present {}] };
    assert!(router.set_mirror_route(&rollout, &route).unwrap_err().to_string().contains("cannot mirror"));
    assert!(router.set_mirror_route(&rollout, &MirrorRoute::default()).is_ok());
}
