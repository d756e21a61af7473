//! What the rollouts controller asks of a plugin and what it does itself, against recordings of it. The lab's model of the
//! controller is held to the same recordings: that is what makes it a model.
//!
//! After a change that is meant, run with `RECORD_HOST_CALLS=1` in the environment: it writes them anew.

use std::path::Path;
use std::time::SystemTime;

use anyhow::{Context, ensure};
use lab::rollouts_controller::recording::{Called, Deed, written};
use serde_json::{Value, json};

use crate::controller_log::{self, TALKATIVE};
use crate::history::{Audit, ClusterWrite, RolloutStatus, Stored};
use crate::objects::{Web, plugin};
use crate::rollout::{Rollout, Seen};
use crate::rollouts::TALKATIVE_PLUGIN;
use crate::world::{STABLE_AND_CANARY, World};

const REPLICAS: u32 = 10;

/// V1, then V2 through all its steps, with pods of V1 going as its weight goes.
pub(super) async fn update(world: &World<'_>) -> anyhow::Result<()> {
    let steps =
        json!([{ "setWeight": 10 }, { "pause": { "duration": "2s" } }, { "setWeight": 60 }, { "setWeight": 100 }]);
    let rollout = create(world, json!({ "dynamicStableScale": true, "steps": steps })).await?;
    rollout.set_version("2").await?;
    let end = rollout.until_healthy().await?;
    compare(world, &end, "update").await
}

/// V1, then V2 up to a pause at 60, where someone aborts.
pub(super) async fn abort(world: &World<'_>) -> anyhow::Result<()> {
    let rollout = create(world, json!({ "dynamicStableScale": true, "steps": steps_to_pause() })).await?;
    rollout.set_version("2").await?;
    paused(&rollout, 60, REPLICAS).await?;
    rollout.abort().await?;
    let back = |seen: &Seen| seen.status.phase == "Degraded" && seen.recorded_weight() == Some(0);
    let end = rollout.until("aborted", |seen| back(seen) && pods(seen) == (REPLICAS, REPLICAS)).await?;
    compare(world, &end, "abort").await
}

/// V1, then V2 up to a pause at 60, where V3 comes. All pods of V1 stay.
pub(super) async fn interrupted(world: &World<'_>) -> anyhow::Result<()> {
    let steps = json!([{ "setWeight": 10 }, { "setWeight": 60 }, { "pause": { "duration": "5s" } }]);
    let rollout = create(world, json!({ "steps": steps })).await?;
    rollout.set_version("2").await?;
    paused(&rollout, 60, REPLICAS + 6).await?;
    rollout.set_version("3").await?;
    let end = rollout.until_healthy().await?;
    compare(world, &end, "interrupted").await
}

/// V1, then V2 up to a pause at 60, where V1 comes back.
pub(super) async fn back_to_stable(world: &World<'_>) -> anyhow::Result<()> {
    let rollout = create(world, json!({ "dynamicStableScale": true, "steps": steps_to_pause() })).await?;
    rollout.set_version("2").await?;
    paused(&rollout, 60, REPLICAS).await?;
    rollout.clear_version().await?;
    let healthy = |seen: &Seen| seen.is_current() && seen.status.phase == "Healthy";
    let only_stable = |seen: &Seen| seen.recorded_weight() == Some(0) && pods(seen) == (REPLICAS, REPLICAS);
    let end = rollout.until("back at V1", |seen| healthy(seen) && only_stable(seen)).await?;
    compare(world, &end, "back-to-stable").await
}

/// V1, then V2 up to a pause at 60, where someone wants no more steps. All pods of V1 stay.
pub(super) async fn promoted(world: &World<'_>) -> anyhow::Result<()> {
    let rollout = create(world, json!({ "steps": steps_to_pause() })).await?;
    rollout.set_version("2").await?;
    paused(&rollout, 60, REPLICAS + 6).await?;
    rollout.promote_full().await?;
    let end = rollout.until_healthy().await?;
    compare(world, &end, "promoted").await
}

