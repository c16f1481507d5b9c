//! CustomResourceDefinitions: whether one is valid, and what it defines.
//!
//! ```text
//!  definition ─▶ default ─▶ validate (names, versions, structural schema, rules)
//!             ─▶ compile ─▶ per version: a type, subresources, columns, selectable fields
//!  accepted names of all definitions ─▶ names ─▶ NamesAccepted, Established
//! ```

mod columns;
mod compile;
mod names;
mod schema;
mod structural;
mod validate;

use serde_json::Map;
use serde_json::Value;
use serde_json::json;

pub use compile::CompiledCrd;
pub use compile::CompiledVersion;
pub use compile::CustomNames;
pub use compile::PrinterColumn;
pub use compile::Scale;
pub use compile::compile;
pub use names::Condition;
pub use names::NameDecision;
pub use names::TakenNames;
pub use names::accepted_names;
pub use schema::compile_schema;
pub use validate::validate;
pub use validate::validate_update;

/// How many versions a definition may have; published ones have at most a handful.
pub const MAX_VERSIONS: usize = 50;

/// Fills in what a definition leaves out: singular and list names, no conversion, stored versions.
pub fn default(crd: &mut Value) {
    let Some(spec) = crd.get_mut("spec").and_then(Value::as_object_mut) else {
        return;
    };
    let storage: Vec<Value> = spec
        .get("versions")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter(|version| version.get("storage").and_then(Value::as_bool) == Some(true))
        .filter_map(|version| version.get("name").cloned())
        .collect();
    if let Some(names) = spec.get_mut("names").and_then(Value::as_object_mut) {
        let kind = text(names, "kind");
        if text(names, "singular").is_empty() && !kind.is_empty() {
            names.insert(String::from("singular"), json!(kind.to_lowercase()));
        }
        if text(names, "listKind").is_empty() && !kind.is_empty() {
            names.insert(String::from("listKind"), json!(format!("{kind}List")));
        }
    }
    let conversion = spec
        .entry("conversion")
        .or_insert_with(|| json!({"strategy": "None"}));
    if conversion.is_null() {
        *conversion = json!({"strategy": "None"});
    }
    for version in spec
        .get_mut("versions")
        .and_then(Value::as_array_mut)
        .into_iter()
        .flatten()
    {
        // Served and storage are no pointers: Go always writes them.
        if let Some(version) = version.as_object_mut() {
            for flag in ["served", "storage"] {
                version.entry(flag).or_insert(Value::Bool(false));
            }
        }
    }
    let Some(object) = crd.as_object_mut() else {
        return;
    };
    let status = object.entry("status").or_insert_with(|| json!({}));
    if let Some(status) = status.as_object_mut() {
        status.entry("conditions").or_insert(Value::Null);
        status
            .entry("acceptedNames")
            .or_insert_with(|| json!({"plural": "", "kind": ""}));
        let stored = status.entry("storedVersions").or_insert(Value::Null);
        if stored.as_array().is_none_or(Vec::is_empty) {
            *stored = Value::Array(storage);
        }
    }
}

fn text(map: &Map<String, Value>, key: &str) -> String {
    map.get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

#[cfg(test)]
mod tests;
