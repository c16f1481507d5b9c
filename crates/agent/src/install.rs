//! What `clusteradm join` applies to a WEC, as plain objects in the order to apply them.
//!
//! Pure: the CLI does the applying. In the hosted modes the objects are for the hosting cluster,
//! where an operator must run already; the WEC itself gets nothing but what that operator makes.

mod bootstrap;
mod mode;

pub use bootstrap::BootstrapAccess;
pub use bootstrap::bootstrap_kubeconfig;
pub use mode::Mode;
pub use mode::ModeError;

use crate::deployment::Deployment;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hyades_api::crds;
use hyades_api::features::Family;
use hyades_api::features::FeatureGates;
use hyades_api::identity::ClusterName;
use hyades_api::image;
use hyades_api::image::Component;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_api::operator::AddOnRegistrationDriver;
use hyades_api::operator::AgentRegistrationConfiguration;
use hyades_api::operator::AgentRegistrationDriver;
use hyades_api::operator::AgentWorkConfiguration;
use hyades_api::operator::Klusterlet;
use hyades_api::operator::KlusterletDeployOption;
use hyades_api::operator::KlusterletSpec;
use hyades_api::operator::ResourceRequirement;
use hyades_api::operator::ServerUrl;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;

/// What the user of `clusteradm join` chose.
#[derive(Clone, Debug)]
pub struct InstallOptions {
    /// The name under which the WEC registers.
    pub cluster_name: ClusterName,
    /// One process or two.
    pub mode: Mode,
    /// Text of the bootstrap kubeconfig; see [`bootstrap_kubeconfig`].
    pub bootstrap_kubeconfig: String,
    /// The image of operator and agents.
    pub image: String,
    /// The credentials for pulling it: the text of a `.dockerconfigjson`.
    pub image_pull_credentials: Option<String>,
    /// Whether the operator's namespace is among the objects.
    pub create_namespace: bool,
    /// Whether the operator is among the objects; not when one runs already.
    pub with_operator: bool,
    /// Whether what the operator makes for a Klusterlet gets its labels.
    pub sync_labels: bool,
    /// URL of the WEC's API server to publish on the hub.
    pub external_server_url: Option<String>,
    /// Lifetime to ask for in certificate requests, in seconds.
    pub client_cert_expiration_seconds: i32,
    /// The gates of both agents.
    pub feature_gates: FeatureGates,
    /// Annotations for the inventory object.
    pub cluster_annotations: BTreeMap<String, String>,
    /// Labels for the inventory object.
    pub cluster_labels: BTreeMap<String, String>,
    /// How add-ons prove who they are to the hub; by certificates if absent.
    pub addon_registration: Option<AddOnRegistrationDriver>,
    /// Resources of the pods.
    pub resource_requirement: Option<ResourceRequirement>,
    /// Priority class of the agent's pods; made too, with the operator, if it does not exist.
    pub priority_class: Option<String>,
    /// Name of the Klusterlet; in the hosted modes the agent's namespace too.
    pub klusterlet_name: String,
    /// Hosted modes: text of the kubeconfig by which the WEC is reached from the hosting cluster.
    pub managed_kubeconfig: Option<String>,
}

impl InstallOptions {
    /// The choices of a user who made none.
    pub fn new(cluster_name: ClusterName, bootstrap_kubeconfig: String) -> Self {
        Self {
            cluster_name,
            mode: Mode::Default,
            bootstrap_kubeconfig,
            image: image::reference(),
            image_pull_credentials: None,
            create_namespace: true,
            with_operator: true,
            sync_labels: false,
            external_server_url: None,
            client_cert_expiration_seconds: 31_536_000,
            feature_gates: FeatureGates::defaults(&[Family::AgentRegistration, Family::AgentWork]),
            cluster_annotations: BTreeMap::new(),
            cluster_labels: BTreeMap::new(),
            addon_registration: None,
            resource_requirement: None,
            priority_class: None,
            klusterlet_name: names::KLUSTERLET.to_owned(),
            managed_kubeconfig: None,
        }
    }

    /// The namespace in which the agent's pods run.
    pub fn agent_namespace(&self) -> &str {
        if self.mode.is_hosted() {
            &self.klusterlet_name
        } else {
            namespaces::AGENT
        }
    }

