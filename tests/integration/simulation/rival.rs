//! The load balancer controller as a writer of weights: one worker for the Ingress, which reads the annotation, works for a while, and
//! then writes what it read where a rule shows other numbers (LBC `controllers/ingress/group_controller.go`, `rule_synthesizer.go`).

use std::sync::Arc;
use std::time::Duration;

use lab::NoAnswer;
use tokio::time::sleep;

use super::world::World;

/// What the journal calls it.
pub(crate) const AGENT: &str = "load balancer controller";

/// From an event to the run that it causes, at most.
const LAG: Duration = Duration::from_millis(100);

/// After a run that failed.
const AGAIN: Duration = Duration::from_secs(2);

/// Reconciles whenever the Ingress or one of its Services has changed. A run takes up to `longest` before it looks at the rules.
pub(crate) async fn run(world: Arc<World>, longest: Duration) {
    let mut changes = world.changes();
    let mut done = world.open().ingress_events;
    loop {
        changes.see();
        let events = world.open().ingress_events;
        if events == done {
            changes.changed().await;
            continue;
        }
        sleep(world.draw(LAG)).await;
        done = world.open().ingress_events;
        while reconcile(&world, longest).await.is_err() {
            sleep(AGAIN).await;
        }
    }
}

async fn reconcile(world: &World, longest: Duration) -> Result<(), NoAnswer> {
    let announced = world.open().announced_by_group();
    sleep(world.draw(longest)).await;
    for rule in &world.rules {
        let found = world.balancer.rules(AGENT, std::slice::from_ref(rule)).await?;
        sleep(world.draw(LAG)).await;
        for found in found {
            let wanted: Vec<(String, u16)> = found
                .groups
                .iter()
                .map(|(group, weight)| (group.clone(), announced.get(group).copied().unwrap_or(*weight)))
                .collect();
            if wanted != found.groups {
                world.balancer.set_weights(AGENT, rule, &wanted).await?;
            }
        }
    }
    Ok(())
}
