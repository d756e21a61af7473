//! Bytes that no Go wrote, and bytes in any pieces: a value, an error, or a wait for more. Never a panic, never more
//! memory than the limits say.

use proptest::prelude::*;
use proptest::sample::Index;
use serde::de::IgnoredAny;

use super::super::wire::{put_bytes, put_int, put_uint};
use super::super::{Decoder, Error, Limits};
use super::gostyle::{self, Choices};
use super::{Dynamic, generated, read, read_pieces, streams};

/// Cuts bytes at these places.
pub(super) fn pieces<'a>(bytes: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut cuts: Vec<_> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).chain([0, bytes.len()]).collect();
    cuts.sort_unstable();
    cuts.windows(2).map(|cut| &bytes[cut[0]..cut[1]]).collect()
}

/// All values of a stream that may not be sound, each as whoever reads it sees it, and the error that ended it.
pub(super) fn read_any<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Result<Dynamic, Error>>, Option<Error>) {
    let mut decoder = Decoder::new(Limits::default());
    let mut values = Vec::new();
    for piece in pieces {
        if let Err(error) = decoder.push(piece) {
            return (values, Some(error));
        }
        loop {
            match decoder.next_value() {
                Ok(Some(value)) => {
                    // A text that is not UTF-8 is the one thing that a sound value cannot give to everyone.
                    value.deserialize::<IgnoredAny>().unwrap();
                    values.push(value.deserialize());
                }
                Ok(None) => break,
                Err(error) => {
                    assert_eq!(decoder.next_value().unwrap_err(), error, "an error stays");
                    assert_eq!(decoder.push(&[]).unwrap_err(), error, "an error stays");
                    return (values, Some(error));
                }
            }
        }
    }
    (values, None)
}

/// The first error of a stream.
fn refused(bytes: &[u8], limits: Limits) -> Error {
    read_pieces([bytes], limits).1.expect("it is refused")
}

/// A message that says type `id` is a slice of `element`.
fn slice_type(id: i64, element: i64) -> Vec<u8> {
    let mut body = Vec::new();
    put_int(&mut body, -id);
    body.extend([2, 1, 0, 1]);
    put_int(&mut body, element);
    body.extend([0, 0]);
    message(&body)
}

/// A message with this body.
pub(super) fn message(body: &[u8]) -> Vec<u8> {
    let mut message = Vec::new();
    put_bytes(&mut message, body);
    message
}

/// The start of a value of a type that is no struct.
fn value_of(id: i64) -> Vec<u8> {
    let mut body = Vec::new();
    put_int(&mut body, id);
    body.push(0);
    body
}

#[test]
fn pieces_of_one_byte_are_enough() {
    for (name, bytes) in streams() {
        // One byte at a time goes through every place where a stream can be cut, and none of them is an error.
        assert_eq!(read_pieces(bytes.chunks(1), Limits::default()), (read(&bytes), None), "{name}");
    }
}

