//! An object being shown.

use jiff::Timestamp;
use serde_json::Value;

use super::duration::human_duration;

pub(super) const NONE: &str = "<none>";
pub(super) const UNKNOWN: &str = "<unknown>";
pub(super) const UNSET: &str = "<unset>";

/// An object, or a part of one, and the time at which it is shown. Paths are JSON pointers.
#[derive(Clone, Copy)]
pub(super) struct View<'v> {
    pub(super) object: &'v Value,
    pub(super) now: Timestamp,
}

impl<'v> View<'v> {
    pub(super) fn get(self, path: &str) -> Option<&'v Value> {
        self.object.pointer(path).filter(|value| !value.is_null())
    }

    /// The text there; empty where there is none.
    pub(super) fn str(self, path: &str) -> &'v str {
        self.get(path).and_then(Value::as_str).unwrap_or_default()
    }

    /// The text there as a cell.
    pub(super) fn text(self, path: &str) -> Value {
        Value::from(self.str(path))
    }

    /// The text there, or another where there is none.
    pub(super) fn text_or(self, path: &str, otherwise: &str) -> Value {
        match self.str(path) {
            "" => Value::from(otherwise),
            text => Value::from(text),
        }
    }

    /// The number there; 0 where there is none.
    pub(super) fn int(self, path: &str) -> i64 {
        self.get(path).and_then(Value::as_i64).unwrap_or(0)
    }

    /// The number there as a cell.
    pub(super) fn integer(self, path: &str) -> Value {
        Value::from(self.int(path))
    }

    pub(super) fn is_true(self, path: &str) -> bool {
        self.get(path).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The items of the list there.
    pub(super) fn items(
        self,
        path: &str,
    ) -> impl DoubleEndedIterator<Item = View<'v>> + ExactSizeIterator {
        let items = self
            .get(path)
            .and_then(Value::as_array)
            .map_or(&[][..], Vec::as_slice);
        items.iter().map(move |object| View {
            object,
            now: self.now,
        })
    }

    /// The number of items or keys there.
    pub(super) fn len(self, path: &str) -> usize {
        match self.get(path) {
            Some(Value::Array(items)) => items.len(),
            Some(Value::Object(map)) => map.len(),
            _ => 0,
        }
    }

    /// A number or a text there as text; `None` where there is nothing.
    pub(super) fn any_text(self, path: &str) -> Option<String> {
        self.get(path).map(hyades_jsonpath::to_text)
    }

    pub(super) fn time(self, path: &str) -> Option<Timestamp> {
        self.str(path).parse().ok()
    }

    pub(super) fn since(self, time: Option<Timestamp>) -> String {
        match time {
            Some(time) => human_duration(seconds_between(time, self.now)),
            None => UNKNOWN.into(),
        }
    }

    pub(super) fn name(self) -> Value {
        self.text("/metadata/name")
    }

    pub(super) fn age(self) -> Value {
        Value::from(self.since(self.time("/metadata/creationTimestamp")))
    }

    pub(super) fn is_being_deleted(self) -> bool {
        self.get("/metadata/deletionTimestamp").is_some()
    }

    /// The status of a condition, if it is there.
    pub(super) fn condition(self, wanted: &str) -> Option<View<'v>> {
        self.items("/status/conditions")
            .find(|condition| condition.str("/type") == wanted)
    }

    pub(super) fn has_condition(self, wanted: &str) -> bool {
        self.condition(wanted)
            .is_some_and(|condition| condition.str("/status") == "True")
    }
}

/// Whole seconds from one time to another, rounded towards zero.
pub(super) fn seconds_between(from: Timestamp, to: Timestamp) -> i64 {
    to.duration_since(from).as_secs()
}
