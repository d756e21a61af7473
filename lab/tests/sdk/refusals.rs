//! What AWS refuses, by its code. The details of the checks have tests beside them; here the codes are seen on the wire.

use aws_sdk_elasticloadbalancingv2::operation::create_rule::builders::CreateRuleFluentBuilder;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, AuthenticateCognitoActionConfig, ForwardActionConfig, JwtValidationActionConfig,
    LoadBalancerTypeEnum, ProtocolEnum, RedirectActionConfig, RedirectActionStatusCodeEnum, RuleCondition, Tag,
    TargetGroupStickinessConfig, TargetGroupTuple,
};
use lab::LabConfig;

use crate::{code, forward, host, rule, start, weights};

#[tokio::test]
async fn actions_of_a_rule() {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    let (stable, canary) = (shop.stable.as_str(), shop.canary.as_str());
    let before = rule(&client, &shop.http_rule).await;

    let groups = |groups: &[(&str, Option<i32>)]| -> Vec<TargetGroupTuple> {
        let tuple = |(arn, weight): &(&str, Option<i32>)| {
            TargetGroupTuple::builder().target_group_arn(*arn).set_weight(*weight).build()
        };
        groups.iter().map(tuple).collect()
    };
    let forward_to = |tuples: Vec<TargetGroupTuple>| ForwardActionConfig::builder().set_target_groups(Some(tuples));
    let action = |config: ForwardActionConfig| Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config);
    let sticky = |enabled, seconds| {
        let config = TargetGroupStickinessConfig::builder().enabled(enabled).set_duration_seconds(seconds).build();
        let two = forward_to(groups(&[(stable, Some(1)), (canary, Some(1))]));
        action(two.target_group_stickiness_config(config).build()).build()
    };
    let redirect = || {
        let config = RedirectActionConfig::builder().status_code(RedirectActionStatusCodeEnum::Http301).port("443");
        Action::builder().r#type(ActionTypeEnum::Redirect).redirect_config(config.build())
    };
    let cognito = Action::builder().r#type(ActionTypeEnum::AuthenticateCognito).order(1).authenticate_cognito_config(
        AuthenticateCognitoActionConfig::builder()
            .user_pool_arn("arn:aws:cognito-idp:us-east-1:000000000000:userpool/x")
            .user_pool_client_id("x")
            .user_pool_domain("x")
            .build(),
    );
    let jwt = Action::builder().r#type(ActionTypeEnum::JwtValidation).order(1).jwt_validation_config(
        JwtValidationActionConfig::builder()
            .jwks_endpoint("https://login.example.com/jwks")
            .issuer("https://login.example.com")
            .build(),
    );
    let mut second = forward(&[(stable, 1)]);
    second.order = Some(2);
    let unknown = format!("{}{}", &stable[..stable.len() - 16], "0123456789abcdef");

    let cases = [
        ("weight 1000", vec![forward(&[(stable, 1000), (canary, 0)])], "ValidationError"),
        ("weight -1", vec![forward(&[(stable, -1), (canary, 0)])], "ValidationError"),
        (
            "no weight",
            vec![action(forward_to(groups(&[(stable, Some(1)), (canary, None)])).build()).build()],
            "ValidationError",
        ),
        ("the same group twice", vec![forward(&[(stable, 1), (stable, 1)])], "ValidationError"),
        (
            "six groups",
            vec![forward(&[(stable, 1), (canary, 1), ("c", 1), ("d", 1), ("e", 1), ("f", 1)])],
            "ValidationError",
        ),
        ("no group", vec![action(ForwardActionConfig::builder().build()).build()], "ValidationError"),
        ("sticky without duration", vec![sticky(true, None)], "ValidationError"),
        ("sticky for 0 s", vec![sticky(true, Some(0))], "ValidationError"),
        ("sticky for more than a week", vec![sticky(true, Some(604_801))], "ValidationError"),
        (
            "TargetGroupArn beside two groups",
            vec![
                action(forward_to(groups(&[(stable, Some(1)), (canary, Some(1))])).build())
                    .target_group_arn(stable)
                    .build(),
            ],
            "ValidationError",
        ),
        (
            "TargetGroupArn beside another group",
            vec![action(forward_to(groups(&[(canary, Some(1))])).build()).target_group_arn(stable).build()],
            "ValidationError",
        ),
        ("two actions without order", vec![redirect().build(), forward(&[(stable, 1)])], "ValidationError"),
        ("two final actions", vec![redirect().order(1).build(), second.clone()], "InvalidLoadBalancerAction"),
        ("no final action", vec![cognito.clone().build()], "InvalidLoadBalancerAction"),
        ("cognito on HTTP", vec![cognito.build(), second.clone()], "InvalidLoadBalancerAction"),
        ("jwt on HTTP", vec![jwt.build(), second], "InvalidLoadBalancerAction"),
        ("an unknown group", vec![forward(&[(stable, 1), (&unknown, 1)])], "TargetGroupNotFound"),
        ("a malformed group", vec![forward(&[("stable", 1)])], "ValidationError"),
    ];
    for (what, actions, expected) in cases {
        let modify = client.modify_rule().rule_arn(&shop.http_rule).set_actions(Some(actions));
        assert_eq!(code(modify.send()).await, expected, "{what}");
    }
    assert_eq!(rule(&client, &shop.http_rule).await, before, "no refused call leaves a trace");

    let modify = |actions| client.modify_rule().rule_arn(&shop.http_rule).actions(actions).send();
    for (what, weights_sent) in [("the bounds", [(stable, 999), (canary, 0)]), ("all zero", [(stable, 0), (canary, 0)])]
    {
        modify(forward(&weights_sent)).await.expect(what);
        assert_eq!(weights(&rule(&client, &shop.http_rule).await), weights_sent, "{what}");
    }
    modify(sticky(true, Some(604_800))).await.expect("a week");
    let both_ways = action(forward_to(groups(&[(stable, Some(5))])).build()).target_group_arn(stable).build();
    modify(both_ways).await.expect("the same single group both ways");
    assert_eq!(weights(&rule(&client, &shop.http_rule).await), [(stable, 5)]);
}

