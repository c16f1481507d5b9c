//! The kinds of objects that commands read and write.

use hyades_api::names::ADDON_GROUP;
use hyades_api::names::CLUSTER_GROUP;
use hyades_api::names::OPERATOR_GROUP;
use hyades_api::names::WORK_GROUP;
use hyades_runtime::kube::api::ApiResource;
use hyades_runtime::kube::core::GroupVersionKind;
use serde_json::Value;
use serde_json::json;

/// A kind of object, as the API names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kind {
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
}

const fn kind(
    group: &'static str,
    version: &'static str,
    kind: &'static str,
    plural: &'static str,
) -> Kind {
    Kind {
        group,
        version,
        kind,
        plural,
    }
}

/// The inventory objects.
pub const MANAGED_CLUSTER: Kind = kind(CLUSTER_GROUP, "v1", "ManagedCluster", "managedclusters");
/// Their sets.
pub const CLUSTER_SET: Kind = kind(
    CLUSTER_GROUP,
    "v1beta2",
    "ManagedClusterSet",
    "managedclustersets",
);
/// What lets a namespace use a set.
pub const SET_BINDING: Kind = kind(
    CLUSTER_GROUP,
    "v1beta2",
    "ManagedClusterSetBinding",
    "managedclustersetbindings",
);
/// Requests for a choice of clusters.
pub const PLACEMENT: Kind = kind(CLUSTER_GROUP, "v1beta1", "Placement", "placements");
/// The clusters chosen.
pub const PLACEMENT_DECISION: Kind = kind(
    CLUSTER_GROUP,
    "v1beta1",
    "PlacementDecision",
    "placementdecisions",
);
/// Works.
pub const MANIFEST_WORK: Kind = kind(WORK_GROUP, "v1", "ManifestWork", "manifestworks");
/// One work for every cluster of a placement.
pub const REPLICA_SET: Kind = kind(
    WORK_GROUP,
    "v1alpha1",
    "ManifestWorkReplicaSet",
    "manifestworkreplicasets",
);
/// Add-ons on offer.
pub const OFFERED_ADDON: Kind = kind(
    ADDON_GROUP,
    "v1alpha1",
    "ClusterManagementAddOn",
    "clustermanagementaddons",
);
/// Add-ons enabled for a cluster.
pub const ADDON: Kind = kind(
    ADDON_GROUP,
    "v1alpha1",
    "ManagedClusterAddOn",
    "managedclusteraddons",
);
/// What an add-on installs.
pub const ADDON_TEMPLATE: Kind = kind(ADDON_GROUP, "v1alpha1", "AddOnTemplate", "addontemplates");
/// Clusters that Cluster API makes.
pub const CAPI_CLUSTER: Kind = kind("cluster.x-k8s.io", "v1beta1", "Cluster", "clusters");
/// How the hub runs.
pub const CLUSTER_MANAGER: Kind = kind(OPERATOR_GROUP, "v1", "ClusterManager", "clustermanagers");
/// How the agent runs.
pub const KLUSTERLET: Kind = kind(OPERATOR_GROUP, "v1", "Klusterlet", "klusterlets");
/// Definitions of kinds.
pub const DEFINITION: Kind = kind(
    "apiextensions.k8s.io",
    "v1",
    "CustomResourceDefinition",
    "customresourcedefinitions",
);
/// Deployments.
pub const DEPLOYMENT: Kind = kind("apps", "v1", "Deployment", "deployments");
/// Secrets.
pub const SECRET: Kind = kind("", "v1", "Secret", "secrets");
/// Namespaces.
pub const NAMESPACE: Kind = kind("", "v1", "Namespace", "namespaces");
/// Accounts of pods.
pub const SERVICE_ACCOUNT: Kind = kind("", "v1", "ServiceAccount", "serviceaccounts");
/// Rights everywhere.
pub const CLUSTER_ROLE: Kind = kind(RBAC_GROUP, "v1", "ClusterRole", "clusterroles");
/// Who holds them.
pub const CLUSTER_ROLE_BINDING: Kind = kind(
    RBAC_GROUP,
    "v1",
    "ClusterRoleBinding",
    "clusterrolebindings",
);

const RBAC_GROUP: &str = "rbac.authorization.k8s.io";

impl Kind {
    /// `GROUP/VERSION`.
    pub fn api_version(&self) -> String {
        match self.group {
            "" => self.version.to_owned(),
            group => format!("{group}/{}", self.version),
        }
    }

    /// The name of the kind, such as `ManagedCluster`.
    pub fn name(&self) -> &'static str {
        self.kind
    }

    /// The name of the kind's definition, such as `managedclusters.cluster.open-cluster-management.io`.
    pub fn full_plural(&self) -> String {
        match self.group {
            "" => self.plural.to_owned(),
            group => format!("{}.{group}", self.plural),
        }
    }

    /// A new object of this kind, with nothing but its name.
    pub fn object(&self, namespace: Option<&str>, name: &str) -> Value {
        let mut object = json!({
            "apiVersion": self.api_version(),
            "kind": self.kind,
            "metadata": {"name": name},
        });
        if let Some(namespace) = namespace {
            object["metadata"]["namespace"] = json!(namespace);
        }
        object
    }

    /// That there is no such object, as an API server says it.
    pub fn not_found(&self, name: &str) -> String {
        format!("{} {name:?} not found", self.full_plural())
    }

    /// Where the API serves it.
    pub fn resource(&self) -> ApiResource {
        let gvk = GroupVersionKind::gvk(self.group, self.version, self.kind);
        ApiResource::from_gvk_with_plural(&gvk, self.plural)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_names_its_objects_as_the_api_does() {
        assert_eq!(
            SET_BINDING.not_found("global"),
            "managedclustersetbindings.cluster.open-cluster-management.io \"global\" not found"
        );
        assert_eq!(SECRET.full_plural(), "secrets");
        assert_eq!(
            PLACEMENT.object(Some("default"), "p"),
            json!({
                "apiVersion": "cluster.open-cluster-management.io/v1beta1",
                "kind": "Placement",
                "metadata": {"name": "p", "namespace": "default"},
            })
        );
    }
}
