//! Watches, as `kube`'s own watcher and reflector live with them.

use std::collections::BTreeMap;
use std::pin::Pin;

use futures_util::{Stream, StreamExt};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::reflector;
use kube::runtime::watcher::{Config, Error, Event, watcher};
use kube::{Api, ResourceExt};
use lab::kubernetes::{Cluster, Effect, Fault, Kind, Verb};
use serde_json::{Value, json};
use tokio::time::timeout;

use crate::{PATIENCE, World, page};

type Events = Pin<Box<dyn Stream<Item = Result<Event<Pod>, Error>> + Send>>;

fn watch(world: &World, config: Config) -> Events {
    Box::pin(watcher(Api::namespaced(world.client.clone(), "shop"), config))
}

/// A world with the Pod `a`, and a watcher that has seen it and whose watch is open.
async fn watched(config: Config) -> (World, Events) {
    let world = World::new().await;
    world.put(Kind::POD, "a", json!({}));
    let mut events = watch(&world, config);
    for expected in ["init", "init a -", "init done"] {
        assert_eq!(next(&mut events).await.expect("a good day"), expected);
    }
    label(&world.cluster, "a", "first");
    assert_eq!(next(&mut events).await.expect("a good day"), "apply a first");
    (world, events)
}

fn label(cluster: &Cluster, name: &str, track: &str) {
    let patch = json!({"metadata": {"labels": {"track": track}}});
    cluster.merge_patch(Kind::POD, "shop", name, &patch).expect("it is there");
}

/// The next thing that a watcher says.
async fn next(events: &mut Events) -> Result<String, Error> {
    let event = timeout(PATIENCE, events.next()).await.expect("no hang").expect("a watcher never ends")?;
    let said = |what: &str, pod: &Pod| {
        let track = pod.labels().get("track").map_or("-", String::as_str);
        format!("{what} {} {track}", pod.name_any())
    };
    Ok(match &event {
        Event::Init => "init".to_owned(),
        Event::InitApply(pod) => said("init", pod),
        Event::InitDone => "init done".to_owned(),
        Event::Apply(pod) => said("apply", pod),
        Event::Delete(pod) => said("delete", pod),
    })
}

/// The next thing that is not an error.
async fn next_good(events: &mut Events) -> String {
    loop {
        if let Ok(event) = next(events).await {
            return event;
        }
    }
}

/// The next error.
async fn next_bad(events: &mut Events) -> Error {
    match next(events).await {
        Ok(event) => panic!("no error but {event}"),
        Err(error) => error,
    }
}

#[tokio::test]
async fn every_change_is_seen_in_order() {
    let (world, mut events) = watched(Config::default()).await;
    world.put(Kind::SERVICE, "stable", json!({}));
    let tracks: Vec<String> = (0..200).map(|number| format!("t{number}")).collect();
    for track in &tracks {
        label(&world.cluster, "a", track);
    }
    world.cluster.delete(Kind::POD, "shop", "a").expect("it is there");
    for track in &tracks {
        assert_eq!(next(&mut events).await.expect("a good day"), format!("apply a {track}"));
    }
    assert_eq!(next(&mut events).await.expect("a good day"), "delete a t199");
    assert_eq!(world.api.counts()["watch pods"], 1);
}

#[tokio::test]
async fn a_selection_is_entered_and_left() {
    let world = World::new().await;
    world.put(Kind::POD, "a", json!({"metadata": {"labels": {"track": "stable"}}}));
    let mut events = watch(&world, Config::default().labels("track=canary"));
    assert_eq!(next(&mut events).await.expect("a good day"), "init");
    assert_eq!(next(&mut events).await.expect("a good day"), "init done");
    for (track, expected) in [("canary", "apply a canary"), ("stable", "delete a canary")] {
        label(&world.cluster, "a", track);
        assert_eq!(next(&mut events).await.expect("a good day"), expected);
    }
}

#[tokio::test]
async fn a_streamed_list_takes_one_request() {
    let (world, _events) = watched(Config::default().streaming_lists()).await;
    assert_eq!(world.api.counts(), BTreeMap::from([("watch pods".to_owned(), 1)]));
}

#[tokio::test]
async fn a_cut_watch_goes_on_where_it_was() {
    let (world, mut events) = watched(Config::default()).await;
    world.api.faults().cut_watches();
    label(&world.cluster, "a", "second");
    assert_eq!(next_good(&mut events).await, "apply a second");
    page(&world.client, "DELETE", "/lab/watches", Value::Null).await.expect("a page");
    label(&world.cluster, "a", "third");
    assert_eq!(next_good(&mut events).await, "apply a third");
    assert_eq!((world.api.counts()["watch pods"], world.api.counts()["list pods"]), (3, 1));
}

