//! What a host asks for, as the router understands it. Pure.

use std::collections::BTreeMap;
use std::time::Duration;

use super::Settings;
use super::allow::permitted;
use super::entry::{Entry, EntryError, NamedGroups, Narrowing};
use super::gate::Gates;
use super::plan::{Division, Further, Groups};
use crate::alb::{MAX_GROUP_WEIGHT, Role, RuleArn, Urgency};
use crate::rollout::{Canary, Rollout, WeightDestination};

/// With the value `true` on a Rollout: nothing is written, and success still needs what the rules show.
pub(crate) const HANDS_OFF: &str = "trafficrouter-alb/hands-off";

/// A weight for the canary of one Rollout, and where it is to be true. Any difference makes it another wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Wish {
    /// How the traffic shall be divided.
    pub(super) division: Division,
    /// Between which target groups, in which rules.
    pub(super) source: Source,
    /// What narrows the search for them.
    pub(super) narrowing: Narrowing,
    /// In whose name AWS is called.
    pub(super) role: Option<Role>,
    /// The built-in router shifts the weights, and we look on.
    pub(super) observes: bool,
    /// Stable pods are let go on the strength of the answer.
    pub(super) lets_stable_go: bool,
    /// Which gates a raise passes.
    pub(super) gates: Gates,
    /// How long weights must stay true where pods may go next.
    pub(super) settle: Settle,
    /// Behind which Services the groups' pods stand.
    pub(super) services: Services,
    /// Weights that somebody else changes in mid-update are put back.
    pub(super) guarded: bool,
    /// A person asked for nothing to be written.
    pub(super) hands_off: bool,
    /// What the host would give up while it is held, we give up for it.
    pub(super) abort_while_held: bool,
    /// The update has steps.
    pub(super) has_steps: bool,
    about: Fingerprint,
}

/// Where the rules come from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The author names the target groups, and the rules or none: every rule that holds both groups.
    Named { groups: Groups, rules: Option<Vec<RuleArn>> },
    /// The target groups are those that the cluster binds to the Services.
    Bound,
}

/// How long weights must stay true.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Settle {
    pub(super) time: Duration,
    /// The Rollout's author said so, and knows of cookies that keep people on a group.
    pub(super) by_author: bool,
}

/// The Services of a Rollout.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Services {
    pub(super) namespace: String,
    pub(super) stable: String,
    pub(super) canary: String,
}

/// What the host says beside its wish, and what may change without the wish becoming another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Recorded {
    /// The canary weight that was recorded for the same versions before.
    pub(super) weight: Option<i32>,
    /// The same, if it was verified too.
    pub(super) verified_weight: Option<i32>,
    /// Another version than now was stable when weights were recorded last: this one was promoted since.
    pub(super) other_version: bool,
    /// No weights were ever recorded: there was no update yet.
    pub(super) nothing: bool,
    /// The Rollout is scaled to zero.
    pub(super) no_pods: bool,
    /// How many Pods are wished, if that is known.
    pub(super) replicas: Option<u64>,
}

/// For which state of the Rollout the weight is wished.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Fingerprint {
    uid: String,
    stable: String,
    current: String,
    stable_ping_pong: String,
    abort: bool,
    promote_full: bool,
}

/// A wish that cannot be understood, or is not allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum WishError {
    #[error("the Rollout has no canary strategy with trafficRouting")]
    NoRouting,
    #[error(
        "its trafficRouting.plugins has several entries ({0}) and none is named as this plugin is in \
         argo-rollouts-config; name one of them so"
    )]
    WhichEntry(String),
    #[error("its trafficRouting.plugins has no entry")]
    NoEntry,
    #[error("plugin entry {name}: {error}")]
    Entry { name: String, error: EntryError },
    #[error(
        "the operator has not allowed namespace {namespace} to name {arn}; start the plugin with \
         --allow {namespace}=ARN-PATTERN (args in argo-rollouts-config)"
    )]
    NotAllowed { namespace: String, arn: String },
    #[error(
        "canary.stableService and canary.canaryService are needed: the plugin waits for the pods behind them (or switch \
         that off in the plugin entry, gates: {{rising: false, promotion: false}})"
    )]
    NoServices,
    #[error("maxTrafficWeight is {0}; a target group's weight on AWS is 1 to {MAX_GROUP_WEIGHT}")]
    MaxWeight(i64),
    #[error(
        "the Rollout has pingPong, so its plugin entry must name pingTargetGroupArn and pongTargetGroupArn, the groups behind \
         its two Services, in place of stableTargetGroupArn and canaryTargetGroupArn"
    )]
    PingPong,
    #[error(
        "the plugin entry names pingTargetGroupArn and pongTargetGroupArn, but the Rollout has no pingPong; name \
         stableTargetGroupArn and canaryTargetGroupArn"
    )]
    NoPingPong,
    #[error(
        "trafficRouting has alb beside this plugin, so the built-in router sets the weights and the plugin only observes; \
         that router knows no other maxTrafficWeight than 100, and it is {0}"
    )]
    ObservedMax(u32),
    #[error(
        "weights for further Services ({0}) need their target groups, and a plugin entry that names target groups has none for \
         them; leave the ARNs out, so that they are found by their TargetGroupBindings"
    )]
    FurtherServices(String),
    #[error("the canary's weight {canary} and those of further Services ({further}) are more than all traffic, {max}")]
    TooMuch { canary: u32, further: String, max: u32 },
}

