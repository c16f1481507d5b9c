//! Deleting: preconditions, grace, finalizers and what becomes of dependents.

use bytes::Bytes;
use hyades_store::Entry;
use hyades_store::Expect;
use serde_json::Value;
use serde_json::json;

use crate::admission;
use crate::core::Actor;
use crate::core::Core;
use crate::core::Place;
use crate::core::store_failed;
use crate::guard::Operation;
use crate::list;
use crate::list::ListOptions;
use crate::list::Listing;
use crate::names;
use crate::names::Gvr;
use crate::object;
use crate::object::Encoded;
use crate::object::FOREGROUND_FINALIZER;
use crate::object::ORPHAN_FINALIZER;
use crate::query;
use crate::query::Query;
use crate::status::Cause;
use crate::status::Status;
use crate::write;

/// How often a deletion is tried against concurrent writers; see the like limit of updates.
const ATTEMPTS_MAX: usize = 100;

/// The finalizer with which a CustomResourceDefinition waits until its objects are gone.
pub const CUSTOM_RESOURCE_FINALIZER: &str = "customresourcecleanup.apiextensions.k8s.io";

/// What becomes of an object's dependents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Propagation {
    /// They are deleted afterwards.
    Background,
    /// They are deleted first; the object waits for them.
    Foreground,
    /// They stay, released from the object.
    Orphan,
}

/// `metav1.DeleteOptions`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeleteOptions {
    /// Seconds a pod gets to stop; the pod's own when `None`.
    pub grace_period_seconds: Option<i64>,
    /// The uid the object must have.
    pub uid: Option<String>,
    /// The resourceVersion the object must have.
    pub resource_version: Option<String>,
    /// What becomes of dependents; the kind's default when `None`.
    pub propagation: Option<Propagation>,
    /// Do everything but delete.
    pub dry_run: bool,
}

impl DeleteOptions {
    /// Reads the options from the body, or from the query where the body has none.
    ///
    /// # Errors
    /// 422 in the API server's words.
    pub fn parse(query: &Query, body: Option<&Value>) -> Result<DeleteOptions, Status> {
        let mut causes = Vec::new();
        let empty = Value::Null;
        let body = body.unwrap_or(&empty);
        let text = |field: &str| {
            body[field]
                .as_str()
                .or(query.first(field))
                .filter(|text| !text.is_empty())
        };
        let mut propagation = match text("propagationPolicy") {
            None => None,
            Some("Background") => Some(Propagation::Background),
            Some("Foreground") => Some(Propagation::Foreground),
            Some("Orphan") => Some(Propagation::Orphan),
            Some(other) => {
                causes.push(query::unsupported(
                    "propagationPolicy",
                    &format!("\"{other}\""),
                    "\"Foreground\", \"Background\", \"Orphan\", \"nil\"",
                ));
                None
            }
        };
        let orphan = body["orphanDependents"]
            .as_bool()
            .or(query.optional_flag("orphanDependents"));
        if let Some(orphan) = orphan {
            if propagation.is_some() {
                causes.push(both_orphan_and_policy());
            } else if orphan {
                propagation = Some(Propagation::Orphan);
            } else {
                propagation = Some(Propagation::Background);
            }
        }
        let stated = body["dryRun"].as_array().into_iter().flatten();
        let stated = stated.filter_map(Value::as_str).chain(query.all("dryRun"));
        let dry_run = query::dry_run(stated, &mut causes);
        let precondition = |field: &str| body["preconditions"][field].as_str().map(str::to_owned);
        let options = DeleteOptions {
            grace_period_seconds: match body["gracePeriodSeconds"].as_i64() {
                Some(seconds) => Some(seconds),
                None => query.number("gracePeriodSeconds")?,
            },
            uid: precondition("uid"),
            resource_version: precondition("resourceVersion"),
            propagation,
            dry_run,
        };
        if causes.is_empty() {
            Ok(options)
        } else {
            Err(query::options_invalid("DeleteOptions", causes))
        }
    }
}

fn both_orphan_and_policy() -> Cause {
    Cause {
        reason: "FieldValueInvalid".to_owned(),
        message: "Invalid value: orphanDependents and deletionPropagation cannot be both set"
            .to_owned(),
        field: "propagationPolicy".to_owned(),
    }
}

/// What a deletion led to.
#[derive(Debug, Clone)]
pub(crate) enum Deletion {
    /// The object is gone.
    Done {
        /// Its uid.
        uid: String,
    },
    /// The object waits for finalizers or for its grace to pass; as it is stored now.
    Waiting(Bytes),
}