/// V1, then V2 up to a pause at 60, where the Rollout gets more pods, and then is aborted.
pub(super) async fn resized(world: &World<'_>) -> anyhow::Result<()> {
    let canary = json!({ "abortScaleDownDelaySeconds": 5, "steps": [
        { "setCanaryScale": { "replicas": 1 } }, { "setWeight": 20 },
        { "setCanaryScale": { "matchTrafficWeight": true } }, { "setWeight": 60 }, { "pause": {} },
    ] });
    let rollout = create(world, canary).await?;
    rollout.set_version("2").await?;
    paused(&rollout, 60, REPLICAS + 6).await?;
    rollout.patch(json!({ "spec": { "replicas": 20 } })).await?;
    paused(&rollout, 60, 20 + 12).await?;
    rollout.abort().await?;
    let back = |seen: &Seen| seen.status.phase == "Degraded" && seen.recorded_weight() == Some(0);
    let end = rollout.until("aborted", |seen| back(seen) && pods(seen) == (20, 20)).await?;
    compare(world, &end, "resized").await
}

fn steps_to_pause() -> Value {
    json!([{ "setWeight": 10 }, { "setWeight": 60 }, { "pause": {} }, { "setWeight": 100 }])
}

async fn create(world: &World<'_>, canary: Value) -> anyhow::Result<Rollout> {
    let balancer = world.two_listeners(&world.environment.registrar, STABLE_AND_CANARY).await?;
    let entry = json!({ "stableTargetGroupArn": balancer.stable, "canaryTargetGroupArn": balancer.canary });
    let web = Web { replicas: REPLICAS, services: STABLE_AND_CANARY, canary, routing: plugin(TALKATIVE_PLUGIN, entry) };
    let rollout = world.create_web(web).await?;
    rollout.until_healthy().await?;
    Ok(rollout)
}

/// Pods of all versions, and how many of them are ready.
fn pods(seen: &Seen) -> (u32, u32) {
    (seen.status.replicas, seen.status.available_replicas)
}

/// Waits until nothing moves any more in a pause: what comes next then depends on nothing but the Rollout.
async fn paused(rollout: &Rollout, weight: u32, all_pods: u32) -> anyhow::Result<()> {
    let there =
        |seen: &Seen| seen.is_current() && seen.status.phase == "Paused" && seen.recorded_weight() == Some(weight);
    let what = format!("paused at {weight}, with {all_pods} pods");
    rollout.until(&what, |seen| there(seen) && pods(seen) == (all_pods, all_pods)).await.map(|_| ())
}

/// Compares what the controller did with its recording.
async fn compare(world: &World<'_>, end: &Seen, name: &str) -> anyhow::Result<()> {
    let audit = Audit::new(&world.environment.control_plane.audit_log);
    let writes = audit.until(&world.namespace, &end.resource_version).await?;
    let calls = calls(&world.environment.controller.log(), &format!("{}/web", world.namespace))?;
    let done = written(in_order(writes, calls));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("../data/host-calls/{name}.txt"));
    if std::env::var_os("RECORD_HOST_CALLS").is_some() {
        return std::fs::write(&path, done).with_context(|| format!("cannot write {}", path.display()));
    }
    let recorded = std::fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    ensure!(done == recorded, "{name}.txt says\n{recorded}\nnow the controller did\n{done}");
    Ok(())
}

/// The calls about a Rollout, by the plugin's own lines in the controller's log.
fn calls(log: &str, rollout: &str) -> anyhow::Result<Vec<(SystemTime, Called)>> {
    let lines = controller_log::lines(log).filter(|line| line.source == TALKATIVE && line.level == "DEBUG");
    let calls = lines.filter(|line| field(line.text, "rollout") == Some(rollout)).map(|line| {
        let call = call(line.text).with_context(|| format!("a call that cannot be read: {}", line.text))?;
        let at = field(line.text, "timestamp").context("a line without a timestamp")?;
        Ok((humantime::parse_rfc3339(at)?, call))
    });
    calls.collect()
}

/// Reads `SetWeight: rollout=shop/web weight=10 success=true`.
fn call(line: &str) -> Option<Called> {
    let text = |name| field(line, name).map(str::to_owned);
    let weight = || field(line, "weight")?.parse().ok();
    let (name, _) = line.split_once(':')?;
    Some(match name {
        "RemoveManagedRoutes" => Called::RemoveManagedRoutes,
        "UpdateHash" => Called::UpdateHash { canary: text("canary")?, stable: text("stable")? },
        "SetWeight" => Called::SetWeight { weight: weight()?, done: field(line, "success")? == "true" },
        "VerifyWeight" => {
            let verified = match field(line, "answer")? {
                "Unknown" => None,
                answer => Some(answer == "Verified"),
            };
            Called::VerifyWeight { weight: weight()?, verified }
        }
        _ => return None,
    })
}

