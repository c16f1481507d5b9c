//! Garbage collection by owner references.
//!
//! ```text
//!  store hook ─▶ OwnerIndex ─▶ Queue of items ─▶ look at the present state ─▶ decide ─▶ act
//! ```
//!
//! An object goes when none of its owners is there any more. An owner deleted in the foreground
//! waits for the dependents that block it; one deleted with `orphan` lets its dependents go first.
//! That an owner is absent is read from the store itself, never from a cache.

mod index;

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

use serde_json::Value;
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::index::Item;
use self::index::Owner;
use self::index::OwnerIndex;
use self::index::owners_in;
use super::absent_is_done;
use super::queue::Queue;
use super::work;
use crate::delete::DeleteOptions;
use crate::delete::Propagation;
use crate::loopback::Loopback;
use crate::names::Gvr;
use crate::names::split_key;
use crate::object;
use crate::registry::Resource;
use crate::status::Status;

/// The finalizer of an owner that waits for its dependents.
const FOREGROUND: &str = "foregroundDeletion";

/// The finalizer of an owner whose dependents stay.
const ORPHAN: &str = "orphan";

/// What has become of one owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OwnerState {
    /// It is there.
    Solid,
    /// It is being deleted in the foreground and waits for this object.
    Waiting,
    /// It is gone, or another object has its name.
    Absent,
    /// Its kind is not served, or could not own the object: nothing is known.
    Unresolvable,
}

/// What to do with an object that has owners.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Keep,
    /// Remove the references to owners that are absent or waiting.
    DropReferences,
    Delete(Propagation),
}

/// Decides by the states of all owners; `has_dependents` says whether the object is an owner too.
fn decide(owners: &[OwnerState], has_dependents: bool, finalizers: &[&str]) -> Action {
    let any = |state| owners.contains(&state);
    let ended = any(OwnerState::Absent) || any(OwnerState::Waiting);
    if !ended || any(OwnerState::Unresolvable) {
        return Action::Keep;
    }
    if any(OwnerState::Solid) {
        return Action::DropReferences;
    }
    if any(OwnerState::Waiting) && has_dependents {
        return Action::Delete(Propagation::Foreground);
    }
    Action::Delete(if finalizers.contains(&ORPHAN) {
        Propagation::Orphan
    } else if finalizers.contains(&FOREGROUND) {
        Propagation::Foreground
    } else {
        Propagation::Background
    })
}

/// Starts the controller.
pub fn spawn(space: &Loopback, stop: &CancellationToken) -> JoinHandle<()> {
    let queue: Queue<Item> = Queue::default();
    let index: Arc<Mutex<OwnerIndex>> = Arc::default();
    let feed = queue.clone();
    let fed = Arc::clone(&index);
    space.store().hook(
        "",
        Box::new(move |event| {
            for item in lock(&fed).apply(event) {
                feed.add(item);
            }
        }),
    );
    let collector = Collector {
        space: space.clone(),
        index,
        queue: queue.clone(),
    };
    work("garbage collector", queue, stop, move |item| {
        let collector = collector.clone();
        async move { collector.look_at(item).await }
    })
}

fn lock(index: &Mutex<OwnerIndex>) -> MutexGuard<'_, OwnerIndex> {
    index
        .lock()
        .expect("no code panics while it holds the index")
}

#[derive(Clone)]
struct Collector {
    space: Loopback,
    index: Arc<Mutex<OwnerIndex>>,
    queue: Queue<Item>,
}

/// A stored object and where it is.
struct Found {
    resource: Arc<Resource>,
    namespace: String,
    name: String,
    object: Value,
    owners: Vec<Owner>,
}

impl Found {
    fn namespace(&self) -> Option<&str> {
        (!self.namespace.is_empty()).then_some(self.namespace.as_str())
    }
}

impl Collector {
    async fn look_at(&self, item: Item) -> Result<(), Status> {
        let key = match item {
            Item::Object(key) => key,
            Item::Owner(namespace, owner) => match self.owner_key(&namespace, &owner) {
                Some((_, key)) => key,
                None => return Ok(()),
            },
        };
        let Some(found) = self.find(&key) else {
            return Ok(());
        };
        if !object::is_deleting(&found.object) {
            return self.collect(&found).await;
        }
        let finalizers = object::finalizers(&found.object);
        if finalizers.contains(&ORPHAN) {
            self.orphan_dependents(&found).await
        } else if finalizers.contains(&FOREGROUND) {
            self.wait_for_dependents(&found).await
        } else {
            Ok(())
        }
    }

