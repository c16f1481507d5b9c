//! Watches and hooks: each event once, in order, to those it concerns.

use std::sync::Arc;
use std::sync::Mutex;

use hyades_store::Durability::Synced;
use hyades_store::Error;
use hyades_store::Expect;
use hyades_store::Options;
use hyades_store::Store;
use hyades_store::Watch;

use crate::value;

fn open(folder: &tempfile::TempDir, options: Options) -> Store {
    Store::open(&folder.path().join("store.redb"), options).expect("a store")
}

async fn create(store: &Store, key: &str) -> u64 {
    let put = store.put(key, Expect::Absent, Synced, value(key));
    put.await.expect("written").modified
}

/// Everything a watch has ready, as `revision key`.
fn ready(watch: &mut Watch) -> Vec<String> {
    let mut found = Vec::new();
    while let Some(event) = watch.try_next().expect("an open watch") {
        found.push(format!("{} {}", event.revision, event.key));
    }
    found
}

#[tokio::test]
async fn a_prefix_with_a_slash_is_a_subtree_and_any_other_is_one_key() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, Options::default());
    create(&store, "core/pods/a/one").await;
    let mut all = store.watch("", 0).expect("a watch");
    let mut namespace = store.watch("core/pods/a/", 0).expect("a watch");
    let mut single = store.watch("core/pods/a/one", 0).expect("a watch");
    let mut other = store.watch("core/pods/b/", 0).expect("a watch");
    create(&store, "core/pods/a/one-more").await;
    create(&store, "core/pods/ab/one").await;
    assert_eq!(ready(&mut all).len(), 3);
    assert_eq!(
        ready(&mut namespace),
        ["1 core/pods/a/one", "2 core/pods/a/one-more"]
    );
    assert_eq!(ready(&mut single), ["1 core/pods/a/one"]);
    assert!(ready(&mut other).is_empty());
    let keys = |prefix: &str| {
        let page = store.list(prefix, None, 0, None).expect("a page");
        page.entries
            .iter()
            .map(|entry| entry.key.to_string())
            .collect::<Vec<_>>()
    };
    assert_eq!(
        keys("core/pods/a/"),
        ["core/pods/a/one", "core/pods/a/one-more"]
    );
    assert_eq!(keys("core/pods/a/one"), ["core/pods/a/one"]);
    assert_eq!(store.statistics().watches, 4);
    drop((all, namespace, single, other));
    assert_eq!(store.statistics().watches, 0);
    store.close().await;
}

#[tokio::test]
async fn a_deletion_carries_the_last_value_and_its_tombstone() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, Options::default());
    create(&store, "a/b").await;
    let mut watch = store.watch("a/", 1).expect("a watch");
    let revision = store
        .delete("a/b", 1, value("gone"))
        .await
        .expect("deleted");
    let event = watch.next().await.expect("an event");
    assert_eq!((event.revision, revision), (2, 2));
    assert!(event.value.is_none());
    assert_eq!(
        event.previous.as_ref().expect("the last value").value,
        "a/b@1"
    );
    assert_eq!(event.tombstone.as_deref(), Some(b"gone@2".as_slice()));
    store.close().await;
}

#[tokio::test]
async fn a_watcher_that_lags_by_many_bytes_is_cut_too() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        watch_lag_bytes_max: 1,
        ..Options::default()
    };
    let store = open(&folder, options);
    let mut slow = store.watch("", 0).expect("a watch");
    let mut quick = store.watch("", 0).expect("a watch");
    for number in 0..2 {
        create(&store, &format!("a/{number}")).await;
        assert_eq!(ready(&mut quick).len(), 1, "one event always fits");
    }
    let error = slow.next().await.expect_err("cut");
    assert!(matches!(error, Error::Compacted { .. }), "{error}");
    store.close().await;
}

#[tokio::test]
async fn a_slow_watcher_is_cut_and_the_others_go_on() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        watch_lag_events_max: 2,
        ..Options::default()
    };
    let store = open(&folder, options);
    let mut slow = store.watch("", 0).expect("a watch");
    let mut quick = store.watch("", 0).expect("a watch");
    for number in 0..3 {
        create(&store, &format!("a/{number}")).await;
        assert_eq!(ready(&mut quick).len(), 1);
    }
    let error = slow.next().await.expect_err("cut");
    assert!(
        matches!(
            error,
            Error::Compacted {
                wanted: 0,
                oldest: 3
            }
        ),
        "{error}"
    );
    assert!(slow.next().await.is_err(), "a cut watch stays cut");
    assert_eq!(store.statistics().watches, 1);
    store.close().await;
}

