//! The API server is away for a minute in the middle of an update, for the rollouts controller and the plugin alike.

use std::time::Duration;

use anyhow::ensure;
use lab::load_balancer_controller::LbcConfig;
use serde_json::json;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::updates;
use crate::history::RuleHistory;
use crate::line::Line;
use crate::load_balancer::Balancer;
use crate::objects::{self, ROOT, plugin};
use crate::progress::say;
use crate::rival::Rival;
use crate::rollouts::PLUGIN;
use crate::world::{STABLE_AND_CANARY, World};
use crate::{checks, controller_log};

/// Longer than the plugin holds a call.
const AWAY_FOR: Duration = Duration::from_secs(60);

/// When it goes.
#[derive(Debug)]
pub(super) struct Away {
    pub(super) name: &'static str,
    when: When,
}

#[derive(Debug, Clone, Copy)]
enum When {
    /// A target of the new version is registered: the weight is still to be written.
    Registered,
    /// The first weight is written: it is still to be confirmed and recorded.
    Written,
}

pub(super) const AWAY: &[Away] = &[
    Away { name: "away_before_a_write", when: When::Registered },
    Away { name: "away_after_a_write", when: When::Written },
];

impl Away {
    /// Plays one update.
    pub(super) async fn play(&'static self, world: &World<'_>) -> anyhow::Result<()> {
        let line = Line::to(world.environment.control_plane.server.address()?).await?;
        let rival = Rival::start(world, LbcConfig::idle(6));
        tokio::select! {
            played = rival.beside(self.play_behind(&line, world, &rival)) => played,
            error = line.failed() => Err(error),
        }
    }

    async fn play_behind(&self, line: &Line, world: &World<'_>, rival: &Rival) -> anyhow::Result<()> {
        world.start_controller_behind(Some(line))?;
        world.create_services(STABLE_AND_CANARY).await?;
        world.create_ingress(objects::ingress(ROOT, STABLE_AND_CANARY, r#"[{"HTTP": 80}, {"HTTPS": 443}]"#)).await?;
        let balancers = [rival.balancer(world, ROOT, STABLE_AND_CANARY).await?];
        let rollout = world.create_rollout(updates::web(plugin(PLUGIN, json!({})))).await?;
        rollout.until_installed().await?;
        let [balancer] = &balancers;
        let (played, ()) =
            tokio::try_join!(updates::play(world, &rollout, &balancers), self.outage(line, world, balancer))?;
        updates::judge(world, &balancers, &played)?;
        updates::judge_put_backs(world, rival)?;
        let log = world.controller_log();
        checks::none("there were complaints", controller_log::complaints(&log))?;
        // Before the weights are settled the rules are looked for once more, and that needs the API server.
        let is_told = log.contains("the API server could not be reached");
        ensure!(is_told || matches!(self.when, When::Registered), "the plugin did not say what it waited for");
        let reasons = world.warning_reasons().await?;
        ensure!(!reasons.contains("IngressNotFollowed"), "the controller that was not cut off did not follow");
        Ok(())
    }

    async fn outage(&self, line: &Line, world: &World<'_>, balancer: &Balancer) -> anyhow::Result<()> {
        let mut ticks = interval(Duration::from_millis(20));
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Before the update stable's pods are behind both Services.
        let before = world.environment.lab.journal().len();
        while !self.when.has_come(world, balancer, before) {
            ticks.tick().await;
        }
        line.cut();
        sleep(AWAY_FOR).await;
        line.mend();
        say(format_args!("{}: the API server was away for {AWAY_FOR:?}", world.namespace));
        Ok(())
    }
}

impl When {
    fn has_come(self, world: &World<'_>, balancer: &Balancer, before: usize) -> bool {
        let journal = world.environment.lab.journal();
        match self {
            Self::Registered => journal.iter().skip(before).any(|entry| {
                entry.operation == "RegisterTargets" && entry.subject.as_deref() == Some(&balancer.canary)
            }),
            Self::Written => balancer.rules.iter().any(|rule| {
                let states = RuleHistory::of(rule, &journal).states;
                states.iter().any(|(_, weights)| weights.get(&balancer.canary).is_some_and(|weight| *weight > 0))
            }),
        }
    }
}
