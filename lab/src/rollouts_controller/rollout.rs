//! The part of a Rollout that the controller's decisions depend on, as it stands in the object's JSON.
//!
//! Names: Argo Rollouts, `pkg/apis/rollouts/v1alpha1/types.go`.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Deserializer};
use serde_json::Value;

use super::status::Status;

/// A Rollout with the canary strategy and a traffic router.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Rollout {
    /// Who it is.
    pub metadata: Metadata,
    /// What its author wants.
    pub spec: Spec,
    /// What the controller recorded.
    #[serde(default)]
    pub status: Status,
}

/// The object's name and version.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Metadata {
    /// Its name.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Another object of the same name has another one.
    pub uid: String,
    /// Grows with every change of the spec.
    pub generation: u64,
}

/// The author's part.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Spec {
    /// Pods that the Rollout wants in all.
    #[serde(default = "one")]
    pub replicas: u32,
    /// Someone stopped the update by hand.
    #[serde(default)]
    pub paused: bool,
    /// Labels of its pods.
    pub selector: Value,
    /// The pods.
    pub template: Value,
    /// How an update goes.
    pub strategy: Strategy,
}

/// The strategy of an update. Only canaries are modelled.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Strategy {
    /// The canary strategy.
    pub canary: Canary,
}

/// A canary update.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Canary {
    /// The Service of the pods that users should get.
    #[serde(default)]
    pub stable_service: String,
    /// The Service of the pods that are being tried.
    #[serde(default)]
    pub canary_service: String,
    /// Two Services that take turns instead.
    pub ping_pong: Option<PingPong>,
    /// What happens one after the other.
    #[serde(default)]
    pub steps: Vec<Step>,
    /// Stable pods are let go as the canary's weight rises.
    #[serde(default)]
    pub dynamic_stable_scale: bool,
    /// How long pods stay after they lost their traffic; 30 s if absent.
    pub scale_down_delay_seconds: Option<u32>,
    /// How long canary pods stay after an abort; 30 s if absent, for ever if 0.
    pub abort_scale_down_delay_seconds: Option<u32>,
    /// Who routes the traffic.
    pub traffic_routing: TrafficRouting,
}

/// The two Services of ping-pong.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PingPong {
    /// The first.
    pub ping_service: String,
    /// The second, which is the first to be stable.
    pub pong_service: String,
}

/// A step of an update. A step of another kind makes the Rollout unreadable: the model does not know what it does.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Step {
    /// Brings the canary's weight to a number out of the maximum.
    SetWeight(u32),
    /// Waits.
    Pause(Pause),
    /// Gives the canary a size that does not follow its weight.
    SetCanaryScale(CanaryScale),
}

/// A pause.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct Pause {
    /// How long; until someone promotes, if absent.
    #[serde(default, deserialize_with = "go_duration")]
    pub duration: Option<Duration>,
}

/// The canary's size, by the first of these that is set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CanaryScale {
    /// Follow the weight again.
    #[serde(default)]
    pub match_traffic_weight: bool,
    /// So many pods.
    pub replicas: Option<u32>,
    /// As many pods as for this weight.
    pub weight: Option<u32>,
}

/// Who routes the traffic.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TrafficRouting {
    /// The weight that stands for all traffic; 100 if absent.
    pub max_traffic_weight: Option<u32>,
    /// The settings of the built-in ALB router, if it routes.
    pub alb: Option<Alb>,
    /// The plugins' entries by plugin name.
    #[serde(default)]
    pub plugins: BTreeMap<String, Value>,
}

/// The settings of the built-in ALB router.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Alb {
    /// The Ingress whose annotation it writes.
    #[serde(default)]
    pub ingress: String,
    /// Several of them.
    pub ingresses: Option<Vec<String>>,
    /// The Services' port.
    pub service_port: u16,
    /// The Service that names the action, if it is not the stable one.
    #[serde(default)]
    pub root_service: String,
    /// `alb.ingress.kubernetes.io` if absent.
    pub annotation_prefix: Option<String>,
    /// Users stay with the group that they got first.
    pub stickiness_config: Option<Stickiness>,
}