#[tokio::test]
async fn a_watch_resumes_across_a_restart_inside_the_window() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, Options::default());
    for number in 1..=5 {
        create(&store, &format!("a/{number}")).await;
    }
    store
        .delete("a/2", 2, value("gone"))
        .await
        .expect("deleted");
    let mut live = store.watch("a/", 3).expect("a watch");
    let before: Vec<_> = std::iter::from_fn(|| live.try_next().expect("open")).collect();
    store.close().await;
    assert!(matches!(live.next().await, Err(Error::Closed)));

    let store = open(&folder, Options::default());
    assert_eq!(store.revision(), 6);
    let mut resumed = store.watch("a/", 3).expect("inside the window");
    let after: Vec<_> = std::iter::from_fn(|| resumed.try_next().expect("open")).collect();
    assert_eq!(before, after);
    let page = store
        .list("a/", None, 2, Some(4))
        .expect("inside the window");
    let keys: Vec<&str> = page.entries.iter().map(|entry| &*entry.key).collect();
    assert_eq!((keys, page.remaining), (vec!["a/1", "a/2"], 2));
    assert_eq!(create(&store, "a/6").await, 7);
    assert_eq!(resumed.next().await.expect("an event").revision, 7);
    store.close().await;
}

#[tokio::test]
async fn what_left_the_window_cannot_be_watched_or_listed() {
    let folder = tempfile::tempdir().expect("a folder");
    let options = Options {
        history_events_max: 3,
        ..Options::default()
    };
    let store = open(&folder, options);
    for number in 1..=5 {
        create(&store, &format!("a/{number}")).await;
    }
    let error = store.watch("a/", 1).expect_err("too old");
    assert_eq!(
        error.to_string(),
        "revision 1 is older than the oldest kept revision 2"
    );
    assert!(store.watch("a/", 2).is_ok());
    assert!(store.list("a/", None, 0, Some(1)).is_err());
    let error = store.list("a/", None, 0, Some(6)).expect_err("too new");
    assert_eq!(
        error.to_string(),
        "revision 6 is newer than the newest revision 5"
    );
    store.close().await;
}

#[tokio::test]
async fn progress_never_passes_an_event_that_waits() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, Options::default());
    create(&store, "a/1").await;
    let mut watch = store.watch("a/", 0).expect("a watch");
    create(&store, "a/2").await;
    create(&store, "b/3").await;
    assert_eq!(watch.progress(), 0);
    watch.next().await.expect("an event");
    assert_eq!(watch.progress(), 1);
    watch.next().await.expect("an event");
    assert_eq!(watch.progress(), 3);
    store.close().await;
}

#[tokio::test]
async fn a_dropped_wait_loses_no_event() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, Options::default());
    let mut watch = store.watch("a/", 0).expect("a watch");
    for number in 1..=50 {
        // The wait is polled and dropped while the event may be arriving.
        let key = format!("a/{number}");
        tokio::select! {
            biased;
            event = watch.next() => panic!("nothing was written yet: {event:?}"),
            () = tokio::task::yield_now() => {}
        }
        create(&store, &key).await;
        let event = watch.next().await.expect("an event");
        assert_eq!(event.revision, number);
    }
    store.close().await;
}

#[tokio::test]
async fn a_hook_sees_the_present_then_each_write_before_its_writer_is_answered() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, Options::default());
    create(&store, "a/1").await;
    create(&store, "b/1").await;
    let seen = Arc::<Mutex<Vec<u64>>>::default();
    let record = seen.clone();
    let reader = store.clone();
    store.hook(
        "a/",
        Box::new(move |event| {
            let visible = reader.get(&event.key).map(|entry| entry.modified);
            assert_eq!(visible, Some(event.revision));
            record.lock().expect("unpoisoned").push(event.revision);
        }),
    );
    assert_eq!(*seen.lock().expect("unpoisoned"), [1]);
    for number in 2..20 {
        let revision = create(&store, &format!("a/{number}")).await;
        assert_eq!(seen.lock().expect("unpoisoned").last(), Some(&revision));
    }
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn watchers_that_come_and_go_under_load_miss_nothing() {
    const WRITES: u64 = 2000;
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder, Options::default());
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..WRITES / 4 {
                    create(&store, &format!("a/{writer}/{number}")).await;
                }
            })
        })
        .collect();
    let watchers: Vec<_> = (0..8_u64)
        .map(|watcher| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut position = 0;
                while position < WRITES {
                    let mut watch = store.watch("a/", position).expect("in the window");
                    for _ in 0..=watcher * 13 {
                        let event = watch.next().await.expect("an open watch");
                        assert_eq!(event.revision, position + 1);
                        position = event.revision;
                        if position == WRITES {
                            break;
                        }
                    }
                }
            })
        })
        .collect();
    for task in writers.into_iter().chain(watchers) {
        task.await.expect("no assertion failed");
    }
    store.close().await;
}
