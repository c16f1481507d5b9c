//! Group `addon.open-cluster-management.io`: add-ons, their configuration and how far it has come.
//!
//! ```text
//! ClusterManagementAddOn ──install strategy──▶ ManagedClusterAddOn, one a WEC
//!        │ default configs                          │ own configs, status
//!        ▼                                          ▼
//! AddOnTemplate + AddOnDeploymentConfig ──rendered──▶ works, registration, rights
//! ```
//!
//! The views are those of `v1alpha1`, the version in which objects are stored and which hubs and
//! agents of every age serve and read. [`convert`] holds the way to `v1beta1` and back.

pub mod conditions;
mod config;
pub mod convert;
pub mod identity;
pub mod names;
pub mod review;

pub use config::*;

use crate::kind::kind;
use crate::kind::part;
use crate::names::ADDON_GROUP;
use crate::rollout::RolloutStrategy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use serde_json::Value;

kind! {
    /// An add-on enabled for one WEC, in its mailbox.
    ManagedClusterAddOn, ADDON_GROUP, "v1alpha1", "managedclusteraddons", NamespaceResourceScope,
    spec: ManagedClusterAddOnSpec, status: ManagedClusterAddOnStatus
}

part! {
    /// Where the add-on goes and how it is configured.
    ManagedClusterAddOnSpec {
        /// Namespace of the add-on's agent in the WEC.
        install_namespace: Option<String>,
        /// Configuration of this WEC; goes before that of the ClusterManagementAddOn.
        configs: Vec<AddOnConfig>,
    }
}

part! {
    /// How the add-on fares.
    ManagedClusterAddOnStatus {
        /// Conditions, one a type.
        conditions: Vec<Condition>,
        /// Objects that have to do with the add-on.
        related_objects: Vec<RelatedObject>,
        /// What the add-on is called.
        add_on_meta: Option<AddOnMeta>,
        /// The kinds of configuration the add-on takes.
        supported_configs: Vec<ConfigGroupResource>,
        /// The configuration wanted and the one that was applied last.
        config_references: Vec<ConfigReference>,
        /// The identities the agent of the WEC shall get for the add-on.
        registrations: Vec<RegistrationConfig>,
        /// Namespace of the add-on's agent in the WEC, as the hub decided.
        namespace: String,
        /// Who says whether the add-on is well.
        health_check: Option<HealthCheck>,
        /// How the agent got the add-on's credentials for the hub: `csr` or `token`.
        kube_client_driver: String,
    }
}

part! {
    /// Points at a configuration.
    AddOnConfig {
        /// API group of the configuration; empty for the core group.
        group: String,
        /// Plural name of its resource.
        resource: String,
        /// Its namespace; empty for cluster-scoped ones.
        namespace: String,
        /// Its name.
        name: String,
    }
}

part! {
    /// A kind of configuration.
    #[derive(Eq, Hash, PartialOrd, Ord)]
    ConfigGroupResource {
        /// API group; empty for the core group.
        group: String,
        /// Plural name of the resource.
        resource: String,
    }
}

part! {
    /// Name and namespace of a configuration.
    #[derive(Eq, Hash, PartialOrd, Ord)]
    ConfigReferent {
        /// Namespace; empty for cluster-scoped ones.
        namespace: String,
        /// Name.
        name: String,
    }
}

part! {
    /// A configuration, and a fingerprint of its spec.
    #[derive(Eq, Hash, PartialOrd, Ord)]
    ConfigSpecHash {
        /// Namespace; empty for cluster-scoped ones.
        namespace: String,
        /// Name.
        name: String,
        /// SHA-256 of the spec, in hexadecimal; empty while the configuration is not found.
        spec_hash: String,
    }
}

part! {
    /// What became of one configuration of an add-on in one WEC.
    ConfigReference {
        /// API group of the configuration.
        group: String,
        /// Plural name of its resource.
        resource: String,
        /// Its namespace.
        namespace: String,
        /// Its name.
        name: String,
        /// What shall be applied.
        desired_config: Option<ConfigSpecHash>,
        /// What was applied last.
        last_applied_config: Option<ConfigSpecHash>,
        /// Generation of the configuration seen last.
        last_observed_generation: i64,
    }
}

part! {
    /// Points at an object of the hub.
    RelatedObject {
        /// API group.
        group: String,
        /// Plural name of the resource.
        resource: String,
        /// Namespace; empty for cluster-scoped ones.
        namespace: String,
        /// Name.
        name: String,
    }
}

