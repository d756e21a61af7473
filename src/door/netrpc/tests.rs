//! The plugin's stream against bytes that real Go wrote: see `tests/data/wire/`.

use serde_json::{Value, json};

use super::*;
use crate::alb::Aws;
use crate::cluster::Api;

/// All files of one direction of the plugin's stream, which are one gob stream.
fn golden(direction: &str) -> gob::Decoder {
    let mut names: Vec<_> = std::fs::read_dir("tests/data/wire")
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with("plg_") && name.ends_with(&format!(".{direction}.bin"))
        })
        .collect();
    names.sort();
    assert_eq!(names.len(), 16);
    let mut decoder = gob::Decoder::new(gob::Limits::default());
    for name in names {
        decoder.push(&std::fs::read(name).unwrap()).unwrap();
    }
    decoder
}

#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "PascalCase", default)]
struct Header {
    service_method: String,
    seq: u64,
    error: String,
}

/// The Rollout that every golden call carries, as a Go plugin saw it.
fn seen_by_go() -> Rollout {
    serde_json::from_slice(&std::fs::read("tests/data/wire/server_seen_rollout.json").unwrap()).unwrap()
}

#[test]
fn a_rollout_is_read_from_gob_as_from_json() {
    let mut decoder = golden("req");
    let mut seen = 0;
    while let Some(header) = decoder.next_value().unwrap() {
        let header: Header = header.deserialize().unwrap();
        let argument = decoder.next_value().unwrap().unwrap();
        if argument.interface_name() == Some("SetWeightAndVerifyWeightArgs") {
            let args: WeightArgs = sent_as("SetWeightAndVerifyWeightArgs", &argument).unwrap();
            if args.rollout.metadata.name.is_empty() {
                assert_eq!(args.rollout, Rollout::default());
                continue;
            }
            assert_eq!(args.rollout, seen_by_go(), "{header:?}");
            seen += 1;
        }
    }
    assert_eq!(seen, 5);
    let rollout = seen_by_go();
    let (canary, routing) = rollout.canary_routing().unwrap();
    assert_eq!(routing.plugins["demo/alb"], json!({"ingress": "demo"}).to_string().into_bytes());
    assert!(routing.alb.is_some() && canary.dynamic_stable_scale && rollout.status.abort);
    assert!(routing.manages("hdr") && routing.manages("mirror"));
    let recorded = rollout.status.canary.weights.as_ref().unwrap();
    assert_eq!(recorded.additional[0].service_name, "exp");
}

#[test]
fn routes_are_read_from_gob() {
    let mut decoder = golden("req");
    let (mut headers, mut mirrors) = (Vec::new(), Vec::new());
    while let Some(header) = decoder.next_value().unwrap() {
        let header: Header = header.deserialize().unwrap();
        let argument = decoder.next_value().unwrap().unwrap();
        match header.service_method.as_str() {
            "Plugin.SetHeaderRoute" => {
                let args: HeaderArgs = sent_as("SetHeaderArgs", &argument).unwrap();
                let wanted: Vec<_> = args.set_header_route.matches.iter().map(ToString::to_string).collect();
                headers.push((args.set_header_route.name, wanted.join(", ")));
            }
            "Plugin.SetMirrorRoute" => {
                let args: MirrorArgs = sent_as("SetMirrorArgs", &argument).unwrap();
                mirrors.push((args.set_mirror_route.name, args.set_mirror_route.matches.len()));
            }
            _ => {}
        }
    }
    let wanted = r#"X-A is "1", X-B matches the regex "a.*""#;
    // The second call asks for the removal.
    assert_eq!(headers, [("hdr", wanted), ("hdr", "")].map(|(name, wanted)| (name.to_owned(), wanted.to_owned())));
    assert_eq!(mirrors, [("mirror".to_owned(), 1)]);
}

#[tokio::test(start_paused = true)]
async fn every_golden_call_is_answered_with_a_reply_of_gos_shape() {
    let router = Arc::new(Router::new(Err("none".to_owned()), Arc::new(Aws::new()), Arc::new(Api::new(None))));
    let door = offer(router).service;
    let (mut requests, mut responses) = (golden("req"), golden("resp"));
    let mut stream = gob::Encoder::new();
    let mut ours = gob::Decoder::new(gob::Limits::default());
    let mut calls = 0;
    while let Some(request) = requests.next_value().unwrap() {
        let request: Header = request.deserialize().unwrap();
        let response: Header = responses.next_value().unwrap().unwrap().deserialize().unwrap();
        assert_eq!((&request.service_method, request.seq), (&response.service_method, response.seq));
        let body: Value = responses.next_value().unwrap().unwrap().deserialize().unwrap();
        let method = request.service_method.strip_prefix("Plugin.").unwrap();
        let call = door.call(method, &requests.next_value().unwrap().unwrap());
        calls += 1;
        // Go's server answers these two with an error in the header.
        assert_eq!(call.is_err(), !response.error.is_empty(), "{request:?}");
        let Ok(call) = call else { continue };
        let mut bytes = Vec::new();
        stream.encode(&*call.await.unwrap(), &mut bytes);
        ours.push(&bytes).unwrap();
        let answer: Value = ours.next_value().unwrap().unwrap().deserialize().unwrap();
        let keys = |value: &Value| value.as_object().map(|object| object.keys().cloned().collect::<Vec<_>>());
        match method {
            "VerifyWeight" => assert!(answer.get("Err").is_some() && body.get("Err").is_some(), "{answer} {body}"),
            "Type" => assert_eq!((answer, body), (json!("alb"), json!("alb-plugin"))),
            "SetWeight" => assert_eq!(keys(&answer), Some(vec!["ErrorString".to_owned()])),
            _ => assert!(answer.is_object() && body.is_object(), "{method}: {answer} {body}"),
        }
    }
    assert_eq!(calls, 16);
}

#[test]
fn an_argument_of_another_type_is_refused() {
    let mut decoder = golden("req");
    let mut interfaces = 0;
    while let Some(value) = decoder.next_value().unwrap() {
        if value.interface_name().is_some() {
            interfaces += 1;
            let error = sent_as::<WeightArgs>("SomethingElse", &value).err().unwrap();
            assert!(matches!(error, CallError::Argument(text) if text.starts_with("invalid args ")));
        }
    }
    assert!(interfaces > 10);
}
