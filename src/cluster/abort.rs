//! Giving an update up, as the host or a person would.

use std::time::SystemTime;

use kube::Client;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::json;

use super::Error;
use super::error::is_answer;
use super::objects::{MetadataObject, PodObject, Resource};
use super::verdict::{self, HASH_LABEL, RolloutObject, Run, RunObject};

/// How often the patch is tried while others change the Rollout at the same time.
const TRIES: usize = 5;

/// Why the host would give the update up. Asks for nothing that does not count.
pub(super) async fn reason(
    client: &Client,
    namespace: &str,
    name: &str,
    now: SystemTime,
) -> Result<Option<String>, Error> {
    let rollout = rollout(client, namespace, name).await?;
    for run in verdict::runs(&rollout) {
        let (resource, of) = match &run {
            Run::Step(of) | Run::Background(of) => (Resource::ANALYSIS_RUNS, of),
            Run::Experiment(of) => (Resource::EXPERIMENTS, of),
        };
        let objects: kube::Api<RunObject> = resource.within(client, namespace);
        let found = objects.get_opt(of).await;
        let found = found.map_err(|error| Error::of("get", resource, &format!("{namespace}/{of}"), &error))?;
        // One that is gone has not failed: the host makes another.
        if let Some(why) = found.and_then(|found| verdict::failure(&rollout, &run, &found)) {
            return Ok(Some(why));
        }
    }
    if !verdict::is_past_deadline(&rollout, now) {
        return Ok(None);
    }
    let within = format!("in {namespace}");
    let sets: kube::Api<MetadataObject> = Resource::REPLICA_SETS.within(client, namespace);
    let sets = sets.list(&ListParams::default().labels(HASH_LABEL)).await;
    let sets = sets.map_err(|error| Error::of("list", Resource::REPLICA_SETS, &within, &error))?;
    let pods: kube::Api<PodObject> = Resource::PODS.within(client, namespace);
    let newest = format!("{HASH_LABEL}={}", verdict::newest_hash(&rollout));
    let pods = pods.list(&ListParams::default().labels(&newest)).await;
    let pods = pods.map_err(|error| Error::of("list", Resource::PODS, &within, &error))?;
    Ok(verdict::overdue(&rollout, &sets.items, &pods.items, now))
}

/// Gives the update of this very Rollout up.
///
/// `kubectl argo rollouts abort` patches the status, or the object where the API server knows no status of its own
/// (argo-rollouts `pkg/kubectl-argo-rollouts/cmd/abort/abort.go`). A `metadata.uid` beside it would be no precondition: the
/// status of a custom resource is patched as if no metadata had been sent (apiextensions-apiserver
/// `pkg/registry/customresource/status_strategy.go`; a real API server of 1.34 did so). The version is one.
pub(super) async fn abort(client: &Client, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
    let subject = format!("{namespace}/{name}");
    let rollouts: kube::Api<RolloutObject> = Resource::ROLLOUTS.within(client, namespace);
    let mut tries = 1;
    loop {
        let found = rollout(client, namespace, name).await?;
        if found.metadata.uid.as_deref() != Some(uid) {
            let cause = "it is not the one that was meant: that one was deleted, and another one made";
            return Err(Error::refused("patch", Resource::ROLLOUTS_STATUS, &subject, cause));
        }
        if found.status.is_some_and(|status| status.abort) {
            return Ok(());
        }
        let version = found.metadata.resource_version;
        let patch = Patch::Merge(json!({"metadata": {"resourceVersion": version}, "status": {"abort": true}}));
        let (params, mut resource) = (PatchParams::default(), Resource::ROLLOUTS_STATUS);
        let mut patched = rollouts.patch_status(name, &params, &patch).await;
        if patched.as_ref().is_err_and(|error| is_answer(error, 404)) {
            resource = Resource::ROLLOUTS;
            patched = rollouts.patch(name, &params, &patch).await;
        }
        match patched {
            Ok(_) => return Ok(()),
            Err(error) if is_answer(&error, 409) && tries < TRIES => tries += 1,
            Err(error) => return Err(Error::of("patch", resource, &subject, &error)),
        }
    }
}

async fn rollout(client: &Client, namespace: &str, name: &str) -> Result<RolloutObject, Error> {
    let found = Resource::ROLLOUTS.within(client, namespace).get(name).await;
    found.map_err(|error| Error::of("get", Resource::ROLLOUTS, &format!("{namespace}/{name}"), &error))
}
