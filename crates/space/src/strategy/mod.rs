//! What is true of single kinds: one function per fact.
//!
//! The pipeline knows objects in general. Here stand the exceptions that upstream's registry makes:
//! who may write which part, what a write resets, what the server fills in.

mod certificates;
pub(crate) mod definitions;
mod events;
mod jobs;
mod namespaces;
mod pods;
mod secrets;
mod services;

use serde_json::Value;
use serde_json::json;

use crate::core::Actor;
use crate::core::Core;
use crate::core::Place;
use crate::names::Gvr;
use crate::object;
use crate::registry::Origin;
use crate::registry::Resource;
use crate::status::Status;

/// Built-in kinds whose objects count the changes of their specification, beside the custom ones.
const GENERATION_KINDS: &[&str] = &[
    "Pod",
    "ReplicationController",
    "Deployment",
    "ReplicaSet",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
    "Ingress",
    "NetworkPolicy",
    "PodDisruptionBudget",
    "EndpointSlice",
    "ValidatingAdmissionPolicy",
    "ValidatingAdmissionPolicyBinding",
    "MutatingAdmissionPolicy",
    "ValidatingWebhookConfiguration",
    "MutatingWebhookConfiguration",
    "CustomResourceDefinition",
    "FlowSchema",
    "PriorityLevelConfiguration",
];

/// Makes a new object out of what a client sent.
pub(crate) fn prepare_create(
    core: &Core,
    actor: &Actor,
    place: &Place,
    object: &mut Value,
) -> Result<(), Status> {
    let resource = &*place.resource;
    for field in [
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
        "selfLink",
    ] {
        object::set(object, field, Value::Null);
    }
    object::set(object, "uid", uuid::Uuid::new_v4().to_string().into());
    object::set(object, "creationTimestamp", object::now().into());
    let generation = if has_generation(resource) {
        1.into()
    } else {
        Value::Null
    };
    object::set(object, "generation", generation);
    reset_status(resource, object);
    if resource.is_custom() {
        return Ok(());
    }
    match resource.kind.as_str() {
        "Namespace" => namespaces::prepare_create(object),
        "CertificateSigningRequest" => certificates::prepare_create(object, &actor.user),
        "Pod" => pods::prepare_create(object),
        "Job" => jobs::prepare_create(object),
        "CustomResourceDefinition" => {
            definitions::refuse_built_in(resource, object)?;
            definitions::prepare(core, object, None);
        }
        "Service" => services::allocate(core, object)?,
        _ => {}
    }
    Ok(())
}

/// Completes what clients may leave out or write in another form, as decoding does upstream.
pub(crate) fn complete(resource: &Resource, object: &mut Value) {
    if resource.is_custom() {
        return;
    }
    match resource.kind.as_str() {
        "Namespace" => namespaces::complete(object),
        "Secret" => secrets::merge_string_data(object),
        "CertificateSigningRequest" => certificates::stamp_conditions(object),
        _ => {}
    }
}

/// Whether objects count the changes of their specification.
fn has_generation(resource: &Resource) -> bool {
    resource.is_custom() || GENERATION_KINDS.contains(&resource.kind.as_str())
}

/// Whether status is written through its subresource only.
fn has_status(resource: &Resource) -> bool {
    resource.subresource("status").is_some()
}

/// The status a new object starts with; what the client sent is dropped. Nodes are the exception:
/// they are created by what knows their status.
fn reset_status(resource: &Resource, object: &mut Value) {
    if !has_status(resource) || resource.is(&Gvr::NODES) {
        return;
    }
    if resource.is_custom() {
        object::remove_top(object, "status");
        return;
    }
    object["status"] = match resource.kind.as_str() {
        "Namespace" => json!({"phase": "Active"}),
        "Pod" => json!({"phase": "Pending", "qosClass": pods::quality_of_service(object)}),
        "Service" | "Ingress" => json!({"loadBalancer": {}}),
        "PersistentVolumeClaim" | "PersistentVolume" => json!({"phase": "Pending"}),
        "ReplicaSet" | "ReplicationController" => json!({"replicas": 0}),
        "StatefulSet" => json!({"replicas": 0, "availableReplicas": 0}),
        "DaemonSet" => json!({
            "currentNumberScheduled": 0, "numberMisscheduled": 0, "desiredNumberScheduled": 0,
            "numberReady": 0,
        }),
        "PodDisruptionBudget" => json!({
            "disruptionsAllowed": 0, "currentHealthy": 0, "desiredHealthy": 0, "expectedPods": 0,
        }),
        "HorizontalPodAutoscaler" => json!({"desiredReplicas": 0, "currentMetrics": null}),
        _ => json!({}),
    };
}

