//! The first install, in different orders: nothing that is not there yet may hang a Rollout, or be an error that stays.

use std::time::Duration;

use anyhow::{Context, ensure};
use lab::load_balancer_controller::LbcConfig;
use serde_json::json;
use tokio::time::timeout;

use super::updates;
use crate::objects::{self, ROOT, plugin};
use crate::rival::Rival;
use crate::rollout::{Rollout, Seen};
use crate::rollouts::PLUGIN;
use crate::world::{STABLE_AND_CANARY, World};
use Piece::{Controller, Ingress, Rollout as App, Services};

/// A Rollout that only waits for its Services is looked at again after 20 s, and a held call returns within the block budget.
const INSTALLED_WITHIN: Duration = Duration::from_secs(150);

/// What is created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Piece {
    Rollout,
    Services,
    Ingress,
    /// The load balancer controller: load balancer and bindings come by it.
    Controller,
}

/// One order, which is the scenario's name too.
#[derive(Debug)]
pub(super) struct Install {
    pub(super) name: &'static str,
    order: [Piece; 4],
}

/// All orders in which the Rollout is first, and those in which it is not that differ by what is there when it is asked for its
/// first weight.
pub(super) const INSTALLS: &[Install] = &[
    Install { name: "install_rollout_services_ingress_lbc", order: [App, Services, Ingress, Controller] },
    Install { name: "install_rollout_services_lbc_ingress", order: [App, Services, Controller, Ingress] },
    Install { name: "install_rollout_ingress_services_lbc", order: [App, Ingress, Services, Controller] },
    Install { name: "install_rollout_ingress_lbc_services", order: [App, Ingress, Controller, Services] },
    Install { name: "install_rollout_lbc_services_ingress", order: [App, Controller, Services, Ingress] },
    Install { name: "install_rollout_lbc_ingress_services", order: [App, Controller, Ingress, Services] },
    // As with sync waves of Argo CD: the Ingress comes after the Rollout is healthy.
    Install { name: "install_lbc_services_rollout_ingress", order: [Controller, Services, App, Ingress] },
    Install { name: "install_services_ingress_rollout_lbc", order: [Services, Ingress, App, Controller] },
    Install { name: "install_ingress_lbc_rollout_services", order: [Ingress, Controller, App, Services] },
];

impl Install {
    /// Creates one after the other. Whatever is missing, the Rollout is healthy as soon as it and its Services are there, and
    /// its weight is true once all is.
    pub(super) async fn play(&'static self, world: &World<'_>) -> anyhow::Result<()> {
        let mut rival: Option<Rival> = None;
        let mut rollout: Option<Rollout> = None;
        let mut services = false;
        for piece in self.order {
            match piece {
                App => {
                    rollout = Some(world.create_rollout(updates::web(plugin(PLUGIN, json!({})))).await?);
                }
                Services => {
                    world.create_services(STABLE_AND_CANARY).await?;
                    services = true;
                }
                Ingress => {
                    let ingress = objects::ingress(ROOT, STABLE_AND_CANARY, r#"[{"HTTP": 80}]"#);
                    world.create_ingress(ingress).await?;
                }
                Controller => rival = Some(Rival::start(world, LbcConfig::idle(1))),
            }
            if let (Some(rollout), true) = (&rollout, services) {
                let healthy = |seen: &Seen| seen.is_current() && seen.status.phase == "Healthy";
                let late = || format!("the Rollout hung after {piece:?} was created");
                timeout(INSTALLED_WITHIN, rollout.until("healthy", healthy)).await.with_context(late)??;
            }
        }
        let (rival, rollout) = rival.zip(rollout).context("an order without controller or Rollout")?;
        rival.beside(self.end(world, &rival, &rollout)).await
    }

    async fn end(&self, world: &World<'_>, rival: &Rival, rollout: &Rollout) -> anyhow::Result<()> {
        let balancer = rival.balancer(world, ROOT, STABLE_AND_CANARY).await?;
        let end = rollout.until_installed().await?;
        let history = world.history(&balancer, STABLE_AND_CANARY, &end).await?;
        ensure!(history.recorded().iter().all(|weight| *weight == 0), "recorded weights: {:?}", history.recorded());
        for rule in &history.rules {
            let canary = rule.canary_weights(&history.roles);
            ensure!(canary.iter().all(|weight| *weight == 0), "canary weights of rule {}: {canary:?}", rule.arn);
        }
        // At rest: what is not there yet is no error. Before there are Services, the controller itself complains.
        let warnings = world.warnings().await?;
        let ours = warnings.iter().filter(|warning| warning.reason == "TrafficRoutingError");
        ensure!(ours.count() == 0, "there were errors: {warnings:#?}");
        Ok(())
    }
}
