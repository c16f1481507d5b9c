//! Checks that many kinds share.

use serde_json::Value;

use super::object::at;
use super::object::integer;
use super::object::text;
use crate::validate::FieldError;
use crate::validate::FieldPath;

/// The integer at `field` must not be negative.
pub(super) fn not_negative(
    owner: &Value,
    field: &str,
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) {
    if let Some(value) = integer(owner, field).filter(|value| *value < 0) {
        errors.push(FieldError::invalid(
            path.child(field),
            value,
            "must be greater than or equal to 0",
        ));
    }
}

/// The string at `field` must be set and one of `supported`.
pub(super) fn one_of(
    owner: &Value,
    field: &str,
    supported: &[&str],
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) {
    match text(owner, field) {
        "" => errors.push(FieldError::required(path.child(field), "")),
        value if supported.contains(&value) => {}
        value => errors.push(FieldError::not_supported(
            path.child(field),
            value,
            supported,
        )),
    }
}

/// The string at `field`, if set, must be one of `supported`.
pub(super) fn none_or_one_of(
    owner: &Value,
    field: &str,
    supported: &[&str],
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) {
    if !text(owner, field).is_empty() {
        one_of(owner, field, supported, path, errors);
    }
}

/// The string at `field` must be set.
pub(super) fn set(owner: &Value, field: &str, path: &FieldPath, errors: &mut Vec<FieldError>) {
    if text(owner, field).is_empty() {
        errors.push(FieldError::required(path.child(field), ""));
    }
}

/// The value at `field` must stay what it is.
pub(super) fn unchanged(
    new: &Value,
    old: &Value,
    field: &str,
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) {
    if at(new, field) != at(old, field) {
        errors.push(FieldError::invalid(
            path.child(field),
            at(new, field).clone(),
            "field is immutable",
        ));
    }
}

/// Each of `wrong` is wrong with the value at `path`.
pub(super) fn all_invalid(
    wrong: Vec<String>,
    value: &str,
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) {
    for detail in wrong {
        errors.push(FieldError::invalid(path, value, detail));
    }
}
