//! What `deploy/` and the documents tell people to use is what the plugin takes, and all that it needs.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use serde_json::Value;

mod configuration;
mod examples;
mod policies;
mod rights;

fn text(path: impl AsRef<Path>) -> Result<String> {
    let path = path.as_ref();
    std::fs::read_to_string(path).with_context(|| path.display().to_string())
}

/// The objects of a manifest.
fn objects(path: impl AsRef<Path>) -> Result<Vec<Value>> {
    let path = path.as_ref();
    serde_saphyr::from_multiple(&text(path)?).with_context(|| path.display().to_string())
}

/// The one object of this kind.
fn only<'o>(objects: &'o [Value], kind: &str) -> Result<&'o Value> {
    let mut found = objects.iter().filter(|object| object["kind"] == kind);
    let object = found.next().with_context(|| format!("a {kind}"))?;
    anyhow::ensure!(found.next().is_none(), "more than one {kind}");
    Ok(object)
}

/// The plugin's item in a ConfigMap `argo-rollouts-config`.
fn plugin_item(config: &Value) -> Result<Value> {
    let plugins = config.pointer("/data/trafficRouterPlugins").and_then(Value::as_str).context("a list of plugins")?;
    let plugins: Value = serde_saphyr::from_str(plugins)?;
    plugins.get(0).cloned().context("one plugin")
}

/// The manifests of the examples.
fn example_files() -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for folder in ["deploy/examples", "deploy/examples/terraform"] {
        for file in std::fs::read_dir(folder)? {
            let path = file?.path();
            if path.extension().is_some_and(|extension| extension == "yaml") {
                found.push(path);
            }
        }
    }
    found.sort();
    Ok(found)
}

#[test]
fn the_kustomization_names_what_is_there() -> Result<()> {
    let kustomization = objects("deploy/kustomization.yaml")?;
    let resources = only(&kustomization, "Kustomization")?["resources"].as_array().context("resources")?;
    let mut kinds = Vec::new();
    for resource in resources {
        let name = resource.as_str().context("a name")?;
        kinds.extend(objects(Path::new("deploy").join(name))?.iter().map(|object| object["kind"].clone()));
    }
    assert_eq!(kinds, ["ConfigMap", "ClusterRole", "ClusterRoleBinding"]);
    Ok(())
}
