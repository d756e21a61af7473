//! What one scenario has to itself: a namespace, two Services, and a way to tell what happened.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use anyhow::Context;
use k8s_openapi::api::core::v1::{Event, Namespace, Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{ApiResource, DeleteParams, DynamicObject, ListParams, PostParams};
use kube::core::GroupVersionKind;
use kube::{Api, Client, ResourceExt};
use lab::kubernetes::Kind;
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::application::PORT;
use crate::custom_resources;
use crate::environment::Environment;
use crate::history::{Audit, History, Roles, RuleHistory};
use crate::line::Line;
use crate::load_balancer::{self, Balancer};
use crate::objects::{self, Web};
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

    pub(crate) fn client(&self) -> Client {
        self.environment.control_plane.client.clone()
    }

    /// Starts a rollouts controller for this scenario alone. What runs already goes on.
    pub(crate) fn start_controller(&self) -> anyhow::Result<()> {
        self.start_controller_behind(None)
    }

    /// The same; behind a line, if there is one.
    pub(crate) fn start_controller_behind(&self, line: Option<&Line>) -> anyhow::Result<()> {
        let mut own = self.own_controllers();
        let run = format!("{}-{}", self.namespace, own.len() + 1);
        own.push(Arc::new(self.environment.rollouts.start_instance(&self.namespace, &run, line)?));
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
    pub(crate) async fn two_listeners(&self, registrar: &Registrar, services: Services) -> anyhow::Result<Balancer> {
        let client = load_balancer::client(self.environment.lab.endpoint());
        let name = self.namespace.trim_start_matches(SCENARIO_PREFIX);
        let balancer = Balancer::two_listeners(client, name, self.environment.foreign).await?;
        registrar.bind(&self.namespace, services.first, &balancer.stable)?;
        registrar.bind(&self.namespace, services.second, &balancer.canary)?;
        Ok(balancer)
    }

    /// Creates the Services, then the Rollout `web`.
    pub(crate) async fn create_web(&self, web: Web) -> anyhow::Result<Rollout> {
        self.create_services(web.services).await?;
        self.create_rollout(web).await
    }

    /// Creates the Services.
    pub(crate) async fn create_services(&self, services: Services) -> anyhow::Result<()> {
        for name in [services.first, services.second] {
            self.create_service(name).await?;
        }
        Ok(())
    }

    /// Creates one Service, with all Pods behind it.
    pub(crate) async fn create_service(&self, name: &str) -> anyhow::Result<()> {
        let service: Service = serde_json::from_value(objects::service(name))?;
        let services: Api<Service> = Api::namespaced(self.client(), &self.namespace);
        let created = services.create(&PostParams::default(), &service).await;
        created.map(drop).with_context(|| format!("cannot create Service {name}"))
    }

    /// Creates the Rollout `web`.
    pub(crate) async fn create_rollout(&self, web: Web) -> anyhow::Result<Rollout> {
        let labels = match self.own_controller() {
            Some(_) => json!({ INSTANCE_LABEL: self.namespace }),
            None => json!({}),
        };
        Rollout::create(&self.client(), &self.namespace, objects::rollout(web, &labels)).await
    }

    /// Creates an Ingress that the load balancer controller takes for its own.
    pub(crate) async fn create_ingress(&self, manifest: Value) -> anyhow::Result<()> {
        let ingress: Ingress = serde_json::from_value(manifest)?;
        let ingresses: Api<Ingress> = Api::namespaced(self.client(), &self.namespace);
        let created = ingresses.create(&PostParams::default(), &ingress).await;
        created.map(drop).context("cannot create the Ingress")
    }

    /// Creates TargetGroupBindings for both Services, as a person would.
    pub(crate) async fn create_bindings(
        &self,
        kind: Kind,
        services: Services,
        balancer: &Balancer,
    ) -> anyhow::Result<()> {
        self.create_binding(kind, services.first, 80, &balancer.stable).await?;
        self.create_binding(kind, services.second, 80, &balancer.canary).await
    }

    /// Creates a TargetGroupBinding, as a person would.
    pub(crate) async fn create_binding(&self, kind: Kind, service: &str, port: u16, group: &str) -> anyhow::Result<()> {
        let bindings = custom_resources::bindings(&self.client(), kind, &self.namespace);
        let binding: DynamicObject = serde_json::from_value(objects::binding(kind, service, port, group))?;
        let created = bindings.create(&PostParams::default(), &binding).await;
        created.map(drop).with_context(|| format!("cannot bind Service {service}"))
    }

    /// The target group that a binding of a Service names; of several, the one that was made for this Ingress.
    pub(crate) async fn bound_group(&self, kind: Kind, service: &str, ingress: &str) -> anyhow::Result<Option<String>> {
        let bindings = custom_resources::bindings(&self.client(), kind, &self.namespace);
        let bindings = bindings.list(&ListParams::default()).await.context("cannot list TargetGroupBindings")?;
        let of_ingress = |binding: &&DynamicObject| {
            binding.labels().iter().any(|(key, value)| key.ends_with("/stack-name") && value == ingress)
                && binding.data.pointer("/spec/serviceRef/name").and_then(Value::as_str) == Some(service)
        };
        let bound = bindings.iter().find(of_ingress);
        Ok(bound.and_then(|binding| binding.data.pointer("/spec/targetGroupARN")?.as_str().map(str::to_owned)))
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
        balancer: &Balancer,
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
            rules: balancer.rules.iter().map(|rule| RuleHistory::of(rule, &journal)).collect(),
        })
    }

    /// The Warning events about Rollouts of the namespace.
    pub(crate) async fn warnings(&self) -> anyhow::Result<Vec<Warning>> {
        let events: Api<Event> = Api::namespaced(self.client(), &self.namespace);
        let warnings = ListParams::default().fields("type=Warning,involvedObject.kind=Rollout");
        let listed = events.list(&warnings).await.context("cannot list Events")?;
        let warning = |event: Event| Warning {
            reason: event.reason.unwrap_or_default(),
            message: event.message.unwrap_or_default(),
        };
        Ok(listed.items.into_iter().map(warning).collect())
    }

    /// The reasons of the Warning events, each once.
    pub(crate) async fn warning_reasons(&self) -> anyhow::Result<BTreeSet<String>> {
        Ok(self.warnings().await?.into_iter().map(|warning| warning.reason).collect())
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
