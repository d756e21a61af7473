//! When two rules are the same to the controller (LBC pkg/equality/elbv2/compare_option_for_*.go).

use crate::control_plane::model::shapes::{Action, Condition, ForwardConfig, RedirectConfig, TargetGroupTuple};

/// Whether the observed actions are the wanted ones. Order numbers and `TargetGroupArn` do not count.
///
/// The client secret of OIDC does count. AWS never gives it out, so a rule with `authenticate-oidc` differs every time.
pub(in crate::load_balancer_controller) fn same_actions(wanted: &[Action], observed: &[Action]) -> bool {
    let (wanted, observed) = (in_order(wanted), in_order(observed));
    wanted.len() == observed.len()
        && wanted.iter().zip(observed).all(|(wanted, observed)| same_action(wanted, observed))
}

/// Conditions in any order. The older `Values` beside the config do not count.
pub(super) fn same_conditions(wanted: &[Condition], observed: &[Condition]) -> bool {
    let comparable = |conditions: &[Condition]| {
        let without = |condition: &Condition| Condition { values: None, regex_values: None, ..condition.clone() };
        let mut conditions: Vec<Condition> = conditions.iter().map(without).collect();
        conditions.sort_by(|one, other| one.field.cmp(&other.field));
        conditions
    };
    comparable(wanted) == comparable(observed)
}

fn in_order(actions: &[Action]) -> Vec<&Action> {
    let mut actions: Vec<&Action> = actions.iter().collect();
    actions.sort_by_key(|action| action.order);
    actions
}

fn same_action(wanted: &Action, observed: &Action) -> bool {
    let forwards = match (&wanted.forward_config, &observed.forward_config) {
        (Some(wanted), Some(observed)) => same_forward(wanted, observed),
        (wanted, observed) => wanted.is_none() && observed.is_none(),
    };
    forwards && beside_forward(wanted) == beside_forward(&as_described(observed))
}

/// Weights are compared as numbers: 9 to 1 is not 90 to 10. A stickiness that is not wanted may be as it is.
fn same_forward(wanted: &ForwardConfig, observed: &ForwardConfig) -> bool {
    let stickiness = &wanted.target_group_stickiness_config;
    comparable(&wanted.target_groups) == comparable(&observed.target_groups)
        && (stickiness.is_none() || *stickiness == observed.target_group_stickiness_config)
}

/// By ARN. The weight of a single group means nothing.
fn comparable(groups: &[TargetGroupTuple]) -> Vec<TargetGroupTuple> {
    let mut groups = groups.to_vec();
    groups.sort_by(|one, other| one.target_group_arn.cmp(&other.target_group_arn));
    if let [single] = groups.as_mut_slice() {
        single.weight = None;
    }
    groups
}

/// What AWS tells of an action.
fn as_described(action: &Action) -> Action {
    let mut action = action.clone();
    if let Some(oidc) = &mut action.authenticate_oidc_config {
        oidc.client_secret = None;
    }
    action
}

/// All but the forward, with what does not count taken out and the defaults of a redirect filled in.
fn beside_forward(action: &Action) -> Action {
    let redirect = action.redirect_config.clone().map(|config| {
        let or = |value: Option<String>, default: &str| Some(value.unwrap_or_else(|| default.to_owned()));
        RedirectConfig {
            protocol: or(config.protocol, "#{protocol}"),
            port: or(config.port, "#{port}"),
            host: or(config.host, "#{host}"),
            path: or(config.path, "/#{path}"),
            query: or(config.query, "#{query}"),
            status_code: config.status_code,
        }
    });
    Action { order: None, target_group_arn: None, forward_config: None, redirect_config: redirect, ..action.clone() }
}
