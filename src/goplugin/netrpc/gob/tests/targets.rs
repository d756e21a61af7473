//! Reading values as what a program wants of them.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{DeserializeOwned, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value as Json;

use super::super::{Decoder, Error, Limits};
use super::hostile::message;
use super::{Dynamic, folder, generated};

fn bytes_of(name: &str) -> Vec<u8> {
    generated().into_iter().find(|(stream, _)| stream == name).unwrap().1
}

/// The value at `index` of a generated stream.
fn read<T: DeserializeOwned>(stream: &str, index: usize) -> Result<T, Error> {
    let mut decoder = Decoder::new(Limits::default());
    decoder.push(&bytes_of(stream)).unwrap();
    for _ in 0..index {
        decoder.next_value().unwrap().unwrap();
    }
    decoder.next_value().unwrap().unwrap().deserialize()
}

fn mismatch<T: DeserializeOwned + std::fmt::Debug>(stream: &str, index: usize) -> String {
    match read::<T>(stream, index) {
        Err(error @ Error::Mismatch { .. }) => error.to_string(),
        other => panic!("{other:?}"),
    }
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "PascalCase", default)]
struct Point {
    x: i32,
    y: i64,
}

#[derive(Debug, Deserialize, PartialEq)]
#[serde(rename_all = "PascalCase")]
struct Label {
    name: String,
    #[serde(rename = "Where")]
    place: Point,
}

#[derive(Debug, Default, Deserialize, PartialEq)]
#[serde(rename_all = "PascalCase", default)]
struct Parcel {
    before: String,
    content: Option<Json>,
    after: Option<String>,
}

#[test]
fn structs_take_the_fields_they_know() {
    assert_eq!(read("structs", 3), Ok(Label { name: "a".to_owned(), place: Point { x: 1, y: -2 } }));
    #[derive(Debug, Deserialize, PartialEq)]
    struct Present {}
    assert_eq!(read("structs", 3), Ok(Present {}));
    assert_eq!(read::<IgnoredAny>("structs", 3), Ok(IgnoredAny));
    assert_eq!(mismatch::<Label>("structs", 2), "missing field `Name`");
}

#[test]
fn what_is_absent_is_none_and_what_is_nil_too() {
    let read = |index| read::<Parcel>("interface_field", index).unwrap();
    let content = serde_json::json!({"Name": "in", "Where": {"X": 1}});
    assert_eq!(read(0), Parcel { before: "b".to_owned(), content: Some(content), after: Some("a".to_owned()) });
    assert_eq!(read(3), Parcel { after: Some("a4".to_owned()), ..Parcel::default() });
    assert_eq!(read(4), Parcel::default());
    assert_eq!(self::read::<Option<Label>>("interface_top", 0), Ok(None));
    assert_eq!(self::read::<()>("interface_top", 0), Ok(()));
    assert!(self::read::<Option<Label>>("interface_top", 1).unwrap().is_some());
    // A nil inside a map is there, and nothing.
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Maps {
        any: BTreeMap<String, Option<Json>>,
    }
    let maps: Maps = self::read("maps", 0).unwrap();
    assert_eq!((maps.any.len(), &maps.any["nil"]), (3, &None));
}

#[test]
fn numbers_must_fit() {
    assert_eq!(read::<u64>("scalars", 2), Ok(0));
    assert_eq!(read::<i8>("scalars", 3), Ok(-1));
    assert_eq!(read::<i64>("scalars", 4), Ok(i64::MIN));
    assert_eq!(read::<u64>("scalars", 7), Ok(u64::MAX));
    assert_eq!(read::<f64>("scalars", 10), Ok(1.5));
    assert_eq!(mismatch::<u64>("scalars", 3), "invalid value: integer `-1`, expected u64");
    assert_eq!(mismatch::<i32>("scalars", 5), "invalid value: integer `9223372036854775807`, expected i32");
    assert_eq!(mismatch::<i64>("scalars", 7), "invalid value: integer `18446744073709551615`, expected i64");
    assert_eq!(mismatch::<bool>("scalars", 2), "invalid type: integer `0`, expected a boolean");
}

#[test]
fn text_and_bytes_serve_each_other() {
    #[derive(Debug, Deserialize, PartialEq)]
    #[serde(rename_all = "PascalCase")]
    struct Numbers<T> {
        raw: T,
    }
    let raw = r#"{"a":1}"#;
    assert_eq!(read("numbers", 0), Ok(Numbers { raw: raw.to_owned() }));
    assert_eq!(read("numbers", 0), Ok(Numbers { raw: raw.as_bytes().to_vec() }));
    assert_eq!(read::<String>("scalars", 9), Ok("grüß".to_owned()));
    assert_eq!(mismatch::<String>("scalars", 14), "not UTF-8, but text is wanted");
    assert_eq!(read::<Vec<u8>>("scalars", 14), Ok(vec![0, 255]));
    // Borrowed from the decoder.
    let mut decoder = Decoder::new(Limits::default());
    decoder.push(&bytes_of("numbers")).unwrap();
    let value = decoder.next_value().unwrap().unwrap();
    assert_eq!(value.deserialize(), Ok(Numbers { raw }));
    assert_eq!(value.deserialize(), Ok(Numbers { raw: raw.as_bytes() }));
}

