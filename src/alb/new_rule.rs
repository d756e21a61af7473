//! A rule that is added before another one: what goes into it, and where it finds room.

use aws_sdk_elasticloadbalancingv2::types::{Action, ActionTypeEnum, RuleCondition};

use super::rule::{UnknownAction, forward_config, is_forward};
use super::{Error, HeaderCondition, Rule, Tags, TargetGroupArn, WeightedGroup};

/// Over all conditions of one rule together, not adjustable (user guide for Application Load Balancers, "Quotas").
const MOST_VALUES: usize = 5;

/// A rule of our own, on a listener where nobody else would delete it.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRule {
    /// The rule whose traffic it takes first: it has the same conditions, and these beside them, on the same listener.
    pub before: Rule,
    /// 1 to 50,000, free on the listener. The lowest number is looked at first.
    pub priority: u32,
    /// What else a request must have.
    pub headers: Vec<HeaderCondition>,
    /// Where it goes.
    pub group: TargetGroupArn,
    /// How it is known again.
    pub tags: Tags,
}

/// Why no rule can be added before this one.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NoRoute {
    #[error(
        "the rule before which it would come logs people in by OIDC, and AWS shows its client secret to nobody, so that a \
         second rule cannot do the same; route by header without OIDC, or add the rule yourself"
    )]
    Secret,
    #[error(
        "the rule before which it would come does not forward to target groups, so that there is no traffic to take"
    )]
    NoForward,
    #[error(transparent)]
    UnknownAction(#[from] UnknownAction),
    #[error(
        "it would compare with {values} values, {own} of them from the rule before which it comes, but a rule can have \
         {MOST_VALUES}; match fewer headers"
    )]
    TooManyValues { values: usize, own: usize },
    #[error("no header is matched, so that it would take all traffic of the rule before which it comes")]
    NoHeaders,
}

impl NewRule {
    /// Whether it could do what the rule before which it comes does, as far as can be said without asking AWS.
    ///
    /// # Errors
    /// [`Error`] of kind [`super::ErrorKind::Refused`] when it could not.
    pub fn check(&self) -> Result<(), Error> {
        let refused = |why: NoRoute| {
            Error::refused("CreateRule", format!("a rule before {}", self.before.arn()), why.to_string())
        };
        self.conditions().map_err(refused)?;
        self.actions().map_err(refused)?;
        Ok(())
    }

    /// Its conditions: those of the rule before which it comes, and those on headers.
    pub(super) fn conditions(&self) -> Result<Vec<RuleCondition>, NoRoute> {
        if self.headers.is_empty() {
            return Err(NoRoute::NoHeaders);
        }
        let mut conditions: Vec<_> = self.before.conditions().iter().map(once).collect();
        let own = conditions.iter().map(values).sum();
        conditions.extend(self.headers.iter().map(HeaderCondition::to_sdk));
        let values = conditions.iter().map(values).sum();
        if values > MOST_VALUES {
            return Err(NoRoute::TooManyValues { values, own });
        }
        Ok(conditions)
    }

    /// Its actions: what the rule before which it comes does before it forwards, and a forward to the one group. Without the
    /// group stickiness of that rule, whose cookie would lead people to the group who no longer send the header.
    pub(super) fn actions(&self) -> Result<Vec<Action>, NoRoute> {
        let group = [WeightedGroup { group: self.group.clone(), weight: 1 }];
        let before = self.before.actions();
        if !before.iter().any(is_forward) {
            return Err(NoRoute::NoForward);
        }
        let action = |action: &Action| match action.r#type() {
            Some(ActionTypeEnum::Forward) => Ok(Action::builder()
                .r#type(ActionTypeEnum::Forward)
                .set_order(action.order())
                .forward_config(forward_config(&group, None))
                .build()),
            Some(ActionTypeEnum::AuthenticateCognito | ActionTypeEnum::JwtValidation) => Ok(action.clone()),
            Some(ActionTypeEnum::AuthenticateOidc) => Err(NoRoute::Secret),
            Some(ActionTypeEnum::FixedResponse | ActionTypeEnum::Redirect) => Err(NoRoute::NoForward),
            Some(unknown) => Err(UnknownAction(unknown.as_str().to_owned()).into()),
            None => Err(UnknownAction("(none)".to_owned()).into()),
        };
        before.iter().map(action).collect()
    }
}

/// A condition as AWS takes it: DescribeRules shows hosts and paths twice, beside the field and in its settings.
fn once(condition: &RuleCondition) -> RuleCondition {
    let mut condition = condition.clone();
    if in_settings(&condition).is_some_and(|values| values > 0) {
        condition.values = None;
        condition.regex_values = None;
    }
    condition
}

/// How many values it compares with. A key of a query string and its value are one.
fn values(condition: &RuleCondition) -> usize {
    let beside = condition.values().len() + condition.regex_values().len();
    in_settings(condition).unwrap_or(0).max(beside)
}

