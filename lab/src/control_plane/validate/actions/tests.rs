use super::*;

fn tuple(arn: &str, weight: impl Into<Option<u16>>) -> TargetGroupTuple {
    TargetGroupTuple { target_group_arn: arn.to_owned(), weight: weight.into() }
}

fn forward_to(groups: Vec<TargetGroupTuple>) -> Action {
    let config = ForwardConfig { target_groups: groups, target_group_stickiness_config: None };
    Action { forward_config: Some(config), ..Action::default() }
}

fn oidc(secret: Option<&str>, use_existing: Option<bool>) -> Action {
    let config = OidcConfig {
        client_secret: secret.map(str::to_owned),
        use_existing_client_secret: use_existing,
        ..OidcConfig::default()
    };
    Action {
        r#type: ActionType::AuthenticateOidc,
        order: Some(1),
        authenticate_oidc_config: Some(config),
        ..Action::default()
    }
}

fn then_forward(first: Action) -> Vec<Action> {
    vec![first, Action { order: Some(2), ..forward_to(vec![tuple("a", 1)]) }]
}

fn https(actions_given: Vec<Action>) -> Result<Vec<Action>, ApiError> {
    actions(actions_given, ListenerProtocol::Https, &[])
}

fn code(actions_given: Vec<Action>) -> String {
    match https(actions_given) {
        Ok(kept) => format!("accepted: {kept:?}"),
        Err(error) => error.code.into_owned(),
    }
}

#[test]
fn a_forward_to_one_group_is_described_both_ways() {
    let expected = Action {
        target_group_arn: Some("a".to_owned()),
        order: Some(1),
        forward_config: Some(ForwardConfig {
            target_groups: vec![tuple("a", 1)],
            target_group_stickiness_config: Some(StickinessConfig { enabled: Some(false), duration_seconds: None }),
        }),
        ..Action::default()
    };
    let by_arn = Action { target_group_arn: Some("a".to_owned()), ..Action::default() };
    let by_config = forward_to(vec![tuple("a", None)]);
    let by_both = Action { target_group_arn: Some("a".to_owned()), ..by_config.clone() };
    for given in [by_arn, by_config, by_both] {
        assert_eq!(https(vec![given.clone()]), Ok(vec![expected.clone()]), "{given:?}");
    }
    let own_weight = https(vec![forward_to(vec![tuple("a", 7)])]).expect("a weight may be given");
    assert_eq!(own_weight[0].target_groups(), [tuple("a", 7)]);
}

#[test]
fn a_forward_to_several_groups_has_no_single_one() {
    let five: Vec<_> = ["a", "b", "c", "d", "e"].map(|arn| tuple(arn, 999)).into();
    let kept = https(vec![forward_to(five.clone())]).expect("five are allowed");
    assert_eq!((kept[0].target_groups(), &kept[0].target_group_arn), (five.as_slice(), &None));
    assert_eq!(https(kept.clone()), Ok(kept), "what is described can be sent back");
}

#[test]
fn weights_and_groups() {
    for (what, groups) in [
        ("no group", vec![]),
        ("a weight of 1000", vec![tuple("a", 1000)]),
        ("one weight missing", vec![tuple("a", 1), tuple("b", None)]),
        ("a group twice", vec![tuple("a", 1), tuple("a", 2)]),
        ("six groups", ["a", "b", "c", "d", "e", "f"].map(|arn| tuple(arn, 1)).into()),
    ] {
        assert_eq!(code(vec![forward_to(groups)]), "ValidationError", "{what}");
    }
    for other in [vec![tuple("b", 1)], vec![tuple("a", 1), tuple("b", 1)]] {
        let both_ways = Action { target_group_arn: Some("a".to_owned()), ..forward_to(other) };
        assert_eq!(code(vec![both_ways]), "ValidationError");
    }
    let zeros = vec![tuple("a", 0), tuple("b", 0)];
    assert!(https(vec![forward_to(zeros)]).is_ok(), "all zero is not refused");
}

#[test]
fn stickiness() {
    let sticky = |enabled, duration_seconds| {
        let config = ForwardConfig {
            target_groups: vec![tuple("a", 1), tuple("b", 1)],
            target_group_stickiness_config: Some(StickinessConfig { enabled, duration_seconds }),
        };
        https(vec![Action { forward_config: Some(config), ..Action::default() }]).map_err(|error| error.code)
    };
    for good in [(Some(true), Some(1)), (Some(true), Some(604_800)), (Some(false), None), (None, None)] {
        assert!(sticky(good.0, good.1).is_ok(), "{good:?}");
    }
    for bad in [(Some(true), None), (Some(true), Some(0)), (Some(true), Some(604_801)), (Some(false), Some(0))] {
        assert_eq!(sticky(bad.0, bad.1), Err("ValidationError".into()), "{bad:?}");
    }
}

