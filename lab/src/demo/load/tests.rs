use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};

use serde_json::json;
use tokio::net::TcpListener;
use tokio::sync::Notify;

use super::*;
use crate::kubernetes::{Cluster, Kind};
use crate::workload::{Serve, Workload, WorkloadConfig};

const SECOND: Duration = Duration::from_secs(1);

fn load(nodes: Vec<SocketAddr>) -> LoadConfig {
    LoadConfig {
        nodes,
        host: "shop.example.com".to_owned(),
        path: "/cart".to_owned(),
        rate: 400,
        arrivals: Arrivals::Even,
        connections: 8,
        timeout: 60 * SECOND,
        duration: SECOND,
        seed: 1,
    }
}

/// Two versions, one pod each; the load goes to the pods without a load balancer between them.
async fn two_pods(network: u8) -> (Cluster, Workload, Vec<SocketAddr>) {
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let port = free.local_addr().unwrap().port();
    drop(free);
    let cluster = Cluster::default();
    let serve = Serve::Http { port, service_time: Duration::from_millis(1)..=Duration::from_millis(5) };
    let start_up = Duration::ZERO..=Duration::ZERO;
    let config = WorkloadConfig { network, serve, start_up, ..WorkloadConfig::default() };
    let workload = Workload::start(cluster.clone(), config);
    for hash in ["old", "new"] {
        let labels = json!({"rollouts-pod-template-hash": hash});
        let spec = json!({"replicas": 1, "template": {"metadata": {"labels": labels}}});
        let object = json!({"metadata": {"namespace": "shop", "name": hash}, "spec": spec});
        cluster.create(Kind::REPLICA_SET, object).unwrap();
    }
    let ready = |cluster: &Cluster| -> Vec<SocketAddr> {
        let (pods, _) = cluster.list(Kind::POD, None);
        let running = pods.iter().filter(|pod| pod["status"]["phase"] == "Running");
        running
            .map(|pod| (pod["status"]["podIP"].as_str().unwrap().parse::<Ipv4Addr>().unwrap(), port).into())
            .collect()
    };
    let mut version = cluster.version();
    while ready(&cluster).len() < 2 {
        timeout(60 * SECOND, version.changed()).await.expect("the pods never became ready").unwrap();
    }
    let nodes = ready(&cluster);
    (cluster, workload, nodes)
}

#[tokio::test]
async fn the_load_and_the_servers_count_the_same() {
    let (_cluster, workload, nodes) = two_pods(21).await;
    let traffic = Load::start(load(nodes)).unwrap().finish().await;
    assert_eq!(traffic.outcomes, [(Outcome::Status(200), 400)].into());
    assert_eq!(traffic.versions, [("new".to_owned(), 200), ("old".to_owned(), 200)].into());
    assert_eq!(traffic.versions, workload.answered());
    assert_eq!(traffic.buckets.len(), 10);
    assert!(traffic.buckets.iter().all(|bucket| bucket.requests == 40 && bucket.failed == 0));
    assert!(traffic.latencies.median >= Duration::from_millis(1) && traffic.latencies.p99 <= traffic.latencies.max);
}

#[tokio::test]
async fn requests_to_a_pod_that_is_gone_are_failures_and_the_others_are_not() {
    let (cluster, workload, nodes) = two_pods(22).await;
    let load = Load::start(load(nodes)).unwrap();
    while workload.answered().len() < 2 {
        tokio::task::yield_now().await;
    }
    cluster.merge_patch(Kind::REPLICA_SET, "shop", "old", &json!({"spec": {"replicas": 0}})).unwrap();
    let traffic = load.finish().await;
    assert_eq!(traffic.requests, 400);
    assert_eq!(traffic.versions, workload.answered());
    assert_eq!(traffic.versions["new"], 200);
    assert_eq!(traffic.failed(), 200 - traffic.versions["old"]);
    let kinds: Vec<Outcome> = traffic.failures().into_keys().collect();
    assert!(kinds.contains(&Outcome::Refused), "{kinds:?}");
    assert!(kinds.iter().all(|kind| [Outcome::Refused, Outcome::Closed].contains(kind)), "{kinds:?}");
    assert!(traffic.worst_second.unwrap().share() > 0.0);
}

/// Takes connections and never answers; counts them.
async fn silent_server() -> (SocketAddr, Arc<AtomicUsize>, Arc<Notify>) {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let (count, changed) = (Arc::new(AtomicUsize::new(0)), Arc::new(Notify::new()));
    let (counter, notify) = (Arc::clone(&count), Arc::clone(&changed));
    tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
            counter.fetch_add(1, Ordering::SeqCst);
            notify.notify_one();
        }
    });
    (address, count, changed)
}

#[tokio::test]
async fn a_slow_answer_delays_nobody() {
    let (address, count, changed) = silent_server().await;
    let load = Load::start(LoadConfig { rate: 1000, duration: SECOND / 10, ..load(vec![address]) }).unwrap();
    let all = async {
        while count.load(Ordering::SeqCst) < 100 {
            changed.notified().await;
        }
    };
    timeout(30 * SECOND, all).await.expect("all requests are sent while the first one waits");
    assert!(load.outcomes().is_empty(), "nobody had an answer yet");
}

#[tokio::test]
async fn no_answer_in_time_is_a_failure() {
    let (address, _, _) = silent_server().await;
    let limit = Duration::from_millis(20);
    let config = LoadConfig { rate: 100, duration: SECOND / 10, timeout: limit, ..load(vec![address]) };
    let traffic = Load::start(config).unwrap().finish().await;
    assert_eq!(traffic.outcomes, [(Outcome::TimedOut, 10)].into());
    assert_eq!(traffic.latencies, Latencies::default());
}

#[tokio::test]
async fn stop_ends_the_sending_and_keeps_what_was_sent() {
    let (_cluster, workload, nodes) = two_pods(23).await;
    let load = Load::start(LoadConfig { duration: 3600 * SECOND, ..load(nodes) }).unwrap();
    while load.outcomes().values().sum::<u64>() < 20 {
        tokio::task::yield_now().await;
    }
    let traffic = load.stop().await;
    assert!(traffic.requests >= 20);
    assert_eq!(traffic.outcomes, [(Outcome::Status(200), traffic.requests)].into());
    assert_eq!(traffic.versions, workload.answered());
}

#[tokio::test]
async fn a_load_that_cannot_be_sent_is_refused() {
    let here = SocketAddr::from((Ipv4Addr::LOCALHOST, 80));
    let there = SocketAddr::from((Ipv4Addr::new(192, 0, 2, 1), 80));
    let refusal = |config: LoadConfig| Load::start(config).err();
    assert_eq!(refusal(load(vec![])), Some(InvalidLoad::NoNode));
    assert_eq!(refusal(load(vec![here, there])), Some(InvalidLoad::NotLoopback(there)));
    assert_eq!(refusal(LoadConfig { rate: 0, ..load(vec![here]) }), Some(InvalidLoad::BadRate(0)));
    let bad = |text: &str| Some(InvalidLoad::BadRequest(text.to_owned()));
    assert_eq!(refusal(LoadConfig { path: "cart".to_owned(), ..load(vec![here]) }), bad("cart"));
    assert_eq!(refusal(LoadConfig { path: "/a b".to_owned(), ..load(vec![here]) }), bad("/a b"));
    assert_eq!(refusal(LoadConfig { host: "a\nb".to_owned(), ..load(vec![here]) }), bad("a\nb"));
}
