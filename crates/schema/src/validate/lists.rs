//! Lists that are sets or maps hold nothing twice.

use std::collections::BTreeSet;

use serde_json::Value;

use super::FieldError;
use super::FieldPath;
use super::MAX_ERRORS;
use super::MAX_VALUE_DEPTH;
use super::fields;
use crate::types::ListType;
use crate::types::Shape;
use crate::types::TypeRef;

pub(super) fn walk(ty: &TypeRef, new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    below(ty, new, old, &FieldPath::root(), 0, errors);
}

fn below(
    ty: &TypeRef,
    new: &Value,
    old: Option<&Value>,
    path: &FieldPath,
    depth: usize,
    errors: &mut Vec<FieldError>,
) {
    if depth > MAX_VALUE_DEPTH || errors.len() >= MAX_ERRORS || old == Some(new) {
        return;
    }
    match (&ty.get().shape, new) {
        (Shape::Object(_), Value::Object(map)) => {
            for (key, value) in map {
                if let Some(child) = ty.property(key) {
                    let old = old.and_then(|old| old.get(key));
                    below(&child, value, old, &path.child(key), depth + 1, errors);
                }
            }
        }
        (Shape::Array(array), Value::Array(items)) => {
            let item_ty = ty.at(array.items);
            duplicates(&array.list, &item_ty, items, path, errors);
            let old_of = fields::correlated(ty, old);
            for (index, item) in items.iter().enumerate() {
                let path = path.index(index);
                below(&item_ty, item, old_of(item), &path, depth + 1, errors);
            }
        }
        _ => {}
    }
}

fn duplicates(
    list: &ListType,
    item_ty: &TypeRef,
    items: &[Value],
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) {
    let mut seen = BTreeSet::new();
    for (index, item) in items.iter().enumerate() {
        let identity = match list {
            ListType::Atomic => return,
            ListType::Set => Some(item.clone()),
            ListType::Map(keys) => fields::item_key(item_ty, keys, item),
        };
        let Some(identity) = identity else { continue };
        if !seen.insert(identity.to_string()) && errors.len() < MAX_ERRORS {
            errors.push(FieldError::duplicate(path.index(index), identity));
        }
    }
}
