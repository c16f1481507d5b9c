//! What is true now, what was true, and what changed: a revisioned, watchable key-value store.
//!
//! ```text
//!  writers ─▶ check, assign revision ─▶ queue ─▶ commit thread: one fsync a batch ─▶ engine
//!            (submission)                              │            (commit)
//!                                                      ▼
//!                  readers ◀─ present state, history ◀─┴─▶ hooks ─▶ watchers ─▶ acknowledge
//!                            (visible)                    (publish, watch)
//! ```
//!
//! A write is judged against the newest state, pending writes included, when it is submitted. It
//! is acknowledged after its batch is on disk; readers and watchers see it no earlier. Writes that
//! may be lost in a crash ([`Durability::Checkpointed`]) are seen at once and reach the disk with
//! the next batch, at the latest within [`CHECKPOINT_INTERVAL`]; since revisions are reserved
//! ahead on disk, none is ever given out twice, and a watcher that had seen a lost one is told to
//! list again.
//!
//! Wherever a prefix is asked for: one that is empty or ends in `/` means all keys below it; any
//! other means the one key of that very name.

mod commit;
mod engine;
mod history;
mod publish;
mod store;
mod submission;
mod types;
mod visible;
mod watch;

pub use commit::CHECKPOINT_INTERVAL;
pub use store::Statistics;
pub use store::Store;
pub use types::Durability;
pub use types::Entry;
pub use types::Error;
pub use types::Event;
pub use types::Expect;
pub use types::Hook;
pub use types::Options;
pub use types::Page;
pub use types::Revision;
pub use watch::Watch;
