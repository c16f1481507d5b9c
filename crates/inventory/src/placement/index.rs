//! What placements depend on, kept so that a change finds the placements it counts for, and a
//! placement finds its candidates, without a look at anything else.
//!
//! The index holds no truth of its own: it is fed from the caches, one object at a time, and says
//! which placements are to be decided again.

mod reading;

use self::reading::Weight;
use self::reading::compared;
use self::reading::is_older;
use self::reading::may_use;
use self::reading::owner;
use self::reading::place;
use self::reading::said;
use self::reading::uses_cel;
use self::reading::uses_scores;
use super::membership::Membership;
use super::snapshot::Candidate;
use super::snapshot::DecisionObject;
use super::snapshot::Snapshot;
use super::snapshot::Wec;
use hyades_api::cluster::ManagedCluster;
use hyades_api::cluster::ManagedClusterSet;
use hyades_api::cluster::ManagedClusterSetBinding;
use hyades_api::placement::AddOnPlacementScore;
use hyades_api::placement::Placement;
use hyades_api::placement::PlacementDecision;
use hyades_runtime::kube::ResourceExt;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;

/// A placement: its namespace and its name.
pub(super) type Key = (String, String);

/// An object of decisions as it is in the server.
#[derive(Clone, Debug)]
pub(super) struct Stored {
    /// The object, without which it cannot be patched.
    pub(super) object: Arc<PlacementDecision>,
    /// What it says.
    pub(super) says: DecisionObject,
}

/// An object of decisions by its number, of those that have one, and its name.
type Place = (usize, String);

#[derive(Debug)]
struct Entry {
    wec: Arc<Wec>,
    sets: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Set {
    membership: Option<Membership>,
    members: BTreeSet<String>,
    /// Namespaces that may use it.
    namespaces: BTreeSet<String>,
}

/// The index.
#[derive(Debug, Default)]
pub(super) struct Index {
    version: u64,
    wecs: BTreeMap<String, Entry>,
    /// Scores of mailboxes, with or without an inventory object.
    scores: HashMap<String, BTreeMap<String, Arc<AddOnPlacementScore>>>,
    sets: BTreeMap<String, Set>,
    placements: BTreeMap<String, BTreeMap<String, Arc<Placement>>>,
    decisions: HashMap<Key, BTreeMap<Place, Stored>>,
    /// The placement of each object of decisions, by namespace and name.
    owners: HashMap<(String, String), Key>,
    /// What each placement was decided to be: its objects, once written, are no news.
    wanted: HashMap<Key, BTreeMap<String, DecisionObject>>,
    /// In how many decisions each WEC is.
    chosen: HashMap<String, u32>,
}

impl Index {
    /// The inventory object of that name is now this, or gone.
    pub(super) fn wec(&mut self, name: &str, now: Option<Arc<ManagedCluster>>) -> BTreeSet<Key> {
        let now = now.filter(|object| object.metadata.deletion_timestamp.is_none());
        let before = self.wecs.get(name).map(|entry| entry.wec.object.clone());
        let weight = match (&before, &now) {
            (None, None) => Weight::Nothing,
            (Some(before), Some(now)) => compared(before, now),
            _ => Weight::Facts,
        };
        if weight == Weight::Nothing {
            return BTreeSet::new();
        }
        let mut sets = self.leave(name);
        if let Some(object) = now {
            let joined = self.join(name, object);
            sets.extend(joined);
        }
        self.users_of(&sets, |placement| {
            weight == Weight::Facts || uses_cel(placement)
        })
    }

    /// Takes a WEC out; returns the sets it was in.
    fn leave(&mut self, name: &str) -> BTreeSet<String> {
        let sets = self.wecs.remove(name).map(|entry| entry.sets);
        let sets = sets.unwrap_or_default();
        for set in &sets {
            if let Some(set) = self.sets.get_mut(set) {
                set.members.remove(name);
            }
        }
        sets
    }

    /// Puts a WEC in; returns the sets it is in.
    fn join(&mut self, name: &str, object: Arc<ManagedCluster>) -> BTreeSet<String> {
        let mut sets = BTreeSet::new();
        for (set_name, set) in &mut self.sets {
            let belongs = |membership: &Membership| membership.holds(set_name, object.labels());
            if set.membership.as_ref().is_some_and(belongs) {
                set.members.insert(name.to_owned());
                sets.insert(set_name.clone());
            }
        }
        self.version += 1;
        let wec = Wec {
            version: self.version,
            object,
            scores: self.scores.get(name).cloned().unwrap_or_default(),
        };
        let entry = Entry {
            wec: Arc::new(wec),
            sets: sets.clone(),
        };
        self.wecs.insert(name.to_owned(), entry);
        sets
    }

