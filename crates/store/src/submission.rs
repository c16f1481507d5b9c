//! Submitted writes: judged against the newest state, given their revision, and queued.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::OwnedSemaphorePermit;
use tokio::sync::oneshot;

use crate::Durability;
use crate::Entry;
use crate::Error;
use crate::Event;
use crate::Expect;
use crate::Revision;

/// Most writes taken into one commit. A commit of this many 1 KiB values takes some 10 ms, the
/// time a writer may have to wait for the batch before its own.
pub(crate) const BATCH_WRITES_MAX: usize = 1024;
/// Most bytes of values taken into one commit, for the same reason.
pub(crate) const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;

/// What the writer of a change is told.
pub(crate) type Answer = oneshot::Sender<Result<Arc<Event>, Error>>;

/// Something for the commit thread to do, in order.
pub(crate) enum Work {
    /// Commit and publish a change.
    Write {
        event: Arc<Event>,
        durability: Durability,
        answer: Answer,
        /// The writer's place in the queue.
        slot: OwnedSemaphorePermit,
    },
    /// Tell a writer that it lost against a change that is still on its way to the disk: it is
    /// told when that change can be read.
    Refuse {
        present: Option<Arc<Entry>>,
        answer: Answer,
    },
}

/// Whether writes are taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Status {
    Open,
    Closing,
    Closed,
    Failed(String),
}

impl Status {
    fn check(&self) -> Result<(), Error> {
        match self {
            Status::Open => Ok(()),
            Status::Closing | Status::Closed => Err(Error::Closed),
            Status::Failed(reason) => Err(Error::Failed(reason.clone())),
        }
    }
}

/// A change asked for.
pub(crate) enum Change<E> {
    Put(E),
    Delete(E),
}

/// A key's state after the last write submitted for it.
struct Newest {
    revision: Revision,
    entry: Option<Arc<Entry>>,
}

/// A request as judged.
pub(crate) struct Request<'a> {
    pub(crate) key: &'a str,
    pub(crate) expect: Expect,
    pub(crate) durability: Durability,
}

/// The writes on their way.
pub(crate) struct Submission {
    pub(crate) status: Status,
    last: Revision,
    queue: VecDeque<Work>,
    pending: HashMap<Arc<str>, Newest>,
}

impl Submission {
    pub(crate) fn new(last: Revision) -> Submission {
        Submission {
            status: Status::Open,
            last,
            queue: VecDeque::new(),
            pending: HashMap::new(),
        }
    }

    /// Judges a request and queues it, or the refusal that has to wait. `committed` finds the
    /// key's committed state.
    pub(crate) fn submit(
        &mut self,
        request: &Request<'_>,
        change: Change<impl FnOnce(Revision) -> Bytes>,
        committed: impl FnOnce(&str) -> Option<Arc<Entry>>,
        answer: Answer,
        slot: OwnedSemaphorePermit,
    ) -> Result<(), Error> {
        self.status.check()?;
        let (present, is_pending) = match self.pending.get(request.key) {
            Some(newest) => (newest.entry.clone(), true),
            None => (committed(request.key), false),
        };
        if !holds(request.expect, present.as_deref()) {
            if !is_pending {
                return Err(Error::Conflict(present));
            }
            self.queue.push_back(Work::Refuse { present, answer });
            return Ok(());
        }
        // The encoder may panic; nothing has been changed yet.
        let revision = self.last + 1;
        let event = Arc::new(event(request.key, revision, present, change));
        self.last = revision;
        let newest = Newest {
            revision,
            entry: event.value.clone(),
        };
        self.pending.insert(event.key.clone(), newest);
        self.queue.push_back(Work::Write {
            event,
            durability: request.durability,
            answer,
            slot,
        });
        Ok(())
    }

    /// Whether anything is queued.
    pub(crate) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Takes the next batch from the queue.
    pub(crate) fn take_batch(&mut self) -> Vec<Work> {
        let mut bytes = 0;
        let mut count = 0;
        for work in self.queue.iter().take(BATCH_WRITES_MAX) {
            if bytes >= BATCH_BYTES_MAX {
                break;
            }
            if let Work::Write { event, .. } = work {
                bytes += event.value.as_ref().map_or(0, |entry| entry.value.len());
            }
            count += 1;
        }
        self.queue.drain(..count).collect()
    }

    /// Forgets what is pending of events that can be read now.
    pub(crate) fn settle(&mut self, events: &[Arc<Event>]) {
        for event in events {
            let newest = self.pending.get(&event.key);
            if newest.is_some_and(|newest| newest.revision == event.revision) {
                self.pending.remove(&event.key);
            }
        }
        // A burst must not keep its memory for ever.
        if self.pending.is_empty() && self.pending.capacity() > BATCH_WRITES_MAX {
            self.pending = HashMap::new();
            self.queue.shrink_to(BATCH_WRITES_MAX);
        }
    }

    /// Takes everything that is left, for a store that failed.
    pub(crate) fn take_all(&mut self) -> Vec<Work> {
        self.pending.clear();
        self.queue.drain(..).collect()
    }
}

/// Whether an expectation holds.
fn holds(expect: Expect, present: Option<&Entry>) -> bool {
    match (expect, present) {
        (Expect::Absent, None) => true,
        (Expect::At(revision), Some(entry)) => entry.modified == revision,
        _ => false,
    }
}

/// The event a change makes of the present state.
fn event(
    key: &str,
    revision: Revision,
    present: Option<Arc<Entry>>,
    change: Change<impl FnOnce(Revision) -> Bytes>,
) -> Event {
    let shared_key = present.as_ref().map(|entry| entry.key.clone());
    let key = shared_key.unwrap_or_else(|| Arc::from(key));
    let (value, tombstone) = match change {
        Change::Put(encode) => {
            let entry = Entry {
                key: key.clone(),
                value: encode(revision),
                created: present.as_ref().map_or(revision, |entry| entry.created),
                modified: revision,
            };
            (Some(Arc::new(entry)), None)
        }
        Change::Delete(encode) => (None, Some(encode(revision))),
    };
    Event {
        revision,
        key,
        value,
        previous: present,
        tombstone,
    }
}
