//! Types as OpenAPI schemas.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use super::Model;
use super::Resource;
use crate::kinds::Builtin;
use crate::types::Field;
use crate::types::ListType;
use crate::types::ObjectShape;
use crate::types::Shape;
use crate::types::Type;
use crate::types::TypeId;

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.";
const GVK: &str = "x-kubernetes-group-version-kind";

/// The schemas of a document: those asked for, and what they refer to.
pub(super) struct Schemas<'a> {
    builtin: &'a Builtin,
    done: BTreeMap<String, Value>,
    /// Named types that are referred to and not yet written.
    open: Vec<TypeId>,
}

/// What the paths of a resource refer to.
pub(super) struct ResourceModel {
    /// A reference to the schema of an object.
    pub object: Value,
    /// A reference to the schema of a list.
    pub list: Option<Value>,
    /// Whether strategic merge works on the objects: their merge keys are known.
    pub strategic_merge: bool,
}

fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

impl<'a> Schemas<'a> {
    pub(super) fn new(builtin: &'a Builtin) -> Schemas<'a> {
        Schemas {
            builtin,
            done: BTreeMap::new(),
            open: Vec::new(),
        }
    }

    /// Adds the schemas of a resource's objects and lists.
    pub(super) fn add_resource(
        &mut self,
        group: &str,
        version: &str,
        resource: &Resource<'_>,
    ) -> ResourceModel {
        let (name, strategic_merge) = match resource.model {
            Model::Builtin(name) => (name.to_owned(), true),
            Model::Custom(schema) => {
                let name = custom_name(group, version, resource.kind);
                let schema = self.custom_object(schema);
                self.done.insert(name.clone(), schema);
                (name, false)
            }
        };
        let object = self.named(&name).unwrap_or_else(|| reference(&name));
        self.write_open();
        self.mark(&name, (group, version, resource.kind));
        let list = resource.verbs.contains(&"list").then(|| {
            let list_name = format!("{name}List");
            let list = self.named(&list_name).unwrap_or_else(|| {
                let schema = self.custom_list(&name);
                self.done.insert(list_name.clone(), schema);
                reference(&list_name)
            });
            self.write_open();
            let kind = format!("{}List", resource.kind);
            self.mark(&list_name, (group, version, &kind));
            list
        });
        ResourceModel {
            object,
            list,
            strategic_merge,
        }
    }

    /// A reference to the schema of a subresource's body, when it is a built-in type.
    pub(super) fn body(&mut self, (group, version, kind): (&str, &str, &str)) -> Option<Value> {
        let api_version = match group {
            "" => version.to_owned(),
            _ => format!("{group}/{version}"),
        };
        let described = self.builtin.describe(&api_version, kind)?;
        let name = described.ty().get().name.clone()?;
        let body = self.named(&name);
        self.write_open();
        self.mark(&name, (group, version, kind));
        body
    }

    /// All schemas, by name.
    pub(super) fn finish(self) -> Map<String, Value> {
        self.done.into_iter().collect()
    }

    fn mark(&mut self, name: &str, (group, version, kind): (&str, &str, &str)) {
        if let Some(schema) = self.done.get_mut(name) {
            schema[GVK] = json!([{"group": group, "version": version, "kind": kind}]);
        }
    }

    fn ty(&self, id: TypeId) -> &'a Type {
        &self.builtin.pool.types[id.0 as usize]
    }

    fn named(&mut self, name: &str) -> Option<Value> {
        let id = self.builtin.pool.by_name.get(name)?;
        self.open.push(*id);
        Some(reference(name))
    }

    fn write_open(&mut self) {
        while let Some(id) = self.open.pop() {
            let Some(name) = &self.ty(id).name else {
                continue;
            };
            if !self.done.contains_key(name) {
                // Entered first, so that a recursive type finds itself there.
                self.done.insert(name.clone(), Value::Null);
                let schema = self.structure(id);
                self.done.insert(name.clone(), schema);
            }
        }
    }

    /// A named type by reference, any other in full.
    fn schema(&mut self, id: TypeId) -> Value {
        match &self.ty(id).name {
            Some(name) => {
                self.open.push(id);
                reference(name)
            }
            None => self.structure(id),
        }
    }

