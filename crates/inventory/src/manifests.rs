//! Shapes that `install`, `operator` and `hub` render alike.

use hyades_api::image;
use hyades_api::image::Component;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_api::operator::ResourceRequirement;
use serde_json::Value;
use serde_json::json;

/// Seconds between two health probes.
const PROBE_PERIOD_SECONDS: u32 = 10;

/// A namespace.
pub(crate) fn namespace(name: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name}})
}

/// A service account.
pub(crate) fn service_account(namespace: &str, name: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": {"name": name, "namespace": namespace},
        "imagePullSecrets": [{"name": names::IMAGE_PULL_SECRET}],
    })
}

/// A ClusterRole.
pub(crate) fn cluster_role(name: &str, rules: Vec<Value>) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRole",
        "metadata": {"name": name},
        "rules": rules,
    })
}

/// A ClusterRoleBinding to the ClusterRole `role`.
pub(crate) fn cluster_role_binding(name: &str, role: &str, subject: Value) -> Value {
    json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io",
            "kind": "ClusterRole",
            "name": role,
        },
        "subjects": [subject],
    })
}

/// A service account as the subject of a binding.
pub(crate) fn account_subject(namespace: &str, name: &str) -> Value {
    json!({"kind": "ServiceAccount", "namespace": namespace, "name": name})
}

/// A user as the subject of a binding.
pub(crate) fn user_subject(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": name})
}

/// A group as the subject of a binding.
pub(crate) fn group_subject(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "Group", "name": name})
}

/// One rule of a role.
pub(crate) fn rule(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({"apiGroups": [group], "resources": resources, "verbs": verbs})
}

/// One rule of a role about objects with these names only.
pub(crate) fn named_rule(group: &str, resources: &[&str], names: &[&str], verbs: &[&str]) -> Value {
    json!({
        "apiGroups": [group],
        "resources": resources,
        "resourceNames": names,
        "verbs": verbs,
    })
}

/// What differs between the Deployments of components.
pub(crate) struct Program<'a> {
    /// Name of the Deployment.
    pub name: &'a str,
    /// Its namespace.
    pub namespace: &'a str,
    /// Value of the pods' label `app`.
    pub app: &'a str,
    /// Name of the container.
    pub container: &'a str,
    /// The account the pod runs as.
    pub account: &'a str,
    /// The image.
    pub image: &'a str,
    /// What the image runs as.
    pub component: Component,
    /// The component's flags.
    pub flags: Vec<String>,
    /// `resources` of the container.
    pub resources: Value,
}

/// A Deployment of one replica.
///
/// Upstream's charts ask for three, of which two wait for the third to die. One process of this
/// project starts in milliseconds, so a standby would cost memory and save nothing. `Recreate`
/// keeps two versions from working side by side during an update.
pub(crate) fn deployment(program: Program<'_>) -> Value {
    let probe = json!({
        "httpGet": {"path": "/healthz", "port": 8000, "scheme": "HTTP"},
        "initialDelaySeconds": 2,
        "periodSeconds": PROBE_PERIOD_SECONDS,
    });
    let ready = json!({
        "httpGet": {"path": "/readyz", "port": 8000, "scheme": "HTTP"},
        "periodSeconds": PROBE_PERIOD_SECONDS,
    });
    let from_field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {
            "name": program.name,
            "namespace": program.namespace,
            "labels": {labels::APP: program.app},
        },
        "spec": {
            "replicas": 1,
            "strategy": {"type": "Recreate"},
            "selector": {"matchLabels": {labels::APP: program.app}},
            "template": {
                "metadata": {"labels": {labels::APP: program.app}},
                "spec": {
                    "serviceAccountName": program.account,
                    "containers": [{
                        "name": program.container,
                        "image": program.image,
                        "imagePullPolicy": "IfNotPresent",
                        "command": [image::COMMAND],
                        "args": program.component.args(program.flags),
                        "env": [
                            from_field("POD_NAME", "metadata.name"),
                            from_field("POD_NAMESPACE", "metadata.namespace"),
                        ],
                        "ports": [{"name": "health", "containerPort": 8000, "protocol": "TCP"}],
                        "livenessProbe": probe,
                        "readinessProbe": ready,
                        "resources": program.resources,
                        "securityContext": image::security_context(),
                    }],
                },
            },
        },
    })
}

/// `resources` of a container under a requirement; upstream's defaults without one.
pub(crate) fn resources(requirement: Option<&ResourceRequirement>) -> Value {
    match requirement.map(|requirement| requirement.r#type.as_str()) {
        Some("BestEffort") => json!({}),
        Some("ResourceRequirement") => requirement
            .and_then(|requirement| requirement.resource_requirements.as_ref())
            .map_or_else(|| json!({}), |stated| json!(stated)),
        _ => json!({"requests": {"cpu": "2m", "memory": "16Mi"}}),
    }
}