/// The value of a field in hclog's text form, which puts fields in any order.
fn field<'a>(line: &'a str, name: &str) -> Option<&'a str> {
    let value = line.split(' ').find_map(|word| word.strip_prefix(name)?.strip_prefix('='))?;
    Some(value.trim_matches('"'))
}

/// Puts writes and calls in the order in which they were. The controller's log has milliseconds; within one, a reconcile
/// can have moved Services, made calls, scaled and recorded, in this order, but not come round to the next reconcile.
fn in_order(writes: Vec<ClusterWrite>, calls: Vec<(SystemTime, Called)>) -> Vec<Deed> {
    let mut deeds: Vec<(SystemTime, u8, Deed)> = Vec::new();
    deeds.extend(calls.into_iter().map(|(at, call)| (at, 1, Deed::Called(call))));
    deeds.extend(writes.into_iter().filter_map(|ClusterWrite { at, stored }| match stored {
        Stored::Service { name, hash } => {
            Some((at, 0, Deed::Selected { service: name, hash: hash.unwrap_or_default() }))
        }
        Stored::ReplicaSet { hash, replicas } => Some((at, 2, Deed::Scaled { hash, replicas })),
        Stored::Status(status) => Some((at, 3, recorded(status))),
        // Not the controller's deed.
        Stored::Pod { .. } => None,
    }));
    let millis = |at: SystemTime| at.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default().as_millis();
    deeds.sort_by_key(|(at, rank, _)| (millis(*at), *rank));
    deeds.into_iter().map(|(_, _, deed)| deed).collect()
}

fn recorded(status: RolloutStatus) -> Deed {
    Deed::Recorded {
        phase: status.phase,
        step: status.current_step_index,
        stable: status.stable_rs,
        weight: status.canary.weights.map(|weights| (weights.canary.weight, weights.verified)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
2026-01-02T03:04:05.006Z [DEBUG] plugin.talkative: SetWeight: rollout=e2e-a/web weight=10 success=true timestamp=2026-01-02T03:04:05.005Z
2026-01-02T03:04:05.006Z [DEBUG] plugin.talkative: UpdateHash: stable=aaa canary=\"\" rollout=e2e-a/web timestamp=2026-01-02T03:04:05.004Z
2026-01-02T03:04:05.006Z [INFO]  plugin.talkative: confirmed: rollout=e2e-a/web timestamp=2026-01-02T03:04:05.005Z
2026-01-02T03:04:05.006Z [DEBUG] plugin.talkative: VerifyWeight: answer=Unknown rollout=e2e-a/web weight=10 timestamp=2026-01-02T03:04:05.006Z
2026-01-02T03:04:05.006Z [DEBUG] plugin.talkative: RemoveManagedRoutes: rollout=e2e-a-b/web timestamp=2026-01-02T03:04:05.006Z
";

    #[test]
    fn calls_and_writes_are_put_in_order() {
        let read = calls(LOG, "e2e-a/web").unwrap();
        let at = |millis| humantime::parse_rfc3339(&format!("2026-01-02T03:04:05.{millis}Z")).unwrap();
        let size = |replicas| Stored::ReplicaSet { hash: "aaa".to_owned(), replicas };
        let moved = Stored::Service { name: "web".to_owned(), hash: None };
        let writes = [(at("0068"), size(9)), (at("0061"), moved), (at("0030"), size(10))];
        let deeds = in_order(writes.map(|(at, stored)| ClusterWrite { at, stored }).into(), read);
        let scaled = |replicas| Deed::Scaled { hash: "aaa".to_owned(), replicas };
        let expected = [
            scaled(10),
            Deed::Called(Called::UpdateHash { canary: String::new(), stable: "aaa".to_owned() }),
            Deed::Called(Called::SetWeight { weight: 10, done: true }),
            Deed::Selected { service: "web".to_owned(), hash: String::new() },
            Deed::Called(Called::VerifyWeight { weight: 10, verified: None }),
            scaled(9),
        ];
        assert_eq!(deeds, expected);
    }

    #[test]
    fn a_call_that_is_not_known_is_not_passed_over() {
        let log = "2026-01-02T03:04:05.006Z [DEBUG] plugin.talkative: SetColour: rollout=a/b timestamp=2026-01-02T03:04:05.006Z";
        assert!(calls(log, "a/b").unwrap_err().to_string().contains("SetColour"));
    }
}
