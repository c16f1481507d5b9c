//! JSON patch (RFC 6902) and JSON merge patch (RFC 7386).

use json_patch::PatchOperation;
use serde_json::Map;
use serde_json::Value;

use crate::parse::MAX_DEPTH;
use crate::parse::depth;

/// Operations in one JSON patch, at most: upstream's limit, which bounds the work of one request.
pub const MAX_JSON_PATCH_OPERATIONS: usize = 10_000;

/// Bytes that the copies and moves of one JSON patch may carry together. Each copy can double the
/// object, so that forty operations would fill any memory; a whole request body is as much as any
/// patch needs.
pub const MAX_JSON_PATCH_CARRIED_BYTES: usize = 3 * 1024 * 1024;

/// What a value costs beside its texts, in bytes.
const VALUE_BYTES: usize = size_of::<Value>();

/// Why a patch was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// The patch is not of the form its content type demands: 400.
    #[error("error decoding patch: {0}")]
    Decode(String),
    /// The patch has too many operations: 413.
    #[error(
        "The allowed maximum operations in a JSON patch is {MAX_JSON_PATCH_OPERATIONS}, got {0}"
    )]
    TooManyOperations(usize),
    /// The patch copies or moves too much: 400.
    #[error(
        "the copy and move operations of the JSON patch carry more than \
         {MAX_JSON_PATCH_CARRIED_BYTES} bytes; replace the object instead"
    )]
    CarriesTooMuch,
    /// The patch would nest the object too deep: 400.
    #[error("the JSON patch nests the object deeper than {MAX_DEPTH} levels; flatten the object")]
    TooDeep,
    /// The patch does not apply to the object: 422. The API server gives no reason; it is kept here
    /// for logs.
    #[error("the server rejected our request due to an error in our request")]
    Rejected(String),
    /// A test of the patch failed, so that nothing of it applies: 422.
    #[error("the server rejected our request due to an error in our request")]
    TestFailed(String),
    /// A strategic merge patch contradicts the type or itself. The API server answers 500.
    #[error("{0}")]
    Strategic(String),
}

/// The document after the operations of a JSON patch.
pub fn json_patch(doc: &Value, patch: &Value) -> Result<Value, PatchError> {
    let operations = match patch {
        Value::Array(operations) => operations,
        Value::Null => return Ok(doc.clone()),
        other => return Err(wrong_kind(other, "[]handlers.jsonPatchOp")),
    };
    if operations.len() > MAX_JSON_PATCH_OPERATIONS {
        return Err(PatchError::TooManyOperations(operations.len()));
    }
    if let Some(odd) = operations.iter().find(|operation| !operation.is_object()) {
        return Err(wrong_kind(odd, "handlers.jsonPatchOp"));
    }
    let operations: json_patch::Patch = serde_json::from_value(patch.clone())
        .map_err(|error| PatchError::Rejected(error.to_string()))?;
    let mut out = doc.clone();
    let mut carried = 0;
    for operation in operations.iter() {
        bounded(&out, operation, &mut carried)?;
        json_patch::patch(&mut out, std::slice::from_ref(operation)).map_err(|error| {
            let why = error.to_string();
            match error.kind {
                json_patch::PatchErrorKind::TestFailed => PatchError::TestFailed(why),
                _ => PatchError::Rejected(why),
            }
        })?;
    }
    Ok(out)
}

/// Whether the document stays within its limits through an operation; `carried` counts what copies
/// and moves have carried so far.
fn bounded(doc: &Value, operation: &PatchOperation, carried: &mut usize) -> Result<(), PatchError> {
    let (path, value) = match operation {
        PatchOperation::Add(add) => (&add.path, Some(&add.value)),
        PatchOperation::Replace(replace) => (&replace.path, Some(&replace.value)),
        PatchOperation::Copy(copy) => (&copy.path, doc.pointer(copy.from.as_str())),
        PatchOperation::Move(step) => (&step.path, doc.pointer(step.from.as_str())),
        PatchOperation::Remove(_) | PatchOperation::Test(_) => return Ok(()),
    };
    // What is not there is refused when the operation is carried out.
    let Some(value) = value else {
        return Ok(());
    };
    if matches!(operation, PatchOperation::Copy(_) | PatchOperation::Move(_)) {
        *carried = carried.saturating_add(weight(value));
        if *carried > MAX_JSON_PATCH_CARRIED_BYTES {
            return Err(PatchError::CarriesTooMuch);
        }
    }
    let above = path.as_str().matches('/').count();
    if above + depth(value) > MAX_DEPTH {
        return Err(PatchError::TooDeep);
    }
    Ok(())
}

/// Roughly the memory a value takes, in bytes.
fn weight(value: &Value) -> usize {
    let mut bytes = 0;
    let mut open = vec![value];
    while let Some(value) = open.pop() {
        bytes += VALUE_BYTES;
        match value {
            Value::String(text) => bytes += text.len(),
            Value::Array(items) => open.extend(items),
            Value::Object(fields) => {
                bytes += fields.keys().map(String::len).sum::<usize>();
                open.extend(fields.values());
            }
            Value::Null | Value::Bool(_) | Value::Number(_) => {}
        }
    }
    bytes
}

/// Lays a merge patch over the document: objects merge, `null` deletes, anything else replaces.
pub fn merge_patch(doc: &mut Value, patch: &Value) -> Result<(), PatchError> {
    match patch {
        Value::Object(_) => {
            merge_value(doc, patch);
            Ok(())
        }
        Value::Null => Ok(()),
        other => Err(wrong_kind(other, "map[string]interface {}")),
    }
}

