//! Waiting for the next version of a Rollout.

use std::pin::pin;
use std::time::Duration;

use futures_util::TryStreamExt as _;
use kube::Client;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::core::Status;
use serde::Deserialize;
use tokio::time::Instant;

use super::Error;
use super::access::{Clients, WATCH_SECONDS};
use super::objects::Resource;
use crate::rollout::Rollout;

/// A watch that ends sooner is not begun anew: whoever cuts it would cut the next one too.
const SHORTEST: Duration = Duration::from_secs(1);

/// How a watch ended.
enum End {
    /// There is another version.
    Another(Box<Rollout>),
    /// The Rollout is gone.
    Gone,
    /// The server ended it, as it does after a while. This is how far it came.
    Over(String),
    /// It would have to begin before what the server remembers (410).
    TooOld(Box<Status>),
}

/// The Rollouts of one name, with the version at which they were so.
#[derive(Deserialize)]
struct Listed {
    metadata: ListMetadata,
    items: Vec<Rollout>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMetadata {
    resource_version: String,
}

/// A watch of one Rollout.
struct Watch<'a> {
    namespace: &'a str,
    name: &'a str,
    /// The version that is known.
    known: &'a str,
}

/// Waits for a version that is not this one. The watch ends when this is dropped.
pub(super) async fn next_rollout(
    clients: &Clients,
    namespace: &str,
    name: &str,
    version: &str,
) -> Result<Rollout, Error> {
    let watch = Watch { namespace, name, known: version };
    let missing = || Error::missing("watch", Resource::ROLLOUTS, &watch.subject(), "it does not exist", "");
    let mut from = version.to_owned();
    let mut was_too_old = false;
    loop {
        let began = Instant::now();
        match watch.follow(&clients.watches, &from).await? {
            End::Another(rollout) => return Ok(*rollout),
            End::Gone => return Err(missing()),
            End::Over(_) if began.elapsed() < SHORTEST => {
                let cause = "the watch was ended as soon as it had begun";
                return Err(Error::transient("watch", Resource::ROLLOUTS, &watch.subject(), cause));
            }
            End::Over(version) => (from, was_too_old) = (version, false),
            End::TooOld(status) if was_too_old => return Err(watch.failed("watch", &kube::Error::Api(status))),
            // The object's own version may be too old itself, if nothing has happened to it for long. That of a list is new.
            End::TooOld(_) => {
                let listed = watch.list(&clients.requests).await?;
                let found = listed.items.into_iter().next().ok_or_else(missing)?;
                if found.metadata.resource_version != version {
                    return Ok(found);
                }
                (from, was_too_old) = (listed.metadata.resource_version, true);
            }
        }
    }
}

impl Watch<'_> {
    async fn follow(&self, client: &Client, from: &str) -> Result<End, Error> {
        let params = WatchParams::default().fields(&self.field()).timeout(WATCH_SECONDS);
        let request = Resource::ROLLOUTS.requests(self.namespace).watch(&params, from);
        let begin = async { client.request_events::<Rollout>(request.map_err(kube::Error::BuildRequest)?).await };
        let events = match begin.await {
            Ok(events) => events,
            Err(kube::Error::Api(status)) if status.code == 410 => return Ok(End::TooOld(status)),
            Err(error) => return Err(self.failed("watch", &error)),
        };
        let mut events = pin!(events);
        let mut reached = from.to_owned();
        while let Some(event) = events.try_next().await.map_err(|error| self.failed("watch", &error))? {
            match event {
                WatchEvent::Added(rollout) | WatchEvent::Modified(rollout) => {
                    if rollout.metadata.resource_version != self.known {
                        return Ok(End::Another(Box::new(rollout)));
                    }
                }
                WatchEvent::Deleted(_) => return Ok(End::Gone),
                // A sign of life that says how far the watch has come.
                WatchEvent::Bookmark(bookmark) => reached = bookmark.metadata.resource_version,
                WatchEvent::Error(status) if status.code == 410 => return Ok(End::TooOld(status)),
                WatchEvent::Error(status) => return Err(self.failed("watch", &kube::Error::Api(status))),
            }
        }
        Ok(End::Over(reached))
    }

    async fn list(&self, client: &Client) -> Result<Listed, Error> {
        let request = Resource::ROLLOUTS.requests(self.namespace).list(&ListParams::default().fields(&self.field()));
        let read = async { client.request(request.map_err(kube::Error::BuildRequest)?).await };
        read.await.map_err(|error| self.failed("list", &error))
    }

    fn field(&self) -> String {
        format!("metadata.name={}", self.name)
    }

    fn subject(&self) -> String {
        format!("{}/{}", self.namespace, self.name)
    }

    fn failed(&self, verb: &'static str, error: &kube::Error) -> Error {
        Error::of(verb, Resource::ROLLOUTS, &self.subject(), error)
    }
}
