//! A go-plugin plugin whose calls panic on request, to show that a panic costs one call and nothing else.
//!
//! It also shows the least that a plugin needs of `goplugin`: a cookie, a service, a log.

use std::process::ExitCode;
use std::sync::Arc;

use serde::Deserialize;
use tracing_subscriber::layer::SubscriberExt;
use trafficrouter_alb::door::COOKIE;
use trafficrouter_alb::goplugin::hclog::{HostLog, LogWriter, report_panics};
use trafficrouter_alb::goplugin::netrpc::{CallError, CallFuture, Offer, Service, argument, gob, reply};
use trafficrouter_alb::goplugin::{HostEnvironment, Plugin, serve, shake_hands};
use trafficrouter_alb::rollout::Rollout;

/// Every method succeeds, but for a Rollout of the name `panic`.
#[derive(Debug)]
struct Panicking;

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Args {
    rollout: Rollout,
}

impl Service for Panicking {
    fn call(&self, _: &str, value: &gob::Value<'_>) -> Result<CallFuture, CallError> {
        let asked_to = !value.is_nil() && argument::<Args>(value)?.rollout.metadata.name == "panic";
        Ok(Box::pin(async move {
            assert!(!asked_to, "asked to");
            Ok(reply(trafficrouter_alb::door::netrpc::RpcError::default()))
        }))
    }
}

fn main() -> ExitCode {
    let Ok(host) = HostEnvironment::read(COOKIE, |name| std::env::var(name).ok()) else { return ExitCode::FAILURE };
    let Ok(log) = LogWriter::start(std::io::stderr()) else { return ExitCode::FAILURE };
    let _ = tracing::subscriber::set_global_default(tracing_subscriber::registry().with(HostLog::new(log.clone())));
    report_panics(log);
    let Ok(runtime) = tokio::runtime::Runtime::new() else { return ExitCode::FAILURE };
    runtime.block_on(async {
        let plugin = Plugin::Netrpc(Offer { name: "RpcTrafficRouterPlugin", service: Arc::new(Panicking) });
        let Ok(listening) = shake_hands(&host, 1, plugin) else { return ExitCode::FAILURE };
        serve(listening, std::future::pending()).await;
        ExitCode::SUCCESS
    })
}
