//! The rule about what agents say of their add-ons.

use super::about;
use super::expression::is_agent;
use super::expression::rule;
use hyades_api::names;
use serde_json::Value;
use serde_json::json;

/// The policy about the status of `ManagedClusterAddOn`. Agents report health and their driver there;
/// which configurations, and so which template and rights, an add-on has is not theirs to say.
pub(super) fn status() -> Value {
    let references = |object: &str| format!("{object}.?status.?configReferences.orValue([])");
    let mut unchanged = rule(
        &format!("{} == {}", references("object"), references("oldObject")),
        "agents do not choose the configurations of their add-ons: status.configReferences",
    );
    unchanged["reason"] = json!("Forbidden");
    json!({
        "failurePolicy": "Fail",
        "matchConstraints": about(&["UPDATE"], names::ADDON_GROUP, "managedclusteraddons/status"),
        "matchConditions": [{"name": "agents", "expression": is_agent()}],
        "validations": [unchanged],
    })
}
