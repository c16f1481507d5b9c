//! `pods/NAME/binding`: a scheduler gives a pod to a node.

use serde_json::Value;
use serde_json::json;

use crate::body;
use crate::core::Place;
use crate::negotiate;
use crate::object;
use crate::resources;
use crate::server::Answer;
use crate::server::Call;
use crate::status::Status;
use crate::subresource::created;
use crate::write;

/// Sets the pod's node, once.
pub(super) async fn serve(call: &Call, place: &Place, bytes: &[u8]) -> Result<Answer, Status> {
    let content_type = negotiate::content_type(&call.headers);
    let decoded = body::decode(content_type, bytes, "Binding")?;
    let node = decoded.value["target"]["name"].as_str().unwrap_or_default();
    if node.is_empty() {
        let message = "the binding names no node: set target.name";
        return Err(Status::bad_request(message));
    }
    let actor = resources::actor(call, "CreateOptions")?;
    created(call, &actor, place, &decoded.value)?;
    write::update(&call.core, &actor, place, |pod| bound(place, pod, node)).await?;
    let status = json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "code": 201,
    });
    resources::answer_value(call, 201, &status)
}

fn bound(place: &Place, pod: &Value, node: &str) -> Result<Value, Status> {
    let resource = place.resource.qualified();
    let present = pod["spec"]["nodeName"].as_str().unwrap_or_default();
    if object::is_deleting(pod) {
        let why = format!(
            "pod {} is being deleted, cannot be assigned to a host",
            place.name
        );
        return Err(Status::conflict(resource, &place.name, &why));
    }
    if !present.is_empty() {
        let why = format!(
            "pod {} is already assigned to node \"{present}\"",
            place.name
        );
        return Err(Status::conflict(resource, &place.name, &why));
    }
    let mut new = pod.clone();
    new["spec"]["nodeName"] = node.into();
    let scheduled = json!({
        "type": "PodScheduled", "status": "True", "lastProbeTime": null,
        "lastTransitionTime": object::now(),
    });
    match new["status"]["conditions"].as_array_mut() {
        Some(conditions) => {
            conditions.retain(|condition| condition["type"] != "PodScheduled");
            conditions.push(scheduled);
        }
        None => new["status"]["conditions"] = json!([scheduled]),
    }
    Ok(new)
}
