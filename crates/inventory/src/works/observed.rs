//! What is seen of sets, their placements and their works.

use crate::rollout::Group;
use hyades_api::names::labels;
use hyades_api::placement::Placement;
use hyades_api::placement::PlacementDecision;
use hyades_api::work::ManifestWork;
use hyades_api::work::ManifestWorkSpec;
use hyades_api::work::replica_set::ManifestWorkReplicaSet;
use hyades_runtime::Cache;
use hyades_runtime::Queue;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::runtime::watcher;
use sha2::Digest;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

/// Namespace and name of a set.
pub(super) type Key = (String, String);

/// How long the works' own changes are gathered before a set is looked at: a thousand agents that
/// report at once cost a look each tenth of a second and not a thousand.
const GATHER: Duration = Duration::from_millis(100);

/// The annotation in which the fingerprint of a work's spec is kept in memory, in place of the spec.
/// No server sees it: a work is changed by patches of its spec alone.
const FINGERPRINT: &str = "hyades.io/spec-fingerprint";

/// Who has what, so that a change costs no search.
#[derive(Debug, Default)]
struct Indexes {
    /// Works by set: mailbox and name.
    works: HashMap<Key, BTreeSet<(String, String)>>,
    /// Sets by placement: namespace and name.
    sets: HashMap<Key, BTreeSet<Key>>,
}

#[derive(Clone, Debug, Default)]
struct Index(Arc<Mutex<Indexes>>);

impl Index {
    fn lock(&self) -> MutexGuard<'_, Indexes> {
        // It is whole between any two statements.
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn sets_of(&self, namespace: &str, placement: &str) -> Vec<Key> {
        let key = (namespace.to_owned(), placement.to_owned());
        let index = self.lock();
        index
            .sets
            .get(&key)
            .into_iter()
            .flatten()
            .cloned()
            .collect()
    }

    fn name_set(&self, set: &ManifestWorkReplicaSet, is_there: bool) {
        let (namespace, name) = (set.namespace().unwrap_or_default(), set.name_any());
        let key = (namespace.clone(), name);
        let mut index = self.lock();
        index.sets.retain(|_, sets| {
            sets.remove(&key);
            !sets.is_empty()
        });
        for placement in set.spec.placement_refs.iter().filter(|_| is_there) {
            let placement = (namespace.clone(), placement.name.clone());
            index.sets.entry(placement).or_default().insert(key.clone());
        }
    }

    fn name_work(&self, set: &Key, work: &ManifestWork, is_there: bool) {
        let place = (work.namespace().unwrap_or_default(), work.name_any());
        let mut index = self.lock();
        let works = index.works.entry(set.clone()).or_default();
        match is_there {
            true => drop(works.insert(place)),
            false => drop(works.remove(&place)),
        }
        if works.is_empty() {
            index.works.remove(set);
        }
    }
}

/// The caches.
pub(super) struct Observed {
    pub(super) sets: Cache<ManifestWorkReplicaSet>,
    pub(super) placements: Cache<Placement>,
    decisions: Cache<PlacementDecision>,
    works: Cache<ManifestWork>,
    pub(super) queue: Queue<Key>,
    index: Index,
}

impl Observed {
    /// Starts all watches.
    pub(super) fn watch(client: &Client) -> Self {
        let (queue, index) = (Queue::new(), Index::default());
        Self {
            sets: watch_sets(client, queue.clone(), index.clone()),
            placements: watch_placements(client, queue.clone(), index.clone()),
            decisions: watch_decisions(client, queue.clone(), index.clone()),
            works: watch_works(client, queue.clone(), index.clone()),
            queue,
            index,
        }
    }

    /// Waits for the first lists: with half of them, works would be deleted that are wanted.
    pub(super) async fn wait_until_synced(&self) {
        tokio::join!(
            self.sets.wait_until_synced(),
            self.placements.wait_until_synced(),
            self.decisions.wait_until_synced(),
            self.works.wait_until_synced(),
        );
    }

