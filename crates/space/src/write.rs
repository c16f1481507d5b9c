//! Creating and changing objects: the one way into the store.
//!
//! ```text
//!  create: names ▶ admit ▶ default ▶ own fields ▶ mutate ▶ prepare ▶ validate ▶ guard ▶ quota
//!          ▶ commit
//!  update: read ▶ transform ▶ preconditions ▶ default ▶ own fields ▶ mutate ▶ prepare ▶ validate
//!          ▶ guard
//!          ▶ unchanged? ▶ last finalizer gone? ▶ quota ▶ commit, or read again when another was
//!          faster
//! ```
//!
//! What a strategy fills in belongs to no field manager, so ownership is settled before.

use std::borrow::Cow;

use hyades_store::Durability;
use hyades_store::Entry;
use hyades_store::Expect;
use rand::RngExt;
use serde_json::Value;

use crate::admission;
use crate::conversion;
use crate::core::Actor;
use crate::core::Core;
use crate::core::Place;
use crate::core::Written;
use crate::core::store_failed;
use crate::engines;
use crate::guard::Operation;
use crate::names::Gvr;
use crate::object;
use crate::object::Encoded;
use crate::quotas::Growth;
use crate::registry::Resource;
use crate::status::Status;
use crate::strategy;

/// How often a generated name is tried. Five letters of 27 make 14 million names, so a second
/// collision in a row means that the prefix is nearly used up.
const GENERATED_NAMES_MAX: usize = 8;

/// How often a write without a resourceVersion is tried against faster writers. Each failure means
/// that another writer succeeded; a hundred in a row means overload rather than bad luck.
const ATTEMPTS_MAX: usize = 100;

/// The letters of generated names: no vowels and no look-alikes, as upstream chooses them.
const NAME_LETTERS: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";

/// How many letters are generated.
const NAME_SUFFIX_LENGTH: usize = 5;

/// The longest prefix that leaves room for the suffix within 63 bytes.
const NAME_PREFIX_BYTES_MAX: usize = 63 - NAME_SUFFIX_LENGTH;

/// The largest stored object, in bytes: what etcd takes in one request by default (1.5 MiB), so that
/// whatever is kept here can also be kept by a real API server. It bounds objects that grow by many
/// small patches, as the limit of bodies does not.
pub(crate) const OBJECT_BYTES_MAX: usize = 3 * 512 * 1024;

/// Encodes an object for the store.
fn encode(object: &Value) -> Result<Encoded, Status> {
    let encoded = Encoded::new(object);
    match encoded.len() {
        bytes if bytes > OBJECT_BYTES_MAX => Err(Status::object_too_large(bytes, OBJECT_BYTES_MAX)),
        _ => Ok(encoded),
    }
}

/// Lease renewals and Events may be newer in memory than on disk; nothing else may.
pub(crate) fn durability(resource: &Resource) -> Durability {
    if resource.prefix == "core/events/" || resource.is(&Gvr::LEASES) {
        Durability::Checkpointed
    } else {
        Durability::Synced
    }
}

/// Creates an object. The place's name is that of the object and may be empty.
pub(crate) async fn create(
    core: &Core,
    actor: &Actor,
    place: &Place,
    object: Value,
) -> Result<Written, Status> {
    let prefix = object::text(&object, "generateName").to_owned();
    if !place.name.is_empty() || prefix.is_empty() {
        return create_named(core, actor, place, object).await;
    }
    for _ in 0..GENERATED_NAMES_MAX {
        let name = generated_name(&prefix);
        let mut object = object.clone();
        object::set(&mut object, "name", name.clone().into());
        let place = Place {
            name,
            ..place.clone()
        };
        match create_named(core, actor, &place, object).await {
            Err(status) if status.is_already_exists() => {}
            result => return result,
        }
    }
    let why = format!(
        "no free name found for the prefix \"{prefix}\" in {GENERATED_NAMES_MAX} attempts; use a \
         longer prefix"
    );
    Err(Status::conflict(place.resource.qualified(), &prefix, &why))
}

fn generated_name(prefix: &str) -> String {
    let mut end = prefix.len().min(NAME_PREFIX_BYTES_MAX);
    while !prefix.is_char_boundary(end) {
        end -= 1;
    }
    let mut name = prefix[..end].to_owned();
    let mut random = rand::rng();
    for _ in 0..NAME_SUFFIX_LENGTH {
        let place = random.random_range(0..NAME_LETTERS.len());
        name.push(char::from(NAME_LETTERS[place]));
    }
    name
}

