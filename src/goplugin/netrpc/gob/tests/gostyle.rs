//! Random values of random types, written the way Go's encoder does it: with the cuts inside values where an interface
//! needs a new type, and with inlined definitions where interfaces nest.

use std::collections::HashMap;

use super::super::wire::{put_bytes, put_int, put_uint};
use super::Dynamic;

/// Choices, drawn from random bytes. When they are used up, every choice is the first, which ends all recursion.
pub(super) struct Choices<'a>(pub(super) std::slice::Iter<'a, u8>);

/// A type with the shape that matters on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Type {
    Bool,
    Int,
    Uint,
    Float,
    Complex,
    Bytes,
    Text,
    Interface,
    Opaque,
    Slice(Box<Type>),
    Array(Box<Type>, usize),
    Map(Box<Type>, Box<Type>),
    Struct(Vec<Type>),
}

/// A value. Its type is beside it.
enum Datum {
    Bool(bool),
    Int(i64),
    Uint(u64),
    Float(f64),
    Complex(f64, f64),
    Bytes(Vec<u8>),
    Text(String),
    Interface(Option<(Type, Box<Datum>)>),
    List(Vec<Datum>),
    Map(Vec<(Datum, Datum)>),
    /// Fields that Go leaves out are None.
    Struct(Vec<Option<Datum>>),
}

/// Go's encoder, as far as it decides where bytes go (`encoder.go`, `encode.go`).
#[derive(Default)]
struct Encoder {
    stream: Vec<u8>,
    ids: HashMap<Type, i64>,
    sent: Vec<Type>,
}

/// A stream of a few values, and what they are.
pub(super) fn stream(choices: &mut Choices<'_>) -> (Vec<u8>, Vec<Dynamic>) {
    let mut encoder = Encoder::default();
    let values = (0..=choices.below(3)).map(|_| {
        let ty = choices.a_type(4);
        let datum = choices.a_value(&ty, 4);
        encoder.encode(&ty, &datum);
        dynamic(&datum)
    });
    let values = values.collect();
    (encoder.stream, values)
}

impl Choices<'_> {
    fn below(&mut self, count: u8) -> u8 {
        self.0.next().map_or(0, |choice| choice % count)
    }

    fn number(&mut self) -> u64 {
        match self.below(4) {
            0 => 0,
            1 => u64::from(self.below(200)),
            width => (0..=4 * width - 5).fold(0, |number, _| number << 8 | u64::from(self.below(255))),
        }
    }

    fn bytes(&mut self) -> Vec<u8> {
        (0..self.below(5)).map(|_| self.below(255)).collect()
    }

    fn a_type(&mut self, depth: u8) -> Type {
        let inner = |choices: &mut Self| Box::new(choices.a_type(depth - 1));
        match self.below(if depth == 0 { 9 } else { 16 }) {
            0 => Type::Int,
            1 => Type::Bool,
            2 => Type::Uint,
            3 => Type::Float,
            4 => Type::Complex,
            5 => Type::Bytes,
            6 => Type::Text,
            7 => Type::Opaque,
            8 | 9 => Type::Interface,
            10 | 11 => Type::Slice(inner(self)),
            12 => Type::Array(inner(self), self.below(4).into()),
            13 => Type::Map(inner(self), inner(self)),
            _ => Type::Struct((0..self.below(5)).map(|_| self.a_type(depth - 1)).collect()),
        }
    }

    fn a_value(&mut self, ty: &Type, depth: u8) -> Datum {
        match ty {
            Type::Bool => Datum::Bool(self.below(2) == 1),
            Type::Int => Datum::Int(self.number().cast_signed().wrapping_mul([1, -1][usize::from(self.below(2))])),
            Type::Uint => Datum::Uint(self.number()),
            Type::Float => Datum::Float(f64::from_bits(self.number())),
            Type::Complex => Datum::Complex(f64::from_bits(self.number()), f64::from(self.below(9))),
            Type::Bytes | Type::Opaque => Datum::Bytes(self.bytes()),
            Type::Text => Datum::Text(self.bytes().into_iter().map(char::from).collect()),
            Type::Interface => Datum::Interface((depth > 0 && self.below(4) > 0).then(|| {
                let ty = self.a_type(depth - 1);
                let datum = self.a_value(&ty, depth - 1);
                (ty, Box::new(datum))
            })),
            Type::Slice(element) => Datum::List((0..self.below(4)).map(|_| self.a_value(element, depth)).collect()),
            Type::Array(element, length) => Datum::List((0..*length).map(|_| self.a_value(element, depth)).collect()),
            Type::Map(key, element) => Datum::Map(
                (0..self.below(3)).map(|_| (self.a_value(key, depth), self.a_value(element, depth))).collect(),
            ),
            Type::Struct(fields) => {
                let mut sent = |field| Some(self.a_value(field, depth)).filter(|datum| !is_omitted(field, datum));
                Datum::Struct(fields.iter().map(&mut sent).collect())
            }
        }
    }
}

