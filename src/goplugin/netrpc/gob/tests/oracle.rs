//! `gobwire`, a reader of gob that shares nothing with ours, must see the same values.

use gobwire::{StreamDecoder, Type, Value};
use proptest::prelude::*;

use super::gostyle::{self, Choices};
use super::{Dynamic, Limits, generated, read, read_pieces, streams};

/// What gobwire sees in a stream, and whether it read all of it.
fn oracle(bytes: &[u8]) -> (Vec<Dynamic>, bool) {
    let mut decoder = StreamDecoder::new(bytes);
    let mut values = Vec::new();
    loop {
        match decoder.decode::<gobwire::Dynamic>() {
            Ok(Some(value)) => values.push(dynamic(&value.ty, &value.value, &mut Vec::new())),
            Ok(None) => return (values, true),
            Err(_) => return (values, false),
        }
    }
}

/// gobwire's value as ours. `around` are the struct types that it is in: a recursive type refers to one of them.
fn dynamic<'a>(ty: &'a Type, value: &'a Value, around: &mut Vec<&'a [(String, Type)]>) -> Dynamic {
    let float = |value: &f64| Dynamic::Float(value.to_bits());
    match (ty, value) {
        (_, Value::Bool(value)) => Dynamic::Bool(*value),
        (_, Value::Int(value)) => Dynamic::Int(*value),
        (_, Value::Uint(value)) => Dynamic::Uint(*value),
        (_, Value::Float(value)) => float(value),
        (_, Value::Complex(re, im)) => Dynamic::List(vec![float(re), float(im)]),
        (_, Value::Bytes(value) | Value::Marshaled(value)) => Dynamic::Bytes(value.clone()),
        (_, Value::String(value)) => Dynamic::Text(value.clone()),
        (_, Value::Interface(None)) => Dynamic::Nil,
        (_, Value::Interface(Some(content))) => dynamic(&content.ty, &content.value, &mut Vec::new()),
        (Type::Slice(element) | Type::Array(element, _), Value::Slice(list) | Value::Array(list)) => {
            Dynamic::List(list.iter().map(|value| dynamic(element, value, around)).collect())
        }
        (Type::Map(key, element), Value::Map(entries)) => {
            let entry = |(k, v)| (dynamic(key, k, around), dynamic(element, v, around));
            Dynamic::Map(entries.iter().map(|(k, v)| (k, v)).map(entry).collect())
        }
        (Type::Struct(_) | Type::Ref(_), Value::Struct(values)) => {
            let inside = around.len();
            let fields = match ty {
                Type::Ref(out) => {
                    let at = inside - 1 - out;
                    around[at]
                }
                Type::Struct(structure) => &structure.fields,
                _ => unreachable!(),
            };
            around.push(fields);
            let mut entries = Vec::new();
            for ((name, ty), value) in fields.iter().zip(values) {
                if let Some(value) = value {
                    entries.push((Dynamic::Text(name.clone()), dynamic(ty, value, around)));
                }
            }
            around.truncate(inside);
            Dynamic::Map(entries)
        }
        _ => panic!("gobwire gives {value:?} for {ty:?}"),
    }
}

#[test]
fn both_see_the_same_in_what_go_wrote() {
    for (name, bytes) in streams() {
        let ours = read(&bytes);
        let (theirs, whole) = oracle(&bytes);
        // gobwire has no form for a type like `type List []List`, and says so.
        assert!(whole || name == "recursive", "{name}");
        assert!(!theirs.is_empty(), "{name}");
        assert_eq!(ours[..theirs.len()], theirs, "{name}");
    }
}

proptest! {
    #[test]
    fn both_see_what_was_written(choices: Vec<u8>, cuts: Vec<prop::sample::Index>) {
        let (bytes, values) = gostyle::stream(&mut Choices(choices.iter()));
        prop_assert_eq!(oracle(&bytes), (values.clone(), true));
        prop_assert_eq!(read_pieces(super::hostile::pieces(&bytes, &cuts), Limits::default()), (values, None));
    }

    /// Where both read a stream that something was changed in, they read the same.
    #[test]
    fn both_see_the_same_in_what_was_damaged(choices: Vec<u8>, at: prop::sample::Index, byte: u8) {
        let (mut bytes, _) = gostyle::stream(&mut Choices(choices.iter()));
        *at.get_mut(&mut bytes) = byte;
        agree(&bytes)?;
    }

    #[test]
    fn both_see_the_same_in_what_go_wrote_and_was_damaged(of: prop::sample::Index, at: prop::sample::Index, byte: u8) {
        let mut streams = generated();
        let (_, bytes) = of.get_mut(&mut streams);
        *at.get_mut(bytes) = byte;
        agree(bytes)?;
    }
}

fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    let (ours, _) = super::hostile::read_any([bytes]);
    let (theirs, _) = oracle(bytes);
    for (ours, theirs) in ours.iter().zip(&theirs) {
        prop_assert_eq!(ours.as_ref().ok(), Some(theirs));
    }
    Ok(())
}
