//! What a ClusterManager asks for, as objects.

use crate::addon::webhook;
use crate::hub;
use crate::manifests;
use crate::manifests::Program;
use crate::manifests::named_rule;
use crate::manifests::rule;
use crate::policies;
use crate::works;
use hyades_api::crds;
use hyades_api::features;
use hyades_api::features::Family;
use hyades_api::features::FeatureGates;
use hyades_api::image;
use hyades_api::image::Component;
use hyades_api::labelling;
use hyades_api::names;
use hyades_api::names::annotations;
use hyades_api::names::apps;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use hyades_api::operator::ClusterManager;
use hyades_api::operator::FeatureGate;
use hyades_api::operator::GatedConfiguration;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::ResourceExt;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;

/// Why nothing, or not everything, was applied: reason and message of the condition `Applied`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: &'static str,
    pub(super) message: String,
}

impl Refusal {
    pub(super) fn apply_failed(message: String) -> Self {
        Self {
            reason: "ClusterManagerApplyFailed",
            message,
        }
    }
}

/// What the operator may do beyond the rights of the hub, which it holds as well.
pub fn rules() -> Vec<Value> {
    const ALL: &[&str] = &[
        "create", "get", "list", "watch", "update", "patch", "delete",
    ];
    const OWN: &[&str] = &["get", "list", "watch", "update", "patch"];
    let group = names::OPERATOR_GROUP;
    vec![
        rule("", &["serviceaccounts"], ALL),
        rule("", &["services"], &["create", "get", "update", "patch"]),
        rule("", &["namespaces"], ALL),
        // Applying a named object is authorised under its name, even when that creates it.
        named_rule(
            "",
            &["secrets"],
            &[names::IMAGE_PULL_SECRET],
            &["create", "get", "update", "patch"],
        ),
        rule("apps", &["deployments"], ALL),
        rule("admissionregistration.k8s.io", &policies::RESOURCES, ALL),
        rule("apiextensions.k8s.io", &["customresourcedefinitions"], ALL),
        rule(group, &["clustermanagers"], OWN),
        rule(group, &["clustermanagers/status"], &["patch", "update"]),
        // Handed on to the hub.
        policies::nil_executor_rule(),
    ]
    .into_iter()
    .chain(works::rules())
    .collect()
}

/// The labels of a ClusterManager that everything made for it gets too.
pub(super) fn inherited(manager: &ClusterManager) -> BTreeMap<String, String> {
    labelling::inherited(manager.metadata.labels.as_ref())
}

/// Marks an object as made by a ClusterManager, with what it inherits.
fn mark(object: &mut Value, manager: &ClusterManager, inherited: &BTreeMap<String, String>) {
    labelling::add(object, inherited);
    object["metadata"]["labels"][labels::CREATED_BY_CLUSTER_MANAGER] = json!(manager.name_any());
}

/// The objects to apply, in this order. `inherited` are labels that they get besides their own.
pub(super) fn decide(
    manager: &ClusterManager,
    inherited: &BTreeMap<String, String>,
) -> Result<Vec<Value>, Refusal> {
    let mode = manager.spec.deploy_option.mode.as_str();
    if !matches!(mode, "" | "Default") {
        return Err(Refusal {
            reason: "DeployModeNotSupported",
            message: format!(
                "spec.deployOption.mode is {mode:?}, and this operator runs the hub inside its \
                 own cluster only; set it to Default"
            ),
        });
    }
    let mut flags = flags(manager)?;
    // The hub hands them on to what it makes for each WEC.
    let labels = inherited.iter();
    flags.extend(labels.map(|(key, value)| format!("--labels={key}={value}")));
    let mut objects = crds::hub();
    objects.push(manifests::namespace(namespaces::HUB));
    objects.push(manifests::namespace(namespaces::CUSTOMIZATION_PROPERTIES));
    let gates = gates(manager);
    objects.extend(policies::objects(&gates.registration, &gates.work));
    objects.extend(hub_objects(manager, flags));
    for object in &mut objects {
        mark(object, manager, inherited);
    }
    Ok(objects)
}

