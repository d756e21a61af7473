//! The part of a Rollout that the router reads, and nothing else.
//!
//! One plain model for every way a Rollout reaches us. gob carries Go's field names, JSON and YAML the API's, so each
//! field knows both. What gob loses is lost here too: a pointer to zero arrives as nil, so `replicas`, a step's weight
//! or `verified` cannot tell zero or false from absent. The weight a host asks for is therefore never derived from
//! the steps.
//!
//! Source: `pkg/apis/rollouts/v1alpha1/types.go` of Argo Rollouts 1.7 to 1.10.

use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

/// An Argo Rollout.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Rollout {
    /// Who it is.
    #[serde(rename = "ObjectMeta", alias = "metadata")]
    pub metadata: Metadata,
    /// What its author wants.
    #[serde(rename = "Spec", alias = "spec")]
    pub spec: Spec,
    /// What the controller recorded.
    #[serde(rename = "Status", alias = "status")]
    pub status: Status,
}

/// The object's name and version.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Metadata {
    /// Its name.
    #[serde(rename = "Name", alias = "name")]
    pub name: String,
    /// Its namespace.
    #[serde(rename = "Namespace", alias = "namespace")]
    pub namespace: String,
    /// Another object of the same name has another one.
    #[serde(rename = "UID", alias = "uid")]
    pub uid: String,
}

/// The author's part.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Spec {
    /// How an update goes.
    #[serde(rename = "Strategy", alias = "strategy")]
    pub strategy: Strategy,
}

/// The strategy of an update. A traffic router sees canaries only.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Strategy {
    /// The canary strategy, if that is what the Rollout uses.
    #[serde(rename = "Canary", alias = "canary")]
    pub canary: Option<Canary>,
}

/// A canary update.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Canary {
    /// Its steps. Their weights are not read: the host says the weight it wants.
    #[serde(rename = "Steps", alias = "steps")]
    pub steps: Vec<Present>,
    /// Stable pods are let go as the canary's weight rises.
    #[serde(rename = "DynamicStableScale", alias = "dynamicStableScale")]
    pub dynamic_stable_scale: bool,
    /// Two Services that take turns at being stable.
    #[serde(rename = "PingPong", alias = "pingPong")]
    pub ping_pong: Option<PingPong>,
    /// Who routes the traffic.
    #[serde(rename = "TrafficRouting", alias = "trafficRouting")]
    pub traffic_routing: Option<TrafficRouting>,
}

/// Something of which we need to know only that it is there: a step, a header to match.
#[derive(Clone, Copy, Debug, Default, PartialEq, Deserialize)]
pub struct Present {}

/// The two Services of ping-pong.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct PingPong {
    /// The first.
    #[serde(rename = "PingService", alias = "pingService")]
    pub ping_service: String,
    /// The second.
    #[serde(rename = "PongService", alias = "pongService")]
    pub pong_service: String,
}

/// Who routes the traffic.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct TrafficRouting {
    /// The plugins' entries by plugin name, each the JSON its author wrote.
    #[serde(rename = "Plugins", alias = "plugins")]
    pub plugins: BTreeMap<String, PluginEntry>,
    /// The built-in ALB router is to route too.
    #[serde(rename = "ALB", alias = "alb")]
    pub alb: Option<Present>,
    /// The weight that stands for all traffic; absent means [`DEFAULT_MAX_WEIGHT`].
    #[serde(rename = "MaxTrafficWeight", alias = "maxTrafficWeight")]
    pub max_traffic_weight: Option<i64>,
}

/// The host's maximum weight when a Rollout names none (`defaults.DefaultMaxTrafficWeight` counts in percent).
pub const DEFAULT_MAX_WEIGHT: i64 = 100;

/// What the controller recorded.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct Status {
    /// The update was aborted.
    #[serde(rename = "Abort", alias = "abort")]
    pub abort: bool,
    /// The update is to skip its remaining steps.
    #[serde(rename = "PromoteFull", alias = "promoteFull")]
    pub promote_full: bool,
    /// The pod hash of the newest template.
    #[serde(rename = "CurrentPodHash", alias = "currentPodHash")]
    pub current_pod_hash: String,
    /// The pod hash that is stable.
    #[serde(rename = "StableRS", alias = "stableRS")]
    pub stable_rs: String,
}

