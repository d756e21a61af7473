//! A copy of the API server's Services and Pods in the lab's Kubernetes, which the lab's load balancer controller follows.

use std::collections::BTreeSet;

use anyhow::{Context, bail};
use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::{Pod, Service};
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt};
use lab::kubernetes::{Cluster, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// Keeps the copy true. Returns only with an error.
pub(crate) async fn run(client: Client, mirror: Cluster) -> anyhow::Result<()> {
    tokio::try_join!(
        follow::<Service>(Api::all(client.clone()), Kind::SERVICE, &mirror),
        follow::<Pod>(Api::all(client), Kind::POD, &mirror),
    )?;
    Ok(())
}

async fn follow<K>(api: Api<K>, kind: Kind, mirror: &Cluster) -> anyhow::Result<()>
where
    K: kube::Resource + Clone + std::fmt::Debug + DeserializeOwned + Serialize + Send + 'static,
{
    let mut events = std::pin::pin!(watcher(api, Config::default()));
    // What a list has not shown (yet): the watch may have missed that it went.
    let mut missing: BTreeSet<(String, String)> = BTreeSet::new();
    while let Some(event) = events.try_next().await.with_context(|| format!("cannot watch {}", kind.plural))? {
        match event {
            Event::Init => missing = mirror.list(kind, None).0.iter().map(|object| key(object)).collect(),
            Event::InitApply(object) => {
                missing.remove(&(object.namespace().unwrap_or_default(), object.name_any()));
                put(mirror, kind, &object)?;
            }
            Event::InitDone => {
                for (namespace, name) in std::mem::take(&mut missing) {
                    remove(mirror, kind, &namespace, &name)?;
                }
            }
            Event::Apply(object) => put(mirror, kind, &object)?,
            Event::Delete(object) => {
                remove(mirror, kind, &object.namespace().unwrap_or_default(), &object.name_any())?;
            }
        }
    }
    bail!("the watch of {} ended", kind.plural)
}

fn key(object: &Value) -> (String, String) {
    let part = |pointer| object.pointer(pointer).and_then(Value::as_str).unwrap_or_default().to_owned();
    (part("/metadata/namespace"), part("/metadata/name"))
}

fn put<K: Serialize>(mirror: &Cluster, kind: Kind, object: &K) -> anyhow::Result<()> {
    let copied = mirror.put_copy(kind, serde_json::to_value(object)?);
    copied.map(|_| ()).with_context(|| format!("cannot copy a {}", kind.kind))
}

fn remove(mirror: &Cluster, kind: Kind, namespace: &str, name: &str) -> anyhow::Result<()> {
    let removed = mirror.delete(kind, namespace, name);
    removed.map(|_| ()).with_context(|| format!("cannot remove the copy of {} {namespace}/{name}", kind.kind))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kube::Config;
    use kube::config::{KubeConfigOptions, Kubeconfig};
    use lab::kubernetes::KubernetesApi;
    use serde_json::json;
    use tokio::time::timeout;

    use super::*;

    fn pod(name: &str, uid: &str) -> Value {
        json!({
            "metadata": { "namespace": "shop", "name": name, "uid": uid },
            "spec": { "containers": [] },
            "status": { "podIP": "10.1.0.1" },
        })
    }

    /// Waits until the mirror has exactly these Pods.
    async fn until(mirror: &Cluster, expected: &[&str]) {
        let mut version = mirror.version();
        let seen = version.wait_for(|_| {
            let (pods, _) = mirror.list(Kind::POD, None);
            pods.iter().map(|pod| key(pod).1).eq(expected.iter().copied())
        });
        timeout(Duration::from_secs(30), seen).await.expect("a mirror is quick").unwrap();
    }

    #[tokio::test]
    async fn pods_come_and_go_in_the_mirror_too() {
        let (original, mirror) = (Cluster::default(), Cluster::default());
        let api = KubernetesApi::start(original.clone()).unwrap();
        let kubeconfig = Kubeconfig::from_yaml(&api.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        mirror.put_copy(Kind::POD, pod("went-unseen", "1")).unwrap();
        original.put_copy(Kind::POD, pod("a", "2")).unwrap();
        let run = run(Client::try_from(config).unwrap(), mirror.clone());
        let story = async {
            until(&mirror, &["a"]).await;
            original.put_copy(Kind::POD, pod("b", "3")).unwrap();
            until(&mirror, &["a", "b"]).await;
            let copy = mirror.get(Kind::POD, "shop", "b").unwrap();
            assert_eq!((&copy["metadata"]["uid"], &copy["status"]["podIP"]), (&json!("3"), &json!("10.1.0.1")));
            original.delete(Kind::POD, "shop", "a").unwrap();
            until(&mirror, &["b"]).await;
        };
        tokio::select! {
            () = story => {}
            result = run => panic!("{result:?}"),
        }
    }
}
