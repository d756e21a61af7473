//! The CustomResourceDefinitions of TargetGroupBindings, of both API groups that have them.
//!
//! Fields: `apis/elbv2/v1beta1/targetgroupbinding_types.go` of the AWS Load Balancer Controller. EKS Auto Mode publishes none; its own
//! is taken to be alike.

use anyhow::Context;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams};
use kube::core::GroupVersionKind;
use kube::runtime::wait::{await_condition, conditions};
use kube::{Api, Client};
use lab::kubernetes::Kind;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::rollouts::ESTABLISHED_WITHIN;

/// Both kinds of bindings.
const KINDS: [Kind; 2] = [Kind::TARGET_GROUP_BINDING, Kind::AUTO_MODE_BINDING];

/// Installs both, and returns when they are served.
pub(crate) async fn install(client: &Client) -> anyhow::Result<()> {
    let definitions: Api<CustomResourceDefinition> = Api::all(client.clone());
    for kind in KINDS {
        let name = name(kind);
        let definition = Patch::Apply(definition(kind));
        let applied = definitions.patch(&name, &PatchParams::apply("e2e").force(), &definition).await;
        applied.with_context(|| format!("cannot apply CRD {name}"))?;
        let established = await_condition(definitions.clone(), &name, conditions::is_crd_established());
        timeout(ESTABLISHED_WITHIN, established).await.with_context(|| format!("CRD {name} is not served"))??;
    }
    Ok(())
}

/// The bindings of a namespace.
pub(crate) fn bindings(client: &Client, kind: Kind, namespace: &str) -> Api<DynamicObject> {
    Api::namespaced_with(client.clone(), namespace, &resource(kind))
}

fn resource(kind: Kind) -> ApiResource {
    ApiResource::from_gvk_with_plural(&GroupVersionKind::gvk(kind.group, kind.version, kind.kind), kind.plural)
}

fn name(kind: Kind) -> String {
    format!("{}.{}", kind.plural, kind.group)
}

fn definition(kind: Kind) -> Value {
    json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": { "name": name(kind) },
        "spec": {
            "group": kind.group,
            "scope": "Namespaced",
            "names": {
                "kind": kind.kind,
                "listKind": format!("{}List", kind.kind),
                "plural": kind.plural,
                "singular": kind.kind.to_lowercase(),
            },
            "versions": [{
                "name": kind.version,
                "served": true,
                "storage": true,
                "subresources": { "status": {} },
                "schema": { "openAPIV3Schema": schema() },
            }],
        },
    })
}

fn schema() -> Value {
    let text = json!({ "type": "string" });
    let flag = json!({ "type": "boolean" });
    let one_of = |values: &[&str]| json!({ "type": "string", "enum": values });
    // Security group rules and labels of nodes: no part of any scenario.
    let open = json!({ "type": "object", "x-kubernetes-preserve-unknown-fields": true });
    let service = json!({
        "type": "object",
        "required": ["name", "port"],
        "properties": { "name": text, "port": { "x-kubernetes-int-or-string": true } },
    });
    json!({
        "type": "object",
        "properties": {
            "spec": {
                "type": "object",
                "required": ["serviceRef"],
                "properties": {
                    "assumeRoleExternalId": text,
                    "iamRoleArnToAssume": text,
                    "ipAddressType": one_of(&["ipv4", "ipv6"]),
                    "multiClusterTargetGroup": flag,
                    "networking": open,
                    "nodeSelector": open,
                    "serviceRef": service,
                    "targetGroupARN": text,
                    "targetGroupName": text,
                    "targetGroupProtocol": one_of(&["HTTP", "HTTPS", "TCP", "TLS", "UDP", "TCP_UDP"]),
                    "targetType": one_of(&["instance", "ip"]),
                    "vpcID": text,
                },
            },
            "status": {
                "type": "object",
                "properties": { "observedGeneration": { "type": "integer", "format": "int64" } },
            },
        },
    })
}
