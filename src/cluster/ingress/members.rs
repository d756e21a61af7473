//! JSON as Go's `encoding/json` reads it, and where each value stands in its text. Pure.
//!
//! A text is changed where something differs and nowhere else, so that whoever compares texts sees no more than that. Keys are
//! found whatever their case: people write `serviceName`, the built-in router `ServiceName`.

use std::fmt;
use std::ops::Range;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

/// A JSON object's members, in their order and as they are written.
pub(super) struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'a> Members<'a> {
    /// `None` if the text is not a JSON object.
    pub(super) fn of(text: &'a str) -> Option<Self> {
        serde_json::from_str(text).ok()
    }

    /// As Go sees it: whatever the case, and the last one counts.
    pub(super) fn get(&self, name: &str) -> Option<&'a RawValue> {
        self.0.iter().rfind(|(key, _)| folded(key) == folded(name)).map(|(_, value)| *value)
    }

    /// A member that is a string.
    pub(super) fn text(&self, name: &str) -> Option<String> {
        serde_json::from_str(self.get(name)?.get()).ok()
    }

    /// Where another member may be added.
    pub(super) fn end(&self, whole: &str) -> Option<usize> {
        self.0.last().map(|(_, value)| place(value, whole).end)
    }

    /// The name in the style of this object: its author may write capitals.
    pub(super) fn styled(&self, name: &str) -> String {
        let is_capital =
            self.0.last().is_some_and(|(key, _)| key.starts_with(|first: char| first.is_ascii_uppercase()));
        if is_capital { capital(name) } else { name.to_owned() }
    }
}

/// The elements of a JSON array. `None` if the text is none.
pub(super) fn elements(text: &str) -> Option<Vec<&RawValue>> {
    serde_json::from_str(text).ok()
}

/// Where a value stands in the text that it was read from.
pub(super) fn place(value: &RawValue, whole: &str) -> Range<usize> {
    let start = value.get().as_ptr().addr() - whole.as_ptr().addr();
    start..start + value.get().len()
}

/// The value with all its keys folded, to be compared with another of the same meaning.
pub(super) fn meaning(text: &str) -> Option<Value> {
    fn fold(value: Value) -> Value {
        match value {
            Value::Object(fields) => fields.into_iter().map(|(key, value)| (folded(&key), fold(value))).collect(),
            Value::Array(items) => items.into_iter().map(fold).collect(),
            other => other,
        }
    }
    serde_json::from_str(text).ok().map(fold)
}

/// Changes of a text that do not overlap.
#[derive(Default)]
pub(super) struct Edits(Vec<(Range<usize>, String)>);

impl Edits {
    pub(super) fn add(&mut self, place: Range<usize>, written: impl Into<String>) {
        self.0.push((place, written.into()));
    }

    pub(super) fn applied(mut self, text: &str) -> String {
        // Stable: what is added at one place comes in the order in which it was added.
        self.0.sort_by_key(|(place, _)| (place.start, place.end));
        let mut new = text.to_owned();
        for (place, written) in self.0.into_iter().rev() {
            new.replace_range(place, &written);
        }
        new
    }
}

/// A key as Go compares it (`encoding/json/fold.go`): the case of ASCII letters does not count, and two other letters are folded
/// to `s` and `k`.
fn folded(key: &str) -> String {
    let fold = |letter| match letter {
        '\u{17f}' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    };
    key.chars().map(fold).collect()
}

fn capital(name: &str) -> String {
    let mut letters = name.chars();
    letters.next().map(|first| first.to_ascii_uppercase()).into_iter().chain(letters).collect()
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
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_found_as_go_finds_them() {
        let text = r#"{"Weight":1,"ſerviceName":"a","weight":2,"toKen":3}"#;
        let members = Members::of(text).unwrap();
        assert_eq!(members.text("serviceName").as_deref(), Some("a"));
        assert_eq!(members.get("weight").map(RawValue::get), Some("2"), "the last one counts");
        assert_eq!(members.get("TOKEN").map(RawValue::get), Some("3"));
        assert_eq!(members.get("weigh").map(RawValue::get), None);
        assert!(Members::of("[]").is_none());
    }

    #[test]
    fn what_means_the_same_is_the_same() {
        assert_eq!(meaning(r#"[{"Field": "a", "X":{"Y":1}}]"#), Some(json!([{"field": "a", "x": {"y": 1}}])));
        assert_eq!(meaning("[{"), None);
    }

    #[test]
    fn edits_change_their_places_and_nothing_else() {
        let mut edits = Edits::default();
        edits.add(6..6, "1");
        edits.add(6..6, "2");
        edits.add(0..1, "A");
        edits.add(3..6, "");
        assert_eq!(edits.applied("a, bcd}"), "A, 12}");
    }
}
