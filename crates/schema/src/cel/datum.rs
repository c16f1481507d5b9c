//! The result of an evaluation.

use kube_cel::cel::Value;
use serde_json::Map;
use serde_json::Number;
use serde_json::Value as Json;

/// A CEL value.
#[derive(Debug, Clone, PartialEq)]
pub struct Datum(pub(super) Value);

impl Datum {
    /// The value, if it is true or false.
    pub fn as_bool(&self) -> Option<bool> {
        match self.0 {
            Value::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The value, if it is a string.
    pub fn as_str(&self) -> Option<&str> {
        match &self.0 {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// The value, if it is a whole number of either sign.
    pub fn as_integer(&self) -> Option<i128> {
        match self.0 {
            Value::Int(value) => Some(value.into()),
            Value::UInt(value) => Some(value.into()),
            _ => None,
        }
    }

    /// The value, if it is a floating-point number.
    pub fn as_float(&self) -> Option<f64> {
        match self.0 {
            Value::Float(value) => Some(value),
            _ => None,
        }
    }

    /// Whether the value is null.
    pub fn is_null(&self) -> bool {
        matches!(self.0, Value::Null)
    }

    /// The name of the value's type.
    pub fn type_name(&self) -> String {
        self.0.type_of().to_string()
    }

    /// The value as JSON; `None` when it holds something that JSON cannot say.
    pub fn to_json(&self) -> Option<Json> {
        to_json(&self.0)
    }
}

fn to_json(value: &Value) -> Option<Json> {
    Some(match value {
        Value::Null => Json::Null,
        Value::Bool(value) => Json::Bool(*value),
        Value::Int(value) => Json::from(*value),
        Value::UInt(value) => Json::from(*value),
        Value::Float(value) => Json::Number(Number::from_f64(*value)?),
        Value::String(text) => Json::String(text.to_string()),
        Value::Timestamp(time) => {
            Json::String(time.to_utc().format("%Y-%m-%dT%H:%M:%SZ").to_string())
        }
        Value::List(items) => Json::Array(items.iter().map(to_json).collect::<Option<_>>()?),
        Value::Map(map) => {
            let entries = map.map.iter();
            let entries = entries.map(|(key, value)| Some((key.to_string(), to_json(value)?)));
            Json::Object(entries.collect::<Option<Map<_, _>>>()?)
        }
        _ => return None,
    })
}
