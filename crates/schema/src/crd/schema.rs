//! From a version's OpenAPI v3 schema to a type.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;

use super::structural;
use crate::kinds;
use crate::types::ArrayShape;
use crate::types::Constraints;
use crate::types::Field;
use crate::types::ListType;
use crate::types::ObjectShape;
use crate::types::PatchStrategy;
use crate::types::Shape;
use crate::types::Type;
use crate::types::TypeId;
use crate::types::TypePool;
use crate::types::TypeRef;
use crate::validate::Compiled;
use crate::validate::FieldError;
use crate::validate::FieldPath;
use crate::validate::RuleSet;

/// The name of the metadata type among the built-in ones.
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// Compiles the schema of a custom resource, adding `apiVersion`, `kind` and `metadata`.
///
/// # Errors
///
/// The schema is not structural; paths start at the schema.
pub fn compile_schema(schema: &Value) -> Result<TypeRef, Vec<FieldError>> {
    let errors = structural::check(schema, &FieldPath::new("openAPIV3Schema"));
    if !errors.is_empty() {
        return Err(errors);
    }
    Ok(root(schema))
}

/// The type of a schema that was found to be structural.
pub(super) fn root(schema: &Value) -> TypeRef {
    let mut pool = TypePool::default();
    let mut node = node(schema, &mut pool, false);
    let metadata = object_meta(&mut pool);
    let string = pool.add(scalar(Shape::String));
    let shape = std::mem::take(&mut node.shape);
    let mut object = match shape {
        Shape::Object(object) => object,
        _ => ObjectShape::default(),
    };
    for (name, ty) in [
        ("apiVersion", string),
        ("kind", string),
        ("metadata", metadata),
    ] {
        let required = object.field(name).is_some_and(|field| field.required);
        object.fields.retain(|field| field.name != name);
        object.fields.push(field(name, ty, required, None));
    }
    object
        .fields
        .sort_by(|left, right| left.name.cmp(&right.name));
    node.shape = Shape::Object(object);
    let id = pool.add(node);
    TypeRef {
        pool: Arc::new(pool),
        id,
    }
}

fn scalar(shape: Shape) -> Type {
    Type {
        shape,
        ..Type::default()
    }
}

fn field(name: &str, ty: TypeId, required: bool, default: Option<Value>) -> Field {
    Field {
        name: name.to_owned(),
        ty,
        required,
        default,
        proto: None,
        patch_strategy: PatchStrategy::default(),
        patch_merge_key: None,
    }
}

fn text<'a>(schema: &'a Value, key: &str) -> Option<&'a str> {
    schema.get(key).and_then(Value::as_str)
}

fn flag(schema: &Value, key: &str) -> bool {
    schema.get(key).and_then(Value::as_bool) == Some(true)
}

/// `branch` nodes belong to `allOf`, `anyOf`, `oneOf` or `not`: they state no shape, so objects and
/// lists are recognised by what is said of their parts.
fn node(schema: &Value, pool: &mut TypePool, branch: bool) -> Type {
    Type {
        name: None,
        shape: shape(schema, pool, branch),
        nullable: flag(schema, "nullable"),
        constraints: constraints(schema, pool).map(Box::new),
    }
}

fn shape(schema: &Value, pool: &mut TypePool, branch: bool) -> Shape {
    if flag(schema, "x-kubernetes-int-or-string") {
        return Shape::IntOrString;
    }
    let says = |key: &str| schema.get(key).is_some();
    match text(schema, "type") {
        Some("object") => object(schema, pool, branch),
        Some("array") => array(schema, pool, branch),
        Some("string") => Shape::String,
        Some("integer") => Shape::Integer,
        Some("number") => Shape::Number,
        Some("boolean") => Shape::Boolean,
        _ if branch && (says("properties") || says("required") || says("additionalProperties")) => {
            object(schema, pool, branch)
        }
        _ if branch && says("items") => array(schema, pool, branch),
        _ => Shape::Any,
    }
}

fn object(schema: &Value, pool: &mut TypePool, branch: bool) -> Shape {
    let required: Vec<&str> = schema
        .get("required")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let mut fields: BTreeMap<String, Field> = BTreeMap::new();
    let properties = schema.get("properties").and_then(Value::as_object);
    for (name, below) in properties.into_iter().flatten() {
        let child = node(below, pool, branch);
        let ty = pool.add(child);
        let default = below.get("default").cloned();
        let required = required.contains(&name.as_str());
        fields.insert(name.clone(), field(name, ty, required, default));
    }
    for name in required {
        if !fields.contains_key(name) && (branch || flag(schema, PRESERVE)) {
            let ty = pool.add(Type::default());
            fields.insert(name.to_owned(), field(name, ty, true, None));
        }
    }
    let additional = match schema.get("additionalProperties") {
        Some(Value::Bool(true)) => Some(pool.add(Type::default())),
        Some(below @ Value::Object(_)) => {
            let child = node(below, pool, branch);
            Some(pool.add(child))
        }
        _ => None,
    };
    Shape::Object(ObjectShape {
        fields: fields.into_values().collect(),
        additional,
        preserve_unknown: flag(schema, PRESERVE),
        embedded_resource: flag(schema, "x-kubernetes-embedded-resource"),
        atomic: text(schema, "x-kubernetes-map-type") == Some("atomic"),
    })
}

