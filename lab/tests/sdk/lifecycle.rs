//! A whole set-up, from nothing to nothing.

use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, AuthenticateOidcActionConfig, Certificate, FixedResponseActionConfig,
    LoadBalancerStateEnum, ProtocolEnum, RewriteConfig, RuleTransform, Tag, TargetTypeEnum, TransformTypeEnum,
    UrlRewriteConfig,
};
use lab::LabConfig;

use crate::{code, forward, host, rule, start, weights};

#[tokio::test]
async fn set_up_shift_and_tear_down() {
    let (_lab, client) = start(LabConfig::default()).await;

    let answer = client
        .create_load_balancer()
        .name("shop")
        .subnets("subnet-a")
        .subnets("subnet-b")
        .tags(Tag::builder().key("team").value("a & b <c>").build())
        .send()
        .await
        .expect("a load balancer");
    let load_balancer = answer.load_balancers()[0].load_balancer_arn().unwrap().to_owned();
    assert!(load_balancer.starts_with("arn:aws:elasticloadbalancing:us-east-1:000000000000:loadbalancer/app/shop/"));
    let described = client.describe_load_balancers().names("shop").send().await.expect("it is there");
    let described = &described.load_balancers()[0];
    assert_eq!(described.state().unwrap().code(), Some(&LoadBalancerStateEnum::Active));
    assert_eq!(described.availability_zones().len(), 2);
    assert!(described.created_time().is_some());

    let mut groups = Vec::new();
    for name in ["stable", "canary"] {
        let answer = client
            .create_target_group()
            .name(name)
            .protocol(ProtocolEnum::Http)
            .port(8080)
            .vpc_id("vpc-1")
            .target_type(TargetTypeEnum::Ip)
            .send()
            .await
            .expect("a target group");
        let group = &answer.target_groups()[0];
        assert_eq!(group.health_check_path(), Some("/"), "defaults are filled in");
        assert!(group.load_balancer_arns().is_empty());
        groups.push(group.target_group_arn().unwrap().to_owned());
    }
    let (stable, canary) = (groups[0].as_str(), groups[1].as_str());

    let answer = client
        .create_listener()
        .load_balancer_arn(&load_balancer)
        .protocol(ProtocolEnum::Http)
        .port(80)
        .default_actions(Action::builder().r#type(ActionTypeEnum::Forward).target_group_arn(stable).build())
        .send()
        .await
        .expect("a listener");
    let listener = answer.listeners()[0].listener_arn().unwrap().to_owned();
    let default = &answer.listeners()[0].default_actions()[0];
    assert_eq!(default.order(), Some(1));
    assert_eq!(default.target_group_arn(), Some(stable));
    let config = default.forward_config().expect("AWS describes a forward to one group both ways");
    assert_eq!(config.target_groups()[0].weight(), Some(1));
    assert_eq!(config.target_group_stickiness_config().unwrap().enabled(), Some(false));

    let answer = client
        .create_rule()
        .listener_arn(&listener)
        .priority(10)
        .conditions(host("shop.example.com"))
        .actions(forward(&[(stable, 100), (canary, 0)]))
        .tags(Tag::builder().key("a").value("1").build())
        .send()
        .await
        .expect("a rule");
    let arn = answer.rules()[0].rule_arn().unwrap().to_owned();

    let answer = client
        .modify_rule()
        .rule_arn(&arn)
        .actions(forward(&[(stable, 90), (canary, 10)]))
        .send()
        .await
        .expect("a shift");
    assert_eq!(weights(&answer.rules()[0]), [(stable, 90), (canary, 10)]);
    let described = rule(&client, &arn).await;
    assert_eq!(weights(&described), [(stable, 90), (canary, 10)]);
    assert_eq!(described.conditions()[0].values(), ["shop.example.com"], "conditions stay");
    assert_eq!(described.actions()[0].target_group_arn(), None, "several groups have no single one");
    let attached = client.describe_target_groups().target_group_arns(canary).send().await.expect("it is there");
    assert_eq!(attached.target_groups()[0].load_balancer_arns(), std::slice::from_ref(&load_balancer));

    client
        .add_tags()
        .resource_arns(&arn)
        .resource_arns(&load_balancer)
        .tags(Tag::builder().key("b").value("2").build())
        .send()
        .await
        .expect("tags");
    client.remove_tags().resource_arns(&arn).tag_keys("a").send().await.expect("a tag less");
    let tags = client.describe_tags().resource_arns(&arn).resource_arns(&load_balancer).send().await.expect("tags");
    let of = |index: usize| -> Vec<(&str, &str)> {
        let tags = tags.tag_descriptions()[index].tags();
        tags.iter().map(|tag| (tag.key().unwrap(), tag.value().unwrap())).collect()
    };
    assert_eq!(of(0), [("b", "2")]);
    assert_eq!(of(1), [("b", "2"), ("team", "a & b <c>")]);

    assert_eq!(code(client.delete_target_group().target_group_arn(canary).send()).await, "ResourceInUse");
    client.delete_rule().rule_arn(&arn).send().await.expect("the rule goes");
    assert_eq!(code(client.describe_rules().rule_arns(&arn).send()).await, "RuleNotFound");
    client.delete_target_group().target_group_arn(canary).send().await.expect("nothing names it any more");
    assert_eq!(code(client.delete_target_group().target_group_arn(stable).send()).await, "ResourceInUse");
    client.delete_listener().listener_arn(&listener).send().await.expect("the listener goes");
    client.delete_target_group().target_group_arn(stable).send().await.expect("nothing names it any more");
    client.delete_load_balancer().load_balancer_arn(&load_balancer).send().await.expect("the load balancer goes");
    client.delete_load_balancer().load_balancer_arn(&load_balancer).send().await.expect("and may be deleted again");
    assert!(client.describe_load_balancers().send().await.expect("an empty list").load_balancers().is_empty());
}

#[tokio::test]
async fn creating_the_same_again_gives_the_same_and_something_else_is_refused() {
    let (lab, client) = start(LabConfig::default()).await;
    let first = lab::scenario::two_listeners(&lab).expect("an empty lab");

    let again = client
        .create_target_group()
        .name("shop-stable")
        .protocol(ProtocolEnum::Http)
        .port(8080)
        .vpc_id("vpc-0a1b2c3d4e5f60718")
        .target_type(TargetTypeEnum::Ip);
    let answer = again.clone().send().await.expect("the same settings");
    assert_eq!(answer.target_groups()[0].target_group_arn(), Some(first.stable.as_str()));
    assert_eq!(code(again.port(9090).send()).await, "DuplicateTargetGroupName");

    let again = client
        .create_load_balancer()
        .name("shop")
        .subnets("subnet-0000000000000000a")
        .subnets("subnet-0000000000000000b");
    let answer = again.clone().send().await.expect("the same settings");
    assert_eq!(answer.load_balancers()[0].load_balancer_arn(), Some(first.load_balancer.as_str()));
    assert_eq!(code(again.subnets("subnet-c").send()).await, "DuplicateLoadBalancerName");

    let again = client
        .create_listener()
        .load_balancer_arn(&first.load_balancer)
        .protocol(ProtocolEnum::Http)
        .port(80)
        .default_actions(forward(&[(&first.stable, 1)]));
    assert_eq!(code(again.send()).await, "DuplicateListener");
}

#[tokio::test]
async fn the_same_seed_gives_the_same_names() {
    let mut seen = Vec::new();
    for seed in [1, 1, 2] {
        let (lab, _client) = start(LabConfig { seed, ..LabConfig::default() }).await;
        seen.push(lab::scenario::two_listeners(&lab).expect("an empty lab"));
    }
    assert_eq!(seen[0], seen[1]);
    assert_ne!(seen[0], seen[2]);
}

#[tokio::test]
async fn other_actions_and_transforms_survive_an_echo() {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    let before = rule(&client, &shop.https_rule).await;
    let oidc = before.actions()[0].authenticate_oidc_config().expect("OIDC comes first").clone();
    assert_eq!(oidc.client_secret(), None, "AWS never returns the secret");
    assert_eq!(oidc.scope(), Some("openid"), "defaults are filled in");

    let echo = |config: AuthenticateOidcActionConfig| {
        let auth = Action::builder().r#type(ActionTypeEnum::AuthenticateOidc).order(1).authenticate_oidc_config(config);
        let mut shifted = forward(&[(&shop.stable, 60), (&shop.canary, 40), (&shop.foreign, 50)]);
        shifted.order = Some(2);
        client.modify_rule().rule_arn(&shop.https_rule).actions(auth.build()).actions(shifted).send()
    };
    assert_eq!(code(echo(oidc.clone())).await, "InvalidLoadBalancerAction", "the secret is missing");
    let mut both = oidc.clone();
    both.client_secret = Some("new".to_owned());
    both.use_existing_client_secret = Some(true);
    assert_eq!(code(echo(both)).await, "InvalidLoadBalancerAction", "both at once");
    let mut existing = oidc.clone();
    existing.use_existing_client_secret = Some(true);
    // Twice: the first echo must not lose the secret that the second one needs.
    for _ in 0..2 {
        echo(existing.clone()).await.expect("the existing secret is used");
    }

    let after = rule(&client, &shop.https_rule).await;
    assert_eq!(after.actions()[0], before.actions()[0]);
    assert_eq!(after.transforms(), before.transforms());
    assert_eq!(after.conditions(), before.conditions());
    assert_eq!(weights(&after), [(&*shop.stable, 60), (&*shop.canary, 40), (&*shop.foreign, 50)]);
}

#[tokio::test]
async fn transforms_are_replaced_or_reset() {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    let rewrite = RewriteConfig::builder().regex("^/a$").replace("/b").build();
    let transform = RuleTransform::builder()
        .r#type(TransformTypeEnum::UrlRewrite)
        .url_rewrite_config(UrlRewriteConfig::builder().rewrites(rewrite).build())
        .build();
    let modify = || client.modify_rule().rule_arn(&shop.https_rule);

    let both = modify().transforms(transform.clone()).reset_transforms(true).send();
    assert_eq!(code(both).await, "ValidationError");
    modify().transforms(transform.clone()).send().await.expect("another transform");
    assert_eq!(rule(&client, &shop.https_rule).await.transforms(), [transform]);
    modify().reset_transforms(true).send().await.expect("no transform");
    let after = rule(&client, &shop.https_rule).await;
    assert!(after.transforms().is_empty());
    assert_eq!(after.actions().len(), 2, "actions stay");
}

#[tokio::test]
async fn the_default_rule_is_changed_through_its_listener_only() {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    let rules = client.describe_rules().listener_arn(&shop.http_listener).send().await.expect("two rules");
    let default = rules.rules().last().unwrap();
    assert_eq!((default.priority(), default.is_default()), (Some("default"), Some(true)));
    let arn = default.rule_arn().unwrap();

    let split = || forward(&[(&shop.stable, 7), (&shop.canary, 3)]);
    assert_eq!(code(client.modify_rule().rule_arn(arn).actions(split()).send()).await, "OperationNotPermitted");
    assert_eq!(code(client.delete_rule().rule_arn(arn).send()).await, "OperationNotPermitted");
    let answer = client
        .modify_listener()
        .listener_arn(&shop.http_listener)
        .default_actions(split())
        .send()
        .await
        .expect("the way to do it");
    let from_rules = rule(&client, arn).await;
    let listeners = client.describe_listeners().listener_arns(&shop.http_listener).send().await.expect("one");
    assert_eq!(weights(&from_rules), [(&*shop.stable, 7), (&*shop.canary, 3)]);
    assert_eq!(answer.listeners()[0].default_actions(), from_rules.actions());
    assert_eq!(listeners.listeners()[0].default_actions(), from_rules.actions());
}

#[tokio::test]
async fn a_listener_changes_its_protocol() {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    let modify = |protocol| client.modify_listener().listener_arn(&shop.http_listener).protocol(protocol).port(8443);
    assert_eq!(code(modify(ProtocolEnum::Https).send()).await, "ValidationError", "HTTPS needs a certificate");
    let certificate =
        Certificate::builder().certificate_arn("arn:aws:acm:us-east-1:000000000000:certificate/x").build();
    let answer = modify(ProtocolEnum::Https).certificates(certificate).send().await.expect("HTTPS");
    let listener = &answer.listeners()[0];
    assert_eq!((listener.port(), listener.certificates().len()), (Some(8443), 1));
    assert!(listener.ssl_policy().is_some());
    let config = FixedResponseActionConfig::builder().status_code("503").build();
    let closed = Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(config).build();
    let answer = modify(ProtocolEnum::Http).default_actions(closed).send().await.expect("HTTP again");
    let listener = &answer.listeners()[0];
    assert!(listener.certificates().is_empty() && listener.ssl_policy().is_none());
    assert_eq!(listener.default_actions()[0].fixed_response_config().unwrap().status_code(), Some("503"));
    // The rule on the other listener authenticates, and authentication needs HTTPS.
    let modify = client.modify_listener().listener_arn(&shop.https_listener).protocol(ProtocolEnum::Http);
    assert_eq!(code(modify.send()).await, "InvalidLoadBalancerAction");
}
