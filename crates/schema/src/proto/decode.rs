//! Bytes to JSON.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Map;
use serde_json::Number;
use serde_json::Value;

use super::MAGIC;
use super::MAX_NESTING;
use super::MAX_VALUES;
use super::ProtoError;
use super::special::SCHEMA;
use super::special::Special;
use super::special::micro_time_text;
use super::special::time_text;
use super::wire::Content;
use super::wire::Reader;
use crate::kinds::Builtin;
use crate::kinds::Described;
use crate::types::ArrayShape;
use crate::types::Field;
use crate::types::ObjectShape;
use crate::types::Shape;
use crate::types::TypeId;

/// What a body may still use up.
pub(super) struct Budget {
    levels: usize,
    values: usize,
}

impl Default for Budget {
    fn default() -> Budget {
        Budget {
            levels: MAX_NESTING,
            values: MAX_VALUES,
        }
    }
}

impl Budget {
    fn value(&mut self) -> Result<(), ProtoError> {
        self.values = self
            .values
            .checked_sub(1)
            .ok_or(ProtoError::TooManyValues)?;
        Ok(())
    }

    fn nested<T>(
        &mut self,
        inner: impl FnOnce(&mut Budget) -> Result<T, ProtoError>,
    ) -> Result<T, ProtoError> {
        self.levels = self.levels.checked_sub(1).ok_or(ProtoError::TooDeep)?;
        let result = inner(self);
        self.levels += 1;
        result
    }
}

fn malformed(problem: &'static str) -> ProtoError {
    ProtoError::Malformed {
        path: String::new(),
        problem,
    }
}

/// The envelope's content.
#[derive(Default)]
struct Envelope<'a> {
    api_version: &'a str,
    kind: &'a str,
    raw: &'a [u8],
    content_encoding: &'a str,
    content_type: &'a str,
}

pub(super) fn body(
    builtin: &Builtin,
    body: &[u8],
    budget: &mut Budget,
) -> Result<Value, ProtoError> {
    let message = body.strip_prefix(MAGIC).ok_or(ProtoError::NoMagic)?;
    let envelope = envelope(message)?;
    if !envelope.content_encoding.is_empty() {
        return Err(ProtoError::ContentEncoding(
            envelope.content_encoding.to_owned(),
        ));
    }
    if envelope.content_type == "application/json" {
        return json(envelope.raw);
    }
    let unknown = || ProtoError::UnknownKind {
        api_version: envelope.api_version.to_owned(),
        kind: envelope.kind.to_owned(),
    };
    let described = builtin
        .describe(envelope.api_version, envelope.kind)
        .ok_or_else(unknown)?;
    let mut object = Map::new();
    object.insert("apiVersion".to_owned(), envelope.api_version.into());
    object.insert("kind".to_owned(), envelope.kind.into());
    let decoder = Decoder { builtin };
    decoder.message_into(described.ty().id, envelope.raw, &mut object, budget)?;
    if let Described::List { .. } = described {
        object
            .entry("items")
            .or_insert_with(|| Value::Array(Vec::new()));
    }
    Ok(Value::Object(object))
}

fn envelope(message: &[u8]) -> Result<Envelope<'_>, ProtoError> {
    let mut envelope = Envelope::default();
    let mut reader = Reader::new(message);
    while let Some((number, content)) = reader.next().map_err(malformed)? {
        match (number, content) {
            (1, Content::Bytes(bytes)) => {
                let mut type_meta = Reader::new(bytes);
                while let Some((number, content)) = type_meta.next().map_err(malformed)? {
                    match (number, content) {
                        (1, Content::Bytes(bytes)) => envelope.api_version = text(bytes)?,
                        (2, Content::Bytes(bytes)) => envelope.kind = text(bytes)?,
                        _ => {}
                    }
                }
            }
            (2, Content::Bytes(bytes)) => envelope.raw = bytes,
            (3, Content::Bytes(bytes)) => envelope.content_encoding = text(bytes)?,
            (4, Content::Bytes(bytes)) => envelope.content_type = text(bytes)?,
            _ => {}
        }
    }
    Ok(envelope)
}

