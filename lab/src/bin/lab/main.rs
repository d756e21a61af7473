//! The lab as a command.

use std::future;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand};
use lab::{BucketSizes, DataPlane, DataPlaneConfig, Lab, LabConfig, ServedListener, ServedTail, scenario};

mod demo;

/// A proving ground for weight shifts on an Application Load Balancer. It needs no AWS account and stays on this machine.
#[derive(Debug, Parser)]
#[command(name = "lab", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serves the API of Elastic Load Balancing v2 on a loopback address until it is interrupted.
    ///
    /// AWS's CLI, boto3 and SDKs can create load balancers, target groups, listeners and rules in it, register targets and shift
    /// weights; it refuses what AWS refuses. Every write is printed as one line. State is in memory only.
    ///
    /// With --data-plane the listeners really take requests, in plain HTTP on loopback addresses that are printed: the nodes of the
    /// load balancer split them by weight among the registered targets, which they check first.
    ///
    /// Beside the API are pages in JSON:
    ///
    ///   GET /lab               what there is: listeners, rules with weights, targets with health
    ///   GET /lab/journal       every write, and how often each operation was called
    ///   GET, POST, DELETE      /lab/faults: bad days
    ///   GET, POST, DELETE      /lab/buckets: AWS's throttling
    ///   GET /lab/listeners     where the nodes serve each listener
    ///   GET /lab/traffic       what became of every request
    ///   GET, POST              /lab/roles: which ExternalId AssumeRole asks for
    ///
    /// Two throttled shifts, for example, and then good weather again:
    ///
    ///   curl -H 'content-type: application/json' http://127.0.0.1:PORT/lab/faults -d '
    ///     {"operation": "ModifyRule", "times": 2,
    ///      "effect": {"error": {"status": 400, "code": "Throttling", "message": "Rate exceeded"}}}'
    ///
    /// Other effects: {"delay_before": {"ms": 500}}, {"delay_after": {"ms": 500}}, "cut_before_effect", "cut_after_effect",
    /// "stale_reads", {"late_writes": {"ms": 500}}. A fault stays until it is cleared, unless "times" or "for_ms" says how long;
    /// the operation "*" stands for all. docs/lab.md has more.
    #[command(verbatim_doc_comment)]
    Serve(Serve),
    /// Plays the user's story three ways side by side: a slow load balancer controller, an update, and customers who keep count.
    ///
    /// Every request is really sent, through load balancer nodes that split it by weight and health, to pods that answer. The plugin
    /// is its own binary. AWS's and Kubernetes' APIs, both controllers and time are modelled. It takes a minute and a half.
    Demo(demo::Demo),
}

#[derive(Debug, clap::Args)]
struct Serve {
    /// Where to listen. Only loopback addresses are accepted; port 0 lets the system choose.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:0")]
    listen: SocketAddr,
    /// Begins with an example: a load balancer `shop` with two listeners, a stable and a canary target group.
    #[arg(long)]
    seed_example: bool,
    /// Throttles as AWS does: Modify 3 a second and 20 at once, Describe 50 and 200, Register and Deregister 4 and 20.
    #[arg(long)]
    buckets: bool,
    /// Items in a page when the caller names no PageSize, 1 to 400. A small number shows who forgets to ask for the next page.
    #[arg(long, value_name = "ITEMS", default_value_t = LabConfig::default().page_size)]
    page_size: u16,
    /// Rules per load balancer, default rules not counted.
    #[arg(long, value_name = "RULES", default_value_t = LabConfig::default().rules_per_load_balancer)]
    rules_per_load_balancer: usize,
    /// How long a registered target is `initial` before it is healthy, such as 30s. Nobody checks it.
    #[arg(long, value_name = "DURATION", default_value = "0s", conflicts_with = "data_plane")]
    healthy_after: humantime::Duration,
    /// The region in ARNs and host names.
    #[arg(long, default_value_t = LabConfig::default().region)]
    region: String,
    /// Starts load balancer nodes that serve every listener of an application load balancer and check its targets.
    #[arg(long)]
    data_plane: bool,
    /// How many nodes serve each listener, 1 to 100.
    #[arg(
        long, value_name = "NODES", default_value = "2", requires = "data_plane",
        value_parser = clap::value_parser!(u8).range(1..=100)
    )]
    nodes: u8,
    /// Each node follows each change between 0 and this long after it, such as 500ms. AWS documents no figure.
    #[arg(long, value_name = "DURATION", default_value = "2s", requires = "data_plane")]
    node_lag: humantime::Duration,
}

#[tokio::main]
async fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Serve(arguments) => serve(arguments).await,
        Command::Demo(arguments) => demo::run(arguments).await,
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&error);
            ExitCode::FAILURE
        }
    }
}

async fn serve(arguments: Serve) -> anyhow::Result<()> {
    let config = LabConfig {
        listen: arguments.listen,
        region: arguments.region,
        page_size: arguments.page_size,
        rules_per_load_balancer: arguments.rules_per_load_balancer,
        buckets: arguments.buckets.then(BucketSizes::default),
        healthy_after: arguments.healthy_after.into(),
        ..LabConfig::default()
    };
    let region = config.region.clone();
    let lab = if arguments.data_plane {
        let lag = Duration::ZERO..=arguments.node_lag.into();
        let nodes = DataPlaneConfig { nodes: arguments.nodes.into(), lag, ..DataPlaneConfig::default() };
        Lab::start_with_data_plane(config, nodes).await?
    } else {
        Lab::start(config).await?
    };
    let mut writes = lab.follow();
    let mut listeners = lab.data_plane().map(DataPlane::follow);
    welcome(lab.endpoint(), &region);
    if arguments.seed_example {
        scenario::two_listeners(&lab).context("cannot set up the example")?;
    }
    loop {
        tokio::select! {
            entry = writes.next() => say(&entry.to_string()),
            listener = next(&mut listeners) => say(&listener.to_string()),
            interrupted = tokio::signal::ctrl_c() => {
                interrupted.context("cannot wait for an interrupt")?;
                lab.shutdown().await;
                return Ok(());
            }
        }
    }
}

/// Without a data plane no listener is ever served.
async fn next(listeners: &mut Option<ServedTail>) -> ServedListener {
    match listeners {
        Some(listeners) => listeners.next().await,
        None => future::pending().await,
    }
}

fn welcome(endpoint: &str, region: &str) {
    say(&format!("The lab serves Elastic Load Balancing v2 on {endpoint}. To use it, set in your shell:"));
    say(&format!("  export AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2={endpoint} AWS_ENDPOINT_URL_STS={endpoint}"));
    say(&format!("  export AWS_DEFAULT_REGION={region} AWS_ACCESS_KEY_ID=lab AWS_SECRET_ACCESS_KEY=lab"));
    say("and for example: aws elbv2 describe-target-groups");
    say(&format!(
        "At a glance: {endpoint}/lab   Journal: {endpoint}/lab/journal   Faults: {endpoint}/lab/faults   Stop: Ctrl-C"
    ));
}

#[expect(clippy::print_stdout, reason = "the lab is a command for people; its output is what it is for")]
fn say(line: &str) {
    println!("{line}");
}

#[expect(clippy::print_stderr, reason = "the reason for the exit code goes to the terminal")]
fn complain(error: &anyhow::Error) {
    eprintln!("lab: {error:#}");
}
