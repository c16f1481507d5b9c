//! What is wrong with one field, in the API server's words.

use std::fmt;

use serde_json::Value;

/// Why a field's value was refused; decides the wording and the cause's reason.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldErrorKind {
    /// Something the field refers to does not exist.
    NotFound,
    /// The field must be set.
    Required,
    /// The value occurs twice where it must be unique.
    Duplicate,
    /// The value breaks a rule of its field.
    Invalid,
    /// The value is none of the allowed ones.
    NotSupported,
    /// The field must not be set, or not be changed.
    Forbidden,
    /// The value is too long.
    TooLong,
    /// The list has too many items.
    TooMany,
    /// The value has the wrong type.
    TypeInvalid,
    /// Validation itself failed.
    Internal,
}

impl FieldErrorKind {
    /// The reason of a Status cause (`FieldValueInvalid`).
    pub fn reason(self) -> &'static str {
        match self {
            Self::NotFound => "FieldValueNotFound",
            Self::Required => "FieldValueRequired",
            Self::Duplicate => "FieldValueDuplicate",
            Self::Invalid => "FieldValueInvalid",
            Self::NotSupported => "FieldValueNotSupported",
            Self::Forbidden => "FieldValueForbidden",
            Self::TooLong => "FieldValueTooLong",
            Self::TooMany => "FieldValueTooMany",
            Self::TypeInvalid => "FieldValueTypeInvalid",
            Self::Internal => "InternalError",
        }
    }

    fn words(self) -> &'static str {
        match self {
            Self::NotFound => "Not found",
            Self::Required => "Required value",
            Self::Duplicate => "Duplicate value",
            Self::Invalid | Self::TypeInvalid => "Invalid value",
            Self::NotSupported => "Unsupported value",
            Self::Forbidden => "Forbidden",
            Self::TooLong => "Too long",
            Self::TooMany => "Too many",
            Self::Internal => "Internal error",
        }
    }

    /// Whether CEL rules are left unevaluated beside such an error: they would run on a value whose
    /// type or size they cannot rely on.
    pub(crate) fn blocks_rules(self) -> bool {
        matches!(
            self,
            Self::NotSupported | Self::Required | Self::TooLong | Self::TooMany | Self::TypeInvalid
        )
    }
}

/// One refused field.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldError {
    /// Why it was refused.
    pub kind: FieldErrorKind,
    /// Where it is (`spec.containers[0].name`); `<nil>` when an error has no place.
    pub path: String,
    /// The refused value; `None` leaves it out of the text.
    pub bad_value: Option<Value>,
    /// What was expected; may be empty.
    pub detail: String,
}

impl FieldError {
    fn new(
        kind: FieldErrorKind,
        path: impl Into<String>,
        bad_value: Option<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            path: path.into(),
            bad_value,
            detail: detail.into(),
        }
    }

    /// The value breaks a rule.
    pub fn invalid(
        path: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(FieldErrorKind::Invalid, path, Some(value.into()), detail)
    }

    /// The value has the wrong type.
    pub fn type_invalid(
        path: impl Into<String>,
        value: impl Into<Value>,
        detail: impl Into<String>,
    ) -> Self {
        Self::new(
            FieldErrorKind::TypeInvalid,
            path,
            Some(value.into()),
            detail,
        )
    }

    /// The field must be set.
    pub fn required(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Required, path, None, detail)
    }

    /// The field must not be set or changed.
    pub fn forbidden(path: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(FieldErrorKind::Forbidden, path, None, detail)
    }

    /// The value occurs twice.
    pub fn duplicate(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::Duplicate, path, Some(value.into()), "")
    }

    /// What the field refers to does not exist.
    pub fn not_found(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self::new(FieldErrorKind::NotFound, path, Some(value.into()), "")
    }

    /// The value is none of `supported`, which are listed in the order given.
    pub fn not_supported<S: AsRef<str>>(
        path: impl Into<String>,
        value: impl Into<Value>,
        supported: &[S],
    ) -> Self {
        let listed: Vec<String> = supported
            .iter()
            .map(|value| go_quote(value.as_ref()))
            .collect();
        let detail = if listed.is_empty() {
            String::new()
        } else {
            format!("supported values: {}", listed.join(", "))
        };
        Self::new(
            FieldErrorKind::NotSupported,
            path,
            Some(value.into()),
            detail,
        )
    }

    /// The value is longer than `limit_bytes`.
    pub fn too_long(path: impl Into<String>, limit_bytes: u64) -> Self {
        let detail = format!("may not be more than {limit_bytes} bytes");
        Self::new(FieldErrorKind::TooLong, path, None, detail)
    }

    /// The list has `count` items, more than `limit`.
    pub fn too_many(path: impl Into<String>, count: u64, limit: u64) -> Self {
        let items = if limit == 1 { "item" } else { "items" };
        let detail = format!("must have at most {limit} {items}");
        Self::new(FieldErrorKind::TooMany, path, Some(count.into()), detail)
    }

    /// The rule failed without a value worth showing.
    pub(crate) fn without_value(mut self) -> Self {
        self.bad_value = None;
        self
    }

    /// The reason of the Status cause.
    pub fn reason(&self) -> &'static str {
        self.kind.reason()
    }

    /// The message of the Status cause: everything but the path.
    pub fn body(&self) -> String {
        let mut text = String::from(self.kind.words());
        if let Some(value) = &self.bad_value {
            text.push_str(": ");
            text.push_str(&shown(value));
        }
        if !self.detail.is_empty() {
            text.push_str(": ");
            text.push_str(&self.detail);
        }
        text
    }
}