/// Users stay with the group that they got first.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Stickiness {
    /// They do.
    pub enabled: bool,
    /// For how long, 1 to 604,800 s.
    pub duration_seconds: u64,
}

impl Rollout {
    /// The canary strategy.
    #[must_use]
    pub fn canary(&self) -> &Canary {
        &self.spec.strategy.canary
    }

    /// The weight that stands for all traffic, at least 1.
    #[must_use]
    pub fn max_weight(&self) -> u32 {
        self.canary().traffic_routing.max_traffic_weight.unwrap_or(100).max(1)
    }

    /// The newest template is stable (`IsFullyPromoted`). So it is, in a way, before the first reconcile.
    #[must_use]
    pub fn is_fully_promoted(&self) -> bool {
        self.status.stable_rs == self.status.current_pod_hash
    }

    /// The number of steps.
    #[must_use]
    pub fn step_count(&self) -> u32 {
        u32::try_from(self.canary().steps.len()).unwrap_or(u32::MAX)
    }

    /// The step that is under way and its index; the index alone after the last step; nothing without steps.
    #[must_use]
    pub fn current_step(&self) -> (Option<&Step>, Option<u32>) {
        if self.canary().steps.is_empty() {
            return (None, None);
        }
        let index = self.status.current_step_index.unwrap_or_default();
        (usize::try_from(index).ok().and_then(|index| self.canary().steps.get(index)), Some(index))
    }

    /// The steps up to and with the one that is under way, latest first; none if no step is.
    pub(super) fn steps_so_far(&self) -> impl Iterator<Item = &Step> {
        let done = match self.current_step() {
            (Some(_), Some(index)) => usize::try_from(index).map_or(0, |index| index + 1),
            _ => 0,
        };
        self.canary().steps.iter().take(done).rev()
    }

    /// Names of the stable and the canary Service as they are now; ping-pong goes before the other two.
    #[must_use]
    pub fn services(&self) -> (&str, &str) {
        let canary = self.canary();
        match &canary.ping_pong {
            Some(services) if self.status.canary.stable_ping_pong == "ping" => {
                (&services.ping_service, &services.pong_service)
            }
            Some(services) => (&services.pong_service, &services.ping_service),
            None => (&canary.stable_service, &canary.canary_service),
        }
    }
}

impl Alb {
    /// The Ingresses whose annotations it writes.
    #[must_use]
    pub fn all_ingresses(&self) -> &[String] {
        self.ingresses.as_deref().unwrap_or_else(|| std::slice::from_ref(&self.ingress))
    }
}

impl Step {
    pub(super) fn weight(&self) -> Option<u32> {
        if let Self::SetWeight(weight) = self { Some(*weight) } else { None }
    }
}

fn one() -> u32 {
    1
}

/// Seconds as a number, or text such as `10`, `5m`, `1h30m` (`RolloutPause.DurationSeconds`).
fn go_duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Duration>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Duration {
        Seconds(u64),
        Text(String),
    }
    let seconds = std::time::Duration::from_secs;
    Option::<Duration>::deserialize(deserializer)?
        .map(|duration| match duration {
            Duration::Seconds(number) => Ok(seconds(number)),
            Duration::Text(text) => match text.parse() {
                Ok(number) => Ok(seconds(number)),
                Err(_) => humantime::parse_duration(&text).map_err(serde::de::Error::custom),
            },
        })
        .transpose()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn durations_are_seconds_or_go_text() {
        for (text, seconds) in [(json!(5), 5), (json!("10"), 10), (json!("5m"), 300), (json!("1h30m"), 5400)] {
            let step = Step::deserialize(json!({ "pause": { "duration": text } })).unwrap();
            assert_eq!(step, Step::Pause(Pause { duration: Some(Duration::from_secs(seconds)) }));
        }
        assert_eq!(Step::deserialize(json!({ "pause": {} })).unwrap(), Step::Pause(Pause { duration: None }));
        assert!(Step::deserialize(json!({ "pause": { "duration": "soon" } })).is_err());
    }

    #[test]
    fn a_step_that_is_not_modelled_is_refused() {
        let error = Step::deserialize(json!({ "setHeaderRoute": { "name": "beta" } })).unwrap_err();
        assert!(error.to_string().contains("setHeaderRoute"), "{error}");
    }
}
