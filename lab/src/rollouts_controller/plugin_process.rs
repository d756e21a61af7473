//! A traffic router plugin as a child process, behind its gRPC door: go-plugin's host, as far as it takes.
//!
//! Source: go-plugin 1.7.0, `client.go` (`Start`, `Kill`), `grpc_client.go`; the contract is `proto/trafficrouter/v1/`.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context, bail};
use async_trait::async_trait;
use prost_reflect::{DescriptorPool, DeserializeOptions, DynamicMessage};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{Mutex, watch};
use tokio::time::timeout;
use tonic::transport::{Channel, Endpoint};

use super::state::{CallError, TrafficRouter};
use proto::plugin::Empty;
use proto::plugin::grpc_controller_client::GrpcControllerClient;
use proto::trafficrouter::traffic_router_client::TrafficRouterClient;
use proto::trafficrouter::{
    InitPluginRequest, RemoveManagedRoutesRequest, Rollout, SetWeightRequest, TypeRequest, UpdateHashRequest,
    Verification, VerifyWeightRequest,
};

/// Generated from `proto/`.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::or_fun_call)]
mod proto {
    pub mod trafficrouter {
        tonic::include_proto!("rollouts.trafficrouter.v1");
    }
    pub mod plugin {
        tonic::include_proto!("plugin");
    }
}

/// The description of the contract's messages.
const CONTRACT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/contract.bin"));

/// How long a plugin may take until it says where it listens (`StartTimeout`).
const STARTS_WITHIN: Duration = Duration::from_secs(60);

/// How long a plugin may take to end after it was asked to (`Kill`).
const ENDS_WITHIN: Duration = Duration::from_secs(2);

/// The plugin entries of a Rollout.
const ENTRIES: &str = "/spec/strategy/canary/trafficRouting/plugins";

/// A running plugin. Dropping it kills it.
#[derive(Debug)]
pub struct PluginProcess {
    child: Mutex<Child>,
    channel: Channel,
    contract: DescriptorPool,
    log: watch::Receiver<Vec<String>>,
    /// The folder of its socket.
    _folder: TempDir,
}

impl PluginProcess {
    /// Starts a plugin with nothing but `environment` in its environment, besides what a host says.
    ///
    /// # Errors
    /// If it does not start, is no plugin, or does not speak gRPC as application version 2.
    pub async fn start<A: AsRef<OsStr>>(
        program: &Path,
        arguments: impl IntoIterator<Item = A>,
        environment: &[(&str, &str)],
    ) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut command = Command::new(program);
        command.args(arguments).env_clear().envs(environment.iter().copied());
        command.env("ARGO_ROLLOUTS_RPC_PLUGIN", "trafficrouter").env("PLUGIN_PROTOCOL_VERSIONS", "2");
        command.env("TMPDIR", folder.path()).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start the plugin {}", program.display()))?;
        let (lines, log) = watch::channel(Vec::new());
        let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
        tokio::spawn(collect(stderr.context("stderr is a pipe")?, lines.clone()));
        let mut stdout = BufReader::new(stdout.context("stdout is a pipe")?);
        let mut line = String::new();
        let said = timeout(STARTS_WITHIN, stdout.read_line(&mut line)).await;
        said.with_context(|| format!("the plugin did not say where it listens within {STARTS_WITHIN:?}"))??;
        let socket = socket(&line).with_context(|| format!("its log: {:?}", *log.borrow()))?;
        // Whatever else it says there is for people.
        tokio::spawn(collect(stdout, lines));
        let channel =
            Endpoint::try_from(format!("unix:{socket}"))?.connect().await.context("cannot reach the plugin")?;
        let contract = DescriptorPool::decode(CONTRACT)?;
        let plugin = Self { child: Mutex::new(child), channel, contract, log, _folder: folder };
        let initialised = plugin.client().init_plugin(InitPluginRequest {}).await?.into_inner();
        outcome(initialised.error)?;
        Ok(plugin)
    }

    /// The lines that it wrote to stderr so far, as JSON of hclog; and as they come.
    #[must_use]
    pub fn log(&self) -> watch::Receiver<Vec<String>> {
        self.log.clone()
    }

    /// Asks it to end, and kills it if it does not. Says how it ended.
    ///
    /// # Errors
    /// If it cannot be waited for.
    pub async fn stop(&self) -> anyhow::Result<ExitStatus> {
        // The answer says nothing (`GRPCClient.Close`).
        let _ = GrpcControllerClient::new(self.channel.clone()).shutdown(Empty {}).await;
        let mut child = self.child.lock().await;
        if let Ok(status) = timeout(ENDS_WITHIN, child.wait()).await {
            return Ok(status?);
        }
        child.kill().await?;
        Ok(child.wait().await?)
    }

    fn client(&self) -> TrafficRouterClient<Channel> {
        TrafficRouterClient::new(self.channel.clone())
    }

    /// The Rollout as the contract's message, with all that the contract has of it.
    fn message(&self, rollout: &Value) -> Result<Rollout, CallError> {
        let mut rollout = rollout.clone();
        // In the object an entry is JSON, in the message its text.
        let entries = rollout.pointer_mut(ENTRIES).map(Value::take);
        let unreadable = |problem: String| CallError(format!("the Rollout does not fit the contract: {problem}"));
        let description = self.contract.get_message_by_name("rollouts.trafficrouter.v1.Rollout");
        let description = description.ok_or_else(|| unreadable("it has no Rollout".to_owned()))?;
        let options = DeserializeOptions::new().deny_unknown_fields(false);
        let message = DynamicMessage::deserialize_with_options(description, rollout, &options);
        let message = message.map_err(|error| unreadable(error.to_string()))?;
        let mut message: Rollout = message.transcode_to().map_err(|error| unreadable(error.to_string()))?;
        let canary = message.spec.as_mut().and_then(|spec| spec.strategy.as_mut()?.canary.as_mut());
        if let (Some(Value::Object(entries)), Some(routing)) =
            (entries, canary.and_then(|canary| canary.traffic_routing.as_mut()))
        {
            routing.plugins = entries.into_iter().map(|(name, entry)| (name, entry.to_string().into_bytes())).collect();
        }
        Ok(message)
    }
}

