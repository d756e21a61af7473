//! From bytes as they arrive to whole values (`decoder.go`).

use serde::Deserialize;

use super::Limits;
use super::de;
use super::error::Error;
use super::types::{Type, TypeId, Types};
use super::walk::Walk;
use super::wire::{Cursor, empty};

/// What a value inside another takes once it is read, in bytes: a struct of two texts and a number is 56, and vectors
/// grow by doubling.
const ELEMENT_BYTES: usize = 128;

/// One direction of one stream: what arrived and was not read yet, and the types that were defined so far.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    arrived: Arrived,
    types: Types,
    walk: Walk,
    /// Why the stream cannot be read on.
    broken: Option<Error>,
}

/// One whole value. It was checked: it can fail to be what its reader wants, but not to be gob.
#[derive(Clone, Copy, Debug)]
pub struct Value<'a> {
    types: &'a Types,
    type_id: TypeId,
    bytes: &'a [u8],
    elements: usize,
}

/// The bytes that were not walked yet.
#[derive(Debug, Default)]
struct Arrived {
    bytes: Vec<u8>,
    /// How many of them were walked.
    walked: usize,
}

impl Decoder {
    /// A decoder at the start of a stream.
    #[must_use]
    pub fn new(limits: Limits) -> Self {
        Self { limits, arrived: Arrived::default(), types: Types::default(), walk: Walk::default(), broken: None }
    }

    /// Takes bytes as they arrive, in any pieces. They are copied and kept until [`next_value`](Self::next_value) gets
    /// to them, so take all values between two pieces.
    ///
    /// # Errors
    /// When the stream broke before, or these bytes announce a message that is longer than allowed.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.sound()?;
        self.arrived.push(bytes);
        let announced = self.arrived.announced(&self.limits);
        self.remember(announced).map(|_| ())
    }

    /// The next whole value. None when bytes of it are missing.
    ///
    /// # Errors
    /// When the stream is not gob, or goes beyond the limits. It cannot be read on then, and the error stays.
    pub fn next_value(&mut self) -> Result<Option<Value<'_>>, Error> {
        self.sound()?;
        let walked = self.walk_on();
        self.remember(walked)?;
        Ok(self.value())
    }

    /// The value that [`next_value`](Self::next_value) gave last.
    #[must_use]
    pub fn value(&self) -> Option<Value<'_>> {
        let elements = self.walk.elements();
        self.walk.whole().map(|(type_id, bytes)| Value { types: &self.types, type_id, bytes, elements })
    }

    /// How many bytes are set aside for what has arrived. The type definitions, which [`Limits`] bound, are not counted.
    #[must_use]
    pub fn held_bytes(&self) -> usize {
        self.arrived.bytes.capacity() + self.walk.held()
    }

    /// Walks messages until a value is whole, or no whole message is left.
    fn walk_on(&mut self) -> Result<(), Error> {
        if self.walk.whole().is_some() {
            self.walk.clear();
        }
        while self.walk.whole().is_none() {
            let Some(message) = self.arrived.next_message(&self.limits)? else { break };
            self.walk.feed(message, &mut self.types, &self.limits)?;
        }
        Ok(())
    }

    fn sound(&self) -> Result<(), Error> {
        self.broken.clone().map_or(Ok(()), Err)
    }

    fn remember<T>(&mut self, result: Result<T, Error>) -> Result<T, Error> {
        result.inspect_err(|error| self.broken = Some(error.clone()))
    }
}

impl<'a> Value<'a> {
    /// Reads the value as a `T`. Structs are maps by field name, and a field of Go's zero value is not there: targets
    /// want `#[serde(default)]`. Bytes, and what a Go type's own method encoded, are bytes. A nil interface is unit, and
    /// None for an `Option`; any other interface is what it holds.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with the place where the value does not fit.
    pub fn deserialize<T: Deserialize<'a>>(&self) -> Result<T, Error> {
        T::deserialize(de::Deserializer::new(self.types, self.type_id, &mut Cursor::new(self.bytes)))
    }

    /// How many bytes a reader may come to hold that keeps all of it: the texts, and for each value inside as much as a
    /// small struct in a map takes.
    #[must_use]
    pub fn footprint(&self) -> usize {
        self.bytes.len().saturating_add(self.elements.saturating_mul(ELEMENT_BYTES))
    }

    /// Whether this is an interface that holds nothing.
    #[must_use]
    pub fn is_nil(&self) -> bool {
        self.sent_name().is_some_and(<[u8]>::is_empty)
    }

    /// The name that the peer registered with gob for the type in this interface. None when this is no interface, or
    /// holds nothing.
    #[must_use]
    pub fn interface_name(&self) -> Option<&'a str> {
        self.sent_name().filter(|name| !name.is_empty()).and_then(|name| std::str::from_utf8(name).ok())
    }

    fn sent_name(&self) -> Option<&'a [u8]> {
        match self.types.get(self.type_id) {
            Ok(Type::Interface) => Cursor::new(self.bytes).bytes().ok(),
            _ => None,
        }
    }
}

