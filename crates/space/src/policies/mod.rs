//! Admission policies: rules about writes that are themselves objects.
//!
//! ```text
//!  store hook ─▶ definitions ─▶ index by resource
//!                                   │
//!  write ─▶ policies of its resource ─▶ matching ─▶ bindings ─▶ params ─▶ evaluation
//!                                                                            │
//!                      mutation: the object changes ◀────────────────────────┤
//!                      validation: refusal, warning or audit ◀───────────────┘
//! ```
//!
//! A policy is compiled when it first concerns a write and kept until it changes. A write whose
//! resource no policy names costs one look into the index. The index is fed by a store hook, so a
//! policy is in force when its writer is answered.

mod definition;
mod evaluation;
mod index;
mod matching;
mod mutation;
mod params;
mod request;
mod validation;

use std::sync::Arc;

use serde_json::Value;

use crate::conversion;
use crate::core::Actor;
use crate::core::Core;
use crate::core::Place;
use crate::guard::Operation;
use crate::registry::Resource;
use crate::strategy;

pub(crate) use index::Policies;
pub(crate) use mutation::mutate;
pub(crate) use validation::validate;

/// A write as policies see it.
#[derive(Clone, Copy)]
pub(crate) struct Write<'a> {
    pub(crate) core: &'a Core,
    pub(crate) actor: &'a Actor,
    pub(crate) place: &'a Place,
    pub(crate) operation: Operation,
    /// The stored object; `None` on creation.
    pub(crate) old: Option<&'a Value>,
    /// The object to be stored; `None` on deletion.
    pub(crate) new: Option<&'a Value>,
}

/// The objects of a write in the version that a policy is about.
struct Versioned {
    resource: Arc<Resource>,
    old: Option<Value>,
    new: Option<Value>,
}

/// Policies do not wait for conversion webhooks, and an object that was given another name for its
/// version and kept its fields would be judged by fields it does not have.
///
/// # Errors
/// Objects of this version are converted by a webhook.
fn not_remote(resource: &Resource) -> Result<(), String> {
    if !conversion::is_remote(resource) {
        return Ok(());
    }
    Err(format!(
        "objects of {} {} are converted by a webhook, which policies do not ask; name every served \
         version in apiVersions, and the stored one in paramKind",
        resource.api_version(),
        resource.kind
    ))
}

impl Write<'_> {
    /// The same write with another object.
    fn changed_to<'b>(&'b self, object: &'b Value) -> Write<'b> {
        Write {
            new: Some(object),
            ..*self
        }
    }

    /// The objects in another version of the same resource; `None` when it is the write's own.
    ///
    /// # Errors
    /// See [`not_remote`].
    fn in_version(&self, resource: &Arc<Resource>) -> Result<Option<Versioned>, String> {
        if resource.gvr == self.place.resource.gvr {
            return Ok(None);
        }
        not_remote(&self.place.resource)?;
        not_remote(resource)?;
        let convert = |object: &Value| {
            let stored = strategy::to_stored(&self.place.resource, object.clone());
            strategy::to_version(resource, stored)
        };
        Ok(Some(Versioned {
            resource: Arc::clone(resource),
            old: self.old.map(convert),
            new: self.new.map(convert),
        }))
    }

    fn operation_name(&self) -> &'static str {
        match self.operation {
            Operation::Create => "CREATE",
            Operation::Update => "UPDATE",
            Operation::Delete => "DELETE",
        }
    }
}
