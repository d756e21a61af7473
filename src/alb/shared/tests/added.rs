//! Rules that are added and removed, and tags.

use std::slice::from_ref;

use super::*;

fn new_rule(priority: u32) -> NewRule {
    let before = Rule::forwarding(rule(0), &weight(1));
    NewRule { before, priority, headers: Vec::new(), group: group(1), tags: Tags::new() }
}

#[tokio::test(start_paused = true)]
async fn rules_are_added_and_removed_through_the_bucket_of_all_writes() {
    let aws = FakeAws::new(1, 1);
    let shared = shared(&aws);
    let start = Instant::now();
    for priority in 1..=30 {
        let added = shared.add_rule(&new_rule(priority)).await.unwrap();
        assert_eq!(added, rule(priority.try_into().unwrap()));
        shared.remove_rule(&added).await.unwrap();
    }
    let state = aws.state();
    assert_eq!((state.throttled, state.written.len()), (0, 60));
    assert!(start.elapsed() >= bucket_time(60), "{:?}", start.elapsed());
}

/// What so many writes take from a rested bucket: 18 are free.
fn bucket_time(writes: u32) -> Duration {
    Duration::from_secs(u64::from(writes - 18) / 3)
}

#[tokio::test(start_paused = true)]
async fn a_removed_rule_is_not_shown_again_from_an_earlier_look() {
    let aws = FakeAws::new(2, 1);
    let shared = shared(&aws);
    let since = Instant::now();
    wait(1).await;
    shared.observe(&rules(2), since).await.unwrap();
    shared.remove_rule(&rule(1)).await.unwrap();
    let error = shared.observe(from_ref(&rule(1)), since).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
    shared.observe(from_ref(&rule(0)), since).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_throttled_addition_is_told_and_slows_all_writes_down() {
    let aws = FakeAws::new(1, 1);
    let shared = shared(&aws);
    aws.state().failures.insert("write", vec![Failure::Kind(ErrorKind::Transient, "Throttling")]);
    let error = shared.add_rule(&new_rule(7)).await.unwrap_err();
    assert!(error.is_throttling(), "{error}");
    let start = Instant::now();
    drop(shared.turn(&rule(0), Urgency::First).await);
    assert!(start.elapsed() > Duration::from_millis(500), "{:?}", start.elapsed());
}

#[tokio::test(start_paused = true)]
async fn tags_come_in_the_order_asked_for_from_full_calls_of_each_account() {
    let aws = FakeAws::new(0, 1);
    let shared = shared(&aws);
    let mut arns: Vec<String> = (0..45).map(|number| group(number).as_str().to_owned()).collect();
    arns.insert(7, arns[0].replace("eu-west-1:1", "us-east-1:2"));
    arns.push(rule(3).as_str().to_owned());
    arns.push(arns[0].clone());
    let tags = shared.tags(&arns).await.unwrap();
    assert_eq!(tags.iter().map(|tags| tags["arn"].clone()).collect::<Vec<_>>(), arns);
    let mut calls: Vec<_> = aws.state().looks_at_tags.iter().map(Vec::len).collect();
    calls.sort_unstable();
    assert_eq!(calls, [1, 6, 20, 20]);
}

#[tokio::test(start_paused = true)]
async fn a_resource_that_is_gone_is_named() {
    let aws = FakeAws::new(0, 1);
    let shared = shared(&aws);
    let mut arns: Vec<String> = (0..5).map(|number| group(number).as_str().to_owned()).collect();
    arns.push(arns[0].replace("g0", "gone"));
    let error = shared.tags(&arns).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(error.to_string().contains("targetgroup/gone/1"), "{error}");
    assert_eq!(shared.tags(&arns[..5]).await.unwrap().len(), 5);
}
