//! The AWS query protocol, inbound: `Actions.member.1.ForwardConfig.TargetGroups.member.2.Weight=90` becomes a tree, and the
//! tree becomes a typed input through serde.
//!
//! Reading is strict. A parameter that no input knows is refused, so that a gap in the lab is noticed and not passed over.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::de::value::{MapDeserializer, SeqDeserializer};
use serde::de::{self, DeserializeOwned, Deserializer, IntoDeserializer, Visitor};
use serde::forward_to_deserialize_any;

use crate::control_plane::error::ApiError;

#[cfg(test)]
mod tests;

/// The deepest input shape is a query-string pair, eight names deep. Trees are walked recursively, so the depth has a bound.
const MAX_DEPTH: usize = 16;

/// A service of the endpoint. AWS has published one version of each API, and the version tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    LoadBalancing,
    Tokens,
}

/// One request: of which service, which operation, with which parameters.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) service: Service,
    pub(crate) action: String,
    pub(crate) parameters: Node,
}

/// The parameters as a tree; every dot in a name is one level.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Node {
    Leaf(String),
    Branch(BTreeMap<String, Node>),
}

impl Service {
    pub(crate) fn version(self) -> &'static str {
        match self {
            Self::LoadBalancing => "2015-12-01",
            Self::Tokens => "2011-06-15",
        }
    }

    /// Of the XML in answers.
    pub(crate) fn namespace(self) -> &'static str {
        match self {
            Self::LoadBalancing => "http://elasticloadbalancing.amazonaws.com/doc/2015-12-01/",
            Self::Tokens => "https://sts.amazonaws.com/doc/2011-06-15/",
        }
    }
}

impl Request {
    /// Reads a form-encoded body.
    pub(crate) fn parse(body: &[u8]) -> Result<Self, ApiError> {
        let mut root = BTreeMap::new();
        let mut action = None;
        let mut version = None;
        for (name, value) in form_urlencoded::parse(body) {
            match name.as_ref() {
                "Action" => action = Some(value.into_owned()),
                "Version" => version = Some(value.into_owned()),
                _ => insert(&mut root, &name, value.into_owned())?,
            }
        }
        let action =
            action.ok_or_else(|| ApiError::new("MissingAction", "The request must contain the parameter Action"))?;
        let service = match version {
            None => Service::LoadBalancing,
            Some(version) => [Service::LoadBalancing, Service::Tokens]
                .into_iter()
                .find(|service| service.version() == version)
                .ok_or_else(|| ApiError::unknown_operation(&action, &version))?,
        };
        Ok(Self { service, action, parameters: Node::Branch(root) })
    }
}

impl Node {
    /// The typed input of an operation.
    pub(crate) fn read<T: DeserializeOwned>(&self) -> Result<T, ApiError> {
        T::deserialize(Parameter { path: String::new(), node: self })
            .map_err(|error| ApiError::validation(error.to_string()))
    }

    /// The text of a top-level parameter, if it is there and has no parts.
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        match self {
            Self::Branch(children) => match children.get(name) {
                Some(Self::Leaf(text)) => Some(text),
                _ => None,
            },
            Self::Leaf(_) => None,
        }
    }
}

fn insert(root: &mut BTreeMap<String, Node>, name: &str, value: String) -> Result<(), ApiError> {
    if name.split('.').count() > MAX_DEPTH {
        return Err(ApiError::validation(format!("parameter name with more than {MAX_DEPTH} parts")));
    }
    let (parents, last) = name.rsplit_once('.').map_or((None, name), |(parents, last)| (Some(parents), last));
    let mut children = root;
    for part in parents.into_iter().flat_map(|parents| parents.split('.')) {
        let child = children.entry(part.to_owned()).or_insert_with(|| Node::Branch(BTreeMap::new()));
        children = match child {
            Node::Branch(children) => children,
            Node::Leaf(_) => {
                return Err(ApiError::validation(format!("parameter '{name}' lies below one that is a plain value")));
            }
        };
    }
    match children.insert(last.to_owned(), Node::Leaf(value)) {
        None => Ok(()),
        Some(_) => Err(ApiError::validation(format!("parameter '{name}' is given twice"))),
    }
}

/// A node with its full name, for the sake of error messages.
struct Parameter<'a> {
    path: String,
    node: &'a Node,
}

#[derive(Debug)]
struct ReadError {
    path: Option<String>,
    message: String,
}

impl<'a> Parameter<'a> {
    fn child(&self, name: &str, node: &'a Node) -> Self {
        let path = if self.path.is_empty() { name.to_owned() } else { format!("{}.{name}", self.path) };
        Self { path, node }
    }