/// What to do with an object that is to be deleted.
#[derive(Debug, PartialEq)]
enum Decision {
    /// Remove it.
    Remove,
    /// Store this: the object, marked as being deleted.
    Mark(Box<Value>),
    /// It is marked already, and nothing changes.
    Wait,
}

/// Decides about a deletion. `now` is the present second.
fn decide(
    place: &Place,
    current: &Value,
    options: &DeleteOptions,
    now: jiff::Timestamp,
) -> Decision {
    let is_namespace = place.resource.is(&Gvr::NAMESPACES);
    let is_pod = place.resource.is(&Gvr::PODS);
    let grace = if is_pod {
        pod_grace(current, options)
    } else {
        0
    };
    let finalizers = finalizers_after(place, current, options);
    let waits = !finalizers.is_empty()
        || (is_namespace && has_items(&current["spec"]["finalizers"]))
        || grace > 0;
    if !waits {
        return Decision::Remove;
    }
    let mut new = current.clone();
    set_finalizers(&mut new, &finalizers);
    let marked_grace = object::metadata(current)
        .get("deletionGracePeriodSeconds")
        .and_then(Value::as_i64);
    let shorter = marked_grace.is_some_and(|seconds| grace < seconds);
    if !object::is_deleting(current) || shorter {
        let at = now + jiff::SignedDuration::from_secs(grace);
        object::set(&mut new, "deletionTimestamp", object::time(at).into());
        if is_namespace {
            new["status"]["phase"] = "Terminating".into();
        } else {
            object::set(&mut new, "deletionGracePeriodSeconds", grace.into());
        }
        let generation = object::metadata(current)
            .get("generation")
            .and_then(Value::as_i64);
        if let Some(generation) = generation.filter(|generation| *generation > 0) {
            object::set(&mut new, "generation", (generation + 1).into());
        }
        if place.resource.is(&Gvr::CUSTOM_RESOURCE_DEFINITIONS) {
            set_terminating(&mut new, now);
        }
    }
    if new == *current {
        Decision::Wait
    } else {
        Decision::Mark(Box::new(new))
    }
}

/// Seconds a pod gets to stop. One that runs nowhere, or has ended, needs none.
fn pod_grace(pod: &Value, options: &DeleteOptions) -> i64 {
    const DEFAULT_SECONDS: i64 = 30;
    let scheduled = pod["spec"]["nodeName"]
        .as_str()
        .is_some_and(|node| !node.is_empty());
    let ended = matches!(
        pod["status"]["phase"].as_str(),
        Some("Succeeded" | "Failed")
    );
    if !scheduled || ended {
        return 0;
    }
    let own = pod["spec"]["terminationGracePeriodSeconds"].as_i64();
    let seconds = options
        .grace_period_seconds
        .or(own)
        .unwrap_or(DEFAULT_SECONDS);
    // Upstream reads a negative grace as one second.
    if seconds < 0 { 1 } else { seconds }
}

/// The finalizers the object waits for: its own, and those of the propagation asked for.
fn finalizers_after(place: &Place, current: &Value, options: &DeleteOptions) -> Vec<String> {
    let mut finalizers: Vec<String> = object::finalizers(current)
        .into_iter()
        .map(str::to_owned)
        .collect();
    if let Some(propagation) = options.propagation {
        let wanted = match propagation {
            Propagation::Background => None,
            Propagation::Foreground => Some(FOREGROUND_FINALIZER),
            Propagation::Orphan => Some(ORPHAN_FINALIZER),
        };
        finalizers.retain(|name| {
            Some(name.as_str()) == wanted
                || (name != FOREGROUND_FINALIZER && name != ORPHAN_FINALIZER)
        });
        if let Some(wanted) = wanted
            && !finalizers.iter().any(|name| name == wanted)
        {
            finalizers.push(wanted.to_owned());
        }
    }
    let is_definition = place.resource.is(&Gvr::CUSTOM_RESOURCE_DEFINITIONS);
    if is_definition && !object::is_deleting(current) {
        let present = finalizers
            .iter()
            .any(|name| name == CUSTOM_RESOURCE_FINALIZER);
        if !present {
            finalizers.push(CUSTOM_RESOURCE_FINALIZER.to_owned());
        }
    }
    finalizers
}

fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    let value = if finalizers.is_empty() {
        Value::Null
    } else {
        finalizers.into()
    };
    object::set(object, "finalizers", value);
}