impl Arrived {
    fn push(&mut self, bytes: &[u8]) {
        // What was walked is dropped once it is the larger part: no byte is moved more than twice then.
        if self.walked > self.bytes.len() / 2 {
            self.bytes.drain(..self.walked);
            self.walked = 0;
        }
        self.bytes.extend_from_slice(bytes);
    }

    /// Where the next message begins, and its length. None when the length is not there yet.
    fn announced(&self, limits: &Limits) -> Result<Option<(usize, usize)>, Error> {
        let mut cursor = Cursor::new(self.bytes.get(self.walked..).unwrap_or_default());
        let declared = match cursor.uint() {
            Ok(declared) => declared,
            Err(Error::Truncated) => return Ok(None),
            Err(error) => return Err(error),
        };
        match usize::try_from(declared) {
            Ok(length) if length <= limits.message_bytes => Ok(Some((self.bytes.len() - cursor.rest().len(), length))),
            _ => Err(Error::MessageTooBig { declared, limit: limits.message_bytes }),
        }
    }

    /// The next message, if all of it is there.
    fn next_message(&mut self, limits: &Limits) -> Result<Option<&[u8]>, Error> {
        if self.walked == self.bytes.len() {
            empty(&mut self.bytes);
            self.walked = 0;
        }
        let Some((start, length)) = self.announced(limits)? else { return Ok(None) };
        let Some(message) = self.bytes.get(start..).and_then(|rest| rest.get(..length)) else { return Ok(None) };
        self.walked = start + length;
        Ok(Some(message))
    }
}

#[cfg(test)]
mod tests {
    use super::super::wire::KEPT_BYTES;
    use super::super::wire::put_bytes;
    use super::*;

    /// The messages of a text of this many bytes.
    fn text(length: usize) -> Vec<u8> {
        let mut body = vec![12, 0];
        put_bytes(&mut body, &vec![b'x'; length]);
        let mut message = Vec::new();
        put_bytes(&mut message, &body);
        message
    }

    fn held(decoder: &Decoder) -> usize {
        decoder.arrived.bytes.capacity()
    }

    #[test]
    fn a_length_alone_takes_no_memory() {
        let mut decoder = Decoder::new(Limits { message_bytes: 1 << 40, ..Limits::default() });
        // Allowed, and far from arrived: a gigabyte.
        decoder.push(&[0xfc, 0x40, 0, 0, 0, 12, 0]).unwrap();
        assert!(decoder.next_value().unwrap().is_none());
        assert!(held(&decoder) < 1024);
    }

    #[test]
    fn what_was_walked_is_dropped_while_the_stream_goes_on() {
        let mut decoder = Decoder::new(Limits::default());
        let message = text(1000);
        let (head, tail) = message.split_at(500);
        decoder.push(head).unwrap();
        for _ in 0..1000 {
            // There is always half a message left over.
            decoder.push(&[tail, head].concat()).unwrap();
            assert_eq!(decoder.next_value().unwrap().unwrap().deserialize::<&str>().unwrap().len(), 1000);
            assert!(decoder.next_value().unwrap().is_none());
        }
        assert!(held(&decoder) < 10_000, "{} bytes are held", held(&decoder));
    }

    #[test]
    fn a_large_value_is_given_back() {
        let mut decoder = Decoder::new(Limits::default());
        let large = 3 << 20;
        for piece in text(large).chunks(4096) {
            decoder.push(piece).unwrap();
        }
        assert_eq!(decoder.next_value().unwrap().unwrap().deserialize::<&str>().unwrap().len(), large);
        assert!(held(&decoder) >= large);
        assert!(decoder.next_value().unwrap().is_none());
        assert!(held(&decoder) <= KEPT_BYTES);
        assert!(decoder.held_bytes() <= 2 * KEPT_BYTES);
    }
}
