//! Whether a definition is valid, apart from its metadata.

use std::collections::BTreeSet;

use serde_json::Value;

use super::MAX_VERSIONS;
use super::columns;
use super::compile::Hoisted;
use super::names::was_established;
use super::structural;
use crate::validate::FieldError;
use crate::validate::FieldPath;
use crate::validate::names;

fn text<'a>(value: &'a Value, key: &str) -> &'a str {
    value.get(key).and_then(Value::as_str).unwrap_or_default()
}

fn list<'a>(value: &'a Value, key: &str) -> &'a [Value] {
    value
        .get(key)
        .and_then(Value::as_array)
        .map_or(&[], Vec::as_slice)
}

/// Everything wrong with a definition whose defaults are set.
pub fn validate(crd: &Value) -> Vec<FieldError> {
    let mut errors = Vec::new();
    let empty = Value::Null;
    let spec = crd.get("spec").unwrap_or(&empty);
    let wanted = spec.get("names").unwrap_or(&empty);
    let name = crd.pointer("/metadata/name").and_then(Value::as_str);
    let required = format!("{}.{}", text(wanted, "plural"), text(spec, "group"));
    if let Some(name) = name
        && name != required
    {
        errors.push(FieldError::invalid(
            "metadata.name",
            name,
            "must be spec.names.plural+\".\"+spec.group",
        ));
    }
    group(spec, &mut errors);
    match text(spec, "scope") {
        "Namespaced" | "Cluster" => {}
        "" => errors.push(FieldError::required("spec.scope", "")),
        other => errors.push(FieldError::not_supported(
            "spec.scope",
            other,
            &["Cluster", "Namespaced"],
        )),
    }
    versions(spec, &mut errors);
    resource_names(wanted, &mut errors);
    conversion(spec, &mut errors);
    if spec.get("preserveUnknownFields") == Some(&Value::Bool(true)) {
        errors.push(FieldError::invalid(
            "spec.preserveUnknownFields",
            true,
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        ));
    }
    errors
}

fn group(spec: &Value, errors: &mut Vec<FieldError>) {
    let group = text(spec, "group");
    if group.is_empty() {
        errors.push(FieldError::required("spec.group", ""));
        return;
    }
    let wrong = names::dns_subdomain(group);
    if !wrong.is_empty() {
        errors.push(FieldError::invalid("spec.group", group, wrong.join(",")));
    } else if !group.contains('.') {
        let detail = "should be a domain with at least one dot";
        errors.push(FieldError::invalid("spec.group", group, detail));
    }
}

fn versions(spec: &Value, errors: &mut Vec<FieldError>) {
    let versions = list(spec, "versions");
    if versions.len() > MAX_VERSIONS {
        let count = versions.len() as u64;
        errors.push(FieldError::too_many(
            "spec.versions",
            count,
            MAX_VERSIONS as u64,
        ));
        return;
    }
    let mut seen = BTreeSet::new();
    let mut unique = true;
    for (index, version) in versions.iter().enumerate() {
        let at = FieldPath::new("spec.versions").index(index);
        let name = text(version, "name");
        unique &= seen.insert(name);
        let wrong = names::dns_1035_label(name);
        if !wrong.is_empty() {
            errors.push(FieldError::invalid(at.child("name"), name, wrong.join(",")));
        }
        let warning = text(version, "deprecationWarning");
        if !warning.is_empty() && version.get("deprecated") != Some(&Value::Bool(true)) {
            errors.push(FieldError::invalid(
                at.child("deprecationWarning"),
                warning,
                "can only be set for deprecated versions",
            ));
        }
    }
    let mut wrong = |detail: &str| {
        errors.push(FieldError::invalid(
            "spec.versions",
            Value::from(versions.to_vec()),
            detail,
        ));
    };
    if !unique {
        wrong("must contain unique version names");
    }
    let stored = versions
        .iter()
        .filter(|version| version.get("storage") == Some(&Value::Bool(true)))
        .count();
    if stored != 1 {
        wrong("must have exactly one version marked as storage version");
    }
    schemas(versions, errors);
}

