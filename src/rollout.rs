//! The part of a Rollout that the router reads, and nothing else.
//!
//! One plain model for every way a Rollout reaches us. gob carries Go's field names, JSON and YAML the API's, so each
//! field knows both; protobuf carries Argo's field numbers, as `proto/trafficrouter/v1/rollout.proto` has them, which
//! is compiled to these very types. What gob loses is lost here too: a pointer to zero arrives as nil, so `replicas`, a step's weight
//! or `verified` cannot tell zero or false from absent. The weight a host asks for is therefore never derived from
//! the steps.
//!
//! Source: `types.go` and `generated.proto` in `pkg/apis/rollouts/v1alpha1` of Argo Rollouts 1.7 to 1.10.

use std::collections::BTreeMap;
use std::fmt;

use prost::Message;
use serde::Deserialize;
use serde::de::{Deserializer, Visitor};

/// An Argo Rollout.
#[derive(Clone, PartialEq, Deserialize, Message)]
#[serde(default)]
pub struct Rollout {
    /// Who it is.
    #[serde(rename = "ObjectMeta", alias = "metadata")]
    #[prost(message, required, tag = "1")]
    pub metadata: Metadata,
    /// What its author wants.
    #[serde(rename = "Spec", alias = "spec")]
    #[prost(message, required, tag = "2")]
    pub spec: Spec,
    /// What the controller recorded.
    #[serde(rename = "Status", alias = "status")]
    #[prost(message, required, tag = "3")]
    pub status: Status,
}

/// The object's name and version.
#[derive(Clone, PartialEq, Deserialize, Message)]
#[serde(default)]
pub struct Metadata {
    /// Its name.
    #[serde(rename = "Name", alias = "name")]
    #[prost(string, tag = "1")]
    pub name: String,
    /// Its namespace.
    #[serde(rename = "Namespace", alias = "namespace")]
    #[prost(string, tag = "3")]
    pub namespace: String,
    /// Another object of the same name has another one.
    #[serde(rename = "UID", alias = "uid")]
    #[prost(string, tag = "5")]
    pub uid: String,
    /// Every write makes another one. It says nothing of before and after.
    #[serde(rename = "ResourceVersion", alias = "resourceVersion")]
    #[prost(string, tag = "6")]
    pub resource_version: String,
    /// Counts the changes of `spec`.
    #[serde(rename = "Generation", alias = "generation")]
    #[prost(int64, tag = "7")]
    pub generation: i64,
    /// What people and programs noted on it.
    #[serde(rename = "Annotations", alias = "annotations")]
    #[prost(btree_map = "string, string", tag = "12")]
    pub annotations: BTreeMap<String, String>,
}

/// The author's part.
#[derive(Clone, PartialEq, Deserialize, Message)]
#[serde(default)]
pub struct Spec {
    /// How many Pods are wished. gob cannot tell an absent number from zero.
    #[serde(rename = "Replicas", alias = "replicas")]
    #[prost(int32, optional, tag = "1")]
    pub replicas: Option<i32>,
    /// How an update goes.
    #[serde(rename = "Strategy", alias = "strategy")]
    #[prost(message, required, tag = "5")]
    pub strategy: Strategy,
}

/// The strategy of an update. A traffic router sees canaries only.
#[derive(Clone, PartialEq, Deserialize, Message)]
#[serde(default)]
pub struct Strategy {
    /// The canary strategy, if that is what the Rollout uses.
    #[serde(rename = "Canary", alias = "canary")]
    #[prost(message, optional, tag = "2")]
    pub canary: Option<Canary>,
}

