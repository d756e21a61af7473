//! go-plugin's `grpc` protocol: gRPC on each connection, or on each yamux stream of the one connection that a host
//! multiplexes.
//!
//! Besides what a plugin is for, a host asks it for its health and tells it to go; it opens the broker and the output
//! too, and expects both to stay open (`grpc_client.go`, `grpc_server.go` in go-plugin).

use std::io;
use std::time::Duration;

use futures_util::StreamExt;
use hyper::Request;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tonic::codegen::Service as _;
use tonic::service::Routes;
use tracing::debug;

use super::paced::multiplexed;
use super::tls::AutoMtls;
use arriving::{Place, Places};
use services::with_go_plugins;

pub use calls::Calls;

mod arriving;
mod calls;
mod services;

/// The name of the protocol inside TLS. A host's gRPC refuses a connection without it.
pub(super) const ALPN: &[u8] = b"h2";

/// The longest message that is read, in bytes; as for gob. etcd keeps an object below 2 MB.
pub const MAX_MESSAGE_BYTES: usize = 8 << 20;

/// The most calls that one connection may have open; a host waits with the next.
const MAX_OPEN_CALLS: u32 = 64;

/// How much of a call may be sent before it is read, in bytes: HTTP/2's smallest default.
const CALL_WINDOW: u32 = 65_535;

/// The most streams of a multiplexed connection. A host uses one: we offer it no further servers.
const MAX_STREAMS: usize = 8;

/// How long a peer may take for its first call, or its first stream. A host opens broker and output at once
/// (`newGRPCClient` in `grpc_client.go`).
const FIRST_CALL: Duration = Duration::from_secs(10);

/// The plugin's own services.
#[derive(Clone, Debug)]
pub struct Offer {
    /// What it is for. go-plugin's services are added to it.
    pub services: Routes,
}

/// Serves one connection until the host closes it. `quit` is cancelled when the host says Shutdown; the connection then
/// stays open, since the host closes it after it has read the reply.
///
/// # Errors
/// When the connection broke, its peer broke HTTP/2's rules, or called nothing.
pub async fn serve<S>(connection: S, offer: Offer, quit: CancellationToken) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let services = with_go_plugins(offer.services, quit).await;
    let places = Places::default();
    let called = CancellationToken::new();
    let first_call = called.clone();
    let services = service_fn(move |request: Request<Incoming>| {
        called.cancel();
        let place = Place::default();
        let mut request = request.map(|body| places.arriving(body, place.clone()));
        request.extensions_mut().insert(place);
        services.clone().call(request)
    });
    let serving = http2::Builder::new(TokioExecutor::new())
        .max_concurrent_streams(MAX_OPEN_CALLS)
        .initial_stream_window_size(CALL_WINDOW)
        // Calls that wait to be read must not keep the bytes of the others from coming.
        .initial_connection_window_size(MAX_OPEN_CALLS * CALL_WINDOW)
        .serve_connection(TokioIo::new(connection), services);
    tokio::pin!(serving);
    tokio::select! {
        served = &mut serving => return served.map_err(io::Error::other),
        called = timeout(FIRST_CALL, first_call.cancelled()) => called?,
    }
    serving.await.map_err(io::Error::other)
}

/// Serves a connection whose yamux streams are the connections (`grpcmux/grpc_server_muxer.go`). TLS, if any, is inside
/// each.
///
/// # Errors
/// When the connection broke, its peer broke yamux's rules, or opened no stream.
pub(super) async fn serve_multiplexed<S>(
    connection: S,
    tls: Option<AutoMtls>,
    offer: Offer,
    quit: CancellationToken,
) -> io::Result<()>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut session = multiplexed(connection, MAX_STREAMS);
    // Polling the session is what moves every stream's bytes, so nothing is awaited here but the session itself.
    let mut is_first = true;
    loop {
        let next = session.next();
        let next = if is_first { timeout(FIRST_CALL, next).await? } else { next.await };
        is_first = false;
        let Some(stream) = next.transpose()? else { return Ok(()) };
        let (tls, offer, quit) = (tls.clone(), offer.clone(), quit.clone());
        tokio::spawn(async move {
            let served = match tls {
                None => serve(stream, offer, quit).await,
                Some(tls) => match tls.accept(stream).await {
                    Ok(stream) => serve(stream, offer, quit).await,
                    Err(error) => Err(error),
                },
            };
            if let Err(error) = served {
                debug!("a multiplexed connection broke: {error}");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::AsyncWriteExt as _;

    use super::*;

    fn nothing() -> Offer {
        Offer { services: Routes::default() }
    }

    #[tokio::test(start_paused = true)]
    async fn a_peer_that_calls_nothing_is_given_up() {
        let (_silent, near) = tokio::io::duplex(1024);
        let error = serve(near, nothing(), CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        let (_silent, near) = tokio::io::duplex(1024);
        let error = serve_multiplexed(near, None, nothing(), CancellationToken::new()).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }

    #[tokio::test]
    async fn a_peer_that_speaks_something_else_is_an_error_and_one_that_goes_is_not_waited_for() {
        let (mut peer, near) = tokio::io::duplex(1024);
        let serving = tokio::spawn(serve(near, nothing(), CancellationToken::new()));
        peer.write_all(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n").await.unwrap();
        assert!(serving.await.unwrap().is_err());
        let (peer, near) = tokio::io::duplex(1024);
        let serving = tokio::spawn(serve_multiplexed(near, None, nothing(), CancellationToken::new()));
        drop(peer);
        let _ = timeout(Duration::from_secs(5), serving).await.unwrap();
    }
}
