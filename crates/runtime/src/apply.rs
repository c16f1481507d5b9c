//! Writing objects, and not writing them when nothing changes.

use kube::Api;
use kube::Client;
use kube::Resource;
use kube::ResourceExt;
use kube::api::ApiResource;
use kube::api::DynamicObject;
use kube::api::Patch;
use kube::api::PatchParams;
use kube::core::GroupVersionKind;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use std::fmt::Debug;

/// What [`ensure`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The object did not exist.
    Created,
    /// The object differed.
    Updated,
    /// The object was as wanted; nothing was written.
    Unchanged,
}

/// Why an object could not be ensured.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The wanted object lacks `apiVersion`, `kind` or `metadata.name`: a fault of the program.
    #[error("the object to apply lacks {0}")]
    Incomplete(&'static str),
    /// The API server refused or could not be reached.
    #[error("applied {kind} {name}: {trouble}")]
    Refused {
        /// The object's kind.
        kind: String,
        /// The object's name, with its namespace before a slash if it has one.
        name: String,
        /// What happened.
        trouble: crate::Trouble,
    },
}

/// Where an object lives: its type, name and namespace.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Address {
    /// Type, with the plural guessed from the kind as Kubernetes itself names its kinds.
    pub resource: ApiResource,
    /// `metadata.name`.
    pub name: String,
    /// `metadata.namespace`; none for cluster-scoped kinds.
    pub namespace: Option<String>,
}

impl Address {
    /// Reads the address out of an object.
    pub fn of(object: &Value) -> Result<Self, ApplyError> {
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str);
        let api_version = text("/apiVersion").ok_or(ApplyError::Incomplete("apiVersion"))?;
        let kind = text("/kind").ok_or(ApplyError::Incomplete("kind"))?;
        let name = text("/metadata/name").ok_or(ApplyError::Incomplete("metadata.name"))?;
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        Ok(Self {
            resource: ApiResource::from_gvk(&GroupVersionKind::gvk(group, version, kind)),
            name: name.to_owned(),
            namespace: text("/metadata/namespace").map(str::to_owned),
        })
    }

    /// The client for objects of this type and namespace.
    pub fn api(&self, client: &Client) -> Api<DynamicObject> {
        match &self.namespace {
            Some(namespace) => Api::namespaced_with(client.clone(), namespace, &self.resource),
            None => Api::all_with(client.clone(), &self.resource),
        }
    }

    fn refused(&self, error: &kube::Error) -> ApplyError {
        ApplyError::Refused {
            kind: self.resource.kind.clone(),
            name: match &self.namespace {
                Some(namespace) => format!("{namespace}/{}", self.name),
                None => self.name.clone(),
            },
            trouble: crate::Trouble::of(error),
        }
    }
}

/// Makes the live object hold everything `desired` says, by server-side apply under `manager`,
/// and writes nothing when it does already. Returns the live object as well. What `manager` wrote
/// once and `desired` lacks goes with the next write.
///
/// Values must be given as the server stores them (a quantity `500m`, not `0.5`), or every call
/// writes.
pub async fn ensure(
    client: &Client,
    manager: &str,
    desired: &Value,
) -> Result<(Outcome, DynamicObject), ApplyError> {
    write_unless(client, manager, desired, |_| true).await
}

/// As [`ensure`], for objects whose labels `manager` alone decides about: one that it wrote once
/// and that `desired` lacks is taken off at once.
pub async fn ensure_with_labels(
    client: &Client,
    manager: &str,
    desired: &Value,
) -> Result<(Outcome, DynamicObject), ApplyError> {
    let stands = |live: &DynamicObject| !has_former_label(live, manager, desired);
    write_unless(client, manager, desired, stands).await
}

/// Applies `desired` unless the live object holds it and `stands`.
async fn write_unless(
    client: &Client,
    manager: &str,
    desired: &Value,
    stands: impl Fn(&DynamicObject) -> bool,
) -> Result<(Outcome, DynamicObject), ApplyError> {
    let address = Address::of(desired)?;
    let api = address.api(client);
    let live = api
        .get_opt(&address.name)
        .await
        .map_err(|error| address.refused(&error))?;
    let outcome = match live {
        None => Outcome::Created,
        Some(live) => {
            let value = serde_json::to_value(&live).unwrap_or_default();
            if covers(&value, desired) && stands(&live) {
                return Ok((Outcome::Unchanged, live));
            }
            Outcome::Updated
        }
    };
    let parameters = PatchParams::apply(manager).force();
    let live = api
        .patch(&address.name, &parameters, &Patch::Apply(desired))
        .await
        .map_err(|error| address.refused(&error))?;
    Ok((outcome, live))
}

/// Whether an object carries a label that `manager` applied and does not want any more.
fn has_former_label(live: &DynamicObject, manager: &str, desired: &Value) -> bool {
    let entries = live.metadata.managed_fields.iter().flatten();
    let mut ours = entries.filter(|entry| entry.manager.as_deref() == Some(manager));
    ours.any(|entry| {
        let fields = entry.fields_v1.as_ref().map(|fields| &fields.0);
        let labels = fields.and_then(|fields| fields.pointer("/f:metadata/f:labels"));
        let labels = labels.and_then(Value::as_object).into_iter().flatten();
        let mut keys = labels.filter_map(|(field, _)| field.strip_prefix("f:"));
        keys.any(|key| desired["metadata"]["labels"].get(key).is_none())
    })
}

