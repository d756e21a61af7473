//! The ReplicaSet controller's part: as many Pods as every ReplicaSet wants, and its status.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::Arc;

use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::Instant;

use super::kubelet::{Clock, Sandbox};
use super::plan::{Plan, Replica, plan};
use super::{SharedLedger, WorkloadConfig, pod};
use crate::kubernetes::{Cluster, Kind, Refusal};

/// Namespace and name.
type Key = (String, String);

/// The ReplicaSet controller of a cluster, and the Pods that it made.
#[derive(Debug)]
pub(super) struct Controller {
    cluster: Cluster,
    config: Arc<WorkloadConfig>,
    clock: Clock,
    rng: fastrand::Rng,
    ledger: SharedLedger,
    /// The last two bytes of the next address. An address comes back after 65,536 Pods.
    next_address: u16,
    made: u64,
    pods: BTreeMap<Key, Life>,
    tasks: JoinSet<()>,
}

/// A Pod whose object is still there.
#[derive(Debug)]
struct Life {
    owner_uid: String,
    replica: Replica,
    /// Dropped when the Pod is deleted: that is how the kubelet's task hears of it.
    terminate: Option<oneshot::Sender<()>>,
    task: AbortHandle,
}

impl Controller {
    pub(super) fn new(cluster: Cluster, config: WorkloadConfig, ledger: SharedLedger) -> Self {
        let mut rng = fastrand::Rng::with_seed(config.seed);
        Self {
            cluster,
            clock: Clock { epoch: config.epoch, started: Instant::now() },
            next_address: rng.u16(..),
            rng,
            ledger,
            config: Arc::new(config),
            made: 0,
            pods: BTreeMap::new(),
            tasks: JoinSet::new(),
        }
    }

    /// Reconciles at every change of the cluster until it is told to stop, or nobody is left who could tell it.
    pub(super) async fn run(mut self, mut stopped: oneshot::Receiver<()>) {
        let mut version = self.cluster.version();
        // Another workload on this node may have registered it already.
        let _ = self.cluster.create(Kind::NODE, pod::node(&self.node(), &self.clock.timestamp()));
        loop {
            // Changes from here on, its own included, wake it again.
            version.borrow_and_update();
            self.reconcile();
            tokio::select! {
                biased;
                _ = &mut stopped => break,
                changed = version.changed() => if changed.is_err() { break },
            }
        }
        self.tasks.shutdown().await;
    }

    fn reconcile(&mut self) {
        while self.tasks.try_join_next().is_some() {}
        self.observe_pods();
        let mut owned: BTreeMap<(String, String), Vec<Replica>> = BTreeMap::new();
        for ((namespace, _), life) in &self.pods {
            owned.entry((namespace.clone(), life.owner_uid.clone())).or_default().push(life.replica.clone());
        }
        let (replica_sets, _) = self.cluster.list(Kind::REPLICA_SET, None);
        for replica_set in replica_sets {
            let key = (namespace(&replica_set).to_owned(), pod::text(&replica_set, "/metadata/uid").to_owned());
            self.follow(&replica_set, &owned.remove(&key).unwrap_or_default());
        }
        // What is left belongs to ReplicaSets that are gone.
        for ((namespace, _), replicas) in owned {
            self.delete(&namespace, &plan(0, &replicas));
        }
    }

    /// Learns what became of the Pods, and tells the kubelet of those that somebody deleted.
    fn observe_pods(&mut self) {
        let now = Instant::now();
        let (cluster, ledger) = (&self.cluster, &self.ledger);
        self.pods.retain(|(namespace, name), life| {
            let Some(object) = cluster.get(Kind::POD, namespace, name) else {
                ledger.open().removed(namespace, name, now);
                life.task.abort();
                return false;
            };
            let replica = &mut life.replica;
            replica.ready_since = pod::is_ready(&object).then(|| replica.ready_since.unwrap_or(now));
            replica.terminating = pod::is_terminating(&object);
            if replica.terminating {
                life.terminate.take();
            }
            true
        });
    }

    /// Gives a ReplicaSet what it wants, and reports what it had.
    fn follow(&mut self, replica_set: &Value, replicas: &[Replica]) {
        // Kubernetes' default is 1.
        let wanted = replica_set.pointer("/spec/replicas").and_then(Value::as_u64).unwrap_or(1);
        let plan = plan(usize::try_from(wanted).unwrap_or(usize::MAX), replicas);
        self.delete(namespace(replica_set), &plan);
        let created = (0..plan.create).try_for_each(|_| self.create(replica_set));
        let conditions = created.err().map(|refusal| {
            json!([{"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refusal.to_string()}])
        });
        let status = json!({"status": {
            "replicas": plan.replicas,
            "readyReplicas": plan.ready,
            "availableReplicas": plan.ready,
            "observedGeneration": replica_set.pointer("/metadata/generation"),
            "conditions": conditions,
        }});
        let name = pod::text(replica_set, "/metadata/name");
        // Refused only if the ReplicaSet has gone meanwhile; the next round deletes its Pods.
        let _ = self.cluster.merge_patch(Kind::REPLICA_SET, namespace(replica_set), name, &status);
    }

    fn create(&mut self, replica_set: &Value) -> Result<(), Refusal> {
        let [third, fourth] = self.next_address.to_be_bytes();
        let address = Ipv4Addr::new(127, self.config.network, third, fourth);
        let object = pod::create(replica_set, &self.node(), address, &self.clock.timestamp());
        let pod = self.cluster.create(Kind::POD, object)?;
        self.next_address = self.next_address.wrapping_add(1);
        self.made += 1;
        let (namespace, name) = (namespace(&pod).to_owned(), pod::text(&pod, "/metadata/name").to_owned());
        self.ledger.open().created(&namespace, &name, pod::version(&pod), Instant::now());
        let (terminate, terminated) = oneshot::channel();
        let sandbox = Sandbox {
            cluster: self.cluster.clone(),
            pod,
            address,
            config: Arc::clone(&self.config),
            rng: self.rng.fork(),
            clock: self.clock,
            ledger: self.ledger.clone(),
        };
        let task = self.tasks.spawn(sandbox.live(terminated));
        let replica = Replica { name: name.clone(), number: self.made, ready_since: None, terminating: false };
        let owner_uid = pod::text(replica_set, "/metadata/uid").to_owned();
        self.pods.insert((namespace, name), Life { owner_uid, replica, terminate: Some(terminate), task });
        Ok(())
    }

    fn delete(&self, namespace: &str, plan: &Plan) {
        for name in &plan.delete {
            // Refused only if somebody was faster.
            let _ = self.cluster.merge_patch(Kind::POD, namespace, name, &pod::delete(self.clock));
        }
    }

    fn node(&self) -> String {
        format!("node-{}", self.config.network)
    }
}

fn namespace(object: &Value) -> &str {
    pod::text(object, "/metadata/namespace")
}