async fn create_named(
    core: &Core,
    actor: &Actor,
    place: &Place,
    mut object: Value,
) -> Result<Written, Status> {
    check_namespace(place, &mut object)?;
    if !object::resource_version(&object).is_empty() {
        let message = "resourceVersion should not be set on objects to be created";
        return Err(Status::plain(message));
    }
    admission::namespace_lives(core, place)?;
    strategy::complete(&place.resource, &mut object);
    engines::default(&place.resource, &mut object);
    engines::track(actor, place, None, &mut object);
    admission::mutate(core, actor, place, Operation::Create, None, &mut object)?;
    strategy::prepare_create(core, actor, place, &mut object)?;
    validate(place, &object, None)?;
    admission::guard(core, actor, place, Operation::Create, None, Some(&object))?;

    let stored = conversion::to_stored(&place.resource, object).await?;
    if actor.options.dry_run {
        return create_dry(core, place, &stored);
    }
    let encoded = encode(&stored)?;
    let growth = Growth::created(encoded.len());
    core.quotas.admit(core, actor, place, growth)?;
    let key = place.key();
    let durability = durability(&place.resource);
    let put = core
        .store
        .put(&key, Expect::Absent, durability, |revision| {
            encoded.at(revision)
        });
    match put.await {
        Ok(entry) => Ok(Written {
            bytes: entry.value.clone(),
            created: true,
        }),
        Err(hyades_store::Error::Conflict(_)) => Err(Status::already_exists(
            place.resource.qualified(),
            &place.name,
        )),
        Err(error) => Err(store_failed(error)),
    }
}

/// What a dry run answers: the object as it would be, without a resourceVersion.
fn create_dry(core: &Core, place: &Place, object: &Value) -> Result<Written, Status> {
    if core.store.get(&place.key()).is_some() {
        return Err(Status::already_exists(
            place.resource.qualified(),
            &place.name,
        ));
    }
    Ok(Written {
        bytes: engines::to_json(object),
        created: true,
    })
}

/// The object's namespace is the request's; an object that says otherwise is refused.
fn check_namespace(place: &Place, object: &mut Value) -> Result<(), Status> {
    let stated = object::namespace(object);
    if !stated.is_empty() && stated != place.namespace {
        let message = "the namespace of the provided object does not match the namespace sent on \
                       the request";
        return Err(Status::bad_request(message));
    }
    let namespace = match place.namespace.as_str() {
        "" => Value::Null,
        namespace => namespace.into(),
    };
    object::set(object, "namespace", namespace);
    Ok(())
}

fn validate(place: &Place, new: &Value, old: Option<&Value>) -> Result<(), Status> {
    if hyades_schema::parse::depth(new) > object::DEPTH_MAX {
        let most = object::DEPTH_MAX;
        return Err(Status::bad_request(format!(
            "the object nests deeper than the {most} levels that are stored; flatten it"
        )));
    }
    let errors = engines::validate(place, new, old);
    if errors.is_empty() {
        return Ok(());
    }
    let kind = place.resource.qualified_kind();
    Err(Status::invalid(kind, &place.name, errors))
}

/// Replaces an object, or what the place's subresource shows of it.
pub(crate) async fn replace(
    core: &Core,
    actor: &Actor,
    place: &Place,
    object: Value,
) -> Result<Written, Status> {
    check_name(place, &object)?;
    let mut object = object;
    check_namespace(place, &mut object)?;
    update(core, actor, place, |current| {
        let mut new = object.clone();
        let stated = object::uid(&new);
        if !stated.is_empty() && stated != object::uid(current) {
            return Err(uid_differs(place, stated, object::uid(current)));
        }
        if object::resource_version(&new).is_empty() {
            object::copy(&mut new, current, "resourceVersion");
        }
        Ok(new)
    })
    .await
}

/// The name in the body is that of the URL.
pub(crate) fn check_name(place: &Place, object: &Value) -> Result<(), Status> {
    let stated = object::name(object);
    if stated == place.name {
        return Ok(());
    }
    let name = &place.name;
    Err(Status::bad_request(if stated.is_empty() {
        format!(
            "the name of the object ({name} based on URL) was undeterminable: name must be provided"
        )
    } else {
        format!("the name of the object ({stated}) does not match the name on the URL ({name})")
    }))
}

fn uid_differs(place: &Place, wanted: &str, present: &str) -> Status {
    let resource = place.resource.qualified();
    let path = [&place.namespace, &place.name]
        .map(String::as_str)
        .join("/");
    let why = format!(
        "StorageError: invalid object, Code: 4, Key: /registry/{}/{}, ResourceVersion: 0, \
         AdditionalErrorMsg: Precondition failed: UID in precondition: {wanted}, UID in object \
         meta: {present}",
        resource.name,
        path.trim_start_matches('/'),
    );
    Status::conflict(resource, &place.name, &why)
}

