//! The customers: requests at a steady rate, whatever happens to the ones before.

use std::collections::BTreeMap;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http_body_util::{BodyExt, Empty};
use hyper::body::Bytes;
use hyper::header::{HOST, HeaderValue};
use hyper::{Request, Uri};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::{Client, Error};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{Instant, sleep_until, timeout};

mod schedule;
mod traffic;

pub use schedule::Arrivals;
use schedule::Schedule;
pub use traffic::{BUCKET, Bucket, Latencies, Outcome, Record, Traffic, WorstSecond};

use crate::workload::VERSION_HEADER;

/// Who asks for what, and how often.
#[derive(Debug, Clone)]
pub struct LoadConfig {
    /// The addresses of the load balancer's nodes; they take turns, as with DNS. Loopback only.
    pub nodes: Vec<SocketAddr>,
    /// The `Host` header, which rules may look at.
    pub host: String,
    /// The path, with its `/`.
    pub path: String,
    /// Requests per second, 1 to 10,000.
    pub rate: u32,
    /// How the requests are spread over time.
    pub arrivals: Arrivals,
    /// Connections that are kept open between requests, over all nodes. When all of them are busy, more are opened.
    pub connections: usize,
    /// Without an answer by then a request has failed.
    pub timeout: Duration,
    /// Sending ends by itself after this time.
    pub duration: Duration,
    /// For [`Arrivals::Random`].
    pub seed: u64,
}

/// Why a load cannot be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidLoad {
    /// Nobody to ask.
    #[error("the load has no node to send to; name at least one address of the load balancer")]
    NoNode,
    /// It would leave this machine.
    #[error("the load goes to loopback addresses only, not to {0}")]
    NotLoopback(SocketAddr),
    /// Nothing would be sent, or more than one machine can send.
    #[error("a rate of {0} requests per second is not between 1 and 10,000")]
    BadRate(u32),
    /// It cannot stand in a request.
    #[error("'{0}' cannot be the host or the path of a request")]
    BadRequest(String),
}

/// A load that is being sent. It stops by itself, by [`Load::stop`], or when it is dropped.
#[derive(Debug)]
pub struct Load {
    records: Records,
    /// Dropping it ends the sending.
    stop: oneshot::Sender<()>,
    sender: JoinHandle<()>,
}

/// What came back so far, shared with those who bring it.
#[derive(Debug, Clone, Default)]
struct Records(Arc<Mutex<Book>>);

#[derive(Debug, Default)]
struct Book {
    /// One record for each request that was sent, in that order; `None` while it is under way.
    records: Vec<Option<Record>>,
    /// Those that have ended, by their end: who watches does not have to count again.
    outcomes: BTreeMap<Outcome, u64>,
}

/// What all requests have in common.
#[derive(Debug)]
struct Customer {
    client: Client<HttpConnector, Empty<Bytes>>,
    targets: Vec<Uri>,
    host: HeaderValue,
    timeout: Duration,
}

impl Load {
    /// Begins to send at once, on the tokio runtime that it is called on.
    pub fn start(config: LoadConfig) -> Result<Self, InvalidLoad> {
        let customer = Arc::new(Customer::new(&config)?);
        let schedule = Schedule::new(config.rate, config.arrivals, config.duration, config.seed);
        let records = Records::default();
        let (stop, stopped) = oneshot::channel();
        let sender = tokio::spawn(send_all(customer, schedule, records.clone(), stopped));
        Ok(Self { records, stop, sender })
    }

    /// What came back so far, by its end. Requests that are under way are not in it.
    #[must_use]
    pub fn outcomes(&self) -> BTreeMap<Outcome, u64> {
        self.records.open().outcomes.clone()
    }

    /// Sends no more, and waits for the answers that are still to come.
    pub async fn stop(self) -> Traffic {
        let Self { records, stop, sender } = self;
        drop(stop);
        // An error would be a panic of the sender, which has been printed already.
        let _ = sender.await;
        Traffic::of(&records.open().records)
    }

    /// The same, with one record for each request, in the order in which they were due.
    pub async fn stop_and_tell(self) -> Vec<Option<Record>> {
        let Self { records, stop, sender } = self;
        drop(stop);
        let _ = sender.await;
        std::mem::take(&mut records.open().records)
    }

