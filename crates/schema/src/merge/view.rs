//! A place in the type graph as the merge engines see it.

use serde_json::Map;
use serde_json::Value;

use super::field_set::PathElement;
use super::field_set::canonical_object;
use crate::kinds::builtin;
use crate::types::ArrayShape;
use crate::types::Field;
use crate::types::ListType;
use crate::types::ObjectShape;
use crate::types::Shape;
use crate::types::Type;
use crate::types::TypeId;
use crate::types::TypePool;
use crate::types::TypeRef;

/// The type that describes `metadata` where a custom resource's own schema does not.
const OBJECT_META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1.ObjectMeta";

/// A type, or none. Cheap to copy: walks pass it down by value.
#[derive(Clone, Copy)]
pub(super) struct View<'p> {
    /// The type; without one the value's own form decides.
    typed: Option<(&'p TypePool, TypeId)>,
    /// Whether this is a complete Kubernetes object, whose `metadata` always has a type.
    root: bool,
}

/// How a value of a type is owned and merged.
pub(super) enum Form<'p> {
    /// As a whole: scalars, atomic lists and atomic objects.
    Leaf,
    /// Field by field.
    Granular,
    /// Item by item.
    Items(&'p ListType),
}

impl<'p> View<'p> {
    /// The view of a complete object.
    pub(super) fn of_object(ty: &'p TypeRef) -> Self {
        Self {
            typed: Some((&ty.pool, ty.id)),
            root: true,
        }
    }

    const UNTYPED: View<'static> = View {
        typed: None,
        root: false,
    };

    /// The type itself, unless the view has none.
    pub(super) fn ty(self) -> Option<&'p Type> {
        self.typed.map(|(pool, id)| &pool.types[id.0 as usize])
    }

    /// The object shape, if the type is an object.
    pub(super) fn object(self) -> Option<&'p ObjectShape> {
        match &self.ty()?.shape {
            Shape::Object(object) => Some(object),
            _ => None,
        }
    }

    fn array(self) -> Option<&'p ArrayShape> {
        match &self.ty()?.shape {
            Shape::Array(array) => Some(array),
            _ => None,
        }
    }

    /// How `value` is owned and merged here. `None` and `null` take whatever form the type has.
    pub(super) fn form(self, value: Option<&Value>) -> Form<'p> {
        match self.ty().map(|ty| &ty.shape) {
            Some(Shape::Object(object)) if object.atomic => Form::Leaf,
            Some(Shape::Object(_)) => Form::Granular,
            Some(Shape::Array(array)) => match &array.list {
                ListType::Atomic => Form::Leaf,
                list => Form::Items(list),
            },
            Some(Shape::Any) | None => match value {
                Some(Value::Object(_)) => Form::Granular,
                _ => Form::Leaf,
            },
            Some(_) => Form::Leaf,
        }
    }

    /// The declared field, if there is one.
    pub(super) fn field(self, name: &str) -> Option<&'p Field> {
        self.object()?.field(name)
    }

    /// Whether `name` is a declared field, as opposed to a key of a map.
    pub(super) fn declares(self, name: &str) -> bool {
        self.field(name).is_some() || (self.root && name == "metadata")
    }

    /// The view of the value under `name`; untyped where the type says nothing.
    pub(super) fn child(self, name: &str) -> View<'p> {
        let typed = self.typed.and_then(|(pool, _)| {
            let object = self.object()?;
            let id = object
                .field(name)
                .map(|field| field.ty)
                .or(object.additional)?;
            Some((pool, id))
        });
        let child = View { typed, root: false };
        if self.root && name == "metadata" && child.field("labels").is_none() {
            return View::object_meta();
        }
        child
    }

    fn object_meta() -> View<'p> {
        let pool: &'static TypePool = &builtin().pool;
        match pool.by_name.get(OBJECT_META) {
            Some(id) => View {
                typed: Some((pool, *id)),
                root: false,
            },
            None => View::UNTYPED,
        }
    }

    /// The view of the items of a list.
    pub(super) fn items(self) -> View<'p> {
        let typed = self
            .typed
            .and_then(|(pool, _)| Some((pool, self.array()?.items)));
        View { typed, root: false }
    }

    /// The identity of a list item; an error says what is missing.
    pub(super) fn identify(self, list: &ListType, item: &Value) -> Result<PathElement, String> {
        match list {
            ListType::Atomic => unreachable!("items of atomic lists have no identity"),
            ListType::Set => match item {
                Value::Array(_) | Value::Object(_) | Value::Null => {
                    Err("an item of a set must be a string, a number or a truth value".into())
                }
                scalar => Ok(PathElement::Value(scalar.to_string().into())),
            },
            ListType::Map(keys) => self.identify_by_keys(keys, item),
        }
    }

    fn identify_by_keys(self, keys: &[String], item: &Value) -> Result<PathElement, String> {
        let Value::Object(item) = item else {
            return Err("associative list may not have non-map elements".into());
        };
        let view = self.items();
        let mut identity = Map::new();
        for key in keys {
            let default = || view.field(key).and_then(|field| field.default.as_ref());
            let value = item
                .get(key)
                .filter(|value| !value.is_null())
                .or_else(default);
            if let Some(value) = value {
                identity.insert(key.clone(), value.clone());
            }
        }
        if identity.is_empty() {
            let shown: Vec<String> = keys.iter().map(|key| format!("{key:?}")).collect();
            let shown = shown.join(", ");
            return Err(format!(
                "associative list with keys has an element that omits key field {shown} (and doesn't have default value)"
            ));
        }
        Ok(PathElement::Key(canonical_object(identity).into()))
    }
}

/// Whether two values are the same to the API: numbers by value, `1` and `1.0` alike.
pub(super) fn equal(left: &Value, right: &Value) -> bool {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => {
            left == right
                || left
                    .as_f64()
                    .is_some_and(|left| Some(left) == right.as_f64())
        }
        (Value::Array(left), Value::Array(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .zip(right)
                    .all(|(left, right)| equal(left, right))
        }
        (Value::Object(left), Value::Object(right)) => {
            left.len() == right.len()
                && left
                    .iter()
                    .all(|(key, left)| right.get(key).is_some_and(|right| equal(left, right)))
        }
        _ => left == right,
    }
}

/// Whether a value holds nothing: absent, `null`, `{}` or `[]`.
pub(super) fn is_hollow(value: Option<&Value>) -> bool {
    match value {
        None | Some(Value::Null) => true,
        Some(Value::Object(map)) => map.is_empty(),
        Some(Value::Array(list)) => list.is_empty(),
        Some(_) => false,
    }
}
