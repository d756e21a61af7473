//! The load balancer of a scenario, set up and looked at with AWS's own client.

use std::net::SocketAddrV4;

use anyhow::{Context, ensure};
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::config::{BehaviorVersion, Config, Credentials, Region};
use aws_sdk_elasticloadbalancingv2::types::{
    Action, ActionTypeEnum, AuthenticateOidcActionConfig, Certificate, FixedResponseActionConfig, ForwardActionConfig,
    HostHeaderConditionConfig, LoadBalancerTypeEnum, ProtocolEnum, Rule, RuleCondition, TargetDescription,
    TargetGroupTuple, TargetHealthStateEnum, TargetTypeEnum,
};

const REGION: &str = "us-east-1";

/// The host of all rules.
pub(crate) const HOST: &str = "shop.example.com";

/// One load balancer, and on each of its listeners a rule between two groups.
#[derive(Debug, Clone)]
pub(crate) struct Balancer {
    client: Client,
    pub(crate) stable: String,
    pub(crate) canary: String,
    pub(crate) listeners: Vec<String>,
    pub(crate) rules: Vec<String>,
}

/// A client for the lab.
pub(crate) fn client(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::from_static(REGION))
        .credentials_provider(Credentials::new("e2e", "e2e", None, None, "e2e"))
        .endpoint_url(endpoint);
    Client::from_conf(config.build())
}

impl Balancer {
    /// Creates one with two listeners: port 80, and port 443 where users must log in first and a third group, somebody else's, has
    /// a weight too. All weight of the two groups is on stable: 100 of 100 on both rules, beside 50 of the other group, whose
    /// application answers at `foreign`.
    pub(crate) async fn two_listeners(client: Client, name: &str, foreign: SocketAddrV4) -> anyhow::Result<Self> {
        let room = 32 - "-stable".len();
        ensure!(name.len() <= room, "the name {name} is too long: AWS allows 32 characters for a target group");
        let load_balancer = load_balancer(&client, name, LoadBalancerTypeEnum::Application).await?;
        let stable = target_group(&client, &format!("{name}-stable")).await?;
        let canary = target_group(&client, &format!("{name}-canary")).await?;
        let other = target_group(&client, &format!("{name}-other")).await?;
        register(&client, &other, foreign).await?;
        let http = listener(&client, &load_balancer, ProtocolEnum::Http, 80).await?;
        let https = listener(&client, &load_balancer, ProtocolEnum::Https, 443).await?;
        let http_rule = rule(&client, &http, vec![forward(1, &[(&stable, 100), (&canary, 0)])]).await?;
        let on_https = vec![log_in(1), forward(2, &[(&stable, 100), (&canary, 0), (&other, 50)])];
        let https_rule = rule(&client, &https, on_https).await?;
        Ok(Self { client, stable, canary, listeners: vec![http, https], rules: vec![http_rule, https_rule] })
    }

    /// Creates one whose only listener splits by its default action.
    pub(crate) async fn default_action(
        client: Client,
        name: &str,
        family: LoadBalancerTypeEnum,
    ) -> anyhow::Result<Self> {
        let protocol = if family == LoadBalancerTypeEnum::Network { ProtocolEnum::Tcp } else { ProtocolEnum::Http };
        let load_balancer = load_balancer(&client, name, family).await?;
        let stable = group_of(&client, &format!("{name}-stable"), protocol.clone()).await?;
        let canary = group_of(&client, &format!("{name}-canary"), protocol.clone()).await?;
        let create = client.create_listener().load_balancer_arn(load_balancer).protocol(protocol).port(80);
        let made = create.default_actions(forward(1, &[(&stable, 100), (&canary, 0)])).send().await;
        let made = made.context("cannot create a listener that splits by its default action")?;
        let made = made.listeners.unwrap_or_default().into_iter().next();
        let listener = made.and_then(|made| made.listener_arn).context("no listener was made")?;
        Self::holding(client, stable, canary).await?.with_context(|| format!("{listener} has no rule"))
    }

    /// Creates a target group that no rule knows.
    pub(crate) async fn further_group(&self, name: &str) -> anyhow::Result<String> {
        target_group(&self.client, name).await
    }