    /// The agent's namespace in the WEC, which the Klusterlet names.
    fn managed_namespace(&self) -> String {
        if self.mode.is_hosted() {
            format!("open-cluster-management-{}", self.klusterlet_name)
        } else {
            namespaces::AGENT.to_owned()
        }
    }
}

/// A name for the Klusterlet of a hosted agent: several of them share a hosting cluster.
pub fn hosted_klusterlet_name() -> String {
    const ALPHABET: &[u8] = b"abcdefghijklmnopqrstuvwxyz0123456789";
    const LENGTH: usize = 6;
    let random = (0..LENGTH).map(|_| char::from(ALPHABET[rand::random_range(0..ALPHABET.len())]));
    format!("klusterlet-hosted-{}", random.collect::<String>())
}

/// Value of the priority class that is made for the agents; upstream's number.
const PRIORITY: i64 = 1_000_000;

/// Everything to apply, in order: the definition first, the Klusterlet last.
pub fn objects(options: &InstallOptions) -> Vec<Value> {
    let with_operator = options.with_operator && !options.mode.is_hosted();
    let mut objects = Vec::new();
    if with_operator {
        objects.push(crds::klusterlet());
        if options.create_namespace {
            objects.push(namespace(namespaces::OPERATOR, json!({})));
        }
    }
    let agent = options.agent_namespace();
    let allowed = json!({names::annotations::WORKLOAD_ALLOWED: "management"});
    objects.push(namespace(agent, allowed));
    objects.push(kubeconfig_secret(
        agent,
        names::BOOTSTRAP_HUB_KUBECONFIG_SECRET,
        &options.bootstrap_kubeconfig,
    ));
    if let Some(kubeconfig) = options
        .managed_kubeconfig
        .as_deref()
        .filter(|_| options.mode.is_hosted())
    {
        objects.push(kubeconfig_secret(
            agent,
            names::EXTERNAL_MANAGED_KUBECONFIG_SECRET,
            kubeconfig,
        ));
    }
    if with_operator {
        objects.push(pull_secret(
            namespaces::OPERATOR,
            options.image_pull_credentials.as_deref(),
        ));
        objects.extend(operator(options));
        objects.extend(options.priority_class.as_deref().map(priority_class));
    }
    objects.push(json!(klusterlet(options)));
    objects
}

fn priority_class(name: &str) -> Value {
    json!({
        "apiVersion": "scheduling.k8s.io/v1",
        "kind": "PriorityClass",
        "metadata": {"name": name},
        "value": PRIORITY,
        "globalDefault": false,
    })
}

fn namespace(name: &str, annotations: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "annotations": annotations},
    })
}

/// The Secret with the bootstrap kubeconfig, in the namespace of an agent that is not hosted.
pub fn bootstrap_secret(kubeconfig: &str) -> Value {
    let name = names::BOOTSTRAP_HUB_KUBECONFIG_SECRET;
    kubeconfig_secret(namespaces::AGENT, name, kubeconfig)
}

/// A Secret that holds a kubeconfig.
pub fn kubeconfig_secret(namespace: &str, name: &str, kubeconfig: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": name, "namespace": namespace},
        "type": "Opaque",
        "data": {"kubeconfig": STANDARD.encode(kubeconfig)},
    })
}

fn pull_secret(namespace: &str, credentials: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {"name": names::IMAGE_PULL_SECRET, "namespace": namespace},
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": STANDARD.encode(credentials.unwrap_or("{}"))},
    })
}

fn operator(options: &InstallOptions) -> Vec<Value> {
    let name = names::KLUSTERLET;
    vec![
        json!({
            "apiVersion": "v1",
            "kind": "ServiceAccount",
            "metadata": {"name": name, "namespace": namespaces::OPERATOR},
            "imagePullSecrets": [{"name": names::IMAGE_PULL_SECRET}],
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRole",
            "metadata": {"name": name},
            "rules": operator_rules(),
        }),
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "ClusterRoleBinding",
            "metadata": {"name": name},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name},
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": namespaces::OPERATOR}],
        }),
        Deployment {
            name,
            namespace: namespaces::OPERATOR,
            app: names::apps::KLUSTERLET,
            container: name,
            service_account: name,
            image: &options.image,
            replicas: 1,
            component: Component::Klusterlet,
            flags: match options.sync_labels {
                true => vec!["--enable-sync-labels".to_owned()],
                false => Vec::new(),
            },
            labels: Map::new(),
            pod_annotations: Map::new(),
            placement: None,
            resources: options.resource_requirement.as_ref(),
            priority_class: options.priority_class.as_deref().unwrap_or_default(),
            host_alias: None,
        }
        .render(),
    ]
}

