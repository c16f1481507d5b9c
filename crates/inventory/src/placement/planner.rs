//! The thread that decides.
//!
//! A decision over ten thousand WECs takes milliseconds, and the first one with CEL a second: too
//! long for a thread that also judges liveness. And an expression may nest as deep as its text is
//! long, which takes a larger stack than others have.

use super::index::Key;
use super::schedule::Decisions;
use super::schedule::Scheduler;
use super::snapshot::Snapshot;
use hyades_api::placement::Placement;
use hyades_runtime::Trouble;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::sync::Arc;
use std::sync::mpsc;
use std::thread;
use tokio::sync::oneshot;

/// Room for an expression of the longest permitted text, by measurement in a debug build, several
/// times over. Pages that are never touched cost nothing.
pub(super) const STACK_BYTES: usize = 16 * 1024 * 1024;

enum Job {
    Decide {
        placement: Arc<Placement>,
        snapshot: Box<Snapshot>,
        answer: oneshot::Sender<Option<Decisions>>,
    },
    Forget {
        key: Key,
        answer: oneshot::Sender<()>,
    },
}

/// A handle of the thread, which ends with it.
#[derive(Debug)]
pub(super) struct Planner {
    jobs: mpsc::SyncSender<Job>,
}

impl Planner {
    /// Starts the thread. `jobs_max` is how many callers there are: each waits for its answer, so
    /// no more jobs wait at a time.
    ///
    /// # Errors
    ///
    /// When the system gives no thread.
    pub(super) fn start(jobs_max: usize) -> std::io::Result<Self> {
        let (jobs, waiting) = mpsc::sync_channel(jobs_max);
        let builder = thread::Builder::new().name("placement".to_owned());
        builder
            .stack_size(STACK_BYTES)
            .spawn(move || work(&waiting))?;
        Ok(Self { jobs })
    }

    /// Decides a placement.
    pub(super) async fn decide(
        &self,
        placement: Arc<Placement>,
        snapshot: Snapshot,
    ) -> Result<Decisions, Trouble> {
        let (answer, decided) = oneshot::channel();
        self.send(Job::Decide {
            placement,
            snapshot: Box::new(snapshot),
            answer,
        })?;
        let gone = || Trouble::Other("the thread that decides placements ended".to_owned());
        decided.await.map_err(|_| gone())?.ok_or_else(|| {
            Trouble::Other("the decision panicked; the last decisions stay".to_owned())
        })
    }

    /// Forgets a placement that is gone.
    pub(super) async fn forget(&self, key: Key) -> Result<(), Trouble> {
        let (answer, done) = oneshot::channel();
        self.send(Job::Forget { key, answer })?;
        done.await
            .map_err(|_| Trouble::Other("the thread that decides placements ended".to_owned()))
    }

    fn send(&self, job: Job) -> Result<(), Trouble> {
        self.jobs.try_send(job).map_err(|error| {
            Trouble::Other(format!(
                "no job given to the thread that decides placements: {error}"
            ))
        })
    }
}

fn work(jobs: &mpsc::Receiver<Job>) {
    let mut scheduler = Scheduler::new();
    // Whoever asked may be gone by the time of the answer, which is then nobody's loss.
    while let Ok(job) = jobs.recv() {
        match job {
            Job::Decide {
                placement,
                snapshot,
                answer,
            } => {
                let run = AssertUnwindSafe(|| scheduler.schedule(&snapshot, &placement));
                let decided = catch_unwind(run).ok();
                if decided.is_none() {
                    // What it knew may be half written.
                    scheduler = Scheduler::new();
                }
                let _ = answer.send(decided);
            }
            Job::Forget { key, answer } => {
                scheduler.forget(&key.0, &key.1);
                let _ = answer.send(());
            }
        }
    }
}
