//! What holds for the built-in kinds beyond their shapes: defaults and validation.

mod access;
mod admission;
mod checks;
pub mod cluster_ip;
mod containers;
mod core;
mod defaults;
mod events;
mod fill;
pub mod metadata;
mod object;
mod pod_defaults;
mod pods;
mod policy;
mod selectors;
mod services;
mod workloads;

use serde_json::Value;

use metadata::NameRule;

use crate::kinds;
use crate::validate::FieldError;
use crate::validate::fields;

pub use workloads::select_job_pods;

/// Brings an object of a built-in kind into its normal form and sets the defaults of its kind: what
/// a server does to every body it decodes.
///
/// Services get no address here: see [`cluster_ip`].
pub fn default(group: &str, version: &str, kind: &str, object: &mut Value) {
    let builtin = kinds::builtin();
    let known = builtin.kind(group, version, kind);
    if let Some(ty) = known.and_then(|row| builtin.type_named(row.type_name)) {
        fields::normalise(&ty, object);
    }
    defaults::tidy_metadata(object);
    defaults::apply(group, kind, object);
}

/// Everything wrong with an object of a built-in kind, in the API server's words and order: with
/// creating `new`, or with changing `old` to it.
///
/// Shapes are checked before ([`fields::shape_check`]) and defaults are set.
pub fn validate(
    group: &str,
    version: &str,
    kind: &str,
    new: &Value,
    old: Option<&Value>,
) -> Vec<FieldError> {
    let row = kinds::builtin().kind(group, version, kind);
    let namespaced = row.is_some_and(|row| row.namespaced);
    let mut errors = match old {
        None => metadata::validate(new, name_rule(group, kind), namespaced),
        Some(old) => metadata::validate_update(new, old),
    };
    errors.extend(kind_errors(group, kind, new, old));
    errors
}

/// What names of a kind may look like.
pub fn name_rule(group: &str, kind: &str) -> NameRule {
    match (group, kind) {
        ("", "Namespace" | "Service") => NameRule::Label,
        ("rbac.authorization.k8s.io", _) => NameRule::PathSegment,
        ("apps", "StatefulSet") => NameRule::Label,
        _ => NameRule::Subdomain,
    }
}

fn kind_errors(group: &str, kind: &str, new: &Value, old: Option<&Value>) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let found = &mut errors;
    match (group, kind) {
        ("", "ConfigMap") => core::config_map(new, old, found),
        ("", "Secret") => core::secret(new, old, found),
        ("", "Namespace") => core::namespace(new, found),
        ("", "Event") => events::core(new, found),
        ("events.k8s.io", "Event") => events::events(new, old, found),
        ("", "Node") => policy::node(new, found),
        ("", "PersistentVolume") => core::volume(new, found),
        ("", "PersistentVolumeClaim") => core::claim(new, old, found),
        ("", "Pod") => pods::validate(new, old, found),
        ("", "Service") => services::validate(new, old, found),
        ("apps", _) if kind != "ControllerRevision" => {
            workloads::selecting(kind, new, old, found);
        }
        ("batch", "Job") => workloads::job(new, old, found),
        ("batch", "CronJob") => workloads::cron_job(new, found),
        ("autoscaling", "HorizontalPodAutoscaler") => policy::autoscaler(new, found),
        ("policy", "PodDisruptionBudget") => policy::disruption_budget(new, found),
        ("networking.k8s.io", "Ingress") => policy::ingress(new, found),
        ("networking.k8s.io", "NetworkPolicy") => policy::network_policy(new, found),
        ("coordination.k8s.io", "Lease") => core::lease(new, found),
        ("rbac.authorization.k8s.io", "Role") => access::role(new, true, found),
        ("rbac.authorization.k8s.io", "ClusterRole") => access::role(new, false, found),
        ("rbac.authorization.k8s.io", "RoleBinding") => access::binding(new, old, true, found),
        ("rbac.authorization.k8s.io", "ClusterRoleBinding") => {
            access::binding(new, old, false, found);
        }
        ("certificates.k8s.io", "CertificateSigningRequest") => {
            access::signing_request(new, old, found);
        }
        (
            "admissionregistration.k8s.io",
            "ValidatingWebhookConfiguration" | "MutatingWebhookConfiguration",
        ) => policy::webhooks(new, found),
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicy") => {
            admission::validating_policy(new, old, found);
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicy") => {
            admission::mutating_policy(new, old, found);
        }
        ("admissionregistration.k8s.io", "ValidatingAdmissionPolicyBinding") => {
            admission::validating_binding(new, found);
        }
        ("admissionregistration.k8s.io", "MutatingAdmissionPolicyBinding") => {
            admission::binding(new, found);
        }
        ("apiextensions.k8s.io", "CustomResourceDefinition") => {
            found.extend(match old {
                None => crate::crd::validate(new),
                Some(old) => crate::crd::validate_update(new, old),
            });
        }
        _ => {}
    }
    errors
}
