use std::collections::BTreeMap;

use serde::Deserialize;

use super::*;

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Input {
    name: String,
    port: Option<u16>,
    enabled: Option<bool>,
    kind: Option<Color>,
    #[serde(default)]
    items: Vec<Item>,
    labels: Option<BTreeMap<String, String>>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", deny_unknown_fields)]
struct Item {
    arn: String,
    weight: Option<u16>,
}

#[derive(Debug, PartialEq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Color {
    DarkRed,
}

fn read(parameters: &str) -> Result<Input, String> {
    let body = format!("Action=Paint&Version=2015-12-01&{parameters}");
    let request = Request::parse(body.as_bytes()).map_err(|error| error.message)?;
    assert_eq!(request.action, "Paint");
    request.parameters.read().map_err(|error| {
        assert_eq!(error.code, "ValidationError");
        error.message
    })
}

fn named(name: &str) -> Input {
    Input { name: name.to_owned(), port: None, enabled: None, kind: None, items: Vec::new(), labels: None }
}

#[test]
fn every_shape_of_the_protocol_is_read() {
    let input = read(
        "Name=a+b%26c&Port=80&Enabled=true&Kind=dark-red&Items.member.1.Arn=x&Items.member.1.Weight=0&Items.member.2.Arn=y\
         &Labels.entry.1.key=display&Labels.entry.1.value=page&Labels.entry.2.key=prompt&Labels.entry.2.value=login",
    );
    let item = |arn: &str, weight| Item { arn: arn.to_owned(), weight };
    let labels = [("display", "page"), ("prompt", "login")].map(|(key, value)| (key.to_owned(), value.to_owned()));
    assert_eq!(
        input,
        Ok(Input {
            name: "a b&c".to_owned(),
            port: Some(80),
            enabled: Some(true),
            kind: Some(Color::DarkRed),
            items: vec![item("x", Some(0)), item("y", None)],
            labels: Some(BTreeMap::from(labels)),
        })
    );
}

#[test]
fn members_come_in_the_order_of_their_numbers() {
    let parameters: Vec<String> = (1..=12).rev().map(|n| format!("Items.member.{n}.Arn=i{n}")).collect();
    let input = read(&format!("Name=n&{}", parameters.join("&"))).expect("a list");
    let arns: Vec<String> = input.items.into_iter().map(|item| item.arn).collect();
    assert_eq!(arns, (1..=12).map(|n| format!("i{n}")).collect::<Vec<_>>());
}

#[test]
fn an_empty_list_is_an_absent_one() {
    assert_eq!(read("Name=n&Items="), Ok(named("n")));
}

#[test]
fn what_does_not_fit_is_named_with_its_place() {
    for (parameters, expected) in [
        ("Port=80", "'Name' must be specified"),
        ("Name=n&Colour=red", "the lab does not model a parameter 'Colour' here"),
        ("Name=n&Items.member.2.Size=3", "parameter 'Items.member.2': the lab does not model a parameter 'Size' here"),
        ("Name=n&Items.member.1.Weight=3", "parameter 'Items.member.1': 'Arn' must be specified"),
        ("Name=n&Port=-1", "parameter 'Port': value '-1' is not a whole number in range"),
        ("Name=n&Port=65536", "parameter 'Port': value '65536' is not a whole number in range"),
        ("Name=n&Enabled=yes", "parameter 'Enabled': value 'yes' is neither true nor false"),
        ("Name=n&Kind=blue", "parameter 'Kind': unknown variant `blue`, expected `dark-red`"),
        ("Name=n&Items=x", "parameter 'Items': must be a list (member.1, member.2, …)"),
        ("Name=n&Items.entry.1=x", "parameter 'Items': a list has no part 'entry', only 'member'"),
        ("Name=n&Items.member.first.Arn=x", "parameter 'Items.member': 'first' is not an index"),
        ("Name=n&Labels.entry.1.key=x", "parameter 'Labels.entry.1': must have exactly a key and a value"),
        ("Name.First=n", "parameter 'Name': must be a plain value"),
        ("Name=n&Name=m", "parameter 'Name' is given twice"),
        ("Name=n&Name.First=m", "parameter 'Name.First' lies below one that is a plain value"),
        ("Name.First=m&Name=n", "parameter 'Name' is given twice"),
    ] {
        let error = read(parameters).expect_err(parameters);
        assert_eq!(error, expected, "{parameters}");
    }
}

#[test]
fn depth_is_bounded() {
    let name = vec!["a"; 100_000].join(".");
    assert_eq!(read(&format!("{name}=1")), Err("parameter name with more than 16 parts".to_owned()));
}

#[test]
fn a_request_names_an_operation_of_the_published_version() {
    let code = |body: &str| Request::parse(body.as_bytes()).map(|_| ()).map_err(|error| error.code);
    assert_eq!(code("Version=2015-12-01"), Err("MissingAction".into()));
    assert_eq!(code("Action=DescribeRules&Version=2012-06-01"), Err("InvalidAction".into()));
    assert_eq!(code("Action=DescribeRules"), Ok(()));
}
