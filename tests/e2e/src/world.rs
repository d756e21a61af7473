//! What one scenario has to itself: a namespace, two Services, and a way to tell what happened.

use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Event, Namespace, Service};
use kube::api::{ListParams, PostParams};
use kube::{Api, Client};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::environment::Environment;
use crate::history::{Audit, History, Roles, RuleHistory};
use crate::load_balancer::{self, TwoListeners};
use crate::registrar::Registrar;
use crate::rollout::{Rollout, Seen};
use crate::rollouts::SCENARIO_PREFIX;

/// The Service of the pods that users should get.
pub(crate) const STABLE_SERVICE: &str = "web-stable";

/// The Service of the pods that are being tried.
pub(crate) const CANARY_SERVICE: &str = "web-canary";

/// Far longer than an API server takes that is well.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// A scenario's place in the shared environment.
pub(crate) struct World<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) namespace: String,
}

/// What differs between the Rollouts of scenarios.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    pub(crate) replicas: u32,
    /// `spec.strategy.canary` besides Services and traffic routing.
    pub(crate) canary: Value,
    /// What the ConfigMap calls the plugin.
    pub(crate) plugin: &'static str,
    /// The plugin's entry.
    pub(crate) entry: Value,
}

/// A Warning event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Warning {
    pub(crate) reason: String,
    pub(crate) message: String,
}

impl<'a> World<'a> {
    /// Makes a namespace for the scenario.
    pub(crate) async fn open(environment: &'a Environment, scenario: &str) -> anyhow::Result<Self> {
        let namespace = format!("{SCENARIO_PREFIX}{}", scenario.replace('_', "-"));
        let object: Namespace = serde_json::from_value(json!({ "metadata": { "name": namespace } }))?;
        let namespaces: Api<Namespace> = Api::all(environment.control_plane.client.clone());
        namespaces.create(&PostParams::default(), &object).await.context("cannot create the namespace")?;
        Ok(Self { environment, namespace })
    }

    fn client(&self) -> Client {
        self.environment.control_plane.client.clone()
    }

    /// A load balancer of the scenario's own, with the Services' Pods as targets.
    pub(crate) async fn two_listeners(&self) -> anyhow::Result<TwoListeners> {
        self.two_listeners_of(&self.environment.registrar).await
    }

    /// The same, with targets that come when this registrar gets to it.
    pub(crate) async fn two_listeners_of(&self, registrar: &Registrar) -> anyhow::Result<TwoListeners> {
        let client = load_balancer::client(self.environment.lab.endpoint());
        let balancer = TwoListeners::create(client, &self.namespace).await?;
        registrar.bind(&self.namespace, STABLE_SERVICE, &balancer.stable)?;
        registrar.bind(&self.namespace, CANARY_SERVICE, &balancer.canary)?;
        Ok(balancer)
    }

    /// A registrar that comes to a change only this long after it.
    pub(crate) fn slow_registrar(&self, lag: Duration) -> Registrar {
        Registrar::slow(self.client(), &self.environment.lab, lag)
    }

    /// Creates the Services, then the Rollout `web`.
    pub(crate) async fn create_web(&self, web: Web) -> anyhow::Result<Rollout> {
        let services: Api<Service> = Api::namespaced(self.client(), &self.namespace);
        for name in [STABLE_SERVICE, CANARY_SERVICE] {
            let service: Service = serde_json::from_value(json!({
                "metadata": { "name": name },
                "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": 8080 }] },
            }))?;
            services.create(&PostParams::default(), &service).await.with_context(|| format!("Service {name}"))?;
        }
        let mut canary = json!({
            "stableService": STABLE_SERVICE,
            "canaryService": CANARY_SERVICE,
            "trafficRouting": { "plugins": { web.plugin: web.entry } },
        });
        if let (Value::Object(canary), Value::Object(own)) = (&mut canary, web.canary) {
            canary.extend(own);
        }
        let manifest = json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "metadata": { "name": "web" },
            "spec": {
                "replicas": web.replicas,
                "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": { "containers": [
                        { "name": "web", "image": "example.com/web", "ports": [{ "containerPort": 8080 }] },
                    ] },
                },
                "strategy": { "canary": canary },
            },
        });
        Rollout::create(&self.client(), &self.namespace, manifest).await
    }

    /// All that happened until the Rollout was seen like this.
    pub(crate) async fn history(&self, balancer: &TwoListeners, until: &Seen) -> anyhow::Result<History> {
        let audit = Audit::new(&self.environment.control_plane.audit_log);
        let cluster = audit.until(&self.namespace, &until.resource_version).await?;
        let journal = self.environment.lab.journal();
        Ok(History {
            roles: Roles {
                stable_group: balancer.stable.clone(),
                canary_group: balancer.canary.clone(),
                stable_service: STABLE_SERVICE.to_owned(),
                canary_service: CANARY_SERVICE.to_owned(),
            },
            cluster,
            rules: balancer.rules().map(|rule| RuleHistory::of(rule, &journal)).into(),
        })
    }

    /// The Warning events of the namespace.
    pub(crate) async fn warnings(&self) -> anyhow::Result<Vec<Warning>> {
        let events: Api<Event> = Api::namespaced(self.client(), &self.namespace);
        let warnings = ListParams::default().fields("type=Warning");
        let listed = events.list(&warnings).await.context("cannot list Events")?;
        let warning = |event: Event| Warning {
            reason: event.reason.unwrap_or_default(),
            message: event.message.unwrap_or_default(),
        };
        Ok(listed.items.into_iter().map(warning).collect())
    }

    /// For a scenario that failed: what its part of the world did, newest last.
    pub(crate) async fn tell(&self) -> String {
        let log = self.environment.controller.log();
        let mut lines: Vec<&str> = log.lines().filter(|line| line.contains(&self.namespace)).collect();
        let lines = lines.split_off(lines.len().saturating_sub(30));
        let lines: Vec<&str> = lines.into_iter().map(|line| line.get(..400).unwrap_or(line)).collect();
        let about_us = |line: &String| line.contains(&self.namespace);
        let journal: Vec<String> =
            self.environment.lab.journal().iter().map(ToString::to_string).filter(about_us).collect();
        // The API server may be what failed.
        let warnings = match timeout(ANSWERS_WITHIN, self.warnings()).await {
            Ok(Ok(warnings)) => {
                warnings.iter().map(|warning| format!("{}: {}", warning.reason, warning.message)).collect()
            }
            Ok(Err(error)) => vec![format!("{error:#}")],
            Err(_) => vec![format!("the API server did not answer within {ANSWERS_WITHIN:?}")],
        };
        format!(
            "\n--- the controller's last lines about {}\n{}\n--- writes to the load balancer\n{}\n--- warnings\n{}",
            self.namespace,
            lines.join("\n"),
            journal.join("\n"),
            warnings.join("\n"),
        )
    }
}
