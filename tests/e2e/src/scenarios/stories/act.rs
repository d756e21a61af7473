//! What can be done in a story, and what can be waited for.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context, ensure};
use rustix::process::{Signal, kill_process};
use tokio::time::timeout;

use crate::load_balancer::Balancer;
use crate::resident;
use crate::rollout::{Rollout, Seen};
use crate::world::World;

/// How long a write to a rule may take to come.
const WRITTEN_WITHIN: Duration = Duration::from_secs(120);

/// How long a plugin may outlive its controller.
const ORPHAN_ENDS_WITHIN: Duration = Duration::from_secs(30);

/// One step of a story.
#[derive(Debug, Clone, Copy)]
pub(super) enum Act {
    /// A new version.
    Release(&'static str),
    /// The spec becomes that of version 1 again.
    Back,
    /// `kubectl argo rollouts abort`.
    Abort,
    /// `kubectl argo rollouts promote --full`.
    PromoteFull,
    /// A Pod of this version goes.
    LosePod(&'static str),
    /// As soon as a rule has this share: SIGKILL for the controller, and another one is started.
    KillController { at: u32 },
    /// As soon as a rule has this share, that is before the plugin can have said so: SIGKILL for the plugin.
    KillPlugin { at: u32 },
    /// Goes from pause to pause until the one after this weight, and until the controller knows how many Pods that leaves: one
    /// that is told to abort before takes stable for whole, and asks it to carry everything with the Pods that are left.
    PausedAt(u32),
    /// Goes from pause to pause until the newest version is stable, wherever its traffic is.
    Promoted,
    /// Goes from pause to pause until nothing is left to do.
    Healthy,
    /// The update was given up, and all weight is back.
    Aborted,
}

/// Where a story is played.
pub(super) struct Stage<'a> {
    world: &'a World<'a>,
    rollout: &'a Rollout,
    balancer: &'a Balancer,
    /// The pod template hash of each version.
    hashes: BTreeMap<&'static str, String>,
    /// The newest version's.
    newest: String,
    /// With `dynamicStableScale`: how many Pods all versions have together once stable has let go of what a weight does not need.
    together: Option<u32>,
}

impl Act {
    /// It needs a controller that no other story needs.
    pub(super) fn kills(&self) -> bool {
        matches!(self, Self::KillController { .. } | Self::KillPlugin { .. })
    }
}

impl<'a> Stage<'a> {
    /// Version 1 is there, as it was seen.
    pub(super) fn open(
        world: &'a World<'a>,
        rollout: &'a Rollout,
        balancer: &'a Balancer,
        first: &Seen,
        dynamic: bool,
    ) -> Self {
        let newest = first.status.current_pod_hash.clone();
        let together = dynamic.then_some(first.status.replicas);
        Self { world, rollout, balancer, hashes: BTreeMap::from([("1", newest.clone())]), newest, together }
    }

    /// The pod template hash of a version.
    pub(super) fn hash(&self, version: &str) -> anyhow::Result<&str> {
        self.hashes.get(version).map(String::as_str).with_context(|| format!("version {version} was never released"))
    }

    /// Does it, or waits for it.
    pub(super) async fn play(&mut self, act: &Act) -> anyhow::Result<()> {
        match *act {
            Act::Release(version) => {
                self.rollout.set_version(version).await?;
                let before = self.newest.clone();
                let taken_up = |seen: &Seen| seen.is_current() && seen.status.current_pod_hash != before;
                let seen = self.rollout.until("about to bring the new version", taken_up).await?;
                self.newest.clone_from(&seen.status.current_pod_hash);
                self.hashes.insert(version, self.newest.clone());
                Ok(())
            }
            Act::Back => {
                self.rollout.clear_version().await?;
                self.newest = self.hash("1")?.to_owned();
                Ok(())
            }
            Act::Abort => self.rollout.abort().await,
            Act::PromoteFull => self.rollout.promote_full().await,
            Act::LosePod(version) => self.world.lose_pod(self.hash(version)?).await,
            Act::KillController { at } => self.kill_controller(at).await,
            Act::KillPlugin { at } => self.kill_plugin(at).await,
            Act::PausedAt(weight) => {
                self.advance("paused", |seen| paused_at(seen, weight)).await?;
                let Some(together) = self.together else { return Ok(()) };
                let known = |seen: &Seen| paused_at(seen, weight) && seen.status.replicas == together;
                self.rollout.until(&format!("paused, with {together} Pods"), known).await.map(drop)
            }
            Act::Promoted => {
                let newest = self.newest.clone();
                self.advance("promoted", |seen| seen.status.stable_rs == newest).await
            }
            Act::Healthy => {
                self.advance("healthy", |seen| seen.status.phase == "Healthy").await?;
                self.rollout.until_healthy_and_true().await.map(drop)
            }
            Act::Aborted => {
                let back = |seen: &Seen| seen.status.phase == "Degraded" && seen.recorded_weight() == Some(0);
                let given_up = |seen: &Seen| seen.is_current() && seen.status.abort && back(seen);
                self.rollout.until("given up, with all weight back", given_up).await.map(drop)
            }
        }
    }

