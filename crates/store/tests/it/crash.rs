//! A writer killed in the middle: what it was told is on disk, and revisions go on.

use std::collections::BTreeMap;
use std::io::BufRead;
use std::io::BufReader;
use std::path::Path;
use std::process::Command;
use std::process::Stdio;

use hyades_store::Durability;
use hyades_store::Error;
use hyades_store::Expect;
use hyades_store::Options;
use hyades_store::Store;

use crate::value;

const FOLDER_VARIABLE: &str = "STORE_CRASH_FOLDER";
/// Acknowledgements to wait for before the kill, one round each.
const ROUNDS: [usize; 3] = [40, 1, 150];

fn open(folder: &Path) -> Store {
    Store::open(&folder.join("store.redb"), Options::default()).expect("a store")
}

/// Not a test of its own: the process that is killed. It prints each acknowledgement.
#[tokio::test]
#[ignore = "run by the test below, in a process of its own"]
async fn writer_to_be_killed() {
    let Some(folder) = std::env::var_os(FOLDER_VARIABLE) else {
        return;
    };
    let store = open(Path::new(&folder));
    let writers = (0..8).map(|writer| {
        let store = store.clone();
        tokio::spawn(async move {
            for number in 0_u64.. {
                let durability = match number % 3 {
                    0 => Durability::Checkpointed,
                    _ => Durability::Synced,
                };
                let key = format!("a/{writer}/{}", number % 7);
                let expect = store
                    .get(&key)
                    .map_or(Expect::Absent, |entry| Expect::At(entry.modified));
                let put = store.put(&key, expect, durability, value("v"));
                let entry = put.await.expect("written");
                println!(
                    "acknowledged {} {} {durability:?}",
                    entry.modified, entry.key
                );
            }
        })
    });
    for writer in writers.collect::<Vec<_>>() {
        writer.await.expect("a writer that never ends");
    }
}

/// What the killed process was told.
#[derive(Default)]
struct Told {
    /// The newest acknowledged revision of any kind.
    newest: u64,
    /// The newest acknowledged synced write of each key.
    synced: BTreeMap<String, u64>,
}

fn kill_a_writer(folder: &Path, acknowledgements: usize, told: &mut Told) {
    let mut child = Command::new(std::env::current_exe().expect("this program"))
        .args([
            "--exact",
            "crash::writer_to_be_killed",
            "--ignored",
            "--nocapture",
        ])
        .env(FOLDER_VARIABLE, folder)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("a child");
    let output = BufReader::new(child.stdout.take().expect("a pipe"));
    let mut count = 0;
    for line in output.lines() {
        let line = line.expect("text");
        // The harness may print on the same line.
        let Some((_, fields)) = line.split_once("acknowledged ") else {
            continue;
        };
        let fields: Vec<&str> = fields.split(' ').collect();
        let revision: u64 = fields[0].parse().expect("a revision");
        assert!(revision > 0);
        told.newest = told.newest.max(revision);
        if fields[2] == "Synced" {
            let newest = told.synced.entry(fields[1].to_owned()).or_default();
            *newest = revision.max(*newest);
        }
        count += 1;
        if count == acknowledgements {
            child.kill().expect("SIGKILL");
        }
    }
    child.wait().expect("a dead child");
    assert!(
        count >= acknowledgements,
        "the writer ended by itself after {count}"
    );
}

#[tokio::test]
async fn what_was_acknowledged_survives_a_kill_and_no_revision_is_used_twice() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut told = Told::default();
    for acknowledgements in ROUNDS {
        kill_a_writer(folder.path(), acknowledgements, &mut told);
        let store = open(folder.path());
        assert!(
            store.revision() > told.newest,
            "revisions go on beyond all that were seen"
        );
        for (key, &revision) in &told.synced {
            let entry = store.get(key).expect("an acknowledged key");
            assert!(
                entry.modified >= revision,
                "{key} fell back from {revision} to {}",
                entry.modified
            );
            assert_eq!(entry.value, format!("v@{}", entry.modified));
        }
        let lost = store.watch("a/", store.revision() - 1);
        assert!(
            matches!(lost, Err(Error::Compacted { .. })),
            "reserved revisions may have been seen"
        );
        let newest = store.revision();
        let key = format!("b/{newest}");
        let put = store.put(&key, Expect::Absent, Durability::Synced, value("v"));
        let entry = put.await.expect("written");
        assert_eq!(entry.modified, newest + 1);
        told.newest = entry.modified;
        let mut watch = store
            .watch("b/", newest)
            .expect("the present can be watched");
        assert_eq!(
            watch.next().await.expect("an event").revision,
            entry.modified
        );
        store.close().await;
    }
}
