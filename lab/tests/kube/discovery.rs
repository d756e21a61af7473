//! What clients ask before they ask for objects.

use std::collections::BTreeSet;

use kube::discovery::{Discovery, Scope, verbs};
use lab::kubernetes::Kind;

use crate::World;

#[tokio::test]
async fn every_kind_is_found() {
    let world = World::new().await;
    let discovery = Discovery::new(world.client.clone()).run().await.expect("an answer");
    let found: BTreeSet<(String, String, bool)> = discovery
        .groups()
        .flat_map(|group| group.recommended_resources())
        .inspect(|(resource, capabilities)| assert!(capabilities.supports_operation(verbs::WATCH), "{resource:?}"))
        .map(|(resource, capabilities)| {
            (resource.api_version, resource.plural, capabilities.scope == Scope::Namespaced)
        })
        .collect();
    let mut expected: BTreeSet<_> =
        Kind::ALL.iter().map(|kind| (kind.api_version(), kind.plural.to_owned(), kind.namespaced)).collect();
    expected.insert(("events.k8s.io/v1".to_owned(), "events".to_owned(), true));
    assert_eq!(found, expected);
}

#[tokio::test]
async fn the_server_says_whom_it_follows() {
    let world = World::new().await;
    let version = world.client.apiserver_version().await.expect("an answer");
    assert_eq!((version.major.as_str(), version.minor.as_str()), ("1", "34"));
}

#[tokio::test]
async fn subresources_are_listed_where_they_are() {
    let world = World::new().await;
    let list = world.client.list_api_group_resources("argoproj.io/v1alpha1").await.expect("an answer");
    let names: Vec<&str> = list.resources.iter().map(|resource| resource.name.as_str()).collect();
    assert_eq!(names, ["rollouts", "rollouts/status", "analysisruns", "experiments"]);
}
