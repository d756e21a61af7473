//! What the real controller was measured to do (build of 2026-08-17, 2026-11-24), and how often and how long this one does it.
//!
//! A Service's selector changes, and up to 400 ms later another writer changes the weights from 0 to 50.

use std::time::Duration;

use fastrand::Rng;
use tokio::time::sleep;

use super::shop::{Shop, ms};
use crate::load_balancer_controller::LbcConfig;

/// When the annotation gets the new weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Announced {
    Never,
    After,
    Before,
}

/// What became of one write.
#[derive(Debug, Clone, Copy)]
struct Trial {
    /// From our write to the first put-back, in milliseconds; `None` if there was none.
    put_back_after: Option<u64>,
    /// From there until the announced weights are back; `None` if they never are.
    lasted: Option<u64>,
    /// From our write to the announced numbers.
    echo_after: Option<u64>,
    /// Older weights were written after the echo.
    put_back_after_echo: bool,
}

/// One trial; `numbers` are the weights that we write: 50 is what is announced, 100 is the same split in other numbers.
async fn trial(config: LbcConfig, announced: Announced, numbers: u16) -> Trial {
    let mut rng = Rng::with_seed(config.seed);
    let shop = Shop::open(config, &[]).await;
    let rule = shop.rule();
    // Somewhere in the course of the neighbours.
    sleep(ms(rng.u64(0..10_000))).await;
    shop.select("web-canary", "v2");
    sleep(ms(rng.u64(0..=400))).await;
    let patching = ms(rng.u64(10..=30));
    if announced == Announced::Before {
        shop.announce(50, 50);
        sleep(patching).await;
    }
    let wrote = shop.now_ms();
    shop.modify(&rule, numbers, numbers).expect("written");
    let sequence = shop.last_write();
    if announced == Announced::After {
        sleep(patching).await;
        shop.announce(50, 50);
    }
    sleep(Duration::from_secs(30)).await;
    let writes = shop.written_after(&rule, sequence);
    let first = |wanted| writes.iter().find(|(_, weights)| *weights == wanted).map(|(ms, _)| *ms);
    let (put_back, echo) = (first((100, 0)), first((50, 50)));
    Trial {
        put_back_after: put_back.map(|at| at - wrote),
        lasted: put_back
            .and_then(|at| Some(writes.iter().find(|(ms, weights)| *ms > at && *weights == (50, 50))?.0 - at)),
        echo_after: echo.map(|at| at - wrote),
        put_back_after_echo: echo
            .is_some_and(|echo| writes.iter().any(|(ms, weights)| *ms > echo && *weights == (100, 0))),
    }
}

async fn trials(config: fn(u64) -> LbcConfig, announced: Announced, numbers: u16, count: u64) -> Vec<Trial> {
    let mut trials = Vec::new();
    for seed in 0..count {
        trials.push(trial(config(seed), announced, numbers).await);
    }
    trials
}

/// Sorted, in milliseconds.
fn sorted(trials: &[Trial], of: fn(&Trial) -> Option<u64>) -> Vec<u64> {
    let mut found: Vec<u64> = trials.iter().filter_map(of).collect();
    found.sort_unstable();
    found
}

fn put_backs(trials: &[Trial]) -> Vec<u64> {
    sorted(trials, |trial| trial.put_back_after)
}

fn median(sorted: &[u64]) -> u64 {
    sorted[sorted.len() / 2]
}

/// Measured, 20 trials each: 4 put back for good; 3 after 0.05-0.08 s for 0.05-0.08 s; 1 after 0.05 s for 0.07 s.
#[tokio::test(start_paused = true)]
async fn an_idle_controller_puts_back_seldom_and_shortly() {
    const TRIALS: u64 = 300;
    let never = trials(LbcConfig::idle, Announced::Never, 50, TRIALS).await;
    let after = trials(LbcConfig::idle, Announced::After, 50, TRIALS).await;
    let before = trials(LbcConfig::idle, Announced::Before, 50, TRIALS).await;

    let [of_never, of_after, of_before] = [&never, &after, &before].map(|trials| put_backs(trials));
    assert_eq!(of_never.len(), of_after.len(), "the stale run is the same");
    assert!((30..=75).contains(&of_never.len()), "10 to 25 %: {of_never:?}");
    assert!((9..=45).contains(&of_before.len()), "3 to 15 %: {of_before:?}");
    assert!(of_before.len() < of_after.len());
    for late in [of_never, of_after, of_before] {
        assert!(late.last() <= Some(&100), "{late:?}");
    }
    assert!(never.iter().all(|trial| trial.lasted.is_none()), "nothing heals it");
    for healed in [after, before] {
        let lasted = sorted(&healed, |trial| trial.lasted);
        assert_eq!(lasted.len(), put_backs(&healed).len());
        assert!(lasted.first() >= Some(&40) && lasted.last() <= Some(&120), "{lasted:?}");
    }
}

/// Measured, 6 trials each: 5 put back after 2.3-8.8 s for good; 2 after 0.3-0.4 s for 1.1 s; 3 after 0.5-2.5 s for 1.1-1.2 s.
#[tokio::test(start_paused = true)]
async fn a_busy_controller_puts_back_often_late_and_for_long() {
    const TRIALS: u64 = 100;
    let never = trials(LbcConfig::busy, Announced::Never, 50, TRIALS).await;
    let after = trials(LbcConfig::busy, Announced::After, 50, TRIALS).await;
    let before = trials(LbcConfig::busy, Announced::Before, 50, TRIALS).await;

    let [of_never, of_after, of_before] = [&never, &after, &before].map(|trials| put_backs(trials));
    assert!((50..=95).contains(&of_never.len()), "50 to 95 %: {of_never:?}");
    assert!((2000..=6000).contains(&median(&of_never)) && of_never.last() <= Some(&10_000), "{of_never:?}");
    assert!(never.iter().all(|trial| trial.lasted.is_none()), "nothing heals it");
    for (healed, late) in [(&after, of_after), (&before, of_before)] {
        assert!((15..=50).contains(&late.len()), "15 to 50 %: {late:?}");
        assert!((500..=2500).contains(&median(&late)) && late.last() <= Some(&4000), "{late:?}");
        let lasted = sorted(healed, |trial| trial.lasted);
        assert_eq!(lasted.len(), late.len());
        assert!((1000..=1300).contains(&median(&lasted)) && lasted.last() <= Some(&2500), "{lasted:?}");
    }
}

/// Measured: 45 of 45 echoes, idle after 0.05-0.15 s, busy after 0.2-11.7 s; some put-backs before the echo, none after it.
#[tokio::test(start_paused = true)]
async fn after_the_echo_no_older_weights_come_back() {
    for (config, count, latest, put_back) in
        [(LbcConfig::idle as fn(u64) -> LbcConfig, 300, 200, 9..=45), (LbcConfig::busy, 100, 12_000, 15..=50)]
    {
        let trials = trials(config, Announced::Before, 100, count).await;
        let echoes = sorted(&trials, |trial| trial.echo_after);
        assert_eq!(u64::try_from(echoes.len()), Ok(count), "one in every trial");
        assert!(echoes.last() <= Some(&latest), "{echoes:?}");
        assert!(put_back.contains(&put_backs(&trials).len()), "{:?}", put_backs(&trials));
        assert!(!trials.iter().any(|trial| trial.put_back_after_echo));
    }
}
