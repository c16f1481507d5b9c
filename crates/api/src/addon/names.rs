//! The names that add-ons' hub and agents agree on.

use super::identity::AddOnName;
use crate::identity::ClusterName;

/// Annotation: the namespace that `v1alpha1` has a field for and `v1beta1` has not.
pub const INSTALL_NAMESPACE: &str = "addon.open-cluster-management.io/v1alpha1-install-namespace";
/// Annotation on a ManagedClusterAddOn: the cluster that hosts its agent.
pub const HOSTING_CLUSTER: &str = "addon.open-cluster-management.io/hosting-cluster-name";
/// Annotation on a ClusterManagementAddOn: who manages it; see [`LIFECYCLE_SELF`].
pub const LIFECYCLE: &str = "addon.open-cluster-management.io/lifecycle";
/// Value of [`LIFECYCLE`]: a manager of the add-on's own; the hub keeps its hands off.
pub const LIFECYCLE_SELF: &str = "self";
/// Start of the annotations that an inventory object hands down to its ManagedClusterAddOns.
pub const ANNOTATION_PREFIX: &str = "addon.open-cluster-management.io";
/// Annotation on a manifest: a Job or Pod that runs before the add-on goes.
pub const PRE_DELETE: &str = "addon.open-cluster-management.io/addon-pre-delete";
/// The older label of the same meaning as [`PRE_DELETE`].
pub const PRE_DELETE_LABEL: &str = "open-cluster-management.io/addon-pre-delete";
/// Annotation on a manifest: it stays when the add-on goes.
pub const DELETION_ORPHAN: &str = "addon.open-cluster-management.io/deletion-orphan";
/// Annotation on a work: the fingerprints of the configurations it was rendered from, as JSON.
pub const CONFIG_SPEC_HASH: &str = "open-cluster-management.io/config-spec-hash";
/// Annotation on an inventory object: registries of its images, as JSON.
pub const IMAGE_REGISTRIES: &str = "open-cluster-management.io/image-registries";
/// Label on what a template made on the hub; the value is the template's name, or empty.
pub const TEMPLATE_NAME: &str = "open-cluster-management.io/addon-template-name";
/// Label on a token's account and rights: the add-on's name.
pub const TOKEN_ADDON_NAME: &str = "addon.open-cluster-management.io/name";
/// Label on a token's account and rights; the value is `true`.
pub const TOKEN_INFRASTRUCTURE: &str = "addon.open-cluster-management.io/token-infrastructure";
/// Start of the labels on an inventory object that say how its add-ons fare.
pub const FEATURE_LABEL_PREFIX: &str = "feature.open-cluster-management.io/addon-";

/// Finalizer of a ManagedClusterAddOn, until its hook has run.
pub const PRE_DELETE_FINALIZER: &str = "addon.open-cluster-management.io/addon-pre-delete";
/// The older form of [`PRE_DELETE_FINALIZER`].
pub const PRE_DELETE_FINALIZER_OLD: &str = "cluster.open-cluster-management.io/addon-pre-delete";

/// Plural name of add-on templates.
pub const TEMPLATES: &str = "addontemplates";
/// Plural name of deployment configs.
pub const DEPLOYMENT_CONFIGS: &str = "addondeploymentconfigs";

/// In a template's containers: the directory of the hub's kubeconfig.
pub const HUB_KUBECONFIG_DIRECTORY: &str = "/managed/hub-kubeconfig";
/// In a template's containers: the hub's kubeconfig.
pub const HUB_KUBECONFIG_PATH: &str = "/managed/hub-kubeconfig/kubeconfig";
/// In a template's containers: the directory of the proxy's authorities.
pub const PROXY_CA_DIRECTORY: &str = "/managed/proxy-ca";
/// In [`PROXY_CA_DIRECTORY`]: the authorities, PEM.
pub const PROXY_CA_KEY: &str = "ca-bundle.crt";

/// The Secret in the WEC with an add-on's credentials for the hub.
pub fn hub_kubeconfig_secret(addon: &AddOnName) -> String {
    format!("{addon}-hub-kubeconfig")
}

/// The Secret in the WEC with a certificate of another signer.
pub fn client_certificate_secret(addon: &AddOnName, signer: &str) -> String {
    format!("{addon}-{}-client-cert", signer.replace('/', "-"))
}

/// The ConfigMap in the WEC with the proxy's authorities.
pub fn proxy_ca_config_map(addon: &AddOnName) -> String {
    format!("{addon}-proxy-ca")
}

/// Start of the names of an add-on's certificate signing requests, for `generateName`.
pub fn csr_name_prefix(cluster: &ClusterName, addon: &AddOnName) -> String {
    format!("addon-{cluster}-{addon}-")
}

/// The work that brings an add-on's manifests to the WEC. Upstream numbers them; one suffices
/// here, as a work holds as much as a template.
pub fn deploy_work(addon: &AddOnName) -> String {
    format!("addon-{addon}-deploy-0")
}

/// Start of the names of the works that bring an add-on's manifests.
pub fn deploy_work_prefix(addon: &AddOnName) -> String {
    format!("addon-{addon}-deploy")
}

/// The work that holds an add-on's hooks.
pub fn pre_delete_work(addon: &AddOnName) -> String {
    format!("addon-{addon}-pre-delete")
}

/// The label on an inventory object that says how an add-on fares.
pub fn feature_label(addon: &AddOnName) -> String {
    format!("{FEATURE_LABEL_PREFIX}{addon}")
}

/// The service account whose token an add-on's agent presents to the hub, in the mailbox.
pub fn token_account(addon: &AddOnName) -> String {
    format!("{addon}-agent")
}

/// Role and RoleBinding that let the WEC's agent ask for that account's token, in the mailbox.
pub fn token_role(addon: &AddOnName) -> String {
    format!("{addon}-token-role")
}

/// The binding of an add-on's agent to a role of `kind` on the hub, in a mailbox.
pub fn permission_binding(addon: &AddOnName, kind: &str) -> String {
    format!(
        "open-cluster-management:{addon}:{}:agent",
        kind.to_lowercase()
    )
}
