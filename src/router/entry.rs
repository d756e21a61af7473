//! The plugin's entry in a Rollout, read strictly: whatever is not understood is named before anything is changed.

use std::time::Duration;

use serde_json::{Map, Value};

use super::gate::Gates;
use crate::alb::{RuleArn, TargetGroupArn};

/// Which rules and groups the author means (the source `explicit`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The group behind the stable Service.
    pub(super) stable: TargetGroupArn,
    /// The group behind the canary Service.
    pub(super) canary: TargetGroupArn,
    /// The rules to shift; none means every rule that holds both groups.
    pub(super) rules: Option<Vec<RuleArn>>,
    /// Which gates there are.
    pub(super) gates: Gates,
    /// How long weights must stay true before pods may go; none means the operator's word.
    pub(super) settle: Option<Duration>,
}

/// An entry that cannot be used, with everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub(super) struct EntryError(Vec<String>);

const STABLE: &str = "stableTargetGroupArn";
const CANARY: &str = "canaryTargetGroupArn";
const RULES: &str = "ruleArns";

const GATES: &str = "gates";
const SETTLE: &str = "settleSeconds";

/// The keys that this version understands.
const KEYS: [&str; 5] = [STABLE, CANARY, RULES, GATES, SETTLE];

/// The keys of `gates`.
const RISING: &str = "rising";
const PROMOTION: &str = "promotion";
const MIN_HEALTHY: &str = "minHealthyPercent";

/// No load balancer is known to need longer; a mistake in the unit would hold every step for hours.
pub(crate) const LONGEST_SETTLE: Duration = Duration::from_secs(600);

/// Keys that the documents promise for a later version. Ignoring them would do something else than was asked for.
const LATER: [&str; 10] = [
    "annotationPrefix",
    "assumeRoleArn",
    "externalId",
    "guard",
    "ingress",
    "ingresses",
    "region",
    "rootService",
    "servicePort",
    "stickinessConfig",
];

/// How alike two keys must be, 0 to 1, for one to be suggested for the other.
const ALIKE: f64 = 0.8;

impl Entry {
    /// Reads the JSON text of an entry.
    pub(super) fn read(text: impl AsRef<[u8]>) -> Result<Self, EntryError> {
        let entry = match serde_json::from_slice(text.as_ref()) {
            Ok(Value::Object(entry)) => entry,
            Ok(_) => return Err(EntryError(vec!["it must be a map of keys, such as {}".to_owned()])),
            Err(error) => return Err(EntryError(vec![format!("it is not JSON: {error}")])),
        };
        let mut problems: Vec<String> = entry.keys().filter_map(|key| unknown_key(key)).collect();
        let stable = arn(&entry, STABLE, &mut problems);
        let canary = arn(&entry, CANARY, &mut problems);
        let rules = rules(&entry, &mut problems);
        let gates = gates(&entry, &mut problems);
        let settle = settle(&entry, &mut problems);
        match (stable, canary) {
            (Some(stable), Some(canary)) if problems.is_empty() => {
                let entry = Self { stable, canary, rules, gates, settle };
                entry.check()?;
                Ok(entry)
            }
            _ => Err(EntryError(problems)),
        }
    }

    /// Every ARN the author named.
    pub(super) fn arns(&self) -> impl Iterator<Item = &str> {
        let rules = self.rules.iter().flatten().map(RuleArn::as_str);
        [self.stable.as_str(), self.canary.as_str()].into_iter().chain(rules)
    }

    /// What single values cannot show.
    fn check(&self) -> Result<(), EntryError> {
        if self.stable == self.canary {
            return Err(EntryError(vec![format!("{STABLE} and {CANARY} name the same target group, {}", self.stable)]));
        }
        let region = self.stable.region();
        let strangers = self.rules.iter().flatten().map(|rule| (rule.as_str(), rule.region()));
        let strangers = strangers.chain([(self.canary.as_str(), self.canary.region())]);
        let problems: Vec<String> = strangers
            .filter(|(_, other)| *other != region)
            .map(|(arn, other)| format!("{arn} is in {other}, but {STABLE} is in {region}"))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(EntryError(problems)) }
    }
}

fn unknown_key(key: &str) -> Option<String> {
    if KEYS.contains(&key) {
        return None;
    }
    if LATER.contains(&key) {
        return Some(format!("`{key}` is not supported by this version yet; it understands {}", KEYS.join(", ")));
    }
    let known = KEYS.into_iter().chain(LATER);
    Some(match nearest(key, known) {
        Some(known) => format!("`{key}` is not a key of this plugin; did you mean `{known}`?"),
        None => format!("`{key}` is not a key of this plugin; it understands {}", KEYS.join(", ")),
    })
}

