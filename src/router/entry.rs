//! The plugin's entry in a Rollout, read strictly: whatever is not understood is named before anything is changed.

use std::time::Duration;

use serde_json::Value;

use super::gate::Gates;
use crate::alb::{Role, RuleArn, TargetGroupArn};
use crate::cluster::Stickiness;
use fields::Fields;

mod fields;

/// What the author of a Rollout says. `{}` says nothing, and then everything is found in the cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Entry {
    /// The two target groups; none means those that are bound to the Rollout's Services.
    pub(super) groups: Option<NamedGroups>,
    /// The rules to shift; none means every rule that holds both groups.
    pub(super) rules: Option<Vec<RuleArn>>,
    /// What narrows the search.
    pub(super) narrowing: Narrowing,
    /// In whose name AWS is called.
    pub(super) role: Option<Role>,
    /// Which gates there are.
    pub(super) gates: Gates,
    /// How long weights must stay true before pods may go; none means the operator's word.
    pub(super) settle: Option<Duration>,
    /// Weights that somebody else changes in mid-update are put back.
    pub(super) guard: bool,
    /// An update that the host would give up is given up while the host is held.
    pub(super) abort_while_held: bool,
}

/// What narrows the search for rules, and says how an Ingress that leads to them is written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Narrowing {
    /// The Ingresses that somebody else follows; none means those that are found.
    pub(super) ingresses: Vec<String>,
    /// The Services' port, as its author writes it.
    pub(super) port: Option<String>,
    /// The backend whose action is made where there is none yet.
    pub(super) root: Option<String>,
    /// How the annotations begin.
    pub(super) prefix: String,
    /// What the actions shall say about stickiness.
    pub(super) stickiness: Option<Stickiness>,
    /// Where the target groups are.
    pub(super) region: Option<String>,
}

/// Two target groups, and what they stand for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum NamedGroups {
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
const INGRESSES: &str = "ingresses";
pub(super) const SERVICE_PORT: &str = "servicePort";
const ROOT_SERVICE: &str = "rootService";
const PREFIX: &str = "annotationPrefix";
const STICKINESS: &str = "stickinessConfig";
const REGION: &str = "region";
const ROLE: &str = "assumeRoleArn";
const EXTERNAL_ID: &str = "externalId";
const GATES: &str = "gates";
const SETTLE: &str = "settleSeconds";
const GUARD: &str = "guard";
const ABORT_WHILE_HELD: &str = "abortWhileHeld";

/// The keys of an entry.
const KEYS: [&str; 18] = [
    STABLE,
    CANARY,
    PING,
    PONG,
    RULES,
    INGRESS,
    INGRESSES,
    SERVICE_PORT,
    ROOT_SERVICE,
    PREFIX,
    STICKINESS,
    REGION,
    ROLE,
    EXTERNAL_ID,
    GATES,
    SETTLE,
    GUARD,
    ABORT_WHILE_HELD,
];

/// The keys of `gates`.
const RISING: &str = "rising";
const PROMOTION: &str = "promotion";
const MIN_HEALTHY: &str = "minHealthyPercent";

/// The keys of `stickinessConfig`.
const ENABLED: &str = "enabled";
const DURATION: &str = "durationSeconds";

/// The controller's annotations begin so, unless its operator says otherwise (`--annotations-prefix`).
const DEFAULT_PREFIX: &str = "alb.ingress.kubernetes.io";

/// No load balancer is known to need longer; a mistake in the unit would hold every step for hours.
pub(crate) const LONGEST_SETTLE: Duration = Duration::from_secs(600);

/// AWS keeps a client on a group for 7 days at most (API reference, `TargetGroupStickinessConfig`).
const LONGEST_STICKINESS: u64 = 604_800;

