//! What must be in an Ingress before there can be rules: an action that names both Services, and a further Service in it.
//!
//! A load balancer controller makes a target group when an action names its Service. So a group that does not exist yet is
//! announced at weight 0 beside the weights that are there, and only for Services that exist: the controller fails a whole
//! group of Ingresses over one that does not.

use tracing::{debug, info};

use super::error::{FindError, Remedy};
use super::owner::forwards_to_both;
use super::{Finder, selects_same};
use crate::cluster::{Action, Announcement, ErrorKind, Forward, Ingress, Joining, Port, Service, ServicePort};
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
        let ours: Vec<(&Action, [&Forward; 2])> = ingress
            .actions
            .iter()
            .filter_map(|action| Some((action, [action.forward(&services.stable)?, action.forward(&services.canary)?])))
            .collect();
        let Some((_, both)) = ours.first() else { return Ok(()) };
        let mut weights: Vec<_> =
            both.iter().map(|forward| (forward.service.clone(), forward.weight.unwrap_or(1))).collect();
        let mut joining = Vec::new();
        for further in self.wish.division.further.iter().filter(|further| further.weight > 0) {
            let service = &further.service;
            if ours.iter().all(|(action, _)| action.forward(service).is_some()) {
                continue;
            }
            let ports = &ours.iter().map(|(_, [stable, _])| stable.port.clone()).collect::<Vec<_>>();
            joining.push(self.joining(service, ports).await?);
            let shown = ours.iter().find_map(|(action, _)| action.forward(service)).and_then(|forward| forward.weight);
            weights.push((service.clone(), shown.unwrap_or(0)));
        }
        if joining.is_empty() {
            return Ok(());
        }
        self.write(ingress, Announcement { weights, joining, ..self.announcement() }).await
    }

    /// How a further Service comes into actions that name these ports of stable.
    async fn joining(&self, further: &str, of_stable: &[ServicePort]) -> Result<Joining, Cause> {
        let stable = self.service(&self.wish.services.stable).await?;
        let joining =
            Joining { service: further.to_owned(), ports: same_ports(&stable, &self.service(further).await?) };
        let unknown = of_stable.iter().find(|port| joining.ports.iter().all(|(known, _)| known != *port));
        if let Some(ServicePort(port)) = unknown {
            let (service, stable) = (self.name(further), self.name(&self.wish.services.stable));
            return Err(FindError::NoSamePort { service, stable, port: port.clone() }.into());
        }
        Ok(joining)
    }

    /// The further Services that are to have traffic and are there: where somebody has taken one out of an Ingress, it comes in
    /// again with the next announcement.
    pub(super) async fn all_joining(&self) -> Result<Vec<Joining>, Cause> {
        let mut all = Vec::new();
        for further in self.wish.division.further.iter().filter(|further| further.weight > 0) {
            match self.joining(&further.service, &[]).await {
                Ok(joining) => all.push(joining),
                Err(Cause::Find(FindError::NoService { .. })) => {}
                Err(cause) => return Err(cause),
            }
        }
        Ok(all)
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
                if !selects_same(&root, &self.service(&services.stable).await?) {
                    return Ok(None);
                }
            }
        }
        self.service(&services.stable).await?;
        self.service(&services.canary).await?;
        let port = self.port_of_action(ingress, action).await?;
        // All traffic is stable's until somebody wishes something else of rules that exist.
        let weights = vec![(services.stable.clone(), self.wish.division.max), (services.canary.clone(), 0)];
        let root = Some((action.name.clone(), port));
        self.write(ingress, Announcement { weights, root, ..self.announcement() }).await?;
        let made = FindError::ActionMade { action: action.name.clone(), ingress: self.name(&ingress.name) };
        info!(rollout = self.rollout, "{made}");
        Ok(Some(made))
    }

    async fn port_of_action(&self, ingress: &Ingress, action: &Action) -> Result<ServicePort, Cause> {
        if let Some(port) = &self.wish.narrowing.port {
            return Ok(ServicePort(port.clone()));
        }
        let services = &self.wish.services;
        let service = self.service(&services.stable).await?;
        if let [port] = service.ports.as_slice() {
            return Ok(ServicePort(port.number.to_string()));
        }
        let ports = service.ports.iter().map(|port| port.number.to_string()).collect::<Vec<_>>().join(" or ");
        let (ingress, action) = (self.name(&ingress.name), action.name.clone());
        Err(FindError::WhichPort { ingress, action, service: self.name(&services.stable), ports }.into())
    }

    /// A Service that an Ingress is to forward to.
    async fn service(&self, service: &str) -> Result<Service, Cause> {
        match self.means.cluster.service(&self.wish.services.namespace, service).await {
            Ok(there) => Ok(there),
            Err(error) if error.kind() == ErrorKind::Missing => {
                Err(FindError::NoService { service: self.name(service) }.into())
            }
            Err(error) => Err(error.into()),
        }
    }

    /// What every announcement of ours says.
    fn announcement(&self) -> Announcement {
        let narrowing = &self.wish.narrowing;
        Announcement {
            prefix: narrowing.prefix.clone(),
            rollout: self.rollout.to_owned(),
            weights: Vec::new(),
            joining: Vec::new(),
            leaving: Vec::new(),
            root: None,
            stickiness: narrowing.stickiness,
        }
    }

    async fn write(&self, ingress: &Ingress, announcement: Announcement) -> Result<(), Cause> {
        self.means.cluster.announce(&self.wish.services.namespace, &ingress.name, &announcement).await?;
        Ok(())
    }

    fn name(&self, object: &str) -> String {
        format!("{}/{object}", self.wish.services.namespace)
    }
}

