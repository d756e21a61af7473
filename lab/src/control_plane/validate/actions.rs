//! Actions of a rule, or of a listener's default rule.
//!
//! Sources: API reference of Action, ForwardActionConfig, TargetGroupStickinessConfig, AuthenticateOidcActionConfig and
//! JwtValidationActionConfig; the quotas page of the user guide for Application Load Balancers.

use std::collections::BTreeSet;

use crate::control_plane::error::ApiError;
use crate::control_plane::model::arn::Family;
use crate::control_plane::model::shapes::{
    Action, ActionType, CognitoConfig, FixedResponseConfig, ForwardConfig, JwtConfig, OidcConfig, OnUnauthenticated,
    RedirectConfig, StickinessConfig, TargetGroupTuple,
};
use crate::control_plane::model::{Account, ListenerProtocol, TargetGroup};
use crate::control_plane::validate::within;

#[cfg(test)]
mod tests;

/// Target groups per action, not adjustable (quotas page).
const MAX_GROUPS: usize = 5;
/// Target groups per load balancer, not adjustable (quotas page).
const MAX_GROUPS_PER_LOAD_BALANCER: usize = 100;
const MAX_WEIGHT: u16 = 999;
/// Seven days.
const MAX_STICKINESS_SECONDS: u32 = 604_800;
const DEFAULT_SESSION_SECONDS: u64 = 604_800;

/// Checks the actions by themselves and fills in what AWS fills in. They come back in the order in which they are performed.
///
/// `existing` are the actions that are replaced, empty when the rule is new; a client secret may be taken over from them.
pub(crate) fn actions(
    mut actions: Vec<Action>,
    protocol: ListenerProtocol,
    existing: &[Action],
) -> Result<Vec<Action>, ApiError> {
    order(&mut actions)?;
    let (last, before) =
        actions.split_last().ok_or_else(|| ApiError::validation("At least one action must be specified"))?;
    if !last.r#type.is_final() || before.iter().any(|action| action.r#type.is_final()) {
        return Err(ApiError::invalid_action(
            "The actions must include exactly one of forward, redirect and fixed-response, and it must be the last to be performed",
        ));
    }
    actions.into_iter().map(|action| one(action, protocol, existing)).collect()
}

/// Checks the target groups that actions name: they exist, a listener of the protocol reaches them, and they belong to no other
/// load balancer.
pub(crate) fn target_groups(
    account: &Account,
    load_balancer_arn: &str,
    protocol: ListenerProtocol,
    actions: &[Action],
) -> Result<(), ApiError> {
    for tuple in actions.iter().flat_map(Action::target_groups) {
        let group = account.target_group(&tuple.target_group_arn)?;
        reaches(protocol, group)?;
        if group.is_sticky() && actions.iter().any(|action| action.splits_without_stickiness(&group.arn)) {
            return Err(group_stickiness_needed(group));
        }
        let arn = &group.arn;
        if account.load_balancers_of(arn).iter().any(|other| other != load_balancer_arn) {
            return Err(ApiError::new(
                "TargetGroupAssociationLimit",
                format!("The following target groups cannot be associated with more than one load balancer: {arn}"),
            ));
        }
    }
    let named: BTreeSet<&str> = account
        .rules
        .iter()
        .filter(|rule| account.load_balancer_of(rule) == Some(load_balancer_arn))
        .flat_map(|rule| &rule.actions)
        .chain(actions)
        .flat_map(Action::target_groups)
        .map(|tuple| tuple.target_group_arn.as_str())
        .collect();
    if named.len() > MAX_GROUPS_PER_LOAD_BALANCER {
        return Err(ApiError::new(
            "TooManyUniqueTargetGroupsPerLoadBalancer",
            format!("A load balancer can have at most {MAX_GROUPS_PER_LOAD_BALANCER} target groups"),
        ));
    }
    Ok(())
}

