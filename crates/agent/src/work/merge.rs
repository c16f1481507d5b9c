//! What to write over an object that exists, so that it becomes what its manifest says. Pure.
//!
//! Labels, annotations and owners are merged: other parties have theirs. Everything else is the
//! manifest's, whole, except for kinds whose spec belongs to the cluster.

use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;

/// Kinds of which only the metadata is kept in line: their spec is immutable or filled in by the
/// cluster's own controllers.
const METADATA_ONLY: [(&str, &str); 3] =
    [("v1", "Namespace"), ("v1", "ServiceAccount"), ("v1", "Pod")];

/// The work's mark of ownership on its objects, or the wish to have none.
#[derive(Clone, Debug, PartialEq)]
pub struct Owner {
    /// The mark.
    pub reference: OwnerReference,
    /// Whether the object shall lack it, so that it outlives the work.
    pub orphan: bool,
}

/// A fingerprint of a manifest: changes when the manifest does.
pub fn fingerprint(manifest: &Value) -> [u8; 32] {
    Sha256::digest(manifest.to_string().as_bytes()).into()
}

/// The manifest as it is created: without uid and status, with its owner.
pub fn created(manifest: &Value, owner: &Owner) -> Value {
    let mut object = manifest.clone();
    let metadata = metadata_of(&mut object);
    metadata.remove("uid");
    metadata.remove("resourceVersion");
    for field in ["labels", "annotations"] {
        if let Some(Value::Object(pairs)) = metadata.get_mut(field) {
            // A trailing dash asks for removal, and there is nothing to remove.
            pairs.retain(|key, _| !key.ends_with('-'));
        }
    }
    let present = owners(&Value::Object(metadata.clone()), "");
    if let Some(merged) = merged_owners(&present, owner) {
        metadata.insert("ownerReferences".to_owned(), json!(merged));
    }
    object
}

