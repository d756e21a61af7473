//! Label and field selectors, as they come in a query.

use serde_json::Value;

use super::kind::Kind;
use super::validate::{is_label_value, is_qualified_name};

/// Fields that can be asked for, whatever the kind.
const FIELDS: [(&str, &str); 2] = [("metadata.name", "/metadata/name"), ("metadata.namespace", "/metadata/namespace")];

/// Fields of Events besides: `kubectl describe` asks for an object's Events by them.
const EVENT_FIELDS: [(&str, &str); 4] = [
    ("involvedObject.kind", "/involvedObject/kind"),
    ("involvedObject.namespace", "/involvedObject/namespace"),
    ("involvedObject.name", "/involvedObject/name"),
    ("involvedObject.uid", "/involvedObject/uid"),
];

/// Which objects a list or watch is about. The default is all of them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Selector {
    labels: Vec<Requirement>,
    fields: Vec<FieldRequirement>,
}

/// One condition on one label.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Requirement {
    key: String,
    condition: Condition,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Condition {
    In(Vec<String>),
    /// Also met by an object without the label.
    NotIn(Vec<String>),
    Exists,
    DoesNotExist,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct FieldRequirement {
    /// Points into the object.
    pointer: &'static str,
    value: String,
    equal: bool,
}

impl Selector {
    /// Reads both selectors; empty ones select everything. `kind` is that of the stored objects. The error is a sentence.
    pub(super) fn parse(kind: Kind, labels: &str, fields: &str) -> Result<Self, String> {
        Ok(Self {
            labels: terms(labels)?.into_iter().map(label_requirement).collect::<Result<_, _>>()?,
            fields: terms(fields)?.into_iter().map(|term| field_requirement(kind, term)).collect::<Result<_, _>>()?,
        })
    }

    pub(super) fn matches(&self, object: &Value) -> bool {
        let labels = object.pointer("/metadata/labels");
        let label = |key: &str| labels.and_then(|labels| labels.get(key)).and_then(Value::as_str);
        self.labels.iter().all(|requirement| requirement.condition.is_met(label(&requirement.key)))
            && self.fields.iter().all(|field| {
                let value = object.pointer(field.pointer).and_then(Value::as_str).unwrap_or_default();
                (value == field.value) == field.equal
            })
    }
}

impl Condition {
    fn is_met(&self, value: Option<&str>) -> bool {
        let is_among = |values: &[String]| value.is_some_and(|value| values.iter().any(|one| one == value));
        match self {
            Self::In(values) => is_among(values),
            Self::NotIn(values) => !is_among(values),
            Self::Exists => value.is_some(),
            Self::DoesNotExist => value.is_none(),
        }
    }
}

/// Splits at the commas outside of parentheses.
fn terms(selector: &str) -> Result<Vec<&str>, String> {
    if selector.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut is_inside = false;
    let terms: Vec<&str> = selector
        .split(|character| {
            match character {
                '(' => is_inside = true,
                ')' => is_inside = false,
                _ => {}
            }
            character == ',' && !is_inside
        })
        .map(str::trim)
        .collect();
    if is_inside || terms.contains(&"") {
        return Err(format!("unable to parse selector '{selector}': found an empty or unfinished requirement"));
    }
    Ok(terms)
}

fn label_requirement(term: &str) -> Result<Requirement, String> {
    let one = |value: &str| vec![value.trim().to_owned()];
    let (key, condition) = if let Some(key) = term.strip_prefix('!') {
        (key, Condition::DoesNotExist)
    } else if let Some((head, values)) = term.strip_suffix(')').and_then(|term| term.split_once('(')) {
        let values = values.split(',').map(|value| value.trim().to_owned()).collect();
        match head.trim_end().rsplit_once(char::is_whitespace) {
            Some((key, "in")) => (key, Condition::In(values)),
            Some((key, "notin")) => (key, Condition::NotIn(values)),
            _ => return Err(format!("unable to parse requirement '{term}': expected 'in' or 'notin' before '('")),
        }
    } else if let Some((key, value)) = term.split_once("!=") {
        (key, Condition::NotIn(one(value)))
    } else if let Some((key, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (key, Condition::In(one(value)))
    } else {
        (term, Condition::Exists)
    };
    let key = key.trim().to_owned();
    if !is_qualified_name(&key) {
        return Err(format!("unable to parse requirement '{term}': '{key}' is not a label's name"));
    }
    if let Condition::In(values) | Condition::NotIn(values) = &condition
        && let Some(bad) = values.iter().find(|value| !is_label_value(value))
    {
        return Err(format!("unable to parse requirement '{term}': '{bad}' is not a label's value"));
    }
    Ok(Requirement { key, condition })
}

fn field_requirement(kind: Kind, term: &str) -> Result<FieldRequirement, String> {
    let (field, value, equal) = if let Some((field, value)) = term.split_once("!=") {
        (field, value, false)
    } else if let Some((field, value)) = term.split_once("==").or_else(|| term.split_once('=')) {
        (field, value, true)
    } else {
        return Err(format!("invalid field selector '{term}': can't understand it; write field=value"));
    };
    let own: &[_] = if kind == Kind::EVENT { &EVENT_FIELDS } else { &[] };
    let known = FIELDS.iter().chain(own).find(|(name, _)| *name == field.trim());
    let (_, pointer) = known.ok_or_else(|| format!("field label not supported: {}", field.trim()))?;
    Ok(FieldRequirement { pointer, value: value.trim().to_owned(), equal })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// Which of three Pods a selector chooses.
    fn chosen(labels: &str, fields: &str) -> Vec<&'static str> {
        let selector = Selector::parse(Kind::POD, labels, fields).expect("a sound selector");
        [
            ("a", json!({"app": "shop", "track": "stable"})),
            ("b", json!({"app": "shop", "track": "canary"})),
            ("c", json!({"app": "till"})),
        ]
        .into_iter()
        .filter(|(name, labels)| {
            selector.matches(&json!({"metadata": {"name": name, "namespace": "shop", "labels": labels}}))
        })
        .map(|(name, _)| name)
        .collect()
    }

    #[test]
    fn equality() {
        assert_eq!(chosen("", ""), ["a", "b", "c"]);
        assert_eq!(chosen("app=shop", ""), ["a", "b"]);
        assert_eq!(chosen(" app == shop , track=canary", ""), ["b"]);
        assert_eq!(chosen("track!=canary", ""), ["a", "c"], "an object without the label is not canary either");
        assert_eq!(chosen("track=", ""), [""; 0], "no label is not an empty label");
    }

    #[test]
    fn sets() {
        assert_eq!(chosen("track in (stable, canary),app", ""), ["a", "b"]);
        assert_eq!(chosen("track notin (stable)", ""), ["b", "c"]);
        assert_eq!(chosen("!track", ""), ["c"]);
        assert_eq!(chosen("app in (till,shop),track", ""), ["a", "b"]);
    }

    #[test]
    fn fields() {
        assert_eq!(chosen("", "metadata.name=b"), ["b"]);
        assert_eq!(chosen("app=shop", "metadata.name!=b,metadata.namespace==shop"), ["a"]);
        assert_eq!(chosen("", "metadata.namespace=other"), [""; 0]);
    }

    #[test]
    fn events_by_their_object() {
        let fields = "involvedObject.kind=Rollout,involvedObject.name=shop";
        let selector = Selector::parse(Kind::EVENT, "", fields).expect("a sound selector");
        assert!(selector.matches(&json!({"involvedObject": {"kind": "Rollout", "name": "shop"}})));
        assert!(!selector.matches(&json!({"involvedObject": {"kind": "Pod", "name": "shop"}})));
        Selector::parse(Kind::POD, "", fields).expect_err("Pods have no such field");
    }

    #[test]
    fn nonsense_is_refused_with_its_reason() {
        for (labels, fields, reason) in [
            ("a,,b", "", "empty"),
            ("a in (b", "", "unfinished"),
            ("a near (b)", "", "'in' or 'notin'"),
            ("a b=c", "", "not a label's name"),
            ("a=b c", "", "not a label's value"),
            ("", "status.phase=Running", "field label not supported: status.phase"),
            ("", "metadata.name", "can't understand it"),
        ] {
            let text = Selector::parse(Kind::POD, labels, fields).expect_err("must be refused");
            assert!(text.contains(reason), "{labels} {fields}: {text}");
        }
    }
}