/// What the operator may do in the WEC. It hands out rights to the agents, hence `escalate` and
/// `bind`; it reads no Secrets but those named here.
fn operator_rules() -> Value {
    let all = [
        "create", "get", "list", "update", "watch", "patch", "delete",
    ];
    let secrets = [
        names::IMAGE_PULL_SECRET,
        names::BOOTSTRAP_HUB_KUBECONFIG_SECRET,
        names::HUB_KUBECONFIG_SECRET,
        names::EXTERNAL_MANAGED_KUBECONFIG_SECRET,
        names::EXTERNAL_MANAGED_KUBECONFIG_REGISTRATION_SECRET,
        names::EXTERNAL_MANAGED_KUBECONFIG_WORK_SECRET,
        names::EXTERNAL_MANAGED_KUBECONFIG_AGENT_SECRET,
    ];
    let rbac = "rbac.authorization.k8s.io";
    json!([
        {"apiGroups": [""], "resources": ["namespaces", "serviceaccounts"], "verbs": all},
        {"apiGroups": [""], "resources": ["secrets"], "verbs": ["create"]},
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": secrets,
         "verbs": ["get", "list", "watch", "update", "patch", "delete"]},
        {"apiGroups": ["", "events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch", "update"]},
        {"apiGroups": ["apps"], "resources": ["deployments"], "verbs": all},
        {"apiGroups": [rbac], "resources": ["clusterrolebindings", "rolebindings"], "verbs": all},
        {"apiGroups": [rbac], "resources": ["clusterroles", "roles"],
         "verbs": ["create", "get", "list", "update", "watch", "patch", "delete", "escalate", "bind"]},
        {"apiGroups": ["apiextensions.k8s.io"], "resources": ["customresourcedefinitions"], "verbs": all},
        {"apiGroups": [names::OPERATOR_GROUP], "resources": ["klusterlets"],
         "verbs": ["get", "list", "watch", "update", "patch", "delete"]},
        {"apiGroups": [names::OPERATOR_GROUP], "resources": ["klusterlets/status"], "verbs": ["update", "patch"]},
        {"apiGroups": [names::WORK_GROUP], "resources": ["appliedmanifestworks"],
         "verbs": ["get", "list", "update", "patch"]},
    ])
}

