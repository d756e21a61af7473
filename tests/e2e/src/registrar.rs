//! Who makes targets of Pods: the lab's load balancer controller, on a mirror of the real cluster.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use kube::Client;
use lab::Lab;
use lab::kubernetes::{Cluster, Kind};
use lab::load_balancer_controller::{BindingRecord, ClientLimits, Delay, LbcConfig, LoadBalancerController};
use serde_json::json;

use crate::mirror;
use crate::stand_in::StandIn;

/// Registers the Pods behind Services in target groups, as bound. It stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Registrar {
    cluster: Cluster,
    controller: LoadBalancerController,
    mirror: StandIn,
    lab_started: SystemTime,
}

/// Targets that came into a group at the same time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Registration {
    pub(crate) since: SystemTime,
    pub(crate) targets: usize,
}

impl Registrar {
    /// One that comes to a change only this long after it.
    pub(crate) fn start(client: Client, lab: &Lab, lag: Duration) -> Self {
        let cluster = Cluster::default();
        // It serves all scenarios; with the real one's limits they would wait for one another.
        let idle = LbcConfig::idle(1);
        let config = LbcConfig { registration_lag: Delay::fixed(lag), limits: ClientLimits::Off, ..idle };
        let controller = LoadBalancerController::start(cluster.clone(), lab.control_plane().clone(), config);
        let mirror = StandIn::start("load balancer controller", mirror::run(client, cluster.clone()));
        Self { cluster, controller, mirror, lab_started: lab.control_plane().started_at() }
    }

    /// From now on the target group holds the Pods that the Service selects.
    pub(crate) fn bind(&self, namespace: &str, service: &str, target_group: &str) -> anyhow::Result<()> {
        let binding = json!({
            "metadata": { "namespace": namespace, "name": service },
            "spec": {
                "serviceRef": { "name": service, "port": 80 },
                "targetGroupARN": target_group,
                "targetType": "ip",
            },
        });
        let bound = self.cluster.create(Kind::TARGET_GROUP_BINDING, binding);
        bound.map(|_| ()).with_context(|| format!("cannot bind Service {namespace}/{service}"))
    }

    /// What came into a target group last.
    pub(crate) fn last_registration(&self, target_group: &str) -> Option<Registration> {
        let records = self.controller.binding_records();
        let into = |record: &&BindingRecord| record.group_arn == target_group && !record.registered.is_empty();
        let record = records.iter().rev().find(into)?;
        let since = self.lab_started + Duration::from_millis(record.ms);
        Some(Registration { since, targets: record.registered.len() })
    }

    /// Returns when it cannot go on.
    pub(crate) async fn failed(&self) -> anyhow::Error {
        self.mirror.failed().await
    }

    /// Registers nothing any more.
    pub(crate) fn stop(&self) {
        self.mirror.stop();
    }
}
