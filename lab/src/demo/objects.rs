//! The manifests of the story.

use serde_json::{Value, json};

use super::play::{Path, Play};

pub(super) const NAMESPACE: &str = "shop";
pub(super) const NAME: &str = "web";
pub(super) const STABLE: &str = "web-stable";
pub(super) const CANARY: &str = "web-canary";
pub(super) const HOST: &str = "shop.example.com";

/// What `argo-rollouts-config` calls the plugin.
const PLUGIN: &str = "argoproj-labs/alb";

/// Where pods listen.
pub(super) const PORT: u16 = 8080;

/// The name of the annotation's action, which is the root Service's.
const ACTION: &str = "alb.ingress.kubernetes.io/actions.web-stable";

pub(super) fn service(name: &str) -> Value {
    json!({
        "metadata": {"namespace": NAMESPACE, "name": name},
        "spec": {"selector": {"app": NAME}, "ports": [{"port": 80, "targetPort": PORT}]},
    })
}

/// An Ingress whose action the built-in router writes. Before it does, all traffic goes to stable.
pub(super) fn ingress() -> Value {
    let group = |name: &str, weight: u16| json!({"ServiceName": name, "ServicePort": "80", "Weight": weight});
    let action = json!({"Type": "forward", "ForwardConfig": {"TargetGroups": [group(CANARY, 0), group(STABLE, 100)]}});
    let backend = json!({"service": {"name": STABLE, "port": {"name": "use-annotation"}}});
    json!({
        "metadata": {"namespace": NAMESPACE, "name": NAME, "annotations": {ACTION: action.to_string()}},
        "spec": {
            "ingressClassName": "alb",
            "rules": [{"host": HOST, "http": {"paths": [{"path": "/", "pathType": "Prefix", "backend": backend}]}}],
        },
    })
}

/// A binding as Terraform's users make it: this Service's pods are this group's targets.
pub(super) fn binding(service: &str, group_arn: &str) -> Value {
    json!({
        "metadata": {"namespace": NAMESPACE, "name": service},
        "spec": {
            "serviceRef": {"name": service, "port": 80}, "targetGroupARN": group_arn, "targetType": "ip",
        },
    })
}

/// The plugin's entry in a Rollout.
pub(super) fn entry(stable_group: &str, canary_group: &str) -> Value {
    json!({"stableTargetGroupArn": stable_group, "canaryTargetGroupArn": canary_group})
}

pub(super) fn rollout(play: &Play, path: Path, entry: Option<Value>) -> Value {
    let mut steps = Vec::new();
    for weight in &play.steps {
        steps.push(json!({"setWeight": weight}));
        steps.push(json!({"pause": {"duration": format!("{}s", play.here(play.pause).as_secs().max(1))}}));
    }
    let routing = match entry {
        Some(entry) => json!({"plugins": {PLUGIN: entry}}),
        None => json!({"alb": {"ingress": NAME, "servicePort": 80}}),
    };
    let mut canary = json!({
        "stableService": STABLE, "canaryService": CANARY, "dynamicStableScale": path.dynamic_stable_scale(),
        "steps": steps, "trafficRouting": routing,
    });
    if let (false, Some(canary)) = (path.dynamic_stable_scale(), canary.as_object_mut()) {
        canary.insert("scaleDownDelaySeconds".to_owned(), json!(play.scale_down_delay_seconds()));
    }
    json!({
        "metadata": {"namespace": NAMESPACE, "name": NAME},
        "spec": {
            "replicas": play.pods,
            "selector": {"matchLabels": {"app": NAME}},
            "template": {
                "metadata": {"labels": {"app": NAME}},
                "spec": {"containers": [
                    {"name": NAME, "image": "shop.example.com/web:1", "ports": [{"containerPort": PORT}]},
                ]},
            },
            "strategy": {"canary": canary},
        },
    })
}

/// A new version of the application.
pub(super) fn next_version() -> Value {
    json!({"spec": {"template": {"spec": {"containers": [
        {"name": NAME, "image": "shop.example.com/web:2", "ports": [{"containerPort": PORT}]},
    ]}}}})
}
