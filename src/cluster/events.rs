//! Writing Events about Rollouts.
//!
//! Those of `v1` and in their older form: Argo's own role lets the controller create and patch these and no others
//! (argo-rollouts `manifests/role/argo-rollouts-clusterrole.yaml`), and they may be counted up.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use kube::Client;
use kube::api::{Patch, PatchParams, PostParams};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::error::is_answer;
use super::objects::{Ignored, Resource};
use super::told::{Told, Write};
use super::{Error, Event};
use crate::rollout::Metadata;

/// Who writes them.
const COMPONENT: &str = env!("CARGO_PKG_NAME");

/// The longest name of an object, in bytes.
const LONGEST_NAME: usize = 253;

/// The Events that were written, and where the next one goes.
#[derive(Debug, Default)]
pub(super) struct Events(Mutex<Told>);

impl Events {
    pub(super) async fn tell(&self, client: &Client, about: &Metadata, event: &Event) -> Result<(), Error> {
        let now = SystemTime::now();
        let decide = || self.told().decide(&about.uid, event, &name(&about.name, now), Instant::now());
        let sent = match decide() {
            Write::Nothing => return Ok(()),
            Write::New(name) => create(client, about, event, &name, now).await,
            Write::Again(name, count) => match count_up(client, &about.namespace, &name, count, now).await {
                // Events are kept for an hour, or until somebody deletes them.
                Err(error) if is_answer(&error, 404) => {
                    self.told().forget(&about.uid, event);
                    match decide() {
                        Write::New(name) => create(client, about, event, &name, now).await,
                        Write::Again(..) | Write::Nothing => Ok(()),
                    }
                }
                counted => counted.map_err(|error| failed("patch", about, &error)),
            },
        };
        sent.inspect_err(|_| self.told().forget(&about.uid, event))
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn create(client: &Client, about: &Metadata, event: &Event, name: &str, now: SystemTime) -> Result<(), Error> {
    let body = object(about, event, name, now).to_string().into_bytes();
    let request = Resource::EVENTS.requests(&about.namespace).create(&PostParams::default(), body);
    let send = async { client.request::<Ignored>(request.map_err(kube::Error::BuildRequest)?).await };
    send.await.map(|_| ()).map_err(|error| failed("create", about, &error))
}

async fn count_up(
    client: &Client,
    namespace: &str,
    name: &str,
    count: u32,
    now: SystemTime,
) -> Result<(), kube::Error> {
    let patch = Patch::Merge(json!({"count": count, "lastTimestamp": time(now)}));
    let request = Resource::EVENTS.requests(namespace).patch(name, &PatchParams::default(), &patch);
    client.request::<Ignored>(request.map_err(kube::Error::BuildRequest)?).await.map(|_| ())
}

fn failed(verb: &'static str, about: &Metadata, error: &kube::Error) -> Error {
    Error::of(verb, Resource::EVENTS, &format!("about {}/{}", about.namespace, about.name), error)
}

fn object(about: &Metadata, event: &Event, name: &str, now: SystemTime) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": name, "namespace": about.namespace},
        "involvedObject": {
            "apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "namespace": about.namespace, "name": about.name,
            "uid": about.uid, "resourceVersion": about.resource_version,
        },
        "type": if event.warning { "Warning" } else { "Normal" },
        "reason": event.reason,
        "message": event.message,
        "source": {"component": COMPONENT},
        "reportingComponent": COMPONENT,
        "firstTimestamp": time(now),
        "lastTimestamp": time(now),
        "count": 1,
    })
}

/// The Rollout's name and the time in hexadecimal, as client-go names Events.
fn name(rollout: &str, now: SystemTime) -> String {
    let nanoseconds = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos();
    let suffix = format!(".{nanoseconds:x}");
    let room = LONGEST_NAME.saturating_sub(suffix.len());
    let rollout: String = rollout.chars().take(room).collect();
    format!("{}{suffix}", rollout.trim_end_matches(['-', '.']))
}

/// Whole seconds, as Kubernetes writes times.
fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_seconds(at).to_string()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn an_event_is_named_after_its_rollout() {
        let at = UNIX_EPOCH + Duration::from_nanos(0x18_ab12);
        assert_eq!(name("web", at), "web.18ab12");
        let long = name(&format!("{}.{}", "a".repeat(245), "b".repeat(7)), at);
        assert_eq!(long, format!("{}.18ab12", "a".repeat(245)), "no '.' or '-' before the suffix");
    }
}