    /// The one whose rules hold both groups; nothing if there is none (yet). Default rules count too.
    pub(crate) async fn holding(client: Client, stable: String, canary: String) -> anyhow::Result<Option<Self>> {
        let groups = client.describe_target_groups().target_group_arns(&stable).send().await;
        let groups = groups.with_context(|| format!("cannot describe {stable}"))?.target_groups.unwrap_or_default();
        let balancers = groups.into_iter().flat_map(|group| group.load_balancer_arns.unwrap_or_default());
        let mut found = Self { client, stable, canary, listeners: Vec::new(), rules: Vec::new() };
        for balancer in balancers {
            let listeners = found.client.describe_listeners().load_balancer_arn(balancer).send().await;
            let listeners = listeners.context("cannot describe listeners")?.listeners.unwrap_or_default();
            for listener in listeners.into_iter().filter_map(|listener| listener.listener_arn) {
                let rules = found.client.describe_rules().listener_arn(&listener).send().await;
                let rules = rules.context("cannot describe rules")?.rules.unwrap_or_default().into_iter();
                let holding: Vec<String> =
                    rules.filter(|rule| found.is_held_by(rule)).filter_map(|rule| rule.rule_arn).collect();
                if !holding.is_empty() {
                    found.listeners.push(listener);
                    found.rules.extend(holding);
                }
            }
        }
        Ok((!found.rules.is_empty()).then_some(found))
    }

    fn is_held_by(&self, rule: &Rule) -> bool {
        let forwards = rule.actions.iter().flatten().filter_map(|action| action.forward_config.as_ref());
        let groups: Vec<&str> = forwards
            .flat_map(|forward| forward.target_groups.iter().flatten())
            .filter_map(|group| group.target_group_arn.as_deref())
            .collect();
        [&self.stable, &self.canary].into_iter().all(|group| groups.contains(&group.as_str()))
    }

    /// How many targets of a group are healthy now.
    pub(crate) async fn healthy(&self, group: &str) -> anyhow::Result<usize> {
        let described = self.client.describe_target_health().target_group_arn(group).send().await;
        let described = described.with_context(|| format!("cannot describe the targets of {group}"))?;
        let states = described.target_health_descriptions.unwrap_or_default().into_iter();
        let states = states.filter_map(|target| target.target_health?.state);
        Ok(states.filter(|state| *state == TargetHealthStateEnum::Healthy).count())
    }

    /// The rules that look at headers, each with the groups that it leads to.
    pub(crate) async fn header_rules(&self) -> anyhow::Result<Vec<Vec<String>>> {
        let mut found = Vec::new();
        for listener in &self.listeners {
            let described = self.client.describe_rules().listener_arn(listener).send().await;
            let rules = described.context("cannot describe the rules")?.rules.unwrap_or_default();
            let looks =
                |rule: &Rule| rule.conditions().iter().any(|condition| condition.field() == Some("http-header"));
            let groups = |rule: &Rule| {
                let forwards = rule.actions().iter().filter_map(Action::forward_config);
                let groups = forwards.flat_map(ForwardActionConfig::target_groups);
                groups.filter_map(|tuple| tuple.target_group_arn().map(str::to_owned)).collect()
            };
            found.extend(rules.iter().filter(|rule| looks(rule)).map(groups));
        }
        Ok(found)
    }

    /// The rules as AWS describes them now, without the weights that are ours to change.
    pub(crate) async fn all_but_our_weights(&self) -> anyhow::Result<Vec<Rule>> {
        let described = self.client.describe_rules().set_rule_arns(Some(self.rules.clone())).send();
        let mut rules = described.await.context("cannot describe the rules")?.rules.unwrap_or_default();
        let actions = rules.iter_mut().flat_map(|rule| rule.actions.iter_mut().flatten());
        let forwards = actions.filter_map(|action| action.forward_config.as_mut());
        for group in forwards.flat_map(|forward| forward.target_groups.iter_mut().flatten()) {
            if [Some(&self.stable), Some(&self.canary)].contains(&group.target_group_arn.as_ref()) {
                group.weight = None;
            }
        }
        rules.sort_by(|one, other| one.rule_arn.cmp(&other.rule_arn));
        Ok(rules)
    }
}

