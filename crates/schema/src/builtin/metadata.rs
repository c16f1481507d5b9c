//! ObjectMeta: names, labels, annotations, owners, finalizers, and what of it may change.

use serde_json::Map;
use serde_json::Value;

use super::object::list;
use super::object::text;
use crate::validate::FieldError;
use crate::validate::FieldPath;
use crate::validate::names;

/// How large the annotations of one object may be together, keys and values, as upstream limits it.
pub const MAX_ANNOTATION_BYTES: usize = 256 * 1024;

/// What names of a kind may look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameRule {
    /// RFC 1123 subdomain: most kinds, and all custom resources.
    Subdomain,
    /// RFC 1123 label.
    Label,
    /// RFC 1035 label.
    StrictLabel,
    /// Any path segment: RBAC.
    PathSegment,
}

impl NameRule {
    fn errors(self, name: &str) -> Vec<String> {
        match self {
            Self::Subdomain => names::dns_subdomain(name),
            Self::Label => names::dns_label(name),
            Self::StrictLabel => names::dns_1035_label(name),
            Self::PathSegment => names::path_segment(name),
        }
    }
}

/// Everything wrong with the metadata of a new object, whose namespace is set already.
pub fn validate(object: &Value, rule: NameRule, namespaced: bool) -> Vec<FieldError> {
    let empty = Value::Object(Map::new());
    let meta = object.get("metadata").unwrap_or(&empty);
    let path = FieldPath::new("metadata");
    let mut errors = Vec::new();
    let prefix = text(meta, "generateName");
    if !prefix.is_empty() {
        let base = names::generate_name_base(prefix);
        for wrong in rule.errors(&base) {
            errors.push(FieldError::invalid(
                path.child("generateName"),
                prefix,
                wrong,
            ));
        }
    }
    let name = text(meta, "name");
    if name.is_empty() {
        errors.push(FieldError::required(
            path.child("name"),
            "name or generateName is required",
        ));
    } else {
        for wrong in rule.errors(name) {
            errors.push(FieldError::invalid(path.child("name"), name, wrong));
        }
    }
    let namespace = text(meta, "namespace");
    let at = path.child("namespace");
    match (namespaced, namespace.is_empty()) {
        (true, true) => errors.push(FieldError::required(at, "")),
        (true, false) => {
            for wrong in names::dns_label(namespace) {
                errors.push(FieldError::invalid(at.clone(), namespace, wrong));
            }
        }
        (false, false) => errors.push(FieldError::forbidden(at, "not allowed on this type")),
        (false, true) => {}
    }
    errors.extend(common(meta, &path));
    errors
}

/// What holds for the metadata of every object, new, changed or embedded.
pub fn common(meta: &Value, path: &FieldPath) -> Vec<FieldError> {
    let mut errors = Vec::new();
    if meta
        .get("generation")
        .and_then(Value::as_i64)
        .is_some_and(|generation| generation < 0)
    {
        errors.push(FieldError::invalid(
            path.child("generation"),
            meta["generation"].clone(),
            "must be greater than or equal to 0",
        ));
    }
    errors.extend(labels(meta.get("labels"), &path.child("labels")));
    annotations(meta, &path.child("annotations"), &mut errors);
    owners(meta, &path.child("ownerReferences"), &mut errors);
    finalizers(meta, &path.child("finalizers"), &mut errors);
    errors
}

/// Everything wrong with a map of labels.
pub fn labels(labels: Option<&Value>, path: &FieldPath) -> Vec<FieldError> {
    let mut errors = Vec::new();
    for (key, value) in labels.and_then(Value::as_object).into_iter().flatten() {
        for wrong in names::qualified_name(key) {
            errors.push(FieldError::invalid(path, key.as_str(), wrong));
        }
        let value = value.as_str().unwrap_or_default();
        for wrong in names::label_value(value) {
            errors.push(FieldError::invalid(path, value, wrong));
        }
    }
    errors
}

fn annotations(meta: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let annotations = meta.get("annotations").and_then(Value::as_object);
    let mut bytes = 0;
    for (key, value) in annotations.into_iter().flatten() {
        // Upper case prefixes were once allowed, and stay so.
        for wrong in names::qualified_name(&key.to_lowercase()) {
            errors.push(FieldError::invalid(path, key.as_str(), wrong));
        }
        bytes += key.len() + value.as_str().map_or(0, str::len);
    }
    if bytes > MAX_ANNOTATION_BYTES {
        errors.push(FieldError::too_long(path, MAX_ANNOTATION_BYTES as u64));
    }
}

