//! Random sequences of operations against a model: a list of all past states.

use std::collections::BTreeMap;

use hyades_store::Durability;
use hyades_store::Error;
use hyades_store::Expect;
use hyades_store::Options;
use hyades_store::Store;
use proptest::prelude::*;
use proptest::test_runner::TestRunner;

use crate::value;

/// Keys with shared prefixes, some of which are prefixes of others.
const KEYS: [&str; 6] = ["a/b/1", "a/b/10", "a/b/2", "a/c/1", "b//1", "b//11"];
const PREFIXES: [&str; 7] = ["", "a/", "a/b/", "a/b/1", "b//", "b//1", "c/"];
/// Small, so that compaction happens within a sequence.
const HISTORY_EVENTS: usize = 12;

#[derive(Debug, Clone)]
enum Step {
    Put {
        key: usize,
        is_stale: bool,
        is_checkpointed: bool,
    },
    Delete {
        key: usize,
        is_stale: bool,
    },
    Page {
        prefix: usize,
        limit: usize,
        back: u64,
    },
    Watch {
        prefix: usize,
        back: u64,
    },
    Reopen,
}

fn step() -> impl Strategy<Value = Step> {
    let key = 0..KEYS.len();
    let prefix = 0..PREFIXES.len();
    prop_oneof![
        6 => (key.clone(), prop::bool::weighted(0.2), any::<bool>())
            .prop_map(|(key, is_stale, is_checkpointed)| Step::Put { key, is_stale, is_checkpointed }),
        3 => (key, prop::bool::weighted(0.2)).prop_map(|(key, is_stale)| Step::Delete { key, is_stale }),
        3 => (prefix.clone(), 0_usize..4, 0_u64..20)
            .prop_map(|(prefix, limit, back)| Step::Page { prefix, limit, back }),
        3 => (prefix, 0_u64..20).prop_map(|(prefix, back)| Step::Watch { prefix, back }),
        1 => Just(Step::Reopen),
    ]
}

type State = BTreeMap<String, (u64, u64)>;

/// Every state there ever was: `states[r]` is the one at revision `r`.
struct Model {
    states: Vec<State>,
    changed: Vec<String>,
}

impl Model {
    fn revision(&self) -> u64 {
        u64::try_from(self.changed.len()).expect("small")
    }

    fn at(&self, revision: u64) -> &State {
        &self.states[usize::try_from(revision).expect("small")]
    }

    fn change(&mut self, key: &str, entry: Option<(u64, u64)>) {
        let mut state = self.at(self.revision()).clone();
        match entry {
            Some(entry) => state.insert(key.to_owned(), entry),
            None => state.remove(key),
        };
        self.states.push(state);
        self.changed.push(key.to_owned());
    }

    fn oldest(&self) -> u64 {
        self.revision().saturating_sub(HISTORY_EVENTS as u64)
    }
}

fn covers(prefix: &str, key: &str) -> bool {
    match prefix {
        "" => true,
        _ if prefix.ends_with('/') => key.starts_with(prefix),
        _ => key == prefix,
    }
}

struct Subject {
    folder: tempfile::TempDir,
    store: Store,
    model: Model,
}

impl Subject {
    fn open(folder: &tempfile::TempDir) -> Store {
        let options = Options {
            history_events_max: HISTORY_EVENTS,
            ..Options::default()
        };
        Store::open(&folder.path().join("store.redb"), options).expect("a store")
    }

    fn new() -> Subject {
        let folder = tempfile::tempdir().expect("a folder");
        let store = Subject::open(&folder);
        let model = Model {
            states: vec![State::new()],
            changed: Vec::new(),
        };
        Subject {
            folder,
            store,
            model,
        }
    }

    async fn run(&mut self, step: &Step) {
        match *step {
            Step::Put {
                key,
                is_stale,
                is_checkpointed,
            } => {
                self.put(KEYS[key], is_stale, is_checkpointed).await;
            }
            Step::Delete { key, is_stale } => self.delete(KEYS[key], is_stale).await,
            Step::Page {
                prefix,
                limit,
                back,
            } => self.page(PREFIXES[prefix], limit, back),
            Step::Watch { prefix, back } => self.watch(PREFIXES[prefix], back),
            Step::Reopen => {
                self.store.close().await;
                self.store = Subject::open(&self.folder);
            }
        }
        assert_eq!(self.store.revision(), self.model.revision());
    }

