//! What Go wrote is read as Go reads it.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde_json::Value as Json;

use super::super::{Decoder, Limits};
use super::{Dynamic, files, folder, generated, read};

/// net/rpc's two headers in one.
#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "PascalCase", default, deny_unknown_fields)]
struct Header {
    service_method: String,
    seq: u64,
    error: String,
}

/// A header and the body that follows it.
#[derive(Debug)]
struct Call {
    header: Header,
    interface: Option<String>,
    nil: bool,
    body: Dynamic,
}

/// The calls of a stream, of which each file holds one.
fn calls(prefix: &str, suffix: &str) -> Vec<Call> {
    let mut decoder = Decoder::new(Limits::default());
    let mut call = |(name, bytes): (String, Vec<u8>)| {
        decoder.push(&bytes).unwrap();
        let header = decoder.next_value().unwrap().expect(&name).deserialize().unwrap();
        let body = decoder.next_value().unwrap().expect(&name);
        let interface = body.interface_name().map(str::to_owned);
        let call = Call { header, interface, nil: body.is_nil(), body: body.deserialize().unwrap() };
        assert!(decoder.next_value().unwrap().is_none(), "{name} has more than two values");
        call
    };
    files(prefix, suffix).into_iter().map(&mut call).collect()
}

fn text(text: &str) -> Dynamic {
    Dynamic::Text(text.to_owned())
}

fn json(name: &str) -> Json {
    serde_json::from_slice(&std::fs::read(folder().join(name)).unwrap()).unwrap()
}

#[test]
fn every_generated_value_is_what_was_written() {
    let expected: BTreeMap<String, Vec<Json>> = serde_json::from_value(json("gen/values.json")).unwrap();
    let read: BTreeMap<_, Vec<_>> =
        generated().into_iter().map(|(name, bytes)| (name, read(&bytes).iter().map(Dynamic::json).collect())).collect();
    for (name, values) in &expected {
        assert_eq!(read.get(name), Some(values), "{name}");
    }
    assert_eq!(read.len(), expected.len());
}

#[test]
fn the_control_stream_is_read() {
    let requests = calls("ctl_", ".req.bin");
    let said: Vec<_> = requests.iter().map(|call| (call.header.service_method.as_str(), call.body.clone())).collect();
    let yes = || Dynamic::Bool(true);
    assert_eq!(
        said,
        [
            ("Dispenser.Dispense", text("RpcTrafficRouterPlugin")),
            ("Control.Ping", yes()),
            ("Control.Ping", yes()),
            ("Dispenser.Dispense", text("Nope")),
            ("Control.Nope", yes()),
            ("Control.Quit", yes()),
        ]
    );
    let replies = calls("ctl_", ".resp.bin");
    let unit = || Dynamic::Map(Vec::new());
    let said: Vec<_> = replies.iter().map(|call| (call.header.error.as_str(), call.body.clone())).collect();
    assert_eq!(
        said,
        [
            ("", Dynamic::Uint(1)),
            ("", unit()),
            ("", unit()),
            ("unknown plugin type: Nope", unit()),
            ("rpc: can't find method Control.Nope", unit()),
            ("", unit()),
        ]
    );
    for (seq, (request, reply)) in (0..).zip(requests.iter().zip(&replies)) {
        assert_eq!((request.header.seq, reply.header.seq), (seq, seq));
        assert_eq!(request.header.service_method, reply.header.service_method);
    }
}

#[test]
fn the_plugins_stream_is_read() {
    let calls = calls("plg_", ".req.bin");
    let said: Vec<_> = calls
        .iter()
        .map(|call| (call.header.service_method.trim_start_matches("Plugin."), call.interface.as_deref()))
        .collect();
    let weight = Some("SetWeightAndVerifyWeightArgs");
    let remove = Some("RemoveManagedRoutesArgs");
    assert_eq!(
        said,
        [
            ("InitPlugin", None),
            ("Type", None),
            ("UpdateHash", Some("UpdateHashArgs")),
            ("SetWeight", weight),
            ("SetWeight", weight),
            ("VerifyWeight", weight),
            ("VerifyWeight", weight),
            ("VerifyWeight", weight),
            ("SetHeaderRoute", Some("SetHeaderArgs")),
            ("SetHeaderRoute", Some("SetHeaderArgs")),
            ("SetMirrorRoute", Some("SetMirrorArgs")),
            ("RemoveManagedRoutes", remove),
            ("SetWeight", weight),
            // The wrong argument, as Go's own server was tested with.
            ("SetWeight", remove),
            ("Nope", remove),
            ("InitPlugin", None),
        ]
    );
    for (seq, call) in (0..).zip(&calls) {
        assert_eq!(call.header.seq, seq);
        assert_eq!(call.nil, call.interface.is_none());
        assert_eq!(call.body == Dynamic::Nil, call.nil);
    }
    assert_eq!(calls[2].body.get("CanaryHash"), Some(&text("abc")));
    assert_eq!(calls[2].body.get("StableHash"), Some(&text("def")));
    assert_eq!(calls[3].body.get("DesiredWeight"), Some(&Dynamic::Int(20)));
    assert_eq!(calls[4].body.get("DesiredWeight"), None, "a weight of 0 is not sent");
}

