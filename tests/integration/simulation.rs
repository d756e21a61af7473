//! The router among hosts, rivals, faults and restarts, on a clock that is not waited for. One seed is one story, and the same seed is the
//! same story. The rollouts controller's decisions, the load balancer's account, its faults and its nodes are the lab's; who calls is
//! the router itself.

#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::print_stderr,
    reason = "a test that panics is a test that fails"
)]

mod balancer;
mod case;
mod changes;
mod cluster;
mod host;
mod invariants;
mod nature;
mod people;
mod plugin;
mod rival;
mod story;
mod teeth;
mod watchman;
mod world;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep};

use case::{Case, Without};
use invariants::{Invariant, Violation, at_rest};
use plugin::Plugin;
use world::World;

/// Seeds that every test run plays.
const SEEDS: u64 = 10_000;

/// After the last deed and the last bad day, all is over within this time.
const ENDS_WITHIN: Duration = Duration::from_secs(20 * 60);

/// All is over when it was so for this long.
const RESTS_FOR: Duration = Duration::from_secs(15);

/// How a story went.
struct Played {
    violation: Option<Violation>,
    lines: Vec<String>,
}

/// Plays the story of a seed.
fn play(seed: u64, without: Without, told: bool) -> Played {
    // Jitter of back-offs comes from the thread's generator.
    fastrand::seed(seed);
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build().expect("a runtime");
    runtime.block_on(async {
        let world = World::begin(Case::of(seed, without), told).expect("a load balancer");
        // Until every node knows the pods of version 1.
        sleep(world.case.node_lag + Duration::from_secs(1)).await;
        let plugin = Plugin::start(Arc::clone(&world));
        let mut tasks = JoinSet::new();
        tasks.spawn(watchman::watch(Arc::clone(&world)));
        tasks.spawn(watchman::read(Arc::clone(&world)));
        tasks.spawn(nature::workload(Arc::clone(&world)));
        for app in 0..world.case.apps.len() {
            for role in ["stable", "canary"] {
                tasks.spawn(nature::registrar(Arc::clone(&world), app, role));
            }
        }
        if let Some(longest) = world.case.rival {
            tasks.spawn(rival::run(Arc::clone(&world), longest));
        }
        tasks.spawn(people::people(Arc::clone(&world)));
        tasks.spawn(people::weather(Arc::clone(&world), plugin));
        let mut violation = world.violation();
        let ended = tokio::select! {
            biased;
            found = violation.wait_for(Option::is_some) => found.map(|found| found.clone()).unwrap_or_default(),
            ended = end(&world) => ended.err(),
        };
        Played { violation: ended, lines: world.story.lines() }
    })
}

/// Waits until nothing happens any more, and all is as it should be.
async fn end(world: &World) -> Result<(), Violation> {
    let last = world.case.deeds.iter().map(|(at, ..)| *at).chain(world.case.weather.iter().map(|(at, _)| *at)).max();
    sleep(last.unwrap_or_default() + Duration::from_secs(20)).await;
    world.balancer.clear_faults();
    world.open().failing = 0;
    world.story.tell(|| "calm from here on".to_owned());
    let calm = Instant::now();
    let mut resting = Instant::now();
    loop {
        sleep(Duration::from_secs(1)).await;
        let rest = (0..world.case.apps.len()).try_for_each(|app| at_rest(world, app));
        if rest.is_err() {
            resting = Instant::now();
            if calm.elapsed() > ENDS_WITHIN {
                return rest;
            }
        } else if resting.elapsed() > RESTS_FOR {
            return Ok(());
        }
    }
}

/// A number from the environment.
fn wished(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().and_then(|text| text.parse().ok())
}

/// Plays seeds on all cores until one of them fails, and gives the failure of the lowest.
fn first_failure(seeds: std::ops::Range<u64>, without: Without) -> Option<(u64, Violation)> {
    let next = std::sync::atomic::AtomicU64::new(seeds.start);
    let failure = std::sync::Mutex::new(None);
    let threads = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    if seed >= seeds.end || failure.lock().unwrap().is_some() {
                        return;
                    }
                    if let Some(violation) = play(seed, without, false).violation {
                        let mut failure = failure.lock().unwrap();
                        if failure.as_ref().is_none_or(|(known, _)| seed < *known) {
                            *failure = Some((seed, violation));
                        }
                    }
                }
            });
        }
    });
    failure.into_inner().unwrap()
}

/// What a failed seed says.
fn told(seed: u64, without: Without) -> String {
    let Played { violation, lines } = play(seed, without, true);
    let violation = violation.map_or_else(|| "all is well".to_owned(), |violation| violation.to_string());
    format!("seed {seed}: {violation}\n{}\nAgain: make simulate SEED={seed}", story::end_of(&lines))
}

#[test]
fn the_router_keeps_its_promises() {
    let seeds = match wished("SEED") {
        Some(seed) => seed..seed + 1,
        None => 0..wished("SEEDS").unwrap_or(SEEDS),
    };
    if let Some(seed) = wished("SEED") {
        eprintln!("{}", told(seed, Without::Nothing));
    }
    if let Some((seed, _)) = first_failure(seeds, Without::Nothing) {
        panic!("{}", told(seed, Without::Nothing));
    }
}

#[test]
fn the_same_seed_is_the_same_story() {
    for seed in 0..20 {
        assert_eq!(play(seed, Without::Nothing, true).lines, play(seed, Without::Nothing, true).lines, "seed {seed}");
    }
}

/// What becomes of many seeds: `WITHOUT` names what is switched off. For people who work on the router or on the simulation.
#[test]
#[ignore = "prints statistics"]
#[expect(clippy::disallowed_types, reason = "it tells how long a story takes to play")]
fn census() {
    let without = std::env::var("WITHOUT").unwrap_or_default();
    let all = [
        Without::RisingGate,
        Without::PromotionGate,
        Without::Settle,
        Without::Echo,
        Without::Lock,
        Without::Freshness,
    ];
    let without = all.into_iter().find(|one| format!("{one:?}") == without).unwrap_or(Without::Nothing);
    let (from, to) = (wished("FROM").unwrap_or(0), wished("SEEDS").unwrap_or(200));
    let mut found = std::collections::BTreeMap::<Invariant, Vec<(u64, String)>>::new();
    let mut times = Vec::new();
    for seed in from..to {
        let began = std::time::Instant::now();
        if let Some(violation) = play(seed, without, false).violation {
            found.entry(violation.invariant).or_default().push((seed, violation.text));
        }
        times.push((began.elapsed(), seed));
    }
    times.sort_unstable();
    let total: Duration = times.iter().map(|(time, _)| *time).sum();
    eprintln!(
        "{without:?}: {:?} a seed, slowest {:?}",
        total / u32::try_from(times.len()).unwrap(),
        times.iter().rev().take(5).collect::<Vec<_>>()
    );
    for (invariant, seeds) in found {
        eprintln!("{invariant:?}: {} seeds", seeds.len());
        seeds.iter().take(30).for_each(|(seed, text)| eprintln!("  {seed}: {text}"));
    }
}
