//! CertificateSigningRequests: who asks is filled in by the server, who approves writes conditions.

use serde_json::Value;
use serde_json::json;

use crate::identity::UserInfo;
use crate::object;

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

/// Stamps conditions that carry no times.
pub(super) fn stamp_conditions(request: &mut Value) {
    let conditions = request
        .pointer_mut("/status/conditions")
        .and_then(Value::as_array_mut);
    let now = object::now();
    for condition in conditions.into_iter().flatten() {
        if condition["status"].is_null() {
            condition["status"] = "True".into();
        }
        for field in ["lastUpdateTime", "lastTransitionTime"] {
            if condition[field].is_null() {
                condition[field] = now.clone().into();
            }
        }
    }
}

/// A status write leaves the decision as it is.
pub(super) fn keep_decision(new: &mut Value, old: &Value) {
    let mut kept = conditions(old);
    kept.retain(is_decision);
    kept.extend(conditions(new).into_iter().filter(|it| !is_decision(it)));
    if !kept.is_empty() {
        new["status"]["conditions"] = kept.into();
    }
}
