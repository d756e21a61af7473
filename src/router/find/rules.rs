//! Which rules a wish is about: those that hold a group of stable and one of the canary. Pure.

use super::bound::{Bound, Candidates};
use super::error::FindError;
use crate::alb::{Rule, RuleArn, TargetGroupArn};
use crate::cluster::Maker;
use crate::router::entry::SERVICE_PORT;
use crate::router::plan::{Groups, Split};

/// No set of rules to shift.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RulesError {
    #[error(
        "no listener rule forwards to both target groups, {stable} and {canary}; add both to one forward action, the \
         canary with weight 0"
    )]
    None { stable: String, canary: String },
    /// Its traffic would lose its pods, whatever happens to the other rules.
    #[error(
        "rule {rule} forwards to the stable target group {stable} without the canary's, and with dynamicStableScale the \
         stable pods go away under it; add {canary} to its forward action with weight 0"
    )]
    StableAlone { rule: RuleArn, stable: TargetGroupArn, canary: String },
    /// Nobody can say how the two would share what is one's.
    #[error(
        "rule {rule} forwards to several target groups of one Service, {candidates}; say which port is meant: {SERVICE_PORT} in \
         the plugin entry"
    )]
    Ambiguous { rule: RuleArn, candidates: String },
}

/// Rules that hold both groups.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Held {
    pub(super) rules: Vec<RuleArn>,
    /// The groups that they hold, each pair once.
    pub(super) groups: Vec<Groups>,
}

/// The rules that hold both groups. `lets_stable_go` refuses a rule whose traffic depends on the stable group alone.
pub(super) fn holding_both(rules: &[Rule], candidates: &Candidates, lets_stable_go: bool) -> Result<Held, RulesError> {
    let mut held = Held { rules: Vec::new(), groups: Vec::new() };
    // A further group that no rule holds yet is ours to add, where nobody else does: a load balancer controller makes one for
    // each load balancer, and the only one so far may be another's.
    let ours_to_add = |all| if candidates.are_made_by(Maker::Ingress) { None } else { only(all) };
    for rule in rules {
        let stable = one_of(&candidates.stable, rule)?;
        let canary = one_of(&candidates.canary, rule)?;
        match (stable, canary) {
            (Some(stable), Some(canary)) => {
                held.rules.push(rule.arn().clone());
                let further =
                    candidates.further.iter().map(|all| one_of(all, rule).map(|one| one.or_else(|| ours_to_add(all))));
                let further =
                    further.collect::<Result<Vec<_>, _>>()?.into_iter().map(|one| one.map(|one| one.group.clone()));
                let groups =
                    Groups { stable: stable.group.clone(), canary: canary.group.clone(), further: further.collect() };
                if !held.groups.contains(&groups) {
                    held.groups.push(groups);
                }
            }
            (Some(stable), None) if lets_stable_go => depends_on_stable(rule, &stable.group, candidates)?,
            (Some(_) | None, _) => {}
        }
        if let Some(stable) =
            candidates.other_stable.iter().find(|group| lets_stable_go && rule.weight_of(group).is_some())
        {
            depends_on_stable(rule, stable, candidates)?;
        }
    }
    if held.rules.is_empty() {
        return Err(RulesError::None { stable: names(&candidates.stable), canary: names(&candidates.canary) });
    }
    Ok(held)
}

/// A rule of these that is to carry a further Service's traffic, and does not hold its group. Where it would be added by its
/// owner, we wait for that; where nobody else writes, writing the weight adds it.
pub(super) fn lacks_further(rules: &[Rule], held: &[RuleArn], split: &Split) -> Option<FindError> {
    let wanted = split.division.further.iter().enumerate().filter(|(_, further)| further.weight > 0);
    for (at, further) in wanted {
        for rule in rules.iter().filter(|rule| held.contains(rule.arn())) {
            let Ok(groups) = split.groups_in(&rule.groups()) else { continue };
            if groups.further.get(at).is_none_or(Option::is_none) {
                return Some(FindError::Further { service: further.service.clone(), rule: rule.arn().clone() });
            }
        }
    }
    None
}