impl Wish {
    /// Understands a host's call: the Rollout, the canary's weight, and weights for further Services.
    pub(super) fn of(
        rollout: &Rollout,
        canary_weight: i64,
        further: &[WeightDestination],
        settings: &Settings,
    ) -> Result<Self, WishError> {
        let (canary, routing) = rollout.canary_routing().ok_or(WishError::NoRouting)?;
        let entry = read_entry(&routing.plugins, settings.plugin_name.as_deref())?;
        let namespace = &rollout.metadata.namespace;
        if let Some(arn) = entry.arns().find(|arn| !permitted(&settings.allow, namespace, arn)) {
            return Err(WishError::NotAllowed { namespace: namespace.clone(), arn: arn.to_owned() });
        }
        let max = u32::try_from(routing.max_weight()).ok().filter(|max| (1..=MAX_GROUP_WEIGHT).contains(max));
        let max = max.ok_or_else(|| WishError::MaxWeight(routing.max_weight()))?;
        let observes = routing.alb.is_some();
        if observes && max != 100 {
            return Err(WishError::ObservedMax(max));
        }
        let mut further = further_parts(rollout, further);
        let (source, services) = roles(rollout, canary, entry.groups, entry.rules)?;
        if matches!(source, Source::Named { .. }) {
            further.retain(|further| further.weight > 0);
            if !further.is_empty() {
                return Err(WishError::FurtherServices(named(&further)));
            }
        }
        let needs_services = source == Source::Bound || !entry.gates.are_off();
        if needs_services && (services.stable.is_empty() || services.canary.is_empty()) {
            return Err(WishError::NoServices);
        }
        // A weight outside the range can only mean its nearer end.
        let canary_weight = u32::try_from(canary_weight.clamp(0, i64::from(max))).unwrap_or(max);
        let together = further.iter().map(|further| u64::from(further.weight)).sum::<u64>() + u64::from(canary_weight);
        if together > u64::from(max) {
            return Err(WishError::TooMuch { canary: canary_weight, further: named(&further), max });
        }
        Ok(Self {
            division: Division { canary: canary_weight, further, max },
            source,
            narrowing: entry.narrowing,
            role: entry.role,
            observes,
            lets_stable_go: canary.dynamic_stable_scale,
            gates: entry.gates,
            settle: Settle { time: entry.settle.unwrap_or(settings.settle), by_author: entry.settle.is_some() },
            services,
            guarded: entry.guard,
            hands_off: rollout.metadata.annotations.get(HANDS_OFF).is_some_and(|value| value == "true"),
            abort_while_held: entry.abort_while_held,
            has_steps: !canary.steps.is_empty(),
            about: Fingerprint {
                uid: rollout.metadata.uid.clone(),
                stable: rollout.status.stable_rs.clone(),
                current: rollout.status.current_pod_hash.clone(),
                stable_ping_pong: rollout.status.canary.stable_ping_pong.clone(),
                abort: rollout.status.abort,
                promote_full: rollout.status.promote_full,
            },
        })
    }
}

impl Wish {
    /// The update is over: the version that was tried is the stable one.
    pub(super) fn is_promoted(&self) -> bool {
        !self.about.stable.is_empty() && self.about.stable == self.about.current
    }

    /// The pod hash that is stable.
    pub(super) fn stable_hash(&self) -> &str {
        &self.about.stable
    }

    /// The pod hash of the version that was tried last.
    pub(super) fn current_hash(&self) -> &str {
        &self.about.current
    }

    /// Nothing but ready Pods is between the update and its promotion: it has no steps, or skips them.
    pub(super) fn is_promoted_next(&self) -> bool {
        !self.is_promoted() && !self.about.abort && (self.about.promote_full || !self.has_steps)
    }

    /// Another wish for the same rules.
    pub(super) fn is_about_same_groups(&self, other: &Self) -> bool {
        let further =
            |wish: &Self| wish.division.further.iter().map(|further| further.service.clone()).collect::<Vec<_>>();
        self.source == other.source
            && self.narrowing == other.narrowing
            && self.role == other.role
            && self.services == other.services
            && further(self) == further(other)
    }

    /// A person, or that somebody else shifts the weights, keeps us from writing.
    pub(super) fn writes_nothing(&self) -> bool {
        self.hands_off || self.observes
    }

    /// The author named the rules, so that there is nothing to find.
    pub(super) fn names_rules(&self) -> bool {
        matches!(&self.source, Source::Named { rules: Some(_), .. })
    }

    /// The update was given up.
    pub(super) fn is_aborted(&self) -> bool {
        self.about.abort
    }

    /// The canary is to have everything.
    pub(super) fn is_maximum(&self) -> bool {
        self.division.canary == self.division.max
    }

