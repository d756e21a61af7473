use std::time::Duration;

use super::*;
use crate::history::{CanaryStatus, RecordedWeight, RecordedWeights, Roles, RolloutStatus};

const REPLICAS: u32 = 10;

fn at(ms: u64) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(ms)
}

/// A rule whose canary weight, of 100, changes at these times. Beside both groups it holds somebody else's.
fn rule(arn: &str, canary: &[(u64, u16)]) -> RuleHistory {
    let weights = |canary: u16| {
        let groups = [("stable", 100 - canary), ("canary", canary), ("other", 50)];
        groups.map(|(group, weight)| (group.to_owned(), weight)).into()
    };
    RuleHistory { arn: arn.to_owned(), states: canary.iter().map(|(ms, canary)| (at(*ms), weights(*canary))).collect() }
}

fn recorded(ms: u64, canary: u32) -> ClusterWrite {
    let weight = |weight| RecordedWeight { weight };
    let weights = RecordedWeights { canary: weight(canary), stable: weight(100 - canary), verified: Some(true) };
    let status = RolloutStatus {
        canary: CanaryStatus { weights: Some(weights), ..CanaryStatus::default() },
        ..RolloutStatus::default()
    };
    ClusterWrite { at: at(ms), stored: Stored::Status(status) }
}

fn sized(ms: u64, hash: &str, replicas: u32) -> ClusterWrite {
    ClusterWrite { at: at(ms), stored: Stored::ReplicaSet { hash: hash.to_owned(), replicas } }
}

fn selected(ms: u64, service: &str, hash: &str) -> ClusterWrite {
    let stored = Stored::Service { name: service.to_owned(), hash: Some(hash.to_owned()) };
    ClusterWrite { at: at(ms), stored }
}

/// Two rules go to 60 at 100 ms and 110 ms.
fn history(cluster: Vec<ClusterWrite>) -> History {
    let roles = Roles {
        stable_group: "stable".to_owned(),
        canary_group: "canary".to_owned(),
        stable_service: "stable-service".to_owned(),
        canary_service: "canary-service".to_owned(),
    };
    let rules = vec![rule("http", &[(0, 0), (100, 60)]), rule("https", &[(0, 0), (110, 60)])];
    History { roles, cluster, rules }
}

#[test]
fn a_weight_may_be_recorded_when_both_rules_have_it() {
    assert_eq!(recorded_before_true(&history(vec![recorded(50, 0), recorded(110, 60)])), [""; 0]);
    for (ms, guilty) in [(99, vec!["http", "https"]), (100, vec!["https"]), (109, vec!["https"])] {
        let found = recorded_before_true(&history(vec![recorded(50, 0), recorded(ms, 60)]));
        assert_eq!(found.len(), guilty.len(), "{found:?}");
        for (violation, rule) in found.iter().zip(guilty) {
            assert!(violation.contains(&format!("rule {rule} ")), "{violation}");
        }
    }
}

#[test]
fn only_a_new_claim_counts() {
    assert_eq!(recorded_before_true(&history(vec![recorded(50, 0), recorded(120, 0)])), [""; 0]);
    let back = history(vec![recorded(50, 0), recorded(120, 60), recorded(130, 0)]);
    assert_eq!(recorded_before_true(&back).len(), 2);
    assert_eq!(back.recorded(), [0, 60, 0]);
}

#[test]
fn shares_are_compared_not_numbers() {
    let mut history = history(vec![recorded(120, 60)]);
    for (_, weights) in &mut history.rules[0].states {
        weights.values_mut().for_each(|weight| *weight *= 2);
    }
    assert_eq!(recorded_before_true(&history), [""; 0]);
    assert_eq!(rules_apart(&history), [""; 0]);
}

#[test]
fn a_rule_that_goes_another_way_is_found() {
    let mut history = history(Vec::new());
    assert_eq!(rules_apart(&history), [""; 0]);
    history.rules[1] = rule("https", &[(0, 0), (90, 10), (110, 60)]);
    assert_eq!(rules_apart(&history).len(), 1);
    history.rules[1] = rule("https", &[(0, 0)]);
    assert_eq!(rules_apart(&history).len(), 1);
    history.rules.clear();
    assert_eq!(rules_apart(&history).len(), 1);
}

#[test]
fn weights_of_others_must_stay() {
    let mut history = history(Vec::new());
    assert_eq!(foreign_weights_touched(&history), [""; 0]);
    let (_, weights) = &mut history.rules[1].states[1];
    weights.insert("other".to_owned(), 51);
    assert_eq!(foreign_weights_touched(&history).len(), 1);
    let (_, weights) = &mut history.rules[1].states[1];
    weights.remove("other");
    assert_eq!(foreign_weights_touched(&history).len(), 1);
}

#[test]
fn the_sum_of_both_groups_must_stay() {
    let mut history = history(Vec::new());
    let (_, weights) = &mut history.rules[0].states[1];
    weights.insert("stable".to_owned(), 41);
    assert_eq!(foreign_weights_touched(&history).len(), 1);
}

/// Old pods behind the stable Service, new ones behind the canary's.
fn in_mid_update() -> Vec<ClusterWrite> {
    vec![
        selected(1, "stable-service", "old"),
        selected(2, "canary-service", "new"),
        sized(3, "old", 10),
        sized(4, "new", 6),
    ]
}

