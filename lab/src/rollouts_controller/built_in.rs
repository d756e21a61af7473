//! Argo's own ALB router: it writes an Ingress annotation, and whoever follows that annotation does the rest.
//!
//! Source: Argo Rollouts 1.10.2, `rollout/trafficrouting/alb/alb.go`, `utils/ingress/ingress.go`. `VerifyWeight` is as
//! without the controller's flag `--aws-verify-target-group`: nothing is verified.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::rollout::{Alb, Rollout};
use super::state::{CallError, TrafficRouter};
use crate::kubernetes::{Cluster, Kind};

/// Which annotations of an Ingress belong to which Rollout.
const MANAGED_ANNOTATIONS: &str = "rollouts.argoproj.io/managed-alb-annotations";

/// The built-in router, for Rollouts with `trafficRouting.alb`.
#[derive(Debug, Clone)]
pub struct BuiltIn {
    cluster: Cluster,
}

/// The value of an `actions.*` annotation. The router compares it as text, so the order of fields matters.
#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct AlbAction<'a> {
    r#type: &'static str,
    forward_config: ForwardConfig<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct ForwardConfig<'a> {
    target_groups: [TargetGroup<'a>; 2],
    #[serde(skip_serializing_if = "Option::is_none")]
    target_group_stickiness_config: Option<StickinessConfig>,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct TargetGroup<'a> {
    service_name: &'a str,
    service_port: String,
    weight: i64,
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct StickinessConfig {
    enabled: bool,
    duration_seconds: u64,
}

impl BuiltIn {
    /// A router that writes Ingresses of this cluster.
    #[must_use]
    pub fn new(cluster: Cluster) -> Self {
        Self { cluster }
    }

    /// Patches one Ingress. False if it needed none.
    fn patch(&self, rollout: &Rollout, alb: &Alb, ingress: &str, weight: u32) -> Result<bool, CallError> {
        let namespace = &rollout.metadata.namespace;
        let object = self.cluster.get(Kind::INGRESS, namespace, ingress);
        let object = object.ok_or_else(|| CallError(format!("ingress \"{ingress}\" not found")))?;
        let root = Some(&alb.root_service).filter(|name| !name.is_empty());
        let service = root.unwrap_or_else(|| &rollout.canary().stable_service);
        if !has_rule_with(&object, service) {
            return Err(CallError(format!("ingress does not have service `{service}` in rules")));
        }
        let prefix = alb.annotation_prefix.as_deref().unwrap_or("alb.ingress.kubernetes.io");
        let key = format!("{prefix}/actions.{service}");
        let annotation = |name: &str| object.pointer("/metadata/annotations")?.get(name)?.as_str();
        let managed = managed_with(annotation(MANAGED_ANNOTATIONS), &rollout.metadata.name, &key)?;
        let action = action(rollout, alb, weight)?;
        if annotation(&key) == Some(&action) && annotation(MANAGED_ANNOTATIONS) == Some(&managed) {
            return Ok(false);
        }
        let patch = json!({ "metadata": { "annotations": { key: action, MANAGED_ANNOTATIONS: managed } } });
        let patched = self.cluster.merge_patch(Kind::INGRESS, namespace, ingress, &patch);
        patched.map_err(|refusal| CallError(format!("error patching alb ingress `{ingress}`: {refusal}")))?;
        Ok(true)
    }
}

#[async_trait]
impl TrafficRouter for BuiltIn {
    async fn r#type(&self) -> Result<String, CallError> {
        Ok("ALB".to_owned())
    }

    async fn update_hash(&self, _: &Value, _: &str, _: &str) -> Result<(), CallError> {
        Ok(())
    }

    async fn set_weight(&self, rollout: &Value, weight: u32) -> Result<(), CallError> {
        let rollout = Rollout::deserialize(rollout).map_err(|error| CallError(error.to_string()))?;
        let alb = rollout.canary().traffic_routing.alb.as_ref();
        let alb = alb.ok_or_else(|| CallError("the Rollout has no trafficRouting.alb".to_owned()))?;
        for ingress in alb.all_ingresses() {
            // It stops at the first one that needs no patch, whatever the others need (`SetWeightPerIngress`).
            if !self.patch(&rollout, alb, ingress, weight)? {
                break;
            }
        }
        Ok(())
    }

    async fn verify_weight(&self, _: &Value, _: u32) -> Result<Option<bool>, CallError> {
        Ok(None)
    }

    async fn remove_managed_routes(&self, _: &Value) -> Result<(), CallError> {
        Ok(())
    }
}

/// `getForwardActionString`. Stable has the rest of 100, whatever the maximum is.
fn action(rollout: &Rollout, alb: &Alb, weight: u32) -> Result<String, CallError> {
    let (stable, canary) = rollout.services();
    let weight = i64::from(weight);
    let group = |service_name, weight| TargetGroup { service_name, service_port: alb.service_port.to_string(), weight };
    let sticky = alb.stickiness_config.as_ref().filter(|config| config.enabled);
    let sticky = sticky.map(|config| StickinessConfig { enabled: true, duration_seconds: config.duration_seconds });
    let action = AlbAction {
        r#type: "forward",
        forward_config: ForwardConfig {
            target_groups: [group(canary, weight), group(stable, 100 - weight)],
            target_group_stickiness_config: sticky,
        },
    };
    serde_json::to_string(&action).map_err(|error| CallError(error.to_string()))
}

