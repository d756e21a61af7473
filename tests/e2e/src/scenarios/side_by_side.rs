//! The built-in path and the plugin side by side, each beside a load balancer controller with 25 other ingress groups to serve.

use std::time::Duration;

use anyhow::Context;
use serde_json::{Value, json};

use super::updates::{self, Played, REPLICAS, Step};
use crate::customers::Customers;
use crate::objects::{self, ROOT, plugin};
use crate::progress::say;
use crate::rival::{self, Rival};
use crate::rollouts::PLUGIN;
use crate::world::{STABLE_AND_CANARY, World};

/// The built-in path waits for nobody, so that somebody must wait for it: until its last weight is true.
const FOLLOWS_WITHIN: Duration = Duration::from_secs(300);

/// Plays both, and prints what their customers saw.
pub(super) async fn play(world: &World<'_>) -> anyhow::Result<()> {
    let beside = World::open(world.environment, "side_by_side_plugin").await?;
    let (built_in, ours) = tokio::try_join!(one(world, objects::built_in()), one(&beside, plugin(PLUGIN, json!({}))))?;
    say(format_args!(
        "\n25 other ingress groups keep the load balancer controller busy; {REPLICAS} pods, dynamicStableScale\n{}",
        [heading(), line("built-in router", &built_in), line("this plugin", &ours)].join("\n"),
    ));
    updates::judge_failures(&ours)
}

async fn one(world: &World<'_>, routing: Value) -> anyhow::Result<Played> {
    let rival = Rival::start(world, rival::with_neighbours());
    let lab = &world.environment.lab;
    let story = async {
        world.create_services(STABLE_AND_CANARY).await?;
        world.create_service(ROOT).await?;
        world.create_ingress(objects::ingress(ROOT, STABLE_AND_CANARY, r#"[{"HTTP": 80}]"#)).await?;
        let balancer = rival.balancer(world, ROOT, STABLE_AND_CANARY).await?;
        let rollout = world.create_rollout(updates::web(routing)).await?;
        rollout.until_healthy_and_true().await?;
        let customers = Customers::come(lab, &balancer, &balancer.stable, REPLICAS).await?;
        let end = updates::bring_version_2(&rollout).await?;
        let targets = world.addresses(&end.status.stable_rs).await?;
        let seen = customers.leave_within(FOLLOWS_WITHIN, lab, &balancer.canary, &balancer.stable, &targets).await?;
        let history = world.history(&balancer, STABLE_AND_CANARY, &end).await?;
        anyhow::Ok(Played { history, customers: seen })
    };
    rival.beside(story).await.with_context(|| format!("in {}", world.namespace))
}

fn heading() -> String {
    let steps = updates::WEIGHTS.map(|weight| format!("{weight} %")).into_iter().chain(["end".to_owned()]);
    let steps: String = steps.map(|step| format!("{step:>22}")).collect();
    format!("{:<18}{:>10}{:>8}{:>9}{:>14}{steps}", "", "requests", "failed", "share", "worst second")
}

fn line(name: &str, played: &Played) -> String {
    let customers = &played.customers;
    let share = customers.failed() as f64 * 100.0 / customers.requests().max(1) as f64;
    let steps: String = updates::steps(&played.history).iter().map(|step| format!("{:>22}", told(step))).collect();
    format!(
        "{name:<18}{:>10}{:>8}{share:>7.1} %{:>12.0} %{steps}",
        customers.requests(),
        customers.failed(),
        customers.worst_share(),
    )
}

/// When the controller held the weight for true, and how much later it was.
fn told(Step { recorded_after, true_after, .. }: &Step) -> String {
    let recorded = recorded_after.as_secs_f64();
    match true_after {
        None => format!("{recorded:.1} s, never true"),
        Some(Duration::ZERO) => format!("{recorded:.1} s, true"),
        Some(late) => format!("{recorded:.1} s, true +{:.1} s", late.as_secs_f64()),
    }
}
