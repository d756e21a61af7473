//! What an announcement changes in the annotations of an Ingress. Pure.

use std::collections::BTreeMap;

use serde_json::json;
use serde_json::value::RawValue;

use super::action::{self, Forwarding, Group};
use super::members::{Edits, Members, place};
use crate::cluster::{Announcement, Joining, ServicePort, Stickiness};

/// Where the built-in router notes which annotations it manages for which Rollouts (`utils/ingress/ingress.go` of Argo Rollouts).
pub(super) const MANAGED: &str = "rollouts.argoproj.io/managed-alb-annotations";

/// The member of `forwardConfig` that keeps a client with a target group.
const STICKINESS: &str = "targetGroupStickinessConfig";

/// The annotations to be written, with their new text, or none for one that goes. `None` if no action forwards to stable and
/// canary, and none is to be made.
pub(super) fn changed(
    annotations: &BTreeMap<String, String>,
    announcement: &Announcement,
) -> Option<BTreeMap<String, Option<String>>> {
    let Announcement { prefix, weights, root, .. } = announcement;
    let [(stable, _), (canary, _), ..] = weights.as_slice() else { return None };
    let ours = action::that_name([stable, canary], annotations, prefix);
    let root = root.as_ref().map(|(name, port)| (name, action::key(prefix, "actions", name), port));
    let root = root.filter(|(name, key, _)| annotations.get(key).is_none_or(|text| is_reset(text, name)));
    let root = root.map(|(_, key, port)| (key, port));
    if ours.is_empty() && root.is_none() {
        return None;
    }
    let mut changed = BTreeMap::new();
    for (name, text, action) in ours {
        let new = announced(text, &action, announcement);
        if new != text {
            changed.insert(action::key(prefix, "actions", name), Some(new));
        }
    }
    changed.extend(root.map(|(key, port)| (key, Some(made(announcement, port)))));
    let managed = annotations.get(MANAGED).and_then(|text| without_note(text, &announcement.rollout));
    changed.extend(managed.map(|text| (MANAGED.to_owned(), text)));
    Some(changed)
}

/// It forwards to the Service of its own name and to nothing else, as a backend without an action would.
fn is_reset(text: &str, name: &str) -> bool {
    let action = Forwarding::of(text);
    action.is_some_and(|action| matches!(action.groups.as_slice(), [only] if only.service.as_deref() == Some(name)))
}

/// The action with what is announced.
fn announced(text: &str, action: &Forwarding<'_>, announcement: &Announcement) -> String {
    let Announcement { weights, joining, leaving, stickiness, .. } = announcement;
    let mut edits = Edits::default();
    // Where the group before this one ends, once one has stayed.
    let mut kept_until = None;
    let mut groups = action.groups.iter().peekable();
    while let Some(group) = groups.next() {
        let here = place(group.whole, text);
        let service = group.service.as_ref();
        let weight = weights.iter().find(|(name, _)| Some(name) == service).map(|(_, weight)| *weight);
        let leaves = weight.is_none() && service.is_some_and(|service| leaving.contains(service));
        if !leaves {
            kept_until = Some(here.end);
            if let Some(weight) = weight {
                group.weigh(weight, text, &mut edits);
            }
            continue;
        }
        // With the comma before it, or behind it if nothing stands before.
        match (kept_until, groups.peek()) {
            (Some(end), _) => {
                edits.add(end..here.end, "");
                kept_until = Some(here.end);
            }
            (None, Some(next)) => edits.add(here.start..place(next.whole, text).start, ""),
            (None, None) => edits.add(here, ""),
        }
    }
    if let (Some(last), Some((stable, _))) = (action.groups.last(), weights.first()) {
        let end = place(last.whole, text).end;
        let pattern = action.group(stable).unwrap_or(last);
        for joining in joining.iter().filter(|joining| action.group(&joining.service).is_none()) {
            let weight =
                weights.iter().find(|(service, _)| *service == joining.service).map_or(0, |(_, weight)| *weight);
            edits.add(end..end, format!(",{}", pattern.joined_by(joining, weight)));
        }
    }
    if let Some(wished) = stickiness {
        stick(&action.config, wished, text, &mut edits);
    }
    edits.applied(text)
}