/// Authentication and token validation need HTTPS; a Network Load Balancer can only forward.
pub(crate) fn suits(kind: ActionType, protocol: ListenerProtocol) -> Result<(), ApiError> {
    let (suits, where_it_does) = match kind {
        ActionType::Forward => return Ok(()),
        ActionType::Redirect | ActionType::FixedResponse => {
            (protocol.family() == Family::Application, "HTTP and HTTPS")
        }
        ActionType::AuthenticateOidc | ActionType::AuthenticateCognito | ActionType::JwtValidation => {
            (protocol == ListenerProtocol::Https, "HTTPS")
        }
    };
    if suits {
        Ok(())
    } else {
        Err(ApiError::invalid_action(format!(
            "Actions of type '{}' are supported only on {where_it_does} listeners",
            kind.name()
        )))
    }
}

/// The refusal of target stickiness in a split without group stickiness, in AWS's words
/// (kubernetes-sigs/aws-load-balancer-controller#2734).
pub(crate) fn group_stickiness_needed(group: &TargetGroup) -> ApiError {
    ApiError::new(
        "InvalidConfigurationRequest",
        format!(
            "This target group appears behind a rule with group stickiness disabled ({}). You must enable group stickiness \
             before enabling target stickiness",
            group.arn
        ),
    )
}

fn reaches(protocol: ListenerProtocol, group: &TargetGroup) -> Result<(), ApiError> {
    if !protocol.reaches(group) {
        return Err(ApiError::new(
            "IncompatibleProtocols",
            format!("The listener and the following target groups have incompatible protocols: '{}'", group.arn),
        ));
    }
    // "The only supported listener protocol is HTTPS" (user guide, protocol versions HTTP/2 and gRPC).
    if protocol == ListenerProtocol::Http && matches!(group.protocol_version.as_str(), "HTTP2" | "GRPC") {
        return Err(ApiError::new(
            "InvalidConfigurationRequest",
            format!(
                "Listener protocol 'HTTP' is not supported with a target group with the protocol-version '{}'",
                group.protocol_version
            ),
        ));
    }
    Ok(())
}

/// Several actions need an order each; a single one gets 1.
fn order(actions: &mut [Action]) -> Result<(), ApiError> {
    if let [single] = actions {
        single.order.get_or_insert(1);
    }
    let mut seen = BTreeSet::new();
    for action in actions.iter() {
        let order = action
            .order
            .ok_or_else(|| ApiError::validation("An order must be specified for each of several actions"))?;
        within("Order", order, 1, 50_000)?;
        if !seen.insert(order) {
            return Err(ApiError::validation(format!("The order '{order}' is specified for more than one action")));
        }
    }
    actions.sort_by_key(|action| action.order);
    Ok(())
}

/// A single action: the settings of its own type, complete, and no others.
fn one(mut action: Action, protocol: ListenerProtocol, existing: &[Action]) -> Result<Action, ApiError> {
    let kind = action.r#type;
    suits(kind, protocol)?;
    let settings = [
        (ActionType::Forward, action.target_group_arn.is_some() || action.forward_config.is_some()),
        (ActionType::Redirect, action.redirect_config.is_some()),
        (ActionType::FixedResponse, action.fixed_response_config.is_some()),
        (ActionType::AuthenticateOidc, action.authenticate_oidc_config.is_some()),
        (ActionType::AuthenticateCognito, action.authenticate_cognito_config.is_some()),
        (ActionType::JwtValidation, action.jwt_validation_config.is_some()),
    ];
    for (of, is_set) in settings {
        if is_set && of != kind {
            let (kind, of) = (kind.name(), of.name());
            return Err(ApiError::invalid_action(format!(
                "An action of type '{kind}' has the settings of type '{of}'"
            )));
        }
    }
    let missing = || ApiError::validation(format!("An action of type '{}' needs its settings", kind.name()));
    match kind {
        ActionType::Forward => {
            let (single, config) = forward(action.target_group_arn, action.forward_config)?;
            action.target_group_arn = single;
            action.forward_config = Some(config);
        }
        ActionType::Redirect => {
            action.redirect_config = Some(redirect(action.redirect_config.ok_or_else(missing)?)?);
        }
        ActionType::FixedResponse => {
            action.fixed_response_config = Some(fixed(action.fixed_response_config.ok_or_else(missing)?)?);
        }
        ActionType::AuthenticateOidc => {
            let config = action.authenticate_oidc_config.ok_or_else(missing)?;
            action.authenticate_oidc_config = Some(oidc(config, existing)?);
        }
        ActionType::AuthenticateCognito => {
            action.authenticate_cognito_config = Some(cognito(action.authenticate_cognito_config.ok_or_else(missing)?));
        }
        ActionType::JwtValidation => {
            action.jwt_validation_config = Some(jwt(action.jwt_validation_config.ok_or_else(missing)?)?);
        }
    }
    Ok(action)
}

