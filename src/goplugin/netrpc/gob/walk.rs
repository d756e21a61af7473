//! Going over one value once, message by message, as the messages arrive.
//!
//! What is left behind is the value alone: the definitions inside it are in the type table, and the type numbers and
//! counts that frame it are gone. It is whole, every length in it fits, and it is within the limits, so it can be read
//! without a second thought. A stack of its own takes the place of recursion, since a value may end in the middle of a
//! message and begin again in the next.

use std::sync::Arc;

use super::Limits;
use super::error::Error;
use super::types::{Struct, Type, TypeId, Types};
use super::wire::{Cursor, empty, put_int};

/// The longest name of a type that Go takes in an interface (`decodeInterface` in `decode.go`), in bytes.
const MAX_NAME: usize = 1024;

/// One value, or what there is of it.
#[derive(Debug, Default)]
pub(super) struct Walk {
    next: Next,
    stack: Vec<Frame>,
    /// The value's type, once it was read.
    root: Option<TypeId>,
    /// The value as far as it was walked: each interface as name, type number and content, all else as it was sent.
    value: Vec<u8>,
    /// Bytes of all its messages.
    received: usize,
    elements: usize,
}

/// What the next bytes are.
#[derive(Clone, Copy, Debug, Default)]
enum Next {
    /// Type definitions, then the number of the type of a value, then the value: at the top, or in an interface.
    /// Only here may a message end before its value does (`decodeTypeSequence` in `decoder.go`).
    #[default]
    TypeSequence,
    /// A value of this type.
    Value(TypeId),
    /// Whatever the innermost frame is in the middle of.
    Rest,
    /// Nothing that belongs to the value.
    End,
}

/// Something that has values inside it, and how far it was walked.
#[derive(Debug)]
enum Frame {
    Struct { structure: Arc<Struct>, next_field: u64 },
    Elements { element: TypeId, left: u64 },
    Entries { key: TypeId, element: TypeId, left: u64, in_entry: bool },
    Interface,
}

impl Walk {
    /// The whole value's type and bytes. None when messages are missing.
    pub(super) fn whole(&self) -> Option<(TypeId, &[u8])> {
        match self.next {
            Next::End => Some((self.root?, &self.value)),
            _ => None,
        }
    }

    /// Forgets the value, to walk the next one.
    pub(super) fn clear(&mut self) {
        let mut value = std::mem::take(&mut self.value);
        empty(&mut value);
        *self = Self { value, ..Self::default() };
    }

    /// How many values were walked, the value itself and all inside it.
    pub(super) fn elements(&self) -> usize {
        self.elements
    }

    /// How many bytes are set aside for the value.
    pub(super) fn held(&self) -> usize {
        self.value.capacity()
    }

    /// Walks the next message. What follows the value in its message is ignored, as Go does.
    ///
    /// # Errors
    /// When the message is not gob, or goes beyond `limits`. The walk is of no use then.
    pub(super) fn feed(&mut self, message: &[u8], types: &mut Types, limits: &Limits) -> Result<(), Error> {
        self.received = self.received.saturating_add(message.len());
        if self.received > limits.value_bytes {
            return Err(Error::ValueTooBig { limit: limits.value_bytes });
        }
        if message.is_empty() {
            return Err(Error::Truncated);
        }
        let mut cursor = Cursor::new(message);
        // Where the part of the value begins that was walked, but not kept yet.
        let mut unkept = message;
        loop {
            match self.next {
                Next::TypeSequence => {
                    if cursor.is_empty() {
                        return Ok(());
                    }
                    self.type_sequence(&mut cursor, types, limits)?;
                    unkept = cursor.rest();
                }
                Next::Value(id) => {
                    self.begin(id, &mut cursor, types, limits)?;
                    if matches!(self.next, Next::TypeSequence) {
                        self.keep(unkept, cursor);
                    }
                }
                Next::Rest => {
                    if cursor.is_empty() && matches!(self.stack.last(), Some(Frame::Struct { .. })) {
                        // Go lets the end of a message end a struct too. The reader of the value need not know.
                        self.keep(unkept, cursor);
                        unkept = cursor.rest();
                        self.value.push(0);
                        self.stack.pop();
                    } else {
                        self.go_on(&mut cursor)?;
                    }
                }
                Next::End => {
                    self.keep(unkept, cursor);
                    return Ok(());
                }
            }
        }
    }

    /// Keeps what was walked since `unkept`.
    fn keep(&mut self, unkept: &[u8], cursor: Cursor<'_>) {
        let walked = unkept.len() - cursor.rest().len();
        self.value.extend_from_slice(unkept.get(..walked).unwrap_or_default());
    }

