//! What must be done to the rules of one listener. Pure: wanted and observed rules in, plan out.
//!
//! As LBC pkg/deploy/elbv2/listener_rule_synthesizer.go: rules are matched by their settings first, then by their priority. What
//! is left of the wanted ones is created, and what is left of the observed ones is deleted, whoever made it.

use crate::control_plane::model::shapes::{Action, Condition, Transform};
use crate::control_plane::model::{Priority, Rule, Tags};
use equality::same_conditions;

mod equality;

pub(super) use equality::same_actions;

/// Rules in the way are moved here and below before they are deleted: the lowest priority of all.
const LAST_PRIORITY: u16 = 50_000;

/// A rule as it is to be.
#[derive(Debug, Clone)]
pub(super) struct DesiredRule {
    pub(super) priority: u16,
    pub(super) conditions: Vec<Condition>,
    pub(super) actions: Vec<Action>,
    pub(super) transforms: Vec<Transform>,
    pub(super) tags: Tags,
}

/// The writes, in the order in which they are made.
#[derive(Debug, Default)]
pub(super) struct Plan<'a> {
    /// ARNs and new priorities, set in one call.
    pub(super) reprioritise: Vec<(&'a str, u16)>,
    /// Changed in place: same priority, other settings.
    pub(super) modify: Vec<(&'a Rule, &'a DesiredRule)>,
    pub(super) create: Vec<&'a DesiredRule>,
    pub(super) delete: Vec<&'a Rule>,
    /// Matched rules whose tags lack something.
    pub(super) retag: Vec<(&'a Rule, &'a Tags)>,
}

/// Compares the rules of one listener. The default rule is none of them.
pub(super) fn plan<'a>(desired: &'a [DesiredRule], observed: &'a [Rule]) -> Plan<'a> {
    let mut unmatched: Vec<&Rule> = observed.iter().filter(|rule| !rule.is_default).collect();
    let mut plan = Plan::default();
    let mut left = Vec::new();
    let mut moved = Vec::new();
    let mut matched = Vec::new();
    for wanted in desired {
        let Some(index) = unmatched.iter().position(|rule| same_settings(wanted, rule)) else {
            left.push(wanted);
            continue;
        };
        let rule = unmatched.remove(index);
        matched.push((rule, wanted));
        if rule.priority != Priority::At(wanted.priority) {
            moved.push((rule.arn.as_str(), wanted.priority));
        }
    }
    left.sort_by_key(|wanted| wanted.priority);
    for wanted in left {
        match unmatched.iter().position(|rule| rule.priority == Priority::At(wanted.priority)) {
            Some(index) => plan.modify.push((unmatched.remove(index), wanted)),
            None => plan.create.push(wanted),
        }
    }
    unmatched.sort_by_key(|rule| rule.priority);
    if !moved.is_empty() {
        let parked = unmatched.iter().rev().zip((1..=LAST_PRIORITY).rev());
        plan.reprioritise = parked.map(|(rule, priority)| (rule.arn.as_str(), priority)).chain(moved).collect();
    }
    plan.delete = unmatched;
    matched.extend(&plan.modify);
    let lacks =
        |rule: &Rule, wanted: &DesiredRule| wanted.tags.iter().any(|(key, tag)| rule.tags.get(key) != Some(tag));
    matched.retain(|(rule, wanted)| lacks(rule, wanted));
    plan.retag = matched.into_iter().map(|(rule, wanted)| (rule, &wanted.tags)).collect();
    plan
}

impl Plan<'_> {
    /// Nothing is to be done.
    pub(super) fn is_empty(&self) -> bool {
        self.reprioritise.is_empty()
            && self.modify.is_empty()
            && self.create.is_empty()
            && self.delete.is_empty()
            && self.retag.is_empty()
    }
}

fn same_settings(wanted: &DesiredRule, rule: &Rule) -> bool {
    same_actions(&wanted.actions, &rule.actions)
        && same_conditions(&wanted.conditions, &rule.conditions)
        && wanted.transforms == rule.transforms
}

#[cfg(test)]
mod tests;
