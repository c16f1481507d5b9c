//! Group `operator.open-cluster-management.io`: how the hub of an ITS and the agent of a WEC run.

use crate::kind::kind;
use crate::kind::part;
use crate::names::OPERATOR_GROUP;
use k8s_openapi::api::core::v1::ResourceRequirements;
use k8s_openapi::api::core::v1::Toleration;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use std::collections::BTreeMap;

kind! {
    /// How the hub of an ITS runs.
    ClusterManager, OPERATOR_GROUP, "v1", "clustermanagers", ClusterResourceScope,
    spec: ClusterManagerSpec, status: OperatorStatus
}

part! {
    /// Settings of a hub.
    ClusterManagerSpec {
        /// Image of the hub's controllers.
        registration_image_pull_spec: String,
        /// Image of upstream's work controllers; unused here, kept for those who read it.
        work_image_pull_spec: String,
        /// Image of upstream's placement; unused here, kept for those who read it.
        placement_image_pull_spec: String,
        /// Image of upstream's add-on manager; unused here, kept for those who read it.
        add_on_manager_image_pull_spec: String,
        /// Where the hub's pods may run.
        node_placement: Option<NodePlacement>,
        /// Where the hub runs in relation to its ITS.
        deploy_option: ClusterManagerDeployOption,
        /// Settings of registration.
        registration_configuration: Option<HubRegistrationConfiguration>,
        /// Settings of works.
        work_configuration: Option<HubWorkConfiguration>,
        /// Settings of placement.
        placement_configuration: Option<GatedConfiguration>,
        /// Settings of add-ons.
        add_on_manager_configuration: Option<GatedConfiguration>,
        /// Resources of the hub's pods.
        resource_requirement: Option<ResourceRequirement>,
    }
}

part! {
    /// Where a hub runs.
    ClusterManagerDeployOption {
        /// `Default` or `Hosted`.
        mode: String,
    }
}

part! {
    /// Settings of registration on the hub.
    HubRegistrationConfiguration {
        /// Users whose bootstrap requests are approved without asking; the older way to say it.
        auto_approve_users: Vec<String>,
        /// Feature gates.
        feature_gates: Vec<FeatureGate>,
        /// Ways to register.
        registration_drivers: Vec<HubRegistrationDriver>,
        /// How agents of imported clusters are made.
        importer_configuration: Option<ImporterConfiguration>,
    }
}

part! {
    /// How agents of imported clusters are made.
    ImporterConfiguration {
        /// `render-auto`, from the hub's own settings, or `render-from-config-secret`.
        renderers: Vec<String>,
    }
}

part! {
    /// A way to register.
    HubRegistrationDriver {
        /// `csr`, `awsirsa` or `grpc`.
        auth_type: String,
        /// Settings of the `csr` way.
        csr: Option<CsrDriver>,
    }
}

part! {
    /// Settings of registration by certificate signing requests.
    CsrDriver {
        /// Users whose bootstrap requests are approved without asking.
        auto_approved_identities: Vec<String>,
    }
}

part! {
    /// Settings of works on the hub.
    HubWorkConfiguration {
        /// `kube`, `mqtt` or `grpc`.
        work_driver: String,
        /// Feature gates.
        feature_gates: Vec<FeatureGate>,
    }
}

part! {
    /// Settings that are nothing but feature gates.
    GatedConfiguration {
        /// Feature gates.
        feature_gates: Vec<FeatureGate>,
    }
}

part! {
    /// Switches a feature.
    FeatureGate {
        /// Its name; see [`crate::features`].
        feature: String,
        /// `Enable` or `Disable`.
        mode: String,
    }
}

kind! {
    /// How the agent of a WEC runs.
    Klusterlet, OPERATOR_GROUP, "v1", "klusterlets", ClusterResourceScope,
    spec: KlusterletSpec, status: OperatorStatus
}

