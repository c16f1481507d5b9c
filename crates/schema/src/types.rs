//! The type graph that describes built-in kinds and custom resources alike.
//!
//! Types refer to each other by [`TypeId`] inside one [`TypePool`], because Kubernetes types are
//! recursive (`JSONSchemaProps`). A [`TypeRef`] is a pool and an id: the view that the engines walk.

use std::collections::BTreeMap;
use std::sync::Arc;

use serde_json::Value;

/// The place of a [`Type`] in its [`TypePool`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TypeId(pub u32);

/// All types reachable from a set of kinds.
#[derive(Debug, Default)]
pub struct TypePool {
    /// The types; a [`TypeId`] is an index into this list.
    pub types: Vec<Type>,
    /// Named types (`io.k8s.api.core.v1.PodSpec`).
    pub by_name: BTreeMap<String, TypeId>,
}

impl TypePool {
    /// Adds a type and returns its place.
    pub fn add(&mut self, ty: Type) -> TypeId {
        let id = TypeId(u32::try_from(self.types.len()).expect("fewer than 2^32 types"));
        self.types.push(ty);
        id
    }
}

/// One type: its shape, and what a value must satisfy beyond it.
#[derive(Debug, Clone, Default)]
pub struct Type {
    /// The name under which OpenAPI publishes the type; anonymous types have none.
    pub name: Option<String>,
    /// What values look like.
    pub shape: Shape,
    /// Whether `null` is a value of the type (custom resources only).
    pub nullable: bool,
    /// Value constraints; the built-in table states the widths of numbers and nothing else.
    pub constraints: Option<Box<Constraints>>,
}

/// What values of a type look like.
#[derive(Debug, Clone, Default)]
pub enum Shape {
    /// Any JSON value, kept as it is (`RawExtension`, `JSON`, `FieldsV1`, an empty schema).
    #[default]
    Any,
    /// An object with named fields, or a map, or both.
    Object(ObjectShape),
    /// A list.
    Array(ArrayShape),
    /// A string.
    String,
    /// A string holding base64 (`[]byte`).
    Bytes,
    /// A 32 or 64 bit integer.
    Integer,
    /// A floating point number.
    Number,
    /// A truth value.
    Boolean,
    /// An integer or a string (`IntOrString`, `x-kubernetes-int-or-string`).
    IntOrString,
    /// A resource quantity, kept as its string.
    Quantity,
    /// An RFC 3339 time with seconds (`metav1.Time`).
    Time,
    /// An RFC 3339 time with microseconds (`metav1.MicroTime`).
    MicroTime,
}

/// Fields and map values of an object type.
#[derive(Debug, Clone, Default)]
pub struct ObjectShape {
    /// Named fields, sorted by name.
    pub fields: Vec<Field>,
    /// The type of values under other keys: a map.
    pub additional: Option<TypeId>,
    /// Keep unknown fields (`x-kubernetes-preserve-unknown-fields`).
    pub preserve_unknown: bool,
    /// A complete Kubernetes object (`x-kubernetes-embedded-resource`).
    pub embedded_resource: bool,
    /// `x-kubernetes-map-type: atomic`: replaced and owned as a whole.
    pub atomic: bool,
}

/// One named field.
#[derive(Debug, Clone)]
pub struct Field {
    /// The JSON name.
    pub name: String,
    /// The field's type.
    pub ty: TypeId,
    /// Whether an object without it is invalid.
    pub required: bool,
    /// The value of an absent field, where the schema itself states one.
    pub default: Option<Value>,
    /// The field's place in its protobuf message, for built-in kinds.
    pub proto: Option<ProtoField>,
    /// `x-kubernetes-patch-strategy`, for strategic merge.
    pub patch_strategy: PatchStrategy,
    /// `x-kubernetes-patch-merge-key`: the identity of list items under strategic merge.
    pub patch_merge_key: Option<String>,
}

/// Where protobuf carries a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ProtoField {
    /// The field number; never 0.
    pub number: u16,
    /// The numbers of the embedded messages that carry the field, outermost first, 0 where there is
    /// none. JSON lists the fields of a struct that Go embeds among those of the outer struct
    /// (`hostPath` of a volume), protobuf keeps them in a message of their own (`volumeSource`).
    pub within: [u16; 2],
    /// Whether a zero value differs from absence, because Go has a pointer there (`replicas: 0`).
    /// Go writes all other scalars always, and its JSON leaves out their zero values.
    pub presence: bool,
}