/// Deletes the object at `address`; one that does not exist is success.
pub async fn ensure_absent(client: &Client, address: &Address) -> Result<(), ApplyError> {
    match address
        .api(client)
        .delete(&address.name, &Default::default())
        .await
    {
        Ok(_) => Ok(()),
        Err(error) if crate::Trouble::of(&error).is_not_found() => Ok(()),
        Err(error) => Err(address.refused(&error)),
    }
}

/// Whether `live` holds everything `desired` says: each field of an object, each element of a
/// list in order. What `desired` leaves empty, `live` may lack.
pub fn covers(live: &Value, desired: &Value) -> bool {
    match (live, desired) {
        (Value::Object(live), Value::Object(desired)) => {
            desired.iter().all(|(key, wanted)| match live.get(key) {
                Some(value) => covers(value, wanted),
                None => is_empty(wanted),
            })
        }
        (Value::Array(live), Value::Array(desired)) => {
            live.len() == desired.len() && live.iter().zip(desired).all(|(a, b)| covers(a, b))
        }
        (live, desired) => live == desired,
    }
}

/// Whether a value says nothing: `null`, an empty list, or an object of such values.
pub fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Object(fields) => fields.values().all(is_empty),
        Value::Array(items) => items.is_empty(),
        _ => false,
    }
}

/// A JSON merge patch that the server refuses with 409 unless the object is still the one that
/// was read: `changes` plus `metadata.uid` and `metadata.resourceVersion`.
pub fn guarded_patch(current: &impl ResourceExt, changes: Value) -> Value {
    let mut patch = match changes {
        Value::Object(fields) => fields,
        _ => Map::new(),
    };
    let metadata = patch.entry("metadata").or_insert_with(|| json!({}));
    if let Value::Object(metadata) = metadata {
        metadata.insert("uid".to_owned(), json!(current.meta().uid));
        metadata.insert(
            "resourceVersion".to_owned(),
            json!(current.meta().resource_version),
        );
    }
    Value::Object(patch)
}

/// Sends a [`guarded_patch`] to the object itself.
///
/// # Errors
///
/// Those of the API server; 409 when the object changed since `current` was read.
pub async fn patch<K>(api: &Api<K>, current: &K, changes: Value) -> kube::Result<K>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let body = guarded_patch(current, changes);
    api.patch(
        &current.name_any(),
        &PatchParams::default(),
        &Patch::Merge(body),
    )
    .await
}

/// Sends `{"status": status}` as a [`guarded_patch`] to the object's `/status`.
///
/// # Errors
///
/// Those of the API server; 409 when the object changed since `current` was read.
pub async fn patch_status<K>(api: &Api<K>, current: &K, status: impl Serialize) -> kube::Result<K>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let body = guarded_patch(current, json!({ "status": status }));
    api.patch_status(
        &current.name_any(),
        &PatchParams::default(),
        &Patch::Merge(body),
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    #[test]
    fn what_the_server_adds_is_no_difference() {
        let desired = json!({"spec": {"replicas": 1, "list": [{"name": "a"}], "selector": {}}});
        let live = json!({"spec": {"replicas": 1, "list": [{"name": "a", "protocol": "TCP"}], "x": 1}, "status": {}});
        assert!(covers(&live, &desired));
    }

    #[test]
    fn differences_are_seen_at_every_depth() {
        let live = json!({"a": {"b": [1, 2]}, "c": "x"});
        for desired in [
            json!({"a": {"b": [1]}}),
            json!({"a": {"b": [2, 1]}}),
            json!({"c": "y"}),
            json!({"d": "new"}),
            json!({"a": []}),
        ] {
            assert!(!covers(&live, &desired), "{desired}");
        }
    }

    #[test]
    fn a_label_is_former_if_its_writer_wants_it_no_more() {
        let live: DynamicObject = serde_json::from_value(json!({
            "metadata": {"labels": {"a": "1", "b": "2"}, "managedFields": [
                {"manager": "us", "fieldsV1": {"f:metadata": {"f:labels": {".": {}, "f:a": {}}}}},
                {"manager": "them", "fieldsV1": {"f:metadata": {"f:labels": {"f:b": {}}}}},
            ]},
        }))
        .expect("an object");
        let wanting = |labels: Value| json!({"metadata": {"labels": labels}});
        assert!(!has_former_label(&live, "us", &wanting(json!({"a": "3"}))));
        assert!(has_former_label(&live, "us", &wanting(json!({"b": "2"}))));
        assert!(has_former_label(&live, "us", &json!({"metadata": {}})));
        assert!(!has_former_label(&live, "nobody", &json!({})));
    }

    #[test]
    fn an_address_is_read_from_the_object() {
        let object = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole", "metadata": {"name": "r"}});
        let address = Address::of(&object).expect("complete");
        assert_eq!(address.resource.plural, "clusterroles");
        assert_eq!(
            (address.resource.group.as_str(), address.namespace),
            ("rbac.authorization.k8s.io", None)
        );
        let error = Address::of(&json!({"apiVersion": "v1", "kind": "Pod"})).expect_err("no name");
        assert_eq!(error.to_string(), "the object to apply lacks metadata.name");
    }

    #[test]
    fn a_guarded_patch_carries_uid_and_resource_version() {
        let mut object = ConfigMap::default();
        object.metadata.uid = Some("u".into());
        object.metadata.resource_version = Some("7".into());
        let patch = guarded_patch(&object, json!({"metadata": {"finalizers": null}}));
        assert_eq!(
            patch,
            json!({"metadata": {"finalizers": null, "uid": "u", "resourceVersion": "7"}})
        );
    }
}
