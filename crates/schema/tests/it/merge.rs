//! Patches and applies, in the order in which a real API server was sent them.
//!
//! Defaulting is not part of merging: the recorded object stands in for the object that would be
//! stored, and what merging returns must be found in it.

use std::collections::BTreeMap;

use hyades_schema::crd;
use hyades_schema::kinds::builtin;
use hyades_schema::merge::ApplyError;
use hyades_schema::merge::ApplyRequest;
use hyades_schema::merge::FieldSet;
use hyades_schema::merge::PatchError;
use hyades_schema::merge::TrackRequest;
use hyades_schema::merge::apply;
use hyades_schema::merge::json_patch;
use hyades_schema::merge::merge_patch;
use hyades_schema::merge::strategic_merge;
use hyades_schema::merge::track_update;
use hyades_schema::types::TypeRef;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use serde_json::json;

/// The time that the fixtures give to every entry.
const NOW: &str = "2026-11-24T05:46:31Z";

#[derive(Deserialize)]
struct Recorded {
    r#type: String,
    name: String,
    subresource: String,
    manager: String,
    force: bool,
    kind: String,
    request: Value,
    object: Option<Value>,
    message: Option<String>,
    causes: Option<Value>,
}

fn recorded(lines: &str) -> Vec<Recorded> {
    lines
        .lines()
        .map(|line| serde_json::from_str(line).expect("a fixture line"))
        .collect()
}

/// The type of a step's object: a built-in one, or the custom resource of the fixtures.
fn type_of(step: &Recorded) -> TypeRef {
    if !step.r#type.is_empty() {
        return builtin().type_named(&step.r#type).expect("a built-in type");
    }
    let definition = serde_json::from_str(include_str!("data/definition.json")).expect("JSON");
    let compiled = crd::compile(&definition).expect("a valid definition");
    compiled.storage().ty.clone()
}

fn now() -> Timestamp {
    NOW.parse().expect("a time")
}

/// The fields the endpoint leaves as they were, as the kinds in the fixtures have it.
fn reset_fields(step: &Recorded) -> FieldSet {
    match (
        step.r#type.ends_with("Deployment"),
        step.subresource.as_str(),
    ) {
        (true, "status") => FieldSet::of_fields(&[&["spec"], &["metadata", "labels"]]),
        (true, _) => FieldSet::of_fields(&[&["status"]]),
        _ => FieldSet::default(),
    }
}

/// Checks that everything in `part` is in `whole`, with lists item by item in the same order.
fn assert_within(part: &Value, whole: &Value, path: &str) {
    match (part, whole) {
        (Value::Object(part), Value::Object(whole)) => {
            for (key, value) in part {
                assert_within(
                    value,
                    whole.get(key).unwrap_or(&Value::Null),
                    &format!("{path}.{key}"),
                );
            }
        }
        (Value::Array(part), Value::Array(whole)) => {
            assert_eq!(part.len(), whole.len(), "items of {path}: {part:?}");
            for (place, (part, whole)) in part.iter().zip(whole).enumerate() {
                assert_within(part, whole, &format!("{path}[{place}]"));
            }
        }
        _ => assert_eq!(part, whole, "{path}"),
    }
}

fn without_managed_fields(object: &Value) -> Value {
    let mut object = object.clone();
    if let Some(metadata) = object["metadata"].as_object_mut() {
        metadata.remove("managedFields");
    }
    object
}

fn patched(step: &Recorded, old: &Value) -> Result<Value, PatchError> {
    let old = &without_managed_fields(old);
    match step.kind.as_str() {
        "json-patch" => json_patch(old, &step.request),
        "strategic-merge-patch" => strategic_merge(&type_of(step), old, &step.request),
        "merge-patch" => {
            let mut new = old.clone();
            merge_patch(&mut new, &step.request).map(|()| new)
        }
        other => panic!("no such patch: {other}"),
    }
}

fn tracked(step: &Recorded, old: Option<&Value>, new: &Value) -> Value {
    track_update(&TrackRequest {
        ty: &type_of(step),
        old,
        new: &without_managed_fields(new),
        manager: &step.manager,
        subresource: &step.subresource,
        api_version: new["apiVersion"].as_str().expect("a version"),
        reset_fields: &reset_fields(step),
        now: now(),
    })
}

fn applied(step: &Recorded, old: Option<&Value>) -> Result<Value, ApplyError> {
    apply(&ApplyRequest {
        ty: &type_of(step),
        live: old,
        config: &step.request,
        manager: &step.manager,
        subresource: &step.subresource,
        force: step.force,
        api_version: step.request["apiVersion"].as_str().expect("a version"),
        reset_fields: &reset_fields(step),
        now: now(),
    })
}

