//! Group `cluster.open-cluster-management.io`: inventory objects, their sets, and the claims WECs
//! make about themselves.

use crate::kind::kind;
use crate::kind::part;
use crate::names::CLUSTER_GROUP;
use k8s_openapi::apimachinery::pkg::api::resource::Quantity;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::collections::BTreeMap;

/// Lease duration when `spec.leaseDurationSeconds` is absent or 0, in seconds; the CRD's default.
pub const LEASE_DURATION_SECONDS_DEFAULT: i32 = 60;

kind! {
    /// The inventory object: one WEC, registered or asking to be.
    ManagedCluster, CLUSTER_GROUP, "v1", "managedclusters", ClusterResourceScope,
    spec: ManagedClusterSpec, status: ManagedClusterStatus
}

/// What the administrator of an ITS decides about a WEC.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ManagedClusterSpec {
    /// Whether the hub lets this WEC in. Only an administrator sets it. It is written when false
    /// too, as OCM's agents do, so that listings show it.
    #[serde(deserialize_with = "crate::kind::null_as_default")]
    pub hub_accepts_client: bool,
    /// Seconds between two renewals of the agent's lease; 0 means the default.
    #[serde(
        deserialize_with = "crate::kind::null_as_default",
        skip_serializing_if = "crate::kind::is_default"
    )]
    pub lease_duration_seconds: i32,
    /// Addresses of the WEC's own API server, for those who want to call it.
    #[serde(
        deserialize_with = "crate::kind::null_as_default",
        skip_serializing_if = "crate::kind::is_default"
    )]
    pub managed_cluster_client_configs: Vec<ClientConfig>,
    /// Marks that keep placements away from this WEC.
    #[serde(
        deserialize_with = "crate::kind::null_as_default",
        skip_serializing_if = "crate::kind::is_default"
    )]
    pub taints: Vec<Taint>,
}

impl ManagedClusterSpec {
    /// The lease duration in force, in seconds.
    pub fn effective_lease_duration_seconds(&self) -> i32 {
        if self.lease_duration_seconds > 0 {
            self.lease_duration_seconds
        } else {
            LEASE_DURATION_SECONDS_DEFAULT
        }
    }
}

part! {
    /// An address of a WEC's API server.
    ClientConfig {
        /// The URL; https only.
        url: String,
        /// The certificate authority of the URL's server, base64 of PEM.
        ca_bundle: Option<String>,
    }
}

part! {
    /// A mark that keeps placements away from a WEC, unless they tolerate it.
    Taint {
        /// Which mark; a qualified name, unique in its list.
        key: String,
        /// An optional value for tolerations to compare.
        value: Option<String>,
        /// `NoSelect`, `PreferNoSelect` or `NoSelectIfNew`.
        effect: String,
        /// When the taint was set, by the hub's clock.
        time_added: Option<Time>,
    }
}

part! {
    /// What the hub and the agent report of a WEC.
    ManagedClusterStatus {
        /// Conditions, one a type; see [`crate::conditions`].
        conditions: Vec<Condition>,
        /// Resources of all nodes together.
        capacity: BTreeMap<String, Quantity>,
        /// Resources of all schedulable nodes together.
        allocatable: BTreeMap<String, Quantity>,
        /// The version of the WEC's API server.
        version: ClusterVersion,
        /// Facts the WEC states about itself.
        cluster_claims: Vec<StatedClaim>,
        /// Namespaces the sets of this WEC want in it.
        managed_namespaces: Vec<ManagedNamespaceStatus>,
    }
}

part! {
    /// The version of a WEC.
    ClusterVersion {
        /// As its API server reports it, for example `v1.37.0`.
        kubernetes: String,
    }
}

part! {
    /// One fact stated by a WEC.
    StatedClaim {
        /// Name of the claim.
        name: String,
        /// Its value.
        value: String,
    }
}

