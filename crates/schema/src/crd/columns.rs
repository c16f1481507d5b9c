//! Paths into a schema: selectable fields, printer columns and the scale subresource.

use serde_json::Value;

use super::compile::Hoisted;
use crate::validate::FieldError;
use crate::validate::FieldPath;

/// How many fields of a version can be selected by, as upstream limits it.
const MAX_SELECTABLE: u64 = 8;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(version: &'a Value, key: &str) -> &'a [Value] {
    version
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// The schema node at a simple path (`.spec.color`).
fn schema_at<'a>(schema: &'a Value, path: &str) -> Option<&'a Value> {
    path.strip_prefix('.')?
        .split('.')
        .try_fold(schema, |node, step| node.get("properties")?.get(step))
}

pub(super) fn selectable(version: &Value, at: &Hoisted, errors: &mut Vec<FieldError>) {
    let schema = version.pointer("/schema/openAPIV3Schema");
    let fields = list(version, "selectableFields");
    let base = at.path("selectableFields", "selectableFields");
    if fields.len() as u64 > MAX_SELECTABLE {
        errors.push(FieldError::too_many(
            &base,
            fields.len() as u64,
            MAX_SELECTABLE,
        ));
    }
    for (index, field) in fields.iter().enumerate() {
        let path = text(field, "jsonPath");
        let at = base.index(index).child("jsonPath");
        if path.is_empty() {
            errors.push(FieldError::required(at, ""));
            continue;
        }
        let Some(node) = schema.and_then(|schema| schema_at(schema, path)) else {
            let detail = "is an invalid path: does not refer to a valid field";
            errors.push(FieldError::invalid(at, path, detail));
            continue;
        };
        if !["string", "boolean", "integer"].contains(&text(node, "type")) {
            let detail = "must point to a field of type string, boolean or integer. Enum string fields and strings with formats are allowed.";
            errors.push(FieldError::invalid(at, path, detail));
        } else if path.starts_with(".metadata.") {
            let detail = "must not point to fields in metadata";
            errors.push(FieldError::invalid(at, path, detail));
        }
        if fields[..index]
            .iter()
            .any(|other| text(other, "jsonPath") == path)
        {
            errors.push(FieldError::duplicate(
                base.index(index).child("jsonPath"),
                path,
            ));
        }
    }
}

pub(super) fn printer(version: &Value, at: &Hoisted, errors: &mut Vec<FieldError>) {
    const TYPES: [&str; 5] = ["boolean", "date", "integer", "number", "string"];
    const FORMATS: [&str; 9] = [
        "byte",
        "date",
        "date-time",
        "double",
        "float",
        "int32",
        "int64",
        "password",
        "",
    ];
    let base = at.path("additionalPrinterColumns", "additionalPrinterColumns");
    for (index, column) in list(version, "additionalPrinterColumns").iter().enumerate() {
        let at = base.index(index);
        if text(column, "name").is_empty() {
            errors.push(FieldError::required(at.child("name"), ""));
        }
        let kind = text(column, "type");
        if kind.is_empty() {
            let detail = format!("must be one of {}", TYPES.join(","));
            errors.push(FieldError::required(at.child("type"), detail));
        } else if !TYPES.contains(&kind) {
            let detail = format!("must be one of {}", TYPES.join(","));
            errors.push(FieldError::invalid(at.child("type"), kind, detail));
        }
        let format = text(column, "format");
        if !FORMATS.contains(&format) {
            let detail = format!("must be one of {}", FORMATS[..8].join(","));
            errors.push(FieldError::invalid(at.child("format"), format, detail));
        }
        if text(column, "jsonPath").is_empty() {
            errors.push(FieldError::required(at.child("jsonPath"), ""));
        }
    }
}

pub(super) fn scale(version: &Value, at: &Hoisted, errors: &mut Vec<FieldError>) {
    let Some(scale) = version.pointer("/subresources/scale") else {
        return;
    };
    let base: FieldPath = at.path("subresources", "subresources").child("scale");
    let mut check = |name: &str, required: bool, under: &[&str]| {
        let path = text(scale, name);
        let at = base.child(name);
        if path.is_empty() {
            if required {
                errors.push(FieldError::required(at, ""));
            }
            return;
        }
        if !under.iter().any(|prefix| path.starts_with(prefix)) {
            let places: Vec<&str> = under
                .iter()
                .map(|prefix| prefix.trim_end_matches('.'))
                .collect();
            let detail = format!("should be a json path under {}", places.join(" or "));
            errors.push(FieldError::invalid(at, path, detail));
        }
    };
    check("specReplicasPath", true, &[".spec."]);
    check("statusReplicasPath", true, &[".status."]);
    check("labelSelectorPath", false, &[".spec.", ".status."]);
}
