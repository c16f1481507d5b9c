//! Verbs on resources and subresources.

use std::sync::Arc;

use bytes::Bytes;
use http::header;
use serde_json::Value;

use crate::body;
use crate::conversion;
use crate::core::Actor;
use crate::core::Place;
use crate::core::Written;
use crate::delete;
use crate::delete::DeleteOptions;
use crate::delete::Deletion;
use crate::encode;
use crate::encode::IncludeObject;
use crate::engines;
use crate::list;
use crate::list::ListOptions;
use crate::negotiate;
use crate::negotiate::Encoding;
use crate::negotiate::Representation;
use crate::object;
use crate::patch;
use crate::patch::Patch;
use crate::query::WriteOptions;
use crate::registry::Origin;
use crate::registry::Resource;
use crate::request::Target;
use crate::request::Verb;
use crate::server::Answer;
use crate::server::Call;
use crate::status;
use crate::status::Status;
use crate::subresource;
use crate::watch;
use crate::watch::Reader;
use crate::write;

/// Serves a request that the guard has let through.
pub(crate) async fn serve(
    call: &Call,
    target: &Target,
    verb: Verb,
    bytes: Bytes,
) -> Result<Answer, Status> {
    let registry = &call.core.registry;
    let (group, version) = (&target.group, &target.version);
    let Some(resource) = registry.resource(group, version, &target.resource) else {
        if registry.serves(group, version) {
            return Err(Status::no_such_resource());
        }
        return Ok(Answer::page_not_found());
    };
    let place = place(resource, target, verb)?;
    let answer = if let Origin::Builtin(kind) = &place.resource.origin
        && !kind.stored
        && place.subresource.is_empty()
    {
        subresource::review::serve(call, &place, verb, &bytes)?
    } else if place.subresource.is_empty() {
        whole(call, &place, verb, &bytes).await?
    } else {
        subresource::serve(call, &place, verb, &bytes).await?
    };
    Ok(match &place.resource.origin {
        Origin::Custom(version) => {
            let warning = &version.compiled.deprecation_warning;
            answer.with_warnings(warning.iter().cloned().collect())
        }
        Origin::Builtin(_) => answer,
    })
}

/// Checks that the resource has such a place, and the verb there.
fn place(resource: Arc<Resource>, target: &Target, verb: Verb) -> Result<Place, Status> {
    let is_namespace = resource.gvr.group.is_empty() && resource.gvr.resource == "namespaces";
    let verbs = if target.subresource.is_empty() {
        &resource.verbs
    } else {
        let subresource = resource.subresource(&target.subresource);
        &subresource.ok_or_else(Status::no_such_resource)?.verbs
    };
    if !resource.namespaced && !target.namespace.is_empty() && !is_namespace {
        return Err(Status::no_such_resource());
    }
    let across = resource.namespaced && target.namespace.is_empty();
    if across && !target.name.is_empty() {
        return Err(Status::no_such_resource());
    }
    let misplaced = match verb {
        Verb::Create => across || (!target.name.is_empty() && target.subresource.is_empty()),
        Verb::Update | Verb::Patch => target.name.is_empty(),
        Verb::DeleteCollection => across,
        _ => false,
    };
    if misplaced || !verbs.contains(&verb.as_str()) {
        return Err(Status::method_not_allowed());
    }
    let namespace = if resource.namespaced {
        target.namespace.clone()
    } else {
        String::new()
    };
    Ok(Place {
        resource,
        namespace,
        name: target.name.clone(),
        subresource: target.subresource.clone(),
    })
}

/// Verbs on objects and collections themselves.
async fn whole(call: &Call, place: &Place, verb: Verb, bytes: &[u8]) -> Result<Answer, Status> {
    match verb {
        Verb::Get => get(call, place).await,
        Verb::List => list_objects(call, place).await,
        Verb::Watch => watch_objects(call, place).await,
        Verb::Create => create(call, place, bytes).await,
        Verb::Update => update(call, place, bytes).await,
        Verb::Patch => patch_object(call, place, bytes).await,
        Verb::Delete => delete_object(call, place, bytes).await,
        Verb::DeleteCollection => delete_objects(call, place, bytes).await,
    }
}

fn representation(call: &Call, place: &Place) -> Result<Representation, Status> {
    negotiate::accept(&call.headers, negotiate::has_protobuf(&place.resource))
}

fn answer(call: &Call, representation: Representation, code: u16, bytes: Bytes) -> Answer {
    let content_type = representation.encoding.media_type();
    if bytes.len() >= negotiate::GZIP_BYTES_MIN && negotiate::accepts_gzip(&call.headers) {
        return Answer::bytes(code, content_type, negotiate::gzip(&bytes))
            .with(header::CONTENT_ENCODING, "gzip".to_owned())
            .with(header::VARY, "Accept-Encoding".to_owned());
    }
    Answer::bytes(code, content_type, bytes)
}

