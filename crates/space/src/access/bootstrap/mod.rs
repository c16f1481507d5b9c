//! What every space contains before anybody writes to it.
//!
//! At each start the namespaces, roles and bindings are reconciled as upstream does: what is absent
//! is created, rules and subjects that are missing are added, what an owner added stays, and an
//! object whose owner set [`AUTO_UPDATE`] to `false` is left alone. A second start writes nothing.

mod people;
pub mod roles;

use futures::future::BoxFuture;
use futures::future::try_join_all;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use self::roles::CLUSTER_BINDINGS;
use self::roles::CLUSTER_ROLES;
use self::roles::ClusterBinding;
use self::roles::ClusterRole;
use self::roles::LOCAL_ROLES;
use self::roles::LocalRole;
use self::roles::Rule;
use super::rbac::GROUP;
use super::rbac::rule::PolicyRule;
use super::rbac::rule::missing;
use crate::loopback::Loopback;
use crate::names::Gvr;
use crate::status::Status;

/// The namespaces of a fresh space; the first three may not be deleted.
pub const NAMESPACES: [&str; 4] = ["default", "kube-system", "kube-public", "kube-node-lease"];

/// The annotation by which an owner keeps a bootstrap object from being reconciled.
pub const AUTO_UPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";

/// The label on bootstrap roles and bindings.
const BOOTSTRAPPING: (&str, &str) = ("kubernetes.io/bootstrapping", "rbac-defaults");

/// One object that must exist.
#[derive(Debug, Clone, PartialEq)]
struct Wanted {
    resource: Gvr,
    namespace: Option<&'static str>,
    object: Value,
}

/// What to do about one wanted object.
#[derive(Debug, Clone, PartialEq)]
enum Action {
    Nothing,
    Create(Value),
    Update(Value),
}

/// Brings the space to its bootstrap state; `client_ca_pem` certifies its clients. Returns how many
/// objects were written.
///
/// # Errors
/// What the pipeline answers to a write that fails.
pub async fn ensure(space: &Loopback, client_ca_pem: &str) -> Result<usize, Status> {
    let namespaces = NAMESPACES.map(|name| Wanted {
        resource: Gvr::NAMESPACES,
        namespace: None,
        object: json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}}),
    });
    let written = reconcile_all(space, namespaces.to_vec()).await?;
    Ok(written + reconcile_all(space, wanted(client_ca_pem)).await?)
}

/// Writes concurrently, so that the store commits all of them with few fsyncs.
async fn reconcile_all(space: &Loopback, wanted: Vec<Wanted>) -> Result<usize, Status> {
    let writes = wanted
        .into_iter()
        .map(|wanted| -> BoxFuture<'_, Result<usize, Status>> {
            Box::pin(reconcile(space, wanted))
        });
    Ok(try_join_all(writes).await?.into_iter().sum())
}

async fn reconcile(space: &Loopback, wanted: Wanted) -> Result<usize, Status> {
    let name = wanted.object["metadata"]["name"]
        .as_str()
        .unwrap_or_default();
    let present = match space.get(&wanted.resource, wanted.namespace, name) {
        Ok(present) => Some(present),
        Err(status) if status.is_not_found() => None,
        Err(status) => return Err(status),
    };
    match decide(present, &wanted.object) {
        Action::Nothing => Ok(0),
        Action::Create(object) => {
            space
                .create(&wanted.resource, wanted.namespace, object)
                .await?;
            Ok(1)
        }
        Action::Update(object) => {
            space
                .update(&wanted.resource, wanted.namespace, object)
                .await?;
            Ok(1)
        }
    }
}

