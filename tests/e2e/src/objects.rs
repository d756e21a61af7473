//! The objects that scenarios put into the cluster. Pure.

use lab::kubernetes::Kind;
use serde_json::{Value, json};

use crate::application::PORT;
use crate::load_balancer::HOST;
use crate::world::{PING_AND_PONG, Services};

/// The backend of Ingresses that leads to the Rollout: the name of its action, and of the root Service where there is one.
pub(crate) const ROOT: &str = "web";

/// What differs between the Rollouts of scenarios.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    pub(crate) replicas: u32,
    pub(crate) services: Services,
    /// `spec.strategy.canary` besides Services and traffic routing.
    pub(crate) canary: Value,
    /// `spec.strategy.canary.trafficRouting`.
    pub(crate) routing: Value,
}

/// Traffic routing by a plugin that the ConfigMap calls so.
pub(crate) fn plugin(name: &str, entry: Value) -> Value {
    json!({ "plugins": { name: entry } })
}

/// Traffic routing by the router that the rollouts controller brings.
pub(crate) fn built_in() -> Value {
    json!({ "alb": { "ingress": ROOT, "rootService": ROOT, "servicePort": 80 } })
}

/// The fields of both objects.
pub(crate) fn together(mut one: Value, other: Value) -> Value {
    if let (Value::Object(one), Value::Object(other)) = (&mut one, other) {
        one.extend(other);
    }
    one
}

/// A Service for the Pods of the Rollout.
pub(crate) fn service(name: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": PORT }] },
    })
}

/// The Rollout `web`.
pub(crate) fn rollout(web: Web, labels: &Value) -> Value {
    let Services { first, second } = web.services;
    let named = if web.services == PING_AND_PONG {
        json!({ "pingPong": { "pingService": first, "pongService": second } })
    } else {
        json!({ "stableService": first, "canaryService": second })
    };
    let routing = json!({ "trafficRouting": web.routing });
    let canary = [named, web.canary].into_iter().fold(routing, together);
    json!({
        "apiVersion": "argoproj.io/v1alpha1",
        "kind": "Rollout",
        "metadata": { "name": "web", "labels": labels },
        "spec": {
            "replicas": web.replicas,
            "selector": { "matchLabels": { "app": "web" } },
            "template": {
                "metadata": { "labels": { "app": "web" } },
                "spec": { "containers": [
                    { "name": "web", "image": "example.com/web", "ports": [{ "containerPort": PORT }] },
                ] },
            },
            "strategy": { "canary": canary },
        },
    })
}

/// An Ingress whose only path leads to both Services, with all weight on the first; `listen` as in `listen-ports`.
pub(crate) fn ingress(name: &str, services: Services, listen: &str) -> Value {
    let group = |service: &str, weight: u32| json!({ "serviceName": service, "servicePort": 80, "weight": weight });
    let groups = [group(services.first, 100), group(services.second, 0)];
    let action = json!({ "type": "forward", "forwardConfig": { "targetGroups": groups } });
    let backend = json!({ "service": { "name": ROOT, "port": { "name": "use-annotation" } } });
    json!({
        "metadata": {
            "name": name,
            "annotations": {
                "alb.ingress.kubernetes.io/target-type": "ip",
                "alb.ingress.kubernetes.io/listen-ports": listen,
                format!("alb.ingress.kubernetes.io/actions.{ROOT}"): action.to_string(),
            },
        },
        "spec": {
            "ingressClassName": "alb",
            "rules": [{ "host": HOST, "http": { "paths": [{ "path": "/", "pathType": "Prefix", "backend": backend }] } }],
        },
    })
}

/// A binding as a person writes it.
pub(crate) fn binding(kind: Kind, service: &str, port: u16, target_group: &str) -> Value {
    json!({
        "apiVersion": kind.api_version(),
        "kind": kind.kind,
        "metadata": { "name": service },
        "spec": {
            "serviceRef": { "name": service, "port": port },
            "targetGroupARN": target_group,
            "targetType": "ip",
        },
    })
}
