use std::sync::Arc;

use tokio::time::{Instant, sleep};

use super::*;
use crate::control_plane::buckets::BucketSizes;
use crate::control_plane::faults::{Effect, Fault};
use crate::control_plane::fixture::Shop;
use crate::control_plane::journal::Outcome;
use crate::control_plane::model::shapes::Action;
use crate::control_plane::model::{Account, Rule};
use crate::control_plane::operations::{DescribeRules, DescribeTargetHealth};

fn weights_of(rule: &Rule) -> Vec<u16> {
    rule.actions.iter().flat_map(Action::target_groups).filter_map(|tuple| tuple.weight).collect()
}

async fn shift(shop: &Shop, stable: u16, canary: u16) -> Result<Vec<u16>, NoAnswer> {
    let input = shop.shift(stable, canary);
    let rules = shop.control_plane.call("rival", "ModifyRule", &shop.rule, input).await?;
    Ok(weights_of(&rules.rules[0]))
}

async fn seen(shop: &Shop) -> Result<Vec<u16>, NoAnswer> {
    let input = DescribeRules { rule_arns: vec![shop.rule.clone()], ..DescribeRules::default() };
    let rules = shop.control_plane.read("rival", "DescribeRules", input).await?;
    Ok(weights_of(&rules.rules[0]))
}

fn shown(account: &Arc<Account>, shop: &Shop) -> Vec<u16> {
    weights_of(account.rule(&shop.rule).expect("the rule is there"))
}

fn throttled<T: fmt::Debug>(result: Result<T, NoAnswer>) -> bool {
    matches!(result, Err(NoAnswer::Refused(error)) if error.code == "Throttling")
}

#[tokio::test(start_paused = true)]
async fn a_good_day() {
    let shop = Shop::new();
    assert_eq!(shift(&shop, 90, 10).await, Ok(vec![90, 10]));
    assert_eq!(seen(&shop).await, Ok(vec![90, 10]));
    let journal = shop.control_plane.journal();
    let last = journal.last().expect("a write");
    assert_eq!((last.user_agent.as_deref(), last.subject.as_deref()), (Some("rival"), Some(shop.rule.as_str())));
    let input = DescribeTargetHealth { target_group_arn: "no group".to_owned(), ..DescribeTargetHealth::default() };
    let refused = shop.control_plane.read("rival", "DescribeTargetHealth", input).await;
    assert!(matches!(refused, Err(NoAnswer::Refused(error)) if error.code == "ValidationError"));
}

#[tokio::test(start_paused = true)]
async fn buckets_throttle_callers_together_and_regain() {
    let shop = Shop::new();
    shop.control_plane.set_buckets(Some(BucketSizes::default()));
    for _ in 0..20 {
        shift(&shop, 1, 0).await.expect("a burst of 20");
    }
    assert!(throttled(shift(&shop, 1, 0).await));
    seen(&shop).await.expect("reads have a bucket of their own");
    sleep(Duration::from_secs(1)).await;
    let passed =
        [shift(&shop, 1, 0).await, shift(&shop, 1, 0).await, shift(&shop, 1, 0).await, shift(&shop, 1, 0).await];
    assert_eq!(passed.map(throttled), [false, false, false, true], "three a second");
    let journal = shop.control_plane.journal();
    let refusals = journal.iter().filter(|entry| !entry.accepted()).map(|entry| entry.outcome.clone());
    let expected =
        Outcome::Refused { code: "Throttling".to_owned(), message: "Rate exceeded".to_owned(), injected: true };
    assert_eq!(refusals.collect::<Vec<_>>(), [expected.clone(), expected]);
    shop.control_plane.set_buckets(None);
    shift(&shop, 1, 0).await.expect("nobody is throttled");
    assert_eq!(shop.control_plane.bucket_levels(), None);
}

#[tokio::test(start_paused = true)]
async fn a_throttled_call_uses_up_no_fault() {
    let shop = Shop::new();
    shop.control_plane.set_buckets(Some(BucketSizes::default()));
    for _ in 0..20 {
        shift(&shop, 1, 0).await.expect("a burst of 20");
    }
    let fault = Fault::error("ModifyRule", 500, "InternalFailure", "it is us").times(1);
    shop.control_plane.add_fault(fault.clone()).expect("a sound fault");
    assert!(throttled(shift(&shop, 1, 0).await));
    assert_eq!(shop.control_plane.faults(), [fault]);
}

