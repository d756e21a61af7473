//! An experiment with a part of the traffic: the rollouts controller makes its Service in mid-update and deletes it right after.

use anyhow::{Context, ensure};
use lab::Weights;
use lab::load_balancer_controller::LbcConfig;
use serde_json::json;

use super::updates::{self, Played, REPLICAS};
use crate::customers::Customers;
use crate::objects::{self, ROOT, Web, plugin};
use crate::rival::Rival;
use crate::rollout::{Rollout, Seen};
use crate::rollouts::PLUGIN;
use crate::world::{STABLE_AND_CANARY, World};

/// The canary's weight before, during and after the experiment, and the experiment's own.
const CANARY: u32 = 20;
const EXPERIMENT: u32 = 30;

/// Through an Ingress that a load balancer controller follows.
pub(super) async fn through_an_ingress(world: &World<'_>) -> anyhow::Result<()> {
    let rival = Rival::start(world, LbcConfig::idle(5));
    rival.beside(play(world, &rival)).await
}

async fn play(world: &World<'_>, rival: &Rival) -> anyhow::Result<()> {
    world.create_services(STABLE_AND_CANARY).await?;
    world.create_ingress(objects::ingress(ROOT, STABLE_AND_CANARY, r#"[{"HTTP": 80}, {"HTTPS": 443}]"#)).await?;
    let balancer = rival.balancer(world, ROOT, STABLE_AND_CANARY).await?;
    let template = json!({ "name": "try", "specRef": "canary", "weight": EXPERIMENT });
    let steps = json!([
        { "setWeight": CANARY },
        { "experiment": { "duration": "10s", "templates": [template] } },
        { "pause": {} },
        { "setWeight": 50 },
    ]);
    let canary = json!({ "steps": steps });
    let routing = plugin(PLUGIN, json!({}));
    let rollout =
        world.create_rollout(Web { replicas: REPLICAS, services: STABLE_AND_CANARY, canary, routing }).await?;
    rollout.until_installed().await?;
    let lab = &world.environment.lab;
    let customers = Customers::come(lab, &balancer, &balancer.stable, REPLICAS).await?;
    let end = bring_version_2(&rollout).await;
    let end = end.with_context(|| format!("customers so far: {:?}", customers.outcomes()))?;
    let targets = world.addresses(&end.status.stable_rs).await?;
    let customers = customers.leave(lab, &balancer.canary, &balancer.stable, &targets).await?;
    let history = world.history(&balancer, STABLE_AND_CANARY, &end).await?;

    let roles = &history.roles;
    let split = |weights: &Weights| {
        let all: u32 = weights.values().copied().map(u32::from).sum();
        let share = |part: u32| part * 100 / all.max(1);
        (share(roles.stable_weight(weights)), share(roles.canary_weight(weights)))
    };
    let tried = (100 - CANARY - EXPERIMENT, CANARY);
    for rule in &history.rules {
        ensure!(
            rule.states.iter().any(|(_, weights)| weights.len() == 3 && split(weights) == tried),
            "rule {} never gave the experiment its part: {:?}",
            rule.arn,
            rule.states
        );
        let (_, last) = rule.states.last().context("a rule never had weights")?;
        ensure!(last.len() == 2 && split(last) == (100, 0), "rule {} ended with {last:?}", rule.arn);
    }
    updates::judge_failures(&Played { history, customers })?;
    let warnings = world.warnings().await?;
    ensure!(warnings.iter().all(|warning| warning.reason == "WeightsPutBack"), "there were warnings: {warnings:#?}");
    Ok(())
}

async fn bring_version_2(rollout: &Rollout) -> anyhow::Result<Seen> {
    rollout.set_version("2").await?;
    rollout.until("behind its experiment", |seen| seen.is_current() && seen.status.controller_pause).await?;
    rollout.resume().await?;
    rollout.until_healthy_and_true().await
}
