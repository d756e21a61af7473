//! A rule as the router sees it, and its actions as AWS wants them back.
//!
//! ModifyRule replaces a rule's actions wholesale, so whatever DescribeRules showed must be sent again, changed where
//! the two calls differ (API reference: `ModifyRule`, `Action`, `AuthenticateOidcActionConfig`).

use std::time::Duration;

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, ForwardActionConfig, Listener, Rule as SdkRule, RuleCondition, RuleTransform,
    TargetGroupTuple,
};

use super::{HeaderCondition, RuleArn, TargetGroupArn};

/// A target group in a forward action, with its weight.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WeightedGroup {
    /// The group.
    pub group: TargetGroupArn,
    /// Its weight among the action's groups, 0 to [`super::MAX_GROUP_WEIGHT`].
    pub weight: u32,
}

/// A listener's rule, or its default action.
#[derive(Clone, Debug, PartialEq)]
pub struct Rule {
    arn: RuleArn,
    is_default: bool,
    priority: Option<u32>,
    conditions: Vec<RuleCondition>,
    actions: Vec<Action>,
    transforms: Vec<RuleTransform>,
}

/// An action type that this build does not know. The SDK drops what it cannot name, so sending it back would lose it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "the rule has an action of type `{0}`, which this version does not know and could not send back unharmed; \
     use a newer version of the plugin"
)]
pub(super) struct UnknownAction(pub(super) String);

impl Rule {
    fn new(arn: RuleArn, is_default: bool, actions: Vec<Action>) -> Self {
        Self { arn, is_default, priority: None, conditions: Vec::new(), actions, transforms: Vec::new() }
    }

    /// A rule as DescribeRules shows it.
    pub(super) fn from_sdk(rule: &SdkRule) -> Option<Self> {
        Some(Self {
            arn: RuleArn::from_aws(rule.rule_arn()?),
            is_default: rule.is_default().unwrap_or(false),
            // A default rule's is the word `default`.
            priority: rule.priority().and_then(|priority| priority.parse().ok()),
            conditions: rule.conditions().to_vec(),
            actions: rule.actions().to_vec(),
            transforms: rule.transforms().to_vec(),
        })
    }

    /// The default action of a listener, as DescribeListeners shows it.
    pub(super) fn default_of(listener: &Listener) -> Option<Self> {
        Some(Self::new(RuleArn::from_aws(listener.listener_arn()?), true, listener.default_actions().to_vec()))
    }

    /// A rule that forwards to these groups and does nothing else.
    #[must_use]
    pub fn forwarding(arn: RuleArn, groups: &[WeightedGroup]) -> Self {
        let forward = Action::builder().r#type(ActionTypeEnum::Forward).forward_config(forward_config(groups, None));
        Self::new(arn, false, vec![forward.build()])
    }

    /// The same rule with this priority, 1 to 50,000.
    #[must_use]
    pub fn with_priority(self, priority: u32) -> Self {
        Self { priority: Some(priority), is_default: false, ..self }
    }

    /// The same rule, for requests that meet these conditions too.
    #[must_use]
    pub fn with_headers(mut self, headers: &[HeaderCondition]) -> Self {
        self.conditions.extend(headers.iter().map(HeaderCondition::to_sdk));
        self
    }

    /// The same rule as its listener's default action.
    #[must_use]
    pub fn into_default(self) -> Self {
        Self { priority: None, is_default: true, conditions: Vec::new(), ..self }
    }

    /// Its name.
    #[must_use]
    pub fn arn(&self) -> &RuleArn {
        &self.arn
    }

    /// It is its listener's default action.
    #[must_use]
    pub fn is_default(&self) -> bool {
        self.is_default
    }

    /// Its place among its listener's rules: the lowest number is looked at first. None for a default rule, the last of all.
    #[must_use]
    pub fn priority(&self) -> Option<u32> {
        self.priority
    }

    /// It looks at headers of requests, `Host` aside.
    #[must_use]
    pub fn has_header_conditions(&self) -> bool {
        self.headers().next().is_some()
    }

