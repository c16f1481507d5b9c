//! Group `addon.open-cluster-management.io`: as much of an add-on as registration touches.

use crate::kind::kind;
use crate::kind::part;
use crate::names::ADDON_GROUP;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

kind! {
    /// An add-on enabled for one WEC, in its mailbox.
    ManagedClusterAddOn, ADDON_GROUP, "v1alpha1", "managedclusteraddons", NamespaceResourceScope,
    spec: ManagedClusterAddOnSpec, status: ManagedClusterAddOnStatus
}

part! {
    /// Where the add-on goes.
    ManagedClusterAddOnSpec {
        /// Namespace of the add-on's agent in the WEC.
        install_namespace: Option<String>,
    }
}

part! {
    /// How the add-on fares.
    ManagedClusterAddOnStatus {
        /// Conditions, one a type.
        conditions: Vec<Condition>,
    }
}
