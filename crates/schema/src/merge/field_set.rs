//! Sets of field paths, as `metadata.managedFields[].fieldsV1` holds them.
//!
//! A set is a tree: one entry per path element, which may itself be a member, may have members
//! beneath it, or both. In JSON a member with members beneath it carries a `"."`.

use std::cmp::Ordering;
use std::fmt;

use serde_json::Map;
use serde_json::Value;

/// One step of a field path.
///
/// Keys and values are held as their canonical JSON text, so that equality of elements is equality
/// of text. The order of the variants is the order in which upstream lists them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PathElement {
    /// A field of an object, or a key of a map: `f:NAME`.
    Field(Box<str>),
    /// An item of a list identified by key fields: `k:{"name":"a"}`.
    Key(Box<str>),
    /// An item of a set, identified by its value: `v:"a"`.
    Value(Box<str>),
    /// An item of a list identified by its place: `i:0`.
    Index(u64),
}

impl PathElement {
    /// A field of an object.
    pub fn field(name: &str) -> Self {
        Self::Field(name.into())
    }

    /// Reads an element as `fieldsV1` writes it; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (kind, rest) = text.split_once(':')?;
        match kind {
            "f" => Some(Self::field(rest)),
            "k" => {
                let keys: Map<String, Value> = serde_json::from_str(rest).ok()?;
                Some(Self::Key(canonical_object(keys).into()))
            }
            "v" => {
                let value: Value = serde_json::from_str(rest).ok()?;
                Some(Self::Value(value.to_string().into()))
            }
            "i" => rest.parse().ok().map(Self::Index),
            _ => None,
        }
    }

    fn serialised(&self) -> String {
        match self {
            Self::Field(name) => format!("f:{name}"),
            Self::Key(keys) => format!("k:{keys}"),
            Self::Value(value) => format!("v:{value}"),
            Self::Index(place) => format!("i:{place}"),
        }
    }
}

/// The JSON text of an object with its keys in order, whatever order the map itself keeps.
pub(super) fn canonical_object(keys: Map<String, Value>) -> String {
    let mut sorted: Vec<(String, Value)> = keys.into_iter().collect();
    sorted.sort_by(|left, right| left.0.cmp(&right.0));
    let mut text = String::from("{");
    for (place, (key, value)) in sorted.iter().enumerate() {
        if place > 0 {
            text.push(',');
        }
        text.push_str(&Value::from(key.as_str()).to_string());
        text.push(':');
        text.push_str(&value.to_string());
    }
    text.push('}');
    text
}

impl fmt::Display for PathElement {
    /// Writes the element as conflict messages show it: `.a`, `[name="c1"]`, `[="x"]`, `[0]`.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Field(name) => write!(out, ".{name}"),
            Self::Key(keys) => {
                let keys: Map<String, Value> = serde_json::from_str(keys).unwrap_or_default();
                let mut shown: Vec<String> = keys
                    .iter()
                    .map(|(key, value)| format!("{key}={value}"))
                    .collect();
                shown.sort();
                write!(out, "[{}]", shown.join(","))
            }
            Self::Value(value) => write!(out, "[={value}]"),
            Self::Index(place) => write!(out, "[{place}]"),
        }
    }
}

/// A set of field paths.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldSet {
    /// Sorted by element; every entry is a member or has members beneath it.
    entries: Vec<Entry>,
}

/// One path element of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) element: PathElement,
    /// Whether the path that ends here is in the set.
    pub(super) member: bool,
    /// The paths beneath.
    pub(super) children: FieldSet,
}

impl FieldSet {
    /// The set of the given paths of field names.
    pub fn of_fields(paths: &[&[&str]]) -> Self {
        let mut set = Self::default();
        for path in paths {
            set.insert_fields(path);
        }
        set
    }