/// Brings a changed object into the limits of what its author may change through this place.
pub(crate) fn prepare_update(core: &Core, place: &Place, new: &mut Value, old: &Value) {
    for field in [
        "creationTimestamp",
        "generation",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        object::copy(new, old, field);
    }
    // A uid that was stated stands, and validation refuses it when it is another object's.
    if object::uid(new).is_empty() {
        object::copy(new, old, "uid");
    }
    object::set(new, "selfLink", Value::Null);
    match place.subresource.as_str() {
        "" | "scale" => prepare_main_update(core, place, new, old),
        "status" => keep_all_but_status(place, new, old),
        "approval" => certificates::keep_all_but_approval(new, old),
        "finalize" => namespaces::keep_all_but_finalizers(new, old),
        _ => {}
    }
    if place.subresource == "status" && place.resource.is(&Gvr::CERTIFICATE_SIGNING_REQUESTS) {
        certificates::keep_decision(new, old);
    }
}

fn prepare_main_update(core: &Core, place: &Place, new: &mut Value, old: &Value) {
    if has_status(&place.resource) {
        object::copy_top(new, old, "status");
    }
    if place.resource.is_custom() {
        return;
    }
    match place.resource.kind.as_str() {
        "Namespace" => namespaces::keep_finalizers(new, old),
        "CertificateSigningRequest" => object::copy_top(new, old, "spec"),
        "Service" => services::keep_addresses(new, old),
        "CustomResourceDefinition" => definitions::prepare(core, new, Some(old)),
        _ => {}
    }
}

/// A status write changes status; of the metadata a custom resource keeps all, a built-in kind all
/// labels.
fn keep_all_but_status(place: &Place, new: &mut Value, old: &Value) {
    let status = new.get("status").cloned();
    let metadata = new["metadata"].clone();
    *new = old.clone();
    match status {
        Some(status) => new["status"] = status,
        None => object::remove_top(new, "status"),
    }
    if place.resource.is_custom() {
        object::copy(new, &json!({"metadata": metadata}), "managedFields");
    } else {
        new["metadata"] = metadata;
        object::copy(new, old, "labels");
    }
}

/// Moves the generation when the specification changed.
pub(crate) fn set_generation(resource: &Resource, new: &mut Value, old: &Value) {
    if !has_generation(resource) || specification_equal(resource, new, old) {
        return;
    }
    let present = object::metadata(old).get("generation");
    let next = present.and_then(Value::as_i64).unwrap_or(0) + 1;
    object::set(new, "generation", next.into());
}

/// Whether all but metadata, and status where it has a subresource, is the same.
fn specification_equal(resource: &Resource, new: &Value, old: &Value) -> bool {
    let status_apart = has_status(resource) || !resource.is_custom();
    let counts = |key: &str| key != "metadata" && !(key == "status" && status_apart);
    let (Some(new), Some(old)) = (new.as_object(), old.as_object()) else {
        return new == old;
    };
    let new = new.iter().filter(|(key, _)| counts(key));
    new.eq(old.iter().filter(|(key, _)| counts(key)))
}

/// Whether a deleted object has nothing left to wait for.
pub(crate) fn is_finished(resource: &Resource, object: &Value) -> bool {
    let grace = object::metadata(object)
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64)
        .unwrap_or(0);
    let namespace_waits = resource.is(&Gvr::NAMESPACES)
        && object["spec"]["finalizers"]
            .as_array()
            .is_some_and(|list| !list.is_empty());
    object::is_deleting(object)
        && grace == 0
        && object::finalizers(object).is_empty()
        && !namespace_waits
}

/// Brings an object from the version in which it is stored into the resource's.
pub(crate) fn to_version(resource: &Resource, mut object: Value) -> Value {
    let wanted = resource.api_version();
    if object["apiVersion"] == wanted.as_str() {
        return object;
    }
    if resource.gvr.group == "events.k8s.io" {
        events::from_core(&mut object);
    }
    object["apiVersion"] = wanted.into();
    object
}

/// Brings an object into the version in which it is stored.
pub(crate) fn to_stored(resource: &Resource, mut object: Value) -> Value {
    let wanted = match &resource.origin {
        Origin::Builtin(_) => resource.stored_api_version.clone(),
        Origin::Custom(version) => version.stored_api_version.clone(),
    };
    if object["apiVersion"] == wanted.as_str() {
        return object;
    }
    if resource.gvr.group == "events.k8s.io" {
        events::to_core(&mut object);
    }
    object["apiVersion"] = wanted.into();
    object
}
