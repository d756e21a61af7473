//! The binary that is shipped, where it has to live: a root with nothing in it, an unknown user, no HOME.

use std::io::{BufRead as _, BufReader};
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

/// Needs root for chroot(8), and the binary of `make dist`, which names it by this variable.
const BINARY: &str = "DIST_BINARY";

#[test]
#[ignore = "run by make dist, which builds the binary"]
fn static_binary_shakes_hands_in_an_empty_root() -> Result<()> {
    let binary = std::env::var(BINARY).with_context(|| format!("{BINARY} names no binary: run `make dist`"))?;
    let root = tempfile::tempdir()?;
    std::fs::copy(&binary, root.path().join("plugin"))?;
    let tmp = root.path().join("tmp");
    std::fs::create_dir(&tmp)?;
    std::fs::set_permissions(&tmp, std::fs::Permissions::from_mode(0o1777))?;
    std::fs::set_permissions(root.path(), std::fs::Permissions::from_mode(0o755))?;
    let mut child = Command::new("/usr/sbin/chroot")
        .args(["--userspec=999:999", "--groups="])
        .arg(root.path())
        .arg("/plugin")
        .env_clear()
        .envs([("ARGO_ROLLOUTS_RPC_PLUGIN", "trafficrouter"), ("PLUGIN_PROTOCOL_VERSIONS", "1")])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut lines = BufReader::new(child.stdout.take().context("stdout is a pipe")?).lines();
    let line = lines.next().context("the plugin ended without a handshake")??;
    let fields: Vec<&str> = line.split('|').collect();
    let [core, version, network, address, protocol, certificate] = fields.as_slice() else { panic!("{line}") };
    assert_eq!((*core, *version, *network, *protocol, *certificate), ("1", "1", "unix", "netrpc", ""));
    // Somebody answers there, and when the connection ends, so does the plugin.
    let socket = root.path().join(Path::new(address).strip_prefix("/")?);
    drop(UnixStream::connect(&socket)?);
    assert!(child.wait()?.success());
    assert!(!socket.exists());
    Ok(())
}