/// Checks one part of a version.
type PartCheck = fn(&Value, &Hoisted<'_>, &mut Vec<FieldError>);

fn schemas(versions: &[Value], errors: &mut Vec<FieldError>) {
    for (index, version) in versions.iter().enumerate() {
        let at = Hoisted { versions, index };
        if index > 0 && at.is_shared("schema") {
            break;
        }
        let schema = version
            .pointer("/schema/openAPIV3Schema")
            .filter(|schema| schema.is_object());
        match schema {
            None => errors.push(FieldError::required(
                FieldPath::new("spec.versions")
                    .index(index)
                    .child("schema.openAPIV3Schema"),
                "schemas are required",
            )),
            Some(schema) => {
                let path = at.path("schema", "validation").child("openAPIV3Schema");
                errors.extend(structural::check(schema, &path));
            }
        }
    }
    let parts: [(&str, PartCheck); 3] = [
        ("subresources", columns::scale),
        ("additionalPrinterColumns", columns::printer),
        ("selectableFields", columns::selectable),
    ];
    for (name, check) in parts {
        for (index, version) in versions.iter().enumerate() {
            let at = Hoisted { versions, index };
            if index > 0 && at.is_shared(name) {
                break;
            }
            check(version, &at, errors);
        }
    }
}

fn resource_names(wanted: &Value, errors: &mut Vec<FieldError>) {
    let at = FieldPath::new("spec.names");
    let plural = text(wanted, "plural");
    if plural.is_empty() {
        errors.push(FieldError::required(at.child("plural"), ""));
    }
    if text(wanted, "kind").is_empty() {
        errors.push(FieldError::required(at.child("kind"), ""));
    }
    let label = |name: &str, path: FieldPath, errors: &mut Vec<FieldError>| {
        let wrong = names::dns_1035_label(name);
        if !name.is_empty() && !wrong.is_empty() {
            errors.push(FieldError::invalid(path, name, wrong.join(",")));
        }
    };
    for field in ["plural", "singular"] {
        label(text(wanted, field), at.child(field), errors);
    }
    for field in ["kind", "listKind"] {
        let kind = text(wanted, field);
        let wrong = names::dns_1035_label(&kind.to_lowercase());
        if !kind.is_empty() && !wrong.is_empty() {
            let detail = format!(
                "may have mixed case, but should otherwise match: {}",
                wrong.join(",")
            );
            errors.push(FieldError::invalid(at.child(field), kind, detail));
        }
    }
    for field in ["shortNames", "categories"] {
        for (index, name) in list(wanted, field).iter().enumerate() {
            let name = name.as_str().unwrap_or_default();
            label(name, at.child(field).index(index), errors);
        }
    }
    let list_kind = text(wanted, "listKind");
    if !list_kind.is_empty() && list_kind == text(wanted, "kind") {
        errors.push(FieldError::invalid(
            at.child("listKind"),
            list_kind,
            "kind and listKind may not be the same",
        ));
    }
}

fn conversion(spec: &Value, errors: &mut Vec<FieldError>) {
    let at = FieldPath::new("spec.conversion");
    let conversion = spec.get("conversion").unwrap_or(&Value::Null);
    match text(conversion, "strategy") {
        "None" => {
            if conversion
                .get("webhook")
                .is_some_and(|hook| !hook.is_null())
            {
                errors.push(FieldError::forbidden(
                    at.child("webhookClientConfig"),
                    "should not be set when strategy is not set to Webhook",
                ));
            }
        }
        "Webhook" => {
            if conversion.pointer("/webhook/clientConfig").is_none() {
                errors.push(FieldError::required(
                    at.child("webhookClientConfig"),
                    "required when strategy is set to Webhook",
                ));
            }
        }
        "" => errors.push(FieldError::required(at.child("strategy"), "")),
        other => errors.push(FieldError::not_supported(
            at.child("strategy"),
            other,
            &["None", "Webhook"],
        )),
    }
}

/// Everything wrong with changing a definition from `old` to `new`.
pub fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = validate(new);
    let at = |path: &str, value: &Value| value.pointer(path).cloned().unwrap_or_default();
    let mut fixed = vec![("spec.group", "/spec/group")];
    if was_established(old) {
        fixed.push(("spec.scope", "/spec/scope"));
        fixed.push(("spec.names.kind", "/spec/names/kind"));
        fixed.push(("spec.names.plural", "/spec/names/plural"));
    }
    for (path, pointer) in fixed {
        if at(pointer, new) != at(pointer, old) {
            errors.push(FieldError::invalid(
                path,
                at(pointer, new),
                "field is immutable",
            ));
        }
    }
    let spec = new.get("spec").unwrap_or(&Value::Null);
    let known: Vec<&str> = list(spec, "versions")
        .iter()
        .map(|version| text(version, "name"))
        .collect();
    let stored = new.pointer("/status/storedVersions");
    let stored = stored.and_then(Value::as_array);
    for (index, version) in stored.into_iter().flatten().enumerate() {
        let version = version.as_str().unwrap_or_default();
        if !known.contains(&version) {
            let detail = format!(
                "missing from spec.versions; {version} was previously a storage version, and must remain in spec.versions until a storage migration ensures no data remains persisted in {version} and removes {version} from status.storedVersions"
            );
            let path = FieldPath::new("status.storedVersions").index(index);
            errors.push(FieldError::invalid(path, version, detail));
        }
    }
    errors
}
