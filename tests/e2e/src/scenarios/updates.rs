//! One update while customers send requests: 0, 50, 100, promoted. What must hold of it wherever its rules come from.

use std::time::{Duration, SystemTime};

use anyhow::{Context, ensure};
use lab::Weights;
use serde_json::{Value, json};

use crate::checks;
use crate::controller_log::{self, Echo};
use crate::customers::{self, Customers};
use crate::history::{History, RuleHistory};
use crate::load_balancer::Balancer;
use crate::objects::Web;
use crate::progress::say;
use crate::rival::Rival;
use crate::rollout::{Rollout, Seen};
use crate::world::{STABLE_AND_CANARY, World};

/// Pods of each Rollout: few, so that many scenarios run side by side.
pub(super) const REPLICAS: u32 = 2;

/// The weights that an update goes through; it ends at 0, in the stable group.
pub(super) const WEIGHTS: [u32; 2] = [50, 100];

/// The plugin looks at rules this often while it waits for an echo, at the least.
const POLLS_EVERY: Duration = Duration::from_secs(3);

/// Two cores that are busy, and a look that is under way.
const SLACK: Duration = Duration::from_secs(1);

/// What an update was like, for one load balancer.
#[derive(Debug)]
pub(super) struct Played {
    pub(super) history: History,
    pub(super) customers: customers::Seen,
}

/// A Rollout of two pods, whose stable pods go as the canary's weight rises: a weight that is not true costs requests.
pub(super) fn web(routing: Value) -> Web {
    let steps = json!([{ "setWeight": WEIGHTS[0] }, { "pause": { "duration": "1s" } }, { "setWeight": WEIGHTS[1] }]);
    let canary = json!({ "dynamicStableScale": true, "steps": steps });
    Web { replicas: REPLICAS, services: STABLE_AND_CANARY, canary, routing }
}

/// Brings version 2 while each of the load balancers has customers, and tells what they saw.
pub(super) async fn play(world: &World<'_>, rollout: &Rollout, balancers: &[Balancer]) -> anyhow::Result<Vec<Played>> {
    let lab = &world.environment.lab;
    let mut visitors = Vec::new();
    for balancer in balancers {
        visitors.push(Customers::come(lab, balancer, &balancer.stable, REPLICAS).await?);
    }
    let end = bring_version_2(rollout).await;
    let end = end.with_context(|| {
        let so_far: Vec<_> = visitors.iter().map(Customers::outcomes).collect();
        format!("customers so far: {so_far:?}")
    })?;
    let targets = world.addresses(&end.status.stable_rs).await?;
    let mut played = Vec::new();
    for (balancer, customers) in balancers.iter().zip(visitors) {
        let customers = customers.leave(lab, &balancer.canary, &balancer.stable, &targets).await?;
        let history = world.history(balancer, STABLE_AND_CANARY, &end).await?;
        say(format_args!("{}: {} requests, {} failed", world.namespace, customers.requests(), customers.failed()));
        played.push(Played { history, customers });
    }
    Ok(played)
}

/// Waits for each weight by itself: with a slow rival the whole takes longer than one wait may.
pub(super) async fn bring_version_2(rollout: &Rollout) -> anyhow::Result<Seen> {
    rollout.set_version("2").await?;
    for weight in WEIGHTS {
        let there = |seen: &Seen| seen.is_current() && seen.recorded_weight() == Some(weight);
        rollout.until(&format!("at {weight}"), there).await?;
    }
    rollout.until_healthy_and_true().await?;
    let calm = |seen: &Seen| (seen.status.replicas, seen.status.available_replicas) == (REPLICAS, REPLICAS);
    rollout.until("calm, with the pods of one version", |seen| seen.is_current() && calm(seen)).await
}

/// No request failed, nothing was said before it was true, and all weight is where it should be.
pub(super) fn judge(world: &World<'_>, balancers: &[Balancer], played: &[Played]) -> anyhow::Result<()> {
    for (balancer, one) in balancers.iter().zip(played) {
        let Played { history, customers } = one;
        judge_failures(one).with_context(|| customers::ends(&world.environment.lab, balancer).join("\n  "))?;
        ensure!(customers.versions().len() > 1, "no customer met another version: {:?}", customers.versions());
        always_true(history)?;
    }
    Ok(())
}

/// No request failed.
pub(super) fn judge_failures(played: &Played) -> anyhow::Result<()> {
    let Played { history, customers } = played;
    ensure!(customers.failed() == 0, "{}", customers.tell_failures(history));
    Ok(())
}

/// What must hold of the rules, with or without customers.
pub(super) fn always_true(history: &History) -> anyhow::Result<()> {
    let [first, last] = WEIGHTS;
    ensure!(history.recorded() == [0, first, last, 0], "recorded weights: {:?}", history.recorded());
    checks::none("weights were recorded before they were true", checks::recorded_before_true(history))?;
    checks::none("pods were let go before their traffic", checks::let_go_too_early(history, REPLICAS))?;
    ensure!(!history.rules.is_empty(), "there is no rule to look at");
    for rule in &history.rules {
        let (_, weights) = rule.states.last().with_context(|| format!("rule {} never had weights", rule.arn))?;
        let split = (history.roles.stable_weight(weights), history.roles.canary_weight(weights));
        ensure!(split.0 > 0 && split.1 == 0, "rule {} ended at {split:?}", rule.arn);
    }
    Ok(())
}

