//! What `clusteradm init` applies to an ITS, as plain objects in the order of application.
//!
//! The first object is the CRD `clustermanagers`; the caller waits until it is established before
//! it applies the rest.

use crate::hub;
use crate::manifests;
use crate::manifests::Program;
use crate::manifests::named_rule;
use crate::manifests::rule;
use crate::operator;
use hyades_api::cluster::ManagedCluster;
use hyades_api::crds;
use hyades_api::features::Family;
use hyades_api::features::FeatureGates;
use hyades_api::image::Component;
use hyades_api::names;
use hyades_api::names::annotations;
use hyades_api::names::apps;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use hyades_api::operator::ClusterManager;
use hyades_api::operator::ClusterManagerDeployOption;
use hyades_api::operator::ClusterManagerSpec;
use hyades_api::operator::CsrDriver;
use hyades_api::operator::GatedConfiguration;
use hyades_api::operator::HubRegistrationConfiguration;
use hyades_api::operator::HubRegistrationDriver;
use hyades_api::operator::HubWorkConfiguration;
use hyades_api::operator::ResourceRequirement;
use hyades_pki::BootstrapToken;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::kube::Resource;
use serde_json::Value;
use serde_json::json;

/// The families of feature gates that `clusteradm init --feature-gates` may set.
pub const FEATURE_FAMILIES: [Family; 3] = [
    Family::HubRegistration,
    Family::HubWork,
    Family::AddOnManager,
];

/// How new agents present themselves.
#[derive(Debug)]
pub enum Bootstrap {
    /// With a short-lived token of a service account.
    ServiceAccount,
    /// With this bootstrap token, which does not expire. Its id must be `ocmhub`, the one that
    /// the Secret is named after; see [`names::BOOTSTRAP_TOKEN_ID`].
    Token(BootstrapToken),
}

/// What `clusteradm init` lets its user choose.
#[derive(Debug)]
pub struct InstallOptions {
    /// Image of operator and hub; must be this project's.
    pub image: String,
    /// Whether the operator's namespace is among the objects.
    pub create_namespace: bool,
    /// How new agents present themselves.
    pub bootstrap: Bootstrap,
    /// Feature gates, made over [`FEATURE_FAMILIES`].
    pub feature_gates: FeatureGates,
    /// Users whose bootstrap requests are approved without asking.
    pub auto_approve_users: Vec<String>,
    /// Resources of the hub's pods.
    pub resources: ResourceRequirement,
    /// A `.dockerconfigjson` for the pull secret; an empty one if absent.
    pub image_pull_credential: Option<String>,
    /// Whether what is made for the ClusterManager gets its labels.
    pub sync_labels: bool,
}

impl Default for InstallOptions {
    fn default() -> Self {
        Self {
            image: hyades_api::image::reference(),
            create_namespace: true,
            bootstrap: Bootstrap::ServiceAccount,
            feature_gates: FeatureGates::defaults(&FEATURE_FAMILIES),
            auto_approve_users: Vec::new(),
            resources: ResourceRequirement {
                r#type: "Default".to_owned(),
                resource_requirements: None,
            },
            image_pull_credential: None,
            sync_labels: false,
        }
    }
}

/// Renders the objects.
pub fn objects(options: &InstallOptions) -> Vec<Value> {
    let mut objects = vec![crds::cluster_manager()];
    if options.create_namespace {
        objects.push(manifests::namespace(namespaces::OPERATOR));
    }
    objects.push(pull_secret(options.image_pull_credential.as_deref()));
    objects.extend(operator_objects(options));
    objects.extend(bootstrap_objects(&options.bootstrap));
    objects.push(json!(cluster_manager(options)));
    objects
}

fn pull_secret(credential: Option<&str>) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": names::IMAGE_PULL_SECRET,
            "namespace": namespaces::OPERATOR,
        },
        "type": "kubernetes.io/dockerconfigjson",
        "data": {".dockerconfigjson": encoded(credential.unwrap_or(r#"{"auths":{}}"#))},
    })
}

/// A value of a Secret's `data`.
fn encoded(text: &str) -> ByteString {
    ByteString(text.as_bytes().to_vec())
}

