//! `lab serve --data-plane`: a request goes through a load balancer that AWS's client made.

use std::net::Ipv4Addr;
use std::process::Stdio;
use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::{ProtocolEnum, TargetDescription, TargetTypeEnum};
use axum::Router;
use axum::routing::get;
use lab::{DataPlaneConfig, Lab, LabConfig, Traffic, TrafficOutcome};
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::time::{sleep, timeout};

use crate::command::line_with;
use crate::{PATIENCE, client_of, forward, http, raw_to};

/// An application on a loopback address of its own.
async fn application() -> (String, u16) {
    let listener = TcpListener::bind((Ipv4Addr::new(127, 0, 9, 1), 0)).await.expect("a loopback port is free");
    let address = listener.local_addr().expect("it is bound");
    let app = Router::new().route("/", get(async || "healthy")).route("/cart", get(async || "a full cart"));
    tokio::spawn(async move { axum::serve(listener, app).await });
    (address.ip().to_string(), address.port())
}

/// A load balancer with one listener that sends all requests to the application; gives the listener's ARN.
async fn load_balancer(client: &Client, (id, port): (String, u16)) -> String {
    let subnets = ["subnet-0000000000000000a", "subnet-0000000000000000b"].map(str::to_owned).to_vec();
    let made = client.create_load_balancer().name("shop").set_subnets(Some(subnets)).send().await;
    let made = made.expect("a load balancer");
    let load_balancer = made.load_balancers().first().and_then(|made| made.load_balancer_arn()).expect("an ARN");
    let made = client.create_target_group().name("web").target_type(TargetTypeEnum::Ip).vpc_id("vpc-00000000000000000");
    let made = made.protocol(ProtocolEnum::Http).port(80).send().await.expect("a target group");
    let group = made.target_groups().first().and_then(|made| made.target_group_arn()).expect("an ARN");
    let target = TargetDescription::builder().id(id).port(port.into()).build();
    client.register_targets().target_group_arn(group).targets(target).send().await.expect("it is registered");
    let made = client.create_listener().load_balancer_arn(load_balancer).protocol(ProtocolEnum::Http).port(80);
    let made = made.default_actions(forward(&[(group, 1)])).send().await.expect("a listener");
    made.listeners().first().and_then(|made| made.listener_arn()).expect("an ARN").to_owned()
}

/// A page of the lab's own.
async fn page(endpoint: &str, path: &str) -> Value {
    let answer = raw_to(endpoint, &http("GET", path, "", "")).await;
    let (head, body) = answer.split_once("\r\n\r\n").expect("a whole answer");
    assert!(head.starts_with("HTTP/1.1 200 "), "{head}");
    serde_json::from_str(body).expect("JSON")
}

#[tokio::test]
async fn requests_go_through_the_printed_address_to_the_target() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_lab"));
    command.args(["serve", "--data-plane", "--nodes", "2", "--node-lag", "0s"]);
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().expect("the lab starts");
    let mut lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let line = line_with(&mut lines, "export AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2=").await;
    let endpoint = line.split(['=', ' ']).find(|word| word.starts_with("http")).expect("a URL").to_owned();
    let listener = load_balancer(&client_of(&endpoint, 1), application().await).await;

    let mut asked = 0;
    for _ in 0..2 {
        let line = line_with(&mut lines, " serves listener/app/shop/").await;
        assert!(line.contains("(HTTP 80)"), "{line}");
        let (node, _) = line.split_once(' ').expect("the node");
        let address = line.rsplit(' ').next().expect("the address");
        let listeners = page(&endpoint, "/lab/listeners").await;
        assert_eq!(format!("http://{}", listeners[&listener][node].as_str().unwrap()), address);
        // Until its first check of the target the node has nobody to send to.
        let answered = async {
            loop {
                asked += 1;
                let answer = raw_to(address, &http("GET", "/cart", "", "")).await;
                if answer.starts_with("HTTP/1.1 200 ") {
                    return answer;
                }
                assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
                sleep(Duration::from_millis(10)).await;
            }
        };
        let answer = timeout(PATIENCE, answered).await.expect("the target becomes healthy");
        assert!(answer.ends_with("a full cart"), "{answer}");
    }
    let traffic: Traffic = serde_json::from_value(page(&endpoint, "/lab/traffic").await).expect("counters");
    assert_eq!((traffic.received(), traffic.nodes.len()), (asked, 2));
    assert_eq!(traffic.ended(|count| count.outcome == TrafficOutcome::Forwarded && count.status == Some(200)), 2);
    child.kill().await.expect("it was running");
}

#[tokio::test]
async fn a_lab_has_the_nodes_that_it_was_started_with() {
    let lab = Lab::start(LabConfig::default()).await.expect("a loopback port is free");
    assert!(lab.data_plane().is_none());
    for path in ["/lab/listeners", "/lab/traffic"] {
        assert_eq!(page(lab.endpoint(), path).await, Value::Null);
    }
    let nodes = DataPlaneConfig { nodes: 3, ..DataPlaneConfig::default() };
    let lab = Lab::start_with_data_plane(LabConfig::default(), nodes).await.expect("a loopback port is free");
    assert_eq!(lab.data_plane().map(|data_plane| data_plane.counters().nodes.len()), Some(3));
    timeout(PATIENCE, lab.shutdown()).await.expect("nothing is under way");
}
