//! `lab serve` as a person starts it.

use std::process::Stdio;

use aws_sdk_elasticloadbalancingv2::Client;
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{ChildStdout, Command};
use tokio::time::timeout;

use crate::{PATIENCE, client_of, forward, http, raw_to};

/// Waits for a line of the output.
pub(crate) async fn line_with(lines: &mut Lines<BufReader<ChildStdout>>, what: &str) -> String {
    let search = async {
        while let Some(line) = lines.next_line().await.expect("text") {
            if line.contains(what) {
                return line;
            }
        }
        panic!("the output ended before '{what}'");
    };
    timeout(PATIENCE, search).await.expect("it is printed")
}

#[tokio::test]
async fn serves_prints_its_endpoint_and_every_write() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(["serve", "--seed-example"]).stdout(Stdio::piped()).kill_on_drop(true);
    let mut child = command.spawn().expect("the lab starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();

    let line = line_with(&mut lines, "export AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2=").await;
    let (_, endpoint) = line.split_once('=').expect("a value");
    let (endpoint, _) = endpoint.split_once(' ').expect("the other service");
    let client: Client = client_of(endpoint, 1);
    line_with(&mut lines, "CreateRule").await;
    let line = line_with(&mut lines, "CreateRule").await;
    assert!(line.contains("legacy 50 shop-canary 0 shop-stable 100"), "{line}");

    let groups = client.describe_target_groups().names("shop-stable").send().await.expect("the example is there");
    let stable = groups.target_groups()[0].target_group_arn().expect("an ARN");
    let load_balancer = groups.target_groups()[0].load_balancer_arns()[0].clone();
    let listeners = client.describe_listeners().load_balancer_arn(load_balancer).send().await.expect("two listeners");
    let listener = listeners.listeners()[0].listener_arn().expect("an ARN");
    let rules = client.describe_rules().listener_arn(listener).send().await.expect("two rules");
    let arn = rules.rules()[0].rule_arn().expect("an ARN");
    client.modify_rule().rule_arn(arn).actions(forward(&[(stable, 42)])).send().await.expect("a shift");
    let line = line_with(&mut lines, "ModifyRule").await;
    assert!(line.contains("shop-stable 100→42"), "{line}");
    child.kill().await.expect("it was running");
}

#[tokio::test]
async fn is_set_up_by_arguments() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(["serve", "--seed-example", "--buckets", "--page-size", "1", "--region", "eu-west-1"]);
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the lab starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let line = line_with(&mut lines, "export AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2=").await;
    let endpoint = line.split(['=', ' ']).find(|word| word.starts_with("http")).expect("a URL").to_owned();
    line_with(&mut lines, "CreateRule").await;
    line_with(&mut lines, "CreateRule").await;
    let client: Client = client_of(&endpoint, 1);
    let groups = client.describe_target_groups().send().await.expect("the example is there");
    assert!(groups.next_marker().is_some() && groups.target_groups().len() == 1);
    let arn = groups.target_groups()[0].target_group_arn().expect("an ARN");
    assert!(arn.starts_with("arn:aws:elasticloadbalancing:eu-west-1:"), "{arn}");
    let buckets = raw_to(&endpoint, &http("GET", "/lab/buckets", "", "")).await;
    assert!(buckets.contains(r#""modify":{"burst":20,"per_second":3,"#), "{buckets}");
    child.kill().await.expect("it was running");
}

#[tokio::test]
async fn settings_of_nodes_need_nodes() {
    for (arguments, wrong) in [
        (["--nodes", "3"].as_slice(), "--data-plane"),
        (&["--node-lag", "1s"], "--data-plane"),
        (&["--data-plane", "--nodes", "0"], "1..=100"),
        (&["--data-plane", "--healthy-after", "1s"], "cannot be used with"),
    ] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
        let output = command.arg("serve").args(arguments).output().await.expect("the lab starts");
        let message = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && message.contains(wrong), "{arguments:?}: {message}");
    }
}

#[tokio::test]
async fn listens_on_loopback_only_and_says_so() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    let output = command.args(["serve", "--listen", "0.0.0.0:0"]).output().await.expect("the lab starts");
    assert!(!output.status.success());
    let message = String::from_utf8_lossy(&output.stderr);
    assert_eq!(message, "lab: the lab listens on loopback addresses only, not on 0.0.0.0:0\n");
}
