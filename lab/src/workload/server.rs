//! The application in a pod: it answers every request with its version.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddrV4;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderValue, USER_AGENT};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::{SharedLedger, VERSION_HEADER, draw};

/// How long it waits after an `accept` that failed, for example because no file descriptor is left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How the `User-Agent` of a load balancer's health checks begins (AWS user guide, "Health checks for your target groups").
const CHECKER: &[u8] = b"ELB-HealthChecker/";

/// What the server of a pod says, and how fast.
#[derive(Debug)]
pub(super) struct App {
    pub(super) version: String,
    pub(super) service_time: RangeInclusive<Duration>,
    pub(super) rng: Mutex<fastrand::Rng>,
    pub(super) ledger: SharedLedger,
}

/// A server that has its address and takes connections from now on.
#[derive(Debug)]
pub(super) struct Server {
    listener: TcpListener,
    app: Arc<App>,
}

impl Server {
    pub(super) async fn bind(address: SocketAddrV4, app: App) -> io::Result<Self> {
        Ok(Self { listener: TcpListener::bind(address).await?, app: Arc::new(app) })
    }

    /// Serves until the signal. Then nobody gets in any more, and who is inside is cut off, answered or not.
    pub(super) async fn run(self, signal: impl Future<Output = ()>) {
        let mut connections = JoinSet::new();
        tokio::pin!(signal);
        loop {
            tokio::select! {
                () = &mut signal => break,
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => drop(connections.spawn(serve(stream, Arc::clone(&self.app)))),
                    Err(_) => sleep(ACCEPT_PAUSE).await,
                },
                Some(_) = connections.join_next() => {}
            }
        }
        drop(self.listener);
        connections.shutdown().await;
    }
}

/// The application of one pod, for whoever plays the kubelet without a [`Workload`](super::Workload).
#[derive(Debug)]
pub struct Application(Server);

impl Application {
    /// Takes connections from now on, and answers as [`Serve::Http`](super::Serve::Http) says. Fails if the address is taken or not
    /// one of this machine. The seed decides over the times that answers take.
    pub async fn bind(
        address: SocketAddrV4,
        version: &str,
        service_time: RangeInclusive<Duration>,
        seed: u64,
    ) -> io::Result<Self> {
        let app = App {
            version: version.to_owned(),
            service_time,
            rng: Mutex::new(fastrand::Rng::with_seed(seed)),
            ledger: SharedLedger::default(),
        };
        Server::bind(address, app).await.map(Self)
    }

    /// Serves until the signal. Then nobody gets in any more, and who is inside is cut off, answered or not.
    pub async fn run(self, signal: impl Future<Output = ()>) {
        self.0.run(signal).await;
    }
}

/// One connection. However it ends, it is the client who finds out.
async fn serve(stream: TcpStream, app: Arc<App>) {
    // Without it an answer may wait for the client's delayed acknowledgement.
    let _ = stream.set_nodelay(true);
    let service = service_fn(|request: Request<Incoming>| answer(request, &app));
    let _ = http1::Builder::new().timer(TokioTimer::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(request: Request<Incoming>, app: &App) -> Result<Response<Full<Bytes>>, Infallible> {
    let service_time = draw(&mut app.rng.lock().unwrap_or_else(PoisonError::into_inner), &app.service_time);
    sleep(service_time).await;
    if request.headers().get(USER_AGENT).is_some_and(|agent| agent.as_bytes().starts_with(CHECKER)) {
        app.ledger.open().check(&app.version);
    } else {
        app.ledger.open().answer(&app.version);
    }
    let mut response = Response::new(Full::from(format!("{}\n", app.version)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain"));
    if let Ok(version) = HeaderValue::from_str(&app.version) {
        response.headers_mut().insert(VERSION_HEADER, version);
    }
    Ok(response)
}
