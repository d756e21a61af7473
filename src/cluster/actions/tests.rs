//! Which annotations change, and where.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

fn weights(canary: u32) -> Vec<(String, u32)> {
    vec![("web-stable".to_owned(), 100 - canary), ("web-canary".to_owned(), canary)]
}

/// What becomes of the text at 10 %.
fn at_10(text: &str) -> Option<String> {
    weighed(text, &weights(10))
}

#[test]
fn a_weight_is_changed_where_it_stands() {
    for (text, expected) in [
        (
            r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"web-stable","servicePort":80,"weight":100},{"serviceName":"web-canary","servicePort":80,"weight":0}]}}"#,
            r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"web-stable","servicePort":80,"weight":90},{"serviceName":"web-canary","servicePort":80,"weight":10}]}}"#,
        ),
        // As the built-in router writes it.
        (
            r#"{"Type":"forward","ForwardConfig":{"TargetGroups":[{"ServiceName":"web-canary","ServicePort":"80","Weight":0},{"ServiceName":"web-stable","ServicePort":"80","Weight":100}]}}"#,
            r#"{"Type":"forward","ForwardConfig":{"TargetGroups":[{"ServiceName":"web-canary","ServicePort":"80","Weight":10},{"ServiceName":"web-stable","ServicePort":"80","Weight":90}]}}"#,
        ),
        // As a person writes it, with other groups, stickiness, and what nobody knows yet.
        (
            r#"{ "order": 1.50, "Type" : "forward", "forwardConfig": {
  "targetGroupStickinessConfig": { "enabled": true, "durationSeconds": 60 },
  "targetGroups": [ { "weight": 1, "serviceName": "web-stable", "servicePort": "http" },
                    { "targetGroupARN": "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/old/1", "weight": 7 },
                    { "serviceName": "extra", "weight": 3 },
                    { "serviceName": "web-canary", "servicePort": "http" } ] } }"#,
            r#"{ "order": 1.50, "Type" : "forward", "forwardConfig": {
  "targetGroupStickinessConfig": { "enabled": true, "durationSeconds": 60 },
  "targetGroups": [ { "weight": 90, "serviceName": "web-stable", "servicePort": "http" },
                    { "targetGroupARN": "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/old/1", "weight": 7 },
                    { "serviceName": "extra", "weight": 3 },
                    { "serviceName": "web-canary", "servicePort": "http","weight":10 } ] } }"#,
        ),
        // Go takes the last of two, and nothing for null.
        (
            r#"{"TYPE":"forward","forwardconfig":{"targetgroups":[{"SERVICENAME":"web-stable","weight":1,"Weight":2},{"ServiceName":"web-canary","weight":null}]}}"#,
            r#"{"TYPE":"forward","forwardconfig":{"targetgroups":[{"SERVICENAME":"web-stable","weight":1,"Weight":90},{"ServiceName":"web-canary","weight":10}]}}"#,
        ),
        (
            r#"{"Type":"forward","ForwardConfig":{"TargetGroups":[{"ServiceName":"web-stable"},{"ServiceName":"web-\u0063anary"}]}}"#,
            r#"{"Type":"forward","ForwardConfig":{"TargetGroups":[{"ServiceName":"web-stable","Weight":90},{"ServiceName":"web-\u0063anary","Weight":10}]}}"#,
        ),
    ] {
        assert_eq!(at_10(text).as_deref(), Some(expected));
        assert_eq!(at_10(expected).as_deref(), Some(expected), "it stays as it is");
    }
}

