//! Noting something on a Rollout.

use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::Error;
use super::objects::{MetadataObject, Resource};
use crate::rollout::Metadata;

/// Writes the annotation into this very Rollout, if it does not show the value.
///
/// The uid in the patch is no wish, it chooses: nobody can change one, so the API server refuses to patch another Rollout of the
/// same name that was made between reading and writing (apimachinery `pkg/api/validation/objectmeta.go`).
pub(super) async fn note(client: &Client, about: &Metadata, annotation: &str, value: &str) -> Result<(), Error> {
    let Metadata { namespace, name, uid, .. } = about;
    let subject = format!("{namespace}/{name}");
    let rollouts: kube::Api<MetadataObject> = Resource::ROLLOUTS.within(client, namespace);
    let found = rollouts.get(name).await.map_err(|error| Error::of("get", Resource::ROLLOUTS, &subject, &error))?;
    if found.metadata.uid.as_ref() != Some(uid) {
        return Err(Error::another_rollout(&subject));
    }
    if found.metadata.annotations.is_some_and(|all| all.get(annotation).is_some_and(|shown| shown == value)) {
        return Ok(());
    }
    let patch = Patch::Merge(json!({"metadata": {"uid": uid, "annotations": { annotation: value }}}));
    let patched = rollouts.patch(name, &PatchParams::default(), &patch).await;
    patched.map(|_| ()).map_err(|error| Error::of("patch", Resource::ROLLOUTS, &subject, &error))
}
