//! Everything at once: faults of every kind, AWS's token buckets, load balancer nodes that lag, pods that come and go, a busy
//! load balancer controller, another writer over HTTP, and customers. Afterwards every book must agree with every other.
//!
//! All of it runs on one thread, so nobody can be between two steps of a call when the books are compared.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use lab::demo::load::{Arrivals, Load, LoadConfig};
use lab::{BucketSizes, Outcome};
use tokio::net::TcpSocket;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};

mod calls;
mod requests;
mod tide;
mod weather;
mod world;
mod writer;

use world::World;

/// Only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

/// Requests a second, over all addresses.
const RATE: u32 = 400;

#[tokio::test]
async fn every_book_agrees() {
    soak(Duration::from_secs(8), 1, 81).await;
}

#[tokio::test]
#[ignore = "a minute of load; `make soak` runs it"]
async fn every_book_agrees_after_a_minute() {
    soak(Duration::from_secs(60), 2, 82).await;
}

/// Loads a world for this long, and until everything has happened that is to happen. Pods have addresses 127.`network`.x.y.
async fn soak(duration: Duration, seed: u64, network: u8) {
    let world = World::open(seed, network).await;
    // Bound, but nobody listens: an address of a node that is gone, which DNS still names.
    let gone = TcpSocket::new_v4().expect("a socket");
    gone.bind((Ipv4Addr::LOCALHOST, 0).into()).expect("a loopback port is free");
    let mut nodes: Vec<SocketAddr> = world.nodes.clone();
    nodes.push(gone.local_addr().expect("it is bound"));
    let addresses = nodes.len();

    world.lab.set_buckets(Some(BucketSizes::default()));
    let load = LoadConfig {
        nodes,
        host: "shop.example.com".to_owned(),
        path: "/".to_owned(),
        rate: RATE,
        arrivals: Arrivals::Random,
        connections: 32,
        timeout: PATIENCE,
        duration: duration + 2 * PATIENCE,
        seed,
    };
    let load = Load::start(load).expect("a sound load");
    let done = watch::Sender::new(false);
    let customers = async {
        sleep(duration).await;
        until(|| missing(&world).is_empty()).await;
        let seen = load.stop().await;
        done.send_replace(true);
        seen
    };
    let (seen, written, (), ()) = tokio::join!(
        customers,
        writer::write(&world, &done, seed),
        weather::change(&world, &done, seed),
        tide::come_and_go(&world, &done, seed),
    );
    world.lab.faults().clear();
    world.load_balancer_controller.stop().await;
    until(|| world.traffic().in_flight() == 0).await;

    let requests = requests::compare(&world, &seen, addresses);
    let calls = calls::compare(&world, &written);
    report(&format!("{} s of load, seed {seed}\n{requests}\n{calls}", duration.as_secs()));
    world.close().await;
}

/// What has not happened yet. A soak in which nothing happened proves nothing.
fn missing(world: &World) -> Vec<&'static str> {
    let (journal, traffic) = (world.lab.journal(), world.traffic());
    let refused = |wanted: &&str| {
        journal.iter().any(|entry| matches!(&entry.outcome, Outcome::Refused { code, .. } if code == wanted))
    };
    let accepted = |wanted: &&str| journal.iter().any(|entry| entry.operation == *wanted && entry.accepted());
    let answered = |wanted: fn(u16) -> bool| traffic.ended(|count| count.status.is_some_and(wanted)) > 0;
    let mut missing = Vec::new();
    let codes = ["Throttling", "InternalFailure", "ServiceUnavailable", "ExpiredToken", "ConnectionCut"];
    missing.extend(codes.into_iter().filter(|code| !refused(code)));
    let writes = ["ModifyRule", "RegisterTargets", "DeregisterTargets"];
    missing.extend(writes.into_iter().filter(|operation| !accepted(operation)));
    for (has_happened, what) in [
        (journal.iter().any(|entry| entry.shown_ms > entry.ms), "a late write"),
        (world.load_balancer_controller.put_backs() > 0, "a put-back"),
        (world.workload.answered().len() == 2, "both versions at work"),
        (answered(|status| status >= 500), "a bad moment for customers"),
    ] {
        missing.extend((!has_happened).then_some(what));
    }
    missing
}

/// Waits for a condition.
async fn until(condition: impl Fn() -> bool) {
    let held = async {
        while !condition() {
            sleep(Duration::from_millis(5)).await;
        }
    };
    timeout(PATIENCE, held).await.expect("the condition came to hold");
}

#[expect(clippy::print_stdout, reason = "the numbers of a soak are what one runs it for")]
fn report(numbers: &str) {
    println!("{numbers}");
}