    /// Traffic leaves a version that was given up: nobody else's write is more urgent.
    pub(super) fn urgency(&self) -> Urgency {
        if self.division.canary == 0 && !self.is_promoted() { Urgency::First } else { Urgency::Usual }
    }

    /// All traffic goes back to pods that were there all the time: an update is given up, and stable was never scaled
    /// down. Nothing is worth waiting for then.
    pub(super) fn is_way_back(&self) -> bool {
        !self.lets_stable_go && !self.is_promoted() && self.division.canary == 0
    }
}

impl Services {
    /// Both of them.
    pub(super) fn names(&self) -> [&str; 2] {
        [&self.stable, &self.canary]
    }
}

impl Recorded {
    /// What the Rollout's status says.
    pub(super) fn of(rollout: &Rollout) -> Self {
        let status = &rollout.status;
        // Weights of other versions say nothing: a promotion asks for 0 as an update did before its first step.
        let same = status.canary.weights.as_ref().filter(|weights| {
            weights.stable.pod_template_hash == status.stable_rs
                && weights.canary.pod_template_hash == status.current_pod_hash
        });
        let verified = same.filter(|weights| weights.verified == Some(true));
        let stable = status.canary.weights.as_ref().map(|weights| weights.stable.pod_template_hash.as_str());
        Self {
            other_version: stable.is_some_and(|stable| !stable.is_empty() && stable != status.stable_rs),
            nothing: status.canary.weights.is_none(),
            weight: same.map(|weights| weights.canary.weight),
            verified_weight: verified.map(|weights| weights.canary.weight),
            // gob loses a pointer to zero, so an absent number counts as zero only while there are no pods.
            no_pods: rollout.spec.replicas.unwrap_or(0) == 0 && status.replicas == 0,
            replicas: rollout.spec.replicas.and_then(|replicas| u64::try_from(replicas).ok()),
        }
    }
}

/// Which group is whose, and the Services in front of their Pods. With ping-pong the host's status says who is stable: ping if
/// it says so, else pong (`rollout/trafficrouting/trafficroutingutil.go` of Argo Rollouts).
fn roles(
    rollout: &Rollout,
    canary: &Canary,
    groups: Option<NamedGroups>,
    rules: Option<Vec<RuleArn>>,
) -> Result<(Source, Services), WishError> {
    let ping_is_stable = rollout.status.canary.stable_ping_pong == "ping";
    let (stable, tried) = match &canary.ping_pong {
        Some(services) if ping_is_stable => (&services.ping_service, &services.pong_service),
        Some(services) => (&services.pong_service, &services.ping_service),
        None => (&canary.stable_service, &canary.canary_service),
    };
    let namespace = rollout.metadata.namespace.clone();
    let services = Services { namespace, stable: stable.clone(), canary: tried.clone() };
    let (stable, canary) = match (groups, &canary.ping_pong) {
        (None, _) => return Ok((Source::Bound, services)),
        (Some(NamedGroups::ByRole { stable, canary }), None) => (stable, canary),
        (Some(NamedGroups::PingPong { ping, pong }), Some(_)) if ping_is_stable => (ping, pong),
        (Some(NamedGroups::PingPong { ping, pong }), Some(_)) => (pong, ping),
        (Some(NamedGroups::ByRole { .. }), Some(_)) => return Err(WishError::PingPong),
        (Some(NamedGroups::PingPong { .. }), None) => return Err(WishError::NoPingPong),
    };
    Ok((Source::Named { groups: Groups { stable, canary, further: Vec::new() }, rules }, services))
}

/// The parts of further Services: those that are asked for, and, with nothing, those that the host recorded before and asks for
/// no more: their experiment has ended.
fn further_parts(rollout: &Rollout, asked: &[WeightDestination]) -> Vec<Further> {
    let part = |one: &WeightDestination| Further {
        service: one.service_name.clone(),
        weight: u32::try_from(one.weight).unwrap_or_default(),
    };
    let recorded = rollout.status.canary.weights.iter().flat_map(|weights| &weights.additional);
    let ended = recorded.filter(|one| asked.iter().all(|asked| asked.service_name != one.service_name));
    asked.iter().map(part).chain(ended.map(|one| Further { weight: 0, ..part(one) })).collect()
}

fn named(further: &[Further]) -> String {
    further.iter().map(|further| format!("{}: {}", further.service, further.weight)).collect::<Vec<_>>().join(", ")
}

/// Finds our entry. A host does not say which of several entries a call is about.
fn read_entry(entries: &BTreeMap<String, Vec<u8>>, own_name: Option<&str>) -> Result<Entry, WishError> {
    let named = own_name.and_then(|name| entries.get_key_value(name));
    let (name, entry) = match (named, entries.len()) {
        (Some(named), _) => named,
        (None, 1) => entries.first_key_value().ok_or(WishError::NoEntry)?,
        (None, 0) => return Err(WishError::NoEntry),
        (None, _) => {
            let names: Vec<&str> = entries.keys().map(String::as_str).collect();
            return Err(WishError::WhichEntry(names.join(", ")));
        }
    };
    Entry::read(entry).map_err(|error| WishError::Entry { name: name.clone(), error })
}

#[cfg(test)]
mod tests;
