//! A work queue of keys: each key is worked on once however often it is asked for, later when it is
//! to be retried, and never twice at a time.
//!
//! Store hooks fill it, one worker empties it. It holds each key at most once ready and once
//! delayed, so the number of stored objects bounds it.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::collections::VecDeque;
use std::hash::Hash;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::time::Duration;

use rand::RngExt as _;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The delay before the first retry: a conflict with another writer is over by then.
const RETRY_FIRST: Duration = Duration::from_millis(5);

/// The longest delay between retries; failures that last are of the disk or of a foreign finalizer,
/// and one attempt a minute costs nothing.
const RETRY_MAX: Duration = Duration::from_secs(60);

/// A queue shared by hooks and a worker.
#[derive(Debug)]
pub struct Queue<K> {
    state: Arc<Mutex<State<K>>>,
    wake: Arc<Notify>,
}

impl<K> Clone for Queue<K> {
    fn clone(&self) -> Queue<K> {
        Queue {
            state: Arc::clone(&self.state),
            wake: Arc::clone(&self.wake),
        }
    }
}

#[derive(Debug)]
struct State<K> {
    ready: VecDeque<K>,
    queued: HashSet<K>,
    due: HashMap<K, Instant>,
    timers: BTreeSet<(Instant, K)>,
    failures: HashMap<K, u32>,
}

impl<K: Clone + Eq + Hash + Ord> State<K> {
    fn push(&mut self, key: K) {
        if let Some(at) = self.due.remove(&key) {
            self.timers.remove(&(at, key.clone()));
        }
        if self.queued.insert(key.clone()) {
            self.ready.push_back(key);
        }
    }

    fn push_due(&mut self, now: Instant) {
        while let Some((at, key)) = self.timers.first().cloned() {
            if at > now {
                return;
            }
            self.push(key);
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Default for Queue<K> {
    fn default() -> Queue<K> {
        Queue {
            state: Arc::new(Mutex::new(State {
                ready: VecDeque::new(),
                queued: HashSet::new(),
                due: HashMap::new(),
                timers: BTreeSet::new(),
                failures: HashMap::new(),
            })),
            wake: Arc::new(Notify::new()),
        }
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// Asks for work on a key now.
    pub fn add(&self, key: K) {
        self.lock().push(key);
        self.wake.notify_one();
    }

    /// Asks for work on a key after a while; an earlier request stands.
    pub fn add_after(&self, key: K, delay: Duration) {
        let at = Instant::now() + delay;
        let mut state = self.lock();
        match state.due.get(&key) {
            Some(earlier) if *earlier <= at => return,
            Some(later) => {
                let later = (*later, key.clone());
                state.timers.remove(&later);
            }
            None => {}
        }
        state.due.insert(key.clone(), at);
        state.timers.insert((at, key));
        drop(state);
        self.wake.notify_one();
    }

    /// Asks for another attempt after a failure: later each time, with jitter so that what failed
    /// together does not return together.
    pub fn retry(&self, key: K) {
        let failures = {
            let mut state = self.lock();
            let failures = state.failures.entry(key.clone()).or_default();
            *failures += 1;
            *failures
        };
        let delay = RETRY_FIRST
            .saturating_mul(1 << failures.min(16).saturating_sub(1))
            .min(RETRY_MAX);
        let jitter = rand::rng().random_range(0.75..1.25);
        self.add_after(key, delay.mul_f64(jitter));
    }

    /// Forgets past failures of a key that succeeded.
    pub fn forget(&self, key: &K) {
        self.lock().failures.remove(key);
    }

    /// The next key to work on. Dropping the future loses nothing.
    pub async fn next(&self) -> K {
        loop {
            let next_due = {
                let mut state = self.lock();
                state.push_due(Instant::now());
                if let Some(key) = state.ready.pop_front() {
                    state.queued.remove(&key);
                    return key;
                }
                state.timers.first().map(|(at, _)| *at)
            };
            match next_due {
                Some(at) => {
                    tokio::select! {
                        () = self.wake.notified() => {}
                        () = tokio::time::sleep_until(at) => {}
                    }
                }
                None => self.wake.notified().await,
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, State<K>> {
        self.state
            .lock()
            .expect("no code panics while it holds the queue")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_asked_for_twice_is_given_once() {
        let queue = Queue::default();
        queue.add("a");
        queue.add("b");
        queue.add("a");
        assert_eq!(queue.next().await, "a");
        assert_eq!(queue.next().await, "b");
        let idle = tokio::time::timeout(Duration::from_secs(3600), queue.next()).await;
        assert!(idle.is_err(), "nothing is left");
    }

    #[tokio::test(start_paused = true)]
    async fn the_earlier_of_two_delays_stands_and_now_beats_both() {
        let queue = Queue::default();
        let start = Instant::now();
        queue.add_after("a", Duration::from_secs(60));
        queue.add_after("a", Duration::from_secs(10));
        queue.add_after("a", Duration::from_secs(30));
        assert_eq!(queue.next().await, "a");
        assert_eq!(start.elapsed().as_secs(), 10);
        queue.add_after("b", Duration::from_secs(10));
        queue.add("b");
        assert_eq!(queue.next().await, "b");
        assert_eq!(start.elapsed().as_secs(), 10);
        let idle = tokio::time::timeout(Duration::from_secs(3600), queue.next()).await;
        assert!(idle.is_err(), "the delayed request was answered too");
    }

    #[tokio::test(start_paused = true)]
    async fn retries_come_later_each_time_and_never_later_than_the_limit() {
        let queue = Queue::default();
        let mut waits = Vec::new();
        for _ in 0..30 {
            let start = Instant::now();
            queue.retry("a");
            assert_eq!(queue.next().await, "a");
            waits.push(start.elapsed());
        }
        assert!(waits[0] < Duration::from_millis(8));
        assert!(waits[29] > waits[0]);
        assert!(waits.iter().all(|wait| *wait <= RETRY_MAX.mul_f64(1.26)));
    }
}
