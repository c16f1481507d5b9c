//! The commit thread: one OS thread per store that writes batches, publishes them and answers.
//!
//! It sleeps until there is something to do. While it waits for the disk, new writes gather in the
//! queue and become the next batch: the busier the store, the more writes share an fsync.

use std::sync::Arc;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

use tokio::sync::watch;

use crate::Durability;
use crate::Error;
use crate::Event;
use crate::Revision;
use crate::engine::Batch;
use crate::engine::Engine;
use crate::store::Shared;
use crate::submission::Answer;
use crate::submission::Status;
use crate::submission::Work;
use crate::watch::lock;

/// The longest a [`Durability::Checkpointed`] write stays in memory only.
pub const CHECKPOINT_INTERVAL: Duration = Duration::from_millis(500);
/// Checkpointed writes gathered before they are written without waiting for the interval.
const CHECKPOINT_WRITES_MAX: usize = 4096;
/// Revisions reserved ahead with each commit: as many checkpointed writes as may be published
/// before the next, twice over, so that reserving never costs a commit of its own.
const RESERVED_REVISIONS: u64 = 2 * CHECKPOINT_WRITES_MAX as u64;

/// Writes in a batch that show that many write at the same time.
const CROWD_WRITES: usize = 4;
/// How long the next batch is gathered after one of a crowd. A commit costs the processor and the
/// disk about the same however large it is, so that a crowd is served sooner by fewer of them;
/// whoever writes alone never waits.
const GATHERING: Duration = Duration::from_micros(500);

/// Starts the thread; the receiver turns true when it has ended and the file is closed.
pub(crate) fn spawn(
    shared: Arc<Shared>,
    engine: Box<dyn Engine>,
    reserved: Revision,
) -> std::io::Result<watch::Receiver<bool>> {
    let (ended, receiver) = watch::channel(false);
    let committer = Committer {
        shared,
        engine,
        reserved,
        unsaved: Vec::new(),
        checkpoint_at: None,
    };
    std::thread::Builder::new()
        .name("store-commit".to_owned())
        .spawn(move || {
            committer.run();
            ended.send_replace(true);
        })?;
    Ok(receiver)
}

struct Committer {
    shared: Arc<Shared>,
    engine: Box<dyn Engine>,
    /// Revisions up to here are reserved on disk.
    reserved: Revision,
    /// Published and not yet on disk.
    unsaved: Vec<Arc<Event>>,
    /// When `unsaved` must be written.
    checkpoint_at: Option<Instant>,
}

/// What woke the thread.
struct Turn {
    work: Vec<Work>,
    is_closing: bool,
}

/// A batch taken apart: what is written, and who waits for what.
#[derive(Default)]
struct Parts {
    events: Vec<Arc<Event>>,
    has_synced: bool,
    answers: Vec<(Answer, Result<Arc<Event>, Error>)>,
}

impl Parts {
    fn of(work: Vec<Work>) -> Parts {
        let mut parts = Parts::default();
        for work in work {
            match work {
                Work::Write {
                    event,
                    durability,
                    answer,
                    slot,
                } => {
                    // Lets the next writer queue up while this batch is on its way.
                    drop(slot);
                    parts.has_synced |= durability == Durability::Synced;
                    parts.events.push(event.clone());
                    parts.answers.push((answer, Ok(event)));
                }
                Work::Refuse { present, answer } => {
                    parts.answers.push((answer, Err(Error::Conflict(present))));
                }
            }
        }
        parts
    }

    fn answer(self) {
        for (answer, result) in self.answers {
            // A caller that stopped waiting needs no answer.
            let _ = answer.send(result);
        }
    }

    fn answer_all(self, error: &Error) {
        for (answer, _) in self.answers {
            let _ = answer.send(Err(error.clone()));
        }
    }
}

