//! Encoded watch events, shared by all their watchers.
//!
//! An event is encoded once for each representation asked for. Watchers of one event arrive close
//! together, so a short memory is enough; one that comes late encodes anew and loses nothing.

use std::collections::HashMap;
use std::collections::VecDeque;
use std::sync::Mutex;

use bytes::Bytes;
use hyades_store::Revision;

/// How many encoded events are remembered. At 10,000 events a second this is the span of 50 ms in
/// which all watchers of an event have usually been woken.
const EVENTS_MAX: usize = 512;

/// How many bytes of encoded events are remembered: 512 events of 2 KiB, the size of an ordinary
/// object.
const BYTES_MAX: usize = 1024 * 1024;

/// What distinguishes encodings of the same event: its type as the watcher sees it, and the shape,
/// encoding and apiVersion it asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct EncodingKey {
    /// The event's revision.
    pub(crate) revision: Revision,
    /// `ADDED`, `MODIFIED` or `DELETED`.
    pub(crate) kind: &'static str,
    /// See [`crate::negotiate::Representation::token`].
    pub(crate) representation: u8,
    /// The apiVersion the watcher reads.
    pub(crate) api_version: String,
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct EventCache {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    encoded: HashMap<EncodingKey, Bytes>,
    order: VecDeque<EncodingKey>,
    bytes: usize,
}

impl EventCache {
    /// The encoded event, made by `encode` unless it is remembered.
    pub(crate) fn get(&self, key: EncodingKey, encode: impl FnOnce() -> Bytes) -> Bytes {
        if let Some(bytes) = self.lock().encoded.get(&key) {
            return bytes.clone();
        }
        // Encoding happens outside the lock: two first watchers may both do it, which is cheaper
        // than making all others wait.
        let bytes = encode();
        self.lock().remember(key, bytes.clone());
        bytes
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|error| error.into_inner())
    }
}

impl Inner {
    fn remember(&mut self, key: EncodingKey, bytes: Bytes) {
        if self.encoded.contains_key(&key) {
            return;
        }
        self.bytes += bytes.len();
        self.encoded.insert(key.clone(), bytes);
        self.order.push_back(key);
        while self.order.len() > EVENTS_MAX || self.bytes > BYTES_MAX {
            let Some(oldest) = self.order.pop_front() else {
                break;
            };
            if let Some(bytes) = self.encoded.remove(&oldest) {
                self.bytes -= bytes.len();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_encoded_once_and_forgotten_in_time() {
        let cache = EventCache::default();
        let key = |revision| EncodingKey {
            revision,
            kind: "ADDED",
            representation: 0,
            api_version: "v1".to_owned(),
        };
        let first = cache.get(key(0), || Bytes::from_static(b"a"));
        let again = cache.get(key(0), || unreachable!("it is remembered"));
        assert_eq!(first, again);
        for revision in 1..=EVENTS_MAX as u64 {
            cache.get(key(revision), || Bytes::from_static(b"b"));
        }
        assert_eq!(cache.lock().encoded.len(), EVENTS_MAX);
        assert_eq!(
            cache.get(key(0), || Bytes::from_static(b"c")),
            Bytes::from_static(b"c")
        );
    }
}
