//! Which target groups the cluster binds to a Rollout's Services. Pure.

use super::error::FindError;
use crate::alb::TargetGroupArn;
use crate::cluster::{Binding, Maker, Port, Service, ServicePort};
use crate::router::plan::Groups;
use crate::router::wish::Wish;

/// A target group, and the binding that leads to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bound {
    pub(super) group: TargetGroupArn,
    /// The port of the Service, as the binding has it.
    pub(super) port: String,
    maker: Maker,
}

/// The target groups of a Rollout's Services.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Candidates {
    pub(super) stable: Vec<Bound>,
    pub(super) canary: Vec<Bound>,
    /// In the order of the division's further Services. An experiment that begins has none yet.
    pub(super) further: Vec<Vec<Bound>>,
    /// Groups of stable that the author did not mean.
    pub(super) other_stable: Vec<TargetGroupArn>,
}

/// A port's number and its name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct PortNames(Vec<String>);

impl PortNames {
    /// All that `port` is called by the Service.
    pub(super) fn of(port: &str, service: &Service) -> Self {
        let mut names = vec![port.to_owned()];
        if let Some(Port { name, number, .. }) = service.port(&ServicePort(port.to_owned())) {
            names.extend(name.clone());
            names.push(number.to_string());
        }
        Self(names)
    }
}

impl Candidates {
    /// What the author names.
    pub(super) fn named(groups: &Groups) -> Self {
        let bound =
            |group: &TargetGroupArn| vec![Bound { group: group.clone(), port: String::new(), maker: Maker::Somebody }];
        let (stable, canary) = (bound(&groups.stable), bound(&groups.canary));
        Self { stable, canary, further: Vec::new(), other_stable: Vec::new() }
    }

    /// What these bindings say. Only a binding's own namespace counts: a binding elsewhere is about a Service there.
    pub(super) fn of(bindings: &[Binding], wish: &Wish, port: Option<&PortNames>) -> Result<Self, FindError> {
        let (services, region) = (&wish.services, wish.narrowing.region.as_deref());
        let bound_to = |service: &str| {
            let of_service = bindings
                .iter()
                .filter(move |binding| binding.namespace == services.namespace && binding.service == service);
            of_service.map(read).collect::<Result<Vec<_>, _>>()
        };
        let is_near = |bound: &Bound| region.is_none_or(|region| bound.group.region() == region);
        let is_meant = |bound: &Bound| port.is_none_or(|port| port.0.contains(&bound.port)) && is_near(bound);
        let (stable, other_stable): (Vec<Bound>, Vec<Bound>) =
            bound_to(&services.stable)?.into_iter().partition(is_meant);
        let mut canary = bound_to(&services.canary)?;
        canary.retain(is_meant);
        for (found, service) in [(&stable, &services.stable), (&canary, &services.canary)] {
            if found.is_empty() {
                let service = format!("{}/{service}", services.namespace);
                return Err(FindError::Unbound { service, narrowed: port.is_some() || region.is_some() });
            }
        }
        let mut further = Vec::new();
        for one in &wish.division.further {
            // Its ports are its own: those of an experiment's Service are its containers'.
            let mut bound = bound_to(&one.service)?;
            bound.retain(is_near);
            further.push(bound);
        }
        let other_stable = other_stable.into_iter().map(|bound| bound.group).collect();
        let candidates = Self { stable, canary, further, other_stable };
        if !wish.observes {
            candidates.check_makers(services)?;
        }
        Ok(candidates)
    }

    /// These groups are none of ours.
    pub(super) fn leave(&mut self, groups: &[String]) {
        let stays = |bound: &Bound| groups.iter().all(|group| group != bound.group.as_str());
        self.stable.retain(stays);
        self.canary.retain(stays);
        self.further.iter_mut().for_each(|further| further.retain(stays));
    }

    /// All of them were made by this one.
    pub(super) fn are_made_by(&self, maker: Maker) -> bool {
        self.stable.iter().chain(&self.canary).all(|bound| bound.maker == maker)
    }

    /// They were made by one maker, and one whose rules we can shift.
    fn check_makers(&self, services: &crate::router::wish::Services) -> Result<(), FindError> {
        let mut all = self.stable.iter().chain(&self.canary).chain(self.further.iter().flatten());
        if let Some(bound) = all.clone().find(|bound| matches!(bound.maker, Maker::Gateway | Maker::Service)) {
            let what = if bound.maker == Maker::Gateway { "a Gateway" } else { "a Service of type LoadBalancer" };
            return Err(FindError::OtherMaker { group: bound.group.clone(), what });
        }
        let first = all.next().map(|bound| bound.maker);
        if all.any(|bound| Some(bound.maker) != first) {
            let (namespace, stable, canary) = (&services.namespace, &services.stable, &services.canary);
            return Err(FindError::Makers { services: format!("{namespace}/{stable} and {namespace}/{canary}") });
        }
        Ok(())
    }
}

fn read(binding: &Binding) -> Result<Bound, FindError> {
    let name = || format!("{}/{}", binding.namespace, binding.name);
    if binding.group.is_empty() {
        return Err(FindError::NoGroup { binding: name() });
    }
    let group = binding.group.parse().map_err(|error| FindError::BadGroup { binding: name(), error })?;
    Ok(Bound { group, port: binding.port.0.clone(), maker: binding.maker })
}

#[cfg(test)]
impl Candidates {
    /// The same of this maker, with one further Service that has one group.
    pub(super) fn with_further(mut self, group: &TargetGroupArn, maker: Maker) -> Self {
        self.further = vec![vec![Bound { group: group.clone(), port: String::new(), maker }]];
        self.stable.iter_mut().chain(&mut self.canary).for_each(|bound| bound.maker = maker);
        self
    }
}