/// Answers with one object, for reads and writes alike.
pub(crate) async fn answer_object(
    call: &Call,
    place: &Place,
    code: u16,
    stored: &Bytes,
) -> Result<Answer, Status> {
    let representation = representation(call, place)?;
    let include = IncludeObject::parse(&call.head.query);
    let stored = conversion::shown(&place.resource, stored).await?;
    let bytes = encode::object(representation, &place.resource, &stored, include)?;
    Ok(answer(call, representation, code, bytes))
}

/// Answers with a body that is no stored object.
pub(crate) fn answer_value(call: &Call, code: u16, value: &Value) -> Result<Answer, Status> {
    let representation = negotiate::accept(&call.headers, true)?;
    let bytes = encode::value(representation.encoding, value)?;
    Ok(answer(call, representation, code, bytes))
}

pub(crate) async fn get(call: &Call, place: &Place) -> Result<Answer, Status> {
    let entry = call
        .core
        .entry(&place.resource, &place.namespace, &place.name)?;
    answer_object(call, place, 200, &entry.value).await
}

async fn list_objects(call: &Call, place: &Place) -> Result<Answer, Status> {
    let query = &call.head.query;
    let representation = representation(call, place)?;
    let options = ListOptions::parse(place, query, call.core.store.revision())?;
    let mut listing = list::list(&call.core, place, &options)?;
    listing.entries = conversion::entries(&place.resource, listing.entries).await?;
    let include = IncludeObject::parse(query);
    let bytes = encode::list(representation, &place.resource, &listing, include)?;
    Ok(answer(call, representation, 200, bytes))
}

async fn watch_objects(call: &Call, place: &Place) -> Result<Answer, Status> {
    let representation = representation(call, place)?;
    let reader = Reader::new(call.user.clone(), call.granted.clone());
    let watcher =
        match watch::open(&call.core, place, &call.head.query, representation, reader).await {
            Ok(watcher) => watcher,
            // A watch that starts too far back is told inside the stream, as upstream's clients expect.
            Err(status) if status.code == 410 => {
                let encoding = representation.encoding;
                let bytes = encode::watch_frame(encoding, "ERROR", &status.to_value())?;
                return Ok(Answer::bytes(200, watch_type(encoding), bytes));
            }
            Err(status) => return Err(status),
        };
    let content_type = watch_type(representation.encoding);
    Ok(Answer::stream(content_type, watcher.into_stream()))
}

fn watch_type(encoding: Encoding) -> &'static str {
    match encoding {
        Encoding::Protobuf => "application/vnd.kubernetes.protobuf;stream=watch",
        Encoding::Json | Encoding::Yaml => negotiate::JSON,
    }
}

/// The actor of a write: the manager is stated, or the first word of the client's name.
pub(crate) fn actor(call: &Call, options_kind: &str) -> Result<Actor, Status> {
    let options = WriteOptions::parse(&call.head.query, options_kind)?;
    let manager = if options.field_manager.is_empty() {
        manager_of_agent(call)
    } else {
        options.field_manager.clone()
    };
    Ok(Actor::new(call.user.clone(), manager, options))
}

/// Upstream's default: the user agent up to its first slash.
fn manager_of_agent(call: &Call) -> String {
    let agent = call.headers.get(header::USER_AGENT);
    let text = agent.and_then(|value| value.to_str().ok()).unwrap_or("");
    let name = text.split('/').next().unwrap_or_default();
    if name.is_empty() {
        "unknown".to_owned()
    } else {
        name.chars().take(128).collect()
    }
}

/// Decodes a body of the place's own kind.
fn decode(call: &Call, place: &Place, actor: &Actor, bytes: &[u8]) -> Result<Value, Status> {
    let resource = &place.resource;
    let content_type = negotiate::content_type(&call.headers);
    let mut decoded = body::decode(content_type, bytes, &resource.kind)?;
    body::check_kind(resource, &mut decoded.value)?;
    engines::settle(actor, resource, &mut decoded.value, &decoded.duplicates).map_err(|unfit| {
        let version = if resource.is_custom() {
            resource.gvr.version.to_string()
        } else {
            resource.api_version()
        };
        let kind = &resource.kind;
        Status::bad_request(format!(
            "{kind} in version \"{version}\" cannot be handled as a {kind}: {unfit}"
        ))
    })?;
    Ok(decoded.value)
}

