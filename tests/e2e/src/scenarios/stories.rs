//! Stories: somebody does something to a Rollout while customers send requests all the time. A line of the table says what is
//! done and how it must end; that no customer is turned away, and all of [`checks`], holds for every one.

use anyhow::{Context, ensure};
use serde_json::{Value, json};

mod act;

use crate::checks;
use crate::customers::{self, Customers};
use crate::load_balancer::Balancer;
use crate::objects::{Web, plugin};
use crate::progress::say;
use crate::rollout::{Rollout, Seen};
use crate::rollouts::{IMPATIENT_PLUGIN, PLUGIN};
use crate::world::{PING_AND_PONG, STABLE_AND_CANARY, Services, World};
use act::Act::{
    self, Abort, Aborted, Back, Healthy, KillController, KillPlugin, LosePod, PausedAt, PromoteFull, Promoted, Release,
};
use act::Stage;

/// The plugin's default for `gates.minHealthyPercent`.
const MIN_HEALTHY_PERCENT: u32 = 90;

/// One story. [`Story::DEFAULT`] is an update of four pods with all steps, Pods that are registered at once, and without ping-pong.
#[derive(Debug)]
pub(super) struct Story {
    pub(super) name: &'static str,
    replicas: u32,
    /// 25, 50 and 100, each with a pause after it that somebody must end.
    steps: bool,
    services: Services,
    /// Pods come late into their groups, and leave them late.
    late: bool,
    /// An analysis fails while the first raise is held.
    analysis: bool,
    /// What is done, one after the other. Version 1 is there before.
    acts: &'static [Act],
    /// The version whose Pods serve at the end.
    ends: &'static str,
    /// Where the second group's share of the weight turned from rising to falling, or ended; nothing if that may differ.
    peaks: Option<&'static [u32]>,
    /// Requests fail for a reason that no plugin can prevent: they are counted and not judged.
    harms: Harms,
    /// The group with the newer Pods empties before any of them is registered, and stable takes all for a moment, with the Pods
    /// it has.
    crowds: bool,
}

/// Where a story costs requests, whoever routes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Harms {
    Nowhere,
    WithDynamicStableScale,
    Everywhere,
}

impl Story {
    const DEFAULT: Self = Self {
        name: "",
        replicas: 4,
        steps: true,
        services: STABLE_AND_CANARY,
        late: false,
        analysis: false,
        acts: &[],
        ends: "2",
        peaks: Some(&[100]),
        harms: Harms::Nowhere,
        crowds: false,
    };
}

