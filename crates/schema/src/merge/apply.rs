//! Server-side apply.

use std::fmt;

use jiff::Timestamp;
use serde_json::Map;
use serde_json::Value;

use super::combine::drop_nulls;
use super::combine::merged;
use super::combine::remove;
use super::combine::with_declared_fields;
use super::compare::Comparison;
use super::config::check;
use super::config::claimed;
use super::field_set::FieldSet;
use super::last_applied::applied_before;
use super::last_applied::follow;
use super::managers::Entry;
use super::managers::Manager;
use super::managers::Managers;
use super::managers::Operation;
use super::managers::entry_time;
use super::managers::strip;
use super::track::record;
use super::view::View;
use super::view::equal;
use super::zero::zero;
use crate::types::TypeRef;

/// The manager that is given everything an object without any ownership holds, before the first
/// apply to it.
const BEFORE_FIRST_APPLY: &str = "before-first-apply";

/// A configuration to apply.
#[derive(Debug, Clone, Copy)]
pub struct ApplyRequest<'a> {
    /// The type of the object.
    pub ty: &'a TypeRef,
    /// The object as it is stored; `None` if it does not exist.
    pub live: Option<&'a Value>,
    /// What the client applies: `apiVersion`, `kind`, and the fields it has an opinion on.
    pub config: &'a Value,
    /// The applier's name.
    pub manager: &'a str,
    /// The subresource applied to (`status`); empty for the object itself.
    pub subresource: &'a str,
    /// Whether to take fields from other managers instead of reporting a conflict.
    pub force: bool,
    /// The version the client applies in (`apps/v1`).
    pub api_version: &'a str,
    /// Fields this endpoint resets to their old value, and so never owns.
    pub reset_fields: &'a FieldSet,
    /// The current time.
    pub now: Timestamp,
}

/// Why a configuration was not applied.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApplyError {
    /// The client sent `metadata.managedFields`: a bad request.
    #[error("metadata.managedFields must be nil")]
    ManagedFieldsSent,
    /// The configuration does not fit its type. The API server answers 500.
    #[error("failed to create typed patch object ({object}): {mistakes}")]
    Mistyped {
        /// Namespace, name and kind, as the API server writes them.
        object: String,
        /// The mistakes with their paths.
        mistakes: String,
    },
    /// Other managers own fields the configuration would change: 409.
    #[error("{0}")]
    Conflicts(Conflicts),
}

/// A field that another manager owns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflict {
    /// The manager as messages name it: `"kubectl" using v1`.
    pub manager: String,
    /// The field's path: `.data.a`.
    pub field: String,
}

impl Conflict {
    /// The message of the status cause that reports this conflict.
    pub fn message(&self) -> String {
        format!("conflict with {}", self.manager)
    }
}

/// All conflicts of one apply, ordered by manager and field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Conflicts(pub Vec<Conflict>);

impl fmt::Display for Conflicts {
    /// Writes the message of the status that reports the conflicts.
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return write!(
                out,
                "Apply failed with 1 conflict: {}: {}",
                only.message(),
                only.field
            );
        }
        write!(out, "Apply failed with {} conflicts: ", self.0.len())?;
        let mut current: Option<&str> = None;
        for conflict in &self.0 {
            if current != Some(&conflict.manager) {
                let separator = if current.is_some() { "\n" } else { "" };
                write!(out, "{separator}conflicts with {}:", conflict.manager)?;
                current = Some(&conflict.manager);
            }
            write!(out, "\n- {}", conflict.field)?;
        }
        Ok(())
    }
}

/// Applies a configuration and returns the object to store, `metadata.managedFields` included.
///
/// An apply that changes nothing returns the live object, with the ownership the configuration
/// claims and without touching times.
pub fn apply(request: &ApplyRequest<'_>) -> Result<Value, ApplyError> {
    let view = View::of_object(request.ty);
    let config = without_nulls_in_metadata(request.config);
    if !config["metadata"]["managedFields"].is_null() {
        return Err(ApplyError::ManagedFieldsSent);
    }
    check(view, &config).map_err(|mistakes| mistyped(&config, mistakes))?;

    let mut managers = request.live.map(Managers::of).unwrap_or_default();
    let zero_value;
    let live = match request.live {
        Some(live) => {
            own_before_first_apply(request, live, &mut managers);
            live
        }
        None => {
            zero_value = zero(request.ty);
            &zero_value
        }
    };
    let mut live = live.clone();
    strip_managed_fields(&mut live);

    let mut object = match request.live {
        Some(_) => merged(view, &live, &config),
        None => config.clone(),
    };
    drop_nulls(view, &mut object);
    let manager = Manager::new(
        request.manager,
        Operation::Apply,
        request.api_version,
        request.subresource,
    );
    let earlier = managers.take(&manager);
    let claim = claimed(view, &config).difference_with_subtrees(request.reset_fields);
    if let Some(earlier) = &earlier {
        prune(view, &mut object, &earlier.fields, &claim, &managers);
    }

    let comparison = Comparison::of(view, &live, &object).without(request.reset_fields);
    let allowed = match request.force {
        true => comparison.written(),
        false => applied_before(view, &live, request.manager),
    };
    settle_conflicts(&mut managers, &comparison.written(), &allowed)?;
    managers.disown(&comparison.removed);

    let unchanged = request.live.is_some() && equal(&live, &object);
    let time = if unchanged {
        earlier.and_then(|earlier| earlier.time)
    } else {
        Some(entry_time(request.now))
    };
    let fields = strip(&claim);
    if !fields.is_empty() {
        managers.entries.push(Entry {
            manager,
            time,
            fields,
        });
    }
    follow(&mut object, &config, request.manager);
    set_managed_fields(&mut object, managers.into_value());
    Ok(object)
}

