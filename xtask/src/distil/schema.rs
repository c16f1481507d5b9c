//! Types, lists, keys and required fields from the JSON schemas.

use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;

use anyhow::Context;
use anyhow::Result;
use anyhow::bail;
use hyades_schema::types::ArrayShape;
use hyades_schema::types::Constraints;
use hyades_schema::types::Field;
use hyades_schema::types::ListType;
use hyades_schema::types::ObjectShape;
use hyades_schema::types::PatchStrategy;
use hyades_schema::types::ProtoField;
use hyades_schema::types::Shape;
use hyades_schema::types::Type;
use hyades_schema::types::TypeId;
use hyades_schema::types::TypePool;
use serde_json::Value;

use super::presence::Presence;
use super::protobuf::Messages;

/// Defaults that identify list items whose clients leave them out. The JSON schemas state none, and
/// other defaults are set by the kinds' own rules.
const DEFAULTS: &[(&str, &str, &str)] = &[
    ("io.k8s.api.core.v1.ContainerPort", "protocol", "TCP"),
    ("io.k8s.api.core.v1.ServicePort", "protocol", "TCP"),
];

fn default_of(name: &str, field: &str) -> Option<Value> {
    let row = DEFAULTS.iter().find(|row| (row.0, row.1) == (name, field));
    row.map(|row| row.2.into())
}

/// Go types whose JSON is written by hand, and what it looks like.
const SPECIAL: &[(&str, Shape)] = &[
    (
        "io.k8s.apimachinery.pkg.api.resource.Quantity",
        Shape::Quantity,
    ),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.FieldsV1", Shape::Any),
    (
        "io.k8s.apimachinery.pkg.apis.meta.v1.MicroTime",
        Shape::MicroTime,
    ),
    ("io.k8s.apimachinery.pkg.apis.meta.v1.Time", Shape::Time),
    ("io.k8s.apimachinery.pkg.runtime.RawExtension", Shape::Any),
    (
        "io.k8s.apimachinery.pkg.util.intstr.IntOrString",
        Shape::IntOrString,
    ),
];

/// A named type that is a field's own variant of another: the same fields, owned one by one where
/// the other is owned as a whole.
const GRANULAR: &str = "Granular";

/// The outcome.
pub struct Distilled {
    /// The types.
    pub pool: TypePool,
    /// Fields that protobuf does not carry as far as the bindings know, as `TYPE.FIELD`.
    pub without_number: BTreeSet<String>,
}

/// Distils the types that `roots` reach.
pub fn distil(
    document: &Value,
    roots: &[&str],
    messages: &Messages,
    presence: &Presence,
) -> Result<Distilled> {
    let mut distiller = Distiller {
        definitions: &document["$defs"],
        messages,
        presence,
        pool: TypePool::default(),
        without_number: BTreeSet::new(),
        fields: BTreeMap::new(),
    };
    for root in roots {
        distiller.named(root)?;
    }
    while let Some((name, id)) = distiller.fields.pop_first() {
        distiller.fill(&name, id)?;
    }
    Ok(Distilled {
        pool: distiller.pool,
        without_number: distiller.without_number,
    })
}

struct Distiller<'a> {
    definitions: &'a Value,
    messages: &'a Messages,
    presence: &'a Presence,
    pool: TypePool,
    without_number: BTreeSet<String>,
    /// Object types whose fields are still to be read.
    fields: BTreeMap<String, TypeId>,
}

