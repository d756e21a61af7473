//! The Ingresses that a load balancer controller follows: which actions they have, and what we write into them.
//!
//! An Ingress is read anew each time, never from a cache, and nothing is written that it shows already.

use std::collections::BTreeMap;

use kube::Client;
use kube::api::{ListParams, Patch, PatchParams};
use serde_json::{Value, json};

use super::error::is_answer;
use super::objects::{IngressObject, MetadataObject, Resource};
use super::{Announcement, Error, ErrorKind, Ingress, Route, pages};
use routes::{Change, Trouble};

mod action;
mod announce;
mod members;
mod routes;
mod spec;
mod view;

/// How often a patch is tried while others change the Ingress at the same time.
const TRIES: usize = 5;

/// The Ingresses of a namespace that have actions.
pub(super) async fn list(client: &Client, namespace: &str, prefix: &str) -> Result<Vec<Ingress>, Error> {
    let ingresses: kube::Api<IngressObject> = Resource::INGRESSES.within(client, namespace);
    let listed = pages::all(&ingresses, ListParams::default()).await;
    let listed = listed.map_err(|error| Error::of("list", Resource::INGRESSES, &format!("in {namespace}"), &error))?;
    let seen = |ingress: IngressObject| {
        let name = ingress.metadata.name.unwrap_or_default();
        view::seen(&name, &ingress.metadata.annotations.unwrap_or_default(), &ingress.spec, prefix)
    };
    Ok(listed.into_iter().filter_map(seen).collect())
}

/// Writes what is announced into every action that names stable and canary.
///
/// The patch holds the annotations that change and nothing else, no version either: whoever edits something else at the same
/// time is not in the way. If somebody puts another text into the very annotation between the two, ours counts, and the
/// router's guard sees to what they wanted with the rule.
pub(super) async fn announce(
    client: &Client,
    namespace: &str,
    name: &str,
    announcement: &Announcement,
) -> Result<bool, Error> {
    let subject = format!("{namespace}/{name}");
    let ingresses: kube::Api<MetadataObject> = Resource::INGRESSES.within(client, namespace);
    let found = ingresses.get(name).await.map_err(|error| Error::of("get", Resource::INGRESSES, &subject, &error))?;
    let annotations = found.metadata.annotations.unwrap_or_default();
    let Some(changed) = announce::changed(&annotations, announcement) else {
        let services = announcement.weights.iter().take(2).map(|(service, _)| service.as_str());
        return Err(no_action(&subject, &announcement.prefix, services));
    };
    if changed.is_empty() {
        return Ok(false);
    }
    let patch = Patch::Merge(json!({"metadata": {"annotations": changed}}));
    let patched = ingresses.patch(name, &PatchParams::default(), &patch).await;
    patched.map(|_| true).map_err(|error| Error::of("patch", Resource::INGRESSES, &subject, &error))
}

/// Puts a managed route in.
pub(super) async fn add_route(
    client: &Client,
    namespace: &str,
    name: &str,
    prefix: &str,
    ours: &[String; 2],
    route: &Route,
) -> Result<(), Error> {
    let subject = format!("{namespace}/{name}");
    change(client, namespace, name, |annotations, spec| {
        routes::with(annotations, spec, prefix, ours, route).map_err(|trouble| match trouble {
            Trouble::NoAction => no_action(&subject, prefix, ours.iter().map(String::as_str)),
            Trouble::Refused(why) => Error::refused("patch", Resource::INGRESSES, &subject, &why),
        })
    })
    .await
}

/// Takes managed routes out. Where there is no Ingress, there are none.
pub(super) async fn remove_routes(
    client: &Client,
    namespace: &str,
    name: &str,
    prefix: &str,
    names: &[String],
) -> Result<(), Error> {
    let removed =
        change(client, namespace, name, |annotations, spec| Ok(routes::without(annotations, spec, prefix, names)));
    match removed.await {
        Err(error) if error.kind() == ErrorKind::Missing => Ok(()),
        removed => removed,
    }
}

/// Writes a change of annotations and paths in one patch. All rules are one value for a merge-patch, so it names the version
/// that they were read from: what somebody else has written meanwhile is read anew, and not lost.
async fn change(
    client: &Client,
    namespace: &str,
    name: &str,
    decide: impl Fn(&BTreeMap<String, String>, &Value) -> Result<Change, Error>,
) -> Result<(), Error> {
    let subject = format!("{namespace}/{name}");
    let ingresses: kube::Api<IngressObject> = Resource::INGRESSES.within(client, namespace);
    let mut tries = 1;
    loop {
        let found =
            ingresses.get(name).await.map_err(|error| Error::of("get", Resource::INGRESSES, &subject, &error))?;
        let change = decide(&found.metadata.annotations.unwrap_or_default(), &found.spec)?;
        if change.is_empty() {
            return Ok(());
        }
        let metadata = json!({"resourceVersion": found.metadata.resource_version, "annotations": change.annotations});
        let patch = match change.rules {
            Some(rules) => json!({"metadata": metadata, "spec": {"rules": rules}}),
            None => json!({"metadata": metadata}),
        };
        match ingresses.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await {
            Ok(_) => return Ok(()),
            Err(error) if is_answer(&error, 409) && tries < TRIES => tries += 1,
            Err(error) => return Err(Error::of("patch", Resource::INGRESSES, &subject, &error)),
        }
    }
}

fn no_action<'a>(subject: &str, prefix: &str, services: impl Iterator<Item = &'a str>) -> Error {
    let services: Vec<&str> = services.collect();
    let services = services.join(", ");
    let cause = format!("none of its annotations {prefix}/actions.* forwards to all of {services}");
    let advice = "; add an action of type forward that names them, and a backend with the port use-annotation";
    Error::missing("patch", Resource::INGRESSES, subject, &cause, advice)
}