/// The copy of the operator's pull secret for the hub's namespace.
pub(super) fn pull_secret(
    original: &Secret,
    manager: &ClusterManager,
    inherited: &BTreeMap<String, String>,
) -> Value {
    let mut copy = json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": names::IMAGE_PULL_SECRET, "namespace": namespaces::HUB},
        "type": original.type_,
        "data": original.data,
    });
    mark(&mut copy, manager, inherited);
    copy
}

/// The objects that go with the ClusterManager, in this order. The hub's namespace goes too, and
/// with it whatever else is in it.
pub(super) fn owned(manager: &str) -> Vec<Value> {
    let role = names::hub_cluster_role(manager);
    let executor = names::work_executor_cluster_role(manager);
    let address = |api_version: &str, kind: &str, name: &str| json!({"apiVersion": api_version, "kind": kind, "metadata": {"name": name}});
    let rbac = "rbac.authorization.k8s.io/v1";
    let mut deployment = address("apps/v1", "Deployment", &names::hub_deployment(manager));
    deployment["metadata"]["namespace"] = json!(namespaces::HUB);
    let mut owned = policies::addresses();
    owned.extend([
        deployment,
        address(rbac, "ClusterRoleBinding", &role),
        address(rbac, "ClusterRole", &role),
        address(rbac, "ClusterRoleBinding", &executor),
        address(rbac, "ClusterRole", &executor),
        address("v1", "Namespace", namespaces::HUB),
    ]);
    owned
}

fn hub_objects(manager: &ClusterManager, flags: Vec<String>) -> [Value; 7] {
    let name = manager.name_any();
    let role = names::hub_cluster_role(&name);
    let executor = names::work_executor_cluster_role(&name);
    let account = names::HUB_SERVICE_ACCOUNT;
    let subject = || manifests::account_subject(namespaces::HUB, account);
    let mut deployment = manifests::deployment(Program {
        name: &names::hub_deployment(&name),
        namespace: namespaces::HUB,
        app: apps::HUB,
        container: "registration-controller",
        account,
        image: &hub_image(&manager.spec.registration_image_pull_spec),
        component: Component::Hub,
        flags,
        resources: manifests::resources(manager.spec.resource_requirement.as_ref()),
    });
    let ports = deployment.pointer_mut("/spec/template/spec/containers/0/ports");
    if let Some(ports) = ports.and_then(Value::as_array_mut) {
        let port = json!({"name": "webhook", "containerPort": webhook::PORT, "protocol": "TCP"});
        ports.push(port);
    }
    [
        webhook::service(),
        manifests::service_account(namespaces::HUB, account),
        manifests::cluster_role(&role, hub_rules(&gates(manager).work)),
        manifests::cluster_role_binding(&role, &role, subject()),
        manifests::cluster_role(&executor, vec![policies::nil_executor_rule()]),
        manifests::cluster_role_binding(&executor, &executor, subject()),
        deployment,
    ]
}

/// What the hub may do: no more than the gates of works ask for.
fn hub_rules(work: &FeatureGates) -> Vec<Value> {
    let mut rules = hub::rules();
    let gates = [
        features::MANIFEST_WORK_REPLICA_SET,
        features::CLEAN_UP_COMPLETED_MANIFEST_WORK,
    ];
    if gates.into_iter().any(|gate| work.enabled(gate)) {
        rules.extend(works::rules());
    }
    rules
}

/// The image of the hub: the one asked for if it can run this project's components. A
/// ClusterManager made by another author names upstream's image, which has none of them.
fn hub_image(asked: &str) -> String {
    if image::is_hyades(asked) {
        asked.to_owned()
    } else {
        image::reference()
    }
}