    /// Waits until everything is sent and answered.
    pub async fn finish(self) -> Traffic {
        let Self { records, stop: _stop, sender } = self;
        let _ = sender.await;
        Traffic::of(&records.open().records)
    }
}

/// Starts every request at its time, and none later because of another one.
async fn send_all(customer: Arc<Customer>, schedule: Schedule, records: Records, mut stopped: oneshot::Receiver<()>) {
    let begun = Instant::now();
    let mut under_way = JoinSet::new();
    for ((number, at), target) in schedule.enumerate().zip(customer.targets.iter().cycle()) {
        tokio::select! {
            biased;
            _ = &mut stopped => break,
            () = sleep_until(begun + at) => {}
        }
        while under_way.try_join_next().is_some() {}
        records.open().records.push(None);
        let (customer, target, records) = (Arc::clone(&customer), target.clone(), records.clone());
        under_way.spawn(async move {
            let (outcome, version) = customer.ask(target).await;
            // From when it was due, not from when it was sent: a sender that is late must not hide it.
            let latency = begun.elapsed().saturating_sub(at);
            let mut book = records.open();
            *book.outcomes.entry(outcome).or_default() += 1;
            if let Some(record) = book.records.get_mut(number) {
                *record = Some(Record { at, latency, outcome, version });
            }
        });
    }
    while under_way.join_next().await.is_some() {}
}

impl Customer {
    fn new(config: &LoadConfig) -> Result<Self, InvalidLoad> {
        if config.nodes.is_empty() {
            return Err(InvalidLoad::NoNode);
        }
        if let Some(node) = config.nodes.iter().find(|node| !node.ip().is_loopback()) {
            return Err(InvalidLoad::NotLoopback(*node));
        }
        if !(1..=10_000).contains(&config.rate) {
            return Err(InvalidLoad::BadRate(config.rate));
        }
        let target = |node: &SocketAddr| {
            let uri = format!("http://{node}{}", config.path);
            let usable = uri.parse::<Uri>().ok().filter(|uri| config.path.starts_with('/') && uri.port().is_some());
            usable.ok_or_else(|| InvalidLoad::BadRequest(config.path.clone()))
        };
        let mut connector = HttpConnector::new();
        connector.set_nodelay(true);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_max_idle_per_host(config.connections.div_ceil(config.nodes.len()))
            .build(connector);
        Ok(Self {
            client,
            targets: config.nodes.iter().map(target).collect::<Result<_, _>>()?,
            host: HeaderValue::from_str(&config.host).map_err(|_| InvalidLoad::BadRequest(config.host.clone()))?,
            timeout: config.timeout,
        })
    }

    /// One request, and who answered it.
    async fn ask(&self, target: Uri) -> (Outcome, Option<String>) {
        let mut request = Request::new(Empty::new());
        *request.uri_mut() = target;
        request.headers_mut().insert(HOST, self.host.clone());
        let answer = async {
            // A request that never left, because its kept connection had been closed, is sent again on another one: so
            // does a browser, and so does this client by itself (RFC 9110, 9.2.2).
            let response = self.client.request(request).await.map_err(|error| outcome(&error))?;
            let status = Outcome::Status(response.status().as_u16());
            let version = response.headers().get(VERSION_HEADER).and_then(|version| version.to_str().ok());
            let version = version.map(str::to_owned);
            response.into_body().collect().await.map_err(|_| Outcome::Closed)?;
            Ok((status, version))
        };
        match timeout(self.timeout, answer).await {
            Ok(Ok(answered)) => answered,
            Ok(Err(failed)) => (failed, None),
            Err(_) => (Outcome::TimedOut, None),
        }
    }
}

/// Nobody listens, or nobody answers.
fn outcome(error: &Error) -> Outcome {
    let mut cause: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = cause {
        if error.downcast_ref::<io::Error>().is_some_and(|error| error.kind() == io::ErrorKind::ConnectionRefused) {
            return Outcome::Refused;
        }
        cause = error.source();
    }
    Outcome::Closed
}

impl Records {
    fn open(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests;
