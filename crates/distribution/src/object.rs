//! How an object of a WDS is known: by group, resource, namespace and name. Its version is how it
//! is read, not what it is.

use hyades_api::control::BoundObject;
use std::fmt;

/// A resource in whatever version.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct GroupResource {
    /// The API group; empty for the core group.
    pub group: String,
    /// The plural name.
    pub resource: String,
}

impl GroupResource {
    /// The resource of that group and plural name.
    pub fn new(group: impl Into<String>, resource: impl Into<String>) -> Self {
        Self {
            group: group.into(),
            resource: resource.into(),
        }
    }
}

/// Written as Kubernetes does: `deployments.apps`, `pods`.
impl fmt::Display for GroupResource {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.resource)?;
        if !self.group.is_empty() {
            write!(formatter, ".{}", self.group)?;
        }
        Ok(())
    }
}

/// An object among those of one resource. Sorted by namespace first, so that the objects of a
/// namespace lie together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectName {
    /// The namespace; empty for objects of the cluster scope.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectName {
    /// The object of that name in that namespace.
    pub fn new(namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

/// Written `NAMESPACE/NAME`, or `NAME` in the cluster scope.
impl fmt::Display for ObjectName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.namespace.is_empty() {
            write!(formatter, "{}/", self.namespace)?;
        }
        formatter.write_str(&self.name)
    }
}

/// An object of a WDS.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ObjectKey {
    /// Its resource.
    pub resource: GroupResource,
    /// Its namespace and name.
    pub name: ObjectName,
}

impl ObjectKey {
    /// The object that a Binding speaks of.
    pub fn of(bound: &BoundObject) -> Self {
        Self {
            resource: GroupResource::new(&bound.group, &bound.resource),
            name: ObjectName::new(&bound.namespace, &bound.name),
        }
    }
}

/// Written `RESOURCE[.GROUP] [NAMESPACE/]NAME`.
impl fmt::Display for ObjectKey {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} {}", self.resource, self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_object_of_a_binding_is_known_whatever_its_version() {
        let bound = |version: &str| BoundObject {
            group: "apps".to_owned(),
            version: version.to_owned(),
            resource: "deployments".to_owned(),
            namespace: "shop".to_owned(),
            name: "web".to_owned(),
            resource_version: version.to_owned(),
            ..Default::default()
        };
        let key = ObjectKey::of(&bound("v1"));
        assert_eq!(key, ObjectKey::of(&bound("v1beta1")));
        assert_eq!(key.to_string(), "deployments.apps shop/web");
        let namespace = BoundObject {
            resource: "namespaces".to_owned(),
            name: "shop".to_owned(),
            ..Default::default()
        };
        assert_eq!(ObjectKey::of(&namespace).to_string(), "namespaces shop");
    }
}
