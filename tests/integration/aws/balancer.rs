//! The load balancer as the router sees it, against the lab and in this process: long answers, tags, rules of our own, roles,
//! Network Load Balancers.

use std::collections::BTreeSet;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use aws_config::{BehaviorVersion, Region};
use aws_credential_types::Credentials;
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, AuthenticateCognitoActionConfig, Certificate, ForwardActionConfig, LoadBalancerTypeEnum,
    ProtocolEnum, Tag, TargetGroupTuple, TargetTypeEnum,
};
use lab::{Fault, Lab, LabConfig};
use tokio::time::Instant;
use trafficrouter_alb::alb::{
    Aws, BucketSize, Error, ErrorKind, HeaderCondition, LoadBalancer, NewRule, Role, Rule, RuleArn, Shared, Tags,
    TargetGroupArn, Urgency, WeightedGroup,
};

use crate::shop::Shop;

const ROLE: &str = "arn:aws:iam::111111111111:role/shift";

/// The lab through AWS's own client, with manners.
async fn balancer(lab: &Lab) -> Arc<Shared> {
    Arc::new(Shared::new(Arc::new(aws(lab).await), BucketSize::MODIFY))
}

/// The same without.
async fn aws(lab: &Lab) -> Aws {
    let config = aws_config::defaults(BehaviorVersion::v2026_01_12())
        .endpoint_url(lab.endpoint())
        .credentials_provider(Credentials::new("lab", "secret", None, None, "test"))
        .region(Region::new("eu-west-1"));
    Aws::with_config(config.load().await)
}

async fn short_pages() -> Result<Shop> {
    let lab = Lab::start(LabConfig { page_size: 2, ..LabConfig::default() }).await?;
    let arns = lab::scenario::two_listeners(&lab)?;
    Ok(Shop { lab, arns })
}

fn calls(lab: &Lab, operation: &str) -> u64 {
    lab.counts().get(operation).map_or(0, |count| count.calls)
}

fn rule<'a>(rules: &'a [Rule], arn: &str) -> Result<&'a Rule> {
    rules.iter().find(|rule| rule.arn().as_str() == arn).with_context(|| format!("{arn} is among them"))
}

async fn observe(balancer: &dyn LoadBalancer, rule: &RuleArn) -> Result<Rule, Error> {
    let observation = balancer.observe(std::slice::from_ref(rule), Instant::now()).await?;
    Ok(observation.rules.into_iter().next().expect("one was asked for"))
}

/// A forward to groups with weights, for AWS's client.
fn forward(groups: &[(&TargetGroupArn, i32)]) -> Action {
    let mut config = ForwardActionConfig::builder();
    for (group, weight) in groups {
        let tuple = TargetGroupTuple::builder().target_group_arn(group.as_str()).weight(*weight);
        config = config.target_groups(tuple.build());
    }
    Action::builder().r#type(ActionTypeEnum::Forward).forward_config(config.build()).build()
}

#[tokio::test]
async fn every_page_of_a_long_answer_is_read() -> Result<()> {
    let shop = short_pages().await?;
    let stable: TargetGroupArn = shop.arns.stable.parse()?;
    let aws = aws(&shop.lab).await;
    let before = observe(&aws, &shop.arns.http_rule.parse()?).await?;
    for priority in 20..45 {
        let headers = vec![HeaderCondition::exact("x-number", &priority.to_string())?];
        let (before, group) = (before.clone(), stable.clone());
        aws.add_rule(&NewRule { before, priority, headers, group, tags: Tags::new() }).await?;
    }
    for port in [8080, 8081, 8082] {
        let listener = shop.client().create_listener().load_balancer_arn(&shop.arns.load_balancer);
        let listener = listener.protocol(ProtocolEnum::Http).port(port).default_actions(forward(&[(&stable, 1)]));
        listener.send().await?;
    }
    let balancer = balancer(&shop.lab).await;
    let around = balancer.rules_around(&stable).await?.rules;
    let listeners: BTreeSet<String> = around.iter().map(|rule| rule.arn().listener()).collect();
    let balancers: BTreeSet<String> = around.iter().map(|rule| rule.arn().load_balancer()).collect();
    assert_eq!((listeners.len(), around.iter().filter(|rule| rule.is_default()).count()), (5, 5));
    assert_eq!(balancers, [shop.arns.load_balancer.clone()].into());
    let mut priorities: Vec<_> = around.iter().filter_map(Rule::priority).collect();
    priorities.sort_unstable();
    assert_eq!(priorities, [vec![10, 10], (20..45).collect()].concat());
    // By name too: more than one call takes, in the order asked for.
    let named: Vec<RuleArn> = around.iter().rev().map(|rule| rule.arn().clone()).collect();
    let seen = balancer.observe(&named, Instant::now()).await?.rules;
    assert_eq!(seen.iter().map(Rule::arn).collect::<Vec<_>>(), named.iter().collect::<Vec<_>>());
    Ok(())
}

