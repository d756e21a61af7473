//! One connection of a host.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_yamux::stream::StreamHandle;
use tracing::debug;

use super::allowance::Allowance;
use super::broker::Broker;
use super::control::{Control, Dispenser};
use super::rpc::{self, Service};
use crate::goplugin::paced::multiplexed;

/// The most streams one connection may hold open. A host uses three, and one more for each plugin it dispenses.
const MAX_STREAMS: usize = 16;

/// How long a peer may take to open its first stream. A host does it at once (`newRPCClient` in `rpc_client.go`).
const FIRST_STREAM: Duration = Duration::from_secs(10);

/// The plugin that a host can dispense.
#[derive(Clone, Debug)]
pub struct Offer {
    /// The name it is dispensed by, the key of the host's plugin map.
    pub name: &'static str,
    /// The net/rpc service on the stream that the host gets for it. go-plugin calls every such service `Plugin`.
    pub service: Arc<dyn Service>,
}

/// The name of the one service on a dispensed stream (`dispenseServer` in `rpc_server.go`).
const PLUGIN_SERVICE: &str = "Plugin";

/// Serves one connection until the host closes it. `quit` is cancelled when the host says Quit; the connection then
/// stays open, since the host closes it after it has read the reply.
///
/// # Errors
/// When the connection broke, its peer broke yamux's rules, or it did not read what we answered.
pub async fn serve<S>(connection: S, offer: Offer, quit: CancellationToken) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut session = multiplexed(connection, MAX_STREAMS);
    // Whatever the streams still do when the connection ends, they hold nothing of it and wait for nobody.
    let (allowance, _until_the_end) = Allowance::new();
    let broker = Arc::new(Broker::new(offer.name));
    let mut opened = 0_u64;
    // Polling the session is what moves every stream's bytes, so nothing is awaited here but the session itself.
    loop {
        let next = session.next();
        let next = if opened == 0 { timeout(FIRST_STREAM, next).await.map_err(|_| silent())? } else { next.await };
        let Some(stream) = next.transpose()? else { return Ok(()) };
        opened += 1;
        let allowance = allowance.clone();
        match opened {
            1 => {
                let control = Arc::new(Control { quit: quit.clone() });
                let dispenser = Arc::new(Dispenser { broker: Arc::clone(&broker) });
                tokio::spawn(logged(
                    "control",
                    rpc::serve(stream, vec![("Control", control), ("Dispenser", dispenser)], allowance),
                ));
            }
            2 | 3 => drop(tokio::spawn(drained(stream))),
            _ => {
                let (broker, service) = (Arc::clone(&broker), Arc::clone(&offer.service));
                tokio::spawn(logged("plugin", dispensed(stream, broker, service, allowance)));
            }
        }
    }
}

fn silent() -> io::Error {
    let seconds = FIRST_STREAM.as_secs();
    io::Error::new(io::ErrorKind::TimedOut, format!("the host has opened no stream within {seconds} s"))
}

/// Serves a stream that the host opened for a plugin it dispensed.
async fn dispensed(
    mut stream: StreamHandle,
    broker: Arc<Broker>,
    service: Arc<dyn Service>,
    allowance: Allowance,
) -> Result<(), rpc::Error> {
    broker.claim(&mut stream).await?;
    rpc::serve(stream, vec![(PLUGIN_SERVICE, service)], allowance).await
}

/// Keeps a stream for stdout or stderr open: dropping it would reset it, and a stream that is not read would in the end
/// stop the whole connection. We write our log to the real stderr, so these stay silent.
async fn drained(mut stream: StreamHandle) {
    let mut buffer = [0; 512];
    while matches!(stream.read(&mut buffer).await, Ok(bytes) if bytes > 0) {}
}

async fn logged(name: &'static str, serving: impl Future<Output = Result<(), rpc::Error>>) {
    if let Err(error) = serving.await {
        debug!(stream = name, "stream closed: {error}");
    }
}
