//! Which fields an object has: unknown ones, pruning them, and JSON types as Go decodes them.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Map;
use serde_json::Value;

use super::MAX_VALUE_DEPTH;
use super::format;
use super::go_quote;
use crate::quantity;
use crate::types::ListType;
use crate::types::ObjectShape;
use crate::types::Shape;
use crate::types::TypeRef;

/// How many unknown fields are reported; a client mends its manifest after the first few.
pub const MAX_UNKNOWN: usize = 100;

/// A value that cannot be decoded into its kind: a 400, where a wrong value is a 422.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DecodeError(pub String);

/// The strict decoding errors (`unknown field "spec.foo"`) of every field the type does not have.
pub fn unknown(ty: &TypeRef, value: &Value) -> Vec<String> {
    let mut paths = Vec::new();
    collect_unknown(ty, value, "", 0, &mut paths);
    paths
        .iter()
        .map(|path| format!("unknown field {}", go_quote(path)))
        .collect()
}

fn joined(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

fn collect_unknown(ty: &TypeRef, value: &Value, path: &str, depth: usize, paths: &mut Vec<String>) {
    if depth > MAX_VALUE_DEPTH {
        return;
    }
    match (&ty.get().shape, value) {
        (Shape::Object(object), Value::Object(map)) => {
            for (key, child) in map {
                if paths.len() >= MAX_UNKNOWN {
                    return;
                }
                match property(ty, object, key) {
                    Property::Known(child_ty) => {
                        collect_unknown(&child_ty, child, &joined(path, key), depth + 1, paths);
                    }
                    Property::Kept => {}
                    Property::Unknown => paths.push(joined(path, key)),
                }
            }
        }
        (Shape::Array(_), Value::Array(items)) => {
            let Some(item_ty) = ty.items() else { return };
            for (index, item) in items.iter().enumerate() {
                collect_unknown(
                    &item_ty,
                    item,
                    &format!("{path}[{index}]"),
                    depth + 1,
                    paths,
                );
            }
        }
        _ => {}
    }
}

enum Property {
    Known(TypeRef),
    Kept,
    Unknown,
}

fn property(ty: &TypeRef, object: &ObjectShape, key: &str) -> Property {
    if let Some(child) = ty.property(key) {
        return Property::Known(child);
    }
    let embedded = object.embedded_resource && matches!(key, "apiVersion" | "kind" | "metadata");
    if object.preserve_unknown || embedded {
        Property::Kept
    } else {
        Property::Unknown
    }
}

/// Removes the fields that the type does not have.
pub fn prune(ty: &TypeRef, value: &mut Value) {
    prune_below(ty, value, 0);
}

fn prune_below(ty: &TypeRef, value: &mut Value, depth: usize) {
    if depth > MAX_VALUE_DEPTH {
        return;
    }
    match (&ty.get().shape, value) {
        (Shape::Object(object), Value::Object(map)) => {
            map.retain(|key, child| match property(ty, object, key) {
                Property::Known(child_ty) => {
                    prune_below(&child_ty, child, depth + 1);
                    true
                }
                Property::Kept => true,
                Property::Unknown => false,
            });
        }
        (Shape::Array(_), Value::Array(items)) => {
            let Some(item_ty) = ty.items() else { return };
            for item in items {
                prune_below(&item_ty, item, depth + 1);
            }
        }
        _ => {}
    }
}

/// Brings an object of a built-in kind into the form in which Go clients and servers exchange it:
/// null is absent (the zero value in lists and maps), what is empty is left out unless the kind
/// requires it or tells it from absent, and quantities are canonical.
pub fn normalise(ty: &TypeRef, value: &mut Value) {
    normalise_below(ty, value, 0);
}

fn normalise_below(ty: &TypeRef, value: &mut Value, depth: usize) {
    if depth > MAX_VALUE_DEPTH {
        return;
    }
    match &ty.get().shape {
        Shape::Object(object) => {
            let Value::Object(map) = value else { return };
            map.retain(|key, child| match object.field(key) {
                Some(field) => {
                    if child.is_null() {
                        return false;
                    }
                    let child_ty = ty.at(field.ty);
                    normalise_below(&child_ty, child, depth + 1);
                    let pointer = field.proto.is_none_or(|proto| proto.presence);
                    field.required || !left_out(&child_ty.get().shape, child, pointer)
                }
                None => {
                    if let Some(child_ty) = object.additional.map(|id| ty.at(id)) {
                        normalise_item(&child_ty, child, depth);
                    }
                    true
                }
            });
        }
        Shape::Array(_) => {
            let (Some(item_ty), Value::Array(items)) = (ty.items(), value) else {
                return;
            };
            for item in items {
                normalise_item(&item_ty, item, depth);
            }
        }
        Shape::Bytes => {
            // Go skips line breaks within base64 and writes none; others refuse them.
            if let Value::String(text) = value {
                text.retain(|character| !matches!(character, '\n' | '\r'));
            }
        }
        Shape::Quantity => {
            let text = match &*value {
                Value::String(text) => text.clone(),
                Value::Number(number) => number.to_string(),
                _ => return,
            };
            if let Ok(canonical) = quantity::canonical(&text) {
                *value = Value::String(canonical);
            }
        }
        _ => {}
    }
}

fn normalise_item(ty: &TypeRef, item: &mut Value, depth: usize) {
    if item.is_null() {
        *item = zero(&ty.get().shape);
    }
    normalise_below(ty, item, depth + 1);
}

/// Go's `omitempty` leaves out empty maps and lists and, where there is no pointer to them, zero
/// scalars; never structs.
fn left_out(shape: &Shape, value: &Value, pointer: bool) -> bool {
    match (shape, value) {
        (Shape::Array(_), Value::Array(items)) => items.is_empty(),
        (Shape::Object(object), Value::Object(map)) => {
            map.is_empty() && object.fields.is_empty() && object.additional.is_some()
        }
        (Shape::String, Value::String(text)) => !pointer && text.is_empty(),
        (Shape::Boolean, Value::Bool(flag)) => !pointer && !flag,
        (Shape::Integer, Value::Number(number)) => !pointer && number.as_i64() == Some(0),
        _ => false,
    }
}

fn zero(shape: &Shape) -> Value {
    match shape {
        Shape::Any | Shape::Time | Shape::MicroTime => Value::Null,
        Shape::Object(_) => Value::Object(Map::new()),
        Shape::Array(_) => Value::Array(Vec::new()),
        Shape::String | Shape::Bytes => Value::from(""),
        Shape::Quantity => Value::from("0"),
        Shape::Integer | Shape::Number | Shape::IntOrString => Value::from(0),
        Shape::Boolean => Value::Bool(false),
    }
}

/// Whether the JSON types fit the type, as Go's decoder judges it for built-in kinds: null fits
/// everything, and field names matter in their exact case.
///
/// # Errors
///
/// The first misfit, in the wording of Go's decoder.
pub fn shape_check(ty: &TypeRef, value: &Value) -> Result<(), DecodeError> {
    let place = Place {
        owner: None,
        path: Vec::new(),
    };
    Decoder { place }.check(ty, value, 0)
}

struct Place {
    /// The innermost struct and the path of JSON names to the field in it.
    owner: Option<String>,
    path: Vec<String>,
}

struct Decoder {
    place: Place,
}

impl Decoder {
    fn check(&mut self, ty: &TypeRef, value: &Value, depth: usize) -> Result<(), DecodeError> {
        if depth > MAX_VALUE_DEPTH {
            return Err(DecodeError(String::from("json: exceeded max depth")));
        }
        if value.is_null() {
            return Ok(());
        }
        match (&ty.get().shape, value) {
            (Shape::Any, _) => Ok(()),
            (Shape::Object(_), Value::Object(map)) => self.object(ty, map, depth),
            (Shape::Array(_), Value::Array(items)) => {
                let Some(item_ty) = ty.items() else {
                    return Ok(());
                };
                items
                    .iter()
                    .try_for_each(|item| self.check(&item_ty, item, depth + 1))
            }
            (Shape::String, Value::String(_))
            | (Shape::Number, Value::Number(_))
            | (Shape::Boolean, Value::Bool(_)) => Ok(()),
            (Shape::Integer, Value::Number(number)) => self.integer(ty, number),
            (Shape::Bytes, Value::String(text)) => base64_error(text),
            (Shape::IntOrString, Value::String(_)) => Ok(()),
            (Shape::IntOrString, Value::Number(number))
                if number.as_i64().is_some_and(|n| i32::try_from(n).is_ok()) =>
            {
                Ok(())
            }
            (Shape::IntOrString, other) => Err(into_value(other, "int32")),
            (Shape::Quantity, Value::String(_) | Value::Number(_)) => {
                let text = match value {
                    Value::String(text) => text.clone(),
                    other => other.to_string(),
                };
                quantity::canonical(&text)
                    .map(|_| ())
                    .map_err(|error| DecodeError(error.to_string()))
            }
            (Shape::Quantity, _) => Err(DecodeError(quantity::QuantityError::Format.to_string())),
            (Shape::Time, Value::String(text)) => time_error(text, "2006-01-02T15:04:05Z07:00"),
            (Shape::MicroTime, Value::String(text)) => {
                time_error(text, "2006-01-02T15:04:05.000000Z07:00")
            }
            (Shape::Time | Shape::MicroTime, other) => Err(into_value(other, "string")),
            (_, other) => Err(self.misfit(&json_type(other), &go_type(ty))),
        }
    }

    fn object(
        &mut self,
        ty: &TypeRef,
        map: &Map<String, Value>,
        depth: usize,
    ) -> Result<(), DecodeError> {
        for (key, child) in map {
            let Some(child_ty) = ty.property(key) else {
                continue;
            };
            if ty.field(key).is_none() {
                self.check(&child_ty, child, depth + 1)?;
                continue;
            }
            let outer = self.place.owner.replace(struct_name(ty));
            self.place.path.push(key.clone());
            self.check(&child_ty, child, depth + 1)?;
            self.place.path.pop();
            self.place.owner = outer;
        }
        Ok(())
    }

    fn integer(&self, ty: &TypeRef, number: &serde_json::Number) -> Result<(), DecodeError> {
        let width = integer_type(ty);
        let fits = match number.as_i64() {
            Some(value) => width == "int64" || i32::try_from(value).is_ok(),
            None => false,
        };
        if fits {
            return Ok(());
        }
        Err(self.misfit(&format!("number {number}"), width))
    }

    fn misfit(&self, found: &str, expected: &str) -> DecodeError {
        let place = match &self.place.owner {
            Some(owner) => format!("Go struct field {owner}.{}", self.place.path.join(".")),
            None => String::from("Go value"),
        };
        DecodeError(format!(
            "json: cannot unmarshal {found} into {place} of type {expected}"
        ))
    }
}

fn into_value(value: &Value, expected: &str) -> DecodeError {
    let found = json_type(value);
    DecodeError(format!(
        "json: cannot unmarshal {found} into Go value of type {expected}"
    ))
}

fn json_type(value: &Value) -> String {
    String::from(match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    })
}

