//! The types of a stream: the built-in ones, and those the peer has defined (`type.go`).
//!
//! A type may be used by another's definition before it has one itself, so field types are looked up only when a value
//! needs them. Names are for people: two Go versions give one type different names, and two types may share one.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use super::Limits;
use super::error::Error;
use super::wire::Cursor;

/// The lowest number a peer may define (`firstUserId` in `type.go`).
const FIRST_ID: i32 = 64;

/// A type's number on its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct TypeId(i32);

/// What values of a type look like on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Type {
    Bool,
    Int,
    Uint,
    Float,
    Complex,
    Bytes,
    String,
    Interface,
    /// What a Go type's own method made of it: `GobEncoder`, `BinaryMarshaler` or `TextMarshaler`.
    Opaque,
    Array {
        element: TypeId,
        length: u64,
    },
    Slice {
        element: TypeId,
    },
    Map {
        key: TypeId,
        element: TypeId,
    },
    Struct(Arc<Struct>),
}

/// A struct's name and fields.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Struct {
    pub(super) name: Box<str>,
    pub(super) fields: Vec<Field>,
}

/// A field's name and type.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    pub(super) type_id: TypeId,
}

/// The types of one stream.
#[derive(Debug, Default)]
pub(super) struct Types {
    defined: HashMap<TypeId, Type>,
    /// How many bytes the definitions took.
    bytes: usize,
}

/// A definition while it is read: a `wireType` of `type.go`.
struct Definition<'c> {
    id: i64,
    cursor: Cursor<'c>,
}

impl TypeId {
    /// # Errors
    /// [`Error::UndefinedType`] when no type can have this number.
    pub(super) fn new(id: i64) -> Result<Self, Error> {
        i32::try_from(id).ok().filter(|&id| id > 0).map(Self).ok_or(Error::UndefinedType { id })
    }

    pub(super) fn number(self) -> i64 {
        i64::from(self.0)
    }
}

impl Types {
    /// The type of that number.
    ///
    /// # Errors
    /// [`Error::UndefinedType`].
    pub(super) fn get(&self, id: TypeId) -> Result<&Type, Error> {
        Ok(match id.0 {
            1 => &Type::Bool,
            2 => &Type::Int,
            3 => &Type::Uint,
            4 => &Type::Float,
            5 => &Type::Bytes,
            6 => &Type::String,
            7 => &Type::Complex,
            8 => &Type::Interface,
            _ => self.defined.get(&id).ok_or_else(|| Error::UndefinedType { id: id.number() })?,
        })
    }

    /// Reads the definition of type `id` and keeps it.
    ///
    /// # Errors
    /// When the definition makes no sense, is the second of its number, or is more than `limits` allow.
    pub(super) fn define(&mut self, id: i64, cursor: &mut Cursor<'_>, limits: &Limits) -> Result<(), Error> {
        let type_id = i32::try_from(id).ok().filter(|&id| id >= FIRST_ID).map(TypeId).ok_or(Error::BadTypeId { id })?;
        if self.defined.len() >= limits.types {
            return Err(Error::TooManyTypes { limit: limits.types });
        }
        let Entry::Vacant(place) = self.defined.entry(type_id) else { return Err(Error::DuplicateType { id }) };
        // The reader sees no more than may be kept, so a definition that is too long cannot grow before it is refused.
        let sent = cursor.rest();
        let allowed = limits.type_bytes.saturating_sub(self.bytes);
        let mut definition = Definition { id, cursor: Cursor::new(sent.get(..allowed).unwrap_or(sent)) };
        let before = definition.cursor.rest().len();
        let read = definition.read();
        let taken = before - definition.cursor.rest().len();
        match read {
            Err(Error::Truncated) if sent.len() > allowed => Err(Error::TypesTooBig { limit: limits.type_bytes }),
            Err(error) => Err(error),
            Ok(defined) => {
                place.insert(defined);
                self.bytes += taken;
                *cursor = Cursor::new(sent.get(taken..).unwrap_or_default());
                Ok(())
            }
        }
    }
}