proptest! {
    #[test]
    fn pieces_change_nothing(of: Index, cuts: Vec<Index>) {
        let streams = streams();
        let (_, bytes) = of.get(&streams);
        prop_assert_eq!(read_pieces(pieces(bytes, &cuts), Limits::default()), (read(bytes), None));
    }

    #[test]
    fn any_bytes_are_survived(bytes: Vec<u8>, cuts: Vec<Index>) {
        prop_assert_eq!(read_any(pieces(&bytes, &cuts)), read_any([&bytes[..]]));
    }

    /// Bytes that get past the first checks: whole messages of any bytes.
    #[test]
    fn any_messages_are_survived(bodies: Vec<Vec<u8>>) {
        let bytes: Vec<u8> = bodies.iter().flat_map(|body| message(body)).collect();
        read_any([&bytes[..]]);
    }

    #[test]
    fn damage_is_survived(of: Index, damage in prop::collection::vec((any::<Index>(), any::<u8>()), 1..5), cuts: Vec<Index>) {
        let mut streams = streams();
        let (_, bytes) = of.get_mut(&mut streams);
        for (at, byte) in damage {
            *at.get_mut(bytes) = byte;
        }
        prop_assert_eq!(read_any(pieces(bytes, &cuts)), read_any([&bytes[..]]));
    }

    #[test]
    fn loss_is_survived(of: Index, from: Index, to: Index) {
        let mut streams = generated();
        let (_, bytes) = of.get_mut(&mut streams);
        let (from, to) = (from.index(bytes.len()), to.index(bytes.len()));
        bytes.drain(from.min(to)..from.max(to));
        read_any([&bytes[..]]);
    }

    #[test]
    fn tight_limits_refuse_or_change_nothing(choices: Vec<u8>, depth in 0..6_usize, elements in 0..40_usize) {
        let (bytes, values) = gostyle::stream(&mut Choices(choices.iter()));
        let limits = Limits { depth, elements, ..Limits::default() };
        match read_pieces([&bytes[..]], limits) {
            (read, None) => prop_assert_eq!(read, values),
            (read, Some(Error::TooDeep { limit })) => {
                prop_assert_eq!(limit, depth);
                prop_assert_eq!(&read[..], &values[..read.len()]);
            }
            (read, Some(Error::TooManyElements { limit })) => {
                prop_assert_eq!(limit, elements);
                prop_assert_eq!(&read[..], &values[..read.len()]);
            }
            (_, Some(error)) => prop_assert!(false, "{}", error),
        }
    }
}

#[test]
fn a_huge_message_is_refused_by_its_length() {
    let mut bytes = Vec::new();
    put_uint(&mut bytes, 8 << 30);
    let mut decoder = Decoder::new(Limits::default());
    let (last, first) = bytes.split_last().unwrap();
    assert_eq!(decoder.push(first), Ok(()));
    let error = Error::MessageTooBig { declared: 8 << 30, limit: 8 << 20 };
    assert_eq!(decoder.push(&[*last]), Err(error.clone()));
    assert_eq!(decoder.next_value().unwrap_err(), error);
    // Also when it is not the first.
    let later = [message(&[2 * 3, 0, 1]), bytes].concat();
    assert_eq!(refused(&later, Limits::default()), error);
    assert_eq!(
        refused(&[0xf8; 9], Limits::default()),
        Error::MessageTooBig { declared: u64::from_be_bytes([0xf8; 8]), limit: 8 << 20 }
    );
    assert_eq!(refused(&[0xf7], Limits::default()), Error::BadInteger);
}

#[test]
fn many_small_messages_cannot_make_a_huge_value() {
    let limits = Limits { value_bytes: 100, ..Limits::default() };
    // Type definitions before a value count too.
    let bytes: Vec<u8> = (64..100).flat_map(|id| slice_type(id, 2)).collect();
    assert_eq!(refused(&bytes, limits), Error::ValueTooBig { limit: 100 });
    // Each value has the whole limit for itself.
    let small = message(&[2 * 6, 0, 1, b'x']);
    assert_eq!(read_pieces([&small.repeat(100)[..]], limits).0.len(), 100);
}

#[test]
fn types_are_bounded() {
    let bytes: Vec<u8> = (64..100).flat_map(|id| slice_type(id, 2)).collect();
    let limits = Limits { types: 35, ..Limits::default() };
    assert_eq!(refused(&bytes, limits), Error::TooManyTypes { limit: 35 });
    let limits = Limits { type_bytes: 35 * 7 + 6, ..Limits::default() };
    assert_eq!(refused(&bytes, limits), Error::TypesTooBig { limit: 35 * 7 + 6 });
    let exact = Limits { types: 36, type_bytes: 36 * 7, ..Limits::default() };
    assert_eq!(read_pieces([&bytes[..]], exact), (vec![], None));
}

