//! The real Kubernetes API.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use async_trait::async_trait;
use kube::api::ListParams;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tokio::sync::Mutex;

use super::objects::{self, PodObject, ReplicaSetObject, ServiceObject};
use super::{Backends, Cluster, Error, pods};

/// How many Pods one page holds.
const PAGE: u32 = 500;

/// How long one request may take. A router asks again anyway.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The cluster that we run in, or the one that a kubeconfig names. The client is made on first use.
pub struct Api {
    kubeconfig: Option<PathBuf>,
    client: Mutex<Option<Client>>,
}

impl Api {
    /// `kubeconfig` is the operator's word. Without it `KUBECONFIG` counts, and without that the cluster that we run in;
    /// a file in a home directory is never guessed.
    #[must_use]
    pub fn new(kubeconfig: Option<PathBuf>) -> Self {
        Self { kubeconfig, client: Mutex::new(None) }
    }

    async fn client(&self) -> Result<Client, Error> {
        let mut client = self.client.lock().await;
        if let Some(client) = &*client {
            return Ok(client.clone());
        }
        let mut config = config(self.kubeconfig.as_deref()).await?;
        config.connect_timeout = Some(TIMEOUT);
        config.read_timeout = Some(TIMEOUT);
        // It would obey a Retry-After for minutes. A call has a budget, and the router asks again anyway.
        config.default_retry = false;
        let made = Client::try_from(config).map_err(|error| Error::no_cluster(&error))?;
        *client = Some(made.clone());
        Ok(made)
    }
}

async fn config(kubeconfig: Option<&Path>) -> Result<Config, Error> {
    let named = match kubeconfig {
        Some(file) => Some(Kubeconfig::read_from(file).map_err(|error| Error::no_cluster(&error))?),
        None => Kubeconfig::from_env().map_err(|error| Error::no_cluster(&error))?,
    };
    match named {
        Some(named) => {
            let config = Config::from_custom_kubeconfig(named, &KubeConfigOptions::default()).await;
            config.map_err(|error| Error::no_cluster(&error))
        }
        None => Config::incluster().map_err(|error| Error::no_cluster(&error)),
    }
}

/// A client has nothing to show, and holds a token that no log may see.
impl fmt::Debug for Api {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Api").field("kubeconfig", &self.kubeconfig).finish_non_exhaustive()
    }
}

#[async_trait]
impl Cluster for Api {
    async fn backends(&self, namespace: &str, service: &str) -> Result<Backends, Error> {
        let client = self.client().await?;
        let services: kube::Api<ServiceObject> =
            kube::Api::namespaced_with(client.clone(), namespace, &objects::services());
        let subject = format!("{namespace}/{service}");
        let found = services.get(service).await.map_err(|error| Error::of("get", "services", &subject, &error))?;
        let selector = found.spec.selector;
        let Some(query) = pods::label_query(&selector) else { return Ok(Backends::default()) };
        let ports = found.spec.ports;
        let all: kube::Api<PodObject> = kube::Api::namespaced_with(client, namespace, &objects::pods());
        let mut backends = Backends { selector, pods: Vec::new() };
        let mut page = ListParams::default().labels(&query).limit(PAGE);
        loop {
            let listed = all.list(&page).await;
            let listed = listed.map_err(|error| Error::of("list", "pods", &format!("in {namespace}"), &error))?;
            backends.pods.extend(listed.items.iter().filter_map(|pod| pods::serving(pod, &ports)));
            match listed.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => page = page.continue_token(&token),
                None => return Ok(backends),
            }
        }
    }

    async fn desired_pods(&self, namespace: &str, label: &str, value: &str) -> Result<usize, Error> {
        let client = self.client().await?;
        let sets: kube::Api<ReplicaSetObject> = kube::Api::namespaced_with(client, namespace, &objects::replica_sets());
        let listed = sets.list(&ListParams::default().labels(&format!("{label}={value}"))).await;
        let in_namespace = format!("in {namespace}");
        let listed = listed.map_err(|error| Error::of("list", "replicasets", &in_namespace, &error))?;
        Ok(listed.items.iter().map(|set| set.spec.replicas).sum())
    }
}