impl Definition<'_> {
    /// `wireType`: exactly one of its fields says what kind of type it is.
    fn read(&mut self) -> Result<Type, Error> {
        let mut defined = None;
        let mut number = None;
        while let Some(field) = self.next_field(&mut number)? {
            let kind = match field {
                0 => self.array()?,
                1 => self.slice()?,
                2 => self.structure()?,
                3 => self.map()?,
                4..=6 => self.opaque()?,
                _ => return Err(self.bad("is of an unknown kind")),
            };
            if defined.replace(kind).is_some() {
                return Err(self.bad("is of two kinds"));
            }
        }
        defined.ok_or_else(|| self.bad("is empty"))
    }

    /// `arrayType`: `CommonType`, `Elem`, `Len`.
    fn array(&mut self) -> Result<Type, Error> {
        let (mut element, mut length) = (None, 0);
        let mut number = None;
        while let Some(field) = self.next_field(&mut number)? {
            match field {
                0 => drop(self.common()?),
                1 => element = Some(self.type_id()?),
                2 => length = self.cursor.int()?,
                _ => return Err(self.bad("has an unknown field")),
            }
        }
        let length = u64::try_from(length).map_err(|_| self.bad("has a negative length"))?;
        Ok(Type::Array { element: self.given(element)?, length })
    }

    /// `sliceType`: `CommonType`, `Elem`.
    fn slice(&mut self) -> Result<Type, Error> {
        let mut element = None;
        let mut number = None;
        while let Some(field) = self.next_field(&mut number)? {
            match field {
                0 => drop(self.common()?),
                1 => element = Some(self.type_id()?),
                _ => return Err(self.bad("has an unknown field")),
            }
        }
        Ok(Type::Slice { element: self.given(element)? })
    }

    /// `mapType`: `CommonType`, `Key`, `Elem`.
    fn map(&mut self) -> Result<Type, Error> {
        let (mut key, mut element) = (None, None);
        let mut number = None;
        while let Some(field) = self.next_field(&mut number)? {
            match field {
                0 => drop(self.common()?),
                1 => key = Some(self.type_id()?),
                2 => element = Some(self.type_id()?),
                _ => return Err(self.bad("has an unknown field")),
            }
        }
        Ok(Type::Map { key: self.given(key)?, element: self.given(element)? })
    }

    /// `structType`: `CommonType`, `Field`. A struct without fields has no `Field`.
    fn structure(&mut self) -> Result<Type, Error> {
        let (mut name, mut fields) = (Box::default(), Vec::new());
        let mut number = None;
        while let Some(field) = self.next_field(&mut number)? {
            match field {
                0 => name = self.common()?,
                1 => {
                    let count = self.cursor.uint()?;
                    for _ in 0..count {
                        fields.push(self.field()?);
                    }
                }
                _ => return Err(self.bad("has an unknown field")),
            }
        }
        Ok(Type::Struct(Arc::new(Struct { name, fields })))
    }

    /// `fieldType`: `Name`, `Id`.
    fn field(&mut self) -> Result<Field, Error> {
        let (mut name, mut type_id) = (Box::default(), None);
        let mut number = None;
        while let Some(field) = self.next_field(&mut number)? {
            match field {
                0 => name = self.name()?,
                1 => type_id = Some(self.type_id()?),
                _ => return Err(self.bad("has an unknown field")),
            }
        }
        if name.is_empty() {
            return Err(self.bad("has a field without a name"));
        }
        Ok(Field { name, type_id: self.given(type_id)? })
    }

    /// `gobEncoderType`: `CommonType`.
    fn opaque(&mut self) -> Result<Type, Error> {
        let mut number = None;
        while let Some(field) = self.next_field(&mut number)? {
            match field {
                0 => drop(self.common()?),
                _ => return Err(self.bad("has an unknown field")),
            }
        }
        Ok(Type::Opaque)
    }

    /// `CommonType`: `Name`, and `Id`, which repeats the number that the definition began with.
    fn common(&mut self) -> Result<Box<str>, Error> {
        let mut name = Box::default();
        let mut number = None;
        while let Some(field) = self.next_field(&mut number)? {
            match field {
                0 => name = self.name()?,
                1 => drop(self.cursor.int()?),
                _ => return Err(self.bad("has an unknown field")),
            }
        }
        Ok(name)
    }

    fn name(&mut self) -> Result<Box<str>, Error> {
        let name = self.cursor.bytes()?;
        std::str::from_utf8(name).map(Box::from).map_err(|_| self.bad("has a name that is not UTF-8"))
    }

    fn type_id(&mut self) -> Result<TypeId, Error> {
        TypeId::new(self.cursor.int()?).map_err(|_| self.bad("refers to a type that cannot be"))
    }

    /// The number of the next field of a struct of Go's, given that of the one before. None at its end.
    fn next_field(&mut self, last: &mut Option<u64>) -> Result<Option<u64>, Error> {
        let delta = self.cursor.uint()?;
        if delta == 0 {
            return Ok(None);
        }
        *last = Some(last.map_or(delta - 1, |last| last.saturating_add(delta)));
        Ok(*last)
    }

    fn given(&self, type_id: Option<TypeId>) -> Result<TypeId, Error> {
        type_id.ok_or_else(|| self.bad("leaves out a type"))
    }

    fn bad(&self, problem: &'static str) -> Error {
        Error::BadDefinition { id: self.id, problem }
    }
}
