//! The journal, and the life of a lab.

use lab::{ChangeKind, JournalReport, Lab, LabConfig, Outcome, StartError, Weights};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::{PATIENCE, code, forward, start};

fn split(pairs: &[(&str, u16)]) -> Option<Weights> {
    Some(pairs.iter().map(|(arn, weight)| ((*arn).to_owned(), *weight)).collect())
}

#[tokio::test]
async fn every_write_is_written_down_with_what_it_changed() {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    let set_up = lab.journal().len();
    let (stable, canary) = (shop.stable.as_str(), shop.canary.as_str());
    let shift =
        |weights: [(&str, i32); 2]| client.modify_rule().rule_arn(&shop.http_rule).actions(forward(&weights)).send();
    shift([(stable, 90), (canary, 10)]).await.expect("a shift");
    shift([(stable, 90), (canary, 10)]).await.expect("the same again");
    assert_eq!(code(shift([(stable, 1000), (canary, 0)])).await, "ValidationError");
    let modify = client.modify_listener().listener_arn(&shop.http_listener);
    modify.default_actions(forward(&[(stable, 1)])).send().await.expect("a default action");
    client.delete_listener().listener_arn(&shop.http_listener).send().await.expect("no listener");
    client.describe_rules().rule_arns(&shop.https_rule).send().await.expect("a read");

    let journal = lab.journal();
    let [first, second, third, fourth, fifth] = &journal[set_up..] else { panic!("{journal:#?}") };
    let change = first.change(&shop.http_rule).expect("the rule changed");
    assert_eq!(change.kind, ChangeKind::Modified);
    assert_eq!(change.weights_before, split(&[(stable, 100), (canary, 0)]));
    assert_eq!(change.weights_after, split(&[(stable, 90), (canary, 10)]));
    assert!(first.user_agent.as_deref().unwrap().contains("aws-sdk-rust"), "{:?}", first.user_agent);
    let change = second.change(&shop.http_rule).expect("a write of the same is a write");
    assert_eq!(change.weights_before, change.weights_after);
    assert_eq!(third.subject.as_deref(), Some(shop.http_rule.as_str()));
    assert!(
        matches!(&third.outcome, Outcome::Refused { code, injected: false, .. } if code == "ValidationError"),
        "{third:?}"
    );
    assert_eq!(third.changes, []);
    let default_rule = fourth.changes.iter().find(|change| change.weights_after.is_some()).expect("the default rule");
    assert_eq!(default_rule.weights_after, split(&[(stable, 1)]));
    let gone = fifth.change(&shop.http_rule).expect("the rule goes with its listener");
    assert_eq!((gone.kind, &gone.weights_after), (ChangeKind::Deleted, &None));

    let numbers: Vec<u64> = journal.iter().map(|entry| entry.sequence).collect();
    assert_eq!(numbers, (1..=journal.len() as u64).collect::<Vec<_>>());
    assert!(journal.is_sorted_by_key(|entry| (entry.ms, entry.at)), "times and order agree");
    assert_eq!(lab.counts()["DescribeRules"].calls, 1);
    let line = first.to_string();
    assert!(line.contains("ModifyRule") && line.contains("shop-canary 0→10 shop-stable 100→90"), "{line}");
}

#[tokio::test]
async fn the_journal_over_http_is_the_same() {
    let (lab, _client) = start(LabConfig::default()).await;
    lab::scenario::two_listeners(&lab).expect("an empty lab");
    let address = lab.endpoint().strip_prefix("http://").unwrap();
    let mut stream = TcpStream::connect(address).await.expect("the lab listens");
    let request = "GET /lab/journal HTTP/1.1\r\nhost: lab\r\nconnection: close\r\n\r\n";
    stream.write_all(request.as_bytes()).await.expect("the request is sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("the answer is text");
    let (_head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let report: JournalReport = serde_json::from_str(body).expect("the shape of the report");
    let mut expected = lab.journal();
    for (seen, expected) in report.writes.iter().zip(&mut expected) {
        // JSON carries whole milliseconds.
        assert_eq!(seen.at.elapsed().is_ok(), expected.at.elapsed().is_ok());
        expected.at = seen.at;
    }
    assert_eq!(report.writes, expected);
    assert_eq!(report.counts, lab.counts());
}

#[tokio::test]
async fn a_follower_sees_old_and_new_writes() {
    let (lab, client) = start(LabConfig::default()).await;
    let mut tail = lab.follow();
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    for expected in lab.journal() {
        assert_eq!(timeout(PATIENCE, tail.next()).await.expect("already there"), expected);
    }
    let shift = async {
        let shift = client.modify_rule().rule_arn(&shop.http_rule).actions(forward(&[(&shop.stable, 1)]));
        shift.send().await.expect("a shift");
    };
    let (entry, ()) = tokio::join!(timeout(PATIENCE, tail.next()), shift);
    assert!(entry.expect("it comes").change(&shop.http_rule).is_some());
}

#[tokio::test]
async fn a_lab_listens_on_loopback_until_it_is_stopped() {
    let config = LabConfig { listen: "0.0.0.0:0".parse().unwrap(), ..LabConfig::default() };
    assert!(matches!(Lab::start(config).await, Err(StartError::NotLoopback(_))));

    let (lab, client) = start(LabConfig::default()).await;
    client.describe_load_balancers().send().await.expect("it answers");
    let address = lab.endpoint().strip_prefix("http://").unwrap().to_owned();
    let taken = LabConfig { listen: address.parse().unwrap(), ..LabConfig::default() };
    assert!(matches!(Lab::start(taken).await, Err(StartError::Listen { .. })));
    // The client still holds an idle connection; it must not keep the lab alive.
    timeout(PATIENCE, lab.shutdown()).await.expect("it stops");
    assert!(TcpStream::connect(&address).await.is_err());
}