/// How many of them stand in the settings of its own field.
fn in_settings(condition: &RuleCondition) -> Option<usize> {
    let host = condition.host_header_config().map(|config| config.values().len() + config.regex_values().len());
    let path = condition.path_pattern_config().map(|config| config.values().len() + config.regex_values().len());
    let header = condition.http_header_config().map(|config| config.values().len() + config.regex_values().len());
    let query = condition.query_string_config().map(|config| config.values().len());
    let method = condition.http_request_method_config().map(|config| config.values().len());
    let source = condition.source_ip_config().map(|config| config.values().len());
    host.or(path).or(header).or(query).or(method).or(source)
}

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::types::{
        AuthenticateCognitoActionConfig, HostHeaderConditionConfig, QueryStringConditionConfig,
        QueryStringKeyValuePair, Rule as SdkRule, TargetGroupStickinessConfig,
    };

    use super::*;

    fn arn(listener: &str, number: u32) -> super::super::RuleArn {
        format!("arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/web/a/{listener}/{number}").parse().unwrap()
    }

    fn group(name: &str) -> TargetGroupArn {
        format!("arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/{name}/1").parse().unwrap()
    }

    fn header(name: &str) -> HeaderCondition {
        HeaderCondition::exact(name, "yes").unwrap()
    }

    fn forward() -> Action {
        let stickiness = TargetGroupStickinessConfig::builder().enabled(true).duration_seconds(60).build();
        let groups = [WeightedGroup { group: group("stable"), weight: 100 }];
        let mut config = forward_config(&groups, None);
        config.target_group_stickiness_config = Some(stickiness);
        Action::builder().r#type(ActionTypeEnum::Forward).order(2).forward_config(config).build()
    }

    fn before(conditions: Vec<RuleCondition>, actions: Vec<Action>) -> Rule {
        let shown = SdkRule::builder().rule_arn(arn("b", 1).as_str()).priority("10").set_actions(Some(actions));
        Rule::from_sdk(&shown.set_conditions(Some(conditions)).build()).unwrap()
    }

    fn new_rule(before: Rule, headers: Vec<HeaderCondition>) -> NewRule {
        NewRule { before, priority: 9, headers, group: group("canary"), tags: Tags::new() }
    }

    fn host(names: &[&str]) -> RuleCondition {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let config = HostHeaderConditionConfig::builder().set_values(Some(names.clone())).build();
        RuleCondition::builder().field("host-header").set_values(Some(names)).host_header_config(config).build()
    }

    #[test]
    fn conditions_come_along_once_and_headers_are_added() {
        let rule =
            new_rule(before(vec![host(&["a.example.com", "b.example.com"])], vec![forward()]), vec![header("x")]);
        let conditions = rule.conditions().unwrap();
        assert_eq!(conditions.len(), 2);
        assert!(conditions[0].values().is_empty());
        assert_eq!(conditions[0].host_header_config().unwrap().values(), ["a.example.com", "b.example.com"]);
        assert_eq!(HeaderCondition::from_sdk(&conditions[1]), Some(header("x")));
        // The older form stays: nothing else would be left.
        let older = RuleCondition::builder().field("path-pattern").values("/shop/*").build();
        let rule = new_rule(before(vec![older.clone()], vec![forward()]), vec![header("x")]);
        assert_eq!(rule.conditions().unwrap()[0], older);
        let default = before(vec![], vec![forward()]).into_default();
        assert_eq!(new_rule(default, vec![header("x")]).conditions().unwrap().len(), 1);
    }

    #[test]
    fn a_rule_compares_with_five_values() {
        let pair = QueryStringKeyValuePair::builder().key("version").value("2").build();
        let query = QueryStringConditionConfig::builder().values(pair).build();
        let query = RuleCondition::builder().field("query-string").query_string_config(query).build();
        let conditions = vec![host(&["a.example.com", "b.example.com"]), query];
        let headers = ["x", "y", "z"].map(header);
        let rule = before(conditions, vec![forward()]);
        assert!(new_rule(rule.clone(), headers[..2].to_vec()).conditions().is_ok());
        let refused = new_rule(rule.clone(), headers.to_vec()).conditions().unwrap_err();
        assert_eq!(refused, NoRoute::TooManyValues { values: 6, own: 3 });
        assert_eq!(new_rule(rule, vec![]).conditions().unwrap_err(), NoRoute::NoHeaders);
    }

    #[test]
    fn what_comes_before_the_forward_comes_along_and_stickiness_does_not() {
        let cognito = AuthenticateCognitoActionConfig::builder().user_pool_client_id("id").build();
        let cognito = Action::builder()
            .r#type(ActionTypeEnum::AuthenticateCognito)
            .order(1)
            .authenticate_cognito_config(cognito)
            .build();
        let actions = new_rule(before(vec![], vec![cognito.clone(), forward()]), vec![]).actions().unwrap();
        assert_eq!((actions.len(), &actions[0], actions[1].order()), (2, &cognito, Some(2)));
        let config = actions[1].forward_config().unwrap();
        assert_eq!(config.target_groups().len(), 1);
        assert_eq!(config.target_groups()[0].target_group_arn(), Some(group("canary").as_str()));
        assert_eq!(config.target_group_stickiness_config(), None);
    }

    #[test]
    fn what_cannot_come_along_is_refused() {
        let action = |kind: &str| Action::builder().r#type(kind.into()).build();
        for (kind, words) in [("authenticate-oidc", "shows its client secret to nobody"), ("teleport", "`teleport`")] {
            let rule = new_rule(before(vec![], vec![action(kind), forward()]), vec![]);
            let refused = rule.actions().unwrap_err().to_string();
            assert!(refused.contains(words), "{refused}");
        }
        let redirect = new_rule(before(vec![], vec![action("redirect")]), vec![]);
        assert_eq!(redirect.actions().unwrap_err(), NoRoute::NoForward);
    }
}
