//! Discovery: which groups, versions and resources there are, in the old and the aggregated form.

use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use hyades_schema::kinds;
use serde_json::Value;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;

use crate::names;
use crate::registry::Registry;
use crate::registry::Resource;
use crate::registry::Subresource;

/// A group with its versions, the preferred one first.
struct Group {
    name: String,
    versions: Vec<String>,
}

/// The groups in the order in which they are published: built-in ones, then custom ones by name.
fn published(registry: &Registry) -> Vec<Group> {
    let mut groups: Vec<Group> = kinds::GROUPS
        .iter()
        .map(|group| Group {
            name: group.name.to_owned(),
            versions: group.versions.iter().map(ToString::to_string).collect(),
        })
        .collect();
    let mut custom: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for gvr in registry.custom().resources.keys() {
        let versions = custom.entry(gvr.group.to_string()).or_default();
        if !versions.iter().any(|version| *version == gvr.version) {
            versions.push(gvr.version.to_string());
        }
    }
    for (name, mut versions) in custom {
        versions.sort_by_key(|version| priority(version));
        match groups.iter_mut().find(|group| group.name == name) {
            Some(group) => group.versions.extend(versions),
            None => groups.push(Group { name, versions }),
        }
    }
    groups
}

/// Orders versions as upstream prefers them: `v2`, `v1`, `v1beta1`, `v1alpha1`, then others by name.
fn priority(version: &str) -> (u8, Reverse<u64>, Reverse<u64>, String) {
    let parsed = version.strip_prefix('v').and_then(|rest| {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let major: u64 = rest[..digits].parse().ok()?;
        let (stage, minor) = match &rest[digits..] {
            "" => (0, "0"),
            tail if tail.starts_with("beta") => (1, &tail[4..]),
            tail if tail.starts_with("alpha") => (2, &tail[5..]),
            _ => return None,
        };
        Some((stage, major, minor.parse().ok()?))
    });
    match parsed {
        Some((stage, major, minor)) => (stage, Reverse(major), Reverse(minor), String::new()),
        None => (3, Reverse(0), Reverse(0), version.to_owned()),
    }
}

fn group_value(group: &Group) -> Value {
    let version = |version: &String| json!({"groupVersion": names::api_version(&group.name, version), "version": version});
    json!({
        "name": group.name,
        "versions": group.versions.iter().map(version).collect::<Vec<_>>(),
        "preferredVersion": group.versions.first().map(version),
    })
}

