//! Set-up, triggers, failures, lag, and the controller being away.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use super::shop::{Shop, ms, service};
use crate::control_plane::model::Tags;
use crate::kubernetes::Kind;
use crate::load_balancer_controller::{LbcConfig, LoadBalancerController};

fn runs(shop: &Shop) -> usize {
    shop.lbc.records().len()
}

async fn runs_after(shop: &Shop, change: impl FnOnce()) -> usize {
    let before = runs(shop);
    change();
    shop.quiet().await;
    runs(shop) - before
}

#[tokio::test(start_paused = true)]
async fn an_ingress_becomes_a_load_balancer_with_tagged_parts_and_bindings() {
    let attributes = ("target-group-attributes", "deregistration_delay.timeout_seconds=20");
    let shop = Shop::open(LbcConfig::idle(1), &[attributes]).await;
    let rule = shop.rule();
    assert_eq!(shop.weights(&rule), (100, 0));
    let tag = |tags: &Tags, key: &str| tags.get(key).cloned().unwrap_or_default();
    assert_eq!(tag(&rule.tags, "ingress.k8s.aws/resource"), "80:1");
    assert_eq!(tag(&rule.tags, "ingress.k8s.aws/stack"), "shop/web");
    assert_eq!(tag(&rule.tags, "elbv2.k8s.aws/cluster"), "lab");
    let account = shop.control_plane.state().account.clone();
    assert_eq!(tag(&account.load_balancers[0].tags, "ingress.k8s.aws/resource"), "LoadBalancer");
    assert_eq!(tag(&account.listeners[0].tags, "ingress.k8s.aws/resource"), "80");
    let stable = account.target_group(&shop.group("web-stable")).expect("there");
    assert_eq!(stable.attributes["deregistration_delay.timeout_seconds"], "20");

    let binding = shop.cluster.get(Kind::TARGET_GROUP_BINDING, "shop", &stable.name).expect("a binding");
    assert_eq!(binding.pointer("/spec/targetGroupARN"), Some(&json!(stable.arn)));
    assert_eq!(binding.pointer("/spec/serviceRef"), Some(&json!({"name": "web-stable", "port": 80})));
    let labels = json!({"ingress.k8s.aws/stack-namespace": "shop", "ingress.k8s.aws/stack-name": "web"});
    assert_eq!(binding.pointer("/metadata/labels"), Some(&labels));
}

#[tokio::test(start_paused = true)]
async fn a_change_of_annotation_spec_or_service_leads_to_a_run_and_nothing_else_does() {
    let shop = Shop::open(LbcConfig::idle(1), &[]).await;
    let patch = |kind, name: &'static str, patch: Value| {
        shop.cluster.merge_patch(kind, "shop", name, &patch).expect("patched");
    };
    assert_eq!(runs_after(&shop, || shop.announce(90, 10)).await, 1);
    // A Service that only the annotation names.
    assert_eq!(runs_after(&shop, || shop.select("web-canary", "v2")).await, 1);
    let annotation = json!({"metadata": {"annotations": {"a": "b"}}});
    assert_eq!(runs_after(&shop, || patch(Kind::SERVICE, "web-stable", annotation)).await, 1);

    let status = json!({"status": {"loadBalancer": {"ingress": [{"hostname": "x"}]}}});
    assert_eq!(runs_after(&shop, || patch(Kind::INGRESS, "web", status)).await, 0);
    assert_eq!(runs_after(&shop, || patch(Kind::SERVICE, "web-stable", json!({"status": {"x": 1}}))).await, 0);
    let unrelated = || drop(shop.cluster.create(Kind::SERVICE, service("other", "v1")).expect("made"));
    assert_eq!(runs_after(&shop, unrelated).await, 0);
    let pod = json!({"metadata": {"namespace": "shop", "name": "pod", "labels": {"app": "web", "hash": "v1"}}});
    assert_eq!(runs_after(&shop, || drop(shop.cluster.create(Kind::POD, pod).expect("made"))).await, 0);
}

#[tokio::test(start_paused = true)]
async fn changes_during_a_run_lead_to_one_more() {
    let shop = Shop::open(LbcConfig::idle(1), &[]).await;
    let more = runs_after(&shop, || shop.select("web-canary", "v2"));
    let changes = async {
        for canary in 1..=10 {
            sleep(ms(3)).await;
            shop.announce(100 - canary, canary);
        }
    };
    assert_eq!(tokio::join!(more, changes).0, 2);
    assert_eq!(shop.weights(&shop.rule()), (90, 10));
}

#[tokio::test(start_paused = true)]
async fn everything_is_looked_at_again_after_the_resync_period() {
    let shop = Shop::open(LbcConfig { resync: Duration::from_secs(300), ..LbcConfig::idle(1) }, &[]).await;
    let rule = shop.rule();
    shop.modify(&rule, 50, 50).expect("written");
    let before = runs(&shop);
    shop.until(|shop| runs(shop) > before && shop.weights(&rule) == (100, 0)).await;
}

