//! The words of the store.

use std::sync::Arc;

use bytes::Bytes;

/// A store revision: every committed write gets the next one. Revisions only grow; a crash may
/// leave some out, and none is ever used twice.
pub type Revision = u64;

/// One key's current value.
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, PartialEq, Eq)]
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
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// [`Expect`] did not hold; carries the present entry.
    #[error("the key has changed")]
    Conflict(Option<Arc<Entry>>),
    /// The wanted revision is older than the history kept, or lies among revisions a crash lost.
    #[error("revision {wanted} is older than the oldest kept revision {oldest}")]
    Compacted {
        /// The revision asked for.
        wanted: Revision,
        /// The oldest revision still kept.
        oldest: Revision,
    },
    /// The wanted revision does not exist yet.
    #[error("revision {wanted} is newer than the newest revision {newest}")]
    Ahead {
        /// The revision asked for.
        wanted: Revision,
        /// The newest revision.
        newest: Revision,
    },
    /// The disk failed; no further writes are accepted, reads and watches go on.
    #[error("the store's file failed: {0}")]
    Failed(String),
    /// The store was closed.
    #[error("the store is closed")]
    Closed,
}

/// Called for each committed event of a prefix, in revision order, before the writer is answered.
///
/// It runs on the thread that publishes all writes of the store, so it must be quick, and it must
/// neither write, watch nor register hooks; it may read.
pub type Hook = Box<dyn Fn(&Event) + Send + Sync>;

/// Limits of a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// How many past events are kept for watches and consistent pages.
    pub history_events_max: usize,
    /// How many bytes of past values are kept.
    pub history_bytes_max: usize,
    /// How many events a watcher may lag behind before it is cut.
    pub watch_lag_events_max: usize,
    /// How many bytes of events may wait for a watcher before it is cut.
    pub watch_lag_bytes_max: usize,
}

impl Default for Options {
    /// Ten thousand agents renewing a lease each ten seconds make a thousand events a second: a
    /// hundred thousand events let a client that was away for a minute and a half resume instead
    /// of listing again. Lease values are some 400 bytes, hence 64 MiB; a quiet space stays far
    /// below. A watcher ten thousand events behind is about ten seconds late in that fleet; their
    /// leases are some 4 MiB, and 16 MiB of larger objects is a backlog that relisting beats.
    fn default() -> Options {
        Options {
            history_events_max: 100_000,
            history_bytes_max: 64 * 1024 * 1024,
            watch_lag_events_max: 10_000,
            watch_lag_bytes_max: 16 * 1024 * 1024,
        }
    }
}

/// Whether `prefix` covers all keys below it rather than one key.
pub(crate) fn is_subtree(prefix: &str) -> bool {
    prefix.is_empty() || prefix.ends_with('/')
}

/// Whether `prefix` covers `key`.
pub(crate) fn covers(prefix: &str, key: &str) -> bool {
    if is_subtree(prefix) {
        key.starts_with(prefix)
    } else {
        key == prefix
    }
}
