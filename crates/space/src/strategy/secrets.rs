//! Secrets: `stringData` is written and never read.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use serde_json::Value;

use crate::object;

/// Moves `stringData` into `data`, encoded.
pub(super) fn merge_string_data(object: &mut Value) {
    let Some(Value::Object(texts)) = object.get("stringData").cloned() else {
        return;
    };
    object::remove_top(object, "stringData");
    for (key, value) in texts {
        if let Value::String(text) = value {
            object["data"][key] = BASE64_STANDARD.encode(text).into();
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn string_data_overrides_data() {
        let mut secret = json!({"stringData": {"a": "b"}, "data": {"a": "eA==", "c": "eA=="}});
        merge_string_data(&mut secret);
        assert_eq!(secret, json!({"data": {"a": "Yg==", "c": "eA=="}}));
    }
}