    /// The set of that name is now this, or gone.
    pub(super) fn set(&mut self, name: &str, now: Option<&ManagedClusterSet>) -> BTreeSet<Key> {
        let set = self.sets.entry(name.to_owned()).or_default();
        // The members of a set whose selector cannot be read stay.
        let last_good = set.membership.clone();
        let membership = now.and_then(|set| Membership::of(set).ok().or(last_good));
        if set.membership == membership {
            // Its status tells of every join; nobody is to be looked at for that.
            return BTreeSet::new();
        }
        let was_there = set.membership.is_some();
        set.membership = membership;
        let before = std::mem::take(&mut set.members);
        for member in &before {
            if let Some(entry) = self.wecs.get_mut(member) {
                entry.sets.remove(name);
            }
        }
        if let Some(membership) = &set.membership {
            for (wec, entry) in &mut self.wecs {
                if membership.holds(name, entry.wec.object.labels()) {
                    entry.sets.insert(name.to_owned());
                    set.members.insert(wec.clone());
                }
            }
        }
        if was_there != set.membership.is_some() {
            let namespaces = set.namespaces.clone().into_iter();
            return namespaces
                .flat_map(|namespace| self.those_in(&namespace, |_| true))
                .collect();
        }
        if before == set.members {
            return BTreeSet::new();
        }
        let sets = BTreeSet::from([name.to_owned()]);
        self.users_of(&sets, |_| true)
    }

    /// The binding of that name in that namespace is now this, or gone. One that is not named like
    /// its set binds nothing: the right to bind was asked for the name.
    pub(super) fn binding(
        &mut self,
        namespace: &str,
        name: &str,
        now: Option<&ManagedClusterSetBinding>,
    ) -> BTreeSet<Key> {
        let binds = now.is_some_and(|binding| {
            binding.spec.cluster_set == name && binding.metadata.deletion_timestamp.is_none()
        });
        let set = self.sets.entry(name.to_owned()).or_default();
        let changed = if binds {
            set.namespaces.insert(namespace.to_owned())
        } else {
            set.namespaces.remove(namespace)
        };
        if changed {
            // Those that ask for other sets too: they tell their namespace that it may use none.
            self.those_in(namespace, |_| true)
        } else {
            BTreeSet::new()
        }
    }

    /// The placement of that name is now this, or gone.
    pub(super) fn placement(&mut self, key: &Key, now: Option<Arc<Placement>>) -> BTreeSet<Key> {
        let (namespace, name) = key;
        let Some(now) = now.filter(|object| object.metadata.deletion_timestamp.is_none()) else {
            if let Some(placements) = self.placements.get_mut(namespace) {
                placements.remove(name);
            }
            self.wanted.remove(key);
            return BTreeSet::from([key.clone()]);
        };
        let placements = self.placements.entry(namespace.clone()).or_default();
        if placements
            .get(name)
            .is_some_and(|known| is_older(&*now, &**known))
        {
            return BTreeSet::new();
        }
        let before = placements.insert(name.clone(), now.clone());
        // Its status is our own doing. A status that somebody else changed is put right with the
        // next decision, and by nobody else at upstream either.
        let same = before.is_some_and(|before| {
            before.spec == now.spec
                && before.annotations() == now.annotations()
                && before.uid() == now.uid()
        });
        if same {
            BTreeSet::new()
        } else {
            BTreeSet::from([key.clone()])
        }
    }

    /// The scores of that name in that mailbox are now these, or gone.
    pub(super) fn score(
        &mut self,
        mailbox: &str,
        name: &str,
        now: Option<Arc<AddOnPlacementScore>>,
    ) -> BTreeSet<Key> {
        let scores = self.scores.entry(mailbox.to_owned()).or_default();
        let before = match &now {
            Some(object) => scores.insert(name.to_owned(), object.clone()),
            None => scores.remove(name),
        };
        let scores = scores.clone();
        if scores.is_empty() {
            self.scores.remove(mailbox);
        }
        let same = match (&before, &now) {
            (Some(before), Some(now)) => {
                before.status.scores == now.status.scores
                    && before.status.valid_until == now.status.valid_until
            }
            (before, now) => before.is_none() && now.is_none(),
        };
        if same {
            return BTreeSet::new();
        }
        let Some(entry) = self.wecs.get_mut(mailbox) else {
            return BTreeSet::new();
        };
        self.version += 1;
        entry.wec = Arc::new(Wec {
            version: self.version,
            object: entry.wec.object.clone(),
            scores,
        });
        let sets = entry.sets.clone();
        self.users_of(&sets, |placement| {
            uses_cel(placement) || uses_scores(placement, name)
        })
    }

    /// The object of decisions of that name is now this, or gone.
    pub(super) fn decision(
        &mut self,
        namespace: &str,
        name: &str,
        now: Option<Arc<PlacementDecision>>,
    ) -> BTreeSet<Key> {
        let address = (namespace.to_owned(), name.to_owned());
        let before = self.owners.get(&address).cloned();
        let place = place(name);
        let known = before
            .as_ref()
            .and_then(|key| self.decisions.get(key)?.get(&place));
        if let (Some(known), Some(now)) = (known, &now)
            && is_older(&**now, &*known.object)
        {
            return BTreeSet::new();
        }
        if let Some(key) = self.owners.remove(&address) {
            self.take(&key, &place);
        }
        let owner = now.as_ref().and_then(|object| owner(namespace, object));
        if let (Some(key), Some(object)) = (&owner, now) {
            self.owners.insert(address, key.clone());
            self.put(key, place.clone(), object);
        }
        let concerned = before.into_iter().chain(owner);
        let news = concerned.filter(|key| {
            let is = self.decisions.get(key).and_then(|all| all.get(&place));
            let wanted = self.wanted.get(key).and_then(|all| all.get(name));
            let placements = self.placements.get(&key.0);
            is.map(|stored| &stored.says) != wanted
                && placements.is_some_and(|placements| placements.contains_key(&key.1))
        });
        news.collect()
    }

