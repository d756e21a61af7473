//! The pods' part of a reconcile: stable, then the canary, then the others, and no further once one was scaled.
//!
//! Source: Argo Rollouts 1.10.2, `rollout/canary.go` (`reconcileCanaryReplicaSets`), `rollout/replicaset.go`.

use std::cmp::Ordering;
use std::time::{Duration, SystemTime};

use super::super::state::{ReconcileError, ReplicaSet, Write};
use super::super::status::whole_seconds;
use super::Run;

/// `scaleDownDelaySeconds` and `abortScaleDownDelaySeconds`, if the Rollout does not say (`utils/defaults`).
const SCALE_DOWN_DELAY: u32 = 30;

impl Run<'_> {
    /// Scales what needs it. True if the size of a ReplicaSet changed: the numbers that were read are then old.
    pub(super) fn scale(&mut self) -> Result<bool, ReconcileError> {
        if self.view.rollout.spec.paused {
            return Ok(false);
        }
        self.keep_new_and_stable()?;
        if let Some(stable) = self.view.other_stable() {
            // By the recorded weights, not by those that were just asked for, and verified or not.
            let sizes = self.view.sizes(self.view.rollout.status.canary.weights.as_ref());
            if self.resize(stable, sizes.stable)? {
                return Ok(true);
            }
        }
        if self.scale_new()? {
            return Ok(true);
        }
        // What goes wrong here is not told (`reconcileOtherReplicaSets`).
        Ok(self.scale_down_others().unwrap_or(false))
    }

    /// `removeScaleDownDeadlines`: a version that came back within its delay stays.
    fn keep_new_and_stable(&mut self) -> Result<(), ReconcileError> {
        let new = Some(self.view.new).filter(|_| self.abort_delay().is_none());
        for set in new.into_iter().chain(self.view.other_stable()) {
            if set.scale_down_deadline.is_some() {
                self.hands.write(Write::ScaleDownDeadline { hash: set.hash.clone(), deadline: None })?;
            }
        }
        Ok(())
    }

    /// `reconcileNewReplicaSet`.
    fn scale_new(&mut self) -> Result<bool, ReconcileError> {
        let (new, all) = (self.view.new, self.view.rollout.spec.replicas);
        let mut replicas = self.view.sizes(self.weights.as_ref()).canary;
        if let Some(delay) = self.abort_delay() {
            match new.scale_down_deadline.map(|deadline| (deadline, deadline.duration_since(self.hands.now()))) {
                Some((_, Ok(left))) if !left.is_zero() => {
                    self.outcome.wish(left);
                    return self.resize(new, new.replicas);
                }
                Some(_) => replicas = 0,
                None => {
                    self.resize(new, new.replicas)?;
                    // Until then stable could not serve everyone.
                    if self.view.stable.is_some_and(|stable| stable.available >= all) {
                        self.schedule_end_of(new, delay)?;
                    }
                    return Ok(false);
                }
            }
        }
        self.resize(new, replicas)
    }

    /// `scaleDownOldReplicaSetsForCanary`, for ReplicaSets that are neither new nor stable. Pods that are not available
    /// go in any case; the rest of such a ReplicaSet waits for the next reconcile, which knows its new version.
    fn scale_down_others(&mut self) -> Result<bool, ReconcileError> {
        let (new, stable) = (&self.view.new.hash, self.view.stable.map(|stable| &stable.hash));
        let is_other = |set: &&ReplicaSet| set.hash != *new && Some(&set.hash) != stable;
        let others = self.state.replica_sets.iter().filter(is_other);
        let mut others: Vec<ReplicaSet> = others.filter(|set| set.replicas > 0).cloned().collect();
        let mut scaled = false;
        for set in &mut others {
            match set.replicas.cmp(&set.available) {
                // Its pods are on their way out. The controller makes an error of it, and tells nobody.
                Ordering::Less => return Ok(scaled),
                Ordering::Equal => {}
                Ordering::Greater => {
                    scaled |= self.resize(set, set.available)?;
                    set.replicas = set.available;
                }
            }
        }
        let available: u32 = self.state.replica_sets.iter().map(|set| set.available).sum();
        let all = self.view.rollout.spec.replicas;
        // `maxUnavailable` is 25 % unless it is said otherwise, and that is not modelled.
        let mut spare = available.saturating_sub(all.saturating_sub(all / 4));
        if spare == 0 {
            return Ok(false);
        }
        for set in others.iter().rev().filter(|set| set.replicas > 0) {
            if self.is_referenced(set) || spare == 0 {
                continue;
            }
            let replicas = self.size_of_other(set)?;
            if replicas < set.replicas {
                scaled |= self.resize(set, replicas)?;
                spare = spare.saturating_sub(set.replicas - replicas);
            }
        }
        Ok(scaled)
    }

    /// What an old ReplicaSet that nobody refers to is to have.
    fn size_of_other(&mut self, set: &ReplicaSet) -> Result<u32, ReconcileError> {
        let was_stable = self.view.rollout.is_fully_promoted() || set.scale_down_deadline.is_some();
        // One between stable and the newest is defunct; with dynamic stable scale an old stable one is too.
        if !was_stable || self.view.rollout.canary().dynamic_stable_scale {
            return Ok(0);
        }
        let delay = self.view.rollout.canary().scale_down_delay_seconds.unwrap_or(SCALE_DOWN_DELAY);
        let delay = Duration::from_secs(delay.into());
        let left =
            set.scale_down_deadline.map(|deadline| deadline.duration_since(self.hands.now()).unwrap_or_default());
        match left {
            Some(Duration::ZERO) => Ok(0),
            Some(left) => {
                self.outcome.wish(left);
                Ok(set.replicas)
            }
            None => {
                self.schedule_end_of(set, delay)?;
                self.outcome.wish(delay);
                Ok(set.replicas)
            }
        }
    }

    /// `isReplicaSetReferenced`. It does not look at the Services of ping-pong.
    fn is_referenced(&self, set: &ReplicaSet) -> bool {
        let rollout = self.view.rollout;
        let status = &rollout.status;
        let weights = status.canary.weights.iter().flat_map(|weights| [&weights.canary, &weights.stable]);
        let mut recorded = weights.map(|destination| &destination.pod_template_hash);
        let services = [&rollout.canary().stable_service, &rollout.canary().canary_service];
        let mut selected = services.into_iter().filter_map(|name| self.services.get(name));
        status.current_pod_hash == set.hash
            || status.stable_rs == set.hash
            || recorded.any(|hash| *hash == set.hash)
            || selected.any(|service| service.selects == set.hash)
    }

    /// How long a canary stays after an abort; nothing if that does not delay anything
    /// (`shouldDelayScaleDownOnAbort`).
    fn abort_delay(&self) -> Option<Duration> {
        let canary = self.view.rollout.canary();
        let said = canary.abort_scale_down_delay_seconds;
        if !self.is_aborted() || self.view.stable.is_none() || (canary.dynamic_stable_scale && said.is_none()) {
            return None;
        }
        let seconds = said.unwrap_or(SCALE_DOWN_DELAY);
        (seconds > 0).then(|| Duration::from_secs(seconds.into()))
    }

    /// `addScaleDownDelay`: a delay of zero is none.
    fn schedule_end_of(&mut self, set: &ReplicaSet, delay: Duration) -> Result<(), ReconcileError> {
        let deadline: Option<SystemTime> = (!delay.is_zero()).then(|| whole_seconds(self.hands.now() + delay));
        if deadline.is_some() || set.scale_down_deadline.is_some() {
            self.hands.write(Write::ScaleDownDeadline { hash: set.hash.clone(), deadline })?;
        }
        Ok(())
    }

    /// Gives a ReplicaSet a size. True if it had another one.
    fn resize(&mut self, set: &ReplicaSet, replicas: u32) -> Result<bool, ReconcileError> {
        let desired_annotation = self.view.rollout.spec.replicas;
        if set.replicas == replicas && set.desired_annotation == desired_annotation {
            return Ok(false);
        }
        let mut after = ReplicaSet { replicas, desired_annotation, ..set.clone() };
        if replicas == 0 && self.abort_delay().is_none() {
            after.scale_down_deadline = None;
        }
        self.hands.write(Write::Scale { set: after })?;
        Ok(set.replicas != replicas)
    }
}
