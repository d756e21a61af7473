//! The grpc door, through a client of its contract: what the Go hosts do not show.

use std::process::Stdio;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use futures_util::{FutureExt as _, StreamExt as _, stream};
use lab::{Effect, Fault};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};
use tokio::time::timeout;
use tonic::client::Grpc;
use tonic::codegen::http::uri::PathAndQuery;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_prost::ProstCodec;
use trafficrouter_alb::door::grpc::proto::traffic_router_client::TrafficRouterClient;
use trafficrouter_alb::door::grpc::proto::{
    InitPluginRequest, RemoveManagedRoutesRequest, SetHeaderRouteRequest, SetMirrorRouteRequest, SetWeightRequest,
    TypeRequest, UpdateHashRequest, Verification, VerifyWeightRequest,
};
use trafficrouter_alb::goplugin::grpc::MAX_MESSAGE_BYTES;
use trafficrouter_alb::rollout::{HeaderMatch, HeaderRoute, MirrorRoute, Present, Rollout};

use crate::shop::{SECRET, Shop, plugin};

/// Longer than any wait that is meant to end.
const PATIENCE: Duration = Duration::from_secs(60);
/// A host kills a plugin that is still there 2 s after Shutdown.
const AFTER_SHUTDOWN: Duration = Duration::from_secs(2);

/// The plugin without a host around it. Dropping it kills it.
struct Plugin {
    child: Child,
    /// The handshake, field by field.
    handshake: Vec<String>,
    socket: String,
    stdout: Lines<BufReader<ChildStdout>>,
    _folder: TempDir,
}

/// The plugin with the lab as AWS, as a host starts it that says this besides.
fn command(shop: &Shop, folder: &TempDir, args: &[&str], said: &[(&str, &str)]) -> Command {
    let mut command = Command::new(plugin());
    command
        .args(["--allow", "shop=*", "--block-budget", "10s"])
        .args(args)
        .env_clear()
        .env("TMPDIR", folder.path())
        .env("ARGO_ROLLOUTS_RPC_PLUGIN", "trafficrouter")
        .env("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", shop.lab.endpoint())
        .envs([("AWS_ACCESS_KEY_ID", "lab"), ("AWS_SECRET_ACCESS_KEY", SECRET), ("AWS_EC2_METADATA_DISABLED", "true")])
        .envs(said.iter().copied())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true);
    command
}

impl Plugin {
    async fn start(shop: &Shop, args: &[&str], said: &[(&str, &str)]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let mut child = command(shop, &folder, args, said).spawn()?;
        let mut stdout = BufReader::new(child.stdout.take().context("stdout is a pipe")?).lines();
        let line = timeout(PATIENCE, stdout.next_line()).await??.context("the plugin says where it listens")?;
        let handshake: Vec<String> = line.split('|').map(str::to_owned).collect();
        let socket = handshake.get(3).context("the fourth field is the socket")?.clone();
        Ok(Self { child, handshake, socket, stdout, _folder: folder })
    }

    async fn channel(&self) -> Result<Channel> {
        Ok(Endpoint::try_from(format!("unix:{}", self.socket))?.connect().await?)
    }
}

/// Calls a method whose argument and reply are empty.
async fn empty_call(channel: &Channel, path: &'static str) -> Result<(), tonic::Status> {
    let mut client = Grpc::new(channel.clone());
    client.ready().await.map_err(|error| tonic::Status::unknown(error.to_string()))?;
    let codec = ProstCodec::<(), ()>::default();
    client.unary(Request::new(()), PathAndQuery::from_static(path), codec).await.map(|_| ())
}

fn rollout(shop: &Shop) -> Result<Rollout> {
    Ok(serde_json::from_value(shop.rollout())?)
}

fn to(rollout: &Rollout, desired_weight: i32) -> SetWeightRequest {
    SetWeightRequest { rollout: Some(rollout.clone()), desired_weight, additional_destinations: Vec::new() }
}

