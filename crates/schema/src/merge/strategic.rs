//! Strategic merge patch: a merge patch in which lists merge by key, with directives.
//!
//! Directives: `$patch` (`replace`, `merge`, `delete`), `$retainKeys`,
//! `$deleteFromPrimitiveList/FIELD` and `$setElementOrder/FIELD`.

use std::fmt::Write as _;

use serde_json::Map;
use serde_json::Value;

use super::patch::PatchError;
use super::view::View;
use crate::types::Field;
use crate::types::TypeRef;

const DIRECTIVE: &str = "$patch";
const RETAIN_KEYS: &str = "$retainKeys";
const DELETE_FROM: &str = "$deleteFromPrimitiveList/";
const SET_ORDER: &str = "$setElementOrder/";

type Result<T> = std::result::Result<T, PatchError>;

/// The document after a strategic merge patch.
pub fn strategic_merge(ty: &TypeRef, doc: &Value, patch: &Value) -> Result<Value> {
    match (doc, patch) {
        (Value::Object(doc), Value::Object(patch)) => {
            merge_maps(View::of_object(ty), doc.clone(), patch).map(Value::Object)
        }
        (_, Value::Null) => Ok(doc.clone()),
        _ => Err(PatchError::Decode(
            "a strategic merge patch must be a JSON object".into(),
        )),
    }
}