#[tokio::test]
async fn priorities_conditions_and_names_of_new_rules() {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    let new = |priority| {
        client.create_rule().listener_arn(&shop.http_listener).priority(priority).actions(forward(&[(&shop.stable, 1)]))
    };
    let with_host = |priority| new(priority).conditions(host("a.example.com"));
    let values = |count: usize| {
        let values = (0..count).map(|number| format!("h{number}.example.com")).collect();
        RuleCondition::builder().field("host-header").set_values(Some(values)).build()
    };
    let unknown_listener = format!("{}{}", &shop.http_listener[..shop.http_listener.len() - 16], "0123456789abcdef");
    let tag = || Tag::builder().key("a").value("1").build();
    let cases: Vec<(&str, CreateRuleFluentBuilder, &str)> = vec![
        ("priority 0", with_host(0), "ValidationError"),
        ("priority 50001", with_host(50_001), "ValidationError"),
        ("a priority in use", with_host(10), "PriorityInUse"),
        ("no condition", new(20), "ValidationError"),
        ("two hosts conditions", with_host(20).conditions(host("b.example.com")), "ValidationError"),
        ("six values", new(20).conditions(values(6)), "ValidationError"),
        (
            "an unknown field",
            new(20).conditions(RuleCondition::builder().field("cookie").values("x").build()),
            "ValidationError",
        ),
        ("an unknown listener", with_host(20).listener_arn(unknown_listener), "ListenerNotFound"),
        ("a malformed listener", with_host(20).listener_arn("listener"), "ValidationError"),
        ("a tag twice", with_host(20).tags(tag()).tags(tag()), "DuplicateTagKeys"),
    ];
    for (what, create, expected) in cases {
        assert_eq!(code(create.send()).await, expected, "{what}");
    }
    new(50_000).conditions(values(5)).send().await.expect("the last priority, with five values");
    let unknown_rule = format!("{}{}", &shop.http_rule[..shop.http_rule.len() - 16], "0123456789abcdef");
    let modify = |arn: &str| client.modify_rule().rule_arn(arn).actions(forward(&[(&shop.stable, 1)])).send();
    assert_eq!(code(modify(&unknown_rule)).await, "RuleNotFound");
    assert_eq!(code(modify("rule")).await, "ValidationError");
    assert_eq!(code(client.delete_rule().rule_arn(&unknown_rule).send()).await, "RuleNotFound");
    assert_eq!(code(client.modify_rule().rule_arn(&shop.http_rule).send()).await, "ValidationError");
}

#[tokio::test]
async fn a_target_group_serves_one_load_balancer() {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    let create = client.create_load_balancer().name("other").subnets("subnet-a").subnets("subnet-b");
    let answer = create.send().await.expect("another load balancer");
    let other = answer.load_balancers()[0].load_balancer_arn().unwrap();
    let listen = client
        .create_listener()
        .load_balancer_arn(other)
        .protocol(ProtocolEnum::Http)
        .port(80)
        .default_actions(forward(&[(&shop.stable, 1)]));
    assert_eq!(code(listen.send()).await, "TargetGroupAssociationLimit");
}

#[tokio::test]
async fn load_balancers_and_listeners() {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    let create = |name: &str| client.create_load_balancer().name(name).subnets("subnet-a").subnets("subnet-b");
    assert_eq!(code(create("-shop").send()).await, "ValidationError");
    assert_eq!(code(create("internal-shop").send()).await, "ValidationError");
    assert_eq!(code(create("n").r#type(LoadBalancerTypeEnum::Gateway).send()).await, "ValidationError");
    let one_zone = client.create_load_balancer().name("n").subnets("subnet-a");
    assert_eq!(code(one_zone.send()).await, "ValidationError");

    let listen = |protocol, port| {
        client
            .create_listener()
            .load_balancer_arn(&shop.load_balancer)
            .protocol(protocol)
            .port(port)
            .default_actions(forward(&[(&shop.stable, 1)]))
    };
    assert_eq!(code(listen(ProtocolEnum::Https, 8443).send()).await, "ValidationError", "no certificate");
    assert_eq!(code(listen(ProtocolEnum::Http, 0).send()).await, "ValidationError");
    assert_eq!(code(client.describe_listeners().send()).await, "ValidationError");
    let onto_another = client.modify_listener().listener_arn(&shop.http_listener).port(443);
    assert_eq!(code(onto_another.send()).await, "DuplicateListener");
}

#[tokio::test]
async fn operations_that_are_not_there() {
    let (_lab, client) = start(LabConfig::default()).await;
    assert_eq!(code(client.describe_ssl_policies().send()).await, "InvalidAction");
}
