//! What all scenarios share: one control plane, one rollouts controller, one lab.

use std::net::SocketAddrV4;
use std::ops::RangeInclusive;
use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use lab::{DataPlaneConfig, Lab, LabConfig};
use tokio::time::Instant;

use crate::control_plane::ControlPlane;
use crate::process::Process;
use crate::progress::say;
use crate::registrar::Registrar;
use crate::rollouts::Installation;
use crate::stand_in::StandIn;
use crate::tools::Tools;
use crate::{application, custom_resources, kubelet};

/// How long the rollouts controller may take to end its plugin and itself.
const CONTROLLER_ENDS_WITHIN: Duration = Duration::from_secs(10);

/// From a target's registration until it is healthy: long enough that a gate finds Pods that are not.
pub(crate) const HEALTHY_AFTER: Duration = Duration::from_millis(300);

/// How far the nodes of the load balancer are behind what its API says. The plugin's settle time here is longer.
const NODE_LAG: RangeInclusive<Duration> = Duration::ZERO..=Duration::from_millis(500);

/// Between two health checks of a target. The first one makes it healthy, so that a longer time only saves work.
const HEALTH_CHECKS_EVERY: Duration = Duration::from_secs(5);

/// How late the usual registrar comes to a change. The real one can be faster by the most part of it; then requests fail for the
/// few that it is faster than a plugin which is asked after a Service has moved.
const USUAL: Duration = Duration::from_secs(1);

/// How late the late registrar comes to a change.
const LATE: Duration = Duration::from_secs(9);

/// Everything that runs.
pub(crate) struct Environment {
    pub(crate) control_plane: ControlPlane,
    pub(crate) controller: Process,
    pub(crate) lab: Lab,
    /// Registers Pods soon after they are ready.
    pub(crate) registrar: Registrar,
    /// Registers them, and takes them out, some seconds later.
    pub(crate) late_registrar: Registrar,
    pub(crate) rollouts: Installation,
    /// Where somebody else's application answers.
    pub(crate) foreign: SocketAddrV4,
    kubelet: StandIn,
    foreign_application: StandIn,
}

impl Environment {
    /// Starts everything in the folder `home`.
    pub(crate) async fn start(tools: &Tools, plugin: &Path, home: &Path) -> anyhow::Result<Self> {
        let began = Instant::now();
        let nodes = DataPlaneConfig {
            lag: NODE_LAG,
            registration_delay: HEALTHY_AFTER,
            health_check_interval: Some(HEALTH_CHECKS_EVERY),
            ..DataPlaneConfig::default()
        };
        let lab = Lab::start_with_data_plane(LabConfig::default(), nodes).await?;
        let control_plane = ControlPlane::start(tools, home).await.context("the control plane did not start")?;
        let rollouts = Installation::new(tools, home, &control_plane, plugin, lab.endpoint()).await;
        let rollouts = rollouts.context("the rollouts controller could not be set up")?;
        custom_resources::install(&control_plane.client).await?;
        let controller = rollouts.start()?;
        let registrar = Registrar::start(control_plane.client.clone(), &lab, USUAL);
        let late_registrar = Registrar::start(control_plane.client.clone(), &lab, LATE);
        let kubelet = StandIn::start("kubelet", kubelet::run(control_plane.client.clone()));
        let (foreign, application) = application::listen("foreign").await?;
        let foreign_application = StandIn::start("foreign application", async move {
            application.run(std::future::pending()).await;
            Ok(())
        });
        say(format_args!("control plane and controller started after {:.1} s", began.elapsed().as_secs_f64()));
        Ok(Self {
            control_plane,
            controller,
            lab,
            registrar,
            late_registrar,
            rollouts,
            foreign,
            kubelet,
            foreign_application,
        })
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
            error = self.late_registrar.failed() => error,
            error = self.kubelet.failed() => error,
            error = self.foreign_application.failed() => error,
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
        self.late_registrar.stop();
        self.controller.kill();
        for process in &self.control_plane.processes {
            process.kill();
        }
    }
}