#[test]
fn types_must_make_sense() {
    let refuse = |body: &[u8]| refused(&message(body), Limits::default());
    let define = |id: i64, definition: &[u8]| {
        let mut body = Vec::new();
        put_int(&mut body, -id);
        refused(&message(&[&body, definition].concat()), Limits::default())
    };
    assert_eq!(define(63, &[2, 0, 0]), Error::BadTypeId { id: 63 });
    assert_eq!(define(1 << 31, &[2, 0, 0]), Error::BadTypeId { id: 1 << 31 });
    assert_eq!(define(i64::MAX, &[2, 0, 0]), Error::BadTypeId { id: i64::MAX });
    assert!(matches!(refuse(&[0xf8, 255, 255, 255, 255, 255, 255, 255, 255]), Error::BadTypeId { .. }));
    assert_eq!(refused(&slice_type(64, 2).repeat(2), Limits::default()), Error::DuplicateType { id: 64 });
    let bad = |problem| Error::BadDefinition { id: 64, problem };
    assert_eq!(define(64, &[0]), bad("is empty"));
    assert_eq!(define(64, &[8, 0]), bad("is of an unknown kind"));
    assert_eq!(define(64, &[2, 2, 4, 0, 1, 0, 0]), bad("is of two kinds"));
    assert_eq!(define(64, &[2, 0]), bad("leaves out a type"));
    assert_eq!(define(64, &[2, 2, 0, 0]), bad("refers to a type that cannot be"));
    assert_eq!(define(64, &[2, 2, 3, 0]), bad("refers to a type that cannot be"));
    assert_eq!(define(64, &[1, 2, 4, 1, 1, 0, 0]), bad("has a negative length"));
    assert_eq!(define(64, &[3, 2, 1, 0, 0, 0]), bad("has a field without a name"));
    assert_eq!(define(64, &[3, 1, 1, 1, 0xff, 0, 0, 0]), bad("has a name that is not UTF-8"));
    assert_eq!(define(64, &[3, 1, 1, 0x80]), Error::BadInteger);
    assert_eq!(define(64, &[3, 4, 0, 0]), bad("has an unknown field"));
    assert_eq!(define(64, &[3, 2, 0xf8, 255, 255, 255, 255, 255, 255, 255, 255]), Error::Truncated);
    assert_eq!(define(64, &[2, 2, 4, 0, 0, 77]), Error::TrailingBytes);
}

#[test]
fn values_must_fit_their_types() {
    let refuse = |body: &[u8]| refused(&message(body), Limits::default());
    assert_eq!(refuse(&[]), Error::Truncated);
    assert_eq!(refuse(&[2 * 6]), Error::Truncated);
    assert_eq!(refuse(&[2 * 6, 0, 2, b'x']), Error::Truncated);
    assert_eq!(refuse(&[2 * 6, 7, 1, b'x']), Error::BadSingleton { found: 7 });
    assert_eq!(refuse(&[0, 0]), Error::UndefinedType { id: 0 });
    assert_eq!(refuse(&[2 * 9, 0]), Error::UndefinedType { id: 9 });
    assert_eq!(refuse(&[2 * 16, 0]), Error::UndefinedType { id: 16 });
    assert_eq!(refuse(&[0xfe, 1, 0, 0]), Error::UndefinedType { id: 128 });
    assert_eq!(refuse(&[2 * 8, 0, 2, 0xff, 0xff]), Error::BadName);
    let long = [&value_of(8)[..], &[0xfe, 4, 1], &[b'x'; 1025]].concat();
    assert_eq!(refuse(&long), Error::BadName);
    // An array of two ints has three, and a struct of one field has a second.
    let array = message(&[0x7f, 1, 2, 4, 1, 4, 0, 0]);
    let bytes = [array, message(&[&value_of(64)[..], &[3, 2, 2, 2]].concat())].concat();
    assert_eq!(refused(&bytes, Limits::default()), Error::ArrayLength { sent: 3, length: 2 });
    let structure = message(&[0x7f, 3, 1, 1, 1, b'S', 0, 1, 1, 1, 1, b'X', 1, 4, 0, 0, 0]);
    let no_such_field = Error::NoSuchField { name: "S".to_owned(), fields: 1 };
    for value in [
        &[0xff, 0x80, 2, 6, 0][..],
        &[0xff, 0x80, 1, 6, 1, 6, 0],
        &[0xff, 0x80, 0xf8, 255, 255, 255, 255, 255, 255, 255, 255],
    ] {
        assert_eq!(refused(&[&structure, &message(value)[..]].concat(), Limits::default()), no_such_field);
    }
    // A slice of a type that is never defined.
    let bytes = [slice_type(64, 99), message(&[&value_of(64)[..], &[1, 1]].concat())].concat();
    assert_eq!(refused(&bytes, Limits::default()), Error::UndefinedType { id: 99 });
}