#[tokio::test]
async fn tags_of_many_resources_take_few_calls() -> Result<()> {
    let shop = Shop::open().await?;
    let mut arns = vec![shop.arns.https_rule.clone(), shop.arns.load_balancer.clone()];
    for number in 0..25 {
        let group = shop.client().create_target_group().name(format!("group-{number}"));
        let group = group.protocol(ProtocolEnum::Http).port(80).vpc_id("vpc-1").target_type(TargetTypeEnum::Ip);
        let made = group.tags(Tag::builder().key("number").value(number.to_string()).build()).send().await?;
        let arn = made.target_groups().first().and_then(|made| made.target_group_arn());
        arns.insert(1, arn.context("a group")?.to_owned());
    }
    let balancer = balancer(&shop.lab).await;
    let tags = balancer.tags(&arns).await?;
    assert_eq!(tags[0], Tags::from([("team".to_owned(), "shop".to_owned())]));
    let numbers: Vec<_> = tags[1..26].iter().map(|tags| tags["number"].clone()).collect();
    assert_eq!(numbers, (0..25).rev().map(|number| number.to_string()).collect::<Vec<_>>());
    assert!(tags[26].is_empty());
    assert_eq!(calls(&shop.lab, "DescribeTags"), 2);

    let (listener, _) = shop.arns.https_rule.rsplit_once('/').context("an ARN has slashes")?;
    let gone = format!("{listener}/00000000000000aa");
    let error = balancer.tags(&[shop.arns.stable.clone(), gone.clone()]).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Missing);
    assert!(
        error.to_string().contains(&format!("DescribeTags of {gone} failed: AWS answered RuleNotFound")),
        "{error}"
    );
    let error = balancer.tags(&["web".to_owned()]).await.unwrap_err();
    assert!(error.to_string().contains("not the ARN of a load balancer's resource"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_rule_is_added_before_another_found_again_and_removed() -> Result<()> {
    let shop = Shop::open().await?;
    let balancer = balancer(&shop.lab).await;
    let (stable, canary): (TargetGroupArn, TargetGroupArn) = (shop.arns.stable.parse()?, shop.arns.canary.parse()?);
    let around = balancer.rules_around(&stable).await?.rules;
    let before = rule(&around, &shop.arns.http_rule)?.clone();
    let headers = vec![HeaderCondition::exact("X-Canary", "yes")?, HeaderCondition::prefix("x-path", "a*")?];
    let tags = Tags::from([("owner".to_owned(), "shop/web".to_owned())]);
    let new = NewRule { before, priority: 9, headers, group: canary.clone(), tags: tags.clone() };
    let added = balancer.add_rule(&new).await?;

    let around = balancer.rules_around(&stable).await?.rules;
    let found = rule(&around, added.as_str())?;
    assert!(found.requires(&new.headers) && !found.requires(&new.headers[..1]));
    assert_eq!((found.priority(), found.groups()), (Some(9), vec![WeightedGroup { group: canary, weight: 1 }]));
    assert_eq!(balancer.tags(&[added.as_str().to_owned()]).await?, [tags]);
    let shown = shop.rule(added.as_str()).await?;
    let hosts = shown.conditions().iter().find_map(|condition| condition.host_header_config());
    assert_eq!(hosts.map(|config| config.values()), Some(["shop.example.com".to_owned()].as_slice()));
    assert_eq!(shown.conditions().len(), 3);

    let error = balancer.add_rule(&new).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "another priority may be free: {error}");
    assert!(error.to_string().contains("CreateRule of a rule before") && error.to_string().contains("PriorityInUse"));
    for _ in 0..2 {
        balancer.remove_rule(&added).await?;
    }
    let around = balancer.rules_around(&stable).await?.rules;
    assert!(around.iter().all(|rule| !rule.has_header_conditions()));
    // Before a default action there are no conditions but the headers.
    let default = around.iter().find(|rule| rule.is_default() && rule.arn().listener() == shop.arns.http_listener);
    let default =
        Rule::forwarding(default.context("a default rule")?.arn().clone(), &new.before.groups()).into_default();
    let last = balancer.add_rule(&NewRule { before: default, priority: 50_000, ..new }).await?;
    let shown = shop.rule(last.as_str()).await?;
    assert_eq!((shown.priority(), shown.conditions().len()), (Some("50000"), 2));
    Ok(())
}

#[tokio::test]
async fn what_the_rule_does_beside_forwarding_comes_along_or_is_refused() -> Result<()> {
    let shop = Shop::open().await?;
    let balancer = balancer(&shop.lab).await;
    let canary: TargetGroupArn = shop.arns.canary.parse()?;
    let https: RuleArn = shop.arns.https_rule.parse()?;
    let headers = vec![HeaderCondition::regex("x-canary", "^(yes|on)$")?];
    let before = observe(&*balancer, &https).await?;
    let new = NewRule { before, priority: 9, headers, group: canary.clone(), tags: Tags::new() };
    let length = shop.lab.journal().len();
    let error = balancer.add_rule(&new).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Refused);
    assert!(error.to_string().contains("OIDC") && error.to_string().contains(&shop.arns.https_rule), "{error}");
    let headers = ["a", "b", "c", "d"].map(|name| HeaderCondition::exact(name, "1"));
    let crowded = NewRule { headers: headers.into_iter().collect::<Result<_, _>>()?, ..new.clone() };
    let error = balancer.add_rule(&crowded).await.unwrap_err();
    assert!(error.to_string().contains("6 values, 2 of them from the rule before which it comes"), "{error}");
    assert_eq!(shop.lab.journal().len(), length, "nothing was sent");

    let cognito = AuthenticateCognitoActionConfig::builder()
        .user_pool_arn("arn:aws:cognito-idp:us-east-1:000000000000:userpool/us-east-1_a")
        .user_pool_client_id("client")
        .user_pool_domain("shop");
    let login = Action::builder().r#type(ActionTypeEnum::AuthenticateCognito).order(1);
    let login = login.authenticate_cognito_config(cognito.build()).build();
    let mut forward = forward(&[(&shop.arns.stable.parse()?, 100), (&canary, 0)]);
    forward.order = Some(2);
    shop.client().modify_rule().rule_arn(https.as_str()).actions(login).actions(forward).send().await?;
    let before = observe(&*balancer, &https).await?;
    let added = shop.rule(balancer.add_rule(&NewRule { before, ..new }).await?.as_str()).await?;
    let original = shop.rule(https.as_str()).await?;
    assert_eq!(added.actions().first(), original.actions().first());
    assert_eq!((added.actions().len(), added.transforms()), (2, original.transforms()));
    assert!(!added.transforms().is_empty());
    Ok(())
}

