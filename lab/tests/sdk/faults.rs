//! Bad days, as a client lives through them.

use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use lab::{BucketSize, BucketSizes, Effect, Fault, InvalidFault, LabConfig};
use tokio::time::{Instant, timeout};

use crate::{PATIENCE, client, code, forward, http, raw, rule, start, weights};

#[tokio::test]
async fn a_throttled_call_succeeds_when_it_is_tried_again() {
    let (lab, once) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    let shift = |client: &aws_sdk_elasticloadbalancingv2::Client| {
        client.modify_rule().rule_arn(&shop.http_rule).actions(forward(&[(&shop.stable, 9), (&shop.canary, 1)])).send()
    };
    lab.faults().add(Fault::throttling("ModifyRule").times(1)).expect("a sound fault");
    assert_eq!(code(shift(&once)).await, "Throttling");

    lab.faults().add(Fault::throttling("ModifyRule").times(2)).expect("a sound fault");
    shift(&client(&lab, 3)).await.expect("the third try");
    assert_eq!(lab.faults().list(), [], "used up");
    let outcomes: Vec<bool> =
        lab.journal().iter().filter(|entry| entry.operation == "ModifyRule").map(lab::JournalEntry::accepted).collect();
    assert_eq!(outcomes, [false, false, false, true]);
    let count = &lab.counts()["ModifyRule"];
    assert_eq!((count.calls, count.refused), (4, 3));
}

#[tokio::test]
async fn errors_have_the_status_and_code_that_were_asked_for() {
    let (lab, client) = start(LabConfig::default()).await;
    lab.faults().add(Fault::error("*", 500, "InternalFailure", "it is us")).expect("a sound fault");
    let error = client.describe_load_balancers().send().await.expect_err("a bad day");
    assert_eq!((error.code(), error.message()), (Some("InternalFailure"), Some("it is us")));
    assert_eq!(error.raw_response().unwrap().status().as_u16(), 500);
    lab.faults().add(Fault::error("*", 503, "ServiceUnavailable", "later")).expect("a sound fault");
    assert_eq!(code(client.describe_load_balancers().send()).await, "InternalFailure", "the first one wins");
    lab.faults().clear();
    client.describe_load_balancers().send().await.expect("a good day");
}

