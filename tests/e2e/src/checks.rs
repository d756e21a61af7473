//! What must hold in every scenario, as pure functions over what happened. Each returns what was wrong, for people.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::time::SystemTime;

use lab::Weights;

use crate::history::{Claim, ClusterWrite, History, RuleHistory, Stored};

/// Fails with everything that was wrong.
pub(crate) fn none(what: &str, violations: Vec<String>) -> anyhow::Result<()> {
    if violations.is_empty() { Ok(()) } else { anyhow::bail!("{what}:\n  {}", violations.join("\n  ")) }
}

/// Weights that were recorded in the Rollout's status while some rule did not have them.
///
/// A status that only repeats what was recorded is no new claim: the controller writes one, for example, after a
/// reconcile that shifted the weights and then failed.
pub(crate) fn recorded_before_true(history: &History) -> Vec<String> {
    let mut violations = Vec::new();
    for Claim { at, weights: recorded, swapped } in history.claims() {
        for rule in &history.rules {
            let Some(weights) = rule.at(at) else {
                violations.push(format!("{recorded:?} was recorded before rule {} existed", rule.arn));
                continue;
            };
            let (pong, whole) = share(history, weights);
            let canary = if swapped { whole - pong } else { pong };
            // Equal shares; the rule's own sum is its owner's choice.
            if canary * recorded.total() != recorded.canary.weight * whole {
                violations.push(format!(
                    "canary {} of {} was recorded at {} while rule {} had {canary} of {whole}",
                    recorded.canary.weight,
                    recorded.total(),
                    time(at),
                    rule.arn,
                ));
            }
        }
    }
    violations
}

/// Rules that were not brought to the same shares in the same order.
pub(crate) fn rules_apart(history: &History) -> Vec<String> {
    let shares = |rule: &RuleHistory| -> Vec<(u32, u32)> {
        let shares = rule.states.iter().map(|(_, weights)| lowest_terms(share(history, weights)));
        let mut shares: Vec<(u32, u32)> = shares.collect();
        shares.dedup();
        shares
    };
    let Some((first, others)) = history.rules.split_first() else { return vec!["there are no rules".to_owned()] };
    let expected = shares(first);
    let apart = others.iter().map(|rule| (rule, shares(rule))).filter(|(_, found)| *found != expected);
    apart.map(|(rule, found)| format!("rule {} had {expected:?}, rule {} had {found:?}", first.arn, rule.arn)).collect()
}

/// Weights of others that changed, and rules whose stable and canary group together did not keep their sum.
pub(crate) fn foreign_weights_touched(history: &History) -> Vec<String> {
    let mut violations = Vec::new();
    for rule in &history.rules {
        let Some((_, first)) = rule.states.first() else { continue };
        let (expected_others, expected_sum) = others_and_sum(history, first);
        for (at, weights) in &rule.states {
            let (others, sum) = others_and_sum(history, weights);
            if others != expected_others {
                violations.push(format!("rule {} at {}: {others:?}, not {expected_others:?}", rule.arn, time(*at)));
            }
            if sum != expected_sum {
                violations.push(format!("rule {} at {}: the sum is {sum}, not {expected_sum}", rule.arn, time(*at)));
            }
        }
    }
    violations
}

/// ReplicaSets that were scaled down below what the weights on some rule still asked of them.
///
/// A group's share of `replicas` is asked of the ReplicaSet that its Service selects at that moment. The number that
/// lets go of pods is what counts, so scaling up is never wrong here.
pub(crate) fn let_go_too_early(history: &History, replicas: u32) -> Vec<String> {
    let mut violations = Vec::new();
    let mut sizes: BTreeMap<&str, u32> = BTreeMap::new();
    let mut selected: BTreeMap<&str, &str> = BTreeMap::new();
    for ClusterWrite { at, stored } in &history.cluster {
        match stored {
            Stored::Status(_) | Stored::Pod { .. } => {}
            Stored::Service { name, hash } => {
                selected.insert(name, hash.as_deref().unwrap_or_default());
            }
            Stored::ReplicaSet { hash, replicas: size } => {
                let before = sizes.insert(hash, *size);
                if before.is_none_or(|before| *size >= before) {
                    continue;
                }
                let selects = |service: &str| selected.get(service).is_some_and(|selected| selected == hash);
                for rule in &history.rules {
                    let Some(weights) = rule.at(*at) else { continue };
                    let (canary, of) = share(history, weights);
                    let stable = of - canary;
                    let mut weight = 0;
                    weight += if selects(&history.roles.stable_service) { stable } else { 0 };
                    weight += if selects(&history.roles.canary_service) { canary } else { 0 };
                    if size * of < weight * replicas {
                        violations.push(format!(
                            "ReplicaSet {hash} was scaled to {size} at {} while rule {} gave it {weight} of {of}",
                            time(*at),
                            rule.arn,
                        ));
                    }
                }
            }
        }
    }
    violations
}

