//! The traffic router's part of a reconcile.
//!
//! Source: Argo Rollouts 1.10.2, `rollout/trafficrouting.go` (`reconcileTrafficRouting`, `calculateWeightStatus`).

use std::time::Duration;

use super::super::state::{ReconcileError, TrafficRouter, Write};
use super::super::status::{Destination, Weights};
use super::super::weight::{Situation, recorded_weight};
use super::Run;

/// How soon a weight is verified again that was not yet true (`GetRolloutVerifyRetryInterval`).
const VERIFY_AGAIN: Duration = Duration::from_secs(10);

impl Run<'_> {
    pub(super) async fn route(&mut self, router: &dyn TrafficRouter) -> Result<(), ReconcileError> {
        let (view, object) = (self.view, &*self.state.object);
        let rollout = view.rollout;
        router.r#type().await?;
        let (situation, weight) = (view.situation(), view.weight());
        if let (Situation::Aborted, Some(stable)) = (situation, view.stable)
            && (weight == 0 || !rollout.canary().dynamic_stable_scale)
        {
            self.select(&rollout.canary().canary_service, stable, false)?;
        }
        if !matches!(situation, Situation::BackToStable | Situation::Steps) {
            router.remove_managed_routes(object).await?;
        }
        if !view.stable_bears_rest_of(weight) {
            return Ok(());
        }
        let stable_hash = view.stable.map(|stable| stable.hash.as_str()).unwrap_or_default();
        // The Service goes to pods that are not there yet: no traffic before it does.
        if view.new.available == 0 && recorded_weight(rollout).is_some_and(|weight| weight > 0) {
            self.set_weight(router, weight).await?;
        }
        router.update_hash(object, view.canary_hash(), stable_hash).await?;
        self.set_weight(router, weight).await?;
        self.remember(weight, stable_hash);
        self.verify(router, weight).await
    }

    async fn set_weight(&mut self, router: &dyn TrafficRouter, weight: u32) -> Result<(), ReconcileError> {
        let done = router.set_weight(&self.state.object, weight).await;
        if let Err(error) = &done {
            self.hands.write(Write::Warn { reason: "TrafficRoutingError", message: error.to_string() })?;
        }
        Ok(done?)
    }

    /// Weights that were asked for are recorded, whether they are verified or not.
    fn remember(&mut self, weight: u32, stable_hash: &str) {
        let rollout = self.view.rollout;
        let destination = |weight, service: &str, hash: &str| Destination {
            weight,
            service_name: service.to_owned(),
            pod_template_hash: hash.to_owned(),
        };
        let canary = destination(weight, &rollout.canary().canary_service, self.view.canary_hash());
        let stable_weight = rollout.max_weight().saturating_sub(weight);
        let stable = destination(stable_weight, &rollout.canary().stable_service, stable_hash);
        let same = |before: &Weights| before.canary == canary && before.stable == stable;
        if !self.weights.as_ref().is_some_and(same) {
            self.weights = Some(Weights { canary, stable, verified: None });
            self.weights_changed = true;
        }
    }

    async fn verify(&mut self, router: &dyn TrafficRouter, weight: u32) -> Result<(), ReconcileError> {
        let answer = router.verify_weight(&self.state.object, weight).await;
        if let Some(weights) = &mut self.weights {
            // An error counts as a no here, but neither is it asked again nor does it stop the end of the update.
            weights.verified = answer.as_ref().copied().unwrap_or(Some(false));
        }
        match answer {
            Err(error) => {
                let message = format!("Failed to verify weight: {error}");
                self.hands.write(Write::Warn { reason: "WeightVerifyError", message })?;
            }
            Ok(Some(false)) => {
                self.outcome.wish(VERIFY_AGAIN);
                if weight == self.view.rollout.max_weight() {
                    let index = self.view.rollout.status.current_step_index;
                    return Err(index.map_or(ReconcileError::NoStepIndex, |_| ReconcileError::NotVerified(weight)));
                }
            }
            Ok(Some(true) | None) => {}
        }
        Ok(())
    }
}
