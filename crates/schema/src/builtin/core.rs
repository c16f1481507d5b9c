//! Validation of the core group's kinds other than pods and services.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::Value;

use super::checks::all_invalid;
use super::checks::not_negative;
use super::checks::one_of;
use super::checks::unchanged;
use super::object::at;
use super::object::flag;
use super::object::integer;
use super::object::list;
use super::object::text;
use crate::validate::FieldError;
use crate::validate::FieldPath;
use crate::validate::names;

/// How large the values of one ConfigMap or Secret may be together, as upstream limits it.
const MAX_DATA_BYTES: usize = 1024 * 1024;

const IMMUTABLE: &str = "field is immutable when `immutable` is set";

fn entries<'a>(object: &'a Value, field: &str) -> impl Iterator<Item = (&'a String, &'a str)> {
    object
        .get(field)
        .and_then(Value::as_object)
        .into_iter()
        .flatten()
        .map(|(key, value)| (key, value.as_str().unwrap_or_default()))
}

/// Length of decoded base64, near enough for a limit.
fn decoded_bytes(text: &str) -> usize {
    text.len() / 4 * 3
}

fn frozen(new: &Value, old: &Value, fields: &[&str], errors: &mut Vec<FieldError>) {
    if !flag(old, "immutable") {
        return;
    }
    if !flag(new, "immutable") {
        errors.push(FieldError::forbidden("immutable", IMMUTABLE));
    }
    for field in fields {
        if at(new, field) != at(old, field) {
            errors.push(FieldError::forbidden(*field, IMMUTABLE));
        }
    }
}

pub(super) fn config_map(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    if let Some(old) = old {
        frozen(new, old, &["data", "binaryData"], errors);
    }
    let mut bytes = 0;
    for (key, value) in entries(new, "data") {
        let path = FieldPath::new("data").key(key);
        all_invalid(names::config_key(key), key, &path, errors);
        if at(new, "binaryData").get(key).is_some() {
            let detail = "duplicate of key present in binaryData";
            errors.push(FieldError::invalid(path, key.as_str(), detail));
        }
        bytes += value.len();
    }
    for (key, value) in entries(new, "binaryData") {
        let path = FieldPath::new("binaryData").key(key);
        all_invalid(names::config_key(key), key, &path, errors);
        bytes += decoded_bytes(value);
    }
    if bytes > MAX_DATA_BYTES {
        // The server writes the path of the object itself as an empty list here.
        errors.push(FieldError::too_long("[]", MAX_DATA_BYTES as u64));
    }
}

pub(super) fn secret(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let root = FieldPath::root();
    if let Some(old) = old {
        unchanged(new, old, "type", &root, errors);
        frozen(new, old, &["data"], errors);
    }
    let mut bytes = 0;
    for (key, value) in entries(new, "data") {
        let path = FieldPath::new("data").key(key);
        all_invalid(names::config_key(key), key, &path, errors);
        bytes += decoded_bytes(value);
    }
    if bytes > MAX_DATA_BYTES {
        errors.push(FieldError::too_long("data", MAX_DATA_BYTES as u64));
    }
    let data = at(new, "data");
    let mut needed = |keys: &[&str]| {
        for key in keys.iter().filter(|key| data.get(**key).is_none()) {
            errors.push(FieldError::required(FieldPath::new("data").key(key), ""));
        }
    };
    match text(new, "type") {
        "kubernetes.io/tls" => needed(&["tls.crt", "tls.key"]),
        "kubernetes.io/ssh-auth" => needed(&["ssh-privatekey"]),
        "kubernetes.io/basic-auth"
            if data.get("username").is_none() && data.get("password").is_none() =>
        {
            needed(&["username", "password"]);
        }
        "kubernetes.io/dockercfg" => registry_login(data, ".dockercfg", errors),
        "kubernetes.io/dockerconfigjson" => registry_login(data, ".dockerconfigjson", errors),
        "kubernetes.io/service-account-token" => {
            const OWNER: &str = "kubernetes.io/service-account.name";
            let annotations = at(at(new, "metadata"), "annotations");
            if text(annotations, OWNER).is_empty() {
                let path = FieldPath::new("metadata.annotations").key(OWNER);
                errors.push(FieldError::required(path, ""));
            }
        }
        _ => {}
    }
}

