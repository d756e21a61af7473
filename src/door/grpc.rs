//! The gRPC door, application version 2: for hosts that offer it. The contract is `proto/trafficrouter/v1/`.
//!
//! What the router says about a Rollout is text in the reply; a status other than OK is about the call itself.

use std::sync::Arc;

use tonic::service::Routes;
use tonic::{Request, Response, Status};

use crate::goplugin::grpc::{Calls, MAX_MESSAGE_BYTES, Offer};
use crate::router::{self, CallError, Router};
use proto::traffic_router_server::{TrafficRouter, TrafficRouterServer};

/// The application version that means this door.
pub const VERSION: u32 = 2;

/// The contract's messages, and a client for whoever wants to be a host. The Rollout in them is [`crate::rollout`]'s.
#[allow(missing_docs, unused_qualifications, clippy::all, clippy::or_fun_call)]
pub mod proto {
    tonic::include_proto!("rollouts.trafficrouter.v1");
}

/// The plugin's service.
#[must_use]
pub fn offer(router: Arc<Router>) -> Offer {
    let door = Door { router, calls: Calls::default() };
    let service = TrafficRouterServer::new(door).max_decoding_message_size(MAX_MESSAGE_BYTES);
    Offer { services: Routes::new(service) }
}

#[derive(Debug)]
struct Door {
    router: Arc<Router>,
    calls: Calls,
}

#[tonic::async_trait]
impl TrafficRouter for Door {
    async fn init_plugin(
        &self,
        _: Request<proto::InitPluginRequest>,
    ) -> Result<Response<proto::InitPluginResponse>, Status> {
        Ok(Response::new(proto::InitPluginResponse::default()))
    }

    async fn r#type(&self, _: Request<proto::TypeRequest>) -> Result<Response<proto::TypeResponse>, Status> {
        Ok(Response::new(proto::TypeResponse { r#type: router::TYPE.to_owned() }))
    }

    async fn update_hash(
        &self,
        request: Request<proto::UpdateHashRequest>,
    ) -> Result<Response<proto::UpdateHashResponse>, Status> {
        let router = Arc::clone(&self.router);
        let done = self.calls.run(request, |call| async move {
            router.update_hash(&call.rollout.unwrap_or_default(), &call.canary_hash, &call.stable_hash);
            proto::UpdateHashResponse::default()
        });
        done.await.map(Response::new)
    }

    async fn set_weight(
        &self,
        request: Request<proto::SetWeightRequest>,
    ) -> Result<Response<proto::SetWeightResponse>, Status> {
        let router = Arc::clone(&self.router);
        let done = self.calls.run(request, |call| async move {
            let (rollout, weight) = (call.rollout.unwrap_or_default(), i64::from(call.desired_weight));
            let done = router.set_weight(&rollout, weight, &call.additional_destinations).await;
            proto::SetWeightResponse { error: text(done) }
        });
        done.await.map(Response::new)
    }

    async fn verify_weight(
        &self,
        request: Request<proto::VerifyWeightRequest>,
    ) -> Result<Response<proto::VerifyWeightResponse>, Status> {
        let router = Arc::clone(&self.router);
        let seen = self.calls.run(request, |call| async move {
            let (rollout, weight) = (call.rollout.unwrap_or_default(), i64::from(call.desired_weight));
            let seen = router.verify_weight(&rollout, weight, &call.additional_destinations).await;
            proto::VerifyWeightResponse { verification: proto::Verification::from(seen).into() }
        });
        seen.await.map(Response::new)
    }

    async fn set_header_route(
        &self,
        request: Request<proto::SetHeaderRouteRequest>,
    ) -> Result<Response<proto::SetHeaderRouteResponse>, Status> {
        let router = Arc::clone(&self.router);
        let done = self.calls.run(request, |call| async move {
            let (rollout, route) = (call.rollout.unwrap_or_default(), call.set_header_route.unwrap_or_default());
            proto::SetHeaderRouteResponse { error: text(router.set_header_route(&rollout, &route).await) }
        });
        done.await.map(Response::new)
    }

    async fn set_mirror_route(
        &self,
        request: Request<proto::SetMirrorRouteRequest>,
    ) -> Result<Response<proto::SetMirrorRouteResponse>, Status> {
        let router = Arc::clone(&self.router);
        let done = self.calls.run(request, |call| async move {
            let (rollout, route) = (call.rollout.unwrap_or_default(), call.set_mirror_route.unwrap_or_default());
            proto::SetMirrorRouteResponse { error: text(router.set_mirror_route(&rollout, &route)) }
        });
        done.await.map(Response::new)
    }

    async fn remove_managed_routes(
        &self,
        request: Request<proto::RemoveManagedRoutesRequest>,
    ) -> Result<Response<proto::RemoveManagedRoutesResponse>, Status> {
        let router = Arc::clone(&self.router);
        let done = self.calls.run(request, |call| async move {
            router.remove_managed_routes(&call.rollout.unwrap_or_default());
            proto::RemoveManagedRoutesResponse::default()
        });
        done.await.map(Response::new)
    }
}

/// How a call ended. An empty text is success.
fn text(done: Result<(), CallError>) -> String {
    done.err().map(|error| error.to_string()).unwrap_or_default()
}

impl From<router::Verification> for proto::Verification {
    fn from(seen: router::Verification) -> Self {
        match seen {
            router::Verification::NotVerified => Self::NotVerified,
            router::Verification::Verified => Self::Verified,
            router::Verification::Unknown => Self::Unknown,
        }
    }
}