    async fn put(&mut self, key: &str, is_stale: bool, is_checkpointed: bool) {
        let durability = match is_checkpointed {
            true => Durability::Checkpointed,
            false => Durability::Synced,
        };
        let present = self.model.at(self.model.revision()).get(key).copied();
        let expect = match (present, is_stale) {
            (None, false) | (Some(_), true) => Expect::Absent,
            (None, true) => Expect::At(1),
            (Some((_, modified)), false) => Expect::At(modified),
        };
        let result = self.store.put(key, expect, durability, value(key)).await;
        if is_stale {
            let Err(Error::Conflict(found)) = result else {
                panic!("a stale write went through: {result:?}");
            };
            assert_eq!(found.map(|entry| (entry.created, entry.modified)), present);
            return;
        }
        let revision = self.model.revision() + 1;
        let created = present.map_or(revision, |(created, _)| created);
        let entry = result.expect("a write that fits");
        assert_eq!((entry.created, entry.modified), (created, revision));
        self.model.change(key, Some((created, revision)));
    }

    async fn delete(&mut self, key: &str, is_stale: bool) {
        let present = self.model.at(self.model.revision()).get(key).copied();
        let expect = present.map_or(1, |(_, modified)| modified) + u64::from(is_stale);
        let result = self.store.delete(key, expect, value("gone")).await;
        if is_stale || present.is_none() {
            assert!(matches!(result, Err(Error::Conflict(_))), "{result:?}");
            return;
        }
        let revision = self.model.revision() + 1;
        assert_eq!(result.expect("a deletion that fits"), revision);
        self.model.change(key, None);
    }

    /// Lists in pages at one past revision.
    fn page(&self, prefix: &str, limit: usize, back: u64) {
        let at = self.model.revision().saturating_sub(back);
        let result = self.store.list(prefix, None, limit, Some(at));
        if at < self.model.oldest() {
            assert!(matches!(result, Err(Error::Compacted { .. })), "{result:?}");
            return;
        }
        let expected: Vec<(String, u64, u64)> = self
            .model
            .at(at)
            .iter()
            .filter(|(key, _)| covers(prefix, key))
            .map(|(key, &(created, modified))| (key.clone(), created, modified))
            .collect();
        let mut page = result.expect("inside the window");
        let mut found = Vec::new();
        loop {
            assert_eq!(page.revision, at);
            for entry in &page.entries {
                found.push((entry.key.to_string(), entry.created, entry.modified));
                assert_eq!(entry.value, format!("{}@{}", entry.key, entry.modified));
            }
            assert_eq!(found.len() + page.remaining, expected.len());
            if page.remaining == 0 {
                break;
            }
            let after = found.last().map(|(key, ..)| key.as_str());
            page = self
                .store
                .list(prefix, after, limit, Some(at))
                .expect("a page");
        }
        assert_eq!(found, expected);
    }

    /// Replays the past from a revision on.
    fn watch(&self, prefix: &str, back: u64) {
        let from = self.model.revision().saturating_sub(back);
        let result = self.store.watch(prefix, from);
        if from < self.model.oldest() {
            assert!(matches!(result, Err(Error::Compacted { .. })), "{result:?}");
            return;
        }
        let mut watch = result.expect("inside the window");
        for revision in from + 1..=self.model.revision() {
            let key = &self.model.changed[usize::try_from(revision - 1).expect("small")];
            if !covers(prefix, key) {
                continue;
            }
            let event = watch.try_next().expect("open").expect("an event");
            assert_eq!((event.revision, &*event.key), (revision, key.as_str()));
            let facts = |entry: &hyades_store::Entry| (entry.created, entry.modified);
            let before = self.model.at(revision - 1).get(key).copied();
            let after = self.model.at(revision).get(key).copied();
            assert_eq!(event.previous.as_deref().map(facts), before);
            assert_eq!(event.value.as_deref().map(facts), after);
            let tombstone = after.is_none().then(|| format!("gone@{revision}"));
            assert_eq!(
                event.tombstone.as_deref(),
                tombstone.as_deref().map(str::as_bytes)
            );
        }
        assert!(watch.try_next().expect("open").is_none());
        assert_eq!(watch.progress(), self.model.revision());
    }
}

#[test]
fn the_store_agrees_with_the_model() {
    let seed: u64 = std::env::var("SEED")
        .ok()
        .and_then(|seed| seed.parse().ok())
        .unwrap_or_else(|| u64::from(std::process::id()));
    println!("SEED={seed}");
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let config = ProptestConfig {
        cases: 40,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let algorithm = prop::test_runner::RngAlgorithm::ChaCha;
    let random = prop::test_runner::TestRng::from_seed(algorithm, &bytes);
    let mut runner = TestRunner::new_with_rng(config, random);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime");
    let sequences = prop::collection::vec(step(), 1..80);
    runner
        .run(&sequences, |steps| {
            runtime.block_on(async {
                let mut subject = Subject::new();
                for step in &steps {
                    subject.run(step).await;
                }
                subject.store.close().await;
            });
            Ok(())
        })
        .unwrap_or_else(|error| panic!("SEED={seed}: {error}"));
}