    /// The works of a set.
    pub(super) fn works_of(&self, set: &Key) -> Vec<Arc<ManifestWork>> {
        let places: Vec<_> = {
            let index = self.index.lock();
            index
                .works
                .get(set)
                .into_iter()
                .flatten()
                .cloned()
                .collect()
        };
        let find = |(namespace, name): &(String, String)| self.works.get_in(namespace, name);
        places.iter().filter_map(find).collect()
    }

    /// The decision groups of a placement; nothing while it is not there, or not decided.
    pub(super) fn groups(&self, namespace: &str, placement: &str) -> Option<Vec<Group>> {
        let placement = self.placements.get_in(namespace, placement)?;
        Group::of(&placement, self.decisions.list())
    }
}

/// The set that made a work. Namespaces have no dots, so that the first one ends the namespace.
pub(super) fn set_of(work: &ManifestWork) -> Option<Key> {
    let label = work.labels().get(labels::REPLICA_SET)?;
    let (namespace, name) = label.split_once('.')?;
    Some((namespace.to_owned(), name.to_owned()))
}

/// What tells specs apart.
pub(super) fn fingerprint(spec: &ManifestWorkSpec) -> String {
    let text = serde_json::to_string(spec).unwrap_or_default();
    let digest = Sha256::digest(text.as_bytes());
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether a work is as the fingerprint of a template says.
pub(super) fn is_current(work: &ManifestWork, template: &str) -> bool {
    work.annotations().get(FINGERPRINT).map(String::as_str) == Some(template)
}

/// Puts the fingerprint of the spec in its place, and drops what is not read.
pub(super) fn trim(work: &mut ManifestWork) {
    let fingerprint = fingerprint(&std::mem::take(&mut work.spec));
    let kept = BTreeMap::from([(FINGERPRINT.to_owned(), fingerprint)]);
    work.metadata.annotations = Some(kept);
    work.status.resource_status = Default::default();
}

fn watch_sets(client: &Client, queue: Queue<Key>, index: Index) -> Cache<ManifestWorkReplicaSet> {
    let all = Api::all(client.clone());
    controller::watch(all, watcher::Config::default(), move |change| {
        if let Change::Applied(set) | Change::Deleted(set) = &change {
            let set: &ManifestWorkReplicaSet = set;
            index.name_set(set, matches!(change, Change::Applied(_)));
            queue.add((set.namespace().unwrap_or_default(), set.name_any()));
        }
    })
}

fn watch_placements(client: &Client, queue: Queue<Key>, index: Index) -> Cache<Placement> {
    let all = Api::all(client.clone());
    controller::watch(all, watcher::Config::default(), move |change| {
        if let Change::Applied(object) | Change::Deleted(object) = change {
            let object: &Placement = object;
            let namespace = object.namespace().unwrap_or_default();
            for set in index.sets_of(&namespace, &object.name_any()) {
                queue.add(set);
            }
        }
    })
}

fn watch_decisions(client: &Client, queue: Queue<Key>, index: Index) -> Cache<PlacementDecision> {
    let config = watcher::Config::default().labels(labels::PLACEMENT);
    controller::watch(Api::all(client.clone()), config, move |change| {
        if let Change::Applied(object) | Change::Deleted(object) = change {
            let object: &PlacementDecision = object;
            let namespace = object.namespace().unwrap_or_default();
            let placement = object.labels().get(labels::PLACEMENT);
            for set in index.sets_of(&namespace, placement.map_or("", String::as_str)) {
                queue.add(set);
            }
        }
    })
}

fn watch_works(client: &Client, queue: Queue<Key>, index: Index) -> Cache<ManifestWork> {
    let config = watcher::Config::default().labels(labels::REPLICA_SET);
    let all = Api::all(client.clone());
    controller::watch_trimmed(all, config, trim, move |change| {
        if let Change::Applied(work) | Change::Deleted(work) = &change {
            let work: &ManifestWork = work;
            if let Some(set) = set_of(work) {
                index.name_work(&set, work, matches!(change, Change::Applied(_)));
                queue.add_after(set, GATHER);
            }
        }
    })
}
