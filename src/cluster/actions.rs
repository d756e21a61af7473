//! The annotations of an Ingress that say where its traffic goes (AWS Load Balancer Controller, `actions.<name>`). Pure.
//!
//! The text is changed where a weight stands and nowhere else, so that whoever compares texts sees no more than that. The
//! keys are found as Go finds them, whatever their case: people write `serviceName`, the built-in router `ServiceName`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// The controller's annotations begin so, unless its operator says otherwise (`--annotations-prefix`).
pub(super) const PREFIX: &str = "alb.ingress.kubernetes.io";

/// The annotations to be written, with their new text: those whose action forwards to all these Services, and does not show
/// the weights yet. `None` if no action forwards to all of them.
pub(super) fn changed(
    annotations: &BTreeMap<String, String>,
    prefix: &str,
    weights: &[(String, u32)],
) -> Option<BTreeMap<String, String>> {
    let is_action = |key: &str| key.strip_prefix(prefix).is_some_and(|rest| rest.starts_with("/actions."));
    let mut actions = annotations
        .iter()
        .filter(|(key, _)| is_action(key))
        .filter_map(|(key, text)| Some((key, text, weighed(text, weights)?)))
        .peekable();
    actions.peek()?;
    Some(actions.filter(|(_, text, new)| *text != new).map(|(key, _, new)| (key.clone(), new)).collect())
}

/// The action with these weights. `None` if it is not an action that forwards to all these Services.
fn weighed(text: &str, weights: &[(String, u32)]) -> Option<String> {
    let action = Members::of(text)?;
    if action.text("type")? != "forward" {
        return None;
    }
    let forward = Members::of(action.get("forwardConfig")?.get())?;
    let groups: Vec<&RawValue> = serde_json::from_str(forward.get("targetGroups")?.get()).ok()?;
    let (mut found, mut edits) = (BTreeSet::new(), Vec::new());
    for group in groups {
        let group = Members::of(group.get())?;
        let Some(service) = group.text("serviceName") else { continue };
        let Some((service, weight)) = weights.iter().find(|(name, _)| *name == service) else { continue };
        found.insert(service);
        edits.extend(group.with_weight(*weight, text));
    }
    if weights.iter().any(|(service, _)| !found.contains(service)) {
        return None;
    }
    let mut new = text.to_owned();
    for (place, written) in edits.into_iter().rev() {
        new.replace_range(place, &written);
    }
    Some(new)
}

/// A JSON object's members, in their order and as they are written.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    fn of(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// As Go's `encoding/json` sees it: whatever the case, and the last one counts.
    fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rfind(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// What to write where in the whole text, so that this target group has the weight. Nothing, if it has it.
    fn with_weight(&self, weight: u32, whole: &str) -> Option<(Range<usize>, String)> {
        if let Some(written) = self.get("weight") {
            let shown: Option<u32> = serde_json::from_str(written.get()).ok();
            return (shown != Some(weight)).then(|| (place(written, whole), weight.to_string()));
        }
        let (key, last) = self.0.last()?;
        let name = if key.starts_with(|first: char| first.is_ascii_uppercase()) { "Weight" } else { "weight" };
        let end = place(last, whole).end;
        Some((end..end, format!(",\"{name}\":{weight}")))
    }
}

/// Where a value stands in the text that it was read from.
fn place(value: &RawValue, whole: &str) -> Range<usize> {
    let start = value.get().as_ptr().addr() - whole.as_ptr().addr();
    start..start + value.get().len()
}

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("a JSON object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members = Vec::new();
                while let Some(member) = map.next_entry()? {
                    members.push(member);
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

#[cfg(test)]
mod tests;
