//! Deployments of this project's image: one shape for the operator and the agents.

use hyades_api::image;
use hyades_api::image::Component;
use hyades_api::operator::NodePlacement;
use hyades_api::operator::ResourceRequirement;
use hyades_runtime::health;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// What distinguishes one Deployment from another.
pub(crate) struct Deployment<'a> {
    pub name: &'a str,
    pub namespace: &'a str,
    /// Value of the label `app`, by which the pods are found.
    pub app: &'a str,
    pub container: &'a str,
    pub service_account: &'a str,
    pub image: &'a str,
    pub replicas: i32,
    pub component: Component,
    pub flags: Vec<String>,
    pub labels: Map<String, Value>,
    /// Annotations of the pods; a change of them replaces the pods.
    pub pod_annotations: Map<String, Value>,
    pub placement: Option<&'a NodePlacement>,
    pub resources: Option<&'a ResourceRequirement>,
    pub priority_class: &'a str,
    pub host_alias: Option<(&'a str, &'a str)>,
}

impl Deployment<'_> {
    /// The complete object.
    pub(crate) fn render(self) -> Value {
        let mut labels = self.labels;
        labels.insert("app".to_owned(), json!(self.app));
        let mut pod = json!({
            "serviceAccountName": self.service_account,
            "containers": [container(self.container, self.image, self.component, self.flags, self.resources)],
            "securityContext": {"runAsNonRoot": true},
        });
        if let Some(placement) = self.placement {
            if !placement.node_selector.is_empty() {
                pod["nodeSelector"] = json!(placement.node_selector);
            }
            if !placement.tolerations.is_empty() {
                pod["tolerations"] = json!(placement.tolerations);
            }
        }
        if !self.priority_class.is_empty() {
            pod["priorityClassName"] = json!(self.priority_class);
        }
        if let Some((ip, hostname)) = self.host_alias {
            pod["hostAliases"] = json!([{"ip": ip, "hostnames": [hostname]}]);
        }
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": {"name": self.name, "namespace": self.namespace, "labels": labels},
            "spec": {
                "replicas": self.replicas,
                "selector": {"matchLabels": {"app": self.app}},
                "template": {
                    "metadata": {"labels": {"app": self.app}, "annotations": self.pod_annotations},
                    "spec": pod,
                },
            },
        })
    }
}

fn container(
    name: &str,
    image: &str,
    component: Component,
    flags: Vec<String>,
    resources: Option<&ResourceRequirement>,
) -> Value {
    let probe = |path: &str, delay_seconds: u32| {
        json!({
            "httpGet": {"path": path, "port": health::PORT, "scheme": "HTTP"},
            "initialDelaySeconds": delay_seconds,
            "periodSeconds": 10,
        })
    };
    let field = |name: &str, path: &str| json!({"name": name, "valueFrom": {"fieldRef": {"fieldPath": path}}});
    json!({
        "name": name,
        "image": image,
        "imagePullPolicy": "IfNotPresent",
        "command": [image::COMMAND],
        "args": component.args(flags),
        "env": [field("POD_NAME", "metadata.name"), field("POD_NAMESPACE", "metadata.namespace")],
        "ports": [{"name": "health", "containerPort": health::PORT, "protocol": "TCP"}],
        "livenessProbe": probe("/healthz", 2),
        "readinessProbe": probe("/readyz", 0),
        "resources": resource_values(resources),
        "securityContext": image::security_context(),
    })
}

/// The container's resources for a class of service: upstream's small requests by default.
fn resource_values(requirement: Option<&ResourceRequirement>) -> Value {
    let class = requirement.map(|requirement| requirement.r#type.as_str());
    match (
        class,
        requirement.and_then(|requirement| requirement.resource_requirements.as_ref()),
    ) {
        (Some("BestEffort"), _) => json!({}),
        (Some("ResourceRequirement"), Some(values)) => json!(values),
        _ => json!({"requests": {"cpu": "2m", "memory": "16Mi"}}),
    }
}
