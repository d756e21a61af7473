//! The user's story in short, with the real plugin: what `make demo` shows holds.

use std::time::Duration;

use anyhow::{Result, bail};
use lab::demo::load::Outcome;
use lab::demo::play::{Path, Play};
use lab::demo::stage::Stage;
use lab::demo::world::World;
use tokio::time::{interval, timeout};

use crate::shop::plugin;

/// Longer than the story needs, however busy the machine is.
const PATIENCE: Duration = Duration::from_secs(180);

/// Plays one world until it is over.
async fn play(path: Path, network: u8) -> Result<World> {
    let play = Play { lapse: 20.0, steps: vec![50, 100], pods: 4, rate: 40, plugin: plugin(), ..Play::default() };
    let mut stage = Stage::set(&play, path, network).await?;
    stage.open(PATIENCE)?;
    stage.update()?;
    let over = async {
        let mut ticks = interval(Duration::from_millis(100));
        loop {
            ticks.tick().await;
            stage.look();
            if stage.is_over() {
                return;
            }
        }
    };
    if timeout(PATIENCE, over).await.is_err() {
        bail!("{} is not over: {:?}", path.name(), stage.look());
    }
    stage.strike().await
}

/// Answers that say that nobody was there to answer.
fn lost(world: &World) -> u64 {
    let lost = |outcome: &Outcome| matches!(outcome, Outcome::Status(502 | 503));
    world.traffic.outcomes.iter().filter(|(outcome, _)| lost(outcome)).map(|(_, count)| count).sum()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_plugin_loses_no_request_where_the_built_in_router_does() -> Result<()> {
    let (built_in, ours) = tokio::try_join!(play(Path::BuiltIn, 111), play(Path::Plugin, 112))?;
    assert!(lost(&built_in) > 0, "the story has lost its point: {:?}", built_in.traffic.outcomes);
    assert_eq!(lost(&ours), 0, "{:?}\n{:?}\n{:?}", ours.traffic.outcomes, ours.steps, ours.events);
    let asked: Vec<&str> = ours.steps.iter().map(|step| step.label.as_str()).collect();
    assert_eq!(asked, ["50 %", "100 %", "end"]);
    assert!(ours.steps.iter().all(|step| step.settled.is_some()), "{:?}", ours.steps);
    // The stable pods were let go, and so the update cost no second set of pods.
    assert!(ours.samples.iter().any(|sample| sample.wished > 0 && sample.stable_pods == 0));
    Ok(())
}
