//! A value of any type, as serde shows it.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value as Json};

/// Any value. A struct is a map by field name here, a complex number a list of two.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Dynamic {
    Nil,
    Bool(bool),
    Int(i64),
    Uint(u64),
    /// Its bits, so that NaN is equal to itself.
    Float(u64),
    Bytes(Vec<u8>),
    Text(String),
    List(Vec<Dynamic>),
    Map(Vec<(Dynamic, Dynamic)>),
}

impl Dynamic {
    /// As `gen/main.go` writes its values.
    pub(super) fn json(&self) -> Json {
        match self {
            Self::Nil => Json::Null,
            Self::Bool(value) => Json::from(*value),
            Self::Int(value) => Json::from(*value),
            Self::Uint(value) => Json::from(*value),
            Self::Float(bits) => match f64::from_bits(*bits) {
                value if value.is_finite() => Json::from(value),
                value => Json::from(value.to_string()),
            },
            Self::Bytes(bytes) => {
                Json::from(bytes.iter().fold("0x".to_owned(), |text, byte| text + &format!("{byte:02x}")))
            }
            Self::Text(text) => Json::from(text.as_str()),
            Self::List(list) => list.iter().map(Self::json).collect(),
            Self::Map(entries) => {
                let named = |(key, value): &(Self, Self)| match key {
                    Self::Text(key) => Some((key.clone(), value.json())),
                    _ => None,
                };
                let object: Option<Map<_, _>> = entries.iter().map(named).collect();
                object.map_or_else(
                    || {
                        let mut pairs: Vec<_> = entries.iter().map(|(key, value)| [key.json(), value.json()]).collect();
                        pairs.sort_by_key(|pair| pair[0].to_string());
                        pairs.into_iter().map(Json::from_iter).collect()
                    },
                    Json::Object,
                )
            }
        }
    }

    /// A struct's field, or a map's entry.
    pub(super) fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(entries) => {
                entries.iter().find(|(key, _)| matches!(key, Self::Text(key) if key == name)).map(|(_, value)| value)
            }
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Dynamic {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Dynamic;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_unit<E>(self) -> Result<Dynamic, E> {
        Ok(Dynamic::Nil)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Dynamic, E> {
        Ok(Dynamic::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Dynamic, E> {
        Ok(Dynamic::Int(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Dynamic, E> {
        Ok(Dynamic::Uint(value))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Dynamic, E> {
        Ok(Dynamic::Float(value.to_bits()))
    }

    fn visit_bytes<E>(self, value: &[u8]) -> Result<Dynamic, E> {
        Ok(Dynamic::Bytes(value.to_vec()))
    }

    fn visit_str<E>(self, value: &str) -> Result<Dynamic, E> {
        Ok(Dynamic::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Dynamic, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element()? {
            list.push(element);
        }
        Ok(Dynamic::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Dynamic, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Dynamic::Map(entries))
    }
}
