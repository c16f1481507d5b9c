//! How much those with few rights may pile up: objects that they may create without end, and whose
//! end they do not pay for.
//!
//! ```text
//!  store hook ─▶ Ledger: objects and bytes of each holder ─▶ admit ◀─ a write that adds to them
//!                                                             │
//!                                                             └─▶ 403, or 429 and when to try again
//! ```
//!
//! A refused Event is lost, as 403 tells its writer: Events are hints, and clients that were told to
//! come back would wait for that instead of doing their work. A refused request is made again.
//!
//! Holders are namespaces or users, of which nobody can invent one: namespaces are created by
//! administrators and the hub, users are whom the space authenticated. Writes that are under way at
//! the same moment are not counted yet, so a holder can go beyond a limit by as many as the store
//! has queued.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::PoisonError;

use bytes::Bytes;
use hyades_store::Event;
use hyades_store::Store;
use serde::Deserialize;

use crate::access::authn;
use crate::access::rbac::PRIVILEGED_GROUP;
use crate::core::Actor;
use crate::core::Core;
use crate::core::Place;
use crate::identity::Attributes;
use crate::identity::UserInfo;
use crate::names;
use crate::names::Gvr;
use crate::status::Status;

/// Events of one namespace as far as those count who may write Events there and nowhere else, such
/// as an agent in its mailbox. An Event lasts for an hour: that is one every four seconds, which a
/// program that aggregates repeated ones, as all clients do, does not reach.
const EVENTS_OF_CONFINED: Amount = Amount {
    objects: 1_000,
    bytes: 1024 * 1024,
};

/// Events of one namespace for everybody else: each WEC of the largest fleet aimed at is told of
/// once, while all of them join within the hour. A thousand bytes each, and a third on top.
const EVENTS: Amount = Amount {
    objects: 50_000,
    bytes: 64 * 1024 * 1024,
};

/// Certificate requests of one user that nobody has decided on: the largest fleet aimed at, which
/// joins with one token and waits for its administrator. Two thousand bytes each, and a third on
/// top.
const UNDECIDED_REQUESTS: Amount = Amount {
    objects: 50_000,
    bytes: 128 * 1024 * 1024,
};

/// The same of a user who proved himself by a certificate: he is one, such as a registered agent
/// that asks for its own cluster and its add-ons, where bootstrap tokens and service accounts are
/// shared by a fleet. Whoever holds one agent's key must not fill the places of those that want to
/// join; five times the requests that a hub keeps for one name are plenty.
const UNDECIDED_REQUESTS_OF_ONE: Amount = Amount {
    objects: 100,
    bytes: 1024 * 1024,
};

/// When to ask for a certificate again, in seconds: agents of the largest fleet that do it at this
/// pace are some thousand cheap refusals a second.
const RETRY_SECONDS: u32 = 10;

/// An amount of objects.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Amount {
    objects: usize,
    bytes: usize,
}

impl Amount {
    fn of(bytes: usize) -> Amount {
        Amount { objects: 1, bytes }
    }

    fn plus(self, other: Amount) -> Amount {
        Amount {
            objects: self.objects.saturating_add(other.objects),
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }

    fn minus(self, other: Amount) -> Amount {
        Amount {
            objects: self.objects.saturating_sub(other.objects),
            bytes: self.bytes.saturating_sub(other.bytes),
        }
    }

    fn is_within(self, limit: Amount) -> bool {
        self.objects <= limit.objects && self.bytes <= limit.bytes
    }
}

/// To whom an object is counted, from its key and its bytes; nobody if it does not count.
type HolderOf = fn(&str, &[u8]) -> Option<String>;

/// What each holder has of one resource.
#[derive(Debug)]
struct Ledger {
    holder_of: HolderOf,
    held: Mutex<HashMap<String, Amount>>,
}

impl Ledger {
    fn following(store: &Store, resource: &Gvr, holder_of: HolderOf) -> Arc<Ledger> {
        let ledger = Arc::new(Ledger {
            holder_of,
            held: Mutex::default(),
        });
        let followed = Arc::clone(&ledger);
        let prefix = names::resource_prefix(&resource.group, &resource.resource);
        store.hook(&prefix, Box::new(move |event| followed.follow(event)));
        ledger
    }

    fn follow(&self, event: &Event) {
        let value = |entry: &Option<Arc<hyades_store::Entry>>| -> Option<Bytes> {
            entry.as_ref().map(|entry| entry.value.clone())
        };
        self.change(&event.key, value(&event.previous), value(&event.value));
    }

