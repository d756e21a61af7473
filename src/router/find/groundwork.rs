//! What must be in an Ingress before there can be rules: an action that names both Services, and a further Service in it.
//!
//! A load balancer controller makes a target group when an action names its Service. So a group that does not exist yet is
//! announced at weight 0 beside the weights that are there, and only for Services that exist: the controller fails a whole
//! group of Ingresses over one that does not.

use tracing::{debug, info};

use super::error::{FindError, Remedy};
use super::owner::forwards_to_both;
use super::{Finder, selects_same};
use crate::cluster::{Action, Announcement, ErrorKind, Ingress, ServicePort};
use crate::router::unfinished::Cause;
use crate::router::wish::Services;

impl Finder<'_> {
    /// Something is missing. Does what an Ingress needs for it to come, and says what is waited for.
    pub(super) async fn lay_groundwork(&self, missing: FindError) -> Cause {
        if missing.remedy() == Remedy::Somebody || self.wish.observes || self.wish.hands_off {
            return missing.into();
        }
        self.prepare(missing).await.unwrap_or_else(|cause| cause)
    }

    async fn prepare(&self, missing: FindError) -> Result<Cause, Cause> {
        let (services, narrowing) = (&self.wish.services, &self.wish.narrowing);
        let here = match self.means.cluster.ingresses(&services.namespace, &narrowing.prefix).await {
            Ok(here) => here,
            // Without the right to see Ingresses there is nothing to prepare, and bindings may come all the same.
            Err(error) if error.kind() == ErrorKind::Access => {
                debug!("Ingresses cannot be seen: {error}");
                return Ok(missing.into());
            }
            Err(error) => return Err(error.into()),
        };
        let is_meant =
            |ingress: &&Ingress| narrowing.ingresses.is_empty() || narrowing.ingresses.contains(&ingress.name);
        let mut waits_for = missing;
        for ingress in here.iter().filter(is_meant) {
            if forwards_to_both(ingress, services) {
                self.add_further(ingress).await?;
                waits_for = FindError::NotFollowedYet { ingress: self.name(&ingress.name) };
                continue;
            }
            for action in &ingress.actions {
                if let Some(made) = self.make_action(ingress, action).await? {
                    waits_for = made;
                }
            }
        }
        Ok(waits_for.into())
    }

    /// Names further Services that are to have traffic in the Ingress's actions, with weight 0 beside what the others have.
    async fn add_further(&self, ingress: &Ingress) -> Result<(), Cause> {
        let services = &self.wish.services;
        let ours = ingress.actions.iter().find_map(|action| {
            let weight = |service: &String| {
                let forward = action.forwards.iter().flatten().find(|forward| forward.service == *service)?;
                Some((service.clone(), forward.weight.unwrap_or(1)))
            };
            Some((action, [weight(&services.stable)?, weight(&services.canary)?]))
        });
        let Some((action, both)) = ours else { return Ok(()) };
        let mut new = Vec::new();
        for further in self.wish.division.further.iter().filter(|further| further.weight > 0) {
            let is_named = action.forwards.iter().flatten().any(|forward| forward.service == further.service);
            if !is_named {
                self.check_exists(&further.service).await?;
                new.push((further.service.clone(), 0));
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        let weights = both.into_iter().chain(new).collect();
        self.write(ingress, weights, None).await
    }

    /// Makes the action of a backend that leads to our Pods and has none, or one that was reset. None if it is not such a backend.
    async fn make_action(&self, ingress: &Ingress, action: &Action) -> Result<Option<FindError>, Cause> {
        let (services, narrowing) = (&self.wish.services, &self.wish.narrowing);
        if let Some(forwards) = action.forwards.as_ref().filter(|_| !is_reset(action, services)) {
            let names = |service: &String| forwards.iter().any(|forward| forward.service == *service);
            let alone = match (names(&services.stable), names(&services.canary)) {
                (true, false) => Some((services.stable.clone(), services.canary.clone())),
                (false, true) => Some((services.canary.clone(), services.stable.clone())),
                _ => None,
            };
            let (action, ingress) = (action.name.clone(), self.name(&ingress.name));
            return Ok(alone.map(|(named, other)| FindError::OneServiceAlone { action, ingress, named, other }));
        }
        let cluster = &self.means.cluster;
        let namespace = &services.namespace;
        match &narrowing.root {
            Some(root) if *root != action.name => return Ok(None),
            Some(_) => {}
            None => {
                let root = match cluster.service(namespace, &action.name).await {
                    Ok(root) => root,
                    Err(error) if error.kind() == ErrorKind::Missing => return Ok(None),
                    Err(error) => return Err(error.into()),
                };
                self.check_exists(&services.stable).await?;
                if !selects_same(&root, &cluster.service(namespace, &services.stable).await?) {
                    return Ok(None);
                }
            }
        }
        self.check_exists(&services.stable).await?;
        self.check_exists(&services.canary).await?;
        let port = self.port_of_action(ingress, action).await?;
        // All traffic is stable's until somebody wishes something else of rules that exist.
        let weights = vec![(services.stable.clone(), self.wish.division.max), (services.canary.clone(), 0)];
        self.write(ingress, weights, Some((action.name.clone(), port))).await?;
        let made = FindError::ActionMade { action: action.name.clone(), ingress: self.name(&ingress.name) };
        info!(rollout = self.rollout, "{made}");
        Ok(Some(made))
    }

    async fn port_of_action(&self, ingress: &Ingress, action: &Action) -> Result<ServicePort, Cause> {
        if let Some(port) = &self.wish.narrowing.port {
            return Ok(ServicePort(port.clone()));
        }
        let services = &self.wish.services;
        let service = self.means.cluster.service(&services.namespace, &services.stable).await?;
        if let [(_, port)] = service.ports.as_slice() {
            return Ok(ServicePort(port.to_string()));
        }
        let ports = service.ports.iter().map(|(_, port)| port.to_string()).collect::<Vec<_>>().join(" or ");
        let (ingress, action) = (self.name(&ingress.name), action.name.clone());
        Err(FindError::WhichPort { ingress, action, service: self.name(&services.stable), ports }.into())
    }

    async fn check_exists(&self, service: &str) -> Result<(), Cause> {
        match self.means.cluster.service(&self.wish.services.namespace, service).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == ErrorKind::Missing => {
                Err(FindError::NoService { service: self.name(service) }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn write(
        &self,
        ingress: &Ingress,
        weights: Vec<(String, u32)>,
        root: Option<(String, ServicePort)>,
    ) -> Result<(), Cause> {
        let narrowing = &self.wish.narrowing;
        let announcement = Announcement {
            prefix: narrowing.prefix.clone(),
            rollout: self.rollout.to_owned(),
            weights,
            leaving: Vec::new(),
            root,
            stickiness: narrowing.stickiness,
        };
        self.means.cluster.announce(&self.wish.services.namespace, &ingress.name, &announcement).await?;
        Ok(())
    }

    fn name(&self, object: &str) -> String {
        format!("{}/{object}", self.wish.services.namespace)
    }
}

/// The action forwards to the Service of its own name and to nothing else, as if it were not there. The built-in router leaves it
/// so when it manages it no more (`ingress/alb.go` of Argo Rollouts).
fn is_reset(action: &Action, services: &Services) -> bool {
    let forwards = action.forwards.as_deref().unwrap_or_default();
    matches!(forwards, [only] if only.service == action.name) && !services.names().contains(&action.name.as_str())
}
