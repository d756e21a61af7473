//! What an entry may say.

use serde_json::json;

use super::*;

const GROUP: &str = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/stable/a";
const OTHER: &str = "arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/canary/b";
const RULE: &str = "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/a/b/c/d";

fn problem(entry: &Value) -> String {
    Entry::read(entry.to_string()).unwrap_err().to_string()
}

#[test]
fn an_explicit_entry_is_read() {
    let entry = json!({STABLE: GROUP, CANARY: OTHER, RULES: [RULE]});
    let entry = Entry::read(entry.to_string()).unwrap();
    assert_eq!(entry.arns().collect::<Vec<_>>(), [GROUP, OTHER, RULE]);
    let entry = Entry::read(json!({STABLE: GROUP, CANARY: OTHER}).to_string()).unwrap();
    assert_eq!(entry.rules, None);
}

#[test]
fn an_unknown_key_is_named_with_the_nearest_right_one() {
    for (given, meant) in
        [("stableTargetGroupARN", STABLE), ("canaryTargetGroup", CANARY), ("ruleArn", RULES), ("ingres", "ingress")]
    {
        let text = problem(&json!({given: "x"}));
        assert!(text.contains(&format!("`{given}` is not a key of this plugin; did you mean `{meant}`?")), "{text}");
    }
    assert!(problem(&json!({"zzz": 1})).contains("it understands stableTargetGroupArn"));
}

#[test]
fn what_a_later_version_brings_is_not_ignored() {
    for key in LATER {
        let text = problem(&json!({STABLE: GROUP, CANARY: OTHER, key: "x"}));
        assert!(text.contains(&format!("`{key}` is not supported by this version yet")), "{text}");
    }
    assert!(problem(&json!({})).contains("does not find target groups by itself yet"));
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = problem(&json!({STABLE: 7, CANARY: "web", RULES: [RULE, RULE, 1, "x"], "zzz": 1}));
    for part in [
        "must be a string, not 7",
        "`web` is not the ARN of a target group",
        "twice",
        "must hold strings, not 1",
        "`x` is not the ARN of a listener rule",
        "`zzz`",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(problem(&json!([])).contains("must be a map"));
    assert!(Entry::read("{").unwrap_err().to_string().contains("not JSON"));
    assert!(problem(&json!({STABLE: GROUP, CANARY: OTHER, RULES: []})).contains("is empty"));
}

#[test]
fn gates_and_settle_time_are_read_and_checked() {
    let with = |key: &str, value: Value| {
        let mut entry = json!({STABLE: GROUP, CANARY: OTHER});
        entry[key] = value;
        entry
    };
    let read = |entry: &Value| Entry::read(entry.to_string()).unwrap();
    let plain = read(&json!({STABLE: GROUP, CANARY: OTHER}));
    assert_eq!((plain.gates, plain.settle), (Gates::default(), None));
    assert_eq!(read(&with(SETTLE, json!(0))).settle, Some(Duration::ZERO));
    let given = json!({RISING: false, PROMOTION: true, MIN_HEALTHY: 50});
    let expected = Gates { rising: false, promotion: true, min_healthy_percent: 50 };
    assert_eq!(read(&with(GATES, given)).gates, expected);
    for (key, value, part) in [
        (SETTLE, json!(601), "from 0 to 600, not 601"),
        (SETTLE, json!("10s"), "a whole number of seconds"),
        (GATES, json!(true), "must be a map"),
        (GATES, json!({RISING: "no"}), "gates.rising must be true or false"),
        (GATES, json!({MIN_HEALTHY: 0}), "from 1 to 100, not 0"),
        (GATES, json!({"raising": true}), "did you mean `rising`?"),
        (GATES, json!({"zzz": true}), "it understands rising, promotion, minHealthyPercent"),
    ] {
        let text = problem(&with(key, value));
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn groups_and_rules_must_fit_each_other() {
    assert!(problem(&json!({STABLE: GROUP, CANARY: GROUP})).contains("the same target group"));
    let elsewhere = OTHER.replace("eu-west-1", "us-east-1");
    assert!(problem(&json!({STABLE: GROUP, CANARY: elsewhere})).contains("is in us-east-1, but"));
    let network = RULE.replace("/app/", "/net/");
    let text = problem(&json!({STABLE: GROUP, CANARY: OTHER, RULES: [network]}));
    assert!(text.contains("is not a rule of an Application Load Balancer"), "{text}");
}