pub(super) const STORIES: &[Story] = &[
    Story { name: "update", acts: &[Release("2"), Healthy], ..Story::DEFAULT },
    Story { name: "one_replica", replicas: 1, acts: &[Release("2"), Healthy], ..Story::DEFAULT },
    Story { name: "no_steps", steps: false, acts: &[Release("2"), Healthy], peaks: None, ..Story::DEFAULT },
    Story {
        name: "aborts",
        acts: &[
            Release("2"),
            PausedAt(25),
            Abort,
            Aborted,
            Release("3"),
            PausedAt(50),
            Abort,
            Aborted,
            Release("4"),
            PausedAt(100),
            Abort,
            Aborted,
        ],
        ends: "1",
        peaks: Some(&[25, 50, 100]),
        ..Story::DEFAULT
    },
    Story {
        name: "back",
        acts: &[Release("2"), PausedAt(50), Back, Healthy],
        ends: "1",
        peaks: Some(&[50]),
        ..Story::DEFAULT
    },
    // With dynamicStableScale stable has no Pod at 100. The controller moves the canary Service to it as soon as one is ready,
    // and asks for a weight only then.
    Story {
        name: "back_from_100",
        acts: &[Release("2"), PausedAt(100), Back, Healthy],
        ends: "1",
        harms: Harms::WithDynamicStableScale,
        ..Story::DEFAULT
    },
    Story {
        name: "interrupted",
        acts: &[Release("2"), PausedAt(50), Release("3"), Healthy],
        ends: "3",
        peaks: Some(&[50, 100]),
        crowds: true,
        ..Story::DEFAULT
    },
    Story {
        name: "hold_interrupted",
        late: true,
        acts: &[Release("2"), Promoted, LosePod("2"), Release("3"), Healthy],
        ends: "3",
        peaks: Some(&[100, 100]),
        ..Story::DEFAULT
    },
    Story {
        name: "promoted_in_full",
        acts: &[Release("2"), PausedAt(25), PromoteFull, Healthy],
        peaks: None,
        ..Story::DEFAULT
    },
    Story {
        name: "analysis_fails",
        late: true,
        analysis: true,
        acts: &[Release("2"), Aborted],
        ends: "1",
        peaks: Some(&[]),
        ..Story::DEFAULT
    },
    Story { name: "controller_killed", acts: &[Release("2"), KillController { at: 50 }, Healthy], ..Story::DEFAULT },
    Story { name: "plugin_killed", acts: &[Release("2"), KillPlugin { at: 50 }, Healthy], ..Story::DEFAULT },
    Story {
        name: "pingpong",
        services: PING_AND_PONG,
        acts: &[Release("2"), Healthy, Release("3"), Healthy],
        ends: "3",
        ..Story::DEFAULT
    },
    Story {
        name: "pingpong_abort",
        services: PING_AND_PONG,
        acts: &[Release("2"), PausedAt(50), Abort, Aborted],
        ends: "1",
        peaks: Some(&[50]),
        ..Story::DEFAULT
    },
    Story {
        name: "pingpong_back",
        services: PING_AND_PONG,
        acts: &[Release("2"), PausedAt(100), Back, Healthy],
        ends: "1",
        ..Story::DEFAULT
    },
    // The controller moves the Service of the group that has the traffic before it asks for anything.
    Story {
        name: "pingpong_broken",
        services: PING_AND_PONG,
        acts: &[Release("2"), PausedAt(50), Release("3"), Healthy],
        ends: "3",
        peaks: None,
        harms: Harms::Everywhere,
        ..Story::DEFAULT
    },
];