    /// What it asks of headers is this and nothing else, as an ALB compares. It may have other conditions.
    #[must_use]
    pub fn requires(&self, headers: &[HeaderCondition]) -> bool {
        let sorted = |mut senses: Vec<_>| {
            senses.sort();
            senses
        };
        let ours = sorted(self.headers().map(|condition| condition.sense()).collect());
        ours == sorted(headers.iter().map(HeaderCondition::sense).collect())
    }

    /// What it asks of headers is this, and it may ask for more.
    #[must_use]
    pub fn includes(&self, headers: &[HeaderCondition]) -> bool {
        headers.iter().all(|wanted| self.headers().any(|asked| asked.sense() == wanted.sense()))
    }

    /// What it asks of headers.
    pub fn headers(&self) -> impl Iterator<Item = HeaderCondition> {
        self.conditions.iter().filter_map(HeaderCondition::from_sdk)
    }

    pub(super) fn conditions(&self) -> &[RuleCondition] {
        &self.conditions
    }

    pub(super) fn actions(&self) -> &[Action] {
        &self.actions
    }

    pub(super) fn transforms(&self) -> &[RuleTransform] {
        &self.transforms
    }

    /// The groups its forward action holds, empty when it does not forward (a redirect, a fixed response).
    #[must_use]
    pub fn groups(&self) -> Vec<WeightedGroup> {
        let Some(forward) = self.forward() else { return Vec::new() };
        let tuples = forward.forward_config().map(ForwardActionConfig::target_groups).unwrap_or_default();
        if tuples.is_empty() {
            // A forward to one group may come without its ForwardConfig. Its weight then does not matter.
            let only = forward.target_group_arn().map(|arn| weighted(arn, None));
            return only.into_iter().collect();
        }
        tuples.iter().filter_map(|tuple| Some(weighted(tuple.target_group_arn()?, tuple.weight()))).collect()
    }

    /// The weight of one group, if the rule holds it.
    #[must_use]
    pub fn weight_of(&self, group: &TargetGroupArn) -> Option<u32> {
        self.groups().into_iter().find(|held| held.group == *group).map(|held| held.weight)
    }

    /// For how long a client stays with the group that it was sent to first, where the forward action's group stickiness is
    /// on. Its weight may be 0 by then.
    #[must_use]
    pub fn stickiness(&self) -> Option<Duration> {
        let stickiness = self.forward()?.forward_config()?.target_group_stickiness_config()?;
        let on = stickiness.enabled().unwrap_or(false);
        let seconds = stickiness.duration_seconds().and_then(|seconds| u64::try_from(seconds).ok())?;
        on.then(|| Duration::from_secs(seconds))
    }

    fn forward(&self) -> Option<&Action> {
        self.actions.iter().find(|action| is_forward(action))
    }

    /// The actions to send so that the forward action has these groups, and all else stays.
    pub(super) fn actions_with(&self, groups: &[WeightedGroup]) -> Result<Vec<Action>, UnknownAction> {
        self.actions.iter().map(|action| echoed(action, groups)).collect()
    }
}

pub(super) fn is_forward(action: &Action) -> bool {
    action.r#type() == Some(&ActionTypeEnum::Forward)
}

fn weighted(arn: &str, weight: Option<i32>) -> WeightedGroup {
    // AWS leaves the weight out of a one-group forward now and then; 1 is what it means.
    let weight = weight.and_then(|weight| u32::try_from(weight).ok()).unwrap_or(1);
    WeightedGroup { group: TargetGroupArn::from_aws(arn), weight }
}