    fn error(&self, message: impl Into<String>) -> ReadError {
        ReadError { path: Some(self.path.clone()), message: message.into() }
    }

    fn leaf(&self) -> Result<&'a str, ReadError> {
        match self.node {
            Node::Leaf(text) => Ok(text),
            Node::Branch(_) => Err(self.error("must be a plain value")),
        }
    }

    fn number<T: FromStr>(&self) -> Result<T, ReadError> {
        let text = self.leaf()?;
        text.parse().map_err(|_| self.error(format!("value '{text}' is not a whole number in range")))
    }

    fn branch(&self) -> Result<&'a BTreeMap<String, Node>, ReadError> {
        match self.node {
            Node::Branch(children) => Ok(children),
            Node::Leaf(_) => Err(self.error("must have parts")),
        }
    }

    /// The elements of `<name>.member.N` or `<name>.entry.N`, in the order of N.
    ///
    /// SDKs send an empty list as the bare name with an empty value; AWS takes that as absent.
    fn elements(&self, label: &str) -> Result<Vec<Self>, ReadError> {
        let children = match self.node {
            Node::Leaf(text) if text.is_empty() => return Ok(Vec::new()),
            Node::Leaf(_) => return Err(self.error(format!("must be a list ({label}.1, {label}.2, …)"))),
            Node::Branch(children) => children,
        };
        if let Some(stranger) = children.keys().find(|name| *name != label) {
            return Err(self.error(format!("a list has no part '{stranger}', only '{label}'")));
        }
        let mut elements = BTreeMap::new();
        if let Some(node) = children.get(label) {
            let list = self.child(label, node);
            for (index, node) in list.branch()? {
                let number: u32 = index.parse().map_err(|_| list.error(format!("'{index}' is not an index")))?;
                elements.insert(number, list.child(index, node));
            }
        }
        Ok(elements.into_values().collect())
    }

    fn fields(&self) -> Result<impl Iterator<Item = (&'a str, Self)>, ReadError> {
        Ok(self.branch()?.iter().map(|(name, node)| (name.as_str(), self.child(name, node))))
    }
}

impl<'de> Deserializer<'de> for Parameter<'_> {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_str(self.leaf()?).map_err(|error: ReadError| error.at(&self.path))
    }

    fn deserialize_bool<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.leaf()? {
            "true" => visitor.visit_bool(true),
            "false" => visitor.visit_bool(false),
            other => Err(self.error(format!("value '{other}' is neither true nor false"))),
        }
    }

    fn deserialize_u16<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_u16(self.number()?)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_u32(self.number()?)
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_u64(self.number()?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_seq(SeqDeserializer::new(self.elements("member")?.into_iter()))
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let mut entries = Vec::new();
        for entry in self.elements("entry")? {
            let parts = entry.branch()?;
            let (Some(Node::Leaf(key)), Some(value), 2) = (parts.get("key"), parts.get("value"), parts.len()) else {
                return Err(entry.error("must have exactly a key and a value"));
            };
            entries.push((key.as_str(), entry.child("value", value)));
        }
        visitor.visit_map(MapDeserializer::new(entries.into_iter()))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_map(MapDeserializer::new(self.fields()?)).map_err(|error| error.at(&self.path))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor
            .visit_enum(IntoDeserializer::<ReadError>::into_deserializer(self.leaf()?))
            .map_err(|error| error.at(&self.path))
    }

    forward_to_deserialize_any! {
        i8 i16 i32 i64 i128 u8 u128 f32 f64 char str string bytes byte_buf unit unit_struct newtype_struct tuple
        tuple_struct identifier ignored_any
    }
}

impl<'de> IntoDeserializer<'de, ReadError> for Parameter<'_> {
    type Deserializer = Self;

    fn into_deserializer(self) -> Self {
        self
    }
}

impl ReadError {
    /// Adds the place, unless a deeper place is known already.
    fn at(mut self, path: &str) -> Self {
        self.path.get_or_insert_with(|| path.to_owned());
        self
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_deref() {
            Some(path) if !path.is_empty() => write!(f, "parameter '{path}': {}", self.message),
            _ => f.write_str(&self.message),
        }
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self { path: None, message: message.to_string() }
    }

    fn unknown_field(field: &str, _expected: &'static [&'static str]) -> Self {
        Self { path: None, message: format!("the lab does not model a parameter '{field}' here") }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { path: None, message: format!("'{field}' must be specified") }
    }
}
