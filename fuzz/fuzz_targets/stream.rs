//! net/rpc on the control stream or on a plugin's stream, behind frames that are sound. What is answered must be gob.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use trafficrouter_alb::goplugin::netrpc::gob::{Decoder, Limits};

const DATA: u8 = 0;
const WINDOW_UPDATE: u8 = 1;
const SYN: u16 = 1;

/// The first stream of a connection, and the first that is opened for a plugin.
const CONTROL: u32 = 1;
const PLUGIN: u32 = 7;

/// A request for the plugin, as Go sends it. The answer names it 1.
const DISPENSE: &[u8] = include_bytes!("../../tests/data/wire/ctl_1_dispense.req.bin");
const CLAIM: &[u8] = &[1, 0, 0, 0];

fuzz_target!(|input: (bool, u8, &[u8])| {
    let (control, choice, bytes) = input;
    let mut sent: Vec<u8> = [1, 3, 5, 7].into_iter().flat_map(|id| frame(WINDOW_UPDATE, SYN, id, 0)).collect();
    let stream = if control { CONTROL } else { PLUGIN };
    if !control {
        sent.extend(data(CONTROL, DISPENSE));
        sent.extend(data(PLUGIN, CLAIM));
    }
    for piece in fuzz::pieces(bytes, choice) {
        sent.extend(data(stream, piece));
    }
    let answers = fuzz::serve(&sent);
    let answered = received(&answers, stream);
    let calls = if control { Some(&answered[..]) } else { answered.strip_prefix(CLAIM) };
    let values = values(calls.expect("the plugin's stream is acknowledged"));
    assert_eq!(values % 2, 0, "a header and a body for each call");
});

fn frame(kind: u8, flags: u16, stream: u32, length: u32) -> Vec<u8> {
    let mut frame = vec![0, kind];
    frame.extend(flags.to_be_bytes());
    frame.extend(stream.to_be_bytes());
    frame.extend(length.to_be_bytes());
    frame
}

/// A peer that is not told of a larger window sends no more than 256 KiB; libFuzzer's inputs are smaller.
fn data(stream: u32, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).expect("a piece is small");
    [frame(DATA, 0, stream, length).as_slice(), bytes].concat()
}

/// What came on one stream.
fn received(mut frames: &[u8], stream: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while let Some((header, rest)) = frames.split_first_chunk::<12>() {
        let [_, kind, _, _, s0, s1, s2, s3, l0, l1, l2, l3] = *header;
        let length = if kind == DATA { u32::from_be_bytes([l0, l1, l2, l3]) as usize } else { 0 };
        // A connection that broke may end in the middle of a frame.
        let Some((body, after)) = rest.split_at_checked(length) else { break };
        if u32::from_be_bytes([s0, s1, s2, s3]) == stream {
            bytes.extend_from_slice(body);
        }
        frames = after;
    }
    bytes
}

/// How many values these are.
fn values(bytes: &[u8]) -> usize {
    let mut decoder = Decoder::new(Limits::default());
    decoder.push(bytes).expect("we send gob");
    let mut values = 0;
    while let Some(value) = decoder.next_value().expect("we send gob") {
        value.deserialize::<IgnoredAny>().expect("a sound value");
        values += 1;
    }
    values
}
