//! Names of resources and the keys under which their objects are stored.

use std::borrow::Cow;
use std::fmt;

use crate::status::Qualified;

/// Group, version and resource.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Gvr {
    /// API group; empty for the core group.
    pub group: Cow<'static, str>,
    /// API version.
    pub version: Cow<'static, str>,
    /// Resource, in the plural.
    pub resource: Cow<'static, str>,
}

impl Gvr {
    /// A resource known at compile time.
    pub const fn of(group: &'static str, version: &'static str, resource: &'static str) -> Gvr {
        Gvr {
            group: Cow::Borrowed(group),
            version: Cow::Borrowed(version),
            resource: Cow::Borrowed(resource),
        }
    }

    /// A resource learnt at run time.
    pub fn new(
        group: impl Into<String>,
        version: impl Into<String>,
        resource: impl Into<String>,
    ) -> Gvr {
        Gvr {
            group: Cow::Owned(group.into()),
            version: Cow::Owned(version.into()),
            resource: Cow::Owned(resource.into()),
        }
    }

    /// The resource as error messages name it.
    pub fn qualified(&self) -> Qualified<'_> {
        Qualified {
            group: &self.group,
            name: &self.resource,
        }
    }

    /// `v1`, or `apps/v1`.
    pub fn api_version(&self) -> String {
        api_version(&self.group, &self.version)
    }
}

impl fmt::Display for Gvr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.api_version(), self.resource)
    }
}

/// `v1` for the core group, else `apps/v1`.
pub fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    }
}

/// Splits `apps/v1` into group and version; `v1` has the empty group.
pub fn split_api_version(api_version: &str) -> (&str, &str) {
    api_version.split_once('/').unwrap_or(("", api_version))
}

macro_rules! resources {
    ($($name:ident = $group:literal $version:literal $resource:literal;)*) => {
        impl Gvr {
            $(
                #[doc = concat!("`", $resource, "`.")]
                pub const $name: Gvr = Gvr::of($group, $version, $resource);
            )*
        }
    };
}

resources! {
    NAMESPACES = "" "v1" "namespaces";
    CONFIG_MAPS = "" "v1" "configmaps";
    SECRETS = "" "v1" "secrets";
    SERVICE_ACCOUNTS = "" "v1" "serviceaccounts";
    EVENTS = "" "v1" "events";
    PODS = "" "v1" "pods";
    NODES = "" "v1" "nodes";
    SERVICES = "" "v1" "services";
    ENDPOINTS = "" "v1" "endpoints";
    DEPLOYMENTS = "apps" "v1" "deployments";
    REPLICA_SETS = "apps" "v1" "replicasets";
    LEASES = "coordination.k8s.io" "v1" "leases";
    ROLES = "rbac.authorization.k8s.io" "v1" "roles";
    ROLE_BINDINGS = "rbac.authorization.k8s.io" "v1" "rolebindings";
    CLUSTER_ROLES = "rbac.authorization.k8s.io" "v1" "clusterroles";
    CLUSTER_ROLE_BINDINGS = "rbac.authorization.k8s.io" "v1" "clusterrolebindings";
    CERTIFICATE_SIGNING_REQUESTS = "certificates.k8s.io" "v1" "certificatesigningrequests";
    CUSTOM_RESOURCE_DEFINITIONS = "apiextensions.k8s.io" "v1" "customresourcedefinitions";
}

/// The store prefix of all objects of a resource: `core/pods/`.
pub fn resource_prefix(group: &str, resource: &str) -> String {
    let group = if group.is_empty() { "core" } else { group };
    format!("{group}/{resource}/")
}

/// The store prefix of a resource's objects in one namespace, or of all when it is empty.
pub fn scope_prefix(resource_prefix: &str, namespace: &str) -> String {
    if namespace.is_empty() {
        resource_prefix.to_owned()
    } else {
        format!("{resource_prefix}{namespace}/")
    }
}

/// The store key of an object: `core/pods/NAMESPACE/NAME`; the namespace of cluster-scoped objects
/// is empty, so that every key has four parts.
pub fn object_key(resource_prefix: &str, namespace: &str, name: &str) -> String {
    format!("{resource_prefix}{namespace}/{name}")
}

/// Namespace and name of a store key.
pub fn split_key(key: &str) -> Option<(&str, &str)> {
    let mut parts = key.splitn(4, '/').skip(2);
    Some((parts.next()?, parts.next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_have_four_parts_and_come_apart_again() {
        let prefix = resource_prefix("", "namespaces");
        let key = object_key(&prefix, "", "default");
        assert_eq!(key, "core/namespaces//default");
        assert_eq!(split_key(&key), Some(("", "default")));
        let prefix = resource_prefix("apps", "deployments");
        let key = object_key(&prefix, "a", "b");
        assert_eq!(split_key(&key), Some(("a", "b")));
        assert_eq!(scope_prefix(&prefix, "a"), "apps/deployments/a/");
        assert_eq!(scope_prefix(&prefix, ""), "apps/deployments/");
    }
}
