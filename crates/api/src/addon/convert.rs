//! Between `v1alpha1` and `v1beta1`: the same add-ons in other words.
//!
//! | `v1alpha1` | `v1beta1` |
//! |---|---|
//! | ManagedClusterAddOn `spec.installNamespace` | annotation [`names::INSTALL_NAMESPACE`] |
//! | `status.registrations[]` {signerName, subject} | {type, kubeClient or customSigner} |
//! | `status.kubeClientDriver` | `status.registrations[].kubeClient.driver` |
//! | `status.configReferences[]` name, namespace | `desiredConfig` alone |
//! | ClusterManagementAddOn `spec.supportedConfigs[].defaultConfig` | `spec.defaultConfigs[]` |
//! | `status.defaultconfigReferences` | `status.defaultConfigReferences` |
//!
//! AddOnTemplate and AddOnDeploymentConfig are the same in both. What one version has no word for
//! (`spec.addOnConfiguration`, organizational units of a `kubeClient`) does not survive the other,
//! as upstream's conversion drops it too; everything else comes back as it was.
//!
//! Works on JSON and moves the fields it names, so that what it does not know stays.

use super::names;
use crate::names::ADDON_GROUP;
use crate::names::CLIENT_SIGNER;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// Stands in `v1beta1` for a kind of configuration without a default. No object can have the name.
pub const NO_DEFAULT_CONFIG: &str = "__reserved_no_default__";

/// Why an object is not converted.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConvertError {
    /// Not an object of the group in a version known here.
    #[error("cannot convert from apiVersion {0:?}; only v1alpha1 and v1beta1 of {ADDON_GROUP} are")]
    From(String),
    /// Not a version known here.
    #[error("cannot convert to apiVersion {0:?}; only v1alpha1 and v1beta1 of {ADDON_GROUP} are")]
    To(String),
    /// A kind that is not converted.
    #[error("cannot convert the kind {0:?}")]
    Kind(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Version {
    Alpha,
    Beta,
}

fn version(api_version: &str) -> Option<Version> {
    match api_version.split_once('/')? {
        (ADDON_GROUP, "v1alpha1") => Some(Version::Alpha),
        (ADDON_GROUP, "v1beta1") => Some(Version::Beta),
        _ => None,
    }
}

/// The object in another version; itself when it is in that version already.
///
/// # Errors
///
/// Versions and kinds of others.
pub fn convert(mut object: Value, to_api_version: &str) -> Result<Value, ConvertError> {
    let stated = object["apiVersion"].as_str().unwrap_or_default();
    let from = version(stated).ok_or_else(|| ConvertError::From(shorten(stated)))?;
    let to = version(to_api_version).ok_or_else(|| ConvertError::To(shorten(to_api_version)))?;
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if !object.is_object() {
        return Err(ConvertError::Kind(kind));
    }
    object["apiVersion"] = json!(to_api_version);
    match (kind.as_str(), from, to) {
        ("AddOnTemplate" | "AddOnDeploymentConfig", ..) => {}
        ("ManagedClusterAddOn" | "ClusterManagementAddOn", Version::Alpha, Version::Alpha)
        | ("ManagedClusterAddOn" | "ClusterManagementAddOn", Version::Beta, Version::Beta) => {}
        ("ManagedClusterAddOn", Version::Alpha, Version::Beta) => enabled_to_beta(&mut object),
        ("ManagedClusterAddOn", Version::Beta, Version::Alpha) => enabled_to_alpha(&mut object),
        ("ClusterManagementAddOn", Version::Alpha, Version::Beta) => offered_to_beta(&mut object),
        ("ClusterManagementAddOn", Version::Beta, Version::Alpha) => offered_to_alpha(&mut object),
        _ => return Err(ConvertError::Kind(shorten(&kind))),
    }
    Ok(object)
}

/// Texts from outside are echoed short.
fn shorten(text: &str) -> String {
    text.chars().take(64).collect()
}

fn part<'a>(object: &'a mut Value, name: &str) -> Option<&'a mut Map<String, Value>> {
    object.get_mut(name)?.as_object_mut()
}