    fn change(&self, key: &str, old: Option<Bytes>, new: Option<Bytes>) {
        let counted = |value: Option<Bytes>| {
            let value = value?;
            Some(((self.holder_of)(key, &value)?, Amount::of(value.len())))
        };
        let (old, new) = (counted(old), counted(new));
        let mut held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((holder, amount)) = new {
            let total = held.entry(holder).or_default();
            *total = total.plus(amount);
        }
        if let Some((holder, amount)) = old
            && let Some(total) = held.get_mut(&holder)
        {
            *total = total.minus(amount);
            if total.objects == 0 {
                held.remove(&holder);
            }
        }
    }

    fn of(&self, holder: &str) -> Amount {
        let held = self.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.get(holder).copied().unwrap_or_default()
    }
}

/// What a write adds to what there is.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Growth(Amount);

impl Growth {
    /// A new object of this size, in bytes.
    pub(crate) fn created(bytes: usize) -> Growth {
        Growth(Amount::of(bytes))
    }

    /// An object that changes its size; nothing if it does not grow.
    pub(crate) fn changed(before_bytes: usize, after_bytes: usize) -> Option<Growth> {
        let bytes = after_bytes.checked_sub(before_bytes)?;
        (bytes > 0).then_some(Growth(Amount { objects: 0, bytes }))
    }
}

/// The quotas of one space.
#[derive(Debug)]
pub(crate) struct Quotas {
    events: Arc<Ledger>,
    requests: Arc<Ledger>,
}

impl Quotas {
    /// Quotas that count what a store holds.
    pub(crate) fn following(store: &Store) -> Quotas {
        let requests = &Gvr::CERTIFICATE_SIGNING_REQUESTS;
        Quotas {
            events: Ledger::following(store, &Gvr::EVENTS, namespace),
            requests: Ledger::following(store, requests, undecided_requester),
        }
    }

