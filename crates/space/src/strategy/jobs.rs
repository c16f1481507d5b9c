//! Jobs: the labels and the selector by which a job finds its pods.

use serde_json::Value;
use serde_json::json;

use crate::object;

/// Generates selector and labels, unless the job brings its own selector.
pub(super) fn prepare_create(object: &mut Value) {
    if object["spec"]["manualSelector"] == true || !object["spec"]["template"].is_object() {
        return;
    }
    let uid = object::uid(object).to_owned();
    let name = object::name(object).to_owned();
    let labels = [
        ("batch.kubernetes.io/controller-uid", &uid),
        ("batch.kubernetes.io/job-name", &name),
        ("controller-uid", &uid),
        ("job-name", &name),
    ];
    for (label, value) in labels {
        object["metadata"]["labels"][label] = value.as_str().into();
        object["spec"]["template"]["metadata"]["labels"][label] = value.as_str().into();
    }
    object["spec"]["selector"] =
        json!({"matchLabels": {"batch.kubernetes.io/controller-uid": uid}});
}