fn text(bytes: &[u8]) -> Result<&str, ProtoError> {
    std::str::from_utf8(bytes).map_err(|_| malformed("a string is not UTF-8"))
}

fn json(bytes: &[u8]) -> Result<Value, ProtoError> {
    serde_json::from_slice(bytes).map_err(|_| malformed("embedded JSON is not JSON"))
}

/// The embedded messages between an object and the fields being read.
#[derive(Clone, Copy, Default)]
struct Scope {
    within: [u16; 2],
    depth: usize,
}

/// What a number means in a scope.
enum Meaning<'a> {
    Field(&'a Field),
    Embedded(Scope),
    Unknown,
}

impl Scope {
    fn meaning(self, object: &ObjectShape, number: u32) -> Meaning<'_> {
        let Ok(number) = u16::try_from(number) else {
            return Meaning::Unknown;
        };
        let mut inner = self;
        if let Some(slot) = inner.within.get_mut(self.depth) {
            *slot = number;
        }
        inner.depth += 1;
        for field in &object.fields {
            let Some(proto) = &field.proto else { continue };
            if proto.within == self.within && proto.number == number {
                return Meaning::Field(field);
            }
            let outer = inner.within.get(..inner.depth);
            if outer.is_some_and(|outer| proto.within.starts_with(outer)) {
                return Meaning::Embedded(inner);
            }
        }
        Meaning::Unknown
    }
}

struct Decoder<'a> {
    builtin: &'a Builtin,
}

