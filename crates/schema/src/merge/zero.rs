//! The object against which a create is compared.
//!
//! A built-in object is compared with the zero value of its Go type, in which structs that are not
//! pointers, and lists and scalars that are not optional, are already there. Ownership shows it: a
//! new Deployment has no `"."` beneath `f:spec` or `f:containers`, but has one beneath `f:labels`
//! and `f:rollingUpdate`. A custom resource is compared with an empty object.

use std::sync::Arc;

use serde_json::Map;
use serde_json::Value;

use crate::kinds::builtin;
use crate::types::Shape;
use crate::types::Type;
use crate::types::TypeId;
use crate::types::TypePool;
use crate::types::TypeRef;

/// Nesting of structs in zero values; the deepest one upstream (CronJob) is six.
const MAX_DEPTH: usize = 10;

/// Optional fields whose Go type is a struct and not a pointer to one, by the last part of their
/// type's name, besides `metadata`, `spec` and `status` of whole objects.
const EMBEDDED_STRUCTS: &[(&str, &[&str])] = &[
    ("CronJobSpec", &["jobTemplate"]),
    ("CustomResourceDefinitionStatus", &["acceptedNames"]),
    ("DaemonSetSpec", &["template", "updateStrategy"]),
    ("DeploymentSpec", &["strategy", "template"]),
    (
        "Event",
        &["deprecatedSource", "involvedObject", "regarding", "source"],
    ),
    ("IngressStatus", &["loadBalancer"]),
    ("JobSpec", &["template"]),
    ("JobTemplateSpec", &["metadata", "spec"]),
    ("NetworkPolicySpec", &["podSelector"]),
    ("NodeDaemonEndpoints", &["kubeletEndpoint"]),
    ("NodeStatus", &["daemonEndpoints", "nodeInfo"]),
    ("PersistentVolumeClaimSpec", &["resources"]),
    ("PodTemplate", &["template"]),
    ("PodTemplateSpec", &["metadata", "spec"]),
    ("ReplicaSetSpec", &["template"]),
    ("ServiceStatus", &["loadBalancer"]),
    ("StatefulSetSpec", &["template", "updateStrategy"]),
];

/// Required fields that Go leaves out when they are empty all the same.
const OMITTED_WHEN_EMPTY: &[(&str, &[&str])] = &[(
    "ValidatingAdmissionPolicyBindingSpec",
    &["validationActions"],
)];

/// The zero value of a type, or an empty object for a custom resource.
pub(super) fn zero(ty: &TypeRef) -> Value {
    if Arc::ptr_eq(&ty.pool, &builtin().pool) {
        zero_of(&ty.pool, ty.id, 0)
    } else {
        Value::Object(Map::new())
    }
}

fn zero_of(pool: &TypePool, id: TypeId, depth: usize) -> Value {
    let ty = &pool.types[id.0 as usize];
    match &ty.shape {
        Shape::Object(object) if depth < MAX_DEPTH => {
            let mut out = Map::new();
            for field in &object.fields {
                let embedded = (depth == 0
                    && matches!(field.name.as_str(), "metadata" | "spec" | "status"))
                    || is_listed(EMBEDDED_STRUCTS, ty, &field.name);
                let omitted = is_listed(OMITTED_WHEN_EMPTY, ty, &field.name);
                if embedded || (field.required && !omitted) {
                    out.insert(field.name.clone(), zero_of(pool, field.ty, depth + 1));
                }
            }
            Value::Object(out)
        }
        Shape::String => Value::from(""),
        Shape::Integer | Shape::Number => Value::from(0),
        Shape::Boolean => Value::from(false),
        _ => Value::Null,
    }
}

fn is_listed(list: &[(&str, &[&str])], ty: &Type, field: &str) -> bool {
    let Some(name) = ty.name.as_deref().and_then(|name| name.rsplit('.').next()) else {
        return false;
    };
    list.iter()
        .any(|(owner, fields)| *owner == name && fields.contains(&field))
}
