//! The sockets of a node: one for each listener that it knows. TLS is not spoken, so an HTTPS listener is served in HTTP too.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use crate::data_plane::proxy;
use crate::data_plane::server::NodeServer;

/// After the system had no socket to give.
const BREATH: Duration = Duration::from_millis(50);
/// A client's connection without a request is closed after this: AWS's default of `idle_timeout.timeout_seconds`.
const CLIENT_IDLE: Duration = Duration::from_secs(60);

/// What is open, by listener ARN.
#[derive(Debug, Default)]
pub(super) struct Sockets {
    open: BTreeMap<Arc<str>, Socket>,
}

#[derive(Debug)]
struct Socket {
    address: SocketAddr,
    stop: CancellationToken,
}

impl Sockets {
    /// Opens and closes sockets until they are those of the listeners that the node knows. A listener keeps its address.
    pub(super) async fn follow(&mut self, server: &Arc<NodeServer>) {
        let table = Arc::clone(server.state().node.table());
        let before = self.open.len();
        self.open.retain(|arn, socket| {
            let stays = table.listeners.contains_key(&**arn);
            if !stays {
                socket.stop.cancel();
            }
            stays
        });
        let mut changed = self.open.len() != before;
        for arn in table.listeners.keys().filter(|arn| !self.open.contains_key(arn.as_str())).collect::<Vec<_>>() {
            // Without a free port the next round tries again.
            let Ok(socket) = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await else { continue };
            let Ok(address) = socket.local_addr() else { continue };
            let arn: Arc<str> = Arc::from(arn.as_str());
            let stop = server.stop.child_token();
            server.tasks.spawn(accept(Arc::clone(server), Arc::clone(&arn), socket, stop.clone()));
            self.open.insert(arn, Socket { address, stop });
            changed = true;
        }
        if changed {
            let addresses = self.open.iter().map(|(arn, socket)| (arn.to_string(), socket.address)).collect();
            server.addresses.send_replace(addresses);
        }
    }
}

async fn accept(server: Arc<NodeServer>, listener_arn: Arc<str>, socket: TcpListener, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = socket.accept() => accepted,
        };
        match accepted {
            Ok((stream, client)) => {
                let connection = converse(Arc::clone(&server), Arc::clone(&listener_arn), stream, client, stop.clone());
                server.tasks.spawn(connection);
            }
            Err(_) => sleep(BREATH).await,
        }
    }
}

/// Serves one connection. When told to stop, it finishes the request under way, with a limit for a client that does not read.
async fn converse(
    server: Arc<NodeServer>,
    listener_arn: Arc<str>,
    stream: TcpStream,
    client: SocketAddr,
    stop: CancellationToken,
) {
    // An error means that the connection is broken, and serving it finds out as well.
    let _ = stream.set_nodelay(true);
    let idle_timeout = server.config.idle_timeout;
    let service = service_fn(move |request| {
        let answer = proxy::serve(Arc::clone(&server), Arc::clone(&listener_arn), client.ip(), request);
        async { Ok::<_, Infallible>(answer.await) }
    });
    let mut connection = pin!(
        http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(CLIENT_IDLE)
            .serve_connection(TokioIo::new(stream), service)
    );
    // How a connection ends is the client's business; what became of its requests has been counted.
    tokio::select! {
        _ = connection.as_mut() => return,
        () = stop.cancelled() => connection.as_mut().graceful_shutdown(),
    }
    let _ = timeout(idle_timeout, connection).await;
}
