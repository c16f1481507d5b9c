//! The annotation of client-side `kubectl apply`, for objects that move to server-side apply.
//!
//! `kubectl apply --server-side` names itself `kubectl` as the manager. What its user applied before
//! from the client side is the same user's: it is no conflict. Older clients read the annotation
//! later on, so it follows what is applied.

use serde_json::Value;

use super::config::claimed;
use super::field_set::FieldSet;
use super::view::View;

/// The manager's name under which `kubectl apply --server-side` applies.
const KUBECTL: &str = "kubectl";

/// The annotation that holds what was last applied from the client side.
const ANNOTATION: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Bytes of all annotations of an object, at most. A configuration that does not fit is left out.
const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

fn annotation(object: &Value) -> Option<&str> {
    object["metadata"]["annotations"][ANNOTATION].as_str()
}

/// The fields that `manager` applied to the live object from the client side.
pub(super) fn applied_before(view: View<'_>, live: &Value, manager: &str) -> FieldSet {
    let applied = annotation(live)
        .filter(|_| manager == KUBECTL)
        .and_then(|text| serde_json::from_str::<Value>(text).ok());
    applied.map_or_else(FieldSet::default, |applied| claimed(view, &applied))
}

/// Brings the annotation of an object that has one up to date with the configuration.
pub(super) fn follow(object: &mut Value, config: &Value, manager: &str) {
    if manager != KUBECTL || annotation(object).is_none() {
        return;
    }
    let mut config = config.clone();
    if let Some(annotations) = config["metadata"]["annotations"].as_object_mut() {
        annotations.remove(ANNOTATION);
    }
    if config["metadata"]["annotations"].is_null()
        && let Some(metadata) = config["metadata"].as_object_mut()
    {
        metadata.remove("annotations");
    }
    let text = format!("{config}\n");
    let Some(annotations) = object["metadata"]["annotations"].as_object_mut() else {
        return;
    };
    if text.len() > MAX_ANNOTATION_BYTES {
        annotations.remove(ANNOTATION);
    } else {
        annotations.insert(ANNOTATION.into(), Value::from(text));
    }
}