/// Raises of a group's share while too few Pods were there to carry the new share: less than `percent` of the share's part
/// of `replicas`, among the Pods of the version that the group's Service selected.
pub(crate) fn raised_beyond_pods(history: &History, replicas: u32, percent: u32) -> Vec<String> {
    let roles = &history.roles;
    let mut violations = Vec::new();
    for rule in &history.rules {
        for ((_, before), (at, after)) in rule.states.iter().zip(rule.states.iter().skip(1)) {
            let ((canary_before, of_before), (canary, of)) = (share(history, before), share(history, after));
            let raised = match (canary * of_before).cmp(&(canary_before * of)) {
                Ordering::Greater => Some((&roles.canary_service, canary)),
                Ordering::Less => Some((&roles.stable_service, of - canary)),
                Ordering::Equal => None,
            };
            let Some((service, weight)) = raised else { continue };
            let pods = pods_behind(history, service, *at);
            if pods * of * 100 < weight * replicas * percent {
                violations.push(format!(
                    "rule {} gave {weight} of {of} to {service} at {} while it had {pods} Pods",
                    rule.arn,
                    time(*at),
                ));
            }
        }
    }
    violations
}

/// How many Pods of the version that a Service selected could serve at a moment.
fn pods_behind(history: &History, service: &str, moment: SystemTime) -> u32 {
    let mut selected = None;
    let mut pods = BTreeMap::new();
    for ClusterWrite { stored, .. } in history.cluster.iter().take_while(|write| write.at <= moment) {
        match stored {
            Stored::Service { name, hash } if name == service => selected.clone_from(hash),
            Stored::Pod { name, hash, serves } => {
                pods.insert(name, serves.then_some(hash));
            }
            _ => {}
        }
    }
    let behind = pods.values().filter(|hash| hash.is_some() && **hash == selected.as_ref());
    u32::try_from(behind.count()).unwrap_or(u32::MAX)
}

/// Where the canary's share of a rule turned from rising to falling, and where it ended if it did not fall again; per cent.
pub(crate) fn peaks(history: &History, rule: &RuleHistory) -> Vec<u32> {
    let shares = rule.states.iter().map(|(_, weights)| share(history, weights));
    let mut shares: Vec<u32> = shares.map(|(canary, of)| canary * 100 / of.max(1)).collect();
    shares.dedup();
    let higher = |one: Option<&u32>, than: &u32| one.is_some_and(|one| one > than);
    let mut peaks = Vec::new();
    for (index, weight) in shares.iter().enumerate() {
        let rose = index > 0 && !higher(shares.get(index - 1), weight);
        if rose && !higher(shares.get(index + 1), weight) {
            peaks.push(*weight);
        }
    }
    peaks
}

/// How often a ReplicaSet was scaled down: a check that saw none has shown nothing.
pub(crate) fn times_scaled_down(history: &History) -> usize {
    let mut sizes: BTreeMap<&str, u32> = BTreeMap::new();
    let scaled_down = history.cluster.iter().filter(|write| match &write.stored {
        Stored::ReplicaSet { hash, replicas } => sizes.insert(hash, *replicas).is_some_and(|before| *replicas < before),
        _ => false,
    });
    scaled_down.count()
}

/// The canary's weight, and that of both groups together.
fn share(history: &History, weights: &Weights) -> (u32, u32) {
    let canary = history.roles.canary_weight(weights);
    (canary, canary + history.roles.stable_weight(weights))
}

fn lowest_terms((part, whole): (u32, u32)) -> (u32, u32) {
    let (mut divisor, mut rest) = (whole, part);
    while rest > 0 {
        (divisor, rest) = (rest, divisor % rest);
    }
    (part / divisor.max(1), whole / divisor.max(1))
}

fn others_and_sum(history: &History, weights: &Weights) -> (Weights, u32) {
    let roles = &history.roles;
    let mut others = weights.clone();
    others.retain(|group, _| *group != roles.stable_group && *group != roles.canary_group);
    (others, roles.canary_weight(weights) + roles.stable_weight(weights))
}

fn time(at: SystemTime) -> String {
    humantime::format_rfc3339_millis(at).to_string()
}

#[cfg(test)]
mod tests;