fn text(map: &Map<String, Value>, key: &str) -> String {
    map.get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// Replaces each item of the list `key`; what is no list stays for validation to refuse.
fn map_list(map: &mut Map<String, Value>, key: &str, change: impl Fn(Value) -> Option<Value>) {
    if let Some(Value::Array(items)) = map.get_mut(key) {
        let old = std::mem::take(items);
        *items = old.into_iter().filter_map(change).collect();
    }
}

fn rename(map: &mut Map<String, Value>, from: &str, to: &str) {
    if let Some(value) = map.remove(from) {
        map.insert(to.to_owned(), value);
    }
}

fn enabled_to_beta(object: &mut Value) {
    let namespace = part(object, "spec").and_then(|spec| spec.remove("installNamespace"));
    if let Some(Value::String(namespace)) = namespace
        && !namespace.is_empty()
        && let Some(metadata) = part(object, "metadata")
    {
        let annotations = metadata.entry("annotations").or_insert_with(|| json!({}));
        if annotations.is_null() {
            *annotations = json!({});
        }
        annotations[names::INSTALL_NAMESPACE] = json!(namespace);
    }
    let Some(status) = part(object, "status") else {
        return;
    };
    status.remove("addOnConfiguration");
    let driver = status.remove("kubeClientDriver");
    map_list(status, "registrations", |item| {
        Some(registration_to_beta(item, driver.as_ref()))
    });
    map_list(status, "configReferences", |item| {
        Some(reference_to_beta(item))
    });
}

fn enabled_to_alpha(object: &mut Value) {
    if let Some(metadata) = part(object, "metadata")
        && let Some(Value::Object(annotations)) = metadata.get_mut("annotations")
    {
        let namespace = annotations.remove(names::INSTALL_NAMESPACE);
        if annotations.is_empty() {
            metadata.remove("annotations");
        }
        if let Some(namespace) = namespace
            && let Some(spec) = part(object, "spec")
        {
            spec.insert("installNamespace".to_owned(), namespace);
        }
    }
    let Some(status) = part(object, "status") else {
        return;
    };
    let registrations = status.get("registrations").and_then(Value::as_array);
    let mut drivers = registrations
        .into_iter()
        .flatten()
        .filter_map(|item| item.pointer("/kubeClient/driver"));
    if let Some(driver) = drivers.next().cloned() {
        status.insert("kubeClientDriver".to_owned(), driver);
    }
    map_list(status, "registrations", registration_to_alpha);
    map_list(status, "configReferences", |item| {
        Some(reference_to_alpha(item))
    });
}

/// The fields of a subject that are set, under the names of the other version.
fn subject(from: &Value, keys: &[(&str, &str)]) -> Value {
    let mut subject = Map::new();
    for (theirs, ours) in keys {
        if let Some(value) = from.get(*theirs) {
            subject.insert((*ours).to_owned(), value.clone());
        }
    }
    Value::Object(subject)
}

fn registration_to_beta(item: Value, driver: Option<&Value>) -> Value {
    let signer = item["signerName"].as_str().unwrap_or_default();
    let old = &item["subject"];
    if signer != CLIENT_SIGNER {
        let keys = [
            ("user", "user"),
            ("groups", "groups"),
            ("organizationUnit", "organizationUnits"),
        ];
        let mut signed = json!({"signerName": signer});
        if old.is_object() {
            signed["subject"] = subject(old, &keys);
        }
        return json!({"type": "customSigner", "customSigner": signed});
    }
    let mut client = json!({});
    if old.is_object() {
        client["subject"] = subject(old, &[("user", "user"), ("groups", "groups")]);
    }
    if let Some(driver) = driver {
        client["driver"] = driver.clone();
    }
    json!({"type": "kubeClient", "kubeClient": client})
}

/// Nothing for a registration whose type and content do not go together.
fn registration_to_alpha(item: Value) -> Option<Value> {
    let (signer, from) = match item["type"].as_str()? {
        "kubeClient" => (json!(CLIENT_SIGNER), item.get("kubeClient")?),
        "customSigner" => {
            let signed = item.get("customSigner")?;
            (signed.get("signerName")?.clone(), signed)
        }
        _ => return None,
    };
    let mut registration = json!({"signerName": signer});
    if let Some(old) = from.get("subject").filter(|old| old.is_object()) {
        let keys = [
            ("user", "user"),
            ("groups", "groups"),
            ("organizationUnits", "organizationUnit"),
        ];
        registration["subject"] = subject(old, &keys);
    }
    Some(registration)
}

fn reference_to_beta(mut item: Value) -> Value {
    let Some(reference) = item.as_object_mut() else {
        return item;
    };
    let name = reference.remove("name");
    let namespace = reference.remove("namespace");
    let known = reference
        .get("desiredConfig")
        .is_some_and(|desired| !desired.is_null());
    if !known && let Some(name) = name {
        let mut desired = json!({"name": name});
        if let Some(namespace) = namespace {
            desired["namespace"] = namespace;
        }
        reference.insert("desiredConfig".to_owned(), desired);
    }
    item
}

fn reference_to_alpha(mut item: Value) -> Value {
    let Some(reference) = item.as_object_mut() else {
        return item;
    };
    for key in ["name", "namespace"] {
        let value = reference
            .get("desiredConfig")
            .and_then(|desired| desired.get(key))
            .cloned();
        if let Some(value) = value {
            reference.insert(key.to_owned(), value);
        }
    }
    item
}

fn offered_to_beta(object: &mut Value) {
    if let Some(spec) = part(object, "spec") {
        spec.remove("addOnConfiguration");
        map_list(spec, "supportedConfigs", |mut item| {
            let config = item.as_object_mut()?;
            let default = config.remove("defaultConfig");
            let default = default.as_ref().and_then(Value::as_object);
            let name = default.map_or_else(
                || NO_DEFAULT_CONFIG.to_owned(),
                |default| text(default, "name"),
            );
            config.insert("name".to_owned(), json!(name));
            if let Some(namespace) = default.and_then(|default| default.get("namespace")) {
                config.insert("namespace".to_owned(), namespace.clone());
            }
            Some(item)
        });
        rename(spec, "supportedConfigs", "defaultConfigs");
    }
    if let Some(status) = part(object, "status") {
        rename(status, "defaultconfigReferences", "defaultConfigReferences");
    }
}

fn offered_to_alpha(object: &mut Value) {
    if let Some(spec) = part(object, "spec") {
        map_list(spec, "defaultConfigs", |mut item| {
            let config = item.as_object_mut()?;
            let name = config.remove("name");
            let namespace = config.remove("namespace");
            let name = name.filter(|name| name != NO_DEFAULT_CONFIG && name != "");
            if let Some(name) = name {
                let mut default = json!({"name": name});
                if let Some(namespace) = namespace {
                    default["namespace"] = namespace;
                }
                config.insert("defaultConfig".to_owned(), default);
            }
            Some(item)
        });
        rename(spec, "defaultConfigs", "supportedConfigs");
    }
    if let Some(status) = part(object, "status") {
        rename(status, "defaultConfigReferences", "defaultconfigReferences");
    }
}

#[cfg(test)]
mod tests;
