use super::*;
use crate::control_plane::model::shapes::{HttpHeaderConfig, QueryStringConfig, QueryStringPair, ValuesConfig};

fn texts_of(values: &[&str]) -> Option<Vec<String>> {
    Some(values.iter().map(|value| (*value).to_owned()).collect())
}

fn bare(field: &str, values: &[&str]) -> Condition {
    Condition { field: field.to_owned(), values: texts_of(values), ..Condition::default() }
}

fn host(values: &[&str]) -> Condition {
    let config = PatternConfig { values: texts_of(values), regex_values: None };
    Condition { field: "host-header".to_owned(), host_header_config: Some(config), ..Condition::default() }
}

fn header(name: &str, values: &[&str]) -> Condition {
    let config =
        HttpHeaderConfig { http_header_name: Some(name.to_owned()), values: texts_of(values), regex_values: None };
    Condition { field: "http-header".to_owned(), http_header_config: Some(config), ..Condition::default() }
}

fn method(values: &[&str]) -> Condition {
    let config = ValuesConfig { values: texts_of(values).unwrap_or_default() };
    Condition {
        field: "http-request-method".to_owned(),
        http_request_method_config: Some(config),
        ..Condition::default()
    }
}

fn source(values: &[&str]) -> Condition {
    let config = ValuesConfig { values: texts_of(values).unwrap_or_default() };
    Condition { field: "source-ip".to_owned(), source_ip_config: Some(config), ..Condition::default() }
}

fn query(pairs: &[(Option<&str>, &str)]) -> Condition {
    let pair = |(key, value): &(Option<&str>, &str)| QueryStringPair {
        key: key.map(str::to_owned),
        value: (*value).to_owned(),
    };
    let config = QueryStringConfig { values: pairs.iter().map(pair).collect() };
    Condition { field: "query-string".to_owned(), query_string_config: Some(config), ..Condition::default() }
}

fn regex_path(values: &[&str]) -> Condition {
    Condition { field: "path-pattern".to_owned(), regex_values: texts_of(values), ..Condition::default() }
}

#[test]
fn every_field_is_accepted() {
    let long_path = format!("/{}", "a".repeat(127));
    for good in [
        host(&["*.example.com"]),
        bare("host-header", &["a.example.com"]),
        bare("path-pattern", &[&long_path]),
        regex_path(&["^/v[0-9]+/"]),
        header("X-Canary", &["always", "?es"]),
        method(&["GET", "M-SEARCH"]),
        source(&["10.0.0.0/8", "2001:db8::/32"]),
        query(&[(Some("version"), "v1"), (None, "*debug*")]),
    ] {
        assert!(conditions(vec![good.clone()]).is_ok(), "{good:?}: {:?}", conditions(vec![good.clone()]));
    }
    let several = vec![header("a", &["1"]), header("b", &["1"]), query(&[(None, "x")]), query(&[(None, "y")])];
    assert!(conditions(several).is_ok(), "headers and query strings may repeat");
    let five_pairs = query(&[(Some("key"), "value"); 5]);
    assert!(conditions(vec![five_pairs]).is_ok(), "a pair is one value");
}

#[test]
fn hosts_and_paths_are_described_in_both_forms() {
    let config = PatternConfig { values: texts_of(&["a.example.com"]), regex_values: None };
    let expected = Condition { host_header_config: Some(config), ..bare("host-header", &["a.example.com"]) };
    for given in [host(&["a.example.com"]), bare("host-header", &["a.example.com"]), expected.clone()] {
        assert_eq!(conditions(vec![given]), Ok(vec![expected.clone()]));
    }
    let regex = conditions(vec![regex_path(&["^/a$"])]).expect("a regular expression");
    let config = PatternConfig { values: None, regex_values: texts_of(&["^/a$"]) };
    assert_eq!(regex[0].path_pattern_config, Some(config));
    assert_eq!((&regex[0].values, &regex[0].regex_values), (&None, &None));
}

#[test]
fn what_aws_refuses_is_refused() {
    let long = "a".repeat(129);
    let two_lists = Condition { values: texts_of(&["b.example.com"]), ..host(&["a.example.com"]) };
    let both_kinds = Condition { values: texts_of(&["/a"]), ..regex_path(&["^/a$"]) };
    let of_another = Condition { field: "path-pattern".to_owned(), ..host(&["a.example.com"]) };
    let bare_method = bare("http-request-method", &["GET"]);
    let regex_method = Condition { regex_values: texts_of(&["GET"]), ..method(&["GET"]) };
    for bad in [
        vec![],
        vec![host(&[])],
        vec![host(&["localhost"])],
        vec![host(&[&format!("{long}.com")])],
        vec![bare("path-pattern", &[&long])],
        vec![bare("cookie", &["a"])],
        vec![method(&["get"])],
        vec![method(&[&"A".repeat(41)])],
        vec![source(&["10.0.0.0"])],
        vec![source(&["10.0.0.0/33"])],
        vec![source(&["anywhere/8"])],
        vec![header("", &["a"])],
        vec![header("Host", &["a"])],
        vec![header("a b", &["a"])],
        vec![header(&"a".repeat(41), &["a"])],
        vec![header("a", &[])],
        vec![query(&[])],
        vec![query(&[(Some("key"), "value"); 6])],
        vec![two_lists],
        vec![both_kinds],
        vec![of_another],
        vec![bare_method],
        vec![regex_method],
        vec![host(&["a.example.com"]), bare("host-header", &["b.example.com"])],
        vec![method(&["GET"]), method(&["PUT"])],
        vec![source(&["10.0.0.0/8"]), source(&["11.0.0.0/8"])],
        vec![bare("path-pattern", &["/a"]), regex_path(&["/b"])],
        vec![header("a", &["1", "2", "3"]), header("b", &["1", "2", "3"])],
        vec![bare("path-pattern", &["/*/*/*/*/*/*"])],
    ] {
        match conditions(bad.clone()) {
            Err(error) => assert_eq!(error.code, "ValidationError", "{bad:?}"),
            Ok(kept) => panic!("accepted {bad:?} as {kept:?}"),
        }
    }
}