fn merge_value(doc: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *doc = patch.clone();
        return;
    };
    if !doc.is_object() {
        *doc = Value::Object(Map::new());
    }
    let Value::Object(map) = doc else { return };
    for (key, value) in patch {
        if value.is_null() {
            map.remove(key);
        } else {
            merge_value(map.entry(key.clone()).or_insert(Value::Null), value);
        }
    }
}

fn wrong_kind(value: &Value, wanted: &str) -> PatchError {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    PatchError::Decode(format!(
        "json: cannot unmarshal {kind} into Go value of type {wanted}"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn merge_patch_follows_the_examples_of_its_rfc() {
        let examples = [
            (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
            (
                json!({"a": "b"}),
                json!({"b": "c"}),
                json!({"a": "b", "b": "c"}),
            ),
            (json!({"a": "b"}), json!({"a": null}), json!({})),
            (
                json!({"a": "b", "b": "c"}),
                json!({"a": null}),
                json!({"b": "c"}),
            ),
            (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
            (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
            (
                json!({"a": {"b": "c"}}),
                json!({"a": {"b": "d", "c": null}}),
                json!({"a": {"b": "d"}}),
            ),
            (
                json!({"a": [{"b": "c"}]}),
                json!({"a": [1]}),
                json!({"a": [1]}),
            ),
            (
                json!({"e": null}),
                json!({"a": 1}),
                json!({"e": null, "a": 1}),
            ),
            (
                json!([1, 2]),
                json!({"a": "b", "c": null}),
                json!({"a": "b"}),
            ),
            (
                json!({}),
                json!({"a": {"bb": {"ccc": null}}}),
                json!({"a": {"bb": {}}}),
            ),
        ];
        for (mut doc, patch, expected) in examples {
            merge_patch(&mut doc, &patch).expect("an object is a merge patch");
            assert_eq!(doc, expected, "patch {patch}");
        }
    }

    #[test]
    fn a_patch_of_the_wrong_kind_is_named_as_the_server_names_it() {
        let error = merge_patch(&mut json!({}), &json!([])).expect_err("a list is no merge patch");
        let expected = "error decoding patch: json: cannot unmarshal array into Go value of type map[string]interface {}";
        assert_eq!(error.to_string(), expected);
        let error = json_patch(&json!({}), &json!({"not": "array"}))
            .expect_err("an object is no JSON patch");
        let expected = "error decoding patch: json: cannot unmarshal object into Go value of type []handlers.jsonPatchOp";
        assert_eq!(error.to_string(), expected);
    }

    #[test]
    fn copies_that_double_an_object_are_stopped_before_memory_is() {
        let doc = json!({"data": {"a": "x".repeat(1000)}});
        let copies: Vec<Value> = (0..60)
            .map(
                |number| json!({"op": "copy", "from": "/data", "path": format!("/data/c{number}")}),
            )
            .collect();
        assert_eq!(
            json_patch(&doc, &Value::Array(copies)),
            Err(PatchError::CarriesTooMuch)
        );
        let few = json!([{"op": "copy", "from": "/data/a", "path": "/data/b"}]);
        assert_eq!(
            json_patch(&doc, &few).unwrap()["data"]["b"],
            doc["data"]["a"]
        );
    }

    #[test]
    fn no_operation_nests_an_object_deeper_than_a_body_may_be() {
        let nested = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!({"a": inner}));
        let path = |levels: usize| "/a".repeat(levels);
        let doc = nested(MAX_DEPTH / 2);
        for operation in [
            json!({"op": "add", "path": path(MAX_DEPTH / 2), "value": nested(MAX_DEPTH / 2 + 1)}),
            json!({"op": "replace", "path": path(MAX_DEPTH / 2), "value": nested(MAX_DEPTH / 2 + 1)}),
            json!({"op": "copy", "from": "", "path": path(MAX_DEPTH / 2 + 1)}),
        ] {
            let refused = json_patch(&doc, &json!([operation]));
            assert_eq!(refused, Err(PatchError::TooDeep), "{operation}");
        }
        let most =
            json!([{"op": "add", "path": path(MAX_DEPTH / 2), "value": nested(MAX_DEPTH / 2)}]);
        assert_eq!(depth(&json_patch(&doc, &most).unwrap()), MAX_DEPTH);
    }

    #[test]
    fn json_patch_is_all_or_nothing_and_bounded() {
        let doc = json!({"data": {"a": "1", "b": "2"}});
        let patch = json!([{"op": "replace", "path": "/data/a", "value": "9"}, {"op": "test", "path": "/data/b", "value": "2"}]);
        assert_eq!(
            json_patch(&doc, &patch),
            Ok(json!({"data": {"a": "9", "b": "2"}}))
        );
        for patch in [
            json!([{"op": "test", "path": "/data/b", "value": "no"}]),
            json!([{"op": "remove", "path": "/data/zz"}]),
            json!([{"op": "add", "path": "data", "value": "x"}]),
        ] {
            assert!(
                matches!(
                    json_patch(&doc, &patch),
                    Err(PatchError::Rejected(_) | PatchError::TestFailed(_))
                ),
                "{patch}"
            );
        }
        let many = vec![
            json!({"op": "test", "path": "/data/b", "value": "2"});
            MAX_JSON_PATCH_OPERATIONS + 1
        ];
        let refused = json_patch(&doc, &Value::Array(many));
        assert_eq!(
            refused,
            Err(PatchError::TooManyOperations(MAX_JSON_PATCH_OPERATIONS + 1))
        );
    }
}
