//! The address of a service. Choosing one is the business of who keeps the list of addresses in use;
//! here is only what follows from the choice.

use serde_json::Value;
use serde_json::json;

use super::object::at;
use super::object::list;
use super::object::text;

/// Whether a service needs an address allocated: it is neither headless nor an external name, and
/// has none yet.
pub fn needed(service: &Value) -> bool {
    let spec = at(service, "spec");
    text(spec, "type") != "ExternalName" && text(spec, "clusterIP").is_empty()
}

/// Gives the service `address` (`None` for headless ones) and the fields that follow from it.
pub fn set(service: &mut Value, address: &str) {
    let v6 = address.contains(':')
        || list(at(service, "spec"), "ipFamilies").first() == Some(&json!("IPv6"));
    let Some(spec) = service.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    spec.insert(String::from("clusterIP"), json!(address));
    spec.insert(String::from("clusterIPs"), json!([address]));
    let family = if v6 { "IPv6" } else { "IPv4" };
    spec.entry("ipFamilies").or_insert_with(|| json!([family]));
    spec.entry("ipFamilyPolicy")
        .or_insert_with(|| json!("SingleStack"));
}
