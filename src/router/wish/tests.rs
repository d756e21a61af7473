//! What a host's call is understood as.

use serde_json::json;

use super::*;

const STABLE: &str = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/stable/a";
const CANARY: &str = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/canary/b";

fn rollout(routing: serde_json::Value) -> Rollout {
    let canary = json!({
        "stableService": "web-stable", "canaryService": "web-canary", "dynamicStableScale": true,
        "trafficRouting": routing,
    });
    serde_json::from_value(json!({
        "metadata": {"namespace": "shop", "name": "web", "uid": "u"},
        "spec": {"strategy": {"canary": canary}},
        "status": {"stableRS": "old", "currentPodHash": "new"},
    }))
    .unwrap()
}

fn settings(allow: &[&str]) -> Settings {
    Settings {
        allow: allow.iter().map(|allow| allow.parse().unwrap()).collect(),
        plugin_name: Some("argoproj-labs/alb".to_owned()),
        block_budget: Duration::from_secs(45),
        max_held: 5,
        settle: Duration::from_secs(10),
        echo_timeout: Duration::from_secs(120),
    }
}

fn entry() -> serde_json::Value {
    json!({"stableTargetGroupArn": STABLE, "canaryTargetGroupArn": CANARY})
}

fn wish(rollout: &Rollout, weight: i64, further: &[WeightDestination]) -> Result<Wish, WishError> {
    Wish::of(rollout, weight, further, &settings(&["shop=*"]))
}

#[test]
fn the_weight_is_what_the_host_says_within_the_maximum() {
    for (max, asked, canary) in
        [(json!(null), 10, 10), (json!(0), 250, 100), (json!(null), 250, 100), (json!(999), 250, 250)]
    {
        let mut routing = json!({"plugins": {"any/name": entry()}});
        routing["maxTrafficWeight"] = max;
        assert_eq!(wish(&rollout(routing), asked, &[]).unwrap().division.canary, canary);
    }
    let below = wish(&rollout(json!({"plugins": {"any/name": entry()}})), -1, &[]).unwrap();
    assert_eq!((below.division.canary, below.division.stable(), below.lets_stable_go), (0, 100, true));
    for max in [-1, 1000] {
        let routing = json!({"plugins": {"any/name": entry()}, "maxTrafficWeight": max});
        assert_eq!(wish(&rollout(routing), 1, &[]), Err(WishError::MaxWeight(max)));
    }
}

#[test]
fn among_several_entries_ours_is_the_one_of_our_name() {
    let named = rollout(json!({"plugins": {"other/one": {}, "argoproj-labs/alb": entry()}}));
    assert!(wish(&named, 1, &[]).is_ok());
    let unnamed = rollout(json!({"plugins": {"other/one": {}, "other/two": entry()}}));
    assert_eq!(wish(&unnamed, 1, &[]), Err(WishError::WhichEntry("other/one, other/two".to_owned())));
    assert_eq!(wish(&rollout(json!({})), 1, &[]), Err(WishError::NoEntry));
    assert_eq!(wish(&Rollout::default(), 1, &[]), Err(WishError::NoRouting));
}

#[test]
fn arns_need_the_operators_word() {
    let rollout = rollout(json!({"plugins": {"any/name": entry()}}));
    let error = Wish::of(&rollout, 1, &[], &settings(&[])).unwrap_err();
    assert_eq!(error, WishError::NotAllowed { namespace: "shop".to_owned(), arn: STABLE.to_owned() });
    assert!(error.to_string().contains("--allow shop="), "{error}");
    let half = format!("shop={STABLE}");
    let error = Wish::of(&rollout, 1, &[], &settings(&[&half])).unwrap_err();
    assert_eq!(error, WishError::NotAllowed { namespace: "shop".to_owned(), arn: CANARY.to_owned() });
}

fn experiment(weight: i32) -> WeightDestination {
    WeightDestination { weight, service_name: "exp".to_owned(), ..Default::default() }
}

#[test]
fn beside_the_built_in_router_nothing_is_written() {
    let mut routing = json!({"plugins": {"any/name": {}}, "alb": {"ingress": "web"}});
    let observed = wish(&rollout(routing.clone()), 1, &[]).unwrap();
    assert!(observed.observes && observed.writes_nothing() && observed.source == Source::Bound);
    routing["maxTrafficWeight"] = json!(200);
    assert_eq!(wish(&rollout(routing), 1, &[]), Err(WishError::ObservedMax(200)));
}

