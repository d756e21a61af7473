//! What one scenario has to itself: a namespace, two Services, and a way to tell what happened.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Event, Namespace, Pod, Service};
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::application::PORT;
use crate::environment::Environment;
use crate::history::{Audit, History, Roles, RuleHistory};
use crate::load_balancer::{self, TwoListeners};
use crate::process::Process;
use crate::registrar::Registrar;
use crate::rollout::{Rollout, Seen};
use crate::rollouts::{INSTANCE_LABEL, SCENARIO_PREFIX};

/// The names of a Rollout's two Services. The first leads to the version that users have at the beginning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Services {
    pub(crate) first: &'static str,
    pub(crate) second: &'static str,
}

/// The second leads to what is being tried; what is promoted moves to the first.
pub(crate) const STABLE_AND_CANARY: Services = Services { first: "web-stable", second: "web-canary" };

/// They change their roles with each promotion.
pub(crate) const PING_AND_PONG: Services = Services { first: "web-ping", second: "web-pong" };

/// Far longer than an API server takes that is well.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// A scenario's place in the shared environment.
pub(crate) struct World<'a> {
    pub(crate) environment: &'a Environment,
    pub(crate) namespace: String,
    /// Controllers of its own, one after the other; without any, it has the one that all share.
    own_controllers: Mutex<Vec<Arc<Process>>>,
}