impl Encoder {
    fn encode(&mut self, ty: &Type, datum: &Datum) {
        let mut message = Vec::new();
        self.send_type(ty, &mut message, None);
        put_int(&mut message, self.id(ty));
        if !matches!(ty, Type::Struct(_)) {
            put_uint(&mut message, 0);
        }
        self.value(ty, datum, &mut message, None);
        put_bytes(&mut self.stream, &message);
    }

    /// Writes a definition behind what `partial` holds so far, sends both as one message, and then defines what the type
    /// is made of. A message goes to `outer`: the interface around this one, or else the stream.
    fn send_type(&mut self, ty: &Type, partial: &mut Vec<u8>, mut outer: Option<&mut Vec<u8>>) {
        let id = self.id(ty);
        if id < 64 || self.sent.contains(ty) {
            return;
        }
        self.sent.push(ty.clone());
        put_int(partial, -id);
        self.definition(ty, partial);
        put_bytes(outer.as_deref_mut().unwrap_or(&mut self.stream), &std::mem::take(partial));
        let inner: Vec<&Type> = match ty {
            Type::Slice(element) | Type::Array(element, _) => vec![element],
            Type::Map(key, element) => vec![key, element],
            Type::Struct(fields) => fields.iter().collect(),
            _ => Vec::new(),
        };
        for ty in inner {
            self.send_type(ty, partial, outer.as_deref_mut());
        }
    }

    fn id(&mut self, ty: &Type) -> i64 {
        match ty {
            Type::Bool => 1,
            Type::Int => 2,
            Type::Uint => 3,
            Type::Float => 4,
            Type::Bytes => 5,
            Type::Text => 6,
            Type::Complex => 7,
            Type::Interface => 8,
            _ => {
                // Numbers have gaps and grow large in a process with many types.
                let next = 64 + 37 * i64::try_from(self.ids.len()).unwrap();
                *self.ids.entry(ty.clone()).or_insert(next)
            }
        }
    }

    fn definition(&mut self, ty: &Type, out: &mut Vec<u8>) {
        let id = self.id(ty);
        let common = |name: &str, out: &mut Vec<u8>| {
            put_uint(out, 1);
            put_bytes(out, name.as_bytes());
            put_uint(out, 1);
            put_int(out, id);
            put_uint(out, 0);
        };
        let kind = match ty {
            Type::Array(..) => 1,
            Type::Slice(_) => 2,
            Type::Struct(_) => 3,
            Type::Map(..) => 4,
            _ => 5,
        };
        put_uint(out, kind);
        put_uint(out, 1);
        common("T", out);
        match ty {
            Type::Array(element, length) => {
                put_uint(out, 1);
                put_int(out, self.id(element));
                if *length > 0 {
                    put_uint(out, 1);
                    put_int(out, i64::try_from(*length).unwrap());
                }
            }
            Type::Slice(element) => {
                put_uint(out, 1);
                put_int(out, self.id(element));
            }
            Type::Map(key, element) => {
                put_uint(out, 1);
                put_int(out, self.id(key));
                put_uint(out, 1);
                put_int(out, self.id(element));
            }
            Type::Struct(fields) if !fields.is_empty() => {
                put_uint(out, 1);
                put_uint(out, fields.len() as u64);
                for (number, field) in fields.iter().enumerate() {
                    put_uint(out, 1);
                    put_bytes(out, format!("F{number}").as_bytes());
                    put_uint(out, 1);
                    put_int(out, self.id(field));
                    put_uint(out, 0);
                }
            }
            _ => {}
        }
        put_uint(out, 0);
        put_uint(out, 0);
    }