impl Entry {
    /// Reads the JSON text of an entry.
    pub(super) fn read(text: impl AsRef<[u8]>) -> Result<Self, EntryError> {
        let entry = match serde_json::from_slice(text.as_ref()) {
            Ok(Value::Object(entry)) => entry,
            Ok(_) => return Err(EntryError(vec!["it must be a map of keys, such as {}".to_owned()])),
            Err(error) => return Err(EntryError(vec![format!("it is not JSON: {error}")])),
        };
        let mut fields = Fields::new("", &entry);
        fields.only(&KEYS);
        let entry = Self {
            groups: groups(&mut fields),
            rules: rules(&mut fields),
            narrowing: narrowing(&mut fields),
            role: role(&mut fields),
            gates: gates(&mut fields),
            settle: fields.number(SETTLE, 0..=LONGEST_SETTLE.as_secs()).map(Duration::from_secs),
            guard: fields.switch(GUARD).unwrap_or(true),
            abort_while_held: fields.switch(ABORT_WHILE_HELD).unwrap_or(true),
        };
        let problems = fields.problems();
        if !problems.is_empty() {
            return Err(EntryError(problems));
        }
        entry.check()?;
        Ok(entry)
    }

    /// Every ARN the author named.
    pub(super) fn arns(&self) -> impl Iterator<Item = &str> {
        let groups = self.groups.iter().flat_map(NamedGroups::both).map(|(_, group)| group.as_str());
        let rules = self.rules.iter().flatten().map(RuleArn::as_str);
        groups.chain(rules).chain(self.role.iter().map(|role| role.arn.as_str()))
    }

    /// What single values cannot show.
    fn check(&self) -> Result<(), EntryError> {
        let mut problems = Vec::new();
        match &self.groups {
            Some(groups) => self.check_named(groups, &mut problems),
            None if self.rules.is_some() => {
                problems.push(format!("{RULES} needs the target groups that it is about: {STABLE} and {CANARY}"));
            }
            None => {}
        }
        if problems.is_empty() { Ok(()) } else { Err(EntryError(problems)) }
    }

    fn check_named(&self, groups: &NamedGroups, problems: &mut Vec<String>) {
        let [(first_key, first), (second_key, second)] = groups.both();
        if first == second {
            problems.push(format!("{first_key} and {second_key} name the same target group, {first}"));
        }
        let region = first.region();
        let strangers = self.rules.iter().flatten().map(|rule| (rule.as_str(), rule.region()));
        let strangers = strangers.chain([(second.as_str(), second.region())]);
        let strangers = strangers.filter(|(_, other)| *other != region);
        problems.extend(strangers.map(|(arn, other)| format!("{arn} is in {other}, but {first_key} is in {region}")));
        let searched = [
            (SERVICE_PORT, self.narrowing.port.is_some()),
            (ROOT_SERVICE, self.narrowing.root.is_some()),
            (STICKINESS, self.narrowing.stickiness.is_some()),
            (REGION, self.narrowing.region.is_some()),
        ];
        let searched = searched.into_iter().filter(|(_, given)| *given);
        problems.extend(searched.map(|(key, _)| {
            format!("{key} is for target groups that the plugin finds; leave it out beside {first_key}")
        }));
    }
}