/// Whichever of these the rule holds.
fn one_of<'b>(all: &'b [Bound], rule: &Rule) -> Result<Option<&'b Bound>, RulesError> {
    let mut held = all.iter().filter(|bound| rule.weight_of(&bound.group).is_some());
    let first = held.next();
    // Several bindings of one group are one candidate.
    if held.any(|other| first.is_some_and(|first| first.group != other.group)) {
        return Err(RulesError::Ambiguous { rule: rule.arn().clone(), candidates: names(all) });
    }
    Ok(first)
}

fn only(all: &[Bound]) -> Option<&Bound> {
    if let [only] = all { Some(only) } else { None }
}

fn depends_on_stable(rule: &Rule, stable: &TargetGroupArn, candidates: &Candidates) -> Result<(), RulesError> {
    if rule.weight_of(stable).is_none_or(|weight| weight == 0) {
        return Ok(());
    }
    let (rule, stable, canary) = (rule.arn().clone(), stable.clone(), names(&candidates.canary));
    Err(RulesError::StableAlone { rule, stable, canary })
}

/// Candidates, as people look for them.
fn names(all: &[Bound]) -> String {
    let name = |bound: &Bound| match bound.port.as_str() {
        "" => bound.group.to_string(),
        port => format!("{} (port {port})", bound.group),
    };
    all.iter().map(name).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alb::WeightedGroup;

    fn group(name: &str) -> TargetGroupArn {
        format!("arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/{name}/1").parse().unwrap()
    }

    fn rule(id: &str, groups: &[(&str, u32)]) -> Rule {
        let arn = format!("arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/web/a/b/{id}").parse().unwrap();
        let held = |(name, weight): &(&str, u32)| WeightedGroup { group: group(name), weight: *weight };
        Rule::forwarding(arn, &groups.iter().map(held).collect::<Vec<_>>())
    }

    fn both() -> Candidates {
        Candidates::named(&Groups { stable: group("stable"), canary: group("canary"), further: Vec::new() })
    }

    #[test]
    fn rules_that_hold_both_are_found_among_others() {
        let rules = [
            rule("1", &[("stable", 1), ("canary", 0)]),
            rule("2", &[("other", 1)]),
            rule("3", &[("canary", 1), ("x", 3), ("stable", 0)]),
        ];
        let found = holding_both(&rules, &both(), true).unwrap().rules;
        assert_eq!(found, [rules[0].arn().clone(), rules[2].arn().clone()]);
        assert!(matches!(holding_both(&rules[1..2], &both(), true), Err(RulesError::None { .. })));
    }

    #[test]
    fn a_rule_on_stable_alone_is_refused_when_stable_pods_go_away() {
        let rules = [rule("1", &[("stable", 1), ("canary", 0)]), rule("2", &[("stable", 1)])];
        assert!(matches!(holding_both(&rules, &both(), true), Err(RulesError::StableAlone { .. })));
        assert_eq!(holding_both(&rules, &both(), false).unwrap().rules.len(), 1);
        let unused = [rules[0].clone(), rule("2", &[("stable", 0), ("other", 1)])];
        assert_eq!(holding_both(&unused, &both(), true).unwrap().rules.len(), 1);
    }

    #[test]
    fn a_further_group_that_no_rule_holds_is_ours_to_add_where_nobody_else_does() {
        let rules = [rule("1", &[("stable", 1), ("canary", 0)])];
        for (maker, expected) in [(Maker::Somebody, Some(group("further"))), (Maker::Ingress, None)] {
            let candidates = both().with_further(&group("further"), maker);
            let found = holding_both(&rules, &candidates, false).unwrap();
            assert_eq!(found.groups[0].further, [expected], "{maker:?}");
        }
    }
}
