//! What keeps the state on disk.

pub(crate) mod embedded;

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::Entry;
use crate::Event;
use crate::Revision;
use crate::history::Gap;

/// What a store finds when it opens.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// The newest revision; after a crash, one beyond all that may have been seen.
    pub(crate) revision: Revision,
    /// Revisions up to here may be published without being on disk.
    pub(crate) reserved: Revision,
    /// The present state.
    pub(crate) entries: BTreeMap<Arc<str>, Arc<Entry>>,
    /// The recent past, oldest first.
    pub(crate) events: Vec<Arc<Event>>,
    /// Every event after this revision is among `events`.
    pub(crate) floor: Revision,
    /// Revisions that crashes lost.
    pub(crate) gaps: Vec<Gap>,
}

/// What one commit writes.
#[derive(Debug)]
pub(crate) struct Batch<'a> {
    /// The changes, in revision order.
    pub(crate) events: &'a [Arc<Event>],
    /// The newest revision given out.
    pub(crate) last: Revision,
    /// The revisions reserved from now on.
    pub(crate) reserved: Revision,
    /// History up to here may be dropped.
    pub(crate) floor: Revision,
}

/// Keeps the state on disk; used by one thread.
pub(crate) trait Engine: Send {
    /// Writes a batch; it is on disk when this returns.
    fn commit(&mut self, batch: &Batch<'_>) -> Result<(), String>;
}