#[test]
fn what_does_not_forward_to_all_of_them_is_not_ours() {
    let both = r#"[{"serviceName":"web-stable","weight":1},{"serviceName":"web-canary","weight":1}]"#;
    for text in [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "forward".to_owned(),
        r#"{"type":"fixed-response","fixedResponseConfig":{"statusCode":"503"}}"#.to_owned(),
        r#"{"type":"forward","targetGroupARN":"arn"}"#.to_owned(),
        r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"web-stable","weight":1}]}}"#.to_owned(),
        r#"{"type":"forward","forwardConfig":{"targetGroups":[1]}}"#.to_owned(),
        format!(r#"{{"type":"redirect","forwardConfig":{{"targetGroups":{both}}}}}"#),
        format!(r#"{{"type":"forward","forwardConfig":{both}}}"#),
        format!(r#"{{"type":"forward","forwardConfig":{{"targetGroups":{both}}}"#),
    ] {
        assert_eq!(at_10(&text), None, "{text}");
    }
    assert!(at_10(&format!(r#"{{"type":"forward","forwardConfig":{{"targetGroups":{both}}}}}"#)).is_some());
}

#[test]
fn only_actions_that_change_are_written() {
    let action = |canary: u32| {
        let group = |(service, weight)| json!({"serviceName": service, "servicePort": 80, "weight": weight});
        let groups: Vec<Value> = weights(canary).into_iter().map(group).collect();
        json!({"type": "forward", "forwardConfig": {"targetGroups": groups}}).to_string()
    };
    let annotations = |entries: &[(&str, String)]| -> BTreeMap<String, String> {
        entries.iter().map(|(key, text)| ((*key).to_owned(), text.clone())).collect()
    };
    let all = annotations(&[
        ("alb.ingress.kubernetes.io/actions.a", action(0)),
        ("alb.ingress.kubernetes.io/actions.b", action(10)),
        ("alb.ingress.kubernetes.io/actions.c", r#"{"type":"redirect"}"#.to_owned()),
        ("alb.ingress.kubernetes.io/conditions.a", action(0)),
        ("other.example.com/actions.a", action(0)),
        ("alb.ingress.kubernetes.io/scheme", "internal".to_owned()),
    ]);
    let expected = annotations(&[("alb.ingress.kubernetes.io/actions.a", action(10))]);
    assert_eq!(changed(&all, PREFIX, &weights(10)), Some(expected));
    let other = annotations(&[("other.example.com/actions.a", action(10))]);
    assert_eq!(changed(&all, "other.example.com", &weights(10)), Some(other));
    let shown = annotations(&[("alb.ingress.kubernetes.io/actions.b", action(10))]);
    assert_eq!(changed(&shown, PREFIX, &weights(10)), Some(BTreeMap::new()));
    assert_eq!(changed(&annotations(&[("a", "b".to_owned())]), PREFIX, &weights(10)), None);
}

/// Spaces where JSON allows them.
fn space() -> impl Strategy<Value = String> {
    "[ \n\t]{0,2}"
}

/// One target group of an action, and whether it is a Service's of ours.
fn group(service: &'static str) -> impl Strategy<Value = String> {
    let extra = prop_oneof![Just(""), Just(r#""servicePort":"http""#), Just(r#""new":{"weight":[5,"}]"]}"#)];
    (space(), prop_oneof![Just("serviceName"), Just("ServiceName")], extra, proptest::option::of(0_u32..1000)).prop_map(
        move |(space, key, extra, weight)| {
            let members = [
                weight.map(|weight| format!(r#""Weight"{space}:{space}{weight}"#)),
                Some(format!(r#""{key}":{space}"{service}""#)),
                Some(extra.to_owned()).filter(|extra| !extra.is_empty()),
            ];
            let members: Vec<String> = members.into_iter().flatten().collect();
            format!("{{{space}{}{space}}}", members.join(&format!("{space},")))
        },
    )
}

/// The action without the weights of our Services.
fn without_weights(text: &str) -> Value {
    let mut action: Value = serde_json::from_str(text).unwrap();
    for group in action["forwardConfig"]["targetGroups"].as_array_mut().unwrap() {
        let fields = group.as_object_mut().unwrap();
        let name = fields.get("serviceName").or_else(|| fields.get("ServiceName")).and_then(Value::as_str);
        if name.is_some_and(|name| name.starts_with("web-")) {
            fields.retain(|key, _| !key.eq_ignore_ascii_case("weight"));
        }
    }
    action
}

/// The weights of our Services, as Go reads them.
fn shown(text: &str) -> BTreeSet<(String, u64)> {
    let action: Value = serde_json::from_str(text).unwrap();
    let groups = action["forwardConfig"]["targetGroups"].as_array().unwrap();
    let weight = |group: &Value| {
        let fields: BTreeMap<String, &Value> =
            group.as_object().unwrap().iter().map(|(key, value)| (key.to_ascii_lowercase(), value)).collect();
        let name = fields.get("servicename")?.as_str().filter(|name| name.starts_with("web-"))?;
        Some((name.to_owned(), fields.get("weight")?.as_u64()?))
    };
    groups.iter().filter_map(weight).collect()
}

proptest! {
    #[test]
    fn it_differs_in_our_weights_and_in_nothing_else(
        stable in group("web-stable"), canary in group("web-canary"), other in group("other"),
        order in Just([0_usize, 1, 2]).prop_shuffle(), space in space(), wished in 0_u32..=100,
    ) {
        let groups = [stable, canary, other];
        let groups: Vec<&str> = order.iter().map(|at| groups[*at].as_str()).collect();
        let groups = groups.join(&format!("{space},"));
        let text = format!(
            r#"{{"zeta":1.0,{space}"type":"forward","forwardConfig":{{"weight":3,"targetGroups":{space}[{groups}]}},"a":"é"}}"#
        );
        let new = weighed(&text, &weights(wished)).unwrap();
        prop_assert_eq!(without_weights(&new), without_weights(&text));
        let expected = weights(wished).into_iter().map(|(name, weight)| (name, u64::from(weight))).collect();
        prop_assert_eq!(shown(&new), expected);
        // Not only in meaning: but for digits and new weights the text is the same.
        let bare = |text: &str| text.replace(r#","weight":"#, "").replace(r#","Weight":"#, "")
            .replace(|one: char| one.is_ascii_digit(), "");
        if text.matches("eight").count() == new.matches("eight").count() {
            prop_assert_eq!(bare(&new), bare(&text));
        }
    }
}