#[tokio::test(start_paused = true)]
async fn one_missing_service_stops_the_whole_group_until_it_is_back() {
    let shop = Shop::open(LbcConfig::idle(1), &[]).await;
    let rule = shop.rule();
    shop.cluster.delete(Kind::SERVICE, "shop", "web-canary").expect("deleted");
    shop.announce(50, 50);
    shop.until(|shop| shop.lbc.records().iter().filter(|record| record.failure.is_some()).count() >= 8).await;
    assert_eq!(shop.weights(&rule), (100, 0));
    let records = shop.lbc.records();
    let failed: Vec<_> = records.iter().filter(|record| record.failure.is_some()).collect();
    assert!(
        failed[0].failure.as_ref().is_some_and(|why| why.contains("Service shop/web-canary not found")),
        "{failed:?}"
    );
    let pauses: Vec<u64> = failed.windows(2).map(|pair| pair[1].read_ms - pair[0].read_ms).collect();
    assert!(pauses.windows(2).all(|pair| pair[0] <= pair[1]) && pauses.last() >= Some(&320), "{pauses:?}");

    shop.cluster.create(Kind::SERVICE, service("web-canary", "v2")).expect("made");
    shop.quiet().await;
    assert_eq!(shop.weights(&rule), (50, 50), "{}", shop.story());
}

#[tokio::test(start_paused = true)]
async fn a_lagging_controller_writes_seventy_seconds_after_it_read_the_annotation() {
    let lag = Duration::from_secs(70);
    let shop = Shop::open(LbcConfig::lagging(1, lag), &[]).await;
    let (rule, asked, writes) = (shop.rule(), shop.now_ms(), shop.last_write());
    shop.announce(90, 10);
    sleep(Duration::from_secs(30)).await;
    // What comes while it lags is not seen by the run that is under way.
    shop.announce(40, 60);
    sleep(Duration::from_secs(60)).await;
    let first = shop.written_after(&rule, writes);
    assert_eq!(first.iter().map(|(_, weights)| *weights).collect::<Vec<_>>(), [(90, 10)]);
    assert!((asked + 70_000..asked + 71_000).contains(&first[0].0), "{first:?}");
    sleep(lag).await;
    let both = shop.written_after(&rule, writes);
    assert_eq!(both.iter().map(|(_, weights)| *weights).collect::<Vec<_>>(), [(90, 10), (40, 60)]);
    let record = shop.lbc.records().pop().expect("a run");
    assert!((asked + 70_000..asked + 71_000).contains(&record.read_ms), "{record:?}");
}

#[tokio::test(start_paused = true)]
async fn a_stopped_controller_does_nothing_and_catches_up_afterwards() {
    let shop = Shop::open(LbcConfig::idle(1), &[]).await;
    let (rule, runs_before) = (shop.rule(), runs(&shop));
    shop.lbc.stop().await;
    shop.announce(50, 50);
    shop.select("web-canary", "v2");
    shop.modify(&rule, 30, 70).expect("written");
    let last = shop.last_write();
    sleep(Duration::from_secs(24 * 3600)).await;
    assert_eq!((shop.last_write(), runs(&shop)), (last, runs_before));

    shop.lbc.resume();
    shop.quiet().await;
    assert_eq!((shop.weights(&rule), runs(&shop)), ((50, 50), runs_before + 1));
    assert_eq!(shop.lbc.put_backs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_stop_in_the_middle_of_a_run_ends_it() {
    let shop = Shop::open(LbcConfig::idle(1), &[]).await;
    let last = shop.last_write();
    shop.announce(50, 50);
    sleep(ms(30)).await;
    shop.lbc.stop().await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(shop.last_write(), last);
    assert_eq!(shop.lbc.records().pop().expect("a run").ended_ms, None);
}

#[tokio::test(start_paused = true)]
async fn the_last_ingress_takes_everything_with_it() {
    let shop = Shop::open(LbcConfig::idle(1), &[]).await;
    shop.cluster.delete(Kind::INGRESS, "shop", "web").expect("deleted");
    shop.quiet().await;
    let account = shop.control_plane.state().account.clone();
    assert!(account.load_balancers.is_empty() && account.rules.is_empty() && account.target_groups.is_empty());
    assert!(shop.cluster.list(Kind::TARGET_GROUP_BINDING, None).0.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_group_that_no_action_names_is_removed_with_its_binding() {
    let shop = Shop::open(LbcConfig::idle(1), &[]).await;
    let canary = shop.group("web-canary");
    let stable_only = r#"{"type":"forward","forwardConfig":{"targetGroups":[
        {"serviceName":"web-stable","servicePort":80}]}}"#;
    shop.annotate("actions.web", stable_only);
    shop.quiet().await;
    shop.control_plane.state().account.target_group(&canary).expect_err("it is gone");
    assert_eq!(shop.cluster.list(Kind::TARGET_GROUP_BINDING, None).0.len(), 1);
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_records() {
    let play = async |seed| {
        let (cluster, control_plane) = Shop::objects(&[]);
        let lbc = LoadBalancerController::start(cluster.clone(), control_plane.clone(), LbcConfig::busy(seed));
        let shop = Shop { cluster, control_plane, lbc };
        for canary in [10, 60, 90] {
            sleep(Duration::from_secs(7)).await;
            shop.announce(100 - canary, canary);
        }
        sleep(Duration::from_secs(60)).await;
        shop.lbc.records()
    };
    let records = play(3).await;
    assert!(records.len() >= 3, "{records:?}");
    assert_eq!(records, play(3).await);
    assert_ne!(records, play(4).await);
}
