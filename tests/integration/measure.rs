//! The numbers in the README: printed, not asserted. `make measure` runs this on the static binary.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::json;

use crate::host::Host;
use crate::shop::{SECRET, Shop};

/// How many starts the time to the handshake is the median of.
const STARTS: usize = 21;

#[tokio::test]
#[ignore = "run by make measure, on the binary of make dist"]
async fn measure() -> Result<()> {
    let binary =
        PathBuf::from(std::env::var("DIST_BINARY").context("DIST_BINARY names no binary: run `make measure`")?);
    let shop = Shop::open().await?;
    let env = [
        ("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", shop.lab.endpoint()),
        ("AWS_ACCESS_KEY_ID", "lab"),
        ("AWS_SECRET_ACCESS_KEY", SECRET),
    ];
    let mut handshakes: Vec<Duration> = Vec::new();
    for _ in 0..STARTS {
        let host = Host::start(&binary, &[], &env)?;
        handshakes.push(host.connect().await?.result.handshake());
        host.kill().await?;
    }
    handshakes.sort();

    let host = Host::start(&binary, &["--allow", "shop=*", "--modify-rate", "100", "--modify-burst", "1000"], &env)?;
    let pid = host.connect().await?.result.pid;
    let idle = resident(pid)?;
    let calls = json!({"rollout": shop.rollout(), "weight": 10});
    let first = host.load("SetWeight", calls.clone(), 1, 1).await?.result;
    let steady = host.load("SetWeight", calls.clone(), 1000, 10).await?.result;
    let after = resident(pid)?;
    let mut shifts: Vec<Duration> = Vec::new();
    for weight in (0..=100).chain((0..100).rev()) {
        shifts.push(host.set_weight(&shop.rollout(), weight).await?);
    }
    shifts.sort();
    let shifted = resident(pid)?;

    println!("binary                                   {:.1} MB", bytes(&binary)? / 1e6);
    println!("start to handshake, median of {STARTS}         {:.1?}", handshakes[STARTS / 2]);
    println!("resident, idle                           {:.1} MB", idle / 1e3);
    println!("resident after 1,000 calls               {:.1} MB", after / 1e3);
    println!("resident after 200 shifts of two rules   {:.1} MB", shifted / 1e3);
    println!("first shift, with the AWS client's start {:.1} ms", milliseconds(first.max_micros));
    // 200 in a row wait for the plugin's own limit on reads; `make bench-shift` shows one that does not.
    println!("200 shifts back to back, median of one   {:.1?}", shifts[shifts.len() / 2]);
    println!(
        "a call without news, 10 at a time        p50 {:.2} ms, p99 {:.2} ms",
        milliseconds(steady.p50_micros),
        milliseconds(steady.p99_micros)
    );
    Ok(())
}

fn bytes(path: &std::path::Path) -> Result<f64> {
    #[expect(clippy::cast_precision_loss, reason = "a size for people")]
    Ok(std::fs::metadata(path)?.len() as f64)
}

fn milliseconds(micros: u64) -> f64 {
    Duration::from_micros(micros).as_secs_f64() * 1e3
}

/// Resident memory of a process, in kB (proc_pid_status(5), VmRSS).
pub(crate) fn resident(pid: i32) -> Result<f64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    Ok(line.trim().trim_end_matches(" kB").parse()?)
}
