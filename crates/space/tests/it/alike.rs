//! What the answers of two servers are told apart by, and what not.

use serde_json::Value;

/// Kinds that are answered and not kept.
const QUESTIONS: &[&str] = &[
    "LocalSubjectAccessReview",
    "SelfSubjectAccessReview",
    "SubjectAccessReview",
    "TokenRequest",
    "TokenReview",
];

/// Brings into one form what differs between any two servers, or by a decision of this project:
///
/// * certificates and tokens are signed with each server's own key;
/// * managers whose writes fell into one second have no order of their own;
/// * upstream's controllers are a program of their own, a space's are the space;
/// * reviews and token requests are not kept, so a space records no managers of theirs.
pub(crate) fn make_alike(value: &mut Value) {
    match value {
        Value::Object(map) => {
            for field in ["certificate", "token"] {
                if let Some(signed @ Value::String(_)) = map.get_mut(field) {
                    *signed = "signed".into();
                }
            }
            if map.get("manager").and_then(Value::as_str) == Some("kube-controller-manager") {
                map.insert("manager".to_owned(), "hyades".into());
            }
            let kind = map.get("kind").and_then(Value::as_str).unwrap_or_default();
            if QUESTIONS.contains(&kind)
                && let Some(Value::Object(metadata)) = map.get_mut("metadata")
            {
                metadata.remove("managedFields");
            }
            map.values_mut().for_each(make_alike);
            if let Some(Value::Array(managers)) = map.get_mut("managedFields") {
                managers.sort_by_key(|entry| {
                    ["manager", "operation", "subresource"]
                        .map(|field| entry[field].as_str().unwrap_or_default().to_owned())
                });
            }
        }
        // The identifier of a token, which its user carries along.
        Value::String(text) if text.starts_with("JTI=") => *text = "JTI".to_owned(),
        Value::Array(list) => list.iter_mut().for_each(make_alike),
        _ => {}
    }
}
