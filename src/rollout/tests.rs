//! One model: what JSON says, what protobuf says, and what `proto/` promises.

use prost_reflect::{
    Cardinality, DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, Value,
};
use serde_json::json;

use super::*;

#[test]
fn a_manifest_is_read_by_the_apis_names() {
    let rollout: Rollout = serde_json::from_value(json!({
        "metadata": {
            "namespace": "shop", "name": "web", "uid": "u-1", "labels": {"app": "web"},
            "resourceVersion": "41", "generation": 3, "annotations": {"rollout.argoproj.io/revision": "2"},
        },
        "spec": {"replicas": 10, "strategy": {"canary": {
            "stableService": "web-stable", "dynamicStableScale": true,
            "steps": [{"setWeight": 10}, {"pause": {}}],
            "trafficRouting": {
                "maxTrafficWeight": 1000, "plugins": {"argoproj-labs/alb": {"ruleArns": ["a"]}},
                "managedRoutes": [{"name": "beta"}, {"name": "staff"}],
            },
        }}},
        "status": {
            "stableRS": "abc", "currentPodHash": "def", "abort": true, "replicas": 9,
            "canary": {
                "weights": {"canary": {"weight": 10}, "stable": {"weight": 80},
                    "additional": [{"weight": 10, "serviceName": "web-experiment"}], "verified": true},
                "stablePingPong": "ping",
            },
        },
    }))
    .unwrap();
    assert_eq!((rollout.spec.replicas, rollout.status.replicas), (Some(10), 9));
    let recorded = rollout.status.canary.weights.as_ref().unwrap();
    assert_eq!((recorded.canary.weight, recorded.verified), (10, Some(true)));
    assert_eq!((recorded.additional[0].weight, recorded.additional[0].service_name.as_str()), (10, "web-experiment"));
    assert_eq!(rollout.key(), "shop/web");
    assert_eq!((rollout.metadata.resource_version.as_str(), rollout.metadata.generation), ("41", 3));
    assert_eq!(rollout.metadata.annotations["rollout.argoproj.io/revision"], "2");
    assert_eq!(rollout.status.canary.stable_ping_pong, "ping");
    let (canary, routing) = rollout.canary_routing().unwrap();
    assert_eq!((canary.steps.len(), canary.dynamic_stable_scale, routing.max_weight()), (2, true, 1000));
    assert_eq!(routing.plugins["argoproj-labs/alb"], br#"{"ruleArns":["a"]}"#);
    assert!(routing.manages("beta") && routing.manages("staff") && !routing.manages("other"));
    assert!(rollout.status.abort);
    assert_eq!(rollout.status.stable_rs, "abc");
}

#[test]
fn an_empty_rollout_has_no_routing() {
    assert_eq!(Rollout::default().canary_routing(), None);
}

#[test]
fn a_header_route_is_read_by_the_apis_names_and_says_what_it_matches() {
    let route: HeaderRoute = serde_json::from_value(json!({"name": "beta", "match": [
        {"headerName": "x-beta", "headerValue": {"exact": "1"}},
        {"headerName": "x-user", "headerValue": {"prefix": "staff \""}},
        {"headerName": "x-region", "headerValue": {"regex": "eu-.*"}},
        {"headerName": "x-none", "headerValue": null},
        {"headerName": "x-empty", "headerValue": {}},
        {"headerName": "x-both", "headerValue": {"prefix": "a", "exact": "ab"}},
    ]}))
    .unwrap();
    assert_eq!(route.name, "beta");
    let said: Vec<_> = route.matches.iter().map(ToString::to_string).collect();
    assert_eq!(
        said,
        [
            r#"x-beta is "1""#,
            r#"x-user begins with "staff \"""#,
            r#"x-region matches the regex "eu-.*""#,
            "x-none without a value",
            "x-empty without a value",
            r#"x-both is "ab" and begins with "a""#,
        ]
    );
}

#[test]
fn what_argos_own_marshal_writes_is_read_as_its_json_is() {
    let rollout = Rollout::decode(include_bytes!("../../tests/data/proto/rollout.bin").as_slice()).unwrap();
    let mut json: Rollout = serde_json::from_slice(include_bytes!("../../tests/data/wire/sent_rollout.json")).unwrap();
    // Argo sends an entry's text as it is; read from JSON it is printed anew.
    for (name, entry) in &mut json.spec.strategy.canary.as_mut().unwrap().traffic_routing.as_mut().unwrap().plugins {
        let (_, routing) = rollout.canary_routing().unwrap();
        let sent: serde_json::Value = serde_json::from_slice(&routing.plugins[name]).unwrap();
        assert_eq!(sent, serde_json::from_slice::<serde_json::Value>(entry).unwrap());
        entry.clone_from(&routing.plugins[name]);
    }
    assert_eq!(rollout, json);
    let (canary, routing) = rollout.canary_routing().unwrap();
    assert!(!rollout.metadata.uid.is_empty() && !rollout.status.stable_rs.is_empty());
    assert!(!canary.steps.is_empty() && canary.ping_pong.is_some() && routing.alb.is_some());
    assert!(routing.manages("hdr") && routing.manages("mirror"));
    let weights = rollout.status.canary.weights.as_ref().unwrap();
    let experiment =
        WeightDestination { weight: 0, service_name: "exp".to_owned(), pod_template_hash: "ghi".to_owned() };
    assert_eq!(weights.additional, [experiment]);
}

/// A message of `proto/trafficrouter/v1`.
fn message(name: &str) -> MessageDescriptor {
    let descriptors = include_bytes!(concat!(env!("OUT_DIR"), "/router.bin"));
    let pool = DescriptorPool::decode(descriptors.as_slice()).unwrap();
    pool.get_message_by_name(&format!("rollouts.trafficrouter.v1.{name}")).unwrap()
}

/// The message with something in every field, down to the last.
fn filled(descriptor: &MessageDescriptor) -> DynamicMessage {
    let mut message = DynamicMessage::new(descriptor.clone());
    for field in descriptor.fields() {
        let value = if let Kind::Message(entry) = field.kind()
            && entry.is_map_entry()
        {
            Value::Map([(MapKey::String("key".to_owned()), value(&entry.map_entry_value_field()))].into())
        } else if field.cardinality() == Cardinality::Repeated {
            Value::List(vec![value(&field), value(&field)])
        } else {
            value(&field)
        };
        message.set_field(&field, value);
    }
    message
}

fn value(field: &FieldDescriptor) -> Value {
    match field.kind() {
        Kind::String => Value::String(field.name().to_owned()),
        Kind::Bool => Value::Bool(true),
        Kind::Bytes => Value::Bytes(field.name().as_bytes().to_vec().into()),
        Kind::Int32 => Value::I32(i32::try_from(field.number()).unwrap()),
        Kind::Int64 => Value::I64(field.number().into()),
        Kind::Message(message) => Value::Message(filled(&message)),
        other => panic!("{} is of a kind that no field had yet: {other:?}", field.full_name()),
    }
}

/// What `proto/` describes goes through the model and comes out as it was: every field of the one is in the other, with
/// its number and its type, and the other has none besides.
fn agrees<M: Message + Default + fmt::Debug>(name: &str) {
    let descriptor = message(name);
    let sent = filled(&descriptor);
    let model = M::decode(sent.encode_to_vec().as_slice()).unwrap();
    let back = DynamicMessage::decode(descriptor, model.encode_to_vec().as_slice()).unwrap();
    assert_eq!(back, sent, "{model:?}");
}

#[test]
fn the_model_has_every_field_of_the_contract() {
    agrees::<Rollout>("Rollout");
    agrees::<WeightDestination>("WeightDestination");
    agrees::<HeaderRoute>("SetHeaderRoute");
    agrees::<MirrorRoute>("SetMirrorRoute");
}

/// Written out in full, so that a new field of the model does not compile until it stands here.
fn complete() -> Rollout {
    let text = || "text".to_owned();
    Rollout {
        metadata: Metadata {
            name: text(),
            namespace: text(),
            uid: text(),
            resource_version: text(),
            generation: 7,
            annotations: [(text(), text())].into(),
        },
        spec: Spec {
            replicas: Some(7),
            strategy: Strategy {
                canary: Some(Canary {
                    canary_service: text(),
                    stable_service: text(),
                    steps: vec![Present {}],
                    dynamic_stable_scale: true,
                    ping_pong: Some(PingPong { ping_service: text(), pong_service: text() }),
                    traffic_routing: Some(TrafficRouting {
                        plugins: [(text(), b"{}".to_vec())].into(),
                        alb: Some(Present {}),
                        managed_routes: vec![ManagedRoute { name: text() }],
                        max_traffic_weight: Some(7),
                    }),
                }),
            },
        },
        status: Status {
            abort: true,
            promote_full: true,
            current_pod_hash: text(),
            stable_rs: text(),
            replicas: 7,
            canary: CanaryStatus {
                weights: Some(TrafficWeights {
                    canary: WeightDestination { weight: 7, service_name: text(), pod_template_hash: text() },
                    stable: WeightDestination { weight: 7, service_name: text(), pod_template_hash: text() },
                    additional: vec![WeightDestination { weight: 7, service_name: text(), pod_template_hash: text() }],
                    verified: Some(true),
                }),
                stable_ping_pong: text(),
            },
        },
    }
}

#[test]
fn the_contract_has_every_field_of_the_model() {
    let text = || "text".to_owned();
    let header_value = Some(StringMatch { exact: text(), prefix: text(), regex: text() });
    let header = HeaderRoute { name: text(), matches: vec![HeaderMatch { header_name: text(), header_value }] };
    let mirror = MirrorRoute { name: text(), matches: vec![Present {}] };
    let destination = WeightDestination { weight: 7, service_name: text(), pod_template_hash: text() };
    for (name, bytes) in [
        ("Rollout", complete().encode_to_vec()),
        ("WeightDestination", destination.encode_to_vec()),
        ("SetHeaderRoute", header.encode_to_vec()),
        ("SetMirrorRoute", mirror.encode_to_vec()),
    ] {
        let read = DynamicMessage::decode(message(name), bytes.as_slice()).unwrap();
        assert!(known(&read), "{read:?}");
    }
}

/// No field anywhere in it is unknown to `proto/`.
fn known(message: &DynamicMessage) -> bool {
    let mut inner = message.fields().flat_map(|(_, value)| match value {
        Value::List(items) => items.iter().collect(),
        one => vec![one],
    });
    message.unknown_fields().next().is_none() && inner.all(|value| value.as_message().is_none_or(known))
}
