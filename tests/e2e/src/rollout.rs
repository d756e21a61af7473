//! A Rollout in the cluster: what people do to one, and what they wait for.

use std::time::Duration;

use anyhow::{Context, bail};
use futures_util::TryStreamExt;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::core::GroupVersionKind;
use kube::runtime::watcher::watch_object;
use kube::{Api, Client};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::history::RolloutStatus;

/// How long one wait may last. Whole updates took under 30 s on two idle cores.
const PATIENCE: Duration = Duration::from_secs(180);

/// The annotation of the Pod template whose change makes a new version.
const VERSION: &str = "e2e/version";

/// A Rollout, by name.
#[derive(Debug, Clone)]
pub(crate) struct Rollout {
    api: Api<DynamicObject>,
    name: String,
}

/// A Rollout as it was seen.
#[derive(Debug, Clone, Default)]
pub(crate) struct Seen {
    pub(crate) resource_version: String,
    pub(crate) generation: i64,
    /// The plugin has noted what it found, which it does once that is true.
    pub(crate) has_targets: bool,
    pub(crate) status: RolloutStatus,
}

impl Rollout {
    /// Creates it.
    pub(crate) async fn create(client: &Client, namespace: &str, manifest: Value) -> anyhow::Result<Self> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "Rollout"));
        let api: Api<DynamicObject> = Api::namespaced_with(client.clone(), namespace, &resource);
        let object: DynamicObject = serde_json::from_value(manifest).context("the manifest is no Rollout")?;
        let name = object.metadata.name.clone().context("the Rollout has no name")?;
        api.create(&PostParams::default(), &object).await.context("cannot create the Rollout")?;
        Ok(Self { api, name })
    }

    /// Waits until the Rollout is as `condition` wants it. `what` says in words what that is.
    pub(crate) async fn until(&self, what: &str, condition: impl Fn(&Seen) -> bool) -> anyhow::Result<Seen> {
        let mut last = Seen::default();
        let met = async {
            let mut changes = std::pin::pin!(watch_object(self.api.clone(), &self.name));
            while let Some(change) = changes.try_next().await? {
                last = Seen::read(change.with_context(|| format!("Rollout {} is gone", self.name))?)?;
                if condition(&last) {
                    return Ok(());
                }
            }
            bail!("the watch of the Rollout ended")
        };
        let met = timeout(PATIENCE, met).await;
        match met.unwrap_or_else(|_| Err(anyhow::anyhow!("it was not within {PATIENCE:?}"))) {
            Ok(()) => Ok(last),
            Err(error) => {
                Err(error.context(format!("waiting until Rollout {} is {what}; last seen: {last:?}", self.name)))
            }
        }
    }

    /// Waits until the wished version is stable and its traffic comes through the stable Service.
    ///
    /// The controller calls a Rollout healthy as soon as it is promoted; it asks for that last weight right after.
    pub(crate) async fn until_healthy(&self) -> anyhow::Result<Seen> {
        let healthy = |seen: &Seen| seen.is_current() && seen.status.phase == "Healthy";
        self.until("healthy", |seen| healthy(seen) && seen.recorded_weight() == Some(0)).await
    }

    /// Waits until the same, and until it has been verified that the weights are true.
    pub(crate) async fn until_healthy_and_true(&self) -> anyhow::Result<Seen> {
        let healthy = |seen: &Seen| seen.is_current() && seen.status.phase == "Healthy";
        let verified = |seen: &Seen| seen.status.canary.weights.is_some_and(|weights| weights.verified != Some(false));
        let there = |seen: &Seen| healthy(seen) && verified(seen) && seen.recorded_weight() == Some(0);
        self.until("healthy, with its weights verified", there).await
    }

    /// Waits until it is healthy and the plugin has found its rules and seen them true. The controller does not always record
    /// that a weight was verified when nothing else changes.
    pub(crate) async fn until_installed(&self) -> anyhow::Result<Seen> {
        let there = |seen: &Seen| {
            let healthy = seen.is_current() && seen.status.phase == "Healthy";
            healthy && seen.has_targets && seen.recorded_weight() == Some(0)
        };
        self.until("healthy, with its target groups and rules noted", there).await
    }

    /// Changes the Pod template. A version that was there before brings its ReplicaSet back.
    pub(crate) async fn set_version(&self, version: &str) -> anyhow::Result<()> {
        self.patch(json!({ "spec": { "template": { "metadata": { "annotations": { VERSION: version } } } } })).await
    }

    /// Changes the Rollout by a merge patch.
    pub(crate) async fn patch(&self, patch: Value) -> anyhow::Result<()> {
        let patched = self.api.patch(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        patched.map(|_| ()).with_context(|| format!("cannot change the Rollout by {patch}"))
    }

    /// Changes the Rollout's status by a merge patch.
    pub(crate) async fn patch_status(&self, status: Value) -> anyhow::Result<()> {
        let patch = json!({ "status": status });
        let patched = self.api.patch_status(&self.name, &PatchParams::default(), &Patch::Merge(&patch)).await;
        patched.map(|_| ()).with_context(|| format!("cannot change the Rollout by {patch}"))
    }

    /// Brings back the Pod template without a version.
    pub(crate) async fn clear_version(&self) -> anyhow::Result<()> {
        self.patch(json!({ "spec": { "template": { "metadata": { "annotations": null } } } })).await
    }

    /// What `kubectl argo rollouts promote` does in a pause.
    pub(crate) async fn resume(&self) -> anyhow::Result<()> {
        self.patch_status(json!({ "pauseConditions": null })).await
    }

    /// What `kubectl argo rollouts promote --full` does.
    pub(crate) async fn promote_full(&self) -> anyhow::Result<()> {
        self.patch_status(json!({ "promoteFull": true })).await
    }

    /// What `kubectl argo rollouts abort` does.
    pub(crate) async fn abort(&self) -> anyhow::Result<()> {
        self.patch_status(json!({ "abort": true })).await
    }
}

impl Seen {
    fn read(object: DynamicObject) -> anyhow::Result<Self> {
        let status = object.data.get("status").map(RolloutStatus::deserialize).transpose();
        let annotations = object.metadata.annotations.unwrap_or_default();
        Ok(Self {
            has_targets: annotations.contains_key("trafficrouter-alb/targets"),
            resource_version: object.metadata.resource_version.unwrap_or_default(),
            generation: object.metadata.generation.unwrap_or_default(),
            status: status.context("the Rollout's status cannot be read")?.unwrap_or_default(),
        })
    }

    /// The status is about the present spec.
    pub(crate) fn is_current(&self) -> bool {
        self.status.observed_generation == self.generation.to_string()
    }

    /// The canary weight in the status.
    pub(crate) fn recorded_weight(&self) -> Option<u32> {
        self.status.canary.weights.map(|weights| weights.canary.weight)
    }
}