/// A canary update.
#[derive(Clone, PartialEq, Deserialize, Message)]
#[serde(default)]
pub struct Canary {
    /// The Service of the Pods that are being tried.
    #[serde(rename = "CanaryService", alias = "canaryService")]
    #[prost(string, tag = "1")]
    pub canary_service: String,
    /// The Service of the Pods that users should get.
    #[serde(rename = "StableService", alias = "stableService")]
    #[prost(string, tag = "2")]
    pub stable_service: String,
    /// Its steps. Their weights are not read: the host says the weight it wants.
    #[serde(rename = "Steps", alias = "steps")]
    #[prost(message, repeated, tag = "3")]
    pub steps: Vec<Present>,
    /// Stable pods are let go as the canary's weight rises.
    #[serde(rename = "DynamicStableScale", alias = "dynamicStableScale")]
    #[prost(bool, tag = "14")]
    pub dynamic_stable_scale: bool,
    /// Two Services that take turns at being stable.
    #[serde(rename = "PingPong", alias = "pingPong")]
    #[prost(message, optional, tag = "15")]
    pub ping_pong: Option<PingPong>,
    /// Who routes the traffic.
    #[serde(rename = "TrafficRouting", alias = "trafficRouting")]
    #[prost(message, optional, tag = "4")]
    pub traffic_routing: Option<TrafficRouting>,
}

/// Something of which we need to know only that it is there: a step, a request to mirror.
#[derive(Clone, Copy, PartialEq, Deserialize, Message)]
pub struct Present {}

/// The two Services of ping-pong.
#[derive(Clone, PartialEq, Deserialize, Message)]
#[serde(default)]
pub struct PingPong {
    /// The first.
    #[serde(rename = "PingService", alias = "pingService")]
    #[prost(string, tag = "1")]
    pub ping_service: String,
    /// The second.
    #[serde(rename = "PongService", alias = "pongService")]
    #[prost(string, tag = "2")]
    pub pong_service: String,
}

/// Who routes the traffic.
#[derive(Clone, PartialEq, Deserialize, Message)]
#[serde(default)]
pub struct TrafficRouting {
    /// The plugins' entries by plugin name, each the JSON its author wrote.
    #[serde(rename = "Plugins", alias = "plugins", deserialize_with = "plugin_entries")]
    #[prost(btree_map = "string, bytes", tag = "10")]
    pub plugins: BTreeMap<String, Vec<u8>>,
    /// The built-in ALB router is to route too.
    #[serde(rename = "ALB", alias = "alb")]
    #[prost(message, optional, tag = "3")]
    pub alb: Option<Present>,
    /// The routes that the host manages, the first to be tried first. It never asks for the removal of any other.
    #[serde(rename = "ManagedRoutes", alias = "managedRoutes")]
    #[prost(message, repeated, tag = "8")]
    pub managed_routes: Vec<ManagedRoute>,
    /// The weight that stands for all traffic; absent means [`DEFAULT_MAX_WEIGHT`].
    #[serde(rename = "MaxTrafficWeight", alias = "maxTrafficWeight")]
    #[prost(int32, optional, tag = "11")]
    pub max_traffic_weight: Option<i32>,
}

/// The host's maximum weight when a Rollout names none (`defaults.DefaultMaxTrafficWeight` counts in percent).
pub const DEFAULT_MAX_WEIGHT: i32 = 100;

/// A route that a step of the Rollout may make (`MangedRoutes`).
#[derive(Clone, PartialEq, Eq, Deserialize, Message)]
#[serde(default)]
pub struct ManagedRoute {
    /// The name by which steps refer to it.
    #[serde(rename = "Name", alias = "name")]
    #[prost(string, tag = "1")]
    pub name: String,
}

/// What the controller recorded.
#[derive(Clone, PartialEq, Deserialize, Message)]
#[serde(default)]
pub struct Status {
    /// The update was aborted.
    #[serde(rename = "Abort", alias = "abort")]
    #[prost(bool, tag = "1")]
    pub abort: bool,
    /// The update is to skip its remaining steps.
    #[serde(rename = "PromoteFull", alias = "promoteFull")]
    #[prost(bool, tag = "21")]
    pub promote_full: bool,
    /// The pod hash of the newest template.
    #[serde(rename = "CurrentPodHash", alias = "currentPodHash")]
    #[prost(string, tag = "5")]
    pub current_pod_hash: String,
    /// The pod hash that is stable.
    #[serde(rename = "StableRS", alias = "stableRS")]
    #[prost(string, tag = "19")]
    pub stable_rs: String,
    /// How many Pods there are.
    #[serde(rename = "Replicas", alias = "replicas")]
    #[prost(int32, tag = "7")]
    pub replicas: i32,
    /// What was recorded of the canary.
    #[serde(rename = "Canary", alias = "canary")]
    #[prost(message, required, tag = "15")]
    pub canary: CanaryStatus,
}