    fn put(&mut self, key: &Key, place: Place, object: Arc<PlacementDecision>) {
        let says = said(&object);
        for name in &says.clusters {
            *self.chosen.entry(name.clone()).or_default() += 1;
        }
        let all = self.decisions.entry(key.clone()).or_default();
        all.insert(place, Stored { object, says });
    }

    fn take(&mut self, key: &Key, place: &Place) {
        let Some(all) = self.decisions.get_mut(key) else {
            return;
        };
        let taken = all.remove(place);
        if all.is_empty() {
            self.decisions.remove(key);
        }
        for name in taken.iter().flat_map(|stored| &stored.says.clusters) {
            if let Some(count) = self.chosen.get_mut(name) {
                *count -= 1;
                if *count == 0 {
                    self.chosen.remove(name);
                }
            }
        }
    }

    /// Notes what a placement was decided to be, so that its objects are no news when they come.
    pub(super) fn expect(&mut self, key: &Key, objects: &[DecisionObject]) {
        let named = objects
            .iter()
            .map(|object| (object.name.clone(), object.clone()));
        self.wanted.insert(key.clone(), named.collect());
    }

    /// The placement, and what it is decided on; nothing if it is gone.
    pub(super) fn snapshot(&self, key: &Key, now: Timestamp) -> Option<(Arc<Placement>, Snapshot)> {
        let placement = self.placements.get(&key.0)?.get(&key.1)?.clone();
        let bound = self
            .sets
            .iter()
            .filter(|(_, set)| set.membership.is_some() && set.namespaces.contains(&key.0));
        let bound: Vec<_> = bound.collect();
        let asked_for = bound.iter().filter(|(name, _)| may_use(&placement, name));
        let asked_for: Vec<_> = asked_for.collect();
        let members = asked_for.iter().flat_map(|(_, set)| &set.members);
        let members: BTreeSet<_> = members.collect();
        let existing: Vec<_> = self.stored(key).map(|stored| stored.says.clone()).collect();
        let mut own: HashMap<&str, u32> = HashMap::new();
        for name in existing.iter().flat_map(|object| &object.clusters) {
            *own.entry(name).or_default() += 1;
        }
        let elsewhere = |name: &str, all: u32| all - own.get(name).copied().unwrap_or(0).min(all);
        let candidates = members.into_iter().filter_map(|name| {
            let wec = self.wecs.get(name)?.wec.clone();
            let all = self.chosen.get(name).copied().unwrap_or_default();
            Some(Candidate {
                wec,
                elsewhere: elsewhere(name, all),
            })
        });
        let candidates = candidates.collect();
        let counts = self.chosen.iter().map(|(name, all)| elsewhere(name, *all));
        let snapshot = Snapshot {
            now,
            bindings: bound.len(),
            sets: asked_for.iter().map(|(name, _)| (*name).clone()).collect(),
            candidates,
            elsewhere_most: counts.max().unwrap_or_default(),
            existing,
        };
        Some((placement, snapshot))
    }

    /// The objects of decisions of a placement as they are, in the order of their numbers.
    pub(super) fn stored(&self, key: &Key) -> impl Iterator<Item = &Stored> {
        self.decisions
            .get(key)
            .into_iter()
            .flat_map(BTreeMap::values)
    }

    /// All placements.
    pub(super) fn all(&self) -> BTreeSet<Key> {
        let namespaces = self.placements.keys();
        namespaces
            .flat_map(|namespace| self.those_in(namespace, |_| true))
            .collect()
    }

    /// The placements that may choose out of any of these sets.
    fn users_of(
        &self,
        sets: &BTreeSet<String>,
        counts: impl Fn(&Placement) -> bool,
    ) -> BTreeSet<Key> {
        let mut users = BTreeSet::new();
        for name in sets {
            let namespaces = self
                .sets
                .get(name)
                .into_iter()
                .flat_map(|set| &set.namespaces);
            for namespace in namespaces {
                let of_set = |placement: &Placement| may_use(placement, name) && counts(placement);
                users.extend(self.those_in(namespace, of_set));
            }
        }
        users
    }

    fn those_in(&self, namespace: &str, counts: impl Fn(&Placement) -> bool) -> BTreeSet<Key> {
        let placements = self.placements.get(namespace).into_iter().flatten();
        let counting = placements.filter(|(_, placement)| counts(placement));
        let keys = counting.map(|(name, _)| (namespace.to_owned(), name.clone()));
        keys.collect()
    }
}

#[cfg(test)]
mod tests;