part! {
    /// What an add-on is called.
    AddOnMeta {
        /// For people.
        display_name: String,
        /// A sentence.
        description: String,
    }
}

part! {
    /// An identity the agent of the WEC asks for on behalf of the add-on.
    RegistrationConfig {
        /// The signer; `kubernetes.io/kube-apiserver-client` for credentials of the hub.
        signer_name: String,
        /// Whom the certificate is for.
        subject: Subject,
    }
}

part! {
    /// Whom a certificate is for.
    #[derive(Eq)]
    Subject {
        /// Common name.
        user: String,
        /// Organizations.
        groups: Vec<String>,
        /// Organizational units.
        organization_unit: Vec<String>,
    }
}

part! {
    /// Who says whether an add-on is well.
    HealthCheck {
        /// `Lease` (the default) or `Customized`.
        mode: String,
    }
}

kind! {
    /// An add-on offered to all WECs.
    ClusterManagementAddOn, ADDON_GROUP, "v1alpha1", "clustermanagementaddons", ClusterResourceScope,
    spec: ClusterManagementAddOnSpec, status: ClusterManagementAddOnStatus
}

part! {
    /// What the add-on is, where it goes and how it is configured.
    ClusterManagementAddOnSpec {
        /// What the add-on is called.
        add_on_meta: Option<AddOnMeta>,
        /// The kinds of configuration it takes, with defaults.
        supported_configs: Vec<SupportedConfig>,
        /// Where it goes.
        install_strategy: InstallStrategy,
    }
}

part! {
    /// A kind of configuration, and the one used unless told otherwise.
    SupportedConfig {
        /// API group; empty for the core group.
        group: String,
        /// Plural name of the resource.
        resource: String,
        /// The default.
        default_config: Option<ConfigReferent>,
    }
}

part! {
    /// Where an add-on goes.
    InstallStrategy {
        /// `Manual` (the default) or `Placements`.
        r#type: String,
        /// With `Placements`: to the WECs these select. A WEC of several belongs to the last.
        placements: Vec<PlacementStrategy>,
    }
}

part! {
    /// The WECs of one placement, and how the add-on comes to them.
    PlacementStrategy {
        /// Namespace of the placement.
        namespace: String,
        /// Its name.
        name: String,
        /// Configuration of these WECs; goes before the defaults.
        configs: Vec<AddOnConfig>,
        /// How a new configuration spreads.
        rollout_strategy: RolloutStrategy,
    }
}

part! {
    /// How far an add-on has come.
    ClusterManagementAddOnStatus {
        /// The default configuration, with fingerprints.
        defaultconfig_references: Vec<DefaultConfigReference>,
        /// Progress, one a placement.
        install_progressions: Vec<InstallProgression>,
    }
}

part! {
    /// A default configuration, with its fingerprint.
    DefaultConfigReference {
        /// API group.
        group: String,
        /// Plural name of the resource.
        resource: String,
        /// The default as it is now.
        desired_config: Option<ConfigSpecHash>,
    }
}

part! {
    /// How far the WECs of one placement have come.
    InstallProgression {
        /// Namespace of the placement.
        namespace: String,
        /// Its name.
        name: String,
        /// The configuration of these WECs.
        config_references: Vec<InstallConfigReference>,
        /// Conditions, one a type.
        conditions: Vec<Condition>,
    }
}

part! {
    /// What became of one configuration in the WECs of one placement.
    InstallConfigReference {
        /// API group.
        group: String,
        /// Plural name of the resource.
        resource: String,
        /// What shall be applied.
        desired_config: Option<ConfigSpecHash>,
        /// What all WECs had last.
        last_applied_config: Option<ConfigSpecHash>,
        /// What all WECs had last and were well with.
        last_known_good_config: Option<ConfigSpecHash>,
    }
}

kind! {
    /// An add-on described by templates only.
    ///
    /// The spec is JSON as it was written, because its fingerprint covers all of it; see
    /// [`AddOnTemplate::content`].
    AddOnTemplate, ADDON_GROUP, "v1alpha1", "addontemplates", ClusterResourceScope,
    spec: Value
}

part! {
    /// What the add-on consists of.
    AddOnTemplateSpec {
        /// Name of the add-on.
        addon_name: String,
        /// The spec of a ManifestWork, with placeholders `{{NAME}}` in its manifests. Kept as JSON,
        /// so that fields this version does not know go into the work all the same.
        agent_spec: Value,
        /// The identities of the add-on's agent.
        registration: Vec<TemplateRegistration>,
    }
}

