//! The schema engines as the pipeline calls them: the one place that knows which engine serves
//! built-in kinds and which custom ones.

use std::collections::BTreeSet;
use std::sync::OnceLock;

use bytes::Bytes;
use hyades_schema::builtin;
use hyades_schema::builtin::metadata;
use hyades_schema::builtin::metadata::NameRule;
use hyades_schema::kinds;
use hyades_schema::merge;
use hyades_schema::merge::ApplyError;
use hyades_schema::merge::ApplyRequest;
use hyades_schema::merge::FieldSet;
use hyades_schema::merge::TrackRequest;
use hyades_schema::openapi;
use hyades_schema::proto;
use hyades_schema::validate;
use hyades_schema::validate::fields;
use serde_json::Value;

use crate::core::Actor;
use crate::core::Place;
use crate::encode::IncludeObject;
use crate::names::Gvr;
use crate::object;
use crate::query::FieldValidation;
use crate::registry::Origin;
use crate::registry::Registry;
use crate::registry::Resource;
use crate::status::Cause;
use crate::status::Status;
use crate::table;
use crate::table::Columns;

/// JSON bytes of a value.
pub(crate) fn to_json(value: &Value) -> Bytes {
    let bytes = serde_json::to_vec(value).expect("JSON values serialise");
    Bytes::from(bytes)
}

/// YAML bytes of a value.
pub(crate) fn to_yaml(value: &Value) -> Result<Bytes, Status> {
    serde_saphyr::to_string(value)
        .map(Bytes::from)
        .map_err(|error| Status::internal(&format!("the object has no YAML form: {error}")))
}

/// Protobuf bytes of a value, envelope included.
pub(crate) fn to_protobuf(value: &Value) -> Result<Bytes, Status> {
    proto::encode(value)
        .map(Bytes::from)
        .map_err(|error| Status::internal(&error.to_string()))
}

/// A protobuf frame of a watch, length included.
pub(crate) fn protobuf_watch_frame(kind: &str, object: &Value) -> Result<Bytes, Status> {
    proto::encode_watch_event(kind, object)
        .map(Bytes::from)
        .map_err(|error| Status::internal(&error.to_string()))
}

/// The object in a protobuf body.
pub(crate) fn from_protobuf(bytes: &[u8]) -> Result<Value, Status> {
    proto::decode(kinds::builtin(), bytes).map_err(|error| Status::bad_request(error.to_string()))
}

/// Why a document does not fit its kind.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Unfit {
    /// Fields that the kind does not have, or repeated ones, where the client is strict.
    #[error("strict decoding error: {0}")]
    Strict(String),
    /// A value of the wrong type.
    #[error("{0}")]
    Shape(String),
}

/// Brings a decoded document into its kind's form: wrong types are refused, unknown and repeated
/// fields are treated as the client asked, and dropped.
pub(crate) fn settle(
    actor: &Actor,
    resource: &Resource,
    object: &mut Value,
    duplicates: &[String],
) -> Result<(), Unfit> {
    let misfit = |error: fields::DecodeError| Unfit::Shape(error.to_string());
    if !resource.is_custom() {
        fields::shape_check(&resource.ty, object).map_err(misfit)?;
    } else if let Some(metadata) = resource.ty.property("metadata") {
        // Clients read metadata into one type for all kinds, so that one ill-typed label would
        // break every list its object is in.
        fields::shape_check(&metadata, &object["metadata"]).map_err(misfit)?;
        if let Some(present) = object.get_mut("metadata") {
            fields::normalise(&metadata, present);
        }
    }
    if actor.options.field_validation != FieldValidation::Ignore {
        let mut mistakes = duplicates.to_vec();
        mistakes.extend(fields::unknown(&resource.ty, object));
        if !mistakes.is_empty() && actor.options.field_validation == FieldValidation::Strict {
            return Err(Unfit::Strict(mistakes.join(", ")));
        }
        for mistake in mistakes {
            actor.warn(mistake);
        }
    }
    fields::prune(&resource.ty, object);
    if !resource.is_custom() {
        fields::normalise(&resource.ty, object);
    }
    Ok(())
}

/// Sets defaults.
pub(crate) fn default(resource: &Resource, object: &mut Value) {
    if resource.is_custom() {
        validate::default(&resource.ty, object);
    } else {
        let gvr = &resource.gvr;
        builtin::default(&gvr.group, &gvr.version, &resource.kind, object);
    }
}

/// Everything wrong with a new or changed object.
pub(crate) fn validate(place: &Place, new: &Value, old: Option<&Value>) -> Vec<Cause> {
    let resource = &place.resource;
    let errors = if resource.is_custom() {
        let mut errors = match old {
            None => metadata::validate(new, NameRule::Subdomain, resource.namespaced),
            Some(old) => metadata::validate_update(new, old),
        };
        errors.extend(validate::check(&resource.ty, new, old));
        errors
    } else {
        let gvr = &resource.gvr;
        builtin::validate(&gvr.group, &gvr.version, &resource.kind, new, old)
    };
    errors
        .into_iter()
        .map(|error| Cause {
            reason: error.reason().to_owned(),
            message: error.body(),
            field: error.path,
        })
        .collect()
}

