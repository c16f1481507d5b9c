//! What readers see: the whole present state in memory, and the recent past.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::Arc;

use crate::Entry;
use crate::Error;
use crate::Event;
use crate::Page;
use crate::Revision;
use crate::history::History;
use crate::types::covers;
use crate::types::is_subtree;

/// The present state and the recent past, as of one revision.
#[derive(Debug)]
pub(crate) struct Visible {
    /// The newest revision seen by readers.
    pub(crate) revision: Revision,
    pub(crate) entries: BTreeMap<Arc<str>, Arc<Entry>>,
    pub(crate) history: History,
}

impl Visible {
    /// Makes one event visible.
    pub(crate) fn apply(&mut self, event: &Arc<Event>) {
        match &event.value {
            Some(entry) => self.entries.insert(entry.key.clone(), entry.clone()),
            None => self.entries.remove(&event.key),
        };
        self.revision = event.revision;
        self.history.push(event.clone());
    }

    /// The present entries that `prefix` covers, from after `after` on.
    pub(crate) fn range<'a>(
        &'a self,
        prefix: &'a str,
        after: Option<&'a str>,
    ) -> impl Iterator<Item = &'a Arc<Entry>> {
        let start = match after {
            Some(after) if after >= prefix => Bound::Excluded(after),
            _ => Bound::Included(prefix),
        };
        self.entries
            .range::<str, _>((start, Bound::Unbounded))
            .take_while(move |(key, _)| covers(prefix, key))
            .map(|(_, entry)| entry)
    }

    /// A page of the entries that `prefix` covers; see [`crate::Store::list`].
    pub(crate) fn list(
        &self,
        prefix: &str,
        after: Option<&str>,
        limit: usize,
        at: Option<Revision>,
    ) -> Result<Page, Error> {
        let limit = if limit == 0 { usize::MAX } else { limit };
        match at {
            None => Ok(page(self.range(prefix, after), limit, self.revision)),
            Some(at) if at == self.revision => {
                Ok(page(self.range(prefix, after), limit, self.revision))
            }
            Some(at) if at > self.revision => Err(Error::Ahead {
                wanted: at,
                newest: self.revision,
            }),
            Some(at) => {
                let then = self.rewind(prefix, after, at)?;
                Ok(page(then.values(), limit, at))
            }
        }
    }

    /// The entries as they were at `at`: the present ones with every later event undone.
    fn rewind(
        &self,
        prefix: &str,
        after: Option<&str>,
        at: Revision,
    ) -> Result<BTreeMap<Arc<str>, Arc<Entry>>, Error> {
        let mut then: BTreeMap<Arc<str>, Arc<Entry>> = self
            .range(prefix, after)
            .map(|entry| (entry.key.clone(), entry.clone()))
            .collect();
        let beyond = |key: &str| after.is_none_or(|after| key > after);
        for event in self.history.after(at)?.rev() {
            if !covers(prefix, &event.key) || !beyond(&event.key) {
                continue;
            }
            match &event.previous {
                Some(previous) => then.insert(event.key.clone(), previous.clone()),
                None => then.remove(&event.key),
            };
        }
        Ok(then)
    }

    /// The events after `from` of keys that `prefix` covers, oldest first.
    pub(crate) fn events_after(
        &self,
        prefix: &str,
        from: Revision,
    ) -> Result<Vec<Arc<Event>>, Error> {
        let events = self.history.after(from)?;
        Ok(events
            .filter(|event| covers(prefix, &event.key))
            .cloned()
            .collect())
    }

    /// One entry, or all below a prefix.
    pub(crate) fn covered(&self, prefix: &str) -> Vec<Arc<Entry>> {
        if is_subtree(prefix) {
            self.range(prefix, None).cloned().collect()
        } else {
            self.entries.get(prefix).cloned().into_iter().collect()
        }
    }
}

/// Cuts a page off a listing and counts the rest.
fn page<'a>(
    mut entries: impl Iterator<Item = &'a Arc<Entry>>,
    limit: usize,
    revision: Revision,
) -> Page {
    let taken = entries.by_ref().take(limit).cloned().collect();
    Page {
        entries: taken,
        revision,
        remaining: entries.count(),
    }
}
