//! One Rollout whose traffic comes through two listeners, with dynamicStableScale: the pods of the old version go as
//! its weight goes, so a weight that is not true costs requests.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use crate::checks;
use crate::controller_log;
use crate::environment::HEALTHY_AFTER;
use crate::history::History;
use crate::load_balancer::Balancer;
use crate::objects::{Web, plugin};
use crate::rollout::Seen;
use crate::rollouts::PLUGIN;
use crate::world::{STABLE_AND_CANARY, World};

const REPLICAS: u32 = 10;

/// The plugin's default for `gates.minHealthyPercent`.
const MIN_HEALTHY_PERCENT: u32 = 90;

/// An update runs through all its steps, and so does the way back.
pub(super) async fn update_and_back(world: &World<'_>) -> anyhow::Result<()> {
    let balancer = world.two_listeners(&world.environment.registrar, STABLE_AND_CANARY).await?;
    let before = balancer.all_but_our_weights().await?;
    let steps = json!([
        { "setWeight": 10 },
        { "pause": { "duration": "1s" } },
        { "setWeight": 60 },
        { "pause": { "duration": "1s" } },
        { "setWeight": 80 },
        { "setWeight": 90 },
        { "setWeight": 100 },
    ]);
    // Without `ruleArns`: the plugin must find both rules.
    let entry = json!({ "stableTargetGroupArn": balancer.stable, "canaryTargetGroupArn": balancer.canary });
    let rollout = world.create_web(web(steps, entry)).await?;
    rollout.until_healthy().await?;
    rollout.set_version("2").await?;
    rollout.until_healthy().await?;
    rollout.set_version("1").await?;
    let end = rollout.until_healthy().await?;

    let history = world.history(&balancer, STABLE_AND_CANARY, &end).await?;
    always_true(&history)?;
    let once = [10, 60, 80, 90, 100, 0];
    let twice = [&[0], once.as_slice(), &once].concat();
    ensure!(history.recorded() == twice, "recorded weights: {:?}", history.recorded());
    for rule in &history.rules {
        let weights = rule.canary_weights(&history.roles);
        ensure!(weights == twice, "canary weights of rule {}: {weights:?}", rule.arn);
    }
    // In each update at 10, 60, 80 and 90 at least; a check of none would have shown nothing.
    let scaled_down = checks::times_scaled_down(&history);
    ensure!(scaled_down >= 8, "ReplicaSets were scaled down {scaled_down} times");
    let after = balancer.all_but_our_weights().await?;
    ensure!(before == after, "the rules were {before:#?}\nand are {after:#?}");
    nothing_complained(world, &[]).await
}

/// An update is aborted half way, in a pause where nothing moves: the stable pods come back, and with them their traffic.
pub(super) async fn abort_in_the_middle(world: &World<'_>) -> anyhow::Result<()> {
    abort_at_60(world, |seen| pods(seen) == (REPLICAS, REPLICAS), &["RolloutAborted"]).await
}

/// An update is aborted as soon as a step is taken, while stable pods are still let go on the strength of it. The
/// controller counts them as ready for traffic, and asks for more of it than those that stay could carry.
pub(super) async fn abort_after_a_step(world: &World<'_>) -> anyhow::Result<()> {
    // The plugin's answer to that question is an error, of which the controller makes a warning.
    abort_at_60(world, |_| true, &["RolloutAborted", "TrafficRoutingError"]).await
}

async fn abort_at_60(world: &World<'_>, moment: impl Fn(&Seen) -> bool, expected: &[&str]) -> anyhow::Result<()> {
    let balancer = world.two_listeners(&world.environment.registrar, STABLE_AND_CANARY).await?;
    let before = balancer.all_but_our_weights().await?;
    let steps = json!([{ "setWeight": 10 }, { "setWeight": 60 }, { "pause": {} }, { "setWeight": 100 }]);
    let rollout = world.create_web(web(steps, both_rules(&balancer))).await?;
    let first = rollout.until_healthy().await?;
    rollout.set_version("2").await?;
    let at_60 = |seen: &Seen| seen.is_current() && seen.recorded_weight() == Some(60);
    rollout.until("at 60, to be aborted", |seen| at_60(seen) && moment(seen)).await?;
    rollout.abort().await?;
    let back = |seen: &Seen| seen.status.phase == "Degraded" && seen.recorded_weight() == Some(0);
    let end = rollout
        .until("degraded, with ten pods and all traffic on stable", |seen| {
            back(seen) && pods(seen) == (REPLICAS, REPLICAS)
        })
        .await?;
    ensure!(end.status.stable_rs == first.status.stable_rs, "the abort changed what is stable");

    let history = world.history(&balancer, STABLE_AND_CANARY, &end).await?;
    always_true(&history)?;
    for rule in &history.rules {
        let weights = rule.canary_weights(&history.roles);
        ensure!(weights.starts_with(&[0, 10, 60]) && weights.ends_with(&[0]), "canary weights: {weights:?}");
        let (_, back) = weights.split_at(2);
        ensure!(back.is_sorted_by(|one, next| one > next), "the way back was no way back: {weights:?}");
    }
    let stable = history.size(&end.status.stable_rs);
    ensure!(stable == Some(REPLICAS), "the stable ReplicaSet was left at {stable:?} pods");
    let after = balancer.all_but_our_weights().await?;
    ensure!(before == after, "the rules were {before:#?}\nand are {after:#?}");
    nothing_complained(world, expected).await
}

