//! One reconcile, in the controller's order.
//!
//! Source: Argo Rollouts 1.10.2, `rollout/context.go` (`reconcile`), `rollout/canary.go` (`rolloutCanary`),
//! `rollout/service.go`.

mod progress;
mod routing;
mod scaling;

use std::collections::BTreeMap;

use super::sizes::View;
use super::state::{Hands, Outcome, ReconcileError, ReplicaSet, Service, State, TrafficRouter, Write};
use super::status::Weights;
use super::weight::Situation;
use progress::Pausing;

/// Brings the world one step nearer to what a Rollout wants: Services, then traffic, then pods, then the status.
///
/// # Errors
/// [`ReconcileError`]. An error of the traffic router comes before anything is scaled or recorded.
pub async fn reconcile(
    state: &State,
    router: &dyn TrafficRouter,
    hands: &mut (dyn Hands + Send),
) -> Result<Outcome, ReconcileError> {
    let find = |hash: &str| state.replica_sets.iter().find(|set| set.hash == *hash);
    let Some(new) = find(&state.pod_hash) else {
        // The rest comes in the next reconcile, with the ReplicaSet.
        hands.write(Write::CreateReplicaSet { hash: state.pod_hash.clone() })?;
        return Ok(Outcome::default());
    };
    let stable = find(&state.rollout.status.stable_rs);
    let view = View { rollout: &state.rollout, new, stable };
    let weights = state.rollout.status.canary.weights.clone();
    let services = state.services.clone();
    let outcome = Outcome::default();
    let mut run =
        Run { state, view, hands, services, weights, weights_changed: false, pausing: Pausing::default(), outcome };
    if run.is_scaling_event() {
        run.scale()?;
        run.record_sizes()?;
        return Ok(run.outcome);
    }
    if !run.is_new_update() {
        run.move_services()?;
        run.route(router).await?;
        let scaled = run.scale()?;
        if !scaled {
            run.pause();
        }
    }
    run.record()?;
    Ok(run.outcome)
}

/// A reconcile that is under way.
struct Run<'a> {
    state: &'a State,
    view: View<'a>,
    hands: &'a mut (dyn Hands + Send),
    /// The Services, as this reconcile left them.
    services: BTreeMap<String, Service>,
    /// `status.canary.weights` as it is to be.
    weights: Option<Weights>,
    /// They are others than before. Only then a new `verified` reaches the status: the controller has the unchanged
    /// weights of the old and the new status in one place, and so finds no difference (`newRolloutContext`).
    weights_changed: bool,
    pausing: Pausing,
    outcome: Outcome,
}

impl Run<'_> {
    /// Someone aborted, and has not been overtaken by a promotion.
    fn is_aborted(&self) -> bool {
        self.view.rollout.status.abort && !self.view.rollout.is_fully_promoted() && !self.pausing.goes_on
    }

    /// The Rollout wants another number of pods than when the new or the stable ReplicaSet was last scaled.
    fn is_scaling_event(&self) -> bool {
        let mut sets = std::iter::once(self.view.new).chain(self.view.stable);
        sets.any(|set| set.replicas > 0 && set.desired_annotation != self.view.rollout.spec.replicas)
    }

    /// The template or the steps are not those that the status is about. There is nothing to do but to say so.
    fn is_new_update(&self) -> bool {
        let status = &self.view.rollout.status;
        let hash = &status.current_pod_hash;
        status.current_step_hash != self.state.step_hash || (!hash.is_empty() && *hash != self.view.new.hash)
    }

    /// `reconcilePingAndPongService`, `reconcileStableAndCanaryService`.
    fn move_services(&mut self) -> Result<(), ReconcileError> {
        let View { rollout, new, stable } = self.view;
        if rollout.canary().ping_pong.is_some() && !rollout.is_fully_promoted() {
            // Without a look at its pods.
            self.select(rollout.services().1, new, false)?;
        }
        if let Some(stable) = stable {
            self.select(&rollout.canary().stable_service, stable, true)?;
        }
        if self.view.situation() != Situation::BackToStable {
            self.select(&rollout.canary().canary_service, new, true)?;
        }
        Ok(())
    }

    /// `ensureSVCTargets`: points a Service at a ReplicaSet, if that has a pod, or all of them where the Service was
    /// never moved before.
    fn select(&mut self, service: &str, set: &ReplicaSet, only_with_pods: bool) -> Result<(), ReconcileError> {
        if service.is_empty() {
            return Ok(());
        }
        let found = self.services.get_mut(service);
        let found = found.ok_or_else(|| ReconcileError::NoService(service.to_owned()))?;
        let has_all = set.replicas > 0 && set.available >= set.replicas;
        let too_early = only_with_pods && (set.available == 0 || !(found.is_managed || has_all));
        if found.selects == set.hash || too_early {
            return Ok(());
        }
        self.hands.write(Write::Select { service: service.to_owned(), hash: set.hash.clone() })?;
        *found = Service { selects: set.hash.clone(), is_managed: true };
        Ok(())
    }
}

#[cfg(test)]
mod tests;
