//! Would the host give the update up, if it got to look? Pure.
//!
//! The host looks at experiments, analysis and the deadline after the traffic router's calls (argo-rollouts 1.10.2
//! `rollout/canary.go`, `rolloutCanary`), so an error of a call keeps it from looking. The rules here are its own:
//! `rollout/analysis.go`, `rollout/experiment.go`, `evaluateProgressDeadlineAbort` in `rollout/sync.go` and
//! `RolloutTimedOut` in `utils/conditions/conditions.go`. A run that is Inconclusive pauses the update; that is left to it.

use std::time::{Duration, SystemTime};

use kube::core::{Object, ObjectMeta};
use serde::Deserialize;

use super::objects::{Ignored, MetadataObject, PodObject};

/// What the host takes if `progressDeadlineSeconds` is not set (`utils/defaults/defaults.go`).
const DEFAULT_DEADLINE_SECONDS: u64 = 600;

/// On an AnalysisRun: the step that it is of.
const STEP_LABEL: &str = "step-index";

/// On ReplicaSets and Pods: the template that they are of.
pub(super) const HASH_LABEL: &str = "rollouts-pod-template-hash";

/// On a ReplicaSet that is still to be scaled down.
const SCALE_DOWN_DEADLINE: &str = "scale-down-deadline";

/// As much of a Rollout as this decision needs.
pub(super) type RolloutObject = Object<RolloutSpec, RolloutStatus>;