fn role(external_id: Option<&str>) -> Role {
    Role { arn: ROLE.to_owned(), external_id: external_id.map(str::to_owned), region: None }
}

#[tokio::test]
async fn a_role_is_assumed_once_with_the_external_id_that_it_asks_for() -> Result<()> {
    let shop = Shop::open().await?;
    shop.lab.add_role(lab::Role { arn: ROLE.to_owned(), external_id: Some("shop-1".to_owned()) })?;
    let own = balancer(&shop.lab).await;
    let rule: RuleArn = shop.arns.http_rule.parse()?;
    let mut words = BTreeSet::new();
    for wrong in [None, Some("shop-2"), Some("shop-2")] {
        let error = observe(&*Arc::clone(&own).assuming(&role(wrong)), &rule).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Access, "{error}");
        words.insert(error.to_string());
    }
    assert_eq!(words.len(), 1, "the same words each time: {words:?}");
    let words = words.pop_first().unwrap_or_default();
    for part in [
        &format!("role {ROLE} could not be assumed: AWS STS answered AccessDenied"),
        "trust policy",
        "external id",
        "sts:AssumeRole",
    ] {
        assert!(words.contains(part), "{words}");
    }
    assert_eq!(calls(&shop.lab, "DescribeRules"), 0);

    let asked = calls(&shop.lab, "AssumeRole");
    let assumed = Arc::clone(&own).assuming(&role(Some("shop-1")));
    let before = observe(&*assumed, &rule).await?;
    let turn = assumed.turn(&rule, Urgency::Usual).await;
    let mut groups = before.groups();
    groups[0].weight = 70;
    assumed.set_weights(&before, &groups, turn).await?;
    assert_eq!(observe(&*Arc::clone(&own).assuming(&role(Some("shop-1"))), &rule).await?.groups(), groups);
    assert_eq!(calls(&shop.lab, "AssumeRole"), asked + 1);
    assert_eq!(observe(&*own, &rule).await?.groups(), groups, "the process's own name still works");
    assert_eq!(calls(&shop.lab, "AssumeRole"), asked + 1);
    Ok(())
}

