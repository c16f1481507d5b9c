//! What `clusteradm join` applies to a WEC, as plain objects in the order to apply them.
//!
//! Pure: the CLI does the applying. Hosted modes are refused, since they need an operator that
//! works for a cluster other than its own.

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
use hyades_api::operator::AgentRegistrationConfiguration;
use hyades_api::operator::AgentRegistrationDriver;
use hyades_api::operator::AgentWorkConfiguration;
use hyades_api::operator::Klusterlet;
use hyades_api::operator::KlusterletDeployOption;
use hyades_api::operator::KlusterletSpec;
use hyades_api::operator::ResourceRequirement;
use hyades_api::operator::ServerUrl;
use hyades_pki::Kubeconfig;
use hyades_pki::kubeconfig::Cluster;
use hyades_pki::kubeconfig::Context;
use hyades_pki::kubeconfig::NamedCluster;
use hyades_pki::kubeconfig::NamedContext;
use hyades_pki::kubeconfig::NamedUser;
use hyades_pki::kubeconfig::User;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;

/// How many processes the agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Registration agent and work agent in a Deployment each.
    Default,
    /// Both in one process.
    Singleton,
}

/// Why a mode cannot be had.
#[derive(Clone, Debug, thiserror::Error, PartialEq, Eq)]
pub enum ModeError {
    /// The agent would run outside its WEC.
    #[error(
        "mode {0} is not supported: the agent runs in the cluster it works for; join without --mode hosted"
    )]
    Hosted(String),
    /// No such mode.
    #[error("deploy mode should be default or hosted, and is {0:?}")]
    Unknown(String),
}

impl Mode {
    /// Reads the mode of a Klusterlet; an empty one is the default.
    ///
    /// # Errors
    ///
    /// Hosted modes, and modes that do not exist.
    pub fn parse(text: &str) -> Result<Self, ModeError> {
        match text {
            "" | "Default" => Ok(Self::Default),
            "Singleton" => Ok(Self::Singleton),
            "Hosted" | "SingletonHosted" => Err(ModeError::Hosted(text.to_owned())),
            other => Err(ModeError::Unknown(other.to_owned())),
        }
    }

    /// As written in a Klusterlet.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Default => "Default",
            Self::Singleton => "Singleton",
        }
    }
}

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
    /// URL of the WEC's API server to publish on the hub.
    pub external_server_url: Option<String>,
    /// Lifetime to ask for in certificate requests, in seconds.
    pub client_cert_expiration_seconds: i32,
    /// The gates of both agents.
    pub feature_gates: FeatureGates,
    /// Annotations for the inventory object.
    pub cluster_annotations: BTreeMap<String, String>,
    /// Resources of the pods.
    pub resource_requirement: Option<ResourceRequirement>,
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
            external_server_url: None,
            client_cert_expiration_seconds: 31_536_000,
            feature_gates: FeatureGates::defaults(&[Family::AgentRegistration, Family::AgentWork]),
            cluster_annotations: BTreeMap::new(),
            resource_requirement: None,
        }
    }
}

/// Where a hub is and how to present oneself to it first.
#[derive(Clone, Debug, Default)]
pub struct BootstrapAccess<'a> {
    /// URL of the hub's API server.
    pub server: &'a str,
    /// PEM of the authorities the hub is trusted by.
    pub certificate_authority: Option<&'a str>,
    /// The bearer token.
    pub token: &'a str,
    /// A proxy on the way to the hub.
    pub proxy_url: Option<&'a str>,
}

/// Renders the kubeconfig that a new agent presents itself with. The agent later compares the
/// name of the cluster entry, `hub`, too.
///
/// # Errors
///
/// Those of writing YAML.
pub fn bootstrap_kubeconfig(
    access: &BootstrapAccess<'_>,
) -> Result<String, hyades_pki::KubeconfigError> {
    let mut other = BTreeMap::new();
    if let Some(proxy) = access.proxy_url {
        other.insert("proxy-url".to_owned(), json!(proxy));
    }
    Kubeconfig {
        clusters: vec![NamedCluster {
            name: "hub".to_owned(),
            cluster: Cluster {
                server: Some(access.server.to_owned()),
                certificate_authority_data: access
                    .certificate_authority
                    .map(|pem| STANDARD.encode(pem)),
                other,
            },
        }],
        users: vec![NamedUser {
            name: "bootstrap".to_owned(),
            user: User {
                token: Some(access.token.to_owned()),
                ..User::default()
            },
        }],
        contexts: vec![NamedContext {
            name: "bootstrap".to_owned(),
            context: Context {
                cluster: "hub".to_owned(),
                user: "bootstrap".to_owned(),
                namespace: Some("default".to_owned()),
                ..Context::default()
            },
        }],
        current_context: "bootstrap".to_owned(),
        ..Kubeconfig::empty()
    }
    .to_yaml()
}