impl Group<'_> {
    /// Writes the weight where the old one stands, or behind all else. Nothing, if it is that already.
    fn weigh(&self, weight: u32, text: &str, edits: &mut Edits) {
        match (self.members.get("weight"), self.members.end(text)) {
            (Some(written), _) => {
                let shown: Option<u32> = serde_json::from_str(written.get()).ok();
                if shown != Some(weight) {
                    edits.add(place(written, text), weight.to_string());
                }
            }
            (None, Some(end)) => edits.add(end..end, format!(",\"{}\":{weight}", self.members.styled("weight"))),
            (None, None) => {}
        }
    }

    /// Another target group, with the port that leads where this one's does.
    fn joined_by(&self, Joining { service, ports }: &Joining, weight: u32) -> String {
        let [name, port_name, weight_name] =
            ["serviceName", "servicePort", "weight"].map(|name| self.members.styled(name));
        let shown = self.port();
        let other = ports.iter().find(|(of_stable, own)| Some(of_stable) == shown.as_ref() && own != of_stable);
        let port = other.map(|(_, own)| written(own)).or_else(|| self.written_port().map(str::to_owned));
        let port = port.map(|port| format!("\"{port_name}\":{port},")).unwrap_or_default();
        format!("{{\"{name}\":{},{port}\"{weight_name}\":{weight}}}", json!(service))
    }
}

/// Says in the action what is wished about stickiness, if it does not say so yet.
fn stick(config: &Members<'_>, wished: &Stickiness, text: &str, edits: &mut Edits) {
    let written = config.get(STICKINESS);
    let shown = written.and_then(|written| Members::of(written.get()));
    let shown = |name: &str| shown.as_ref().and_then(|shown| shown.get(name)).map(RawValue::get);
    // Without stickiness its time counts for nothing.
    let has_its_time = !wished.enabled || shown("durationSeconds") == Some(&wished.seconds.to_string());
    if shown("enabled") == Some(if wished.enabled { "true" } else { "false" }) && has_its_time {
        return;
    }
    let new = sticky(wished, |name| config.styled(name));
    match (written, config.end(text)) {
        (Some(written), _) => edits.add(place(written, text), new),
        (None, Some(end)) => edits.add(end..end, format!(",\"{}\":{new}", config.styled(STICKINESS))),
        (None, None) => {}
    }
}

fn sticky(wished: &Stickiness, styled: impl Fn(&str) -> String) -> String {
    let (enabled, duration) = (styled("enabled"), styled("durationSeconds"));
    if wished.enabled {
        format!("{{\"{enabled}\":true,\"{duration}\":{}}}", wished.seconds)
    } else {
        format!("{{\"{enabled}\":false}}")
    }
}

/// An action for which there is no annotation yet, with this port of all Services.
fn made(announcement: &Announcement, port: &ServicePort) -> String {
    let port = written(port);
    let group = |(service, weight): &(String, u32)| {
        format!(r#"{{"serviceName":{},"servicePort":{port},"weight":{weight}}}"#, json!(service))
    };
    let groups: Vec<String> = announcement.weights.iter().map(group).collect();
    let stickiness = announcement.stickiness.as_ref().map(|wished| {
        let config = sticky(wished, str::to_owned);
        format!(r#","{STICKINESS}":{config}"#)
    });
    let (groups, stickiness) = (groups.join(","), stickiness.unwrap_or_default());
    format!(r#"{{"type":"forward","forwardConfig":{{"targetGroups":[{groups}]{stickiness}}}}}"#)
}

/// A port as JSON: a number, or a name.
fn written(ServicePort(port): &ServicePort) -> String {
    port.parse::<u16>().map_or_else(|_| json!(port), |number| json!(number)).to_string()
}

/// The note without this Rollout; none if nothing is left. `None` if it does not name the Rollout, or is no such note.
fn without_note(text: &str, rollout: &str) -> Option<Option<String>> {
    let mut managed: BTreeMap<String, Option<Vec<String>>> = serde_json::from_str(text).ok()?;
    managed.remove(rollout)?;
    Some(if managed.is_empty() { None } else { Some(json!(managed).to_string()) })
}

#[cfg(test)]
mod tests;