async fn answer_written(
    call: &Call,
    place: &Place,
    actor: &Actor,
    written: &Written,
) -> Result<Answer, Status> {
    let code = if written.created { 201 } else { 200 };
    let answer = answer_object(call, place, code, &written.bytes).await?;
    Ok(answer.with_warnings(actor.take_warnings()))
}

async fn create(call: &Call, place: &Place, bytes: &[u8]) -> Result<Answer, Status> {
    representation(call, place)?;
    let actor = actor(call, "CreateOptions")?;
    let object = decode(call, place, &actor, bytes)?;
    let place = Place {
        name: object::name(&object).to_owned(),
        ..place.clone()
    };
    let written = write::create(&call.core, &actor, &place, object).await?;
    answer_written(call, &place, &actor, &written).await
}

pub(crate) async fn update(call: &Call, place: &Place, bytes: &[u8]) -> Result<Answer, Status> {
    representation(call, place)?;
    let actor = actor(call, "UpdateOptions")?;
    let object = decode(call, place, &actor, bytes)?;
    let written = write::replace(&call.core, &actor, place, object).await?;
    answer_written(call, place, &actor, &written).await
}

/// Decodes a patch of any of the content types.
pub(crate) fn decode_patch(call: &Call, place: &Place, bytes: &[u8]) -> Result<Patch, Status> {
    let content_type = negotiate::content_type(&call.headers);
    let json = || -> Result<Value, Status> {
        let parsed = hyades_schema::parse::json(bytes)
            .map_err(|error| Status::bad_request(format!("error decoding patch: {error}")))?;
        Ok(parsed.value)
    };
    match content_type {
        "application/json-patch+json" => Ok(Patch::Json(json()?)),
        "application/merge-patch+json" => Ok(Patch::Merge(json()?)),
        "application/strategic-merge-patch+json" if place.resource.is_custom() => {
            Err(Status::unknown_format(&Patch::MEDIA_TYPES[..3].join(", ")))
        }
        "application/strategic-merge-patch+json" => Ok(Patch::Strategic(json()?)),
        "application/apply-patch+yaml" => Ok(Patch::Apply(body::yaml(bytes)?)),
        _ => Err(Status::unsupported_media_type()),
    }
}

pub(crate) async fn patch_object(
    call: &Call,
    place: &Place,
    bytes: &[u8],
) -> Result<Answer, Status> {
    representation(call, place)?;
    let patch = decode_patch(call, place, bytes)?;
    let actor = actor(call, "PatchOptions")?;
    let actor = actor.applying(matches!(patch, Patch::Apply(_)));
    let written = patch::patch(&call.core, &actor, place, patch).await?;
    answer_written(call, place, &actor, &written).await
}

/// Reads delete options from a body, which may be empty.
pub(crate) fn delete_options(call: &Call, bytes: &[u8]) -> Result<DeleteOptions, Status> {
    if bytes.is_empty() {
        return DeleteOptions::parse(&call.head.query, None);
    }
    let content_type = negotiate::content_type(&call.headers);
    let decoded = body::decode(content_type, bytes, "DeleteOptions")?;
    DeleteOptions::parse(&call.head.query, Some(&decoded.value))
}

/// The actor of a deletion, which owns no fields.
pub(crate) fn deleter(call: &Call, options: &DeleteOptions) -> Actor {
    let options = WriteOptions {
        dry_run: options.dry_run,
        ..WriteOptions::default()
    };
    Actor::new(call.user.clone(), String::new(), options)
}

async fn delete_object(call: &Call, place: &Place, bytes: &[u8]) -> Result<Answer, Status> {
    representation(call, place)?;
    let options = delete_options(call, bytes)?;
    let actor = deleter(call, &options);
    let deletion = delete::delete(&call.core, &actor, place, &options).await?;
    let answer = match deletion {
        Deletion::Waiting(bytes) => answer_object(call, place, 200, &bytes).await?,
        Deletion::Done { uid } => {
            let status = status::deleted(place.resource.qualified(), &place.name, &uid);
            answer_value(call, 200, &status)?
        }
    };
    Ok(answer.with_warnings(actor.take_warnings()))
}

async fn delete_objects(call: &Call, place: &Place, bytes: &[u8]) -> Result<Answer, Status> {
    let representation = representation(call, place)?;
    let options = delete_options(call, bytes)?;
    let query = &call.head.query;
    let selected = ListOptions::parse(place, query, call.core.store.revision())?;
    let actor = deleter(call, &options);
    let mut listing =
        delete::delete_collection(&call.core, &actor, place, &selected, &options).await?;
    listing.entries = conversion::entries(&place.resource, listing.entries).await?;
    let include = IncludeObject::parse(query);
    let bytes = encode::list(representation, &place.resource, &listing, include)?;
    Ok(answer(call, representation, 200, bytes))
}