#[tokio::test]
async fn every_method_answers_and_shutdown_ends_it() -> Result<()> {
    let shop = Shop::open().await?;
    let mut plugin = Plugin::start(&shop, &[], &[("PLUGIN_PROTOCOL_VERSIONS", "1,2")]).await?;
    let socket = plugin.socket.clone();
    assert_eq!(plugin.handshake, ["1", "2", "unix", &socket, "grpc", ""]);
    let channel = plugin.channel().await?;

    let health = HealthClient::new(channel.clone()).check(HealthCheckRequest { service: "plugin".to_owned() }).await?;
    assert_eq!(health.into_inner().status(), ServingStatus::Serving);

    let mut router = TrafficRouterClient::new(channel.clone());
    let rollout = rollout(&shop)?;
    let about = Some(rollout.clone());
    assert_eq!(router.init_plugin(InitPluginRequest {}).await?.into_inner().error, "");
    assert_eq!(router.r#type(TypeRequest {}).await?.into_inner().r#type, "alb");
    let hashes = UpdateHashRequest { rollout: about.clone(), ..UpdateHashRequest::default() };
    assert_eq!(router.update_hash(hashes).await?.into_inner().error, "");
    for weight in [10, 100, 0] {
        assert_eq!(router.set_weight(to(&rollout, weight)).await?.into_inner().error, "");
        let shown = format!("{}:{weight}", 100 - weight);
        assert_eq!(shop.weights().await?, [shown.clone(), shown]);
        let asked =
            VerifyWeightRequest { rollout: about.clone(), desired_weight: weight, ..VerifyWeightRequest::default() };
        assert_eq!(router.verify_weight(asked).await?.into_inner().verification(), Verification::Verified);
    }
    let asked = VerifyWeightRequest { rollout: about.clone(), desired_weight: 50, ..VerifyWeightRequest::default() };
    assert_eq!(router.verify_weight(asked).await?.into_inner().verification(), Verification::NotVerified);
    let removed = router.remove_managed_routes(RemoveManagedRoutesRequest { rollout: about.clone() }).await?;
    assert_eq!(removed.into_inner().error, "");
    let matches = vec![HeaderMatch { header_name: "x-beta".to_owned(), header_value: None }];
    let route = Some(HeaderRoute { name: "beta".to_owned(), matches });
    let header = SetHeaderRouteRequest { rollout: about.clone(), set_header_route: route };
    let error = router.set_header_route(header).await?.into_inner().error;
    assert!(error.contains("header route beta"), "{error}");
    let route = Some(MirrorRoute { name: "beta".to_owned(), matches: vec![Present {}] });
    let mirror = SetMirrorRouteRequest { rollout: about, set_mirror_route: route };
    let error = router.set_mirror_route(mirror).await?.into_inner().error;
    assert!(error.contains("cannot mirror"), "{error}");
    let error = router.set_weight(SetWeightRequest::default()).await?.into_inner().error;
    assert!(error.contains("no canary strategy"), "{error}");

    empty_call(&channel, "/plugin.GRPCController/Shutdown").await?;
    drop((channel, router));
    let status = timeout(AFTER_SHUTDOWN, plugin.child.wait()).await.context("it is still there")??;
    assert_eq!(status.code(), Some(0));
    assert!(!std::fs::exists(&socket)?);
    assert_eq!(plugin.stdout.next_line().await?, None, "one line on stdout and no more");
    Ok(())
}

/// A host opens both as soon as it is connected, and complains when they end.
#[tokio::test]
async fn the_broker_and_the_output_stay_open_and_silent() -> Result<()> {
    let shop = Shop::open().await?;
    let plugin = Plugin::start(&shop, &[], &[("PLUGIN_PROTOCOL_VERSIONS", "2")]).await?;
    let channel = plugin.channel().await?;
    let mut client = Grpc::new(channel.clone());
    client.ready().await?;
    let path = PathAndQuery::from_static("/plugin.GRPCStdio/StreamStdio");
    let mut output =
        client.server_streaming(Request::new(()), path, ProstCodec::<(), ()>::default()).await?.into_inner();
    client.ready().await?;
    let path = PathAndQuery::from_static("/plugin.GRPCBroker/StartStream");
    let offers = Request::new(stream::iter([()]).chain(stream::pending()));
    let mut broker = client.streaming(offers, path, ProstCodec::<(), ()>::default()).await?.into_inner();
    for _ in 0..10 {
        TrafficRouterClient::new(channel.clone()).r#type(TypeRequest {}).await?;
        assert!(output.message().now_or_never().is_none());
        assert!(broker.message().now_or_never().is_none());
    }
    Ok(())
}

#[tokio::test]
async fn what_a_host_gave_up_is_done_all_the_same() -> Result<()> {
    let shop = Shop::open().await?;
    let plugin = Plugin::start(&shop, &[], &[("PLUGIN_PROTOCOL_VERSIONS", "2")]).await?;
    let mut router = TrafficRouterClient::new(plugin.channel().await?);
    shop.lab.faults().add(Fault::new("ModifyRule", Effect::DelayBefore { ms: 1000 }).times(2))?;
    let mut request = Request::new(to(&rollout(&shop)?, 60));
    request.metadata_mut().insert("grpc-timeout", "300m".parse()?);
    let status = router.set_weight(request).await.unwrap_err();
    // Either side may be the first to see it: tonic's client says Cancelled, the plugin DeadlineExceeded.
    assert!(matches!(status.code(), Code::Cancelled | Code::DeadlineExceeded), "{status}");
    // Others are served meanwhile, and nobody asks again.
    router.r#type(TypeRequest {}).await?;
    let written = async {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        while shop.weights().await? != ["40:60", "40:60"] {
            ticks.tick().await;
        }
        Ok(())
    };
    timeout(PATIENCE, written).await.context("the shift was cut off")?
}

#[tokio::test]
async fn the_host_finds_the_door_that_the_operator_chose() -> Result<()> {
    let shop = Shop::open().await?;
    for (args, versions, multiplex, expected) in [
        (&["--door", "grpc"][..], "1", "", ["1", "grpc"].as_slice()),
        (&["--door", "netrpc"], "1,2", "", &["1", "netrpc"]),
        (&["--door", "grpc"], "1,7", "", &["2", "grpc"]),
        (&[], "1,2", "true", &["2", "grpc", "true"]),
        (&[], "1", "true", &["1", "netrpc", "false"]),
    ] {
        let said = [("PLUGIN_PROTOCOL_VERSIONS", versions), ("PLUGIN_MULTIPLEX_GRPC", multiplex)];
        let plugin = Plugin::start(&shop, args, &said).await?;
        let fields = &plugin.handshake;
        let mut told = vec![fields[1].as_str(), fields[4].as_str()];
        told.extend(fields.get(6).map(String::as_str));
        assert_eq!(told, expected, "{args:?} {versions}");
        assert_eq!(fields[5], "", "a certificate that nobody asked for");
    }
    Ok(())
}

#[tokio::test]
async fn a_message_too_large_fails_alone_and_a_large_one_is_read() -> Result<()> {
    let shop = Shop::open().await?;
    let plugin = Plugin::start(&shop, &[], &[("PLUGIN_PROTOCOL_VERSIONS", "2")]).await?;
    let mut router = TrafficRouterClient::new(plugin.channel().await?);
    let mut rollout = rollout(&shop)?;
    let mut with_note = |bytes: usize| {
        rollout.status.current_pod_hash = "x".repeat(bytes);
        to(&rollout, 10)
    };
    let status = router.set_weight(with_note(MAX_MESSAGE_BYTES)).await.unwrap_err();
    assert_eq!(status.code(), Code::OutOfRange, "{status}");
    assert_eq!(router.set_weight(with_note(MAX_MESSAGE_BYTES / 2)).await?.into_inner().error, "");
    // More at once than may arrive at a time.
    let mut parallel = tokio::task::JoinSet::new();
    for _ in 0..20 {
        let (mut router, request) = (router.clone(), with_note(MAX_MESSAGE_BYTES / 4));
        parallel.spawn(async move { router.set_weight(request).await });
    }
    while let Some(answer) = parallel.join_next().await {
        assert_eq!(answer??.into_inner().error, "");
    }
    assert_eq!(shop.weights().await?, ["90:10", "90:10"]);
    let status = empty_call(&plugin.channel().await?, "/rollouts.trafficrouter.v1.TrafficRouter/CanScaleDown").await;
    assert_eq!(status.unwrap_err().code(), Code::Unimplemented);
    Ok(())
}

#[tokio::test]
async fn what_the_host_wants_and_cannot_have_is_named_before_the_handshake() -> Result<()> {
    let shop = Shop::open().await?;
    for (name, value) in [("PLUGIN_CLIENT_CERT", "nonsense"), ("PLUGIN_UNIX_SOCKET_GROUP", "no such group")] {
        let folder = tempfile::tempdir()?;
        let mut child = command(&shop, &folder, &[], &[(name, value)]).stderr(Stdio::piped()).spawn()?;
        let (mut said, mut log) = (String::new(), String::new());
        let (Some(stdout), Some(stderr)) = (&mut child.stdout, &mut child.stderr) else { bail!("both are pipes") };
        let read = async { tokio::try_join!(stdout.read_to_string(&mut said), stderr.read_to_string(&mut log)) };
        timeout(PATIENCE, read).await??;
        assert_eq!((child.wait().await?.code(), said.as_str()), (Some(1), ""));
        let line: Value = serde_json::from_str(log.lines().last().context("a line of the log")?)?;
        assert_eq!(line["@level"], "error");
        assert!(line["@message"].as_str().is_some_and(|message| message.contains(name)), "{line}");
    }
    Ok(())
}