#[test]
fn the_plugins_replies_are_read() {
    let said: Vec<_> = calls("plg_", ".resp.bin")
        .into_iter()
        .filter(|call| call.header.error.is_empty())
        .map(|call| (call.header.seq, call.body.json().to_string()))
        .collect();
    let said: Vec<_> = said.iter().map(|(seq, body)| (*seq, body.as_str())).collect();
    assert_eq!(
        said,
        [
            (0, "{}"),
            (1, r#""alb-plugin""#),
            (2, "{}"),
            (3, r#"{"ErrorString":"boom"}"#),
            (4, r#"{"ErrorString":"boom"}"#),
            (5, r#"{"Err":{},"Verified":1}"#),
            (6, r#"{"Err":{"ErrorString":"nope"}}"#),
            (7, r#"{"Err":{},"Verified":2}"#),
            (8, "{}"),
            (9, "{}"),
            (10, "{}"),
            (11, "{}"),
            (12, r#"{"ErrorString":"boom"}"#),
            (15, "{}"),
        ]
    );
}

#[test]
fn every_rollout_is_the_one_that_go_read() {
    let seen = json("server_seen_rollout.json");
    let mut whole = 0;
    for call in calls("plg_", ".req.bin") {
        let Some(rollout) = call.body.get("Rollout") else { continue };
        if rollout.get("ObjectMeta").and_then(|metadata| metadata.get("Name")).is_none() {
            // The calls with an empty Rollout: all its structs are sent, and nothing in them.
            assert_eq!(rollout.get("Spec").and_then(|spec| spec.get("Replicas")), None);
            continue;
        }
        whole += 1;
        agree(&seen, rollout).unwrap_or_else(|problem| panic!("{}: {problem}", call.header.service_method));
    }
    assert_eq!(whole, 10);
}

/// Whether a Rollout as the API writes it, and one as gob carries it, are the same. Every name of each must be in the
/// other, or be left out there because it says nothing.
fn agree(seen: &Json, sent: &Dynamic) -> Result<(), String> {
    let same = |same: bool| if same { Ok(()) } else { Err(format!(": {seen} is not {sent:?}")) };
    match (seen, sent) {
        (Json::Bool(seen), Dynamic::Bool(sent)) => same(seen == sent),
        (Json::Number(seen), Dynamic::Int(sent)) => same(seen.as_i64() == Some(*sent)),
        (Json::String(seen), Dynamic::Text(sent)) => same(seen == sent),
        // The one time in the file: seconds since the year 1, behind a version byte.
        (Json::String(seen), Dynamic::Bytes(sent)) if seen == "2024-05-06T07:08:09Z" => {
            same(sent.len() == 15 && sent[1..9] == (1_714_979_289_i64 + 62_135_596_800).to_be_bytes())
        }
        // JSON inside the object: `json.RawMessage`, `FieldsV1`.
        (_, Dynamic::Bytes(sent)) => same(serde_json::from_slice::<Json>(sent).is_ok_and(|sent| *seen == sent)),
        (Json::Object(_), Dynamic::Map(fields)) if has_only(fields, &["Raw"]) => agree(seen, &fields[0].1),
        // `IntOrString`, and `Quantity`, whose amount gob loses.
        (Json::Number(_), Dynamic::Map(fields)) if has_only(fields, &["IntVal"]) => agree(seen, &fields[0].1),
        (Json::String(_), Dynamic::Map(fields)) if has_only(fields, &["Type", "StrVal"]) => agree(seen, &fields[1].1),
        (Json::Number(seen), Dynamic::Map(fields)) => same(seen.as_i64() == Some(0) && fields.is_empty()),
        (Json::String(seen), Dynamic::Map(fields)) => same(seen == "0" && has_only(fields, &["Format"])),
        (Json::Array(seen), Dynamic::List(sent)) => {
            same(seen.len() == sent.len())?;
            let mut pairs = seen.iter().zip(sent).enumerate();
            pairs.try_for_each(|(index, (seen, sent))| {
                agree(seen, sent).map_err(|problem| format!("[{index}]{problem}"))
            })
        }
        (Json::Object(seen), Dynamic::Map(sent)) => {
            let sent = flatten(sent);
            for (name, seen) in seen {
                let problem = match sent.get(&name.to_lowercase()) {
                    Some(sent) => agree(seen, sent),
                    None if says_nothing(seen) => Ok(()),
                    None => Err(format!(": {seen} is not sent")),
                };
                problem.map_err(|problem| format!(".{name}{problem}"))?;
            }
            let named = |name: &String| seen.keys().any(|seen| seen.to_lowercase() == *name);
            match sent.iter().find(|(name, sent)| !named(name) && **sent != &Dynamic::Map(Vec::new())) {
                Some((name, sent)) => Err(format!(".{name}: {sent:?} is not seen")),
                None => Ok(()),
            }
        }
        _ => same(false),
    }
}

/// A struct's fields by lower-case name, those of embedded structs among them.
fn flatten(fields: &[(Dynamic, Dynamic)]) -> BTreeMap<String, &Dynamic> {
    let mut flat = BTreeMap::new();
    for (name, value) in fields {
        let Dynamic::Text(name) = name else { panic!("a name is {name:?}") };
        match (name.as_str(), value) {
            ("TypeMeta" | "ProbeHandler", Dynamic::Map(fields)) => flat.extend(flatten(fields)),
            ("ObjectMeta", _) => drop(flat.insert("metadata".to_owned(), value)),
            _ => drop(flat.insert(name.to_lowercase(), value)),
        }
    }
    flat
}

fn has_only(fields: &[(Dynamic, Dynamic)], names: &[&str]) -> bool {
    fields.len() == names.len() && fields.iter().zip(names).all(|((name, _), wanted)| *name == text(wanted))
}

fn says_nothing(seen: &Json) -> bool {
    match seen {
        Json::Null => true,
        Json::Bool(value) => !value,
        Json::Number(value) => value.as_i64() == Some(0),
        Json::String(value) => value.is_empty(),
        Json::Array(_) | Json::Object(_) => false,
    }
}
