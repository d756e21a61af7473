//! Which weight a reconcile asks for, as pure functions.
//!
//! Source: Argo Rollouts 1.10.2, `rollout/trafficrouting.go` (`reconcileTrafficRouting`), and
//! `utils/rollout/rolloututil.go`.

use super::rollout::{Rollout, Step};
use super::sizes::View;

/// What a Rollout is in the midst of, by the first that applies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Situation {
    /// The template went back to stable, whose pods are not all there yet. The canary is the one that has the traffic.
    BackToStable,
    /// The newest template is stable.
    Promoted,
    /// Someone aborted.
    Aborted,
    /// The canary has no pod that is available.
    NoCanary,
    /// Someone wants no more steps.
    PromoteFull,
    /// In the steps, or after them.
    Steps,
}

impl View<'_> {
    /// What the Rollout is in the midst of.
    pub(super) fn situation(&self) -> Situation {
        let promoted = self.rollout.is_fully_promoted();
        match () {
            () if self.traffic_is_elsewhere() && self.new.available < self.rollout.spec.replicas => {
                Situation::BackToStable
            }
            () if promoted => Situation::Promoted,
            () if self.rollout.status.abort => Situation::Aborted,
            () if self.new.available == 0 => Situation::NoCanary,
            () if self.rollout.status.promote_full => Situation::PromoteFull,
            () => Situation::Steps,
        }
    }

    /// The canary's weight to ask for.
    pub(super) fn weight(&self) -> u32 {
        let (rollout, max) = (self.rollout, self.rollout.max_weight());
        match self.situation() {
            Situation::Promoted | Situation::NoCanary => 0,
            Situation::BackToStable | Situation::Aborted => self.way_back(),
            Situation::PromoteFull if rollout.canary().dynamic_stable_scale => {
                max.saturating_mul(self.new.available).checked_div(rollout.spec.replicas).unwrap_or_default()
            }
            Situation::PromoteFull => recorded_weight(rollout).unwrap_or_default(),
            Situation::Steps => match rollout.current_step() {
                (_, None) => 0,
                _ if !self.has_sizes(None) => self.weight_before(),
                _ => self.current_weight(),
            },
        }
    }

    /// The pod template hash of whoever is the canary.
    pub(super) fn canary_hash(&self) -> &str {
        match (self.situation(), &self.rollout.status.canary.weights) {
            (Situation::BackToStable, Some(weights)) => &weights.canary.pod_template_hash,
            _ => &self.new.hash,
        }
    }

    /// Stable has the pods for the rest of a weight.
    pub(super) fn stable_bears_rest_of(&self, weight: u32) -> bool {
        let max = self.rollout.max_weight();
        let needed = max.saturating_sub(weight).saturating_mul(self.rollout.spec.replicas) / max;
        self.stable.is_some_and(|stable| stable.available >= needed)
    }

    /// With dynamic stable scale: the last weights were for another canary than the template that is now stable.
    fn traffic_is_elsewhere(&self) -> bool {
        let weights = self.rollout.status.canary.weights.as_ref();
        let elsewhere = weights.is_some_and(|weights| weights.canary.pod_template_hash != self.new.hash);
        self.rollout.is_fully_promoted() && self.rollout.canary().dynamic_stable_scale && elsewhere
    }

    /// `calculateDesiredWeightOnAbortOrStableRollback`: not faster than stable's pods come back, and never up again.
    fn way_back(&self) -> u32 {
        let (all, max) = (self.rollout.spec.replicas, self.rollout.max_weight());
        let Some(stable) = self.stable.filter(|_| self.rollout.canary().dynamic_stable_scale && all > 0) else {
            return 0;
        };
        let borne = max.saturating_mul(stable.available) / all;
        let (wished, left) = (self.step_weight(), max.saturating_sub(borne));
        match recorded_weight(self.rollout) {
            None => left.max(wished),
            Some(now) if wished == 0 => left.min(now),
            Some(now) if borne < max.saturating_sub(wished) => now,
            Some(now) => wished.min(now),
        }
    }

    /// The weight of the `setWeight` before the step that is under way.
    fn weight_before(&self) -> u32 {
        let index = self.rollout.status.current_step_index.unwrap_or_default();
        let before = usize::try_from(index).unwrap_or(usize::MAX);
        let steps = self.rollout.canary().steps.iter().take(before);
        steps.rev().find_map(Step::weight).unwrap_or_default()
    }
}

/// The canary's weight in the status.
pub(super) fn recorded_weight(rollout: &Rollout) -> Option<u32> {
    rollout.status.canary.weights.as_ref().map(|weights| weights.canary.weight)
}