impl Story {
    /// Lets it happen, and says what was wrong.
    pub(super) async fn tell<'a>(&'static self, world: &'a World<'a>, dynamic: bool) -> anyhow::Result<()> {
        let environment = world.environment;
        if self.acts.iter().any(Act::kills) {
            world.start_controller()?;
        }
        if self.analysis {
            world.create_failing_analysis().await?;
        }
        let registrar = if self.late { &environment.late_registrar } else { &environment.registrar };
        let balancer = world.two_listeners(registrar, self.services).await?;
        let rollout = world.create_web(self.web(&balancer, dynamic)).await?;
        let installed = rollout.until_healthy_and_true().await?;
        let customers = Customers::come(&environment.lab, &balancer, &balancer.stable, self.replicas).await?;

        let mut stage = Stage::open(world, &rollout, &balancer, &installed, dynamic);
        for act in self.acts {
            let done = stage.play(act).await;
            done.with_context(|| format!("{act:?}; customers so far: {:?}", customers.outcomes()))?;
        }
        let end = self.calm(&rollout).await?;
        let pong_is_stable = end.status.canary.stable_ping_pong == "pong";
        let (first, second) = (&balancer.stable, &balancer.canary);
        let (kept, emptied) = if pong_is_stable { (second, first) } else { (first, second) };
        let targets = world.addresses(&end.status.stable_rs).await?;
        let seen = customers.leave(&environment.lab, emptied, kept, &targets).await?;

        let history = world.history(&balancer, self.services, &end).await?;
        say(format_args!("{}: {} requests, {} failed", world.namespace, seen.requests(), seen.failed()));
        let harms = self.harms == Harms::Everywhere || (dynamic && self.harms == Harms::WithDynamicStableScale);
        if harms {
            let share = seen.failed() as f64 / seen.requests().max(1) as f64 * 100.0;
            let (longest, from_first_to_last) = (seen.longest_failure(), seen.failing());
            say(format_args!(
                "{}: {share:.2} % failed within {from_first_to_last:.1?}, at most {longest:.1?} without any success",
                world.namespace,
            ));
        } else if seen.failed() > 0 {
            let ends = customers::ends(&environment.lab, &balancer).join("\n  ");
            anyhow::bail!("{}\n  {ends}", seen.tell_failures(&history));
        }
        let serves = stage.hash(self.ends)?;
        ensure!(
            end.status.stable_rs == serves,
            "{} is stable, not {serves} of version {}",
            end.status.stable_rs,
            self.ends
        );
        let last = seen.last_versions();
        ensure!(last.contains(serves), "at the end nobody was answered by version {}: {last:?}", self.ends);
        let others: Vec<_> = last.iter().filter(|version| ![serves, "foreign"].contains(*version)).collect();
        ensure!(others.is_empty(), "at the end versions that were given up still answered: {others:?}");
        let released = self.acts.iter().any(|act| matches!(act, PausedAt(_)));
        ensure!(!released || seen.versions().len() > 2, "no customer met another version: {:?}", seen.versions());

        checks::none("weights were recorded before they were true", checks::recorded_before_true(&history))?;
        checks::none("the rules went different ways", checks::rules_apart(&history))?;
        checks::none("weights of others were touched", checks::foreign_weights_touched(&history))?;
        if self.harms != Harms::Everywhere {
            let too_early = checks::let_go_too_early(&history, self.replicas);
            checks::none("pods were let go before their traffic", too_early)?;
        }
        if self.harms != Harms::Everywhere && !self.crowds {
            let beyond = checks::raised_beyond_pods(&history, self.replicas, MIN_HEALTHY_PERCENT);
            checks::none("traffic came before the pods for it", beyond)?;
        }
        for (rule, expected) in history.rules.iter().flat_map(|rule| self.peaks.map(|peaks| (rule, peaks))) {
            let peaks = checks::peaks(&history, rule);
            ensure!(peaks == expected, "rule {} turned at {peaks:?}, not at {expected:?}", rule.arn);
        }
        let size = history.size(serves);
        ensure!(size == Some(self.replicas), "the ReplicaSet of version {} was left at {size:?} pods", self.ends);
        Ok(())
    }

    /// Waits until the pods of all other versions are gone too.
    async fn calm(&self, rollout: &Rollout) -> anyhow::Result<Seen> {
        let only =
            |seen: &Seen| (seen.status.replicas, seen.status.available_replicas) == (self.replicas, self.replicas);
        let verified = |seen: &Seen| seen.status.canary.weights.is_some_and(|weights| weights.verified != Some(false));
        let what = format!("calm, with {} pods in all", self.replicas);
        rollout.until(&what, |seen| seen.is_current() && only(seen) && verified(seen)).await
    }

    fn web(&self, balancer: &Balancer, dynamic: bool) -> Web {
        let pause = || json!({ "pause": {} });
        let weight = |weight: u32| json!({ "setWeight": weight });
        let steps = json!([weight(25), pause(), weight(50), pause(), weight(100), pause()]);
        let analysis = json!({ "templates": [{ "templateName": "never" }] });
        // Where stable pods stay, what is given up goes soon all the same, so that it is seen to go.
        let soon = (!dynamic).then_some(json!(2));
        let canary = json!({
            "dynamicStableScale": dynamic,
            "scaleDownDelaySeconds": soon,
            "abortScaleDownDelaySeconds": soon,
            "steps": self.steps.then_some(steps),
            "analysis": self.analysis.then_some(analysis),
        });
        // A held raise that is to be given up meanwhile must not be waited for inside one call.
        let name = if self.analysis { IMPATIENT_PLUGIN } else { PLUGIN };
        Web { replicas: self.replicas, services: self.services, canary, routing: plugin(name, self.entry(balancer)) }
    }

    fn entry(&self, balancer: &Balancer) -> Value {
        if self.services == PING_AND_PONG {
            json!({ "pingTargetGroupArn": balancer.stable, "pongTargetGroupArn": balancer.canary })
        } else {
            json!({ "stableTargetGroupArn": balancer.stable, "canaryTargetGroupArn": balancer.canary })
        }
    }
}
