//! Group `cluster.x-k8s.io`: Cluster API, as far as the hub reads it.

use crate::kind::kind;
use crate::kind::part;
use crate::names::CAPI_GROUP;

kind! {
    /// A cluster that Cluster API makes.
    Cluster, CAPI_GROUP, "v1beta1", "clusters", NamespaceResourceScope,
    status: ClusterStatus
}

part! {
    /// How far it is.
    ClusterStatus {
        /// `Pending`, `Provisioning`, `Provisioned`, `Deleting`, `Failed` or `Unknown`.
        phase: String,
    }
}

/// The phase of a cluster whose API server can be reached.
pub const PROVISIONED: &str = "Provisioned";

/// The name of the Secret, beside the Cluster, that holds its kubeconfig.
pub fn kubeconfig_secret(cluster: &str) -> String {
    format!("{cluster}-kubeconfig")
}

/// The key of that Secret under which the kubeconfig stands.
pub const KUBECONFIG_KEY: &str = "value";