#[tokio::test]
async fn a_cut_connection_hides_a_write_that_took_effect() {
    let (lab, once) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    lab.faults().add(Fault::new("ModifyRule", Effect::CutAfterEffect).times(1)).expect("a sound fault");
    let shift =
        once.modify_rule().rule_arn(&shop.http_rule).actions(forward(&[(&shop.stable, 9), (&shop.canary, 1)])).send();
    let error = shift.await.expect_err("no answer");
    assert!(matches!(error, SdkError::DispatchFailure(_) | SdkError::ResponseError(_)), "{error:?}");
    assert_eq!(weights(&rule(&once, &shop.http_rule).await), [(&*shop.stable, 9), (&*shop.canary, 1)]);

    lab.faults().add(Fault::new("*", Effect::CutAfterEffect).times(1)).expect("a sound fault");
    let request = http("POST", "/", "authorization: x\r\n", "Action=DescribeTargetGroups");
    assert_eq!(raw(&lab, &request).await, "", "not even the head of an answer");
    assert!(raw(&lab, &request).await.starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_connection_cut_early_hides_that_nothing_happened() {
    let (lab, once) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    lab.faults().add(Fault::new("ModifyRule", Effect::CutBeforeEffect).times(1)).expect("a sound fault");
    let shift = |client: &aws_sdk_elasticloadbalancingv2::Client| {
        client.modify_rule().rule_arn(&shop.http_rule).actions(forward(&[(&shop.stable, 9), (&shop.canary, 1)])).send()
    };
    let error = shift(&once).await.expect_err("no answer");
    assert!(matches!(error, SdkError::DispatchFailure(_) | SdkError::ResponseError(_)), "{error:?}");
    assert_eq!(weights(&rule(&once, &shop.http_rule).await), [(&*shop.stable, 100), (&*shop.canary, 0)]);
    lab.faults().add(Fault::new("ModifyRule", Effect::CutBeforeEffect).times(1)).expect("a sound fault");
    shift(&client(&lab, 2)).await.expect("the second try");
}

#[tokio::test]
async fn late_writes_are_shown_after_a_while() {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    lab.faults().add(Fault::new("ModifyRule", Effect::LateWrites { ms: 100 }).times(1)).expect("a sound fault");
    let shift =
        client.modify_rule().rule_arn(&shop.http_rule).actions(forward(&[(&shop.stable, 9), (&shop.canary, 1)]));
    let sent = Instant::now();
    let answer = shift.send().await.expect("a shift");
    let new = [(&*shop.stable, 9), (&*shop.canary, 1)];
    assert_eq!(weights(&answer.rules()[0]), new);
    let see = async { while weights(&rule(&client, &shop.http_rule).await) != new {} };
    timeout(PATIENCE, see).await.expect("it is shown");
    assert!(sent.elapsed() >= Duration::from_millis(100));
}

#[tokio::test]
async fn expired_credentials_are_told_by_code_and_status() {
    let (lab, client) = start(LabConfig::default()).await;
    lab.faults().add(Fault::expired_token("*").times(1)).expect("a sound fault");
    let error = client.describe_load_balancers().send().await.expect_err("expired");
    assert_eq!((error.code(), error.raw_response().unwrap().status().as_u16()), (Some("ExpiredToken"), 403));
    client.describe_load_balancers().send().await.expect("fresh ones");
}

#[tokio::test]
async fn buckets_throttle_over_http() {
    let tiny = BucketSize { burst: 1, per_second: 0 };
    let buckets = Some(BucketSizes { describe: tiny, ..BucketSizes::default() });
    let (lab, client) = start(LabConfig { buckets, ..LabConfig::default() }).await;
    client.describe_load_balancers().send().await.expect("the burst");
    assert_eq!(code(client.describe_target_groups().send()).await, "Throttling");
    assert!(
        raw(&lab, &http("GET", "/lab/buckets", "", ""))
            .await
            .contains(r#""describe":{"burst":1,"per_second":0,"tokens":0}"#)
    );

    let json = "content-type: application/json\r\n";
    let bigger = r#"{"describe": {"burst": 2, "per_second": 1}}"#;
    assert!(raw(&lab, &http("POST", "/lab/buckets", json, bigger)).await.starts_with("HTTP/1.1 204 "));
    let levels = lab.bucket_levels().expect("buckets are on");
    assert_eq!((levels.describe.tokens, levels.modify.burst), (2, 20), "the others are AWS's");
    assert!(raw(&lab, &http("DELETE", "/lab/buckets", "", "")).await.starts_with("HTTP/1.1 204 "));
    assert!(raw(&lab, &http("GET", "/lab/buckets", "", "")).await.ends_with("null"));
    client.describe_target_groups().send().await.expect("nobody is throttled");
}

#[tokio::test]
async fn stale_reads_show_what_was_there_when_the_fault_was_set() {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    lab.faults().add(Fault::new("DescribeRules", Effect::StaleReads).times(2)).expect("a sound fault");
    let shift =
        client.modify_rule().rule_arn(&shop.http_rule).actions(forward(&[(&shop.stable, 9), (&shop.canary, 1)]));
    let answer = shift.send().await.expect("a shift");
    let new = [(&*shop.stable, 9), (&*shop.canary, 1)];
    assert_eq!(weights(&answer.rules()[0]), new, "the write itself answers with the truth");
    for _ in 0..2 {
        assert_eq!(weights(&rule(&client, &shop.http_rule).await), [(&*shop.stable, 100), (&*shop.canary, 0)]);
    }
    assert_eq!(weights(&rule(&client, &shop.http_rule).await), new);
}

#[tokio::test]
async fn delays_come_before_or_after_the_effect() {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    let shift = || {
        let modify = client.modify_rule().rule_arn(&shop.http_rule).actions(forward(&[(&shop.stable, 1)]));
        tokio::spawn(modify.send())
    };
    let delay = Duration::from_millis(50);
    for effect in [Effect::DelayBefore { ms: 50 }, Effect::DelayAfter { ms: 50 }] {
        lab.faults().add(Fault::new("ModifyRule", effect).times(1)).expect("a sound fault");
        let sent = Instant::now();
        shift().await.expect("no panic").expect("late, but well");
        assert!(sent.elapsed() >= delay);
    }

    // With a delay that no test waits for, which half has happened can be seen.
    let an_hour = 3_600_000;
    let writes = lab.journal().len();
    lab.faults().add(Fault::new("ModifyRule", Effect::DelayBefore { ms: an_hour }).times(1)).expect("a sound fault");
    let early = shift();
    while !lab.faults().list().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(lab.journal().len(), writes, "it has arrived, but not taken effect");

    let mut tail = lab.follow();
    lab.faults().add(Fault::new("ModifyRule", Effect::DelayAfter { ms: an_hour }).times(1)).expect("a sound fault");
    let late = shift();
    for _ in 0..=writes {
        timeout(PATIENCE, tail.next()).await.expect("it takes effect");
    }
    assert!(!early.is_finished() && !late.is_finished(), "neither has been answered");
}

#[tokio::test]
async fn faults_over_http() {
    let (lab, client) = start(LabConfig::default()).await;
    let json = "content-type: application/json\r\n";
    let fault = r#"{"operation": "DescribeRules", "times": 3, "effect": {"error": {"status": 400, "code": "Throttling", "message": "Rate exceeded"}}}"#;
    assert!(raw(&lab, &http("POST", "/lab/faults", json, fault)).await.starts_with("HTTP/1.1 204 "));
    let cut = r#"{"operation": "*", "effect": "cut_after_effect"}"#;
    assert!(raw(&lab, &http("POST", "/lab/faults", json, cut)).await.starts_with("HTTP/1.1 204 "));
    let expected = [Fault::throttling("DescribeRules").times(3), Fault::new("*", Effect::CutAfterEffect)];
    assert_eq!(lab.faults().list(), expected);
    assert!(raw(&lab, &http("GET", "/lab/faults", "", "")).await.contains(r#""operation":"DescribeRules","times":3"#));

    for (body, reason) in [
        (r#"{"operation": "ModifyRules", "effect": "stale_reads"}"#, "the lab has no operation 'ModifyRules'"),
        (r#"{"operation": "*", "times": 0, "effect": "stale_reads"}"#, "a fault for 0 calls"),
        (r#"{"operation": "*", "effect": {"error": {"status": 200, "code": "", "message": ""}}}"#, "status 200"),
    ] {
        let answer = raw(&lab, &http("POST", "/lab/faults", json, body)).await;
        assert!(answer.starts_with("HTTP/1.1 400 ") && answer.contains(reason), "{answer}");
    }
    let typo = r#"{"operation": "*", "efect": "stale_reads"}"#;
    assert!(raw(&lab, &http("POST", "/lab/faults", json, typo)).await.starts_with("HTTP/1.1 422 "));

    assert!(raw(&lab, &http("DELETE", "/lab/faults", "", "")).await.starts_with("HTTP/1.1 204 "));
    client.describe_load_balancers().send().await.expect("a good day");
}

#[tokio::test]
async fn faults_that_could_do_nothing_are_refused() {
    let (lab, _client) = start(LabConfig::default()).await;
    let refused = lab.faults().add(Fault::throttling("ModifyRules"));
    assert_eq!(refused, Err(InvalidFault::UnknownOperation("ModifyRules".to_owned())));
    assert_eq!(lab.faults().add(Fault::throttling("*").times(0)), Err(InvalidFault::NoCalls));
    let stale_write = lab.faults().add(Fault::new("ModifyRule", Effect::StaleReads));
    assert_eq!(stale_write, Err(InvalidFault::WrongKind("ModifyRule".to_owned())));
    let late_read = lab.faults().add(Fault::new("DescribeRules", Effect::LateWrites { ms: 1 }));
    assert_eq!(late_read, Err(InvalidFault::WrongKind("DescribeRules".to_owned())));
    assert_eq!(lab.faults().add(Fault::throttling("*").for_ms(0)), Err(InvalidFault::NoCalls));
    lab.faults().add(Fault::throttling("AssumeRole").times(1)).expect("the token service has faults too");
    lab.faults().clear();
    assert_eq!(lab.faults().list(), []);
}

#[tokio::test]
async fn unsigned_requests_do_not_get_past_the_door() {
    let (lab, _client) = start(LabConfig::default()).await;
    let answer = raw(&lab, &http("POST", "/", "", "Action=DescribeLoadBalancers&Version=2015-12-01")).await;
    assert!(
        answer.starts_with("HTTP/1.1 403 ") && answer.contains("<Code>MissingAuthenticationToken</Code>"),
        "{answer}"
    );
}
