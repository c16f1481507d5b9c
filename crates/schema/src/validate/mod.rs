//! Whether a value fits its type: shapes, constraints, rules, and what a schema fills in.
//!
//! ```text
//!  body ─▶ fields::shape_check (built-in kinds: wrong JSON types are a 400)
//!       ─▶ fields::unknown / fields::prune
//!       ─▶ default
//!       ─▶ check: schema ─▶ embedded objects ─▶ sets and maps ─▶ CEL rules
//! ```

mod check;
mod default;
mod embedded;
mod error;
pub mod fields;
mod format;
mod lists;
pub mod names;
mod path;
mod rules;

use serde_json::Value;

pub use check::Compiled;
pub(crate) use check::compile_pattern;
pub use default::default;
pub use error::FieldError;
pub use error::FieldErrorKind;
pub(crate) use error::go_json;
pub use error::go_quote;
pub use error::invalid_message;
pub use error::joined;
pub use format::is_rfc3339;
pub use path::FieldPath;
pub use rules::RuleSet;
pub(crate) use rules::undefined_field;

use crate::types::TypeRef;

/// How deep a value is followed. The parser admits less; values built otherwise end here with an
/// error instead of an exhausted stack.
pub const MAX_VALUE_DEPTH: usize = 200;

/// How many errors one check reports; beyond it more text helps nobody.
pub const MAX_ERRORS: usize = 200;

/// Everything wrong with `new` by its schema, in the API server's words and order.
///
/// With `old`, an update is checked: values that did not change are not held against the request,
/// and transition rules see the old value as `oldSelf`. Metadata is not looked into; see
/// [`crate::builtin::metadata`].
pub fn check(ty: &TypeRef, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    check::walk(ty, new, old, &mut errors);
    embedded::walk(ty, new, &mut errors);
    lists::walk(ty, new, old, &mut errors);
    if !rules::present(ty) {
        return errors;
    }
    if errors.iter().any(|error| error.kind.blocks_rules()) {
        errors.push(FieldError::invalid(
            path::NOWHERE,
            Value::Null,
            "some validation rules were not checked because the object was invalid; correct the existing errors to complete validation",
        ));
    } else {
        rules::walk(ty, new, old, &mut errors);
    }
    errors
}

#[cfg(test)]
mod tests;
