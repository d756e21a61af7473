//! What any go-plugin host expects of the process it started: the handshake, log lines, a protocol, a clean end.
//! Nothing here knows of load balancers or Rollouts.

use std::io::{self, Write};
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use tokio::net::UnixStream;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

pub use handshake::{Cookie, HostEnvironment, NotAHost};
pub use socket::{Socket, SocketError};
pub use tls::TlsError;

use tls::AutoMtls;

pub mod grpc;
mod handshake;
pub mod hclog;
pub mod netrpc;
mod paced;
mod socket;
mod tls;

/// How long a host may take to dial. It gives up itself after 60 s (`ClientConfig.StartTimeout`).
const FIRST_DIAL: Duration = Duration::from_secs(60);
/// How long we outlive the last connection. A host dials once; when its connection ends, it is gone.
const WITHOUT_HOST: Duration = Duration::from_secs(1);
/// How long no connection is accepted after one could not be: the system lacks file descriptors, say.
const ACCEPT_BACKOFF: Duration = Duration::from_millis(100);
/// The most connections at a time. A host makes one; what each may cost is bounded, so their number must be too.
const MAX_CONNECTIONS: usize = 4;
/// How long a host may take to close its connection after Quit. It kills us 2 s after the reply (`Client.Kill`).
const AFTER_QUIT: Duration = Duration::from_secs(1);

/// What a host is offered, by the protocol it is served over.
#[derive(Clone, Debug)]
pub enum Plugin {
    /// Go's net/rpc on yamux.
    Netrpc(netrpc::Offer),
    /// gRPC.
    Grpc(grpc::Offer),
}

/// A plugin whose host knows where it listens.
#[derive(Debug)]
pub struct Listening {
    socket: Socket,
    greeted: Greeted,
}

/// What was agreed on for every connection.
#[derive(Clone, Debug)]
struct Greeted {
    plugin: Plugin,
    tls: Option<AutoMtls>,
    multiplexed: bool,
}

/// Why a plugin could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// There is no place for the socket.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The host wants TLS that we cannot give.
    #[error(transparent)]
    Tls(#[from] TlsError),
    /// The host does not read our handshake.
    #[error("the handshake could not be written to stdout: {0}")]
    Handshake(io::Error),
}

impl Plugin {
    /// The protocol's name in the handshake.
    #[must_use]
    pub fn protocol(&self) -> &'static str {
        match self {
            Self::Netrpc(_) => "netrpc",
            Self::Grpc(_) => "grpc",
        }
    }
}

/// Listens, and tells the host where. stdout is closed to us afterwards: a host that has read the line reads no further,
/// and a full pipe would block a writer for ever.
///
/// # Errors
/// [`StartError`].
pub fn shake_hands(host: &HostEnvironment, version: u32, plugin: Plugin) -> Result<Listening, StartError> {
    let is_grpc = matches!(plugin, Plugin::Grpc(_));
    let answer = |client: &String| AutoMtls::answering(client, is_grpc.then_some(grpc::ALPN));
    let tls = host.client_certificate.as_ref().map(answer).transpose()?;
    let greeted = Greeted { plugin, tls, multiplexed: is_grpc && host.multiplex_offered };

    let dir = host.socket_dir.clone().unwrap_or_else(std::env::temp_dir);
    let socket = Socket::bind_in(&dir, host.socket_group.as_deref())?;
    let certificate = greeted.tls.as_ref().map(AutoMtls::certificate).unwrap_or_default();
    let line = host.line(version, greeted.plugin.protocol(), socket.path(), &certificate, greeted.multiplexed);
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{line}").and_then(|()| stdout.flush()).map_err(StartError::Handshake)?;
    let nowhere = rustix::fs::open("/dev/null", OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty());
    if let Err(error) = nowhere.and_then(rustix::stdio::dup2_stdout) {
        // An empty root has no /dev/null. Then stdout stays open, and our own rule not to write to it must do.
        debug!("stdout stays open: {error}");
    }
    Ok(Listening { socket, greeted })
}

/// Serves hosts until the host tells us to go, is gone, or `stop` is done.
pub async fn serve(listening: Listening, stop: impl Future<Output = ()>) {
    let Listening { socket, greeted } = listening;
    let quit = CancellationToken::new();
    let mut connections = JoinSet::new();
    let mut alone_until = Instant::now() + FIRST_DIAL;
    tokio::pin!(stop);
    loop {
        tokio::select! {
            accepted = socket.accept() => match accepted {
                Ok(_) if connections.len() >= MAX_CONNECTIONS => debug!("one connection too many was closed"),
                Ok(connection) => {
                    connections.spawn(greeted.clone().serve(connection, quit.clone()));
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

impl Greeted {
    /// Serves one connection.
    async fn serve(self, connection: UnixStream, quit: CancellationToken) -> io::Result<()> {
        match (self.plugin, self.tls) {
            (Plugin::Netrpc(offer), None) => netrpc::serve(connection, offer, quit).await,
            (Plugin::Netrpc(offer), Some(tls)) => netrpc::serve(tls.accept(connection).await?, offer, quit).await,
            (Plugin::Grpc(offer), tls) if self.multiplexed => {
                grpc::serve_multiplexed(connection, tls, offer, quit).await
            }
            (Plugin::Grpc(offer), None) => grpc::serve(connection, offer, quit).await,
            (Plugin::Grpc(offer), Some(tls)) => grpc::serve(tls.accept(connection).await?, offer, quit).await,
        }
    }
}