/// Pods come late into their target groups: a promoted version keeps its traffic in the canary group until it stands in
/// the stable one.
pub(super) async fn promotion_waits(world: &World<'_>) -> anyhow::Result<()> {
    let registrar = &world.environment.late_registrar;
    let balancer = world.two_listeners(registrar, STABLE_AND_CANARY).await?;
    let steps = json!([{ "setWeight": 50 }, { "setWeight": 100 }]);
    let rollout = world.create_web(web(steps, both_rules(&balancer))).await?;
    rollout.until_healthy().await?;
    rollout.set_version("2").await?;
    let end = rollout.until_healthy().await?;

    let history = world.history(&balancer, STABLE_AND_CANARY, &end).await?;
    always_true(&history)?;
    let moved = history.selected_since(STABLE_AND_CANARY.first, &end.status.stable_rs);
    let moved = moved.context("the stable Service was never moved to the new version")?;
    let registered = registrar.last_registration(&balancer.stable).context("nobody registered the promoted Pods")?;
    ensure!(registered.since > moved, "the promoted Pods were registered before the Service led to them");
    ensure!(registered.targets >= 9, "{} Pods came into the stable group at a time", registered.targets);
    for rule in &history.rules {
        let weights = rule.canary_weights(&history.roles);
        ensure!(weights == [0, 50, 100, 0], "canary weights of rule {}: {weights:?}", rule.arn);
        let (left, _) = rule.states.last().context("a rule without weights")?;
        ensure!(
            *left >= registered.since + HEALTHY_AFTER,
            "rule {} sent traffic to the stable group before its targets were healthy",
            rule.arn,
        );
    }
    nothing_complained(world, &[]).await
}

/// Pods of all versions, and how many of them are ready.
fn pods(seen: &Seen) -> (u32, u32) {
    (seen.status.replicas, seen.status.available_replicas)
}

/// A Rollout whose stable pods go as its canary's weight rises.
fn web(steps: Value, entry: Value) -> Web {
    let canary = json!({ "dynamicStableScale": true, "steps": steps });
    Web { replicas: REPLICAS, services: STABLE_AND_CANARY, canary, routing: plugin(PLUGIN, entry) }
}

/// An entry that names the rules.
fn both_rules(balancer: &Balancer) -> Value {
    json!({
        "stableTargetGroupArn": balancer.stable,
        "canaryTargetGroupArn": balancer.canary,
        "ruleArns": balancer.rules,
    })
}

fn always_true(history: &History) -> anyhow::Result<()> {
    checks::none("weights were recorded before they were true", checks::recorded_before_true(history))?;
    checks::none("the rules went different ways", checks::rules_apart(history))?;
    checks::none("weights of others were touched", checks::foreign_weights_touched(history))?;
    checks::none("pods were let go before their traffic", checks::let_go_too_early(history, REPLICAS))?;
    let beyond = checks::raised_beyond_pods(history, REPLICAS, MIN_HEALTHY_PERCENT);
    checks::none("traffic came before the pods for it", beyond)
}

/// The plugin's lines are in the controller's log, at their levels, and neither side found fault with the other. Events of
/// the reasons `expected` are no faults.
async fn nothing_complained(world: &World<'_>, expected: &[&str]) -> anyhow::Result<()> {
    let log = world.environment.controller.log();
    let ours = controller_log::lines(&log).filter(|line| line.source == "plugin.alb");
    let about_us = format!("rollout={}/", world.namespace);
    let ours = ours.filter(|line| line.text.contains(&about_us));
    let confirmed = ours.filter(|line| line.level == "INFO" && line.text.contains("confirmed")).count();
    ensure!(confirmed > 0, "no line of the plugin about this Rollout is in the controller's log");
    checks::none("go-plugin complained", controller_log::complaints(&log))?;
    let mut warnings = world.warnings().await?;
    warnings.retain(|warning| !expected.contains(&warning.reason.as_str()));
    ensure!(warnings.is_empty(), "there were warnings: {warnings:#?}");
    Ok(())
}