fn operator_objects(options: &InstallOptions) -> [Value; 4] {
    let name = names::CLUSTER_MANAGER;
    let deployment = manifests::deployment(Program {
        name,
        namespace: namespaces::OPERATOR,
        app: apps::CLUSTER_MANAGER,
        container: "registration-operator",
        account: name,
        image: &options.image,
        component: Component::ClusterManager,
        flags: match options.sync_labels {
            true => vec!["--enable-sync-labels".to_owned()],
            false => Vec::new(),
        },
        resources: manifests::resources(None),
    });
    [
        manifests::service_account(namespaces::OPERATOR, name),
        manifests::cluster_role(name, [operator::rules(), hub::rules()].concat()),
        manifests::cluster_role_binding(
            name,
            name,
            manifests::account_subject(namespaces::OPERATOR, name),
        ),
        deployment,
    ]
}

/// What an agent may do that has nothing but bootstrap credentials.
fn bootstrap_rules() -> Vec<Value> {
    let cluster = names::CLUSTER_GROUP;
    vec![
        // How `clusteradm join` finds the hub's authority; upstream's role opens every ConfigMap.
        named_rule(
            "",
            &["configmaps"],
            &["cluster-info", "kube-root-ca.crt"],
            &["get"],
        ),
        rule(
            "certificates.k8s.io",
            &["certificatesigningrequests"],
            &["create", "get", "list", "watch"],
        ),
        rule(
            cluster,
            &["managedclusters"],
            &["get", "create", "list", "watch"],
        ),
        rule(cluster, &["managedclustersets/join"], &["create"]),
    ]
}

fn bootstrap_objects(bootstrap: &Bootstrap) -> Vec<Value> {
    let role = names::BOOTSTRAP_CLUSTER_ROLE;
    let mut bootstrap_role = manifests::cluster_role(role, bootstrap_rules());
    // Many share these credentials: each looks up its own WEC, and nobody reads the inventory.
    bootstrap_role["metadata"]["annotations"] = json!({
        annotations::COLLECTIONS_SELECTED_BY: format!(
            "{},managedclusters.{}:metadata.name=*",
            hub::own_requests("*"),
            names::CLUSTER_GROUP
        ),
    });
    let mut objects = vec![bootstrap_role];
    match bootstrap {
        Bootstrap::ServiceAccount => {
            let account = names::BOOTSTRAP_SERVICE_ACCOUNT;
            objects.push(manifests::service_account(namespaces::OPERATOR, account));
            objects.push(manifests::cluster_role_binding(
                names::BOOTSTRAP_CLUSTER_ROLE_BINDING,
                role,
                manifests::account_subject(namespaces::OPERATOR, account),
            ));
        }
        Bootstrap::Token(token) => {
            objects.push(manifests::cluster_role_binding(
                names::BOOTSTRAP_TOKEN_CLUSTER_ROLE_BINDING,
                role,
                manifests::group_subject(names::BOOTSTRAP_TOKEN_GROUP),
            ));
            objects.push(token_secret(token));
        }
    }
    objects
}

fn token_secret(token: &BootstrapToken) -> Value {
    json!({
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": {
            "name": format!("bootstrap-token-{}", token.id()),
            "namespace": namespaces::KUBE_SYSTEM,
            "labels": {labels::APP: apps::CLUSTER_MANAGER},
        },
        "type": "bootstrap.kubernetes.io/token",
        "data": {
            "token-id": encoded(token.id()),
            "token-secret": encoded(token.secret()),
            "usage-bootstrap-authentication": encoded("true"),
            "auth-extra-groups": encoded(names::BOOTSTRAP_TOKEN_GROUP),
        },
    })
}

fn cluster_manager(options: &InstallOptions) -> ClusterManager {
    let gates = &options.feature_gates;
    let image = || options.image.clone();
    ClusterManager::new(
        names::CLUSTER_MANAGER,
        ClusterManagerSpec {
            registration_image_pull_spec: image(),
            work_image_pull_spec: image(),
            placement_image_pull_spec: image(),
            add_on_manager_image_pull_spec: image(),
            deploy_option: ClusterManagerDeployOption {
                mode: "Default".to_owned(),
            },
            registration_configuration: Some(HubRegistrationConfiguration {
                auto_approve_users: options.auto_approve_users.clone(),
                feature_gates: gates.settings(Family::HubRegistration),
                registration_drivers: vec![HubRegistrationDriver {
                    auth_type: "csr".to_owned(),
                    csr: Some(CsrDriver {
                        auto_approved_identities: options.auto_approve_users.clone(),
                    })
                    .filter(|driver| !driver.auto_approved_identities.is_empty()),
                }],
                importer_configuration: None,
            }),
            work_configuration: Some(HubWorkConfiguration {
                work_driver: "kube".to_owned(),
                feature_gates: gates.settings(Family::HubWork),
            }),
            add_on_manager_configuration: Some(GatedConfiguration {
                feature_gates: gates.settings(Family::AddOnManager),
            }),
            resource_requirement: Some(options.resources.clone()),
            ..ClusterManagerSpec::default()
        },
    )
}

