//! The status' part of a reconcile: pauses, steps, the promotion.
//!
//! Source: Argo Rollouts 1.10.2, `rollout/canary.go` (`syncRolloutStatusCanary`), `rollout/sync.go`, `rollout/pause.go`.

use super::super::rollout::Step;
use super::super::state::{ReconcileError, ReplicaSet, Write};
use super::super::status::{PAUSE_STEP, PauseCondition, Phase, Status, whole_seconds};
use super::Run;

/// What is to become of a pause and an abort.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Pausing {
    /// A pause step begins.
    begins: bool,
    /// A pause step ends.
    ends: bool,
    /// Whatever the pause, it is over.
    is_over: bool,
    /// An abort is no longer one.
    pub(super) goes_on: bool,
}

impl Run<'_> {
    /// `reconcileCanaryPause`: begins a pause, or has the reconcile come back at its end.
    pub(super) fn pause(&mut self) {
        let rollout = self.view.rollout;
        let status = &rollout.status;
        let (Some(Step::Pause(step)), false, false) =
            (rollout.current_step().0, rollout.spec.paused, status.promote_full)
        else {
            return;
        };
        match (pause_step(status), step.duration) {
            (None, _) => self.pausing.begins = !status.controller_pause,
            (Some(_), None) => {}
            (Some(pause), Some(duration)) => {
                let left = (pause.start_time + duration).duration_since(self.hands.now()).unwrap_or_default();
                if !left.is_zero() {
                    self.outcome.wish(left);
                }
            }
        }
    }

    /// `syncRolloutStatusCanary`.
    pub(super) fn record(&mut self) -> Result<(), ReconcileError> {
        let rollout = self.view.rollout;
        let mut status = self.base_status();
        let (step, mut index) = rollout.current_step();
        let end = Some(rollout.step_count()).filter(|count| *count > 0);
        if self.is_new_update() {
            self.pausing = Pausing { is_over: true, goes_on: true, ..self.pausing };
            status.promote_full = false;
            let back_to_stable = status.stable_rs == self.view.new.hash;
            status.current_step_index = if back_to_stable { end } else { end.map(|_| 0) };
            return self.persist(status);
        }
        if rollout.status.promote_full {
            self.pausing = Pausing { is_over: true, goes_on: true, ..self.pausing };
            index = end.or(index);
        }
        if self.is_to_be_promoted() {
            self.promote(&mut status, end);
        } else if self.is_aborted() {
            status.current_step_index = end.map(|_| 0);
        } else if step.is_some_and(|step| self.has_completed(step)) {
            self.pausing.ends = true;
            status.current_step_index = index.map(|index| index + 1);
        } else {
            status.current_step_index = index;
        }
        self.persist(status)
    }

    /// After a scaling event only numbers of pods are recorded (`syncReplicasOnly`).
    pub(super) fn record_sizes(&mut self) -> Result<(), ReconcileError> {
        let mut status = self.view.rollout.status.clone();
        (status.available_replicas, status.hpa_replicas) = (self.sum(|set| set.available), self.sum(|set| set.created));
        self.persist(status)
    }

    fn base_status(&self) -> Status {
        let before = &self.view.rollout.status;
        let mut status = Status {
            current_pod_hash: self.view.new.hash.clone(),
            current_step_hash: self.state.step_hash.clone(),
            stable_rs: before.stable_rs.clone(),
            promote_full: before.promote_full,
            hpa_replicas: self.sum(|set| set.created),
            replicas: self.sum(|set| set.created),
            updated_replicas: self.view.new.created,
            available_replicas: self.sum(|set| set.available),
            canary: before.canary.clone(),
            ..Status::default()
        };
        if self.weights_changed {
            status.canary.weights.clone_from(&self.weights);
        }
        status
    }

    fn sum(&self, number: impl Fn(&ReplicaSet) -> u32) -> u32 {
        self.state.replica_sets.iter().map(number).sum()
    }

    /// `shouldFullPromote`. Whether the last weight is verified is not looked at.
    fn is_to_be_promoted(&self) -> bool {
        let rollout = self.view.rollout;
        let Some(stable) = self.view.stable else { return true };
        if self.is_aborted() || self.view.new.available < rollout.spec.replicas {
            return false;
        }
        let (_, index) = rollout.current_step();
        let after_last_step = index.is_none_or(|index| index == rollout.step_count());
        rollout.status.promote_full || stable.hash == self.view.new.hash || after_last_step
    }

    /// `promoteStable`. The stable Service is moved by the next reconcile only.
    fn promote(&mut self, status: &mut Status, end: Option<u32>) {
        self.pausing = Pausing { is_over: true, goes_on: true, ..self.pausing };
        status.promote_full = false;
        status.current_step_index = end;
        if status.stable_rs != status.current_pod_hash {
            if self.view.rollout.canary().ping_pong.is_some() {
                let roles = &mut status.canary.stable_ping_pong;
                *roles = if roles == "ping" { "pong" } else { "ping" }.to_owned();
            }
            status.stable_rs.clone_from(&status.current_pod_hash);
        }
    }

    /// `completedCurrentCanaryStep`.
    fn has_completed(&self, step: &Step) -> bool {
        let status = &self.view.rollout.status;
        if self.view.rollout.spec.paused {
            return false;
        }
        match step {
            Step::Pause(step) => match (pause_step(status), step.duration) {
                // Someone promoted.
                (None, _) => status.controller_pause,
                (Some(_), None) => false,
                // A simulated clock can stand exactly at the end.
                (Some(pause), Some(duration)) => self.hands.now() >= pause.start_time + duration,
            },
            Step::SetCanaryScale(_) => self.view.has_sizes(self.weights.as_ref()),
            Step::SetWeight(_) => {
                let refused = self.weights.as_ref().is_some_and(|weights| weights.verified == Some(false));
                self.view.has_sizes(self.weights.as_ref()) && !refused
            }
        }
    }

    /// `persistRolloutStatus`.
    fn persist(&mut self, mut status: Status) -> Result<(), ReconcileError> {
        let rollout = self.view.rollout;
        let before = &rollout.status;
        status.observed_generation = rollout.metadata.generation.to_string();
        status.abort = self.is_aborted();
        if !status.abort && !self.pausing.is_over {
            self.record_pause(&mut status);
        }
        status.phase = Some(phase(rollout.spec.paused, rollout.spec.replicas, &status));
        if status != *before {
            self.hands.write(Write::Status { before: Box::new(before.clone()), after: Box::new(status) })?;
        }
        Ok(())
    }

    /// `CalculatePauseConditions`.
    fn record_pause(&self, status: &mut Status) {
        let before = &self.view.rollout.status;
        let mut conditions = before.pause_conditions.clone();
        conditions.retain(|condition| !(self.pausing.ends && condition.reason == PAUSE_STEP));
        if self.pausing.begins {
            let start_time = whole_seconds(self.hands.now());
            conditions.push(PauseCondition { reason: PAUSE_STEP.to_owned(), start_time });
        }
        if !conditions.is_empty() {
            status.controller_pause = before.controller_pause || self.pausing.begins;
            status.pause_conditions = conditions;
        }
    }
}

fn pause_step(status: &Status) -> Option<&PauseCondition> {
    status.pause_conditions.iter().find(|condition| condition.reason == PAUSE_STEP)
}

/// `CalculateRolloutPhase`. It says healthy before the traffic is back on the stable Service.
fn phase(paused: bool, replicas: u32, status: &Status) -> Phase {
    let is_promoted = !status.stable_rs.is_empty() && status.stable_rs == status.current_pod_hash;
    match () {
        () if status.abort => Phase::Degraded,
        () if paused || !status.pause_conditions.is_empty() => Phase::Paused,
        () if status.updated_replicas < replicas || status.available_replicas < status.updated_replicas => {
            Phase::Progressing
        }
        () if is_promoted => Phase::Healthy,
        () => Phase::Progressing,
    }
}
