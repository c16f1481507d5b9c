//! JSON to bytes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Map;
use serde_json::Value;

use super::MAGIC;
use super::MAX_NESTING;
use super::ProtoError;
use super::special::SCHEMA;
use super::special::Special;
use super::special::parse_time;
use super::wire::put_bytes;
use super::wire::put_double;
use super::wire::put_message;
use super::wire::put_number;
use crate::kinds::Builtin;
use crate::types::Field;
use crate::types::ObjectShape;
use crate::types::ProtoField;
use crate::types::Shape;
use crate::types::TypeId;

type Result<T> = std::result::Result<T, ProtoError>;

pub(super) fn body(builtin: &Builtin, object: &Value, out: &mut Vec<u8>) -> Result<()> {
    let word = |key: &str| object[key].as_str().unwrap_or_default();
    let (api_version, kind) = (word("apiVersion"), word("kind"));
    let unknown = || ProtoError::UnknownKind {
        api_version: api_version.to_owned(),
        kind: kind.to_owned(),
    };
    let described = builtin.describe(api_version, kind).ok_or_else(unknown)?;
    out.extend_from_slice(MAGIC);
    put_message(out, 1, |out| {
        put_bytes(out, 1, api_version.as_bytes());
        put_bytes(out, 2, kind.as_bytes());
        Ok::<(), ProtoError>(())
    })?;
    let encoder = Encoder { builtin };
    put_message(out, 2, |out| {
        encoder.message(described.ty().id, object, MAX_NESTING, out)
    })?;
    // Go writes the content's encoding and type even when they are empty.
    put_bytes(out, 3, b"");
    put_bytes(out, 4, b"");
    Ok(())
}

pub(super) fn watch_event(
    builtin: &Builtin,
    event_type: &str,
    object: &Value,
    out: &mut Vec<u8>,
) -> Result<()> {
    put_bytes(out, 1, event_type.as_bytes());
    put_message(out, 2, |out| {
        put_message(out, 1, |out| body(builtin, object, out))
    })
}

fn mismatch(expected: &'static str, found: &Value) -> ProtoError {
    /// Enough of a wrong value to recognise it by.
    const MAX_SHOWN_CHARACTERS: usize = 64;
    ProtoError::Mismatch {
        path: String::new(),
        expected,
        found: found
            .to_string()
            .chars()
            .take(MAX_SHOWN_CHARACTERS)
            .collect(),
    }
}

/// The numbers that lead to a field, 0 after the last.
fn path(proto: ProtoField) -> [u16; 3] {
    match proto.within {
        [0, _] => [proto.number, 0, 0],
        [outer, 0] => [outer, proto.number, 0],
        [outer, inner] => [outer, inner, proto.number],
    }
}

struct Present<'a> {
    path: [u16; 3],
    field: &'a Field,
    value: &'a Value,
}

struct Encoder<'a> {
    builtin: &'a Builtin,
}

