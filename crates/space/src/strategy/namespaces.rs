//! Namespaces: the finalizer that holds them until they are empty, and the label with their name.

use serde_json::Value;
use serde_json::json;

use crate::object;

/// The label by which namespaces can be selected by name.
const NAME_LABEL: &str = "kubernetes.io/metadata.name";

/// A namespace is labelled with its name.
pub(super) fn complete(object: &mut Value) {
    let name = object::name(object).to_owned();
    if !name.is_empty() {
        object["metadata"]["labels"][NAME_LABEL] = name.into();
    }
}

/// A new namespace is held by the namespace controller.
pub(super) fn prepare_create(object: &mut Value) {
    let finalizers = &mut object["spec"]["finalizers"];
    if !finalizers.is_array() {
        *finalizers = json!([]);
    }
    if let Some(list) = finalizers.as_array_mut()
        && !list.iter().any(|name| name == "kubernetes")
    {
        list.push("kubernetes".into());
    }
}

/// Finalizers of the specification change through `finalize` only.
pub(super) fn keep_finalizers(new: &mut Value, old: &Value) {
    object::copy_top(new, old, "spec");
}

/// `finalize` changes nothing but the specification's finalizers.
pub(super) fn keep_all_but_finalizers(new: &mut Value, old: &Value) {
    object::copy_top(new, old, "status");
}
