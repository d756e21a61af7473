//! What every object must hold to, whatever its kind (kubernetes/apimachinery `pkg/api/validation/objectmeta.go`).

use serde_json::Value;

use super::kind::Kind;

/// Bytes of all annotations of an object, names included.
const ANNOTATIONS_LIMIT: usize = 256 * 1024;

/// Looks at an object's name, labels and annotations. The error is a sentence that begins with the field.
pub(super) fn metadata(kind: Kind, object: &Value) -> Result<(), String> {
    let name = object.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default();
    let is_good = if kind == Kind::SERVICE { is_service_name(name) } else { is_subdomain(name) };
    if !is_good {
        return Err(format!(
            "metadata.name: Invalid value: \"{name}\": lower case letters, digits, '-' and '.' only, no longer than 253 (a \
             Service: no '.', a letter first, no longer than 63)"
        ));
    }
    for (key, value) in strings(object, "labels")? {
        if !is_label_value(value) {
            return Err(format!(
                "metadata.labels: Invalid value: \"{value}\" of {key}: no longer than 63, letters, digits, '-', '_' and '.', \
                 with a letter or digit at both ends"
            ));
        }
    }
    let annotations = strings(object, "annotations")?;
    let size: usize = annotations.iter().map(|(key, value)| key.len() + value.len()).sum();
    if size > ANNOTATIONS_LIMIT {
        return Err(format!("metadata.annotations: Too long: {size} bytes, may not be more than {ANNOTATIONS_LIMIT}"));
    }
    Ok(())
}

/// The entries of `metadata.labels` or `metadata.annotations`: maps of strings with qualified names.
fn strings<'a>(object: &'a Value, field: &str) -> Result<Vec<(&'a str, &'a str)>, String> {
    let entries = match object.pointer(&format!("/metadata/{field}")) {
        None | Some(Value::Null) => return Ok(Vec::new()),
        Some(Value::Object(entries)) => entries,
        Some(other) => return Err(format!("metadata.{field}: Invalid value: {other}: must be a map of strings")),
    };
    let entry = |(key, value): (&'a String, &'a Value)| {
        if !is_qualified_name(key) {
            return Err(format!(
                "metadata.{field}: Invalid value: \"{key}\": a name is up to 63 letters, digits, '-', '_' and '.', with a \
                 letter or digit at both ends, and may have a DNS subdomain and '/' before it"
            ));
        }
        let value =
            value.as_str().ok_or_else(|| format!("metadata.{field}: Invalid value: {value}: must be a string"))?;
        Ok((key.as_str(), value))
    };
    entries.iter().map(entry).collect()
}

/// The key of a label or annotation, such as `app` or `alb.ingress.kubernetes.io/actions.shop`.
pub(super) fn is_qualified_name(name: &str) -> bool {
    match name.split_once('/') {
        // Only annotations may have upper case in their prefix.
        Some((prefix, name)) => is_subdomain(&prefix.to_ascii_lowercase()) && is_name_part(name),
        None => is_name_part(name),
    }
}

/// A label's value; it may be empty.
pub(super) fn is_label_value(value: &str) -> bool {
    value.is_empty() || is_name_part(value)
}

fn is_name_part(name: &str) -> bool {
    let ends = name.bytes().next().into_iter().chain(name.bytes().next_back());
    (1..=63).contains(&name.len())
        && ends.into_iter().all(|byte| byte.is_ascii_alphanumeric())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

/// RFC 1123.
fn is_subdomain(name: &str) -> bool {
    (1..=253).contains(&name.len()) && name.split('.').all(is_dns_label)
}

fn is_dns_label(label: &str) -> bool {
    !label.is_empty()
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// RFC 1035: a Service's name is the first label of a host name.
fn is_service_name(name: &str) -> bool {
    name.len() <= 63 && is_dns_label(name) && name.starts_with(|first: char| first.is_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complaint(kind: Kind, metadata_of: Value) -> String {
        metadata(kind, &json!({"metadata": metadata_of})).expect_err("must be refused")
    }

    #[test]
    fn takes_what_people_write() {
        let object = json!({"metadata": {
            "name": "shop.v2-1", "labels": {"app.kubernetes.io/name": "Shop_1.2", "empty": ""},
            "annotations": {"alb.ingress.kubernetes.io/actions.shop-root": "{\"type\": \"forward\"}"},
        }});
        assert_eq!(metadata(Kind::ROLLOUT, &object), Ok(()));
        assert_eq!(metadata(Kind::POD, &json!({"metadata": {"name": "1", "labels": null}})), Ok(()));
    }

    #[test]
    fn refuses_names_that_dns_could_not_hold() {
        for name in ["", "Shop", "-shop", "shop-", "a..b", "a_b", &"a".repeat(254)] {
            assert!(complaint(Kind::POD, json!({"name": name})).starts_with("metadata.name"), "{name}");
        }
        for name in ["a.b", "1a", &"a".repeat(64)] {
            assert!(complaint(Kind::SERVICE, json!({"name": name})).starts_with("metadata.name"), "{name}");
        }
    }

    #[test]
    fn refuses_labels_and_annotations_that_are_not_strings_or_have_bad_names() {
        let long = "x".repeat(64);
        for labels in [json!({"a": 1}), json!([]), json!({"a": "b c"}), json!({"a": long}), json!({"a/b/c": "d"})] {
            let text = complaint(Kind::POD, json!({"name": "a", "labels": labels}));
            assert!(text.starts_with("metadata.labels: Invalid value"), "{text}");
        }
        let actions = format!("alb.ingress.kubernetes.io/actions.{long}");
        for annotations in [json!({"a": true}), json!({"": "x"}), json!({ actions: "x" })] {
            let text = complaint(Kind::INGRESS, json!({"name": "a", "annotations": annotations}));
            assert!(text.starts_with("metadata.annotations: Invalid value"), "{text}");
        }
        let text = complaint(Kind::INGRESS, json!({"name": "a", "annotations": {"a": "x".repeat(ANNOTATIONS_LIMIT)}}));
        assert!(text.starts_with("metadata.annotations: Too long"), "{text}");
    }
}
