//! Protocols of listeners, and which target groups each can forward to.

use serde::{Deserialize, Serialize};

use crate::control_plane::model::TargetGroup;
use crate::control_plane::model::arn::Family;

/// The protocol between clients and a listener.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub(crate) enum ListenerProtocol {
    Http,
    Https,
    Tcp,
    Tls,
    Udp,
    TcpUdp,
}

impl ListenerProtocol {
    /// The word on the wire.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Https => "HTTPS",
            Self::Tcp => "TCP",
            Self::Tls => "TLS",
            Self::Udp => "UDP",
            Self::TcpUdp => "TCP_UDP",
        }
    }

    /// The type of load balancer that has such listeners (API reference, CreateListener).
    pub(crate) fn family(self) -> Family {
        match self {
            Self::Http | Self::Https => Family::Application,
            Self::Tcp | Self::Tls | Self::Udp | Self::TcpUdp => Family::Network,
        }
    }

    /// The listener ends TLS, so it has a certificate and a security policy.
    pub(crate) fn ends_tls(self) -> bool {
        matches!(self, Self::Https | Self::Tls)
    }

    /// A listener of this protocol can forward to the target group.
    ///
    /// Source: user guide for Network Load Balancers, "Target groups", table of listener protocols and target group protocols.
    pub(crate) fn reaches(self, group: &TargetGroup) -> bool {
        let protocols: &[&str] = match self {
            Self::Http | Self::Https => &["HTTP", "HTTPS"],
            Self::Tcp => &["TCP", "TCP_UDP"],
            Self::Tls => &["TCP", "TLS"],
            Self::Udp => &["UDP", "TCP_UDP"],
            Self::TcpUdp => &["TCP_UDP"],
        };
        protocols.contains(&group.protocol.as_str())
    }
}