/// Fields that a place does not change, and whose writers therefore never own them.
fn reset_fields(place: &Place) -> &'static FieldSet {
    static SETS: OnceLock<[FieldSet; 5]> = OnceLock::new();
    let [none, status, main, custom_main, fixed] = SETS.get_or_init(|| {
        [
            FieldSet::of_fields(&[]),
            FieldSet::of_fields(&[&["status"]]),
            FieldSet::of_fields(&[&["spec"], &["metadata", "labels"]]),
            FieldSet::of_fields(&[&["spec"], &["metadata"]]),
            FieldSet::of_fields(&[&["spec"], &["status"]]),
        ]
    });
    let has_status = place.resource.subresource("status").is_some();
    match place.subresource.as_str() {
        // Nobody owns what nobody can change here: a request for a certificate is fixed once made,
        // a namespace's specification belongs to its finalizers.
        "" if place.resource.is(&Gvr::CERTIFICATE_SIGNING_REQUESTS) => fixed,
        "" if place.resource.is(&Gvr::NAMESPACES) => fixed,
        "" | "scale" if has_status => status,
        "status" if place.resource.is_custom() => custom_main,
        "status" | "approval" => main,
        _ => none,
    }
}

/// Records in managedFields who owns what the write changed. An apply has done so by itself.
pub(crate) fn track(actor: &Actor, place: &Place, old: Option<&Value>, new: &mut Value) {
    if actor.applying {
        return;
    }
    let api_version = place.resource.api_version();
    let managed = merge::track_update(&TrackRequest {
        ty: &place.resource.ty,
        old,
        new,
        manager: &actor.manager,
        subresource: &place.subresource,
        api_version: &api_version,
        reset_fields: reset_fields(place),
        now: jiff::Timestamp::now(),
    });
    let managed = if managed.as_array().is_some_and(Vec::is_empty) {
        Value::Null
    } else {
        managed
    };
    object::set(new, "managedFields", managed);
}

/// The object after a server-side apply.
pub(crate) fn apply(
    actor: &Actor,
    place: &Place,
    live: Option<&Value>,
    config: &Value,
) -> Result<Value, ApplyError> {
    let api_version = place.resource.api_version();
    merge::apply(&ApplyRequest {
        ty: &place.resource.ty,
        live,
        config,
        manager: &actor.manager,
        subresource: &place.subresource,
        force: actor.options.force,
        api_version: &api_version,
        reset_fields: reset_fields(place),
        now: jiff::Timestamp::now(),
    })
}

/// A table of objects, in the columns of their kind.
pub(crate) fn table(
    resource: &Resource,
    objects: &[Value],
    metadata: Value,
    include: IncludeObject,
    with_headers: bool,
) -> Value {
    let now = jiff::Timestamp::now();
    let show =
        |columns: &Columns| table::table(objects, metadata, columns, include, with_headers, now);
    match &resource.origin {
        Origin::Builtin(kind) => show(&Columns::built_in(kind.group, kind.plural)),
        Origin::Custom(version) => show(&version.columns),
    }
}

/// The paths of the OpenAPI documents: one for each served group-version.
pub(crate) fn openapi_paths(registry: &Registry) -> BTreeSet<String> {
    let resources = registry.all().into_iter();
    resources
        .map(|resource| openapi::v3_path(&resource.gvr.group, &resource.gvr.version))
        .collect()
}

/// Group and version of an OpenAPI document's path.
fn split_openapi_path(path: &str) -> Option<(&str, &str)> {
    match path.split_once('/')? {
        ("api", version) => Some(("", version)),
        ("apis", rest) => rest.split_once('/'),
        _ => None,
    }
}

/// The OpenAPI document of a path.
pub(crate) fn openapi(registry: &Registry, path: &str) -> Value {
    let Some((group, version)) = split_openapi_path(path) else {
        return Value::Null;
    };
    let found = crate::discovery::of_version(registry, group, version);
    let resources: Vec<openapi::Resource<'_>> = found
        .iter()
        .map(|resource| openapi_resource(resource))
        .collect();
    openapi::v3_document(kinds::builtin(), group, version, &resources)
}

fn openapi_resource(resource: &Resource) -> openapi::Resource<'_> {
    match &resource.origin {
        Origin::Builtin(kind) => openapi::Resource::from(*kind),
        Origin::Custom(version) => openapi::Resource {
            kind: &resource.kind,
            plural: &resource.gvr.resource,
            namespaced: resource.namespaced,
            verbs: &resource.verbs,
            subresources: resource
                .subresources
                .iter()
                .map(|sub| openapi::SubresourcePath {
                    name: sub.name,
                    verbs: &sub.verbs,
                    body: (&sub.group, &sub.version, &sub.kind),
                })
                .collect(),
            model: openapi::Model::Custom(&version.compiled.schema),
        },
    }
}

/// A fingerprint of an OpenAPI document, found without making it.
pub(crate) fn openapi_hash(registry: &Registry, path: &str) -> String {
    let (group, version) = split_openapi_path(path).unwrap_or_default();
    let found = crate::discovery::of_version(registry, group, version);
    let resources: Vec<openapi::Resource<'_>> = found
        .iter()
        .map(|resource| openapi_resource(resource))
        .collect();
    openapi::v3_fingerprint(group, version, &resources)
}
