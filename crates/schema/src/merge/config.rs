//! An applied configuration: whether it fits its type, and which fields it claims.

use serde_json::Value;

use super::field_set::FieldSet;
use super::field_set::PathElement;
use super::view::Form;
use super::view::View;
use crate::types::ListType;
use crate::types::Shape;

/// Mistakes reported for one configuration. One is enough to refuse it; ten name a pattern without
/// making the message longer than a screen.
const MAX_MISTAKES: usize = 10;

/// The set of fields a value claims when it is applied.
pub(super) fn claimed(view: View<'_>, value: &Value) -> FieldSet {
    claim(view, value).1
}

/// Whether a value is itself claimed, and what is claimed beneath it.
fn claim(view: View<'_>, value: &Value) -> (bool, FieldSet) {
    let mut beneath = FieldSet::default();
    match (view.form(Some(value)), value) {
        (Form::Leaf, _) => return (true, beneath),
        (Form::Granular, Value::Object(map)) => {
            for (key, value) in map {
                let (whole, children) = claim(view.child(key), value);
                let hollow = value.is_null() || value.as_object().is_some_and(|map| map.is_empty());
                let member = whole || hollow || !view.declares(key);
                beneath.push(PathElement::field(key), member, children);
            }
        }
        (Form::Items(list), Value::Array(items)) => {
            for item in items {
                if let Ok(element) = view.identify(list, item) {
                    let (_, children) = claim(view.items(), item);
                    beneath.push(element, true, children);
                }
            }
        }
        _ => {}
    }
    (false, beneath)
}

/// Checks that a configuration fits its type; the error lists the mistakes with their paths.
pub(super) fn check(view: View<'_>, value: &Value) -> Result<(), String> {
    let mut mistakes = Vec::new();
    check_value(view, value, "", &mut mistakes);
    match mistakes.as_slice() {
        [] => Ok(()),
        [only] => Err(only.clone()),
        several => Err(format!("errors:\n  {}", several.join("\n  "))),
    }
}

fn check_value(view: View<'_>, value: &Value, path: &str, mistakes: &mut Vec<String>) {
    if mistakes.len() >= MAX_MISTAKES || value.is_null() {
        return;
    }
    if let Some(expected) = mismatch(view, value) {
        mistakes.push(format!(
            "{path}: expected {expected}, got {}",
            kind_of(value)
        ));
        return;
    }
    match (view.form(Some(value)), value) {
        (_, Value::Object(map)) => {
            let open = view.object().is_none_or(is_open);
            for (key, value) in map {
                let beneath = format!("{path}.{key}");
                if open || view.declares(key) || is_type_meta(view, key) {
                    check_value(view.child(key), value, &beneath, mistakes);
                } else {
                    mistakes.push(format!("{beneath}: field not declared in schema"));
                }
            }
        }
        (Form::Items(list), Value::Array(items)) => check_items(view, list, items, path, mistakes),
        (_, Value::Array(items)) => {
            for (place, item) in items.iter().enumerate() {
                check_value(view.items(), item, &format!("{path}[{place}]"), mistakes);
            }
        }
        _ => {}
    }
}

fn check_items(
    view: View<'_>,
    list: &ListType,
    items: &[Value],
    path: &str,
    mistakes: &mut Vec<String>,
) {
    let mut seen: Vec<PathElement> = Vec::with_capacity(items.len());
    for (place, item) in items.iter().enumerate() {
        match view.identify(list, item) {
            Err(reason) => mistakes.push(format!("{path}: element {place}: {reason}")),
            Ok(element) => {
                check_value(view.items(), item, &format!("{path}{element}"), mistakes);
                seen.push(element);
            }
        }
    }
    seen.sort();
    let repeated = seen.windows(2).filter(|pair| pair[0] == pair[1]);
    for pair in repeated {
        mistakes.push(format!("{path}: duplicate entries for key {}", pair[0]));
    }
    mistakes.truncate(MAX_MISTAKES);
}

/// An object type without any field takes what it is given, as one that keeps unknown fields does.
fn is_open(object: &crate::types::ObjectShape) -> bool {
    object.preserve_unknown || object.additional.is_some() || object.fields.is_empty()
}

/// A custom resource's schema need not mention what every object has.
fn is_type_meta(view: View<'_>, key: &str) -> bool {
    view.declares("metadata") && matches!(key, "apiVersion" | "kind")
}

/// What the type expects, if the value is not of that kind.
fn mismatch(view: View<'_>, value: &Value) -> Option<&'static str> {
    let expected = match (&view.ty()?.shape, value) {
        (Shape::Object(_), Value::Object(_)) | (Shape::Array(_), Value::Array(_)) => return None,
        (Shape::Object(_), _) => "map",
        (Shape::Array(_), _) => "list",
        (Shape::String | Shape::Bytes | Shape::Time | Shape::MicroTime, Value::String(_)) => {
            return None;
        }
        (Shape::String | Shape::Bytes | Shape::Time | Shape::MicroTime, _) => "string",
        (Shape::Integer | Shape::Number, Value::Number(_)) => return None,
        (Shape::Integer | Shape::Number, _) => "numeric (int or float)",
        (Shape::Boolean, Value::Bool(_)) => return None,
        (Shape::Boolean, _) => "boolean",
        (
            Shape::IntOrString | Shape::Quantity,
            Value::Object(_) | Value::Array(_) | Value::Bool(_),
        ) => "string or number",
        (Shape::IntOrString | Shape::Quantity | Shape::Any, _) => return None,
    };
    Some(expected)
}

fn kind_of(value: &Value) -> String {
    match value {
        Value::Object(_) => "a map".into(),
        Value::Array(_) => "a list".into(),
        scalar => scalar.to_string(),
    }
}
