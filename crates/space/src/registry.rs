//! Which resources this space serves: the built-in kinds and those of its CustomResourceDefinitions.
//!
//! Built-in resources are the same for every space of a process and are made once. Custom ones are
//! fed by a store hook, so that a definition serves before its writer is answered.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::OnceLock;

use arc_swap::ArcSwap;
use hyades_schema::kinds;
use hyades_schema::kinds::Kind;
use hyades_schema::types::TypeRef;

use crate::custom::CustomDefinition;
use crate::custom::CustomVersion;
use crate::names;
use crate::names::Gvr;
use crate::status::Qualified;

/// One served resource at one version.
#[derive(Debug)]
pub struct Resource {
    /// Group, version and resource.
    pub gvr: Gvr,
    /// Kind of its objects.
    pub kind: String,
    /// Kind of its lists.
    pub list_kind: String,
    /// Singular name.
    pub singular: String,
    /// Short names.
    pub short_names: Vec<String>,
    /// Categories.
    pub categories: Vec<String>,
    /// Whether objects live in namespaces.
    pub namespaced: bool,
    /// Supported verbs, in discovery's order.
    pub verbs: Vec<&'static str>,
    /// Subresources.
    pub subresources: Vec<Subresource>,
    /// The schema.
    pub ty: TypeRef,
    /// The store prefix of all its objects.
    pub prefix: String,
    /// The version in which its objects are stored, as apiVersion.
    pub stored_api_version: String,
    /// Where it comes from.
    pub origin: Origin,
}

/// Where a resource comes from.
#[derive(Debug, Clone)]
pub enum Origin {
    /// The built-in table.
    Builtin(&'static Kind),
    /// A CustomResourceDefinition.
    Custom(Arc<CustomVersion>),
}

/// One subresource.
#[derive(Debug, Clone)]
pub struct Subresource {
    /// Its name in paths.
    pub name: &'static str,
    /// Group of its body.
    pub group: String,
    /// Version of its body.
    pub version: String,
    /// Kind of its body.
    pub kind: String,
    /// Supported verbs, in discovery's order.
    pub verbs: Vec<&'static str>,
}

impl Resource {
    /// The resource as error messages name it.
    pub fn qualified(&self) -> Qualified<'_> {
        self.gvr.qualified()
    }

    /// The kind as validation errors name it.
    pub fn qualified_kind(&self) -> Qualified<'_> {
        Qualified {
            group: &self.gvr.group,
            name: &self.kind,
        }
    }

    /// The apiVersion of its objects.
    pub fn api_version(&self) -> String {
        self.gvr.api_version()
    }

    /// The store key of an object.
    pub fn key(&self, namespace: &str, name: &str) -> String {
        names::object_key(&self.prefix, namespace, name)
    }

    /// Whether the resource has a verb.
    pub fn allows(&self, verb: &str) -> bool {
        self.verbs.contains(&verb)
    }

    /// The named subresource.
    pub fn subresource(&self, name: &str) -> Option<&Subresource> {
        self.subresources.iter().find(|sub| sub.name == name)
    }

    /// Whether it is a custom resource.
    pub fn is_custom(&self) -> bool {
        matches!(self.origin, Origin::Custom(_))
    }

    /// Whether it is this group and resource, at whatever version.
    pub fn is(&self, gvr: &Gvr) -> bool {
        self.gvr.group == gvr.group && self.gvr.resource == gvr.resource
    }

    fn builtin(kind: &'static Kind, ty: TypeRef) -> Resource {
        let (stored_group, stored_resource) = kind.stored_as.unwrap_or((kind.group, kind.plural));
        Resource {
            gvr: Gvr::of(kind.group, kind.version, kind.plural),
            kind: kind.kind.to_owned(),
            list_kind: format!("{}List", kind.kind),
            singular: kind.singular.to_owned(),
            short_names: kind.short_names.iter().map(ToString::to_string).collect(),
            categories: kind.categories.iter().map(ToString::to_string).collect(),
            namespaced: kind.namespaced,
            verbs: kind.verbs.to_vec(),
            subresources: kind.subresources.iter().map(Subresource::builtin).collect(),
            ty,
            prefix: names::resource_prefix(stored_group, stored_resource),
            stored_api_version: stored_api_version(kind),
            origin: Origin::Builtin(kind),
        }
    }
}

/// Objects of kinds served at several places are stored in one version: the row that others name
/// with `stored_as` is that of its own group.
fn stored_api_version(kind: &Kind) -> String {
    let (group, resource) = kind.stored_as.unwrap_or((kind.group, kind.plural));
    let version = kinds::builtin()
        .kinds
        .iter()
        .find(|row| row.group == group && row.plural == resource && row.stored_as.is_none())
        .map_or(kind.version, |row| row.version);
    names::api_version(group, version)
}

