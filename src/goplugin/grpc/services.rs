//! The services that every go-plugin host expects.

use futures_util::StreamExt;
use futures_util::stream::{self, BoxStream};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};
use tonic_health::ServingStatus;

use proto::grpc_broker_server::{GrpcBroker, GrpcBrokerServer};
use proto::grpc_controller_server::{GrpcController, GrpcControllerServer};
use proto::grpc_stdio_server::{GrpcStdio, GrpcStdioServer};
use proto::{ConnInfo, Empty, StdioData};

/// go-plugin's messages and services, as `proto/plugin/` has them.
#[allow(missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::or_fun_call)]
mod proto {
    tonic::include_proto!("plugin");
}

/// The service whose health a host asks for (`GRPCServiceName` in `grpc_server.go`).
const PLUGIN: &str = "plugin";

/// The plugin's services and go-plugin's.
pub(super) async fn with_go_plugins(services: Routes, quit: CancellationToken) -> Routes {
    let (reporter, health) = tonic_health::server::health_reporter();
    reporter.set_service_status(PLUGIN, ServingStatus::Serving).await;
    services
        .add_service(health)
        .add_service(GrpcControllerServer::new(Controller { quit }))
        .add_service(GrpcBrokerServer::new(Broker))
        .add_service(GrpcStdioServer::new(Stdio))
        .prepare()
}

/// Ends the plugin.
struct Controller {
    quit: CancellationToken,
}

#[tonic::async_trait]
impl GrpcController for Controller {
    async fn shutdown(&self, _: Request<Empty>) -> Result<Response<Empty>, Status> {
        // Whoever sees it waits for the host to read the reply, which is sent meanwhile, and to close the connection.
        self.quit.cancel();
        Ok(Response::new(Empty {}))
    }
}

/// Takes the host's offers and makes none.
struct Broker;

#[tonic::async_trait]
impl GrpcBroker for Broker {
    type StartStreamStream = BoxStream<'static, Result<ConnInfo, Status>>;

    async fn start_stream(
        &self,
        request: Request<Streaming<ConnInfo>>,
    ) -> Result<Response<Self::StartStreamStream>, Status> {
        // Ends when the host's side does.
        Ok(Response::new(request.into_inner().filter_map(async |_| None).boxed()))
    }
}

/// Silent: we write our log to the real stderr.
struct Stdio;

#[tonic::async_trait]
impl GrpcStdio for Stdio {
    type StreamStdioStream = stream::Pending<Result<StdioData, Status>>;

    async fn stream_stdio(&self, _: Request<()>) -> Result<Response<Self::StreamStdioStream>, Status> {
        Ok(Response::new(stream::pending()))
    }
}
