//! What the controller records in a Rollout's status, as far as its decisions depend on it or people look at it.
//!
//! Names: Argo Rollouts, `pkg/apis/rollouts/v1alpha1/types.go`. What is empty is left out, as Go leaves it out.

use std::time::{Duration, SystemTime};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// What the controller recorded.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Status {
    /// The update was aborted.
    #[serde(skip_serializing_if = "is_default")]
    pub abort: bool,
    /// The update is to skip its remaining steps.
    #[serde(skip_serializing_if = "is_default")]
    pub promote_full: bool,
    /// The controller paused the update.
    #[serde(skip_serializing_if = "is_default")]
    pub controller_pause: bool,
    /// Why it is paused.
    #[serde(skip_serializing_if = "is_default")]
    pub pause_conditions: Vec<PauseCondition>,
    /// The step that is under way; the number of steps if none is left.
    #[serde(skip_serializing_if = "is_default")]
    pub current_step_index: Option<u32>,
    /// Stands for the steps.
    #[serde(skip_serializing_if = "is_default")]
    pub current_step_hash: String,
    /// The pod template hash of the newest template.
    #[serde(skip_serializing_if = "is_default")]
    pub current_pod_hash: String,
    /// The pod template hash that is stable.
    #[serde(rename = "stableRS", skip_serializing_if = "is_default")]
    pub stable_rs: String,
    /// The generation of the spec that the rest is about, as text.
    #[serde(skip_serializing_if = "is_default")]
    pub observed_generation: String,
    /// In a word.
    #[serde(skip_serializing_if = "is_default")]
    pub phase: Option<Phase>,
    /// Pods of all versions.
    #[serde(rename = "HPAReplicas", skip_serializing_if = "is_default")]
    pub hpa_replicas: u32,
    /// The same.
    #[serde(skip_serializing_if = "is_default")]
    pub replicas: u32,
    /// Pods of the newest template.
    #[serde(skip_serializing_if = "is_default")]
    pub updated_replicas: u32,
    /// Pods of all versions that are available.
    #[serde(skip_serializing_if = "is_default")]
    pub available_replicas: u32,
    /// About the canary.
    #[serde(skip_serializing_if = "is_default")]
    pub canary: CanaryStatus,
}

/// `status.canary`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct CanaryStatus {
    /// What the router was last asked for.
    #[serde(skip_serializing_if = "is_default")]
    pub weights: Option<Weights>,
    /// Which of the ping-pong Services is stable. Empty means pong.
    #[serde(skip_serializing_if = "is_default")]
    pub stable_ping_pong: String,
}

/// `status.canary.weights`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Weights {
    /// The canary's.
    pub canary: Destination,
    /// Stable's.
    pub stable: Destination,
    /// What VerifyWeight said; absent if the router does not verify.
    #[serde(skip_serializing_if = "is_default")]
    pub verified: Option<bool>,
}

/// One part of the traffic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Destination {
    /// Out of the maximum.
    pub weight: u32,
    /// The Service.
    #[serde(skip_serializing_if = "is_default")]
    pub service_name: String,
    /// The pods behind it.
    #[serde(skip_serializing_if = "is_default")]
    pub pod_template_hash: String,
}

/// Why an update is paused.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PauseCondition {
    /// Such as [`PAUSE_STEP`].
    pub reason: String,
    /// Since when, in whole seconds, as Kubernetes writes times.
    #[serde(serialize_with = "write_time", deserialize_with = "read_time")]
    pub start_time: SystemTime,
}

/// The reason of a pause step.
pub(super) const PAUSE_STEP: &str = "CanaryPauseStep";

/// `status.phase`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// The newest template is stable, and its pods are there.
    Healthy,
    /// On the way.
    Progressing,
    /// In a pause.
    Paused,
    /// Aborted.
    Degraded,
}

/// Whole seconds, as Kubernetes' times have them.
pub(super) fn whole_seconds(time: SystemTime) -> SystemTime {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    SystemTime::UNIX_EPOCH + Duration::from_secs(since.as_secs())
}

fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
}

fn write_time<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(&humantime::format_rfc3339_seconds(*time))
}

fn read_time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SystemTime, D::Error> {
    let text = String::deserialize(deserializer)?;
    humantime::parse_rfc3339(&text).map_err(serde::de::Error::custom)
}