fn has_items(list: &Value) -> bool {
    list.as_array().is_some_and(|items| !items.is_empty())
}

fn set_terminating(definition: &mut Value, now: jiff::Timestamp) {
    let condition = json!({
        "type": "Terminating", "status": "True", "reason": "InstanceDeletionPending",
        "message": "CustomResourceDefinition marked for deletion; CustomResource deletion will \
                    begin soon",
        "lastTransitionTime": object::time(now),
    });
    match definition["status"]["conditions"].as_array_mut() {
        Some(conditions) => {
            conditions.retain(|present| present["type"] != "Terminating");
            conditions.push(condition);
        }
        None => definition["status"]["conditions"] = json!([condition]),
    }
}

fn check_preconditions(
    place: &Place,
    current: &Value,
    options: &DeleteOptions,
) -> Result<(), Status> {
    // Upstream's precondition errors name the kind where all others name the resource.
    let kind = place.resource.qualified_kind();
    let uid = object::uid(current);
    if let Some(wanted) = options.uid.as_deref().filter(|wanted| *wanted != uid) {
        let why = format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). The \
             object might have been deleted and then recreated"
        );
        return Err(Status::conflict(kind, &place.name, &why));
    }
    let version = object::resource_version(current);
    let wanted = options.resource_version.as_deref();
    if let Some(wanted) = wanted.filter(|wanted| *wanted != version) {
        let why = format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the \
             ResourceVersion in record ({version}). The object might have been modified"
        );
        return Err(Status::conflict(kind, &place.name, &why));
    }
    Ok(())
}

/// Deletes an object.
pub(crate) async fn delete(
    core: &Core,
    actor: &Actor,
    place: &Place,
    options: &DeleteOptions,
) -> Result<Deletion, Status> {
    for _ in 0..ATTEMPTS_MAX {
        let entry = core.entry(&place.resource, &place.namespace, &place.name)?;
        if let Some(deletion) = attempt(core, actor, place, options, &entry).await? {
            return Ok(deletion);
        }
    }
    Err(Status::modified(place.resource.qualified(), &place.name))
}

/// One try; `None` when another writer was faster.
async fn attempt(
    core: &Core,
    actor: &Actor,
    place: &Place,
    options: &DeleteOptions,
    entry: &Entry,
) -> Result<Option<Deletion>, Status> {
    let current = object::decode(&entry.value);
    check_preconditions(place, &current, options)?;
    admission::may_be_deleted(place)?;
    admission::guard(core, actor, place, Operation::Delete, Some(&current), None)?;
    let decision = decide(place, &current, options, jiff::Timestamp::now());
    let uid = object::uid(&current).to_owned();
    let result = match decision {
        Decision::Wait => return Ok(Some(Deletion::Waiting(entry.value.clone()))),
        Decision::Remove if options.dry_run => return Ok(Some(Deletion::Done { uid })),
        Decision::Mark(new) if options.dry_run => {
            let bytes = crate::engines::to_json(&new);
            return Ok(Some(Deletion::Waiting(bytes)));
        }
        Decision::Remove => {
            let tombstone = Encoded::new(&current);
            let delete = core.store.delete(&entry.key, entry.modified, |revision| {
                tombstone.at(revision)
            });
            delete.await.map(|_| Deletion::Done { uid })
        }
        Decision::Mark(new) => {
            let encoded = Encoded::new(&new);
            let expect = Expect::At(entry.modified);
            let durability = write::durability(&place.resource);
            let put = core.store.put(&entry.key, expect, durability, |revision| {
                encoded.at(revision)
            });
            put.await
                .map(|entry| Deletion::Waiting(entry.value.clone()))
        }
    };
    match result {
        Ok(deletion) => Ok(Some(deletion)),
        Err(hyades_store::Error::Conflict(_)) => Ok(None),
        Err(error) => Err(store_failed(error)),
    }
}

/// Deletes every selected object of a collection and returns the listing as it was.
pub(crate) async fn delete_collection(
    core: &Core,
    actor: &Actor,
    place: &Place,
    selected: &ListOptions,
    options: &DeleteOptions,
) -> Result<Listing, Status> {
    let listing = list::list(core, place, selected)?;
    for entry in &listing.entries {
        let (namespace, name) = names::split_key(&entry.key).unwrap_or_default();
        let place = Place {
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            ..place.clone()
        };
        match delete(core, actor, &place, options).await {
            Err(status) if !status.is_not_found() => return Err(status),
            _ => {}
        }
    }
    Ok(listing)
}
