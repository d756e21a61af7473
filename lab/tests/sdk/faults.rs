//! Bad days, as a client lives through them.

use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::error::{ProvideErrorMetadata, SdkError};
use lab::{Effect, Fault, InvalidFault, Lab, LabConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::{PATIENCE, client, code, forward, rule, start, weights};

/// Sends raw bytes and reads until the lab closes the connection.
async fn raw(lab: &Lab, request: &str) -> String {
    let address = lab.endpoint().strip_prefix("http://").expect("plain HTTP");
    let mut stream = TcpStream::connect(address).await.expect("the lab listens");
    stream.write_all(request.as_bytes()).await.expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer is text");
    answer
}

fn http(method: &str, path: &str, headers: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}

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