    fn value(&mut self, ty: &Type, datum: &Datum, out: &mut Vec<u8>, mut outer: Option<&mut Vec<u8>>) {
        match (ty, datum) {
            (_, Datum::Bool(value)) => put_uint(out, u64::from(*value)),
            (_, Datum::Int(value)) => put_int(out, *value),
            (_, Datum::Uint(value)) => put_uint(out, *value),
            (_, Datum::Float(value)) => put_uint(out, value.to_bits().swap_bytes()),
            (_, Datum::Complex(re, im)) => {
                put_uint(out, re.to_bits().swap_bytes());
                put_uint(out, im.to_bits().swap_bytes());
            }
            (_, Datum::Bytes(value)) => put_bytes(out, value),
            (_, Datum::Text(value)) => put_bytes(out, value.as_bytes()),
            (_, Datum::Interface(None)) => put_uint(out, 0),
            (_, Datum::Interface(Some((ty, datum)))) => {
                put_bytes(out, b"registered.Name");
                self.send_type(ty, out, outer);
                put_int(out, self.id(ty));
                let mut content = Vec::new();
                if !matches!(ty, Type::Struct(_)) {
                    put_uint(&mut content, 0);
                }
                self.value(ty, datum, &mut content, Some(out));
                put_bytes(out, &content);
            }
            (Type::Slice(element) | Type::Array(element, _), Datum::List(list)) => {
                put_uint(out, list.len() as u64);
                for datum in list {
                    self.value(element, datum, out, outer.as_deref_mut());
                }
            }
            (Type::Map(key, element), Datum::Map(entries)) => {
                put_uint(out, entries.len() as u64);
                for (key_datum, datum) in entries {
                    self.value(key, key_datum, out, outer.as_deref_mut());
                    self.value(element, datum, out, outer.as_deref_mut());
                }
            }
            (Type::Struct(types), Datum::Struct(fields)) => {
                let mut delta = 1;
                for (ty, field) in types.iter().zip(fields) {
                    if let Some(datum) = field {
                        put_uint(out, delta);
                        self.value(ty, datum, out, outer.as_deref_mut());
                        delta = 1;
                    } else {
                        delta += 1;
                    }
                }
                put_uint(out, 0);
            }
            _ => unreachable!("a value has the shape of its type"),
        }
    }
}

/// Whether Go leaves a field out. Arrays and structs are always sent, and so is a map that is empty but not nil.
fn is_omitted(ty: &Type, datum: &Datum) -> bool {
    match datum {
        Datum::Bool(value) => !value,
        Datum::Int(value) => *value == 0,
        Datum::Uint(value) => *value == 0,
        Datum::Float(value) => value.to_bits() == 0,
        Datum::Complex(re, im) => re.to_bits() == 0 && im.to_bits() == 0,
        Datum::Bytes(value) => value.is_empty(),
        Datum::Text(value) => value.is_empty(),
        Datum::Interface(content) => content.is_none(),
        Datum::List(list) => list.is_empty() && matches!(ty, Type::Slice(_)),
        Datum::Map(_) | Datum::Struct(_) => false,
    }
}

/// What a reader must see.
fn dynamic(datum: &Datum) -> Dynamic {
    match datum {
        Datum::Bool(value) => Dynamic::Bool(*value),
        Datum::Int(value) => Dynamic::Int(*value),
        Datum::Uint(value) => Dynamic::Uint(*value),
        Datum::Float(value) => Dynamic::Float(value.to_bits()),
        Datum::Complex(re, im) => Dynamic::List(vec![Dynamic::Float(re.to_bits()), Dynamic::Float(im.to_bits())]),
        Datum::Bytes(value) => Dynamic::Bytes(value.clone()),
        Datum::Text(value) => Dynamic::Text(value.clone()),
        Datum::Interface(content) => content.as_ref().map_or(Dynamic::Nil, |(_, datum)| dynamic(datum)),
        Datum::List(list) => Dynamic::List(list.iter().map(dynamic).collect()),
        Datum::Map(entries) => {
            Dynamic::Map(entries.iter().map(|(key, datum)| (dynamic(key), dynamic(datum))).collect())
        }
        Datum::Struct(fields) => {
            let sent = |(number, field): (usize, &Option<Datum>)| {
                field.as_ref().map(|datum| (Dynamic::Text(format!("F{number}")), dynamic(datum)))
            };
            Dynamic::Map(fields.iter().enumerate().filter_map(sent).collect())
        }
    }
}