    /// Whether a write may add this much.
    ///
    /// # Errors
    /// 403 or 429 with the limit.
    pub(crate) fn admit(
        &self,
        core: &Core,
        actor: &Actor,
        place: &Place,
        growth: Growth,
    ) -> Result<(), Status> {
        if is_of(place, &Gvr::EVENTS) {
            let namespace = &place.namespace;
            let wanted = self.events.of(namespace).plus(growth.0);
            if wanted.is_within(EVENTS_OF_CONFINED) {
                return Ok(());
            }
            let (limit, whose) = match writes_everywhere(core, actor, place) {
                true => (EVENTS, "all"),
                false => (
                    EVENTS_OF_CONFINED,
                    "those who may write events in this namespace only",
                ),
            };
            return within(wanted, limit).map_err(|limit| {
                let why = format!(
                    "exceeded quota: {limit}, is the limit of events of one namespace for {whose}, \
                     and reached in {namespace:?}; events end an hour after they were last seen"
                );
                Status::forbidden(place.resource.qualified(), &place.name, &why)
            });
        }
        // Only a new request is its writer's own; whoever changes one decides on it.
        if is_of(place, &Gvr::CERTIFICATE_SIGNING_REQUESTS) && growth.0.objects > 0 {
            let user = &actor.user.name;
            let wanted = self.requests.of(user).plus(growth.0);
            let limit = undecided_requests_of(&actor.user);
            return within(wanted, limit).map_err(|limit| {
                let why = format!(
                    "{limit}, is the limit of undecided certificate signing requests of one user, \
                     and reached by {user:?}; have some approved, denied or deleted"
                );
                Status::too_many_requests(why, RETRY_SECONDS)
            });
        }
        Ok(())
    }
}

/// How many undecided requests a user may have. An administrator may ask for a fleet.
fn undecided_requests_of(user: &UserInfo) -> Amount {
    match authn::showed_certificate(user)
        && !user.groups.iter().any(|group| group == PRIVILEGED_GROUP)
    {
        true => UNDECIDED_REQUESTS_OF_ONE,
        false => UNDECIDED_REQUESTS,
    }
}

/// Whether an amount is within a limit; the limit in words if not.
fn within(wanted: Amount, limit: Amount) -> Result<(), String> {
    let Amount { objects, bytes } = limit;
    match wanted.is_within(limit) {
        true => Ok(()),
        false => Err(format!("{objects} objects, or {bytes} bytes")),
    }
}

/// Whether a place is one of a resource, under whichever of its groups it is asked for.
fn is_of(place: &Place, resource: &Gvr) -> bool {
    place.resource.prefix == names::resource_prefix(&resource.group, &resource.resource)
}

/// Whether the writer may create such objects in every namespace.
fn writes_everywhere(core: &Core, actor: &Actor, place: &Place) -> bool {
    let gvr = &place.resource.gvr;
    let everywhere = Attributes::Resource {
        verb: "create".to_owned(),
        group: gvr.group.to_string(),
        version: gvr.version.to_string(),
        resource: gvr.resource.to_string(),
        subresource: String::new(),
        namespace: String::new(),
        name: String::new(),
    };
    core.authorize(&actor.user, &everywhere).is_ok()
}

fn namespace(key: &str, _: &[u8]) -> Option<String> {
    names::split_key(key).map(|(namespace, _)| namespace.to_owned())
}

/// The user whose request nobody has decided on.
fn undecided_requester(_: &str, request: &[u8]) -> Option<String> {
    #[derive(Deserialize)]
    struct Request {
        spec: Spec,
        status: Option<State>,
    }
    #[derive(Deserialize)]
    struct Spec {
        #[serde(default)]
        username: String,
    }
    #[derive(Deserialize)]
    struct State {
        conditions: Option<Vec<Condition>>,
    }
    #[derive(Deserialize)]
    struct Condition {
        r#type: String,
    }
    let request: Request = serde_json::from_slice(request).ok()?;
    let decides = |condition: &Condition| ["Approved", "Denied"].contains(&&*condition.r#type);
    let conditions = request.status.and_then(|status| status.conditions);
    let is_decided = conditions.iter().flatten().any(decides);
    (!is_decided).then_some(request.spec.username)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;
    use serde_json::json;

    use super::*;

    fn ledger() -> Ledger {
        Ledger {
            holder_of: undecided_requester,
            held: Mutex::default(),
        }
    }

    fn request(user: &str, status: Value) -> Option<Bytes> {
        let object = json!({"spec": {"username": user}, "status": status});
        Some(Bytes::from(object.to_string()))
    }

    #[test]
    fn requests_count_to_their_user_until_somebody_decides_or_they_are_gone() {
        let ledger = ledger();
        let pending = request("bob", json!({}));
        let size = pending.as_ref().map_or(0, Bytes::len);
        ledger.change("a", None, pending.clone());
        ledger.change("b", None, pending.clone());
        ledger.change("c", None, request("ann", json!({})));
        let two = Amount {
            objects: 2,
            bytes: 2 * size,
        };
        assert_eq!(ledger.of("bob"), two);
        let failed = request("bob", json!({"conditions": [{"type": "Failed"}]}));
        ledger.change("a", pending.clone(), failed.clone());
        assert_eq!(ledger.of("bob").objects, 2);
        let denied = request("bob", json!({"conditions": [{"type": "Denied"}]}));
        ledger.change("a", failed, denied.clone());
        assert_eq!(ledger.of("bob"), Amount::of(size));
        ledger.change("a", denied, None);
        ledger.change("b", pending, None);
        assert_eq!(ledger.of("bob"), Amount::default());
        assert_eq!(ledger.of("ann").objects, 1);
        assert_eq!(ledger.held.lock().expect("unpoisoned").len(), 1);
    }

    #[test]
    fn whoever_showed_a_certificate_has_a_hundred_undecided_requests_and_no_fleets_worth() {
        let showing = |id: &str, groups: &[&str]| UserInfo {
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            extra: [(authn::CREDENTIAL_ID.to_owned(), vec![id.to_owned()])].into(),
            ..UserInfo::default()
        };
        let limit = |user: UserInfo| undecided_requests_of(&user).objects;
        assert_eq!(limit(showing("X509SHA256=ab", &["agents"])), 100);
        assert_eq!(limit(showing("X509SHA256=ab", &[PRIVILEGED_GROUP])), 50_000);
        assert_eq!(limit(showing("JTI=ab", &[])), 50_000);
        assert_eq!(limit(UserInfo::default()), 50_000);
    }

    #[test]
    fn a_limit_is_one_of_objects_and_one_of_bytes_and_is_told() {
        let limit = Amount {
            objects: 2,
            bytes: 100,
        };
        let within = |objects, bytes| super::within(Amount { objects, bytes }, limit);
        assert!(within(2, 100).is_ok());
        for refused in [within(3, 10), within(1, 101)] {
            assert_eq!(refused, Err("2 objects, or 100 bytes".to_owned()));
        }
    }

    #[test]
    fn an_object_that_shrinks_or_stays_adds_nothing() {
        assert!(Growth::changed(10, 10).is_none());
        assert!(Growth::changed(10, 9).is_none());
        assert!(Growth::changed(10, 11).is_some_and(|growth| growth.0.objects == 0));
    }
}
