//! The handle: what readers and writers call.

use std::path::Path;
use std::sync::Arc;
use std::sync::Condvar;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::RwLock;
use std::sync::RwLockReadGuard;
use std::sync::RwLockWriteGuard;
use std::sync::atomic::AtomicU64;
use std::sync::atomic::Ordering;

use bytes::Bytes;
use tokio::sync::Semaphore;
use tokio::sync::oneshot;
use tokio::sync::watch;

use crate::Durability;
use crate::Entry;
use crate::Error;
use crate::Event;
use crate::Expect;
use crate::Hook;
use crate::Options;
use crate::Page;
use crate::Revision;
use crate::Watch;
use crate::commit;
use crate::engine::Engine;
use crate::engine::Loaded;
use crate::engine::embedded::Embedded;
use crate::history::History;
use crate::publish::Publisher;
use crate::submission::Change;
use crate::submission::Request;
use crate::submission::Status;
use crate::submission::Submission;
use crate::visible::Visible;
use crate::watch::Mailbox;
use crate::watch::Published;
use crate::watch::lock;

/// Writes that may be queued at once; further writers wait for a place. Four full batches: more
/// would not make commits fuller, only the wait longer. Each holds no more than its caller made.
const QUEUED_WRITES_MAX: usize = 4 * crate::submission::BATCH_WRITES_MAX;

/// What the handles, the watches and the commit thread share.
///
/// Locks are taken in this order: `submission` or `publisher`, then `visible`.
pub(crate) struct Shared {
    pub(crate) options: Options,
    pub(crate) submission: Mutex<Submission>,
    /// Signalled when the submission has something for the commit thread.
    pub(crate) submitted: Condvar,
    pub(crate) publisher: Mutex<Publisher>,
    visible: RwLock<Visible>,
    pub(crate) published: Published,
    slots: Arc<Semaphore>,
    pub(crate) commits: AtomicU64,
    pub(crate) writes: AtomicU64,
}

impl Shared {
    /// The newest revision whose event is in every mailbox it belongs in.
    pub(crate) fn published(&self) -> Revision {
        self.published.get()
    }

    /// Removes a dropped watch.
    pub(crate) fn forget(&self, prefix: &str, mailbox: &Arc<Mailbox>) {
        lock(&self.publisher).watchers.forget(prefix, mailbox);
    }

    pub(crate) fn read(&self) -> RwLockReadGuard<'_, Visible> {
        self.visible.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn write(&self) -> RwLockWriteGuard<'_, Visible> {
        self.visible.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks the commit thread to write everything out and end.
    fn begin_close(&self) {
        let mut submission = lock(&self.submission);
        if submission.status != Status::Closed {
            submission.status = Status::Closing;
        }
        drop(submission);
        self.submitted.notify_one();
    }
}

/// Ends the commit thread when the last handle is dropped.
struct Handle {
    shared: Arc<Shared>,
    /// Turns true when the commit thread has ended.
    ended: watch::Receiver<bool>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.begin_close();
    }
}

/// A handle on an open store; clones share it. When the last is dropped the store closes in the
/// background; [`Store::close`] closes it and waits.
#[derive(Clone)]
pub struct Store {
    handle: Arc<Handle>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("Store")
            .field("revision", &self.revision())
            .finish_non_exhaustive()
    }
}

/// Counts since the store was opened, and present sizes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Statistics {
    /// Commits that reached the disk.
    pub commits: u64,
    /// Writes published.
    pub writes: u64,
    /// Keys there are.
    pub keys: usize,
    /// Watches open.
    pub watches: usize,
}

impl Store {
    /// Opens or creates the store in one file, readable by its owner only.
    ///
    /// # Errors
    /// [`Error::Failed`] when the file cannot be opened, is locked or is damaged.
    pub fn open(file: &Path, options: Options) -> Result<Store, Error> {
        let (engine, loaded) = Embedded::open(file).map_err(Error::Failed)?;
        Store::start(Box::new(engine), loaded, options)
    }