/// Everything to apply, in order: the definition first, the Klusterlet last.
pub fn objects(options: &InstallOptions) -> Vec<Value> {
    let mut objects = Vec::new();
    if options.with_operator {
        objects.push(crds::klusterlet());
        if options.create_namespace {
            objects.push(namespace(namespaces::OPERATOR, json!({})));
        }
    }
    let allowed = json!({names::annotations::WORKLOAD_ALLOWED: "management"});
    objects.push(namespace(namespaces::AGENT, allowed));
    objects.push(bootstrap_secret(&options.bootstrap_kubeconfig));
    if options.with_operator {
        objects.push(pull_secret(
            namespaces::OPERATOR,
            options.image_pull_credentials.as_deref(),
        ));
        objects.extend(operator(options));
    }
    objects.push(json!(klusterlet(options)));
    objects
}

fn namespace(name: &str, annotations: Value) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Namespace",
        "metadata": {"name": name, "annotations": annotations},
    })
}

/// The Secret with the bootstrap kubeconfig, in the agent's namespace.
pub fn bootstrap_secret(kubeconfig: &str) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names::BOOTSTRAP_HUB_KUBECONFIG_SECRET,
            "namespace": namespaces::AGENT,
        },
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
            flags: Vec::new(),
            labels: Map::new(),
            pod_annotations: Map::new(),
            placement: None,
            resources: options.resource_requirement.as_ref(),
            priority_class: "",
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
        names::KLUSTERLET,
        KlusterletSpec {
            namespace: namespaces::AGENT.to_owned(),
            cluster_name: options.cluster_name.as_str().to_owned(),
            registration_image_pull_spec: options.image.clone(),
            work_image_pull_spec: options.image.clone(),
            image_pull_spec: options.image.clone(),
            external_server_urls: urls,
            deploy_option: KlusterletDeployOption {
                mode: options.mode.as_str().to_owned(),
            },
            resource_requirement: options.resource_requirement.clone(),
            registration_configuration: Some(AgentRegistrationConfiguration {
                feature_gates: options.feature_gates.settings(Family::AgentRegistration),
                client_cert_expiration_seconds: options.client_cert_expiration_seconds,
                cluster_annotations: options.cluster_annotations.clone(),
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
    fn the_bootstrap_kubeconfig_reads_back() {
        let access = BootstrapAccess {
            server: "https://127.0.0.1:9443/spaces/its1",
            certificate_authority: Some("PEM"),
            token: "a.b.c",
            proxy_url: Some("http://proxy:3128"),
        };
        let text = bootstrap_kubeconfig(&access).expect("YAML");
        let read = Kubeconfig::parse(&text).expect("a kubeconfig");
        assert_eq!(read.current_context, "bootstrap");
        assert_eq!(read.clusters[0].name, "hub");
        assert_eq!(
            read.clusters[0].cluster.server.as_deref(),
            Some(access.server)
        );
        assert_eq!(
            read.clusters[0].cluster.other["proxy-url"],
            "http://proxy:3128"
        );
        assert_eq!(read.users[0].user.token.as_deref(), Some("a.b.c"));
        assert_eq!(
            read.contexts[0].context.namespace.as_deref(),
            Some("default")
        );
    }

    #[test]
    fn hosted_modes_are_refused_with_the_reason() {
        assert_eq!(Mode::parse(""), Ok(Mode::Default));
        assert_eq!(Mode::parse("Singleton"), Ok(Mode::Singleton));
        let error = Mode::parse("SingletonHosted")
            .expect_err("refused")
            .to_string();
        assert!(
            error.contains("runs in the cluster it works for"),
            "{error}"
        );
        assert!(Mode::parse("Nonsense").is_err());
    }
}