impl NamedGroups {
    /// Both groups, with the keys that name them.
    fn both(&self) -> [(&'static str, &TargetGroupArn); 2] {
        match self {
            Self::ByRole { stable, canary } => [(STABLE, stable), (CANARY, canary)],
            Self::PingPong { ping, pong } => [(PING, ping), (PONG, pong)],
        }
    }
}

fn groups(fields: &mut Fields<'_>) -> Option<NamedGroups> {
    let (by_role, take_turns) = (fields.has_any(&[STABLE, CANARY]), fields.has_any(&[PING, PONG]));
    if by_role && take_turns {
        fields.problem(format!(
            "it names groups by role ({STABLE}, {CANARY}) and for pingPong ({PING}, {PONG}); one pair it is"
        ));
        return None;
    }
    if take_turns {
        let (ping, pong) = (fields.arn(PING), fields.arn(PONG));
        return Some(NamedGroups::PingPong { ping: ping?, pong: pong? });
    }
    if !by_role {
        return None;
    }
    let (stable, canary) = (fields.arn(STABLE), fields.arn(CANARY));
    Some(NamedGroups::ByRole { stable: stable?, canary: canary? })
}

fn rules(fields: &mut Fields<'_>) -> Option<Vec<RuleArn>> {
    let items = fields.list(RULES)?;
    if items.is_empty() {
        fields.problem(format!("{RULES} is empty; leave it out to shift every rule that holds both groups"));
    }
    let mut rules: Vec<RuleArn> = Vec::with_capacity(items.len());
    for item in items {
        match item.parse::<RuleArn>() {
            Ok(rule) if rules.contains(&rule) => fields.problem(format!("{RULES} names {rule} twice")),
            Ok(rule) => rules.push(rule),
            Err(error) => fields.problem(format!("{RULES}: {error}")),
        }
    }
    Some(rules)
}

fn narrowing(fields: &mut Fields<'_>) -> Narrowing {
    let one = fields.text(INGRESS);
    let many = fields.list(INGRESSES);
    if one.is_some() && many.is_some() {
        fields.problem(format!("it has {INGRESS} and {INGRESSES}; name all of them in {INGRESSES}"));
    }
    if many.as_ref().is_some_and(Vec::is_empty) {
        fields.problem(format!("{INGRESSES} is empty; leave it out to have them found"));
    }
    Narrowing {
        ingresses: one.into_iter().chain(many.into_iter().flatten()).collect(),
        port: fields.port(SERVICE_PORT),
        root: fields.text(ROOT_SERVICE),
        prefix: fields.text(PREFIX).unwrap_or_else(|| DEFAULT_PREFIX.to_owned()),
        stickiness: stickiness(fields),
        region: fields.text(REGION),
    }
}

fn stickiness(fields: &mut Fields<'_>) -> Option<Stickiness> {
    let mut given = fields.map(STICKINESS)?;
    given.only(&[ENABLED, DURATION]);
    let enabled = given.switch(ENABLED).unwrap_or(true);
    let seconds = given.number(DURATION, 1..=LONGEST_STICKINESS).and_then(|seconds| u32::try_from(seconds).ok());
    if enabled && seconds.is_none() && !given.has_any(&[DURATION]) {
        given.problem(format!("{STICKINESS}.{DURATION} is missing: for how long does a client stay?"));
    }
    let problems = given.problems();
    problems.into_iter().for_each(|problem| fields.problem(problem));
    Some(Stickiness { enabled, seconds: seconds.unwrap_or(1) })
}

fn role(fields: &mut Fields<'_>) -> Option<Role> {
    let (arn, external_id) = (fields.text(ROLE), fields.text(EXTERNAL_ID));
    let Some(arn) = arn else {
        if external_id.is_some() {
            fields.problem(format!("{EXTERNAL_ID} is for a role: {ROLE} is missing"));
        }
        return None;
    };
    let parts: Vec<&str> = arn.splitn(6, ':').collect();
    if !matches!(parts.as_slice(), ["arn", _, "iam", "", account, role] if !account.is_empty() && role.starts_with("role/"))
    {
        fields.problem(format!(
            "{ROLE}: `{arn}` is not the ARN of a role; one looks like arn:aws:iam::123456789012:role/rollouts"
        ));
    }
    Some(Role { arn, external_id, region: fields.text(REGION) })
}

fn gates(fields: &mut Fields<'_>) -> Gates {
    let mut gates = Gates::default();
    let Some(mut given) = fields.map(GATES) else { return gates };
    given.only(&[RISING, PROMOTION, MIN_HEALTHY]);
    gates.rising = given.switch(RISING).unwrap_or(gates.rising);
    gates.promotion = given.switch(PROMOTION).unwrap_or(gates.promotion);
    let percent = given.number(MIN_HEALTHY, 1..=100).and_then(|percent| u32::try_from(percent).ok());
    gates.min_healthy_percent = percent.unwrap_or(gates.min_healthy_percent);
    given.problems().into_iter().for_each(|problem| fields.problem(problem));
    gates
}

#[cfg(test)]
mod tests;
