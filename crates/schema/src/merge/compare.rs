//! Which fields one version of an object has added, removed and modified against another.

use serde_json::Map;
use serde_json::Value;

use super::field_set::FieldSet;
use super::field_set::PathElement;
use super::view::Form;
use super::view::View;
use super::view::equal;
use super::view::is_hollow;
use crate::types::ListType;

/// The difference between two versions of an object.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    pub(super) added: FieldSet,
    pub(super) removed: FieldSet,
    pub(super) modified: FieldSet,
}

/// What happened to one value as a whole.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Change {
    Added,
    Removed,
    Modified,
}

impl Comparison {
    /// Compares two versions of an object.
    pub(super) fn of(view: View<'_>, old: &Value, new: &Value) -> Self {
        let mut out = Self::default();
        // The object as a whole is not a field.
        let _ = out.compare(view, Some(old), Some(new));
        out
    }

    pub(super) fn is_empty(&self) -> bool {
        self.added.is_empty() && self.removed.is_empty() && self.modified.is_empty()
    }

    /// The fields that have a new value.
    pub(super) fn written(&self) -> FieldSet {
        self.added.union(&self.modified)
    }

    /// The difference without the given fields and what lies beneath them.
    pub(super) fn without(self, fields: &FieldSet) -> Self {
        if fields.is_empty() {
            return self;
        }
        Self {
            added: self.added.difference_with_subtrees(fields),
            removed: self.removed.difference_with_subtrees(fields),
            modified: self.modified.difference_with_subtrees(fields),
        }
    }

    /// Records what lies beneath two values and returns what happened to the values themselves.
    fn compare(
        &mut self,
        view: View<'_>,
        old: Option<&Value>,
        new: Option<&Value>,
    ) -> Option<Change> {
        if is_hollow(old) && is_hollow(new) {
            return leaf_change(old, new);
        }
        match view.form(new.filter(|new| !new.is_null()).or(old)) {
            Form::Leaf if beneath_untyped(view, old, new) => {
                self.compare_maps(view, map_of(old), None);
                leaf_change(old, new)
            }
            Form::Leaf => leaf_change(old, new),
            Form::Granular => {
                self.compare_maps(view, map_of(old), map_of(new));
                let replaced = view.ty().is_none() && old.is_some_and(|old| !is_map_or_null(old));
                if replaced {
                    Some(Change::Modified)
                } else {
                    whole_change(old, new)
                }
            }
            Form::Items(list) => {
                if !old.zip(new).is_some_and(|(old, new)| old == new) {
                    self.compare_lists(view, list, items_of(old), items_of(new));
                }
                whole_change(old, new)
            }
        }
    }

    fn compare_maps(
        &mut self,
        view: View<'_>,
        old: Option<&Map<String, Value>>,
        new: Option<&Map<String, Value>>,
    ) {
        for (key, value) in old.into_iter().flatten() {
            let counterpart = new.and_then(|new| new.get(key));
            self.descend(
                view.child(key),
                || PathElement::field(key),
                Some(value),
                counterpart,
            );
        }
        for (key, value) in new.into_iter().flatten() {
            if !old.is_some_and(|old| old.contains_key(key)) {
                self.descend(
                    view.child(key),
                    || PathElement::field(key),
                    None,
                    Some(value),
                );
            }
        }
    }

    fn compare_lists(&mut self, view: View<'_>, list: &ListType, old: &[Value], new: &[Value]) {
        let old = identified(view, list, old);
        let new = identified(view, list, new);
        let (mut left, mut right) = (old.into_iter().peekable(), new.into_iter().peekable());
        let items = view.items();
        loop {
            let take_left = match (left.peek(), right.peek()) {
                (None, None) => return,
                (left, None) => left.is_some(),
                (None, Some(_)) => false,
                (Some((left_id, left_item)), Some((right_id, right_item)))
                    if left_id == right_id =>
                {
                    let (old, new) = (Some(*left_item), Some(*right_item));
                    self.descend(items, || left_id.clone(), old, new);
                    left.next();
                    right.next();
                    continue;
                }
                (Some((left_id, _)), Some((right_id, _))) => left_id < right_id,
            };
            let (next, is_old) = if take_left {
                (left.next(), true)
            } else {
                (right.next(), false)
            };
            let Some((element, item)) = next else { return };
            let (old, new) = if is_old {
                (Some(item), None)
            } else {
                (None, Some(item))
            };
            self.descend(items, || element, old, new);
        }
    }

    fn descend(
        &mut self,
        view: View<'_>,
        element: impl FnOnce() -> PathElement,
        old: Option<&Value>,
        new: Option<&Value>,
    ) {
        let mut beneath = Comparison::default();
        let change = beneath.compare(view, old, new);
        if change.is_none() && beneath.is_empty() {
            return;
        }
        let element = element();
        self.removed.push(
            element.clone(),
            change == Some(Change::Removed),
            beneath.removed,
        );
        self.modified.push(
            element.clone(),
            change == Some(Change::Modified),
            beneath.modified,
        );
        self.added
            .push(element, change == Some(Change::Added), beneath.added);
    }
}

/// Whether an untyped map gave way to something else, so that its fields went with it.
fn beneath_untyped(view: View<'_>, old: Option<&Value>, new: Option<&Value>) -> bool {
    matches!(view.form(old), Form::Granular) && new.is_some() && map_of(old).is_some()
}

fn leaf_change(old: Option<&Value>, new: Option<&Value>) -> Option<Change> {
    match (old, new) {
        (Some(old), Some(new)) if equal(old, new) => None,
        (Some(_), Some(_)) => Some(Change::Modified),
        _ => whole_change(old, new),
    }
}

fn whole_change(old: Option<&Value>, new: Option<&Value>) -> Option<Change> {
    match (old, new) {
        (None, Some(_)) => Some(Change::Added),
        (Some(_), None) => Some(Change::Removed),
        _ => None,
    }
}

fn is_map_or_null(value: &Value) -> bool {
    matches!(value, Value::Object(_) | Value::Null)
}

fn map_of(value: Option<&Value>) -> Option<&Map<String, Value>> {
    value.and_then(Value::as_object)
}

fn items_of(value: Option<&Value>) -> &[Value] {
    value.and_then(Value::as_array).map_or(&[], Vec::as_slice)
}

/// The items of a list with their identities, sorted by them. Items without an identity and
/// repetitions are left out: validation reports them, ownership cannot name them.
fn identified<'v>(
    view: View<'_>,
    list: &ListType,
    items: &'v [Value],
) -> Vec<(PathElement, &'v Value)> {
    let mut out: Vec<(PathElement, &Value)> = items
        .iter()
        .filter_map(|item| {
            view.identify(list, item)
                .ok()
                .map(|element| (element, item))
        })
        .collect();
    out.sort_by(|left, right| left.0.cmp(&right.0));
    out.dedup_by(|later, earlier| later.0 == earlier.0);
    out
}
