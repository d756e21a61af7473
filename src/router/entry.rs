//! The plugin's entry in a Rollout, read strictly: whatever is not understood is named before anything is changed.

use std::time::Duration;

use serde_json::{Map, Value};

use super::gate::Gates;
use crate::alb::{RuleArn, TargetGroupArn};

/// Which rules and groups the author means (the source `explicit`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The two target groups.
    pub(super) groups: Groups,
    /// The rules to shift; none means every rule that holds both groups.
    pub(super) rules: Option<Vec<RuleArn>>,
    /// Which gates there are.
    pub(super) gates: Gates,
    /// How long weights must stay true before pods may go; none means the operator's word.
    pub(super) settle: Option<Duration>,
    /// The Ingress that somebody else follows, in whose actions weights are announced.
    pub(super) ingress: Option<String>,
    /// Weights that somebody else changes in mid-update are put back.
    pub(super) guard: bool,
    /// An update that the host would give up is given up while the host is held.
    pub(super) abort_while_held: bool,
}

/// Two target groups, and what they stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Groups {
    /// The groups behind the stable and the canary Service.
    ByRole { stable: TargetGroupArn, canary: TargetGroupArn },
    /// The groups behind the ping and the pong Service, which take turns.
    PingPong { ping: TargetGroupArn, pong: TargetGroupArn },
}

/// An entry that cannot be used, with everything that is wrong with it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("; "))]
pub(super) struct EntryError(Vec<String>);

const STABLE: &str = "stableTargetGroupArn";
const CANARY: &str = "canaryTargetGroupArn";
const PING: &str = "pingTargetGroupArn";
const PONG: &str = "pongTargetGroupArn";
const RULES: &str = "ruleArns";
const INGRESS: &str = "ingress";
const GUARD: &str = "guard";
const ABORT_WHILE_HELD: &str = "abortWhileHeld";

const GATES: &str = "gates";
const SETTLE: &str = "settleSeconds";

/// The keys that this version understands.
const KEYS: [&str; 10] = [STABLE, CANARY, PING, PONG, RULES, INGRESS, GATES, SETTLE, GUARD, ABORT_WHILE_HELD];

/// The keys of `gates`.
const RISING: &str = "rising";
const PROMOTION: &str = "promotion";
const MIN_HEALTHY: &str = "minHealthyPercent";

/// No load balancer is known to need longer; a mistake in the unit would hold every step for hours.
pub(crate) const LONGEST_SETTLE: Duration = Duration::from_secs(600);

/// Keys that the documents promise for a later version. Ignoring them would do something else than was asked for.
const LATER: [&str; 8] = [
    "annotationPrefix",
    "assumeRoleArn",
    "externalId",
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
        let groups = groups(&entry, &mut problems);
        let rules = rules(&entry, &mut problems);
        let gates = gates(&entry, &mut problems);
        let settle = settle(&entry, &mut problems);
        let ingress = ingress(&entry, &mut problems);
        let guard = switch(&entry, GUARD, &mut problems);
        let abort_while_held = switch(&entry, ABORT_WHILE_HELD, &mut problems);
        match groups {
            Some(groups) if problems.is_empty() => {
                let entry = Self { groups, rules, gates, settle, ingress, guard, abort_while_held };
                entry.check()?;
                Ok(entry)
            }
            _ => Err(EntryError(problems)),
        }
    }

    /// Every ARN the author named.
    pub(super) fn arns(&self) -> impl Iterator<Item = &str> {
        let rules = self.rules.iter().flatten().map(RuleArn::as_str);
        self.groups.both().map(|(_, group)| group.as_str()).into_iter().chain(rules)
    }

    /// What single values cannot show.
    fn check(&self) -> Result<(), EntryError> {
        let [(first_key, first), (second_key, second)] = self.groups.both();
        if first == second {
            return Err(EntryError(vec![format!("{first_key} and {second_key} name the same target group, {first}")]));
        }
        let region = first.region();
        let strangers = self.rules.iter().flatten().map(|rule| (rule.as_str(), rule.region()));
        let strangers = strangers.chain([(second.as_str(), second.region())]);
        let problems: Vec<String> = strangers
            .filter(|(_, other)| *other != region)
            .map(|(arn, other)| format!("{arn} is in {other}, but {first_key} is in {region}"))
            .collect();
        if problems.is_empty() { Ok(()) } else { Err(EntryError(problems)) }
    }
}

impl Groups {
    /// Both groups, with the keys that name them.
    fn both(&self) -> [(&'static str, &TargetGroupArn); 2] {
        match self {
            Self::ByRole { stable, canary } => [(STABLE, stable), (CANARY, canary)],
            Self::PingPong { ping, pong } => [(PING, ping), (PONG, pong)],
        }
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

fn groups(entry: &Map<String, Value>, problems: &mut Vec<String>) -> Option<Groups> {
    let (by_role, take_turns) = (
        [STABLE, CANARY].iter().any(|key| entry.contains_key(*key)),
        [PING, PONG].iter().any(|key| entry.contains_key(*key)),
    );
    if by_role && take_turns {
        problems.push(format!(
            "it names groups by role ({STABLE}, {CANARY}) and for pingPong ({PING}, {PONG}); one pair it is"
        ));
        return None;
    }
    if take_turns {
        let (ping, pong) = (arn(entry, PING, problems), arn(entry, PONG, problems));
        return Some(Groups::PingPong { ping: ping?, pong: pong? });
    }
    let (stable, canary) = (arn(entry, STABLE, problems), arn(entry, CANARY, problems));
    Some(Groups::ByRole { stable: stable?, canary: canary? })
}

fn ingress(entry: &Map<String, Value>, problems: &mut Vec<String>) -> Option<String> {
    match entry.get(INGRESS)? {
        Value::String(name) if !name.is_empty() => return Some(name.clone()),
        other => problems.push(format!("{INGRESS} must be the name of an Ingress, not {other}")),
    }
    None
}

/// Something that is on unless its author says `false`.
fn switch(entry: &Map<String, Value>, key: &str, problems: &mut Vec<String>) -> bool {
    match entry.get(key) {
        None => true,
        Some(Value::Bool(on)) => *on,
        Some(other) => {
            problems.push(format!("{key} must be true or false, not {other}"));
            true
        }
    }
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
mod tests;
