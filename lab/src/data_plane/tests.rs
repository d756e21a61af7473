//! The data plane with real sockets: pods, load balancer nodes and clients, all on loopback.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::stream;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, StreamBody};
use hyper::body::{Bytes, Frame, Incoming};
use hyper::header::{HOST, HeaderMap};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::counters::{Count, Outcome};
use super::fixture::{self, Shop};
use super::{DataPlane, DataPlaneConfig};
use crate::control_plane::model::targets::Target;

mod draining;
mod failures;
mod routing;
mod soak;
mod throughput;

/// Only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(60);

type Answer = Response<UnsyncBoxBody<Bytes, io::Error>>;

/// A shop with its load balancer nodes, and a client.
struct Stand {
    shop: Shop,
    data_plane: DataPlane,
    /// One for each node.
    addresses: Vec<SocketAddr>,
    client: Client<HttpConnector, Full<Bytes>>,
}

/// A target. `/health` says whether it is healthy; `/slow` answers and `/half` ends when it is released; `/close` closes the
/// connection without an answer; `/echo` answers with what it got; everything else with the pod's name.
#[derive(Clone)]
struct Pod {
    address: SocketAddr,
    name: &'static str,
    healthy: Arc<AtomicBool>,
    served: Arc<AtomicU64>,
    released: watch::Sender<bool>,
    stop: CancellationToken,
}

/// What the client saw of an answer.
#[derive(Debug)]
struct Seen {
    status: StatusCode,
    headers: HeaderMap,
    /// `None` if it broke off.
    body: Option<Bytes>,
}

impl Stand {
    async fn start(shop: Shop, config: DataPlaneConfig) -> Self {
        shop.set_groups(|group| group.health_check_path = "/health".to_owned());
        let listener = shop.listener.clone();
        let data_plane = DataPlane::start(shop.control_plane.clone(), config);
        let addresses = within(data_plane.listening(&listener)).await;
        let addresses = addresses.into_iter().map(|node| node.address).collect();
        let client = Client::builder(TokioExecutor::new()).build_http();
        Self { shop, data_plane, addresses, client }
    }

    /// One node, which follows at once and checks every 20 ms.
    async fn quick() -> Self {
        Self::start(Shop::new(), quick()).await
    }

    fn register(&self, group_arn: &str, pod: &Pod) -> Target {
        self.shop.register(group_arn, &pod.address.ip().to_string(), pod.address.port())
    }

    /// Registers the pod with stable, and waits until every node sends requests to it.
    async fn with_stable(&self, pod: &Pod) -> Target {
        let target = self.register(&self.shop.stable, pod);
        self.until_served(&self.shop.stable, pod).await;
        target
    }

    async fn until_served(&self, group_arn: &str, pod: &Pod) {
        let address = pod.address.to_string();
        let served = || {
            let nodes = self.data_plane.may_send_to(group_arn);
            nodes.len() == self.addresses.len() && nodes.iter().all(|node| node.targets.contains(&address))
        };
        until(served).await;
    }

    async fn get(&self, path: &str) -> Seen {
        self.get_from(self.addresses[0], path).await
    }

    async fn get_from(&self, node: SocketAddr, path: &str) -> Seen {
        let request = Request::get(format!("http://{node}{path}")).header(HOST, fixture::HOST);
        self.send(request.body(Full::default()).expect("a sound request")).await
    }

    async fn send(&self, request: Request<Full<Bytes>>) -> Seen {
        let answer = within(self.client.request(request)).await.expect("the load balancer answers");
        let (parts, body) = answer.into_parts();
        let body = within(body.collect()).await.ok().map(|body| body.to_bytes());
        Seen { status: parts.status, headers: parts.headers, body }
    }

    /// Requests that ended like this.
    fn ended(&self, outcome: Outcome, status: Option<u16>) -> u64 {
        self.data_plane.counters().ended(|count| count.outcome == outcome && count.status == status)
    }