/// The hub's flags.
fn flags(manager: &ClusterManager) -> Result<Vec<String>, Refusal> {
    let mut flags = registration_flags(manager)?;
    let key = annotations::EXPIRED_CERTIFICATE_WINDOW;
    let stated = manager.metadata.annotations.as_ref();
    if let Some(window) = stated.and_then(|all| all.get(key)) {
        let seconds: u32 = window.parse().map_err(|_| Refusal {
            reason: "ExpiredCertificateWindowInvalid",
            message: format!(
                "the annotation {key} is {window:?}; write a number of seconds, 0 for never"
            ),
        })?;
        flags.push(format!("--expired-certificate-window-seconds={seconds}"));
    }
    Ok(flags)
}

fn registration_flags(manager: &ClusterManager) -> Result<Vec<String>, Refusal> {
    let Gates {
        registration: gates,
        work,
        ..
    } = gates(manager);
    let mut flags = gates.flags();
    flags.extend(work.flags());
    flags.push(format!("--addon-webhook-port={}", webhook::PORT));
    if gates.enabled(features::CLUSTER_IMPORTER) {
        let image = hub_image(&manager.spec.registration_image_pull_spec);
        flags.push(format!("--agent-image={image}"));
    }
    let Some(registration) = &manager.spec.registration_configuration else {
        return Ok(flags);
    };
    let mut users = registration.auto_approve_users.clone();
    for driver in &registration.registration_drivers {
        if driver.auth_type != "csr" {
            return Err(Refusal {
                reason: "RegistrationDriverNotSupported",
                message: format!(
                    "registration driver {:?} is not supported; use csr",
                    driver.auth_type
                ),
            });
        }
        let stated = driver
            .csr
            .iter()
            .flat_map(|csr| &csr.auto_approved_identities);
        users.extend(stated.cloned());
    }
    let importer = registration.importer_configuration.iter();
    let mut renderers = importer.flat_map(|importer| &importer.renderers);
    if let Some(renderer) = renderers.find(|renderer| *renderer != "render-auto") {
        return Err(Refusal {
            reason: "ImporterRendererNotSupported",
            message: format!("the renderer {renderer:?} is not supported; use render-auto"),
        });
    }
    users.sort();
    users.dedup();
    flags.extend(
        users
            .iter()
            .map(|user| format!("--auto-approved-csr-users={user}")),
    );
    Ok(flags)
}

/// The feature gates of a hub.
#[derive(Debug)]
pub(super) struct Gates {
    /// Those of registration and add-ons in force.
    registration: FeatureGates,
    /// Those of works in force.
    work: FeatureGates,
    /// Names that are no gates of the part they are stated for, and gates with nothing behind them.
    pub(super) refused: Vec<String>,
}

/// The feature gates that a ClusterManager asks for.
pub(super) fn gates(manager: &ClusterManager) -> Gates {
    let spec = &manager.spec;
    let of = |part: &Option<GatedConfiguration>| part.clone().unwrap_or_default().feature_gates;
    let registration = spec.registration_configuration.as_ref();
    let work = spec.work_configuration.as_ref();
    let mut refused = Vec::new();
    let mut read = |families: &[Family], stated: &[FeatureGate]| {
        let mut gates = FeatureGates::defaults(families);
        refused.extend(gates.apply(stated));
        gates
    };
    let mut stated = registration.map_or_else(Vec::new, |part| part.feature_gates.clone());
    stated.extend(of(&spec.add_on_manager_configuration));
    let registration = read(&[Family::HubRegistration, Family::AddOnManager], &stated);
    let stated = work.map_or_else(Vec::new, |part| part.feature_gates.clone());
    let work = read(&[Family::HubWork], &stated);
    // Placement has none with an effect.
    read(&[Family::HubPlacement], &of(&spec.placement_configuration));
    Gates {
        registration,
        work,
        refused,
    }
}

#[cfg(test)]
mod tests;