#[test]
fn counts_cost_nothing() {
    let of = |definition: Vec<u8>, count: u64| {
        let mut body = value_of(64);
        put_uint(&mut body, count);
        refused(&[definition, message(&body)].concat(), Limits::default())
    };
    let too_many = Error::TooManyElements { limit: 250_000 };
    for count in [250_000, 1 << 40, u64::MAX] {
        assert_eq!(of(slice_type(64, 2), count), too_many);
    }
    assert_eq!(of(slice_type(64, 2), 249_999), Error::Truncated);
    // Structs without fields at the end of a message, which would take no byte at all.
    let empty_struct = message(&[0x81 - 2, 3, 0, 0]);
    let units = [empty_struct, slice_type(65, 64)].concat();
    let mut body = Vec::new();
    put_int(&mut body, 65);
    body.extend([0, 0xfd, 0x03, 0xd0, 0x8f]);
    assert_eq!(refused(&[units, message(&body)].concat(), Limits::default()), Error::Truncated);
    // An array type of impossible length.
    let array = message(&[0x7f, 1, 2, 4, 1, 0xf8, 0x7f, 255, 255, 255, 255, 255, 255, 254, 0, 0]);
    let mut body = value_of(64);
    put_uint(&mut body, 0x3fff_ffff_ffff_ffff);
    assert_eq!(refused(&[array, message(&body)].concat(), Limits::default()), too_many);
}

#[test]
fn nesting_is_bounded() {
    // `type List []List`, each with one element.
    let nested = |depth: usize| {
        let mut body = value_of(64);
        body.extend(vec![1; depth - 1]);
        body.push(0);
        [slice_type(64, 64), message(&body)].concat()
    };
    assert_eq!(refused(&nested(65), Limits::default()), Error::TooDeep { limit: 64 });
    assert_eq!(refused(&nested(8_000_000), Limits::default()), Error::TooDeep { limit: 64 });
    assert_eq!(read(&nested(64)).len(), 1);
}

#[test]
fn the_end_of_a_message_ends_structs() {
    // Two structs inside each other, and not one end mark. Go's decoder takes it.
    let inner = message(&[0x7f, 3, 1, 2, 0xff, 0x80, 0, 1, 1, 1, 1, b'X', 1, 4, 0, 0, 0]);
    let outer = message(&[0xff, 0x81, 3, 2, 1, 1, 1, b'I', 1, 0xff, 0x80, 0, 0, 0]);
    let value = message(&[0xff, 0x82, 1, 1, 6]);
    let whole = message(&[0xff, 0x82, 1, 1, 6, 0, 0]);
    let values = read(&[inner, outer, value, whole].concat());
    assert_eq!(values[0].json(), serde_json::json!({"I": {"X": 3}}));
    assert_eq!(values[0], values[1]);
}

#[test]
fn what_follows_a_value_in_its_message_is_ignored() {
    let bytes = [message(&[2 * 6, 0, 1, b'x', 9, 9, 9]), message(&[2 * 6, 0, 1, b'y'])].concat();
    assert_eq!(read(&bytes), [Dynamic::Text("x".to_owned()), Dynamic::Text("y".to_owned())]);
}
