//! The built-in kinds: which resources exist without any CustomResourceDefinition.
//!
//! Kinds are data. Serving a further built-in kind is a row here, never a handler elsewhere.

use std::sync::Arc;
use std::sync::OnceLock;

use crate::types::TypePool;
use crate::types::TypeRef;

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
}

/// The built-in kinds, decoded once.
pub fn builtin() -> &'static Builtin {
    static BUILTIN: OnceLock<Builtin> = OnceLock::new();
    BUILTIN.get_or_init(|| Builtin {
        pool: Arc::new(TypePool::default()),
        kinds: &[],
    })
}

impl Builtin {
    /// The kind served at `group/version` as `plural`.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
        self.kinds
            .iter()
            .find(|kind| kind.group == group && kind.version == version && kind.plural == plural)
    }

    /// The schema of a named type.
    pub fn type_named(&self, name: &str) -> Option<TypeRef> {
        self.pool.by_name.get(name).map(|id| TypeRef {
            pool: Arc::clone(&self.pool),
            id: *id,
        })
    }
}
