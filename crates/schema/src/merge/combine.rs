//! Merging an applied configuration into a live object, and removing what nobody owns any more.

use std::collections::BTreeMap;

use serde_json::Map;
use serde_json::Value;

use super::field_set::FieldSet;
use super::field_set::PathElement;
use super::view::Form;
use super::view::View;
use super::view::is_hollow;
use crate::types::ListType;

/// The live object with the configuration laid over it.
pub(super) fn merged(view: View<'_>, live: &Value, config: &Value) -> Value {
    merge(view, Some(live), Some(config)).unwrap_or_else(|| Value::Object(Map::new()))
}

fn merge(view: View<'_>, live: Option<&Value>, config: Option<&Value>) -> Option<Value> {
    let (live, config) = match (live, config) {
        (None, only) | (only, None) => return only.cloned(),
        (Some(live), Some(config)) => (live, config),
    };
    if is_hollow(Some(live)) && is_hollow(Some(config)) {
        return Some(config.clone());
    }
    match (view.form(Some(config)), live, config) {
        (Form::Granular, Value::Object(live), Value::Object(config)) => {
            Some(merge_maps(view, live, config))
        }
        (Form::Granular, _, Value::Null) => Some(live.clone()),
        (Form::Items(list), Value::Array(live), Value::Array(config)) => {
            Some(Value::Array(merge_lists(view, list, live, config)))
        }
        (Form::Items(_), _, Value::Null) => Some(live.clone()),
        _ => Some(config.clone()),
    }
}

fn merge_maps(view: View<'_>, live: &Map<String, Value>, config: &Map<String, Value>) -> Value {
    let mut out = Map::new();
    for (key, value) in live {
        if let Some(value) = merge(view.child(key), Some(value), config.get(key)) {
            out.insert(key.clone(), value);
        }
    }
    for (key, value) in config {
        if !live.contains_key(key) {
            out.insert(key.clone(), value.clone());
        }
    }
    Value::Object(out)
}

/// Merges two lists of identified items. Shared items stand in the order of the configuration;
/// an item only the live list has stays behind the items it stood behind, as far as that order
/// allows.
fn merge_lists(view: View<'_>, list: &ListType, live: &[Value], config: &[Value]) -> Vec<Value> {
    let (live_order, live_items) = index(view, list, live);
    let (config_order, config_items) = index(view, list, config);
    let mut shared = config_order
        .iter()
        .filter(|element| live_items.contains_key(*element))
        .peekable();
    let mut out = Vec::with_capacity(live.len().max(config.len()));
    let (mut left, mut right) = (0, 0);
    while left < live_order.len() || right < config_order.len() {
        if left < live_order.len() {
            let element = &live_order[left];
            let is_shared = config_items.contains_key(element);
            if !is_shared {
                out.push(live_items[element].clone());
                left += 1;
                continue;
            }
            if right < config_order.len() && shared.peek().is_some_and(|next| *next != element) {
                // A shared item whose turn comes later, or has already come.
                left += 1;
                continue;
            }
        }
        if right >= config_order.len() {
            left += 1;
            continue;
        }
        let element = &config_order[right];
        let counterpart = live_items.get(element).copied();
        out.extend(merge(
            view.items(),
            counterpart,
            Some(config_items[element]),
        ));
        if shared.peek().is_some_and(|next| *next == element) {
            shared.next();
        }
        if live_order.get(left) == Some(element) {
            left += 1;
        }
        right += 1;
    }
    out
}

type Indexed<'v> = (Vec<PathElement>, BTreeMap<PathElement, &'v Value>);

fn index<'v>(view: View<'_>, list: &ListType, items: &'v [Value]) -> Indexed<'v> {
    let mut order = Vec::with_capacity(items.len());
    let mut by_element = BTreeMap::new();
    for item in items {
        let Ok(element) = view.identify(list, item) else {
            continue;
        };
        if by_element.insert(element.clone(), item).is_none() {
            order.push(element);
        }
    }
    (order, by_element)
}

/// Removes nulls, which clients use for "absent", except where `null` is a value of the type.
pub(super) fn drop_nulls(view: View<'_>, value: &mut Value) {
    match value {
        Value::Object(map) => map.retain(|key, value| {
            let child = view.child(key);
            drop_nulls(child, value);
            !value.is_null() || child.ty().is_none_or(|ty| ty.nullable)
        }),
        Value::Array(items) => {
            for item in items {
                drop_nulls(view.items(), item);
            }
        }
        _ => {}
    }
}

/// Removes the given fields and items. What holds nothing afterwards is removed too.
pub(super) fn remove(view: View<'_>, value: &mut Value, fields: &FieldSet) {
    match (view.form(Some(value)), &mut *value) {
        (Form::Granular, Value::Object(map)) => {
            map.retain(|key, value| {
                let Some(entry) = fields.get(&PathElement::field(key)) else {
                    return true;
                };
                !entry.member && keep_rest(view.child(key), value, &entry.children)
            });
        }
        (Form::Items(list), Value::Array(items)) => {
            items.retain_mut(|item| {
                let Ok(element) = view.identify(list, item) else {
                    return true;
                };
                let Some(entry) = fields.get(&element) else {
                    return true;
                };
                !entry.member && keep_rest(view.items(), item, &entry.children)
            });
        }
        _ => {}
    }
}

/// Removes fields beneath a value; false if that left a container with nothing in it.
fn keep_rest(view: View<'_>, value: &mut Value, fields: &FieldSet) -> bool {
    if fields.is_empty() || is_hollow(Some(value)) {
        return true;
    }
    match view.form(Some(value)) {
        // What is owned as a whole has no parts; paths beneath it stem from an older schema.
        Form::Leaf => !matches!(value, Value::Object(_) | Value::Array(_)),
        _ => {
            remove(view, value, fields);
            !is_hollow(Some(value))
        }
    }
}

/// The set with every declared field that has paths beneath it as a member.
///
/// A declared field is not claimed by itself when something beneath it is; for deciding what to
/// remove it counts as claimed.
pub(super) fn with_declared_fields(view: View<'_>, set: &FieldSet) -> FieldSet {
    let mut out = FieldSet::default();
    for entry in set.entries() {
        let (child, declared) = match &entry.element {
            PathElement::Field(name) => (view.child(name), view.declares(name)),
            _ => (view.items(), false),
        };
        let member = entry.member || (declared && !entry.children.is_empty());
        out.push(
            entry.element.clone(),
            member,
            with_declared_fields(child, &entry.children),
        );
    }
    out
}
