//! The addresses under which the kinds are served.

use serde_json::{Value, json};

use super::super::events;
use super::super::kind::Kind;

/// A kind at one address. Events have two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Resource {
    /// As the path names it.
    pub(super) served: Kind,
    /// As the cluster keeps it.
    pub(super) stored: Kind,
}

impl Resource {
    /// Every address.
    pub(super) fn all() -> impl Iterator<Item = Self> {
        let newer_events = Self { served: events::NEWER, stored: Kind::EVENT };
        Kind::ALL.into_iter().map(|kind| Self { served: kind, stored: kind }).chain([newer_events])
    }

    pub(super) fn find(group: &str, version: &str, plural: &str) -> Option<Self> {
        Self::all().find(|resource| {
            let served = resource.served;
            (served.group, served.version, served.plural) == (group, version, plural)
        })
    }

    /// An object of the cluster, as this address shows it.
    pub(super) fn show(self, object: &Value) -> Value {
        if self.served == events::NEWER { events::to_newer(object) } else { object.clone() }
    }

    /// An object in a list. Those of built-in kinds do not say there what they are, as in the API server's lists.
    pub(super) fn show_in_list(self, object: &Value) -> Value {
        let mut shown = self.show(object);
        if !self.served.is_custom()
            && let Value::Object(fields) = &mut shown
        {
            fields.remove("apiVersion");
            fields.remove("kind");
        }
        shown
    }

    /// An object or a merge patch that was sent to this address, as the cluster keeps it. The error is a sentence.
    pub(super) fn read(self, mut sent: Value) -> Result<Value, String> {
        let fields = sent.as_object_mut().ok_or("the body must be a JSON object")?;
        for (field, right) in [("apiVersion", self.served.api_version()), ("kind", self.served.kind.to_owned())] {
            if fields.get(field).is_some_and(|named| *named != json!(right)) {
                return Err(format!("the {field} in the data does not match the expected one ({right})"));
            }
        }
        Ok(if self.served == events::NEWER { events::to_older(sent) } else { sent })
    }
}