/// The key that was most likely meant.
fn nearest<'k>(key: &str, known: impl IntoIterator<Item = &'k str>) -> Option<&'k str> {
    let lower = key.to_lowercase();
    let alike = known.into_iter().map(|known| (strsim::jaro_winkler(&known.to_lowercase(), &lower), known));
    let alike = alike.filter(|(alike, _)| *alike >= ALIKE);
    alike.max_by(|(one, _), (other, _)| one.total_cmp(other)).map(|(_, known)| known)
}

fn arn(entry: &Map<String, Value>, key: &str, problems: &mut Vec<String>) -> Option<TargetGroupArn> {
    let problem = match entry.get(key) {
        Some(Value::String(text)) => match text.parse() {
            Ok(arn) => return Some(arn),
            Err(error) => format!("{key}: {error}"),
        },
        Some(other) => format!("{key} must be a string, not {other}"),
        None => format!("{key} is missing: this version does not find target groups by itself yet"),
    };
    problems.push(problem);
    None
}

fn rules(entry: &Map<String, Value>, problems: &mut Vec<String>) -> Option<Vec<RuleArn>> {
    let items = match entry.get(RULES)? {
        Value::Array(items) => items,
        other => {
            problems.push(format!("{RULES} must be a list of strings, not {other}"));
            return None;
        }
    };
    if items.is_empty() {
        problems.push(format!("{RULES} is empty; leave it out to shift every rule that holds both groups"));
    }
    let mut rules: Vec<RuleArn> = Vec::with_capacity(items.len());
    for item in items {
        match item.as_str().map(str::parse::<RuleArn>) {
            Some(Ok(rule)) if rules.contains(&rule) => problems.push(format!("{RULES} names {rule} twice")),
            Some(Ok(rule)) if !rule.is_application() => problems.push(format!(
                "{RULES}: {rule} is not a rule of an Application Load Balancer; no other is supported by this version yet"
            )),
            Some(Ok(rule)) => rules.push(rule),
            Some(Err(error)) => problems.push(format!("{RULES}: {error}")),
            None => problems.push(format!("{RULES} must hold strings, not {item}")),
        }
    }
    Some(rules)
}

fn gates(entry: &Map<String, Value>, problems: &mut Vec<String>) -> Gates {
    let mut gates = Gates::default();
    let given = match entry.get(GATES) {
        None => return gates,
        Some(Value::Object(given)) => given,
        Some(other) => {
            problems.push(format!("{GATES} must be a map of keys, not {other}"));
            return gates;
        }
    };
    for (key, value) in given {
        match (key.as_str(), value) {
            (RISING, Value::Bool(on)) => gates.rising = *on,
            (PROMOTION, Value::Bool(on)) => gates.promotion = *on,
            (RISING | PROMOTION, other) => problems.push(format!("{GATES}.{key} must be true or false, not {other}")),
            (MIN_HEALTHY, other) => match other.as_u64().and_then(|percent| u32::try_from(percent).ok()) {
                Some(percent @ 1..=100) => gates.min_healthy_percent = percent,
                _ => problems.push(format!("{GATES}.{key} must be a whole number from 1 to 100, not {other}")),
            },
            (key, _) => {
                let known = [RISING, PROMOTION, MIN_HEALTHY];
                problems.push(match nearest(key, known) {
                    Some(known) => format!("`{GATES}.{key}` is not a key of this plugin; did you mean `{known}`?"),
                    None => format!("`{GATES}.{key}` is not a key of this plugin; it understands {}", known.join(", ")),
                });
            }
        }
    }
    gates
}

fn settle(entry: &Map<String, Value>, problems: &mut Vec<String>) -> Option<Duration> {
    let given = entry.get(SETTLE)?;
    let settle = given.as_u64().map(Duration::from_secs).filter(|settle| *settle <= LONGEST_SETTLE);
    if settle.is_none() {
        let longest = LONGEST_SETTLE.as_secs();
        problems.push(format!("{SETTLE} must be a whole number of seconds from 0 to {longest}, not {given}"));
    }
    settle
}

#[cfg(test)]
mod tests {
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
            assert!(
                text.contains(&format!("`{given}` is not a key of this plugin; did you mean `{meant}`?")),
                "{text}"
            );
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
}