/// An AnalysisRun or an Experiment.
pub(super) type RunObject = Object<Ignored, RunStatus>;

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RolloutSpec {
    progress_deadline_seconds: Option<u64>,
    progress_deadline_abort: bool,
    strategy: Strategy,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Strategy {
    canary: Canary,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Canary {
    steps: Vec<Step>,
    analysis: Option<Analysis>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct Step {
    analysis: Option<Analysis>,
    experiment: Option<Ignored>,
    pause: Option<Ignored>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Analysis {
    templates: Vec<Ignored>,
    starting_step: Option<usize>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct RolloutStatus {
    pub(super) abort: bool,
    aborted_at: Option<String>,
    promote_full: bool,
    controller_pause: bool,
    pause_conditions: Vec<PauseCondition>,
    #[serde(rename = "stableRS")]
    stable_rs: String,
    current_pod_hash: String,
    current_step_index: Option<usize>,
    conditions: Vec<Condition>,
    canary: CanaryStatus,
}

#[derive(Clone, Debug, Deserialize)]
struct PauseCondition {
    reason: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Condition {
    #[serde(rename = "type")]
    name: String,
    status: String,
    reason: String,
    last_update_time: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct CanaryStatus {
    current_step_analysis_run_status: Option<Named>,
    current_background_analysis_run_status: Option<Named>,
    current_experiment: String,
}

#[derive(Clone, Debug, Deserialize)]
struct Named {
    name: String,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct RunStatus {
    phase: String,
    message: String,
}

/// A run upon whose failure the host would give the update up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Run {
    /// The AnalysisRun of the current step.
    Step(String),
    /// The AnalysisRun beside the steps.
    Background(String),
    /// The Experiment of the current step.
    Experiment(String),
}

/// The runs that count now.
pub(super) fn runs(rollout: &RolloutObject) -> Vec<Run> {
    let Some(update) = Update::of(rollout) else { return Vec::new() };
    if update.status.promote_full {
        return Vec::new();
    }
    let (canary, is_inconclusive) = (&update.status.canary, update.pauses_for("InconclusiveAnalysisRun"));
    let step = update.step();
    let mut runs = Vec::new();
    if step.is_some_and(|step| step.experiment.is_some()) && !is_inconclusive && !canary.current_experiment.is_empty() {
        runs.push(Run::Experiment(canary.current_experiment.clone()));
    }
    // After a retry the host makes new runs, and no longer looks at those of before (`needsNewAnalysisRun`).
    let is_paused_since = update.status.controller_pause && !update.pauses_for("CanaryPauseStep");
    if update.status.aborted_at.is_some() && !is_paused_since {
        return runs;
    }
    let has_templates = |analysis: &Analysis| !analysis.templates.is_empty();
    if let Some(run) = &canary.current_step_analysis_run_status
        && step.is_some_and(|step| step.analysis.as_ref().is_some_and(has_templates))
        && update.status.pause_conditions.is_empty()
    {
        runs.push(Run::Step(run.name.clone()));
    }
    if let Some(run) = &canary.current_background_analysis_run_status
        && let Some(analysis) = &update.canary.analysis
        && has_templates(analysis)
        && analysis.starting_step.is_none_or(|start| update.canary.steps.is_empty() || update.index() >= start)
        && !is_inconclusive
    {
        runs.push(Run::Background(run.name.clone()));
    }
    runs
}

/// Why the host would give the update up over this run. In words that stay the same for as long as it is so.
pub(super) fn failure(rollout: &RolloutObject, run: &Run, found: &RunObject) -> Option<String> {
    let status = found.status.as_ref()?;
    if !matches!(status.phase.as_str(), "Failed" | "Error") {
        return None;
    }
    let what = match run {
        Run::Step(name) => {
            // One of an earlier step is only cancelled.
            let of_step = label(&found.metadata, STEP_LABEL)?;
            if of_step.parse() != Ok(Update::of(rollout)?.index()) {
                return None;
            }
            format!("the step's AnalysisRun {name}")
        }
        Run::Background(name) => format!("the background AnalysisRun {name}"),
        Run::Experiment(name) => format!("the Experiment {name}"),
    };
    let ended = if status.phase == "Failed" { "has failed" } else { "has ended in an error" };
    Some(match status.message.as_str() {
        "" => format!("{what} {ended}"),
        message => format!("{what} {ended}: {message}"),
    })
}

/// The progress deadline, as far as the Rollout itself tells. What else counts is asked for only if it is over.
pub(super) fn is_past_deadline(rollout: &RolloutObject, now: SystemTime) -> bool {
    let Some(update) = Update::of(rollout).filter(|_| rollout.spec.progress_deadline_abort) else { return false };
    let step = update.step();
    let does_not_count = |step: &Step| step.experiment.is_some() || step.analysis.is_some() || step.pause.is_some();
    let is_paused = update.condition("Paused").is_some_and(|condition| condition.status == "True");
    if is_paused || step.is_some_and(does_not_count) {
        return false;
    }
    match update.condition("Progressing") {
        Some(progress) if matches!(progress.reason.as_str(), "RolloutAborted" | "RolloutPaused") => false,
        Some(progress) if progress.reason == "ProgressDeadlineExceeded" => true,
        Some(progress) => time(&progress.last_update_time).is_some_and(|from| from + deadline(rollout) < now),
        None => false,
    }
}

/// Why the host would give the update up over its deadline, which [`is_past_deadline`] says is over.
///
/// It would not while an old ReplicaSet is still to be scaled down. Nor if it saw progress that it has not recorded yet,
/// because an error kept it from recording anything: then the time since a Pod of the newest template became ready counts.
pub(super) fn overdue(
    rollout: &RolloutObject,
    sets: &[MetadataObject],
    pods: &[PodObject],
    now: SystemTime,
) -> Option<String> {
    let update = Update::of(rollout)?;
    let is_other = |set: &&MetadataObject| {
        let hash = label(&set.metadata, HASH_LABEL);
        let is_ours = set
            .metadata
            .owner_references
            .iter()
            .flatten()
            .any(|owner| rollout.metadata.uid.as_ref().is_some_and(|uid| *uid == owner.uid));
        is_ours && hash != Some(&update.status.stable_rs) && hash != Some(&update.status.current_pod_hash)
    };
    let waits = |set: &MetadataObject| {
        let annotations = set.metadata.annotations.as_ref();
        annotations.and_then(|all| all.get(SCALE_DOWN_DEADLINE)).is_some_and(|deadline| !deadline.is_empty())
    };
    let became_ready = pods.iter().filter_map(|pod| {
        let mut conditions = pod.status.iter().flat_map(|status| &status.conditions);
        let ready = conditions.find(|condition| condition.name == "Ready" && condition.status == "True")?;
        time(ready.last_transition_time.as_deref()?)
    });
    if sets.iter().filter(is_other).any(waits) || became_ready.max().is_some_and(|last| last + deadline(rollout) >= now)
    {
        return None;
    }
    let seconds = deadline(rollout).as_secs();
    Some(format!(
        "the update made no progress within its progressDeadlineSeconds ({seconds}), and progressDeadlineAbort is set"
    ))
}

/// The hash of the newest template, by which its Pods are found.
pub(super) fn newest_hash(rollout: &RolloutObject) -> &str {
    rollout.status.as_ref().map_or("", |status| &status.current_pod_hash)
}

/// An update that goes on.
struct Update<'a> {
    canary: &'a Canary,
    status: &'a RolloutStatus,
}

impl<'a> Update<'a> {
    /// `None` if there is nothing to give up: it is given up already, it is complete, or it is the first version.
    fn of(rollout: &'a RolloutObject) -> Option<Self> {
        let status = rollout.status.as_ref()?;
        let is_first = status.stable_rs.is_empty() || status.current_pod_hash.is_empty();
        if is_first || status.abort || status.stable_rs == status.current_pod_hash {
            return None;
        }
        Some(Self { canary: &rollout.spec.strategy.canary, status })
    }

    fn index(&self) -> usize {
        self.status.current_step_index.unwrap_or_default()
    }

    /// `None` after the last one.
    fn step(&self) -> Option<&Step> {
        self.canary.steps.get(self.index())
    }

    fn pauses_for(&self, reason: &str) -> bool {
        self.status.pause_conditions.iter().any(|pause| pause.reason == reason)
    }

    fn condition(&self, name: &str) -> Option<&Condition> {
        self.status.conditions.iter().find(|condition| condition.name == name)
    }
}

fn deadline(rollout: &RolloutObject) -> Duration {
    Duration::from_secs(rollout.spec.progress_deadline_seconds.unwrap_or(DEFAULT_DEADLINE_SECONDS))
}

fn label<'a>(metadata: &'a ObjectMeta, name: &str) -> Option<&'a String> {
    metadata.labels.as_ref()?.get(name)
}

/// Times of Kubernetes are RFC 3339, in whole seconds and UTC.
fn time(text: &str) -> Option<SystemTime> {
    humantime::parse_rfc3339(text).ok()
}

#[cfg(test)]
mod tests;