fn causes_of(error: &ApplyError) -> Value {
    let ApplyError::Conflicts(conflicts) = error else {
        return Value::Null;
    };
    let cause = |conflict: &hyades_schema::merge::Conflict| json!({"reason": "FieldManagerConflict", "message": conflict.message(), "field": conflict.field});
    conflicts.0.iter().map(cause).collect()
}

/// Replays one step and returns the object as it is stored afterwards.
fn replay(step: &Recorded, old: Option<&Value>) -> Option<Value> {
    let ownership = |object: &Value| object["metadata"]["managedFields"].clone();
    if step.kind == "apply-patch" {
        match (applied(step, old), &step.object) {
            (Ok(new), Some(object)) => {
                assert_eq!(
                    ownership(&new),
                    ownership(object),
                    "owners after {}",
                    step.request
                );
                let mut expected = object.clone();
                expected["metadata"]["namespace"] = Value::Null;
                let mut new = without_managed_fields(&new);
                new["metadata"]["namespace"] = Value::Null;
                // Replicas that nobody owns any more come back by defaulting.
                assert_within(&new, &expected, "");
            }
            (Err(error), None) => {
                assert_eq!(Some(error.to_string()), step.message);
                if let Some(causes) = &step.causes {
                    assert_eq!(&causes_of(&error), causes);
                }
            }
            (outcome, _) => panic!("{} gave {outcome:?}", step.request),
        }
        return step.object.clone();
    }
    let Some(object) = &step.object else {
        let error =
            patched(step, old.expect("patched objects exist")).expect_err("a refused patch");
        assert_eq!(Some(error.to_string()), step.message);
        return None;
    };
    if let (Some(old), "") = (old, step.subresource.as_str()) {
        let mut new = patched(step, old).expect("an accepted patch");
        if step.r#type.is_empty() {
            // The endpoint drops what it may not set.
            new["status"] = object["status"].clone();
        }
        assert_within(&new, object, "");
    }
    assert_eq!(
        tracked(step, old, object),
        ownership(object),
        "owners after {}",
        step.request
    );
    Some(object.clone())
}

fn replay_all(steps: Vec<Recorded>) {
    let mut stored: BTreeMap<String, Value> = BTreeMap::new();
    for step in steps {
        if let Some(object) = replay(&step, stored.get(&step.name)) {
            stored.insert(step.name, object);
        }
    }
    assert!(!stored.is_empty(), "the fixtures store something");
}

#[test]
fn patches_answer_as_recorded() {
    let mut steps = recorded(include_str!("data/patch.jsonl"));
    // A write through `scale`, which is another type, lies before the write of the status.
    let status = steps.pop().expect("the status patch");
    assert_eq!(status.subresource, "status");
    replay_all(steps);

    let object = status.object.clone().expect("accepted");
    let mut old = object.clone();
    old["status"] = json!({});
    let entries = old["metadata"]["managedFields"]
        .as_array_mut()
        .expect("managed fields");
    entries.retain(|entry| entry["subresource"] != "status");
    let expected = object["metadata"]["managedFields"].clone();
    assert_eq!(tracked(&status, Some(&old), &object), expected);
}

#[test]
fn applies_answer_as_recorded() {
    replay_all(recorded(include_str!("data/apply.jsonl")));
}

#[test]
fn custom_resources_answer_as_recorded() {
    replay_all(recorded(include_str!("data/merge-custom.jsonl")));
}

/// The fixtures lack what the server itself adds after ownership is recorded: admission's and the
/// kind's own additions belong to nobody.
#[test]
fn new_objects_are_owned_as_recorded() {
    for line in include_str!("data/creates.jsonl").lines() {
        let object: Value = serde_json::from_str(line).expect("a fixture line");
        let text = |name: &str| object[name].as_str().expect("type meta");
        let (api_version, kind) = (text("apiVersion"), text("kind"));
        let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
        let mut kinds = builtin().kinds.iter();
        let kind = kinds
            .find(|row| row.group == group && row.version == version && row.kind == kind)
            .unwrap_or_else(|| panic!("{api_version} {kind} is built in"));
        let has_status = kind
            .subresources
            .iter()
            .any(|subresource| subresource.name == "status");
        let reset: &[&[&str]] = match (has_status, kind.kind) {
            // The specification of a request is the server's as much as the client's.
            (_, "CertificateSigningRequest") => &[&["spec"], &["status"]],
            (true, _) => &[&["status"]],
            (false, _) => &[],
        };
        let expected = &object["metadata"]["managedFields"];
        let managed = track_update(&TrackRequest {
            ty: &builtin()
                .type_named(kind.type_name)
                .expect("the row's type"),
            old: None,
            new: &without_managed_fields(&object),
            manager: expected[0]["manager"].as_str().expect("a manager"),
            subresource: "",
            api_version,
            reset_fields: &FieldSet::of_fields(reset),
            now: now(),
        });
        assert_eq!(&managed, expected, "owners of a new {}", kind.kind);
    }
}