fn merge_maps(
    view: View<'_>,
    mut doc: Map<String, Value>,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>> {
    if let Some(directive) = patch.get(DIRECTIVE) {
        return apply_map_directive(view, doc, directive, patch);
    }
    if let Some(keys) = patch.get(RETAIN_KEYS) {
        retain_keys(&mut doc, keys, patch)?;
    }
    let ordered = |key: &str| patch.contains_key(&format!("{SET_ORDER}{key}"));
    for (key, value) in patch {
        if key == RETAIN_KEYS {
            continue;
        }
        if let Some(field) = key.strip_prefix(SET_ORDER) {
            merge_in_order(view, &mut doc, field, value, patch)?;
        } else if let Some(field) = key.strip_prefix(DELETE_FROM) {
            delete_scalars(&mut doc, field, value)?;
        } else if !ordered(key) {
            merge_field(view, &mut doc, key, value)?;
        }
    }
    Ok(doc)
}

fn apply_map_directive(
    view: View<'_>,
    doc: Map<String, Value>,
    directive: &Value,
    patch: &Map<String, Value>,
) -> Result<Map<String, Value>> {
    let mut rest = patch.clone();
    rest.remove(DIRECTIVE);
    match directive.as_str() {
        Some("replace") => Ok(without_directives(rest)),
        Some("delete") => Ok(Map::new()),
        Some("merge") => merge_maps(view, doc, &rest),
        _ => Err(unknown_directive(directive, patch)),
    }
}

/// Merges one field of a map.
fn merge_field(
    view: View<'_>,
    doc: &mut Map<String, Value>,
    key: &str,
    patch: &Value,
) -> Result<()> {
    if patch.is_null() {
        doc.remove(key);
        return Ok(());
    }
    let current = doc.remove(key);
    let deletes = patch
        .get(DIRECTIVE)
        .is_some_and(|directive| directive == "delete");
    let value = match (current, patch) {
        (_, Value::Object(_)) if deletes => return Ok(()),
        (Some(Value::Object(current)), Value::Object(patch)) => {
            Value::Object(merge_maps(view.child(key), current, patch)?)
        }
        (Some(Value::Array(current)), Value::Array(patch)) => {
            Value::Array(merge_lists(view, view.field(key), current, patch, None)?)
        }
        // Nothing to merge with: the patch is taken as it is, less what only directs.
        (_, Value::Object(patch)) => Value::Object(merge_maps(view.child(key), Map::new(), patch)?),
        (_, Value::Array(patch)) => {
            Value::Array(merge_lists(view, view.field(key), Vec::new(), patch, None)?)
        }
        (_, scalar) => scalar.clone(),
    };
    doc.insert(key.to_owned(), value);
    Ok(())
}

/// Clears what `$retainKeys` does not name. The patch itself may only set what it retains.
fn retain_keys(
    doc: &mut Map<String, Value>,
    keys: &Value,
    patch: &Map<String, Value>,
) -> Result<()> {
    let malformed = || PatchError::Strategic("invalid patch format of retainKeys".into());
    let keys = keys.as_array().ok_or_else(malformed)?;
    let retained = |key: &str| keys.iter().any(|retained| retained == key);
    let strays = patch.iter().any(|(key, value)| {
        let directs =
            key == RETAIN_KEYS || key.starts_with(DELETE_FROM) || key.starts_with(SET_ORDER);
        !directs && !value.is_null() && !retained(key)
    });
    if strays {
        return Err(malformed());
    }
    doc.retain(|key, _| retained(key));
    Ok(())
}

fn delete_scalars(doc: &mut Map<String, Value>, field: &str, gone: &Value) -> Result<()> {
    let malformed = || PatchError::Strategic("invalid patch format of primitive list".into());
    let gone = gone.as_array().ok_or_else(malformed)?;
    if let Some(list) = doc.get_mut(field) {
        let list = list.as_array_mut().ok_or_else(malformed)?;
        list.retain(|item| !gone.contains(item));
    }
    Ok(())
}

/// Merges a list and puts it into the order that `$setElementOrder` asks for.
fn merge_in_order(
    view: View<'_>,
    doc: &mut Map<String, Value>,
    key: &str,
    order: &Value,
    patch: &Map<String, Value>,
) -> Result<()> {
    let malformed = || PatchError::Strategic("invalid patch format of setElementOrder list".into());
    let order = order.as_array().ok_or_else(malformed)?;
    let items = match patch.get(key) {
        None => &[][..],
        Some(Value::Null) => {
            doc.remove(key);
            return Ok(());
        }
        Some(value) => value.as_array().ok_or_else(malformed)?.as_slice(),
    };
    let current = match doc.remove(key) {
        Some(Value::Array(current)) => current,
        Some(_) => return Err(malformed()),
        None if patch.contains_key(key) => Vec::new(),
        None => return Ok(()),
    };
    let field = view.field(key);
    check_order(field, items, order)?;
    let list = merge_lists(view, field, current, items, Some(order))?;
    doc.insert(key.to_owned(), Value::Array(list));
    Ok(())
}

/// The items of the patch must stand in the order that the patch itself asks for.
fn check_order(field: Option<&Field>, items: &[Value], order: &[Value]) -> Result<()> {
    let key = merge_key(field);
    let mut rest = order.iter();
    for item in items.iter().filter(|item| item.get(DIRECTIVE).is_none()) {
        if !rest.any(|wanted| same(key, wanted, item)) {
            return Err(PatchError::Strategic(format!(
                "The order in patch list:\n{}\n doesn't match {SET_ORDER} list:\n{}\n",
                go_text(&Value::from(items)),
                go_text(&Value::from(order))
            )));
        }
    }
    Ok(())
}

fn merge_key(field: Option<&Field>) -> Option<&str> {
    field.and_then(|field| field.patch_merge_key.as_deref())
}

fn merge_lists(
    owner: View<'_>,
    field: Option<&Field>,
    mut current: Vec<Value>,
    patch: &[Value],
    order: Option<&[Value]>,
) -> Result<Vec<Value>> {
    let merges = field.is_some_and(|field| field.patch_strategy.merge);
    if !merges {
        return Ok(patch.iter().cloned().map(plain).collect());
    }
    let key = merge_key(field);
    let items = field.map(|field| owner.child(&field.name).items());
    let before = current.clone();
    let mut named = Vec::new();
    match (key, items) {
        (Some(key), Some(items)) if patch.iter().chain(&current).all(Value::is_object) => {
            let replaces = apply_item_directives(key, &mut current, patch)?;
            if replaces {
                return Ok(undirected(patch).cloned().map(plain).collect());
            }
            for item in undirected(patch) {
                merge_item(items, key, &mut current, item)?;
                named.push(item.clone());
            }
        }
        _ => {
            for item in patch {
                if !current.contains(item) {
                    current.push(item.clone());
                }
                named.push(item.clone());
            }
        }
    }
    Ok(reorder(key, current, order.unwrap_or(&named), &before))
}

fn undirected(patch: &[Value]) -> impl Iterator<Item = &Value> {
    patch.iter().filter(|item| item.get(DIRECTIVE).is_none())
}

/// Carries out the `$patch` items of a list; true if the list is to be replaced.
fn apply_item_directives(key: &str, current: &mut Vec<Value>, patch: &[Value]) -> Result<bool> {
    let mut replaces = false;
    for item in patch {
        let Some(directive) = item.get(DIRECTIVE) else {
            continue;
        };
        match directive.as_str() {
            Some("delete") => {
                let identity = item.get(key).ok_or_else(|| no_merge_key(item, key))?;
                current.retain(|present| present.get(key) != Some(identity));
            }
            Some("replace") => replaces = true,
            Some("merge") => {
                let message = "merging lists cannot yet be specified in the patch";
                return Err(PatchError::Strategic(message.into()));
            }
            _ => {
                let empty = Map::new();
                return Err(unknown_directive(
                    directive,
                    item.as_object().unwrap_or(&empty),
                ));
            }
        }
    }
    Ok(replaces)
}

fn merge_item(view: View<'_>, key: &str, current: &mut Vec<Value>, item: &Value) -> Result<()> {
    let (Some(identity), Value::Object(patch)) = (item.get(key), item) else {
        return Err(no_merge_key(item, key));
    };
    let present = current
        .iter_mut()
        .find(|present| present.get(key) == Some(identity));
    match present {
        Some(Value::Object(present)) => {
            *present = merge_maps(view, std::mem::take(present), patch)?;
        }
        _ => current.push(Value::Object(merge_maps(view, Map::new(), patch)?)),
    }
    Ok(())
}

/// Orders a merged list: the items the patch names in its order, the others in theirs, and the two
/// interleaved by the places both had before.
fn reorder(key: Option<&str>, merged: Vec<Value>, order: &[Value], before: &[Value]) -> Vec<Value> {
    let place = |list: &[Value], item: &Value| list.iter().position(|other| same(key, other, item));
    let (mut named, mut others): (Vec<Value>, Vec<Value>) = merged
        .into_iter()
        .partition(|item| place(order, item).is_some());
    named.sort_by_key(|item| place(order, item));
    others.sort_by_key(|item| place(before, item));
    let mut out = Vec::with_capacity(named.len() + others.len());
    let mut named = named.into_iter().peekable();
    for other in others {
        let own = place(before, &other);
        while let Some(next) = named.peek() {
            let theirs = place(before, next);
            if own.is_some() && theirs.is_some() && own < theirs {
                break;
            }
            out.extend(named.next());
        }
        out.push(other);
    }
    out.extend(named);
    out
}

fn same(key: Option<&str>, left: &Value, right: &Value) -> bool {
    match key {
        Some(key) => left.get(key).is_some() && left.get(key) == right.get(key),
        None => left == right,
    }
}

/// A value with everything that only directs a merge taken out.
fn plain(value: Value) -> Value {
    match value {
        Value::Object(map) => Value::Object(without_directives(map)),
        Value::Array(items) => Value::Array(items.into_iter().map(plain).collect()),
        scalar => scalar,
    }
}

fn without_directives(map: Map<String, Value>) -> Map<String, Value> {
    map.into_iter()
        .filter(|(key, value)| {
            let directs = key == DIRECTIVE || key == RETAIN_KEYS || key.starts_with(DELETE_FROM);
            !directs && !key.starts_with(SET_ORDER) && !value.is_null()
        })
        .map(|(key, value)| (key, plain(value)))
        .collect()
}

fn no_merge_key(item: &Value, key: &str) -> PatchError {
    PatchError::Strategic(format!(
        "map: {} does not contain declared merge key: {key}",
        go_text(item)
    ))
}

fn unknown_directive(directive: &Value, patch: &Map<String, Value>) -> PatchError {
    let patch = go_text(&Value::Object(patch.clone()));
    PatchError::Strategic(format!(
        "unknown patch type found: {} in map: {patch}",
        go_text(directive)
    ))
}

/// A value as Go prints it with `%v`, for the messages that contain one.
fn go_text(value: &Value) -> String {
    let mut out = String::new();
    write_go(value, &mut out);
    out
}

fn write_go(value: &Value, out: &mut String) {
    match value {
        Value::Null => out.push_str("<nil>"),
        Value::String(text) => out.push_str(text),
        Value::Array(items) => {
            out.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    out.push(' ');
                }
                write_go(item, out);
            }
            out.push(']');
        }
        Value::Object(map) => {
            let mut sorted: Vec<_> = map.iter().collect();
            sorted.sort_by_key(|(key, _)| *key);
            out.push_str("map[");
            for (place, (key, value)) in sorted.into_iter().enumerate() {
                if place > 0 {
                    out.push(' ');
                }
                out.push_str(key);
                out.push(':');
                write_go(value, out);
            }
            out.push(']');
        }
        other => {
            let _ = write!(out, "{other}");
        }
    }
}
