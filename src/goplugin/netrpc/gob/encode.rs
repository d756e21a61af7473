//! Values to gob (`encoder.go`, `encode.go`), as far as replies need it.

use super::wire::{put_bytes, put_int, put_uint};

/// The first number we define. Any from 64 would do; Go's server begins with 65, so our bytes can be compared with its.
const FIRST_TYPE: i64 = 65;

// The numbers of built-in types (`type.go`).
const INT: i64 = 2;
const UINT: i64 = 3;
const STRING: i64 = 6;

/// Something that can be sent.
pub trait Encode {
    /// What is sent for it.
    fn datum(&self) -> Datum<'_>;
}

/// A value with its Go type.
///
/// ```
/// use trafficrouter_alb::goplugin::netrpc::gob::{Datum, Encode};
///
/// struct RpcError(String);
///
/// impl Encode for RpcError {
///     fn datum(&self) -> Datum<'_> {
///         Datum::Struct("RpcError", vec![("ErrorString", Datum::String(&self.0))])
///     }
/// }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Datum<'a> {
    /// Any of Go's signed integers.
    Int(i64),
    /// Any of Go's unsigned integers.
    Uint(u64),
    /// A string.
    String(&'a str),
    /// A struct: its type's name, and **all** its fields in Go's order, zero or not, each with its name.
    Struct(&'static str, Vec<(&'static str, Datum<'a>)>),
}

/// One direction of one stream: which types its peer was told of.
#[derive(Debug, Default)]
pub struct Encoder {
    /// Struct types with the number of each. A type is what its values look like: two types may share a name.
    defined: Vec<(Shape, i64)>,
}

/// A datum's type.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Shape {
    Int,
    Uint,
    String,
    Struct(&'static str, Vec<(&'static str, Shape)>),
}

impl Encoder {
    /// An encoder at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends the messages for one value: the types that the peer does not know yet, then the value.
    pub fn encode<T: Encode + ?Sized>(&mut self, value: &T, out: &mut Vec<u8>) {
        let datum = value.datum();
        let mut message = Vec::new();
        put_int(&mut message, self.define(&datum.shape(), out));
        if !matches!(datum, Datum::Struct(..)) {
            put_uint(&mut message, 0);
        }
        datum.write(&mut message);
        put_bytes(out, &message);
    }

    /// The number of a type. If the peer does not know the type, its definition is appended, after those it refers to.
    fn define(&mut self, shape: &Shape, out: &mut Vec<u8>) -> i64 {
        let (name, fields) = match shape {
            Shape::Int => return INT,
            Shape::Uint => return UINT,
            Shape::String => return STRING,
            Shape::Struct(name, fields) => (*name, fields),
        };
        if let Some((_, id)) = self.defined.iter().find(|(defined, _)| defined == shape) {
            return *id;
        }
        let fields: Vec<_> = fields.iter().map(|(name, shape)| (*name, self.define(shape, out))).collect();
        let id = self.defined.last().map_or(FIRST_TYPE, |(_, last)| last + 1);
        self.defined.push((shape.clone(), id));
        put_bytes(out, &definition(id, name, &fields));
        id
    }
}

/// The message that defines a struct type: a `wireType` of `type.go` with its third field set, a `structType`.
fn definition(id: i64, name: &str, fields: &[(&str, i64)]) -> Vec<u8> {
    let named = |name, id| Datum::Struct("", vec![("Name", Datum::String(name)), ("Id", Datum::Int(id))]);
    let mut message = Vec::new();
    put_int(&mut message, -id);
    put_uint(&mut message, 3);
    put_uint(&mut message, 1);
    named(name, id).write(&mut message);
    if !fields.is_empty() {
        put_uint(&mut message, 1);
        put_uint(&mut message, fields.len() as u64);
        for (name, id) in fields {
            named(name, *id).write(&mut message);
        }
    }
    put_uint(&mut message, 0);
    put_uint(&mut message, 0);
    message
}

impl Datum<'_> {
    fn shape(&self) -> Shape {
        match self {
            Self::Int(_) => Shape::Int,
            Self::Uint(_) => Shape::Uint,
            Self::String(_) => Shape::String,
            Self::Struct(name, fields) => {
                Shape::Struct(name, fields.iter().map(|(name, field)| (*name, field.shape())).collect())
            }
        }
    }

    /// How many bytes of text are in it.
    pub(in crate::goplugin::netrpc) fn text_bytes(&self) -> usize {
        match self {
            Self::Int(_) | Self::Uint(_) => 0,
            Self::String(text) => text.len(),
            Self::Struct(_, fields) => fields.iter().map(|(_, field)| field.text_bytes()).sum(),
        }
    }

    /// Whether Go leaves it out of a struct. A struct is never left out.
    fn is_zero(&self) -> bool {
        matches!(self, Self::Int(0) | Self::Uint(0) | Self::String(""))
    }

    fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Int(number) => put_int(out, *number),
            Self::Uint(number) => put_uint(out, *number),
            Self::String(text) => put_bytes(out, text.as_bytes()),
            Self::Struct(_, fields) => {
                // Each field is preceded by how many fields it is after the one before it.
                let mut delta = 1;
                for (_, field) in fields {
                    if field.is_zero() {
                        delta += 1;
                    } else {
                        put_uint(out, delta);
                        field.write(out);
                        delta = 1;
                    }
                }
                put_uint(out, 0);
            }
        }
    }
}

impl Encode for String {
    fn datum(&self) -> Datum<'_> {
        Datum::String(self)
    }
}

impl Encode for u32 {
    fn datum(&self) -> Datum<'_> {
        Datum::Uint(u64::from(*self))
    }
}