/// What the controller recorded of a canary update.
#[derive(Clone, PartialEq, Deserialize, Message)]
#[serde(default)]
pub struct CanaryStatus {
    /// The weights of the last SetWeight that succeeded.
    #[serde(rename = "Weights", alias = "weights")]
    #[prost(message, optional, tag = "4")]
    pub weights: Option<TrafficWeights>,
    /// Which Service of ping-pong is stable: `ping`, or `pong`. Empty before the first promotion.
    #[serde(rename = "StablePingPong", alias = "stablePingPong")]
    #[prost(string, tag = "5")]
    pub stable_ping_pong: String,
}

/// Weights that a SetWeight succeeded with. That it succeeded says nothing of their being true.
#[derive(Clone, PartialEq, Deserialize, Message)]
#[serde(default)]
pub struct TrafficWeights {
    /// The canary's weight.
    #[serde(rename = "Canary", alias = "canary")]
    #[prost(message, required, tag = "1")]
    pub canary: WeightDestination,
    /// Stable's weight.
    #[serde(rename = "Stable", alias = "stable")]
    #[prost(message, required, tag = "2")]
    pub stable: WeightDestination,
    /// Those of further Services, an experiment's.
    #[serde(rename = "Additional", alias = "additional")]
    #[prost(message, repeated, tag = "3")]
    pub additional: Vec<WeightDestination>,
    /// A VerifyWeight said that they are true. gob cannot tell "no" from "not said".
    #[serde(rename = "Verified", alias = "verified")]
    #[prost(bool, optional, tag = "4")]
    pub verified: Option<bool>,
}

/// A weight for one more Service, an experiment's (`WeightDestination`).
#[derive(Clone, PartialEq, Eq, Deserialize, Message)]
#[serde(default)]
pub struct WeightDestination {
    /// Its share of the maximum weight.
    #[serde(rename = "Weight", alias = "weight")]
    #[prost(int32, tag = "1")]
    pub weight: i32,
    /// The Service.
    #[serde(rename = "ServiceName", alias = "serviceName")]
    #[prost(string, tag = "2")]
    pub service_name: String,
    /// The pods behind it.
    #[serde(rename = "PodTemplateHash", alias = "podTemplateHash")]
    #[prost(string, tag = "3")]
    pub pod_template_hash: String,
}

/// A route by header, managed by the host (`SetHeaderRoute`).
#[derive(Clone, PartialEq, Deserialize, Message)]
#[serde(default)]
pub struct HeaderRoute {
    /// The managed route's name.
    #[serde(rename = "Name", alias = "name")]
    #[prost(string, tag = "1")]
    pub name: String,
    /// What a request must show, all of it. Empty asks for the route's removal.
    #[serde(rename = "Match", alias = "match")]
    #[prost(message, repeated, tag = "2")]
    pub matches: Vec<HeaderMatch>,
}

/// A header that a request must have (`HeaderRoutingMatch`).
#[derive(Clone, PartialEq, Eq, Deserialize, Message)]
#[serde(default)]
pub struct HeaderMatch {
    /// Its name, whose case does not matter in HTTP.
    #[serde(rename = "HeaderName", alias = "headerName")]
    #[prost(string, tag = "1")]
    pub header_name: String,
    /// Its value. The host lets no Rollout pass that says none.
    #[serde(rename = "HeaderValue", alias = "headerValue")]
    #[prost(message, optional, tag = "2")]
    pub header_value: Option<StringMatch>,
}