    fn find(&self, key: &str) -> Option<Found> {
        let entry = self.space.store().get(key)?;
        let (namespace, name) = split_key(key)?;
        let resource = self
            .space
            .registry()
            .stored()
            .into_iter()
            .find(|resource| key.starts_with(&resource.prefix))?;
        Some(Found {
            resource,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
            owners: owners_in(&entry.value),
            object: object::decode(&entry.value),
        })
    }

    /// Where an owner named from a namespace would be; `None` when its kind is not served or when a
    /// cluster-scoped object names one that lives in a namespace.
    fn owner_key(&self, namespace: &str, owner: &Owner) -> Option<(Arc<Resource>, String)> {
        let resource = self
            .space
            .registry()
            .of_kind(&owner.api_version, &owner.kind)?;
        if resource.namespaced && namespace.is_empty() {
            return None;
        }
        let scope = if resource.namespaced { namespace } else { "" };
        let key = resource.key(scope, &owner.name);
        Some((resource, key))
    }

    fn state_of(&self, found: &Found, owner: &Owner) -> OwnerState {
        let Some((_, key)) = self.owner_key(&found.namespace, owner) else {
            return OwnerState::Unresolvable;
        };
        let Some(entry) = self.space.store().get(&key) else {
            return OwnerState::Absent;
        };
        let present = object::decode(&entry.value);
        if object::uid(&present) != owner.uid {
            OwnerState::Absent
        } else if object::is_deleting(&present)
            && object::finalizers(&present).contains(&FOREGROUND)
        {
            OwnerState::Waiting
        } else {
            OwnerState::Solid
        }
    }

    /// Deletes an object whose owners are gone.
    async fn collect(&self, found: &Found) -> Result<(), Status> {
        if found.owners.is_empty() {
            return Ok(());
        }
        let states: Vec<OwnerState> = found
            .owners
            .iter()
            .map(|owner| self.state_of(found, owner))
            .collect();
        for (owner, state) in found.owners.iter().zip(&states) {
            if matches!(state, OwnerState::Absent | OwnerState::Unresolvable) {
                self.report_misplaced_owner(found, owner).await;
            }
        }
        let uid = object::uid(&found.object);
        let has_dependents = lock(&self.index).dependents_of(uid).next().is_some();
        match decide(&states, has_dependents, &object::finalizers(&found.object)) {
            Action::Keep => Ok(()),
            Action::DropReferences => {
                let solid = |place: usize| states[place] == OwnerState::Solid;
                self.keep_references(found, |place, _| solid(place)).await
            }
            Action::Delete(propagation) => {
                let options = DeleteOptions {
                    uid: Some(uid.to_owned()),
                    resource_version: Some(object::resource_version(&found.object).to_owned()),
                    propagation: Some(propagation),
                    ..DeleteOptions::default()
                };
                absent_is_done(
                    self.space
                        .delete(&found.resource.gvr, found.namespace(), &found.name, options)
                        .await,
                )
            }
        }
    }

    /// Lets an owner go when no dependent blocks it, and sees to its dependents.
    async fn wait_for_dependents(&self, found: &Found) -> Result<(), Status> {
        let uid = object::uid(&found.object);
        let (held_up, dependents) = {
            let index = lock(&self.index);
            let dependents: Vec<String> = index.dependents_of(uid).map(str::to_owned).collect();
            (index.is_held_up(uid), dependents)
        };
        for key in dependents {
            self.queue.add(Item::Object(key));
        }
        if held_up {
            // The last blocking dependent's deletion leads back here.
            return Ok(());
        }
        self.remove_finalizer(found, FOREGROUND).await
    }

    /// Takes the owner out of its dependents' references, then lets it go.
    async fn orphan_dependents(&self, found: &Found) -> Result<(), Status> {
        let uid = object::uid(&found.object);
        let keys: Vec<String> = lock(&self.index)
            .dependents_of(uid)
            .map(str::to_owned)
            .collect();
        for dependent in keys.iter().filter_map(|key| self.find(key)) {
            self.keep_references(&dependent, |_, owner| owner.uid != uid)
                .await?;
        }
        self.remove_finalizer(found, ORPHAN).await
    }

    async fn keep_references(
        &self,
        found: &Found,
        keep: impl Fn(usize, &Owner) -> bool,
    ) -> Result<(), Status> {
        let references = found.object["metadata"]["ownerReferences"].as_array();
        let kept: Vec<Value> = references
            .into_iter()
            .flatten()
            .zip(&found.owners)
            .enumerate()
            .filter(|(place, (_, owner))| keep(*place, owner))
            .map(|(_, (reference, _))| reference.clone())
            .collect();
        self.patch(found, json!({"ownerReferences": kept})).await
    }

