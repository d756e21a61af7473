//! The workload: what a ReplicaSet controller, a scheduler and a kubelet make of the ReplicaSets of a [`Cluster`].
//!
//! Each ReplicaSet gets its Pods, each Pod an address of its own and, if wanted, a real HTTP server on it, whose answers
//! name the version. Not modelled: readiness gates, probes, `minReadySeconds`, restarts, and Pods that somebody else makes.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::kubernetes::Cluster;

mod controller;
mod kubelet;
mod ledger;
mod plan;
mod pod;
mod server;
#[cfg(test)]
mod tests;

use controller::Controller;
use ledger::Ledger;
pub use server::Application;

/// The header in which a pod's answer names the version, which is its `rollouts-pod-template-hash`.
pub const VERSION_HEADER: &str = "x-version";

/// How the pods of a cluster behave. `WorkloadConfig::default()` is an application that starts in two seconds and drops
/// everything on SIGTERM.
#[derive(Debug, Clone)]
pub struct WorkloadConfig {
    /// Pods get addresses 127.`network`.x.y: 1 to 254, another one for each cluster. 127.0.x.y is for the lab's own servers.
    pub network: u8,
    /// How long from a Pod's creation until it is ready; drawn for each.
    pub start_up: RangeInclusive<Duration>,
    /// How long a Pod goes on serving after its deletion, as with a `preStop` sleep. Then its connections are closed, whatever
    /// they are waiting for, and the object is removed. Zero is the application that knows no graceful shutdown.
    pub grace: Duration,
    /// What runs in the pods.
    pub serve: Serve,
    /// The same seed gives the same addresses and the same draws.
    pub seed: u64,
    /// What the clock on the wall shows at the start, for timestamps in objects. The rest follows tokio's clock.
    pub epoch: SystemTime,
}

/// What runs in the pods.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Serve {
    /// No server: for simulations, where nothing is sent.
    Nothing,
    /// HTTP/1.1 on the pod's address. Every request gets 200 and the version, in [`VERSION_HEADER`] and as the body.
    Http {
        /// The same port in all pods.
        port: u16,
        /// How long an answer takes; drawn for each.
        service_time: RangeInclusive<Duration>,
    },
}

/// The workload of one cluster, at work until it is dropped or [`Workload::shutdown`].
#[derive(Debug)]
pub struct Workload {
    ledger: SharedLedger,
    /// Dropping it ends the controller and with it all pods' servers.
    stop: oneshot::Sender<()>,
    controller: JoinHandle<()>,
}

/// What was paid for and what was served, kept by the controller and its pods.
#[derive(Debug, Clone, Default)]
struct SharedLedger(Arc<Mutex<Ledger>>);

impl Default for WorkloadConfig {
    fn default() -> Self {
        Self {
            network: 1,
            start_up: Duration::from_secs(2)..=Duration::from_secs(2),
            grace: Duration::ZERO,
            serve: Serve::Http { port: 8080, service_time: Duration::from_millis(5)..=Duration::from_millis(20) },
            seed: 1,
            epoch: SystemTime::now(),
        }
    }
}

impl Workload {
    /// Follows the cluster from now on, on the tokio runtime that it is called on. A cluster has one workload.
    #[must_use]
    pub fn start(cluster: Cluster, config: WorkloadConfig) -> Self {
        let ledger = SharedLedger::default();
        let (stop, stopped) = oneshot::channel();
        let controller = Controller::new(cluster, config, ledger.clone());
        Self { ledger, stop, controller: tokio::spawn(controller.run(stopped)) }
    }

    /// What was paid for so far: the time from the creation to the removal of Pods, summed up for each version.
    #[must_use]
    pub fn pod_time(&self) -> BTreeMap<String, Duration> {
        self.ledger.open().pod_time(Instant::now())
    }

    /// Requests answered so far by the pods of each version, without health checks. One that was cut before its answer began is not
    /// counted.
    #[must_use]
    pub fn answered(&self) -> BTreeMap<String, u64> {
        self.ledger.open().answered()
    }

    /// Health checks of load balancer nodes answered so far by the pods of each version.
    #[must_use]
    pub fn checked(&self) -> BTreeMap<String, u64> {
        self.ledger.open().checked()
    }

    /// Closes all servers at once and waits until they are closed. The objects stay.
    pub async fn shutdown(self) {
        drop(self.stop);
        // An error would be a panic of the controller, which has been printed already.
        let _ = self.controller.await;
    }
}

impl SharedLedger {
    fn open(&self) -> MutexGuard<'_, Ledger> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A duration from a range, both ends included.
fn draw(rng: &mut fastrand::Rng, range: &RangeInclusive<Duration>) -> Duration {
    let width = range.end().saturating_sub(*range.start());
    *range.start() + width.mul_f64(rng.f64())
}
