//! The commit thread over engines that fail or are watched.

use std::sync::Mutex;
use std::sync::mpsc;

use bytes::Bytes;

use super::*;
use crate::Durability::Checkpointed;
use crate::Durability::Synced;
use crate::Expect::Absent;
use crate::Expect::At;
use crate::Options;
use crate::Store;
use crate::engine::Loaded;

/// What a commit held: its revisions, and the reservation made with it.
#[derive(Debug, PartialEq, Eq)]
struct Seen {
    revisions: Vec<Revision>,
    reserved: Revision,
}

/// Answers each commit with the next of the outcomes it is sent.
struct Scripted {
    outcomes: mpsc::Receiver<Result<(), String>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

impl Engine for Scripted {
    fn commit(&mut self, batch: &Batch<'_>) -> Result<(), String> {
        lock(&self.seen).push(Seen {
            revisions: batch.events.iter().map(|event| event.revision).collect(),
            reserved: batch.reserved,
        });
        self.outcomes.recv().unwrap_or(Ok(()))
    }
}

struct Fixture {
    store: Store,
    outcomes: mpsc::Sender<Result<(), String>>,
    seen: Arc<Mutex<Vec<Seen>>>,
}

fn fixture() -> Fixture {
    let (outcomes, receiver) = mpsc::channel();
    let seen = Arc::<Mutex<Vec<Seen>>>::default();
    let engine = Scripted {
        outcomes: receiver,
        seen: seen.clone(),
    };
    let store = Store::start(Box::new(engine), Loaded::default(), Options::default());
    Fixture {
        store: store.expect("a thread"),
        outcomes,
        seen,
    }
}

fn value(revision: Revision) -> Bytes {
    Bytes::from(revision.to_string())
}

#[tokio::test]
async fn nothing_is_seen_before_its_commit_returns() {
    let Fixture {
        store,
        outcomes,
        seen,
    } = fixture();
    let mut watch = store.watch("", 0).expect("a watch");
    let writer = store.clone();
    let write = tokio::spawn(async move { writer.put("a/b", Absent, Synced, value).await });
    // A second write is judged against the pending first one, and told only when that is visible.
    while lock(&seen).is_empty() {
        tokio::task::yield_now().await;
    }
    let rival = store.clone();
    let refused = tokio::spawn(async move { rival.put("a/b", Absent, Synced, value).await });
    tokio::task::yield_now().await;
    assert!(store.get("a/b").is_none());
    assert!(watch.try_next().expect("open").is_none());
    assert!(!write.is_finished() && !refused.is_finished());
    outcomes.send(Ok(())).expect("the engine waits");
    drop(outcomes);
    let entry = write.await.expect("joined").expect("written");
    assert_eq!(entry.modified, 1);
    let Err(Error::Conflict(Some(present))) = refused.await.expect("joined") else {
        panic!("the second creation must be refused");
    };
    assert_eq!(present, entry);
    assert_eq!(store.get("a/b"), Some(entry));
    assert_eq!(watch.next().await.expect("an event").revision, 1);
}

#[tokio::test]
async fn a_failed_disk_makes_the_store_read_only_and_says_so() {
    let Fixture {
        store, outcomes, ..
    } = fixture();
    outcomes.send(Ok(())).expect("the engine waits");
    let first = store
        .put("a", Absent, Synced, value)
        .await
        .expect("written");
    outcomes
        .send(Err("no space left".to_owned()))
        .expect("the engine waits");
    let error = store
        .put("b", Absent, Synced, value)
        .await
        .expect_err("a full disk");
    assert_eq!(
        error.to_string(),
        "the store's file failed: no space left; it takes no writes until it is opened again"
    );
    let error = store.put("c", Absent, Checkpointed, value).await;
    assert!(matches!(error, Err(Error::Failed(_))));
    assert_eq!(store.get("a"), Some(first));
    assert!(store.get("b").is_none());
    assert!(store.watch("", 0).is_ok());
    drop(outcomes);
    store.close().await;
    assert!(matches!(store.watch("", 0), Err(Error::Closed)));
}

#[tokio::test]
async fn checkpointed_writes_are_seen_at_once_and_written_together() {
    let Fixture {
        store,
        outcomes,
        seen,
    } = fixture();
    drop(outcomes);
    store
        .put("a", Absent, Synced, value)
        .await
        .expect("written");
    store
        .put("lease", Absent, Checkpointed, value)
        .await
        .expect("seen");
    store
        .put("lease", At(2), Checkpointed, value)
        .await
        .expect("seen");
    assert_eq!(store.get("lease").expect("visible").modified, 3);
    assert_eq!(
        lock(&seen).len(),
        1,
        "no commit for checkpointed writes yet"
    );
    store
        .put("b", Absent, Synced, value)
        .await
        .expect("written");
    store.close().await;
    let seen = std::mem::take(&mut *lock(&seen));
    let commit = |revisions: &[Revision], reserved| Seen {
        revisions: revisions.to_vec(),
        reserved,
    };
    let expected = [
        commit(&[1], 1 + RESERVED_REVISIONS),
        commit(&[2, 3, 4], 4 + RESERVED_REVISIONS),
        commit(&[], 4),
    ];
    assert_eq!(seen, expected);
}

#[tokio::test]
async fn a_checkpoint_comes_by_itself() {
    let Fixture {
        store,
        outcomes,
        seen,
    } = fixture();
    drop(outcomes);
    store
        .put("a", Absent, Synced, value)
        .await
        .expect("written");
    store
        .put("lease", Absent, Checkpointed, value)
        .await
        .expect("seen");
    let deadline = Instant::now() + 20 * CHECKPOINT_INTERVAL;
    while lock(&seen).len() < 2 {
        assert!(Instant::now() < deadline, "no checkpoint was written");
        tokio::time::sleep(CHECKPOINT_INTERVAL / 10).await;
    }
    assert_eq!(lock(&seen)[1].revisions, [2]);
}