/// For each port of stable, by its number and by its name, the one of another Service that leads to the same port of a Pod. An
/// experiment's Service has the numbers of its containers' ports (`experiments/experiment.go` of Argo Rollouts).
fn same_ports(stable: &Service, other: &Service) -> Vec<(ServicePort, ServicePort)> {
    let names = |port: &Port| [Some(port.number.to_string()), port.name.clone()].into_iter().flatten().map(ServicePort);
    let with_own = |written: ServicePort| same_port(stable, &written, other).map(|own| (written, own));
    stable.ports.iter().flat_map(names).filter_map(with_own).collect()
}

/// The port of `other` that leads where this port of `stable` does: one of the same name or number, else one with the same target. A
/// port that leads elsewhere is no guess to make.
fn same_port(stable: &Service, port: &ServicePort, other: &Service) -> Option<ServicePort> {
    if other.port(port).is_some() {
        return Some(port.clone());
    }
    let target = stable.port(port).map(|port| port.target.as_str());
    let leads_to =
        |target: &str| other.ports.iter().find(|own| own.target == target || own.name.as_deref() == Some(target));
    let found = target.and_then(leads_to)?;
    Some(ServicePort(found.number.to_string()))
}

/// The action forwards to the Service of its own name and to nothing else, as if it were not there. One of stable's or the
/// canary's name may be somebody's wish.
fn is_reset(action: &Action, services: &Services) -> bool {
    let forwards = action.forwards.as_deref().unwrap_or_default();
    matches!(forwards, [only] if only.service == action.name) && !services.names().contains(&action.name.as_str())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service(ports: &[(&str, u16, &str)]) -> Service {
        let port = |&(name, number, target): &(&str, u16, &str)| Port {
            name: (!name.is_empty()).then(|| name.to_owned()),
            number,
            target: target.to_owned(),
        };
        Service { ports: ports.iter().map(port).collect(), ..Service::default() }
    }

    #[test]
    fn a_further_service_is_reached_where_stable_is() {
        let stable = service(&[("web", 80, "8080"), ("admin", 81, "mgmt"), ("same", 9000, "9000")]);
        let experiment = service(&[("", 8080, "8080"), ("mgmt", 8081, "8081"), ("", 9000, "9000")]);
        let lone = service(&[("", 3000, "3000")]);
        let none = service(&[]);
        for (port, other, expected) in [
            ("80", &experiment, Some("8080")),
            ("web", &experiment, Some("8080")),
            ("81", &experiment, Some("8081")),
            ("9000", &experiment, Some("9000")),
            ("same", &experiment, Some("9000")),
            ("80", &stable, Some("80")),
            ("web", &stable, Some("web")),
            ("82", &experiment, None),
            ("80", &lone, None),
            ("80", &none, None),
        ] {
            let found = same_port(&stable, &ServicePort(port.to_owned()), other);
            assert_eq!(found, expected.map(|port| ServicePort(port.to_owned())), "{port} of {other:?}");
        }
    }
}
