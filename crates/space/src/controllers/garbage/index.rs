//! Who owns whom: owner references of all stored objects, both ways, fed by a store hook.

use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::VecDeque;

use hyades_store::Event;
use serde::Deserialize;

use crate::object;

/// How many deletions are remembered, to tell an owner that was just deleted from one that never
/// was where the reference looks for it. Forgetting one costs a look through its resource.
const RECENT_DELETIONS_MAX: usize = 4096;

/// One owner reference.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Owner {
    /// The owner's apiVersion.
    #[serde(default)]
    pub api_version: String,
    /// Its kind.
    #[serde(default)]
    pub kind: String,
    /// Its name; it lives in the dependent's namespace or in none.
    #[serde(default)]
    pub name: String,
    /// Its uid.
    #[serde(default)]
    pub uid: String,
    /// Whether the dependent holds up the owner's foreground deletion.
    #[serde(default)]
    pub block_owner_deletion: bool,
}

/// What the collector looks at.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Item {
    /// A stored object, by its key.
    Object(String),
    /// The owner a reference in a namespace names.
    Owner(String, Owner),
}

#[derive(Deserialize)]
struct Referring {
    #[serde(default)]
    metadata: ReferringMetadata,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ReferringMetadata {
    #[serde(default)]
    owner_references: Vec<Owner>,
}

/// The owners an object names.
pub fn owners_in(bytes: &[u8]) -> Vec<Owner> {
    // Most objects have no owner, and reading all of every lease for that would be waste.
    if !mentions(bytes, "\"ownerReferences\"") {
        return Vec::new();
    }
    serde_json::from_slice::<Referring>(bytes)
        .map(|object| object.metadata.owner_references)
        .unwrap_or_default()
}

fn mentions(bytes: &[u8], text: &str) -> bool {
    std::str::from_utf8(bytes).is_ok_and(|bytes| bytes.contains(text))
}

/// Owner references both ways.
#[derive(Debug, Default)]
pub struct OwnerIndex {
    owners: HashMap<String, Vec<Owner>>,
    dependents: HashMap<String, BTreeSet<String>>,
    recently_deleted: VecDeque<String>,
}

impl OwnerIndex {
    /// Takes in a change and says what to look at because of it.
    pub fn apply(&mut self, event: &Event) -> Vec<Item> {
        let key = event.key.to_string();
        let namespace = namespace_of(&key);
        let old = self.forget(&key);
        let mut items = Vec::new();
        let owners = match &event.value {
            Some(entry) => {
                let owners = owners_in(&entry.value);
                if (!owners.is_empty() && owners != old) || waits(&entry.value) {
                    items.push(Item::Object(key.clone()));
                }
                owners
            }
            None => {
                let uid = event
                    .previous
                    .as_ref()
                    .map(|entry| object::glance(&entry.value).metadata.uid.into_owned())
                    .unwrap_or_default();
                items.extend(
                    self.dependents_of(&uid)
                        .map(|key| Item::Object(key.to_owned())),
                );
                self.remember_deletion(uid);
                Vec::new()
            }
        };
        // An owner that waits for its dependents looks again when one is gone or lets go.
        items.extend(
            old.into_iter()
                .filter(|owner| !owners.contains(owner))
                .map(|owner| Item::Owner(namespace.clone(), owner)),
        );
        self.note(key, owners);
        items
    }

    fn forget(&mut self, key: &str) -> Vec<Owner> {
        let owners = self.owners.remove(key).unwrap_or_default();
        for owner in &owners {
            if let Some(dependents) = self.dependents.get_mut(&owner.uid) {
                dependents.remove(key);
                if dependents.is_empty() {
                    self.dependents.remove(&owner.uid);
                }
            }
        }
        owners
    }

    fn note(&mut self, key: String, owners: Vec<Owner>) {
        if owners.is_empty() {
            return;
        }
        for owner in &owners {
            self.dependents
                .entry(owner.uid.clone())
                .or_default()
                .insert(key.clone());
        }
        self.owners.insert(key, owners);
    }