/// `/apis`.
pub(crate) fn groups(registry: &Registry) -> Value {
    let groups: Vec<Value> = published(registry)
        .iter()
        .filter(|group| !group.name.is_empty())
        .map(group_value)
        .collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/GROUP`.
pub(crate) fn group(registry: &Registry, name: &str) -> Option<Value> {
    let groups = published(registry);
    let group = groups.iter().find(|group| group.name == name)?;
    let mut value = group_value(group);
    value["kind"] = "APIGroup".into();
    value["apiVersion"] = "v1".into();
    Some(value)
}

/// The paths at `/`.
pub(crate) fn paths(registry: &Registry) -> Vec<String> {
    let mut paths = vec!["/api".to_owned(), "/api/v1".to_owned(), "/apis".to_owned()];
    for group in published(registry) {
        if group.name.is_empty() {
            continue;
        }
        paths.push(format!("/apis/{}", group.name));
        for version in &group.versions {
            paths.push(format!("/apis/{}/{version}", group.name));
        }
    }
    let others = [
        "/healthz",
        "/livez",
        "/openapi/v3",
        "/openid/v1/jwks",
        "/readyz",
        "/version",
    ];
    paths.extend(others.map(str::to_owned));
    paths
}

/// The resources of a group-version, by name.
pub(crate) fn of_version(registry: &Registry, group: &str, version: &str) -> Vec<Arc<Resource>> {
    let resources = registry.all().into_iter();
    resources
        .filter(|resource| resource.gvr.group == group && resource.gvr.version == version)
        .collect()
}

/// `/api/v1` and `/apis/GROUP/VERSION`.
pub(crate) fn resources(registry: &Registry, group: &str, version: &str) -> Option<Value> {
    let found = of_version(registry, group, version);
    if found.is_empty() {
        return None;
    }
    let mut list = Vec::new();
    for resource in &found {
        list.push(legacy(resource));
        let own = |sub: &Subresource| legacy_subresource(resource, sub);
        list.extend(resource.subresources.iter().map(own));
    }
    Some(json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": names::api_version(group, version), "resources": list,
    }))
}

fn add_names(value: &mut Value, resource: &Resource) {
    if !resource.short_names.is_empty() {
        value["shortNames"] = json!(resource.short_names);
    }
    if !resource.categories.is_empty() {
        value["categories"] = json!(resource.categories);
    }
}

fn legacy(resource: &Resource) -> Value {
    let mut value = json!({
        "name": resource.gvr.resource, "singularName": resource.singular,
        "namespaced": resource.namespaced, "kind": resource.kind, "verbs": resource.verbs,
    });
    add_names(&mut value, resource);
    if resource.allows("get") {
        value["storageVersionHash"] = storage_version_hash(resource).into();
    }
    value
}

/// By this clients notice that objects are stored in another version than before.
fn storage_version_hash(resource: &Resource) -> String {
    let (group, version) = names::split_api_version(&resource.stored_api_version);
    let text = format!("{group}/{version}/{}", resource.kind);
    BASE64_STANDARD.encode(&Sha256::digest(text)[..8])
}

fn legacy_subresource(resource: &Resource, sub: &Subresource) -> Value {
    let mut value = json!({
        "name": format!("{}/{}", resource.gvr.resource, sub.name), "singularName": "",
        "namespaced": resource.namespaced, "kind": sub.kind, "verbs": sub.verbs,
    });
    // Only bodies of another group-version name theirs.
    if sub.group != resource.gvr.group || sub.version != resource.gvr.version {
        value["group"] = sub.group.as_str().into();
        value["version"] = sub.version.as_str().into();
    }
    value
}

fn aggregated_resource(resource: &Resource) -> Value {
    let kind = |group: &str, version: &str, kind: &str| json!({"group": group, "version": version, "kind": kind});
    let scope = if resource.namespaced {
        "Namespaced"
    } else {
        "Cluster"
    };
    let gvr = &resource.gvr;
    // Built-in kinds leave out a group and version that are the document's own, custom ones do not.
    let own = |group: &str, version: &str| {
        !resource.is_custom() && group == gvr.group && version == gvr.version
    };
    let response_kind = |group: &str, version: &str, name: &str| {
        if own(group, version) {
            kind("", "", name)
        } else {
            kind(group, version, name)
        }
    };
    let mut value = json!({
        "resource": gvr.resource,
        "responseKind": response_kind(&gvr.group, &gvr.version, &resource.kind),
        "scope": scope, "singularResource": resource.singular, "verbs": resource.verbs,
    });
    add_names(&mut value, resource);
    if !resource.subresources.is_empty() {
        let subresource = |sub: &Subresource| {
            json!({
                "subresource": sub.name,
                "responseKind": response_kind(&sub.group, &sub.version, &sub.kind),
                "verbs": sub.verbs,
            })
        };
        let subresources: Vec<Value> = resource.subresources.iter().map(subresource).collect();
        value["subresources"] = subresources.into();
    }
    value
}

/// Aggregated discovery of the core group, or of all others.
pub(crate) fn aggregated(registry: &Registry, core_group: bool) -> Value {
    let version = |group: &Group, version: &String| {
        let resources: Vec<Value> = of_version(registry, &group.name, version)
            .iter()
            .map(|resource| aggregated_resource(resource))
            .collect();
        json!({"version": version, "resources": resources, "freshness": "Current"})
    };
    let items: Vec<Value> = published(registry)
        .iter()
        .filter(|group| group.name.is_empty() == core_group)
        .map(|group| {
            let metadata = if core_group {
                json!({})
            } else {
                json!({"name": group.name})
            };
            let versions: Vec<Value> = group.versions.iter().map(|it| version(group, it)).collect();
            json!({"metadata": metadata, "versions": versions})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
        "items": items,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stable_versions_come_before_beta_and_alpha() {
        let mut versions = [
            "v1alpha1", "v1", "v2beta1", "foo", "v2", "v1beta2", "v1beta1",
        ];
        versions.sort_by_key(|version| priority(version));
        assert_eq!(
            versions,
            [
                "v2", "v1", "v2beta1", "v1beta2", "v1beta1", "v1alpha1", "foo"
            ]
        );
    }
}