    /// One step of a type sequence: a definition, or the type of the value that follows.
    fn type_sequence(&mut self, cursor: &mut Cursor<'_>, types: &mut Types, limits: &Limits) -> Result<(), Error> {
        let in_interface = !self.stack.is_empty();
        let id = cursor.int()?;
        if id < 0 {
            types.define(id.checked_neg().ok_or(Error::BadTypeId { id })?, cursor, limits)?;
            if !cursor.is_empty() {
                if !in_interface {
                    return Err(Error::TrailingBytes);
                }
                // Inside an interface that is inside another, the parts follow each other in one message. Each has the
                // count before it that it would have as a message.
                cursor.uint()?;
            }
            return Ok(());
        }
        let type_id = TypeId::new(id)?;
        let is_struct = matches!(types.get(type_id)?, Type::Struct(_));
        if in_interface {
            put_int(&mut self.value, id);
            // The length of what follows, or only of a part of it when types are defined within. Go does not look at
            // it either.
            cursor.uint()?;
        } else {
            self.root = Some(type_id);
        }
        if !is_struct {
            match cursor.uint()? {
                0 => {}
                found => return Err(Error::BadSingleton { found }),
            }
        }
        self.next = Next::Value(type_id);
        Ok(())
    }

    /// Walks a value of a type, or into it when it has values inside.
    fn begin(&mut self, id: TypeId, cursor: &mut Cursor<'_>, types: &Types, limits: &Limits) -> Result<(), Error> {
        if self.elements >= limits.elements {
            return Err(Error::TooManyElements { limit: limits.elements });
        }
        self.elements += 1;
        self.next = Next::Rest;
        let frame = match types.get(id)? {
            Type::Bool | Type::Int | Type::Uint | Type::Float => {
                cursor.uint()?;
                return Ok(());
            }
            Type::Complex => {
                cursor.uint()?;
                cursor.uint()?;
                return Ok(());
            }
            Type::Bytes | Type::String | Type::Opaque => {
                cursor.bytes()?;
                return Ok(());
            }
            Type::Interface => {
                let name = cursor.bytes()?;
                if name.is_empty() {
                    return Ok(());
                }
                if name.len() > MAX_NAME || std::str::from_utf8(name).is_err() {
                    return Err(Error::BadName);
                }
                self.next = Next::TypeSequence;
                Frame::Interface
            }
            &Type::Array { element, length } => {
                let sent = cursor.uint()?;
                if sent != length {
                    return Err(Error::ArrayLength { sent, length });
                }
                Frame::Elements { element, left: length }
            }
            &Type::Slice { element } => Frame::Elements { element, left: cursor.uint()? },
            &Type::Map { key, element } => Frame::Entries { key, element, left: cursor.uint()?, in_entry: false },
            Type::Struct(structure) => Frame::Struct { structure: Arc::clone(structure), next_field: 0 },
        };
        // How many bytes the elements take is not known yet: an interface among them may go on in a later message.
        if let Frame::Elements { left, .. } | Frame::Entries { left, .. } = frame
            && usize::try_from(left).map_or(true, |left| left > limits.elements - self.elements)
        {
            return Err(Error::TooManyElements { limit: limits.elements });
        }
        if self.stack.len() >= limits.depth {
            return Err(Error::TooDeep { limit: limits.depth });
        }
        self.stack.push(frame);
        Ok(())
    }

    /// Finds what is next in the innermost frame, and leaves it at its end.
    fn go_on(&mut self, cursor: &mut Cursor<'_>) -> Result<(), Error> {
        let next = match self.stack.last_mut() {
            None => {
                self.next = Next::End;
                return Ok(());
            }
            Some(Frame::Struct { structure, next_field }) => match cursor.uint()? {
                0 => None,
                delta => {
                    let number = next_field.saturating_add(delta - 1);
                    *next_field = number.saturating_add(1);
                    let field = usize::try_from(number).ok().and_then(|number| structure.fields.get(number));
                    Some(field.map(|field| field.type_id).ok_or_else(|| Error::NoSuchField {
                        name: structure.name.to_string(),
                        fields: structure.fields.len(),
                    })?)
                }
            },
            Some(Frame::Elements { left: 0, .. } | Frame::Entries { left: 0, .. } | Frame::Interface) => None,
            // A struct at the end of a message takes no byte. Without this, a count could make any number of them.
            Some(Frame::Elements { .. } | Frame::Entries { .. }) if cursor.is_empty() => return Err(Error::Truncated),
            Some(Frame::Elements { element, left }) => {
                *left -= 1;
                Some(*element)
            }
            Some(Frame::Entries { key, element, left, in_entry }) => {
                *in_entry = !*in_entry;
                if *in_entry {
                    Some(*key)
                } else {
                    *left -= 1;
                    Some(*element)
                }
            }
        };
        match next {
            Some(id) => self.next = Next::Value(id),
            None => drop(self.stack.pop()),
        }
        Ok(())
    }
}
