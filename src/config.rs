//! The operator's words: arguments in `argo-rollouts-config`, or environment variables where an installer cannot pass
//! arguments.

use std::path::PathBuf;
use std::time::Duration;

use clap::Parser;
use tracing::level_filters::LevelFilter;

use crate::alb::BucketSize;
use crate::door::Door;
use crate::router::{Allow, LONGEST_SETTLE, Settings};

/// Shifts the weights of an AWS Application Load Balancer for Argo Rollouts, and waits until they are true.
///
/// The rollouts controller starts this program; a person only starts it to read this. To use it, name it in the
/// ConfigMap argo-rollouts-config and in a Rollout's trafficRouting.plugins: see deploy/ in the repository.
#[derive(Clone, Debug, Parser)]
#[command(version, about, long_about, max_term_width = 100)]
pub struct Arguments {
    /// Lets Rollouts of a namespace name AWS resources. In both halves `*` stands for any characters.
    ///
    /// A Rollout that names target groups, rules or a role (assumeRoleArn) by ARN is refused without it, since it would use
    /// the controller's AWS rights. What is found by the Rollout's Services needs none. May be given several times, or with
    /// commas in the variable.
    #[arg(
        long,
        value_name = "NAMESPACE=ARN-PATTERN",
        env = "ROLLOUTS_ALB_ALLOW",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub allow: Vec<Allow>,

    /// How long one call may be held before it is answered with an error, such as 45s.
    ///
    /// A held call costs the controller one of its workers and keeps an abort waiting for as long.
    #[arg(long, value_name = "TIME", env = "ROLLOUTS_ALB_BLOCK_BUDGET", default_value = "45s",
        value_parser = block_budget)]
    pub block_budget: Duration,

    /// How many calls may be held at a time, 1 to 1000. The controller has 10 workers by default.
    #[arg(long, value_name = "NUMBER", env = "ROLLOUTS_ALB_MAX_HELD", default_value = "5",
        value_parser = clap::value_parser!(u16).range(1..=1000))]
    pub max_held: u16,

    /// How long new weights must stay true before pods may be let go on the strength of them, such as 10s.
    ///
    /// AWS confirms a weight before every node of the load balancer follows it, and does not say when they do. A Rollout
    /// can have a time of its own (settleSeconds).
    #[arg(long, value_name = "TIME", env = "ROLLOUTS_ALB_SETTLE", default_value = "10s", value_parser = settle)]
    pub settle: Duration,

    /// How long to wait for the load balancer controller to follow an Ingress, such as 120s.
    ///
    /// Where an Ingress makes the rules, which the plugin finds out, new weights are announced there before they are written, and
    /// no pod is let go before the controller has followed: an older run of it could put older weights back. After this time
    /// the update goes on. 0s waits for nothing.
    #[arg(long, value_name = "TIME", env = "ROLLOUTS_ALB_ECHO_TIMEOUT", default_value = "120s", value_parser = echo_timeout)]
    pub echo_timeout: Duration,

    /// How many weight changes a second this plugin sends to one AWS account and region, 0.1 to 100.
    ///
    /// AWS counts the Modify calls of all tools of the account together, and lets 3 a second through unless it has raised
    /// that for you. A plugin that AWS throttles slows down by itself; a smaller number leaves room for the others
    /// beforehand. Aborts go first.
    #[arg(long, value_name = "NUMBER", env = "ROLLOUTS_ALB_MODIFY_RATE", default_value = "3", value_parser = modify_rate)]
    pub modify_rate: f64,

    /// How many weight changes may be sent at once after a quiet time, 1 to 1000. AWS lets 20 through.
    #[arg(long, value_name = "NUMBER", env = "ROLLOUTS_ALB_MODIFY_BURST", default_value = "20",
        value_parser = clap::value_parser!(u32).range(1..=1000))]
    pub modify_burst: u32,

    /// How to reach the Kubernetes API. Inside a cluster that is known, and outside KUBECONFIG counts too.
    #[arg(long, value_name = "FILE", env = "ROLLOUTS_ALB_KUBECONFIG")]
    pub kubeconfig: Option<PathBuf>,

    /// The protocol to serve, whatever the host's versions say.
    ///
    /// By default a host that offers application version 2 gets grpc, any other netrpc. The version told to the host is
    /// then the protocol's own (netrpc 1, grpc 2), or the host's if it offers just one: so a host that speaks grpc as
    /// version 1 is served too.
    #[arg(long, value_name = "PROTOCOL", env = "ROLLOUTS_ALB_DOOR")]
    pub door: Option<Door>,

    /// How much is logged: error, warn, info, debug or trace.
    #[arg(long, value_name = "LEVEL", env = "ROLLOUTS_ALB_LOG_LEVEL", default_value = "info")]
    pub log_level: LevelFilter,
}

