//! Fields of a manifest that a work leaves to others in the WEC.
//!
//! ```text
//!  ignoreFields ─▶ locators ─▶ paths in the manifest ─▶ what is applied without them
//!                  (pointer,                              │
//!                   JSONPath, jq)                         └─▶ fingerprint, kept in an annotation
//! ```
//!
//! An object that does not exist is made from the whole manifest. One that does is applied again only
//! when the fingerprint says that the manifest changed, and then without the fields that are ignored
//! once they are present.

mod jq;
mod path;

use super::merge;
use hyades_api::work::IgnoreField;
use hyades_jsonpath::JsonPath;
use hyades_runtime::kube::api::DynamicObject;
use jq::Filter;
use path::Path;
use path::Step;
use serde_json::Value;
use serde_json::json;

/// The annotation that keeps the fingerprint; upstream's name.
const FINGERPRINT: &str = "open-cluster-management.io/config-spec-hash";

/// Bytes of the fingerprint that are kept: it tells manifests of one object apart, as upstream's
/// MD5 does, and proves nothing.
const FINGERPRINT_BYTES: usize = 16;

/// A manifest, and what of it is applied.
pub struct Plan {
    /// The manifest, with its fingerprint.
    full: Value,
    /// The paths that are left out of it, deepest last.
    left_out: Vec<Path>,
    fingerprint: String,
}

impl Plan {
    /// Finds the ignored fields of a manifest.
    ///
    /// # Errors
    ///
    /// In words, when a path cannot be read or followed.
    pub fn of(manifest: &Value, ignored: &[IgnoreField]) -> Result<Self, String> {
        let mut left_out = Vec::new();
        for fields in ignored {
            let paths = paths(manifest, fields)?;
            match fields.condition.as_str() {
                "" | "OnSpokePresent" => left_out.extend(paths),
                // The fingerprint alone keeps what the WEC changes as it is.
                "OnSpokeChange" => {}
                other => return Err(format!("there is no condition {other:?} of ignored fields")),
            }
        }
        left_out.sort();
        left_out.dedup();
        let mut counted = manifest.clone();
        path::remove_all(&mut counted, &left_out);
        let digest = merge::fingerprint(&counted);
        let fingerprint: String = digest[..FINGERPRINT_BYTES]
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let mut full = manifest.clone();
        full["metadata"]["annotations"][FINGERPRINT] = json!(fingerprint);
        Ok(Self {
            full,
            left_out,
            fingerprint,
        })
    }

    /// What is applied where there is no object yet.
    pub fn full(&self) -> &Value {
        &self.full
    }

    /// Whether the manifest was applied to this object already, and is to be left alone.
    pub fn stands(&self, live: &Value) -> bool {
        let found = live.pointer("/metadata/annotations");
        found.and_then(|all| all.get(FINGERPRINT)) == Some(&json!(self.fingerprint))
    }

    /// What is applied to an object: without the ignored fields, but for those that only `manager`
    /// holds. These keep the values they have: to leave them out would take them away.
    pub fn partial(&self, live: &DynamicObject, manager: &str) -> Value {
        let entry = live.metadata.managed_fields.iter().flatten().find(|entry| {
            entry.manager.as_deref() == Some(manager)
                && entry.operation.as_deref() == Some("Apply")
                && entry.subresource.is_none()
        });
        let held = entry.and_then(|entry| entry.fields_v1.as_ref());
        let live = serde_json::to_value(live).unwrap_or_default();
        let mut object = self.full.clone();
        let mut removed = Vec::new();
        for path in &self.left_out {
            let kept = held.and_then(|held| path::held(&held.0, &self.full, &live, path.steps()));
            match (kept, path.get_mut(&mut object)) {
                (Some(value), Some(place)) => *place = value.clone(),
                _ => removed.push(path.clone()),
            }
        }
        path::remove_all(&mut object, &removed);
        object
    }
}

/// Where the ignored fields are in a manifest.
fn paths(manifest: &Value, fields: &IgnoreField) -> Result<Vec<Path>, String> {
    let mut found = Vec::new();
    for pointer in &fields.json_pointers {
        found.extend(Path::of_pointer(manifest, pointer)?);
    }
    for text in &fields.json_paths {
        found.extend(of_json_path(manifest, text)?);
    }
    for text in &fields.jq_path_expressions {
        let filter = Filter::parse(text).map_err(|error| format!("jq {text:?}: {error}"))?;
        let paths = filter.paths(manifest);
        found.extend(paths.map_err(|error| format!("jq {text:?}: {error}"))?);
    }
    if found.iter().any(|path| path.steps().is_empty()) {
        return Err("the whole object cannot be ignored: name fields of it".to_owned());
    }
    Ok(found)
}

fn of_json_path(manifest: &Value, text: &str) -> Result<Vec<Path>, String> {
    let told = |error: &dyn std::fmt::Display| format!("JSONPath {text:?}: {error}");
    let parsed = JsonPath::parse_relaxed(text)
        .map_err(|error| told(&error))?
        .allow_missing_keys(true);
    let found = parsed.find(manifest).map_err(|error| told(&error))?;
    Ok(found
        .into_iter()
        .filter_map(|value| Path::to(manifest, value))
        .collect())
}

#[cfg(test)]
mod tests;
