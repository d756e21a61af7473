use axum::http::{Method, Uri};

use super::*;
use crate::kubernetes::Kind;

fn request(query: &str) -> RequestInfo {
    let uri: Uri = format!("/api/v1/namespaces/shop/pods?watch=1&{query}").parse().expect("a sound address");
    RequestInfo::of(&Method::GET, &uri).expect("a sound request")
}

fn pod(cluster: &Cluster, namespace: &str, name: &str, track: &str) {
    let pod = json!({"metadata": {"name": name, "namespace": namespace, "labels": {"track": track}}});
    cluster.create(Kind::POD, pod).expect("a new name");
}

fn label(cluster: &Cluster, name: &str, track: &str) {
    let patch = json!({"metadata": {"labels": {"track": track}}});
    cluster.merge_patch(Kind::POD, "shop", name, &patch).expect("it is there");
}

fn watch(cluster: &Cluster, query: &str) -> (Watch, watch::Sender<u64>) {
    let cuts = watch::Sender::new(0);
    (Watch::begin(cluster.clone(), request(query), cuts.subscribe()), cuts)
}

/// Type, name, label and version of the next event.
async fn next(watch: &mut Watch) -> String {
    match watch.next().await {
        Some(Ok(event)) => {
            let text = |pointer: &str| event.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
            format!(
                "{} {} {} {}",
                text("/type"),
                text("/object/metadata/name"),
                text("/object/metadata/labels/track"),
                text("/object/metadata/resourceVersion")
            )
        }
        Some(Err(Cut)) => "cut".to_owned(),
        None => "end".to_owned(),
    }
}

#[tokio::test(start_paused = true)]
async fn begins_with_what_is_there_and_goes_on_with_what_happens() {
    let cluster = Cluster::default();
    pod(&cluster, "shop", "a", "stable");
    pod(&cluster, "till", "b", "stable");
    let (mut all, _cuts) = watch(&cluster, "");
    let (mut later, _cuts) = watch(&cluster, "resourceVersion=2");
    assert_eq!(next(&mut all).await, "ADDED a stable 1");
    label(&cluster, "a", "canary");
    pod(&cluster, "till", "c", "stable");
    cluster.delete(Kind::POD, "shop", "a").expect("it is there");
    for watch in [&mut all, &mut later] {
        assert_eq!(next(watch).await, "MODIFIED a canary 3");
        assert_eq!(next(watch).await, "DELETED a canary 5");
    }
}

#[tokio::test(start_paused = true)]
async fn an_object_enters_and_leaves_a_selection() {
    let cluster = Cluster::default();
    pod(&cluster, "shop", "a", "stable");
    let (mut watch, _cuts) = watch(&cluster, "labelSelector=track%3Dcanary&resourceVersion=1");
    pod(&cluster, "shop", "b", "stable");
    label(&cluster, "a", "canary");
    label(&cluster, "a", "stable");
    cluster.delete(Kind::POD, "shop", "a").expect("it is there");
    pod(&cluster, "shop", "c", "canary");
    assert_eq!(next(&mut watch).await, "ADDED a canary 3");
    assert_eq!(next(&mut watch).await, "DELETED a canary 4", "as it was when it still fitted");
    assert_eq!(next(&mut watch).await, "ADDED c canary 6");
}

#[tokio::test(start_paused = true)]
async fn bookmarks_come_every_minute_and_shortly_before_the_end() {
    let cluster = Cluster::default();
    pod(&cluster, "shop", "a", "stable");
    let began = Instant::now();
    let (mut watch, _cuts) = watch(&cluster, "allowWatchBookmarks=true&timeoutSeconds=90&resourceVersion=1");
    cluster.create(Kind::NODE, json!({"metadata": {"name": "n"}})).expect("a new name");
    assert_eq!(next(&mut watch).await, "BOOKMARK - - 2", "also past what it does not show");
    assert_eq!(began.elapsed().as_secs(), 60);
    assert_eq!(next(&mut watch).await, "BOOKMARK - - 2");
    assert_eq!(began.elapsed().as_secs(), 88);
    assert_eq!(next(&mut watch).await, "end");
    assert_eq!(began.elapsed().as_secs(), 90);
}

#[tokio::test(start_paused = true)]
async fn nobody_gets_bookmarks_unasked() {
    let (mut watch, _cuts) = watch(&Cluster::default(), "timeoutSeconds=300");
    assert_eq!(next(&mut watch).await, "end");
}

#[tokio::test(start_paused = true)]
async fn a_streamed_list_ends_with_a_marked_bookmark() {
    let cluster = Cluster::default();
    pod(&cluster, "shop", "a", "stable");
    let (mut watch, _cuts) = watch(&cluster, "sendInitialEvents=true&allowWatchBookmarks=true&resourceVersion=0");
    assert_eq!(next(&mut watch).await, "ADDED a stable 1");
    let mark = watch.next().await.expect("an event").expect("not cut");
    assert_eq!(mark["object"]["metadata"]["annotations"]["k8s.io/initial-events-end"], "true");
    assert_eq!(mark["object"]["metadata"]["resourceVersion"], "1");
}

#[tokio::test(start_paused = true)]
async fn a_watch_of_forgotten_changes_is_gone() {
    let cluster = Cluster::default();
    pod(&cluster, "shop", "a", "stable");
    label(&cluster, "a", "canary");
    cluster.forget_changes();
    let (mut watch, _cuts) = watch(&cluster, "resourceVersion=1");
    let error = watch.next().await.expect("an event").expect("not cut");
    assert_eq!((&error["type"], &error["object"]["code"]), (&json!("ERROR"), &json!(410)));
    assert_eq!((&error["object"]["kind"], &error["object"]["reason"]), (&json!("Status"), &json!("Expired")));
    assert_eq!(next(&mut watch).await, "end");
}

#[tokio::test(start_paused = true)]
async fn a_cut_watch_breaks_after_what_it_has_to_say() {
    let cluster = Cluster::default();
    let (mut watch, cuts) = watch(&cluster, "resourceVersion=0&sendInitialEvents=false");
    pod(&cluster, "shop", "a", "stable");
    cuts.send_modify(|cuts| *cuts += 1);
    assert_eq!(next(&mut watch).await, "ADDED a stable 1");
    assert_eq!(next(&mut watch).await, "cut");
    assert_eq!(next(&mut watch).await, "end");
}
