//! Another writer of the rules that behaves like the AWS Load Balancer Controller (LBC).
//!
//! It reads Ingresses, Services, Pods and TargetGroupBindings from the cluster and writes load balancers, rules and targets to
//! the control plane, in process and on tokio's clock. It is slow where the real one is slow, and writes stale weights where the
//! real one does: it reads the annotations at the start of a run, and the rules right before it writes them.
//!
//! ```no_run
//! # async fn example() -> anyhow::Result<()> {
//! use lab::kubernetes::Cluster;
//! use lab::load_balancer_controller::{LbcConfig, LoadBalancerController};
//! use lab::{Lab, LabConfig};
//!
//! let lab = Lab::start(LabConfig::default()).await?;
//! let cluster = Cluster::default();
//! // … put Ingresses and Services into the cluster …
//! let lbc = LoadBalancerController::start(cluster, lab.control_plane().clone(), LbcConfig::busy(1));
//! // … shift weights beside it …
//! let put_backs = lbc.put_backs();
//! # drop(put_backs);
//! # Ok(())
//! # }
//! ```

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use tokio::task::JoinHandle;

use crate::control_plane::ControlPlane;
use crate::kubernetes::Cluster;

mod annotations;
mod aws;
mod bindings;
mod calls;
mod config;
mod controller;
mod deployment;
mod group;
mod groups;
mod limiter;
mod manifest;
mod model;
mod queue;
mod record;
mod rules;
mod targets;
mod watch;

use aws::Aws;
use bindings::{Bindings, Checkpoints};
use calls::Calls;
use groups::Groups;
use record::Book;

pub use calls::CallEnd;
pub use config::{ClientLimits, Delay, Edition, LbcConfig, Neighbours};
pub use record::{Announced, BindingRecord, ListenerRecord, Over, Record, Wrote};

/// A controller, running or stopped. It stops when it is dropped.
#[derive(Debug)]
pub struct LoadBalancerController {
    cluster: Cluster,
    control_plane: ControlPlane,
    config: Arc<LbcConfig>,
    book: Arc<Book>,
    calls: Arc<Calls>,
    checkpoints: Arc<Checkpoints>,
    /// Each start of the process draws its delays from a seed of its own.
    seeds: Mutex<Rng>,
    process: Mutex<Option<JoinHandle<()>>>,
}

impl LoadBalancerController {
    /// Starts it on the tokio runtime that this is called on. It begins with a run of every group, as the real one does.
    #[must_use]
    pub fn start(cluster: Cluster, control_plane: ControlPlane, config: LbcConfig) -> Self {
        let controller = Self {
            cluster,
            book: Arc::new(Book::new(control_plane.clone())),
            calls: Arc::default(),
            control_plane,
            seeds: Mutex::new(Rng::with_seed(config.seed)),
            config: Arc::new(config),
            checkpoints: Arc::default(),
            process: Mutex::new(None),
        };
        controller.resume();
        controller
    }

    /// All runs of ingress groups so far, in the order in which they began.
    #[must_use]
    pub fn records(&self) -> Vec<Record> {
        self.book.records()
    }

    /// What was registered and deregistered so far, in this order.
    #[must_use]
    pub fn binding_records(&self) -> Vec<BindingRecord> {
        self.book.binding_records()
    }

    /// All calls to AWS so far that have ended, by operation and end.
    #[must_use]
    pub fn calls(&self) -> BTreeMap<(String, CallEnd), u64> {
        self.calls.ended()
    }

    /// How often it wrote its own weights over another writer's that split the traffic otherwise.
    #[must_use]
    pub fn put_backs(&self) -> usize {
        let records = self.records();
        let writes = records.iter().flat_map(|record| &record.listeners).flat_map(|listener| &listener.wrote);
        writes.filter(|wrote| wrote.over == Over::Foreign).count()
    }

    /// Ends its process at once, in the middle of a run if there is one. When this returns it writes no more.
    pub async fn stop(&self) {
        let process = self.process().take();
        if let Some(process) = process {
            process.abort();
            // An error says that it was aborted, as it was meant to be.
            let _ = process.await;
        }
    }

    /// Starts its process again after a stop: queue and limiter are new. Does nothing if it is running.
    pub fn resume(&self) {
        let mut process = self.process();
        if process.as_ref().is_none_or(JoinHandle::is_finished) {
            *process = Some(tokio::spawn(self.new_process()));
        }
    }

    /// Stops it for good.
    pub async fn shutdown(self) {
        self.stop().await;
    }

    fn new_process(&self) -> impl Future<Output = ()> + Send + use<> {
        // A panic would have left the generator as it was, so it stays usable.
        let mut rng = self.seeds.lock().unwrap_or_else(PoisonError::into_inner).fork();
        let (cluster, config) = (self.cluster.clone(), Arc::clone(&self.config));
        let aws = Arc::new(Aws::new(self.control_plane.clone(), config.limits, Arc::clone(&self.calls)));
        let checkpoints = Arc::clone(&self.checkpoints);
        let bindings =
            Bindings::new(cluster.clone(), Arc::clone(&aws), &config, checkpoints, Arc::clone(&self.book), rng.fork());
        let groups = Groups::new(cluster.clone(), aws, Arc::clone(&config), Arc::clone(&self.book), rng);
        async move {
            let workers = config.max_concurrent_reconciles;
            tokio::join!(
                controller::run(&groups, &cluster, workers, config.resync),
                controller::run(&bindings, &cluster, workers, config.resync),
            );
        }
    }

    /// A panic would have left the handle as it was, so it stays usable.
    fn process(&self) -> MutexGuard<'_, Option<JoinHandle<()>>> {
        self.process.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for LoadBalancerController {
    fn drop(&mut self) {
        if let Some(process) = self.process().take() {
            process.abort();
        }
    }
}

#[cfg(test)]
mod tests;
