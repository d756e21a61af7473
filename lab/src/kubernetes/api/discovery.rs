//! What the API server has: enough for `kubectl` and for `kube::discovery`.

use std::collections::BTreeSet;

use axum::Json;
use axum::extract::Path;
use serde_json::{Value, json};

use super::resource::Resource;
use super::status::Status;

/// The version of Kubernetes whose behaviour is followed.
pub(super) async fn version() -> Json<Value> {
    Json(json!({
        "major": "1", "minor": "34", "gitVersion": "v1.34.0-lab", "gitCommit": "", "gitTreeState": "", "buildDate": "",
        "goVersion": "", "compiler": "", "platform": "",
    }))
}

pub(super) async fn core_versions() -> Json<Value> {
    Json(json!({"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": []}))
}

pub(super) async fn groups() -> Json<Value> {
    let groups: BTreeSet<(&str, String)> = Resource::all()
        .map(|resource| resource.served)
        .filter(|kind| !kind.group.is_empty())
        .map(|kind| (kind.group, kind.api_version()))
        .collect();
    let groups: Vec<Value> = groups
        .into_iter()
        .map(|(name, api_version)| {
            let version = json!({"groupVersion": api_version, "version": api_version.rsplit('/').next()});
            json!({"name": name, "versions": [version], "preferredVersion": version})
        })
        .collect();
    Json(json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups}))
}

pub(super) async fn core_resources(Path(version): Path<String>) -> Result<Json<Value>, Status> {
    of_version(&version)
}

pub(super) async fn resources(Path((group, version)): Path<(String, String)>) -> Result<Json<Value>, Status> {
    of_version(&format!("{group}/{version}"))
}

fn of_version(api_version: &str) -> Result<Json<Value>, Status> {
    let mut resources = Vec::new();
    for kind in Resource::all().map(|resource| resource.served).filter(|kind| kind.api_version() == api_version) {
        let singular = kind.kind.to_lowercase();
        resources.push(json!({
            "name": kind.plural, "singularName": singular, "namespaced": kind.namespaced, "kind": kind.kind,
            "verbs": ["create", "delete", "get", "list", "patch", "watch"],
        }));
        if kind.status_subresource {
            resources.push(json!({
                "name": format!("{}/status", kind.plural), "singularName": "", "namespaced": kind.namespaced,
                "kind": kind.kind, "verbs": ["get", "patch"],
            }));
        }
    }
    if resources.is_empty() {
        return Err(Status::no_such_resource());
    }
    let list = json!({
        "kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version, "resources": resources,
    });
    Ok(Json(list))
}
