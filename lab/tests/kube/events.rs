//! Events, under both of their addresses.

use k8s_openapi::api::core::v1::{Event, ObjectReference};
use k8s_openapi::api::events::v1::Event as NewerEvent;
use kube::Api;
use kube::api::ListParams;
use kube::runtime::events::{Event as Note, EventType, Recorder, Reporter};
use lab::kubernetes::Kind;
use serde_json::json;

use crate::{World, create, merge, refusal};

fn shop() -> ObjectReference {
    let shop = json!({"apiVersion": "argoproj.io/v1alpha1", "kind": "Rollout", "name": "shop", "namespace": "shop"});
    serde_json::from_value(shop).expect("a reference")
}

fn note(text: &str) -> Note {
    Note {
        type_: EventType::Normal,
        reason: "WeightShifted".to_owned(),
        note: Some(text.to_owned()),
        action: "SetWeight".to_owned(),
        secondary: None,
    }
}

fn recorder(world: &World) -> Recorder {
    Recorder::new(world.client.clone(), Reporter { controller: "example.com/alb".to_owned(), instance: None })
}

#[tokio::test]
async fn a_recorder_publishes_one_event_and_counts_it_when_it_comes_again() {
    let world = World::new().await;
    let recorder = recorder(&world);
    for _ in 0..2 {
        recorder.publish(&note("canary 10 %"), &shop()).await.expect("an Event");
    }
    let newer: Api<NewerEvent> = Api::namespaced(world.client.clone(), "shop");
    let events = newer.list(&ListParams::default()).await.expect("a list").items;
    assert_eq!(events.len(), 1);
    assert_eq!(events[0].note.as_deref(), Some("canary 10 %"));
    assert_eq!(events[0].regarding, Some(shop()));
    assert_eq!(events[0].series.as_ref().map(|series| series.count), Some(2));

    let older: Api<Event> = Api::namespaced(world.client.clone(), "shop");
    let event = older.list(&ListParams::default()).await.expect("a list").items.remove(0);
    assert_eq!((event.message.as_deref(), event.involved_object), (Some("canary 10 %"), shop()));
    assert_eq!(event.reporting_component.as_deref(), Some("example.com/alb"));
    let counts = world.api.counts();
    assert_eq!((counts["create events"], counts["patch events"]), (1, 1));
}

#[tokio::test]
async fn an_event_that_says_too_much_is_refused() {
    let world = World::new().await;
    let (code, reason, message) = refusal(recorder(&world).publish(&note(&"x".repeat(1025)), &shop())).await;
    assert_eq!((code, reason.as_str()), (422, "Invalid"));
    assert!(message.contains("at most 1024"), "{message}");
}

#[tokio::test]
async fn the_older_address_takes_events_as_the_rollouts_controller_writes_them() {
    let world = World::new().await;
    let events: Api<Event> = Api::namespaced(world.client.clone(), "shop");
    let event = json!({
        "metadata": {"name": "shop.1", "namespace": "shop"}, "involvedObject": shop(), "type": "Warning",
        "reason": "TrafficRoutingError", "message": "held", "count": 1,
    });
    create(&events, event).await.expect("an Event");
    let counted = merge(&events, "shop.1", json!({"count": 2})).await.expect("it is there");
    assert_eq!(counted.count, Some(2));
    let kept = world.cluster.get(Kind::EVENT, "shop", "shop.1").expect("it is there");
    assert_eq!(kept["count"], 2);
    let newer: Api<NewerEvent> = Api::namespaced(world.client.clone(), "shop");
    assert_eq!(newer.get("shop.1").await.expect("it is there").deprecated_count, Some(2));
}