impl<'a> Decoder<'a> {
    fn shape(&self, id: TypeId) -> &'a Shape {
        &self.builtin.pool.types[id.0 as usize].shape
    }

    fn special(&self, id: TypeId) -> Option<Special> {
        Special::of(&self.builtin.pool.types[id.0 as usize])
    }

    /// Reads a message of an object type into `object`. A message that comes in parts adds up.
    fn message_into(
        &self,
        id: TypeId,
        message: &[u8],
        object: &mut Map<String, Value>,
        budget: &mut Budget,
    ) -> Result<(), ProtoError> {
        match self.shape(id) {
            Shape::Object(shape) => budget
                .nested(|budget| self.fields(shape, Scope::default(), message, object, budget)),
            _ => Err(malformed("a message where the type has none")),
        }
    }

    fn fields(
        &self,
        shape: &ObjectShape,
        scope: Scope,
        message: &[u8],
        object: &mut Map<String, Value>,
        budget: &mut Budget,
    ) -> Result<(), ProtoError> {
        let mut reader = Reader::new(message);
        while let Some((number, content)) = reader.next().map_err(malformed)? {
            match (scope.meaning(shape, number), content) {
                (Meaning::Field(field), content) => self
                    .field(field, content, object, budget)
                    .map_err(|error| error.within(&field.name))?,
                (Meaning::Embedded(inner), Content::Bytes(bytes)) => {
                    self.fields(shape, inner, bytes, object, budget)?;
                }
                (Meaning::Embedded(_) | Meaning::Unknown, _) => {}
            }
        }
        Ok(())
    }

    fn field(
        &self,
        field: &Field,
        content: Content<'_>,
        object: &mut Map<String, Value>,
        budget: &mut Budget,
    ) -> Result<(), ProtoError> {
        match self.shape(field.ty) {
            Shape::Array(array) => {
                let slot = object
                    .entry(field.name.as_str())
                    .or_insert_with(|| Value::Array(Vec::new()));
                let Value::Array(items) = slot else {
                    return Err(malformed("a list under the name of another field"));
                };
                self.item(array, content, items, budget)
            }
            Shape::Object(shape) => {
                let bytes = expect_bytes(content)?;
                let slot = object
                    .entry(field.name.as_str())
                    .or_insert_with(|| Value::Object(Map::new()));
                let Value::Object(inner) = slot else {
                    return Err(malformed("an object under the name of another field"));
                };
                budget.value()?;
                match shape.additional {
                    Some(values) => self.entry(values, bytes, inner, budget),
                    None => self.message_into(field.ty, bytes, inner, budget),
                }
            }
            _ => {
                let value = self.value(field.ty, content, budget)?;
                let keeps_zero = field.required || field.proto.is_some_and(|p| p.presence);
                if keeps_zero || !is_zero(&value) || self.special(field.ty).is_some() {
                    // An absent time or JSON value has an empty message.
                    if !value.is_null() {
                        object.insert(field.name.clone(), value);
                    }
                } else {
                    object.remove(&field.name);
                }
                Ok(())
            }
        }
    }

    /// One element of a repeated field, or several numbers packed into one.
    fn item(
        &self,
        array: &ArrayShape,
        content: Content<'_>,
        items: &mut Vec<Value>,
        budget: &mut Budget,
    ) -> Result<(), ProtoError> {
        if let (Shape::Integer, Content::Bytes(packed)) = (self.shape(array.items), content) {
            let mut reader = Reader::new(packed);
            while !reader.is_empty() {
                let number = Content::Varint(reader.varint().map_err(malformed)?);
                items.push(self.value(array.items, number, budget)?);
            }
            return Ok(());
        }
        let place = items.len();
        let item = self
            .value(array.items, content, budget)
            .map_err(|error| error.within(&format!("[{place}]")))?;
        items.push(item);
        Ok(())
    }

    /// One entry of a map: a message of key and value.
    fn entry(
        &self,
        values: TypeId,
        message: &[u8],
        map: &mut Map<String, Value>,
        budget: &mut Budget,
    ) -> Result<(), ProtoError> {
        let mut key = "";
        let mut value = None;
        let mut reader = Reader::new(message);
        while let Some((number, content)) = reader.next().map_err(malformed)? {
            match (number, content) {
                (1, Content::Bytes(bytes)) => key = text(bytes)?,
                (2, content) => {
                    let decoded = match self.shape(values) {
                        Shape::Array(array) => self.wrapped_list(array, content, budget),
                        _ => self.value(values, content, budget),
                    };
                    value = Some(decoded.map_err(|error| error.within(&format!("[{key}]")))?);
                }
                _ => {}
            }
        }
        let value = value.unwrap_or_else(|| self.empty(values));
        map.insert(key.to_owned(), value);
        Ok(())
    }

    /// A list as the value of a map: a message with the items under number 1.
    fn wrapped_list(
        &self,
        array: &ArrayShape,
        content: Content<'_>,
        budget: &mut Budget,
    ) -> Result<Value, ProtoError> {
        let mut items = Vec::new();
        let mut reader = Reader::new(expect_bytes(content)?);
        while let Some((number, content)) = reader.next().map_err(malformed)? {
            if number == 1 {
                self.item(array, content, &mut items, budget)?;
            }
        }
        Ok(Value::Array(items))
    }

    /// What a map entry without a value holds.
    fn empty(&self, id: TypeId) -> Value {
        match self.shape(id) {
            Shape::Object(_) => Value::Object(Map::new()),
            Shape::Array(_) => Value::Array(Vec::new()),
            Shape::Integer => 0.into(),
            Shape::Number => Value::from(0.0),
            Shape::Boolean => false.into(),
            Shape::Quantity => "0".into(),
            Shape::String | Shape::Bytes => "".into(),
            Shape::Any | Shape::IntOrString | Shape::Time | Shape::MicroTime => Value::Null,
        }
    }

    fn value(
        &self,
        id: TypeId,
        content: Content<'_>,
        budget: &mut Budget,
    ) -> Result<Value, ProtoError> {
        budget.value()?;
        if let Some(special) = self.special(id) {
            let bytes = expect_bytes(content)?;
            return self.special_value(special, bytes, budget);
        }
        match (self.shape(id), content) {
            (Shape::String, Content::Bytes(bytes)) => Ok(text(bytes)?.into()),
            (Shape::Bytes, Content::Bytes(bytes)) => Ok(STANDARD.encode(bytes).into()),
            (Shape::Boolean, Content::Varint(number)) => Ok((number != 0).into()),
            (Shape::Integer, Content::Varint(number)) => Ok(number.cast_signed().into()),
            (Shape::Number, Content::Fixed64(bits)) => Number::from_f64(f64::from_bits(bits))
                .map(Value::Number)
                .ok_or_else(|| malformed("a number that JSON cannot hold")),
            (Shape::Object(_), Content::Bytes(bytes)) => {
                let mut object = Map::new();
                self.message_into(id, bytes, &mut object, budget)?;
                Ok(Value::Object(object))
            }
            _ => Err(malformed("a field has another wire type than its schema")),
        }
    }

    fn special_value(
        &self,
        special: Special,
        message: &[u8],
        budget: &mut Budget,
    ) -> Result<Value, ProtoError> {
        let parts = Parts::read(message)?;
        let outside = || malformed("a time outside the years 1 to 9999");
        match special {
            Special::Time | Special::MicroTime if message.is_empty() => Ok(Value::Null),
            Special::Time => Ok(time_text(parts.number(1)).ok_or_else(outside)?.into()),
            Special::MicroTime => {
                let time = micro_time_text(parts.number(1), parts.number(2));
                Ok(time.ok_or_else(outside)?.into())
            }
            Special::Quantity => Ok(match text(parts.bytes(1))? {
                "" => "0".into(),
                quantity => quantity.into(),
            }),
            Special::IntOrString if parts.number(1) == 0 => Ok(parts.number(2).into()),
            Special::IntOrString => Ok(text(parts.bytes(3))?.into()),
            Special::Json => match parts.bytes(1) {
                [] => Ok(Value::Null),
                raw if raw.starts_with(MAGIC) => {
                    budget.nested(|budget| body(self.builtin, raw, budget))
                }
                raw => json(raw),
            },
            Special::SchemaOrBool if parts.has(2) => self.schema(parts.bytes(2), budget),
            Special::SchemaOrBool => Ok((parts.number(1) != 0).into()),
            Special::SchemaOrArray if parts.has(1) => self.schema(parts.bytes(1), budget),
            Special::SchemaOrStringArray if parts.has(1) => self.schema(parts.bytes(1), budget),
            Special::SchemaOrArray => {
                let schemas = parts.all(2).map(|bytes| self.schema(bytes, budget));
                Ok(Value::Array(schemas.collect::<Result<_, _>>()?))
            }
            Special::SchemaOrStringArray => {
                let strings = parts.all(2).map(|bytes| Ok(text(bytes)?.into()));
                Ok(Value::Array(strings.collect::<Result<_, ProtoError>>()?))
            }
        }
    }

    fn schema(&self, message: &[u8], budget: &mut Budget) -> Result<Value, ProtoError> {
        budget.value()?;
        let mut object = Map::new();
        let schema = self.builtin.pool.by_name[SCHEMA];
        self.message_into(schema, message, &mut object, budget)?;
        Ok(Value::Object(object))
    }
}

