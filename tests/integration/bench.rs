//! Our doors beside a Go plugin that is made with Argo's own RPC server package (`tests/hosts/peer`): printed, not
//! asserted. `make bench-doors` runs this on the static binary.
//!
//! The call is UpdateHash, for which both plugins decode a whole Rollout and do nothing. One Go host drives all, so its
//! own share of the times (Go's encoders, the scheduler) is the same for both netrpc columns.

mod many;
mod shift;

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};

use crate::host::{Host, Program, built};
use crate::measure::resident;

/// The contenders take turns, so that what else the machine does hits all alike.
const ROUNDS: usize = 11;
/// Calls that are not counted: a connection's first ones carry gob's type definitions and fill caches.
const WARM_UP: usize = 300;
/// Counted calls a round, one at a time and then side by side.
const CALLS: usize = 3000;
const SIDE_BY_SIDE: usize = 10;
/// `/proc` counts processor time in ticks of 10 ms (proc_pid_stat(5), USER_HZ).
const TICK_MICROS: f64 = 10_000.0;

/// A plugin, and how the host is to reach it.
struct Contender {
    plugin: PathBuf,
    host: Program,
    rounds: Vec<Round>,
}

/// What one process of a plugin took. Times in microseconds, memory in kB.
struct Round {
    start: f64,
    first_call: f64,
    p50: f64,
    p99: f64,
    processor: f64,
    rate: f64,
    idle: f64,
    used: f64,
}

/// A line of the table: its name, and what it takes from a round.
type Row = (&'static str, fn(&Round) -> f64);

const ROWS: [Row; 8] = [
    ("start to first answer, ms", |round| round.start / 1e3),
    ("first call, ms", |round| round.first_call / 1e3),
    ("a call, p50, us", |round| round.p50),
    ("a call, p99, us", |round| round.p99),
    ("processor time a call, us", |round| round.processor),
    ("calls per second, 10 at a time", |round| round.rate),
    ("resident, idle, MB", |round| round.idle / 1e3),
    ("resident, after the calls, MB", |round| round.used / 1e3),
];

#[tokio::test]
#[ignore = "run by make bench-doors, on the binary of make dist"]
async fn doors() -> Result<()> {
    let binary = std::env::var("DIST_BINARY").context("DIST_BINARY names no binary: run `make bench-doors`")?;
    let contender = |plugin: &Path, host| Contender { plugin: plugin.to_owned(), host, rounds: Vec::new() };
    let mut contenders = [
        contender(Path::new(&binary), Program::both_doors(&["-versions=1"])),
        contender(Path::new(&binary), Program::both_doors(&["-versions=2"])),
        contender(&built("peer"), Program::both_doors(&["-versions=1"])),
    ];
    let rollout: Value = serde_json::from_str(include_str!("../data/wire/sent_rollout.json"))?;
    let call = json!({"rollout": rollout, "canaryHash": "canary", "stableHash": "stable"});
    for _ in 0..ROUNDS {
        for contender in &mut contenders {
            contender.rounds.push(round(&contender.plugin, contender.host, &call).await?);
        }
    }

    println!(
        "{:32}{:>14}{:>14}{:>14}{:>16}{:>14}",
        "", "ours, netrpc", "ours, gRPC", "Go, netrpc", "netrpc/Go", "gRPC/Go"
    );
    for (name, value) in ROWS {
        let [netrpc, grpc, go] = contenders.each_ref().map(|contender| median(&contender.rounds, value));
        println!("{name:32}{netrpc:>14.1}{grpc:>14.1}{go:>14.1}{:>16.2}{:>14.2}", netrpc / go, grpc / go);
    }
    println!("medians of {ROUNDS} processes each, {CALLS} calls in each of the two manners; p99 is a process's own");
    Ok(())
}

async fn round(plugin: &Path, program: Program, call: &Value) -> Result<Round> {
    let host = Host::start_as(program, plugin, &[], &[])?;
    // From before exec until InitPlugin and a ping are answered.
    let connected = host.connect().await?;
    let (start, pid) = (micros(connected.took), connected.result.pid);
    let idle = resident(pid)?;
    let first_call = micros(host.call("UpdateHash", call.clone()).await?.took);
    load(&host, call, WARM_UP, 1).await?;

    let before = ticks(pid)?;
    let alone = load(&host, call, CALLS, 1).await?;
    let processor = (ticks(pid)? - before) * TICK_MICROS / count(CALLS);
    let together = load(&host, call, CALLS, SIDE_BY_SIDE).await?;
    let used = resident(pid)?;
    host.kill().await?;
    Ok(Round {
        start,
        first_call,
        p50: alone.p50,
        p99: alone.p99,
        processor,
        rate: count(CALLS) / together.took.as_secs_f64(),
        idle,
        used,
    })
}

struct Load {
    p50: f64,
    p99: f64,
    took: Duration,
}

async fn load(host: &Host, call: &Value, runs: usize, parallel: usize) -> Result<Load> {
    let done = host.load("UpdateHash", call.clone(), runs, parallel).await?;
    anyhow::ensure!(done.result.errors.is_empty(), "{:?}", done.result.errors);
    let spread = done.result;
    Ok(Load {
        p50: micros(Duration::from_micros(spread.p50_micros)),
        p99: micros(Duration::from_micros(spread.p99_micros)),
        took: done.took,
    })
}

fn median(rounds: &[Round], value: fn(&Round) -> f64) -> f64 {
    let mut values: Vec<f64> = rounds.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Processor time of a process so far, in user and in kernel mode, all threads (proc_pid_stat(5), fields 14 and 15).
fn ticks(pid: i32) -> Result<f64> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, after_name) = stat.rsplit_once(") ").context("no name in stat")?;
    let fields: Vec<&str> = after_name.split(' ').collect();
    // The first field after the name is field 3.
    let [user, kernel] = [14, 15].map(|field: usize| fields.get(field - 3).and_then(|ticks| ticks.parse::<f64>().ok()));
    Ok(user.context("no utime")? + kernel.context("no stime")?)
}

fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

#[expect(clippy::cast_precision_loss, reason = "a small number")]
fn count(calls: usize) -> f64 {
    calls as f64
}
