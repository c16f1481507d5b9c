//! A work queue of keys: each key waits at most once and is worked on by at most one worker.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Keys come from objects held in caches, so there are never more of them than objects; this is
/// ten times the largest fleet aimed at. Beyond it new keys are refused with an error in the log.
pub const MAX_KEYS: usize = 500_000;

/// A queue shared by those who add keys and those who work on them.
///
/// Adding a key that waits already changes nothing. Adding one that is being worked on makes it
/// wait again once that work is done, so no change is missed and no key runs twice at a time.
pub struct Queue<K> {
    shared: Arc<Shared<K>>,
}

struct Shared<K> {
    state: Mutex<State<K>>,
    changed: Notify,
}

struct State<K> {
    /// Keys in the order they are taken in, those for whom somebody waits apart. A key that moved
    /// from one to the other is passed over where it was: what counts is `waiting`.
    ready: VecDeque<K>,
    urgent: VecDeque<K>,
    waiting: HashMap<K, Urgency>,
    running: HashSet<K>,
    again: HashMap<K, Urgency>,
    delayed: BTreeMap<(Instant, u64), K>,
    due: HashMap<K, (Instant, u64)>,
    failures: HashMap<K, u32>,
    sequence: u64,
}

/// Whether a key goes before others.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    InTurn,
    First,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<K> Debug for Queue<K> {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("Queue").finish_non_exhaustive()
    }
}

impl<K: Clone + Eq + Hash + Debug> Default for Queue<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Clone + Eq + Hash + Debug> Queue<K> {
    /// An empty queue.
    pub fn new() -> Self {
        let state = State {
            ready: VecDeque::new(),
            urgent: VecDeque::new(),
            waiting: HashMap::new(),
            running: HashSet::new(),
            again: HashMap::new(),
            delayed: BTreeMap::new(),
            due: HashMap::new(),
            failures: HashMap::new(),
            sequence: 0,
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                changed: Notify::new(),
            }),
        }
    }

    /// Puts `key` in the queue now.
    pub fn add(&self, key: K) {
        self.put(key, Urgency::InTurn);
    }

    /// Puts `key` in the queue before those that [`Queue::add`] put there: somebody waits for what
    /// has been begun, and asks again and again meanwhile.
    pub fn add_first(&self, key: K) {
        self.put(key, Urgency::First);
    }

    fn put(&self, key: K, urgency: Urgency) {
        let mut state = self.lock();
        if state.running.contains(&key) {
            state.run_again(key, urgency);
        } else {
            state.push(key, urgency);
            drop(state);
            self.shared.changed.notify_one();
        }
    }

    /// Puts `key` in the queue after `delay`, unless it is due earlier already. The entry is
    /// dropped when the key is worked on before.
    pub fn add_after(&self, key: K, delay: Duration) {
        if delay.is_zero() {
            return self.add(key);
        }
        let mut state = self.lock();
        let at = Instant::now() + delay;
        if state
            .due
            .get(&key)
            .is_some_and(|(earlier, _)| *earlier <= at)
        {
            return;
        }
        if state.due.len() >= MAX_KEYS {
            tracing::error!(
                ?key,
                "work queue holds {MAX_KEYS} delayed keys: refusing one more"
            );
            return;
        }
        state.undelay(&key);
        state.sequence += 1;
        let slot = (at, state.sequence);
        state.delayed.insert(slot, key.clone());
        state.due.insert(key, slot);
        drop(state);
        self.shared.changed.notify_one();
    }

    /// Takes the next key, waiting until there is one. Every key taken must be given back with
    /// [`Queue::done`]. Safe to cancel.
    pub async fn next(&self) -> K {
        loop {
            let changed = self.shared.changed.notified();
            let next_due = {
                let mut state = self.lock();
                let now = Instant::now();
                state.promote(now);
                if let Some(key) = state.take() {
                    let more = !state.waiting.is_empty();
                    drop(state);
                    if more {
                        // One notification wakes one worker; pass it on while there is work.
                        self.shared.changed.notify_one();
                    }
                    return key;
                }
                state.delayed.first_key_value().map(|((at, _), _)| *at)
            };
            match next_due {
                None => changed.await,
                Some(at) => {
                    tokio::select! {
                        () = changed => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
            }
        }
    }

    /// Gives a key back after work on it. It goes to the end of the queue if it was added
    /// meanwhile.
    pub fn done(&self, key: &K) {
        let mut state = self.lock();
        state.running.remove(key);
        if let Some((key, urgency)) = state.again.remove_entry(key) {
            state.push(key, urgency);
            drop(state);
            self.shared.changed.notify_one();
        }
    }

    /// Counts a failure of `key` and returns how many there were in a row.
    pub fn failed(&self, key: &K) -> u32 {
        let mut state = self.lock();
        let count = state.failures.entry(key.clone()).or_insert(0);
        *count = count.saturating_add(1);
        *count
    }

    /// Forgets the failures of `key`.
    pub fn succeeded(&self, key: &K) {
        self.lock().failures.remove(key);
    }

    /// Keys that wait now, delayed ones not counted.
    pub fn len(&self) -> usize {
        self.lock().waiting.len()
    }

    /// Whether no key waits now.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        // No code panics while it holds the lock; a poisoned state is still consistent.
        self.shared
            .state
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }
}

