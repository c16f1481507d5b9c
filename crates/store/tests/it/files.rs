//! Files: who may open them, how they fail, what they cost.

use std::os::unix::fs::PermissionsExt;

use hyades_store::Durability::Synced;
use hyades_store::Expect;
use hyades_store::Options;
use hyades_store::Store;

use crate::value;

fn open_error(path: &std::path::Path) -> String {
    Store::open(path, Options::default())
        .expect_err("unusable")
        .to_string()
}

#[tokio::test]
async fn a_file_in_use_a_missing_folder_and_a_strange_file_are_told_apart() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.redb");
    let shown = path.display();
    let store = Store::open(&path, Options::default()).expect("a new store");
    assert_eq!(
        open_error(&path),
        format!(
            "the store's file failed: {shown} is in use by another process; \
             stop it or choose another data folder"
        )
    );
    store.close().await;
    let store = Store::open(&path, Options::default()).expect("free again");
    store.close().await;

    let missing = folder.path().join("missing/store.redb");
    let error = open_error(&missing);
    assert!(
        error.contains("cannot be opened: No such file or directory"),
        "{error}"
    );

    let strange = folder.path().join("strange");
    std::fs::write(&strange, vec![b'x'; 8192]).expect("a file");
    let error = open_error(&strange);
    assert!(
        error.starts_with(&format!("the store's file failed: {} ", strange.display())),
        "{error}"
    );
}

#[tokio::test]
async fn only_the_owner_may_read_the_file() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("store.redb");
    let store = Store::open(&path, Options::default()).expect("a new store");
    let mode = std::fs::metadata(&path)
        .expect("a file")
        .permissions()
        .mode();
    assert_eq!(mode & 0o777, 0o600);
    store.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn many_writers_share_a_commit() {
    const WRITERS: usize = 64;
    const WRITES_EACH: usize = 16;
    let folder = tempfile::tempdir().expect("a folder");
    let store =
        Store::open(&folder.path().join("store.redb"), Options::default()).expect("a store");
    let tasks: Vec<_> = (0..WRITERS)
        .map(|writer| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..WRITES_EACH {
                    let key = format!("w/{writer}/{number}");
                    let put = store.put(&key, Expect::Absent, Synced, value("v"));
                    put.await.expect("written");
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.expect("a writer");
    }
    let statistics = store.statistics();
    let writes = u64::try_from(WRITERS * WRITES_EACH).expect("small");
    assert_eq!(statistics.writes, writes);
    assert_eq!(statistics.keys, WRITERS * WRITES_EACH);
    assert_eq!(store.revision(), writes);
    assert!(
        statistics.commits * 4 < writes,
        "{} commits for {writes} writes",
        statistics.commits
    );
    store.close().await;
}

#[tokio::test]
async fn a_closed_store_takes_no_writes_and_can_be_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let store =
        Store::open(&folder.path().join("store.redb"), Options::default()).expect("a store");
    store
        .put("a", Expect::Absent, Synced, value("v"))
        .await
        .expect("written");
    store.close().await;
    store.close().await;
    let error = store
        .put("b", Expect::Absent, Synced, value("v"))
        .await
        .expect_err("closed");
    assert_eq!(error.to_string(), "the store is closed");
    assert_eq!(store.get("a").expect("a value").value, "v@1");
}
