//! Objects as tables, for clients that ask for `as=Table`.
//!
//! ```text
//!  built-in kind ─▶ printers ─┐
//!                             ├─▶ Columns ─▶ table(object or list) ─▶ meta.k8s.io/v1 Table
//!  printer columns of a CRD ──┘
//! ```
//!
//! A built-in kind's columns are a row in a table of [`Printer`]s; a kind without one has a name and
//! a time of creation. Names, types, formats and priorities are upstream's.

mod cells;
mod cluster;
mod core;
mod custom;
mod duration;
mod event;
mod extension;
mod pod;
mod view;
mod workload;

use std::borrow::Cow;

use hyades_schema::crd::PrinterColumn;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

pub(crate) use custom::ColumnError;

use crate::encode::IncludeObject;
use view::View;

/// The header of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Column {
    /// The header's text; clients show it in capitals.
    pub(crate) name: Cow<'static, str>,
    /// An OpenAPI type: `string`, `integer`, `number`, `boolean` or `date`.
    pub(crate) kind: Cow<'static, str>,
    /// An OpenAPI format; `name` marks the object's name.
    pub(crate) format: Cow<'static, str>,
    /// 0 for columns that are always shown, above for those of a wide listing.
    pub(crate) priority: i64,
    /// What the cells say.
    pub(crate) description: Cow<'static, str>,
}

impl Column {
    fn to_value(&self) -> Value {
        json!({
            "name": self.name,
            "type": self.kind,
            "format": self.format,
            "description": self.description,
            "priority": self.priority,
        })
    }
}

/// The header of a built-in kind's column.
#[derive(Debug, Clone, Copy)]
struct Header {
    name: &'static str,
    kind: &'static str,
    format: &'static str,
    priority: i64,
    description: &'static str,
}

impl Header {
    const fn new(name: &'static str, kind: &'static str, description: &'static str) -> Self {
        Self {
            name,
            kind,
            format: "",
            priority: 0,
            description,
        }
    }

    const fn text(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "string", description)
    }

    const fn integer(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "integer", description)
    }

    const fn boolean(name: &'static str, description: &'static str) -> Self {
        Self::new(name, "boolean", description)
    }

    /// Shows the column in wide listings only.
    const fn wide(self) -> Self {
        Self {
            priority: 1,
            ..self
        }
    }

    /// Marks the column as holding a name.
    const fn named(self) -> Self {
        Self {
            format: "name",
            ..self
        }
    }

    fn column(&self) -> Column {
        Column {
            name: Cow::Borrowed(self.name),
            kind: Cow::Borrowed(self.kind),
            format: Cow::Borrowed(self.format),
            priority: self.priority,
            description: Cow::Borrowed(self.description),
        }
    }
}

/// The object's name, the first column of most tables.
const NAME: Header = Header::text(
    "Name",
    "The object's name, unique within its kind and namespace.",
)
.named();

/// The time since creation, in most tables.
const AGE: Header = Header::text("Age", "The time since the object was created.");

/// How the objects of a built-in resource are shown.
#[derive(Debug)]
struct Printer {
    group: &'static str,
    plural: &'static str,
    columns: &'static [Header],
    row: fn(View<'_>) -> Vec<Value>,
}

/// The table of kinds that have no columns of their own.
static PLAIN: Printer = Printer {
    group: "",
    plural: "",
    columns: &[
        NAME,
        Header::new("Created At", "date", "When the object was created."),
    ],
    row: |view| {
        vec![
            view.name(),
            view.get("/metadata/creationTimestamp")
                .cloned()
                .unwrap_or_default(),
        ]
    },
};

/// The columns of one resource.
#[derive(Debug)]
pub(crate) struct Columns(Source);

#[derive(Debug)]
enum Source {
    BuiltIn(&'static Printer),
    Custom(Vec<custom::CustomColumn>),
}

impl Columns {
    /// The columns of a built-in resource (`apps`, `deployments`).
    pub(crate) fn built_in(group: &str, plural: &str) -> Self {
        let printers = [
            core::PRINTERS,
            workload::PRINTERS,
            extension::PRINTERS,
            cluster::PRINTERS,
        ];
        let found = printers
            .into_iter()
            .flatten()
            .find(|printer| printer.group == group && printer.plural == plural);
        Self(Source::BuiltIn(found.unwrap_or(&PLAIN)))
    }

    /// A name and a time of creation.
    pub(crate) fn plain() -> Self {
        Self(Source::BuiltIn(&PLAIN))
    }

    /// The columns of a custom resource: its name, and what `additionalPrinterColumns` of the
    /// served version says, or its age if that is empty.
    pub(crate) fn custom(printer_columns: &[PrinterColumn]) -> Result<Self, ColumnError> {
        custom::compile(printer_columns).map(|columns| Self(Source::Custom(columns)))
    }

    /// The headers.
    pub(crate) fn headers(&self) -> Vec<Column> {
        match &self.0 {
            Source::BuiltIn(printer) => printer.columns.iter().map(Header::column).collect(),
            Source::Custom(columns) => {
                let own = columns.iter().map(|column| column.header.clone());
                std::iter::once(NAME.column()).chain(own).collect()
            }
        }
    }

    /// The cells of one object.
    pub(crate) fn row(&self, object: &Value, now: Timestamp) -> Vec<Value> {
        match &self.0 {
            Source::BuiltIn(printer) => (printer.row)(View { object, now }),
            Source::Custom(columns) => {
                let name = View { object, now }.name();
                let own = columns.iter().map(|column| column.cell(object, now));
                std::iter::once(name).chain(own).collect()
            }
        }
    }
}

/// Shows objects as a table. `with_headers` is false for all but the first event of a watch.
pub(crate) fn table(
    objects: &[Value],
    metadata: Value,
    columns: &Columns,
    include: IncludeObject,
    with_headers: bool,
    now: Timestamp,
) -> Value {
    let headers = match with_headers {
        true => columns.headers().iter().map(Column::to_value).collect(),
        false => Value::Null,
    };
    let rows = objects
        .iter()
        .map(|object| row(object, columns, include, now));
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": metadata,
        "columnDefinitions": headers,
        "rows": rows.collect::<Vec<_>>(),
    })
}

fn row(object: &Value, columns: &Columns, include: IncludeObject, now: Timestamp) -> Value {
    let carried = match include {
        IncludeObject::Nothing => Value::Null,
        IncludeObject::Metadata => json!({
            "kind": "PartialObjectMetadata",
            "apiVersion": "meta.k8s.io/v1",
            "metadata": object["metadata"],
        }),
        IncludeObject::Object => object.clone(),
    };
    let mut row = json!({"cells": columns.row(object, now), "object": carried});
    if let Source::BuiltIn(printer) = &columns.0
        && std::ptr::fn_addr_eq(printer.row, pod::row as fn(View<'_>) -> Vec<Value>)
        && let Some(conditions) = pod::row_conditions(object)
    {
        row["conditions"] = conditions;
    }
    row
}

#[cfg(test)]
mod tests;
