//! Targets follow the Pods of the Services.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::shop::Shop;
use crate::control_plane::operations::{CreateTargetGroup, VPC};
use crate::kubernetes::Kind;
use crate::load_balancer_controller::{Delay, LbcConfig};

fn pod(name: &str, ip: &str, hash: &str, ready: bool) -> Value {
    let conditions = json!([{"type": "Ready", "status": if ready { "True" } else { "False" }}]);
    json!({
        "metadata": {"namespace": "shop", "name": name, "labels": {"app": "web", "hash": hash}},
        "status": {"podIP": ip, "conditions": conditions},
    })
}

/// Addresses that are registered and do not drain.
fn registered(shop: &Shop, group_arn: &str) -> Vec<String> {
    let account = shop.control_plane.state().account.clone();
    let there = account.registrations.iter().filter(|one| one.group_arn == group_arn && one.deregistered.is_none());
    let mut addresses: Vec<String> = there.map(|one| format!("{}:{}", one.target.id, one.target.port)).collect();
    addresses.sort();
    addresses
}

async fn open() -> (Shop, String) {
    let shop = Shop::open(LbcConfig::idle(1), &[]).await;
    let stable = shop.group("web-stable");
    for (name, ip, hash) in [("a", "10.0.0.1", "v1"), ("b", "10.0.0.2", "v1"), ("c", "10.0.0.3", "v2")] {
        shop.cluster.create(Kind::POD, pod(name, ip, hash, true)).expect("made");
    }
    shop.quiet().await;
    (shop, stable)
}

#[tokio::test(start_paused = true)]
async fn ready_pods_are_registered_and_lost_ones_drain() {
    let (shop, stable) = open().await;
    assert_eq!(registered(&shop, &stable), ["10.0.0.1:8080", "10.0.0.2:8080"]);

    shop.cluster.create(Kind::POD, pod("d", "10.0.0.4", "v1", false)).expect("made");
    shop.quiet().await;
    assert_eq!(registered(&shop, &stable).len(), 2, "it is not ready");
    let ready = pod("d", "10.0.0.4", "v1", true);
    shop.cluster.merge_patch(Kind::POD, "shop", "d", &ready).expect("patched");
    let leaving = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    shop.cluster.merge_patch(Kind::POD, "shop", "a", &leaving).expect("patched");
    shop.cluster.delete(Kind::POD, "shop", "b").expect("deleted");
    shop.quiet().await;
    assert_eq!(registered(&shop, &stable), ["10.0.0.4:8080"]);
    let account = shop.control_plane.state().account.clone();
    let draining = account.registrations.iter().filter(|one| one.group_arn == stable && one.deregistered.is_some());
    assert_eq!(draining.count(), 2, "the load balancer still lets their requests end");
}

#[tokio::test(start_paused = true)]
async fn a_moved_selector_takes_the_old_pods_out_first_and_then_puts_the_new_ones_in() {
    let (shop, stable) = open().await;
    let moved = shop.now_ms();
    shop.select("web-stable", "v2");
    assert_eq!(registered(&shop, &stable).len(), 2, "the group lags behind the selector");
    shop.quiet().await;
    assert_eq!(registered(&shop, &stable), ["10.0.0.3:8080"]);
    let journal = shop.control_plane.journal();
    let of_group = journal.iter().filter(|entry| entry.ms >= moved && entry.subject.as_deref() == Some(&stable));
    let operations: Vec<&str> = of_group.map(|entry| entry.operation.as_str()).collect();
    assert_eq!(operations, ["DeregisterTargets", "RegisterTargets"]);
    let record = shop.lbc.binding_records().pop().expect("a record");
    assert_eq!(record.registered, ["10.0.0.3:8080"]);
    assert_eq!(record.deregistered, ["10.0.0.1:8080", "10.0.0.2:8080"]);
    assert!((moved + 20..=moved + 61).contains(&record.ms), "{record:?} after {moved}");
}

#[tokio::test(start_paused = true)]
async fn registration_lags_as_long_as_it_is_told_to() {
    let lag = Delay::fixed(Duration::from_secs(15));
    let shop = Shop::open(LbcConfig { registration_lag: lag, ..LbcConfig::idle(1) }, &[]).await;
    let stable = shop.group("web-stable");
    shop.cluster.create(Kind::POD, pod("a", "10.0.0.1", "v1", true)).expect("made");
    sleep(Duration::from_secs(14)).await;
    assert!(registered(&shop, &stable).is_empty());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(registered(&shop, &stable), ["10.0.0.1:8080"]);
}

#[tokio::test(start_paused = true)]
async fn foreign_targets_go_and_unchanged_pods_are_not_looked_at() {
    let (shop, stable) = open().await;
    let before = shop.control_plane.journal().len();
    let label = json!({"metadata": {"labels": {"other": "x"}}});
    shop.cluster.merge_patch(Kind::POD, "shop", "a", &label).expect("patched");
    shop.quiet().await;
    assert_eq!(shop.control_plane.journal().len(), before);

    shop.lbc.stop().await;
    let binding = json!({
        "metadata": {"namespace": "shop", "name": "by-hand"},
        "spec": {"targetGroupARN": stable, "targetType": "ip", "serviceRef": {"name": "web-canary", "port": 80}},
    });
    shop.cluster.create(Kind::TARGET_GROUP_BINDING, binding).expect("made");
    shop.select("web-canary", "v2");
    shop.lbc.resume();
    shop.quiet().await;
    // A binding without labels owns the content of its group like any other: the last one that changed wins.
    assert_eq!(registered(&shop, &stable), ["10.0.0.3:8080"]);

    shop.cluster.delete(Kind::TARGET_GROUP_BINDING, "shop", "by-hand").expect("deleted");
    shop.quiet().await;
    assert_eq!(registered(&shop, &stable), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn a_binding_that_cannot_be_served_says_why_and_is_tried_again() {
    let (shop, stable) = open().await;
    let binding = |name: &str, spec: Value| json!({"metadata": {"namespace": "shop", "name": name}, "spec": spec});
    let service = json!({"name": "web-stable", "port": 80});
    let by_name = json!({"targetGroupName": "later", "serviceRef": service});
    shop.cluster.create(Kind::AUTO_MODE_BINDING, binding("by-name", by_name)).expect("made");
    let instance = json!({"targetGroupARN": stable, "targetType": "instance", "serviceRef": service});
    shop.cluster.create(Kind::TARGET_GROUP_BINDING, binding("instance", instance)).expect("made");
    let failures = |shop: &Shop, name: &str| {
        let records = shop.lbc.binding_records().into_iter();
        records.filter(|record| record.binding == name).filter_map(|record| record.failure).collect::<Vec<_>>()
    };
    shop.until(|shop| failures(shop, "shop/by-name").len() >= 2 && !failures(shop, "shop/instance").is_empty()).await;
    assert!(failures(&shop, "shop/by-name")[0].contains("names no target group that exists"));
    assert!(failures(&shop, "shop/instance")[0].contains("'instance'"));

    let input = CreateTargetGroup {
        name: "later".to_owned(),
        protocol: Some("HTTP".to_owned()),
        port: Some(8080),
        vpc_id: Some(VPC.to_owned()),
        target_type: Some("ip".to_owned()),
        ..CreateTargetGroup::default()
    };
    let made = shop.control_plane.write("terraform", "CreateTargetGroup", "later", input).expect("made");
    let arn = made.target_groups[0].arn.clone();
    shop.until(|shop| registered(shop, &arn) == ["10.0.0.1:8080", "10.0.0.2:8080"]).await;
}
