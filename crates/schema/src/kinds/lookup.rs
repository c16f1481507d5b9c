//! Finding kinds by what requests and bodies name.

use super::Builtin;
use super::Kind;
use super::core;
use super::extension;
use super::meta;
use super::policy;
use super::workload;
use crate::types::TypeRef;

/// One API group with its versions.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// The group's name; empty for the core group.
    pub name: &'static str,
    /// Its versions, the preferred one first.
    pub versions: &'static [&'static str],
}

const fn v1(name: &'static str) -> Group {
    Group {
        name,
        versions: &["v1"],
    }
}

/// The groups of the built-in kinds, in the order in which `/apis` lists them; the core group,
/// which `/api` lists, comes first.
pub const GROUPS: &[Group] = &[
    v1(""),
    v1("apiregistration.k8s.io"),
    v1("apps"),
    v1("events.k8s.io"),
    v1("authentication.k8s.io"),
    v1("authorization.k8s.io"),
    Group {
        name: "autoscaling",
        versions: &["v2"],
    },
    v1("batch"),
    v1("certificates.k8s.io"),
    v1("networking.k8s.io"),
    v1("policy"),
    v1("rbac.authorization.k8s.io"),
    v1("storage.k8s.io"),
    v1("admissionregistration.k8s.io"),
    v1("apiextensions.k8s.io"),
    v1("scheduling.k8s.io"),
    v1("coordination.k8s.io"),
    v1("node.k8s.io"),
    v1("discovery.k8s.io"),
    v1("flowcontrol.apiserver.k8s.io"),
];

/// What an `apiVersion` and a `kind` mean together.
#[derive(Debug, Clone)]
pub enum Described {
    /// An object of a served resource.
    Object {
        /// The resource.
        kind: &'static Kind,
        /// The object's type.
        ty: TypeRef,
    },
    /// A list of objects of a served resource.
    List {
        /// The resource of the items.
        kind: &'static Kind,
        /// The list's type.
        ty: TypeRef,
    },
    /// A body that is no resource of its own (`Status`, `DeleteOptions`, `Scale`).
    Body {
        /// The body's type.
        ty: TypeRef,
    },
}

impl Described {
    /// The type of the body.
    pub fn ty(&self) -> &TypeRef {
        match self {
            Described::Object { ty, .. } | Described::List { ty, .. } | Described::Body { ty } => {
                ty
            }
        }
    }
}

impl Builtin {
    /// The kind served at `group/version` as `plural`.
    pub fn resource(&self, group: &str, version: &str, plural: &str) -> Option<&'static Kind> {
        self.kinds
            .binary_search_by(|kind| {
                (kind.group, kind.version, kind.plural).cmp(&(group, version, plural))
            })
            .ok()
            .map(|place| &self.kinds[place])
    }

    /// The resource whose objects have this group, version and kind.
    pub fn kind(&self, group: &str, version: &str, kind: &str) -> Option<&'static Kind> {
        self.by_kind
            .binary_search_by(|place| kind_key(&self.kinds[*place]).cmp(&(group, version, kind)))
            .ok()
            .map(|found| &self.kinds[self.by_kind[found]])
    }

    /// The kinds of one group and version, sorted by plural.
    pub fn kinds_of(&self, group: &str, version: &str) -> &'static [Kind] {
        let key = (group, version);
        let start = self
            .kinds
            .partition_point(|kind| (kind.group, kind.version) < key);
        let end = self
            .kinds
            .partition_point(|kind| (kind.group, kind.version) <= key);
        &self.kinds[start..end]
    }

    /// What a body with this `apiVersion` and `kind` is, when it is built in.
    pub fn describe(&self, api_version: &str, kind: &str) -> Option<Described> {
        let (group, version) = api_version.rsplit_once('/').unwrap_or(("", api_version));
        if let Some(resource) = self.kind(group, version, kind) {
            let ty = self.type_named(resource.type_name)?;
            return Some(Described::Object { kind: resource, ty });
        }
        if let Some(item) = kind.strip_suffix("List")
            && let Some(resource) = self.kind(group, version, item)
            && resource.verbs.contains(&"list")
        {
            let ty = self.type_named(&format!("{}List", resource.type_name))?;
            return Some(Described::List { kind: resource, ty });
        }
        let ty = self.type_named(meta::body_type_name(group, version, kind)?)?;
        Some(Described::Body { ty })
    }
}

fn kind_key(kind: &Kind) -> (&'static str, &'static str, &'static str) {
    (kind.group, kind.version, kind.kind)
}

/// All rows in the order of [`Builtin::kinds`]. Built once, kept for the life of the process.
pub(super) fn sorted_kinds() -> &'static [Kind] {
    let mut kinds: Vec<Kind> = [core::ROWS, workload::ROWS, policy::ROWS, extension::ROWS]
        .concat()
        .into_iter()
        .collect();
    kinds.sort_by_key(|kind| (kind.group, kind.version, kind.plural));
    Vec::leak(kinds)
}

pub(super) fn index_by_kind(kinds: &'static [Kind]) -> Vec<usize> {
    let mut places: Vec<usize> = (0..kinds.len()).collect();
    places.sort_by_key(|place| kind_key(&kinds[*place]));
    places
}