    fn insert_fields(&mut self, path: &[&str]) {
        let Some((first, rest)) = path.split_first() else {
            return;
        };
        let element = PathElement::field(first);
        let place = match self.find(&element) {
            Ok(place) => place,
            Err(place) => {
                let children = FieldSet::default();
                let entry = Entry {
                    element,
                    member: false,
                    children,
                };
                self.entries.insert(place, entry);
                place
            }
        };
        if rest.is_empty() {
            self.entries[place].member = true;
        } else {
            self.entries[place].children.insert_fields(rest);
        }
    }

    /// Whether the set has no path.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    pub(super) fn entries(&self) -> &[Entry] {
        &self.entries
    }

    fn find(&self, element: &PathElement) -> Result<usize, usize> {
        self.entries
            .binary_search_by(|entry| entry.element.cmp(element))
    }

    pub(super) fn get(&self, element: &PathElement) -> Option<&Entry> {
        self.find(element).ok().map(|place| &self.entries[place])
    }

    /// Adds an entry whose element is not in the set yet; an entry without any path is dropped.
    pub(super) fn push(&mut self, element: PathElement, member: bool, children: FieldSet) {
        if !member && children.is_empty() {
            return;
        }
        let entry = Entry {
            element,
            member,
            children,
        };
        match self.entries.last() {
            Some(last) if last.element >= entry.element => match self.find(&entry.element) {
                Ok(place) => {
                    let present = &mut self.entries[place];
                    present.member |= entry.member;
                    present.children = present.children.union(&entry.children);
                }
                Err(place) => self.entries.insert(place, entry),
            },
            _ => self.entries.push(entry),
        }
    }

    /// The paths in either set.
    pub fn union(&self, other: &Self) -> Self {
        self.combine(other, &|left, right| left | right, Keep::BOTH)
    }

    /// The paths in both sets.
    pub fn intersection(&self, other: &Self) -> Self {
        self.combine(other, &|left, right| left & right, Keep::NEITHER)
    }

    /// The paths of this set that are not in the other.
    pub fn difference(&self, other: &Self) -> Self {
        self.combine(other, &|left, right| left & !right, Keep::LEFT)
    }

    /// The paths of this set that neither are in the other nor lie beneath a path of the other.
    pub fn difference_with_subtrees(&self, other: &Self) -> Self {
        if other.is_empty() {
            return self.clone();
        }
        let mut out = Self::default();
        for entry in &self.entries {
            match other.get(&entry.element) {
                None => out.entries.push(entry.clone()),
                Some(present) if present.member => {}
                Some(present) => out.push(
                    entry.element.clone(),
                    entry.member,
                    entry.children.difference_with_subtrees(&present.children),
                ),
            }
        }
        out
    }

    fn combine(&self, other: &Self, member: &dyn Fn(bool, bool) -> bool, keep: Keep) -> Self {
        let mut out = Self::default();
        let (mut left, mut right) = (
            self.entries.iter().peekable(),
            other.entries.iter().peekable(),
        );
        loop {
            let order = match (left.peek(), right.peek()) {
                (None, None) => return out,
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(left), Some(right)) => left.element.cmp(&right.element),
            };
            match order {
                Ordering::Less => {
                    let entry = left.next().expect("peeked");
                    if keep.left {
                        out.entries.push(entry.clone());
                    }
                }
                Ordering::Greater => {
                    let entry = right.next().expect("peeked");
                    if keep.right {
                        out.entries.push(entry.clone());
                    }
                }
                Ordering::Equal => {
                    let (left, right) =
                        (left.next().expect("peeked"), right.next().expect("peeked"));
                    let children = left.children.combine(&right.children, member, keep);
                    out.push(
                        left.element.clone(),
                        member(left.member, right.member),
                        children,
                    );
                }
            }
        }
    }

    /// Reads `fieldsV1`; elements that are not understood are left out.
    pub fn parse(value: &Value) -> Self {
        let Value::Object(map) = value else {
            return Self::default();
        };
        let mut set = Self::default();
        for (key, beneath) in map {
            let Some(element) = PathElement::parse(key) else {
                continue;
            };
            let children = Self::parse(beneath);
            let marked = beneath.as_object().is_some_and(|map| map.contains_key("."));
            set.push(element, marked || children.is_empty(), children);
        }
        set
    }

    /// Writes `fieldsV1`.
    pub fn to_value(&self) -> Value {
        let mut map = Map::new();
        self.write_into(&mut map);
        Value::Object(map)
    }

    fn write_into(&self, map: &mut Map<String, Value>) {
        for entry in &self.entries {
            let mut beneath = Map::new();
            if entry.member && !entry.children.is_empty() {
                beneath.insert(".".into(), Value::Object(Map::new()));
            }
            entry.children.write_into(&mut beneath);
            map.insert(entry.element.serialised(), Value::Object(beneath));
        }
    }

    /// The paths of the set as conflict messages show them (`.data.a`), in the set's order.
    pub fn paths(&self) -> Vec<String> {
        let mut out = Vec::new();
        self.collect_paths("", &mut out);
        out
    }

    fn collect_paths(&self, prefix: &str, out: &mut Vec<String>) {
        for entry in self.entries.iter().filter(|entry| entry.member) {
            out.push(format!("{prefix}{}", entry.element));
        }
        for entry in &self.entries {
            if !entry.children.is_empty() {
                let prefix = format!("{prefix}{}", entry.element);
                entry.children.collect_paths(&prefix, out);
            }
        }
    }
}