/// The object to write over `live`, or nothing if `live` is as wanted.
pub fn updated(live: &Value, manifest: &Value, owner: &Owner) -> Option<Value> {
    let mut object = live.clone();
    let mut changed = merge_metadata(&mut object, manifest, owner);
    let text = |key: &str| {
        manifest
            .get(key)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    if !METADATA_ONLY.contains(&(text("apiVersion"), text("kind"))) {
        changed |= replace_content(&mut object, manifest);
    }
    changed.then_some(object)
}

/// The owners `live` should have, or nothing if it has them.
pub fn updated_owners(live: &Value, owner: &Owner) -> Option<Vec<OwnerReference>> {
    merged_owners(&owners(live, "/metadata"), owner)
}

fn metadata_of(object: &mut Value) -> &mut Map<String, Value> {
    let metadata = object
        .as_object_mut()
        .map(|fields| fields.entry("metadata").or_insert_with(|| json!({})))
        .and_then(Value::as_object_mut);
    // A manifest that is no object was refused when its header was read.
    metadata.expect("an object with an object as metadata")
}

fn owners(value: &Value, parent: &str) -> Vec<OwnerReference> {
    let found = value.pointer(&format!("{parent}/ownerReferences"));
    found
        .and_then(|found| serde_json::from_value(found.clone()).ok())
        .unwrap_or_default()
}

fn merged_owners(present: &[OwnerReference], owner: &Owner) -> Option<Vec<OwnerReference>> {
    let ours = |reference: &&OwnerReference| reference.uid == owner.reference.uid;
    let has = present.iter().any(|reference| ours(&reference));
    if has != owner.orphan {
        return None;
    }
    let mut merged: Vec<_> = present
        .iter()
        .filter(|reference| !ours(reference))
        .cloned()
        .collect();
    if !owner.orphan {
        merged.push(owner.reference.clone());
    }
    Some(merged)
}

/// Merges what the manifest says of labels, annotations and owners; whether that changed anything.
pub fn merge_metadata(object: &mut Value, manifest: &Value, owner: &Owner) -> bool {
    let new_owners = updated_owners(object, owner);
    let metadata = metadata_of(object);
    let mut changed = false;
    for field in ["labels", "annotations"] {
        let Some(Value::Object(wanted)) = manifest.pointer(&format!("/metadata/{field}")) else {
            continue;
        };
        let present = metadata.entry(field).or_insert_with(|| json!({}));
        let Value::Object(present) = present else {
            continue;
        };
        for (key, value) in wanted {
            changed |= match key.strip_suffix('-') {
                Some(removed) => present.remove(removed).is_some(),
                None => present.insert(key.clone(), value.clone()).as_ref() != Some(value),
            };
        }
    }
    if let Some(merged) = new_owners {
        metadata.insert("ownerReferences".to_owned(), json!(merged));
        changed = true;
    }
    changed
}

/// Replaces everything but metadata and status by the manifest's.
fn replace_content(object: &mut Value, manifest: &Value) -> bool {
    let kept = |key: &str| matches!(key, "apiVersion" | "kind" | "metadata" | "status");
    let (Some(fields), Some(wanted)) = (object.as_object_mut(), manifest.as_object()) else {
        return false;
    };
    let surplus: Vec<String> = fields
        .keys()
        .filter(|key| !kept(key) && !wanted.contains_key(*key))
        .cloned()
        .collect();
    let mut changed = !surplus.is_empty();
    surplus.iter().for_each(|key| drop(fields.remove(key)));
    for (key, value) in wanted.iter().filter(|(key, _)| !kept(key)) {
        changed |= fields.insert(key.clone(), value.clone()).as_ref() != Some(value);
    }
    changed
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn owner(uid: &str, orphan: bool) -> Owner {
        Owner {
            reference: OwnerReference {
                api_version: "work.open-cluster-management.io/v1".to_owned(),
                kind: "AppliedManifestWork".to_owned(),
                name: "hash-work".to_owned(),
                uid: uid.to_owned(),
                ..OwnerReference::default()
            },
            orphan,
        }
    }

    fn config_map(data: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c", "namespace": "n"}, "data": data})
    }

    #[test]
    fn a_created_object_has_its_owner_unless_it_shall_outlive_it() {
        let mut manifest = config_map(json!({"a": "1"}));
        manifest["metadata"]["uid"] = json!("foreign");
        manifest["metadata"]["labels"] = json!({"x": "y", "gone-": ""});
        let object = created(&manifest, &owner("u", false));
        assert_eq!(object["metadata"]["ownerReferences"][0]["uid"], "u");
        assert_eq!(object["metadata"]["labels"], json!({"x": "y"}));
        assert!(object["metadata"].get("uid").is_none());
        let object = created(&manifest, &owner("u", true));
        assert!(object["metadata"].get("ownerReferences").is_none());
    }

    #[test]
    fn an_object_as_wanted_is_not_written() {
        let manifest = config_map(json!({"a": "1"}));
        let mut live = created(&manifest, &owner("u", false));
        live["metadata"]["resourceVersion"] = json!("7");
        live["metadata"]["labels"] = json!({"other": "party"});
        assert_eq!(updated(&live, &manifest, &owner("u", false)), None);
    }

    #[test]
    fn content_is_replaced_whole_and_metadata_merged() {
        let mut manifest = config_map(json!({"a": "2"}));
        manifest["metadata"]["labels"] = json!({"mine": "1", "old-": ""});
        let mut live = config_map(json!({"a": "1", "b": "hand"}));
        live["metadata"]["resourceVersion"] = json!("7");
        live["metadata"]["labels"] = json!({"other": "party", "old": "x"});
        live["metadata"]["ownerReferences"] = json!([owner("another", false).reference]);
        live["binaryData"] = json!({"z": ""});
        let object = updated(&live, &manifest, &owner("u", false)).expect("a change");
        assert_eq!(object["data"], json!({"a": "2"}));
        assert!(object.get("binaryData").is_none());
        assert_eq!(
            object["metadata"]["labels"],
            json!({"other": "party", "mine": "1"})
        );
        assert_eq!(object["metadata"]["resourceVersion"], "7");
        let uids: Vec<_> = owners(&object, "/metadata")
            .into_iter()
            .map(|reference| reference.uid)
            .collect();
        assert_eq!(uids, ["another", "u"]);
    }

    #[test]
    fn an_orphan_loses_the_mark() {
        let manifest = config_map(json!({}));
        let live = created(&manifest, &owner("u", false));
        let object = updated(&live, &manifest, &owner("u", true)).expect("a change");
        assert_eq!(object["metadata"]["ownerReferences"], json!([]));
    }

    #[test]
    fn the_spec_of_a_namespace_is_left_to_the_cluster() {
        let manifest = json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "n"}});
        let mut live = created(&manifest, &owner("u", false));
        live["spec"] = json!({"finalizers": ["kubernetes"]});
        assert_eq!(updated(&live, &manifest, &owner("u", false)), None);
    }
}