fn registry_login(data: &Value, key: &str, errors: &mut Vec<FieldError>) {
    let path = FieldPath::new("data").key(key);
    let Some(content) = data.get(key).and_then(Value::as_str) else {
        errors.push(FieldError::required(path, ""));
        return;
    };
    let json = STANDARD.decode(content).unwrap_or_default();
    if let Err(error) = crate::parse::json(&json) {
        errors.push(FieldError::invalid(
            path,
            "<secret contents redacted>",
            error.to_string(),
        ));
    }
}

pub(super) fn namespace(new: &Value, errors: &mut Vec<FieldError>) {
    let path = FieldPath::new("spec.finalizers");
    for finalizer in list(at(new, "spec"), "finalizers") {
        let name = finalizer.as_str().unwrap_or_default();
        all_invalid(names::qualified_name(name), name, &path, errors);
        if !name.contains('/') && name != "kubernetes" {
            let detail = "name is neither a standard finalizer name nor is it fully qualified";
            errors.push(FieldError::invalid(&path, name, detail));
        }
    }
}

pub(super) fn lease(new: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(new, "spec");
    let path = FieldPath::new("spec");
    if let Some(seconds) = integer(spec, "leaseDurationSeconds").filter(|seconds| *seconds <= 0) {
        errors.push(FieldError::invalid(
            path.child("leaseDurationSeconds"),
            seconds,
            "must be greater than 0",
        ));
    }
    not_negative(spec, "leaseTransitions", &path, errors);
}

pub(super) fn claim(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    let spec = at(new, "spec");
    let path = FieldPath::new("spec");
    if list(spec, "accessModes").is_empty() {
        errors.push(FieldError::required(
            path.child("accessModes"),
            "at least 1 access mode is required",
        ));
    }
    for (index, mode) in list(spec, "accessModes").iter().enumerate() {
        const MODES: [&str; 4] = [
            "ReadOnlyMany",
            "ReadWriteMany",
            "ReadWriteOnce",
            "ReadWriteOncePod",
        ];
        if !MODES.contains(&mode.as_str().unwrap_or_default()) {
            let path = path.child("accessModes").index(index);
            errors.push(FieldError::not_supported(path, mode.clone(), &MODES));
        }
    }
    let requests = at(at(spec, "resources"), "requests");
    if requests.get("storage").is_none() {
        let path = path.child("resources").key("storage");
        errors.push(FieldError::required(path, ""));
    }
    if let Some(old) = old {
        let fixed = |claim: &Value| {
            let mut spec = at(claim, "spec").clone();
            if let Some(spec) = spec.as_object_mut() {
                spec.remove("resources");
                spec.remove("volumeAttributesClassName");
                spec.remove("volumeName");
            }
            spec
        };
        if fixed(new) != fixed(old) {
            errors.push(FieldError::forbidden(
                "spec",
                "spec is immutable after creation except resources.requests and volumeAttributesClassName for bound claims",
            ));
        }
    }
}

pub(super) fn volume(new: &Value, errors: &mut Vec<FieldError>) {
    let spec = at(new, "spec");
    let path = FieldPath::new("spec");
    if list(spec, "accessModes").is_empty() {
        errors.push(FieldError::required(path.child("accessModes"), ""));
    }
    if at(spec, "capacity").get("storage").is_none() {
        errors.push(FieldError::required(path.child("capacity"), ""));
    }
    const POLICIES: [&str; 3] = ["Delete", "Recycle", "Retain"];
    one_of(
        spec,
        "persistentVolumeReclaimPolicy",
        &POLICIES,
        &path,
        errors,
    );
}
