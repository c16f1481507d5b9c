//! Validation of pods and pod templates.

use std::collections::BTreeSet;

use serde_json::Value;

use super::checks::all_invalid;
use super::checks::none_or_one_of;
use super::checks::not_negative;
use super::checks::one_of;
use super::checks::set;
use super::containers;
use super::metadata;
use super::object::at;
use super::object::integer;
use super::object::list;
use super::object::text;
use crate::validate::FieldError;
use crate::validate::FieldPath;
use crate::validate::names;

pub(super) const RESTART_POLICIES: [&str; 3] = ["Always", "OnFailure", "Never"];

pub(super) fn validate(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let path = FieldPath::new("spec");
    spec(at(new, "spec"), &path, errors);
    if let Some(old) = old
        && fixed(at(new, "spec")) != fixed(at(old, "spec"))
    {
        errors.push(FieldError::forbidden(
            path,
            "pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)",
        ));
    }
}

/// A pod's spec without what may change.
fn fixed(spec: &Value) -> Value {
    let mut spec = spec.clone();
    for containers in ["containers", "initContainers"] {
        let items = spec.get_mut(containers).and_then(Value::as_array_mut);
        for container in items.into_iter().flatten() {
            if let Some(container) = container.as_object_mut() {
                container.remove("image");
            }
        }
    }
    if let Some(spec) = spec.as_object_mut() {
        for field in [
            "activeDeadlineSeconds",
            "ephemeralContainers",
            "schedulingGates",
            "terminationGracePeriodSeconds",
            "tolerations",
        ] {
            spec.remove(field);
        }
    }
    spec
}

/// Everything wrong with a pod template.
pub(super) fn template(template: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let meta = at(template, "metadata");
    errors.extend(metadata::labels(meta.get("labels"), &path.child("labels")));
    spec(at(template, "spec"), &path.child("spec"), errors);
}

/// Everything wrong with a pod's spec whose defaults are set.
pub(super) fn spec(spec: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let volumes = volumes(spec, path, errors);
    containers::validate(spec, &volumes, path, errors);
    one_of(spec, "restartPolicy", &RESTART_POLICIES, path, errors);
    one_of(
        spec,
        "dnsPolicy",
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        path,
        errors,
    );
    errors.extend(metadata::labels(
        spec.get("nodeSelector"),
        &path.child("nodeSelector"),
    ));
    let name_of = |field: &str, rule: fn(&str) -> Vec<String>, errors: &mut Vec<FieldError>| {
        let name = text(spec, field);
        if !name.is_empty() {
            all_invalid(rule(name), name, &path.child(field), errors);
        }
    };
    name_of("serviceAccountName", names::dns_subdomain, errors);
    name_of("nodeName", names::dns_subdomain, errors);
    name_of("priorityClassName", names::dns_subdomain, errors);
    name_of("hostname", names::dns_label, errors);
    name_of("subdomain", names::dns_label, errors);
    for (index, secret) in list(spec, "imagePullSecrets").iter().enumerate() {
        let path = path.child("imagePullSecrets").index(index);
        set(secret, "name", &path, errors);
    }
    tolerations(spec, &path.child("tolerations"), errors);
    if let Some(seconds) = integer(spec, "activeDeadlineSeconds").filter(|seconds| *seconds < 1) {
        errors.push(FieldError::invalid(
            path.child("activeDeadlineSeconds"),
            seconds,
            "must be between 1 and 2147483647, inclusive",
        ));
    }
    not_negative(spec, "terminationGracePeriodSeconds", path, errors);
}

fn volumes<'a>(
    spec: &'a Value,
    path: &FieldPath,
    errors: &mut Vec<FieldError>,
) -> BTreeSet<&'a str> {
    let mut seen = BTreeSet::new();
    for (index, volume) in list(spec, "volumes").iter().enumerate() {
        let path = path.child("volumes").index(index);
        let name = text(volume, "name");
        let at = path.child("name");
        if name.is_empty() {
            errors.push(FieldError::required(at, ""));
            continue;
        }
        all_invalid(names::dns_label(name), name, &at, errors);
        if !seen.insert(name) {
            errors.push(FieldError::duplicate(at, name));
        }
        let sources = volume.as_object().map_or(0, |volume| volume.len() - 1);
        if sources == 0 {
            errors.push(FieldError::required(&path, "must specify a volume type"));
        } else if sources > 1 {
            errors.push(FieldError::forbidden(
                &path,
                "may not specify more than 1 volume type",
            ));
        }
    }
    seen
}

fn tolerations(spec: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    for (index, toleration) in list(spec, "tolerations").iter().enumerate() {
        let path = path.index(index);
        let (key, operator) = (text(toleration, "key"), text(toleration, "operator"));
        if !key.is_empty() {
            all_invalid(names::qualified_name(key), key, &path.child("key"), errors);
        } else if operator != "Exists" {
            errors.push(FieldError::invalid(
                path.child("operator"),
                operator,
                "operator must be Exists when `key` is empty, which means \"match all values and all keys\"",
            ));
        }
        none_or_one_of(toleration, "operator", &["Equal", "Exists"], &path, errors);
        none_or_one_of(
            toleration,
            "effect",
            &["NoSchedule", "PreferNoSchedule", "NoExecute"],
            &path,
            errors,
        );
        if operator == "Exists" && !text(toleration, "value").is_empty() {
            errors.push(FieldError::invalid(
                path.child("operator"),
                toleration.clone(),
                "value must be empty when `operator` is 'Exists'",
            ));
        }
    }
}
