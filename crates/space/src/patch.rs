//! Patching: four ways to say what to change.

use hyades_schema::merge;
use hyades_schema::merge::ApplyError;
use hyades_schema::merge::PatchError;
use serde_json::Value;

use crate::body;
use crate::core::Actor;
use crate::core::Core;
use crate::core::Place;
use crate::core::Written;
use crate::engines;
use crate::identity::Attributes;
use crate::object;
use crate::query;
use crate::status::Cause;
use crate::status::Qualified;
use crate::status::Status;
use crate::write;

/// A decoded patch.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Patch {
    /// RFC 6902.
    Json(Value),
    /// RFC 7386.
    Merge(Value),
    /// Upstream's merge by the keys the schema names.
    Strategic(Value),
    /// Server-side apply: the fields the manager wants.
    Apply(Value),
}

impl Patch {
    /// The content types of patches; the strategic one is for built-in kinds only.
    pub(crate) const MEDIA_TYPES: [&'static str; 4] = [
        "application/json-patch+json",
        "application/merge-patch+json",
        "application/apply-patch+yaml",
        "application/strategic-merge-patch+json",
    ];
}

/// Changes an object; a server-side apply makes it if it is absent.
pub(crate) async fn patch(
    core: &Core,
    actor: &Actor,
    place: &Place,
    patch: Patch,
) -> Result<Written, Status> {
    if let Patch::Apply(config) = &patch {
        return apply(core, actor, place, config).await;
    }
    write::update(core, actor, place, |current| {
        let mut new = patched(place, current, &patch)?;
        write::check_name(place, &new)?;
        body::check_kind(&place.resource, &mut new)?;
        engines::settle(actor, &place.resource, &mut new, &[])
            .map_err(|error| unfit(&new, &error))?;
        Ok(new)
    })
    .await
}

/// The document after the patch.
pub(crate) fn patched(place: &Place, current: &Value, patch: &Patch) -> Result<Value, Status> {
    let result = match patch {
        Patch::Json(patch) => merge::json_patch(current, patch),
        Patch::Merge(patch) => {
            let mut new = current.clone();
            merge::merge_patch(&mut new, patch).map(|()| new)
        }
        Patch::Strategic(patch) => merge::strategic_merge(&place.resource.ty, current, patch),
        Patch::Apply(_) => Err(PatchError::Decode("not a plain patch".to_owned())),
    };
    let new = result.map_err(|error| refused(&error))?;
    if new.is_object() {
        Ok(new)
    } else {
        Err(Status::unprocessable())
    }
}

fn refused(error: &PatchError) -> Status {
    match error {
        PatchError::Decode(_) => Status::bad_request(error.to_string()),
        PatchError::TooManyOperations(_) | PatchError::CarriesTooMuch | PatchError::TooDeep => {
            Status::bad_request(error.to_string())
        }
        PatchError::Rejected(why) | PatchError::TestFailed(why) => {
            tracing::debug!(%why, "a JSON patch does not apply");
            Status::unprocessable()
        }
        PatchError::Strategic(_) => Status::plain(error.to_string()),
    }
}

/// 422 for a patched document that does not fit its kind; upstream shows the document.
fn unfit(document: &Value, error: &engines::Unfit) -> Status {
    let shown = serde_json::to_string(&document.to_string()).unwrap_or_default();
    let nothing = Qualified {
        group: "",
        name: "",
    };
    let cause = Cause {
        reason: "FieldValueInvalid".to_owned(),
        message: format!("Invalid value: {shown}: {error}"),
        field: "patch".to_owned(),
    };
    Status::invalid(nothing, "", vec![cause])
}

/// Checks what a server-side apply must state.
fn check_apply(actor: &Actor, place: &Place, config: &Value) -> Result<(), Status> {
    if actor.options.field_manager.is_empty() {
        let cause = Cause {
            reason: "FieldValueRequired".to_owned(),
            message: "Required value: is required for apply patch".to_owned(),
            field: "fieldManager".to_owned(),
        };
        return Err(query::options_invalid("PatchOptions", vec![cause]));
    }
    let api_version = config["apiVersion"].as_str().unwrap_or_default();
    let kind = config["kind"].as_str().unwrap_or_default();
    let resource = &place.resource;
    if api_version == resource.api_version() && kind == resource.kind {
        return Ok(());
    }
    let (group, version) = crate::names::split_api_version(api_version);
    Err(Status::bad_request(format!(
        "invalid object type: {group}/{version}, Kind={kind}"
    )))
}

async fn apply(
    core: &Core,
    actor: &Actor,
    place: &Place,
    config: &Value,
) -> Result<Written, Status> {
    check_apply(actor, place, config)?;
    let stated = object::name(config);
    if !stated.is_empty() {
        write::check_name(place, config)?;
    }
    // A create that loses against another creator becomes an update, an update whose object has
    // gone becomes a create; each of these can happen once without the other being at work too.
    for _ in 0..3 {
        let exists = core.store.get(&place.key()).is_some();
        let result = if exists {
            write::update(core, actor, place, |current| {
                applied(actor, place, Some(current), config)
            })
            .await
        } else if place.subresource.is_empty() {
            may_create(core, actor, place)?;
            let mut object = applied(actor, place, None, config)?;
            object::set(&mut object, "name", place.name.clone().into());
            write::create(core, actor, place, object).await
        } else {
            Err(Status::not_found(place.resource.qualified(), &place.name))
        };
        match result {
            Err(status) if exists && status.is_not_found() => {}
            Err(status) if !exists && status.is_already_exists() => {}
            other => return other,
        }
    }
    Err(Status::modified(place.resource.qualified(), &place.name))
}

/// Who applies an absent object creates it, and must be allowed to.
fn may_create(core: &Core, actor: &Actor, place: &Place) -> Result<(), Status> {
    let gvr = &place.resource.gvr;
    let attributes = Attributes::Resource {
        verb: "create".to_owned(),
        group: gvr.group.to_string(),
        version: gvr.version.to_string(),
        resource: gvr.resource.to_string(),
        subresource: String::new(),
        namespace: place.namespace.clone(),
        name: place.name.clone(),
    };
    core.authorize(&actor.user, &attributes)
}

/// The object after an apply.
fn applied(
    actor: &Actor,
    place: &Place,
    live: Option<&Value>,
    config: &Value,
) -> Result<Value, Status> {
    let mut new = engines::apply(actor, place, live, config).map_err(|error| match error {
        ApplyError::ManagedFieldsSent => Status::bad_request(error.to_string()),
        ApplyError::Conflicts(conflicts) => {
            let causes = conflicts.0.iter().map(|conflict| Cause {
                reason: "FieldManagerConflict".to_owned(),
                message: conflict.message(),
                field: conflict.field.clone(),
            });
            Status::apply_conflict(conflicts.to_string(), causes.collect())
        }
        other => Status::plain(other.to_string()),
    })?;
    if let Some(live) = live
        && object::resource_version(config).is_empty()
    {
        object::copy(&mut new, live, "resourceVersion");
    }
    engines::settle(actor, &place.resource, &mut new, &[]).map_err(|error| unfit(&new, &error))?;
    Ok(new)
}
