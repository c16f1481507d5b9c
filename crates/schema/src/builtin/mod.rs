//! What holds for the built-in kinds beyond their shapes: defaults and validation.

pub mod cluster_ip;
mod defaults;
mod fill;
pub mod metadata;
mod object;
mod pod_defaults;

use serde_json::Value;

use metadata::NameRule;

use crate::kinds;
use crate::validate::FieldError;
use crate::validate::fields;

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
    match (group, kind) {
        ("apiextensions.k8s.io", "CustomResourceDefinition") => match old {
            None => crate::crd::validate(new),
            Some(old) => crate::crd::validate_update(new, old),
        },
        _ => Vec::new(),
    }
}