/// AWS describes a forward to one group both ways: by `TargetGroupArn` and by `ForwardConfig`.
fn forward(single: Option<String>, config: Option<ForwardConfig>) -> Result<(Option<String>, ForwardConfig), ApiError> {
    let mut config = config.unwrap_or_default();
    match (&single, config.target_groups.as_slice()) {
        (None, []) => return Err(ApiError::validation("A target group must be specified for a forward action")),
        (Some(arn), []) => config.target_groups.push(TargetGroupTuple { target_group_arn: arn.clone(), weight: None }),
        (Some(arn), [only]) if only.target_group_arn == *arn => {}
        (Some(_), _) => {
            return Err(ApiError::validation(
                "With TargetGroupArn, ForwardConfig can hold only one target group, and it must be the same",
            ));
        }
        (None, _) => {}
    }
    weights(&mut config.target_groups)?;
    let stickiness = config.target_group_stickiness_config.get_or_insert_default();
    check_stickiness(stickiness)?;
    let single = match config.target_groups.as_slice() {
        [only] => Some(only.target_group_arn.clone()),
        _ => None,
    };
    Ok((single, config))
}

fn weights(groups: &mut [TargetGroupTuple]) -> Result<(), ApiError> {
    if groups.len() > MAX_GROUPS {
        return Err(ApiError::validation(format!("A forward action can have at most {MAX_GROUPS} target groups")));
    }
    if let [single] = groups {
        single.weight.get_or_insert(1);
    }
    let mut seen = BTreeSet::new();
    for group in groups.iter() {
        // AWS says so too when the weight is missing (aws/aws-cdk#24805).
        if group.weight.is_none_or(|weight| weight > MAX_WEIGHT) {
            return Err(ApiError::validation("The weight for each target group must be between 0 and 999, inclusive"));
        }
        if !seen.insert(group.target_group_arn.as_str()) {
            return Err(ApiError::validation(format!(
                "Target group '{}' is specified more than once in a forward action",
                group.target_group_arn
            )));
        }
    }
    Ok(())
}

fn check_stickiness(stickiness: &mut StickinessConfig) -> Result<(), ApiError> {
    let enabled = *stickiness.enabled.get_or_insert(false);
    match stickiness.duration_seconds {
        Some(seconds) => within("DurationSeconds", seconds, 1, MAX_STICKINESS_SECONDS),
        None if enabled => {
            Err(ApiError::validation("DurationSeconds must be specified when target group stickiness is enabled"))
        }
        None => Ok(()),
    }
}

