//! An action of an Ingress that forwards to Services (AWS Load Balancer Controller, `actions.<name>`). Pure.

use std::collections::BTreeMap;

use serde_json::value::RawValue;

use super::members::{Members, elements};
use crate::cluster::{Forward, ServicePort};

/// The port of a backend whose action stands in an annotation (`pkg/ingress/enhanced_backend_builder.go`).
pub(super) const USE_ANNOTATION: &str = "use-annotation";

/// A forward action, as it is written.
pub(super) struct Forwarding<'a> {
    /// Its `forwardConfig`.
    pub(super) config: Members<'a>,
    /// Its target groups, each of them a Service's or another.
    pub(super) groups: Vec<Group<'a>>,
}

/// A target group of an action.
pub(super) struct Group<'a> {
    /// All of it.
    pub(super) whole: &'a RawValue,
    pub(super) members: Members<'a>,
    /// The Service, unless the group is named by its ARN.
    pub(super) service: Option<String>,
}

impl<'a> Forwarding<'a> {
    /// `None` if it is not an action that forwards to target groups, or cannot be read.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        let action = Members::of(text)?;
        if action.text("type")? != "forward" {
            return None;
        }
        let config = Members::of(action.get("forwardConfig")?.get())?;
        let group = |whole: &'a RawValue| {
            let members = Members::of(whole.get())?;
            let service = members.text("serviceName");
            Some(Group { whole, members, service })
        };
        let groups = elements(config.get("targetGroups")?.get())?.into_iter().map(group).collect::<Option<_>>()?;
        Some(Self { config, groups })
    }

    /// The first target group of this Service.
    pub(super) fn group(&self, service: &str) -> Option<&Group<'a>> {
        self.groups.iter().find(|group| group.service.as_deref() == Some(service))
    }

    /// It forwards to all these Services.
    pub(super) fn names<'s>(&self, services: impl IntoIterator<Item = &'s String>) -> bool {
        services.into_iter().all(|service| self.group(service).is_some())
    }

    /// The Services that it forwards to.
    pub(super) fn forwards(&self) -> Vec<Forward> {
        let forward = |group: &Group<'_>| {
            let weight = group.members.get("weight").and_then(|weight| serde_json::from_str(weight.get()).ok());
            Some(Forward { service: group.service.clone()?, port: group.port()?, weight })
        };
        self.groups.iter().filter_map(forward).collect()
    }
}

impl<'a> Group<'a> {
    /// The port as it is written. `None` where the controller would miss it too.
    pub(super) fn written_port(&self) -> Option<&'a str> {
        self.members.get("servicePort").map(RawValue::get).filter(|port| *port != "null")
    }

    /// A number in quotes is a number too (`normalizeServicePortForBackwardsCompatibility`).
    pub(super) fn port(&self) -> Option<ServicePort> {
        let written = self.written_port()?;
        let text = serde_json::from_str::<String>(written).unwrap_or_else(|_| written.to_owned());
        Some(ServicePort(text.parse::<i32>().map_or(text, |number| number.to_string())))
    }
}

/// The annotation that holds something about the backend of this name: its `actions`, `conditions` or `transforms`.
pub(super) fn key(prefix: &str, part: &str, name: &str) -> String {
    format!("{prefix}/{part}.{name}")
}

/// The actions that forward to all these Services, by their names.
pub(super) fn that_name<'a, 's>(
    services: impl IntoIterator<Item = &'s String> + Clone,
    annotations: &'a BTreeMap<String, String>,
    prefix: &str,
) -> Vec<(&'a str, &'a str, Forwarding<'a>)> {
    let start = key(prefix, "actions", "");
    let action = |(key, text): (&'a String, &'a String)| {
        let name = key.strip_prefix(&start)?;
        let action = Forwarding::of(text)?;
        action.names(services.clone()).then_some((name, text.as_str(), action))
    };
    annotations.iter().filter_map(action).collect()
}