#[async_trait]
impl TrafficRouter for PluginProcess {
    async fn r#type(&self) -> Result<String, CallError> {
        let answer = self.client().r#type(TypeRequest {}).await.map_err(failed)?;
        Ok(answer.into_inner().r#type)
    }

    async fn update_hash(&self, rollout: &Value, canary: &str, stable: &str) -> Result<(), CallError> {
        let request = UpdateHashRequest {
            rollout: Some(self.message(rollout)?),
            canary_hash: canary.to_owned(),
            stable_hash: stable.to_owned(),
            additional_destinations: Vec::new(),
        };
        outcome(self.client().update_hash(request).await.map_err(failed)?.into_inner().error)
    }

    async fn set_weight(&self, rollout: &Value, weight: u32) -> Result<(), CallError> {
        let request = SetWeightRequest {
            rollout: Some(self.message(rollout)?),
            desired_weight: i32::try_from(weight).unwrap_or(i32::MAX),
            additional_destinations: Vec::new(),
        };
        outcome(self.client().set_weight(request).await.map_err(failed)?.into_inner().error)
    }

    async fn verify_weight(&self, rollout: &Value, weight: u32) -> Result<Option<bool>, CallError> {
        let request = VerifyWeightRequest {
            rollout: Some(self.message(rollout)?),
            desired_weight: i32::try_from(weight).unwrap_or(i32::MAX),
            additional_destinations: Vec::new(),
        };
        // The contract: a call that failed is a no, since an error would let the host promote.
        let Ok(answer) = self.client().verify_weight(request).await else { return Ok(Some(false)) };
        Ok(match answer.into_inner().verification() {
            Verification::Verified => Some(true),
            Verification::NotVerified => Some(false),
            Verification::Unknown => None,
        })
    }

    async fn remove_managed_routes(&self, rollout: &Value) -> Result<(), CallError> {
        let request = RemoveManagedRoutesRequest { rollout: Some(self.message(rollout)?) };
        outcome(self.client().remove_managed_routes(request).await.map_err(failed)?.into_inner().error)
    }
}

/// The socket in a handshake line: `1|2|unix|/path|grpc|`.
fn socket(line: &str) -> anyhow::Result<&str> {
    let fields: Vec<&str> = line.trim_end().split('|').collect();
    match fields.as_slice() {
        ["1", "2", "unix", socket, "grpc", ..] => Ok(socket),
        _ => bail!("the plugin said {line:?} and not `1|2|unix|SOCKET|grpc`: it does not speak gRPC as version 2"),
    }
}

/// An empty text is success.
fn outcome(error: String) -> Result<(), CallError> {
    if error.is_empty() { Ok(()) } else { Err(CallError(error)) }
}

fn failed(status: tonic::Status) -> CallError {
    CallError(format!("the call to the plugin failed: {status}"))
}

async fn collect(pipe: impl AsyncRead + Unpin, log: watch::Sender<Vec<String>>) {
    let mut lines = BufReader::new(pipe).lines();
    while let Ok(Some(line)) = lines.next_line().await {
        log.send_modify(|log| log.push(line));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_socket_is_in_the_handshake() {
        assert_eq!(socket("1|2|unix|/tmp/plugin1|grpc|\n").unwrap(), "/tmp/plugin1");
        assert_eq!(socket("1|2|unix|/tmp/plugin1|grpc||true\n").unwrap(), "/tmp/plugin1");
        for line in ["", "1|1|unix|/tmp/plugin1|netrpc|", "1|2|tcp|127.0.0.1:1234|grpc|", "usage: plugin"] {
            assert!(socket(line).unwrap_err().to_string().contains("does not speak gRPC"), "{line}");
        }
    }
}
