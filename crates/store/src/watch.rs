//! Watchers: who is told about which key, and the bounded mailbox between publisher and watcher.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;

use crate::Error;
use crate::Event;
use crate::Options;
use crate::Revision;
use crate::store::Shared;

/// Locks a mutex whose holders leave its content consistent even if they panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Why a mailbox gets no more events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// Its watcher was too slow.
    Cut,
    /// The store was closed.
    Closed,
}

#[derive(Debug, Default)]
struct Queue {
    events: VecDeque<Arc<Event>>,
    /// What the events hold, in bytes.
    bytes: usize,
    end: Option<End>,
}

/// The events published and not yet taken by one watcher.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    queue: Mutex<Queue>,
    filled: Notify,
}

impl Mailbox {
    /// Puts an event in; says `false` when the watcher is cut because too much is waiting.
    fn push(&self, event: &Arc<Event>, options: &Options) -> bool {
        let mut queue = lock(&self.queue);
        // A single event is always taken, however large.
        let fits = queue.bytes + held_bytes(event) <= options.watch_lag_bytes_max;
        let kept =
            queue.events.len() < options.watch_lag_events_max && (fits || queue.events.is_empty());
        if kept {
            queue.bytes += held_bytes(event);
            queue.events.push_back(event.clone());
        } else {
            queue.events = VecDeque::new();
            queue.bytes = 0;
            queue.end = Some(End::Cut);
        }
        drop(queue);
        self.filled.notify_one();
        kept
    }

    fn close(&self) {
        lock(&self.queue).end.get_or_insert(End::Closed);
        self.filled.notify_one();
    }
}

/// What a waiting event keeps in memory, in bytes: its texts, which history may have dropped long
/// ago. The value before it is that of an earlier event.
fn held_bytes(event: &Event) -> usize {
    let value = event.value.as_ref().map_or(0, |entry| entry.value.len());
    let tombstone = event.tombstone.as_ref().map_or(0, bytes::Bytes::len);
    event.key.len() + value + tombstone
}

/// All watchers, found by prefix: an event looks up the few prefixes its key has, so watchers of
/// other prefixes cost nothing.
#[derive(Debug, Default)]
pub(crate) struct Index {
    by_prefix: HashMap<Arc<str>, Vec<Arc<Mailbox>>>,
}

impl Index {
    /// Adds a watcher.
    pub(crate) fn add(&mut self, prefix: Arc<str>, mailbox: Arc<Mailbox>) {
        self.by_prefix.entry(prefix).or_default().push(mailbox);
    }

    /// Removes a watcher.
    pub(crate) fn forget(&mut self, prefix: &str, mailbox: &Arc<Mailbox>) {
        if let Some(mailboxes) = self.by_prefix.get_mut(prefix) {
            mailboxes.retain(|other| !Arc::ptr_eq(other, mailbox));
            if mailboxes.is_empty() {
                self.by_prefix.remove(prefix);
            }
        }
    }

    /// Hands an event to every watcher of a prefix that covers its key.
    pub(crate) fn deliver(&mut self, event: &Arc<Event>, options: &Options) {
        for prefix in prefixes(&event.key) {
            let Some(mailboxes) = self.by_prefix.get_mut(prefix) else {
                continue;
            };
            mailboxes.retain(|mailbox| mailbox.push(event, options));
            if mailboxes.is_empty() {
                self.by_prefix.remove(prefix);
            }
        }
    }

    /// Tells every watcher that the store is closed.
    pub(crate) fn close(&mut self) {
        for mailboxes in std::mem::take(&mut self.by_prefix).into_values() {
            mailboxes.iter().for_each(|mailbox| mailbox.close());
        }
    }

    /// How many watchers there are.
    pub(crate) fn len(&self) -> usize {
        self.by_prefix.values().map(Vec::len).sum()
    }
}

/// Every prefix that covers `key`: the empty one, one to each slash, and the key itself.
fn prefixes(key: &str) -> impl Iterator<Item = &str> {
    let slashes = key
        .match_indices('/')
        .map(|(position, _)| &key[..=position]);
    let itself = (!key.is_empty() && !key.ends_with('/')).then_some(key);
    std::iter::once("").chain(slashes).chain(itself)
}

