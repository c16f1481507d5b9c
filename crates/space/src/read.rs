//! Reading one object.

use bytes::Bytes;
use serde_json::Value;

use crate::core::Core;
use crate::core::Place;
use crate::object;
use crate::registry::Origin;
use crate::registry::Resource;
use crate::status::Status;
use crate::strategy;

/// An object, decoded, in the place's version.
pub(crate) fn object(core: &Core, place: &Place) -> Result<Value, Status> {
    let entry = core.entry(&place.resource, &place.namespace, &place.name)?;
    Ok(strategy::to_version(
        &place.resource,
        object::decode(&entry.value),
    ))
}

/// Whether stored bytes can be something else than what a client of this version reads.
fn needs_conversion(resource: &Resource) -> bool {
    match &resource.origin {
        Origin::Builtin(kind) => kind.stored_as.is_some(),
        Origin::Custom(version) => version.versions > 1,
    }
}

/// Stored bytes as a client of this version reads them: nearly always the same bytes.
pub(crate) fn in_version(resource: &Resource, stored: &Bytes) -> Bytes {
    if !needs_conversion(resource) {
        return stored.clone();
    }
    let object = strategy::to_version(resource, object::decode(stored));
    crate::engines::to_json(&object)
}
