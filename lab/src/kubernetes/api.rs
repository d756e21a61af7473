//! The cluster over HTTP: as much of the Kubernetes API as the plugin needs, for the `kube` client and for `kubectl`.
//!
//! It has get, list, watch, create, merge patch and delete of the kinds in [`Kind::ALL`](super::Kind::ALL), and the status
//! subresources. It has no roles (whoever connects may do everything, unless a [`Fault`] forbids it), no schemas, no
//! admission, no finalizers and no pages.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use axum::Router;
use axum::routing::{delete, get, post};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::Instant;

mod admin;
mod answer;
mod discovery;
mod door;
mod faults;
mod log;
mod request;
mod resource;
mod status;
mod watches;

pub use faults::{Effect, Fault, InvalidFault};
pub use log::Request;
pub use request::Verb;

use super::store::Cluster;
use door::Door;
use log::Log;

/// A running API server. It stops when it is dropped, or by [`KubernetesApi::shutdown`].
#[derive(Debug)]
pub struct KubernetesApi {
    shared: Arc<Shared>,
    endpoint: String,
    /// The one task that accepts connections; it is aborted with the set.
    server: JoinSet<()>,
}

/// The bad days of an API server, to switch on and off. Clones switch the same server.
#[derive(Debug, Clone)]
pub struct FaultSwitch {
    shared: Arc<Shared>,
}

/// What all requests share.
#[derive(Debug)]
struct Shared {
    cluster: Cluster,
    started: Instant,
    started_at: SystemTime,
    faults: Mutex<Vec<Fault>>,
    log: Mutex<Log>,
    /// Counts the times when all watches were cut.
    cuts: watch::Sender<u64>,
    /// The server is to take connections.
    wants_open: watch::Sender<bool>,
    /// It does.
    is_open: watch::Receiver<bool>,
}

impl KubernetesApi {
    /// Binds a port of 127.0.0.1 that the system chooses, and serves. Runs on the tokio runtime that it is called on.
    pub fn start(cluster: Cluster) -> io::Result<Self> {
        let door = Door::bind()?;
        let listener = door.open()?;
        let endpoint = format!("http://{}", door.address());
        let (opened, is_open) = watch::channel(true);
        let shared = Arc::new(Shared {
            cluster,
            started: Instant::now(),
            started_at: SystemTime::now(),
            faults: Mutex::default(),
            log: Mutex::default(),
            cuts: watch::Sender::new(0),
            wants_open: watch::Sender::new(true),
            is_open,
        });
        let mut server = JoinSet::new();
        server.spawn(door.serve(listener, router(&shared), shared.wants_open.subscribe(), opened));
        Ok(Self { shared, endpoint, server })
    }

    /// The URL of the server, such as `http://127.0.0.1:40123`.
    #[must_use]
    pub fn endpoint(&self) -> &str {
        &self.endpoint
    }

    /// A kubeconfig file with the server as its only cluster, for `--kubeconfig` and `KUBECONFIG`.
    #[must_use]
    pub fn kubeconfig(&self) -> String {
        format!(
            "apiVersion: v1
kind: Config
current-context: lab
clusters:
- name: lab
  cluster:
    server: {}
contexts:
- name: lab
  context:
    cluster: lab
    user: lab
users:
- name: lab
  user: {{}}
",
            self.endpoint
        )
    }

    /// The bad days.
    #[must_use]
    pub fn faults(&self) -> FaultSwitch {
        FaultSwitch { shared: Arc::clone(&self.shared) }
    }

    /// All requests so far, in the order in which they were answered.
    #[must_use]
    pub fn requests(&self) -> Vec<Request> {
        self.shared.log().requests.clone()
    }

    /// How often each verb was used on each resource, such as `patch ingresses` or `patch rollouts/status`.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<String, u64> {
        self.shared.log().counts()
    }

    /// Stops the server and waits until the port is free. Requests in flight are broken off.
    pub async fn shutdown(mut self) {
        self.server.shutdown().await;
    }
}

impl FaultSwitch {
    /// Switches a fault on, beside those that are on already.
    pub fn add(&self, fault: Fault) -> Result<(), InvalidFault> {
        fault.check()?;
        self.shared.faults().push(fault);
        Ok(())
    }

    /// Switches all faults off. It does not bring back a server that is away.
    pub fn clear(&self) {
        self.shared.faults().clear();
    }

    /// What is switched on, with the number of requests that are left.
    #[must_use]
    pub fn list(&self) -> Vec<Fault> {
        self.shared.faults().clone()
    }

    /// Breaks the connections of all watches of this moment. For a watch that then comes too late (410), change something
    /// and call [`Cluster::forget_changes`](super::Cluster::forget_changes) while the server is away.
    pub fn cut_watches(&self) {
        self.shared.cuts.send_modify(|cuts| *cuts += 1);
    }

    /// The server goes away: connections break, and new ones are refused until [`FaultSwitch::come_back`]. Returns when it
    /// is so.
    pub async fn go_away(&self) {
        self.shared.set_open(false).await;
    }

    /// The server comes back, on the same port and with the same objects. Returns when it takes connections.
    pub async fn come_back(&self) {
        self.shared.set_open(true).await;
    }
}

impl Shared {
    async fn set_open(&self, open: bool) {
        self.wants_open.send_replace(open);
        // An error means that the server has been stopped for good, so nobody waits for it any more.
        let _ = self.is_open.clone().wait_for(|is_open| *is_open == open).await;
    }

    /// The wall clock at the start, then tokio's clock.
    fn now(&self) -> SystemTime {
        self.started_at + self.started.elapsed()
    }

    fn faults(&self) -> MutexGuard<'_, Vec<Fault>> {
        self.faults.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log(&self) -> MutexGuard<'_, Log> {
        self.log.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn router(shared: &Arc<Shared>) -> Router {
    Router::new()
        .route("/version", get(discovery::version))
        .route("/api", get(discovery::core_versions))
        .route("/apis", get(discovery::groups))
        .route("/api/{version}", get(discovery::core_resources))
        .route("/apis/{group}/{version}", get(discovery::resources))
        .route("/lab/faults", get(admin::list_faults).post(admin::add_fault).delete(admin::clear_faults))
        .route("/lab/watches", delete(admin::cut_watches))
        .route("/lab/changes", delete(admin::forget_changes))
        .route("/lab/outage", post(admin::outage))
        .route("/lab/requests", get(admin::requests))
        .fallback(answer::call)
        .with_state(Arc::clone(shared))
}