part! {
    /// Settings of an agent.
    KlusterletSpec {
        /// Namespace of the agent; empty means `open-cluster-management-agent`.
        namespace: String,
        /// Image of the registration agent.
        registration_image_pull_spec: String,
        /// Image of the work agent.
        work_image_pull_spec: String,
        /// Image of the agent that is both in one process.
        image_pull_spec: String,
        /// Name under which the WEC registers; chosen at random if empty.
        cluster_name: String,
        /// Addresses of the WEC's API server to publish in the inventory object.
        #[serde(rename = "externalServerURLs")]
        external_server_urls: Vec<ServerUrl>,
        /// Where the agent's pods may run.
        node_placement: Option<NodePlacement>,
        /// How many processes the agent is, and where they run.
        deploy_option: KlusterletDeployOption,
        /// Settings of registration.
        registration_configuration: Option<AgentRegistrationConfiguration>,
        /// Settings of works.
        work_configuration: Option<AgentWorkConfiguration>,
        /// An extra host name for the hub's address.
        hub_api_server_host_alias: Option<HostAlias>,
        /// Resources of the agent's pods.
        resource_requirement: Option<ResourceRequirement>,
        /// Priority class of the agent's pods.
        priority_class_name: String,
    }
}

part! {
    /// An address of a WEC's API server.
    ServerUrl {
        /// The URL.
        url: String,
        /// The certificate authority of the URL's server, base64 of PEM.
        ca_bundle: Option<String>,
    }
}

part! {
    /// How many processes the agent is, and where they run.
    KlusterletDeployOption {
        /// `Default` (also when empty), `Singleton`, `Hosted` or `SingletonHosted`.
        mode: String,
    }
}

part! {
    /// Settings of registration in the agent.
    AgentRegistrationConfiguration {
        /// Feature gates.
        feature_gates: Vec<FeatureGate>,
        /// Lifetime asked for in certificate requests, in seconds; 0 leaves it to the signer.
        client_cert_expiration_seconds: i32,
        /// Annotations for the inventory object.
        cluster_annotations: BTreeMap<String, String>,
        /// Labels for the inventory object.
        cluster_labels: BTreeMap<String, String>,
        /// Ceiling for requests a second to the hub.
        #[serde(rename = "kubeAPIQPS")]
        kube_api_qps: i32,
        /// Ceiling for a burst of requests to the hub.
        #[serde(rename = "kubeAPIBurst")]
        kube_api_burst: i32,
        /// Several hubs to choose from.
        bootstrap_kube_configs: Option<BootstrapKubeConfigs>,
        /// The way to register.
        registration_driver: Option<AgentRegistrationDriver>,
        /// Which claims are reported.
        cluster_claim_configuration: Option<ClusterClaimConfiguration>,
        /// How add-ons get their hub credentials.
        add_on_kube_client_registration_driver: Option<AddOnRegistrationDriver>,
    }
}

part! {
    /// Several hubs to choose from.
    BootstrapKubeConfigs {
        /// `None` or `LocalSecrets`.
        r#type: String,
        /// Used with `LocalSecrets`.
        local_secrets_config: Option<LocalSecretsConfig>,
    }
}

part! {
    /// Bootstrap kubeconfigs in Secrets of the agent's namespace, in order of preference.
    LocalSecretsConfig {
        /// The Secrets.
        kube_config_secrets: Vec<KubeConfigSecret>,
        /// Seconds without contact after which another hub is looked for.
        hub_connection_timeout_seconds: i32,
    }
}

part! {
    /// A Secret with a bootstrap kubeconfig.
    KubeConfigSecret {
        /// Its name.
        name: String,
    }
}

part! {
    /// The way to register.
    AgentRegistrationDriver {
        /// `csr`, `awsirsa` or `grpc`.
        auth_type: String,
    }
}

part! {
    /// How add-ons get their hub credentials.
    AddOnRegistrationDriver {
        /// `csr` or `token`.
        auth_type: String,
        /// Settings of `token`.
        token: Option<AddOnToken>,
    }
}

