//! Custom objects in another version than the one they are stored in.
//!
//! ```text
//! read:  stored bytes ──shown──▶ bytes in the request's version
//! write: stored ──one──▶ request's version ▶ pipeline ▶ stored version ──one──▶ store
//! ```
//!
//! A definition without conversion has objects that differ in their apiVersion only. One with
//! `strategy: Webhook` names a server that converts, by the same `ConversionReview` with which a
//! kube-apiserver asks: its answer may change anything but the object's identity, and of the
//! metadata labels and annotations only. Whoever reads in the stored version never waits for it.

mod webhook;

use std::sync::Arc;

use bytes::Bytes;
use hyades_store::Entry;
use hyades_store::Event;
use serde_json::Value;

use crate::engines;
use crate::object;
use crate::registry::Origin;
use crate::registry::Resource;
use crate::status::Status;
use crate::strategy;

pub(crate) use webhook::Webhook;

/// Most objects in one review: a page of a client's list, so that one request stays far below the
/// bytes that webhooks take.
const REVIEW_OBJECTS_MAX: usize = 500;

/// Most stored bytes in one review, unless a single object is larger: half of what our own webhook
/// takes, so that the review's frame and escapes find room beside the objects.
const REVIEW_BYTES_MAX: usize = 8 * 1024 * 1024;

/// The webhook that stands between a resource's version and the stored one, if one does.
fn webhook(resource: &Resource) -> Option<&Arc<Webhook>> {
    match &resource.origin {
        Origin::Custom(version) => version.webhook.as_ref(),
        Origin::Builtin(_) => None,
    }
}

/// Whether objects of the resource are shown otherwise than they are stored, by a webhook.
pub(crate) fn is_remote(resource: &Resource) -> bool {
    webhook(resource).is_some()
}

/// An object from the stored version into the resource's.
///
/// # Errors
/// 500 when the webhook cannot be asked or its answer is of no use.
pub(crate) async fn to_version(resource: &Resource, object: Value) -> Result<Value, Status> {
    match webhook(resource) {
        None => Ok(strategy::to_version(resource, object)),
        Some(webhook) => one(webhook, object, &resource.api_version()).await,
    }
}

/// An object from the resource's version into the stored one.
///
/// # Errors
/// As [`to_version`].
pub(crate) async fn to_stored(resource: &Resource, object: Value) -> Result<Value, Status> {
    match webhook(resource) {
        None => Ok(strategy::to_stored(resource, object)),
        Some(webhook) => one(webhook, object, &resource.stored_api_version).await,
    }
}

async fn one(webhook: &Webhook, object: Value, wanted: &str) -> Result<Value, Status> {
    let mut converted = all(webhook, vec![object], wanted).await?;
    Ok(converted.pop().unwrap_or_default())
}

/// Stored bytes as a reader of the resource's version sees them.
///
/// # Errors
/// As [`to_version`].
pub(crate) async fn shown(resource: &Resource, stored: &Bytes) -> Result<Bytes, Status> {
    if !is_remote(resource) {
        return Ok(stored.clone());
    }
    let object = to_version(resource, object::decode(stored)).await?;
    Ok(engines::to_json(&object))
}

/// Entries as a reader of the resource's version sees them.
///
/// # Errors
/// As [`to_version`].
pub(crate) async fn entries(
    resource: &Resource,
    stored: Vec<Arc<Entry>>,
) -> Result<Vec<Arc<Entry>>, Status> {
    let Some(webhook) = webhook(resource) else {
        return Ok(stored);
    };
    let wanted = resource.api_version();
    let mut converted = Vec::with_capacity(stored.len());
    for page in pages(&stored) {
        let objects = page.iter().map(|entry| object::decode(&entry.value));
        let objects = all(webhook, objects.collect(), &wanted).await?;
        let pairs = page.iter().zip(objects);
        converted.extend(pairs.map(|(entry, object)| {
            Arc::new(Entry {
                value: engines::to_json(&object),
                ..(**entry).clone()
            })
        }));
    }
    Ok(converted)
}

/// Entries in reviews that are neither too many nor too large.
fn pages(mut rest: &[Arc<Entry>]) -> Vec<&[Arc<Entry>]> {
    let mut pages = Vec::new();
    while !rest.is_empty() {
        let mut bytes = 0_usize;
        let fitting = rest.iter().take(REVIEW_OBJECTS_MAX).take_while(|entry| {
            bytes = bytes.saturating_add(entry.value.len());
            bytes <= REVIEW_BYTES_MAX
        });
        // An object that alone is too large is still the webhook's to judge.
        let (page, later) = rest.split_at(fitting.count().max(1));
        pages.push(page);
        rest = later;
    }
    pages
}

/// An event as a watcher of the resource's version sees it.
///
/// # Errors
/// As [`to_version`].
pub(crate) async fn event(resource: &Resource, event: Arc<Event>) -> Result<Arc<Event>, Status> {
    if !is_remote(resource) {
        return Ok(event);
    }
    let both = event.value.iter().chain(&event.previous).cloned().collect();
    let mut both = entries(resource, both).await?.into_iter();
    let value = event.value.as_ref().and_then(|_| both.next());
    let previous = both.next();
    let tombstone = match &event.tombstone {
        Some(bytes) => Some(shown(resource, bytes).await?),
        None => None,
    };
    Ok(Arc::new(Event {
        value,
        previous,
        tombstone,
        ..(*event).clone()
    }))
}

