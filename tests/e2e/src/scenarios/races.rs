//! The rival at every pace: it may put older weights back after ours were confirmed, and no request may fail by that.

use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use lab::load_balancer_controller::LbcConfig;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, timeout};

use super::updates;
use crate::controller_log;
use crate::objects::{self, ROOT, plugin};
use crate::rival::{self, Rival};
use crate::rollouts::{HASTY_PLUGIN, PLUGIN};
use crate::world::{STABLE_AND_CANARY, World};

/// One pace of the rival.
#[derive(Debug)]
pub(super) struct Race {
    pub(super) name: &'static str,
    pace: Pace,
}

#[derive(Debug, Clone, Copy)]
enum Pace {
    /// Nothing else to do.
    Idle,
    /// One of eight busy groups.
    Busy,
    /// Each run takes this long from the reading of the annotations to its first rule.
    Lagging(Duration),
    /// One of 26 busy groups.
    WithNeighbours,
}

pub(super) const RACES: &[Race] = &[
    Race { name: "race_idle", pace: Pace::Idle },
    Race { name: "race_busy", pace: Pace::Busy },
    Race { name: "race_lagging", pace: Pace::Lagging(Duration::from_secs(15)) },
    Race { name: "race_neighbours", pace: Pace::WithNeighbours },
];

/// From the last thing that the plugin waits for until it says that the weights are confirmed: the settle time here, and a second.
const CONFIRMED_WITHIN: Duration = Duration::from_secs(2);

/// Two cores that are busy.
const SLACK: Duration = Duration::from_secs(1);

/// How long a controller that was away may take to follow.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(60);

impl Pace {
    fn config(self) -> LbcConfig {
        match self {
            Self::Idle => LbcConfig::idle(2),
            Self::Busy => LbcConfig::busy(2),
            Self::Lagging(lag) => LbcConfig::lagging(2, lag),
            Self::WithNeighbours => rival::with_neighbours(),
        }
    }
}

impl Race {
    /// Plays one update beside the rival.
    pub(super) async fn play(&'static self, world: &World<'_>) -> anyhow::Result<()> {
        let rival = Rival::start(world, self.pace.config());
        rival.beside(self.play_beside(world, &rival)).await
    }

    async fn play_beside(&self, world: &World<'_>, rival: &Rival) -> anyhow::Result<()> {
        world.create_services(STABLE_AND_CANARY).await?;
        world.create_ingress(objects::ingress(ROOT, STABLE_AND_CANARY, r#"[{"HTTP": 80}, {"HTTPS": 443}]"#)).await?;
        let balancers = [rival.balancer(world, ROOT, STABLE_AND_CANARY).await?];
        let rollout = world.create_rollout(updates::web(plugin(PLUGIN, json!({})))).await?;
        rollout.until_healthy_and_true().await?;
        let played = updates::play(world, &rollout, &balancers).await?;
        updates::judge(world, &balancers, &played)?;
        updates::judge_echoes(world, rival, updates::WEIGHTS.len())?;
        updates::judge_put_backs(world, rival)?;
        let log = world.controller_log();
        let about = format!("{}/web", world.namespace);
        let confirmed = controller_log::confirmations(&log, &about);
        for echo in controller_log::echoes(&log, &about) {
            let next = confirmed.iter().find(|confirmed| **confirmed >= echo.at);
            let after = next.and_then(|next| next.duration_since(echo.at).ok());
            ensure!(
                after.is_some_and(|after| after <= CONFIRMED_WITHIN + SLACK),
                "an echo was heard and the weights were confirmed {after:?} later, not within {CONFIRMED_WITHIN:?}",
            );
        }
        Ok(())
    }
}

/// The controller is away for the whole update, and somebody else registers the Pods.
pub(super) async fn rival_stopped(world: &World<'_>) -> anyhow::Result<()> {
    let rival = Rival::start(world, LbcConfig::idle(2));
    rival.beside(stopped_and_resumed(world, &rival)).await
}

async fn stopped_and_resumed(world: &World<'_>, rival: &Rival) -> anyhow::Result<()> {
    world.create_services(STABLE_AND_CANARY).await?;
    world.create_ingress(objects::ingress(ROOT, STABLE_AND_CANARY, r#"[{"HTTP": 80}]"#)).await?;
    let balancers = [rival.balancer(world, ROOT, STABLE_AND_CANARY).await?];
    let rollout = world.create_rollout(updates::web(plugin(HASTY_PLUGIN, json!({})))).await?;
    rollout.until_healthy_and_true().await?;
    rival.stop().await;
    for (service, group) in
        [(STABLE_AND_CANARY.first, &balancers[0].stable), (STABLE_AND_CANARY.second, &balancers[0].canary)]
    {
        world.environment.registrar.bind(&world.namespace, service, group)?;
    }
    let played = updates::play(world, &rollout, &balancers).await?;
    updates::judge(world, &balancers, &played)?;
    let reasons = world.warning_reasons().await?;
    ensure!(reasons.contains("IngressNotFollowed"), "nobody said that the Ingress was not followed: {reasons:?}");

    let resumed = SystemTime::now();
    rival.resume();
    let followed = async {
        let mut ticks = interval(Duration::from_millis(100));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while rival.followed(resumed, SystemTime::now()).is_none() {
            ticks.tick().await;
        }
    };
    timeout(FOLLOWS_WITHIN, followed)
        .await
        .with_context(|| format!("it followed nothing within {FOLLOWS_WITHIN:?}"))?;
    ensure!(rival.put_backs() == 0, "the rival put back {} times what it was told long before", rival.put_backs());
    Ok(())
}