    fn structure(&mut self, id: TypeId) -> Value {
        let ty = self.ty(id);
        let format = ty.constraints.as_ref().and_then(|c| c.format.as_deref());
        match &ty.shape {
            Shape::Object(object) => self.object(object),
            Shape::Array(array) => {
                let mut schema = json!({"type": "array", "items": self.schema(array.items)});
                let (list_type, keys) = match &array.list {
                    ListType::Atomic => ("atomic", None),
                    ListType::Set => ("set", None),
                    ListType::Map(keys) => ("map", Some(keys)),
                };
                schema["x-kubernetes-list-type"] = list_type.into();
                if let Some(keys) = keys {
                    schema["x-kubernetes-list-map-keys"] = json!(keys);
                }
                schema
            }
            Shape::String => json!({"type": "string"}),
            Shape::Bytes => json!({"type": "string", "format": "byte"}),
            Shape::Integer => json!({"type": "integer", "format": format.unwrap_or("int64")}),
            Shape::Number => json!({"type": "number", "format": format.unwrap_or("double")}),
            Shape::Boolean => json!({"type": "boolean"}),
            Shape::IntOrString => {
                json!({"format": "int-or-string", "oneOf": [{"type": "integer"}, {"type": "string"}]})
            }
            Shape::Quantity => json!({"oneOf": [{"type": "string"}, {"type": "number"}]}),
            Shape::Time | Shape::MicroTime => json!({"type": "string", "format": "date-time"}),
            Shape::Any => match ty.name.as_deref() {
                // These are always objects; the other free forms may be anything.
                Some(name) if name.ends_with("RawExtension") || name.ends_with("FieldsV1") => {
                    json!({"type": "object"})
                }
                _ => json!({}),
            },
        }
    }

    fn object(&mut self, object: &ObjectShape) -> Value {
        let mut schema = json!({"type": "object"});
        if !object.fields.is_empty() {
            let properties: Map<String, Value> = object
                .fields
                .iter()
                .map(|field| (field.name.clone(), self.field(field)))
                .collect();
            schema["properties"] = properties.into();
        }
        let required = object.fields.iter().filter(|field| field.required);
        let required: Vec<_> = required.map(|field| field.name.as_str()).collect();
        if !required.is_empty() {
            schema["required"] = json!(required);
        }
        if let Some(values) = object.additional {
            schema["additionalProperties"] = self.schema(values);
        }
        if object.atomic {
            schema["x-kubernetes-map-type"] = "atomic".into();
        }
        schema
    }

    fn field(&mut self, field: &Field) -> Value {
        let mut schema = self.schema(field.ty);
        let strategy = match (field.patch_strategy.merge, field.patch_strategy.retain_keys) {
            (true, true) => Some("merge,retainKeys"),
            (true, false) => Some("merge"),
            (false, true) => Some("retainKeys"),
            (false, false) => None,
        };
        let Some(strategy) = strategy else {
            return schema;
        };
        if schema.get("$ref").is_some() {
            // Nothing may stand beside a reference.
            schema = json!({ "allOf": [schema] });
        }
        schema["x-kubernetes-patch-strategy"] = strategy.into();
        if let Some(key) = &field.patch_merge_key {
            schema["x-kubernetes-patch-merge-key"] = key.as_str().into();
        }
        schema
    }

    /// A custom resource's own schema, with the fields that every object has.
    fn custom_object(&mut self, schema: &Value) -> Value {
        let mut schema = match schema {
            Value::Object(_) => schema.clone(),
            _ => json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true}),
        };
        let metadata = self.named(&format!("{META}ObjectMeta"));
        let properties = &mut schema["properties"];
        if !properties.is_object() {
            *properties = json!({});
        }
        properties["apiVersion"] = json!({"type": "string"});
        properties["kind"] = json!({"type": "string"});
        properties["metadata"] = metadata.unwrap_or_else(|| json!({"type": "object"}));
        schema
    }

    fn custom_list(&mut self, item: &str) -> Value {
        let metadata = self.named(&format!("{META}ListMeta"));
        json!({
            "type": "object",
            "required": ["items"],
            "properties": {
                "apiVersion": {"type": "string"},
                "kind": {"type": "string"},
                "metadata": metadata,
                "items": {"type": "array", "items": reference(item)},
            },
        })
    }
}

/// The name of a custom resource's schema: its group with the parts reversed, version, kind.
fn custom_name(group: &str, version: &str, kind: &str) -> String {
    let reversed: Vec<&str> = group.rsplit('.').collect();
    format!("{}.{version}.{kind}", reversed.join("."))
}
