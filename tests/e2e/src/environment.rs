//! What all scenarios share: one control plane, one rollouts controller, one lab.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use lab::{Lab, LabConfig};
use tokio::time::Instant;

use crate::control_plane::ControlPlane;
use crate::process::Process;
use crate::progress::say;
use crate::registrar::Registrar;
use crate::stand_in::StandIn;
use crate::tools::Tools;
use crate::{kubelet, rollouts};

/// How long the rollouts controller may take to end its plugin and itself.
const CONTROLLER_ENDS_WITHIN: Duration = Duration::from_secs(10);

/// From a target's registration until it is healthy: long enough that a gate finds Pods that are not.
pub(crate) const HEALTHY_AFTER: Duration = Duration::from_millis(300);

/// Everything that runs.
pub(crate) struct Environment {
    pub(crate) control_plane: ControlPlane,
    pub(crate) controller: Process,
    pub(crate) lab: Lab,
    pub(crate) registrar: Registrar,
    kubelet: StandIn,
}

impl Environment {
    /// Starts everything in the folder `home`.
    pub(crate) async fn start(tools: &Tools, plugin: &Path, home: &Path) -> anyhow::Result<Self> {
        let began = Instant::now();
        let lab = Lab::start(LabConfig { healthy_after: HEALTHY_AFTER, ..LabConfig::default() }).await?;
        let control_plane = ControlPlane::start(tools, home).await.context("the control plane did not start")?;
        let controller = rollouts::start(tools, home, &control_plane, plugin, lab.endpoint()).await;
        let controller = controller.context("the rollouts controller could not be set up")?;
        let registrar = Registrar::prompt(control_plane.client.clone(), &lab);
        let kubelet = StandIn::start("kubelet", kubelet::run(control_plane.client.clone()));
        say(format_args!("control plane and controller started after {:.1} s", began.elapsed().as_secs_f64()));
        Ok(Self { control_plane, controller, lab, registrar, kubelet })
    }

    /// Returns when something ended that should go on.
    pub(crate) async fn broken(&self) -> anyhow::Error {
        let [etcd, api, manager] = &self.control_plane.processes;
        tokio::select! {
            error = etcd.ended() => error,
            error = api.ended() => error,
            error = manager.ended() => error,
            error = self.controller.ended() => error,
            error = self.registrar.failed() => error,
            error = self.kubelet.failed() => error,
        }
    }

    /// Ends the controller as a cluster would, so that it ends its plugin; then kills the rest.
    pub(crate) async fn stop(&self) {
        self.controller.stop(CONTROLLER_ENDS_WITHIN).await;
        self.kill();
        for process in &self.control_plane.processes {
            process.gone().await;
        }
    }

    /// Kills everything at once.
    pub(crate) fn kill(&self) {
        self.kubelet.stop();
        self.registrar.stop();
        self.controller.kill();
        for process in &self.control_plane.processes {
            process.kill();
        }
    }
}