/// The fields of a small message whose meaning is known to the code.
struct Parts<'a>(Vec<(u32, Content<'a>)>);

impl<'a> Parts<'a> {
    fn read(message: &'a [u8]) -> Result<Parts<'a>, ProtoError> {
        let mut parts = Vec::new();
        let mut reader = Reader::new(message);
        while let Some(part) = reader.next().map_err(malformed)? {
            parts.push(part);
        }
        Ok(Parts(parts))
    }

    fn has(&self, number: u32) -> bool {
        self.0.iter().any(|part| part.0 == number)
    }

    fn number(&self, number: u32) -> i64 {
        let found = self.0.iter().rev().find(|part| part.0 == number);
        match found {
            Some((_, Content::Varint(value))) => value.cast_signed(),
            _ => 0,
        }
    }

    fn all(&self, number: u32) -> impl Iterator<Item = &'a [u8]> {
        self.0.iter().filter_map(move |part| match part {
            (found, Content::Bytes(bytes)) if *found == number => Some(*bytes),
            _ => None,
        })
    }

    fn bytes(&self, number: u32) -> &'a [u8] {
        self.all(number).last().unwrap_or_default()
    }
}

fn expect_bytes(content: Content<'_>) -> Result<&[u8], ProtoError> {
    match content {
        Content::Bytes(bytes) => Ok(bytes),
        _ => Err(malformed("a field has another wire type than its schema")),
    }
}

fn is_zero(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(truth) => !truth,
        Value::Number(number) => number.as_f64() == Some(0.0),
        Value::String(text) => text.is_empty(),
        Value::Array(_) | Value::Object(_) => false,
    }
}
