//! Objects as JSON: their metadata, and their encoding with the revision spliced in.

use std::borrow::Cow;

use bytes::Bytes;
use hyades_store::Revision;
use serde::Deserialize;
use serde_json::Map;
use serde_json::Value;

/// The finalizer with which a foreground deletion waits for dependents.
pub const FOREGROUND_FINALIZER: &str = "foregroundDeletion";
/// The finalizer with which an orphaning deletion waits for its dependents' release.
pub const ORPHAN_FINALIZER: &str = "orphan";

/// How deep a stored object may nest: what is stored deeper could not be read again, as the parser
/// stops at 128. Bodies stop at 120; what the server adds to them is less deep than the rest.
pub const DEPTH_MAX: usize = 127;

/// `metadata`, or an empty map for an object without one.
pub fn metadata(object: &Value) -> &Map<String, Value> {
    static EMPTY: std::sync::OnceLock<Map<String, Value>> = std::sync::OnceLock::new();
    object
        .get("metadata")
        .and_then(Value::as_object)
        .unwrap_or_else(|| EMPTY.get_or_init(Map::new))
}

/// `metadata`, made when it is absent or no object.
///
/// The object itself must be a JSON object, which decoding has checked.
pub fn metadata_mut(object: &mut Value) -> &mut Map<String, Value> {
    let metadata = &mut object["metadata"];
    if !metadata.is_object() {
        *metadata = Value::Object(Map::new());
    }
    metadata.as_object_mut().expect("made an object above")
}

/// A metadata field that is text; empty when absent.
pub fn text<'a>(object: &'a Value, field: &str) -> &'a str {
    metadata(object)
        .get(field)
        .and_then(Value::as_str)
        .unwrap_or_default()
}

/// `metadata.name`.
pub fn name(object: &Value) -> &str {
    text(object, "name")
}

/// `metadata.namespace`.
pub fn namespace(object: &Value) -> &str {
    text(object, "namespace")
}

/// `metadata.uid`.
pub fn uid(object: &Value) -> &str {
    text(object, "uid")
}

/// `metadata.resourceVersion`.
pub fn resource_version(object: &Value) -> &str {
    text(object, "resourceVersion")
}

/// Whether deletion of the object has begun.
pub fn is_deleting(object: &Value) -> bool {
    metadata(object)
        .get("deletionTimestamp")
        .is_some_and(|time| !time.is_null())
}

/// `metadata.finalizers`.
pub fn finalizers(object: &Value) -> Vec<&str> {
    metadata(object)
        .get("finalizers")
        .and_then(Value::as_array)
        .map(|list| list.iter().filter_map(Value::as_str).collect())
        .unwrap_or_default()
}

/// Sets a metadata field, or removes it when the value is null.
pub fn set(object: &mut Value, field: &str, value: Value) {
    let metadata = metadata_mut(object);
    if value.is_null() {
        metadata.remove(field);
    } else {
        metadata.insert(field.to_owned(), value);
    }
}

/// Copies a metadata field from another object; absent there means absent here.
pub fn copy(object: &mut Value, from: &Value, field: &str) {
    let value = metadata(from).get(field).cloned().unwrap_or(Value::Null);
    set(object, field, value);
}

/// A top-level field of an object taken over from another one; absent there means absent here.
pub fn copy_top(object: &mut Value, from: &Value, field: &str) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    match from.get(field) {
        Some(value) => {
            map.insert(field.to_owned(), value.clone());
        }
        None => {
            map.remove(field);
        }
    }
}

/// Removes a top-level field.
pub fn remove_top(object: &mut Value, field: &str) {
    if let Some(map) = object.as_object_mut() {
        map.remove(field);
    }
}

/// The present time as `metav1.Time` prints it.
pub fn now() -> String {
    time(jiff::Timestamp::now())
}

/// A time as `metav1.Time` prints it: RFC 3339 in whole seconds.
pub fn time(at: jiff::Timestamp) -> String {
    at.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}

/// An object encoded except for its resourceVersion, which is known at commit only.
#[derive(Debug)]
pub struct Encoded {
    bytes: Vec<u8>,
    /// Where the revision's digits go.
    splice_at: usize,
}