impl Committer {
    fn run(mut self) {
        let mut crowded = false;
        let outcome = loop {
            if crowded {
                std::thread::sleep(GATHERING);
            }
            let turn = self.wait();
            crowded = turn.work.len() >= CROWD_WRITES;
            let is_last = turn.is_closing && turn.work.is_empty();
            let parts = Parts::of(turn.work);
            if is_last || self.must_write(&parts, Instant::now()) {
                let written = self.write(&parts.events, is_last);
                if let Err(reason) = written {
                    let reason = format!("{reason}; it takes no writes until it is opened again");
                    let error = Error::Failed(reason.clone());
                    self.fail(reason);
                    parts.answer_all(&error);
                    break Err(error);
                }
            } else if !parts.events.is_empty() {
                self.unsaved.extend(parts.events.iter().cloned());
                let deadline = || Instant::now() + CHECKPOINT_INTERVAL;
                self.checkpoint_at.get_or_insert_with(deadline);
            }
            self.publish(&parts.events);
            parts.answer();
            if is_last {
                break Ok(());
            }
        };
        // A store whose disk failed can still be read and watched; it ends when it is closed.
        if outcome.is_err() {
            self.wait_for_close();
        }
        lock(&self.shared.publisher).close();
        lock(&self.shared.submission).status = Status::Closed;
    }

    /// Sleeps until there is work, a checkpoint is due, or the store is being closed.
    fn wait(&self) -> Turn {
        let mut submission = lock(&self.shared.submission);
        loop {
            let is_closing = submission.status == Status::Closing;
            let now = Instant::now();
            let is_due = self.checkpoint_at.is_some_and(|at| at <= now);
            if !submission.is_empty() || is_closing || is_due {
                return Turn {
                    work: submission.take_batch(),
                    is_closing,
                };
            }
            submission = match self.checkpoint_at {
                None => {
                    let woken = self.shared.submitted.wait(submission);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
                Some(at) => {
                    let woken = self.shared.submitted.wait_timeout(submission, at - now);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
            };
        }
    }

    /// Whether a batch has to reach the disk before it is published.
    fn must_write(&self, parts: &Parts, now: Instant) -> bool {
        let last = parts.events.last().map_or(0, |event| event.revision);
        parts.has_synced
            || last > self.reserved
            || self.checkpoint_at.is_some_and(|at| at <= now)
            || self.unsaved.len() >= CHECKPOINT_WRITES_MAX
    }

    /// Writes what is unsaved and `events`, in revision order. The last commit of a store gives
    /// back the reserved revisions, which tells the next opening that nothing was lost.
    fn write(&mut self, events: &[Arc<Event>], is_last: bool) -> Result<(), String> {
        self.unsaved.extend(events.iter().cloned());
        let (revision, floor) = {
            let visible = self.shared.read();
            (visible.revision, visible.history.floor())
        };
        let last = self
            .unsaved
            .last()
            .map_or(revision, |event| event.revision.max(revision));
        let reserved = if is_last {
            last
        } else {
            last + RESERVED_REVISIONS
        };
        self.engine.commit(&Batch {
            events: &self.unsaved,
            last,
            reserved,
            floor,
        })?;
        self.reserved = reserved;
        self.unsaved.clear();
        self.unsaved.shrink_to(CHECKPOINT_WRITES_MAX);
        self.checkpoint_at = None;
        self.shared.commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Shows a batch to readers, hooks and watchers.
    fn publish(&self, events: &[Arc<Event>]) {
        let Some(last) = events.last() else {
            return;
        };
        let shared = &self.shared;
        let mut publisher = lock(&shared.publisher);
        {
            let mut visible = shared.write();
            events.iter().for_each(|event| visible.apply(event));
        }
        publisher.publish(events, &shared.options);
        shared.published.raise(last.revision);
        drop(publisher);
        lock(&shared.submission).settle(events);
        let count = u64::try_from(events.len()).unwrap_or(u64::MAX);
        shared.writes.fetch_add(count, Ordering::Relaxed);
    }

    /// Refuses all writes from now on.
    fn fail(&self, reason: String) {
        tracing::error!(reason, "the store's file failed");
        let mut submission = lock(&self.shared.submission);
        let error = Error::Failed(reason.clone());
        if submission.status == Status::Open {
            submission.status = Status::Failed(reason);
        }
        let left = submission.take_all();
        drop(submission);
        Parts::of(left).answer_all(&error);
    }

    /// Sleeps until the store is being closed.
    fn wait_for_close(&self) {
        let mut submission = lock(&self.shared.submission);
        while submission.status != Status::Closing {
            let woken = self.shared.submitted.wait(submission);
            submission = woken.unwrap_or_else(PoisonError::into_inner);
        }
    }
}

#[cfg(test)]
mod tests;
