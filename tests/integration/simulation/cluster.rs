//! Kubernetes as the router sees it, over the objects of this world.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use lab::rollouts_controller::POD_HASH;
use tokio::time::sleep;
use trafficrouter_alb::cluster::{
    self, Announcement, Backends, Binding, Error, ErrorKind, Event, Ingress, Pod, Route, Service,
};
use trafficrouter_alb::rollout::{Metadata, Rollout};

use super::host::as_seen;
use super::plugin::Life;
use super::world::{Objects, PORT, World, name, service};

/// The longest way of a request or of an answer.
const WAY: Duration = Duration::from_millis(20);

/// The API server, for one process.
#[derive(Debug)]
pub(crate) struct Cluster {
    world: Arc<World>,
    life: Life,
}

impl Cluster {
    pub(crate) fn new(world: Arc<World>, life: Life) -> Self {
        Self { world, life }
    }

    /// One request: there, done, and back.
    async fn request<T>(
        &self,
        verb: &'static str,
        subject: &str,
        request: impl FnOnce(&mut Objects) -> Option<T>,
    ) -> Result<T, Error> {
        self.life.goes_on().await;
        sleep(self.world.draw(WAY)).await;
        self.life.goes_on().await;
        let answer = {
            let mut objects = self.world.open();
            if objects.failing > 0 {
                objects.failing -= 1;
                Err(Error::new(ErrorKind::Transient, verb, subject, "the API server answered 500"))
            } else {
                request(&mut objects).ok_or_else(|| Error::new(ErrorKind::Missing, verb, subject, "there is none"))
            }
        };
        sleep(self.world.draw(WAY)).await;
        answer
    }
}

#[async_trait]
impl cluster::Cluster for Cluster {
    async fn backends(&self, _: &str, wanted: &str) -> Result<Backends, Error> {
        let backends = |objects: &mut Objects| {
            let selects = objects.services.get(wanted)?.selects.clone();
            let selector: BTreeMap<String, String> = [(POD_HASH.to_owned(), selects)].into();
            let of_app = |app: &usize| ["stable", "canary"].iter().any(|role| service(*app, role) == wanted);
            let app = (0..objects.apps.len()).find(of_app)?;
            let role = if service(app, "stable") == wanted { "stable" } else { "canary" };
            let pods = objects.behind(app, role).map(|pod| Pod {
                name: pod.address.clone(),
                labels: selector.clone(),
                addresses: pod.address.parse::<IpAddr>().into_iter().collect(),
                ports: vec![PORT],
            });
            Some(Backends { pods: pods.collect(), selector })
        };
        self.request("get", wanted, backends).await
    }

    async fn desired_pods(&self, _: &str, _: &str, hash: &str) -> Result<usize, Error> {
        let desired = |objects: &mut Objects| {
            let sets = objects.apps.iter().flat_map(|app| &app.sets).filter(|set| set.hash == hash);
            Some(sets.map(|set| set.replicas as usize).sum())
        };
        self.request("list", hash, desired).await
    }

    async fn rollout(&self, _: &str, wanted: &str) -> Result<Rollout, Error> {
        self.request("get", wanted, |objects| Some(as_seen(&objects.apps[place(objects, wanted)?]))).await
    }

    async fn next_rollout(&self, _: &str, wanted: &str, version: &str) -> Result<Rollout, Error> {
        let mut changes = self.world.changes();
        loop {
            changes.see();
            let rollout = self
                .request("watch", wanted, |objects| {
                    let app = &objects.apps[place(objects, wanted)?];
                    Some((app.version.to_string() != version).then(|| as_seen(app)))
                })
                .await?;
            if let Some(rollout) = rollout {
                return Ok(rollout);
            }
            changes.changed().await;
        }
    }

    async fn reason_to_abort(&self, _: &str, wanted: &str) -> Result<Option<String>, Error> {
        self.request("list", wanted, |_| Some(None)).await
    }

    async fn abort(&self, _: &str, wanted: &str, _: &str) -> Result<(), Error> {
        let abort = |objects: &mut Objects| {
            let app = place(objects, wanted)?;
            let app = &mut objects.apps[app];
            app.rollout.status.abort = true;
            app.touch();
            Some(())
        };
        self.request("patch", wanted, abort).await?;
        self.world.change(|_| ());
        Ok(())
    }

    async fn tell(&self, about: &Metadata, event: &Event) -> Result<(), Error> {
        self.world.story.tell(|| format!("event of {}: {} {}", about.name, event.reason, event.message));
        Ok(())
    }

    async fn announce(&self, _: &str, ingress: &str, announcement: &Announcement) -> Result<bool, Error> {
        let weights = &announcement.weights;
        let announce = |objects: &mut Objects| {
            let is_new = weights.iter().any(|(service, weight)| objects.announced.get(service) != Some(weight));
            if is_new {
                objects.announced.extend(weights.iter().cloned());
                objects.is_told = false;
                objects.ingress_events += 1;
            }
            Some(is_new)
        };
        let changed = self.request("patch", ingress, announce).await?;
        if changed {
            self.world.story.tell(|| format!("announced {weights:?}"));
            self.world.change(|_| ());
        }
        Ok(changed)
    }

    async fn service(&self, _: &str, wanted: &str) -> Result<Service, Error> {
        let selected = |objects: &mut Objects| {
            let selector = [(POD_HASH.to_owned(), objects.services.get(wanted)?.selects.clone())].into();
            Some(Service { selector, ports: Vec::new() })
        };
        self.request("get", wanted, selected).await
    }

    async fn bindings(&self, _: Option<&str>) -> Result<Vec<Binding>, Error> {
        unreachable!("the target groups are named")
    }

    async fn ingresses(&self, _: &str, _: &str) -> Result<Vec<Ingress>, Error> {
        unreachable!("the target groups are named")
    }

    async fn add_route(&self, _: &str, _: &str, _: &str, _: &[String; 2], _: &Route) -> Result<(), Error> {
        unreachable!("the target groups are named")
    }

    async fn remove_routes(&self, _: &str, _: &str, _: &str, _: &[String]) -> Result<(), Error> {
        unreachable!("the target groups are named")
    }

    /// Nobody here reads notes.
    async fn note(&self, _: &Metadata, _: &str, _: &str) -> Result<(), Error> {
        Ok(())
    }
}

fn place(objects: &Objects, wanted: &str) -> Option<usize> {
    (0..objects.apps.len()).find(|app| name(*app) == wanted)
}
