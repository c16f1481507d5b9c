//! Watches that fill a shared store, and workers that reconcile keys.

use crate::backoff::Policy;
use crate::follow::Follower;
use crate::queue::Queue;
use crate::trouble::Trouble;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use kube::Api;
use kube::Resource;
use kube::ResourceExt;
use kube::runtime::reflector;
use kube::runtime::reflector::ObjectRef;
use kube::runtime::reflector::Store;
use kube::runtime::watcher;
use kube::runtime::watcher::Event;
use serde::de::DeserializeOwned;
use std::collections::HashMap;
use std::fmt::Debug;
use std::fmt::Display;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// A change seen by a watch. The store already holds it when the handler is called.
#[derive(Debug)]
pub enum Change<'a, K> {
    /// The object is new or was modified; also sent for each object of the first list.
    Applied(&'a K),
    /// The object is gone, be it told by the server or found missing after a gap in the watch.
    Deleted(&'a K),
    /// A list is complete: the store is the whole truth as of now.
    Synced,
}

/// A store kept up to date by a watch. Dropping it ends the watch.
pub struct Cache<K: Resource + 'static>
where
    K::DynamicType: Hash + Eq,
{
    store: Store<K>,
    progress: Arc<Mutex<Progress>>,
    _follower: Follower,
}

/// How far a watch has come.
#[derive(Debug, Default)]
struct Progress {
    /// How many lists are complete.
    lists: u64,
    /// The version of the latest event since the last list, whose own version is not told.
    seen: Option<u64>,
}

impl Progress {
    fn list(&mut self) {
        self.lists += 1;
        self.seen = None;
    }

    fn see(&mut self, object: &impl ResourceExt) {
        let version = object.resource_version();
        let version = version.and_then(|version| version.parse().ok());
        self.seen = self.seen.max(version);
    }

    fn is_behind(&self, written: &Written) -> bool {
        let version = written.version.parse::<u64>().ok();
        let seen = self.seen.zip(version);
        self.lists == written.lists && seen.is_some_and(|(seen, version)| seen < version)
    }
}

/// The version that a server gave an object when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Written {
    version: String,
    lists: u64,
}

impl Written {
    /// The version itself.
    pub fn version(&self) -> &str {
        &self.version
    }
}

impl<K: Resource + 'static> Debug for Cache<K>
where
    K::DynamicType: Hash + Eq,
{
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Cache").finish_non_exhaustive()
    }
}

impl<K: Resource + Clone + 'static> Cache<K>
where
    K::DynamicType: Hash + Eq + Clone + Default,
{
    /// The object of that name, cluster scoped.
    pub fn get(&self, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name))
    }

    /// The object of that name in that namespace.
    pub fn get_in(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        self.store.get(&ObjectRef::new(name).within(namespace))
    }

    /// All objects.
    pub fn list(&self) -> Vec<Arc<K>> {
        self.store.state()
    }

    /// Whether there is no object.
    pub fn is_empty(&self) -> bool {
        self.store.is_empty()
    }

    /// Remembers a version that the server answered a write with, for [`Cache::is_behind`].
    pub fn written(&self, version: String) -> Written {
        let lists = self.progress().lists;
        Written { version, lists }
    }

    /// Whether the watch is still to show what was written: then the store is no proof that others
    /// changed it. Kubernetes lets clients compare versions of one resource as numbers; of other
    /// versions, and after a new list, the store is taken at its word.
    pub fn is_behind(&self, written: &Written) -> bool {
        self.progress().is_behind(written)
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        // It is whole between any two of its assignments.
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The store itself, for sharing with others. It stays readable after the cache is dropped,
    /// though no longer current.
    pub fn store(&self) -> Store<K> {
        self.store.clone()
    }

    /// Waits until the first list is complete. Ends early when the watch ended.
    pub async fn wait_until_synced(&self) {
        // The error says that the watch's task is gone, and with it any hope of a list.
        let _ = self.store.wait_until_ready().await;
    }
}