/// A weight for one more Service, an experiment's (`WeightDestination`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub struct WeightDestination {
    /// Its share of the maximum weight.
    #[serde(rename = "Weight", alias = "weight")]
    pub weight: i64,
    /// The Service.
    #[serde(rename = "ServiceName", alias = "serviceName")]
    pub service_name: String,
    /// The pods behind it.
    #[serde(rename = "PodTemplateHash", alias = "podTemplateHash")]
    pub pod_template_hash: String,
}

/// A route by header, managed by the host (`SetHeaderRoute`).
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
pub struct HeaderRoute {
    /// The managed route's name.
    #[serde(rename = "Name", alias = "name")]
    pub name: String,
    /// What must match. Empty asks for the route's removal.
    #[serde(rename = "Match", alias = "match")]
    pub matches: Vec<Present>,
}

/// A mirrored route, managed by the host (`SetMirrorRoute`).
pub type MirrorRoute = HeaderRoute;

/// A plugin's entry in a Rollout: the JSON text as its author wrote it.
///
/// gob carries it as bytes (`map[string]json.RawMessage`), JSON and YAML as the value itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PluginEntry(pub String);

impl Rollout {
    /// `namespace/name`, as people and logs say it.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{}/{}", self.metadata.namespace, self.metadata.name)
    }

    /// The canary strategy and its traffic routing, if the Rollout has both.
    #[must_use]
    pub fn canary_routing(&self) -> Option<(&Canary, &TrafficRouting)> {
        let canary = self.spec.strategy.canary.as_ref()?;
        Some((canary, canary.traffic_routing.as_ref()?))
    }
}

impl TrafficRouting {
    /// The weight that stands for all traffic.
    #[must_use]
    pub fn max_weight(&self) -> i64 {
        self.max_traffic_weight.unwrap_or(DEFAULT_MAX_WEIGHT)
    }
}

impl<'de> Deserialize<'de> for PluginEntry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct JsonText;

        impl<'de> Visitor<'de> for JsonText {
            type Value = PluginEntry;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a plugin entry: JSON, or its text as bytes")
            }

            fn visit_bytes<E: serde::de::Error>(self, bytes: &[u8]) -> Result<PluginEntry, E> {
                let text = std::str::from_utf8(bytes).map_err(|_| E::custom("the plugin entry is not UTF-8"))?;
                Ok(PluginEntry(text.to_owned()))
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<PluginEntry, E> {
                Ok(PluginEntry("null".to_owned()))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PluginEntry, E> {
                Ok(PluginEntry(serde_json::Value::from(text).to_string()))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<PluginEntry, A::Error> {
                let value = serde_json::Value::deserialize(serde::de::value::SeqAccessDeserializer::new(seq))?;
                Ok(PluginEntry(value.to_string()))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<PluginEntry, A::Error> {
                let value = serde_json::Value::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(PluginEntry(value.to_string()))
            }
        }

        deserializer.deserialize_any(JsonText)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manifest_is_read_by_the_apis_names() {
        let rollout: Rollout = serde_json::from_value(serde_json::json!({
            "metadata": {"namespace": "shop", "name": "web", "uid": "u-1", "labels": {"app": "web"}},
            "spec": {"replicas": 10, "strategy": {"canary": {
                "stableService": "web-stable", "dynamicStableScale": true,
                "steps": [{"setWeight": 10}, {"pause": {}}],
                "trafficRouting": {"maxTrafficWeight": 1000, "plugins": {"argoproj-labs/alb": {"ruleArns": ["a"]}}},
            }}},
            "status": {"stableRS": "abc", "currentPodHash": "def", "abort": true},
        }))
        .unwrap();
        assert_eq!(rollout.key(), "shop/web");
        let (canary, routing) = rollout.canary_routing().unwrap();
        assert_eq!((canary.steps.len(), canary.dynamic_stable_scale, routing.max_weight()), (2, true, 1000));
        assert_eq!(routing.plugins["argoproj-labs/alb"], PluginEntry(r#"{"ruleArns":["a"]}"#.to_owned()));
        assert!(rollout.status.abort);
        assert_eq!(rollout.status.stable_rs, "abc");
    }

    #[test]
    fn an_empty_rollout_has_no_routing() {
        assert_eq!(Rollout::default().canary_routing(), None);
    }
}
