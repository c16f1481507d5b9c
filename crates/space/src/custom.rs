//! CustomResourceDefinitions, compiled into resources.

use std::sync::Arc;

use hyades_schema::crd;
use hyades_schema::crd::CompiledCrd;
use hyades_schema::crd::CompiledVersion;
use hyades_schema::validate;
use serde_json::Value;

use crate::conversion::Webhook;
use crate::names;
use crate::names::Gvr;
use crate::object;
use crate::registry::Origin;
use crate::registry::Registry;
use crate::registry::Resource;
use crate::registry::Subresource;
use crate::strategy::definitions;
use crate::table::Columns;

/// A definition and what it serves.
#[derive(Debug)]
pub struct CustomDefinition {
    /// The definition's name (`widgets.demo.io`).
    pub name: String,
    /// Its uid.
    pub uid: String,
    /// The resources of its served versions.
    pub resources: Vec<Arc<Resource>>,
}

/// What a served version of a definition says beyond its schema.
#[derive(Debug)]
pub struct CustomVersion {
    /// How many versions the definition has.
    pub versions: usize,
    /// The apiVersion in which objects are stored.
    pub stored_api_version: String,
    /// Who converts between this version and the stored one, when they differ in more than name.
    pub(crate) webhook: Option<Arc<Webhook>>,
    /// The version itself: columns, selectable fields, scale, schema.
    pub compiled: CompiledVersion,
    /// The columns of its tables.
    pub(crate) columns: Columns,
}

/// The verbs of a custom resource, in discovery's order.
const VERBS: [&str; 8] = [
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "create",
    "update",
    "watch",
];

/// Keeps a registry true to the stored definitions: called for every present definition and every
/// change, before the change's author is answered.
pub(crate) fn follow(registry: &Registry, event: &hyades_store::Event) {
    let Some((_, name)) = names::split_key(&event.key) else {
        return;
    };
    let definition = event
        .value
        .as_ref()
        .map(|entry| object::decode(&entry.value))
        .filter(definitions::is_established)
        .and_then(|definition| compile(&definition));
    registry.set_definition(name, definition);
}

/// Compiles an established definition; one that does not compile is not served, and cannot have
/// passed validation.
fn compile(definition: &Value) -> Option<CustomDefinition> {
    let name = object::name(definition).to_owned();
    let compiled = match crd::compile(definition) {
        Ok(compiled) => compiled,
        Err(errors) => {
            let errors = validate::joined(&errors).unwrap_or_default();
            tracing::warn!(
                definition = name,
                errors,
                "a stored definition does not compile"
            );
            return None;
        }
    };
    let stored_api_version = names::api_version(&compiled.group, &compiled.storage().name);
    let webhook = Webhook::of(definition);
    let resources = compiled
        .versions
        .iter()
        .filter(|version| version.served)
        .map(|version| {
            let custom = CustomVersion {
                versions: compiled.versions.len(),
                stored_api_version: stored_api_version.clone(),
                webhook: webhook.clone().filter(|_| !version.storage),
                compiled: version.clone(),
                columns: columns(&name, version),
            };
            Arc::new(resource(&compiled, custom))
        })
        .collect();
    Some(CustomDefinition {
        name,
        uid: object::uid(definition).to_owned(),
        resources,
    })
}

/// The columns of a version's tables. A path that does not parse costs the columns, as it does
/// upstream, and not the resource.
fn columns(definition: &str, version: &CompiledVersion) -> Columns {
    Columns::custom(&version.columns).unwrap_or_else(|error| {
        let version = &version.name;
        tracing::warn!(definition, version, %error, "tables of the version fall back to names and times");
        Columns::plain()
    })
}

fn resource(definition: &CompiledCrd, custom: CustomVersion) -> Resource {
    let version = &custom.compiled;
    let names = &definition.names;
    let subresource = |name, group: &str, version: &str, kind: &str| Subresource {
        name,
        group: group.to_owned(),
        version: version.to_owned(),
        kind: kind.to_owned(),
        verbs: vec!["get", "patch", "update"],
    };
    let mut subresources = Vec::new();
    if version.has_status {
        let status = subresource("status", &definition.group, &version.name, &names.kind);
        subresources.push(status);
    }
    if version.scale.is_some() {
        subresources.push(subresource("scale", "autoscaling", "v1", "Scale"));
    }
    Resource {
        gvr: Gvr::new(&*definition.group, &*version.name, &*names.plural),
        kind: names.kind.clone(),
        list_kind: names.list_kind.clone(),
        singular: names.singular.clone(),
        short_names: names.short_names.clone(),
        categories: names.categories.clone(),
        namespaced: definition.namespaced,
        verbs: VERBS.to_vec(),
        subresources,
        ty: version.ty.clone(),
        prefix: names::resource_prefix(&definition.group, &names.plural),
        stored_api_version: custom.stored_api_version.clone(),
        origin: Origin::Custom(Arc::new(custom)),
    }
}
