//! The demo: the user's story, three ways side by side, with requests that are really sent.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, ensure};
use lab::demo::chart::{Picture, png, svg};
use lab::demo::live::{Frame, LiveView, Mode};
use lab::demo::play::{Path, Play};
use lab::demo::report;
use lab::demo::stage::Stage;
use lab::demo::world::World;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::say;

/// Customers before the update, so that the picture begins with a quiet time.
const QUIET: Duration = Duration::from_secs(3);

/// Customers after the last world is over.
const TAIL: Duration = Duration::from_secs(2);

/// How often everything is looked at.
const LOOK: Duration = Duration::from_millis(100);

/// A world that is not over by then is shown as it is.
const LONGEST: Duration = Duration::from_secs(100);

/// Each has a network of its own, 127.N.
const PATHS: [(Path, u8); 3] = [(Path::BuiltIn, 101), (Path::Plugin, 102), (Path::Workaround, 103)];

/// What the demo runs.
#[derive(Debug, clap::Args)]
pub(crate) struct Demo {
    /// The plugin's binary.
    #[arg(long, value_name = "FILE")]
    plugin: PathBuf,
    /// Where the picture goes, as story.svg and story.png.
    #[arg(long, value_name = "FOLDER", default_value = ".")]
    out: PathBuf,
    /// How far the load balancer controller is behind, such as 70s, in the time of the story.
    #[arg(long, value_name = "TIME", default_value = "70s", value_parser = humantime::parse_duration)]
    lag: Duration,
    /// How long the update waits after each step, in the time of the story.
    #[arg(long, value_name = "TIME", default_value = "90s", value_parser = humantime::parse_duration)]
    pause: Duration,
    /// The canary weights that the update goes through, in per cent.
    #[arg(long, value_name = "WEIGHTS", default_value = "10,60,80,90,100", value_delimiter = ',',
        value_parser = clap::value_parser!(u16).range(1..=100))]
    steps: Vec<u16>,
    /// Requests per second to each world, 1 to 2000.
    #[arg(long, value_name = "NUMBER", default_value = "250", value_parser = clap::value_parser!(u32).range(1..=2000))]
    rate: u32,
    /// Pods of the application.
    #[arg(long, value_name = "NUMBER", default_value = "10", value_parser = clap::value_parser!(u32).range(1..=50))]
    pods: u32,
    /// So many seconds of the story go by in one second, 1 to 20.
    #[arg(long, value_name = "NUMBER", default_value = "10", value_parser = clap::value_parser!(u8).range(1..=20))]
    lapse: u8,
    /// The same seed draws the same times.
    #[arg(long, value_name = "NUMBER", default_value = "1")]
    seed: u64,
}

/// Plays the story and shows what came of it.
pub(crate) async fn run(demo: Demo) -> anyhow::Result<()> {
    ensure!(demo.plugin.is_file(), "{} is no file; build the plugin first", demo.plugin.display());
    let play = Play {
        lapse: f64::from(demo.lapse),
        lag: demo.lag,
        steps: demo.steps,
        pause: demo.pause,
        pods: demo.pods,
        rate: demo.rate,
        seed: demo.seed,
        plugin: demo.plugin,
    };
    introduce(&play);
    let worlds = perform(&play).await?;
    say("");
    say(&report::table(&worlds));
    explain(&play);
    let caption = format!(
        "Load balancer controller {} behind, {} pods, one second here is {} s of the story. Shaded: asked for and not yet true.",
        humantime::format_duration(play.lag),
        play.pods,
        play.lapse,
    );
    let title = format!("{} requests a second through an update, three ways", play.rate);
    let picture = svg(&Picture { title: &title, caption: &caption, worlds: &worlds });
    std::fs::create_dir_all(&demo.out).with_context(|| format!("cannot make {}", demo.out.display()))?;
    for (name, bytes) in [("story.png", png(&picture)?), ("story.svg", picture.into_bytes())] {
        let file = demo.out.join(name);
        std::fs::write(&file, bytes).with_context(|| format!("cannot write {}", file.display()))?;
        say(&format!("Picture: {}", file.display()));
    }
    Ok(())
}

fn introduce(play: &Play) {
    let steps: Vec<String> = play.steps.iter().map(ToString::to_string).collect();
    say(&format!(
        "An update of {} pods under {} requests a second to each of three worlds, in canary steps {}, {} apart.",
        play.pods,
        play.rate,
        steps.join("-"),
        humantime::format_duration(play.pause),
    ));
    say(&format!(
        "The load balancer controller is {} behind. All times of the story are divided by {}.",
        humantime::format_duration(play.lag),
        play.lapse,
    ));
    say("  built-in    Argo's own ALB router, dynamicStableScale: true");
    say("  plugin      this plugin, dynamicStableScale: true");
    say("  workaround  Argo's own ALB router, dynamicStableScale: false");
    say("");
    say("Setting the stage (the load balancer controller makes its rules in its own time) ...");
}

/// All three at the same time, from the same seed.
async fn perform(play: &Play) -> anyhow::Result<Vec<World>> {
    let setting = PATHS.map(|(path, network)| Stage::set(play, path, network));
    let mut stages = futures_util::future::try_join_all(setting).await?;
    for stage in &mut stages {
        stage.open(LONGEST + TAIL)?;
    }
    let began = Instant::now();
    let mut view = LiveView::new(io::stdout(), Mode::of_stdout());
    let mut ticks = interval(LOOK);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
    let (mut updated, mut over) = (false, None);
    let last = loop {
        ticks.tick().await;
        let elapsed = began.elapsed();
        let frame = Frame { elapsed, worlds: stages.iter_mut().map(Stage::look).collect() };
        view.show(&frame)?;
        if !updated && elapsed >= QUIET {
            updated = true;
            for stage in &mut stages {
                stage.update()?;
            }
        }
        if over.is_none() && updated && stages.iter().all(Stage::is_over) {
            over = Some(elapsed);
        }
        if over.is_some_and(|over| elapsed >= over + TAIL) || elapsed >= LONGEST {
            break frame;
        }
    };
    view.finish(&last)?;
    let mut worlds = Vec::new();
    for stage in stages {
        worlds.push(stage.strike().await?);
    }
    Ok(worlds)
}

fn explain(play: &Play) {
    say(
        "Real: every request and answer, the load balancer nodes that split them by rule, weight and target health, pods as",
    );
    say("HTTP servers, the plugin (its own binary, through its gRPC door, with AWS's SDK and a Kubernetes client).");
    say(
        "Modelled: AWS's API, the Kubernetes API, the rollouts controller (its order of calls is compared with recordings of",
    );
    say("the real one), the load balancer controller, and time.");
    say(&format!(
        "The story's times are divided by {0}. The plugin's gate looks every 3 s, which is not: its waits are {0} times too long.",
        play.lapse
    ));
    say(
        "A load balancer answers 503 for a group without targets, and 502 while a pod that is gone is still registered.",
    );
    say("");
}
