//! Remembers verified credentials, so that a signature is checked once and not once a request.

use std::collections::HashMap;
use std::sync::Mutex;

use hyades_store::Revision;
use hyades_store::Store;
use jiff::Timestamp;
use sha2::Digest as _;
use sha2::Sha256;

use crate::identity::UserInfo;

/// How many credentials one generation of the cache holds: the certificates of 10,000 agents and
/// some tokens, at less than a kilobyte each.
const GENERATION_ENTRIES_MAX: usize = 12_288;

/// The SHA-256 digest of a credential; the credential itself is not kept.
pub type Fingerprint = [u8; 32];

/// The fingerprint of a credential.
pub fn fingerprint(credential: &[u8]) -> Fingerprint {
    Sha256::digest(credential).into()
}

/// A stored object that a credential depends on, in the state in which it was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Witness {
    /// Its store key.
    pub key: String,
    /// Its revision.
    pub revision: Revision,
}

/// A verified credential.
#[derive(Debug, Clone)]
pub struct Verified {
    /// Who it proves.
    pub user: UserInfo,
    /// The audiences it was issued for; empty for credentials that know none.
    pub audiences: Vec<String>,
    /// When it ends; `None` for credentials without an end.
    pub expires: Option<Timestamp>,
    /// The stored objects whose change calls for a new look.
    pub witnesses: Vec<Witness>,
}

impl Verified {
    /// Whether the credential still proves what it proved when it was verified.
    fn still_holds(&self, store: &Store, now: Timestamp) -> bool {
        self.expires.is_none_or(|end| now < end)
            && self.witnesses.iter().all(|witness| {
                store
                    .get(&witness.key)
                    .is_some_and(|entry| entry.modified == witness.revision)
            })
    }
}

/// Two generations of credentials: the older is dropped when the younger is full, and what is used
/// again moves up. So the cache is bounded and keeps what is in use.
#[derive(Debug, Default)]
pub struct Cache {
    generations: Mutex<Generations>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Fingerprint, Verified>,
    old: HashMap<Fingerprint, Verified>,
}

impl Generations {
    fn insert(&mut self, key: Fingerprint, verified: Verified) {
        if self.young.len() >= GENERATION_ENTRIES_MAX {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, verified);
    }
}

impl Cache {
    /// What the credential proves, if it was verified before and nothing has changed since.
    pub fn get(&self, key: &Fingerprint, store: &Store, now: Timestamp) -> Option<Verified> {
        let mut generations = self.lock();
        if let Some(verified) = generations.young.get(key) {
            if verified.still_holds(store, now) {
                return Some(verified.clone());
            }
            generations.young.remove(key);
            return None;
        }
        let verified = generations.old.remove(key)?;
        if !verified.still_holds(store, now) {
            return None;
        }
        generations.insert(*key, verified.clone());
        Some(verified)
    }

    /// Remembers a verified credential.
    pub fn put(&self, key: Fingerprint, verified: Verified) {
        self.lock().insert(key, verified);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Generations> {
        self.generations
            .lock()
            .expect("no code panics while it holds the cache")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_stays_bounded_and_keeps_the_newest() {
        let mut generations = Generations::default();
        let verified = Verified {
            user: UserInfo::anonymous(),
            audiences: Vec::new(),
            expires: None,
            witnesses: Vec::new(),
        };
        let total = 3 * GENERATION_ENTRIES_MAX;
        for number in 0..total {
            generations.insert(fingerprint(&number.to_be_bytes()), verified.clone());
        }
        assert!(generations.young.len() + generations.old.len() <= 2 * GENERATION_ENTRIES_MAX);
        let last = fingerprint(&(total - 1).to_be_bytes());
        assert!(generations.young.contains_key(&last));
    }
}
