//! The AWS query protocol, outbound: any serde value as the XML that AWS's clients read.
//!
//! Lists are written as `<member>` elements and maps as `<entry>` elements with `<key>` and `<value>`; what is `None` is left out.

use std::fmt::{self, Display};

use serde::Serialize;
use serde::ser::{self, Impossible, SerializeMap, SerializeSeq, SerializeStruct};

use crate::control_plane::error::ApiError;
use crate::control_plane::query::Service;

#[cfg(test)]
mod tests;

/// The value as one element of the given name, or nothing for `None`.
///
/// Fails for shapes that the protocol does not have (tuples, enums with data, maps whose keys are not text).
pub(crate) fn element<T: Serialize + ?Sized>(name: &str, value: &T) -> Result<String, WriteError> {
    let mut out = String::new();
    value.serialize(Element { out: &mut out, name })?;
    Ok(out)
}

/// The whole answer of a successful call; `result` is the element that [`element`] made.
pub(crate) fn response(service: Service, operation: &str, result: &str, request_id: &str) -> String {
    let namespace = service.namespace();
    format!(
        "<{operation}Response xmlns=\"{namespace}\">{result}<ResponseMetadata><RequestId>{request_id}</RequestId>\
         </ResponseMetadata></{operation}Response>"
    )
}

/// The whole answer of a refused call. AWS calls a client's mistake `Sender` and its own `Receiver`.
pub(crate) fn error_response(service: Service, error: &ApiError, request_id: &str) -> String {
    let namespace = service.namespace();
    let side = if error.status < 500 { "Sender" } else { "Receiver" };
    let code = escape(&error.code);
    let message = escape(&error.message);
    format!(
        "<ErrorResponse xmlns=\"{namespace}\"><Error><Type>{side}</Type><Code>{code}</Code><Message>{message}</Message></Error>\
         <RequestId>{request_id}</RequestId></ErrorResponse>"
    )
}

/// A value whose shape has no form in the protocol. It is a mistake in the lab, never in a request.
#[derive(Debug)]
pub(crate) struct WriteError(String);

/// Writes a value as one element.
struct Element<'a> {
    out: &'a mut String,
    name: &'a str,
}

/// An open element whose parts are being written.
struct Open<'a> {
    out: &'a mut String,
    name: &'a str,
}

fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for character in text.chars() {
        match character {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\r' => out.push_str("&#13;"),
            // XML 1.0 has no way to write these at all.
            '\0'..='\x08' | '\x0b' | '\x0c' | '\x0e'..='\x1f' | '\u{fffe}' | '\u{ffff}' => out.push('\u{fffd}'),
            other => out.push(other),
        }
    }
    out
}

impl<'a> Element<'a> {
    fn text(self, text: &str) -> Result<(), WriteError> {
        self.open().close(&escape(text));
        Ok(())
    }

    fn open(self) -> Open<'a> {
        self.out.push('<');
        self.out.push_str(self.name);
        self.out.push('>');
        Open { out: self.out, name: self.name }
    }

    fn no_form(&self, what: &str) -> WriteError {
        WriteError(format!("{what} at '{}' has no form in the query protocol", self.name))
    }
}

impl Open<'_> {
    fn close(self, rest: &str) {
        self.out.push_str(rest);
        self.out.push_str("</");
        self.out.push_str(self.name);
        self.out.push('>');
    }
}

impl<'a> ser::Serializer for Element<'a> {
    type Ok = ();
    type Error = WriteError;
    type SerializeSeq = Open<'a>;
    type SerializeMap = Open<'a>;
    type SerializeStruct = Open<'a>;
    type SerializeTuple = Impossible<(), WriteError>;
    type SerializeTupleStruct = Impossible<(), WriteError>;
    type SerializeTupleVariant = Impossible<(), WriteError>;
    type SerializeStructVariant = Impossible<(), WriteError>;

    fn serialize_bool(self, value: bool) -> Result<(), WriteError> {
        self.text(if value { "true" } else { "false" })
    }

    fn serialize_i8(self, value: i8) -> Result<(), WriteError> {
        self.serialize_i64(i64::from(value))
    }

