//! How much one core carries. Run it with
//! `cargo test --release -p lab --lib -- --ignored --nocapture throughput`.

use tokio::time::Instant;

use super::*;

const CLIENTS: u32 = 32;
const REQUESTS: u32 = 100_000;

/// Load, load balancer and targets share one thread.
#[tokio::test]
#[ignore = "a measurement; it means something in a release build only"]
async fn throughput() {
    let stand = Stand::quick().await;
    let (stable, canary) = (Pod::start("stable").await, Pod::start("canary").await);
    stand.with_stable(&stable).await;
    stand.shop.weights(90, 10);
    stand.register(&stand.shop.canary, &canary);
    stand.until_served(&stand.shop.canary, &canary).await;
    let client = async |_| {
        let mut slowest = Duration::ZERO;
        for _ in 0..REQUESTS / CLIENTS {
            let began = Instant::now();
            assert_eq!(stand.get("/").await.status, StatusCode::OK);
            slowest = slowest.max(began.elapsed());
        }
        slowest
    };
    let began = Instant::now();
    let slowest = futures_util::future::join_all((0..CLIENTS).map(client)).await.into_iter().max();
    let took = began.elapsed();
    let requests = stand.data_plane.counters().received();
    println!(
        "{requests} requests through one node in {took:.2?}: {:.0} a second, the slowest in {:.2?}",
        requests as f64 / took.as_secs_f64(),
        slowest.unwrap_or_default()
    );
    assert_eq!(stand.ended(Outcome::Forwarded, Some(200)), requests);
}
