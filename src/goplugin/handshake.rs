//! The first words between a host and the plugin it started: the environment it set, and the one line we answer.
//!
//! Facts: go-plugin `server.go` (`protocolVersion`, `Serve`) and `client.go` (`Client.Start`).

use std::path::{Path, PathBuf};

/// go-plugin's own protocol version, the first field of the line (`CoreProtocolVersion` in `server.go`).
const CORE_PROTOCOL: u32 = 1;

/// A plugin's proof that a host, and not a person, started it: an environment variable with an agreed value.
#[derive(Clone, Copy, Debug)]
pub struct Cookie {
    /// The variable's name, for Argo Rollouts `ARGO_ROLLOUTS_RPC_PLUGIN`.
    pub key: &'static str,
    /// The value that names the kind of plugin, for a traffic router `trafficrouter`.
    pub value: &'static str,
}

/// What the host said by environment variables (`Client.Start` in go-plugin's `client.go`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostEnvironment {
    /// The application versions the host offers, in its own order. Empty when it said nothing we understand.
    pub versions: Vec<u32>,
    /// Where the host wants our socket (`PLUGIN_UNIX_SOCKET_DIR`).
    pub socket_dir: Option<PathBuf>,
    /// Who shares the socket with its owner: a group's name or number (`PLUGIN_UNIX_SOCKET_GROUP`).
    pub socket_group: Option<String>,
    /// The certificate, in PEM, of a host that wants TLS on both sides (`PLUGIN_CLIENT_CERT`).
    pub client_certificate: Option<String>,
    /// The host offers to multiplex gRPC. Then the line has a seventh field, whatever the door.
    pub multiplex_offered: bool,
}

/// A plugin that was not started by a host of its kind.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the environment variable {key} is not `{value}`: a host sets it when it starts a plugin")]
pub struct NotAHost {
    key: &'static str,
    value: &'static str,
}

impl HostEnvironment {
    /// Reads what the host set, through `variable` so that tests need no process environment.
    ///
    /// # Errors
    /// [`NotAHost`] when the cookie is missing or another kind of plugin's.
    pub fn read(cookie: Cookie, variable: impl Fn(&str) -> Option<String>) -> Result<Self, NotAHost> {
        if variable(cookie.key).as_deref() != Some(cookie.value) {
            return Err(NotAHost { key: cookie.key, value: cookie.value });
        }
        let non_empty = |name| variable(name).filter(|value| !value.is_empty());
        Ok(Self {
            // go-plugin skips what it cannot parse (`protocolVersion` in `server.go`); so do we.
            versions: non_empty("PLUGIN_PROTOCOL_VERSIONS")
                .map(|list| list.split(',').filter_map(|item| item.trim().parse().ok()).collect())
                .unwrap_or_default(),
            socket_dir: non_empty("PLUGIN_UNIX_SOCKET_DIR").map(PathBuf::from),
            socket_group: non_empty("PLUGIN_UNIX_SOCKET_GROUP"),
            client_certificate: non_empty("PLUGIN_CLIENT_CERT"),
            multiplex_offered: non_empty("PLUGIN_MULTIPLEX_GRPC").is_some(),
        })
    }

    /// The version to speak: the highest of ours that the host offers, otherwise our lowest. In the second case the
    /// host itself reports the mismatch, in its own words (`protocolVersion` in `server.go`).
    ///
    /// `ours` must not be empty.
    #[must_use]
    pub fn negotiate(&self, ours: &[u32]) -> Option<u32> {
        let common = ours.iter().filter(|version| self.versions.contains(version)).max();
        common.or_else(|| ours.iter().min()).copied()
    }

    /// The handshake line for a listening unix socket, without its newline.
    ///
    /// `certificate` is ours in base64, empty unless the host gave one: a certificate that was not asked for makes the
    /// host dereference nil and takes the whole controller down (`client.go`, `loadServerCert`). `multiplexed` is told
    /// only to a host that offered it.
    #[must_use]
    pub fn line(&self, version: u32, protocol: &str, socket: &Path, certificate: &str, multiplexed: bool) -> String {
        let socket = socket.display();
        let line = format!("{CORE_PROTOCOL}|{version}|unix|{socket}|{protocol}|{certificate}");
        if self.multiplex_offered { format!("{line}|{multiplexed}") } else { line }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const COOKIE: Cookie = Cookie { key: "ARGO_ROLLOUTS_RPC_PLUGIN", value: "trafficrouter" };

    fn host(variables: &[(&str, &str)]) -> Result<HostEnvironment, NotAHost> {
        HostEnvironment::read(COOKIE, |name| {
            variables.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned())
        })
    }

    fn offering(versions: &str) -> HostEnvironment {
        host(&[(COOKIE.key, COOKIE.value), ("PLUGIN_PROTOCOL_VERSIONS", versions)]).unwrap()
    }

    #[test]
    fn without_the_cookie_nobody_is_a_host() {
        assert!(host(&[]).is_err());
        assert!(host(&[(COOKIE.key, "metricprovider")]).is_err());
        assert!(host(&[(COOKIE.key, COOKIE.value)]).is_ok());
    }

    #[test]
    fn the_highest_common_version_wins_and_the_lowest_of_ours_is_the_fallback() {
        for (offered, ours, spoken) in [
            ("1", &[1][..], 1),
            ("2,1", &[1, 2][..], 2),
            ("1,2", &[2, 1][..], 2),
            ("1", &[1, 2][..], 1),
            ("", &[1, 2][..], 1),
            ("7", &[1, 2][..], 1),
            ("x, 2 ,-1,99999999999", &[1, 2][..], 2),
        ] {
            assert_eq!(offering(offered).negotiate(ours), Some(spoken), "offered {offered:?}");
        }
        assert_eq!(offering("1").negotiate(&[]), None);
    }

    #[test]
    fn the_line_has_a_certificate_and_a_seventh_field_only_when_asked() {
        let socket = Path::new("/tmp/plugin1");
        assert_eq!(offering("1").line(1, "netrpc", socket, "", false), "1|1|unix|/tmp/plugin1|netrpc|");
        assert_eq!(offering("2").line(2, "grpc", socket, "MIIB", false), "1|2|unix|/tmp/plugin1|grpc|MIIB");
        let multiplexing = host(&[(COOKIE.key, COOKIE.value), ("PLUGIN_MULTIPLEX_GRPC", "true")]).unwrap();
        assert_eq!(multiplexing.line(1, "netrpc", socket, "", false), "1|1|unix|/tmp/plugin1|netrpc||false");
        assert_eq!(multiplexing.line(2, "grpc", socket, "MIIB", true), "1|2|unix|/tmp/plugin1|grpc|MIIB|true");
    }

    #[test]
    fn what_the_host_leaves_empty_it_did_not_say() {
        let names =
            ["PLUGIN_UNIX_SOCKET_DIR", "PLUGIN_UNIX_SOCKET_GROUP", "PLUGIN_CLIENT_CERT", "PLUGIN_MULTIPLEX_GRPC"];
        let set = |value| {
            let variables: Vec<_> =
                names.map(|name| (name, value)).into_iter().chain([(COOKIE.key, COOKIE.value)]).collect();
            host(&variables).unwrap()
        };
        assert_eq!(set(""), HostEnvironment::default());
        let said = set("x");
        assert_eq!((said.socket_dir, said.socket_group), (Some(PathBuf::from("x")), Some("x".to_owned())));
        assert_eq!((said.client_certificate, said.multiplex_offered), (Some("x".to_owned()), true));
    }
}
