//! Whether a request meets the conditions of a rule.
//!
//! Sources: user guide for Application Load Balancers, "Condition types for listener rules": several values mean any of them,
//! several conditions mean all of them; host, header and query are compared in any case, path and method exactly; the
//! path without the query, the source address as it is on the connection, whatever `X-Forwarded-For` says.

use std::net::IpAddr;

use hyper::header::{HeaderMap, HeaderName};
use regex::bytes::{Regex, RegexBuilder};

use crate::control_plane::model::shapes::Condition;
use crate::data_plane::pattern::{Glob, Network};

/// What a node looks at to route a request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RequestHead<'a> {
    /// The listener that it came in by.
    pub(crate) listener_arn: &'a str,
    /// The other end of the connection.
    pub(crate) source: IpAddr,
    pub(crate) method: &'a str,
    /// Without a port.
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    /// What follows the question mark.
    pub(crate) query: Option<&'a str>,
    pub(crate) headers: &'a HeaderMap,
}

/// One condition, ready to be compared.
#[derive(Debug)]
pub(super) enum Test {
    Host(Texts),
    Path(Texts),
    Header(HeaderName, Texts),
    /// Each a key, or none for any key, and a value.
    Query(Vec<(Option<Glob>, Glob)>),
    Method(Vec<String>),
    Source(Vec<Network>),
    /// A condition that is not understood must not let requests through.
    Never,
}

/// Any of these.
#[derive(Debug, Default)]
pub(super) struct Texts {
    globs: Vec<Glob>,
    regexes: Vec<Regex>,
}

impl Test {
    pub(super) fn of(condition: &Condition) -> Self {
        match condition.field.as_str() {
            "host-header" => {
                let config = condition.host_header_config.clone().unwrap_or_default();
                Self::Host(Texts::of(config.values.as_deref(), config.regex_values.as_deref(), Glob::any_case))
            }
            "path-pattern" => {
                let config = condition.path_pattern_config.clone().unwrap_or_default();
                Self::Path(Texts::of(config.values.as_deref(), config.regex_values.as_deref(), Glob::exact))
            }
            "http-header" => {
                let config = condition.http_header_config.clone().unwrap_or_default();
                // Here regular expressions may also stand beside the config.
                let regexes = config.regex_values.as_deref().or(condition.regex_values.as_deref());
                match config.http_header_name.unwrap_or_default().parse() {
                    Ok(name) => Self::Header(name, Texts::of(config.values.as_deref(), regexes, Glob::any_case)),
                    Err(_) => Self::Never,
                }
            }
            "query-string" => Self::Query(
                (condition.query_string_config.iter().flat_map(|config| &config.values))
                    .map(|pair| (pair.key.as_deref().map(Glob::of_query), Glob::of_query(&pair.value)))
                    .collect(),
            ),
            "http-request-method" => {
                Self::Method(condition.http_request_method_config.clone().unwrap_or_default().values)
            }
            "source-ip" => {
                let values = condition.source_ip_config.iter().flat_map(|config| &config.values);
                Self::Source(values.filter_map(|value| Network::parse(value)).collect())
            }
            _ => Self::Never,
        }
    }

    pub(super) fn passes(&self, head: &RequestHead<'_>) -> bool {
        match self {
            Self::Host(texts) => texts.match_any(head.host.as_bytes()),
            Self::Path(texts) => texts.match_any(head.path.as_bytes()),
            Self::Header(name, texts) => {
                head.headers.get_all(name).iter().any(|value| texts.match_any(value.as_bytes()))
            }
            Self::Query(wanted) => {
                form_urlencoded::parse(head.query.unwrap_or_default().as_bytes()).any(|(key, value)| {
                    wanted.iter().any(|(wanted_key, wanted_value)| {
                        wanted_key.as_ref().is_none_or(|wanted| wanted.matches(key.as_bytes()))
                            && wanted_value.matches(value.as_bytes())
                    })
                })
            }
            Self::Method(methods) => methods.iter().any(|method| method == head.method),
            Self::Source(networks) => networks.iter().any(|network| network.contains(head.source)),
            Self::Never => false,
        }
    }
}

impl Texts {
    fn of(values: Option<&[String]>, regexes: Option<&[String]>, glob: fn(&str) -> Glob) -> Self {
        Self {
            globs: values.unwrap_or_default().iter().map(|value| glob(value)).collect(),
            regexes: regexes.unwrap_or_default().iter().filter_map(|text| regex(text)).collect(),
        }
    }

    fn match_any(&self, text: &[u8]) -> bool {
        self.globs.iter().any(|glob| glob.matches(text)) || self.regexes.iter().any(|regex| regex.is_match(text))
    }
}

