//! Types to text.

use std::fmt::Write;

use serde_json::Value;

use crate::types::Field;
use crate::types::ListType;
use crate::types::ProtoField;
use crate::types::Shape;
use crate::types::Type;
use crate::types::TypeId;
use crate::types::TypePool;

/// The text of a pool of built-in types, without a heading.
///
/// Reading the text gives an equal pool; writing that gives the same text.
pub fn write(pool: &TypePool) -> String {
    let mut text = String::new();
    for (name, id) in &pool.by_name {
        let ty = &pool.types[id.0 as usize];
        text.push_str(name);
        match &ty.shape {
            Shape::Object(object) => {
                text.push_str(if object.atomic { " atomic\n" } else { "\n" });
                for field in &object.fields {
                    write_field(&mut text, pool, package_of(name), field);
                }
            }
            _ => {
                text.push_str(" = ");
                text.push_str(scalar_name(ty));
                text.push('\n');
            }
        }
    }
    text
}

/// The package of a type name: all but its last part.
pub(super) fn package_of(name: &str) -> &str {
    name.rsplit_once('.').map_or("", |(package, _)| package)
}

fn write_field(text: &mut String, pool: &TypePool, package: &str, field: &Field) {
    text.push_str("  ");
    text.push_str(&field.name);
    text.push(' ');
    write_number(text, field.proto);
    text.push(' ');
    write_type(text, pool, package, field.ty);
    if field.required {
        text.push('!');
    } else if field.proto.is_some_and(|proto| proto.presence) {
        text.push('?');
    }
    if field.patch_strategy.merge {
        text.push_str(" patch=merge");
    }
    if field.patch_strategy.retain_keys {
        text.push_str(" patch=retainKeys");
    }
    if let Some(key) = &field.patch_merge_key {
        text.push_str(" key=");
        text.push_str(key);
    }
    if let Some(default) = field.default.as_ref().and_then(Value::as_str) {
        text.push_str(" default=");
        text.push_str(default);
    }
    text.push('\n');
}

fn write_number(text: &mut String, proto: Option<ProtoField>) {
    let Some(proto) = proto else {
        text.push('-');
        return;
    };
    for outer in proto.within.iter().filter(|outer| **outer != 0) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{outer}.");
    }
    let _ = write!(text, "{}", proto.number);
}

fn write_type(text: &mut String, pool: &TypePool, package: &str, id: TypeId) {
    let ty = &pool.types[id.0 as usize];
    if let Some(name) = &ty.name {
        let local = name
            .strip_prefix(package)
            .and_then(|rest| rest.strip_prefix('.'))
            .filter(|rest| !rest.contains('.'));
        text.push_str(local.unwrap_or(name));
        return;
    }
    match &ty.shape {
        Shape::Object(object) => {
            if object.atomic {
                text.push_str("atomic");
            }
            text.push('{');
            match object.additional {
                Some(values) => write_type(text, pool, package, values),
                None => text.push_str("any"),
            }
            text.push('}');
        }
        Shape::Array(array) => {
            match &array.list {
                ListType::Atomic => {}
                ListType::Set => text.push_str("set"),
                ListType::Map(keys) => {
                    let _ = write!(text, "map({})", keys.join(","));
                }
            }
            text.push('[');
            write_type(text, pool, package, array.items);
            text.push(']');
        }
        _ => text.push_str(scalar_name(ty)),
    }
}

fn scalar_name(ty: &Type) -> &'static str {
    let format = ty
        .constraints
        .as_ref()
        .and_then(|constraints| constraints.format.as_deref());
    match ty.shape {
        Shape::String => "string",
        Shape::Bytes => "bytes",
        Shape::Boolean => "boolean",
        Shape::Integer if format == Some("int32") => "int32",
        Shape::Integer => "int64",
        Shape::Number => "double",
        Shape::IntOrString => "intorstring",
        Shape::Quantity => "quantity",
        Shape::Time => "time",
        Shape::MicroTime => "microtime",
        Shape::Any | Shape::Object(_) | Shape::Array(_) => "any",
    }
}