/// Changes an object: `transform` makes the new object from the present one, both in the version of
/// the request, and is called again when another writer was faster. A resourceVersion that differs
/// from the present one is a conflict.
pub(crate) async fn update(
    core: &Core,
    actor: &Actor,
    place: &Place,
    transform: impl Fn(&Value) -> Result<Value, Status> + Send + Sync,
) -> Result<Written, Status> {
    for _ in 0..ATTEMPTS_MAX {
        let entry = core.entry(&place.resource, &place.namespace, &place.name)?;
        let current = object::decode(&entry.value);
        let current = conversion::to_version(&place.resource, current).await?;
        let new = transform(&current)?;
        match commit(core, actor, place, &entry, &current, new).await? {
            Some(written) => return Ok(written),
            None => tokio::task::yield_now().await,
        }
    }
    Err(Status::modified(place.resource.qualified(), &place.name))
}

/// What a change is judged against: a binding, and nothing else, sets the node of a pod.
fn judged_against<'a>(place: &Place, current: &'a Value, new: &Value) -> Cow<'a, Value> {
    if place.subresource != "binding" {
        return Cow::Borrowed(current);
    }
    let mut bound = current.clone();
    bound["spec"]["nodeName"] = new["spec"]["nodeName"].clone();
    Cow::Owned(bound)
}

/// Brings one changed object into the store; `None` when another writer was faster.
async fn commit(
    core: &Core,
    actor: &Actor,
    place: &Place,
    entry: &Entry,
    current: &Value,
    mut new: Value,
) -> Result<Option<Written>, Status> {
    if object::resource_version(&new) != object::resource_version(current) {
        return Err(Status::modified(place.resource.qualified(), &place.name));
    }
    strategy::complete(&place.resource, &mut new);
    engines::default(&place.resource, &mut new);
    engines::track(actor, place, Some(current), &mut new);
    let operation = Operation::Update;
    admission::mutate(core, actor, place, operation, Some(current), &mut new)?;
    strategy::prepare_update(core, place, &mut new, current);
    strategy::set_generation(&place.resource, &mut new, current);
    validate(place, &new, Some(&judged_against(place, current, &new)))?;
    admission::guard(core, actor, place, operation, Some(current), Some(&new))?;

    let unchanged = Written {
        bytes: entry.value.clone(),
        created: false,
    };
    if new == *current {
        return Ok(Some(unchanged));
    }
    let stored = conversion::to_stored(&place.resource, new).await?;
    if actor.options.dry_run {
        return Ok(Some(Written {
            bytes: engines::to_json(&stored),
            created: false,
        }));
    }
    if strategy::is_finished(&place.resource, &stored) {
        return remove_finished(core, place, entry, &stored).await;
    }
    let encoded = encode(&stored)?;
    if let Some(growth) = Growth::changed(entry.value.len(), encoded.len()) {
        core.quotas.admit(core, actor, place, growth)?;
    }
    let put = core.store.put(
        &entry.key,
        Expect::At(entry.modified),
        durability(&place.resource),
        |revision| encoded.at(revision),
    );
    match put.await {
        Ok(entry) => Ok(Some(Written {
            bytes: entry.value.clone(),
            created: false,
        })),
        Err(hyades_store::Error::Conflict(_)) => Ok(None),
        Err(error) => Err(store_failed(error)),
    }
}

/// The write that takes the last finalizer of a deleted object removes the object. Its answer is the
/// object as it would have been.
async fn remove_finished(
    core: &Core,
    place: &Place,
    entry: &Entry,
    stored: &Value,
) -> Result<Option<Written>, Status> {
    debug_assert!(!place.name.is_empty());
    let encoded = Encoded::new(stored);
    let delete = core
        .store
        .delete(&entry.key, entry.modified, |revision| encoded.at(revision));
    match delete.await {
        Ok(_) => Ok(Some(Written {
            bytes: engines::to_json(stored),
            created: false,
        })),
        Err(hyades_store::Error::Conflict(_)) => Ok(None),
        Err(error) => Err(store_failed(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generated_names_keep_their_prefix_and_fit() {
        let name = generated_name("gen-");
        assert!(name.starts_with("gen-"));
        assert_eq!(name.len(), 9);
        assert_eq!(generated_name(&"x".repeat(100)).len(), 63);
        assert!(generated_name(&"é".repeat(100)).len() <= 63);
    }
}