    fn serialize_i16(self, value: i16) -> Result<(), WriteError> {
        self.serialize_i64(i64::from(value))
    }

    fn serialize_i32(self, value: i32) -> Result<(), WriteError> {
        self.serialize_i64(i64::from(value))
    }

    fn serialize_i64(self, value: i64) -> Result<(), WriteError> {
        self.text(&value.to_string())
    }

    fn serialize_u8(self, value: u8) -> Result<(), WriteError> {
        self.serialize_u64(u64::from(value))
    }

    fn serialize_u16(self, value: u16) -> Result<(), WriteError> {
        self.serialize_u64(u64::from(value))
    }

    fn serialize_u32(self, value: u32) -> Result<(), WriteError> {
        self.serialize_u64(u64::from(value))
    }

    fn serialize_u64(self, value: u64) -> Result<(), WriteError> {
        self.text(&value.to_string())
    }

    fn serialize_f32(self, _value: f32) -> Result<(), WriteError> {
        Err(self.no_form("a fraction"))
    }

    fn serialize_f64(self, _value: f64) -> Result<(), WriteError> {
        Err(self.no_form("a fraction"))
    }

    fn serialize_char(self, value: char) -> Result<(), WriteError> {
        self.text(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), WriteError> {
        self.text(value)
    }

    fn serialize_bytes(self, _value: &[u8]) -> Result<(), WriteError> {
        Err(self.no_form("raw bytes"))
    }

    fn serialize_none(self) -> Result<(), WriteError> {
        Ok(())
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), WriteError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), WriteError> {
        self.text("")
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), WriteError> {
        self.text("")
    }

    fn serialize_unit_variant(self, _name: &'static str, _index: u32, variant: &'static str) -> Result<(), WriteError> {
        self.text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _name: &'static str, value: &T) -> Result<(), WriteError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _value: &T,
    ) -> Result<(), WriteError> {
        Err(self.no_form("an enum with data"))
    }

    fn serialize_seq(self, _len: Option<usize>) -> Result<Open<'a>, WriteError> {
        Ok(self.open())
    }

    fn serialize_tuple(self, _len: usize) -> Result<Self::SerializeTuple, WriteError> {
        Err(self.no_form("a tuple"))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleStruct, WriteError> {
        Err(self.no_form("a tuple"))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeTupleVariant, WriteError> {
        Err(self.no_form("an enum with data"))
    }

    fn serialize_map(self, _len: Option<usize>) -> Result<Open<'a>, WriteError> {
        Ok(self.open())
    }

    fn serialize_struct(self, _name: &'static str, _len: usize) -> Result<Open<'a>, WriteError> {
        Ok(self.open())
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        _variant: &'static str,
        _len: usize,
    ) -> Result<Self::SerializeStructVariant, WriteError> {
        Err(self.no_form("an enum with data"))
    }
}

impl SerializeStruct for Open<'_> {
    type Ok = ();
    type Error = WriteError;

    fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), WriteError> {
        value.serialize(Element { out: self.out, name })
    }

    fn end(self) -> Result<(), WriteError> {
        self.close("");
        Ok(())
    }
}

impl SerializeSeq for Open<'_> {
    type Ok = ();
    type Error = WriteError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), WriteError> {
        value.serialize(Element { out: self.out, name: "member" })
    }

    fn end(self) -> Result<(), WriteError> {
        self.close("");
        Ok(())
    }
}

impl SerializeMap for Open<'_> {
    type Ok = ();
    type Error = WriteError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), WriteError> {
        self.out.push_str("<entry>");
        key.serialize(Element { out: self.out, name: "key" })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), WriteError> {
        value.serialize(Element { out: self.out, name: "value" })?;
        self.out.push_str("</entry>");
        Ok(())
    }

    fn end(self) -> Result<(), WriteError> {
        self.close("");
        Ok(())
    }
}

impl Display for WriteError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for WriteError {}

impl ser::Error for WriteError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string())
    }
}

impl From<WriteError> for ApiError {
    fn from(error: WriteError) -> Self {
        Self {
            status: 500,
            code: "InternalFailure".into(),
            message: format!("the lab cannot write its own answer: {error}"),
        }
    }
}