const PRESERVE: &str = "x-kubernetes-preserve-unknown-fields";

fn array(schema: &Value, pool: &mut TypePool, branch: bool) -> Shape {
    let child = schema
        .get("items")
        .map_or_else(Type::default, |items| node(items, pool, branch));
    let items = pool.add(child);
    let list = match text(schema, "x-kubernetes-list-type") {
        Some("set") => ListType::Set,
        Some("map") => ListType::Map(
            schema
                .get("x-kubernetes-list-map-keys")
                .and_then(Value::as_array)
                .into_iter()
                .flatten()
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect(),
        ),
        _ => ListType::Atomic,
    };
    Shape::Array(ArrayShape { items, list })
}

fn constraints(schema: &Value, pool: &mut TypePool) -> Option<Constraints> {
    const LOGIC: [&str; 4] = ["allOf", "anyOf", "oneOf", "not"];
    let count = |key: &str| schema.get(key).and_then(Value::as_u64);
    let number = |key: &str| schema.get(key).and_then(Value::as_f64);
    let logic: Map<String, Value> = LOGIC
        .iter()
        .filter_map(|key| Some(((*key).to_owned(), schema.get(*key)?.clone())))
        .collect();
    let mut branches = |key: &str| -> Vec<TypeId> {
        let list = schema.get(key).and_then(Value::as_array);
        list.into_iter()
            .flatten()
            .map(|branch| {
                let child = node(branch, pool, true);
                pool.add(child)
            })
            .collect()
    };
    let int_or_string = flag(schema, "x-kubernetes-int-or-string");
    let mut compiled = Compiled {
        pattern: text(schema, "pattern")
            .and_then(|pattern| crate::validate::compile_pattern(pattern).ok()),
        all_of: branches("allOf"),
        // Beside int-or-string, anyOf only repeats that the value is one or the other.
        any_of: if int_or_string {
            Vec::new()
        } else {
            branches("anyOf")
        },
        one_of: branches("oneOf"),
        not: None,
        rules: RuleSet::new(schema),
    };
    if let Some(not) = schema.get("not") {
        let child = node(not, pool, true);
        compiled.not = Some(pool.add(child));
    }
    let constraints = Constraints {
        one_of_values: schema.get("enum").and_then(Value::as_array).cloned(),
        pattern: text(schema, "pattern").map(str::to_owned),
        format: text(schema, "format").map(str::to_owned),
        min_length: count("minLength"),
        max_length: count("maxLength"),
        min_items: count("minItems"),
        max_items: count("maxItems"),
        unique_items: flag(schema, "uniqueItems"),
        min_properties: count("minProperties"),
        max_properties: count("maxProperties"),
        minimum: number("minimum"),
        exclusive_minimum: flag(schema, "exclusiveMinimum"),
        maximum: number("maximum"),
        exclusive_maximum: flag(schema, "exclusiveMaximum"),
        multiple_of: number("multipleOf"),
        logic: (!logic.is_empty()).then_some(Value::Object(logic)),
        rules: schema.get("x-kubernetes-validations").cloned(),
        compiled: None,
    };
    const KEYWORDS: [&str; 20] = [
        "enum",
        "pattern",
        "format",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "minimum",
        "maximum",
        "multipleOf",
        "allOf",
        "anyOf",
        "oneOf",
        "not",
        "x-kubernetes-validations",
        "exclusiveMinimum",
        "exclusiveMaximum",
    ];
    let constrained = KEYWORDS.iter().any(|key| schema.get(*key).is_some());
    constrained.then(|| Constraints {
        compiled: Some(Arc::new(compiled)),
        ..constraints
    })
}

/// The metadata of built-in kinds, copied: types refer to each other inside one pool only.
fn object_meta(pool: &mut TypePool) -> TypeId {
    match kinds::builtin().type_named(OBJECT_META) {
        Some(meta) => copy(&meta, pool, &mut BTreeMap::new()),
        None => pool.add(Type::default()),
    }
}

fn copy(source: &TypeRef, pool: &mut TypePool, copied: &mut BTreeMap<TypeId, TypeId>) -> TypeId {
    if let Some(id) = copied.get(&source.id) {
        return *id;
    }
    let id = pool.add(Type::default());
    copied.insert(source.id, id);
    let mut node = source.get().clone();
    let mut place = |id: &mut TypeId| *id = copy(&source.at(*id), pool, copied);
    match &mut node.shape {
        Shape::Object(object) => {
            object
                .fields
                .iter_mut()
                .for_each(|field| place(&mut field.ty));
            object.additional.iter_mut().for_each(place);
        }
        Shape::Array(array) => place(&mut array.items),
        _ => {}
    }
    pool.types[id.0 as usize] = node;
    id
}

/// The type of one structural schema node, without the fields that a whole object has.
pub(super) fn value_type(schema: &Value) -> TypeRef {
    let mut pool = TypePool::default();
    let node = node(schema, &mut pool, false);
    let id = pool.add(node);
    TypeRef {
        pool: Arc::new(pool),
        id,
    }
}
