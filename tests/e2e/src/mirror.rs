//! A copy of the API server's objects in the lab's Kubernetes, which the lab's load balancer controller follows.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, bail};
use futures_util::{Stream, StreamExt, TryStreamExt};
use k8s_openapi::api::core::v1::{Pod, Service};
use k8s_openapi::api::networking::v1::Ingress;
use kube::api::{DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use kube::runtime::watcher::{self, Config, Event, watcher};
use kube::{Api, Client, ResourceExt};
use lab::kubernetes::{Cluster, Kind};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::custom_resources;

/// Keeps a copy of all Services and Pods true. Returns only with an error.
pub(crate) async fn run(client: Client, mirror: Cluster) -> anyhow::Result<()> {
    tokio::try_join!(
        follow::<Service>(Api::all(client.clone()), Kind::SERVICE, &mirror),
        follow::<Pod>(Api::all(client), Kind::POD, &mirror),
    )?;
    Ok(())
}

/// Keeps a copy of a namespace true, with its Ingresses and bindings; and the bindings that are made, changed and deleted in the
/// copy come into the namespace. Returns only with an error.
pub(crate) async fn exchange(client: Client, namespace: String, mirror: Cluster) -> anyhow::Result<()> {
    let bindings = |kind| custom_resources::bindings(&client, kind, &namespace);
    tokio::try_join!(
        follow::<Service>(Api::namespaced(client.clone(), &namespace), Kind::SERVICE, &mirror),
        follow::<Pod>(Api::namespaced(client.clone(), &namespace), Kind::POD, &mirror),
        follow::<Ingress>(Api::namespaced(client.clone(), &namespace), Kind::INGRESS, &mirror),
        share(bindings(Kind::TARGET_GROUP_BINDING), Kind::TARGET_GROUP_BINDING, &mirror),
        share(bindings(Kind::AUTO_MODE_BINDING), Kind::AUTO_MODE_BINDING, &mirror),
    )?;
    Ok(())
}

/// Follows a kind both ways. The API server's word goes before the copy's where both changed at once.
async fn share(api: Api<DynamicObject>, kind: Kind, mirror: &Cluster) -> anyhow::Result<()> {
    let mut events = std::pin::pin!(changes(api.clone()));
    let mut version = mirror.version();
    // What the API server has, as far as it is known or was sent.
    let mut there: BTreeMap<(String, String), Value> = BTreeMap::new();
    loop {
        send(&api, kind, mirror, &mut there).await?;
        tokio::select! {
            event = events.try_next() => match event.with_context(|| format!("cannot watch {}", kind.plural))? {
                Some(Event::Apply(object) | Event::InitApply(object)) => {
                    let copy = serde_json::to_value(&object)?;
                    // What was sent comes back: by now the copy may be newer.
                    if there.insert(key(&copy), wish(&copy)).as_ref() != Some(&wish(&copy)) {
                        put(mirror, kind, &object)?;
                    }
                }
                Some(Event::Delete(object)) => {
                    let gone = key(&serde_json::to_value(&object)?);
                    there.remove(&gone);
                    // Whoever deleted it in the copy has nothing left to delete.
                    let _ = mirror.delete(kind, &gone.0, &gone.1);
                }
                Some(Event::Init | Event::InitDone) => {}
                None => bail!("the watch of {} ended", kind.plural),
            },
            // The sender lives in the mirror.
            _ = version.changed() => {}
        }
    }
}

/// Makes the API server's objects those of the copy.
async fn send(
    api: &Api<DynamicObject>,
    kind: Kind,
    mirror: &Cluster,
    there: &mut BTreeMap<(String, String), Value>,
) -> anyhow::Result<()> {
    let objects = mirror.list(kind, None).0;
    let wishes: BTreeMap<_, _> = objects.iter().map(|object| (key(object), wish(object))).collect();
    for (key, wish) in &wishes {
        if there.get(key) != Some(wish) {
            let sent = if there.contains_key(key) {
                let patch = json!({ "metadata": { "labels": wish["labels"] }, "spec": wish["spec"] });
                api.patch(&key.1, &PatchParams::default(), &Patch::Merge(patch)).await
            } else {
                api.create(
                    &PostParams::default(),
                    &serde_json::from_value(json!({
                        "apiVersion": kind.api_version(),
                        "kind": kind.kind,
                        "metadata": { "name": key.1, "labels": wish["labels"] },
                        "spec": wish["spec"],
                    }))?,
                )
                .await
            };
            sent.with_context(|| format!("cannot write {} {}", kind.kind, key.1))?;
            there.insert(key.clone(), wish.clone());
        }
    }
    let gone: Vec<_> = there.keys().filter(|key| !wishes.contains_key(*key)).cloned().collect();
    for key in gone {
        match api.delete(&key.1, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            deleted => drop(deleted.with_context(|| format!("cannot delete {} {}", kind.kind, key.1))?),
        }
        there.remove(&key);
    }
    Ok(())
}

/// What somebody wants of an object, without what an API server adds.
fn wish(object: &Value) -> Value {
    let labels = object.pointer("/metadata/labels").filter(|labels| !labels.is_null());
    json!({ "labels": labels.cloned().unwrap_or_else(|| json!({})), "spec": object["spec"] })
}

async fn follow<K>(api: Api<K>, kind: Kind, mirror: &Cluster) -> anyhow::Result<()>
where
    K: kube::Resource + Clone + std::fmt::Debug + DeserializeOwned + Serialize + Send + 'static,
{
    let mut events = std::pin::pin!(changes(api));
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

/// All changes of the objects. A version that the API server has forgotten by now is no error: the watcher lists them anew.
fn changes<K>(api: Api<K>) -> impl Stream<Item = Result<Event<K>, watcher::Error>>
where
    K: kube::Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let is_told = |event: &Result<Event<K>, watcher::Error>| !matches!(event, Err(watcher::Error::WatchError(status)) if status.code == 410);
    watcher(api, Config::default()).filter(move |event| std::future::ready(is_told(event)))
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

    async fn client(api: &KubernetesApi) -> Client {
        let kubeconfig = Kubeconfig::from_yaml(&api.kubeconfig()).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        Client::try_from(config).unwrap()
    }

    #[tokio::test]
    async fn pods_come_and_go_in_the_mirror_too() {
        let (original, mirror) = (Cluster::default(), Cluster::default());
        let api = KubernetesApi::start(original.clone()).unwrap();
        mirror.put_copy(Kind::POD, pod("went-unseen", "1")).unwrap();
        original.put_copy(Kind::POD, pod("a", "2")).unwrap();
        let run = run(client(&api).await, mirror.clone());
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

    #[tokio::test]
    async fn bindings_come_and_go_both_ways() {
        let (original, mirror) = (Cluster::default(), Cluster::default());
        let api = KubernetesApi::start(original.clone()).unwrap();
        let kind = Kind::TARGET_GROUP_BINDING;
        let binding = |name: &str, group: &str| {
            json!({
                "metadata": { "namespace": "shop", "name": name, "labels": { "of": name } },
                "spec": { "targetGroupARN": group, "serviceRef": { "name": "web", "port": 80 } },
            })
        };
        original.create(kind, binding("by-a-person", "a")).unwrap();
        let run = exchange(client(&api).await, "shop".to_owned(), mirror.clone());
        let story = async {
            let groups = |cluster: &Cluster| -> Vec<(String, Value)> {
                let objects = cluster.list(kind, None).0;
                objects.iter().map(|object| (key(object).1, object["spec"]["targetGroupARN"].clone())).collect()
            };
            let until = async |cluster: &Cluster, expected: &[(&str, &str)]| {
                let same = |found: Vec<(String, Value)>| {
                    found
                        .iter()
                        .map(|(name, group)| (name.as_str(), group.as_str().unwrap()))
                        .eq(expected.iter().copied())
                };
                let mut version = cluster.version();
                let seen = version.wait_for(|_| same(groups(cluster)));
                timeout(Duration::from_secs(30), seen).await.expect("both are quick").unwrap();
            };
            until(&mirror, &[("by-a-person", "a")]).await;
            mirror.create(kind, binding("by-the-rival", "b")).unwrap();
            until(&original, &[("by-a-person", "a"), ("by-the-rival", "b")]).await;
            assert_eq!(original.get(kind, "shop", "by-the-rival").unwrap()["metadata"]["labels"]["of"], "by-the-rival");
            mirror.merge_patch(kind, "shop", "by-the-rival", &json!({ "spec": { "targetGroupARN": "c" } })).unwrap();
            until(&original, &[("by-a-person", "a"), ("by-the-rival", "c")]).await;
            original.delete(kind, "shop", "by-a-person").unwrap();
            until(&mirror, &[("by-the-rival", "c")]).await;
            mirror.delete(kind, "shop", "by-the-rival").unwrap();
            until(&original, &[]).await;
        };
        tokio::select! {
            () = story => {}
            result = run => panic!("{result:?}"),
        }
    }
}
