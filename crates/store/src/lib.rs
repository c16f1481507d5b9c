//! What is true now, what was true, and what changed: a revisioned, watchable key-value store.
//!
//! ```text
//!  writers ─▶ check, assign revision ─▶ queue ─▶ commit thread: one fsync a batch
//!                                                   │
//!                          readers ◀─ visible map ◀─┼─▶ hooks ─▶ watchers ─▶ acknowledge
//! ```
//!
//! A write is acknowledged after its batch is on disk; readers and watchers see it no earlier.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

/// A store revision: every committed write gets the next one.
pub type Revision = u64;

/// One key's current value.
#[derive(Debug, Clone)]
pub struct Entry {
    /// The key.
    pub key: Arc<str>,
    /// The value, as encoded for [`Entry::modified`].
    pub value: Bytes,
    /// The revision of the write that created the key.
    pub created: Revision,
    /// The revision of the last write.
    pub modified: Revision,
}

/// What a write requires of the key's present state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expect {
    /// The key must not exist.
    Absent,
    /// The key must exist at exactly this revision.
    At(Revision),
}

/// How soon a write must be on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// Acknowledged after fsync.
    Synced,
    /// Acknowledged from memory and checkpointed soon; for Lease renewals and Events only.
    Checkpointed,
}

/// One change, in revision order.
#[derive(Debug, Clone)]
pub struct Event {
    /// The revision of the change.
    pub revision: Revision,
    /// The key.
    pub key: Arc<str>,
    /// The value after the change; `None` for a deletion.
    pub value: Option<Arc<Entry>>,
    /// The value before the change; `None` for a creation.
    pub previous: Option<Arc<Entry>>,
    /// The value to show for a deletion: the last value, re-encoded for the deletion's revision.
    pub tombstone: Option<Bytes>,
}

/// A page of a listing at one revision.
#[derive(Debug, Clone)]
pub struct Page {
    /// The entries, in key order.
    pub entries: Vec<Arc<Entry>>,
    /// The revision at which the page is true.
    pub revision: Revision,
    /// How many further entries the listing has beyond the page.
    pub remaining: usize,
}

/// Why a store could not do what it was asked.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// [`Expect`] did not hold; carries the present entry.
    #[error("the key has changed")]
    Conflict(Option<Arc<Entry>>),
    /// The wanted revision is older than the history kept.
    #[error("revision {wanted} is older than the oldest kept revision {oldest}")]
    Compacted {
        /// The revision asked for.
        wanted: Revision,
        /// The oldest revision still kept.
        oldest: Revision,
    },
    /// The disk failed; no further writes are accepted.
    #[error("the store's file could not be written: {0}")]
    Failed(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Called for each committed event of a prefix, in revision order, before the writer is answered.
pub type Hook = Box<dyn Fn(&Event) + Send + Sync>;

/// Limits of a store.
#[derive(Debug, Clone)]
pub struct Options {
    /// How many past events are kept for watches and consistent pages.
    pub history_events_max: usize,
    /// How many bytes of past values are kept.
    pub history_bytes_max: usize,
    /// How many events a watcher may lag behind before it is cut.
    pub watch_lag_events_max: usize,
}

/// A handle on an open store; clones share it.
#[derive(Clone)]
pub struct Store {
    _private: (),
}

/// A stream of events of one prefix.
pub struct Watch {
    _private: (),
}

impl Watch {
    /// The next event, in revision order.
    ///
    /// # Errors
    /// [`Error::Compacted`] when the watcher was too slow and was cut; [`Error::Closed`].
    pub async fn next(&mut self) -> Result<Event, Error> {
        todo!()
    }

    /// All events of any prefix up to this revision have been delivered to this watcher, once
    /// [`Watch::next`] has no event ready; used for bookmarks.
    pub fn progress(&self) -> Revision {
        todo!()
    }
}

impl Store {
    /// Opens or creates the store in one file.
    ///
    /// # Errors
    /// [`Error::Failed`] when the file cannot be opened, is locked or is damaged.
    pub fn open(_file: &Path, _options: Options) -> Result<Store, Error> {
        todo!()
    }

    /// The revision of the newest visible write.
    pub fn revision(&self) -> Revision {
        todo!()
    }

    /// The present value of a key.
    pub fn get(&self, _key: &str) -> Option<Arc<Entry>> {
        todo!()
    }

    /// Entries under `prefix` with keys greater than `after`, at `at` (the present when `None`),
    /// at most `limit` of them (0: all).
    ///
    /// # Errors
    /// [`Error::Compacted`] when `at` is older than the history.
    pub fn list(
        &self,
        _prefix: &str,
        _after: Option<&str>,
        _limit: usize,
        _at: Option<Revision>,
    ) -> Result<Page, Error> {
        todo!()
    }

    /// Writes a value if `expect` holds. `encode` is called once with the revision the write gets,
    /// so that the value can carry it.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::Failed`], [`Error::Closed`].
    pub async fn put(
        &self,
        _key: &str,
        _expect: Expect,
        _durability: Durability,
        _encode: impl FnOnce(Revision) -> Bytes + Send,
    ) -> Result<Arc<Entry>, Error> {
        todo!()
    }

    /// Deletes a key that is at `expect`. `encode` makes the tombstone shown to watchers.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::Failed`], [`Error::Closed`].
    pub async fn delete(
        &self,
        _key: &str,
        _expect: Revision,
        _encode: impl FnOnce(Revision) -> Bytes + Send,
    ) -> Result<Revision, Error> {
        todo!()
    }

    /// Watches a prefix for events after `from`.
    ///
    /// # Errors
    /// [`Error::Compacted`] when `from` is older than the history.
    pub fn watch(&self, _prefix: &str, _from: Revision) -> Result<Watch, Error> {
        todo!()
    }

    /// Registers a hook: called at once for every present entry of the prefix (as creations), then
    /// for every later event. Because it runs before the writer's answer, caches fed by it are
    /// never older than an acknowledged write.
    pub fn hook(&self, _prefix: &str, _hook: Hook) {
        todo!()
    }

    /// Writes everything out and stops the commit thread.
    pub async fn close(&self) {
        todo!()
    }
}