impl Encoded {
    /// Encodes an object; whatever resourceVersion it carries is left out.
    pub fn new(object: &Value) -> Encoded {
        let mut bytes = Vec::with_capacity(1024);
        let mut splice_at = 0;
        bytes.push(b'{');
        let fields = object.as_object().into_iter().flatten();
        for (place, (key, value)) in fields.enumerate() {
            if place > 0 {
                bytes.push(b',');
            }
            write_json(&mut bytes, key);
            bytes.push(b':');
            if key == "metadata" {
                splice_at = write_metadata(&mut bytes, value);
            } else {
                write_json(&mut bytes, value);
            }
        }
        bytes.push(b'}');
        Encoded { bytes, splice_at }
    }

    /// The size in bytes, without the revision's digits.
    #[expect(clippy::len_without_is_empty, reason = "an object is never empty")]
    pub fn len(&self) -> usize {
        self.bytes.len()
    }

    /// The object at a revision.
    pub fn at(&self, revision: Revision) -> Bytes {
        let digits = revision.to_string();
        let mut bytes = Vec::with_capacity(self.bytes.len() + digits.len());
        bytes.extend_from_slice(&self.bytes[..self.splice_at]);
        bytes.extend_from_slice(digits.as_bytes());
        bytes.extend_from_slice(&self.bytes[self.splice_at..]);
        Bytes::from(bytes)
    }
}

/// Writes `metadata` with the resourceVersion last, and says where its digits go. Order of fields
/// has no meaning in JSON.
fn write_metadata(bytes: &mut Vec<u8>, metadata: &Value) -> usize {
    bytes.push(b'{');
    for (key, value) in metadata.as_object().into_iter().flatten() {
        if key != "resourceVersion" {
            write_json(bytes, key);
            bytes.push(b':');
            write_json(bytes, value);
            bytes.push(b',');
        }
    }
    bytes.extend_from_slice(b"\"resourceVersion\":\"");
    let splice_at = bytes.len();
    bytes.extend_from_slice(b"\"}");
    splice_at
}

fn write_json(bytes: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    serde_json::to_writer(bytes, value).expect("JSON values serialise, and memory does not fail");
}

/// Parses a stored object. What is stored was encoded by [`Encoded`], so this cannot fail.
pub fn decode(bytes: &[u8]) -> Value {
    serde_json::from_slice(bytes).expect("the store holds JSON this crate wrote")
}

/// The metadata that selectors and admission look at, read without decoding the rest.
#[derive(Debug, Default, Deserialize)]
pub struct Glance<'a> {
    /// The object's metadata.
    #[serde(borrow, default)]
    pub metadata: GlanceMetadata<'a>,
}

/// See [`Glance`].
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GlanceMetadata<'a> {
    /// Labels.
    #[serde(borrow, default)]
    pub labels: std::collections::BTreeMap<Cow<'a, str>, Cow<'a, str>>,
    /// Uid.
    #[serde(borrow, default)]
    pub uid: Cow<'a, str>,
    /// When deletion began.
    #[serde(borrow, default)]
    pub deletion_timestamp: Option<Cow<'a, str>>,
}

/// Reads what [`Glance`] holds; an object without metadata has the defaults.
pub fn glance(bytes: &[u8]) -> Glance<'_> {
    serde_json::from_slice(bytes).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_revision_is_spliced_into_the_metadata() {
        let object = json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a", "resourceVersion": "1", "labels": {"resourceVersion": "x"}},
            "data": {"metadata": "m"},
        });
        let encoded = Encoded::new(&object);
        let mut expected = object.clone();
        expected["metadata"]["resourceVersion"] = "42".into();
        assert_eq!(decode(&encoded.at(42)), expected);
        assert_eq!(resource_version(&decode(&encoded.at(7))), "7");
    }

    #[test]
    fn a_glance_sees_labels_and_deletion() {
        let bytes = Encoded::new(&json!({
            "metadata": {"labels": {"a": "b\n"}, "deletionTimestamp": "t", "uid": "u"},
            "spec": {"x": [1, 2]},
        }))
        .at(1);
        let glance = glance(&bytes);
        assert_eq!(glance.metadata.labels["a"], "b\n");
        assert_eq!(glance.metadata.uid, "u");
        assert!(glance.metadata.deletion_timestamp.is_some());
    }
}
