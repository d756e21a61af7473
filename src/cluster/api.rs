//! The real Kubernetes API.

use std::fmt;
use std::path::PathBuf;
use std::time::SystemTime;

use async_trait::async_trait;
use kube::Client;
use kube::api::{GetParams, ListParams};

use super::access::Access;
use super::events::Events;
use super::nodes::Nodes;
use super::objects::{PodObject, ReplicaSetObject, Resource, ServiceObject, ServiceSpec};
use super::{
    Announcement, Backends, Binding, Cluster, Error, Event, Ingress, Port, Route, Service, abort, bindings, ingress,
    note, pages, pods, watch,
};
use crate::rollout::{Metadata, Rollout};

/// The cluster that we run in, or the one that a kubeconfig names. The clients are made on first use.
pub struct Api {
    access: Access,
    nodes: Nodes,
    events: Events,
}

impl Api {
    /// `kubeconfig` is the operator's word. Without it `KUBECONFIG` counts, and without that the cluster that we run in;
    /// a file in a home directory is never guessed.
    #[must_use]
    pub fn new(kubeconfig: Option<PathBuf>) -> Self {
        Self { access: Access::new(kubeconfig), nodes: Nodes::default(), events: Events::default() }
    }
}

/// A client has nothing to show, and holds a token that no log may see.
impl fmt::Debug for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Api").field("kubeconfig", &self.access.kubeconfig).finish_non_exhaustive()
    }
}

#[async_trait]
impl Cluster for Api {
    async fn backends(&self, namespace: &str, service: &str) -> Result<Backends, Error> {
        let client = self.access.clients().await?.requests;
        let ServiceSpec { selector, ports } = service_spec(&client, namespace, service).await?;
        let Some(query) = pods::label_query(&selector) else { return Ok(Backends::default()) };
        let unready = self.nodes.unready(&client).await;
        let all: kube::Api<PodObject> = Resource::PODS.within(&client, namespace);
        let listed = pages::all(&all, ListParams::default().labels(&query)).await;
        let listed = listed.map_err(|error| Error::of("list", Resource::PODS, &format!("in {namespace}"), &error))?;
        let alive = listed.iter().filter(|pod| {
            let node = pod.spec.node_name.as_ref();
            node.is_none_or(|node| !unready.contains(node))
        });
        Ok(Backends { selector, pods: alive.filter_map(|pod| pods::serving(pod, &ports)).collect() })
    }

    async fn desired_pods(&self, namespace: &str, label: &str, value: &str) -> Result<usize, Error> {
        let client = self.access.clients().await?.requests;
        let sets: kube::Api<ReplicaSetObject> = Resource::REPLICA_SETS.within(&client, namespace);
        let listed = sets.list(&ListParams::default().labels(&format!("{label}={value}"))).await;
        let in_namespace = format!("in {namespace}");
        let listed = listed.map_err(|error| Error::of("list", Resource::REPLICA_SETS, &in_namespace, &error))?;
        Ok(listed.items.iter().map(|set| set.spec.replicas).sum())
    }

    async fn rollout(&self, namespace: &str, name: &str) -> Result<Rollout, Error> {
        let client = self.access.clients().await?.requests;
        let request = Resource::ROLLOUTS.requests(namespace).get(name, &GetParams::default());
        let read = async { client.request(request.map_err(kube::Error::BuildRequest)?).await };
        read.await.map_err(|error| Error::of("get", Resource::ROLLOUTS, &format!("{namespace}/{name}"), &error))
    }

    async fn next_rollout(&self, namespace: &str, name: &str, version: &str) -> Result<Rollout, Error> {
        watch::next_rollout(&self.access.clients().await?, namespace, name, version).await
    }

    async fn reason_to_abort(&self, namespace: &str, name: &str) -> Result<Option<String>, Error> {
        abort::reason(&self.access.clients().await?.requests, namespace, name, SystemTime::now()).await
    }

    async fn abort(&self, namespace: &str, name: &str, uid: &str) -> Result<(), Error> {
        abort::abort(&self.access.clients().await?.requests, namespace, name, uid).await
    }

    async fn tell(&self, about: &Metadata, event: &Event) -> Result<(), Error> {
        self.events.tell(&self.access.clients().await?.requests, about, event).await
    }

    async fn service(&self, namespace: &str, name: &str) -> Result<Service, Error> {
        let ServiceSpec { selector, ports } =
            service_spec(&self.access.clients().await?.requests, namespace, name).await?;
        Ok(Service { selector, ports: ports.into_iter().map(Port::from).collect() })
    }

    async fn bindings(&self, namespace: Option<&str>) -> Result<Vec<Binding>, Error> {
        bindings::list(&self.access.clients().await?.requests, namespace).await
    }

    async fn ingresses(&self, namespace: &str, prefix: &str) -> Result<Vec<Ingress>, Error> {
        ingress::list(&self.access.clients().await?.requests, namespace, prefix).await
    }

    async fn announce(&self, namespace: &str, ingress: &str, announcement: &Announcement) -> Result<bool, Error> {
        ingress::announce(&self.access.clients().await?.requests, namespace, ingress, announcement).await
    }

    async fn add_route(
        &self,
        namespace: &str,
        ingress: &str,
        prefix: &str,
        ours: &[String; 2],
        route: &Route,
    ) -> Result<(), Error> {
        ingress::add_route(&self.access.clients().await?.requests, namespace, ingress, prefix, ours, route).await
    }

    async fn remove_routes(&self, namespace: &str, ingress: &str, prefix: &str, names: &[String]) -> Result<(), Error> {
        ingress::remove_routes(&self.access.clients().await?.requests, namespace, ingress, prefix, names).await
    }

    async fn note(&self, about: &Metadata, annotation: &str, value: &str) -> Result<(), Error> {
        note::note(&self.access.clients().await?.requests, about, annotation, value).await
    }
}

async fn service_spec(client: &Client, namespace: &str, name: &str) -> Result<ServiceSpec, Error> {
    let found = Resource::SERVICES.within(client, namespace).get(name).await;
    let subject = format!("{namespace}/{name}");
    let found: ServiceObject = found.map_err(|error| Error::of("get", Resource::SERVICES, &subject, &error))?;
    Ok(found.spec)
}
