//! gob, the encoding of Go's `encoding/gob` package, as far as a net/rpc peer needs it.
//!
//! A gob stream is a row of messages, each with its length before it. A message holds a type definition, or a value,
//! or a part of a value: where an interface holds a type that the stream has not defined yet, Go cuts the value there,
//! sends the definitions, and goes on in a later message. One message is therefore not one value. [`Decoder`] takes the
//! bytes as they arrive, goes over each message once, and gives whole values; [`Value`] is then read through serde.
//! [`Encoder`] writes values that describe their own type.
//!
//! Nothing here knows what the values mean. Nothing here panics on what a peer sends, or keeps more than [`Limits`] say.
//!
//! Source: `encoding/gob` of Go 1.26: `doc.go`, `decoder.go`, `decode.go`, `encoder.go`, `encode.go`, `type.go`.

pub use decoder::{Decoder, Value};
pub use encode::{Datum, Encode, Encoder};
pub use error::Error;

mod de;
mod decoder;
mod encode;
mod error;
mod types;
mod walk;
mod wire;

/// What one peer may make a [`Decoder`] hold. Go's own decoder takes messages of up to 8 GiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of one message.
    pub message_bytes: usize,
    /// Bytes of all messages that one value came in, with the type definitions among them.
    pub value_bytes: usize,
    /// Structs, slices, arrays, maps and interfaces inside each other. Reading a value takes stack in proportion: at the
    /// default less than 1 MiB, half of what a thread usually has, even in a debug build.
    pub depth: usize,
    /// Values inside one value: fields that were sent, elements, keys.
    pub elements: usize,
    /// Type definitions of one stream.
    pub types: usize,
    /// Bytes of all type definitions of one stream.
    pub type_bytes: usize,
}

impl Default for Limits {
    /// Far above what a rollouts controller sends: it defines 250 types in 22 KB, which allow values 17 deep, and etcd
    /// keeps an object below 2 MB, in which there is room for 250,000 values of the shortest kind.
    fn default() -> Self {
        Self {
            message_bytes: 8 << 20,
            value_bytes: 8 << 20,
            depth: 64,
            elements: 250_000,
            types: 10_000,
            type_bytes: 256 << 10,
        }
    }
}

#[cfg(test)]
mod tests;