impl ProtoField {
    /// A field directly in its message, whose zero value means absence.
    pub fn numbered(number: u16) -> ProtoField {
        ProtoField {
            number,
            ..ProtoField::default()
        }
    }
}

/// How strategic merge treats a field.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct PatchStrategy {
    /// Lists merge by key (or as sets of scalars) instead of being replaced.
    pub merge: bool,
    /// Fields absent from the patch are cleared (`retainKeys`).
    pub retain_keys: bool,
}

/// Items of a list type and how the list merges under server-side apply.
#[derive(Debug, Clone)]
pub struct ArrayShape {
    /// The type of the items.
    pub items: TypeId,
    /// `x-kubernetes-list-type`.
    pub list: ListType,
}

/// `x-kubernetes-list-type`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum ListType {
    /// Replaced and owned as a whole; the default.
    #[default]
    Atomic,
    /// A set of scalars.
    Set,
    /// A list of objects identified by these keys (`x-kubernetes-list-map-keys`).
    Map(Vec<String>),
}

/// What a value must satisfy beyond its shape, as OpenAPI v3 words it.
#[derive(Debug, Clone, Default)]
pub struct Constraints {
    /// `enum`.
    pub one_of_values: Option<Vec<Value>>,
    /// `pattern`.
    pub pattern: Option<String>,
    /// `format`.
    pub format: Option<String>,
    /// `minLength`, in characters.
    pub min_length: Option<u64>,
    /// `maxLength`, in characters.
    pub max_length: Option<u64>,
    /// `minItems`.
    pub min_items: Option<u64>,
    /// `maxItems`.
    pub max_items: Option<u64>,
    /// `uniqueItems`.
    pub unique_items: bool,
    /// `minProperties`.
    pub min_properties: Option<u64>,
    /// `maxProperties`.
    pub max_properties: Option<u64>,
    /// `minimum`.
    pub minimum: Option<f64>,
    /// `exclusiveMinimum`.
    pub exclusive_minimum: bool,
    /// `maximum`.
    pub maximum: Option<f64>,
    /// `exclusiveMaximum`.
    pub exclusive_maximum: bool,
    /// `multipleOf`.
    pub multiple_of: Option<f64>,
    /// `allOf`, `anyOf`, `oneOf` and `not`, kept as OpenAPI.
    pub logic: Option<Value>,
    /// `x-kubernetes-validations`, kept as written.
    pub rules: Option<Value>,
    /// What pattern, logic and rules compile to; absent on types that no definition stated.
    pub compiled: Option<Arc<crate::validate::Compiled>>,
}

/// A type together with the pool it lives in.
#[derive(Debug, Clone)]
pub struct TypeRef {
    /// The pool.
    pub pool: Arc<TypePool>,
    /// The type in it.
    pub id: TypeId,
}

impl TypeRef {
    /// The type itself.
    pub fn get(&self) -> &Type {
        &self.pool.types[self.id.0 as usize]
    }

    /// Another type of the same pool.
    pub fn at(&self, id: TypeId) -> TypeRef {
        TypeRef {
            pool: Arc::clone(&self.pool),
            id,
        }
    }

    /// The named field, if the type is an object that has it.
    pub fn field(&self, name: &str) -> Option<&Field> {
        match &self.get().shape {
            Shape::Object(object) => object.field(name),
            _ => None,
        }
    }

    /// The type of the value under `name`: a field's, else the map's value type.
    pub fn property(&self, name: &str) -> Option<TypeRef> {
        match &self.get().shape {
            Shape::Object(object) => object
                .field(name)
                .map(|field| field.ty)
                .or(object.additional)
                .map(|id| self.at(id)),
            _ => None,
        }
    }

    /// The type of the list's items, if the type is a list.
    pub fn items(&self) -> Option<TypeRef> {
        match &self.get().shape {
            Shape::Array(array) => Some(self.at(array.items)),
            _ => None,
        }
    }
}

impl ObjectShape {
    /// The named field.
    pub fn field(&self, name: &str) -> Option<&Field> {
        self.fields
            .binary_search_by(|field| field.name.as_str().cmp(name))
            .ok()
            .map(|place| &self.fields[place])
    }
}