async fn load_balancer(client: &Client, name: &str, family: LoadBalancerTypeEnum) -> anyhow::Result<String> {
    let create =
        client.create_load_balancer().name(name).r#type(family).subnets("subnet-0000000a").subnets("subnet-0000000b");
    let made = create.send().await.with_context(|| format!("cannot create load balancer {name}"))?;
    let made = made.load_balancers.unwrap_or_default().into_iter().next();
    made.and_then(|made| made.load_balancer_arn).context("no load balancer was made")
}

async fn target_group(client: &Client, name: &str) -> anyhow::Result<String> {
    group_of(client, name, ProtocolEnum::Http).await
}

async fn group_of(client: &Client, name: &str, protocol: ProtocolEnum) -> anyhow::Result<String> {
    let create = client.create_target_group().name(name).protocol(protocol).port(8080);
    let create = create.vpc_id("vpc-00000001").target_type(TargetTypeEnum::Ip);
    let made = create.send().await.with_context(|| format!("cannot create target group {name}"))?;
    let made = made.target_groups.unwrap_or_default().into_iter().next();
    made.and_then(|made| made.target_group_arn).context("no target group was made")
}

async fn register(client: &Client, group: &str, address: SocketAddrV4) -> anyhow::Result<()> {
    let target = TargetDescription::builder().id(address.ip().to_string()).port(address.port().into()).build();
    let registered = client.register_targets().target_group_arn(group).targets(target).send().await;
    registered.map(drop).with_context(|| format!("cannot register a target with {group}"))
}

async fn listener(client: &Client, load_balancer: &str, protocol: ProtocolEnum, port: i32) -> anyhow::Result<String> {
    let not_found = FixedResponseActionConfig::builder().status_code("404").content_type("text/plain").build();
    let default = Action::builder().r#type(ActionTypeEnum::FixedResponse).fixed_response_config(not_found).build();
    let certificate = (protocol == ProtocolEnum::Https).then(|| {
        let arn = format!("arn:aws:acm:{REGION}:000000000000:certificate/00000000-0000-0000-0000-000000000001");
        vec![Certificate::builder().certificate_arn(arn).build()]
    });
    let create = client.create_listener().load_balancer_arn(load_balancer).protocol(protocol).port(port);
    let made = create.set_certificates(certificate).default_actions(default).send().await;
    let made = made.with_context(|| format!("cannot create a listener for port {port}"))?;
    let made = made.listeners.unwrap_or_default().into_iter().next();
    made.and_then(|made| made.listener_arn).context("no listener was made")
}

async fn rule(client: &Client, listener: &str, actions: Vec<Action>) -> anyhow::Result<String> {
    let host = HostHeaderConditionConfig::builder().values(HOST).build();
    let host = RuleCondition::builder().field("host-header").host_header_config(host).build();
    let create = client.create_rule().listener_arn(listener).priority(10).conditions(host);
    let made = create.set_actions(Some(actions)).send().await.context("cannot create a rule")?;
    let made = made.rules.unwrap_or_default().into_iter().next();
    made.and_then(|made| made.rule_arn).context("no rule was made")
}

fn forward(order: i32, groups: &[(&str, i32)]) -> Action {
    let tuple =
        |(arn, weight): &(&str, i32)| TargetGroupTuple::builder().target_group_arn(*arn).weight(*weight).build();
    let config = ForwardActionConfig::builder().set_target_groups(Some(groups.iter().map(tuple).collect())).build();
    Action::builder().r#type(ActionTypeEnum::Forward).order(order).forward_config(config).build()
}

fn log_in(order: i32) -> Action {
    let config = AuthenticateOidcActionConfig::builder()
        .issuer("https://login.example.com")
        .authorization_endpoint("https://login.example.com/authorize")
        .token_endpoint("https://login.example.com/token")
        .user_info_endpoint("https://login.example.com/userinfo")
        .client_id("shop")
        .client_secret("not a real secret")
        .build();
    Action::builder().r#type(ActionTypeEnum::AuthenticateOidc).order(order).authenticate_oidc_config(config).build()
}
