//! Group `multicluster.x-k8s.io`: the inventory as SIG Multicluster has it.

use crate::cluster::ClusterVersion;
use crate::kind::kind;
use crate::kind::part;
use crate::names::PROFILE_GROUP;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

kind! {
    /// One WEC, told to a namespace that may use it.
    ClusterProfile, PROFILE_GROUP, "v1alpha1", "clusterprofiles", NamespaceResourceScope,
    spec: ClusterProfileSpec, status: ClusterProfileStatus
}

part! {
    /// Which WEC it is, and who manages it.
    ClusterProfileSpec {
        /// Name for people: that of the inventory object.
        display_name: String,
        /// Who manages it. Immutable.
        cluster_manager: ProfileManager,
    }
}

part! {
    /// A manager of clusters.
    ProfileManager {
        /// Its name.
        name: String,
    }
}

part! {
    /// What the WEC is like.
    ClusterProfileStatus {
        /// Conditions of SIG Multicluster: `ControlPlaneHealthy` and `Joined`.
        conditions: Vec<Condition>,
        /// The version of its API server.
        version: ClusterVersion,
        /// Facts the WEC states about itself.
        properties: Vec<ProfileProperty>,
    }
}

part! {
    /// One fact.
    ProfileProperty {
        /// Its name.
        name: String,
        /// Its value.
        value: String,
    }
}
