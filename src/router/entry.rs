//! The plugin's entry in a Rollout, read strictly: whatever is not understood is named before anything is changed.

use serde_json::{Map, Value};

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
}

/// An entry that cannot be used, with everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub(super) struct EntryError(Vec<String>);

const STABLE: &str = "stableTargetGroupArn";
const CANARY: &str = "canaryTargetGroupArn";
const RULES: &str = "ruleArns";

/// The keys that this version understands.
const KEYS: [&str; 3] = [STABLE, CANARY, RULES];

/// Keys that the documents promise for a later version. Ignoring them would do something else than was asked for.
const LATER: [&str; 12] = [
    "annotationPrefix",
    "assumeRoleArn",
    "externalId",
    "gates",
    "guard",
    "ingress",
    "ingresses",
    "region",
    "rootService",
    "servicePort",
    "settleSeconds",
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
        match (stable, canary) {
            (Some(stable), Some(canary)) if problems.is_empty() => {
                let entry = Self { stable, canary, rules };
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
    let lower = key.to_lowercase();
    let nearest = KEYS
        .into_iter()
        .chain(LATER)
        .map(|known| (strsim::jaro_winkler(&known.to_lowercase(), &lower), known))
        .filter(|(alike, _)| *alike >= ALIKE)
        .max_by(|(one, _), (other, _)| one.total_cmp(other));
    Some(match nearest {
        Some((_, known)) => format!("`{key}` is not a key of this plugin; did you mean `{known}`?"),
        None => format!("`{key}` is not a key of this plugin; it understands {}", KEYS.join(", ")),
    })
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
    fn groups_and_rules_must_fit_each_other() {
        assert!(problem(&json!({STABLE: GROUP, CANARY: GROUP})).contains("the same target group"));
        let elsewhere = OTHER.replace("eu-west-1", "us-east-1");
        assert!(problem(&json!({STABLE: GROUP, CANARY: elsewhere})).contains("is in us-east-1, but"));
        let network = RULE.replace("/app/", "/net/");
        let text = problem(&json!({STABLE: GROUP, CANARY: OTHER, RULES: [network]}));
        assert!(text.contains("is not a rule of an Application Load Balancer"), "{text}");
    }
}
