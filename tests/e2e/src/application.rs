//! What runs in Pods, and beside them: an HTTP server on a loopback address of its own, whose answers name the version.

use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddrV4};
use std::ops::RangeInclusive;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use anyhow::{Context, bail};
use lab::workload::Application;

/// The port of every Pod.
pub(crate) const PORT: u16 = 8080;

/// How long an answer takes.
const SERVICE_TIME: RangeInclusive<Duration> = Duration::from_millis(2)..=Duration::from_millis(10);

/// Addresses in a row that others may have taken.
const TRIES: usize = 1000;

/// The host part of the next address.
static NEXT: AtomicU16 = AtomicU16::new(1);

/// A server of this version. It takes connections from now on.
pub(crate) async fn listen(version: &str) -> anyhow::Result<(SocketAddrV4, Application)> {
    for _ in 0..TRIES {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let [high, low] = number.to_be_bytes();
        let address = SocketAddrV4::new(Ipv4Addr::new(127, network(), high, low), PORT);
        match Application::bind(address, version, SERVICE_TIME, number.into()).await {
            Ok(application) => return Ok((address, application)),
            Err(error) if error.kind() == ErrorKind::AddrInUse => {}
            Err(error) => return Err(error).with_context(|| format!("cannot listen on {address}")),
        }
    }
    bail!("no address in 127.{}.0.0/16 is free on port {PORT}", network())
}

/// Another one for each process, so that two runs on one machine seldom meet: 64 to 127, where the demo's Pods are not.
fn network() -> u8 {
    u8::try_from(std::process::id() % 64).unwrap_or_default() + 64
}