impl<'a> Distiller<'a> {
    fn definition(&self, name: &str) -> Result<&'a Value> {
        self.definitions
            .get(name.strip_suffix(GRANULAR).unwrap_or(name))
            .with_context(|| format!("{name} is not defined"))
    }

    /// The named type, its fields to follow.
    fn named(&mut self, name: &str) -> Result<TypeId> {
        if let Some(id) = self.pool.by_name.get(name) {
            return Ok(*id);
        }
        let definition = self.definition(name)?;
        let special = SPECIAL.iter().find(|(special, _)| *special == name);
        let is_object = definition.get("properties").is_some();
        let shape = match special {
            Some((_, shape)) => shape.clone(),
            None if is_object => Shape::Object(ObjectShape {
                atomic: definition["x-kubernetes-map-type"] == "atomic"
                    && !name.ends_with(GRANULAR),
                ..ObjectShape::default()
            }),
            None => Shape::Any,
        };
        let fields_follow = matches!(shape, Shape::Object(_));
        let id = self.pool.add(Type {
            name: Some(name.to_owned()),
            shape,
            ..Type::default()
        });
        self.pool.by_name.insert(name.to_owned(), id);
        if fields_follow {
            self.fields.insert(name.to_owned(), id);
        }
        Ok(id)
    }

    fn fill(&mut self, name: &str, id: TypeId) -> Result<()> {
        let definition = self.definition(name)?;
        let properties = definition["properties"]
            .as_object()
            .with_context(|| format!("{name} has no properties"))?;
        let names: Vec<&str> = properties.keys().map(String::as_str).collect();
        let message = name.strip_suffix(GRANULAR).unwrap_or(name);
        let places = self.messages.places(message, &names);
        let required = definition["required"].as_array();
        let mut fields = Vec::with_capacity(properties.len());
        for (field, schema) in properties {
            let place = self.proto_field(name, field, &places);
            let is_type_meta = is_type_meta(definition, field);
            if place.is_none() && !is_type_meta {
                self.without_number.insert(format!("{name}.{field}"));
            }
            fields.push(Field {
                name: field.clone(),
                ty: self
                    .schema(schema)
                    .with_context(|| format!("{name}.{field}"))?,
                required: required.is_some_and(|list| list.iter().any(|item| item == field)),
                default: default_of(name, field),
                proto: place.filter(|_| !is_type_meta),
                patch_strategy: patch_strategy(schema),
                patch_merge_key: text(schema, "x-kubernetes-patch-merge-key"),
            });
        }
        fields.sort_by(|a, b| a.name.cmp(&b.name));
        if let Shape::Object(object) = &mut self.pool.types[id.0 as usize].shape {
            object.fields = fields;
        }
        Ok(())
    }

    fn proto_field(
        &self,
        name: &str,
        field: &str,
        places: &HashMap<String, Vec<u16>>,
    ) -> Option<ProtoField> {
        let (number, outer) = places.get(field)?.split_last()?;
        let mut within = [0; 2];
        within[..outer.len()].copy_from_slice(outer);
        Some(ProtoField {
            number: *number,
            within,
            presence: self.presence.contains(name, field),
        })
    }

    fn schema(&mut self, schema: &Value) -> Result<TypeId> {
        if let Some(reference) = schema["$ref"].as_str() {
            let name = reference.trim_start_matches("#/$defs/");
            let atomic = self.definition(name)?["x-kubernetes-map-type"] == "atomic";
            if atomic && schema["x-kubernetes-map-type"] == "granular" {
                return self.named(&format!("{name}{GRANULAR}"));
            }
            return self.named(name);
        }
        let format = schema["format"].as_str();
        let shape = match json_type(schema) {
            Some("string") if format == Some("byte") => Shape::Bytes,
            Some("string") => Shape::String,
            Some("boolean") => Shape::Boolean,
            Some("integer") => Shape::Integer,
            Some("number") => Shape::Number,
            Some("array") => Shape::Array(ArrayShape {
                items: self.schema(&schema["items"])?,
                list: list_type(schema)?,
            }),
            Some("object") => Shape::Object(ObjectShape {
                additional: Some(self.schema(&schema["additionalProperties"])?),
                atomic: schema["x-kubernetes-map-type"] == "atomic",
                ..ObjectShape::default()
            }),
            None => Shape::Any,
            Some(other) => bail!("unknown type {other}"),
        };
        let width = format.filter(|_| matches!(shape, Shape::Integer | Shape::Number));
        Ok(self.pool.add(Type {
            name: None,
            constraints: width.map(|format| {
                Box::new(Constraints {
                    format: Some(format.to_owned()),
                    ..Constraints::default()
                })
            }),
            shape,
            nullable: false,
        }))
    }
}

/// Whether the field is `apiVersion` or `kind` of a kind, which protobuf keeps in its envelope.
fn is_type_meta(definition: &Value, field: &str) -> bool {
    matches!(field, "apiVersion" | "kind")
        && definition.get("x-kubernetes-group-version-kind").is_some()
}

fn json_type(schema: &Value) -> Option<&str> {
    match &schema["type"] {
        Value::String(name) => Some(name),
        Value::Array(names) => names
            .iter()
            .filter_map(Value::as_str)
            .find(|n| *n != "null"),
        _ => None,
    }
}

fn list_type(schema: &Value) -> Result<ListType> {
    Ok(match schema["x-kubernetes-list-type"].as_str() {
        None | Some("atomic") => ListType::Atomic,
        Some("set") => ListType::Set,
        Some("map") => {
            let keys = schema["x-kubernetes-list-map-keys"].as_array();
            let keys = keys.context("a map list without keys")?;
            ListType::Map(
                keys.iter()
                    .filter_map(|key| key.as_str().map(str::to_owned))
                    .collect(),
            )
        }
        Some(other) => bail!("unknown list type {other}"),
    })
}

fn patch_strategy(schema: &Value) -> PatchStrategy {
    let words = schema["x-kubernetes-patch-strategy"].as_str().unwrap_or("");
    PatchStrategy {
        merge: words.split(',').any(|word| word == "merge"),
        retain_keys: words.split(',').any(|word| word == "retainKeys"),
    }
}

fn text(schema: &Value, key: &str) -> Option<String> {
    schema[key].as_str().map(str::to_owned)
}
