//! A shop: an Ingress with two Services, pods, a load balancer controller that makes the rule, and three nodes that lag.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lab::kubernetes::{Cluster, Kind};
use lab::load_balancer_controller::{LbcConfig, LoadBalancerController, Neighbours};
use lab::workload::{Serve, Workload, WorkloadConfig};
use lab::{DataPlaneConfig, Lab, LabConfig, Traffic};
use serde_json::{Value, json};
use tokio::net::TcpListener;

use crate::until;

pub(crate) const NAMESPACE: &str = "shop";
pub(crate) const STABLE: &str = "web-stable";
pub(crate) const CANARY: &str = "web-canary";

const NODES: usize = 3;
const HASH: &str = "rollouts-pod-template-hash";

pub(crate) struct World {
    pub(crate) lab: Lab,
    pub(crate) cluster: Cluster,
    pub(crate) workload: Workload,
    pub(crate) load_balancer_controller: LoadBalancerController,
    /// Where the nodes serve the listener.
    pub(crate) nodes: Vec<SocketAddr>,
    /// The only rule that is not a default rule.
    pub(crate) rule: String,
    /// The target groups of stable and canary.
    pub(crate) groups: [String; 2],
}

impl World {
    /// A shop that serves, on good days.
    pub(crate) async fn open(seed: u64, network: u8) -> Self {
        let nodes = DataPlaneConfig {
            nodes: NODES,
            lag: Duration::ZERO..=Duration::from_millis(1500),
            seed,
            health_check_interval: Some(Duration::from_millis(500)),
            idle_timeout: Duration::from_secs(2),
            ..DataPlaneConfig::default()
        };
        let config = LabConfig { seed, ..LabConfig::default() };
        let lab = Lab::start_with_data_plane(config, nodes).await.expect("a loopback port is free");
        let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a loopback port is free");
        let port = free.local_addr().expect("it is bound").port();
        let cluster = Cluster::default();
        for (name, hash) in [(STABLE, "v1"), (CANARY, "v2")] {
            cluster.create(Kind::SERVICE, service(name, hash, port)).expect("a Service");
            cluster.create(Kind::REPLICA_SET, replica_set(hash)).expect("a ReplicaSet");
        }
        cluster.create(Kind::INGRESS, ingress()).expect("an Ingress");
        let pods = WorkloadConfig {
            network,
            start_up: Duration::from_millis(20)..=Duration::from_millis(200),
            serve: Serve::Http { port, service_time: Duration::from_millis(5)..=Duration::from_millis(60) },
            seed,
            ..WorkloadConfig::default()
        };
        let workload = Workload::start(cluster.clone(), pods);
        let control_plane = lab.control_plane().clone();
        // With all eight neighbours it comes to its rule once or twice a minute.
        let neighbours = Some(Neighbours { groups: 2, period: Duration::from_secs(10) });
        let busy = LbcConfig { neighbours, ..LbcConfig::busy(seed) };
        let load_balancer_controller = LoadBalancerController::start(cluster.clone(), control_plane, busy);

        until(|| lab.journal().iter().any(|entry| entry.operation == "CreateRule" && entry.accepted())).await;
        let journal = lab.journal();
        let made = journal.iter().find(|entry| entry.operation == "CreateRule").and_then(|entry| entry.changes.first());
        let made = made.expect("it made a rule");
        let group = |weight: u16| {
            let mut weights = made.weights_after.iter().flatten();
            weights.find(|(_, found)| **found == weight).map(|(arn, _)| arn.clone()).expect("a group")
        };
        let (rule, groups) = (made.arn.clone(), [group(100), group(0)]);
        let data_plane = lab.data_plane().expect("it was started with one");
        let serves = |group: &String| {
            let nodes = data_plane.may_send_to(group);
            nodes.len() == NODES && nodes.iter().all(|node| !node.targets.is_empty())
        };
        until(|| groups.first().is_some_and(serves)).await;
        let nodes = data_plane.listeners().values().flat_map(|nodes| nodes.values().copied()).collect::<Vec<_>>();
        assert_eq!(nodes.len(), NODES, "one listener, served by every node");
        Self { lab, cluster, workload, load_balancer_controller, nodes, rule, groups }
    }

    pub(crate) fn traffic(&self) -> Traffic {
        self.lab.data_plane().expect("it was started with one").counters()
    }

    pub(crate) async fn close(self) {
        self.load_balancer_controller.shutdown().await;
        self.workload.shutdown().await;
        self.lab.shutdown().await;
    }
}

/// The patch that names these weights in the Ingress.
pub(crate) fn announcement(stable: u16, canary: u16) -> Value {
    json!({"metadata": {"annotations": {"alb.ingress.kubernetes.io/actions.web": action(stable, canary)}}})
}

/// The patch that lets a Service select this version.
pub(crate) fn selection(hash: &str) -> Value {
    json!({"spec": {"selector": {HASH: hash}}})
}

pub(crate) fn replica_set_name(hash: &str) -> String {
    format!("web-{hash}")
}

fn action(stable: u16, canary: u16) -> String {
    let group = |name: &str, weight: u16| json!({"serviceName": name, "servicePort": 80, "weight": weight});
    let groups = [group(STABLE, stable), group(CANARY, canary)];
    json!({"type": "forward", "forwardConfig": {"targetGroups": groups}}).to_string()
}

fn service(name: &str, hash: &str, port: u16) -> Value {
    json!({
        "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": {"selector": {"app": "web", HASH: hash}, "ports": [{"port": 80, "targetPort": port}]},
    })
}

fn replica_set(hash: &str) -> Value {
    let labels = json!({"app": "web", HASH: hash});
    let template = json!({"metadata": {"labels": labels}, "spec": {"containers": [{"name": "web"}]}});
    json!({
        "metadata": {"namespace": NAMESPACE, "name": replica_set_name(hash), "labels": labels},
        "spec": {"replicas": 2, "selector": {"matchLabels": labels}, "template": template},
    })
}

fn ingress() -> Value {
    let backend = json!({"service": {"name": "web", "port": {"name": "use-annotation"}}});
    let paths = [json!({"path": "/", "pathType": "Prefix", "backend": backend})];
    json!({
        "metadata": {"namespace": NAMESPACE, "name": "web", "annotations": {
            "alb.ingress.kubernetes.io/actions.web": action(100, 0),
            "alb.ingress.kubernetes.io/target-group-attributes": "deregistration_delay.timeout_seconds=1",
        }},
        "spec": {"ingressClassName": "alb", "rules": [{"http": {"paths": paths}}]},
    })
}
