//! What we write is what Go writes.

use super::super::{Datum, Encode, Encoder};
use super::{Dynamic, files, read};

#[derive(Default)]
struct Response {
    service_method: &'static str,
    seq: u64,
    error: &'static str,
}

struct Unit;

struct RpcError(&'static str);

struct VerifyWeightResponse {
    verified: i64,
    err: RpcError,
}

impl Encode for Response {
    fn datum(&self) -> Datum<'_> {
        let fields = vec![
            ("ServiceMethod", Datum::String(self.service_method)),
            ("Seq", Datum::Uint(self.seq)),
            ("Error", Datum::String(self.error)),
        ];
        Datum::Struct("Response", fields)
    }
}

impl Encode for Unit {
    fn datum(&self) -> Datum<'_> {
        Datum::Struct("", Vec::new())
    }
}

impl Encode for RpcError {
    fn datum(&self) -> Datum<'_> {
        Datum::Struct("RpcError", vec![("ErrorString", Datum::String(self.0))])
    }
}

impl Encode for VerifyWeightResponse {
    fn datum(&self) -> Datum<'_> {
        let fields = vec![("Verified", Datum::Int(self.verified)), ("Err", self.err.datum())];
        Datum::Struct("VerifyWeightResponse", fields)
    }
}

/// What a stream carries that has these replies, each with its header.
fn stream(encoder: &mut Encoder, replies: &[(&'static str, u64, &'static str, &dyn Encode)]) -> Vec<u8> {
    let mut out = Vec::new();
    for &(service_method, seq, error, body) in replies {
        encoder.encode(&Response { service_method, seq, error }, &mut out);
        encoder.encode(body, &mut out);
    }
    out
}

fn golden(prefix: &str) -> Vec<u8> {
    files(prefix, ".resp.bin").into_iter().flat_map(|(_, bytes)| bytes).collect()
}

#[test]
fn a_control_stream_is_gos_to_the_byte() {
    let ours = stream(
        &mut Encoder::new(),
        &[
            ("Dispenser.Dispense", 0, "", &1),
            ("Control.Ping", 1, "", &Unit),
            ("Control.Ping", 2, "", &Unit),
            ("Dispenser.Dispense", 3, "unknown plugin type: Nope", &Unit),
            ("Control.Nope", 4, "rpc: can't find method Control.Nope", &Unit),
            ("Control.Quit", 5, "", &Unit),
        ],
    );
    assert_eq!(ours, golden("ctl_"));
}

/// Go numbers the types of a process, we those of a stream. A stream that has sent `struct{}` has Go's numbers here.
#[test]
fn the_plugins_replies_are_gos_to_the_byte() {
    let mut encoder = Encoder::new();
    let known = stream(&mut encoder, &[("", 0, "", &Unit)]);
    let response = &known[..0x3b];
    let ours = stream(
        &mut encoder,
        &[
            ("Plugin.InitPlugin", 0, "", &RpcError("")),
            ("Plugin.Type", 1, "", &"alb-plugin".to_owned()),
            ("Plugin.UpdateHash", 2, "", &RpcError("")),
            ("Plugin.SetWeight", 3, "", &RpcError("boom")),
            ("Plugin.SetWeight", 4, "", &RpcError("boom")),
        ],
    );
    let theirs = golden("plg_0");
    assert!(theirs.starts_with(&[response, &ours].concat()));
    let ours = stream(
        &mut encoder,
        &[("Plugin.VerifyWeight", 1, "", &VerifyWeightResponse { verified: 1, err: RpcError("") })],
    );
    let (_, templates) = files("resp_templates", ".bin").remove(0);
    assert!(templates.windows(ours.len()).any(|window| window == ours));
}

#[test]
fn the_plugins_replies_are_read_like_gos() {
    let verify = |verified, error| VerifyWeightResponse { verified, err: RpcError(error) };
    let replies: [(_, _, _, &dyn Encode); 8] = [
        ("Plugin.InitPlugin", 0, "", &RpcError("")),
        ("Plugin.Type", 1, "", &"alb-plugin".to_owned()),
        ("Plugin.UpdateHash", 2, "", &RpcError("")),
        ("Plugin.SetWeight", 3, "", &RpcError("boom")),
        ("Plugin.SetWeight", 4, "", &RpcError("boom")),
        ("Plugin.VerifyWeight", 5, "", &verify(1, "")),
        ("Plugin.VerifyWeight", 6, "", &verify(0, "nope")),
        ("Plugin.VerifyWeight", 7, "", &verify(2, "")),
    ];
    let ours = read(&stream(&mut Encoder::new(), &replies));
    let theirs = read(&golden("plg_"));
    assert_eq!(ours, theirs[..ours.len()]);
}

#[test]
fn a_type_is_defined_once_and_told_from_its_namesakes() {
    struct Other;
    impl Encode for Other {
        fn datum(&self) -> Datum<'_> {
            Datum::Struct("RpcError", vec![("Code", Datum::Int(-1)), ("ErrorString", Datum::String("grüß"))])
        }
    }
    let mut encoder = Encoder::new();
    let lengths = [&RpcError("a") as &dyn Encode, &RpcError("a"), &Other, &Other, &RpcError("a")].map(|value| {
        let mut out = Vec::new();
        encoder.encode(value, &mut out);
        out
    });
    let read: Vec<_> = read(&lengths.concat()).iter().map(Dynamic::json).collect();
    let error = serde_json::json!({"ErrorString": "a"});
    let other = serde_json::json!({"Code": -1, "ErrorString": "grüß"});
    assert_eq!(read, [error.clone(), error.clone(), other.clone(), other, error]);
    assert_eq!(lengths[1], lengths[4]);
    assert!(lengths[0].ends_with(&lengths[1]) && lengths[0].len() > lengths[1].len());
    assert!(lengths[2].ends_with(&lengths[3]) && lengths[2].len() > lengths[3].len());
}
