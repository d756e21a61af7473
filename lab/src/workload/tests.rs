use std::collections::BTreeSet;
use std::net::{Ipv4Addr, SocketAddr};

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

use super::*;
use crate::kubernetes::Kind;

const SECOND: Duration = Duration::from_secs(1);

fn simulated() -> WorkloadConfig {
    WorkloadConfig {
        serve: Serve::Nothing,
        start_up: 2 * SECOND..=2 * SECOND,
        grace: 3 * SECOND,
        epoch: SystemTime::UNIX_EPOCH,
        ..WorkloadConfig::default()
    }
}

/// Real servers. Other tests run at the same time, so each has a network of its own, and a port that the system chose.
async fn serving(network: u8, service_time: Duration) -> WorkloadConfig {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = free.local_addr().unwrap().port();
    let serve = Serve::Http { port, service_time: service_time..=service_time };
    WorkloadConfig { network, serve, start_up: Duration::ZERO..=Duration::ZERO, ..WorkloadConfig::default() }
}

fn replica_set(cluster: &Cluster, hash: &str, replicas: u32) {
    let labels = json!({"app": "web", "rollouts-pod-template-hash": hash});
    let container = json!({"name": "web", "ports": [{"name": "http", "containerPort": 8080}]});
    let object = json!({
        "metadata": {"namespace": "shop", "name": format!("web-{hash}"), "labels": labels},
        "spec": {
            "replicas": replicas,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": {"containers": [container]}},
        },
    });
    cluster.create(Kind::REPLICA_SET, object).unwrap();
}

fn scale(cluster: &Cluster, hash: &str, replicas: u32) {
    let patch = json!({"spec": {"replicas": replicas}});
    cluster.merge_patch(Kind::REPLICA_SET, "shop", &format!("web-{hash}"), &patch).unwrap();
}

fn pods(cluster: &Cluster) -> Vec<Arc<Value>> {
    cluster.list(Kind::POD, Some("shop")).0
}

fn names(pods: &[Arc<Value>], of: impl Fn(&Value) -> bool) -> BTreeSet<String> {
    pods.iter().filter(|pod| of(pod)).map(|pod| pod::text(pod, "/metadata/name").to_owned()).collect()
}

/// Replicas and ready ones, as the ReplicaSet's status has them.
fn status(cluster: &Cluster, hash: &str) -> (u64, u64) {
    let replica_set = cluster.get(Kind::REPLICA_SET, "shop", &format!("web-{hash}")).unwrap();
    let count = |field: &str| replica_set.pointer(&format!("/status/{field}")).and_then(Value::as_u64);
    assert_eq!(count("readyReplicas"), count("availableReplicas"));
    (count("replicas").unwrap_or_default(), count("readyReplicas").unwrap_or_default())
}

/// Waits for a state of the cluster. The limit only turns a hang into a failure.
async fn until(cluster: &Cluster, holds: impl Fn() -> bool) {
    let mut version = cluster.version();
    let reached = async {
        while !holds() {
            version.changed().await.unwrap();
        }
    };
    timeout(60 * SECOND, reached).await.expect("the cluster never came to the expected state");
}

#[tokio::test(start_paused = true)]
async fn pods_become_ready_after_their_start_up() {
    let cluster = Cluster::default();
    let _workload = Workload::start(cluster.clone(), simulated());
    replica_set(&cluster, "5f6d7c8b9", 3);
    until(&cluster, || status(&cluster, "5f6d7c8b9") == (3, 0)).await;
    let begun = Instant::now();
    until(&cluster, || status(&cluster, "5f6d7c8b9") == (3, 3)).await;
    // Tokio's timers round up to a millisecond.
    assert!((2 * SECOND..2 * SECOND + Duration::from_millis(2)).contains(&begun.elapsed()));

    let pods = pods(&cluster);
    let addresses: BTreeSet<&str> = pods.iter().map(|pod| pod::text(pod, "/status/podIP")).collect();
    assert_eq!(addresses.len(), 3);
    for pod in &pods {
        let address: Ipv4Addr = pod::text(pod, "/status/podIP").parse().unwrap();
        assert_eq!(address.octets()[..2], [127, 1]);
        assert_eq!(pod::text(pod, "/metadata/labels/rollouts-pod-template-hash"), "5f6d7c8b9");
        assert_eq!(pod::text(pod, "/metadata/ownerReferences/0/name"), "web-5f6d7c8b9");
        assert_eq!(pod::text(pod, "/status/phase"), "Running");
        assert_eq!(pod.pointer("/status/containerStatuses/0/ready"), Some(&json!(true)));
        assert_eq!(pod.pointer("/spec/containers/0/ports/0/name"), Some(&json!("http")));
        let node = cluster.get(Kind::NODE, "", pod::text(pod, "/spec/nodeName")).expect("the Pod's node");
        assert!(pod::is_ready(&node));
    }
}

