//! Connections on which nobody has said yet who he is.
//!
//! Every connection begins as a stranger's. It stops being one with the first request whose
//! credentials a space takes; until then its place is lent, and not for long: a stranger that stays
//! is shown out, and when too many are in, the one that has been in for longest makes way. A client
//! that is known sends its credentials with its first request, some milliseconds after it connected,
//! and is not among those.

use std::collections::BTreeMap;
use std::future::pending;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

/// Most connections of strangers: a quarter of all, which is more than agents of the largest fleet
/// connect within the second that a busy host may take to answer them.
const STRANGERS_MAX: usize = super::CONNECTIONS_MAX / 4;

/// How long a stranger may stay. Those who need no credentials, such as probes of the host's health
/// and readers of `cluster-info`, are done within a second, and probes connect again.
const STRANGER_TIMEOUT: Duration = Duration::from_secs(60);

/// All strangers, in the order in which they came; clones share them.
#[derive(Debug, Clone)]
pub(super) struct Strangers {
    inside: Arc<Mutex<Inside>>,
    most: usize,
}

#[derive(Debug, Default)]
struct Inside {
    came: u64,
    evictions: BTreeMap<u64, CancellationToken>,
}

impl Default for Strangers {
    fn default() -> Strangers {
        Strangers::at_most(STRANGERS_MAX)
    }
}

impl Strangers {
    fn at_most(most: usize) -> Strangers {
        Strangers {
            inside: Arc::default(),
            most,
        }
    }

    /// Lets one in; the one that has been in for longest makes way if there are too many.
    pub(super) fn enter(&self) -> Stranger {
        let evicted = CancellationToken::new();
        let mut inside = self.lock();
        let number = inside.came;
        inside.came += 1;
        inside.evictions.insert(number, evicted.clone());
        if inside.evictions.len() > self.most
            && let Some((_, eldest)) = inside.evictions.pop_first()
        {
            eldest.cancel();
        }
        Stranger {
            all: self.clone(),
            number,
            evicted,
            is_known: AtomicBool::new(false),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inside> {
        self.inside.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection, which is a stranger's until it is known.
#[derive(Debug)]
pub(super) struct Stranger {
    all: Strangers,
    number: u64,
    evicted: CancellationToken,
    is_known: AtomicBool,
}

impl Stranger {
    /// Credentials that came this way were taken.
    pub(super) fn is_known_now(&self) {
        if !self.is_known.swap(true, Ordering::Relaxed) {
            self.leave();
        }
    }

    /// Resolves, with the reason, when a stranger is to go; never for whoever is known.
    pub(super) async fn is_to_go(&self) -> &'static str {
        let reason = tokio::select! {
            () = self.evicted.cancelled() => "others need the place of a stranger",
            () = tokio::time::sleep(STRANGER_TIMEOUT) => "nobody has said who he is",
        };
        match self.is_known.load(Ordering::Relaxed) {
            true => pending().await,
            false => reason,
        }
    }

    fn leave(&self) {
        self.all.lock().evictions.remove(&self.number);
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.leave();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn goes_within(stranger: &Stranger, patience: Duration) -> bool {
        let goes = tokio::time::timeout(patience, stranger.is_to_go());
        goes.await.is_ok()
    }

    const SOON: Duration = Duration::from_secs(1);

    #[tokio::test(start_paused = true)]
    async fn the_eldest_stranger_makes_way_and_whoever_is_known_stays() {
        let strangers = Strangers::at_most(2);
        let known = strangers.enter();
        known.is_known_now();
        let (first, second, third) = (strangers.enter(), strangers.enter(), strangers.enter());
        assert!(goes_within(&first, SOON).await);
        for stays in [&known, &second, &third] {
            assert!(!goes_within(stays, SOON).await);
        }
        drop(second);
        let fourth = strangers.enter();
        assert!(!goes_within(&third, SOON).await, "there was room");
        drop((first, third, fourth, known));
        assert!(strangers.lock().evictions.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stranger_that_stays_is_shown_out() {
        let strangers = Strangers::default();
        let stranger = strangers.enter();
        assert!(!goes_within(&stranger, STRANGER_TIMEOUT / 2).await);
        assert!(goes_within(&stranger, 2 * STRANGER_TIMEOUT).await);
        let late = strangers.enter();
        late.is_known_now();
        assert!(!goes_within(&late, 2 * STRANGER_TIMEOUT).await);
    }
}