    /// Ends each pause until this is so. Only what is about the newest version counts.
    async fn advance(&self, what: &str, is_so: impl Fn(&Seen) -> bool) -> anyhow::Result<()> {
        let newest = |seen: &Seen| seen.is_current() && seen.status.current_pod_hash == self.newest;
        loop {
            let condition = |seen: &Seen| newest(seen) && (is_so(seen) || seen.status.is_paused());
            let seen = self.rollout.until(&format!("{what}, or in a pause"), condition).await?;
            if is_so(&seen) {
                return Ok(());
            }
            let step = seen.status.current_step_index;
            self.rollout.resume().await?;
            let goes_on = |seen: &Seen| seen.status.current_step_index != step;
            self.rollout.until("at the step after the pause", goes_on).await?;
        }
    }

    async fn kill_controller(&self, at: u32) -> anyhow::Result<()> {
        self.meanwhile(self.advance("never", |_| false), self.written(at)).await?;
        let controller = self.world.own_controller().context("the story has no controller of its own")?;
        controller.kill_alone();
        controller.gone().await;
        self.world.start_controller()?;
        let orphan = timeout(ORPHAN_ENDS_WITHIN, controller.group_gone()).await;
        orphan.with_context(|| format!("the plugin still ran {ORPHAN_ENDS_WITHIN:?} after its controller was killed"))
    }

    async fn kill_plugin(&self, at: u32) -> anyhow::Result<()> {
        self.meanwhile(self.advance("never", |_| false), self.written(at)).await?;
        let controller = self.world.own_controller().context("the story has no controller of its own")?;
        let children = resident::children(controller.id());
        ensure!(children.len() == 1, "the controller should have one child, the plugin: {children:?}");
        for plugin in children {
            kill_process(plugin.id, Signal::KILL).context("cannot kill the plugin")?;
        }
        Ok(())
    }

    /// Waits for `moment` while the Rollout goes on.
    async fn meanwhile(
        &self,
        going_on: impl Future<Output = anyhow::Result<()>>,
        moment: impl Future<Output = anyhow::Result<()>>,
    ) -> anyhow::Result<()> {
        tokio::select! {
            result = moment => result,
            result = going_on => result.and_then(|()| anyhow::bail!("the update ended too early")),
        }
    }

    /// Waits until a rule is given this share of the second group, per cent.
    async fn written(&self, share: u32) -> anyhow::Result<()> {
        let mut journal = self.world.environment.lab.follow();
        let written = async {
            loop {
                let entry = journal.next().await;
                let changes = self.balancer.rules.iter().filter_map(|rule| entry.change(rule));
                let mut after = changes.filter_map(|change| change.weights_after.as_ref());
                let weight = |weights: &lab::Weights, group| u32::from(weights.get(group).copied().unwrap_or_default());
                let has_share = |weights: &lab::Weights| {
                    let (first, second) =
                        (weight(weights, &self.balancer.stable), weight(weights, &self.balancer.canary));
                    second * 100 == share * (first + second)
                };
                if entry.accepted() && after.any(has_share) {
                    return;
                }
            }
        };
        let late = || format!("no rule was given {share} % within {WRITTEN_WITHIN:?}");
        timeout(WRITTEN_WITHIN, written).await.with_context(late)
    }
}

fn paused_at(seen: &Seen, weight: u32) -> bool {
    seen.status.is_paused() && seen.recorded_weight() == Some(weight)
}
