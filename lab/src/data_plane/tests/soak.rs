//! Everything at once: weights change, targets come, go, die and fall ill, and no request is lost sight of.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::*;

/// Answers by status; `None` for those that broke off, with or without their head.
type Tally = BTreeMap<Option<u16>, u64>;

const CLIENTS: u64 = 8;
const STEPS: usize = 200;

async fn hammer(stand: &Stand, done: &watch::Sender<bool>, seed: u64) -> Tally {
    // A connection for each request: a node may close an idle one just when it is used again, and then no request was received.
    let client: Client<_, Full<Bytes>> = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(0).build_http();
    let mut rng = Rng::with_seed(seed);
    let mut tally = Tally::new();
    while !*done.borrow() {
        let node = stand.addresses[rng.usize(..stand.addresses.len())];
        let path = match rng.u8(..100) {
            0..2 => "/close",
            2..4 => "/slow",
            4..6 => "/half",
            _ => "/",
        };
        let request = Request::get(format!("http://{node}{path}")).header(HOST, fixture::HOST);
        let request = request.body(Full::default()).expect("a sound request");
        let whole = async {
            let (parts, body) = client.request(request).await.ok()?.into_parts();
            body.collect().await.ok().map(|_| parts.status.as_u16())
        };
        *tally.entry(within(whole).await).or_default() += 1;
    }
    tally
}

/// Changes something a few hundred times, checking the counters' balance each time.
async fn disturb(stand: &Stand, pods: &mut Vec<(Pod, Target)>) {
    let mut rng = Rng::with_seed(42);
    for _ in 0..STEPS {
        match rng.u8(..10) {
            0..3 => stand.shop.weights(rng.u16(0..=999), rng.u16(0..=999)),
            3 => stand.shop.sticky_weights(rng.u16(0..=999), rng.u16(0..=999), 1),
            4..6 => {
                let pod = Pod::start("pod").await;
                let group = if rng.bool() { &stand.shop.stable } else { &stand.shop.canary };
                let target = stand.register(group, &pod);
                pods.push((pod, target));
            }
            6..8 if pods.len() > 2 => {
                let (pod, target) = &pods[rng.usize(..pods.len())];
                stand.shop.deregister(target);
                // Some let go of what they hold, some are cut at the end of their delay.
                if rng.bool() {
                    pod.release();
                }
            }
            8 if pods.len() > 2 => {
                let (pod, target) = pods.swap_remove(rng.usize(..pods.len()));
                pod.kill();
                stand.shop.forget(&target);
            }
            _ => {
                for (pod, _) in pods.iter() {
                    pod.healthy.store(rng.u8(..4) > 0, Ordering::SeqCst);
                }
            }
        }
        for node in stand.data_plane.counters().nodes {
            let ended: u64 = node.counts.iter().map(|count| count.requests).sum();
            assert_eq!(node.received, ended + node.in_flight, "{}", node.node);
        }
        // Time for traffic between two changes.
        sleep(Duration::from_millis(rng.u64(5..25))).await;
    }
}

#[tokio::test]
async fn no_request_is_lost_sight_of() {
    let config = DataPlaneConfig {
        nodes: 3,
        lag: Duration::ZERO..=Duration::from_millis(100),
        idle_timeout: Duration::from_millis(300),
        seed: 42,
        ..quick()
    };
    let stand = Stand::start(Shop::new(), config).await;
    stand.shop.drains_for(0);
    stand.shop.weights(50, 50);
    let mut pods = Vec::new();
    for group in [&stand.shop.stable, &stand.shop.canary] {
        let pod = Pod::start("pod").await;
        let target = stand.register(group, &pod);
        stand.until_served(group, &pod).await;
        pods.push((pod, target));
    }
    let done = watch::Sender::new(false);
    let clients = futures_util::future::join_all((0..CLIENTS).map(|seed| hammer(&stand, &done, seed)));
    let (tallies, ()) = tokio::join!(clients, async {
        disturb(&stand, &mut pods).await;
        done.send_replace(true);
    });
    let mut seen = Tally::new();
    for (key, count) in tallies.into_iter().flatten() {
        *seen.entry(key).or_default() += count;
    }
    let traffic = stand.data_plane.counters();
    let mut counted = Tally::new();
    for count in traffic.nodes.iter().flat_map(|node| &node.counts) {
        assert_ne!(count.outcome, Outcome::ClientGone, "every client waited for its answer");
        let status = count.status.filter(|_| count.outcome != Outcome::BrokenOff);
        *counted.entry(status).or_default() += count.requests;
    }
    assert_eq!(counted, seen);
    assert_eq!(traffic.in_flight(), 0);
    assert_eq!(traffic.received(), seen.values().sum::<u64>());
    for status in [None, Some(200), Some(502), Some(503), Some(504)] {
        assert!(seen.contains_key(&status), "nothing of {status:?} happened: {seen:?}");
    }
}