part! {
    /// An identity of the add-on's agent.
    TemplateRegistration {
        /// `KubeClient` or `CustomSigner`.
        r#type: String,
        /// With `KubeClient`: what the agent may do on the hub.
        kube_client: Option<KubeClientRegistration>,
        /// With `CustomSigner`: who signs.
        custom_signer: Option<CustomSignerRegistration>,
    }
}

part! {
    /// What an add-on's agent may do on the hub.
    KubeClientRegistration {
        /// Roles it is bound to.
        hub_permissions: Vec<HubPermission>,
    }
}

part! {
    /// A role that an add-on's agent is bound to.
    HubPermission {
        /// `CurrentCluster` or `SingleNamespace`.
        r#type: String,
        /// With `CurrentCluster`: in the mailbox of its WEC.
        current_cluster: Option<CurrentClusterPermission>,
        /// With `SingleNamespace`: in one namespace, the same for all WECs.
        single_namespace: Option<SingleNamespacePermission>,
    }
}

part! {
    /// A role bound in the mailbox of the WEC.
    CurrentClusterPermission {
        /// Name of the ClusterRole.
        cluster_role_name: String,
    }
}

part! {
    /// A role bound in one namespace.
    SingleNamespacePermission {
        /// The namespace.
        namespace: String,
        /// The role.
        role_ref: RoleReference,
    }
}

part! {
    /// Points at a Role or ClusterRole.
    RoleReference {
        /// `rbac.authorization.k8s.io`.
        api_group: String,
        /// `Role` or `ClusterRole`.
        kind: String,
        /// Name.
        name: String,
    }
}

part! {
    /// Who signs certificates of an add-on's agent.
    CustomSignerRegistration {
        /// Name of the signer.
        signer_name: String,
        /// Whom certificates are for; the add-on's default identity if absent.
        subject: Option<Subject>,
        /// The Secret with the authority's certificate and key.
        #[serde(rename = "signingCA")]
        signing_ca: SigningAuthority,
    }
}

part! {
    /// A Secret of type `kubernetes.io/tls` on the hub.
    SigningAuthority {
        /// Namespace; the hub's own if empty.
        namespace: String,
        /// Name.
        name: String,
    }
}

impl AddOnConfig {
    /// Which kind of configuration it is.
    pub fn group_resource(&self) -> ConfigGroupResource {
        ConfigGroupResource {
            group: self.group.clone(),
            resource: self.resource.clone(),
        }
    }
}

impl ConfigReference {
    /// Which kind of configuration it is.
    pub fn group_resource(&self) -> ConfigGroupResource {
        ConfigGroupResource {
            group: self.group.clone(),
            resource: self.resource.clone(),
        }
    }
}

impl AddOnTemplate {
    /// What the add-on consists of.
    ///
    /// # Errors
    ///
    /// When the spec is not of its shape, which the API does not let in.
    pub fn content(&self) -> Result<AddOnTemplateSpec, serde_json::Error> {
        serde::Deserialize::deserialize(&self.spec)
    }
}

impl ManagedClusterAddOn {
    /// Namespace of the add-on's agent in the WEC: as the hub decided, else as the spec says, else
    /// as an object of `v1beta1` remembers, else the common one.
    pub fn effective_namespace(&self) -> &str {
        let annotations = self.metadata.annotations.as_ref();
        let remembered = annotations.and_then(|all| all.get(names::INSTALL_NAMESPACE));
        let wanted = [
            Some(self.status.namespace.as_str()),
            self.spec.install_namespace.as_deref(),
            remembered.map(String::as_str),
        ];
        wanted
            .into_iter()
            .flatten()
            .find(|name| !name.is_empty())
            .unwrap_or(crate::names::namespaces::AGENT_ADDON)
    }

    /// Whether someone else than the lease says how the add-on fares.
    pub fn is_customized_health(&self) -> bool {
        let check = self.status.health_check.as_ref();
        check.is_some_and(|check| check.mode == "Customized")
    }

    /// The cluster that hosts the agent, when it does not run in the WEC itself.
    pub fn hosting_cluster(&self) -> Option<&str> {
        let annotations = self.metadata.annotations.as_ref()?;
        let hosting = annotations.get(names::HOSTING_CLUSTER)?.as_str();
        (!hosting.is_empty()).then_some(hosting)
    }
}
