//! The port of the API server: open or shut, and always its own.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;

/// After a failed accept, for example because there are no file descriptors left.
const ACCEPT_AGAIN_AFTER: Duration = Duration::from_millis(50);

/// A port of 127.0.0.1. While it is shut, connections are refused, but nobody else gets the port.
#[derive(Debug)]
pub(super) struct Door {
    address: SocketAddr,
    /// Bound and never listening: it keeps the port.
    _keeper: TcpSocket,
}

impl Door {
    /// Takes a free port. It is shut at first.
    pub(super) fn bind() -> io::Result<Self> {
        let keeper = shared_socket(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?;
        Ok(Self { address: keeper.local_addr()?, _keeper: keeper })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// From here on connections are taken; dropping the listener shuts the door.
    pub(super) fn open(&self) -> io::Result<TcpListener> {
        shared_socket(self.address)?.listen(BACKLOG)
    }

    /// Serves, and shuts and opens as `wants_open` says and `is_open` then shows, until nobody can say so any more. Shutting
    /// breaks all connections.
    pub(super) async fn serve(
        self,
        mut listener: TcpListener,
        app: Router,
        mut wants_open: watch::Receiver<bool>,
        is_open: watch::Sender<bool>,
    ) {
        loop {
            let mut connections = JoinSet::new();
            let is_over = loop {
                tokio::select! {
                    accepted = listener.accept() => match accepted {
                        Ok((stream, _)) => {
                            connections.spawn(connection(stream, app.clone()));
                        }
                        Err(_) => tokio::time::sleep(ACCEPT_AGAIN_AFTER).await,
                    },
                    Some(_) = connections.join_next() => {}
                    is_over = async { wants_open.wait_for(|wants_open| !wants_open).await.is_err() } => break is_over,
                }
            };
            drop(listener);
            connections.shutdown().await;
            is_open.send_replace(false);
            if is_over || wants_open.wait_for(|wants_open| *wants_open).await.is_err() {
                return;
            }
            // The port is kept, so this fails only if the system has no sockets left. Then the server stays away.
            let Ok(opened) = self.open() else { return };
            listener = opened;
            is_open.send_replace(true);
        }
    }
}

/// A socket on an address that it shares with our other ones.
fn shared_socket(address: SocketAddr) -> io::Result<TcpSocket> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(true)?;
    socket.bind(address)?;
    Ok(socket)
}

async fn connection(stream: TcpStream, app: Router) {
    // Events of a watch are small and must not wait for each other. Without the option they are merely slower.
    let _ = stream.set_nodelay(true);
    let service = TowerToHyperService::new(app);
    // An error is a client that has gone, or a connection that was cut on purpose.
    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
}
