//! The columns a CustomResourceDefinition defines.

use std::borrow::Cow;

use hyades_jsonpath::JsonPath;
use hyades_jsonpath::ParseError;
use hyades_schema::crd::PrinterColumn;
use jiff::Timestamp;
use serde_json::Value;

use super::Column;
use super::view::View;

/// A printer column that cannot be shown.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the printer column {name:?} has an invalid jsonPath {path:?}: {reason}")]
pub(crate) struct ColumnError {
    /// The column's name.
    pub(crate) name: String,
    /// Its path.
    pub(crate) path: String,
    /// What is wrong with the path.
    pub(crate) reason: ParseError,
}

/// A column and the path to its cells.
#[derive(Debug)]
pub(super) struct CustomColumn {
    pub(super) header: Column,
    path: JsonPath,
}

/// Compiles printer columns; none at all make one that shows the age.
pub(super) fn compile(printer_columns: &[PrinterColumn]) -> Result<Vec<CustomColumn>, ColumnError> {
    if printer_columns.is_empty() {
        let age = PrinterColumn {
            name: "Age".into(),
            kind: "date".into(),
            format: String::new(),
            description: "The time since the object was created.".into(),
            priority: 0,
            json_path: ".metadata.creationTimestamp".into(),
        };
        return Ok(vec![compile_one(&age)?]);
    }
    printer_columns.iter().map(compile_one).collect()
}

fn compile_one(column: &PrinterColumn) -> Result<CustomColumn, ColumnError> {
    let path = &column.json_path;
    let parsed = JsonPath::parse_relaxed(path).map_err(|reason| ColumnError {
        name: column.name.clone(),
        path: path.clone(),
        reason,
    })?;
    let description = match column.description.as_str() {
        "" => format!("Custom resource definition column (in JSONPath format): {path}"),
        description => description.to_owned(),
    };
    Ok(CustomColumn {
        header: Column {
            name: Cow::Owned(column.name.clone()),
            kind: Cow::Owned(column.kind.clone()),
            format: Cow::Owned(column.format.clone()),
            priority: i64::from(column.priority),
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
