//! A stand-in for the kubelets and the scheduler: it places Pods, lets them serve, says that they run, and lets them go.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::Context;
use futures_util::TryStreamExt;
use k8s_openapi::api::core::v1::{Node, Pod};
use k8s_openapi::jiff::Timestamp;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams, Preconditions};
use kube::runtime::watcher::{Config, Event, watcher};
use kube::{Api, Client, ResourceExt};
use serde_json::{Value, json};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::application;

/// The one Node.
const NODE: &str = "stand-in";

/// From being placed until ready. Longer than the usual registrar takes: a Pod that a step lets go is out of its group before the
/// one that comes for it is ready, and the host moves a Service for that one.
const START_UP: Duration = Duration::from_millis(1500);

/// How long a Pod that was told to go still serves, as with a `preStop` hook: longer than any registrar here takes to take it
/// out of its groups. Without that, requests fail whatever a traffic router does.
const SHUT_DOWN: Duration = Duration::from_secs(15);

/// Plays the kubelet for every Pod of the cluster. Returns only with an error.
pub(crate) async fn run(client: Client) -> anyhow::Result<()> {
    create_node(&client).await.context("cannot create the Node")?;
    let mut events = std::pin::pin!(watcher(Api::<Pod>::all(client.clone()), Config::default()));
    // By uid. Dropping the sender tells the Pod to go; it may be told before it is known.
    let mut lives: HashMap<String, Option<oneshot::Sender<()>>> = HashMap::new();
    let mut tasks = JoinSet::new();
    loop {
        tokio::select! {
            event = events.try_next() => match event.context("cannot watch Pods")? {
                Some(Event::Apply(pod) | Event::InitApply(pod)) => {
                    let goes = pod.metadata.deletion_timestamp.is_some();
                    let life = lives.entry(pod.uid().unwrap_or_default()).or_insert_with(|| {
                        let (tell, told) = oneshot::channel();
                        tasks.spawn(live(client.clone(), pod, told));
                        Some(tell)
                    });
                    if goes {
                        *life = None;
                    }
                }
                Some(Event::Delete(pod)) => drop(lives.remove(&pod.uid().unwrap_or_default())),
                Some(Event::Init | Event::InitDone) => {}
                None => anyhow::bail!("the watch of Pods ended"),
            },
            Some(ended) = tasks.join_next() => ended.context("the life of a Pod panicked")??,
        }
    }
}

/// One Pod, from being placed until it is gone.
async fn live(client: Client, pod: Pod, mut told: oneshot::Receiver<()>) -> anyhow::Result<()> {
    if !bind(&client, &pod).await? {
        return Ok(());
    }
    tokio::select! {
        // Nothing runs yet, so there is nothing to shut down.
        _ = &mut told => return delete(&client, &pod).await,
        () = sleep(START_UP) => {}
    }
    let version = pod.labels().get("rollouts-pod-template-hash").map_or("", String::as_str);
    let (address, application) = application::listen(version).await?;
    report(&client, &pod, &address.ip().to_string()).await?;
    let leave = async {
        let _ = told.await;
        sleep(SHUT_DOWN).await;
    };
    application.run(leave).await;
    delete(&client, &pod).await
}

async fn create_node(client: &Client) -> anyhow::Result<()> {
    let node: Node = serde_json::from_value(json!({ "metadata": { "name": NODE } }))?;
    let nodes: Api<Node> = Api::all(client.clone());
    nodes.create(&PostParams::default(), &node).await?;
    let status = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
    nodes.patch_status(NODE, &PatchParams::default(), &Patch::Merge(status)).await?;
    Ok(())
}

async fn bind(client: &Client, pod: &Pod) -> anyhow::Result<bool> {
    let name = pod.name_any();
    let binding = json!({
        "apiVersion": "v1",
        "kind": "Binding",
        "metadata": { "name": name },
        "target": { "kind": "Node", "name": NODE },
    });
    let pods = api(client, pod);
    let bound: kube::Result<Value> = pods.create_subresource("binding", &name, &PostParams::default(), &binding).await;
    still_there(bound).with_context(|| format!("cannot bind Pod {name}"))
}

/// Says that it runs, and where.
async fn report(client: &Client, pod: &Pod, address: &str) -> anyhow::Result<()> {
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
    let conditions = ["PodScheduled", "Initialized", "ContainersReady", "Ready"]
        .map(|name| json!({ "type": name, "status": "True", "lastTransitionTime": now }));
    let status = json!({ "status": {
        "phase": "Running",
        "podIP": address,
        "podIPs": [{ "ip": address }],
        "startTime": now,
        "conditions": conditions,
        "containerStatuses": containers.collect::<Vec<_>>(),
    } });
    let name = pod.name_any();
    let patched = api(client, pod).patch_status(&name, &PatchParams::default(), &Patch::Merge(status)).await;
    still_there(patched).with_context(|| format!("cannot report on Pod {name}")).map(|_| ())
}

async fn delete(client: &Client, pod: &Pod) -> anyhow::Result<()> {
    let name = pod.name_any();
    let this_one = Preconditions { uid: pod.uid(), resource_version: None };
    let at_once = DeleteParams { grace_period_seconds: Some(0), preconditions: Some(this_one), ..Default::default() };
    let deleted = api(client, pod).delete(&name, &at_once).await;
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
