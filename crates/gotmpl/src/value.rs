//! Values as Go's reflection sees them: what they hold, and as what they are declared.

use std::collections::BTreeMap;
use std::ops::Deref;
use std::rc::Rc;

use serde_json::Map;
use serde_json::Value;

/// What a value is.
#[derive(Debug, Clone)]
pub(crate) enum Item<'a> {
    /// No value at all: Go's invalid `reflect.Value`.
    Missing,
    /// The nil of an interface, JSON's null.
    Nil,
    Bool(bool),
    Int(i64, IntType),
    Float(f64),
    Text(Text<'a>),
    List(&'a [Value]),
    Map(&'a Map<String, Value>),
    Strings(&'a BTreeMap<String, String>),
}

/// A string, cheap to clone however long it is.
#[derive(Debug, Clone)]
pub(crate) enum Text<'a> {
    Borrowed(&'a str),
    Shared(Rc<str>),
}

impl Deref for Text<'_> {
    type Target = str;

    fn deref(&self) -> &str {
        match self {
            Self::Borrowed(text) => text,
            Self::Shared(text) => text,
        }
    }
}

/// The integer types that occur.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IntType {
    /// Constants, lengths and indexes.
    Int,
    /// Data.
    Int64,
    /// A byte of a string.
    Uint8,
}

/// A value where it was found.
#[derive(Debug, Clone)]
pub(crate) struct Found<'a> {
    pub(crate) item: Item<'a>,
    /// Whether it was found in a place of type `interface {}`.
    pub(crate) boxed: bool,
}

impl<'a> Item<'a> {
    pub(crate) fn from_json(value: &'a Value) -> Self {
        match value {
            Value::Null => Self::Nil,
            Value::Bool(value) => Self::Bool(*value),
            Value::Number(number) => match number.as_i64() {
                Some(value) => Self::Int(value, IntType::Int64),
                None => Self::Float(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => Self::Text(Text::Borrowed(text)),
            Value::Array(items) => Self::List(items),
            Value::Object(map) => Self::Map(map),
        }
    }

    pub(crate) fn int(value: usize) -> Self {
        Self::Int(i64::try_from(value).unwrap_or(i64::MAX), IntType::Int)
    }

    pub(crate) fn text(text: impl Into<Rc<str>>) -> Self {
        Self::Text(Text::Shared(text.into()))
    }

    /// As a value of its own type.
    pub(crate) fn found(self) -> Found<'a> {
        Found {
            item: self,
            boxed: false,
        }
    }

    /// As an element of a map or list.
    pub(crate) fn boxed(self) -> Found<'a> {
        Found {
            item: self,
            boxed: true,
        }
    }

    /// Nil without the interface that was nil.
    pub(crate) fn unboxed(self) -> Self {
        match self {
            Self::Nil => Self::Missing,
            item => item,
        }
    }

    /// The name of the type; that of nothing is `<nil>`.
    pub(crate) fn type_name(&self) -> &'static str {
        match self {
            Self::Missing | Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_, IntType::Int) => "int",
            Self::Int(_, IntType::Int64) => "int64",
            Self::Int(_, IntType::Uint8) => "uint8",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(_) => "[]interface {}",
            Self::Map(_) => "map[string]interface {}",
            Self::Strings(_) => "map[string]string",
        }
    }

    /// Whether `if` takes it for true: whether it is there and not zero or empty.
    pub(crate) fn is_true(&self) -> bool {
        match self {
            Self::Missing | Self::Nil => false,
            Self::Bool(value) => *value,
            Self::Int(value, _) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Text(text) => !text.is_empty(),
            Self::List(items) => !items.is_empty(),
            Self::Map(map) => !map.is_empty(),
            Self::Strings(map) => !map.is_empty(),
        }
    }
}

impl Found<'_> {
    /// The type of the place.
    pub(crate) fn type_name(&self) -> &'static str {
        if self.boxed {
            "interface {}"
        } else {
            self.item.type_name()
        }
    }
}

/// The entries of a map in the order of their keys, whatever order it keeps.
pub(crate) fn sorted(map: &Map<String, Value>) -> Vec<(&str, &Value)> {
    let mut entries: Vec<_> = map
        .iter()
        .map(|(key, value)| (key.as_str(), value))
        .collect();
    entries.sort_by_key(|(key, _)| *key);
    entries
}