/// Whether a discovery document of `cluster.open-cluster-management.io/v1` is that of a hub: it
/// must name this resource.
pub fn hub_resource() -> String {
    ManagedCluster::plural(&()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addresses(objects: &[Value]) -> Vec<String> {
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        let address = |object: &Value| {
            let metadata = &object["metadata"];
            format!(
                "{} {}/{}",
                text(&object["kind"]),
                text(&metadata["namespace"]),
                text(&metadata["name"])
            )
        };
        objects.iter().map(address).collect()
    }

    #[test]
    fn the_service_account_flavour_has_upstreams_objects() {
        let objects = objects(&InstallOptions::default());
        expect_test::expect![[r#"
            CustomResourceDefinition -/clustermanagers.operator.open-cluster-management.io
            Namespace -/open-cluster-management
            Secret open-cluster-management/open-cluster-management-image-pull-credentials
            ServiceAccount open-cluster-management/cluster-manager
            ClusterRole -/cluster-manager
            ClusterRoleBinding -/cluster-manager
            Deployment open-cluster-management/cluster-manager
            ClusterRole -/open-cluster-management:bootstrap
            ServiceAccount open-cluster-management/agent-registration-bootstrap
            ClusterRoleBinding -/open-cluster-management:bootstrap:agent-registration
            ClusterManager -/cluster-manager"#]]
        .assert_eq(&addresses(&objects).join("\n"));
    }

    #[test]
    fn the_token_flavour_writes_the_token_and_binds_its_group() {
        let token: BootstrapToken = "ocmhub.0123456789abcdef".parse().expect("a token");
        let objects = objects(&InstallOptions {
            bootstrap: Bootstrap::Token(token),
            create_namespace: false,
            ..InstallOptions::default()
        });
        let addresses = addresses(&objects);
        assert!(addresses.contains(&"Secret kube-system/bootstrap-token-ocmhub".to_owned()));
        assert!(!addresses.contains(&"Namespace -/open-cluster-management".to_owned()));
        let secret = objects
            .iter()
            .find(|object| object["type"] == "bootstrap.kubernetes.io/token")
            .expect("the token's Secret");
        assert_eq!(secret["data"]["token-id"], "b2NtaHVi");
        let binding = objects
            .iter()
            .find(|object| {
                object["metadata"]["name"] == names::BOOTSTRAP_TOKEN_CLUSTER_ROLE_BINDING
            })
            .expect("the group's binding");
        assert_eq!(
            binding["subjects"][0]["name"],
            "system:bootstrappers:managedcluster"
        );
    }

    #[test]
    fn the_operator_copies_labels_when_asked_to() {
        let args = |sync_labels| {
            let options = InstallOptions {
                sync_labels,
                ..InstallOptions::default()
            };
            let objects = objects(&options);
            let deployment = objects.iter().find(|object| object["kind"] == "Deployment");
            deployment.expect("the operator")["spec"]["template"]["spec"]["containers"][0]["args"]
                .clone()
        };
        assert_eq!(args(false), json!(["component", "cluster-manager"]));
        assert_eq!(
            args(true),
            json!(["component", "cluster-manager", "--enable-sync-labels"])
        );
    }

    #[test]
    fn nobody_may_escalate_and_the_operator_holds_every_right_of_the_hub() {
        let objects = objects(&InstallOptions::default());
        let role = objects
            .iter()
            .find(|object| {
                object["kind"] == "ClusterRole" && object["metadata"]["name"] == "cluster-manager"
            })
            .expect("the operator's role");
        let rules = role["rules"].as_array().expect("rules");
        for rule in hub::rules() {
            assert!(rules.contains(&rule), "{rule}");
        }
        for rule in rules {
            let verbs = rule["verbs"].as_array().expect("verbs");
            assert!(!verbs.contains(&json!("escalate")) && !verbs.contains(&json!("bind")));
            assert!(!verbs.contains(&json!("*")), "{rule}");
        }
    }
}