#[tokio::test(start_paused = true)]
async fn a_cut_before_the_effect_leaves_no_trace_but_in_the_journal() {
    let shop = Shop::new();
    for effect in [Effect::CutBeforeEffect, Effect::CutAfterEffect] {
        shop.control_plane.add_fault(Fault::new("ModifyRule", effect).times(1)).expect("a sound fault");
    }
    assert_eq!(shift(&shop, 90, 10).await, Err(NoAnswer::Cut));
    assert_eq!(seen(&shop).await, Ok(vec![100, 0]), "both at once: the one before wins");
    let journal = shop.control_plane.journal();
    let outcome = &journal.last().expect("a write").outcome;
    assert!(matches!(outcome, Outcome::Refused { code, injected: true, .. } if code == "ConnectionCut"), "{outcome:?}");

    shop.control_plane.add_fault(Fault::new("*", Effect::CutAfterEffect).times(1)).expect("a sound fault");
    assert_eq!(shift(&shop, 90, 10).await, Err(NoAnswer::Cut));
    assert_eq!(seen(&shop).await, Ok(vec![90, 10]));
    shop.control_plane.add_fault(Fault::new("DescribeRules", Effect::CutBeforeEffect).times(1)).expect("a sound fault");
    assert_eq!(seen(&shop).await, Err(NoAnswer::Cut));
}

#[tokio::test(start_paused = true)]
async fn reads_are_stale_for_a_time() {
    let shop = Shop::new();
    shop.control_plane.add_fault(Fault::new("*", Effect::StaleReads).for_ms(5_000)).expect("a sound fault");
    shift(&shop, 90, 10).await.expect("a shift");
    sleep(Duration::from_millis(4_999)).await;
    assert_eq!(seen(&shop).await, Ok(vec![100, 0]));
    sleep(Duration::from_millis(1)).await;
    assert_eq!(seen(&shop).await, Ok(vec![90, 10]));
    assert_eq!(shop.control_plane.faults(), []);
}

#[tokio::test(start_paused = true)]
async fn a_late_write_is_answered_at_once_and_shown_later_in_order() {
    let shop = Shop::new();
    let mut accounts = shop.control_plane.accounts();
    accounts.mark_unchanged();
    shop.control_plane.add_fault(Fault::new("ModifyRule", Effect::LateWrites { ms: 2_000 }).times(1)).expect("a fault");
    let begun = Instant::now();
    assert_eq!(shift(&shop, 90, 10).await, Ok(vec![90, 10]), "the answer shows it");
    assert_eq!(seen(&shop).await, Ok(vec![100, 0]));
    sleep(Duration::from_secs(1)).await;
    assert_eq!(shift(&shop, 80, 20).await, Ok(vec![80, 20]), "not late itself, but behind one that is");
    assert_eq!(seen(&shop).await, Ok(vec![100, 0]));
    assert!(!accounts.has_changed().expect("the account lives"));

    accounts.changed().await.expect("nobody has to ask");
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    assert_eq!(shown(&accounts.borrow_and_update(), &shop), [80, 20]);
    assert_eq!(seen(&shop).await, Ok(vec![80, 20]));
    let journal = shop.control_plane.journal();
    let [.., first, second] = journal.as_slice() else { panic!("{journal:#?}") };
    assert_eq!((first.shown_ms - first.ms, second.shown_ms - second.ms), (2_000, 1_000));
    let before = second.change(&shop.rule).and_then(|change| change.weights_before.clone()).expect("a rule");
    assert_eq!(before[&shop.canary], 10, "writes build on each other");
}

#[tokio::test(start_paused = true)]
async fn health_is_never_late() {
    use crate::control_plane::fixture::at_group_port;
    use crate::control_plane::model::targets::NodeHealth;
    let shop = Shop::new();
    shop.register(&shop.stable, &["10.0.0.1"]).expect("a target");
    shop.control_plane.add_fault(Fault::new("ModifyRule", Effect::LateWrites { ms: 2_000 })).expect("a sound fault");
    shift(&shop, 90, 10).await.expect("a late shift");
    shop.control_plane.report_health("node-1", &shop.stable, &at_group_port("10.0.0.1"), NodeHealth::Initial);
    assert_eq!(shop.health(&shop.stable, &[]), ["10.0.0.1:8080 initial Elb.InitialHealthChecking"]);
    sleep(Duration::from_secs(3)).await;
    assert_eq!(shop.health(&shop.stable, &[]), ["10.0.0.1:8080 initial Elb.InitialHealthChecking"]);
    assert_eq!(seen(&shop).await, Ok(vec![90, 10]));
}