#[tokio::test]
async fn a_token_service_that_is_busy_may_be_asked_again_and_a_role_without_rights_is_said() -> Result<()> {
    let shop = Shop::open().await?;
    let own = balancer(&shop.lab).await;
    let rule: RuleArn = shop.arns.http_rule.parse()?;
    shop.lab.faults().add(Fault::error("AssumeRole", 400, "Throttling", "Rate exceeded"))?;
    let error = observe(&*Arc::clone(&own).assuming(&role(None)), &rule).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Transient, "{error}");
    assert!(error.to_string().contains("AWS STS answered Throttling"), "{error}");
    shop.lab.faults().clear();
    shop.lab.faults().add(Fault::error("DescribeRules", 403, "AccessDenied", "not authorized"))?;
    let error = observe(&*Arc::clone(&own).assuming(&role(None)), &rule).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Access, "{error}");
    assert!(error.to_string().contains("the role that the Rollout's plugin entry names needs the rights"), "{error}");
    Ok(())
}

#[tokio::test]
async fn a_network_load_balancers_listeners_are_seen_and_shifted() -> Result<()> {
    let shop = short_pages().await?;
    let client = shop.client();
    let made = client.create_load_balancer().name("net").r#type(LoadBalancerTypeEnum::Network).subnets("subnet-a");
    let made = made.send().await?;
    let network = made.load_balancers().first().and_then(|made| made.load_balancer_arn()).context("made")?;
    let mut pairs = Vec::new();
    for (port, protocol, of_groups) in [
        (5000, ProtocolEnum::Tcp, ProtocolEnum::Tcp),
        (5001, ProtocolEnum::Tls, ProtocolEnum::Tcp),
        (5002, ProtocolEnum::Udp, ProtocolEnum::Udp),
    ] {
        let mut groups: Vec<TargetGroupArn> = Vec::new();
        for name in ["stable", "canary"] {
            let group = client.create_target_group().name(format!("{name}-{port}")).protocol(of_groups.clone());
            let made = group.port(port).vpc_id("vpc-1").target_type(TargetTypeEnum::Ip).send().await?;
            let arn = made.target_groups().first().and_then(|made| made.target_group_arn());
            groups.push(arn.context("a group")?.parse()?);
        }
        let actions = forward(&[(&groups[0], 100), (&groups[1], 0)]);
        let mut listener = client.create_listener().load_balancer_arn(network).port(port).default_actions(actions);
        if protocol == ProtocolEnum::Tls {
            let certificate = "arn:aws:acm:us-east-1:000000000000:certificate/11111111-2222-3333-4444-555555555555";
            listener = listener.certificates(Certificate::builder().certificate_arn(certificate).build());
        }
        let made = listener.protocol(protocol).send().await?;
        let arn = made.listeners().first().and_then(|made| made.listener_arn()).context("a listener")?;
        pairs.push((arn.to_owned(), groups));
    }
    let balancer = balancer(&shop.lab).await;
    for (listener, groups) in pairs {
        let around = balancer.rules_around(&groups[0]).await?.rules;
        assert_eq!(around.len(), 3, "one default action each: {around:?}");
        let ours = around.iter().find(|rule| rule.weight_of(&groups[0]).is_some()).context("holds the group")?;
        assert!(ours.is_default() && !ours.arn().is_application() && ours.priority().is_none());
        assert_eq!((ours.arn().listener(), ours.arn().load_balancer()), (listener.clone(), network.to_owned()));
        assert_eq!((ours.weight_of(&groups[0]), ours.weight_of(&groups[1])), (Some(100), Some(0)));

        let read = observe(&*balancer, ours.arn()).await?;
        let weight = |group: &TargetGroupArn, weight| WeightedGroup { group: group.clone(), weight };
        let wanted = [weight(&groups[0], 60), weight(&groups[1], 40)];
        let turn = balancer.turn(read.arn(), Urgency::Usual).await;
        balancer.set_weights(&read, &wanted, turn).await?;
        assert_eq!(observe(&*balancer, ours.arn()).await?.groups(), wanted);
        let shown = client.describe_listeners().listener_arns(&listener).send().await?;
        let actions = shown.listeners().first().context("a listener")?.default_actions();
        let config = actions.first().and_then(Action::forward_config).context("it forwards")?;
        let weights: Vec<_> = config.target_groups().iter().map(TargetGroupTuple::weight).collect();
        assert_eq!(weights, [Some(60), Some(40)]);
    }
    Ok(())
}