/// What a text must be like. The host lets exactly one of the three pass; an empty one is none.
#[derive(Clone, PartialEq, Eq, Deserialize, Message)]
#[serde(default)]
pub struct StringMatch {
    /// It is this text.
    #[serde(rename = "Exact", alias = "exact")]
    #[prost(string, tag = "1")]
    pub exact: String,
    /// It begins with this text.
    #[serde(rename = "Prefix", alias = "prefix")]
    #[prost(string, tag = "2")]
    pub prefix: String,
    /// It matches this regular expression.
    #[serde(rename = "Regex", alias = "regex")]
    #[prost(string, tag = "3")]
    pub regex: String,
}

/// A mirrored route, managed by the host (`SetMirrorRoute`).
#[derive(Clone, PartialEq, Deserialize, Message)]
#[serde(default)]
pub struct MirrorRoute {
    /// The managed route's name.
    #[serde(rename = "Name", alias = "name")]
    #[prost(string, tag = "1")]
    pub name: String,
    /// What must match. Empty asks for the route's removal.
    #[serde(rename = "Match", alias = "match")]
    #[prost(message, repeated, tag = "2")]
    pub matches: Vec<Present>,
}

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
    /// The weight that stands for all traffic. Zero is as good as absent: gob cannot tell them apart, and no door shall
    /// answer otherwise than another.
    #[must_use]
    pub fn max_weight(&self) -> i64 {
        i64::from(self.max_traffic_weight.filter(|max| *max != 0).unwrap_or(DEFAULT_MAX_WEIGHT))
    }

    /// Whether the host manages a route of this name, and so will ask for its removal.
    #[must_use]
    pub fn manages(&self, route: &str) -> bool {
        self.managed_routes.iter().any(|managed| managed.name == route)
    }
}

/// As people read it: `x-beta is "1"`.
impl fmt::Display for HeaderMatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self.header_value.clone().unwrap_or_default();
        write!(formatter, "{} {value}", self.header_name)
    }
}

impl fmt::Display for StringMatch {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let said = [("is", &self.exact), ("begins with", &self.prefix), ("matches the regex", &self.regex)];
        let said = said.into_iter().filter(|(_, text)| !text.is_empty());
        let said: Vec<_> = said.map(|(verb, text)| format!("{verb} {text:?}")).collect();
        if said.is_empty() {
            return formatter.write_str("without a value");
        }
        formatter.write_str(&said.join(" and "))
    }
}

/// gob carries an entry as bytes (`map[string]json.RawMessage`), JSON and YAML as the value itself.
fn plugin_entries<'de, D: Deserializer<'de>>(deserializer: D) -> Result<BTreeMap<String, Vec<u8>>, D::Error> {
    let entries = BTreeMap::<String, PluginEntry>::deserialize(deserializer)?;
    Ok(entries.into_iter().map(|(name, PluginEntry(text))| (name, text)).collect())
}

/// A plugin's entry in a Rollout, as JSON text.
struct PluginEntry(Vec<u8>);

impl PluginEntry {
    fn of(value: &serde_json::Value) -> Self {
        Self(value.to_string().into_bytes())
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
                Ok(PluginEntry(bytes.to_vec()))
            }

            fn visit_unit<E: serde::de::Error>(self) -> Result<PluginEntry, E> {
                Ok(PluginEntry::of(&serde_json::Value::Null))
            }

            fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<PluginEntry, E> {
                Ok(PluginEntry::of(&serde_json::Value::from(text)))
            }

            fn visit_seq<A: serde::de::SeqAccess<'de>>(self, seq: A) -> Result<PluginEntry, A::Error> {
                let value = serde_json::Value::deserialize(serde::de::value::SeqAccessDeserializer::new(seq))?;
                Ok(PluginEntry::of(&value))
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<PluginEntry, A::Error> {
                let value = serde_json::Value::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(PluginEntry::of(&value))
            }
        }

        deserializer.deserialize_any(JsonText)
    }
}

#[cfg(test)]
mod tests;
