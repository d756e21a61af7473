//! What all scenarios share: one control plane, one rollouts controller, one lab.

use std::path::Path;
use std::time::Duration;

use anyhow::Context;
use lab::{Lab, LabConfig};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio::time::Instant;

use crate::control_plane::ControlPlane;
use crate::process::Process;
use crate::progress::say;
use crate::tools::Tools;
use crate::{kubelet, rollouts};

/// How long the rollouts controller may take to end its plugin and itself.
const CONTROLLER_ENDS_WITHIN: Duration = Duration::from_secs(10);

/// Everything that runs.
pub(crate) struct Environment {
    pub(crate) control_plane: ControlPlane,
    pub(crate) controller: Process,
    pub(crate) lab: Lab,
    kubelet: JoinHandle<()>,
    /// Why the kubelet's stand-in gave up, if it did.
    kubelet_ended: watch::Receiver<Option<String>>,
}

impl Environment {
    /// Starts everything in the folder `home`.
    pub(crate) async fn start(tools: &Tools, plugin: &Path, home: &Path) -> anyhow::Result<Self> {
        let began = Instant::now();
        let lab = Lab::start(LabConfig::default()).await?;
        let control_plane = ControlPlane::start(tools, home).await.context("the control plane did not start")?;
        let controller = rollouts::start(tools, home, &control_plane, plugin, lab.endpoint()).await;
        let controller = controller.context("the rollouts controller could not be set up")?;
        let (tell, kubelet_ended) = watch::channel(None);
        let client = control_plane.client.clone();
        let kubelet = tokio::spawn(async move {
            let error = kubelet::run(client).await.err();
            tell.send_replace(Some(error.map_or_else(String::new, |error| format!("{error:#}"))));
        });
        say(format_args!("control plane and controller started after {:.1} s", began.elapsed().as_secs_f64()));
        Ok(Self { control_plane, controller, lab, kubelet, kubelet_ended })
    }

    /// Returns when something ended that should go on.
    pub(crate) async fn broken(&self) -> anyhow::Error {
        let [etcd, api, manager] = &self.control_plane.processes;
        let mut kubelet = self.kubelet_ended.clone();
        tokio::select! {
            error = etcd.ended() => error,
            error = api.ended() => error,
            error = manager.ended() => error,
            error = self.controller.ended() => error,
            Ok(why) = kubelet.wait_for(Option::is_some) => {
                anyhow::anyhow!("the kubelet's stand-in ended: {}", why.as_deref().unwrap_or_default())
            }
            // Whoever stopped all of it waits for no answer.
            else => std::future::pending().await,
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
        self.kubelet.abort();
        self.controller.kill();
        for process in &self.control_plane.processes {
            process.kill();
        }
    }
}