/// What differs between the Rollouts of scenarios.
#[derive(Debug, Clone)]
pub(crate) struct Web {
    pub(crate) replicas: u32,
    pub(crate) services: Services,
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
        let created = timeout(ANSWERS_WITHIN, namespaces.create(&PostParams::default(), &object)).await;
        created.context("the API server does not answer")?.context("cannot create the namespace")?;
        Ok(Self { environment, namespace, own_controllers: Mutex::default() })
    }

    fn client(&self) -> Client {
        self.environment.control_plane.client.clone()
    }

    /// Starts a rollouts controller for this scenario alone. What runs already goes on.
    pub(crate) fn start_controller(&self) -> anyhow::Result<()> {
        let mut own = self.own_controllers();
        let run = format!("{}-{}", self.namespace, own.len() + 1);
        own.push(Arc::new(self.environment.rollouts.start_instance(&self.namespace, &run)?));
        Ok(())
    }

    /// The controller of this scenario that was started last.
    pub(crate) fn own_controller(&self) -> Option<Arc<Process>> {
        self.own_controllers().last().cloned()
    }

    fn own_controllers(&self) -> MutexGuard<'_, Vec<Arc<Process>>> {
        // A panic would have left the list as it was.
        self.own_controllers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What the scenario's controllers said so far, and their plugin.
    pub(crate) fn controller_log(&self) -> String {
        let own = self.own_controllers();
        if own.is_empty() {
            self.environment.controller.log()
        } else {
            own.iter().map(|process| process.log()).collect()
        }
    }

    /// A load balancer of the scenario's own, with the Pods of `services` as targets, which come when this registrar gets to
    /// it.
    pub(crate) async fn two_listeners(
        &self,
        registrar: &Registrar,
        services: Services,
    ) -> anyhow::Result<TwoListeners> {
        let client = load_balancer::client(self.environment.lab.endpoint());
        let name = self.namespace.trim_start_matches(SCENARIO_PREFIX);
        let balancer = TwoListeners::create(client, name, self.environment.foreign).await?;
        registrar.bind(&self.namespace, services.first, &balancer.stable)?;
        registrar.bind(&self.namespace, services.second, &balancer.canary)?;
        Ok(balancer)
    }

    /// Creates the Services, then the Rollout `web`.
    pub(crate) async fn create_web(&self, web: Web) -> anyhow::Result<Rollout> {
        let services: Api<Service> = Api::namespaced(self.client(), &self.namespace);
        let Services { first, second } = web.services;
        for name in [first, second] {
            let service: Service = serde_json::from_value(json!({
                "metadata": { "name": name },
                "spec": { "selector": { "app": "web" }, "ports": [{ "port": 80, "targetPort": PORT }] },
            }))?;
            services.create(&PostParams::default(), &service).await.with_context(|| format!("Service {name}"))?;
        }
        let mut canary = json!({ "trafficRouting": { "plugins": { web.plugin: web.entry } } });
        let named = if web.services == PING_AND_PONG {
            json!({ "pingPong": { "pingService": first, "pongService": second } })
        } else {
            json!({ "stableService": first, "canaryService": second })
        };
        for more in [named, web.canary] {
            if let (Value::Object(canary), Value::Object(more)) = (&mut canary, more) {
                canary.extend(more);
            }
        }
        let labels = match self.own_controller() {
            Some(_) => json!({ INSTANCE_LABEL: self.namespace }),
            None => json!({}),
        };
        let manifest = json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "Rollout",
            "metadata": { "name": "web", "labels": labels },
            "spec": {
                "replicas": web.replicas,
                "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": { "containers": [
                        { "name": "web", "image": "example.com/web", "ports": [{ "containerPort": PORT }] },
                    ] },
                },
                "strategy": { "canary": canary },
            },
        });
        Rollout::create(&self.client(), &self.namespace, manifest).await
    }

    /// Creates the AnalysisTemplate `never`: two seconds after an update has begun, it fails.
    pub(crate) async fn create_failing_analysis(&self) -> anyhow::Result<()> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("argoproj.io", "v1alpha1", "AnalysisTemplate"));
        let templates: Api<DynamicObject> = Api::namespaced_with(self.client(), &self.namespace, &resource);
        let url = format!("{}/lab/faults", self.environment.lab.endpoint());
        let template: DynamicObject = serde_json::from_value(json!({
            "apiVersion": "argoproj.io/v1alpha1",
            "kind": "AnalysisTemplate",
            "metadata": { "name": "never" },
            "spec": { "metrics": [{
                "name": "never",
                "initialDelay": "2s",
                "successCondition": "false",
                "provider": { "web": { "url": url, "jsonPath": "{$}" } },
            }] },
        }))?;
        let created = templates.create(&PostParams::default(), &template).await;
        created.map(drop).context("cannot create the AnalysisTemplate")
    }

    /// The Pods of a version that nobody told to go.
    async fn pods(&self, version: &str) -> anyhow::Result<Vec<Pod>> {
        let pods: Api<Pod> = Api::namespaced(self.client(), &self.namespace);
        let of_version = ListParams::default().labels(&format!("rollouts-pod-template-hash={version}"));
        let mut listed = pods.list(&of_version).await.context("cannot list Pods")?.items;
        listed.retain(|pod| pod.metadata.deletion_timestamp.is_none());
        Ok(listed)
    }

    /// Where the Pods of a version answer, each as `address:port`.
    pub(crate) async fn addresses(&self, version: &str) -> anyhow::Result<BTreeSet<String>> {
        let pods = self.pods(version).await?.into_iter();
        Ok(pods.filter_map(|pod| Some(format!("{}:{PORT}", pod.status?.pod_ip?))).collect())
    }

    /// Deletes one Pod of a version, as if its node had gone.
    pub(crate) async fn lose_pod(&self, version: &str) -> anyhow::Result<()> {
        let first = self.pods(version).await?.into_iter().next();
        let name = first.with_context(|| format!("version {version} has no Pod"))?.name_any();
        let pods: Api<Pod> = Api::namespaced(self.client(), &self.namespace);
        pods.delete(&name, &DeleteParams::default())
            .await
            .map(drop)
            .with_context(|| format!("cannot delete Pod {name}"))
    }

    /// All that happened until the Rollout was seen like this.
    pub(crate) async fn history(
        &self,
        balancer: &TwoListeners,
        services: Services,
        until: &Seen,
    ) -> anyhow::Result<History> {
        let audit = Audit::new(&self.environment.control_plane.audit_log);
        let cluster = audit.until(&self.namespace, &until.resource_version).await?;
        let journal = self.environment.lab.journal();
        Ok(History {
            roles: Roles {
                stable_group: balancer.stable.clone(),
                canary_group: balancer.canary.clone(),
                stable_service: services.first.to_owned(),
                canary_service: services.second.to_owned(),
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
        let log = self.controller_log();
        let mut lines: Vec<&str> = log.lines().filter(|line| line.contains(&self.namespace)).collect();
        let lines = lines.split_off(lines.len().saturating_sub(30));
        let lines: Vec<&str> = lines.into_iter().map(|line| line.get(..400).unwrap_or(line)).collect();
        let balancer = self.namespace.trim_start_matches(SCENARIO_PREFIX);
        let about_us =
            |line: &String| line.contains(&format!("/{balancer}/")) || line.contains(&format!("{balancer}-"));
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