/// Removes what the manager claimed last time and nobody claims now.
fn prune(
    view: View<'_>,
    object: &mut Value,
    earlier: &FieldSet,
    claim: &FieldSet,
    others: &Managers,
) {
    let declared = |set: &FieldSet| with_declared_fields(view, set);
    let claims = others
        .entries
        .iter()
        .fold(claim.clone(), |claims, entry| claims.union(&entry.fields));
    let (earlier, claims) = (declared(earlier), declared(&claims));
    if earlier.difference(&claims).is_empty() {
        return;
    }
    let present = declared(&claimed(view, object));
    let mut without_earlier = object.clone();
    remove(view, &mut without_earlier, &earlier);
    let kept = declared(&claimed(view, &without_earlier));
    // What went with a removed item, though somebody still claims it, comes back.
    let mut owned = object.clone();
    remove(view, &mut owned, &present.difference(&kept.union(&claims)));
    let kept = declared(&claimed(view, &owned));
    // Only what the manager itself claimed last time goes.
    remove(
        view,
        object,
        &present.difference(&kept).intersection(&earlier),
    );
}

/// Takes the written fields from the other managers, or reports that they own fields which the
/// applier is not allowed to take.
fn settle_conflicts(
    managers: &mut Managers,
    written: &FieldSet,
    allowed: &FieldSet,
) -> Result<(), ApplyError> {
    let mut conflicts: Vec<Conflict> = Vec::new();
    for entry in &managers.entries {
        let manager = entry.manager.to_string();
        let fields = entry
            .fields
            .intersection(written)
            .difference(allowed)
            .paths();
        conflicts.extend(fields.into_iter().map(|field| Conflict {
            manager: manager.clone(),
            field,
        }));
    }
    // Stable: the fields of one manager keep the set's order.
    conflicts.sort_by(|left, right| left.manager.cmp(&right.manager));
    if !conflicts.is_empty() {
        return Err(ApplyError::Conflicts(Conflicts(conflicts)));
    }
    managers.disown(written);
    Ok(())
}

/// Gives an object without any ownership to a manager of its own, so that the first applier does
/// not silently take over what others wrote.
fn own_before_first_apply(request: &ApplyRequest<'_>, live: &Value, managers: &mut Managers) {
    if !managers.entries.is_empty() {
        return;
    }
    let view = View::of_object(request.ty);
    let comparison = Comparison::of(view, &zero(request.ty), live).without(request.reset_fields);
    let manager = Manager::new(
        BEFORE_FIRST_APPLY,
        Operation::Update,
        request.api_version,
        "",
    );
    record(
        managers,
        &comparison,
        manager,
        Some(entry_time(request.now)),
    );
}

/// Clients encode absent metadata as `null` (`creationTimestamp`); it claims nothing.
fn without_nulls_in_metadata(config: &Value) -> Value {
    let mut config = config.clone();
    if let Some(metadata) = config.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.retain(|_, value| !value.is_null());
    }
    config
}

fn mistyped(config: &Value, mistakes: String) -> ApplyError {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let metadata = &config["metadata"];
    let object = format!(
        "{}/{}; {}, Kind={}",
        text(&metadata["namespace"]),
        text(&metadata["name"]),
        text(&config["apiVersion"]),
        text(&config["kind"])
    );
    ApplyError::Mistyped { object, mistakes }
}

fn strip_managed_fields(object: &mut Value) {
    if let Some(metadata) = object.get_mut("metadata").and_then(Value::as_object_mut) {
        metadata.remove("managedFields");
    }
}

fn set_managed_fields(object: &mut Value, managed_fields: Value) {
    let Some(object) = object.as_object_mut() else {
        return;
    };
    let metadata = object
        .entry("metadata")
        .or_insert_with(|| Value::Object(Map::new()));
    if let Some(metadata) = metadata.as_object_mut() {
        metadata.insert("managedFields".into(), managed_fields);
    }
}