/// Which of the entries that only one of two sets has are kept.
#[derive(Clone, Copy)]
struct Keep {
    left: bool,
    right: bool,
}

impl Keep {
    const BOTH: Self = Self {
        left: true,
        right: true,
    };
    const LEFT: Self = Self {
        left: true,
        right: false,
    };
    const NEITHER: Self = Self {
        left: false,
        right: false,
    };
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn set(value: Value) -> FieldSet {
        FieldSet::parse(&value)
    }

    #[test]
    fn what_is_parsed_is_written_again() {
        let value = json!({
            "f:spec": {".": {}, "f:ports": {"k:{\"containerPort\":80,\"protocol\":\"TCP\"}": {".": {}, "f:x": {}}}},
            "f:finalizers": {"v:\"a.b/c\"": {}, "i:3": {}}
        });
        assert_eq!(set(value.clone()).to_value(), value);
    }

    #[test]
    fn keys_are_equal_whatever_their_order() {
        let left = PathElement::parse("k:{\"b\":1,\"a\":\"x\"}").expect("a key");
        let right = PathElement::parse("k:{\"a\":\"x\", \"b\":1}").expect("a key");
        assert_eq!(left, right);
        assert_eq!(left.to_string(), "[a=\"x\",b=1]");
    }

    #[test]
    fn difference_keeps_members_beneath_a_removed_one() {
        let left = set(json!({"f:a": {".": {}, "f:b": {}}}));
        let right = set(json!({"f:a": {}}));
        assert_eq!(
            left.difference(&right).to_value(),
            json!({"f:a": {"f:b": {}}})
        );
        assert!(left.difference_with_subtrees(&right).is_empty());
    }

    #[test]
    fn intersection_and_union_respect_membership() {
        let left = set(json!({"f:a": {"f:b": {}}, "f:c": {}}));
        let right = set(json!({"f:a": {".": {}, "f:b": {}}}));
        assert_eq!(
            left.intersection(&right).to_value(),
            json!({"f:a": {"f:b": {}}})
        );
        let both = json!({"f:a": {".": {}, "f:b": {}}, "f:c": {}});
        assert_eq!(left.union(&right).to_value(), both);
    }

    #[test]
    fn paths_read_like_the_servers() {
        let set = set(
            json!({"f:spec": {"f:c": {"k:{\"name\":\"c1\"}": {".": {}, "f:image": {}}}, "f:s": {"v:1": {}}}}),
        );
        let expected = [
            ".spec.c[name=\"c1\"]",
            ".spec.c[name=\"c1\"].image",
            ".spec.s[=1]",
        ];
        assert_eq!(set.paths(), expected);
    }
}
