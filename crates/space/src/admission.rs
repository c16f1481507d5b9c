//! Admission: what is refused although its author may write and its fields are valid.

use hyades_store::Entry;
use serde_json::Value;

use crate::core::Actor;
use crate::core::Core;
use crate::core::Place;
use crate::guard::Operation;
use crate::guard::Write;
use crate::names::Gvr;
use crate::object;
use crate::policies;
use crate::status::Cause;
use crate::status::Qualified;
use crate::status::Status;

/// Namespaces that a space cannot do without.
const IMMORTAL_NAMESPACES: [&str; 3] = ["default", "kube-system", "kube-public"];

/// Refuses objects in a namespace that is absent or going away.
pub(crate) fn namespace_lives(core: &Core, place: &Place) -> Result<(), Status> {
    if !place.resource.namespaced {
        return Ok(());
    }
    let namespace = &place.namespace;
    let Some(entry) = core.namespace(namespace) else {
        return Err(Status::not_found(Gvr::NAMESPACES.qualified(), namespace));
    };
    if !is_terminating(&entry) {
        return Ok(());
    }
    let why = format!(
        "unable to create new content in namespace {namespace} because it is being terminated"
    );
    let status = Status::forbidden(place.resource.qualified(), &place.name, &why);
    Err(status.with_cause(Cause {
        reason: "NamespaceTerminating".to_owned(),
        message: format!("namespace {namespace} is being terminated"),
        field: "metadata.namespace".to_owned(),
    }))
}

fn is_terminating(namespace: &Entry) -> bool {
    object::glance(&namespace.value)
        .metadata
        .deletion_timestamp
        .is_some()
}

/// Refuses the deletion of the namespaces that a space is built on.
pub(crate) fn may_be_deleted(place: &Place) -> Result<(), Status> {
    let immortal = IMMORTAL_NAMESPACES.contains(&place.name.as_str());
    if immortal && place.resource.is(&Gvr::NAMESPACES) {
        let resource = Qualified {
            group: "",
            name: "namespaces",
        };
        let why = "this namespace may not be deleted";
        return Err(Status::forbidden(resource, &place.name, why));
    }
    Ok(())
}

/// Subresources whose body is no view of their object: they put their own body to the policies.
const VIRTUAL_SUBRESOURCES: [&str; 2] = ["binding", "scale"];

/// Asks the guard, then the validating policies, about the write's content.
pub(crate) fn guard(
    core: &Core,
    actor: &Actor,
    place: &Place,
    operation: Operation,
    old: Option<&Value>,
    new: Option<&Value>,
) -> Result<(), Status> {
    let write = Write {
        operation,
        resource: &place.resource.gvr,
        subresource: &place.subresource,
        namespace: &place.namespace,
        name: &place.name,
        old,
        new,
    };
    core.guard.admit(&actor.user, &write)?;
    if VIRTUAL_SUBRESOURCES.contains(&place.subresource.as_str()) {
        return Ok(());
    }
    policies::validate(&policies::Write {
        core,
        actor,
        place,
        operation,
        old,
        new,
    })
}

/// Has the mutating policies change the object of a write.
pub(crate) fn mutate(
    core: &Core,
    actor: &Actor,
    place: &Place,
    operation: Operation,
    old: Option<&Value>,
    new: &mut Value,
) -> Result<(), Status> {
    if VIRTUAL_SUBRESOURCES.contains(&place.subresource.as_str()) {
        return Ok(());
    }
    let changed = policies::mutate(&policies::Write {
        core,
        actor,
        place,
        operation,
        old,
        new: Some(new),
    })?;
    if let Some(changed) = changed {
        *new = changed;
    }
    Ok(())
}
