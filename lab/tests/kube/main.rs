//! The lab's Kubernetes API as the `kube` client sees it.

use std::fmt::Debug;
use std::future::Future;
use std::time::Duration;

use axum::http::Request;
use kube::api::{ApiResource, DynamicObject, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use lab::kubernetes::{Cluster, Kind, KubernetesApi};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

mod discovery;
mod events;
mod faults;
mod objects;
mod subresources;
mod watches;

/// Long enough for any machine; only a hang takes so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// An API server of the test's own, its objects, and a client that tries once.
struct World {
    cluster: Cluster,
    api: KubernetesApi,
    client: Client,
}

impl World {
    async fn new() -> Self {
        let cluster = Cluster::default();
        let api = KubernetesApi::start(cluster.clone()).expect("a loopback port is free");
        let client = client(&api).await;
        Self { cluster, api, client }
    }

    /// Objects of any kind in the namespace `shop`.
    fn of(&self, kind: Kind) -> Api<DynamicObject> {
        Api::namespaced_with(self.client.clone(), "shop", &resource(kind))
    }

    /// Puts an object into the namespace `shop`, past HTTP.
    fn put(&self, kind: Kind, name: &str, mut object: Value) {
        let fields = object.as_object_mut().expect("an object");
        let metadata = fields.entry("metadata").or_insert_with(|| json!({}));
        let metadata = metadata.as_object_mut().expect("an object");
        metadata.insert("name".to_owned(), json!(name));
        metadata.insert("namespace".to_owned(), json!("shop"));
        self.cluster.create(kind, object).expect("a new name");
    }
}

async fn client(api: &KubernetesApi) -> Client {
    let kubeconfig = Kubeconfig::from_yaml(&api.kubeconfig()).expect("a kubeconfig");
    let mut config =
        Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.expect("a cluster");
    config.default_retry = false;
    Client::try_from(config).expect("a client")
}

fn resource(kind: Kind) -> ApiResource {
    ApiResource {
        group: kind.group.to_owned(),
        version: kind.version.to_owned(),
        api_version: kind.api_version(),
        kind: kind.kind.to_owned(),
        plural: kind.plural.to_owned(),
    }
}

async fn merge<K>(api: &Api<K>, name: &str, patch: Value) -> kube::Result<K>
where
    K: Clone + DeserializeOwned + Debug,
{
    api.patch(name, &PatchParams::default(), &Patch::Merge(patch)).await
}

async fn create<K>(api: &Api<K>, object: Value) -> kube::Result<K>
where
    K: Clone + DeserializeOwned + Debug + Serialize,
{
    let object = serde_json::from_value(object).expect("an object of the kind");
    api.create(&PostParams::default(), &object).await
}

/// Code, reason and message of a refused request.
async fn refusal<T: Debug>(request: impl Future<Output = kube::Result<T>>) -> (u16, String, String) {
    match request.await {
        Err(kube::Error::Api(status)) => (status.code, status.reason, status.message),
        other => panic!("not refused by the server: {other:?}"),
    }
}

/// Calls one of the lab's own pages.
async fn page(client: &Client, method: &str, path: &str, body: Value) -> kube::Result<String> {
    let request = Request::builder().method(method).uri(path).header("content-type", "application/json");
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    client.request_text(request.body(body).expect("a request")).await
}