/// The Go name of a type: `v1.PodSpec`, `[]string`, `map[string]string`.
fn go_type(ty: &TypeRef) -> String {
    match &ty.get().shape {
        Shape::Any => String::from("interface {}"),
        Shape::Object(object) => match (&ty.get().name, object.additional) {
            (Some(name), _) => {
                let mut parts = name.rsplit('.');
                let kind = parts.next().unwrap_or_default();
                match parts.next() {
                    Some(package) => format!("{package}.{kind}"),
                    None => kind.to_owned(),
                }
            }
            (None, Some(id)) => format!("map[string]{}", go_type(&ty.at(id))),
            (None, None) => String::from("struct {}"),
        },
        Shape::Array(array) => format!("[]{}", go_type(&ty.at(array.items))),
        Shape::String => String::from("string"),
        Shape::Bytes => String::from("[]uint8"),
        Shape::Integer => integer_type(ty).to_owned(),
        Shape::Number => String::from("float64"),
        Shape::Boolean => String::from("bool"),
        Shape::IntOrString => String::from("intstr.IntOrString"),
        Shape::Quantity => String::from("resource.Quantity"),
        Shape::Time => String::from("v1.Time"),
        Shape::MicroTime => String::from("v1.MicroTime"),
    }
}

fn struct_name(ty: &TypeRef) -> String {
    let name = ty.get().name.as_deref().unwrap_or_default();
    name.rsplit('.').next().unwrap_or_default().to_owned()
}