/// Compares what is with what must be.
fn decide(present: Option<Value>, wanted: &Value) -> Action {
    let Some(present) = present else {
        return Action::Create(wanted.clone());
    };
    if present["metadata"]["annotations"][AUTO_UPDATE] == "false" {
        return Action::Nothing;
    }
    let mut merged = present.clone();
    for field in ["labels", "annotations"] {
        add_absent(&mut merged["metadata"], field, &wanted["metadata"][field]);
    }
    add_absent(&mut merged, "data", &wanted["data"]);
    if let Some(data) = wanted["data"].as_object() {
        for (key, value) in data {
            merged["data"][key.as_str()] = value.clone();
        }
    }
    // The rules of an aggregated role are the aggregation controller's.
    if wanted["aggregationRule"].is_object() {
        merged["aggregationRule"] = wanted["aggregationRule"].clone();
    } else if let Some(rules) = wanted["rules"].as_array() {
        let held = PolicyRule::list_from_json(&present["rules"]);
        let lacking: Vec<Value> = rules
            .iter()
            .filter(|rule| !missing(&held, &[PolicyRule::from_json(rule)]).is_empty())
            .cloned()
            .collect();
        append(&mut merged, "rules", lacking);
    }
    if let Some(subjects) = wanted["subjects"].as_array() {
        let same = |a: &Value, b: &Value| a["kind"] == b["kind"] && a["name"] == b["name"];
        let held = present["subjects"].as_array().cloned().unwrap_or_default();
        let lacking: Vec<Value> = subjects
            .iter()
            .filter(|subject| !held.iter().any(|other| same(other, subject)))
            .cloned()
            .collect();
        append(&mut merged, "subjects", lacking);
    }
    if merged == present {
        Action::Nothing
    } else {
        Action::Update(merged)
    }
}

/// Adds the entries of a string map that are not there yet.
fn add_absent(object: &mut Value, field: &str, wanted: &Value) {
    let Some(wanted) = wanted.as_object().filter(|wanted| !wanted.is_empty()) else {
        return;
    };
    if !object[field].is_object() {
        object[field] = Value::Object(Map::new());
    }
    for (key, value) in wanted {
        if object[field].get(key).is_none() {
            object[field][key.as_str()] = value.clone();
        }
    }
}

fn append(object: &mut Value, field: &str, items: Vec<Value>) {
    if items.is_empty() {
        return;
    }
    match object[field].as_array_mut() {
        Some(list) => list.extend(items),
        None => object[field] = items.into(),
    }
}

fn wanted(client_ca_pem: &str) -> Vec<Wanted> {
    let mut wanted: Vec<Wanted> = Vec::new();
    wanted.extend(CLUSTER_ROLES.iter().map(cluster_role));
    wanted.extend(CLUSTER_BINDINGS.iter().map(cluster_binding));
    wanted.extend(LOCAL_ROLES.iter().flat_map(local_role));
    wanted.push(Wanted {
        resource: Gvr::CONFIG_MAPS,
        namespace: Some("kube-system"),
        object: json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "extension-apiserver-authentication", "namespace": "kube-system"},
            "data": {"client-ca-file": client_ca_pem},
        }),
    });
    wanted
}

fn metadata(name: &str) -> Value {
    json!({
        "name": name,
        "labels": {BOOTSTRAPPING.0: BOOTSTRAPPING.1},
        "annotations": {AUTO_UPDATE: "true"},
    })
}

fn aggregation_label(target: &str) -> String {
    format!("{GROUP}/{target}")
}

fn cluster_role(role: &ClusterRole) -> Wanted {
    let mut object = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": metadata(role.name), "rules": rules(role.rules),
    });
    if !role.aggregated_to.is_empty() {
        let label = aggregation_label(&format!("aggregate-to-{}", role.aggregated_to));
        object["metadata"]["labels"][label] = "true".into();
    }
    if !role.aggregates.is_empty() {
        let label = aggregation_label(role.aggregates);
        object["aggregationRule"] =
            json!({"clusterRoleSelectors": [{"matchLabels": {label: "true"}}]});
    }
    Wanted {
        resource: Gvr::CLUSTER_ROLES,
        namespace: None,
        object,
    }
}

