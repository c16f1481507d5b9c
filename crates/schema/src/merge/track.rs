//! Ownership after a create, an update or a patch that is not an apply.

use jiff::Timestamp;
use serde_json::Value;

use super::compare::Comparison;
use super::field_set::FieldSet;
use super::managers::Entry;
use super::managers::Manager;
use super::managers::Managers;
use super::managers::Operation;
use super::managers::entry_time;
use super::managers::managed_fields;
use super::managers::strip;
use super::view::View;
use super::zero::zero;
use crate::types::TypeRef;

/// A write whose effect on ownership is asked for.
#[derive(Debug, Clone, Copy)]
pub struct TrackRequest<'a> {
    /// The type of the object.
    pub ty: &'a TypeRef,
    /// The object as it is stored; `None` for a create.
    pub old: Option<&'a Value>,
    /// The object about to be stored, complete with defaults.
    pub new: &'a Value,
    /// The client's name; empty for a client that gave none.
    pub manager: &'a str,
    /// The subresource written through (`status`); empty for the object itself.
    pub subresource: &'a str,
    /// The version the client wrote in (`apps/v1`).
    pub api_version: &'a str,
    /// Fields this endpoint resets to their old value, and so never owns.
    pub reset_fields: &'a FieldSet,
    /// The current time.
    pub now: Timestamp,
}

/// The value of `metadata.managedFields` after the write.
///
/// Fields with a new value pass to the writer, fields that are gone belong to nobody, everything
/// else stays. A write that changes nothing leaves the entries and their times alone.
pub fn track_update(request: &TrackRequest<'_>) -> Value {
    let zero_value;
    let old = match request.old {
        Some(old) => old,
        None => {
            zero_value = zero(request.ty);
            &zero_value
        }
    };
    let comparison =
        Comparison::of(View::of_object(request.ty), old, request.new).without(request.reset_fields);
    let sent = managers_sent(request);
    if comparison.is_empty() && sent.is_none() {
        return Value::Array(request.old.map(managed_fields).unwrap_or_default().to_vec());
    }
    let mut managers = sent.unwrap_or_else(|| request.old.map(Managers::of).unwrap_or_default());
    let manager = Manager::new(
        request.manager,
        Operation::Update,
        request.api_version,
        request.subresource,
    );
    // Entries made through `scale` carry no time, as upstream has it.
    let time = (request.subresource != "scale").then(|| entry_time(request.now));
    record(&mut managers, &comparison, manager, time);
    managers.cap_update_managers();
    managers.into_value()
}

/// The managers the client itself sent, which count unless it wrote through a subresource.
fn managers_sent(request: &TrackRequest<'_>) -> Option<Managers> {
    if !request.subresource.is_empty() {
        return None;
    }
    if Managers::is_reset(request.new) {
        return Some(Managers::default());
    }
    if request
        .old
        .is_some_and(|old| managed_fields(old) == managed_fields(request.new))
    {
        return None;
    }
    let sent = Managers::of(request.new);
    (!sent.entries.is_empty()).then_some(sent)
}

/// Passes the written fields to `manager` and takes the removed ones from everybody.
pub(super) fn record(
    managers: &mut Managers,
    comparison: &Comparison,
    manager: Manager,
    time: Option<String>,
) {
    let written = comparison.written();
    managers.disown(&comparison.removed);
    // The whole of what was written is taken from everybody, the writer's own earlier entry
    // included, which then gets it back.
    let earlier = managers.take(&manager);
    managers.disown(&written);
    let own = strip(&written);
    let (fields, time) = match earlier {
        Some(earlier) if own.is_empty() => (earlier.fields.difference(&written), earlier.time),
        Some(earlier) => (earlier.fields.union(&own), time),
        None => (own, time),
    };
    if !fields.is_empty() {
        managers.entries.push(Entry {
            manager,
            time,
            fields,
        });
    }
}