/// Converts objects that are not in the wanted version yet.
async fn all(
    webhook: &Webhook,
    mut objects: Vec<Value>,
    wanted: &str,
) -> Result<Vec<Value>, Status> {
    let places: Vec<usize> = (0..objects.len())
        .filter(|place| objects[*place]["apiVersion"] != wanted)
        .collect();
    let Some(first) = places.first() else {
        return Ok(objects);
    };
    let kind = kind_of(&objects[*first]);
    let failed =
        |why: String| Status::plain(format!("conversion webhook for {kind} failed: {why}"));
    let asked: Vec<&Value> = places.iter().map(|place| &objects[*place]).collect();
    let answered = webhook.convert(&asked, wanted).await.map_err(&failed)?;
    if answered.len() != places.len() {
        let why = format!(
            "it returned {} objects for {}",
            answered.len(),
            places.len()
        );
        return Err(failed(why));
    }
    for (place, converted) in places.into_iter().zip(answered) {
        let original = std::mem::take(&mut objects[place]);
        objects[place] = accepted(&original, converted, wanted).map_err(&failed)?;
    }
    Ok(objects)
}

fn kind_of(object: &Value) -> String {
    let text = |key: &str| object[key].as_str().unwrap_or_default();
    format!("{}, Kind={}", text("apiVersion"), text("kind"))
}

/// The converted object, if the webhook kept to the rules: the same object, in the wanted version,
/// of whose metadata only labels and annotations differ.
fn accepted(original: &Value, mut converted: Value, wanted: &str) -> Result<Value, String> {
    let name = object::name(original);
    if converted["apiVersion"] != wanted || converted["kind"] != original["kind"] {
        return Err(format!(
            "it returned {} for {name}, and {wanted} was asked for",
            kind_of(&converted)
        ));
    }
    for field in ["name", "namespace", "uid"] {
        if object::text(original, field) != object::text(&converted, field) {
            return Err(format!("it changed metadata.{field} of {name}"));
        }
    }
    let mut metadata = object::metadata(original).clone();
    for field in ["labels", "annotations"] {
        match object::metadata(&converted).get(field) {
            Some(value) if !value.is_null() => {
                metadata.insert(field.to_owned(), value.clone());
            }
            _ => {
                metadata.remove(field);
            }
        }
    }
    converted["metadata"] = Value::Object(metadata);
    Ok(converted)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn original() -> Value {
        json!({
            "apiVersion": "demo.io/v1", "kind": "Widget",
            "metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "labels": {"x": "1"}},
        })
    }

    #[test]
    fn a_webhook_changes_labels_and_annotations_and_no_other_metadata() {
        let converted = json!({
            "apiVersion": "demo.io/v2", "kind": "Widget", "spec": {"new": true},
            "metadata": {"name": "a", "uid": "u", "finalizers": ["f"], "annotations": {"y": "2"}},
        });
        assert_eq!(
            accepted(&original(), converted, "demo.io/v2"),
            Ok(json!({
                "apiVersion": "demo.io/v2", "kind": "Widget", "spec": {"new": true},
                "metadata": {
                    "name": "a", "uid": "u", "resourceVersion": "7", "annotations": {"y": "2"},
                },
            }))
        );
    }

    #[test]
    fn a_review_is_neither_of_too_many_objects_nor_of_too_many_bytes() {
        let entry = |bytes: usize| {
            Arc::new(Entry {
                key: "k".into(),
                value: vec![b' '; bytes].into(),
                created: Default::default(),
                modified: Default::default(),
            })
        };
        let sizes = |entries: &[Arc<Entry>]| -> Vec<usize> {
            pages(entries).iter().map(|page| page.len()).collect()
        };
        assert_eq!(sizes(&vec![entry(1); 501]), [500, 1]);
        let half = entry(REVIEW_BYTES_MAX / 2);
        assert_eq!(sizes(&vec![half; 5]), [2, 2, 1]);
        let whole = entry(REVIEW_BYTES_MAX + 1);
        assert_eq!(
            sizes(&[entry(1), whole.clone(), whole, entry(1)]),
            [1, 1, 1, 1]
        );
        assert!(sizes(&[]).is_empty());
    }

    #[test]
    fn another_object_or_version_than_asked_for_is_refused() {
        let answer = |version: &str, kind: &str, name: &str| {
            let converted = json!({
                "apiVersion": version, "kind": kind, "metadata": {"name": name, "uid": "u"},
            });
            accepted(&original(), converted, "demo.io/v2").is_ok()
        };
        assert!(answer("demo.io/v2", "Widget", "a"));
        assert!(!answer("demo.io/v3", "Widget", "a"));
        assert!(!answer("demo.io/v2", "Gadget", "a"));
        assert!(!answer("demo.io/v2", "Widget", "b"));
        assert!(accepted(&original(), json!(null), "demo.io/v2").is_err());
    }
}