part! {
    /// A namespace that a set wants in its members.
    ManagedNamespaceStatus {
        /// Name of the namespace.
        name: String,
        /// The set that wants it.
        cluster_set: String,
        /// Whether the agent made it.
        conditions: Vec<Condition>,
    }
}

kind! {
    /// A named group of inventory objects.
    ManagedClusterSet, CLUSTER_GROUP, "v1beta2", "managedclustersets", ClusterResourceScope,
    spec: ManagedClusterSetSpec, status: ManagedClusterSetStatus
}

part! {
    /// Who belongs to a set.
    ManagedClusterSetSpec {
        /// How members are found.
        cluster_selector: ClusterSelector,
        /// Namespaces that every member shall have.
        managed_namespaces: Vec<ManagedNamespace>,
    }
}

part! {
    /// How members of a set are found.
    ClusterSelector {
        /// `ExclusiveClusterSetLabel` (the default) or `LabelSelector`.
        selector_type: String,
        /// Used with `LabelSelector`; an empty selector matches every inventory object.
        label_selector: Option<LabelSelector>,
    }
}

part! {
    /// A namespace that every member of a set shall have.
    ManagedNamespace {
        /// Its name.
        name: String,
    }
}

part! {
    /// What the hub reports of a set.
    ManagedClusterSetStatus {
        /// Holds `ClusterSetEmpty`.
        conditions: Vec<Condition>,
    }
}

kind! {
    /// Lets a namespace use the members of a set; named like the set.
    ManagedClusterSetBinding, CLUSTER_GROUP, "v1beta2", "managedclustersetbindings",
    NamespaceResourceScope,
    spec: ManagedClusterSetBindingSpec, status: ManagedClusterSetBindingStatus
}

part! {
    /// Which set is bound.
    ManagedClusterSetBindingSpec {
        /// Name of the set.
        cluster_set: String,
    }
}

part! {
    /// What the hub reports of a binding.
    ManagedClusterSetBindingStatus {
        /// Holds `Bound`.
        conditions: Vec<Condition>,
    }
}

kind! {
    /// A fact that a WEC states about itself, in the WEC.
    ClusterClaim, CLUSTER_GROUP, "v1alpha1", "clusterclaims", ClusterResourceScope,
    spec: ClusterClaimSpec
}

part! {
    /// The fact.
    ClusterClaimSpec {
        /// 1 to 1024 characters.
        value: String,
    }
}

kind! {
    /// A fact that a WEC states about itself, in the words of the Kubernetes multicluster group.
    ClusterProperty, "about.k8s.io", "v1alpha1", "clusterproperties", ClusterResourceScope,
    spec: ClusterPropertySpec
}

part! {
    /// The fact.
    ClusterPropertySpec {
        /// At least one character.
        value: String,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn an_object_written_by_a_go_client_is_read_with_its_nulls() {
        let object: ManagedCluster = serde_json::from_value(json!({
            "kind": "ManagedCluster",
            "apiVersion": "cluster.open-cluster-management.io/v1",
            "metadata": {"name": "cluster1"},
            "spec": {"hubAcceptsClient": false},
            "status": {"conditions": null, "version": {}},
        }))
        .unwrap();
        assert_eq!(object.metadata.name.as_deref(), Some("cluster1"));
        assert_eq!(object.spec.effective_lease_duration_seconds(), 60);
        assert_eq!(object.status, ManagedClusterStatus::default());
    }

    #[test]
    fn a_new_object_names_its_kind_and_leaves_defaults_out() {
        let object = ManagedCluster::new("cluster1", ManagedClusterSpec::default());
        assert_eq!(
            serde_json::to_value(&object).unwrap(),
            json!({
                "apiVersion": "cluster.open-cluster-management.io/v1",
                "kind": "ManagedCluster",
                "metadata": {"name": "cluster1"},
                "spec": {"hubAcceptsClient": false},
            })
        );
    }
}