impl Subresource {
    fn builtin(row: &kinds::Subresource) -> Subresource {
        let (group, version, kind) = row.body;
        Subresource {
            name: row.name,
            group: group.to_owned(),
            version: version.to_owned(),
            kind: kind.to_owned(),
            verbs: row.verbs.to_vec(),
        }
    }
}

/// The resources by group, version and name.
pub type Resources = BTreeMap<Gvr, Arc<Resource>>;

/// The built-in resources, made once a process.
pub fn builtin_resources() -> &'static Resources {
    static RESOURCES: OnceLock<Resources> = OnceLock::new();
    RESOURCES.get_or_init(|| {
        let builtin = kinds::builtin();
        builtin
            .kinds
            .iter()
            .filter_map(|kind| {
                let resource = Resource::builtin(kind, builtin.type_named(kind.type_name)?);
                Some((resource.gvr.clone(), Arc::new(resource)))
            })
            .collect()
    })
}

/// The custom part of a registry at one moment.
#[derive(Debug, Default)]
pub struct Custom {
    /// Definitions by name (`widgets.demo.io`).
    pub definitions: BTreeMap<String, Arc<CustomDefinition>>,
    /// Their served resources.
    pub resources: Resources,
    /// Counts changes; discovery and OpenAPI documents are cached by it.
    pub generation: u64,
}

/// What a space serves.
#[derive(Debug, Default)]
pub struct Registry {
    custom: ArcSwap<Custom>,
}

impl Registry {
    /// The resource at a group, version and name.
    pub fn resource(&self, group: &str, version: &str, resource: &str) -> Option<Arc<Resource>> {
        self.find(&Gvr::new(group, version, resource))
    }

    /// The resource of a [`Gvr`].
    pub fn find(&self, gvr: &Gvr) -> Option<Arc<Resource>> {
        builtin_resources()
            .get(gvr)
            .or(self.custom.load().resources.get(gvr))
            .cloned()
    }

    /// The resource of a kind.
    pub fn of_kind(&self, api_version: &str, kind: &str) -> Option<Arc<Resource>> {
        let (group, version) = names::split_api_version(api_version);
        let wanted = |resource: &&Arc<Resource>| {
            resource.kind == kind && resource.gvr.group == group && resource.gvr.version == version
        };
        builtin_resources()
            .values()
            .find(wanted)
            .or(self.custom.load().resources.values().find(wanted))
            .cloned()
    }

    /// Whether a group-version is served at all.
    pub fn serves(&self, group: &str, version: &str) -> bool {
        let wanted = |gvr: &Gvr| gvr.group == group && gvr.version == version;
        builtin_resources().keys().any(wanted) || self.custom.load().resources.keys().any(wanted)
    }

    /// Every served resource: the built-in ones, then the custom ones, each by group and version.
    pub fn all(&self) -> Vec<Arc<Resource>> {
        let custom = self.custom.load();
        builtin_resources()
            .values()
            .chain(custom.resources.values())
            .cloned()
            .collect()
    }

    /// Every resource whose objects are stored, once even when it is served at several places:
    /// what namespace deletion and garbage collection walk.
    pub fn stored(&self) -> Vec<Arc<Resource>> {
        let mut seen = std::collections::BTreeSet::new();
        self.all()
            .into_iter()
            .filter(|resource| resource.allows("delete"))
            .filter(|resource| resource.api_version() == resource.stored_api_version)
            .filter(|resource| seen.insert(resource.prefix.clone()))
            .collect()
    }

    /// The custom part at this moment.
    pub fn custom(&self) -> Arc<Custom> {
        self.custom.load_full()
    }

    /// Counts changes of the custom part.
    pub fn generation(&self) -> u64 {
        self.custom.load().generation
    }

    /// Serves a definition in its new state, or no longer.
    pub(crate) fn set_definition(&self, name: &str, definition: Option<CustomDefinition>) {
        let definition = definition.map(Arc::new);
        self.custom.rcu(|custom| {
            let mut definitions = custom.definitions.clone();
            match &definition {
                Some(definition) => {
                    definitions.insert(name.to_owned(), Arc::clone(definition));
                }
                None => {
                    definitions.remove(name);
                }
            }
            let resources = definitions
                .values()
                .flat_map(|definition| definition.resources.iter())
                .map(|resource| (resource.gvr.clone(), Arc::clone(resource)))
                .collect();
            Custom {
                definitions,
                resources,
                generation: custom.generation + 1,
            }
        });
    }
}