impl fmt::Display for FieldError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.path, self.body())
    }
}

impl std::error::Error for FieldError {}

/// The message of an `Invalid` Status: `KIND "NAME" is invalid: …`, each distinct error once.
///
/// `qualified_kind` is the kind, with `.GROUP` appended outside the core group.
pub fn invalid_message(qualified_kind: &str, name: &str, errors: &[FieldError]) -> String {
    let prefix = format!("{qualified_kind} {} is invalid", go_quote(name));
    match joined(errors) {
        Some(list) => format!("{prefix}: {list}"),
        None => prefix,
    }
}

/// Distinct errors as one text: bare when there is one, else `[a, b]`; `None` without errors.
pub fn joined(errors: &[FieldError]) -> Option<String> {
    let mut distinct: Vec<String> = Vec::new();
    for error in errors {
        let text = error.to_string();
        if !distinct.contains(&text) {
            distinct.push(text);
        }
    }
    match distinct.len() {
        0 => None,
        1 => distinct.pop(),
        _ => Some(format!("[{}]", distinct.join(", "))),
    }
}

/// A string in Go's `%q` form.
pub fn go_quote(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' => quoted.push_str("\\\""),
            '\\' => quoted.push_str("\\\\"),
            '\n' => quoted.push_str("\\n"),
            '\r' => quoted.push_str("\\r"),
            '\t' => quoted.push_str("\\t"),
            '\u{7}' => quoted.push_str("\\a"),
            '\u{8}' => quoted.push_str("\\b"),
            '\u{b}' => quoted.push_str("\\v"),
            '\u{c}' => quoted.push_str("\\f"),
            control if control.is_control() && (control as u32) < 0x80 => {
                quoted.push_str(&format!("\\x{:02x}", control as u32));
            }
            control if control.is_control() => {
                quoted.push_str(&format!("\\u{:04x}", control as u32));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

fn shown(value: &Value) -> String {
    match value {
        Value::String(text) => go_quote(text),
        other => go_json(other),
    }
}

/// JSON as Go's encoder writes it: the HTML characters are escaped.
pub(crate) fn go_json(value: &Value) -> String {
    value
        .to_string()
        .replace('<', "\\u003c")
        .replace('>', "\\u003e")
        .replace('&', "\\u0026")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_read_as_the_api_server_writes_them() {
        let cases = [
            (
                FieldError::required("metadata.name", "name or generateName is required"),
                "metadata.name: Required value: name or generateName is required",
            ),
            (
                FieldError::required("spec.ports", ""),
                "spec.ports: Required value",
            ),
            (
                FieldError::not_supported("spec.color", "green", &["red", "blue"]),
                r#"spec.color: Unsupported value: "green": supported values: "red", "blue""#,
            ),
            (
                FieldError::invalid("spec.size", 0, "must be greater than 0"),
                "spec.size: Invalid value: 0: must be greater than 0",
            ),
            (
                FieldError::duplicate("spec.items[1]", json!({"id": "1"})),
                r#"spec.items[1]: Duplicate value: {"id":"1"}"#,
            ),
            (
                FieldError::too_long("spec.name", 5),
                "spec.name: Too long: may not be more than 5 bytes",
            ),
            (
                FieldError::too_many("spec.tags", 4, 3),
                "spec.tags: Too many: 4: must have at most 3 items",
            ),
            (
                FieldError::forbidden("data", "field is immutable when `immutable` is set"),
                "data: Forbidden: field is immutable when `immutable` is set",
            ),
            (
                FieldError::invalid("<nil>", Value::Null, "not checked"),
                "<nil>: Invalid value: null: not checked",
            ),
            (
                FieldError::invalid("spec", "", "too big").without_value(),
                "spec: Invalid value: too big",
            ),
        ];
        for (error, text) in cases {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn equal_errors_are_told_once() {
        let error = FieldError::forbidden("metadata.finalizers", "no");
        assert_eq!(
            invalid_message("ConfigMap", "a", &[error.clone(), error.clone()]),
            r#"ConfigMap "a" is invalid: metadata.finalizers: Forbidden: no"#
        );
        let other = FieldError::required("data", "");
        assert_eq!(
            invalid_message("Lease.coordination.k8s.io", "a", &[error, other]),
            r#"Lease.coordination.k8s.io "a" is invalid: [metadata.finalizers: Forbidden: no, data: Required value]"#
        );
    }

    #[test]
    fn quoting_is_gos() {
        assert_eq!(go_quote("a\"b\\\n\u{1}é"), "\"a\\\"b\\\\\\n\\x01é\"");
    }
}
