//! The values of a map that a person wrote, and everything that is wrong with them.

use std::ops::RangeInclusive;

use serde_json::{Map, Value};

use crate::alb::TargetGroupArn;

/// How alike two keys must be, 0 to 1, for one to be suggested for the other.
const ALIKE: f64 = 0.8;

/// A map, and the problems that were found in it so far.
#[derive(Debug)]
pub(super) struct Fields<'e> {
    /// What stands before the keys in problems: nothing, or the key of this map and a dot.
    path: String,
    fields: &'e Map<String, Value>,
    problems: Vec<String>,
}

impl<'e> Fields<'e> {
    pub(super) fn new(path: &str, fields: &'e Map<String, Value>) -> Self {
        Self { path: path.to_owned(), fields, problems: Vec::new() }
    }

    /// No other keys than these are understood.
    pub(super) fn only(&mut self, known: &[&str]) {
        let strangers = self.fields.keys().filter(|key| !known.contains(&key.as_str()));
        let path = &self.path;
        self.problems.extend(strangers.map(|key| match nearest(key, known) {
            Some(known) => format!("`{path}{key}` is not a key of this plugin; did you mean `{known}`?"),
            None => format!("`{path}{key}` is not a key of this plugin; it understands {}", known.join(", ")),
        }));
    }

    pub(super) fn has_any(&self, keys: &[&str]) -> bool {
        keys.iter().any(|key| self.fields.contains_key(*key))
    }

    pub(super) fn problem(&mut self, problem: String) {
        self.problems.push(problem);
    }

    pub(super) fn problems(self) -> Vec<String> {
        self.problems
    }

    pub(super) fn text(&mut self, key: &str) -> Option<String> {
        match self.fields.get(key)? {
            Value::String(text) if !text.is_empty() => Some(text.clone()),
            other => self.not(key, "a text", other),
        }
    }

    /// A port's number, or its name.
    pub(super) fn port(&mut self, key: &str) -> Option<String> {
        match self.fields.get(key)? {
            Value::String(name) if !name.is_empty() => Some(name.clone()),
            Value::Number(number) if number.as_u64().is_some_and(|number| (1..=65_535).contains(&number)) => {
                Some(number.to_string())
            }
            other => self.not(key, "a port's number or its name", other),
        }
    }

    pub(super) fn list(&mut self, key: &str) -> Option<Vec<String>> {
        let Value::Array(items) = self.fields.get(key)? else {
            return self.not(key, "a list of texts", self.fields.get(key)?);
        };
        let texts = items.iter().map(|item| item.as_str().filter(|text| !text.is_empty()).ok_or(item));
        match texts.map(|text| text.map(str::to_owned)).collect() {
            Ok(texts) => Some(texts),
            Err(item) => self.not(key, "a list of texts", item),
        }
    }

    pub(super) fn switch(&mut self, key: &str) -> Option<bool> {
        match self.fields.get(key)? {
            Value::Bool(on) => Some(*on),
            other => self.not(key, "true or false", other),
        }
    }

    pub(super) fn number(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        let given = self.fields.get(key)?;
        match given.as_u64().filter(|number| range.contains(number)) {
            Some(number) => Some(number),
            None => self.not(key, &format!("a whole number from {} to {}", range.start(), range.end()), given),
        }
    }

    pub(super) fn map(&mut self, key: &str) -> Option<Fields<'e>> {
        match self.fields.get(key)? {
            Value::Object(fields) => Some(Fields::new(&format!("{key}."), fields)),
            other => self.not(key, "a map of keys", other),
        }
    }

    /// A target group's ARN. It must be there.
    pub(super) fn arn(&mut self, key: &str) -> Option<TargetGroupArn> {
        if !self.fields.contains_key(key) {
            self.problems.push(format!("{key} is missing: both target groups are named, or none of them"));
            return None;
        }
        let text = self.text(key)?;
        text.parse().map_err(|error| self.problems.push(format!("{key}: {error}"))).ok()
    }

    fn not<T>(&mut self, key: &str, wanted: &str, given: &Value) -> Option<T> {
        let path = &self.path;
        self.problems.push(format!("{path}{key} must be {wanted}, not {given}"));
        None
    }
}

/// The key that was most likely meant.
fn nearest<'k>(key: &str, known: &[&'k str]) -> Option<&'k str> {
    let lower = key.to_lowercase();
    let alike = known.iter().map(|known| (strsim::jaro_winkler(&known.to_lowercase(), &lower), *known));
    let alike = alike.filter(|(alike, _)| *alike >= ALIKE);
    alike.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
}