    async fn remove_finalizer(&self, found: &Found, finalizer: &str) -> Result<(), Status> {
        let rest: Vec<&str> = object::finalizers(&found.object)
            .into_iter()
            .filter(|other| *other != finalizer)
            .collect();
        self.patch(found, json!({"finalizers": rest})).await
    }

    /// Patches metadata of the very object that was looked at.
    async fn patch(&self, found: &Found, mut metadata: Value) -> Result<(), Status> {
        metadata["uid"] = object::uid(&found.object).into();
        metadata["resourceVersion"] = object::resource_version(&found.object).into();
        let patch = json!({"metadata": metadata});
        absent_is_done(
            self.space
                .merge_patch(
                    &found.resource.gvr,
                    found.namespace(),
                    &found.name,
                    "",
                    patch,
                )
                .await,
        )
    }

    /// Tells the owner of an object, by an event, that a reference points where no owner can be: to
    /// another namespace. That the event cannot be written is no reason to stop.
    async fn report_misplaced_owner(&self, found: &Found, owner: &Owner) {
        if !self.is_misplaced(found, owner) {
            return;
        }
        let namespace = match found.namespace.as_str() {
            "" => "default",
            namespace => namespace,
        };
        let now = object::now();
        let event = json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {
                "name": format!("{}.{}", found.name, uuid::Uuid::new_v4().simple()),
                "namespace": namespace,
            },
            "involvedObject": {
                "apiVersion": found.object["apiVersion"], "kind": found.object["kind"],
                "name": found.name, "namespace": found.namespace,
                "uid": object::uid(&found.object),
            },
            "reason": "OwnerRefInvalidNamespace", "type": "Warning",
            "message": format!(
                "ownerRef [{}/{}, namespace: {}, name: {}, uid: {}] does not exist in namespace {:?}",
                owner.api_version, owner.kind, found.namespace, owner.name, owner.uid,
                found.namespace
            ),
            "source": {"component": "garbage-collector-controller"},
            "firstTimestamp": now, "lastTimestamp": now, "count": 1,
        });
        let written = self
            .space
            .create(&Gvr::EVENTS, Some(namespace), event)
            .await;
        if let Err(status) = written {
            tracing::debug!(%status, "the event about a misplaced owner was not written");
        }
    }

    /// Whether the owner exists, but in a namespace where the reference cannot reach it.
    fn is_misplaced(&self, found: &Found, owner: &Owner) -> bool {
        let kind = self
            .space
            .registry()
            .of_kind(&owner.api_version, &owner.kind);
        let Some(resource) = kind.filter(|resource| resource.namespaced) else {
            return false;
        };
        if lock(&self.index).was_deleted(&owner.uid) {
            return false;
        }
        let suffix = format!("/{}", owner.name);
        let Ok(page) = self.space.store().list(&resource.prefix, None, 0, None) else {
            return false;
        };
        page.entries
            .iter()
            .filter(|entry| entry.key.ends_with(&suffix))
            .filter(|entry| split_key(&entry.key).is_some_and(|(of, _)| of != found.namespace))
            .any(|entry| object::glance(&entry.value).metadata.uid == owner.uid)
    }
}

#[cfg(test)]
mod tests {
    use super::OwnerState::Absent;
    use super::OwnerState::Solid;
    use super::OwnerState::Unresolvable;
    use super::OwnerState::Waiting;
    use super::*;

    #[test]
    fn an_object_goes_only_when_no_owner_is_left() {
        let background = Action::Delete(Propagation::Background);
        let cases: [(&[OwnerState], bool, Action); 8] = [
            (&[Solid], false, Action::Keep),
            (&[Absent], false, background),
            (&[Absent, Absent], true, background),
            (&[Absent, Solid], false, Action::DropReferences),
            (&[Waiting, Solid], true, Action::DropReferences),
            (&[Waiting], false, background),
            (&[Waiting], true, Action::Delete(Propagation::Foreground)),
            (&[Absent, Unresolvable], false, Action::Keep),
        ];
        for (owners, has_dependents, action) in cases {
            assert_eq!(
                decide(owners, has_dependents, &[]),
                action,
                "{owners:?}, dependents: {has_dependents}"
            );
        }
    }

    #[test]
    fn finalizers_of_the_object_choose_how_it_goes() {
        assert_eq!(
            decide(&[Absent], false, &[ORPHAN]),
            Action::Delete(Propagation::Orphan)
        );
        assert_eq!(
            decide(&[Absent], false, &[FOREGROUND]),
            Action::Delete(Propagation::Foreground)
        );
    }
}
