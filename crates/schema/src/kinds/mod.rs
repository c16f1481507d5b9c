//! The built-in kinds: which resources exist without any CustomResourceDefinition.
//!
//! Kinds are data. Serving a further built-in kind is a row here, never a handler elsewhere. The
//! rows say what discovery publishes; what the objects look like is in the [type table](crate::table).

mod core;
mod extension;
mod lookup;
mod meta;
mod policy;
mod workload;

use std::sync::Arc;
use std::sync::OnceLock;

use crate::types::TypePool;
use crate::types::TypeRef;

pub use lookup::Described;
pub use lookup::GROUPS;
pub use lookup::Group;

/// The verbs of an ordinary resource, in discovery's order.
pub const ALL_VERBS: &[&str] = &[
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];

const READ_AND_WRITE: &[&str] = &["get", "patch", "update"];

/// One built-in resource.
#[derive(Debug, Clone)]
pub struct Kind {
    /// API group; empty for the core group.
    pub group: &'static str,
    /// API version (`v1`).
    pub version: &'static str,
    /// Kind (`Pod`).
    pub kind: &'static str,
    /// Resource name in paths (`pods`).
    pub plural: &'static str,
    /// Singular name (`pod`).
    pub singular: &'static str,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Short names (`po`).
    pub short_names: &'static [&'static str],
    /// Categories (`all`).
    pub categories: &'static [&'static str],
    /// Supported verbs, in discovery's order.
    pub verbs: &'static [&'static str],
    /// Subresources.
    pub subresources: &'static [Subresource],
    /// The schema's name (`io.k8s.api.core.v1.Pod`).
    pub type_name: &'static str,
    /// The resource under which objects are stored, when it is another one
    /// (`events.k8s.io` events are stored as core events).
    pub stored_as: Option<(&'static str, &'static str)>,
    /// Whether objects are kept at all. Reviews and bindings are questions and commands: they are
    /// answered and forgotten.
    pub stored: bool,
}

/// One subresource of a built-in resource.
#[derive(Debug, Clone)]
pub struct Subresource {
    /// Its name in paths (`status`).
    pub name: &'static str,
    /// Group, version and kind of its body.
    pub body: (&'static str, &'static str, &'static str),
    /// Supported verbs, in discovery's order.
    pub verbs: &'static [&'static str],
}

/// The built-in kinds and their types.
pub struct Builtin {
    /// All types of all built-in kinds.
    pub pool: Arc<TypePool>,
    /// The kinds, sorted by group, version and plural.
    pub kinds: &'static [Kind],
    /// Places in `kinds`, sorted by group, version and kind.
    by_kind: Vec<usize>,
}

/// The built-in kinds, decoded once.
pub fn builtin() -> &'static Builtin {
    static BUILTIN: OnceLock<Builtin> = OnceLock::new();
    BUILTIN.get_or_init(|| {
        let kinds = lookup::sorted_kinds();
        let mut pool = crate::table::builtin_pool();
        meta::add_derived_types(&mut pool, kinds);
        Builtin {
            pool: Arc::new(pool),
            kinds,
            by_kind: lookup::index_by_kind(kinds),
        }
    })
}

/// The names of the types that the table must hold: those of the kinds and of the bodies besides
/// them. Whatever they refer to follows.
pub fn table_roots() -> Vec<&'static str> {
    let kinds = lookup::sorted_kinds().iter().map(|kind| kind.type_name);
    kinds.chain(meta::root_type_names()).collect()
}

impl Builtin {
    /// The schema of a named type.
    pub fn type_named(&self, name: &str) -> Option<TypeRef> {
        self.pool.by_name.get(name).map(|id| TypeRef {
            pool: Arc::clone(&self.pool),
            id: *id,
        })
    }
}