#[test]
fn pods_may_go_when_both_rules_need_them_no_more() {
    for (ms, size, violations) in [(110, 4, 0), (110, 3, 2), (109, 4, 1), (99, 4, 2)] {
        let mut cluster = in_mid_update();
        cluster.push(sized(ms, "old", size));
        let history = history(cluster);
        assert_eq!(times_scaled_down(&history), 1);
        let found = let_go_too_early(&history, REPLICAS);
        assert_eq!(found.len(), violations, "at {ms} ms to {size}: {found:?}");
    }
}

#[test]
fn pods_behind_no_service_may_go_at_any_time() {
    let mut cluster = in_mid_update();
    cluster.extend([sized(5, "older", 3), sized(6, "older", 0)]);
    assert_eq!(let_go_too_early(&history(cluster), REPLICAS), [""; 0]);
}

#[test]
fn after_promotion_the_new_pods_carry_both_groups() {
    let mut cluster = in_mid_update();
    cluster.extend([sized(111, "new", 10), selected(112, "stable-service", "new"), sized(113, "old", 0)]);
    assert_eq!(let_go_too_early(&history(cluster.clone()), REPLICAS), [""; 0]);
    cluster.push(sized(114, "new", 9));
    assert_eq!(let_go_too_early(&history(cluster), REPLICAS).len(), 2);
}

#[test]
fn growing_is_never_too_early() {
    let mut cluster = in_mid_update();
    cluster.extend([sized(5, "new", 7), sized(6, "new", 7)]);
    let history = history(cluster);
    assert_eq!(let_go_too_early(&history, REPLICAS), [""; 0]);
    assert_eq!(times_scaled_down(&history), 0);
}

#[test]
fn a_raise_needs_pods_that_serve() {
    let pod = |ms, number: u32, hash: &str, serves| {
        let stored = Stored::Pod { name: format!("{hash}-{number}"), hash: hash.to_owned(), serves };
        ClusterWrite { at: at(ms), stored }
    };
    // Both rules give 60 to the canary: of 10 Pods it needs 6, or 5.4 with 90 percent.
    for (ready, told_to_go, violations) in [(6, 0, 0), (5, 0, 2), (7, 1, 0), (6, 1, 2)] {
        let mut cluster = in_mid_update();
        cluster.extend((0..ready).map(|number| pod(90, number, "new", true)));
        cluster.extend((0..told_to_go).map(|number| pod(95, number, "new", false)));
        cluster.extend((0..9).map(|number| pod(96, number, "old", true)));
        assert_eq!(raised_beyond_pods(&history(cluster), REPLICAS, 90).len(), violations, "{ready} - {told_to_go}");
    }
    // The one Pod that makes it enough comes between the two rules' raises.
    let mut cluster = in_mid_update();
    cluster.extend((0..6).map(|number| pod(if number == 0 { 105 } else { 90 }, number, "new", true)));
    let mut history = history(cluster);
    let found = raised_beyond_pods(&history, REPLICAS, 90);
    assert!(found.len() == 1 && found[0].contains("rule http gave 60 of 100 to canary-service"), "{found:?}");
    // The way back needs Pods too.
    history.rules = vec![rule("http", &[(105, 60), (120, 0)])];
    assert_eq!(raised_beyond_pods(&history, REPLICAS, 90).len(), 1);
}

#[test]
fn what_is_not_verified_is_no_claim() {
    let mut unverified = recorded(60, 60);
    if let Stored::Status(status) = &mut unverified.stored
        && let Some(weights) = &mut status.canary.weights
    {
        weights.verified = Some(false);
    }
    let early = history(vec![recorded(50, 0), unverified.clone(), recorded(70, 60)]);
    assert_eq!(recorded_before_true(&early).len(), 2, "one for each rule");
    assert_eq!(recorded_before_true(&history(vec![recorded(50, 0), unverified, recorded(110, 60)])), [""; 0]);
}

#[test]
fn the_canary_group_holds_the_stable_version_once_pong_is_stable() {
    let of_pong = |write: ClusterWrite| {
        let Stored::Status(mut status) = write.stored else { panic!("no status") };
        status.canary.stable_ping_pong = "pong".to_owned();
        ClusterWrite { at: write.at, stored: Stored::Status(status) }
    };
    // The canary is at 60 in pong; then pong is stable, and 40 of 100 in ping are the canary's.
    let swapped = history(vec![recorded(50, 0), of_pong(recorded(110, 60)), of_pong(recorded(120, 40))]);
    assert_eq!(recorded_before_true(&swapped), [""; 0]);
    let wrong = history(vec![recorded(50, 0), of_pong(recorded(110, 60)), of_pong(recorded(120, 60))]);
    assert_eq!(recorded_before_true(&wrong).len(), 2);
}

#[test]
fn peaks_are_where_rising_ends() {
    let found = |canary: &[u16]| {
        let states: Vec<(u64, u16)> = (0..).zip(canary.iter().copied()).collect();
        peaks(&history(Vec::new()), &rule("http", &states))
    };
    assert_eq!(found(&[0]), [0; 0]);
    assert_eq!(found(&[0, 25, 25, 50, 100, 0]), [100]);
    assert_eq!(found(&[0, 25, 0, 50, 20, 100]), [25, 50, 100]);
}
