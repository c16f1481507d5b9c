//! The embedded engine: one redb file.
//!
//! ```text
//!  entries  key ─▶ created, modified, value             the present
//!  history  revision ─▶ key, tombstone, previous value  how to undo the last changes
//!  gaps     after ─▶ until                              revisions that crashes lost
//!  meta     last, reserved, floor, format
//! ```
//!
//! History holds only what a change replaced: what it wrote is found in the next change of the key
//! or in the present, so every value is on disk once.

use std::fs::File;
use std::fs::OpenOptions;
use std::os::unix::fs::OpenOptionsExt;
use std::panic::AssertUnwindSafe;
use std::panic::catch_unwind;
use std::path::Path;
use std::sync::Arc;

use redb::Database;
use redb::DatabaseError;
use redb::ReadableDatabase;
use redb::ReadableTable;
use redb::TableDefinition;
use redb::backends::FileBackend;

use super::Batch;
use super::Engine;
use super::Loaded;
use crate::Entry;
use crate::Event;
use crate::Revision;
use crate::history::Gap;

mod record;

const ENTRIES: TableDefinition<'_, &str, &[u8]> = TableDefinition::new("entries");
const HISTORY: TableDefinition<'_, u64, &[u8]> = TableDefinition::new("history");
const GAPS: TableDefinition<'_, u64, u64> = TableDefinition::new("gaps");
const META: TableDefinition<'_, &str, u64> = TableDefinition::new("meta");

const LAST: &str = "last";
const RESERVED: &str = "reserved";
const FLOOR: &str = "floor";
const FORMAT: &str = "format";

/// The layout described above.
const FORMAT_VERSION: u64 = 1;
/// Pages redb may cache, in bytes. The state is in memory already; the cache only has to hold the
/// upper levels of the trees between two commits.
const CACHE_BYTES: usize = 1024 * 1024;
/// History is dropped from the file when this many revisions can go, so that most commits do not
/// touch its old end.
const PRUNE_REVISIONS: u64 = 512;
/// Only the owner may read the file: it holds secrets.
const FILE_MODE: u32 = 0o600;

/// A store's file.
#[derive(Debug)]
pub(crate) struct Embedded {
    database: Database,
    /// History on disk begins after this revision.
    floor: Revision,
}

impl Embedded {
    /// Opens or creates a file and reads all of it.
    pub(crate) fn open(path: &Path) -> Result<(Embedded, Loaded), String> {
        let shown = path.display();
        let file = open_file(path).map_err(|error| format!("{shown} cannot be opened: {error}"))?;
        // redb may panic on a file that something else has written into.
        let opened = catch_unwind(AssertUnwindSafe(|| open_database(file)));
        opened
            .map_err(|_| format!("{shown} is damaged; restore it from a copy or move it away"))?
            .map_err(|error| format!("{shown} {error}"))
    }
}

impl Engine for Embedded {
    fn commit(&mut self, batch: &Batch<'_>) -> Result<(), String> {
        let committed = catch_unwind(AssertUnwindSafe(|| self.write(batch)));
        committed
            .map_err(|_| "the embedded database panicked".to_owned())?
            .map_err(|error| error.to_string())
    }
}

impl Embedded {
    fn write(&mut self, batch: &Batch<'_>) -> Result<(), redb::Error> {
        let transaction = self.database.begin_write()?;
        let prune = batch.floor >= self.floor + PRUNE_REVISIONS;
        {
            let mut entries = transaction.open_table(ENTRIES)?;
            let mut history = transaction.open_table(HISTORY)?;
            for event in batch.events {
                match &event.value {
                    Some(entry) => {
                        entries.insert(&*event.key, record::entry(entry).as_slice())?;
                    }
                    None => {
                        entries.remove(&*event.key)?;
                    }
                }
                history.insert(event.revision, record::undo(event).as_slice())?;
            }
            let mut meta = transaction.open_table(META)?;
            if prune {
                history.retain_in(..=batch.floor, |_, _| false)?;
                let mut gaps = transaction.open_table(GAPS)?;
                gaps.retain(|_, until| until > batch.floor)?;
                meta.insert(FLOOR, batch.floor)?;
            }
            meta.insert(LAST, batch.last)?;
            meta.insert(RESERVED, batch.reserved)?;
        }
        transaction.commit()?;
        if prune {
            self.floor = batch.floor;
        }
        Ok(())
    }
}

fn open_file(path: &Path) -> std::io::Result<File> {
    OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(FILE_MODE)
        .open(path)
}