#[tokio::test]
async fn a_watch_that_ends_by_its_timeout_goes_on_too() {
    let (world, mut events) = watched(Config::default().timeout(1)).await;
    let starts = |world: &World| world.api.counts()["watch pods"];
    let again = async {
        while starts(&world) < 2 {
            // Nothing is said at the end of a watch; the stream only has to be polled.
            tokio::select! {
                event = next(&mut events) => panic!("nothing has happened, but {event:?}"),
                () = tokio::task::yield_now() => {}
            }
        }
    };
    timeout(PATIENCE, again).await.expect("watched again");
    label(&world.cluster, "a", "second");
    assert_eq!(next_good(&mut events).await, "apply a second");
    assert_eq!(world.api.counts()["list pods"], 1);
}

#[tokio::test]
async fn a_server_that_comes_back_is_watched_from_where_it_was() {
    let (world, mut events) = watched(Config::default()).await;
    world.api.faults().go_away().await;
    label(&world.cluster, "a", "second");
    let error = next_bad(&mut events).await;
    assert!(matches!(error, Error::WatchStartFailed(_) | Error::WatchFailed(_)), "{error:?}");
    world.api.faults().come_back().await;
    assert_eq!(next_good(&mut events).await, "apply a second");
    assert_eq!(world.api.counts()["list pods"], 1);
}

#[tokio::test]
async fn a_watch_that_comes_too_late_lists_again() {
    let (world, mut events) = watched(Config::default()).await;
    world.api.faults().go_away().await;
    label(&world.cluster, "a", "second");
    world.put(Kind::POD, "b", json!({}));
    world.cluster.forget_changes();
    world.api.faults().come_back().await;
    let error = loop {
        match next_bad(&mut events).await {
            Error::WatchError(status) => break status,
            Error::WatchStartFailed(_) | Error::WatchFailed(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert_eq!((error.code, error.reason.as_str()), (410, "Expired"));
    for expected in ["init", "init a second", "init b -", "init done"] {
        assert_eq!(next_good(&mut events).await, expected);
    }
}

#[tokio::test]
async fn a_watch_that_no_role_allows_starts_when_one_does() {
    let (world, mut events) = watched(Config::default()).await;
    world.api.faults().add(Fault::new(Verb::Watch, "pods", Effect::Forbidden).times(1)).expect("a sound fault");
    world.api.faults().cut_watches();
    label(&world.cluster, "a", "second");
    let error = loop {
        match next_bad(&mut events).await {
            Error::WatchStartFailed(error) => break error,
            Error::WatchFailed(_) => {}
            other => panic!("{other:?}"),
        }
    };
    assert!(matches!(&error, kube::Error::Api(status) if status.is_forbidden()), "{error:?}");
    assert_eq!(next_good(&mut events).await, "apply a second");
}

/// Names and labels of all Pods, once the reflector has come to the Pod `end`.
async fn reflected(world: &World, reader: &reflector::Store<Pod>, events: &mut Events) -> BTreeMap<String, Value> {
    world.put(Kind::POD, "end", json!({}));
    while !reader.state().iter().any(|pod| pod.name_any() == "end") {
        // Errors are what this is about.
        let _ = next(events).await;
    }
    reader.state().iter().map(|pod| (pod.name_any(), json!(pod.labels()))).collect()
}

#[tokio::test]
async fn a_reflector_agrees_with_the_cluster_after_any_mishap() {
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..20 {
        let world = World::new().await;
        let (reader, writer) = reflector::store();
        let watcher = watcher(Api::namespaced(world.client.clone(), "shop"), Config::default());
        let mut events: Events = Box::pin(reflector(writer, watcher));
        for _ in 0..40 {
            let name = format!("pod-{}", random.u8(0..5));
            match random.u8(0..10) {
                0 => world.api.faults().cut_watches(),
                1 => {
                    world.api.faults().go_away().await;
                    let _ = world.cluster.delete(Kind::POD, "shop", &name);
                    world.cluster.forget_changes();
                    world.api.faults().come_back().await;
                }
                2 | 3 => drop(world.cluster.delete(Kind::POD, "shop", &name)),
                _ if world.cluster.get(Kind::POD, "shop", &name).is_some() => {
                    label(&world.cluster, &name, &format!("t{}", random.u8(..)));
                }
                _ => world.put(Kind::POD, &name, json!({})),
            }
            // The watcher does some of its work between the changes.
            for _ in 0..random.u8(0..3) {
                tokio::select! {
                    _ = next(&mut events) => {}
                    () = tokio::task::yield_now() => {}
                }
            }
        }
        let reflected = reflected(&world, &reader, &mut events).await;
        let there = world.cluster.list(Kind::POD, Some("shop")).0;
        let there: BTreeMap<String, Value> = there
            .iter()
            .map(|pod| {
                let labels = pod.pointer("/metadata/labels").cloned().unwrap_or_else(|| json!({}));
                (pod["metadata"]["name"].as_str().unwrap_or_default().to_owned(), labels)
            })
            .collect();
        assert_eq!(reflected, there);
    }
}