    fn rows(&self) -> Vec<Count> {
        self.data_plane.counters().nodes.into_iter().flat_map(|node| node.counts).collect()
    }
}

impl Pod {
    async fn start(name: &'static str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a loopback port is free");
        let pod = Self {
            address: listener.local_addr().expect("it is bound"),
            name,
            healthy: Arc::new(AtomicBool::new(true)),
            served: Arc::default(),
            released: watch::Sender::new(false),
            stop: CancellationToken::new(),
        };
        tokio::spawn(pod.clone().run(listener));
        pod
    }

    /// Stops at once: what is in flight is cut, and new connections are refused.
    fn kill(&self) {
        self.stop.cancel();
    }

    fn release(&self) {
        self.released.send_replace(true);
    }

    fn served(&self) -> u64 {
        self.served.load(Ordering::SeqCst)
    }

    async fn run(self, listener: TcpListener) {
        loop {
            let stream = tokio::select! {
                () = self.stop.cancelled() => return,
                accepted = listener.accept() => accepted.expect("the socket is sound").0,
            };
            let pod = self.clone();
            tokio::spawn(async move {
                let service = service_fn(|request| pod.answer(request));
                let connection = http1::Builder::new().serve_connection(TokioIo::new(stream), service);
                tokio::select! {
                    () = pod.stop.cancelled() => {}
                    _ = connection => {}
                }
            });
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Result<Answer, io::Error> {
        if request.uri().path() == "/health" {
            let healthy = self.healthy.load(Ordering::SeqCst);
            let status = if healthy { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
            let mut answer = whole(String::new());
            *answer.status_mut() = status;
            return Ok(answer);
        }
        self.served.fetch_add(1, Ordering::SeqCst);
        match request.uri().path() {
            "/close" => Err(io::Error::other("closed on purpose")),
            "/slow" => {
                self.until_released().await;
                Ok(whole(self.name.to_owned()))
            }
            "/half" => {
                let pod = self.clone();
                let halves = stream::unfold(0, move |half| {
                    let pod = pod.clone();
                    async move {
                        match half {
                            0 => Some((Ok(Frame::data(Bytes::from("first "))), 1)),
                            1 => {
                                pod.until_released().await;
                                Some((Ok(Frame::data(Bytes::from("second"))), 2))
                            }
                            _ => None,
                        }
                    }
                });
                Ok(Response::new(StreamBody::new(halves).boxed_unsync()))
            }
            "/echo" => {
                let (parts, body) = request.into_parts();
                let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
                let mut text = format!("{} {}\n", parts.method, parts.uri);
                for (name, value) in &parts.headers {
                    text.push_str(&format!("{name}: {}\n", value.to_str().expect("text")));
                }
                text.push_str(&format!("\n{}", body.len()));
                Ok(whole(text))
            }
            _ => Ok(whole(self.name.to_owned())),
        }
    }

    async fn until_released(&self) {
        let _ = self.released.subscribe().wait_for(|released| *released).await;
    }
}

impl Seen {
    fn text(&self) -> &str {
        let body = self.body.as_ref().expect("the whole answer");
        std::str::from_utf8(body).expect("text")
    }

    /// The header's values, in order.
    fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().expect("text")).collect()
    }
}

fn quick() -> DataPlaneConfig {
    DataPlaneConfig {
        nodes: 1,
        lag: Duration::ZERO..=Duration::ZERO,
        health_check_interval: Some(Duration::from_millis(20)),
        ..DataPlaneConfig::default()
    }
}

fn whole(text: String) -> Answer {
    let body = Full::<Bytes>::from(text).map_err(|never: Infallible| match never {});
    Response::new(body.boxed_unsync())
}

async fn within<F: Future>(future: F) -> F::Output {
    timeout(PATIENCE, future).await.expect("it hangs")
}

/// Waits for a condition that nobody announces.
async fn until(mut condition: impl FnMut() -> bool) {
    within(async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
}
