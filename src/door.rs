//! Argo's traffic router service, as hosts call it. A door turns bytes into calls of the [`crate::router::Router`] and
//! its answers into bytes; it decides nothing.

use std::sync::Arc;

use clap::ValueEnum;

use crate::goplugin::{Cookie, HostEnvironment, Plugin};
use crate::router::Router;

pub mod grpc;
pub mod netrpc;

/// How Argo Rollouts proves that it started us (`rollout/trafficrouting/plugin/client/client.go`).
pub const COOKIE: Cookie = Cookie { key: "ARGO_ROLLOUTS_RPC_PLUGIN", value: "trafficrouter" };

/// The protocols through which a host reaches the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Door {
    /// What every released rollouts controller speaks.
    Netrpc,
    /// For hosts that offer it.
    Grpc,
}

impl Door {
    /// The application version that means this door.
    #[must_use]
    pub const fn version(self) -> u32 {
        match self {
            Self::Netrpc => netrpc::VERSION,
            Self::Grpc => grpc::VERSION,
        }
    }

    /// The door for a host and the application version to tell it. The host's versions decide, unless the operator
    /// `chose`: then the version is the host's if it offers only one, since it takes no other.
    #[must_use]
    pub fn for_host(host: &HostEnvironment, chose: Option<Self>) -> (Self, u32) {
        let Some(door) = chose else {
            let agreed = host.negotiate(&[Self::Netrpc.version(), Self::Grpc.version()]);
            let door = if agreed == Some(Self::Grpc.version()) { Self::Grpc } else { Self::Netrpc };
            return (door, door.version());
        };
        match *host.versions {
            [only] => (door, only),
            _ => (door, door.version()),
        }
    }

    /// The router behind this door.
    #[must_use]
    pub fn open(self, router: Arc<Router>) -> Plugin {
        match self {
            Self::Netrpc => Plugin::Netrpc(netrpc::offer(router)),
            Self::Grpc => Plugin::Grpc(grpc::offer(router)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_host_decides_unless_the_operator_did() {
        let offering = |versions: &[u32]| HostEnvironment { versions: versions.to_vec(), ..HostEnvironment::default() };
        for (offered, chose, expected) in [
            (&[1][..], None, (Door::Netrpc, 1)),
            (&[2, 1], None, (Door::Grpc, 2)),
            (&[], None, (Door::Netrpc, 1)),
            (&[7], None, (Door::Netrpc, 1)),
            (&[1, 2], Some(Door::Netrpc), (Door::Netrpc, 1)),
            (&[1], Some(Door::Grpc), (Door::Grpc, 1)),
            (&[2], Some(Door::Netrpc), (Door::Netrpc, 2)),
            (&[1, 3], Some(Door::Grpc), (Door::Grpc, 2)),
            (&[], Some(Door::Grpc), (Door::Grpc, 2)),
        ] {
            assert_eq!(Door::for_host(&offering(offered), chose), expected, "{offered:?} {chose:?}");
        }
    }
}
