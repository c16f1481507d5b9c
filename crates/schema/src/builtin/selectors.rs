//! LabelSelector objects inside other objects.

use serde_json::Value;

use super::metadata;
use super::object::list;
use super::object::text;
use crate::validate::FieldError;
use crate::validate::FieldPath;
use crate::validate::names;

/// Everything wrong with a label selector.
pub(super) fn validate(selector: &Value, path: &FieldPath) -> Vec<FieldError> {
    let mut errors = metadata::labels(selector.get("matchLabels"), &path.child("matchLabels"));
    for (index, expression) in list(selector, "matchExpressions").iter().enumerate() {
        let path = path.child("matchExpressions").index(index);
        let operator = text(expression, "operator");
        let values = list(expression, "values");
        match operator {
            "In" | "NotIn" if values.is_empty() => errors.push(FieldError::required(
                path.child("values"),
                "must be specified when `operator` is 'In' or 'NotIn'",
            )),
            "Exists" | "DoesNotExist" if !values.is_empty() => errors.push(FieldError::forbidden(
                path.child("values"),
                "may not be specified when `operator` is 'Exists' or 'DoesNotExist'",
            )),
            "In" | "NotIn" | "Exists" | "DoesNotExist" => {}
            _ => errors.push(FieldError::invalid(
                path.child("operator"),
                operator,
                "not a valid selector operator",
            )),
        }
        let key = text(expression, "key");
        for wrong in names::qualified_name(key) {
            errors.push(FieldError::invalid(path.child("key"), key, wrong));
        }
        for (index, value) in values.iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            for wrong in names::label_value(value) {
                errors.push(FieldError::invalid(
                    path.child("values").index(index),
                    value,
                    wrong,
                ));
            }
        }
    }
    errors
}
