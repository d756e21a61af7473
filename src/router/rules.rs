//! Which rules a wish is about, when its author named only the target groups. Pure.

use super::plan::Split;
use crate::alb::{Rule, RuleArn, TargetGroupArn};

/// No set of rules to shift.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum RulesError {
    #[error(
        "no listener rule forwards to both target groups, {stable} and {canary}; add both to one forward action, the \
         canary with weight 0"
    )]
    None { stable: TargetGroupArn, canary: TargetGroupArn },
    /// Its traffic would lose its pods, whatever happens to the other rules.
    #[error(
        "rule {rule} forwards to the stable target group {stable} without the canary's, and with dynamicStableScale the \
         stable pods go away under it; add {canary} to its forward action with weight 0"
    )]
    StableAlone { rule: RuleArn, stable: TargetGroupArn, canary: TargetGroupArn },
}

/// The rules that hold both groups. `lets_stable_go` refuses a rule whose traffic depends on the stable group alone.
pub(super) fn holding_both(rules: &[Rule], split: &Split, lets_stable_go: bool) -> Result<Vec<RuleArn>, RulesError> {
    let (stable, canary) = (&split.stable, &split.canary);
    let mut both = Vec::new();
    for rule in rules {
        match (rule.weight_of(stable), rule.weight_of(canary)) {
            (Some(_), Some(_)) => both.push(rule.arn().clone()),
            (Some(weight), None) if lets_stable_go && weight > 0 => {
                let (rule, stable, canary) = (rule.arn().clone(), stable.clone(), canary.clone());
                return Err(RulesError::StableAlone { rule, stable, canary });
            }
            _ => {}
        }
    }
    if both.is_empty() {
        return Err(RulesError::None { stable: stable.clone(), canary: canary.clone() });
    }
    Ok(both)
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

    fn split() -> Split {
        Split { stable: group("stable"), canary: group("canary"), canary_weight: 0, max: 100 }
    }

    #[test]
    fn rules_that_hold_both_are_found_among_others() {
        let rules = [
            rule("1", &[("stable", 1), ("canary", 0)]),
            rule("2", &[("other", 1)]),
            rule("3", &[("canary", 1), ("x", 3), ("stable", 0)]),
        ];
        let found = holding_both(&rules, &split(), true).unwrap();
        assert_eq!(found, [rules[0].arn().clone(), rules[2].arn().clone()]);
        assert!(matches!(holding_both(&rules[1..2], &split(), true), Err(RulesError::None { .. })));
    }

    #[test]
    fn a_rule_on_stable_alone_is_refused_when_stable_pods_go_away() {
        let rules = [rule("1", &[("stable", 1), ("canary", 0)]), rule("2", &[("stable", 1)])];
        assert!(matches!(holding_both(&rules, &split(), true), Err(RulesError::StableAlone { .. })));
        assert_eq!(holding_both(&rules, &split(), false).unwrap().len(), 1);
        let unused = [rules[0].clone(), rule("2", &[("stable", 0), ("other", 1)])];
        assert_eq!(holding_both(&unused, &split(), true).unwrap().len(), 1);
    }
}
