//! The conditions of one path: host and path of the Ingress, and what `conditions.<backend>` adds.
//!
//! As LBC pkg/ingress/model_build_listener_rules.go, except that paths are never regular expressions.

use crate::control_plane::model::shapes::{
    Condition, HttpHeaderConfig, PatternConfig, QueryStringConfig, ValuesConfig,
};
use crate::load_balancer_controller::annotations::{self, BuildError, ConditionText, Values};
use crate::load_balancer_controller::manifest::{Ingress, IngressRule, Path, PathType};

/// Values that are compared with patterns or with regular expressions, not with both.
#[derive(Default)]
struct Patterns {
    values: Vec<String>,
    regex: Vec<String>,
}

/// Header, method, query and source conditions come first, then the host, then the path.
pub(super) fn build(ingress: &Ingress, rule: &IngressRule, path: &Path) -> Result<Vec<Condition>, BuildError> {
    let mut hosts = Patterns::default();
    hosts.values.extend(rule.host.clone().filter(|host| !host.is_empty()));
    let mut paths = Patterns { values: path_patterns(ingress, path)?, regex: Vec::new() };
    let mut conditions = Vec::new();
    for text in annotations::conditions(ingress, &path.backend.service.name)? {
        match (text.field.as_str(), &text.host_header, &text.path_pattern) {
            ("host-header", Some(config), _) => hosts.add(config),
            ("path-pattern", _, Some(config)) => paths.add(config),
            _ => conditions.push(other(&text).ok_or_else(|| {
                BuildError::new(ingress, format!("a condition on '{}' is unknown or lacks its config", text.field))
            })?),
        }
    }
    for (field, patterns) in [("host-header", hosts), ("path-pattern", paths)] {
        if !patterns.values.is_empty() && !patterns.regex.is_empty() {
            return Err(BuildError::new(ingress, format!("a {field} condition has both values and regexValues")));
        }
        if !patterns.values.is_empty() || !patterns.regex.is_empty() {
            conditions.push(patterns.condition(field));
        }
    }
    if conditions.is_empty() {
        conditions.push(Patterns { values: vec!["/*".to_owned()], regex: Vec::new() }.condition("path-pattern"));
    }
    Ok(conditions)
}

/// A prefix matches the path itself and all below it, so it becomes two patterns.
fn path_patterns(ingress: &Ingress, path: &Path) -> Result<Vec<String>, BuildError> {
    let text = path.path.as_str();
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let is_plain = !text.contains(['*', '?']);
    match path.path_type {
        PathType::ImplementationSpecific => Ok(vec![text.to_owned()]),
        PathType::Prefix if text == "/" => Ok(vec!["/*".to_owned()]),
        PathType::Exact if is_plain => Ok(vec![text.to_owned()]),
        PathType::Prefix if is_plain => {
            let stem = text.strip_suffix('/').unwrap_or(text);
            Ok(vec![stem.to_owned(), format!("{stem}/*")])
        }
        PathType::Exact | PathType::Prefix => {
            Err(BuildError::new(ingress, format!("path {text} has a wildcard, but is not ImplementationSpecific")))
        }
    }
}

fn other(text: &ConditionText) -> Option<Condition> {
    let mut condition = Condition { field: text.field.clone(), ..Condition::default() };
    let values = |config: &Values| ValuesConfig { values: config.values.clone() };
    match text.field.as_str() {
        "http-header" => {
            let config = text.http_header.as_ref()?;
            condition.http_header_config = Some(HttpHeaderConfig {
                http_header_name: config.http_header_name.clone(),
                values: filled(&config.values),
                regex_values: filled(&config.regex_values),
            });
        }
        "http-request-method" => {
            condition.http_request_method_config = Some(values(text.http_request_method.as_ref()?));
        }
        "source-ip" => condition.source_ip_config = Some(values(text.source_ip.as_ref()?)),
        "query-string" => {
            condition.query_string_config = Some(QueryStringConfig { values: text.query_string.as_ref()?.pairs() });
        }
        _ => return None,
    }
    Some(condition)
}

impl Patterns {
    fn add(&mut self, config: &Values) {
        self.values.extend_from_slice(&config.values);
        self.regex.extend_from_slice(&config.regex_values);
    }

    fn condition(self, field: &str) -> Condition {
        let config = PatternConfig { values: filled(&self.values), regex_values: filled(&self.regex) };
        let (host_header_config, path_pattern_config) =
            if field == "host-header" { (Some(config), None) } else { (None, Some(config)) };
        Condition { field: field.to_owned(), host_header_config, path_pattern_config, ..Condition::default() }
    }
}

fn filled(values: &[String]) -> Option<Vec<String>> {
    (!values.is_empty()).then(|| values.to_vec())
}