/// A Go string holds any bytes.
#[test]
fn a_string_that_is_not_utf_8_is_bytes() {
    let mut decoder = Decoder::new(Limits::default());
    decoder.push(&[5, 12, 0, 2, 0xff, 0xfe]).unwrap();
    let value = decoder.next_value().unwrap().unwrap();
    assert!(matches!(value.deserialize::<String>(), Err(Error::Mismatch { .. })));
    assert!(matches!(value.deserialize::<Json>(), Err(Error::Mismatch { .. })));
    assert_eq!(value.deserialize::<&[u8]>(), Ok(&[0xff, 0xfe][..]));
}

#[test]
fn string_constants_are_unit_variants() {
    #[derive(Debug, Deserialize, PartialEq)]
    enum Word {
        #[serde(rename = "grüß")]
        Greeting,
        Other,
    }
    assert_eq!(read("scalars", 9), Ok(Word::Greeting));
    assert_eq!(mismatch::<Word>("interface_top", 5), "unknown variant `five`, expected `grüß` or `Other`");
}

#[test]
fn a_struct_without_fields_is_unit() {
    #[derive(Debug, Deserialize, PartialEq)]
    struct Nothing;
    assert_eq!(read("structs", 2), Ok(()));
    assert_eq!(read("structs", 2), Ok(Nothing));
    assert_eq!(mismatch::<()>("structs", 3), "invalid type: map, expected unit");
}

#[test]
fn an_error_says_where() {
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Maps<T> {
        #[serde(rename = "Points")]
        _points: BTreeMap<String, T>,
    }
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Wrong {
        #[serde(rename = "X", default)]
        _x: String,
    }
    let error = mismatch::<Maps<Wrong>>("maps", 0);
    assert_eq!(error, "Points[a].X: invalid type: integer `1`, expected a string");
    assert_eq!(mismatch::<Vec<u8>>("slices", 1), "[2]: invalid value: integer `-300`, expected u8");
    assert_eq!(mismatch::<(i64, i64)>("slices", 1), "1 of 3 elements are too many");
}

/// A reader that stops early must not leave the rest to be taken for what comes next.
#[test]
fn nothing_is_left_unread() {
    #[derive(Debug)]
    struct First;
    impl<'de> Deserialize<'de> for First {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            deserializer.deserialize_map(First)
        }
    }
    impl<'de> Visitor<'de> for First {
        type Value = Self;
        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a map")
        }
        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self, A::Error> {
            map.next_entry::<String, IgnoredAny>().map(|_| self)
        }
    }
    #[derive(Debug, Deserialize)]
    #[serde(rename_all = "PascalCase")]
    struct Maps {
        #[serde(rename = "Points")]
        _points: First,
    }
    assert_eq!(mismatch::<First>("structs", 3), "struct Label has more fields than are wanted");
    assert_eq!(mismatch::<Maps>("maps", 0), "Points: 1 of 2 entries are too many");
    assert!(read::<First>("maps", 1).is_ok());
    assert!(read::<First>("structs", 2).is_ok());
}

#[test]
fn a_rollout_is_read_by_field_names() {
    #[derive(Deserialize)]
    #[serde(rename_all = "PascalCase", default)]
    #[derive(Default)]
    struct Args {
        rollout: Json,
        desired_weight: u32,
    }
    let mut decoder = Decoder::new(Limits::default());
    for file in ["plg_01_init", "plg_02_type", "plg_03_updatehash", "plg_04_setweight"] {
        decoder.push(&std::fs::read(folder().join(format!("{file}.req.bin"))).unwrap()).unwrap();
    }
    for _ in 0..7 {
        decoder.next_value().unwrap().unwrap();
    }
    let value = decoder.next_value().unwrap().unwrap();
    // serde_json has no form for bytes, such as the times in a Rollout.
    let error = value.deserialize::<Args>().map(|args| (args.rollout, args.desired_weight)).unwrap_err().to_string();
    assert!(error.starts_with("Rollout.ObjectMeta.CreationTimestamp: invalid type: byte array"), "{error}");
}

/// The deepest value, and targets that take much stack for each level of it.
#[test]
fn the_deepest_value_fits_a_threads_stack() {
    #[derive(Debug, Default, Deserialize)]
    #[serde(default)]
    struct Node {
        #[serde(rename = "Next")]
        next: Option<Box<Node>>,
        #[serde(rename = "Other")]
        _others: [u64; 16],
    }
    fn check(decoder: &mut Decoder) {
        let value = decoder.next_value().unwrap().unwrap();
        assert!(value.deserialize::<Json>().unwrap().get("Next").is_some());
        assert!(value.deserialize::<Dynamic>().unwrap().get("Next").is_some());
        assert_eq!(value.deserialize::<IgnoredAny>(), Ok(IgnoredAny));
        let mut node = value.deserialize::<Node>().unwrap();
        let mut depth = 1;
        while let Some(next) = node.next {
            (node, depth) = (*next, depth + 1);
        }
        assert_eq!(depth, Limits::default().depth);
    }
    let depth = Limits::default().depth;
    // A struct with a field `Next` of its own type.
    let definition = [0x7f, 3, 2, 1, 1, 4, b'N', b'e', b'x', b't', 1, 0xff, 0x80, 0, 0, 0];
    let value = [vec![0xff, 0x80], vec![1; depth - 1], vec![0; depth]].concat();
    let mut decoder = Decoder::new(Limits::default());
    decoder.push(&[message(&definition), message(&value)].concat()).unwrap();
    std::thread::Builder::new().stack_size(1 << 20).spawn(move || check(&mut decoder)).unwrap().join().unwrap();
}
