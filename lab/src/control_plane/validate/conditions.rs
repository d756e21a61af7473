//! Conditions of a rule.
//!
//! Sources: API reference of RuleCondition and its configs; "condition values per rule" and "wildcards per rule" on the quotas page.

use std::net::IpAddr;

use crate::control_plane::error::ApiError;
use crate::control_plane::model::shapes::{Condition, PatternConfig};

#[cfg(test)]
mod tests;

/// Over all conditions of one rule together.
const MAX_VALUES: usize = 5;
const MAX_WILDCARDS: usize = 5;
const MAX_TEXT: usize = 128;
const MAX_NAME: usize = 40;

/// What one condition compares with, collected from whichever of its parts hold it.
struct Values<'a> {
    plain: Vec<&'a str>,
    regex: Vec<&'a str>,
}

/// Checks the conditions of a rule that is not a default rule, and brings them to the form in which AWS describes them.
pub(crate) fn conditions(conditions: Vec<Condition>) -> Result<Vec<Condition>, ApiError> {
    if conditions.is_empty() {
        return Err(ApiError::validation("At least one condition must be specified"));
    }
    for field in ["http-request-method", "host-header", "path-pattern", "source-ip"] {
        if conditions.iter().filter(|condition| condition.field == field).count() > 1 {
            return Err(ApiError::validation(format!("A rule can have only one '{field}' condition")));
        }
    }
    let mut values = 0;
    let mut wildcards = 0;
    let mut described = Vec::with_capacity(conditions.len());
    for condition in conditions {
        let found = check(&condition)?;
        values += match &condition.query_string_config {
            // A key and its value are one condition value.
            Some(config) => config.values.len(),
            None => found.plain.len() + found.regex.len(),
        };
        wildcards += found.plain.iter().map(|text| text.matches(['*', '?']).count()).sum::<usize>();
        described.push(as_described(condition));
    }
    if values > MAX_VALUES {
        return Err(ApiError::validation(format!("A rule can have at most {MAX_VALUES} condition values")));
    }
    if wildcards > MAX_WILDCARDS {
        return Err(ApiError::validation(format!("A rule can have at most {MAX_WILDCARDS} wildcards")));
    }
    Ok(described)
}

fn check(condition: &Condition) -> Result<Values<'_>, ApiError> {
    let field = condition.field.as_str();
    only_its_own_config(condition)?;
    let found = match field {
        "host-header" => pattern(condition, condition.host_header_config.as_ref())?,
        "path-pattern" => pattern(condition, condition.path_pattern_config.as_ref())?,
        "http-header" => http_header(condition)?,
        "query-string" => Values {
            plain: condition
                .query_string_config
                .iter()
                .flat_map(|config| &config.values)
                .flat_map(|pair| pair.key.as_deref().into_iter().chain([pair.value.as_str()]))
                .collect(),
            regex: Vec::new(),
        },
        "http-request-method" => Values {
            plain: texts(condition.http_request_method_config.as_ref().map(|config| &config.values)),
            regex: Vec::new(),
        },
        "source-ip" => {
            Values { plain: texts(condition.source_ip_config.as_ref().map(|config| &config.values)), regex: Vec::new() }
        }
        other => return Err(ApiError::validation(format!("Condition field '{other}' is not one of the valid fields"))),
    };
    if found.plain.is_empty() && found.regex.is_empty() {
        return Err(ApiError::validation(format!("A condition value must be specified for field '{field}'")));
    }
    for text in &found.plain {
        plain_value(field, text)?;
    }
    let longest = if field == "http-request-method" { MAX_NAME } else { MAX_TEXT };
    if let Some(text) = found.plain.iter().chain(&found.regex).find(|text| text.chars().count() > longest) {
        return Err(ApiError::validation(format!("Condition value '{text}' has more than {longest} characters")));
    }
    Ok(found)
}

