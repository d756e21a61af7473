//! The stock rollouts controller on a real API server, with our plugin as its traffic router and the lab as AWS.
//!
//! One control plane serves all scenarios; each has a namespace and a load balancer of its own, and they run side by side.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use clap::Parser;
use libtest_mimic::{Conclusion, Failed, Trial};
use tokio::runtime::{Handle, Runtime};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

mod application;
mod checks;
mod control_plane;
mod controller_log;
mod custom_resources;
mod customers;
mod environment;
mod history;
mod kubelet;
mod line;
mod load_balancer;
mod mirror;
mod objects;
mod process;
mod progress;
mod registrar;
mod resident;
mod rival;
mod rollout;
mod rollouts;
mod scenarios;
mod stand_in;
mod tools;
mod world;

use environment::Environment;
use progress::say;
use scenarios::Scenario;
use tools::Tools;
use world::World;

/// Scenarios mostly wait, so many run at a time; with more, two cores come too late for a settle time of a second.
const AT_A_TIME: usize = 10;

/// How long a scenario may take. Its waits have limits of their own, which say more.
const SCENARIO_ENDS_WITHIN: Duration = Duration::from_secs(540);

/// Runs scenarios with the stock rollouts controller. Needs Go, and 12 minutes the first time.
#[derive(Debug, Parser)]
struct Options {
    /// The plugin to try.
    #[arg(long, value_name = "FILE", env = "E2E_PLUGIN", default_value_os_t = distributed_plugin())]
    plugin: PathBuf,

    /// Keeps the folder with the logs also when everything passed.
    #[arg(long)]
    keep: bool,

    #[command(flatten)]
    harness: libtest_mimic::Arguments,
}

/// Where `make dist` puts the plugin.
fn distributed_plugin() -> PathBuf {
    let target = format!("target/{}-unknown-linux-gnu/dist", std::env::consts::ARCH);
    Path::new(&target).join("rollouts-plugin-trafficrouter-alb")
}

/// Kills what runs when it is dropped: on every way out, also the unexpected ones.
struct Running(Arc<Environment>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.kill();
    }
}

fn main() -> ExitCode {
    let mut options = Options::parse();
    options.harness.test_threads.get_or_insert(AT_A_TIME);
    if options.harness.list {
        let names = scenarios::all()
            .map(|scenario| Trial::test(scenario.name, || Ok(())).with_ignored_flag(scenario.on_demand));
        return libtest_mimic::run(&options.harness, names.collect()).exit_code();
    }
    match try_all(&options) {
        Ok(Some(conclusion)) => conclusion.exit_code(),
        Ok(None) => ExitCode::FAILURE,
        Err(error) => {
            say(format_args!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Runs the scenarios in a folder of their own. Nothing if it was interrupted.
fn try_all(options: &Options) -> anyhow::Result<Option<Conclusion>> {
    let runtime = Runtime::new()?;
    let home = tempfile::Builder::new().prefix("e2e-").tempdir()?.keep();
    let outcome = runtime.block_on(async {
        tokio::select! {
            outcome = run_all(options, &home) => outcome.map(Some),
            interrupted = interrupted() => interrupted.map(|()| None),
        }
    });
    let failed = match &outcome {
        Ok(Some(conclusion)) => conclusion.has_failed(),
        Ok(None) => false,
        Err(_) => true,
    };
    // An empty folder holds no logs.
    if (options.keep || failed) && fs::remove_dir(&home).is_err() {
        say(format_args!("all logs are in {}", home.display()));
    } else if let Err(error) = fs::remove_dir_all(&home)
        && error.kind() != ErrorKind::NotFound
    {
        say(format_args!("cannot remove {}: {error}", home.display()));
    }
    // Scenarios that were interrupted are still waiting; nobody waits for them.
    runtime.shutdown_background();
    outcome
}

/// Starts everything, runs the scenarios, and stops everything.
async fn run_all(options: &Options, home: &Path) -> anyhow::Result<Conclusion> {
    let plugin = options.plugin.canonicalize();
    let plugin = plugin.with_context(|| format!("there is no plugin {}: run `make dist`", options.plugin.display()))?;
    let tools = Tools::ready().await?;
    let began = Instant::now();
    let running = Running(Arc::new(Environment::start(&tools, &plugin, home).await?));
    let trials = scenarios::all().map(|scenario| trial(scenario, &running.0)).collect();
    let harness = options.harness.clone();
    let (tell, told) = oneshot::channel();
    // The scenarios' threads wait on this runtime, so none of its own may wait for them.
    std::thread::spawn(move || tell.send(libtest_mimic::run(&harness, trials)));
    let conclusion = told.await.context("the scenarios panicked")?;
    for child in resident::children(running.0.controller.id()) {
        say(format_args!("plugin process {}: {:.1} MB resident", child.name, child.resident / 1e6));
    }
    running.0.stop().await;
    say(format_args!("all scenarios took {:.0} s", began.elapsed().as_secs_f64()));
    Ok(conclusion)
}

fn trial(scenario: Scenario, environment: &Arc<Environment>) -> Trial {
    let environment = Arc::clone(environment);
    let runtime = Handle::current();
    let on_demand = scenario.on_demand;
    let trial = Trial::test(scenario.name.clone(), move || runtime.block_on(run(scenario, &environment)));
    trial.with_ignored_flag(on_demand)
}

async fn run(scenario: Scenario, environment: &Environment) -> Result<(), Failed> {
    let began = Instant::now();
    let world = World::open(environment, &scenario.name).await?;
    let result = tokio::select! {
        result = timeout(SCENARIO_ENDS_WITHIN, scenario.run(&world)) => {
            result.unwrap_or_else(|_| Err(anyhow::anyhow!("it did not end within {SCENARIO_ENDS_WITHIN:?}")))
        }
        error = environment.broken() => Err(error),
    };
    say(format_args!("{} ended after {:.1} s", scenario.name, began.elapsed().as_secs_f64()));
    match result {
        Ok(()) => Ok(()),
        Err(error) => Err(format!("{error:#}\n{}", world.tell().await).into()),
    }
}

/// Returns when someone asks us to end.
async fn interrupted() -> anyhow::Result<()> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
    say("interrupted");
    Ok(())
}