/// Everything at once, with many callers: what they were told, what the journal says and what is there must agree.
#[tokio::test(start_paused = true)]
async fn all_bad_days_at_once() {
    for seed in 0..20 {
        bad_days(seed).await;
    }
}

async fn bad_days(seed: u64) {
    let mut random = fastrand::Rng::with_seed(seed);
    let shop = Arc::new(Shop::new());
    shop.control_plane.set_buckets(Some(BucketSizes::default()));
    let set_up = shop.control_plane.journal().len();
    for _ in 0..30 {
        let operation = ["*", "ModifyRule", "DescribeRules"][random.usize(..3)];
        let fault = match random.u8(..8) {
            0 => Fault::throttling(operation),
            1 => Fault::expired_token(operation),
            2 => Fault::new(operation, Effect::DelayBefore { ms: random.u64(1..3_000) }),
            3 => Fault::new(operation, Effect::DelayAfter { ms: random.u64(1..3_000) }),
            4 => Fault::new(operation, Effect::CutBeforeEffect),
            5 => Fault::new(operation, Effect::CutAfterEffect),
            6 => Fault::new("DescribeRules", Effect::StaleReads),
            _ => Fault::new("ModifyRule", Effect::LateWrites { ms: random.u64(1..3_000) }),
        };
        shop.control_plane.add_fault(fault.times(random.u32(1..8))).expect("a sound fault");
    }
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..8_u16 {
        let (shop, mut random) = (Arc::clone(&shop), random.fork());
        callers.spawn(async move {
            let (mut calls, mut reads, mut refused, mut cut) = (0, 0, 0, 0);
            for call in 0..20_u16 {
                sleep(Duration::from_millis(random.u64(..800))).await;
                let answer = if random.bool() {
                    reads += 1;
                    seen(&shop).await
                } else {
                    shift(&shop, caller * 100 + call, call).await
                };
                calls += 1;
                refused += u64::from(matches!(answer, Err(NoAnswer::Refused(_))));
                cut += u64::from(matches!(answer, Err(NoAnswer::Cut)));
            }
            (calls, reads, refused, cut)
        });
    }
    let (mut calls, mut reads, mut refused, mut cut) = (0, 0, 0, 0);
    while let Some(told) = callers.join_next().await {
        let told = told.expect("no panic");
        (calls, reads, refused, cut) = (calls + told.0, reads + told.1, refused + told.2, cut + told.3);
    }
    let counts = shop.control_plane.state().journal.counts.clone();
    let count = |operation: &str| counts.get(operation).map_or((0, 0), |count| (count.calls, count.refused));
    let (writes_counted, writes_refused) = count("ModifyRule");
    let (reads_counted, reads_refused) = count("DescribeRules");
    assert_eq!(
        (writes_counted + reads_counted, reads_counted),
        (calls, reads),
        "seed {seed}: each call is counted once"
    );
    let counted = writes_refused + reads_refused;
    assert!((refused..=refused + cut).contains(&counted), "seed {seed}: {counted} refused, {refused} told, {cut} cut");

    // The journal alone leads from the first weights to those that are there.
    let journal = shop.control_plane.journal();
    assert_eq!(journal[set_up..].len() as u64, writes_counted, "seed {seed}");
    assert!(journal.is_sorted_by_key(|entry| (entry.sequence, entry.ms)), "seed {seed}");
    let accepted: Vec<_> = journal[set_up..].iter().filter(|entry| entry.accepted()).collect();
    assert!(accepted.is_sorted_by_key(|entry| entry.shown_ms), "seed {seed}: shown in order");
    let weights = |entry: &crate::control_plane::journal::JournalEntry, before| {
        let change = entry.change(&shop.rule).expect("the rule was shifted");
        if before { change.weights_before.clone() } else { change.weights_after.clone() }
    };
    for pair in accepted.windows(2) {
        assert_eq!(weights(pair[0], false), weights(pair[1], true), "seed {seed}: each write builds on the one before");
    }
    sleep(Duration::from_secs(3_600)).await;
    let last = accepted.last().map(|entry| weights(entry, false).expect("a rule"));
    let account = shop.control_plane.account();
    let there = shown(&account, &shop);
    assert_eq!(Some(there), last.map(|last| vec![last[&shop.stable], last[&shop.canary]]), "seed {seed}");
    assert!(Arc::ptr_eq(&account, &shop.control_plane.accounts().borrow()), "seed {seed}: followers see it too");
}