    /// Starts the commit thread over an engine.
    pub(crate) fn start(
        engine: Box<dyn Engine>,
        loaded: Loaded,
        options: Options,
    ) -> Result<Store, Error> {
        let reserved = loaded.reserved;
        let mut history = History::new(&options, loaded.floor, loaded.gaps);
        loaded
            .events
            .into_iter()
            .for_each(|event| history.push(event));
        let shared = Arc::new(Shared {
            options,
            submission: Mutex::new(Submission::new(loaded.revision)),
            submitted: Condvar::new(),
            publisher: Mutex::new(Publisher::default()),
            visible: RwLock::new(Visible {
                revision: loaded.revision,
                entries: loaded.entries,
                history,
            }),
            published: Published::default(),
            slots: Arc::new(Semaphore::new(QUEUED_WRITES_MAX)),
            commits: AtomicU64::new(0),
            writes: AtomicU64::new(0),
        });
        shared.published.raise(loaded.revision);
        let ended = commit::spawn(shared.clone(), engine, reserved)
            .map_err(|error| Error::Failed(format!("its commit thread cannot start: {error}")))?;
        let handle = Arc::new(Handle { shared, ended });
        Ok(Store { handle })
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// The revision of the newest visible write.
    pub fn revision(&self) -> Revision {
        self.shared().read().revision
    }

    /// The present value of a key.
    pub fn get(&self, key: &str) -> Option<Arc<Entry>> {
        self.shared().read().entries.get(key).cloned()
    }

    /// Entries that `prefix` covers with keys greater than `after`, at `at` (the present when
    /// `None`), at most `limit` of them (0: all).
    ///
    /// # Errors
    /// [`Error::Compacted`] when `at` is older than the history, [`Error::Ahead`] when it does not
    /// exist yet.
    pub fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, Error> {
        self.shared().read().list(prefix, after, limit, at)
    }

    /// Writes a value if `expect` holds. `encode` is called once with the revision the write gets,
    /// so that the value can carry it; it must be quick, as other writers wait meanwhile.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::Failed`], [`Error::Closed`].
    pub async fn put(
        &self,
        key: &str,
        expect: Expect,
        durability: Durability,
        encode: impl FnOnce(Revision) -> Bytes + Send,
    ) -> Result<Arc<Entry>, Error> {
        let request = Request {
            key,
            expect,
            durability,
        };
        let event = self.submit(request, Change::Put(encode)).await?;
        let entry = event.value.clone();
        Ok(entry.expect("a put always leaves a value"))
    }

    /// Deletes a key that is at `expect`. `encode` makes the tombstone shown to watchers.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::Failed`], [`Error::Closed`].
    pub async fn delete(
        &self,
        key: &str,
        expect: Revision,
        encode: impl FnOnce(Revision) -> Bytes + Send,
    ) -> Result<Revision, Error> {
        let request = Request {
            key,
            expect: Expect::At(expect),
            durability: Durability::Synced,
        };
        let event = self.submit(request, Change::Delete(encode)).await?;
        Ok(event.revision)
    }

    /// Queues a change and waits for its answer. Once queued it is carried out even if the caller
    /// stops waiting.
    async fn submit(
        &self,
        request: Request<'_>,
        change: Change<impl FnOnce(Revision) -> Bytes + Send>,
    ) -> Result<Arc<Event>, Error> {
        let shared = self.shared();
        let slot = shared.slots.clone().acquire_owned().await;
        let slot = slot.map_err(|_| Error::Closed)?;
        let (answer, answered) = oneshot::channel();
        {
            let committed = |key: &str| shared.read().entries.get(key).cloned();
            let mut submission = lock(&shared.submission);
            submission.submit(&request, change, committed, answer, slot)?;
        }
        shared.submitted.notify_one();
        answered.await.unwrap_or(Err(Error::Closed))
    }

    /// Watches a prefix for events after `from`.
    ///
    /// # Errors
    /// [`Error::Compacted`] when `from` is older than the history or was lost in a crash,
    /// [`Error::Closed`].
    pub fn watch(&self, prefix: &str, from: Revision) -> Result<Watch, Error> {
        let shared = &self.handle.shared;
        // Held across both steps, so that no event is published between them.
        let mut publisher = lock(&shared.publisher);
        if publisher.is_closed() {
            return Err(Error::Closed);
        }
        let backlog = shared.read().events_after(prefix, from)?;
        let mailbox = Arc::new(Mailbox::default());
        let prefix: Arc<str> = Arc::from(prefix);
        publisher.watchers.add(prefix.clone(), mailbox.clone());
        drop(publisher);
        Ok(Watch::new(shared.clone(), prefix, mailbox, backlog, from))
    }

    /// Registers a hook: called at once for every present entry of the prefix (as creations), then
    /// for every later event. Because it runs before the writer's answer, caches fed by it are
    /// never older than an acknowledged write.
    pub fn hook(&self, prefix: &str, hook: Hook) {
        let shared = self.shared();
        let mut publisher = lock(&shared.publisher);
        let present = shared.read().covered(prefix);
        let created = |entry: Arc<Entry>| Event {
            revision: entry.modified,
            key: entry.key.clone(),
            value: Some(entry),
            previous: None,
            tombstone: None,
        };
        publisher.add_hook(prefix, hook, present.into_iter().map(created).collect());
    }

    /// Writes everything out and stops the commit thread; waits until the file is closed.
    pub async fn close(&self) {
        self.shared().begin_close();
        let mut ended = self.handle.ended.clone();
        // An error means the thread is gone, which is what is waited for.
        let _ = ended.wait_for(|ended| *ended).await;
    }

    /// Counts and sizes.
    pub fn statistics(&self) -> Statistics {
        let shared = self.shared();
        // One lock after the other: held together they would be taken in the wrong order.
        let keys = shared.read().entries.len();
        let watches = lock(&shared.publisher).watchers.len();
        Statistics {
            commits: shared.commits.load(Ordering::Relaxed),
            writes: shared.writes.load(Ordering::Relaxed),
            keys,
            watches,
        }
    }
}