#[tokio::test(start_paused = true)]
async fn a_deleted_pod_is_replaced_at_once_and_goes_after_its_grace() {
    let cluster = Cluster::default();
    let _workload = Workload::start(cluster.clone(), simulated());
    replica_set(&cluster, "5f6d7c8b9", 2);
    until(&cluster, || status(&cluster, "5f6d7c8b9") == (2, 2)).await;
    let victim = pod::text(&pods(&cluster)[0], "/metadata/name").to_owned();
    let eviction = json!({"metadata": {"deletionTimestamp": "1970-01-01T00:00:30Z"}});
    cluster.merge_patch(Kind::POD, "shop", &victim, &eviction).unwrap();
    let begun = Instant::now();
    until(&cluster, || pods(&cluster).len() == 3).await;
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert_eq!(names(&pods(&cluster), pod::is_terminating), BTreeSet::from([victim.clone()]));
    until(&cluster, || !names(&pods(&cluster), |_| true).contains(&victim)).await;
    assert!((3 * SECOND..3 * SECOND + Duration::from_millis(2)).contains(&begun.elapsed()));
    until(&cluster, || status(&cluster, "5f6d7c8b9") == (2, 2)).await;
}

#[tokio::test(start_paused = true)]
async fn scaling_in_takes_the_newest_and_a_removed_replica_set_takes_all() {
    let cluster = Cluster::default();
    let _workload = Workload::start(cluster.clone(), simulated());
    replica_set(&cluster, "5f6d7c8b9", 2);
    until(&cluster, || status(&cluster, "5f6d7c8b9") == (2, 2)).await;
    let oldest = names(&pods(&cluster), |_| true);
    scale(&cluster, "5f6d7c8b9", 5);
    until(&cluster, || status(&cluster, "5f6d7c8b9") == (5, 5)).await;
    scale(&cluster, "5f6d7c8b9", 2);
    until(&cluster, || pods(&cluster).len() == 2).await;
    assert_eq!(names(&pods(&cluster), |_| true), oldest);
    cluster.delete(Kind::REPLICA_SET, "shop", "web-5f6d7c8b9").unwrap();
    until(&cluster, || pods(&cluster).is_empty()).await;
}

