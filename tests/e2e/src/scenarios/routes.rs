//! A header route: there when the step that asks for it ends, and gone when the update has ended.

use std::time::Duration;

use anyhow::{Context, ensure};
use aws_sdk_elasticloadbalancingv2::types::LoadBalancerTypeEnum;
use lab::kubernetes::Kind;
use lab::load_balancer_controller::LbcConfig;
use serde_json::json;
use tokio::time::{sleep, timeout};

use super::updates;
use crate::load_balancer::{self, Balancer};
use crate::objects::{self, ROOT, Web, plugin};
use crate::rival::Rival;
use crate::rollout::Seen;
use crate::rollouts::{PLUGIN, SCENARIO_PREFIX};
use crate::world::{STABLE_AND_CANARY, World};

/// How long the load balancer controller may take to delete a rule that its Ingress does not name any more.
const CLEANED_WITHIN: Duration = Duration::from_secs(30);

/// How often the rules are looked at meanwhile.
const LOOKS_EVERY: Duration = Duration::from_millis(200);

/// Through an Ingress that a load balancer controller follows.
pub(super) async fn through_an_ingress(world: &World<'_>) -> anyhow::Result<()> {
    let rival = Rival::start(world, LbcConfig::idle(3));
    let story = async {
        world.create_services(STABLE_AND_CANARY).await?;
        world.create_ingress(objects::ingress(ROOT, STABLE_AND_CANARY, r#"[{"HTTP": 80}, {"HTTPS": 443}]"#)).await?;
        let balancer = rival.balancer(world, ROOT, STABLE_AND_CANARY).await?;
        play(world, &balancer).await
    };
    rival.beside(story).await
}

/// On a listener that is nobody else's, before its default action.
pub(super) async fn of_our_own(world: &World<'_>) -> anyhow::Result<()> {
    let rival = Rival::start(world, LbcConfig::idle(4));
    let story = async {
        world.create_services(STABLE_AND_CANARY).await?;
        let client = load_balancer::client(world.environment.lab.endpoint());
        let name = world.namespace.trim_start_matches(SCENARIO_PREFIX);
        let balancer = Balancer::default_action(client, name, LoadBalancerTypeEnum::Application).await?;
        world.create_bindings(Kind::TARGET_GROUP_BINDING, STABLE_AND_CANARY, &balancer).await?;
        play(world, &balancer).await
    };
    rival.beside(story).await
}

async fn play(world: &World<'_>, balancer: &Balancer) -> anyhow::Result<()> {
    let matches = json!([{ "headerName": "x-beta", "headerValue": { "exact": "yes" } }]);
    let steps = json!([
        { "setCanaryScale": { "replicas": 1 } },
        { "setHeaderRoute": { "name": "beta", "match": matches } },
        { "pause": {} },
        { "setWeight": 50 },
    ]);
    let managed = json!({ "managedRoutes": [{ "name": "beta" }] });
    let routing = objects::together(plugin(PLUGIN, json!({})), managed);
    let canary = json!({ "steps": steps });
    let web = Web { replicas: updates::REPLICAS, services: STABLE_AND_CANARY, canary, routing };
    let rollout = world.create_rollout(web).await?;
    rollout.until_installed().await?;
    ensure!(balancer.header_rules().await?.is_empty(), "there is a route that nobody asked for");
    rollout.set_version("2").await?;
    let paused = |seen: &Seen| seen.is_current() && seen.status.controller_pause;
    rollout.until("paused behind its header route", paused).await?;
    let routes = balancer.header_rules().await?;
    ensure!(
        routes.len() == balancer.rules.len(),
        "{} rules are shifted, and these are routed: {routes:?}",
        balancer.rules.len()
    );
    ensure!(routes.iter().all(|to| *to == [balancer.canary.clone()]), "the routes lead elsewhere: {routes:?}");
    rollout.resume().await?;
    rollout.until_healthy().await?;
    let gone = async {
        while !balancer.header_rules().await?.is_empty() {
            sleep(LOOKS_EVERY).await;
        }
        anyhow::Ok(())
    };
    timeout(CLEANED_WITHIN, gone).await.context("the route is still there")??;
    let warnings = world.warnings().await?;
    ensure!(warnings.iter().all(|warning| warning.reason == "WeightsPutBack"), "there were warnings: {warnings:#?}");
    Ok(())
}
