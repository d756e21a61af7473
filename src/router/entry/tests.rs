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
fn nothing_has_to_be_said() {
    let entry = Entry::read("{}").unwrap();
    assert_eq!((entry.groups, entry.rules, entry.role), (None, None, None));
    let narrowing = entry.narrowing;
    assert_eq!((narrowing.ingresses.len(), narrowing.prefix.as_str()), (0, "alb.ingress.kubernetes.io"));
}

#[test]
fn what_narrows_the_search_is_read() {
    let entry = json!({
        INGRESS: "web", SERVICE_PORT: 80, ROOT_SERVICE: "web-root", PREFIX: "alb.example.com", REGION: "eu-west-1",
        STICKINESS: {ENABLED: true, DURATION: 60}, ROLE: "arn:aws:iam::1:role/other", EXTERNAL_ID: "x",
    });
    let read = Entry::read(entry.to_string()).unwrap();
    let expected = Narrowing {
        ingresses: vec!["web".to_owned()],
        port: Some("80".to_owned()),
        root: Some("web-root".to_owned()),
        prefix: "alb.example.com".to_owned(),
        stickiness: Some(Stickiness { enabled: true, seconds: 60 }),
        region: Some("eu-west-1".to_owned()),
    };
    assert_eq!(read.narrowing, expected);
    assert_eq!(read.arns().collect::<Vec<_>>(), ["arn:aws:iam::1:role/other"]);
    let many = Entry::read(json!({INGRESSES: ["a", "b"], SERVICE_PORT: "http"}).to_string()).unwrap().narrowing;
    assert_eq!((many.ingresses, many.port.as_deref()), (vec!["a".to_owned(), "b".to_owned()], Some("http")));
    for (entry, part) in [
        (json!({INGRESS: "a", INGRESSES: ["b"]}), "name all of them in ingresses"),
        (json!({INGRESSES: []}), "ingresses is empty"),
        (json!({SERVICE_PORT: 0}), "servicePort must be a port's number or its name, not 0"),
        (json!({STICKINESS: {ENABLED: true}}), "stickinessConfig.durationSeconds is missing"),
        (
            json!({STICKINESS: {DURATION: 0}}),
            "stickinessConfig.durationSeconds must be a whole number from 1 to 604800",
        ),
        (json!({ROLE: "admin"}), "`admin` is not the ARN of a role"),
        (json!({EXTERNAL_ID: "x"}), "assumeRoleArn is missing"),
        (json!({RULES: [RULE]}), "ruleArns needs the target groups"),
        (
            json!({STABLE: GROUP, CANARY: OTHER, SERVICE_PORT: 80}),
            "servicePort is for target groups that the plugin finds",
        ),
        (json!({STABLE: GROUP}), "canaryTargetGroupArn is missing"),
    ] {
        let text = problem(&entry);
        assert!(text.contains(part), "{part} in {text}");
    }
}

#[test]
fn everything_wrong_is_said_at_once() {
    let text = problem(&json!({STABLE: 7, CANARY: "web", RULES: [RULE, RULE, "x"], "zzz": 1}));
    for part in [
        "must be a text, not 7",
        "`web` is not the ARN of a target group",
        "twice",
        "`x` is not the ARN of a listener rule",
        "`zzz`",
    ] {
        assert!(text.contains(part), "{part} in {text}");
    }
    assert!(problem(&json!({STABLE: GROUP, CANARY: OTHER, RULES: [1]})).contains("must be a list of texts, not 1"));
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
        (SETTLE, json!("10s"), "a whole number from 0 to 600"),
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
}
