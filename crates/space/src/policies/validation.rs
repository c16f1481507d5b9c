//! Validating policies: what they refuse, warn of and record.

use hyades_schema::cel::Meter;

use super::Write;
use super::definition::Action;
use super::definition::Binding;
use super::definition::Policy;
use super::evaluation::Conditions;
use super::evaluation::Evaluation;
use super::evaluation::Outcome;
use super::index::Hook;
use super::matching;
use super::params;
use crate::status::Cause;
use crate::status::Reason;
use crate::status::Status;

/// The longest value of an audit annotation, in bytes; upstream's limit.
const ANNOTATION_BYTES_MAX: usize = 10 * 1024;

/// Judges a write by the policies that are about it.
///
/// # Errors
/// The refusal of the first policy, by name, that refuses it.
pub(crate) fn validate(write: &Write<'_>) -> Result<(), Status> {
    let resource = &write.place.resource.gvr.resource;
    let hooks = write.core.policies.validating(resource);
    if hooks.is_empty() || matching::is_exempt(write) {
        return Ok(());
    }
    for hook in hooks.iter() {
        judge(write, hook)?;
    }
    Ok(())
}

/// Judges a write by one policy.
fn judge(write: &Write<'_>, hook: &Hook) -> Result<(), Status> {
    let policy = &*hook.policy;
    let Some(resource) = policy.constraints.matches(write) else {
        return Ok(());
    };
    let program = match policy.program() {
        Ok(program) => program,
        Err(why) => {
            let why = format!("failed to configure policy: {why}");
            return failed(write, policy, None, &why);
        }
    };
    let versioned = match write.in_version(&resource) {
        Ok(versioned) => versioned,
        Err(why) => return failed(write, policy, None, &why),
    };
    let objects = match &versioned {
        Some(versioned) => [versioned.old.as_ref(), versioned.new.as_ref()],
        None => [write.old, write.new],
    };
    let resource = versioned.as_ref().map_or(&resource, |v| &v.resource);
    let _meter = Meter::start();
    for binding in &hook.bindings {
        if binding
            .resources
            .as_ref()
            .is_some_and(|r| r.matches(write).is_none())
        {
            continue;
        }
        let params = match params::collect(write, policy, binding) {
            Ok(params) => params,
            Err(why) => {
                let why = format!("failed to configure binding: {why}");
                failed(write, policy, Some(binding), &why)?;
                continue;
            }
        };
        for params in &params {
            let evaluation = Evaluation::new(program, write, resource, objects, params.as_ref());
            decide(write, policy, binding, evaluation)?;
        }
    }
    Ok(())
}

fn decide(
    write: &Write<'_>,
    policy: &Policy,
    binding: &Binding,
    mut evaluation: Evaluation<'_>,
) -> Result<(), Status> {
    match evaluation.conditions() {
        Conditions::DoNotHold => return Ok(()),
        Conditions::Failed(why) => return act(write, policy, binding, 0, &why, "", true),
        Conditions::Hold => {}
    }
    evaluation.compose();
    for index in 0..evaluation.program.validations.len() {
        match evaluation.validation(index) {
            Outcome::Holds => {}
            Outcome::Broken { message, reason } => {
                act(write, policy, binding, index, &message, reason, false)?;
            }
            Outcome::Failed(why) => act(write, policy, binding, index, &why, "", true)?,
        }
    }
    annotate(write, policy, binding, &evaluation)
}

/// Does what the binding says about a validation that was broken, or that failed.
fn act(
    write: &Write<'_>,
    policy: &Policy,
    binding: &Binding,
    index: usize,
    message: &str,
    reason: &str,
    is_failure: bool,
) -> Result<(), Status> {
    if is_failure && !policy.fails_closed {
        return Ok(());
    }
    for action in &binding.actions {
        match action {
            Action::Deny => return Err(refusal(write, policy, Some(binding), message, reason)),
            Action::Warn => write.actor.warn(format!(
                "Validation failed for ValidatingAdmissionPolicy '{}' with binding '{}': {message}",
                policy.name, binding.name
            )),
            Action::Audit => tracing::info!(
                policy = policy.name,
                binding = binding.name,
                expression_index = index,
                user = write.actor.user.name,
                resource = %write.place.resource.gvr,
                namespace = write.place.namespace,
                name = write.place.name,
                message,
                "validation.policy.admission.k8s.io/validation_failure"
            ),
        }
    }
    Ok(())
}

/// Records what the policy notes about the write. There is no audit log; the process's log is where
/// such records go.
fn annotate(
    write: &Write<'_>,
    policy: &Policy,
    binding: &Binding,
    evaluation: &Evaluation<'_>,
) -> Result<(), Status> {
    for annotation in &evaluation.program.audit_annotations {
        let expression = &annotation.expression;
        let datum = match evaluation.evaluate(expression) {
            Ok(datum) => datum,
            Err(why) => {
                failed(write, policy, Some(binding), &why)?;
                continue;
            }
        };
        let Some(text) = datum.as_str() else {
            if !datum.is_null() {
                let why = format!(
                    "valueExpression '{}' resulted in unsupported return type: {}. Return type \
                     must be either string or null.",
                    expression.text(),
                    datum.type_name()
                );
                failed(write, policy, Some(binding), &why)?;
            }
            continue;
        };
        let value: String = text.trim().chars().take(ANNOTATION_BYTES_MAX).collect();
        if !value.is_empty() {
            tracing::info!(
                policy = policy.name,
                binding = binding.name,
                key = annotation.name,
                value,
                "audit annotation"
            );
        }
    }
    Ok(())
}

/// A policy that cannot do its work refuses the write, unless it says otherwise.
fn failed(
    write: &Write<'_>,
    policy: &Policy,
    binding: Option<&Binding>,
    why: &str,
) -> Result<(), Status> {
    if policy.fails_closed {
        Err(refusal(write, policy, binding, why, ""))
    } else {
        Ok(())
    }
}

fn refusal(
    write: &Write<'_>,
    policy: &Policy,
    binding: Option<&Binding>,
    message: &str,
    reason: &str,
) -> Status {
    let policy = &policy.name;
    let message = match binding {
        Some(binding) => format!(
            "ValidatingAdmissionPolicy '{policy}' with binding '{}' denied request: {message}",
            binding.name
        ),
        None => format!("ValidatingAdmissionPolicy '{policy}' denied request: {message}"),
    };
    let place = write.place;
    let status = Status::forbidden(place.resource.qualified(), &place.name, &message);
    let reason = match reason {
        "Unauthorized" => Reason::Unauthorized,
        "Forbidden" => Reason::Forbidden,
        "RequestEntityTooLarge" => Reason::RequestEntityTooLarge,
        _ => Reason::Invalid,
    };
    status.with_reason(reason).with_cause(Cause {
        message,
        ..Cause::default()
    })
}