/// One action as AWS takes it back.
fn echoed(action: &Action, groups: &[WeightedGroup]) -> Result<Action, UnknownAction> {
    let mut action = action.clone();
    match action.r#type() {
        Some(ActionTypeEnum::Forward) => {
            let before = action.forward_config.take();
            action.forward_config = Some(forward_config(groups, before));
            // AWS shows the group of a one-group forward here too, and refuses it beside a different ForwardConfig.
            action.target_group_arn = None;
        }
        Some(ActionTypeEnum::AuthenticateOidc) => {
            // DescribeRules never shows the client secret; this asks AWS to keep the one it has.
            if let Some(oidc) = &mut action.authenticate_oidc_config {
                oidc.client_secret = None;
                oidc.use_existing_client_secret = Some(true);
            }
        }
        Some(
            ActionTypeEnum::AuthenticateCognito
            | ActionTypeEnum::JwtValidation
            | ActionTypeEnum::FixedResponse
            | ActionTypeEnum::Redirect,
        ) => {}
        Some(unknown) => return Err(UnknownAction(unknown.as_str().to_owned())),
        None => return Err(UnknownAction("(none)".to_owned())),
    }
    Ok(action)
}

/// A forward action's configuration with these groups; its stickiness stays.
pub(super) fn forward_config(groups: &[WeightedGroup], before: Option<ForwardActionConfig>) -> ForwardActionConfig {
    let tuples = groups.iter().map(|held| {
        let weight = i32::try_from(held.weight).unwrap_or(i32::MAX);
        TargetGroupTuple::builder().target_group_arn(held.group.as_str()).weight(weight).build()
    });
    ForwardActionConfig::builder()
        .set_target_groups(Some(tuples.collect()))
        .set_target_group_stickiness_config(before.and_then(|config| config.target_group_stickiness_config))
        .build()
}

#[cfg(test)]
mod tests {
    use aws_sdk_elasticloadbalancingv2::types::{
        AuthenticateOidcActionConfig, JwtValidationActionConfig, TargetGroupStickinessConfig,
    };

    use super::*;

    const ARN: &str = "arn:aws:elasticloadbalancing:eu-west-1:1:listener-rule/app/web/a/b/c";

    fn group(name: &str, weight: u32) -> WeightedGroup {
        let group = format!("arn:aws:elasticloadbalancing:eu-west-1:1:targetgroup/{name}/1").parse().unwrap();
        WeightedGroup { group, weight }
    }

    fn rule(actions: Vec<Action>) -> Rule {
        Rule::new(ARN.parse().unwrap(), false, actions)
    }

    fn sticky_forward() -> Action {
        let stickiness = TargetGroupStickinessConfig::builder().enabled(true).duration_seconds(60).build();
        let mut config = forward_config(&[group("stable", 100)], None);
        config.target_group_stickiness_config = Some(stickiness);
        Action::builder()
            .r#type(ActionTypeEnum::Forward)
            .order(2)
            .target_group_arn(group("stable", 1).group.as_str())
            .forward_config(config)
            .build()
    }

    #[test]
    fn the_forward_action_gets_the_groups_and_keeps_stickiness_and_order() {
        let wanted = [group("stable", 90), group("canary", 10)];
        let sent = rule(vec![sticky_forward()]).actions_with(&wanted).unwrap();
        let config = sent[0].forward_config().unwrap();
        assert_eq!(rule(sent.clone()).groups(), wanted);
        assert_eq!(config.target_group_stickiness_config().unwrap().duration_seconds(), Some(60));
        assert_eq!((sent[0].order(), sent[0].target_group_arn()), (Some(2), None));
    }

    #[test]
    fn stickiness_counts_where_it_is_on() {
        assert_eq!(rule(vec![sticky_forward()]).stickiness(), Some(Duration::from_secs(60)));
        let mut off = sticky_forward();
        let config = off.forward_config.as_mut().unwrap();
        config.target_group_stickiness_config.as_mut().unwrap().enabled = Some(false);
        assert_eq!(rule(vec![off]).stickiness(), None);
        assert_eq!(Rule::forwarding(ARN.parse().unwrap(), &[group("stable", 1)]).stickiness(), None);
    }