impl Arguments {
    /// What all writes of an AWS account in a region may use.
    #[must_use]
    pub fn writes(&self) -> BucketSize {
        BucketSize { per_second: self.modify_rate, burst: self.modify_burst }
    }

    /// What the router needs of them. `program` is how the host started us: it keeps a plugin that it calls
    /// `namespace/name` at `…/plugin-bin/namespace/name`.
    #[must_use]
    pub fn settings(&self, program: &str) -> Settings {
        Settings {
            allow: self.allow.clone(),
            plugin_name: plugin_name(program),
            block_budget: self.block_budget,
            max_held: usize::from(self.max_held),
            settle: self.settle,
            echo_timeout: self.echo_timeout,
        }
    }
}

fn block_budget(text: &str) -> Result<Duration, String> {
    let budget = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    // The controller's lease gives way after 15 s and every abort waits for the call: minutes would serve nobody.
    let range = Duration::from_secs(1)..=Duration::from_secs(600);
    if range.contains(&budget) { Ok(budget) } else { Err("it must be between 1s and 10m".to_owned()) }
}

fn settle(text: &str) -> Result<Duration, String> {
    let settle = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    if settle <= LONGEST_SETTLE { Ok(settle) } else { Err("it must be 10m or less".to_owned()) }
}

fn echo_timeout(text: &str) -> Result<Duration, String> {
    let timeout = humantime::parse_duration(text).map_err(|error| error.to_string())?;
    // A controller that needs an hour has other troubles.
    if timeout <= Duration::from_secs(3600) { Ok(timeout) } else { Err("it must be 1h or less".to_owned()) }
}

fn modify_rate(text: &str) -> Result<f64, String> {
    let rate: f64 = text.parse().map_err(|_| "it must be a number, such as 3 or 0.5".to_owned())?;
    if (0.1..=100.0).contains(&rate) { Ok(rate) } else { Err("it must be between 0.1 and 100".to_owned()) }
}

/// The last two parts of the program's path (`downloader.go` and `plugin.go` of Argo Rollouts).
fn plugin_name(program: &str) -> Option<String> {
    let (rest, name) = program.rsplit_once('/')?;
    let (parent, namespace) = rest.rsplit_once('/')?;
    (parent.rsplit('/').next() == Some("plugin-bin") && !namespace.is_empty() && !name.is_empty())
        .then(|| format!("{namespace}/{name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_defaults_are_the_documented_ones() {
        let arguments = Arguments::try_parse_from(["plugin"]).unwrap();
        assert_eq!(
            (arguments.block_budget, arguments.settle, arguments.max_held),
            (Duration::from_secs(45), Duration::from_secs(10), 5)
        );
        assert_eq!(arguments.log_level, LevelFilter::INFO);
        assert_eq!(arguments.writes(), BucketSize::MODIFY);
        assert!(arguments.allow.is_empty() && arguments.door.is_none());
    }

    #[test]
    fn what_cannot_be_used_is_named() {
        for (arguments, part) in [
            (["plugin", "--allow", "shop"], "NAMESPACE=ARN-PATTERN"),
            (["plugin", "--block-budget", "1h"], "between 1s and 10m"),
            (["plugin", "--settle", "11m"], "10m or less"),
            (["plugin", "--echo-timeout", "2h"], "1h or less"),
            (["plugin", "--max-held", "0"], "--max-held"),
            (["plugin", "--modify-rate", "0"], "between 0.1 and 100"),
            (["plugin", "--modify-rate", "NaN"], "between 0.1 and 100"),
            (["plugin", "--modify-rate", "3/s"], "such as 3 or 0.5"),
            (["plugin", "--modify-burst", "0"], "--modify-burst"),
            (["plugin", "--door", "tcp"], "[possible values: netrpc, grpc]"),
            (["plugin", "--alow", "x=arn:y"], "--allow"),
        ] {
            let error = Arguments::try_parse_from(arguments).unwrap_err().to_string();
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn the_plugins_name_is_read_from_where_the_host_put_it() {
        let name = plugin_name("/home/argo-rollouts/plugin-bin/argoproj-labs/alb");
        assert_eq!(name.as_deref(), Some("argoproj-labs/alb"));
        assert_eq!(plugin_name("/usr/local/bin/rollouts-plugin-trafficrouter-alb"), None);
        assert_eq!(plugin_name("alb"), None);
    }
}