fn klusterlet(options: &InstallOptions) -> Klusterlet {
    let url = options.external_server_url.iter();
    let urls = url
        .map(|url| ServerUrl {
            url: url.clone(),
            ca_bundle: None,
        })
        .collect();
    Klusterlet::new(
        options.klusterlet_name.as_str(),
        KlusterletSpec {
            namespace: options.managed_namespace(),
            cluster_name: options.cluster_name.as_str().to_owned(),
            registration_image_pull_spec: options.image.clone(),
            work_image_pull_spec: options.image.clone(),
            image_pull_spec: options.image.clone(),
            external_server_urls: urls,
            deploy_option: KlusterletDeployOption {
                mode: options.mode.as_str().to_owned(),
            },
            resource_requirement: options.resource_requirement.clone(),
            priority_class_name: options.priority_class.clone().unwrap_or_default(),
            registration_configuration: Some(AgentRegistrationConfiguration {
                feature_gates: options.feature_gates.settings(Family::AgentRegistration),
                client_cert_expiration_seconds: options.client_cert_expiration_seconds,
                cluster_annotations: options.cluster_annotations.clone(),
                cluster_labels: options.cluster_labels.clone(),
                add_on_kube_client_registration_driver: options.addon_registration.clone(),
                registration_driver: Some(AgentRegistrationDriver {
                    auth_type: "csr".to_owned(),
                }),
                ..AgentRegistrationConfiguration::default()
            }),
            work_configuration: Some(AgentWorkConfiguration {
                feature_gates: options.feature_gates.settings(Family::AgentWork),
                ..AgentWorkConfiguration::default()
            }),
            ..KlusterletSpec::default()
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options() -> InstallOptions {
        InstallOptions::new("cluster1".parse().expect("a name"), "kubeconfig".to_owned())
    }

    fn listing(objects: &[Value]) -> Vec<String> {
        let text = |object: &Value, pointer| {
            object
                .pointer(pointer)
                .and_then(Value::as_str)
                .unwrap_or_default()
                .to_owned()
        };
        objects
            .iter()
            .map(|object| {
                format!(
                    "{} {}",
                    text(object, "/kind"),
                    text(object, "/metadata/name")
                )
            })
            .collect()
    }

    #[test]
    fn objects_come_definition_first_and_klusterlet_last() {
        assert_eq!(
            listing(&objects(&options())),
            [
                "CustomResourceDefinition klusterlets.operator.open-cluster-management.io",
                "Namespace open-cluster-management",
                "Namespace open-cluster-management-agent",
                "Secret bootstrap-hub-kubeconfig",
                "Secret open-cluster-management-image-pull-credentials",
                "ServiceAccount klusterlet",
                "ClusterRole klusterlet",
                "ClusterRoleBinding klusterlet",
                "Deployment klusterlet",
                "Klusterlet klusterlet",
            ]
        );
    }

    #[test]
    fn an_operator_that_runs_already_is_left_alone() {
        let objects = objects(&InstallOptions {
            with_operator: false,
            ..options()
        });
        assert_eq!(
            listing(&objects),
            [
                "Namespace open-cluster-management-agent",
                "Secret bootstrap-hub-kubeconfig",
                "Klusterlet klusterlet",
            ]
        );
    }

    #[test]
    fn the_klusterlet_says_what_the_user_chose() {
        let options = InstallOptions {
            mode: Mode::Singleton,
            external_server_url: Some("https://wec:6443".to_owned()),
            ..options()
        };
        let spec = json!(klusterlet(&options))["spec"].clone();
        assert_eq!(spec["deployOption"], json!({"mode": "Singleton"}));
        assert_eq!(
            spec["externalServerURLs"],
            json!([{"url": "https://wec:6443"}])
        );
        assert_eq!(
            spec["registrationConfiguration"]["clientCertExpirationSeconds"],
            31_536_000
        );
        let gates = &spec["registrationConfiguration"]["featureGates"];
        assert_eq!(
            gates[0],
            json!({"feature": "ClusterClaim", "mode": "Enable"})
        );
    }

    #[test]
    fn a_hosted_agent_gets_its_secrets_in_a_namespace_of_its_own_and_no_operator() {
        let name = hosted_klusterlet_name();
        let options = InstallOptions {
            mode: Mode::SingletonHosted,
            klusterlet_name: name.clone(),
            managed_kubeconfig: Some("of the WEC".to_owned()),
            ..options()
        };
        let all = objects(&options);
        assert_eq!(
            listing(&all),
            [
                format!("Namespace {name}"),
                "Secret bootstrap-hub-kubeconfig".to_owned(),
                "Secret external-managed-kubeconfig".to_owned(),
                format!("Klusterlet {name}"),
            ]
        );
        assert_eq!(all[2]["metadata"]["namespace"], name.as_str());
        let spec = &all[3]["spec"];
        assert_eq!(spec["deployOption"], json!({"mode": "SingletonHosted"}));
        assert_eq!(
            spec["namespace"],
            format!("open-cluster-management-{name}"),
            "the agent's namespace in the WEC"
        );
    }

    #[test]
    fn the_operator_copies_labels_when_asked_to() {
        for sync_labels in [true, false] {
            let all = objects(&InstallOptions {
                sync_labels,
                ..options()
            });
            let operator = all.iter().find(|object| object["kind"] == "Deployment");
            let args = &operator.expect("the operator")["spec"]["template"]["spec"]["containers"]
                [0]["args"];
            let args = args.as_array().expect("args");
            let flag = json!("--enable-sync-labels");
            assert_eq!(args.contains(&flag), sync_labels);
        }
    }

    #[test]
    fn a_priority_class_is_made_with_the_operator_and_named_by_the_klusterlet() {
        let all = objects(&InstallOptions {
            priority_class: Some("klusterlet-critical".to_owned()),
            ..options()
        });
        let names = listing(&all);
        assert!(names.contains(&"PriorityClass klusterlet-critical".to_owned()));
        let klusterlet = all.last().expect("a Klusterlet");
        assert_eq!(
            klusterlet["spec"]["priorityClassName"],
            "klusterlet-critical"
        );
    }
}