    #[test]
    fn an_oidc_secret_is_neither_sent_nor_lost_and_jwt_stays() {
        let oidc = AuthenticateOidcActionConfig::builder().client_id("id").client_secret("leaked").build();
        let oidc = Action::builder().r#type(ActionTypeEnum::AuthenticateOidc).authenticate_oidc_config(oidc).build();
        let jwt = JwtValidationActionConfig::builder().issuer("https://issuer").build();
        let jwt = Action::builder().r#type(ActionTypeEnum::JwtValidation).jwt_validation_config(jwt).build();
        let sent = rule(vec![oidc, jwt.clone(), sticky_forward()]).actions_with(&[group("stable", 1)]).unwrap();
        let echoed = sent[0].authenticate_oidc_config().unwrap();
        assert_eq!((echoed.client_id(), echoed.client_secret()), (Some("id"), None));
        assert_eq!(echoed.use_existing_client_secret(), Some(true));
        assert_eq!(sent[1], jwt);
    }

    #[test]
    fn an_action_this_build_does_not_know_is_refused() {
        let new = Action::builder().r#type(ActionTypeEnum::from("teleport")).build();
        let error = rule(vec![new, sticky_forward()]).actions_with(&[group("stable", 1)]).unwrap_err();
        assert!(error.to_string().contains("`teleport`"), "{error}");
    }

    #[test]
    fn what_it_asks_of_headers_is_compared_as_an_alb_compares() {
        let condition = |header: &str, text: &str| HeaderCondition::exact(header, text).unwrap();
        let plain = Rule::forwarding(ARN.parse().unwrap(), &[group("stable", 1)]);
        assert!(plain.requires(&[]) && !plain.has_header_conditions());
        let both = plain.clone().with_headers(&[condition("X-Canary", "Yes"), condition("team", "a")]);
        assert!(both.requires(&[condition("Team", "A"), condition("x-canary", "yes")]) && both.has_header_conditions());
        for other in [
            vec![],
            vec![condition("x-canary", "yes")],
            vec![condition("x-canary", "yes"), condition("team", "b")],
            vec![condition("x-canary", "yes"), condition("team", "a"), condition("team", "a")],
            vec![condition("x-canary", "yes"), HeaderCondition::regex("team", "a").unwrap()],
        ] {
            assert!(!both.requires(&other), "{other:?}");
        }
        let regex = plain.with_headers(&[HeaderCondition::regex("team", "^A$").unwrap()]);
        assert!(regex.requires(&[HeaderCondition::regex("Team", "^A$").unwrap()]));
        assert!(!regex.requires(&[HeaderCondition::regex("team", "^a$").unwrap()]));
    }

    #[test]
    fn a_rule_is_read_as_aws_shows_it() {
        let path = RuleCondition::builder().field("path-pattern").values("/*").build();
        let shown =
            SdkRule::builder().rule_arn(ARN).actions(sticky_forward()).conditions(path.clone()).is_default(false);
        let read = Rule::from_sdk(&shown.clone().priority("17").build()).unwrap();
        assert_eq!((read.priority(), read.is_default(), read.conditions()), (Some(17), false, [path].as_slice()));
        let default = Rule::from_sdk(&shown.priority("default").is_default(true).build()).unwrap();
        assert_eq!((default.priority(), default.is_default()), (None, true));
        let listener = default.arn().listener();
        let shown = Listener::builder().listener_arn(&listener).default_actions(sticky_forward()).build();
        let default = Rule::default_of(&shown).unwrap();
        assert!(default.is_default() && default.priority().is_none());
        assert_eq!((default.arn().as_str(), default.groups()), (listener.as_str(), vec![group("stable", 100)]));
    }

    #[test]
    fn a_plain_forward_and_a_redirect_are_read() {
        let plain = Action::builder()
            .r#type(ActionTypeEnum::Forward)
            .target_group_arn(group("stable", 1).group.as_str())
            .build();
        assert_eq!(rule(vec![plain]).groups(), [group("stable", 1)]);
        assert!(rule(vec![Action::builder().r#type(ActionTypeEnum::Redirect).build()]).groups().is_empty());
    }
}