fn redirect(config: RedirectConfig) -> Result<RedirectConfig, ApiError> {
    if !matches!(config.status_code.as_str(), "HTTP_301" | "HTTP_302") {
        return Err(ApiError::validation(format!(
            "The redirect code '{}' is neither HTTP_301 nor HTTP_302",
            config.status_code
        )));
    }
    let or = |value: Option<String>, default: &str| Some(value.unwrap_or_else(|| default.to_owned()));
    let config = RedirectConfig {
        protocol: or(config.protocol, "#{protocol}"),
        port: or(config.port, "#{port}"),
        host: or(config.host, "#{host}"),
        path: or(config.path, "/#{path}"),
        query: or(config.query, "#{query}"),
        status_code: config.status_code,
    };
    let goes_nowhere_else = config.protocol.as_deref() == Some("#{protocol}")
        && config.port.as_deref() == Some("#{port}")
        && config.host.as_deref() == Some("#{host}")
        && config.path.as_deref() == Some("/#{path}");
    if goes_nowhere_else {
        return Err(ApiError::invalid_action("The redirect would lead to itself: change protocol, port, host or path"));
    }
    Ok(config)
}

fn fixed(config: FixedResponseConfig) -> Result<FixedResponseConfig, ApiError> {
    let code = config.status_code.as_bytes();
    let sound = matches!(code, [b'2' | b'4' | b'5', tens, ones] if tens.is_ascii_digit() && ones.is_ascii_digit());
    if !sound {
        return Err(ApiError::validation(format!("The response code '{}' is not 2XX, 4XX or 5XX", config.status_code)));
    }
    if config.message_body.as_ref().is_some_and(|body| body.len() > 1024) {
        return Err(ApiError::validation("The message of a fixed response can have at most 1024 characters"));
    }
    Ok(config)
}

fn oidc(config: OidcConfig, existing: &[Action]) -> Result<OidcConfig, ApiError> {
    let client_secret = match (config.client_secret, config.use_existing_client_secret.unwrap_or(false)) {
        (Some(_), true) => {
            return Err(ApiError::invalid_action(
                "You cannot both specify a client secret and set UseExistingClientSecret to true",
            ));
        }
        (Some(secret), false) => secret,
        (None, true) => existing
            .iter()
            .find_map(|action| action.authenticate_oidc_config.as_ref()?.client_secret.clone())
            .ok_or_else(|| ApiError::invalid_action("There is no existing client secret to use"))?,
        (None, false) => return Err(ApiError::invalid_action("A client secret must be specified")),
    };
    Ok(OidcConfig {
        client_secret: Some(client_secret),
        use_existing_client_secret: None,
        session_cookie_name: Some(config.session_cookie_name.unwrap_or_else(session_cookie)),
        scope: Some(config.scope.unwrap_or_else(scope)),
        session_timeout: Some(config.session_timeout.unwrap_or(DEFAULT_SESSION_SECONDS)),
        on_unauthenticated_request: Some(config.on_unauthenticated_request.unwrap_or(OnUnauthenticated::Authenticate)),
        ..config
    })
}

fn cognito(config: CognitoConfig) -> CognitoConfig {
    CognitoConfig {
        session_cookie_name: Some(config.session_cookie_name.unwrap_or_else(session_cookie)),
        scope: Some(config.scope.unwrap_or_else(scope)),
        session_timeout: Some(config.session_timeout.unwrap_or(DEFAULT_SESSION_SECONDS)),
        on_unauthenticated_request: Some(config.on_unauthenticated_request.unwrap_or(OnUnauthenticated::Authenticate)),
        ..config
    }
}

fn session_cookie() -> String {
    "AWSELBAuthSessionCookie".to_owned()
}

fn scope() -> String {
    "openid".to_owned()
}

fn jwt(config: JwtConfig) -> Result<JwtConfig, ApiError> {
    if config.additional_claims.len() > 10 {
        return Err(ApiError::validation("A jwt-validation action can have at most 10 additional claims"));
    }
    for claim in &config.additional_claims {
        if matches!(claim.name.as_str(), "exp" | "iss" | "nbf" | "iat") {
            return Err(ApiError::validation(format!(
                "The claim '{}' is always validated and cannot be specified",
                claim.name
            )));
        }
        within("the number of values of a claim", claim.values.len(), 1, 10)?;
    }
    Ok(config)
}