part! {
    /// Tokens of add-ons.
    AddOnToken {
        /// Lifetime to ask for, in seconds; a year if 0.
        expiration_seconds: i64,
    }
}

part! {
    /// Which claims are reported.
    ClusterClaimConfiguration {
        /// Most claims reported besides the reserved ones.
        max_custom_cluster_claims: i32,
        /// Further endings that make a claim's name reserved.
        reserved_cluster_claim_suffixes: Vec<String>,
    }
}

part! {
    /// Settings of works in the agent.
    AgentWorkConfiguration {
        /// Feature gates.
        feature_gates: Vec<FeatureGate>,
        /// How often status is collected, for example `10s`.
        status_sync_interval: Option<String>,
        /// How long objects of a lost work are kept, for example `60m`.
        applied_manifest_work_eviction_grace_period: Option<String>,
        /// Ceiling for requests a second to the WEC.
        #[serde(rename = "kubeAPIQPS")]
        kube_api_qps: i32,
        /// Ceiling for a burst of requests to the WEC.
        #[serde(rename = "kubeAPIBurst")]
        kube_api_burst: i32,
        /// Ceiling for requests a second to the hub.
        #[serde(rename = "hubKubeAPIQPS")]
        hub_kube_api_qps: i32,
        /// Ceiling for a burst of requests to the hub.
        #[serde(rename = "hubKubeAPIBurst")]
        hub_kube_api_burst: i32,
    }
}

part! {
    /// An extra host name for an address.
    HostAlias {
        /// The address.
        ip: String,
        /// The name.
        hostname: String,
    }
}

part! {
    /// Where pods may run.
    NodePlacement {
        /// Labels a node must have.
        node_selector: BTreeMap<String, String>,
        /// Taints the pods tolerate.
        tolerations: Vec<Toleration>,
    }
}

part! {
    /// Resources of pods.
    ResourceRequirement {
        /// `Default`, `BestEffort` or `ResourceRequirement`.
        r#type: String,
        /// Used with `ResourceRequirement`.
        resource_requirements: Option<ResourceRequirements>,
    }
}

part! {
    /// What an operator reports.
    OperatorStatus {
        /// The generation of the spec that the rest of the status speaks of.
        observed_generation: i64,
        /// Conditions, one a type.
        conditions: Vec<Condition>,
        /// Generations of the objects made, as last applied.
        generations: Vec<GenerationStatus>,
        /// Objects made.
        related_resources: Vec<RelatedResource>,
    }
}

/// The generation of one object made by an operator. All of it is always written: the schema
/// requires it.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(default, rename_all = "camelCase")]
pub struct GenerationStatus {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural name of the resource.
    pub resource: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
    /// The generation after the last apply.
    pub last_generation: i64,
}

/// One object made by an operator. All of it is always written: the schema requires it.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(default)]
pub struct RelatedResource {
    /// API group; empty for the core group.
    pub group: String,
    /// API version.
    pub version: String,
    /// Plural name of the resource.
    pub resource: String,
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: String,
    /// Name.
    pub name: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn settings_with_abbreviations_are_read_under_upstreams_names() {
        let object: Klusterlet = serde_json::from_value(json!({
            "metadata": {"name": "klusterlet"},
            "spec": {
                "externalServerURLs": [{"url": "https://a"}],
                "registrationConfiguration": {"kubeAPIQPS": 50, "kubeAPIBurst": 100},
                "workConfiguration": {"hubKubeAPIQPS": 7},
            },
        }))
        .unwrap();
        assert_eq!(object.spec.external_server_urls[0].url, "https://a");
        let registration = object.spec.registration_configuration.unwrap();
        assert_eq!(
            (registration.kube_api_qps, registration.kube_api_burst),
            (50, 100)
        );
        assert_eq!(object.spec.work_configuration.unwrap().hub_kube_api_qps, 7);
    }
}
