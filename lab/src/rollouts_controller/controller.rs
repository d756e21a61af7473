//! The controller as a task: one Rollout, reconciled when something happened, on tokio's clock.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use serde::Deserialize;
use serde_json::Value;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, sleep_until};

use super::objects::{Clock, ClusterHands, Unreadable, is_owned, named_services, read};
use super::queue::Queue;
use super::reconcile::reconcile;
use super::rollout::Rollout;
use super::state::{Outcome, ReconcileError, TrafficRouter};
use crate::kubernetes::{Change, Cluster, Kind};

/// How often the controller looks at a Rollout without an event: its flag `--rollout-resync`.
const RESYNC: Duration = Duration::from_secs(15 * 60);

/// Plays the rollouts controller for one Rollout of a cluster.
///
/// Whoever plays the ReplicaSet controller makes the pods, and writes `status.replicas` and `status.availableReplicas` of
/// the ReplicaSets.
#[derive(Debug)]
pub struct Controller {
    cluster: Cluster,
    namespace: String,
    name: String,
    router: Arc<dyn TrafficRouter>,
    clock: Clock,
    queue: Queue,
    /// The version of the cluster up to which events were counted.
    seen: u64,
}

impl Controller {
    /// A controller for the Rollout of this name.
    #[must_use]
    pub fn new(cluster: Cluster, namespace: &str, name: &str, router: Arc<dyn TrafficRouter>) -> Self {
        let (namespace, name) = (namespace.to_owned(), name.to_owned());
        Self { cluster, namespace, name, router, clock: Clock::start(), queue: Queue::default(), seen: 0 }
    }

    /// Reconciles until the Rollout is gone. A reconcile that fails is repeated, as the controller repeats it.
    ///
    /// # Errors
    /// [`Unreadable`] if the Rollout has something that the model does not know, such as a step of another kind.
    pub async fn run(mut self) -> Result<(), Unreadable> {
        let mut version = self.cluster.version();
        let mut resync = interval_at(Instant::now() + RESYNC, RESYNC);
        resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.seen = *version.borrow_and_update();
        self.queue.add_rate_limited();
        loop {
            // Events first: what happened before a reconcile is due counts before it.
            tokio::select! {
                biased;
                _ = version.changed() => self.count_events(),
                _ = resync.tick() => self.queue.add_rate_limited(),
                () = due(self.queue.due()) => {
                    self.queue.begin();
                    let Some(result) = self.reconcile_once(&mut version).await? else { return Ok(()) };
                    self.end_of(result);
                }
            }
        }
    }

    /// One reconcile; nothing if the Rollout is gone. What happens meanwhile is counted, its own writes too.
    async fn reconcile_once(
        &mut self,
        version: &mut watch::Receiver<u64>,
    ) -> Result<Option<Result<Outcome, ReconcileError>>, Unreadable> {
        let Some(state) = read(&self.cluster, &self.namespace, &self.name)? else { return Ok(None) };
        let (cluster, router) = (self.cluster.clone(), Arc::clone(&self.router));
        let mut hands = ClusterHands { cluster: &cluster, state: &state, clock: self.clock };
        let mut reconciled = pin!(reconcile(&state, &*router, &mut hands));
        let result = loop {
            tokio::select! {
                biased;
                result = &mut reconciled => break result,
                _ = version.changed() => self.count_events(),
            }
        };
        version.mark_unchanged();
        self.count_events();
        Ok(Some(result))
    }

    fn end_of(&mut self, result: Result<Outcome, ReconcileError>) {
        match result {
            Ok(outcome) => {
                self.queue.forget();
                if let Some(wait) = outcome.again_in {
                    self.queue.add_after(wait);
                }
            }
            Err(_) => self.queue.add_rate_limited(),
        }
    }

    /// Adds the Rollout to the queue once for each change that concerns it.
    fn count_events(&mut self) {
        let rollout = self.cluster.get(Kind::ROLLOUT, &self.namespace, &self.name);
        let rollout = rollout.and_then(|object| Rollout::deserialize(&*object).ok());
        let Some(changes) = self.cluster.changes_after(self.seen) else {
            // Too many to remember.
            self.seen = *self.cluster.version().borrow();
            return self.queue.add_rate_limited();
        };
        self.seen = changes.last().map_or(self.seen, |change| change.version);
        for change in changes {
            if self.concerns(&change, rollout.as_ref()) {
                self.queue.add_rate_limited();
            }
        }
    }

    fn concerns(&self, change: &Change, rollout: Option<&Rollout>) -> bool {
        let text = |path: &str| change.object.pointer(path).and_then(Value::as_str);
        if text("/metadata/namespace") != Some(&self.namespace) {
            return false;
        }
        let name = text("/metadata/name").unwrap_or_default();
        match (change.kind, rollout) {
            (Kind::ROLLOUT, _) => name == self.name,
            (Kind::REPLICA_SET, Some(rollout)) => is_owned(&change.object, rollout),
            (Kind::SERVICE, Some(rollout)) => named_services(rollout).any(|service| service == name),
            (Kind::INGRESS, Some(rollout)) => {
                let alb = rollout.canary().traffic_routing.alb.as_ref();
                alb.is_some_and(|alb| alb.all_ingresses().iter().any(|ingress| ingress == name))
            }
            _ => false,
        }
    }
}

/// Waits until then, or for ever.
async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => std::future::pending().await,
    }
}
