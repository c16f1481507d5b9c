//! The byte layout of the file's records; numbers are big-endian.

use std::sync::Arc;

use bytes::Bytes;

use crate::Entry;
use crate::Event;
use crate::Revision;

/// Set when the change was a deletion.
const DELETED: u8 = 1;
/// Set when the key existed before the change.
const HAD_PREVIOUS: u8 = 2;

/// `created (8), modified (8), value`.
pub(super) fn entry(entry: &Entry) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(16 + entry.value.len());
    bytes.extend_from_slice(&entry.created.to_be_bytes());
    bytes.extend_from_slice(&entry.modified.to_be_bytes());
    bytes.extend_from_slice(&entry.value);
    bytes
}

/// Reads what [`entry`] writes.
pub(super) fn read_entry(key: &Arc<str>, bytes: &[u8]) -> Option<Entry> {
    let (created, bytes) = number(bytes)?;
    let (modified, value) = number(bytes)?;
    Some(Entry {
        key: key.clone(),
        value: Bytes::copy_from_slice(value),
        created,
        modified,
    })
}

/// How to undo a change.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Undo {
    pub(super) key: String,
    pub(super) tombstone: Option<Bytes>,
    previous: Option<(Revision, Revision, Bytes)>,
}

impl Undo {
    /// The entry the change replaced.
    pub(super) fn previous(&self, key: &Arc<str>) -> Option<Entry> {
        let (created, modified, value) = self.previous.clone()?;
        Some(Entry {
            key: key.clone(),
            value,
            created,
            modified,
        })
    }
}

/// `flags (1), key length (4), tombstone length (4), key, tombstone, created (8), modified (8),
/// previous value`; the last three only with [`HAD_PREVIOUS`].
pub(super) fn undo(event: &Event) -> Vec<u8> {
    let tombstone = event.tombstone.as_deref().unwrap_or_default();
    let previous = event.previous.as_deref();
    let deleted = if event.value.is_none() { DELETED } else { 0 };
    let had_previous = if previous.is_some() { HAD_PREVIOUS } else { 0 };
    let length = |bytes: usize| u32::try_from(bytes).unwrap_or(u32::MAX).to_be_bytes();
    let mut bytes = vec![deleted | had_previous];
    bytes.extend_from_slice(&length(event.key.len()));
    bytes.extend_from_slice(&length(tombstone.len()));
    bytes.extend_from_slice(event.key.as_bytes());
    bytes.extend_from_slice(tombstone);
    if let Some(previous) = previous {
        bytes.extend_from_slice(&entry(previous));
    }
    bytes
}

/// Reads what [`undo`] writes.
pub(super) fn read_undo(bytes: &[u8]) -> Option<Undo> {
    let (&flags, bytes) = bytes.split_first()?;
    let (key_length, bytes) = length(bytes)?;
    let (tombstone_length, bytes) = length(bytes)?;
    let (key, bytes) = bytes.split_at_checked(key_length)?;
    let (tombstone, bytes) = bytes.split_at_checked(tombstone_length)?;
    let previous = if flags & HAD_PREVIOUS == 0 {
        None
    } else {
        let (created, bytes) = number(bytes)?;
        let (modified, value) = number(bytes)?;
        Some((created, modified, Bytes::copy_from_slice(value)))
    };
    Some(Undo {
        key: std::str::from_utf8(key).ok()?.to_owned(),
        tombstone: (flags & DELETED != 0).then(|| Bytes::copy_from_slice(tombstone)),
        previous,
    })
}

fn number(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((u64::from_be_bytes(*number), rest))
}

fn length(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let (number, rest) = bytes.split_first_chunk()?;
    Some((usize::try_from(u32::from_be_bytes(*number)).ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(value: bool, previous: bool) -> Event {
        let key: Arc<str> = Arc::from("core/pods/ns/name");
        let entry = |modified: Revision, value: &'static str| {
            Arc::new(Entry {
                key: key.clone(),
                value: Bytes::from_static(value.as_bytes()),
                created: 3,
                modified,
            })
        };
        Event {
            revision: 9,
            key: key.clone(),
            value: value.then(|| entry(9, "new")),
            previous: previous.then(|| entry(7, "old")),
            tombstone: (!value).then(|| Bytes::from_static(b"gone")),
        }
    }

    #[test]
    fn records_read_back() {
        for event in [sample(true, false), sample(true, true), sample(false, true)] {
            let read = read_undo(&undo(&event)).expect("a record just written");
            assert_eq!(read.key, &*event.key);
            assert_eq!(read.tombstone, event.tombstone);
            assert_eq!(
                read.previous(&event.key),
                event.previous.as_deref().cloned()
            );
            if let Some(value) = &event.value {
                let read = read_entry(&event.key, &entry(value));
                assert_eq!(read.as_ref(), Some(&**value));
            }
        }
    }

    #[test]
    fn every_truncated_record_is_noticed() {
        let whole = undo(&sample(false, true));
        let fixed = whole.len() - "old".len();
        assert!((0..fixed).all(|length| read_undo(&whole[..length]).is_none()));
    }
}