/// Adds an annotation to those of a Rollout (`modifyManagedAnnotation`).
fn managed_with(before: Option<&str>, rollout: &str, key: &str) -> Result<String, CallError> {
    let before = before.filter(|text| !text.is_empty()).unwrap_or("{}");
    let managed: Result<BTreeMap<String, Vec<String>>, _> = serde_json::from_str(before);
    let mut managed = managed.map_err(|error| CallError(format!("annotation {MANAGED_ANNOTATIONS}: {error}")))?;
    let keys = managed.entry(rollout.to_owned()).or_default();
    if !keys.iter().any(|known| known == key) {
        keys.push(key.to_owned());
    }
    serde_json::to_string(&managed).map_err(|error| CallError(error.to_string()))
}

fn has_rule_with(ingress: &Value, service: &str) -> bool {
    let array = |value: &'_ Value, path: &str| value.pointer(path).and_then(Value::as_array).cloned();
    let rules = array(ingress, "/spec/rules").unwrap_or_default();
    let mut paths = rules.iter().filter_map(|rule| array(rule, "/http/paths")).flatten();
    paths.any(|path| path.pointer("/backend/service/name").and_then(Value::as_str) == Some(service))
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACTION: &str = "alb.ingress.kubernetes.io/actions.web-stable";

    fn rollout(alb: Value) -> Value {
        let canary =
            json!({ "stableService": "web-stable", "canaryService": "web-canary", "trafficRouting": { "alb": alb } });
        json!({
            "metadata": { "name": "web", "namespace": "shop", "uid": "1", "generation": 1 },
            "spec": { "selector": {}, "template": {}, "strategy": { "canary": canary } },
        })
    }

    fn cluster(ingresses: &[&str]) -> Cluster {
        let cluster = Cluster::default();
        for name in ingresses {
            let path = json!({ "path": "/", "backend": { "service": { "name": "web-stable" } } });
            let object = json!({
                "metadata": { "name": name, "namespace": "shop", "annotations": { "own": "stays" } },
                "spec": { "rules": [{ "host": "other.example.com" }, { "http": { "paths": [path] } }] },
            });
            cluster.create(Kind::INGRESS, object).unwrap();
        }
        cluster
    }

    fn annotation(cluster: &Cluster, ingress: &str, name: &str) -> Option<String> {
        let object = cluster.get(Kind::INGRESS, "shop", ingress).unwrap();
        object.pointer("/metadata/annotations")?.get(name)?.as_str().map(str::to_owned)
    }

    #[tokio::test]
    async fn a_weight_is_written_as_argo_writes_it() {
        let cluster = cluster(&["web"]);
        let router = BuiltIn::new(cluster.clone());
        let rollout = rollout(json!({ "ingress": "web", "servicePort": 80 }));
        router.set_weight(&rollout, 10).await.unwrap();
        let groups = r#"{"ServiceName":"web-canary","ServicePort":"80","Weight":10},{"ServiceName":"web-stable","ServicePort":"80","Weight":90}"#;
        let action = format!(r#"{{"Type":"forward","ForwardConfig":{{"TargetGroups":[{groups}]}}}}"#);
        assert_eq!(annotation(&cluster, "web", ACTION), Some(action));
        assert_eq!(annotation(&cluster, "web", MANAGED_ANNOTATIONS), Some(format!(r#"{{"web":["{ACTION}"]}}"#)));
        assert_eq!(annotation(&cluster, "web", "own"), Some("stays".to_owned()));
        let version = *cluster.version().borrow();
        router.set_weight(&rollout, 10).await.unwrap();
        assert_eq!(*cluster.version().borrow(), version, "the same again is no write");
        assert_eq!(router.verify_weight(&rollout, 10).await, Ok(None));
    }

    #[tokio::test]
    async fn stickiness_goes_with_the_weights() {
        let cluster = cluster(&["web"]);
        let sticky = json!({ "enabled": true, "durationSeconds": 60 });
        let alb = json!({ "ingress": "web", "servicePort": 80, "stickinessConfig": sticky });
        BuiltIn::new(cluster.clone()).set_weight(&rollout(alb), 10).await.unwrap();
        let action = annotation(&cluster, "web", ACTION).unwrap();
        let end = r#","TargetGroupStickinessConfig":{"Enabled":true,"DurationSeconds":60}}}"#;
        assert!(action.ends_with(end), "{action}");
    }

    #[tokio::test]
    async fn an_ingress_that_needs_nothing_hides_those_behind_it() {
        let cluster = cluster(&["one", "two"]);
        let router = BuiltIn::new(cluster.clone());
        router.set_weight(&rollout(json!({ "ingress": "one", "servicePort": 80 })), 10).await.unwrap();
        router.set_weight(&rollout(json!({ "ingresses": ["one", "two"], "servicePort": 80 })), 10).await.unwrap();
        assert_eq!(annotation(&cluster, "two", ACTION), None);
    }

    #[tokio::test]
    async fn what_is_missing_is_named() {
        let router = BuiltIn::new(cluster(&["web"]));
        for (alb, missing) in [
            (json!({ "ingress": "other", "servicePort": 80 }), "ingress \"other\" not found"),
            (json!({ "ingress": "web", "servicePort": 80, "rootService": "web-root" }), "`web-root`"),
        ] {
            let error = router.set_weight(&rollout(alb), 10).await.unwrap_err();
            assert!(error.to_string().contains(missing), "{error}");
        }
    }
}
