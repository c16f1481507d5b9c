//! The columns a CustomResourceDefinition defines.

use std::borrow::Cow;

use hyades_jsonpath::JsonPath;
use hyades_jsonpath::ParseError;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

use super::Column;
use super::view::View;

/// A printer column that cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the printer column {name:?} has an invalid jsonPath {path:?}: {reason}")]
pub struct ColumnError {
    /// The column's name.
    pub name: String,
    /// Its path.
    pub path: String,
    /// What is wrong with the path.
    pub reason: ParseError,
}

/// A column and the path to its cells.
pub(super) struct CustomColumn {
    pub(super) header: Column,
    path: JsonPath,
}

/// Compiles printer columns; none at all make one that shows the age.
pub(super) fn compile(printer_columns: &[Value]) -> Result<Vec<CustomColumn>, ColumnError> {
    if printer_columns.is_empty() {
        let age = json!({
            "name": "Age",
            "type": "date",
            "description": "The time since the object was created.",
            "jsonPath": ".metadata.creationTimestamp",
        });
        return Ok(vec![compile_one(&age)?]);
    }
    printer_columns.iter().map(compile_one).collect()
}

fn compile_one(column: &Value) -> Result<CustomColumn, ColumnError> {
    let text = |name: &str| column[name].as_str().unwrap_or_default().to_owned();
    let path = text("jsonPath");
    let parsed = JsonPath::parse_relaxed(&path).map_err(|reason| ColumnError {
        name: text("name"),
        path: path.clone(),
        reason,
    })?;
    let description = match text("description") {
        description if description.is_empty() => {
            format!("Custom resource definition column (in JSONPath format): {path}")
        }
        description => description,
    };
    Ok(CustomColumn {
        header: Column {
            name: Cow::Owned(text("name")),
            kind: Cow::Owned(text("type")),
            format: Cow::Owned(text("format")),
            priority: column["priority"].as_i64().unwrap_or(0),
            description: Cow::Owned(description),
        },
        path: parsed.allow_missing_keys(true),
    })
}

impl CustomColumn {
    /// The cell of an object; null where the path selects nothing, or not what the column's type
    /// says.
    pub(super) fn cell(&self, object: &Value, now: Timestamp) -> Value {
        let found = self.path.find(object).unwrap_or_default();
        let Some(value) = found.first() else {
            return Value::Null;
        };
        match &*self.header.kind {
            "string" => Value::from(hyades_jsonpath::to_text(value)),
            "integer" => match (value.as_i64(), value.as_f64()) {
                (Some(integer), _) => Value::from(integer),
                // What Go does: cut the fraction off.
                #[allow(clippy::cast_possible_truncation)]
                (None, Some(float)) => Value::from(float as i64),
                (None, None) => Value::Null,
            },
            "number" if value.is_number() => (*value).clone(),
            "boolean" if value.is_boolean() => (*value).clone(),
            "date" => date(value, now),
            _ => Value::Null,
        }
    }
}

fn date(value: &Value, now: Timestamp) -> Value {
    let Some(text) = value.as_str() else {
        return Value::Null;
    };
    match text.parse::<Timestamp>() {
        Ok(time) => Value::from(View { object: value, now }.since(Some(time))),
        Err(_) => Value::from("<invalid>"),
    }
}
