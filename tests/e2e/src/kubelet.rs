//! A stand-in for the kubelets and the scheduler: it places Pods, says that they run, and lets them go.

use std::collections::HashSet;
use std::time::Duration;

use anyhow::Context;
use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The one Node.
const NODE: &str = "stand-in";

/// From being placed until ready.
const START_UP: Duration = Duration::from_secs(1);

/// From being told to go until gone. A Pod that was never placed is deleted by the API server at once.
const SHUT_DOWN: Duration = Duration::from_secs(1);

/// What happens to a Pod, each once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Turn {
    Start,
    Stop,
}

/// Plays the kubelet for every Pod of the cluster. Returns only with an error.
pub(crate) async fn run(client: Client) -> anyhow::Result<()> {
    create_node(&client).await.context("cannot create the Node")?;
    let mut events = std::pin::pin!(watcher(Api::<Pod>::all(client.clone()), Config::default()));
    let mut seen: HashSet<(String, Turn)> = HashSet::new();
    let mut turns = JoinSet::new();
    let mut started = 0;
    loop {
        tokio::select! {
            event = events.try_next() => match event.context("cannot watch Pods")? {
                Some(Event::Apply(pod) | Event::InitApply(pod)) => {
                    let turn = if pod.metadata.deletion_timestamp.is_some() { Turn::Stop } else { Turn::Start };
                    if seen.insert((pod.uid().unwrap_or_default(), turn)) {
                        let client = client.clone();
                        match turn {
                            Turn::Start => {
                                started += 1;
                                turns.spawn(start(client, pod, started));
                            }
                            Turn::Stop => {
                                turns.spawn(stop(client, pod));
                            }
                        }
                    }
                }
                Some(Event::Delete(pod)) => {
                    let uid = pod.uid().unwrap_or_default();
                    seen.remove(&(uid.clone(), Turn::Start));
                    seen.remove(&(uid, Turn::Stop));
                }
                Some(Event::Init | Event::InitDone) => {}
                None => anyhow::bail!("the watch of Pods ended"),
            },
            Some(turn) = turns.join_next() => turn.context("a turn of the kubelet panicked")??,
        }
    }
}

async fn create_node(client: &Client) -> anyhow::Result<()> {
    let node: Node = serde_json::from_value(json!({ "metadata": { "name": NODE } }))?;
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.create(&PostParams::default(), &node).await?;
    let status = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
    nodes.patch_status(NODE, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

async fn start(client: Client, pod: Pod, number: u32) -> anyhow::Result<()> {
    let pods = api(&client, &pod);
    let name = pod.name_any();
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": { "name": name },
        "target": { "kind": "Node", "name": NODE },
    });
    let bound: kube::Result<Value> = pods.create_subresource("binding", &name, &PostParams::default(), &binding).await;
    if !still_there(bound).with_context(|| format!("cannot bind Pod {name}"))? {
        return Ok(());
    }
    tokio::time::sleep(START_UP).await;
    let now = Timestamp::now();
    let containers = pod.spec.iter().flat_map(|spec| &spec.containers).map(|container| {
        json!({
            "name": container.name,
            "image": container.image,
            "imageID": "",
            "ready": true,
            "started": true,
            "restartCount": 0,
            "state": { "running": { "startedAt": now } },
        })
    });
    let [_, _, high, low] = number.to_be_bytes();
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
        .map(|name| json!({ "type": name, "status": "True", "lastTransitionTime": now }));
    let status = json!({ "status": {
        "phase": "Running",
        "podIP": format!("10.1.{high}.{low}"),
        "podIPs": [{ "ip": format!("10.1.{high}.{low}") }],
        "startTime": now,
        "conditions": conditions,
        "containerStatuses": containers.collect::<Vec<_>>(),
    } });
    let patched = pods.patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await;
    still_there(patched).with_context(|| format!("cannot report on Pod {name}")).map(|_| ())
}

async fn stop(client: Client, pod: Pod) -> anyhow::Result<()> {
    tokio::time::sleep(SHUT_DOWN).await;
    let name = pod.name_any();
    let this_one = Preconditions { uid: pod.uid(), resource_version: None };
    let at_once = DeleteParams { grace_period_seconds: Some(0), preconditions: Some(this_one), ..Default::default() };
    let deleted = api(&client, &pod).delete(&name, &at_once).await;
    still_there(deleted).with_context(|| format!("cannot delete Pod {name}")).map(|_| ())
}

fn api(client: &Client, pod: &Pod) -> Api<Pod> {
    Api::namespaced(client.clone(), &pod.namespace().unwrap_or_default())
}

/// A Pod that went away meanwhile, or was bound before, is no error.
fn still_there<T>(result: kube::Result<T>) -> kube::Result<bool> {
    match result {
        Ok(_) => Ok(true),
        Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => Ok(false),
        Err(error) => Err(error),
    }
}
