//! Admission policies in a whole space, through requests as kubectl sends them.

mod matching;
mod mutating;
mod validating;

use serde_json::Value;
use serde_json::json;

use crate::support::TestSpace;

const CONFIG_MAPS: &str = "/api/v1/namespaces/default/configmaps";
const REGISTRATION: &str = "/apis/admissionregistration.k8s.io/v1";

/// A rule about resources of the core group.
fn rule(operations: &[&str], resources: &[&str]) -> Value {
    json!({"operations": operations, "apiGroups": [""], "apiVersions": ["v1"], "resources": resources})
}

/// `matchConstraints` about creation and update of ConfigMaps.
fn about_config_maps() -> Value {
    json!({"resourceRules": [rule(&["CREATE", "UPDATE"], &["configmaps"])]})
}

/// Creates a policy; `family` is `Validating` or `Mutating`.
async fn policy(space: &TestSpace, family: &str, name: &str, spec: Value) {
    let kind = format!("{family}AdmissionPolicy");
    let object = object(&kind, name, spec);
    let resource = format!("{}admissionpolicies", family.to_lowercase());
    let path = format!("{REGISTRATION}/{resource}");
    space.must("POST", &path, Some(&object)).await;
}

/// Creates a binding of the policy of the same name.
async fn binding(space: &TestSpace, family: &str, name: &str, mut spec: Value) {
    spec["policyName"] = name.into();
    let kind = format!("{family}AdmissionPolicyBinding");
    let object = object(&kind, name, spec);
    let resource = format!("{}admissionpolicybindings", family.to_lowercase());
    let path = format!("{REGISTRATION}/{resource}");
    space.must("POST", &path, Some(&object)).await;
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({
        "apiVersion": "admissionregistration.k8s.io/v1", "kind": kind,
        "metadata": {"name": name}, "spec": spec,
    })
}

/// Puts a validating policy into force.
async fn deny(space: &TestSpace, name: &str, spec: Value) {
    policy(space, "Validating", name, spec).await;
    let actions = json!({"validationActions": ["Deny"]});
    binding(space, "Validating", name, actions).await;
}

fn config_map(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

/// The code with which the administrator's creation of a ConfigMap is answered.
async fn created(space: &TestSpace, name: &str, data: Value) -> u16 {
    let object = config_map(name, data);
    space.admin("POST", CONFIG_MAPS, Some(&object)).await.code
}
