//! The hub's rules about what may be written, as admission policies: they are judged by the API
//! server that is written to, a served space or a real cluster, and need no webhook.
//!
//! ```text
//!  ManagedCluster ─▶ clusters: defaults ─▶ name, addresses, acceptance, sets, times of taints
//!       └─ status ─▶ clusters: what belongs to the hub stays
//!  ManagedClusterSetBinding ─▶ bindings: name, right to bind
//!  Placement ─▶ placements: what cannot be followed; warned of, not refused
//!  ManifestWork ─▶ works: manifests, right to the executor; what agents add
//!  ManagedClusterAddOn status ─▶ addons: agents do not choose configurations
//! ```
//!
//! The texts are those of upstream's webhooks, as far as they have the rule. The expressions keep to what Kubernetes 1.30
//! understands; policies that change objects need 1.36, and are left out on older servers.

mod addons;
mod bindings;
mod clusters;
mod expression;
mod placements;
mod works;

use hyades_api::features;
use hyades_api::features::FeatureGates;
use hyades_api::names;
use serde_json::Value;
use serde_json::json;

/// The API version of policies.
const API_VERSION: &str = "admissionregistration.k8s.io/v1";

/// The resources that hold policies and what puts them into force.
pub(crate) const RESOURCES: [&str; 4] = [
    "validatingadmissionpolicies",
    "validatingadmissionpolicybindings",
    "mutatingadmissionpolicies",
    "mutatingadmissionpolicybindings",
];

/// The gate by which works without an executor need a right as well.
const NIL_EXECUTOR_VALIDATING: &str = "NilExecutorValidating";

/// The right to works that name no executor, which the gate asks for.
pub(crate) fn nil_executor_rule() -> Value {
    works::nil_executor_rule()
}

/// The policies and their bindings, in the order of application. The gates are those of
/// registration and of works.
pub(crate) fn objects(registration: &FeatureGates, work: &FeatureGates) -> Vec<Value> {
    let works = works::validation(work.enabled(NIL_EXECUTOR_VALIDATING));
    let validating = [
        (names::policies::CLUSTERS, "Deny", clusters::validation()),
        (names::policies::CLUSTER_STATUS, "Deny", clusters::status()),
        (
            names::policies::SET_BINDINGS,
            "Deny",
            bindings::validation(),
        ),
        (
            names::policies::PLACEMENTS,
            "Warn",
            placements::validation(),
        ),
        (names::policies::WORKS, "Deny", works),
        (names::policies::WORK_METADATA, "Deny", works::of_agents()),
        (names::policies::ADDON_STATUS, "Deny", addons::status()),
    ];
    let mut objects = Vec::new();
    for (name, action, spec) in validating {
        let binding = json!({"policyName": name, "validationActions": [action]});
        objects.push(object("ValidatingAdmissionPolicy", name, spec));
        objects.push(object("ValidatingAdmissionPolicyBinding", name, binding));
    }
    let name = names::policies::CLUSTER_DEFAULTS;
    let defaults = clusters::defaults(registration.enabled(features::DEFAULT_CLUSTER_SET));
    objects.push(object("MutatingAdmissionPolicy", name, defaults));
    let binding = json!({"policyName": name});
    objects.push(object("MutatingAdmissionPolicyBinding", name, binding));
    objects
}

/// The addresses of the policies, bindings first, as they are removed.
pub(crate) fn addresses() -> Vec<Value> {
    let gates = FeatureGates::defaults(&[]);
    let mut all = objects(&gates, &gates);
    for object in &mut all {
        let fields = object.as_object_mut();
        fields.and_then(|fields| fields.remove("spec"));
    }
    all.sort_by_key(|object| !is_binding(object));
    all
}

fn is_binding(object: &Value) -> bool {
    let kind = object["kind"].as_str().unwrap_or_default();
    kind.ends_with("Binding")
}

/// Whether a server that does not serve the object's kind can do without it: the hub sets what a
/// mutating policy would have set.
pub(crate) fn is_dispensable(object: &Value) -> bool {
    let kind = object["kind"].as_str().unwrap_or_default();
    object["apiVersion"] == API_VERSION && kind.starts_with("Mutating")
}

fn object(kind: &str, name: &str, spec: Value) -> Value {
    json!({"apiVersion": API_VERSION, "kind": kind, "metadata": {"name": name}, "spec": spec})
}

/// `matchConstraints` about some operations on one resource, in whatever version.
fn about(operations: &[&str], group: &str, resource: &str) -> Value {
    json!({"resourceRules": [{
        "operations": operations,
        "apiGroups": [group],
        "apiVersions": ["*"],
        "resources": [resource],
    }]})
}

/// A variable.
fn variable(name: &str, expression: &str) -> Value {
    json!({"name": name, "expression": expression})
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_api::features::Family;

    #[test]
    fn every_policy_is_bound_and_bindings_go_first() {
        let gates = FeatureGates::defaults(&[Family::HubRegistration, Family::HubWork]);
        let objects = objects(&gates, &gates);
        let (bindings, policies): (Vec<_>, Vec<_>) = objects.iter().partition(|o| is_binding(o));
        assert_eq!(policies.len(), 8);
        for policy in policies {
            let name = &policy["metadata"]["name"];
            let bound = |binding: &&&Value| binding["spec"]["policyName"] == *name;
            assert_eq!(bindings.iter().filter(bound).count(), 1, "{name}");
        }
        let addresses = addresses();
        assert_eq!(addresses.len(), 16);
        assert!(addresses[..8].iter().all(is_binding));
        assert!(
            addresses
                .iter()
                .all(|address| address.get("spec").is_none())
        );
    }

    #[test]
    fn the_default_set_is_given_only_under_its_gate() {
        let mutations = |settings: &[&str]| {
            let families = [Family::HubRegistration];
            let gates = FeatureGates::parse(&families, settings.iter().copied()).expect("gates");
            let objects = objects(&gates, &gates);
            let policy = objects
                .iter()
                .find(|o| o["kind"] == "MutatingAdmissionPolicy");
            let mutations = policy.expect("the policy")["spec"]["mutations"].clone();
            mutations.as_array().map_or(0, Vec::len)
        };
        assert_eq!(mutations(&[]), 2);
        assert_eq!(mutations(&["DefaultClusterSet=false"]), 1);
    }
}