#[test]
fn order_is_required_for_several_and_sorts_them() {
    let [auth, forward]: [Action; 2] = then_forward(oidc(Some("s"), None)).try_into().expect("two");
    let kept = https(vec![forward.clone(), auth.clone()]).expect("order counts, not position");
    assert_eq!(
        kept.iter().map(|action| action.r#type).collect::<Vec<_>>(),
        [ActionType::AuthenticateOidc, ActionType::Forward]
    );
    let without = Action { order: None, ..forward.clone() };
    assert_eq!(code(vec![auth.clone(), without]), "ValidationError");
    assert_eq!(code(vec![auth.clone(), Action { order: Some(1), ..forward.clone() }]), "ValidationError", "twice");
    assert_eq!(code(vec![Action { order: Some(0), ..forward.clone() }]), "ValidationError");
    assert_eq!(code(vec![Action { order: Some(50_001), ..forward.clone() }]), "ValidationError");
    assert_eq!(code(vec![]), "ValidationError");
    let auth_last = Action { order: Some(3), ..auth };
    assert_eq!(code(vec![forward, auth_last]), "InvalidLoadBalancerAction");
}

#[test]
fn client_secrets() {
    assert_eq!(code(then_forward(oidc(None, None))), "InvalidLoadBalancerAction");
    assert_eq!(code(then_forward(oidc(Some("s"), Some(true)))), "InvalidLoadBalancerAction");
    assert_eq!(code(then_forward(oidc(None, Some(true)))), "InvalidLoadBalancerAction", "there is none yet");
    let kept = https(then_forward(oidc(Some("s"), Some(false)))).expect("a new secret");
    let again =
        actions(then_forward(oidc(None, Some(true))), ListenerProtocol::Https, &kept).expect("the existing one");
    assert_eq!(again, kept);
    let config = again[0].authenticate_oidc_config.as_ref().expect("OIDC comes first");
    assert_eq!(config.client_secret.as_deref(), Some("s"), "kept for the next change");
}

#[test]
fn authentication_needs_https() {
    let on_http = actions(then_forward(oidc(Some("s"), None)), ListenerProtocol::Http, &[]);
    assert_eq!(on_http.map_err(|error| error.code), Err("InvalidLoadBalancerAction".into()));
}

#[test]
fn an_action_has_the_settings_of_its_type_and_no_other() {
    let forward = forward_to(vec![tuple("a", 1)]);
    let with_two = Action { r#type: ActionType::Redirect, ..forward };
    assert_eq!(code(vec![with_two]), "InvalidLoadBalancerAction");
    for kind in [ActionType::Redirect, ActionType::FixedResponse, ActionType::Forward] {
        assert_eq!(code(vec![Action { r#type: kind, ..Action::default() }]), "ValidationError", "{kind:?}");
    }
}

#[test]
fn redirects_get_their_placeholders_and_must_lead_elsewhere() {
    let redirect = |port: Option<&str>, status: &str| {
        let config = RedirectConfig {
            port: port.map(str::to_owned),
            status_code: status.to_owned(),
            ..RedirectConfig::default()
        };
        https(vec![Action { r#type: ActionType::Redirect, redirect_config: Some(config), ..Action::default() }])
            .map_err(|error| error.code)
    };
    let kept = redirect(Some("443"), "HTTP_301").expect("another port");
    let config = kept[0].redirect_config.as_ref().expect("it is a redirect");
    assert_eq!((config.path.as_deref(), config.host.as_deref()), (Some("/#{path}"), Some("#{host}")));
    assert_eq!(redirect(Some("443"), "HTTP_307"), Err("ValidationError".into()));
    assert_eq!(redirect(None, "HTTP_301"), Err("InvalidLoadBalancerAction".into()));
}

#[test]
fn fixed_responses() {
    let fixed = |status: &str, body: usize| {
        let config = FixedResponseConfig {
            status_code: status.to_owned(),
            message_body: Some("x".repeat(body)),
            content_type: None,
        };
        code(vec![Action {
            r#type: ActionType::FixedResponse,
            fixed_response_config: Some(config),
            ..Action::default()
        }])
    };
    assert!(fixed("503", 1024).starts_with("accepted"));
    for (status, body) in [("302", 0), ("20", 0), ("2000", 0), ("2x0", 0), ("200", 1025)] {
        assert_eq!(fixed(status, body), "ValidationError", "{status}, {body}");
    }
}

#[test]
fn jwt_claims() {
    let jwt = |names: &[&str], values: usize| {
        let claim = |name: &&str| crate::control_plane::model::shapes::JwtClaim {
            format: crate::control_plane::model::shapes::JwtClaimFormat::StringArray,
            name: (*name).to_owned(),
            values: vec!["v".to_owned(); values],
        };
        let config = JwtConfig { additional_claims: names.iter().map(claim).collect(), ..JwtConfig::default() };
        code(then_forward(Action {
            r#type: ActionType::JwtValidation,
            order: Some(1),
            jwt_validation_config: Some(config),
            ..Action::default()
        }))
    };
    assert!(jwt(&["aud"; 10], 10).starts_with("accepted"));
    for (names, values) in [(&["aud"; 11][..], 1), (&["exp"][..], 1), (&["aud"][..], 0), (&["aud"][..], 11)] {
        assert_eq!(jwt(names, values), "ValidationError", "{names:?}, {values}");
    }
}
