//! Mutating policies: changes they make to an object before it is validated.

use std::borrow::Cow;
use std::sync::Arc;

use hyades_schema::cel::Meter;
use hyades_schema::cel::Mutation;
use hyades_schema::merge;
use hyades_schema::merge::PatchError;
use serde_json::Value;

use super::Write;
use super::definition::Binding;
use super::definition::Policy;
use super::evaluation::Conditions;
use super::evaluation::Evaluation;
use super::index::Hook;
use super::matching;
use super::params;
use crate::engines;
use crate::object;
use crate::registry::Resource;
use crate::status::Cause;
use crate::status::Reason;
use crate::status::Status;
use crate::strategy;

/// Metadata that no policy can change: it says which object this is.
const IDENTITY: [&str; 5] = [
    "name",
    "namespace",
    "uid",
    "resourceVersion",
    "managedFields",
];

/// Has the mutating policies that are about a write change its object; `None` when none did.
///
/// # Errors
/// The refusal of a policy that cannot do its work.
pub(crate) fn mutate(write: &Write<'_>) -> Result<Option<Value>, Status> {
    let resource = &write.place.resource.gvr.resource;
    let hooks = write.core.policies.mutating(resource);
    let Some(new) = write.new else {
        return Ok(None);
    };
    if hooks.is_empty() || !matching::can_mutate(write) {
        return Ok(None);
    }
    let mut object = Cow::Borrowed(new);
    let mut left_behind = vec![None; hooks.len()];
    for (hook, seen) in hooks.iter().zip(&mut left_behind) {
        if run(write, hook, &mut object)? && hook.policy.reinvoked {
            *seen = Some(object.clone().into_owned());
        }
    }
    // Once more, for policies after which others changed the object.
    for (hook, seen) in hooks.iter().zip(&left_behind) {
        if seen.as_ref().is_some_and(|seen| *seen != *object) {
            run(write, hook, &mut object)?;
        }
    }
    Ok(match object {
        Cow::Owned(object) => Some(object),
        Cow::Borrowed(_) => None,
    })
}

/// Runs one policy; says whether it was about the write.
fn run(write: &Write<'_>, hook: &Hook, object: &mut Cow<'_, Value>) -> Result<bool, Status> {
    let policy = &*hook.policy;
    let Some(resource) = policy.constraints.matches(&write.changed_to(object)) else {
        return Ok(false);
    };
    let _meter = Meter::start();
    for binding in &hook.bindings {
        let narrowed = binding.resources.as_ref();
        if narrowed.is_some_and(|r| r.matches(&write.changed_to(object)).is_none()) {
            continue;
        }
        let changed = bound(write, policy, binding, &resource, object);
        if let Err(why) = changed
            && policy.fails_closed
        {
            return Err(refusal(write, policy, binding, &why));
        }
    }
    Ok(true)
}

fn bound(
    write: &Write<'_>,
    policy: &Policy,
    binding: &Binding,
    resource: &Arc<Resource>,
    object: &mut Cow<'_, Value>,
) -> Result<(), String> {
    let program = policy.program();
    let program = program.map_err(|why| format!("failed to configure policy: {why}"))?;
    let params = params::collect(write, policy, binding);
    let params = params.map_err(|why| format!("failed to configure binding: {why}"))?;
    for params in &params {
        for mutation in &program.mutations {
            let now = write.changed_to(object);
            let versioned = now.in_version(resource)?;
            let objects = match &versioned {
                Some(versioned) => [versioned.old.as_ref(), versioned.new.as_ref()],
                None => [now.old, now.new],
            };
            let mut evaluation = Evaluation::new(program, &now, resource, objects, params.as_ref());
            match evaluation.conditions() {
                Conditions::Hold => {}
                Conditions::DoNotHold => break,
                Conditions::Failed(why) => return Err(why),
            }
            evaluation.compose();
            let present = objects[1].unwrap_or(object);
            if let Some(changed) = changed(&evaluation, mutation, resource, present)? {
                let settled = settled(&now, resource, changed, object)?;
                *object = Cow::Owned(settled);
            }
        }
    }
    Ok(())
}

/// The object after one mutation; `None` when that changes nothing.
fn changed(
    evaluation: &Evaluation<'_>,
    mutation: &Mutation,
    resource: &Resource,
    object: &Value,
) -> Result<Option<Value>, String> {
    let json = |expression| {
        let datum = evaluation.evaluate(expression)?;
        datum.to_json().ok_or_else(|| {
            format!(
                "expression '{}' evaluated to a type that could not marshal to JSON: {}",
                expression.text(),
                datum.type_name()
            )
        })
    };
    match mutation {
        Mutation::ApplyConfiguration(expression) => {
            let configuration = json(expression)?;
            if !configuration.is_object() {
                return Err("unsupported return type from ApplyConfiguration expression".to_owned());
            }
            merge::configure(&resource.ty, object, &configuration)
                .map(Some)
                .map_err(|why| format!("error applying patch: {why}"))
        }
        Mutation::JsonPatch(expression) => {
            let patch = json(expression)?;
            match patch.as_array() {
                None => {
                    let why = "type mismatch: JSONPatchType.expression should evaluate to array";
                    return Err(why.to_owned());
                }
                Some(operations) if operations.is_empty() => return Ok(None),
                Some(_) => {}
            }
            match merge::json_patch(object, &patch) {
                Ok(object) => Ok(Some(object)),
                // A test that fails means that there is nothing to do.
                Err(PatchError::TestFailed(_)) => Ok(None),
                Err(PatchError::Rejected(why)) => Err(format!("JSONPatch: {why}")),
                Err(error) => Err(error.to_string()),
            }
        }
    }
}

/// A changed object in its kind's form and in the version of the write.
fn settled(
    write: &Write<'_>,
    resource: &Resource,
    changed: Value,
    present: &Value,
) -> Result<Value, String> {
    let own = &write.place.resource;
    let stored = strategy::to_stored(resource, changed);
    let mut object = strategy::to_version(own, stored);
    for field in IDENTITY {
        object::copy(&mut object, present, field);
    }
    for field in ["apiVersion", "kind"] {
        object::copy_top(&mut object, present, field);
    }
    engines::settle(write.actor, own, &mut object, &[]).map_err(|error| error.to_string())?;
    engines::default(own, &mut object);
    Ok(object)
}

fn refusal(write: &Write<'_>, policy: &Policy, binding: &Binding, why: &str) -> Status {
    let message = format!(
        "policy '{}' with binding '{}' denied request: {why}",
        policy.name, binding.name
    );
    let place = write.place;
    let mut status = Status::forbidden(place.resource.qualified(), &place.name, &message);
    status.reason = Reason::Invalid;
    status.message.clone_from(&message);
    status.with_cause(Cause {
        message,
        ..Cause::default()
    })
}
