//! Complete objects inside custom resources (`x-kubernetes-embedded-resource`).

use serde_json::Value;

use super::FieldError;
use super::FieldPath;
use super::MAX_ERRORS;
use super::MAX_VALUE_DEPTH;
use crate::builtin::metadata;
use crate::types::Shape;
use crate::types::TypeRef;

pub(super) fn walk(ty: &TypeRef, value: &Value, errors: &mut Vec<FieldError>) {
    below(ty, value, &FieldPath::root(), 0, errors);
}

fn below(
    ty: &TypeRef,
    value: &Value,
    path: &FieldPath,
    depth: usize,
    errors: &mut Vec<FieldError>,
) {
    if depth > MAX_VALUE_DEPTH || errors.len() >= MAX_ERRORS {
        return;
    }
    match (&ty.get().shape, value) {
        (Shape::Object(object), Value::Object(map)) => {
            if object.embedded_resource {
                check(value, path, errors);
            }
            for (key, child) in map {
                if let Some(child_ty) = ty.property(key) {
                    below(&child_ty, child, &path.child(key), depth + 1, errors);
                }
            }
        }
        (Shape::Array(_), Value::Array(items)) => {
            let Some(item_ty) = ty.items() else { return };
            for (index, item) in items.iter().enumerate() {
                below(&item_ty, item, &path.index(index), depth + 1, errors);
            }
        }
        _ => {}
    }
}

fn check(value: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    for name in ["apiVersion", "kind"] {
        let text = value.get(name).and_then(Value::as_str).unwrap_or_default();
        if text.is_empty() {
            errors.push(FieldError::required(path.child(name), "must not be empty"));
        }
    }
    if let Some(meta) = value.get("metadata") {
        errors.extend(metadata::common(meta, &path.child("metadata")));
    }
}
