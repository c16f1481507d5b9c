//! Clusters, contexts and users alike: named, and marked by the host that wrote them.

use super::NamedCluster;
use super::NamedContext;
use super::NamedUser;
use super::OWNER_EXTENSION;
use serde_json::Value;
use std::collections::BTreeMap;

/// What the three kinds of entries have in common.
pub(super) trait Entry {
    const KIND: &'static str;

    fn name(&self) -> &str;

    fn other(&self) -> &BTreeMap<String, Value>;

    /// The mark of the host that wrote the entry.
    fn owner(&self) -> Option<&str> {
        let extensions = self.other().get("extensions")?.as_array()?;
        let named = |extension: &&Value| {
            extension.get("name").and_then(Value::as_str) == Some(OWNER_EXTENSION)
        };
        let mark = extensions.iter().find(named)?;
        mark.get("extension")?.get("id")?.as_str()
    }
}

macro_rules! entry {
    ($type:ty, $field:ident, $kind:literal) => {
        impl Entry for $type {
            const KIND: &'static str = $kind;

            fn name(&self) -> &str {
                &self.name
            }

            fn other(&self) -> &BTreeMap<String, Value> {
                &self.$field.other
            }
        }
    };
}

entry!(NamedCluster, cluster, "cluster");
entry!(NamedContext, context, "context");
entry!(NamedUser, user, "user");

/// Names the entries that exist, differ and are not marked as `owner`'s.
pub(super) fn conflicts_of<E: Entry + PartialEq>(
    existing: &[E],
    added: &[E],
    owner: &str,
    conflicts: &mut Vec<String>,
) {
    for entry in added {
        let namesake = existing.iter().find(|other| other.name() == entry.name());
        if namesake.is_some_and(|other| other != entry && other.owner() != Some(owner)) {
            conflicts.push(format!("{} {:?}", E::KIND, entry.name()));
        }
    }
}

/// Replaces entries of the same names and appends the others.
pub(super) fn put_all<E: Entry>(existing: &mut Vec<E>, added: Vec<E>) {
    for entry in added {
        match existing
            .iter_mut()
            .find(|other| other.name() == entry.name())
        {
            Some(place) => *place = entry,
            None => existing.push(entry),
        }
    }
}

/// Removes the entry of this name if it carries the mark of `owner`.
pub(super) fn remove_owned<E: Entry>(entries: &mut Vec<E>, name: &str, owner: &str) {
    entries.retain(|entry| entry.name() != name || entry.owner() != Some(owner));
}
