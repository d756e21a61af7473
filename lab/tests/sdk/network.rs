//! Network Load Balancers: their listeners' default actions carry weights too.

use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::types::ProtocolEnum::{Http, Tcp, TcpUdp, Tls, Udp};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, Certificate, FixedResponseActionConfig, LoadBalancerAttribute, LoadBalancerTypeEnum,
    ProtocolEnum, TargetTypeEnum,
};
use lab::LabConfig;

use crate::{code, forward, host, start, weights};

const CERTIFICATE: &str = "arn:aws:acm:us-east-1:000000000000:certificate/x";

async fn network(client: &Client) -> String {
    let create = client.create_load_balancer().name("wire").r#type(LoadBalancerTypeEnum::Network).subnets("subnet-a");
    let answer = create.send().await.expect("one subnet is enough");
    let load_balancer = answer.load_balancers().first().expect("one was made");
    assert_eq!(load_balancer.r#type(), Some(&LoadBalancerTypeEnum::Network));
    assert!(load_balancer.dns_name().is_some_and(|name| name.ends_with(".elb.us-east-1.amazonaws.com")));
    load_balancer.load_balancer_arn().expect("an ARN").to_owned()
}

async fn group(client: &Client, name: &str, protocol: ProtocolEnum) -> String {
    let create = client.create_target_group().name(name).protocol(protocol).port(7000).vpc_id("vpc-1");
    let answer = create.target_type(TargetTypeEnum::Ip).send().await.expect("a target group");
    let group = answer.target_groups().first().expect("one was made");
    group.target_group_arn().expect("an ARN").to_owned()
}

#[tokio::test]
async fn weights_are_shifted_in_the_default_action() {
    let (lab, client) = start(LabConfig::default()).await;
    let load_balancer = network(&client).await;
    assert!(load_balancer.contains(":loadbalancer/net/wire/"), "{load_balancer}");
    let (stable, canary) = (group(&client, "stable", Tcp).await, group(&client, "canary", Tcp).await);
    let create = client.create_listener().load_balancer_arn(&load_balancer).protocol(Tcp).port(7000);
    let answer = create.default_actions(forward(&[(&stable, 100), (&canary, 0)])).send().await.expect("a listener");
    let listener = answer.listeners()[0].listener_arn().unwrap().to_owned();
    assert!(listener.contains(":listener/net/wire/"), "{listener}");

    let modify = client.modify_listener().listener_arn(&listener);
    modify.default_actions(forward(&[(&stable, 60), (&canary, 40)])).send().await.expect("a shift");
    let rules = client.describe_rules().listener_arn(&listener).send().await.expect("the default rule");
    assert_eq!(weights(&rules.rules()[0]), [(&*stable, 60), (&*canary, 40)]);
    let shift = lab.journal().pop().expect("a write");
    assert!(shift.to_string().contains("canary 0→40 stable 100→60"), "{shift}");

    let groups = client.describe_target_groups().load_balancer_arn(&load_balancer).send().await.expect("two groups");
    let described = &groups.target_groups()[0];
    assert_eq!(described.health_check_protocol(), Some(&Tcp));
    assert_eq!((described.health_check_path(), described.matcher(), described.protocol_version()), (None, None, None));
}

#[tokio::test]
async fn protocols_must_fit_together() {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    let load_balancer = network(&client).await;
    let tcp = group(&client, "tcp", Tcp).await;
    let udp = group(&client, "udp", Udp).await;
    let both = group(&client, "both", TcpUdp).await;
    let listen = |load_balancer: &str, protocol, group: &str| {
        let certificate = Certificate::builder().certificate_arn(CERTIFICATE).build();
        let needs_certificate = protocol == Tls;
        let create = client.create_listener().load_balancer_arn(load_balancer).protocol(protocol).port(9000);
        let create = if needs_certificate { create.certificates(certificate) } else { create };
        create.default_actions(forward(&[(group, 1)])).send()
    };
    for (what, load_balancer, protocol, group, expected) in [
        ("TCP on an ALB", &shop.load_balancer, Tcp, &tcp, "ValidationError"),
        ("HTTP on an NLB", &load_balancer, Http, &shop.stable, "ValidationError"),
        ("an HTTP group on an NLB", &load_balancer, Tcp, &shop.stable, "IncompatibleProtocols"),
        ("a TCP group on an ALB", &shop.load_balancer, Http, &tcp, "IncompatibleProtocols"),
        ("a UDP group behind TCP", &load_balancer, Tcp, &udp, "IncompatibleProtocols"),
        ("a TCP group behind TCP_UDP", &load_balancer, TcpUdp, &tcp, "IncompatibleProtocols"),
        ("a TCP_UDP group behind TLS", &load_balancer, Tls, &both, "IncompatibleProtocols"),
    ] {
        assert_eq!(code(listen(load_balancer, protocol, group)).await, expected, "{what}");
    }
    let fixed = FixedResponseActionConfig::builder().status_code("503").build();
    let closed = Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(fixed).build();
    let create = client.create_listener().load_balancer_arn(&load_balancer).protocol(Tcp).port(9000);
    assert_eq!(code(create.default_actions(closed).send()).await, "InvalidLoadBalancerAction");

    let answer = listen(&load_balancer, Tls, &tcp).await.expect("TLS is ended, TCP goes on");
    let listener = &answer.listeners()[0];
    assert!(listener.ssl_policy().is_some() && listener.mutual_authentication().is_none());
    let arn = listener.listener_arn().unwrap();
    let to_udp = client.modify_listener().listener_arn(arn).protocol(Udp);
    assert_eq!(code(to_udp.send()).await, "IncompatibleProtocols", "the group that stays is for TCP");
    let to_udp = client.modify_listener().listener_arn(arn).protocol(Udp).default_actions(forward(&[(&udp, 1)]));
    let answer = to_udp.send().await.expect("another group");
    assert!(answer.listeners()[0].certificates().is_empty(), "the settings of TLS go");
    let rule = client.create_rule().listener_arn(arn).priority(1).conditions(host("a.example.com"));
    assert_eq!(code(rule.actions(forward(&[(&udp, 1)])).send()).await, "ValidationError", "the lab does not model it");
}

#[tokio::test]
async fn load_balancers_are_moved_and_protected() {
    let (lab, client) = start(LabConfig::default()).await;
    let shop = lab::scenario::two_listeners(&lab).expect("an empty lab");
    let load_balancer = network(&client).await;
    let groups = |arn: &str| client.set_security_groups().load_balancer_arn(arn).security_groups("sg-1").send();
    let answer = groups(&shop.load_balancer).await.expect("a security group");
    assert_eq!(answer.security_group_ids(), ["sg-1"]);
    assert_eq!(code(groups(&load_balancer)).await, "InvalidConfigurationRequest", "it was created without");
    let subnets = client.set_subnets().load_balancer_arn(&shop.load_balancer).subnets("subnet-x");
    assert_eq!(code(subnets.clone().send()).await, "ValidationError", "an ALB needs two");
    let answer = subnets.subnets("subnet-y").send().await.expect("two subnets");
    assert_eq!(answer.availability_zones().len(), 2);
    let described = client.describe_load_balancers().load_balancer_arns(&shop.load_balancer).send().await.expect("one");
    assert_eq!(described.load_balancers()[0].security_groups(), ["sg-1"]);
    assert_eq!(described.load_balancers()[0].availability_zones()[1].subnet_id(), Some("subnet-y"));

    let protect = |on: &str| {
        let attribute = LoadBalancerAttribute::builder().key("deletion_protection.enabled").value(on).build();
        client.modify_load_balancer_attributes().load_balancer_arn(&load_balancer).attributes(attribute).send()
    };
    protect("true").await.expect("protection");
    let delete = || client.delete_load_balancer().load_balancer_arn(&load_balancer).send();
    assert_eq!(code(delete()).await, "OperationNotPermitted");
    protect("false").await.expect("no protection");
    delete().await.expect("it goes");

    let attributes = |arn: &str| client.describe_load_balancer_attributes().load_balancer_arn(arn).send();
    let answer = attributes(&shop.load_balancer).await.expect("attributes");
    let idle = answer.attributes().iter().find(|attribute| attribute.key() == Some("idle_timeout.timeout_seconds"));
    assert_eq!(idle.and_then(|attribute| attribute.value()), Some("60"));
    assert_eq!(code(attributes(&load_balancer)).await, "LoadBalancerNotFound");
    let limits = client.describe_account_limits().page_size(5).into_paginator().items().send();
    let limits: Vec<_> = limits.collect::<Result<Vec<_>, _>>().await.expect("pages of limits");
    assert!(limits.iter().any(|limit| {
        limit.name() == Some("target-groups-per-action-on-application-load-balancer") && limit.max() == Some("5")
    }));
}