    fn remember_deletion(&mut self, uid: String) {
        if self.recently_deleted.len() == RECENT_DELETIONS_MAX {
            self.recently_deleted.pop_front();
        }
        self.recently_deleted.push_back(uid);
    }

    /// The keys of the objects that name this uid as an owner.
    pub fn dependents_of(&self, uid: &str) -> impl Iterator<Item = &str> {
        self.dependents
            .get(uid)
            .into_iter()
            .flatten()
            .map(String::as_str)
    }

    /// Whether a dependent holds up the foreground deletion of its owner.
    pub fn is_held_up(&self, uid: &str) -> bool {
        self.dependents_of(uid).any(|key| {
            self.owners[key]
                .iter()
                .any(|owner| owner.uid == uid && owner.block_owner_deletion)
        })
    }

    /// Whether the object with this uid was deleted a short while ago.
    pub fn was_deleted(&self, uid: &str) -> bool {
        self.recently_deleted.iter().any(|deleted| deleted == uid)
    }
}

/// Whether a deleted object waits for the collector.
fn waits(bytes: &[u8]) -> bool {
    mentions(bytes, "\"deletionTimestamp\"")
        && (mentions(bytes, "\"foregroundDeletion\"") || mentions(bytes, "\"orphan\""))
}

fn namespace_of(key: &str) -> String {
    key.split('/').nth(2).unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use hyades_store::Entry;
    use serde_json::Value;
    use serde_json::json;

    use super::*;

    fn entry(key: &str, object: &Value) -> Option<Arc<Entry>> {
        Some(Arc::new(Entry {
            key: key.into(),
            value: serde_json::to_vec(object).unwrap().into(),
            created: 1,
            modified: 1,
        }))
    }

    fn event(key: &str, old: Option<&Value>, new: Option<&Value>) -> Event {
        Event {
            revision: 1,
            key: key.into(),
            value: new.and_then(|object| entry(key, object)),
            previous: old.and_then(|object| entry(key, object)),
            tombstone: None,
        }
    }

    fn dependent(block: bool) -> Value {
        json!({"metadata": {"uid": "d", "ownerReferences": [{"apiVersion": "v1",
            "kind": "ConfigMap", "name": "o", "uid": "o", "blockOwnerDeletion": block}]}})
    }

    #[test]
    fn a_deleted_owner_leads_to_its_dependents() {
        let mut index = OwnerIndex::default();
        let owner = json!({"metadata": {"uid": "o"}});
        assert_eq!(
            index.apply(&event("core/configmaps/n/o", None, Some(&owner))),
            []
        );
        let object = dependent(true);
        assert_eq!(
            index.apply(&event("core/configmaps/n/d", None, Some(&object))),
            [Item::Object("core/configmaps/n/d".to_owned())]
        );
        assert!(index.is_held_up("o"));
        assert_eq!(
            index.apply(&event("core/configmaps/n/o", Some(&owner), None)),
            [Item::Object("core/configmaps/n/d".to_owned())]
        );
        assert!(index.was_deleted("o"));
    }

    #[test]
    fn a_deleted_dependent_leads_to_its_owner_and_leaves_the_index() {
        let mut index = OwnerIndex::default();
        let object = dependent(true);
        index.apply(&event("core/configmaps/n/d", None, Some(&object)));
        let items = index.apply(&event("core/configmaps/n/d", Some(&object), None));
        assert!(matches!(&items[..], [Item::Owner(namespace, owner)]
                if namespace == "n" && owner.uid == "o"));
        assert!(!index.is_held_up("o"));
        assert_eq!(index.dependents.len() + index.owners.len(), 0);
    }

    #[test]
    fn a_dependent_that_does_not_block_holds_nothing_up() {
        let mut index = OwnerIndex::default();
        index.apply(&event("core/configmaps/n/d", None, Some(&dependent(false))));
        assert!(!index.is_held_up("o"));
        assert_eq!(index.dependents_of("o").count(), 1);
    }
}