impl<K: Clone + Eq + Hash + Debug> State<K> {
    fn push(&mut self, key: K, urgency: Urgency) {
        let known = self.waiting.get(&key).copied();
        if known >= Some(urgency) {
            return;
        }
        if known.is_none() && self.waiting.len() >= MAX_KEYS {
            tracing::error!(?key, "work queue holds {MAX_KEYS} keys: refusing one more");
            return;
        }
        self.waiting.insert(key.clone(), urgency);
        match urgency {
            Urgency::InTurn => self.ready.push_back(key),
            Urgency::First => self.urgent.push_back(key),
        }
    }

    fn run_again(&mut self, key: K, urgency: Urgency) {
        let known = self.again.entry(key).or_insert(urgency);
        *known = urgency.max(*known);
    }

    fn take(&mut self) -> Option<K> {
        loop {
            let next = self.urgent.pop_front();
            let key = next.or_else(|| self.ready.pop_front())?;
            if self.waiting.remove(&key).is_some() {
                self.undelay(&key);
                self.running.insert(key.clone());
                return Some(key);
            }
        }
    }

    fn undelay(&mut self, key: &K) {
        if let Some(slot) = self.due.remove(key) {
            self.delayed.remove(&slot);
        }
    }

    fn promote(&mut self, now: Instant) {
        while let Some(entry) = self.delayed.first_entry() {
            if entry.key().0 > now {
                return;
            }
            let key = entry.remove();
            self.due.remove(&key);
            if self.running.contains(&key) {
                self.run_again(key, Urgency::InTurn);
            } else {
                self.push(key, Urgency::InTurn);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_key_waits_once_however_often_it_is_added() {
        let queue = Queue::new();
        queue.add("a");
        queue.add("b");
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        assert_eq!(queue.next().await, "b");
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn a_key_that_somebody_waits_for_goes_before_the_others() {
        let queue = Queue::new();
        ["a", "b", "c"].into_iter().for_each(|key| queue.add(key));
        queue.add_first("c");
        queue.add("c");
        assert_eq!(queue.len(), 3);
        let key = queue.next().await;
        assert_eq!(key, "c");
        queue.add_first("c");
        queue.done(&key);
        for expected in ["c", "a", "b"] {
            assert_eq!(queue.next().await, expected);
        }
        assert!(queue.is_empty());
    }

    #[tokio::test]
    async fn a_change_during_work_runs_the_key_again_afterwards() {
        let queue = Queue::new();
        queue.add("a");
        let key = queue.next().await;
        queue.add("a");
        assert!(queue.is_empty(), "never two workers on one key");
        queue.done(&key);
        assert_eq!(queue.next().await, "a");
    }

    #[tokio::test]
    async fn the_earliest_of_several_delays_wins_and_work_cancels_it() {
        let queue = Queue::new();
        queue.add_after("late", Duration::from_secs(3600));
        queue.add_after("late", Duration::from_millis(5));
        queue.add_after("late", Duration::from_secs(1800));
        assert_eq!(queue.next().await, "late");
        queue.done(&"late");
        queue.add_after("late", Duration::from_millis(5));
        queue.add("late");
        assert_eq!(queue.next().await, "late");
        queue.done(&"late");
        let again = tokio::time::timeout(Duration::from_millis(30), queue.next()).await;
        assert!(again.is_err(), "the delayed entry went with the work");
    }

    #[tokio::test]
    async fn every_waiting_worker_is_woken_while_there_is_work() {
        let queue: Queue<u32> = Queue::new();
        let workers: Vec<_> = (0..3)
            .map(|_| {
                let queue = queue.clone();
                tokio::spawn(async move { queue.next().await })
            })
            .collect();
        tokio::task::yield_now().await;
        (0..3).for_each(|key| queue.add(key));
        let mut taken = Vec::new();
        for worker in workers {
            taken.push(worker.await.expect("a key"));
        }
        taken.sort_unstable();
        assert_eq!(taken, [0, 1, 2]);
    }

    #[test]
    fn failures_are_counted_per_key() {
        let queue = Queue::new();
        assert_eq!(
            (queue.failed(&"a"), queue.failed(&"a"), queue.failed(&"b")),
            (1, 2, 1)
        );
        queue.succeeded(&"a");
        assert_eq!(queue.failed(&"a"), 1);
    }
}
