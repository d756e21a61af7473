//! The net/rpc door, application version 1: what every released rollouts controller offers.
//!
//! Source: `rollout/trafficrouting/plugin/rpc/rpc.go` and `utils/plugin/types/types.go` of Argo Rollouts.

use std::sync::Arc;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use crate::goplugin::netrpc::gob::{self, Datum, Encode};
use crate::goplugin::netrpc::{CallError, CallFuture, Offer, Service, argument, reply};
use crate::rollout::{HeaderRoute, MirrorRoute, Rollout, WeightDestination};
use crate::router::{self, Router, Verification};

/// The application version that means this door.
pub const VERSION: u32 = 1;

/// The plugin as go-plugin dispenses it.
#[must_use]
pub fn offer(router: Arc<Router>) -> Offer {
    Offer { name: "RpcTrafficRouterPlugin", service: Arc::new(Door { router }) }
}

#[derive(Debug)]
struct Door {
    router: Arc<Router>,
}

/// How a call ended. An empty text is success.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RpcError(String);

/// The answer to VerifyWeight. Its `Err` stays empty: see [`Verification`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct VerifyWeightResponse(Verification);

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct UpdateHashArgs {
    rollout: Rollout,
    canary_hash: String,
    stable_hash: String,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct WeightArgs {
    rollout: Rollout,
    desired_weight: i64,
    additional_destinations: Vec<WeightDestination>,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct HeaderArgs {
    rollout: Rollout,
    set_header_route: HeaderRoute,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct MirrorArgs {
    rollout: Rollout,
    set_mirror_route: MirrorRoute,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct RolloutArgs {
    rollout: Rollout,
}

impl Service for Door {
    fn call(&self, method: &str, value: &gob::Value<'_>) -> Result<CallFuture, CallError> {
        let router = Arc::clone(&self.router);
        Ok(match method {
            // Nothing can fail here: a host that saw an error would use the plugin all the same (`client.go`).
            "InitPlugin" => Box::pin(async { Ok(reply(RpcError::default())) }),
            "Type" => Box::pin(async { Ok(reply(router::TYPE.to_owned())) }),
            "UpdateHash" => {
                let args: UpdateHashArgs = sent_as("UpdateHashArgs", value)?;
                router.update_hash(&args.rollout, &args.canary_hash, &args.stable_hash);
                Box::pin(async { Ok(reply(RpcError::default())) })
            }
            "SetWeight" => {
                let args: WeightArgs = sent_as("SetWeightAndVerifyWeightArgs", value)?;
                Box::pin(async move {
                    let done = router.set_weight(&args.rollout, args.desired_weight, &args.additional_destinations);
                    Ok(reply(RpcError::from(done.await)))
                })
            }
            "VerifyWeight" => {
                let args: WeightArgs = sent_as("SetWeightAndVerifyWeightArgs", value)?;
                Box::pin(async move {
                    let seen = router.verify_weight(&args.rollout, args.desired_weight, &args.additional_destinations);
                    Ok(reply(VerifyWeightResponse(seen.await)))
                })
            }
            "SetHeaderRoute" => {
                let args: HeaderArgs = sent_as("SetHeaderArgs", value)?;
                Box::pin(async move {
                    let done = router.set_header_route(&args.rollout, &args.set_header_route).await;
                    Ok(reply(RpcError::from(done)))
                })
            }
            "SetMirrorRoute" => {
                let args: MirrorArgs = sent_as("SetMirrorArgs", value)?;
                let done = router.set_mirror_route(&args.rollout, &args.set_mirror_route);
                Box::pin(async move { Ok(reply(RpcError::from(done))) })
            }
            "RemoveManagedRoutes" => {
                let args: RolloutArgs = sent_as("RemoveManagedRoutesArgs", value)?;
                router.remove_managed_routes(&args.rollout);
                Box::pin(async { Ok(reply(RpcError::default())) })
            }
            _ => return Err(CallError::NoSuchMethod),
        })
    }
}

/// Reads an argument that Argo registers with gob under `name`. Go's server asserts the type by that name too.
fn sent_as<T: DeserializeOwned>(name: &str, value: &gob::Value<'_>) -> Result<T, CallError> {
    match value.interface_name() {
        Some(sent) if sent == name => argument(value),
        sent => Err(CallError::Argument(format!("invalid args {}, wanted {name}", sent.unwrap_or("nil")))),
    }
}

impl From<Result<(), router::CallError>> for RpcError {
    fn from(result: Result<(), router::CallError>) -> Self {
        Self(result.err().map(|error| error.to_string()).unwrap_or_default())
    }
}

impl Encode for RpcError {
    fn datum(&self) -> Datum<'_> {
        Datum::Struct("RpcError", vec![("ErrorString", Datum::String(&self.0))])
    }
}

impl Encode for VerifyWeightResponse {
    fn datum(&self) -> Datum<'_> {
        let verified = match self.0 {
            Verification::NotVerified => 0,
            Verification::Verified => 1,
            // A host takes "not implemented" as "no verification".
            Verification::Unknown => 2,
        };
        let no_error = Datum::Struct("RpcError", vec![("ErrorString", Datum::String(""))]);
        Datum::Struct("VerifyWeightResponse", vec![("Verified", Datum::Int(verified)), ("Err", no_error)])
    }
}

#[cfg(test)]
mod tests;
