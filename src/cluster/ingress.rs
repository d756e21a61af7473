//! Telling whoever follows an Ingress which weights are right.

use kube::Client;
use kube::api::{Patch, PatchParams};
use serde_json::json;

use super::objects::{MetadataObject, Resource};
use super::{Error, actions};

/// Writes the weights into every action that names all these Services.
///
/// The Ingress is read anew each time, never from a cache, and the patch holds the annotations that change and nothing else,
/// no version either: whoever edits something else at the same time is not in the way. If somebody puts another text into
/// the very annotation between the two, ours counts, and the router's guard sees to what they wanted with the rule.
pub(super) async fn announce(
    client: &Client,
    namespace: &str,
    name: &str,
    weights: &[(String, u32)],
) -> Result<(), Error> {
    let subject = format!("{namespace}/{name}");
    let ingresses: kube::Api<MetadataObject> = Resource::INGRESSES.within(client, namespace);
    let found = ingresses.get(name).await.map_err(|error| Error::of("get", Resource::INGRESSES, &subject, &error))?;
    let annotations = found.metadata.annotations.unwrap_or_default();
    let Some(changed) = actions::changed(&annotations, actions::PREFIX, weights) else {
        let services: Vec<&str> = weights.iter().map(|(service, _)| service.as_str()).collect();
        let services = services.join(", ");
        let cause = format!("none of its annotations {}/actions.* forwards to all of {services}", actions::PREFIX);
        let advice = "; add an action of type forward that names them, and a backend with the port use-annotation";
        return Err(Error::missing("patch", Resource::INGRESSES, &subject, &cause, advice));
    };
    if changed.is_empty() {
        return Ok(());
    }
    let patch = Patch::Merge(json!({"metadata": {"annotations": changed}}));
    let patched = ingresses.patch(name, &PatchParams::default(), &patch).await;
    patched.map(|_| ()).map_err(|error| Error::of("patch", Resource::INGRESSES, &subject, &error))
}
