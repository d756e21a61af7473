//! How many pods the canary and stable should have, as pure functions.
//!
//! Source: Argo Rollouts 1.10.2, `utils/replicaset/canary.go`.

use super::rollout::{CanaryScale, Rollout, Step};
use super::state::ReplicaSet;
use super::status::Weights;

/// The Rollout and the two ReplicaSets that matter, as they were read.
#[derive(Debug, Clone, Copy)]
pub(super) struct View<'a> {
    pub(super) rollout: &'a Rollout,
    /// The ReplicaSet of the Rollout's present template.
    pub(super) new: &'a ReplicaSet,
    /// The one that is stable; the same after a promotion; nothing before the first one.
    pub(super) stable: Option<&'a ReplicaSet>,
}

/// Numbers of pods.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sizes {
    pub(super) canary: u32,
    pub(super) stable: u32,
}

impl<'a> View<'a> {
    /// Stable is there, and is another ReplicaSet than the new one.
    pub(super) fn other_stable(&self) -> Option<&'a ReplicaSet> {
        self.stable.filter(|stable| stable.hash != self.new.hash)
    }

    /// `CalculateReplicaCountsForTrafficRoutedCanary`. With `weights`, whoever still has traffic keeps the pods for it.
    pub(super) fn sizes(&self, weights: Option<&Weights>) -> Sizes {
        let (rollout, all) = (self.rollout, self.rollout.spec.replicas);
        let scale = self.own_scale();
        let weight = match &scale {
            _ if self.ends() => rollout.max_weight(),
            Some(CanaryScale { replicas: Some(_), .. }) => 0,
            Some(CanaryScale { weight: Some(weight), .. }) => *weight,
            _ => self.step_weight(),
        };
        let replicas = scale.and_then(|scale| scale.replicas);
        let mut canary = replicas.unwrap_or_else(|| self.pods_for(weight));
        if !rollout.canary().dynamic_stable_scale {
            return Sizes { canary, stable: all };
        }
        let mut stable = self.pods_for(rollout.max_weight().saturating_sub(weight));
        if let Some(weights) = weights {
            stable = stable.max(self.pods_for(weights.stable.weight));
            if rollout.status.abort {
                canary = canary.max(self.pods_for(weights.canary.weight));
            }
        }
        Sizes { canary, stable }
    }

    /// `AtDesiredReplicaCountsForCanary`: the canary has all its pods, and stable too unless its size is dynamic.
    pub(super) fn has_sizes(&self, weights: Option<&Weights>) -> bool {
        let wanted = self.sizes(weights);
        let canary = self.new.replicas == wanted.canary && self.new.available == wanted.canary;
        let complete = |stable: &ReplicaSet| stable.replicas == wanted.stable && stable.created == wanted.stable;
        canary && (self.rollout.canary().dynamic_stable_scale || self.stable.is_some_and(complete))
    }

    /// `GetDesiredCanaryWeight`. An abort with dynamic stable scale goes back along the steps, as far as pods allow.
    pub(super) fn step_weight(&self) -> u32 {
        let rollout = self.rollout;
        let Some(stable) = self.stable.filter(|_| rollout.status.abort && rollout.canary().dynamic_stable_scale) else {
            return self.current_weight();
        };
        let missing = rollout.spec.replicas.saturating_sub(stable.available);
        let canary = missing.max(self.new.available);
        let weights = rollout.canary().steps.iter().rev().filter_map(Step::weight);
        weights.into_iter().find(|weight| self.pods_for(*weight) < canary).unwrap_or_default()
    }

    /// `GetCurrentSetWeight`: the latest `setWeight` so far; the maximum after the last step.
    pub(super) fn current_weight(&self) -> u32 {
        match self.rollout.current_step() {
            _ if self.rollout.status.abort => 0,
            (None, _) => self.rollout.max_weight(),
            (Some(_), _) => self.rollout.steps_so_far().find_map(Step::weight).unwrap_or_default(),
        }
    }

    /// Nothing is left to be done in steps.
    fn ends(&self) -> bool {
        let status = &self.rollout.status;
        status.promote_full || status.stable_rs.is_empty() || self.rollout.is_fully_promoted()
    }

    /// `UseSetCanaryScale`, unless there is nothing left to be done in steps.
    fn own_scale(&self) -> Option<CanaryScale> {
        let for_ever = self.rollout.canary().abort_scale_down_delay_seconds == Some(0);
        if self.ends() || (self.rollout.status.abort && !for_ever) {
            return None;
        }
        let scale = self.rollout.steps_so_far().find_map(|step| match step {
            Step::SetCanaryScale(scale) => Some(scale),
            _ => None,
        });
        scale.filter(|scale| !scale.match_traffic_weight).cloned()
    }

    /// The pods for a weight, rounded up.
    fn pods_for(&self, weight: u32) -> u32 {
        weight.saturating_mul(self.rollout.spec.replicas).div_ceil(self.rollout.max_weight())
    }
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;
    use serde_json::{Value, json};

    use super::*;

    fn rollout(canary: &Value, status: &Value) -> Rollout {
        let mut object = json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "1", "generation": 1 },
            "spec": { "replicas": 10, "selector": {}, "template": {}, "strategy": { "canary": canary } },
            "status": status,
        });
        let status = object.pointer_mut("/status").unwrap();
        (status["stableRS"], status["currentPodHash"]) = (json!("a"), json!("b"));
        Rollout::deserialize(&object).unwrap()
    }

    fn set(hash: &str, available: u32) -> ReplicaSet {
        ReplicaSet {
            hash: hash.to_owned(),
            replicas: available,
            desired_annotation: 10,
            scale_down_deadline: None,
            created: available,
            available,
            version: String::new(),
        }
    }

    /// Sizes of canary and stable, with the recorded weights.
    fn sizes(rollout: &Rollout, stable: u32, canary: u32) -> (u32, u32) {
        let (stable, new) = (set("a", stable), set("b", canary));
        let view = View { rollout, new: &new, stable: Some(&stable) };
        let sizes = view.sizes(rollout.status.canary.weights.as_ref());
        (sizes.canary, sizes.stable)
    }

    fn weights(canary: u32) -> Value {
        json!({ "weights": { "canary": { "weight": canary }, "stable": { "weight": 100 - canary } } })
    }

    #[test]
    fn pods_follow_the_weight_and_are_rounded_up() {
        for (weight, max, dynamic, expected) in [
            (10, 100, true, (1, 9)),
            (15, 100, true, (2, 9)),
            (15, 100, false, (2, 10)),
            (100, 100, true, (10, 0)),
            (150, 999, true, (2, 9)),
        ] {
            let canary = json!({
                "dynamicStableScale": dynamic,
                "steps": [{ "setWeight": weight }],
                "trafficRouting": { "maxTrafficWeight": max },
            });
            assert_eq!(sizes(&rollout(&canary, &json!({})), 10, 0), expected, "{weight} of {max}");
        }
    }

    #[test]
    fn whoever_has_traffic_keeps_pods_for_it() {
        let steps = json!([{ "setWeight": 10 }, { "setWeight": 60 }]);
        let canary = json!({ "dynamicStableScale": true, "steps": steps, "trafficRouting": {} });
        let status = |more: Value| {
            let mut status = json!({ "currentStepIndex": 1, "canary": weights(10) });
            status.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            status
        };
        assert_eq!(sizes(&rollout(&canary, &status(json!({}))), 9, 1), (6, 9), "on the way up");
        // An abort wants less of the canary than it has traffic for.
        let aborted = status(json!({ "abort": true, "canary": weights(60) }));
        assert_eq!(sizes(&rollout(&canary, &aborted), 4, 6), (6, 9), "on the way back");
        let promoted = status(json!({ "promoteFull": true }));
        assert_eq!(sizes(&rollout(&canary, &promoted), 9, 1), (10, 9), "without further steps");
    }

    #[test]
    fn a_scale_of_its_own_holds_until_it_is_to_match_again() {
        let scale = |scale: Value| json!({ "setCanaryScale": scale });
        let steps = json!([
            scale(json!({ "replicas": 3 })),
            { "setWeight": 50 },
            scale(json!({ "weight": 20 })),
            scale(json!({ "matchTrafficWeight": true })),
        ]);
        let canary = json!({ "steps": steps, "trafficRouting": {} });
        for (index, expected) in [(0, 3), (1, 3), (2, 2), (3, 5), (4, 10)] {
            let rollout = rollout(&canary, &json!({ "currentStepIndex": index }));
            assert_eq!(sizes(&rollout, 10, 0), (expected, 10), "at step {index}");
        }
        let aborted = rollout(&canary, &json!({ "currentStepIndex": 1, "abort": true }));
        assert_eq!(sizes(&aborted, 10, 3), (0, 10));
    }
}
