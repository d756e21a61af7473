//! What an announcement changes, and where.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

mod property;

const PREFIX: &str = "alb.ingress.kubernetes.io";

fn weights(canary: u32) -> Vec<(String, u32)> {
    vec![("web-stable".to_owned(), 100 - canary), ("web-canary".to_owned(), canary)]
}

fn announcement(weights: Vec<(String, u32)>) -> Announcement {
    Announcement {
        prefix: PREFIX.to_owned(),
        rollout: "web".to_owned(),
        weights,
        joining: Vec::new(),
        leaving: Vec::new(),
        root: None,
        stickiness: None,
    }
}

fn annotations(entries: &[(&str, &str)]) -> BTreeMap<String, String> {
    entries.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

/// What becomes of an action.
fn becomes(text: &str, announcement: &Announcement) -> Option<String> {
    let key = action::key(PREFIX, "actions", "web");
    let changed = changed(&annotations(&[(&key, text)]), announcement)?;
    Some(changed.get(&key).cloned().flatten().unwrap_or_else(|| text.to_owned()))
}

/// What becomes of the text at 10 %.
fn at_10(text: &str) -> Option<String> {
    becomes(text, &announcement(weights(10)))
}

/// An action at 0 %, as the controller's documents write it, with other groups.
fn action_with(groups: &str) -> String {
    format!(r#"{{"type":"forward","forwardConfig":{{"targetGroups":[{groups}]}}}}"#)
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
fn what_does_not_forward_to_both_is_not_ours() {
    let both = r#"[{"serviceName":"web-stable","weight":1},{"serviceName":"web-canary","weight":1}]"#;
    for text in [
        String::new(),
        "null".to_owned(),
        "[]".to_owned(),
        "forward".to_owned(),
        r#"{"type":"fixed-response","fixedResponseConfig":{"statusCode":"503"}}"#.to_owned(),
        r#"{"type":"forward","targetGroupARN":"arn"}"#.to_owned(),
        action_with(r#"{"serviceName":"web-stable","weight":1}"#),
        action_with("1"),
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
        let group = |(service, weight): (String, u32)| {
            format!(r#"{{"serviceName":"{service}","servicePort":80,"weight":{weight}}}"#)
        };
        action_with(&weights(canary).into_iter().map(group).collect::<Vec<_>>().join(","))
    };
    let (before, after) = (action(0), action(10));
    let all = annotations(&[
        ("alb.ingress.kubernetes.io/actions.a", &before),
        ("alb.ingress.kubernetes.io/actions.b", &after),
        ("alb.ingress.kubernetes.io/actions.c", r#"{"type":"redirect"}"#),
        ("alb.ingress.kubernetes.io/conditions.a", &before),
        ("other.example.com/actions.a", &before),
        ("alb.ingress.kubernetes.io/scheme", "internal"),
    ]);
    let at_10 = announcement(weights(10));
    let expected = BTreeMap::from([("alb.ingress.kubernetes.io/actions.a".to_owned(), Some(after.clone()))]);
    assert_eq!(changed(&all, &at_10), Some(expected));
    let other = BTreeMap::from([("other.example.com/actions.a".to_owned(), Some(after.clone()))]);
    let elsewhere = Announcement { prefix: "other.example.com".to_owned(), ..at_10.clone() };
    assert_eq!(changed(&all, &elsewhere), Some(other));
    let shown = annotations(&[("alb.ingress.kubernetes.io/actions.b", &after)]);
    assert_eq!(changed(&shown, &at_10), Some(BTreeMap::new()));
    assert_eq!(changed(&annotations(&[("a", "b")]), &at_10), None);
}

#[test]
fn a_further_service_comes_in_with_the_port_of_stable_and_leaves_with_its_comma() {
    let stable = r#"{"serviceName":"web-stable","servicePort":"http","weight":100}"#;
    let canary = r#"{"serviceName":"web-canary","servicePort":"http","weight":0}"#;
    let (a, b) =
        (r#"{"serviceName":"exp-a","servicePort":"http","weight":5}"#, r#"{"serviceName":"exp-b","weight":1}"#);
    let mut wished = announcement(vec![("web-stable".to_owned(), 100), ("web-canary".to_owned(), 0)]);
    wished.weights.push(("exp-a".to_owned(), 5));
    // Nobody lets it in by giving it a weight.
    assert_eq!(
        becomes(&action_with(&format!("{stable}, {canary}")), &wished),
        Some(action_with(&format!("{stable}, {canary}")))
    );
    wished.joining = vec![Joining { service: "exp-a".to_owned(), ports: Vec::new() }];
    let two = action_with(&format!("{stable} ,\n {canary}\n"));
    let three = action_with(&format!("{stable} ,\n {canary},{a}\n"));
    assert_eq!(becomes(&two, &wished), Some(three.clone()));
    assert_eq!(becomes(&three, &wished), Some(three.clone()));
    let heavier = Announcement {
        weights: vec![wished.weights[0].clone(), wished.weights[1].clone(), ("exp-a".to_owned(), 7)],
        ..wished.clone()
    };
    assert_eq!(becomes(&three, &heavier), Some(three.replace(r#""weight":5"#, r#""weight":7"#)));

    let mut over = announcement(wished.weights[..2].to_vec());
    over.leaving = vec!["exp-a".to_owned(), "exp-b".to_owned(), "never".to_owned()];
    for (groups, expected) in [
        (format!("{stable} ,\n {canary},{a}\n"), format!("{stable} ,\n {canary}\n")),
        (format!("{a} , {stable},{canary}"), format!("{stable},{canary}")),
        (format!("{a} ,{b}, {stable},{canary}"), format!("{stable},{canary}")),
        (format!("{stable} , {a} , {b} , {canary}"), format!("{stable} , {canary}")),
        (format!("{a}, {stable} ,{b} ,{canary} , {a}, {b} "), format!("{stable} ,{canary} ")),
    ] {
        assert_eq!(becomes(&action_with(&groups), &over), Some(action_with(&expected)), "{groups}");
    }
    // Both in one: one leaves from the end, another comes there.
    let swapped = Announcement { leaving: vec!["exp-b".to_owned()], ..wished };
    let text = action_with(&format!("{canary}, {stable}, {b}"));
    assert_eq!(becomes(&text, &swapped), Some(action_with(&format!("{canary}, {stable},{a}"))));
    // Who has a weight does not leave.
    let confused = Announcement { leaving: vec!["web-canary".to_owned()], ..announcement(weights(0)) };
    assert_eq!(becomes(&two, &confused), Some(two));
}

#[test]
fn a_further_service_is_written_in_the_style_of_stable() {
    let text = r#"{"Type":"forward","ForwardConfig":{"TargetGroups":[{"ServiceName":"web-canary","ServicePort":"80","Weight":10},{"ServiceName":"web-stable","ServicePort":"80","Weight":90}]}}"#;
    let mut wished = announcement(weights(10));
    wished.weights.push(("exp-ü".to_owned(), 3));
    let port = |text: &str| ServicePort(text.to_owned());
    wished.joining = vec![Joining { service: "exp-ü".to_owned(), ports: vec![(port("80"), port("80"))] }];
    let new = becomes(text, &wished).unwrap();
    assert!(new.ends_with(r#""Weight":90},{"ServiceName":"exp-ü","ServicePort":"80","Weight":3}]}}"#), "{new}");
    // Where it has another port, or a name for it.
    for (own, expected) in [("8080", "8080"), ("http", r#""http""#)] {
        wished.joining[0].ports = vec![(port("9"), port("9999")), (port("80"), port(own))];
        let new = becomes(text, &wished).unwrap();
        let end = format!(r#"{{"ServiceName":"exp-ü","ServicePort":{expected},"Weight":3}}]}}}}"#);
        assert!(new.ends_with(&end), "{new}");
    }
}

#[test]
fn a_root_is_made_where_there_is_none() {
    let mut wished = announcement(weights(0));
    let root = |port: &str| Some(("web-root".to_owned(), ServicePort(port.to_owned())));
    wished.root = root("80");
    let key = "alb.ingress.kubernetes.io/actions.web-root";
    let made = |wished: &Announcement| changed(&BTreeMap::new(), wished).unwrap().remove(key).flatten().unwrap();
    assert_eq!(
        made(&wished),
        r#"{"type":"forward","forwardConfig":{"targetGroups":[{"serviceName":"web-stable","servicePort":80,"weight":100},{"serviceName":"web-canary","servicePort":80,"weight":0}]}}"#
    );
    assert_eq!(changed(&annotations(&[(key, &made(&wished))]), &wished), Some(BTreeMap::new()), "it is there");
    wished.root = root("http");
    wished.stickiness = Some(Stickiness { enabled: true, seconds: 60 });
    let sticky = made(&wished);
    assert!(
        sticky.contains(
            r#""servicePort":"http","weight":0}],"targetGroupStickinessConfig":{"enabled":true,"durationSeconds":60}}}"#
        ),
        "{sticky}"
    );
    assert_eq!(changed(&annotations(&[(key, &sticky)]), &wished), Some(BTreeMap::new()), "it is there");
    // What its author wrote is theirs.
    assert_eq!(changed(&annotations(&[(key, r#"{"type":"redirect"}"#)]), &wished), None);
}

#[test]
fn stickiness_is_said_where_it_is_not() {
    let groups = r#"[{"serviceName":"web-stable","weight":90},{"serviceName":"web-canary","weight":10}]"#;
    let on = Stickiness { enabled: true, seconds: 60 };
    let off = Stickiness { enabled: false, seconds: 60 };
    for (wished, before, after) in [
        (on, "", r#","targetGroupStickinessConfig":{"enabled":true,"durationSeconds":60}"#),
        (off, "", r#","targetGroupStickinessConfig":{"enabled":false}"#),
        (
            on,
            r#", "TARGETGROUPSTICKINESSCONFIG": null"#,
            r#", "TARGETGROUPSTICKINESSCONFIG": {"Enabled":true,"DurationSeconds":60}"#,
        ),
        (
            on,
            r#", "targetGroupStickinessConfig" : { "enabled": true, "durationSeconds": 5 } , "new": 1"#,
            r#", "targetGroupStickinessConfig" : {"enabled":true,"durationSeconds":60} , "new": 1"#,
        ),
        (
            on,
            r#","targetGroupStickinessConfig":{ "DurationSeconds":60, "enabled" : true }"#,
            r#","targetGroupStickinessConfig":{ "DurationSeconds":60, "enabled" : true }"#,
        ),
        (
            off,
            r#","targetGroupStickinessConfig":{"enabled":false,"durationSeconds":5}"#,
            r#","targetGroupStickinessConfig":{"enabled":false,"durationSeconds":5}"#,
        ),
        (
            off,
            r#","targetGroupStickinessConfig":{"enabled":true,"durationSeconds":5}"#,
            r#","targetGroupStickinessConfig":{"enabled":false}"#,
        ),
    ] {
        let text =
            |config: &str| format!(r#"{{"type":"forward","forwardConfig":{{"targetGroups":{groups}{config}}}}}"#);
        let wished = Announcement { stickiness: Some(wished), ..announcement(weights(10)) };
        assert_eq!(becomes(&text(before), &wished), Some(text(after)), "{before}");
        assert_eq!(becomes(&text(before), &announcement(weights(10))), Some(text(before)), "nobody asked");
    }
}

#[test]
fn the_built_in_routers_note_loses_our_rollout_and_no_other() {
    let action = action_with(r#"{"serviceName":"web-stable","weight":90},{"serviceName":"web-canary","weight":10}"#);
    for (note, expected) in [
        (r#"{"web":["a"]}"#, Some(None)),
        (r#"{"other":["a"],"web":["b","c"]}"#, Some(Some(r#"{"other":["a"]}"#))),
        (r#"{"other":null,"web":null}"#, Some(Some(r#"{"other":null}"#))),
        (r#"{"other":["a"]}"#, None),
        ("{}", None),
        (r#"["web"]"#, None),
        (r#"{"web":1}"#, None),
        ("web", None),
    ] {
        let all = annotations(&[("alb.ingress.kubernetes.io/actions.web", &action), (MANAGED, note)]);
        let mut changed = changed(&all, &announcement(weights(10))).unwrap();
        assert_eq!(changed.remove(MANAGED), expected.map(|text| text.map(str::to_owned)), "{note}");
        assert!(changed.is_empty(), "{changed:?}");
    }
}