/// A config beside the one of the condition's own field is a mistake, not a spare.
fn only_its_own_config(condition: &Condition) -> Result<(), ApiError> {
    let configs = [
        ("host-header", condition.host_header_config.is_some()),
        ("path-pattern", condition.path_pattern_config.is_some()),
        ("http-header", condition.http_header_config.is_some()),
        ("query-string", condition.query_string_config.is_some()),
        ("http-request-method", condition.http_request_method_config.is_some()),
        ("source-ip", condition.source_ip_config.is_some()),
    ];
    for (field, is_set) in configs {
        if is_set && field != condition.field {
            return Err(ApiError::validation(format!(
                "A condition on '{}' has the settings of a condition on '{field}'",
                condition.field
            )));
        }
    }
    let takes_bare_values = matches!(condition.field.as_str(), "host-header" | "path-pattern");
    if !takes_bare_values && condition.values.as_ref().is_some_and(|values| !values.is_empty()) {
        return Err(ApiError::validation(format!(
            "Values cannot be specified for a condition on '{}'",
            condition.field
        )));
    }
    let takes_regex = takes_bare_values || condition.field == "http-header";
    if !takes_regex && condition.regex_values.as_ref().is_some_and(|values| !values.is_empty()) {
        return Err(ApiError::validation(format!(
            "RegexValues cannot be specified for a condition on '{}'",
            condition.field
        )));
    }
    Ok(())
}

/// Host and path: in the older form the values stand beside the field, in the newer one in the config. Both may be there, as
/// AWS itself returns both, but then they must be the same.
fn pattern<'a>(condition: &'a Condition, config: Option<&'a PatternConfig>) -> Result<Values<'a>, ApiError> {
    let plain = same(&condition.field, &condition.values, config.map(|config| &config.values))?;
    let regex = same(&condition.field, &condition.regex_values, config.map(|config| &config.regex_values))?;
    if !plain.is_empty() && !regex.is_empty() {
        return Err(ApiError::validation(format!(
            "A condition on '{}' can have values or regular expressions, not both",
            condition.field
        )));
    }
    Ok(Values { plain, regex })
}

fn http_header(condition: &Condition) -> Result<Values<'_>, ApiError> {
    let config = condition.http_header_config.as_ref();
    let name = config.and_then(|config| config.http_header_name.as_deref()).unwrap_or_default();
    let sound = !name.is_empty()
        && name.len() <= MAX_NAME
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte));
    if !sound || name.eq_ignore_ascii_case("host") {
        return Err(ApiError::validation(format!("'{name}' is not a valid HTTP header name for a condition")));
    }
    Ok(Values {
        plain: texts(config.and_then(|config| config.values.as_ref())),
        regex: same(&condition.field, &condition.regex_values, config.map(|config| &config.regex_values))?,
    })
}

fn same<'a>(
    field: &str,
    beside: &'a Option<Vec<String>>,
    inside: Option<&'a Option<Vec<String>>>,
) -> Result<Vec<&'a str>, ApiError> {
    let beside = texts(beside.as_ref());
    let inside = texts(inside.and_then(Option::as_ref));
    if beside.is_empty() || beside == inside {
        Ok(inside)
    } else if inside.is_empty() {
        Ok(beside)
    } else {
        Err(ApiError::validation(format!("A condition on '{field}' has two different lists of values")))
    }
}

fn texts(list: Option<&Vec<String>>) -> Vec<&str> {
    list.into_iter().flatten().map(String::as_str).collect()
}

fn plain_value(field: &str, text: &str) -> Result<(), ApiError> {
    let sound = match field {
        "host-header" => text.contains('.'),
        "http-request-method" => {
            !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_uppercase() || byte == b'-' || byte == b'_')
        }
        "source-ip" => is_cidr(text),
        _ => !text.is_empty(),
    };
    if sound {
        Ok(())
    } else {
        Err(ApiError::validation(format!("'{text}' is not a valid value for a condition on '{field}'")))
    }
}

fn is_cidr(text: &str) -> bool {
    let Some((address, bits)) = text.split_once('/') else { return false };
    match (address.parse::<IpAddr>(), bits.parse::<u8>()) {
        (Ok(IpAddr::V4(_)), Ok(bits)) => bits <= 32,
        (Ok(IpAddr::V6(_)), Ok(bits)) => bits <= 128,
        _ => false,
    }
}

/// AWS describes plain hosts and paths in both forms, whichever was used.
fn as_described(mut condition: Condition) -> Condition {
    let config = match condition.field.as_str() {
        "host-header" => &mut condition.host_header_config,
        "path-pattern" => &mut condition.path_pattern_config,
        _ => return condition,
    };
    let config = config.get_or_insert_default();
    let filled = |values: &mut Option<Vec<String>>| values.take().filter(|values| !values.is_empty());
    let plain = filled(&mut condition.values).or_else(|| filled(&mut config.values));
    let regex = filled(&mut condition.regex_values).or_else(|| filled(&mut config.regex_values));
    config.values.clone_from(&plain);
    config.regex_values = regex;
    condition.values = plain;
    condition
}