#[tokio::test(start_paused = true)]
async fn pods_are_paid_from_their_creation_to_their_removal() {
    let cluster = Cluster::default();
    let workload = Workload::start(cluster.clone(), simulated());
    replica_set(&cluster, "old", 4);
    replica_set(&cluster, "new", 1);
    until(&cluster, || status(&cluster, "old") == (4, 4) && status(&cluster, "new") == (1, 1)).await;
    tokio::time::sleep(10 * SECOND).await;
    scale(&cluster, "old", 0);
    until(&cluster, || pods(&cluster).len() == 1).await;
    tokio::time::sleep(100 * SECOND).await;
    let paid = workload.pod_time();
    // Start-up 2 s, 10 s of service, 3 s of grace; each timer may round up by a millisecond.
    let old = Duration::from_secs(4 * 15);
    assert!((old..old + Duration::from_millis(4 * 3)).contains(&paid["old"]), "{paid:?}");
    let new = Duration::from_secs(115);
    assert!((new..new + Duration::from_millis(4)).contains(&paid["new"]), "{paid:?}");
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_gives_the_same_pods() {
    async fn run(seed: u64) -> Vec<(String, String, String)> {
        let cluster = Cluster::default();
        let config = WorkloadConfig { seed, start_up: SECOND..=60 * SECOND, ..simulated() };
        let _workload = Workload::start(cluster.clone(), config);
        replica_set(&cluster, "5f6d7c8b9", 4);
        until(&cluster, || status(&cluster, "5f6d7c8b9") == (4, 4)).await;
        let facts = |pod: &Arc<Value>| {
            let fact = |pointer: &str| pod::text(pod, pointer).to_owned();
            (fact("/metadata/name"), fact("/status/podIP"), fact("/status/conditions/3/lastTransitionTime"))
        };
        pods(&cluster).iter().map(facts).collect()
    }
    assert_eq!(run(7).await, run(7).await);
    assert_ne!(run(7).await, run(8).await);
}

fn address(pod: &Value, config: &WorkloadConfig) -> SocketAddr {
    let Serve::Http { port, .. } = config.serve else { panic!("the pods serve nothing") };
    (pod::text(pod, "/status/podIP").parse::<Ipv4Addr>().unwrap(), port).into()
}

async fn send(stream: &mut TcpStream) {
    stream.write_all(b"GET / HTTP/1.1\r\nhost: shop.example.com\r\n\r\n").await.unwrap();
}

#[tokio::test]
async fn a_pod_answers_with_its_version_until_it_is_removed() {
    let config = serving(11, Duration::from_millis(1)).await;
    let cluster = Cluster::default();
    let workload = Workload::start(cluster.clone(), config.clone());
    replica_set(&cluster, "5f6d7c8b9", 1);
    until(&cluster, || status(&cluster, "5f6d7c8b9") == (1, 1)).await;
    let address = address(&pods(&cluster)[0], &config);
    let mut stream = TcpStream::connect(address).await.unwrap();
    for _ in 0..3 {
        send(&mut stream).await;
        let mut answer = [0; 1024];
        let length = stream.read(&mut answer).await.unwrap();
        let answer = std::str::from_utf8(&answer[..length]).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        assert!(answer.contains("\r\nx-version: 5f6d7c8b9\r\n") && answer.ends_with("\r\n\r\n5f6d7c8b9\n"), "{answer}");
    }
    assert_eq!(workload.answered(), BTreeMap::from([("5f6d7c8b9".to_owned(), 3)]));

    scale(&cluster, "5f6d7c8b9", 0);
    until(&cluster, || pods(&cluster).is_empty()).await;
    assert_eq!(stream.read(&mut [0; 16]).await.unwrap(), 0, "the kept connection is closed");
    let refused = TcpStream::connect(address).await.unwrap_err();
    assert_eq!(refused.kind(), std::io::ErrorKind::ConnectionRefused);
}

#[tokio::test]
async fn a_request_in_a_pod_that_goes_away_is_cut() {
    let config = serving(12, 600 * SECOND).await;
    let cluster = Cluster::default();
    let workload = Workload::start(cluster.clone(), config.clone());
    replica_set(&cluster, "5f6d7c8b9", 1);
    until(&cluster, || status(&cluster, "5f6d7c8b9") == (1, 1)).await;
    let mut stream = TcpStream::connect(address(&pods(&cluster)[0], &config)).await.unwrap();
    send(&mut stream).await;
    scale(&cluster, "5f6d7c8b9", 0);
    let closed = timeout(60 * SECOND, stream.read(&mut [0; 16])).await.expect("the connection is closed");
    // The system says "reset" if the server had not read the request yet.
    assert!(
        matches!(&closed, Ok(0))
            || matches!(&closed, Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset)
    );
    assert_eq!(workload.answered(), BTreeMap::new());
}

#[tokio::test]
async fn a_pod_that_cannot_listen_says_why() {
    let config = serving(13, SECOND).await;
    // The same seed gives the same address, so it is known before the pod is there.
    let rehearsal = Cluster::default();
    let _idle = Workload::start(rehearsal.clone(), WorkloadConfig { serve: Serve::Nothing, ..config.clone() });
    replica_set(&rehearsal, "5f6d7c8b9", 1);
    until(&rehearsal, || status(&rehearsal, "5f6d7c8b9") == (1, 1)).await;
    let address = address(&pods(&rehearsal)[0], &config);
    let _taken = TcpListener::bind(address).await.unwrap();

    let cluster = Cluster::default();
    let _workload = Workload::start(cluster.clone(), config);
    replica_set(&cluster, "5f6d7c8b9", 1);
    let message = || {
        let pod = pods(&cluster).first().cloned().unwrap_or_default();
        pod::text(&pod, "/status/containerStatuses/0/state/waiting/message").to_owned()
    };
    until(&cluster, || !message().is_empty()).await;
    assert!(message().starts_with(&format!("the pod's server cannot listen on {address}: ")), "{}", message());
    assert_eq!(status(&cluster, "5f6d7c8b9"), (1, 0));
}

#[tokio::test]
async fn shutdown_closes_every_server() {
    let config = serving(14, SECOND).await;
    let cluster = Cluster::default();
    let workload = Workload::start(cluster.clone(), config.clone());
    replica_set(&cluster, "5f6d7c8b9", 3);
    until(&cluster, || status(&cluster, "5f6d7c8b9") == (3, 3)).await;
    workload.shutdown().await;
    for pod in pods(&cluster) {
        assert!(TcpStream::connect(address(&pod, &config)).await.is_err());
    }
}