impl Kind {
    /// A stored resource with all verbs and nothing else.
    const fn stored(
        (group, version): (&'static str, &'static str),
        namespaced: bool,
        (kind, plural, singular): (&'static str, &'static str, &'static str),
        type_name: &'static str,
    ) -> Kind {
        Kind {
            group,
            version,
            kind,
            plural,
            singular,
            namespaced,
            short_names: &[],
            categories: &[],
            verbs: ALL_VERBS,
            subresources: &[],
            type_name,
            stored_as: None,
            stored: true,
        }
    }

    /// A resource that can only be created, and is not kept.
    const fn review(
        group_version: (&'static str, &'static str),
        namespaced: bool,
        names: (&'static str, &'static str, &'static str),
        type_name: &'static str,
    ) -> Kind {
        Kind {
            verbs: &["create"],
            stored: false,
            ..Kind::stored(group_version, namespaced, names, type_name)
        }
    }

    /// The `apiVersion` of the kind's objects (`apps/v1`, `v1`).
    pub fn api_version(&self) -> String {
        if self.group.is_empty() {
            self.version.to_owned()
        } else {
            format!("{}/{}", self.group, self.version)
        }
    }

    /// The kind of the kind's lists (`PodList`).
    pub fn list_kind(&self) -> String {
        format!("{}List", self.kind)
    }

    /// The named subresource.
    pub fn subresource(&self, name: &str) -> Option<&'static Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }
}

impl Subresource {
    /// A `status` subresource of the given kind.
    const fn status(group: &'static str, version: &'static str, kind: &'static str) -> Subresource {
        Subresource {
            name: "status",
            body: (group, version, kind),
            verbs: READ_AND_WRITE,
        }
    }

    /// The `scale` subresource, which has the same body everywhere.
    const fn scale() -> Subresource {
        Subresource {
            name: "scale",
            body: ("autoscaling", "v1", "Scale"),
            verbs: READ_AND_WRITE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_and_every_body_with_a_schema_is_described() {
        for kind in builtin().kinds {
            assert!(
                builtin().type_named(kind.type_name).is_some(),
                "{} has no type",
                kind.type_name
            );
            assert_eq!(kind.singular, kind.kind.to_lowercase());
        }
    }

    #[test]
    fn kinds_are_sorted_and_unique() {
        let keys: Vec<_> = builtin()
            .kinds
            .iter()
            .map(|kind| (kind.group, kind.version, kind.plural))
            .collect();
        assert!(keys.windows(2).all(|pair| pair[0] < pair[1]), "{keys:?}");
    }

    #[test]
    fn every_group_of_a_kind_is_in_the_preference_order() {
        for kind in builtin().kinds {
            let group = GROUPS.iter().find(|group| group.name == kind.group);
            let group = group.unwrap_or_else(|| panic!("{} is not listed", kind.group));
            assert!(group.versions.contains(&kind.version), "{}", kind.plural);
        }
        for group in GROUPS {
            assert!(builtin().kinds.iter().any(|kind| kind.group == group.name));
        }
    }

    #[test]
    fn resources_and_kinds_are_found_by_their_names() {
        let pods = builtin().resource("", "v1", "pods").unwrap();
        assert_eq!(pods.kind, "Pod");
        assert_eq!(pods.subresource("eviction").unwrap().body.2, "Eviction");
        let crd = builtin()
            .kind("apiextensions.k8s.io", "v1", "CustomResourceDefinition")
            .unwrap();
        assert_eq!(crd.short_names, ["crd", "crds"]);
        assert!(
            builtin()
                .resource("apps", "v1beta1", "deployments")
                .is_none()
        );
        assert!(builtin().kind("", "v1", "Deployment").is_none());
    }

    #[test]
    fn lists_and_meta_kinds_are_described_under_their_api_version() {
        let list = builtin().describe("apps/v1", "DeploymentList").unwrap();
        assert!(matches!(list, Described::List { .. }));
        assert_eq!(
            list.ty().get().name.as_deref(),
            Some("io.k8s.api.apps.v1.DeploymentList")
        );
        for (api_version, kind) in [
            ("v1", "Status"),
            ("policy/v1", "DeleteOptions"),
            ("meta.k8s.io/v1", "PartialObjectMetadata"),
            ("meta.k8s.io/v1", "PartialObjectMetadataList"),
            ("autoscaling/v1", "Scale"),
            ("policy/v1", "Eviction"),
            ("authentication.k8s.io/v1", "TokenRequest"),
        ] {
            assert!(builtin().describe(api_version, kind).is_some(), "{kind}");
        }
        assert!(builtin().describe("v1", "Scale").is_none());
        assert!(builtin().describe("v1", "TokenReviewList").is_none());
    }
}
