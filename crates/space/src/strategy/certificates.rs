//! CertificateSigningRequests: who asks is filled in by the server, who approves writes conditions.

use serde_json::Value;
use serde_json::json;

use crate::identity::UserInfo;
use crate::object;
use crate::status::Cause;

/// The requester is whom the server authenticated, whatever the object says.
pub(super) fn prepare_create(object: &mut Value, user: &UserInfo) {
    let spec = &mut object["spec"];
    spec["username"] = user.name.clone().into();
    for field in ["uid", "groups", "extra"] {
        object::remove_top(spec, field);
    }
    if !user.uid.is_empty() {
        spec["uid"] = user.uid.clone().into();
    }
    if !user.groups.is_empty() {
        spec["groups"] = user.groups.clone().into();
    }
    if !user.extra.is_empty() {
        spec["extra"] = json!(user.extra);
    }
}

fn conditions(request: &Value) -> Vec<Value> {
    request["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default()
}

fn is_decision(condition: &Value) -> bool {
    matches!(condition["type"].as_str(), Some("Approved" | "Denied"))
}

/// `approval` writes the decision; everything else stays, conditions of the signer included.
pub(super) fn keep_all_but_approval(new: &mut Value, old: &Value) {
    object::copy_top(new, old, "spec");
    let wanted = conditions(new);
    let mut status = old["status"].clone();
    let mut kept = conditions(old);
    kept.retain(|condition| !is_decision(condition));
    kept.extend(wanted.into_iter().filter(is_decision));
    if !status.is_object() {
        status = json!({});
    }
    if !kept.is_empty() {
        status["conditions"] = kept.into();
    }
    new["status"] = status;
}

/// Keeps decisions out of status writes, and stamps conditions that carry no times.
pub(super) fn prepare_status(subresource: &str, new: &mut Value, old: &Value) {
    if subresource == "status" {
        let mut kept = conditions(old);
        kept.retain(is_decision);
        kept.extend(conditions(new).into_iter().filter(|c| !is_decision(c)));
        if !kept.is_empty() {
            new["status"]["conditions"] = kept.into();
        }
    }
    let before = conditions(old);
    let Some(list) = new["status"]["conditions"].as_array_mut() else {
        return;
    };
    let now = object::now();
    for condition in list {
        if condition["status"].is_null() {
            condition["status"] = "True".into();
        }
        if condition["lastUpdateTime"].is_null() {
            condition["lastUpdateTime"] = now.clone().into();
        }
        if condition["lastTransitionTime"].is_null() {
            let same = before.iter().find(|present| {
                present["type"] == condition["type"] && present["status"] == condition["status"]
            });
            condition["lastTransitionTime"] = match same {
                Some(present) if !present["lastTransitionTime"].is_null() => {
                    present["lastTransitionTime"].clone()
                }
                _ => now.clone().into(),
            };
        }
    }
}

/// A request is approved or denied, never both, and a decision is not taken back.
pub(super) fn validate(new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let kinds: Vec<String> = conditions(new)
        .iter()
        .filter_map(|condition| condition["type"].as_str().map(str::to_owned))
        .collect();
    let invalid = |message: &str| Cause {
        reason: "FieldValueInvalid".to_owned(),
        message: message.to_owned(),
        field: "status.conditions".to_owned(),
    };
    let has = |kind: &str| kinds.iter().any(|present| present == kind);
    let mut causes = Vec::new();
    if has("Approved") && has("Denied") {
        causes.push(invalid(
            "Invalid value: \"Denied\": Approved and Denied conditions are mutually exclusive",
        ));
    }
    for decision in ["Approved", "Denied", "Failed"] {
        let was = old.is_some_and(|old| {
            conditions(old)
                .iter()
                .any(|condition| condition["type"] == decision)
        });
        if was && !has(decision) {
            causes.push(Cause {
                reason: "FieldValueForbidden".to_owned(),
                message: format!(
                    "Forbidden: updates may not remove a condition of type \"{decision}\""
                ),
                field: "status.conditions".to_owned(),
            });
        }
    }
    causes
}