/// A regular expression as AWS means it: no lookaround, no backreferences, no Unicode classes ("Transforms for listener
/// rules"). One that does not compile is `None` and fits nothing, as the control plane does not check them.
pub(super) fn regex(text: &str) -> Option<Regex> {
    RegexBuilder::new(text).unicode(false).build().ok()
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;
    use crate::control_plane::model::shapes::{
        HttpHeaderConfig, PatternConfig, QueryStringConfig, QueryStringPair, ValuesConfig,
    };

    fn passes(condition: Condition, change: impl FnOnce(&mut RequestHead<'_>)) -> bool {
        let headers = HeaderMap::from_iter([
            (HeaderName::from_static("x-canary"), HeaderValue::from_static("Yes please")),
            (HeaderName::from_static("x-canary"), HeaderValue::from_static("2")),
        ]);
        let mut head = RequestHead {
            listener_arn: "",
            source: IpAddr::from([127, 0, 0, 1]),
            method: "GET",
            host: "Shop.example.com",
            path: "/Cart/7",
            query: Some("version=V1&debug"),
            headers: &headers,
        };
        change(&mut head);
        Test::of(&condition).passes(&head)
    }

    fn list(values: &[&str]) -> Option<Vec<String>> {
        Some(values.iter().map(|value| (*value).to_owned()).collect())
    }

    fn host(values: &[&str]) -> Condition {
        let config = PatternConfig { values: list(values), regex_values: None };
        Condition { field: "host-header".to_owned(), host_header_config: Some(config), ..Condition::default() }
    }

    fn path(values: &[&str], regexes: &[&str]) -> Condition {
        let config = PatternConfig { values: list(values), regex_values: list(regexes) };
        Condition { field: "path-pattern".to_owned(), path_pattern_config: Some(config), ..Condition::default() }
    }

    fn header(name: &str, values: &[&str], regexes: &[&str]) -> Condition {
        let config = HttpHeaderConfig {
            http_header_name: Some(name.to_owned()),
            values: list(values),
            regex_values: list(regexes),
        };
        Condition { field: "http-header".to_owned(), http_header_config: Some(config), ..Condition::default() }
    }

    fn query(key: Option<&str>, value: &str) -> Condition {
        let pair = QueryStringPair { key: key.map(str::to_owned), value: value.to_owned() };
        Condition {
            field: "query-string".to_owned(),
            query_string_config: Some(QueryStringConfig { values: vec![pair] }),
            ..Condition::default()
        }
    }

    #[test]
    fn hosts_in_any_case_paths_exactly() {
        assert!(passes(host(&["other.example.com", "SHOP.example.*"]), |_| ()));
        assert!(!passes(host(&["example.com"]), |_| ()));
        assert!(passes(path(&["/Cart/*"], &[]), |_| ()));
        assert!(!passes(path(&["/cart/*"], &[]), |_| ()));
        assert!(passes(path(&[], &["^/[A-Z]art/[0-9]+$"]), |_| ()));
        assert!(!passes(path(&[], &["^/cart/[0-9]+$"]), |_| ()));
        assert!(!passes(path(&[], &["(?=lookahead)"]), |_| ()), "what does not compile fits nothing");
    }

    #[test]
    fn any_of_several_headers() {
        assert!(passes(header("X-Canary", &["yes*"], &[]), |_| ()));
        assert!(passes(header("x-canary", &["2"], &[]), |_| ()));
        assert!(passes(header("x-canary", &[], &["^[0-9]$"]), |_| ()));
        assert!(!passes(header("x-canary", &["no"], &[]), |_| ()));
        assert!(!passes(header("x-stable", &["*"], &[]), |_| ()));
        assert!(!passes(header("not a name", &["*"], &[]), |_| ()));
    }

    #[test]
    fn queries_by_key_or_by_value_alone() {
        assert!(passes(query(Some("version"), "v1"), |_| ()));
        assert!(!passes(query(Some("version"), "v2"), |_| ()));
        assert!(passes(query(None, "v?"), |_| ()));
        assert!(passes(query(Some("debug"), "*"), |_| ()));
        assert!(passes(query(Some("a b"), "c&d"), |head| head.query = Some("a+b=c%26d")));
        assert!(!passes(query(None, "*x*"), |head| head.query = None));
    }

    #[test]
    fn methods_and_sources() {
        let method = |values: &[&str]| Condition {
            field: "http-request-method".to_owned(),
            http_request_method_config: Some(ValuesConfig { values: list(values).unwrap_or_default() }),
            ..Condition::default()
        };
        assert!(passes(method(&["POST", "GET"]), |_| ()));
        assert!(!passes(method(&["POST"]), |_| ()));
        let source = |values: &[&str]| Condition {
            field: "source-ip".to_owned(),
            source_ip_config: Some(ValuesConfig { values: list(values).unwrap_or_default() }),
            ..Condition::default()
        };
        assert!(passes(source(&["10.0.0.0/8", "127.0.0.0/8"]), |_| ()));
        assert!(!passes(source(&["10.0.0.0/8"]), |_| ()));
    }

    #[test]
    fn a_field_that_is_not_known_lets_nothing_through() {
        assert!(!passes(Condition { field: "moon-phase".to_owned(), ..Condition::default() }, |_| ()));
    }
}