fn cluster_binding(binding: &ClusterBinding) -> Wanted {
    let subjects: Vec<Value> = binding
        .groups
        .iter()
        .map(|group| json!({"apiGroup": GROUP, "kind": "Group", "name": group}))
        .collect();
    Wanted {
        resource: Gvr::CLUSTER_ROLE_BINDINGS,
        namespace: None,
        object: json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
            "metadata": metadata(binding.name),
            "roleRef": {"apiGroup": GROUP, "kind": "ClusterRole", "name": binding.name},
            "subjects": subjects,
        }),
    }
}

fn local_role(role: &LocalRole) -> [Wanted; 2] {
    let subjects: Vec<Value> = role
        .users
        .iter()
        .map(|user| json!({"apiGroup": GROUP, "kind": "User", "name": user}))
        .collect();
    let in_namespace = |name: &str| {
        let mut meta = metadata(name);
        meta["namespace"] = role.namespace.into();
        meta
    };
    [
        Wanted {
            resource: Gvr::ROLES,
            namespace: Some(role.namespace),
            object: json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": in_namespace(role.name), "rules": rules(role.rules),
            }),
        },
        Wanted {
            resource: Gvr::ROLE_BINDINGS,
            namespace: Some(role.namespace),
            object: json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "RoleBinding",
                "metadata": in_namespace(role.binding),
                "roleRef": {"apiGroup": GROUP, "kind": "Role", "name": role.name},
                "subjects": subjects,
            }),
        },
    ]
}

fn rules(rules: &[Rule]) -> Vec<Value> {
    let own = |list: &[&str]| list.iter().map(|item| (*item).to_owned()).collect();
    rules
        .iter()
        .map(|rule| {
            PolicyRule {
                verbs: own(rule.verbs),
                api_groups: own(rule.groups),
                resources: own(rule.resources),
                resource_names: own(rule.names),
                non_resource_urls: own(rule.urls),
            }
            .to_json()
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discovery() -> Value {
        let role = CLUSTER_ROLES
            .iter()
            .find(|role| role.name == "system:discovery")
            .unwrap();
        cluster_role(role).object
    }

    #[test]
    fn what_is_absent_is_created_and_what_is_there_is_left() {
        let wanted = discovery();
        assert_eq!(decide(None, &wanted), Action::Create(wanted.clone()));
        assert_eq!(decide(Some(wanted.clone()), &wanted), Action::Nothing);
    }

    #[test]
    fn missing_rules_are_added_and_foreign_ones_kept() {
        let wanted = discovery();
        let mut present = wanted.clone();
        let foreign = json!({"verbs": ["get"], "nonResourceURLs": ["/mine"]});
        present["rules"] = json!([foreign]);
        let Action::Update(merged) = decide(Some(present.clone()), &wanted) else {
            panic!("rules are missing");
        };
        assert_eq!(merged["rules"].as_array().unwrap().len(), 3);
        assert_eq!(merged["rules"][0], foreign);
        present["metadata"]["annotations"][AUTO_UPDATE] = "false".into();
        assert_eq!(decide(Some(present), &wanted), Action::Nothing);
    }

    #[test]
    fn missing_subjects_are_added() {
        let wanted = cluster_binding(&CLUSTER_BINDINGS[4]).object;
        let mut present = wanted.clone();
        present["subjects"] = json!([wanted["subjects"][1]]);
        let Action::Update(merged) = decide(Some(present), &wanted) else {
            panic!("a subject is missing");
        };
        assert_eq!(merged["subjects"].as_array().unwrap().len(), 2);
    }

    #[test]
    fn every_binding_names_a_role_that_exists() {
        for binding in CLUSTER_BINDINGS {
            assert!(
                CLUSTER_ROLES.iter().any(|role| role.name == binding.name),
                "{}",
                binding.name
            );
        }
    }
}