/// Why a file is not usable, worded to follow its name.
#[derive(Debug, thiserror::Error)]
enum OpenError {
    #[error("is in use by another process; stop it or choose another data folder")]
    InUse,
    #[error("was written by another version (format {0}, this one reads {FORMAT_VERSION})")]
    Format(u64),
    #[error("holds a record that cannot be read; restore it from a copy or move it away")]
    Damaged,
    #[error("cannot be used: {0}")]
    Database(#[from] redb::Error),
}

fn open_database(file: File) -> Result<(Embedded, Loaded), OpenError> {
    let opened = Database::builder()
        .set_cache_size(CACHE_BYTES)
        .create_with_backend(FileBackend::new(file).map_err(open_error)?);
    let database = opened.map_err(open_error)?;
    let is_new = prepare(&database)?;
    let mut loaded = load(&database)?;
    let embedded = Embedded {
        floor: loaded.floor,
        database,
    };
    if !is_new && loaded.reserved > loaded.revision {
        recover(&embedded.database, &mut loaded)?;
    }
    Ok((embedded, loaded))
}

fn open_error(error: DatabaseError) -> OpenError {
    match error {
        DatabaseError::DatabaseAlreadyOpen => OpenError::InUse,
        error => OpenError::Database(error.into()),
    }
}

/// Runs redb's fallible steps with one error type.
fn with<T>(steps: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, OpenError> {
    steps().map_err(OpenError::Database)
}

/// Creates the tables of a new file; says whether it is new.
fn prepare(database: &Database) -> Result<bool, OpenError> {
    let read = with(|| Ok(database.begin_read()?))?;
    match read.open_table(META) {
        Ok(meta) => {
            let format = with(|| Ok(meta.get(FORMAT)?.map(|value| value.value())))?;
            match format {
                Some(FORMAT_VERSION) => Ok(false),
                other => Err(OpenError::Format(other.unwrap_or_default())),
            }
        }
        Err(redb::TableError::TableDoesNotExist(_)) => {
            drop(read);
            with(|| {
                let transaction = database.begin_write()?;
                transaction
                    .open_table(META)?
                    .insert(FORMAT, FORMAT_VERSION)?;
                transaction.open_table(ENTRIES)?;
                transaction.open_table(HISTORY)?;
                transaction.open_table(GAPS)?;
                transaction.commit()?;
                Ok(())
            })?;
            Ok(true)
        }
        Err(error) => Err(OpenError::Database(error.into())),
    }
}

/// Reads the whole file.
fn load(database: &Database) -> Result<Loaded, OpenError> {
    let mut loaded = Loaded::default();
    let read = with(|| Ok(database.begin_read()?))?;
    let meta = with(|| Ok(read.open_table(META)?))?;
    let number = |name: &str| with(|| Ok(meta.get(name)?.map_or(0, |value| value.value())));
    loaded.revision = number(LAST)?;
    loaded.reserved = number(RESERVED)?;
    loaded.floor = number(FLOOR)?;
    let gaps = with(|| Ok(read.open_table(GAPS)?))?;
    for row in with(|| Ok(gaps.iter()?))? {
        let (after, until) = with(|| Ok(row?))?;
        loaded.gaps.push(Gap {
            after: after.value(),
            until: until.value(),
        });
    }
    let entries = with(|| Ok(read.open_table(ENTRIES)?))?;
    for row in with(|| Ok(entries.iter()?))? {
        let (key, bytes) = with(|| Ok(row?))?;
        let key: Arc<str> = Arc::from(key.value());
        let entry = record::read_entry(&key, bytes.value()).ok_or(OpenError::Damaged)?;
        loaded.entries.insert(key, Arc::new(entry));
    }
    let history = with(|| Ok(read.open_table(HISTORY)?))?;
    let mut undone: std::collections::HashMap<Arc<str>, Option<Arc<Entry>>> = Default::default();
    for row in with(|| Ok(history.iter()?))?.rev() {
        let (revision, bytes) = with(|| Ok(row?))?;
        let undo = record::read_undo(bytes.value()).ok_or(OpenError::Damaged)?;
        // Keys are shared with the present where it has them.
        let present = loaded.entries.get(&*undo.key);
        let key = present.map_or_else(|| Arc::from(&*undo.key), |entry| entry.key.clone());
        let after = undone.get(&key).cloned().unwrap_or(present.cloned());
        let previous = undo.previous(&key).map(Arc::new);
        undone.insert(key.clone(), previous.clone());
        loaded.events.push(Arc::new(Event {
            revision: revision.value(),
            key,
            value: after,
            previous,
            tombstone: undo.tombstone,
        }));
    }
    loaded.events.reverse();
    Ok(loaded)
}

/// After a crash: the reserved revisions may have been seen, so the store goes on beyond them and
/// remembers that nobody can resume from among them.
fn recover(database: &Database, loaded: &mut Loaded) -> Result<(), OpenError> {
    let gap = Gap {
        after: loaded.revision,
        until: loaded.reserved,
    };
    let revision = gap.until + 1;
    with(|| {
        let transaction = database.begin_write()?;
        transaction.open_table(GAPS)?.insert(gap.after, gap.until)?;
        {
            let mut meta = transaction.open_table(META)?;
            meta.insert(LAST, revision)?;
            meta.insert(RESERVED, revision)?;
        }
        transaction.commit()?;
        Ok(())
    })?;
    loaded.gaps.push(gap);
    loaded.revision = revision;
    loaded.reserved = revision;
    Ok(())
}