impl<'a> Encoder<'a> {
    fn shape(&self, id: TypeId) -> &'a Shape {
        &self.builtin.pool.types[id.0 as usize].shape
    }

    /// The fields of an object, in the order of their numbers.
    fn message(&self, id: TypeId, value: &Value, levels: usize, out: &mut Vec<u8>) -> Result<()> {
        let levels = levels.checked_sub(1).ok_or(ProtoError::TooDeep)?;
        match (self.shape(id), value) {
            (_, Value::Null) => Ok(()),
            (Shape::Object(shape), Value::Object(object)) => {
                let present = present_fields(shape, object);
                self.fields(&present, 0, levels, out)
            }
            _ => Err(mismatch("an object", value)),
        }
    }

    /// Fields whose paths agree up to `depth`, those of embedded messages in a message together.
    fn fields(
        &self,
        mut present: &[Present<'_>],
        depth: usize,
        levels: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        while let Some(first) = present.first() {
            let number = first.path[depth];
            let together = present.partition_point(|field| field.path[depth] == number);
            let (group, rest) = present.split_at(together);
            let embedded = first.path.get(depth + 1).is_some_and(|inner| *inner != 0);
            if embedded {
                put_message(out, number, |out| {
                    self.fields(group, depth + 1, levels, out)
                })?;
            } else {
                self.field(number, first.field.ty, first.value, levels, out)
                    .map_err(|error| error.within(&first.field.name))?;
            }
            present = rest;
        }
        Ok(())
    }

    fn field(
        &self,
        number: u16,
        ty: TypeId,
        value: &Value,
        levels: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        match (self.shape(ty), value) {
            (Shape::Array(array), Value::Array(items)) => {
                for (place, item) in items.iter().enumerate() {
                    self.value(number, array.items, item, levels, out)
                        .map_err(|error| error.within(&format!("[{place}]")))?;
                }
                Ok(())
            }
            (Shape::Array(_), other) => Err(mismatch("a list", other)),
            (Shape::Object(shape), Value::Object(map)) if shape.additional.is_some() => {
                for (key, value) in map {
                    put_message(out, number, |out| {
                        put_bytes(out, 1, key.as_bytes());
                        self.map_value(shape.additional, value, levels, out)
                    })
                    .map_err(|error| error.within(&format!("[{key}]")))?;
                }
                Ok(())
            }
            _ => self.value(number, ty, value, levels, out),
        }
    }

    fn map_value(
        &self,
        ty: Option<TypeId>,
        value: &Value,
        levels: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let Some(ty) = ty else { return Ok(()) };
        match self.shape(ty) {
            // A list as the value of a map is a message with the items under number 1.
            Shape::Array(_) => put_message(out, 2, |out| match value {
                Value::Null => Ok(()),
                _ => self.field(1, ty, value, levels, out),
            }),
            _ => self.value(2, ty, value, levels, out),
        }
    }

    /// A single value, present even when it is `null`: what lists and maps hold.
    fn value(
        &self,
        number: u16,
        ty: TypeId,
        value: &Value,
        levels: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        if let Some(special) = Special::of(&self.builtin.pool.types[ty.0 as usize]) {
            return put_message(out, number, |out| self.special(special, value, levels, out));
        }
        match (self.shape(ty), value) {
            (Shape::String, Value::String(text)) => put_bytes(out, number, text.as_bytes()),
            (Shape::Bytes, Value::String(text)) => {
                let bytes = STANDARD.decode(text);
                let bytes = bytes.map_err(|_| mismatch("base64", value))?;
                put_bytes(out, number, &bytes);
            }
            (Shape::String | Shape::Bytes, Value::Null) => put_bytes(out, number, b""),
            (Shape::String | Shape::Bytes, _) => return Err(mismatch("a string", value)),
            (Shape::Boolean, Value::Bool(truth)) => put_number(out, number, u64::from(*truth)),
            (Shape::Boolean, _) => return Err(mismatch("true or false", value)),
            (Shape::Integer, _) => {
                let integer = value
                    .as_i64()
                    .ok_or_else(|| mismatch("an integer", value))?;
                put_number(out, number, integer.cast_unsigned());
            }
            (Shape::Number, _) => {
                let double = value.as_f64().ok_or_else(|| mismatch("a number", value))?;
                put_double(out, number, double);
            }
            _ => {
                return put_message(out, number, |out| self.message(ty, value, levels, out));
            }
        }
        Ok(())
    }

    fn special(
        &self,
        special: Special,
        value: &Value,
        levels: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        match (special, value) {
            (Special::Json, _) => {
                put_bytes(out, 1, value.to_string().as_bytes());
                Ok(())
            }
            (_, Value::Null) => Ok(()),
            (Special::Time | Special::MicroTime, _) => {
                let time = value.as_str().and_then(parse_time);
                let (seconds, nanoseconds) =
                    time.ok_or_else(|| mismatch("an RFC 3339 time", value))?;
                let nanoseconds = match special {
                    Special::MicroTime => nanoseconds / 1000 * 1000,
                    _ => 0,
                };
                put_number(out, 1, seconds.cast_unsigned());
                put_number(out, 2, nanoseconds.cast_unsigned());
                Ok(())
            }
            (Special::Quantity, Value::String(text)) => {
                put_bytes(out, 1, text.as_bytes());
                Ok(())
            }
            (Special::Quantity, Value::Number(number)) => {
                put_bytes(out, 1, number.to_string().as_bytes());
                Ok(())
            }
            (Special::Quantity, _) => Err(mismatch("a quantity", value)),
            (Special::IntOrString, _) => int_or_string(value, out),
            _ => self.schema_or(special, value, levels, out),
        }
    }

    /// The three messages that hold a schema or something simpler.
    fn schema_or(
        &self,
        special: Special,
        value: &Value,
        levels: usize,
        out: &mut Vec<u8>,
    ) -> Result<()> {
        let schema = self.builtin.pool.by_name[SCHEMA];
        match (special, value) {
            (Special::SchemaOrBool, Value::Bool(allows)) => {
                put_number(out, 1, u64::from(*allows));
                Ok(())
            }
            (Special::SchemaOrBool, _) => {
                put_number(out, 1, 1);
                self.value(2, schema, value, levels, out)
            }
            (Special::SchemaOrArray, Value::Array(schemas)) => schemas
                .iter()
                .try_for_each(|item| self.value(2, schema, item, levels, out)),
            (Special::SchemaOrStringArray, Value::Array(strings)) => {
                for string in strings {
                    let text = string
                        .as_str()
                        .ok_or_else(|| mismatch("a string", string))?;
                    put_bytes(out, 2, text.as_bytes());
                }
                Ok(())
            }
            _ => self.value(1, schema, value, levels, out),
        }
    }
}

/// Fields of the type that the object has, sorted by path. `null` means absence.
fn present_fields<'a>(shape: &'a ObjectShape, object: &'a Map<String, Value>) -> Vec<Present<'a>> {
    let mut present: Vec<Present<'_>> = object
        .iter()
        .filter(|(_, value)| !value.is_null())
        .filter_map(|(name, value)| {
            let field = shape.field(name)?;
            Some(Present {
                path: path(field.proto?),
                field,
                value,
            })
        })
        .collect();
    present.sort_by_key(|field| field.path);
    present
}

fn int_or_string(value: &Value, out: &mut Vec<u8>) -> Result<()> {
    let (is_string, integer, text) = match value {
        Value::String(text) => (1, 0, text.as_str()),
        _ => {
            let integer = value.as_i64();
            (
                0,
                integer.ok_or_else(|| mismatch("an integer or a string", value))?,
                "",
            )
        }
    };
    put_number(out, 1, is_string);
    put_number(out, 2, integer.cast_unsigned());
    put_bytes(out, 3, text.as_bytes());
    Ok(())
}
