//! What a schema fills in.

use serde_json::Value;

use super::MAX_VALUE_DEPTH;
use crate::types::Shape;
use crate::types::TypeRef;

/// Sets the schema's defaults in `value`, at every depth, and removes nulls that the schema does not
/// allow: such a null counts as absent.
pub fn default(ty: &TypeRef, value: &mut Value) {
    fill(ty, value, 0);
}

fn fill(ty: &TypeRef, value: &mut Value, depth: usize) {
    if depth > MAX_VALUE_DEPTH {
        return;
    }
    match (&ty.get().shape, value) {
        (Shape::Object(object), Value::Object(map)) => {
            for field in &object.fields {
                let Some(default) = &field.default else {
                    continue;
                };
                let absent = match map.get(&field.name) {
                    None => true,
                    Some(value) => value.is_null() && !ty.at(field.ty).get().nullable,
                };
                if absent {
                    map.insert(field.name.clone(), default.clone());
                }
            }
            map.retain(|key, child| {
                let Some(child_ty) = ty.property(key) else {
                    return true;
                };
                if child.is_null() {
                    let node = child_ty.get();
                    return node.nullable || matches!(node.shape, Shape::Any);
                }
                fill(&child_ty, child, depth + 1);
                true
            });
        }
        (Shape::Array(_), Value::Array(items)) => {
            let Some(item_ty) = ty.items() else { return };
            for item in items {
                fill(&item_ty, item, depth + 1);
            }
        }
        _ => {}
    }
}