/// Watches `api`, keeping a store and telling `on_change` of every change, until the returned
/// cache is dropped. `managedFields` are dropped from every object: no controller reads them and
/// they are often the larger half.
///
/// What is there comes over the same request as what changes (a streaming list); a server that
/// cannot do that is asked for a list first.
///
/// Failures are logged in plain words and tried again with growing delays, for ever: a watch has
/// no other end than its owner's.
pub fn watch<K>(
    api: Api<K>,
    config: watcher::Config,
    on_change: impl FnMut(Change<'_, K>) + Send + 'static,
) -> Cache<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone + Default + Debug + Send + Sync + Unpin,
{
    watch_trimmed(api, config, |_| {}, on_change)
}

/// As [`watch`], with `trim` to drop more of what is not needed from every object.
pub fn watch_trimmed<K>(
    api: Api<K>,
    config: watcher::Config,
    trim: impl Fn(&mut K) + Send + 'static,
    on_change: impl FnMut(Change<'_, K>) + Send + 'static,
) -> Cache<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone + Default + Debug + Send + Sync + Unpin,
{
    watch_attentively(api, config, trim, on_change, |_| {})
}

/// As [`watch_trimmed`], telling `on_gap` whenever the watch breaks, with the time after which it
/// is tried again: nothing is seen before, which matters to those who judge by silence.
pub fn watch_attentively<K>(
    api: Api<K>,
    config: watcher::Config,
    trim: impl Fn(&mut K) + Send + 'static,
    mut on_change: impl FnMut(Change<'_, K>) + Send + 'static,
    mut on_gap: impl FnMut(Duration) + Send + 'static,
) -> Cache<K>
where
    K: Resource + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Hash + Eq + Clone + Default + Debug + Send + Sync + Unpin,
{
    let (store, mut writer) = reflector::store::<K>();
    let reader = store.clone();
    let progress = Arc::new(Mutex::new(Progress::default()));
    let progressing = progress.clone();
    let plural = K::plural(&K::DynamicType::default()).into_owned();
    let on_event = move |event: Event<K>| {
        let event = event.modify(|object| {
            object.managed_fields_mut().clear();
            trim(object);
        });
        deliver(&reader, &mut writer, &progressing, event, &mut on_change);
    };
    let on_gap = move |_: &Trouble, delay| on_gap(delay);
    let follower = Follower::start(api, config, plural, on_event, on_gap);
    Cache {
        store,
        progress,
        _follower: follower,
    }
}

fn deliver<K>(
    reader: &Store<K>,
    writer: &mut reflector::store::Writer<K>,
    progress: &Mutex<Progress>,
    event: Event<K>,
    on_change: &mut impl FnMut(Change<'_, K>),
) where
    K: Resource + Clone + 'static,
    K::DynamicType: Hash + Eq + Clone + Default,
{
    // It is told after the store, so that whoever finds it there finds the object too.
    let progress = || progress.lock().unwrap_or_else(PoisonError::into_inner);
    match &event {
        Event::Init | Event::InitApply(_) => writer.apply_watcher_event(&event),
        Event::InitDone => {
            let key = |object: &K| (object.namespace(), object.name_any());
            let mut before: HashMap<_, _> = reader
                .state()
                .into_iter()
                .map(|object| (key(&object), object))
                .collect();
            writer.apply_watcher_event(&event);
            progress().list();
            for object in reader.state() {
                // What a relist brings back unchanged is no change.
                let known = before.remove(&key(&object));
                if known.is_none_or(|known| known.resource_version() != object.resource_version()) {
                    on_change(Change::Applied(&object));
                }
            }
            before
                .values()
                .for_each(|object| on_change(Change::Deleted(object)));
            on_change(Change::Synced);
        }
        Event::Apply(object) => {
            writer.apply_watcher_event(&event);
            progress().see(object);
            on_change(Change::Applied(object));
        }
        Event::Delete(object) => {
            writer.apply_watcher_event(&event);
            progress().see(object);
            on_change(Change::Deleted(object));
        }
    }
}

/// Reconciles keys from `queue`, at most `workers` at a time, until `shutdown`.
///
/// `reconcile` returns when to look at the key again, if at all. Its errors are logged and the
/// key is tried again with a growing delay.
pub async fn work<K, F, R, E>(
    name: &str,
    queue: Queue<K>,
    workers: usize,
    shutdown: CancellationToken,
    reconcile: F,
) where
    K: Clone + Eq + Hash + Debug,
    F: Fn(K) -> R,
    R: Future<Output = Result<Option<Duration>, E>>,
    E: Display,
{
    let mut running = FuturesUnordered::new();
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            key = queue.next(), if running.len() < workers.max(1) => {
                let future = reconcile(key.clone());
                running.push(async move { (key, future.await) });
            }
            Some((key, result)) = running.next() => {
                let again = match result {
                    Ok(again) => {
                        queue.succeeded(&key);
                        again
                    }
                    Err(error) => {
                        let delay = Policy::RECONCILE.jittered(queue.failed(&key));
                        tracing::warn!("{name} {key:?}: {error}; trying again in {:.1} s", delay.as_secs_f64());
                        Some(delay)
                    }
                };
                queue.done(&key);
                if let Some(delay) = again {
                    queue.add_after(key, delay);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::api::core::v1::ConfigMap;

    fn config_map(name: &str, version: &str) -> ConfigMap {
        let mut object = ConfigMap::default();
        object.metadata.name = Some(name.to_owned());
        object.metadata.namespace = Some("n".to_owned());
        object.metadata.resource_version = Some(version.to_owned());
        object
    }

    #[test]
    fn a_relist_tells_only_what_changed_and_what_vanished() {
        let (reader, mut writer) = reflector::store::<ConfigMap>();
        let progress = Mutex::default();
        let mut told = Vec::new();
        let lists = [
            vec![config_map("a", "1"), config_map("b", "1")],
            vec![config_map("a", "1"), config_map("c", "7")],
        ];
        for list in lists {
            let events = std::iter::once(Event::Init)
                .chain(list.into_iter().map(Event::InitApply))
                .chain(std::iter::once(Event::InitDone));
            let mut round = Vec::new();
            for event in events {
                deliver(&reader, &mut writer, &progress, event, &mut |change| {
                    round.push(match change {
                        Change::Applied(object) => format!("applied {}", object.name_any()),
                        Change::Deleted(object) => format!("deleted {}", object.name_any()),
                        Change::Synced => "synced".to_owned(),
                    });
                });
            }
            round.sort();
            told.push(round.join(", "));
        }
        assert_eq!(
            told,
            [
                "applied a, applied b, synced",
                "applied c, deleted b, synced"
            ]
        );
    }

    #[test]
    fn a_watch_is_behind_a_write_until_it_shows_that_or_a_later_one() {
        let mut progress = Progress::default();
        let written = |progress: &Progress, version: &str| Written {
            version: version.to_owned(),
            lists: progress.lists,
        };
        progress.list();
        let ours = written(&progress, "10");
        assert!(!progress.is_behind(&ours), "a list may be younger");
        progress.see(&config_map("a", "9"));
        assert!(progress.is_behind(&ours));
        progress.see(&config_map("b", "10"));
        assert!(!progress.is_behind(&ours));
        progress.see(&config_map("a", "8"));
        assert!(!progress.is_behind(&ours), "no way leads back");

        // A server restored from a backup counts from an earlier version.
        let lost = written(&progress, "11");
        assert!(progress.is_behind(&lost));
        progress.list();
        progress.see(&config_map("a", "5"));
        assert!(!progress.is_behind(&lost));
        assert!(!progress.is_behind(&written(&progress, "opaque")));
    }

    #[tokio::test]
    async fn failed_keys_come_back_and_successful_ones_do_not() {
        let queue = Queue::new();
        queue.add("flaky");
        queue.add("good");
        let seen = Arc::new(Mutex::new(Vec::new()));
        let shutdown = CancellationToken::new();
        let run = work("test", queue, 2, shutdown.clone(), |key: &'static str| {
            let seen = seen.clone();
            let shutdown = shutdown.clone();
            async move {
                let mut seen = seen.lock().expect("unpoisoned");
                seen.push(key);
                let times = seen.iter().filter(|other| **other == "flaky").count();
                match (key, times) {
                    ("flaky", 1) => Err("once"),
                    ("flaky", _) => {
                        shutdown.cancel();
                        Ok(None)
                    }
                    _ => Ok(None),
                }
            }
        });
        tokio::time::timeout(Duration::from_secs(10), run)
            .await
            .expect("the work ends");
        assert_eq!(
            *seen.lock().expect("unpoisoned"),
            ["flaky", "good", "flaky"]
        );
    }
}
