//! What the plugin asks a Kubernetes API, with the client that it asks with.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result};
use lab::kubernetes::{Cluster as Objects, Effect, Fault, Kind, KubernetesApi, Verb};
use serde_json::json;
use tempfile::TempDir;
use tokio::time::timeout;
use trafficrouter_alb::cluster::{Api, Backends, Cluster as _, Error, ErrorKind};

mod found;
mod nodes;
mod people;
mod rollouts;
mod routes;

/// Longer than any wait that is meant to end.
const PATIENCE: Duration = Duration::from_secs(30);

/// A Kubernetes API, and the plugin's client of it.
struct World {
    objects: Objects,
    server: KubernetesApi,
    api: Api,
    _folder: TempDir,
}

impl World {
    fn new() -> Result<Self> {
        let objects = Objects::default();
        let server = KubernetesApi::start(objects.clone())?;
        let folder = TempDir::new()?;
        let kubeconfig = folder.path().join("kubeconfig");
        std::fs::write(&kubeconfig, server.kubeconfig())?;
        let selector = json!({"app": "web", "rollouts-pod-template-hash": "abc"});
        objects.create(
            Kind::SERVICE,
            json!({
                "metadata": {"name": "web-stable", "namespace": "shop"},
                "spec": {"selector": selector, "ports": [{"port": 80, "targetPort": "http"}]},
            }),
        )?;
        Ok(Self { objects, server, api: Api::new(Some(kubeconfig)), _folder: folder })
    }

    fn pod(&self, number: u8, hash: &str, ready: bool) -> Result<()> {
        self.objects.create(
            Kind::POD,
            json!({
                "metadata": {
                    "name": format!("web-{number}"), "namespace": "shop",
                    "labels": {"app": "web", "rollouts-pod-template-hash": hash},
                },
                "spec": {"containers": [{"name": "web", "ports": [{"name": "http", "containerPort": 8080}]}]},
                "status": {
                    "phase": "Running", "podIP": format!("10.0.0.{number}"),
                    "containerStatuses": [
                        {"name": "web", "ready": ready, "image": "web", "imageID": "", "restartCount": 0},
                    ],
                },
            }),
        )?;
        Ok(())
    }

    fn fault(&self, verb: Verb, resource: &str, effect: Effect) -> Result<()> {
        Ok(self.server.faults().add(Fault::new(verb, resource, effect).times(1))?)
    }

    /// How often this was asked for, such as `get rollouts`.
    fn asked(&self, what: &str) -> u64 {
        self.server.counts().get(what).copied().unwrap_or_default()
    }

    /// Waits until that was asked for so often.
    async fn until_asked(&self, what: &str, times: u64) -> Result<()> {
        let until = async {
            while self.asked(what) < times {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        timeout(PATIENCE, until).await.with_context(|| format!("{what} was not asked for {times} times"))
    }

    /// Waits until a request has met the only fault, and is delayed by it.
    async fn until_met(&self) -> Result<()> {
        let met = async {
            while !self.server.faults().list().is_empty() {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        timeout(PATIENCE, met).await.context("no request met the fault")
    }

    /// So much time passes at once.
    async fn later(&self, seconds: u64) {
        tokio::time::pause();
        tokio::time::advance(Duration::from_secs(seconds)).await;
        tokio::time::resume();
    }

    async fn backends(&self) -> Result<Backends, Error> {
        self.api.backends("shop", "web-stable").await
    }
}

#[tokio::test]
async fn the_pods_behind_a_service_are_those_that_could_serve_it_now() -> Result<()> {
    let world = World::new()?;
    for (number, hash, ready) in [(1, "abc", true), (2, "abc", false), (3, "old", true), (4, "abc", true)] {
        world.pod(number, hash, ready)?;
    }
    let found = world.backends().await?;
    let names: Vec<&str> = found.pods.iter().map(|pod| pod.name.as_str()).collect();
    assert_eq!(names, ["web-1", "web-4"]);
    let first = found.pods.first().context("a Pod")?;
    assert_eq!((&first.addresses, &first.ports), (&vec![IpAddr::from([10, 0, 0, 1])], &vec![8080]));
    assert_eq!(found.selector.get("rollouts-pod-template-hash").map(String::as_str), Some("abc"));

    // The host moves the selector: the answer is another one at once.
    let moved = json!({"spec": {"selector": {"rollouts-pod-template-hash": "old"}}});
    world.objects.merge_patch(Kind::SERVICE, "shop", "web-stable", &moved)?;
    let found = world.backends().await?;
    assert_eq!(found.pods.iter().map(|pod| pod.name.as_str()).collect::<Vec<_>>(), ["web-3"]);
    Ok(())
}

#[tokio::test]
async fn pods_are_to_stay_as_far_as_their_replica_set_is_scaled() -> Result<()> {
    let world = World::new()?;
    for (name, hash, replicas) in [("web-abc", "abc", 4), ("web-old", "old", 9)] {
        world.objects.create(
            Kind::REPLICA_SET,
            json!({
                "metadata": {"name": name, "namespace": "shop", "labels": {"rollouts-pod-template-hash": hash}},
                "spec": {"replicas": replicas},
            }),
        )?;
    }
    assert_eq!(world.api.desired_pods("shop", "rollouts-pod-template-hash", "abc").await?, 4);
    assert_eq!(world.api.desired_pods("shop", "rollouts-pod-template-hash", "none").await?, 0);
    Ok(())
}

#[tokio::test]
async fn what_goes_wrong_is_named_with_what_to_do() -> Result<()> {
    let world = World::new()?;
    let missing = world.api.backends("shop", "nothing").await.unwrap_err();
    assert_eq!(missing.kind(), ErrorKind::Missing);
    assert!(missing.to_string().contains("services shop/nothing"), "{missing}");

    for (verb, resource, effect, kind, part) in [
        (
            Verb::List,
            "pods",
            Effect::Forbidden,
            ErrorKind::Access,
            "apiGroups: [\"\"], resources: [pods], verbs: [list]",
        ),
        (Verb::Get, "services", Effect::Forbidden, ErrorKind::Access, "resources: [services], verbs: [get]"),
        (Verb::Get, "services", Effect::InternalError, ErrorKind::Transient, "500"),
        (Verb::List, "pods", Effect::TooManyRequests { retry_after_seconds: 600 }, ErrorKind::Transient, "429"),
    ] {
        world.server.faults().add(Fault::new(verb, resource, effect).times(1))?;
        let error = world.backends().await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert!(error.to_string().contains(part), "{part} in {error}");
    }
    world.backends().await?;
    world.server.faults().go_away().await;
    assert_eq!(world.backends().await.unwrap_err().kind(), ErrorKind::Transient);
    world.server.faults().come_back().await;
    world.backends().await?;
    Ok(())
}

#[tokio::test]
async fn an_unknown_cluster_is_an_error_of_the_question() {
    let api = Api::new(Some(PathBuf::from("/no/such/kubeconfig")));
    let error = api.backends("shop", "web-stable").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Access);
    assert!(error.to_string().contains("--kubeconfig FILE, or set KUBECONFIG"), "{error}");
}
