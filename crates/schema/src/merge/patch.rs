//! JSON patch (RFC 6902) and JSON merge patch (RFC 7386).

use serde_json::Map;
use serde_json::Value;

/// Operations in one JSON patch, at most: upstream's limit, which bounds the work of one request.
pub const MAX_JSON_PATCH_OPERATIONS: usize = 10_000;

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
    /// The patch does not apply to the object: 422. The API server gives no reason; it is kept here
    /// for logs.
    #[error("the server rejected our request due to an error in our request")]
    Rejected(String),
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
    json_patch::patch(&mut out, &operations)
        .map_err(|error| PatchError::Rejected(error.to_string()))?;
    Ok(out)
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
                matches!(json_patch(&doc, &patch), Err(PatchError::Rejected(_))),
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