/// The Go name of an integer type; the table states the width.
fn integer_type(ty: &TypeRef) -> &'static str {
    let constraints = ty.get().constraints.as_deref();
    match constraints.and_then(|constraints| constraints.format.as_deref()) {
        Some("int32") => "int32",
        _ => "int64",
    }
}

fn base64_error(text: &str) -> Result<(), DecodeError> {
    let compact: String = text.chars().filter(|c| !matches!(c, '\n' | '\r')).collect();
    match STANDARD.decode(&compact) {
        Ok(_) => Ok(()),
        Err(error) => {
            let byte = match error {
                base64::DecodeError::InvalidByte(place, _) => place,
                _ => compact.len(),
            };
            Err(DecodeError(format!(
                "illegal base64 data at input byte {byte}"
            )))
        }
    }
}

fn time_error(text: &str, layout: &str) -> Result<(), DecodeError> {
    if format::is_rfc3339(text) {
        return Ok(());
    }
    let quoted = go_quote(text);
    Err(DecodeError(format!(
        "parsing time {quoted} as {}: cannot parse {quoted} as \"2006\"",
        go_quote(layout)
    )))
}

/// The identity of a list-map item: its key values as one object; a key with a default counts as
/// set.
pub(crate) fn item_key(ty: &TypeRef, keys: &[String], item: &Value) -> Option<Value> {
    let map = item.as_object()?;
    let mut identity = Map::new();
    for key in keys {
        let default = || ty.field(key).and_then(|field| field.default.as_ref());
        if let Some(value) = map.get(key).or_else(default) {
            identity.insert(key.clone(), value.clone());
        }
    }
    Some(Value::Object(identity))
}

/// The old items that new items of a list correspond to; only list-map items have an identity.
pub(crate) fn correlated<'a>(
    ty: &TypeRef,
    old: Option<&'a Value>,
) -> impl Fn(&Value) -> Option<&'a Value> {
    let mut known: Vec<(String, &'a Value)> = Vec::new();
    let mut identity: Option<(TypeRef, Vec<String>)> = None;
    if let (Shape::Array(array), Some(Value::Array(items))) = (&ty.get().shape, old)
        && let ListType::Map(keys) = &array.list
    {
        let item_ty = ty.at(array.items);
        for item in items {
            if let Some(key) = item_key(&item_ty, keys, item) {
                known.push((key.to_string(), item));
            }
        }
        known.sort_by(|left, right| left.0.cmp(&right.0));
        identity = Some((item_ty, keys.clone()));
    }
    move |item| {
        let (item_ty, keys) = identity.as_ref()?;
        let key = item_key(item_ty, keys, item)?.to_string();
        let place = known
            .binary_search_by(|(known, _)| known.as_str().cmp(&key))
            .ok()?;
        Some(known[place].1)
    }
}
