//! When a write of another writer is undone, and when it stays.

use serde_json::json;
use tokio::time::sleep;

use super::shop::{OTHER, Shop, ms, path};
use crate::control_plane::model::Rule;
use crate::control_plane::operations::{CreateRule, ModifyRule};
use crate::kubernetes::Kind;
use crate::load_balancer_controller::{Delay, LbcConfig, Over, Record};

/// Every run takes the same time: it reads at 0 ms, describes at 50 ms, writes at 60 ms and ends at 65 ms.
fn clockwork() -> LbcConfig {
    LbcConfig {
        lag: Delay::ZERO,
        before_rules: Delay::millis(50, 50),
        before_write: Delay::millis(10, 10),
        after_rules: Delay::millis(5, 5),
        ..LbcConfig::idle(1)
    }
}

#[tokio::test(start_paused = true)]
async fn a_run_that_began_before_the_annotation_puts_the_old_weights_back_and_the_next_one_heals_it() {
    let shop = Shop::open(clockwork(), &[]).await;
    let rule = shop.rule();
    let (began, writes) = (shop.now_ms(), shop.last_write());
    shop.select("web-canary", "v2");
    sleep(ms(20)).await;
    shop.announce(50, 50);
    sleep(ms(10)).await;
    shop.modify(&rule, 50, 50).expect("written");
    assert_eq!(shop.weights(&rule), (50, 50));
    shop.quiet().await;

    assert_eq!(
        shop.written_after(&rule, writes),
        [(began + 60, (100, 0)), (began + 125, (50, 50))],
        "{}",
        shop.story()
    );
    let records = shop.lbc.records();
    let [.., stale, fresh] = records.as_slice() else { panic!("two runs") };
    let announced = |record: &Record| record.announced[0].weights["web-canary"];
    assert_eq!((announced(stale), announced(fresh)), (0, 50));
    let stable = shop.group("web-stable");
    let listener = &stale.listeners[0];
    assert_eq!((stale.read_ms, listener.described_ms), (began, began + 50));
    assert_eq!(listener.saw[&rule.arn][&stable], 50);
    assert_eq!((listener.wrote[0].ms, listener.wrote[0].weights[&stable]), (began + 60, 100));
    assert_eq!(listener.wrote[0].over, Over::Foreign);
    assert_eq!(fresh.listeners[0].wrote[0].over, Over::Own);
    assert_eq!((fresh.asked_ms, fresh.read_ms), (began + 20, began + 65));
    assert_eq!(shop.lbc.put_backs(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_write_after_describe_rules_stays() {
    let shop = Shop::open(clockwork(), &[]).await;
    let rule = shop.rule();
    let writes = shop.last_write();
    shop.select("web-canary", "v2");
    sleep(ms(55)).await;
    shop.modify(&rule, 50, 50).expect("written");
    shop.quiet().await;
    assert_eq!(shop.written_after(&rule, writes), [], "{}", shop.story());
    assert_eq!((shop.weights(&rule), shop.lbc.put_backs()), ((50, 50), 0));
}

#[tokio::test(start_paused = true)]
async fn without_an_annotation_foreign_weights_stay_until_the_next_run_and_no_longer() {
    let shop = Shop::open(clockwork(), &[]).await;
    let rule = shop.rule();
    shop.modify(&rule, 50, 50).expect("written");
    shop.quiet().await;
    assert_eq!(shop.weights(&rule), (50, 50), "nothing has happened that leads to a run");
    shop.select("web-stable", "v1b");
    shop.quiet().await;
    assert_eq!((shop.weights(&rule), shop.lbc.put_backs()), ((100, 0), 1));
}

#[tokio::test(start_paused = true)]
async fn two_listeners_are_mixed_for_a_while() {
    let listeners = r#"[{"HTTP": 80}, {"HTTP": 8080}]"#;
    let shop = Shop::open(clockwork(), &[("listen-ports", listeners)]).await;
    let rules = shop.rules();
    let [first, second] = rules.as_slice() else { panic!("one rule for each listener") };
    let began = shop.now_ms();
    shop.select("web-canary", "v2");
    sleep(ms(30)).await;
    shop.modify(first, 50, 50).expect("written");
    sleep(ms(25)).await;
    // The first listener was described at 50 ms and is written at 60 ms; only then is the second one described, and written at 70.
    shop.modify(second, 50, 50).expect("written");
    shop.announce(50, 50);
    shop.until(|shop| shop.now_ms() == began + 65).await;
    assert_eq!((shop.weights(first), shop.weights(second)), ((100, 0), (50, 50)), "{}", shop.story());
    shop.quiet().await;
    assert_eq!((shop.weights(first), shop.weights(second)), ((50, 50), (50, 50)), "{}", shop.story());
}

#[tokio::test(start_paused = true)]
async fn a_rule_with_oidc_is_written_by_every_run() {
    let oidc = r#"{"issuer":"https://i","authorizationEndpoint":"https://a","tokenEndpoint":"https://t",
        "userInfoEndpoint":"https://u","secretName":"login"}"#;
    let annotations = [("listen-ports", r#"[{"HTTPS": 443}]"#), ("auth-type", "oidc"), ("auth-idp-oidc", oidc)];
    let shop = Shop::open(clockwork(), &annotations).await;
    let rule = shop.rule();
    let (began, writes) = (shop.now_ms(), shop.last_write());
    shop.select("web-canary", "v2");
    shop.quiet().await;
    assert_eq!(shop.written_after(&rule, writes), [(began + 60, (100, 0))], "nothing had changed");

    // So even a write after DescribeRules is undone.
    let (began, writes) = (shop.now_ms(), shop.last_write());
    shop.select("web-canary", "v3");
    sleep(ms(55)).await;
    let mut with_secret = rule.clone();
    for oidc in with_secret.actions.iter_mut().filter_map(|action| action.authenticate_oidc_config.as_mut()) {
        oidc.client_secret = None;
        oidc.use_existing_client_secret = Some(true);
    }
    shop.modify(&with_secret, 50, 50).expect("written");
    shop.quiet().await;
    assert_eq!(shop.written_after(&rule, writes), [(began + 60, (100, 0))], "{}", shop.story());
}

#[tokio::test(start_paused = true)]
async fn a_single_group_keeps_a_foreign_weight() {
    let single = r#"{"type":"forward","forwardConfig":{"targetGroups":[
        {"serviceName":"web-stable","servicePort":80,"weight":100}]}}"#;
    let shop = Shop::open(clockwork(), &[]).await;
    shop.annotate("actions.web", single);
    shop.quiet().await;
    let rule = shop.rule();
    let mut changed = rule.actions.clone();
    for config in changed.iter_mut().filter_map(|action| action.forward_config.as_mut()) {
        config.target_groups[0].weight = Some(7);
    }
    let input = ModifyRule { rule_arn: rule.arn.clone(), actions: changed, ..ModifyRule::default() };
    shop.control_plane.write(OTHER, "ModifyRule", &rule.arn, input).expect("written");
    shop.select("web-stable", "v2");
    shop.quiet().await;
    let tuples: Vec<_> = shop.rule().actions[0].target_groups().iter().map(|tuple| tuple.weight).collect();
    assert_eq!(tuples, [Some(7)], "{}", shop.story());
}

#[tokio::test(start_paused = true)]
async fn an_unknown_rule_is_deleted_by_the_next_run() {
    let shop = Shop::open(clockwork(), &[]).await;
    let rule = shop.rule();
    let input = CreateRule {
        listener_arn: rule.listener_arn.clone(),
        priority: 5,
        conditions: rule.conditions.clone(),
        actions: rule.actions.clone(),
        ..CreateRule::default()
    };
    shop.control_plane.write(OTHER, "CreateRule", &rule.listener_arn, input).expect("made");
    assert_eq!(shop.rules().len(), 2);
    shop.select("web-canary", "v2");
    shop.quiet().await;
    assert_eq!(shop.rule().arn, rule.arn);
    let last = shop.lbc.records().pop().expect("a run");
    assert_eq!(last.listeners[0].wrote.iter().map(|wrote| wrote.operation).collect::<Vec<_>>(), ["DeleteRule"]);
}

#[tokio::test(start_paused = true)]
async fn foreign_weights_while_a_path_is_added_end_in_another_rule() {
    let shop = Shop::open(clockwork(), &[]).await;
    let before = shop.rule();
    shop.modify(&before, 50, 50).expect("written");
    let paths = json!([path("/longer", "web"), path("/", "web")]);
    let patch = json!({"spec": {"rules": [{"http": {"paths": paths}}]}});
    shop.cluster.merge_patch(Kind::INGRESS, "shop", "web", &patch).expect("patched");
    shop.quiet().await;
    let rules = shop.rules();
    assert_eq!(rules.iter().map(|rule| shop.weights(rule)).collect::<Vec<_>>(), [(100, 0), (100, 0)]);
    // The old rule has the new path now, and the old path has a new rule.
    assert_eq!(rules[0].arn, before.arn);
    let pattern = |rule: &Rule| rule.conditions[0].values.clone().unwrap_or_default();
    assert_eq!(
        (pattern(&rules[0]), pattern(&rules[1])),
        (vec!["/longer".to_owned(), "/longer/*".to_owned()], vec!["/*".to_owned()])
    );

    // Nobody interfered: rules are moved, and keep their ARNs.
    let patch = json!({"spec": {"rules": [{"http": {"paths": [path("/", "web")]}}]}});
    shop.cluster.merge_patch(Kind::INGRESS, "shop", "web", &patch).expect("patched");
    shop.quiet().await;
    assert_eq!(shop.rule().arn, rules[1].arn);
}
