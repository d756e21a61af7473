//! Argo's traffic router service, as hosts call it. A door turns bytes into calls of the [`crate::router::Router`] and
//! its answers into bytes; it decides nothing.

pub mod netrpc;

use crate::goplugin::Cookie;

/// How Argo Rollouts proves that it started us (`rollout/trafficrouting/plugin/client/client.go`).
pub const COOKIE: Cookie = Cookie { key: "ARGO_ROLLOUTS_RPC_PLUGIN", value: "trafficrouter" };