/// Every echo that the plugin heard was an echo by the rival's own record, as late as it said.
pub(super) fn judge_echoes(world: &World<'_>, rival: &Rival, at_least: usize) -> anyhow::Result<()> {
    let echoes = controller_log::echoes(&world.controller_log(), &format!("{}/web", world.namespace));
    ensure!(echoes.len() >= at_least, "the plugin heard {} echoes, not {at_least}: {echoes:?}", echoes.len());
    for Echo { at, after } in &echoes {
        // The plugin's time begins when the API server has answered; the rival may have read the Ingress by then.
        let announced = *at - *after - SLACK;
        let followed = rival.followed(announced, *at + SLACK);
        let followed =
            followed.with_context(|| format!("the plugin heard an echo that the rival did not write: {echoes:?}"))?;
        let late = at.duration_since(followed).unwrap_or_default();
        ensure!(
            late <= POLLS_EVERY + SLACK,
            "the plugin heard an echo {after:?} after its announcement, {late:?} after the rival's write",
        );
    }
    Ok(())
}

/// Weights that the rival put back are told, each at most once.
pub(super) fn judge_put_backs(world: &World<'_>, rival: &Rival) -> anyhow::Result<()> {
    let told = controller_log::put_backs(&world.controller_log(), &format!("{}/web", world.namespace));
    let done = rival.put_backs();
    say(format_args!("{}: the rival put weights back {done} times, the plugin told of {told}", world.namespace));
    ensure!(told <= done, "the plugin told of {told} put-backs, the rival made {done}");
    Ok(())
}

/// How long each weight took: from the one before it was recorded until it was itself, and until every rule had it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step {
    pub(super) recorded_after: Duration,
    /// From being recorded until it was true on every rule; zero if it was so already, nothing if it never was.
    pub(super) true_after: Option<Duration>,
}

/// The steps of a history, without the first weight.
pub(super) fn steps(history: &History) -> Vec<Step> {
    let mut recorded: Vec<(SystemTime, u32)> = Vec::new();
    for claim in history.claims() {
        let weight = claim.weights.canary.weight;
        if recorded.last().is_none_or(|(_, last)| *last != weight) {
            recorded.push((claim.at, weight));
        }
    }
    let step = |pair: &[(SystemTime, u32)]| {
        let [(before, _), (at, weight)] = pair else { return None };
        let since: Option<Vec<_>> = history.rules.iter().map(|rule| true_since(history, rule, *weight, *at)).collect();
        let latest = since.and_then(|since| since.into_iter().max());
        Some(Step {
            recorded_after: at.duration_since(*before).unwrap_or_default(),
            true_after: latest.map(|latest| latest.duration_since(*at).unwrap_or_default()),
        })
    };
    recorded.windows(2).filter_map(step).collect()
}

/// The first moment from `at` on at which the rule has this share of 100.
fn true_since(history: &History, rule: &RuleHistory, share: u32, at: SystemTime) -> Option<SystemTime> {
    let is_so = |weights: &Weights| {
        let (stable, canary) = (history.roles.stable_weight(weights), history.roles.canary_weight(weights));
        canary * 100 == share * (stable + canary)
    };
    let now = rule.at(at).is_some_and(is_so).then_some(at);
    now.or_else(|| rule.states.iter().find(|(when, weights)| *when >= at && is_so(weights)).map(|(when, _)| *when))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{CanaryStatus, ClusterWrite, RecordedWeight, RecordedWeights, Roles, RolloutStatus, Stored};

    #[test]
    fn a_step_that_is_recorded_before_it_is_true_says_by_how_much() {
        let at = |seconds| SystemTime::UNIX_EPOCH + Duration::from_secs(seconds);
        let recorded = |seconds, weight| {
            let weights = RecordedWeights {
                canary: RecordedWeight { weight },
                stable: RecordedWeight { weight: 100 - weight },
                verified: None,
            };
            let canary = CanaryStatus { weights: Some(weights), ..CanaryStatus::default() };
            let status = RolloutStatus { canary, ..RolloutStatus::default() };
            ClusterWrite { at: at(seconds), stored: Stored::Status(status) }
        };
        let weights = |stable, canary| Weights::from([("s".to_owned(), stable), ("c".to_owned(), canary)]);
        let states = vec![(at(0), weights(100, 0)), (at(17), weights(50, 50)), (at(20), weights(0, 200))];
        let history = History {
            roles: Roles { stable_group: "s".to_owned(), canary_group: "c".to_owned(), ..Roles::default() },
            cluster: vec![recorded(1, 0), recorded(10, 50), recorded(21, 100), recorded(30, 0)],
            rules: vec![RuleHistory { arn: "rule".to_owned(), states }],
        };
        let seconds: Vec<_> = steps(&history)
            .iter()
            .map(|step| (step.recorded_after.as_secs(), step.true_after.map(|late| late.as_secs())))
            .collect();
        assert_eq!(seconds, [(9, Some(7)), (11, Some(0)), (9, None)]);
    }
}
