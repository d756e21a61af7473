//! What the program does when it is started, by a host or by a person.

use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use clap::error::ErrorKind;
use tokio::signal::unix::{SignalKind, signal};
use tracing::level_filters::LevelFilter;
use tracing::{error, info};
use tracing_subscriber::Layer;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;

use crate::alb::{Aws, BucketSize, Shared};
use crate::cluster::Api;
use crate::config::Arguments;
use crate::door::{self, Door};
use crate::goplugin::hclog::{self, HostLog, LogWriter};
use crate::goplugin::{self, HostEnvironment};
use crate::router::Router;

/// How long the last log lines may take to reach the host.
const LAST_LINES: Duration = Duration::from_millis(500);

/// What a person reads who starts the program by hand.
const FOR_A_PERSON: &str = "\
This is a traffic router plugin for Argo Rollouts. It shifts the weights of an AWS Application Load Balancer.
The rollouts controller starts it; started by hand it does nothing.

To use it, name it in the ConfigMap argo-rollouts-config and restart the controller:

  trafficRouterPlugins: |-
    - name: argoproj-labs/alb
      location: file:///path/to/this/program

Then refer to it in a Rollout, under spec.strategy.canary.trafficRouting:

  plugins:
    argoproj-labs/alb: {}

It finds the target groups and rules by the Rollout's Services. docs/configuration.md in the repository lists what the
entry may say, --help what may stand under args beside location. deploy/ has whole examples.
";

/// Runs the program with these arguments, the first of which is its own path.
#[must_use]
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> ExitCode {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let program = arguments.first().map(|program| program.to_string_lossy().into_owned()).unwrap_or_default();
    let parsed = Arguments::try_parse_from(arguments);
    match HostEnvironment::read(door::COOKIE, |name| std::env::var(name).ok()) {
        Ok(host) => serve(&host, &program, parsed),
        Err(_) => explain(parsed),
    }
}

/// Answers a person.
fn explain(parsed: Result<Arguments, clap::Error>) -> ExitCode {
    match parsed {
        // Help and version go to stdout and succeed, a wrong argument goes to stderr and fails: clap knows which.
        Err(error) => {
            let _ = error.print();
            let asked = matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion);
            if asked { ExitCode::SUCCESS } else { ExitCode::FAILURE }
        }
        Ok(_) => {
            let _ = io::stderr().write_all(FOR_A_PERSON.as_bytes());
            ExitCode::FAILURE
        }
    }
}

/// Serves the host that started us.
fn serve(host: &HostEnvironment, program: &str, parsed: Result<Arguments, clap::Error>) -> ExitCode {
    let Ok(log) = LogWriter::start(io::stderr()) else { return ExitCode::FAILURE };
    let level = parsed.as_ref().map_or(LevelFilter::INFO, |arguments| arguments.log_level);
    start_logging(&log, level);
    let chose = parsed.as_ref().ok().and_then(|arguments| arguments.door);
    let kubeconfig = parsed.as_ref().ok().and_then(|arguments| arguments.kubeconfig.clone());
    let writes = parsed.as_ref().map_or(BucketSize::MODIFY, Arguments::writes);
    // Arguments that cannot be used are an error of every call, not of the start: see `Router::new`.
    let settings = parsed.map(|arguments| arguments.settings(program)).map_err(|error| one_line(&error));
    if let Err(problem) = &settings {
        error!("the arguments in argo-rollouts-config cannot be used: {problem}");
    }
    // Two threads: we are a guest in the controller's pod.
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let code = match runtime {
        Ok(runtime) => {
            let balancer = Shared::new(Arc::new(Aws::new()), writes);
            let router = Router::new(settings, Arc::new(balancer), Arc::new(Api::new(kubeconfig)));
            let code = runtime.block_on(serve_until_done(host, chose, router));
            // A call to AWS may still be under way; nobody is left to hear of it.
            runtime.shutdown_background();
            code
        }
        Err(error) => {
            error!("the runtime could not be started: {error}");
            ExitCode::FAILURE
        }
    };
    let _ = log.flush(LAST_LINES);
    code
}

async fn serve_until_done(host: &HostEnvironment, chose: Option<Door>, router: Router) -> ExitCode {
    let (door, version) = Door::for_host(host, chose);
    let plugin = door.open(Arc::new(router));
    let protocol = plugin.protocol();
    // The handshake comes before anything that could fail or take time.
    let listening = match goplugin::shake_hands(host, version, plugin) {
        Ok(listening) => listening,
        Err(error) => {
            error!("{error}");
            return ExitCode::FAILURE;
        }
    };
    info!(version = env!("CARGO_PKG_VERSION"), door = protocol, "started");
    goplugin::serve(listening, stopped()).await;
    ExitCode::SUCCESS
}

/// Done when the system asks us to stop. SIGINT is only swallowed: a terminal's ^C reaches the host's whole process
/// group, and the host still needs us while it shuts down (`server.go`, `Serve`).
async fn stopped() {
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return std::future::pending().await;
    };
    loop {
        tokio::select! {
            _ = terminate.recv() => return,
            _ = interrupt.recv() => {}
        }
    }
}

/// Our own events at `level`; of the libraries only what goes wrong.
fn start_logging(log: &LogWriter, level: LevelFilter) {
    let of_libraries = level.min(LevelFilter::WARN);
    // It has a line for each request that fails, with no word of what for. Ours say that, once for a call.
    let of_kube = if level > LevelFilter::INFO { of_libraries } else { LevelFilter::OFF };
    let levels = Targets::new().with_target(env!("CARGO_CRATE_NAME"), level).with_target("kube_client", of_kube);
    let levels = levels.with_default(of_libraries);
    let layer = HostLog::new(log.clone()).with_filter(levels);
    // A second start in one process would be a mistake of ours; the first one's log then stays.
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(layer));
    hclog::report_panics(log.clone());
}

/// clap's text for a terminal, as one line for a log.
fn one_line(error: &clap::Error) -> String {
    let text = error.to_string();
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.take_while(|line| !line.starts_with("For more information")).collect::<Vec<_>>().join(" ")
}
