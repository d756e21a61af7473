//! What most tests stand in: a shop behind a load balancer in the lab, and a host whose plugin uses that lab as AWS.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use aws_sdk_elasticloadbalancingv2::Client;
use aws_sdk_elasticloadbalancingv2::config::{BehaviorVersion, Credentials, Region};
use aws_sdk_elasticloadbalancingv2::types::Rule;
use lab::scenario::{TwoListeners, two_listeners};
use lab::{JournalEntry, Lab, LabConfig};
use serde_json::{Map, Value, json};

use crate::host::{self, Host, Program};

/// The secret that the plugin gets. No log may show it.
pub(crate) const SECRET: &str = "a-secret-key-for-tests";

pub(crate) struct Shop {
    pub(crate) lab: Lab,
    pub(crate) arns: TwoListeners,
}

/// The plugin under test.
pub(crate) fn plugin() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_rollouts-plugin-trafficrouter-alb"))
}

impl Shop {
    pub(crate) async fn open() -> Result<Self> {
        let lab = Lab::start(LabConfig::default()).await?;
        let arns = two_listeners(&lab)?;
        Ok(Self { lab, arns })
    }

    /// A host with a connected plugin that may hold a call for four seconds, and has what it needs.
    pub(crate) async fn host(&self) -> Result<Host> {
        self.host_as(Program::NEWEST).await
    }

    /// As [`Shop::host`], with another program.
    pub(crate) async fn host_as(&self, program: Program) -> Result<Host> {
        let credentials = [("AWS_ACCESS_KEY_ID", "lab"), ("AWS_SECRET_ACCESS_KEY", SECRET)];
        self.start(program, &["--allow", "shop=*", "--block-budget", "4s"], &credentials).await
    }

    /// A host with a connected plugin, these arguments and, besides the lab's address, this environment.
    pub(crate) async fn host_with(&self, args: &[&str], env: &[(&str, &str)]) -> Result<Host> {
        self.start(Program::NEWEST, args, env).await
    }

    /// As [`Shop::host_with`], with another program.
    pub(crate) async fn start(&self, program: Program, args: &[&str], env: &[(&str, &str)]) -> Result<Host> {
        let mut all = vec![
            ("AWS_ENDPOINT_URL_ELASTIC_LOAD_BALANCING_V2", self.lab.endpoint()),
            ("AWS_EC2_METADATA_DISABLED", "true"),
        ];
        all.extend(env);
        let host = Host::start_as(program, &plugin(), args, &all)?;
        host.connect().await?;
        Ok(host)
    }

    /// The Rollout `shop/web` on both rules.
    pub(crate) fn rollout(&self) -> Value {
        self.rollout_on(&[&self.arns.http_rule, &self.arns.https_rule])
    }

    /// The Rollout `shop/web` on these rules; on all that hold both groups, if none is named.
    pub(crate) fn rollout_on(&self, rules: &[&str]) -> Value {
        let (stable, canary) = (&self.arns.stable, &self.arns.canary);
        // Nobody waits for Pods in a shop without Pods, nor for nodes of a load balancer that has none.
        let mut entry = Map::from_iter([
            ("stableTargetGroupArn".to_owned(), json!(stable)),
            ("canaryTargetGroupArn".to_owned(), json!(canary)),
            ("gates".to_owned(), json!({"rising": false, "promotion": false})),
            ("settleSeconds".to_owned(), json!(0)),
        ]);
        if !rules.is_empty() {
            entry.insert("ruleArns".to_owned(), json!(rules));
        }
        host::rollout("shop", "web", &Value::Object(entry))
    }

    /// `stable:canary` of the HTTP rule and of the HTTPS rule.
    pub(crate) async fn weights(&self) -> Result<[String; 2]> {
        Ok([self.weights_of(&self.arns.http_rule).await?, self.weights_of(&self.arns.https_rule).await?])
    }

    /// `stable:canary` of a rule.
    pub(crate) async fn weights_of(&self, rule: &str) -> Result<String> {
        let rule = self.rule(rule).await?;
        let forward = rule.actions().last().and_then(|action| action.forward_config()).context("the rule forwards")?;
        let of = |group: &str| {
            let held = forward.target_groups().iter().find(|held| held.target_group_arn() == Some(group));
            held.and_then(|held| held.weight()).context("the rule holds the group")
        };
        Ok(format!("{}:{}", of(&self.arns.stable)?, of(&self.arns.canary)?))
    }

    /// How many rules of both listeners look at headers.
    pub(crate) async fn header_rules(&self) -> Result<usize> {
        let mut found = 0;
        for listener in [&self.arns.http_listener, &self.arns.https_listener] {
            let described = self.client().describe_rules().listener_arn(listener).send().await?;
            let looks =
                |rule: &&Rule| rule.conditions().iter().any(|condition| condition.field() == Some("http-header"));
            found += described.rules().iter().filter(looks).count();
        }
        Ok(found)
    }

    /// A rule as AWS's own client sees it.
    pub(crate) async fn rule(&self, arn: &str) -> Result<Rule> {
        let described = self.client().describe_rules().rule_arns(arn).send().await?;
        described.rules().first().cloned().context("one rule")
    }

    /// AWS's own client for the lab.
    pub(crate) fn client(&self) -> Client {
        client(&self.lab)
    }

    /// The writes since the journal had this length.
    pub(crate) fn writes_since(&self, length: usize) -> Vec<JournalEntry> {
        self.lab.journal().split_off(length)
    }
}

/// AWS's own client for a lab.
pub(crate) fn client(lab: &Lab) -> Client {
    let config = aws_sdk_elasticloadbalancingv2::Config::builder()
        .behavior_version(BehaviorVersion::v2026_01_12())
        .endpoint_url(lab.endpoint())
        .region(Region::new("us-east-1"))
        .credentials_provider(Credentials::new("test", "test", None, None, "test"));
    Client::from_conf(config.build())
}

/// Where the test harness keeps what it builds.
pub(crate) fn example(name: &str) -> PathBuf {
    Path::new(env!("CARGO_BIN_EXE_rollouts-plugin-trafficrouter-alb")).with_file_name("examples").join(name)
}