fn owners(meta: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let mut controller: Option<&Value> = None;
    for owner in list(meta, "ownerReferences") {
        let (version, kind) = (text(owner, "apiVersion"), text(owner, "kind"));
        if version.is_empty() {
            errors.push(FieldError::invalid(
                path.child("apiVersion"),
                version,
                "version must not be empty",
            ));
        }
        for field in ["kind", "name", "uid"] {
            let value = text(owner, field);
            if value.is_empty() {
                errors.push(FieldError::invalid(
                    path.child(field),
                    value,
                    "must not be empty",
                ));
            }
        }
        if version == "v1" && kind == "Event" {
            errors.push(FieldError::invalid(
                path,
                owner.clone(),
                "/v1, Kind=Event is disallowed from being an owner",
            ));
        }
        if owner.get("controller") != Some(&Value::Bool(true)) {
            continue;
        }
        if let Some(first) = controller {
            let named = |owner: &Value| format!("{}/{}", text(owner, "kind"), text(owner, "name"));
            let detail = format!(
                "Only one reference can have Controller set to true. Found \"true\" in references for {} and {}",
                named(first),
                named(owner)
            );
            errors.push(FieldError::invalid(
                path,
                meta["ownerReferences"].clone(),
                detail,
            ));
        } else {
            controller = Some(owner);
        }
    }
}

fn finalizers(meta: &Value, path: &FieldPath, errors: &mut Vec<FieldError>) {
    let all: Vec<&str> = list(meta, "finalizers")
        .iter()
        .filter_map(Value::as_str)
        .collect();
    for (index, finalizer) in all.iter().enumerate() {
        let at = path.index(index);
        for wrong in names::qualified_name(finalizer) {
            errors.push(FieldError::invalid(&at, *finalizer, wrong));
        }
        let standard = ["foregroundDeletion", "kubernetes", "orphan"].contains(finalizer);
        if !finalizer.contains('/') && !standard {
            errors.push(FieldError::invalid(
                at,
                *finalizer,
                "name is neither a standard finalizer name nor is it fully qualified",
            ));
        }
    }
    if all.contains(&"orphan") && all.contains(&"foregroundDeletion") {
        errors.push(FieldError::invalid(
            path,
            meta["finalizers"].clone(),
            "finalizer orphan and foregroundDeletion cannot be both set",
        ));
    }
}

/// Everything wrong with changing the metadata of `old` to that of `new`.
///
/// The API server checks this both for all kinds and for each kind, and its causes say everything
/// twice; so does this.
pub fn validate_update(new: &Value, old: &Value) -> Vec<FieldError> {
    let mut errors = update_once(new, old);
    errors.extend(errors.clone());
    let empty = Value::Object(Map::new());
    let meta = new.get("metadata").unwrap_or(&empty);
    errors.extend(common(meta, &FieldPath::new("metadata")));
    errors
}

fn update_once(new: &Value, old: &Value) -> Vec<FieldError> {
    let path = FieldPath::new("metadata");
    let field = |object: &Value, name: &str| -> Value {
        let meta = object.get("metadata");
        meta.and_then(|meta| meta.get(name))
            .cloned()
            .unwrap_or_default()
    };
    let mut errors = Vec::new();
    if !field(old, "deletionTimestamp").is_null() {
        new_finalizers(new, old, &mut errors);
    }
    let generation = |object: &Value| field(object, "generation").as_i64().unwrap_or_default();
    if generation(new) < generation(old) {
        errors.push(FieldError::invalid(
            path.child("generation"),
            generation(new),
            "must not be decremented",
        ));
    }
    let fixed = [
        "name",
        "namespace",
        "uid",
        "creationTimestamp",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ];
    for name in fixed {
        let (before, after) = (field(old, name), field(new, name));
        if before != after {
            errors.push(FieldError::invalid(
                path.child(name),
                after,
                "field is immutable",
            ));
        }
    }
    errors
}

fn new_finalizers(new: &Value, old: &Value, errors: &mut Vec<FieldError>) {
    let finalizers = |object: &Value| -> Vec<String> {
        let meta = object.get("metadata").unwrap_or(&Value::Null);
        list(meta, "finalizers")
            .iter()
            .filter_map(|finalizer| finalizer.as_str().map(crate::validate::go_quote))
            .collect()
    };
    let before = finalizers(old);
    let added: Vec<String> = finalizers(new)
        .into_iter()
        .filter(|finalizer| !before.contains(finalizer))
        .collect();
    if !added.is_empty() {
        let detail = format!(
            "no new finalizers can be added if the object is being deleted, found new finalizers []string{{{}}}",
            added.join(", ")
        );
        errors.push(FieldError::forbidden("metadata.finalizers", detail));
    }
}
