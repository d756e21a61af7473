//! An experiment with a part of the traffic: the rollouts controller makes its Service in mid-update and deletes it with its pods.

use anyhow::{Context, ensure};
use aws_sdk_elasticloadbalancingv2::types::LoadBalancerTypeEnum;
use lab::Weights;
use lab::kubernetes::Kind;
use lab::load_balancer_controller::LbcConfig;
use serde_json::{Value, json};

use super::updates::{self, Played, REPLICAS};
use crate::application::PORT;
use crate::customers::Customers;
use crate::load_balancer::{self, Balancer};
use crate::objects::{self, ROOT, Web, plugin};
use crate::progress::say;
use crate::rival::Rival;
use crate::rollout::{Rollout, Seen};
use crate::rollouts::{PLUGIN, SCENARIO_PREFIX};
use crate::world::{STABLE_AND_CANARY, World};

/// The canary's weight before, during and after the experiment, and the experiment's own.
const CANARY: u32 = 20;
const EXPERIMENT: u32 = 30;

/// The Service of an experiment that was given a name.
const SERVICE: &str = "web-try";

/// An experiment, and what is left of it.
struct Experiment {
    template: Value,
    /// `scaleDownDelaySeconds` of the step; the host's own is 30.
    scale_down_delay: Option<u32>,
    /// So many groups each rule holds afterwards.
    ends_with: usize,
}

/// Through an Ingress that a load balancer controller follows. The experiment's target group comes and goes with its Service.
pub(super) async fn through_an_ingress(world: &World<'_>) -> anyhow::Result<()> {
    behind_an_ingress(world, None).await
}

/// The same, but its pods are told to go, and its Service is deleted, before anybody is asked for other weights. Whoever routes,
/// requests may be lost then; the load balancer controller must not be stuck with a Service that is gone.
pub(super) async fn gone_at_once(world: &World<'_>) -> anyhow::Result<()> {
    behind_an_ingress(world, Some(0)).await
}

async fn behind_an_ingress(world: &World<'_>, scale_down_delay: Option<u32>) -> anyhow::Result<()> {
    let rival = Rival::start(world, LbcConfig::idle(5));
    let story = async {
        world.create_services(STABLE_AND_CANARY).await?;
        world.create_ingress(objects::ingress(ROOT, STABLE_AND_CANARY, r#"[{"HTTP": 80}, {"HTTPS": 443}]"#)).await?;
        let balancer = rival.balancer(world, ROOT, STABLE_AND_CANARY).await?;
        let template = json!({ "name": "try", "specRef": "canary", "weight": EXPERIMENT });
        play(world, &balancer, Experiment { template, scale_down_delay, ends_with: 2 }).await
    };
    rival.beside(story).await
}

/// With a target group that somebody bound to the experiment's Service before there was one. No rule knows it.
pub(super) async fn through_a_binding(world: &World<'_>) -> anyhow::Result<()> {
    let rival = Rival::start(world, LbcConfig::idle(6));
    let story = async {
        world.create_services(STABLE_AND_CANARY).await?;
        let client = load_balancer::client(world.environment.lab.endpoint());
        let name = world.namespace.trim_start_matches(SCENARIO_PREFIX);
        let balancer = Balancer::default_action(client, name, LoadBalancerTypeEnum::Application).await?;
        let further = balancer.further_group(SERVICE).await?;
        world.create_bindings(Kind::TARGET_GROUP_BINDING, STABLE_AND_CANARY, &balancer).await?;
        // The rollouts controller numbers the Service's port after the container's.
        world.create_binding(Kind::TARGET_GROUP_BINDING, SERVICE, PORT, &further).await?;
        let template =
            json!({ "name": "try", "specRef": "canary", "weight": EXPERIMENT, "service": { "name": SERVICE } });
        play(world, &balancer, Experiment { template, scale_down_delay: None, ends_with: 3 }).await
    };
    rival.beside(story).await
}

/// One update.
async fn play(world: &World<'_>, balancer: &Balancer, experiment: Experiment) -> anyhow::Result<()> {
    let Experiment { template, scale_down_delay, ends_with } = experiment;
    let steps = json!([
        { "setWeight": CANARY },
        { "experiment": {
            "duration": "10s", "templates": [template], "scaleDownDelaySeconds": scale_down_delay,
        } },
        { "pause": {} },
        { "setWeight": 50 },
    ]);
    let canary = json!({ "steps": steps });
    let routing = plugin(PLUGIN, json!({}));
    let rollout =
        world.create_rollout(Web { replicas: REPLICAS, services: STABLE_AND_CANARY, canary, routing }).await?;
    rollout.until_installed().await?;
    let lab = &world.environment.lab;
    let customers = Customers::come(lab, balancer, &balancer.stable, REPLICAS).await?;
    let end = bring_version_2(&rollout).await;
    let end = end.with_context(|| format!("customers so far: {:?}", customers.outcomes()))?;
    let targets = world.addresses(&end.status.stable_rs).await?;
    let customers = customers.leave(lab, &balancer.canary, &balancer.stable, &targets).await?;
    let history = world.history(balancer, STABLE_AND_CANARY, &end).await?;

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
        ensure!(last.len() == ends_with && split(last) == (100, 0), "rule {} ended with {last:?}", rule.arn);
    }
    if scale_down_delay == Some(0) {
        say(format_args!("{}: {} of {} requests failed", world.namespace, customers.failed(), customers.requests()));
    } else {
        updates::judge_failures(&Played { history, customers })?;
    }
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
