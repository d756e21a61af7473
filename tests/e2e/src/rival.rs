//! Another writer of a scenario's rules: the lab's load balancer controller, which reads and writes the real cluster.

use std::time::{Duration, SystemTime};

use anyhow::Context;
use lab::Lab;
use lab::kubernetes::{Cluster, Kind};
use lab::load_balancer_controller::{
    ClientLimits, Edition, LbcConfig, LoadBalancerController, Neighbours, Over, Record, Wrote,
};
use tokio::time::{MissedTickBehavior, interval, timeout};

use crate::load_balancer::{self, Balancer};
use crate::mirror;
use crate::stand_in::StandIn;
use crate::world::{Services, World};

/// How long it may take until an Ingress has become a load balancer.
const BUILDS_WITHIN: Duration = Duration::from_secs(120);

/// Runs that are told of when something has failed.
const LAST_RUNS: usize = 10;

/// The load balancer controller of one namespace. It stops when it is dropped.
#[derive(Debug)]
pub(crate) struct Rival {
    controller: LoadBalancerController,
    edition: Edition,
    mirror: StandIn,
    lab_started: SystemTime,
}

/// A controller with 25 other ingress groups to serve, behind the limiter that was the default until v3.1.
pub(crate) fn with_neighbours() -> LbcConfig {
    let neighbours = Neighbours { groups: 25, period: Duration::from_secs(10) };
    LbcConfig { limits: ClientLimits::UntilV3_1, neighbours: Some(neighbours), ..LbcConfig::idle(1) }
}

impl Rival {
    /// Starts it for the scenario's namespace.
    pub(crate) fn start(world: &World<'_>, config: LbcConfig) -> Self {
        let lab: &Lab = &world.environment.lab;
        let (cluster, edition) = (Cluster::default(), config.edition);
        let copied = mirror::exchange(world.client(), world.namespace.clone(), cluster.clone());
        Self {
            mirror: StandIn::start("load balancer controller", copied),
            controller: LoadBalancerController::start(cluster, lab.control_plane().clone(), config),
            edition,
            lab_started: lab.control_plane().started_at(),
        }
    }

    /// The kind of its bindings.
    pub(crate) fn binding_kind(&self) -> Kind {
        self.edition.binding_kind()
    }

    /// What it made of an Ingress, as soon as it is whole: bindings in the cluster, and rules that hold both of their groups.
    pub(crate) async fn balancer(
        &self,
        world: &World<'_>,
        ingress: &str,
        services: Services,
    ) -> anyhow::Result<Balancer> {
        let built = async {
            let mut ticks = interval(Duration::from_millis(100));
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let stable = world.bound_group(self.binding_kind(), services.first, ingress).await?;
                let canary = world.bound_group(self.binding_kind(), services.second, ingress).await?;
                let Some((stable, canary)) = stable.zip(canary) else { continue };
                let client = load_balancer::client(world.environment.lab.endpoint());
                if let Some(balancer) = Balancer::holding(client, stable, canary).await? {
                    return anyhow::Ok(balancer);
                }
            }
        };
        let late = || format!("Ingress {ingress} was no load balancer within {BUILDS_WITHIN:?}");
        timeout(BUILDS_WITHIN, built).await.with_context(late)?
    }

    /// Lets something happen, which fails when the rival's view of the cluster does.
    pub(crate) async fn beside<T>(&self, something: impl Future<Output = anyhow::Result<T>>) -> anyhow::Result<T> {
        let outcome = tokio::select! {
            outcome = something => outcome,
            error = self.mirror.failed() => Err(error),
        };
        outcome.with_context(|| format!("the load balancer controller's last runs: {}", self.last_runs()))
    }

    /// One line for each run and each write in it, newest last.
    fn last_runs(&self) -> String {
        let records = self.controller.records();
        let mut lines = Vec::new();
        for record in records.get(records.len().saturating_sub(LAST_RUNS)..).unwrap_or_default() {
            let Record { asked_ms, read_ms, ended_ms, failure, .. } = record;
            let announced: Vec<_> = record.announced.iter().map(|one| &one.weights).collect();
            lines.push(format!(
                "asked {asked_ms} ms, read {announced:?} at {read_ms} ms, ended {ended_ms:?}: {failure:?}"
            ));
            let wrote = record.listeners.iter().flat_map(|listener| &listener.wrote);
            lines.extend(wrote.map(|Wrote { ms, operation, weights, over, .. }| {
                format!("  {operation} at {ms} ms over {over:?}: {:?}", weights.values().collect::<Vec<_>>())
            }));
        }
        format!("\n  {}", lines.join("\n  "))
    }

    /// Ends its process at once. It writes no more, and registers no Pods.
    pub(crate) async fn stop(&self) {
        self.controller.stop().await;
    }

    /// Starts its process again.
    pub(crate) fn resume(&self) {
        self.controller.resume();
    }

    /// How often it wrote its own weights over the plugin's.
    pub(crate) fn put_backs(&self) -> usize {
        self.controller.put_backs()
    }

    /// When it had followed an announcement, if it has by `until`: its last write of weights until then, in a run that read the
    /// Ingress after the announcement.
    pub(crate) fn followed(&self, announced: SystemTime, until: SystemTime) -> Option<SystemTime> {
        let ms = |at: SystemTime| u64::try_from(at.duration_since(self.lab_started).ok()?.as_millis()).ok();
        let last = last_write(&self.controller.records(), ms(announced)?, ms(until)?)?;
        Some(self.lab_started + Duration::from_millis(last))
    }
}

/// The last write of weights by `until_ms` in runs that read at `from_ms` or later.
fn last_write(records: &[Record], from_ms: u64, until_ms: u64) -> Option<u64> {
    let runs = records.iter().filter(|record| record.read_ms >= from_ms);
    let writes = runs.flat_map(|record| &record.listeners).flat_map(|listener| &listener.wrote);
    let of_weights = writes.filter(|wrote| wrote.over != Over::Nothing);
    of_weights.map(|wrote| wrote.ms).filter(|ms| *ms <= until_ms).max()
}

#[cfg(test)]
mod tests {
    use lab::load_balancer_controller::ListenerRecord;

    use super::*;

    #[test]
    fn runs_that_read_what_was_announced_count_with_their_last_write() {
        let wrote = |ms, over| Wrote {
            ms,
            operation: "ModifyRule",
            rule_arn: "rule".to_owned(),
            weights: lab::Weights::new(),
            over,
        };
        let record = |read_ms, wrote| Record {
            read_ms,
            listeners: vec![ListenerRecord { wrote, ..ListenerRecord::default() }],
            ..Record::default()
        };
        let records = [
            record(100, vec![wrote(150, Over::Foreign)]),
            record(200, Vec::new()),
            record(300, vec![wrote(340, Over::SameSplit), wrote(360, Over::SameSplit), wrote(380, Over::Nothing)]),
            record(400, vec![wrote(450, Over::Own)]),
        ];
        assert_eq!(last_write(&records, 101, 399), Some(360));
        assert_eq!(last_write(&records, 101, 350), Some(340));
        assert_eq!(last_write(&records, 101, 339), None);
        assert_eq!(last_write(&records, 401, 999), None);
    }
}
