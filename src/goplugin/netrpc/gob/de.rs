//! A value through serde.
//!
//! The bytes were walked before, so what goes wrong here is that a value is not what its reader wants. Recursion is as
//! deep as the value, which the walk has bounded.

use serde::de::value::{BorrowedStrDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Error as _, IntoDeserializer, Visitor};

use super::error::Error;
use super::types::{Field, Type, TypeId, Types};
use super::wire::Cursor;

/// One value that begins at the cursor. It leaves the cursor behind the value.
pub(super) struct Deserializer<'c, 'de> {
    types: &'de Types,
    type_id: TypeId,
    cursor: &'c mut Cursor<'de>,
}

/// The elements of a slice or an array.
struct Elements<'c, 'de> {
    types: &'de Types,
    element: TypeId,
    index: u64,
    left: u64,
    cursor: &'c mut Cursor<'de>,
}

/// The entries of a map.
struct Entries<'c, 'de> {
    types: &'de Types,
    key: TypeId,
    element: TypeId,
    left: u64,
    /// Where the key began whose element is next.
    at_key: Cursor<'de>,
    cursor: &'c mut Cursor<'de>,
}

/// The fields of a struct that were sent.
struct Fields<'c, 'de> {
    types: &'de Types,
    fields: std::slice::Iter<'de, Field>,
    /// The field whose value is next.
    current: Option<&'de Field>,
    ended: bool,
    cursor: &'c mut Cursor<'de>,
}

impl<'c, 'de> Deserializer<'c, 'de> {
    pub(super) fn new(types: &'de Types, type_id: TypeId, cursor: &'c mut Cursor<'de>) -> Self {
        Self { types, type_id, cursor }
    }

    fn wire_type(&self) -> Result<&'de Type, Error> {
        self.types.get(self.type_id)
    }

    /// What an interface holds, or what is here if it is none. None for a nil interface.
    fn content(mut self) -> Result<Option<Self>, Error> {
        while let Type::Interface = self.wire_type()? {
            if self.cursor.bytes()?.is_empty() {
                return Ok(None);
            }
            self.type_id = TypeId::new(self.cursor.int()?)?;
        }
        Ok(Some(self))
    }

    fn fields(self, fields: &'de [Field]) -> Fields<'c, 'de> {
        Fields { types: self.types, fields: fields.iter(), current: None, ended: false, cursor: self.cursor }
    }

    /// Moves the cursor behind the value.
    fn skip(self) -> Result<(), Error> {
        let Some(Self { types, type_id, cursor }) = self.content()? else { return Ok(()) };
        match types.get(type_id)? {
            Type::Bool | Type::Int | Type::Uint | Type::Float => drop(cursor.uint()?),
            Type::Complex => {
                cursor.uint()?;
                cursor.uint()?;
            }
            Type::Bytes | Type::String | Type::Opaque => drop(cursor.bytes()?),
            // `content` has left all interfaces.
            Type::Interface => {}
            &Type::Array { element, .. } | &Type::Slice { element } => {
                for _ in 0..cursor.uint()? {
                    Deserializer::new(types, element, &mut *cursor).skip()?;
                }
            }
            &Type::Map { key, element } => {
                for _ in 0..cursor.uint()? {
                    Deserializer::new(types, key, &mut *cursor).skip()?;
                    Deserializer::new(types, element, &mut *cursor).skip()?;
                }
            }
            Type::Struct(structure) => {
                let mut fields = Deserializer::new(types, type_id, cursor).fields(&structure.fields);
                while let Some(field) = fields.next_field()? {
                    Deserializer::new(types, field.type_id, &mut *fields.cursor).skip()?;
                }
            }
        }
        Ok(())
    }
}

