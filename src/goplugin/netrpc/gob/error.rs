//! What can be wrong with a stream, or with a value for the one who reads it.

use std::fmt::{self, Display};

/// Why a stream cannot be read on, or, for [`Error::Mismatch`] alone, why one value is not what its reader wants.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A message is longer than [`Limits::message_bytes`](super::Limits::message_bytes).
    #[error("a message of {declared} bytes is announced; at most {limit} are taken")]
    MessageTooBig {
        /// What its length says, in bytes.
        declared: u64,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A value's messages are longer than [`Limits::value_bytes`](super::Limits::value_bytes).
    #[error("a value takes more than {limit} bytes")]
    ValueTooBig {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A value nests deeper than [`Limits::depth`](super::Limits::depth).
    #[error("a value nests more than {limit} deep")]
    TooDeep {
        /// The limit.
        limit: usize,
    },
    /// A value has more parts than [`Limits::elements`](super::Limits::elements).
    #[error("a value has more than {limit} elements")]
    TooManyElements {
        /// The limit.
        limit: usize,
    },
    /// More types are defined than [`Limits::types`](super::Limits::types).
    #[error("more than {limit} types are defined")]
    TooManyTypes {
        /// The limit.
        limit: usize,
    },
    /// Type definitions are longer than [`Limits::type_bytes`](super::Limits::type_bytes).
    #[error("type definitions take more than {limit} bytes")]
    TypesTooBig {
        /// The limit, in bytes.
        limit: usize,
    },
    /// A message ends before what it began.
    #[error("a message ends inside a value")]
    Truncated,
    /// An integer claims more than eight bytes.
    #[error("an integer of more than 8 bytes")]
    BadInteger,
    /// A type's number is not one that can be defined.
    #[error("type {id} cannot be defined: numbers from 64 to 2147483647 can")]
    BadTypeId {
        /// The number.
        id: i64,
    },
    /// A type is defined again.
    #[error("type {id} is defined twice")]
    DuplicateType {
        /// The type's number.
        id: i64,
    },
    /// A type is used that was not defined.
    #[error("type {id} is not defined")]
    UndefinedType {
        /// The type's number.
        id: i64,
    },
    /// A type's definition makes no sense.
    #[error("the definition of type {id} {problem}")]
    BadDefinition {
        /// The type's number.
        id: i64,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// A message goes on after a type definition, outside any value.
    #[error("a message goes on after its type definition")]
    TrailingBytes,
    /// A struct carries a field that its type does not have.
    #[error("a field beyond the {fields} that struct {name:?} has")]
    NoSuchField {
        /// The struct's name.
        name: String,
        /// How many fields it has.
        fields: usize,
    },
    /// An array's length is not its type's.
    #[error("{sent} elements for an array of {length}")]
    ArrayLength {
        /// How many were sent.
        sent: u64,
        /// How many its type says.
        length: u64,
    },
    /// A value that is no struct lacks the zero byte before it.
    #[error("a value that is no struct begins with {found}, not with 0")]
    BadSingleton {
        /// What is there.
        found: u64,
    },
    /// The name of an interface's type is longer than Go takes, or no text.
    #[error("an interface's type has a name that is longer than 1024 bytes, or not UTF-8")]
    BadName,
    /// A value is not what its reader wants. The stream is sound, and can be read on.
    #[error("{}{problem}", Place(path))]
    Mismatch {
        /// Where in the value: `Rollout.Spec.Steps[2].SetWeight`. Empty for the value itself.
        path: String,
        /// What was found and what was wanted.
        problem: String,
    },
}

/// A path, set before what is said of it.
struct Place<'a>(&'a str);

impl Error {
    /// The same error, seen from one level further out: `step` leads to where it happened.
    pub(super) fn under(self, step: impl Display) -> Self {
        match self {
            Self::Mismatch { path, problem } => {
                let dot = if path.is_empty() || path.starts_with('[') { "" } else { "." };
                Self::Mismatch { path: format!("{step}{dot}{path}"), problem }
            }
            other => other,
        }
    }
}

impl Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() { Ok(()) } else { write!(f, "{}: ", self.0) }
    }
}

impl serde::de::Error for Error {
    fn custom<T: Display>(problem: T) -> Self {
        Self::Mismatch { path: String::new(), problem: problem.to_string() }
    }
}