/// A stream of the events of one prefix: each once, in revision order, none left out.
pub struct Watch {
    shared: Arc<Shared>,
    prefix: Arc<str>,
    mailbox: Arc<Mailbox>,
    /// Events that were history already when the watch began.
    backlog: VecDeque<Arc<Event>>,
    /// The revision of the last event handed out, or where the watch began.
    position: Revision,
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Watch")
            .field("prefix", &self.prefix)
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Watch {
    pub(crate) fn new(
        shared: Arc<Shared>,
        prefix: Arc<str>,
        mailbox: Arc<Mailbox>,
        backlog: Vec<Arc<Event>>,
        position: Revision,
    ) -> Watch {
        Watch {
            shared,
            prefix,
            mailbox,
            backlog: backlog.into(),
            position,
        }
    }

    /// The next event, in revision order. Dropping the future loses no event.
    ///
    /// # Errors
    /// [`Error::Compacted`] when the watcher was too slow and was cut; [`Error::Closed`].
    pub async fn next(&mut self) -> Result<Arc<Event>, Error> {
        loop {
            if let Some(event) = self.try_next()? {
                return Ok(event);
            }
            self.mailbox.filled.notified().await;
        }
    }

    /// The next event if there is one already.
    ///
    /// # Errors
    /// As [`Watch::next`].
    pub fn try_next(&mut self) -> Result<Option<Arc<Event>>, Error> {
        loop {
            let Some(event) = self.take()? else {
                return Ok(None);
            };
            // A watch that began in the future skips what comes before its beginning.
            if event.revision > self.position {
                self.position = event.revision;
                return Ok(Some(event));
            }
        }
    }

    fn take(&mut self) -> Result<Option<Arc<Event>>, Error> {
        let mut queue = lock(&self.mailbox.queue);
        if queue.end == Some(End::Cut) {
            return Err(Error::Compacted {
                wanted: self.position,
                oldest: self.shared.published(),
            });
        }
        if let Some(event) = self.backlog.pop_front() {
            return Ok(Some(event));
        }
        match (queue.events.pop_front(), queue.end) {
            (Some(event), _) => {
                queue.bytes -= held_bytes(&event);
                Ok(Some(event))
            }
            (None, Some(_)) => Err(Error::Closed),
            (None, None) => Ok(None),
        }
    }

    /// Every event of this watch up to this revision has been taken from it; used for bookmarks.
    pub fn progress(&self) -> Revision {
        // Read before the mailbox: events up to it were put there before it was raised.
        let published = self.shared.published();
        let queue = lock(&self.mailbox.queue);
        let waiting = self.backlog.front().or(queue.events.front());
        let reached = match waiting {
            Some(event) => event.revision - 1,
            None if queue.end == Some(End::Cut) => self.position,
            None => published,
        };
        reached.max(self.position)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.shared.forget(&self.prefix, &self.mailbox);
    }
}

/// The newest revision whose event has been put into every mailbox it belongs in.
#[derive(Debug, Default)]
pub(crate) struct Published(AtomicU64);

impl Published {
    pub(crate) fn raise(&self, revision: Revision) {
        self.0.store(revision, Ordering::Release);
    }

    pub(crate) fn get(&self) -> Revision {
        self.0.load(Ordering::Acquire)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_is_covered_by_each_of_its_prefixes() {
        let found: Vec<&str> = prefixes("apps/deployments/ns/name").collect();
        let all = [
            "",
            "apps/",
            "apps/deployments/",
            "apps/deployments/ns/",
            "apps/deployments/ns/name",
        ];
        assert_eq!(found, all);
        assert!(
            all.iter()
                .all(|prefix| crate::types::covers(prefix, "apps/deployments/ns/name"))
        );
        assert_eq!(
            prefixes("a//b").collect::<Vec<_>>(),
            ["", "a/", "a//", "a//b"]
        );
    }
}