impl<'de> de::Deserializer<'de> for Deserializer<'_, 'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Some(this) = self.content()? else { return visitor.visit_unit() };
        let Self { types, type_id, cursor } = this;
        match types.get(type_id)? {
            Type::Bool => visitor.visit_bool(cursor.uint()? != 0),
            Type::Int => visitor.visit_i64(cursor.int()?),
            Type::Uint => visitor.visit_u64(cursor.uint()?),
            Type::Float => visitor.visit_f64(cursor.float()?),
            Type::Complex => visitor.visit_seq(SeqDeserializer::new([cursor.float()?, cursor.float()?].into_iter())),
            Type::Bytes | Type::Opaque => visitor.visit_borrowed_bytes(cursor.bytes()?),
            Type::String => visitor.visit_borrowed_str(text(cursor.bytes()?)?),
            // `content` has left all interfaces.
            Type::Interface => visitor.visit_unit(),
            &Type::Array { element, .. } | &Type::Slice { element } => {
                let left = cursor.uint()?;
                let mut elements = Elements { types, element, index: 0, left, cursor };
                let value = visitor.visit_seq(&mut elements)?;
                if elements.left > 0 {
                    return Err(Error::custom(format_args!("{} of {left} elements are too many", elements.left)));
                }
                Ok(value)
            }
            &Type::Map { key, element } => {
                let left = cursor.uint()?;
                let at_key = *cursor;
                let mut entries = Entries { types, key, element, left, at_key, cursor };
                let value = visitor.visit_map(&mut entries)?;
                if entries.left > 0 {
                    return Err(Error::custom(format_args!("{} of {left} entries are too many", entries.left)));
                }
                Ok(value)
            }
            Type::Struct(structure) => {
                let mut fields = Self::new(types, type_id, cursor).fields(&structure.fields);
                let value = visitor.visit_map(&mut fields)?;
                if !fields.ended && fields.next_field()?.is_some() {
                    return Err(Error::custom(format_args!(
                        "struct {} has more fields than are wanted",
                        structure.name
                    )));
                }
                Ok(value)
            }
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.wire_type()? {
            // Only nil is nothing: what an interface holds may be an interface again.
            Type::Interface if Cursor::new(self.cursor.rest()).bytes()?.is_empty() => {
                self.skip()?;
                visitor.visit_none()
            }
            _ => visitor.visit_some(self),
        }
    }

    /// A struct without fields is unit too: Go sends `struct{}` where it has nothing to say.
    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.wire_type()? {
            Type::Struct(structure) if structure.fields.is_empty() => {
                self.skip()?;
                visitor.visit_unit()
            }
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    /// Bytes are text for whoever wants text, if they are UTF-8.
    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Some(this) = self.content()? else { return visitor.visit_unit() };
        match this.wire_type()? {
            Type::String | Type::Bytes | Type::Opaque => visitor.visit_borrowed_str(text(this.cursor.bytes()?)?),
            _ => this.deserialize_any(visitor),
        }
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    /// A Go string is any bytes.
    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Some(this) = self.content()? else { return visitor.visit_unit() };
        match this.wire_type()? {
            Type::String | Type::Bytes | Type::Opaque => visitor.visit_borrowed_bytes(this.cursor.bytes()?),
            _ => this.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_bytes(visitor)
    }

    /// Bytes are a sequence for whoever wants one, such as a `Vec<u8>`.
    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        let Some(this) = self.content()? else { return visitor.visit_unit() };
        match this.wire_type()? {
            Type::Bytes | Type::Opaque => {
                SeqDeserializer::new(this.cursor.bytes()?.iter().copied()).deserialize_seq(visitor)
            }
            _ => this.deserialize_any(visitor),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: usize,
        visitor: V,
    ) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    /// Go has no enums: its constants of a string type are unit variants.
    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        let Some(this) = self.content()? else { return visitor.visit_unit() };
        match this.wire_type()? {
            Type::String => {
                let name: StrDeserializer<'de, Error> = text(this.cursor.bytes()?)?.into_deserializer();
                visitor.visit_enum(name)
            }
            _ => this.deserialize_any(visitor),
        }
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_str(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        self.skip()?;
        visitor.visit_unit()
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char map struct
    }
}

impl<'de> de::SeqAccess<'de> for Elements<'_, 'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        let index = self.index;
        self.index += 1;
        self.left -= 1;
        let element = Deserializer::new(self.types, self.element, &mut *self.cursor);
        seed.deserialize(element).map(Some).map_err(|error| error.under(format_args!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        usize::try_from(self.left).ok()
    }
}

impl<'de> de::MapAccess<'de> for Entries<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        self.at_key = *self.cursor;
        seed.deserialize(Deserializer::new(self.types, self.key, &mut *self.cursor)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let element = Deserializer::new(self.types, self.element, &mut *self.cursor);
        seed.deserialize(element).map_err(|error| {
            let key = match self.types.get(self.key) {
                Ok(Type::String) => self.at_key.bytes().unwrap_or_default(),
                _ => b"?",
            };
            error.under(format_args!("[{}]", String::from_utf8_lossy(key)))
        })
    }

    fn size_hint(&self) -> Option<usize> {
        usize::try_from(self.left).ok()
    }
}

impl<'de> Fields<'_, 'de> {
    /// The next field that was sent. Its value is at the cursor then.
    fn next_field(&mut self) -> Result<Option<&'de Field>, Error> {
        let delta = self.cursor.uint()?;
        let Some(unsent) = delta.checked_sub(1) else {
            self.ended = true;
            return Ok(None);
        };
        // The walk has seen that there is such a field.
        let field = usize::try_from(unsent).ok().and_then(|unsent| self.fields.nth(unsent));
        field.map(Some).ok_or(Error::Truncated)
    }
}

impl<'de> de::MapAccess<'de> for Fields<'_, 'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        if self.ended {
            return Ok(None);
        }
        self.current = self.next_field()?;
        let Some(field) = self.current else { return Ok(None) };
        seed.deserialize(BorrowedStrDeserializer::new(&field.name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let field =
            self.current.take().ok_or_else(|| Error::custom("a field's value was asked for before its name"))?;
        let value = Deserializer::new(self.types, field.type_id, &mut *self.cursor);
        seed.deserialize(value).map_err(|error| error.under(&field.name))
    }
}

fn text(bytes: &[u8]) -> Result<&str, Error> {
    std::str::from_utf8(bytes).map_err(|_| Error::custom("not UTF-8, but text is wanted"))
}
