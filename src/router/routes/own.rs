//! Rules of our own: which there are, which are missing, and where there is room for them. Pure.

use super::Route;
use crate::alb::{Rule, Tags, TargetGroupArn};

/// Whose rule it is.
const ROLLOUT: &str = "trafficrouter-alb/rollout";
/// Which of its routes.
const ROUTE: &str = "trafficrouter-alb/route";
/// The rule before which it comes.
const BEFORE: &str = "trafficrouter-alb/before";

/// Default rules come after every other. The last priority is one less (API reference, `CreateRule`).
const AFTER_ALL: u32 = 50_001;

/// A rule of our own.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Own {
    pub(super) rule: Rule,
    pub(super) route: String,
    before: String,
}

/// Between which rules there is no room for one more.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no free priority between {other} and {priority}; give the rule a larger number, so that there is one for each of the \
     Rollout's managed routes"
)]
pub(super) struct NoRoom {
    priority: String,
    other: String,
}

/// The tags of a rule of our own.
pub(super) fn tags(rollout: &str, route: &str, before: &Rule) -> Tags {
    [(ROLLOUT, rollout), (ROUTE, route), (BEFORE, before.arn().as_str())]
        .map(|(key, value)| (key.to_owned(), value.to_owned()))
        .into()
}

/// Those of these rules that are this Rollout's own.
pub(super) fn known(tagged: Vec<(Rule, Tags)>, rollout: &str) -> Vec<Own> {
    let own = tagged.into_iter().filter_map(|(rule, tags)| {
        let is_ours = tags.get(ROLLOUT).is_some_and(|owner| owner == rollout);
        let (route, before) = (tags.get(ROUTE)?.clone(), tags.get(BEFORE)?.clone());
        is_ours.then_some(Own { rule, route, before })
    });
    own.collect()
}

/// The rule that makes the route before this one, if there is one.
pub(super) fn made<'o>(own: &'o [Own], route: &Route, before: &Rule) -> Option<&'o Own> {
    own.iter().find(|own| own.route == route.name && own.before == before.arn().as_str())
}

/// The rule does what the route is to do before this one.
pub(super) fn is_right(rule: &Rule, route: &Route, before: &Rule, canary: &TargetGroupArn) -> bool {
    route.is_before(before, rule) && leads_to(rule, canary)
}

/// All that the rule lets through goes to this group.
pub(super) fn leads_to(rule: &Rule, group: &TargetGroupArn) -> bool {
    let groups = rule.groups();
    groups.iter().any(|held| held.group == *group) && groups.iter().all(|held| held.group == *group || held.weight == 0)
}

/// The priority of a route before this rule. Routes stand right before it, in the order in which the Rollout names them.
pub(super) fn priority(route: &Route, before: &Rule, rules: &[Rule], own: &[Own]) -> Result<u32, NoRoom> {
    let end = before.priority().unwrap_or(AFTER_ALL);
    let place = route.all.iter().position(|name| *name == route.name).unwrap_or_default();
    let behind = u32::try_from(route.all.len() - place).unwrap_or(u32::MAX);
    let is_own =
        |rule: &Rule| own.iter().any(|own| own.rule.arn() == rule.arn() && own.before == before.arn().as_str());
    let others = rules.iter().filter(|rule| rule.arn().listener() == before.arn().listener() && !is_own(rule));
    let last = others.filter_map(Rule::priority).filter(|priority| *priority < end).max().unwrap_or_default();
    match end.checked_sub(behind).filter(|wanted| *wanted > last) {
        Some(wanted) => Ok(wanted),
        None => Err(NoRoom {
            priority: before.priority().map_or_else(|| "the default rule".to_owned(), |end| end.to_string()),
            other: if last == 0 { "0".to_owned() } else { format!("the rule with priority {last}") },
        }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alb::{HeaderCondition, WeightedGroup};

    fn group(name: &str) -> TargetGroupArn {
        format!("arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/{name}/1").parse().unwrap()
    }

    fn rule(id: &str, priority: u32, group_name: &str) -> Rule {
        let arn = format!("arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/web/a/b/{id}").parse().unwrap();
        Rule::forwarding(arn, &[WeightedGroup { group: group(group_name), weight: 1 }]).with_priority(priority)
    }

    fn route(name: &str) -> Route {
        let headers = vec![HeaderCondition::exact("x-canary", "1").unwrap()];
        Route { name: name.to_owned(), headers, all: vec!["first".to_owned(), "second".to_owned()] }
    }

    #[test]
    fn routes_stand_right_before_their_rule_in_the_order_of_the_rollout() {
        let (base, other) = (rule("base", 10, "stable"), rule("other", 7, "x"));
        let rules = [other.clone(), base.clone()];
        assert_eq!(priority(&route("first"), &base, &rules, &[]), Ok(8));
        let tags = tags("shop/web", "first", &base);
        let first = rule("one", 8, "canary").with_headers(&route("first").headers);
        let own = known(vec![(first.clone(), tags)], "shop/web");
        let rules = [other.clone(), first.clone(), base.clone()];
        assert_eq!(priority(&route("second"), &base, &rules, &own), Ok(9));
        assert!(made(&own, &route("first"), &base).is_some_and(|own| is_right(
            &own.rule,
            &route("first"),
            &base,
            &group("canary")
        )));
        assert!(made(&own, &route("second"), &base).is_none());
        assert!(made(&own, &route("first"), &other).is_none());
    }

    #[test]
    fn where_there_is_no_room_both_rules_are_named() {
        let rules = [rule("other", 9, "x"), rule("base", 10, "stable")];
        let error = priority(&route("second"), &rules[1], &rules, &[]).unwrap_err().to_string();
        assert!(error.contains("between the rule with priority 9 and 10"), "{error}");
    }

    #[test]
    fn anothers_rule_is_not_ours() {
        let base = rule("base", 10, "stable");
        let tagged = vec![(rule("one", 8, "canary"), tags("bank/web", "first", &base)), (base, Tags::new())];
        assert!(known(tagged, "shop/web").is_empty());
    }
}
