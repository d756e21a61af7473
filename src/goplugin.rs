//! What any go-plugin host expects of the process it started: the handshake, log lines, a protocol, a clean end.
//! Nothing here knows of load balancers or Rollouts.

use std::io::{self, Write};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use handshake::{Cookie, HostEnvironment, NotAHost};
pub use socket::{Socket, SocketError};

mod handshake;
pub mod hclog;
pub mod netrpc;
mod socket;

/// How long a host may take to dial. It gives up itself after 60 s (`ClientConfig.StartTimeout`).
const FIRST_DIAL: Duration = Duration::from_secs(60);
/// How long we outlive the last connection. A host dials once; when its connection ends, it is gone.
const WITHOUT_HOST: Duration = Duration::from_secs(1);
/// How long no connection is accepted after one could not be: the system lacks file descriptors, say.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// How long a host may take to close its connection after Quit. It kills us 2 s after the reply (`Client.Kill`).
const AFTER_QUIT: Duration = Duration::from_secs(1);

/// Why a plugin could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no place for the socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The host does not read our handshake.
    #[error("the handshake could not be written to stdout: {0}")]
    Handshake(io::Error),
}

/// Listens, and tells the host where. stdout is closed to us afterwards: a host that has read the line reads no further,
/// and a full pipe would block a writer for ever.
///
/// # Errors
/// [`StartError`].
pub fn shake_hands(host: &HostEnvironment, version: u32, protocol: &str) -> Result<Socket, StartError> {
    let dir = host.socket_dir.clone().unwrap_or_else(std::env::temp_dir);
    let socket = Socket::bind_in(&dir)?;
    let line = host.line(version, protocol, socket.path());
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(StartError::Handshake)?;
    let nowhere = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    if let Err(error) = nowhere.and_then(rustix::stdio::dup2_stdout) {
        // An empty root has no /dev/null. Then stdout stays open, and our own rule not to write to it must do.
        debug!("stdout stays open: {error}");
    }
    Ok(socket)
}

/// Serves hosts over `netrpc` until the host says Quit, is gone, or `stop` is done.
pub async fn serve(socket: Socket, offer: netrpc::Offer, stop: impl Future<Output = ()>) {
    let quit = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut alone_until = Instant::now() + FIRST_DIAL;
    tokio::pin!(stop);
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok(connection) => {
                    connections.spawn(netrpc::serve(connection, offer.clone(), quit.clone()));
                }
                Err(error) => {
                    warn!("a connection could not be accepted: {error}");
                    sleep(ACCEPT_BACKOFF).await;
                }
            },
            Some(ended) = connections.join_next() => {
                match ended {
                    Ok(Ok(())) => debug!("a connection ended"),
                    Ok(Err(error)) => warn!("a connection broke: {error}"),
                    Err(error) => warn!("a connection was dropped: {error}"),
                }
                alone_until = Instant::now() + WITHOUT_HOST;
            }
            () = sleep_until(alone_until), if connections.is_empty() => {
                info!("no host is connected any more");
                return;
            }
            () = quit.cancelled() => {
                // The host closes the connection once it has read the reply; closing first would look like a crash.
                let _ = timeout(AFTER_QUIT, async { while connections.join_next().await.is_some() {} }).await;
                return;
            }
            () = &mut stop => return,
        }
    }
}