#[test]
fn an_experiments_part_is_stables_loss_and_stays_with_nothing_once_it_has_ended() {
    let mut rollout = rollout(json!({"plugins": {"any/name": {}}}));
    let division = |rollout: &Rollout, asked: &[WeightDestination]| wish(rollout, 10, asked).unwrap().division.parts();
    assert_eq!(division(&rollout, &[experiment(5)]), [85, 10, 5]);
    let status = json!({"additional": [{"serviceName": "exp", "weight": 5}]});
    rollout.status.canary.weights = serde_json::from_value(status).unwrap();
    assert_eq!(division(&rollout, &[]), [90, 10, 0]);
    assert_eq!(division(&rollout, &[experiment(7)]), [83, 10, 7]);
    let error = wish(&rollout, 10, &[experiment(91)]).unwrap_err();
    assert!(error.to_string().contains("exp: 91) are more than all traffic, 100"), "{error}");
}

#[test]
fn what_does_not_fit_together_is_refused() {
    let mut ping_pong = rollout(json!({"plugins": {"any/name": entry()}}));
    assert_eq!(wish(&ping_pong, 1, &[experiment(5)]), Err(WishError::FurtherServices("exp: 5".to_owned())));
    assert_eq!(wish(&ping_pong, 1, &[experiment(0)]).unwrap().division.parts(), [99, 1]);
    ping_pong.spec.strategy.canary.as_mut().unwrap().ping_pong = Some(Default::default());
    assert_eq!(wish(&ping_pong, 1, &[]), Err(WishError::PingPong));
    let by_turns =
        rollout(json!({"plugins": {"any/name": {"pingTargetGroupArn": STABLE, "pongTargetGroupArn": CANARY}}}));
    assert_eq!(wish(&by_turns, 1, &[]), Err(WishError::NoPingPong));
}

#[test]
fn with_ping_pong_the_status_says_which_group_is_stable() {
    let mut rollout =
        rollout(json!({"plugins": {"any/name": {"pingTargetGroupArn": STABLE, "pongTargetGroupArn": CANARY}}}));
    let canary = rollout.spec.strategy.canary.as_mut().unwrap();
    canary.ping_pong = serde_json::from_value(json!({"pingService": "ping", "pongService": "pong"})).unwrap();
    for (says, stable, service) in [("ping", STABLE, "ping"), ("pong", CANARY, "pong"), ("", CANARY, "pong")] {
        says.clone_into(&mut rollout.status.canary.stable_ping_pong);
        let wish = wish(&rollout, 10, &[]).unwrap();
        let Source::Named { groups, .. } = &wish.source else { panic!("{:?}", wish.source) };
        assert_eq!((groups.stable.as_str(), wish.services.stable.as_str()), (stable, service));
    }
}

#[test]
fn pods_can_only_be_waited_for_behind_services() {
    let mut without = rollout(json!({"plugins": {"any/name": entry()}}));
    without.spec.strategy.canary.as_mut().unwrap().stable_service.clear();
    assert_eq!(wish(&without, 1, &[]), Err(WishError::NoServices));
    let mut entry = entry();
    entry["gates"] = json!({"rising": false, "promotion": false});
    let mut ungated = rollout(json!({"plugins": {"any/name": entry}}));
    ungated.spec.strategy.canary.as_mut().unwrap().stable_service.clear();
    assert!(wish(&ungated, 1, &[]).is_ok());
}

#[test]
fn recorded_weights_count_when_they_were_verified_for_the_same_versions() {
    let mut rollout = rollout(json!({"plugins": {"any/name": entry()}}));
    for (stable, canary, verified, counts) in [
        ("old", "new", json!(true), Some(10)),
        ("old", "new", json!(null), None),
        ("older", "new", json!(true), None),
        ("old", "newer", json!(true), None),
    ] {
        rollout.status.canary = serde_json::from_value(json!({"weights": {
            "canary": {"weight": 10, "podTemplateHash": canary}, "stable": {"weight": 90, "podTemplateHash": stable},
            "verified": verified,
        }}))
        .unwrap();
        let recorded = Recorded::of(&rollout);
        assert_eq!(recorded.verified_weight, counts, "{stable} {canary} {verified}");
        assert_eq!(recorded.other_version, stable == "older");
    }
    assert!(Recorded::of(&rollout).no_pods);
    rollout.status.replicas = 1;
    assert!(!Recorded::of(&rollout).no_pods);
}

#[test]
fn another_state_of_the_rollout_is_another_wish() {
    let first = rollout(json!({"plugins": {"any/name": entry()}}));
    let mut aborted = first.clone();
    aborted.status.abort = true;
    assert_eq!(wish(&first, 1, &[]), wish(&first, 1, &[]));
    assert_ne!(wish(&first, 1, &[]), wish(&aborted, 1, &[]));
}
