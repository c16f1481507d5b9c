//! Encoding answers: objects, lists and tables in the representation the client asked for.
//!
//! JSON is what is stored, so the common answers are the stored bytes, or a list spliced from them.

use std::sync::Arc;

use bytes::Bytes;
use hyades_store::Entry;
use hyades_store::Revision;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

use crate::engines;
use crate::list::Listing;
use crate::negotiate::Encoding;
use crate::negotiate::Representation;
use crate::negotiate::Shape;
use crate::object;
use crate::query::Query;
use crate::read;
use crate::registry::Resource;
use crate::status::Status;

/// What a table carries of each row's object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum IncludeObject {
    /// Nothing.
    Nothing,
    /// Its metadata; the default.
    #[default]
    Metadata,
    /// All of it.
    Object,
}

impl IncludeObject {
    /// Reads `includeObject`.
    pub(crate) fn parse(query: &Query) -> IncludeObject {
        match query.first("includeObject") {
            Some("None") => IncludeObject::Nothing,
            Some("Object") => IncludeObject::Object,
            _ => IncludeObject::Metadata,
        }
    }
}

/// Encodes a value that is no stored object.
pub(crate) fn value(encoding: Encoding, value: &Value) -> Result<Bytes, Status> {
    match encoding {
        Encoding::Json => Ok(engines::to_json(value)),
        Encoding::Yaml => engines::to_yaml(value),
        Encoding::Protobuf => engines::to_protobuf(value),
    }
}

/// `PartialObjectMetadata` of an object.
fn partial(object: &Value) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object.get("metadata").cloned().unwrap_or_else(|| json!({})),
    })
}

/// Encodes one object. `stored` is as stored; what is shown is in the resource's version.
pub(crate) fn object(
    representation: Representation,
    resource: &Resource,
    stored: &Bytes,
    include: IncludeObject,
) -> Result<Bytes, Status> {
    let bytes = read::in_version(resource, stored);
    let Representation { encoding, shape } = representation;
    match (encoding, shape) {
        (Encoding::Json, Shape::Whole) => Ok(bytes),
        (_, Shape::Whole) => value(encoding, &object::decode(&bytes)),
        (_, Shape::Metadata) => value(encoding, &partial(&object::decode(&bytes))),
        (_, Shape::Table) => {
            let object = object::decode(&bytes);
            let metadata = json!({"resourceVersion": object::resource_version(&object)});
            let table = engines::table(resource, &[object], metadata, include, true);
            value(encoding, &table)
        }
    }
}

fn list_metadata(listing: &Listing, is_untyped: bool) -> Value {
    let mut metadata = Map::new();
    let revision = listing.revision.to_string();
    metadata.insert("resourceVersion".to_owned(), revision.into());
    // Upstream leaves empty tokens out of lists of its own types, and shows them in others.
    if is_untyped || !listing.next.is_empty() {
        metadata.insert("continue".to_owned(), listing.next.clone().into());
    }
    if let Some(remaining) = listing.remaining.filter(|_| !listing.next.is_empty()) {
        metadata.insert("remainingItemCount".to_owned(), remaining.into());
    }
    Value::Object(metadata)
}

/// Encodes a list.
pub(crate) fn list(
    representation: Representation,
    resource: &Resource,
    listing: &Listing,
    include: IncludeObject,
) -> Result<Bytes, Status> {
    let Representation { encoding, shape } = representation;
    let metadata = list_metadata(listing, resource.is_custom() && shape == Shape::Whole);
    if encoding == Encoding::Json && shape == Shape::Whole {
        return Ok(spliced(resource, &metadata, &listing.entries));
    }
    let objects = listing
        .entries
        .iter()
        .map(|entry| object::decode(&read::in_version(resource, &entry.value)));
    let list = match shape {
        Shape::Whole => json!({
            "kind": resource.list_kind, "apiVersion": resource.api_version(),
            "metadata": metadata, "items": objects.collect::<Vec<_>>(),
        }),
        Shape::Metadata => json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": objects.map(|object| partial(&object)).collect::<Vec<_>>(),
        }),
        Shape::Table => {
            let objects: Vec<Value> = objects.collect();
            engines::table(resource, &objects, metadata, include, true)
        }
    };
    value(encoding, &list)
}

/// A JSON list made of the items' bytes.
fn spliced(resource: &Resource, metadata: &Value, entries: &[Arc<Entry>]) -> Bytes {
    let size: usize = entries.iter().map(|entry| entry.value.len() + 1).sum();
    let mut bytes = Vec::with_capacity(size + 256);
    let head = format!(
        "{{\"kind\":{},\"apiVersion\":{},\"metadata\":{metadata},\"items\":[",
        Value::from(resource.list_kind.as_str()),
        Value::from(resource.api_version()),
    );
    bytes.extend_from_slice(head.as_bytes());
    for (place, entry) in entries.iter().enumerate() {
        if place > 0 {
            bytes.push(b',');
        }
        bytes.extend_from_slice(&read::in_version(resource, &entry.value));
    }
    bytes.extend_from_slice(b"]}");
    Bytes::from(bytes)
}

/// Encodes one watch event, framed. `bytes` is the object in the resource's version.
///
/// `columns` says whether a table event repeats the column definitions: the first of a stream does.
pub(crate) fn watch_event(
    representation: Representation,
    resource: &Resource,
    kind: &str,
    bytes: &Bytes,
    include: IncludeObject,
    columns: bool,
) -> Result<Bytes, Status> {
    let Representation { encoding, shape } = representation;
    let shown = match shape {
        Shape::Whole if encoding == Encoding::Json => return Ok(json_frame(kind, bytes)),
        Shape::Whole => object::decode(bytes),
        Shape::Metadata => partial(&object::decode(bytes)),
        Shape::Table => {
            let object = object::decode(bytes);
            let metadata = json!({"resourceVersion": object::resource_version(&object)});
            engines::table(resource, &[object], metadata, include, columns)
        }
    };
    watch_frame(encoding, kind, &shown)
}

/// Frames a watch event of any object: a bookmark, or an error's status.
pub(crate) fn watch_frame(encoding: Encoding, kind: &str, object: &Value) -> Result<Bytes, Status> {
    match encoding {
        Encoding::Json | Encoding::Yaml => Ok(json_frame(kind, &engines::to_json(object))),
        Encoding::Protobuf => engines::protobuf_watch_frame(kind, object),
    }
}

fn json_frame(kind: &str, object: &[u8]) -> Bytes {
    let mut bytes = Vec::with_capacity(object.len() + 40);
    bytes.extend_from_slice(b"{\"type\":\"");
    bytes.extend_from_slice(kind.as_bytes());
    bytes.extend_from_slice(b"\",\"object\":");
    bytes.extend_from_slice(object);
    bytes.extend_from_slice(b"}\n");
    Bytes::from(bytes)
}

/// The object of a bookmark.
pub(crate) fn bookmark(
    shape: Shape,
    resource: &Resource,
    revision: Revision,
    initial_events_end: bool,
) -> Value {
    let mut metadata = json!({"resourceVersion": revision.to_string()});
    if initial_events_end {
        metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
    }
    match shape {
        Shape::Whole => json!({
            "kind": resource.kind, "apiVersion": resource.api_version(), "metadata": metadata,
        }),
        Shape::Metadata => json!({
            "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        }),
        Shape::Table => {
            let partial = json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
            });
            json!({
                "kind": "Table", "apiVersion": "meta.k8s.io/v1",
                "metadata": {"resourceVersion": revision.to_string()},
                "columnDefinitions": null,
                "rows": [{"cells": [], "object": partial}],
            })
        }
    }
}
