//! The gob decoder: any bytes, in any pieces, read as any type. Pieces must not change what is read.

#![no_main]

use libfuzzer_sys::fuzz_target;
use serde::de::IgnoredAny;
use serde_json::Value;
use trafficrouter_alb::goplugin::netrpc::gob::{Decoder, Limits};
use trafficrouter_alb::rollout::{HeaderRoute, Rollout, WeightDestination};

fuzz_target!(|input: (u8, &[u8])| {
    let (choice, bytes) = input;
    let whole = read(std::iter::once(bytes));
    assert_eq!(read(fuzz::pieces(bytes, choice)), whole);
});

/// All values as JSON, None where JSON has no such value, and the error that ended the stream.
fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Option<Value>>, Option<String>) {
    let mut decoder = Decoder::new(Limits::default());
    let mut values = Vec::new();
    for piece in pieces {
        if let Err(error) = decoder.push(piece) {
            return (values, Some(error.to_string()));
        }
        loop {
            let value = match decoder.next_value() {
                Ok(Some(value)) => value,
                Ok(None) => break,
                Err(error) => return (values, Some(error.to_string())),
            };
            value.deserialize::<IgnoredAny>().expect("a sound value");
            let _ = value.deserialize::<Rollout>();
            let _ = value.deserialize::<Vec<WeightDestination>>();
            let _ = value.deserialize::<HeaderRoute>();
            let _ = (value.is_nil(), value.interface_name());
            values.push(value.deserialize().ok());
        }
    }
    (values, None)
}
