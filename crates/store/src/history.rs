//! The recent past: a ring of events bounded in number and bytes.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::Error;
use crate::Event;
use crate::Options;
use crate::Revision;

/// Bytes an event takes beside its texts: the event, its entry, and their reference counts.
const EVENT_OVERHEAD_BYTES: usize = 224;

/// Revisions that a crash lost: reserved, perhaps seen by clients, and never on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Gap {
    /// The last revision on disk before the crash.
    pub(crate) after: Revision,
    /// The last revision that may have been seen before the crash.
    pub(crate) until: Revision,
}

/// The recent events, oldest first.
#[derive(Debug)]
pub(crate) struct History {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    events_max: usize,
    bytes_max: usize,
    /// Every event after this revision is kept.
    floor: Revision,
    gaps: Vec<Gap>,
}

impl History {
    pub(crate) fn new(options: &Options, floor: Revision, gaps: Vec<Gap>) -> History {
        History {
            events: VecDeque::new(),
            bytes: 0,
            events_max: options.history_events_max,
            bytes_max: options.history_bytes_max,
            floor,
            gaps,
        }
    }

    /// Every event after this revision is kept.
    pub(crate) fn floor(&self) -> Revision {
        self.floor
    }

    /// Appends the newest event and drops the oldest beyond the limits.
    pub(crate) fn push(&mut self, event: Arc<Event>) {
        self.bytes += size(&event);
        self.events.push_back(event);
        while self.events.len() > self.events_max || self.bytes > self.bytes_max {
            let Some(oldest) = self.events.pop_front() else {
                break;
            };
            self.bytes -= size(&oldest);
            self.floor = oldest.revision;
        }
        let floor = self.floor;
        self.gaps.retain(|gap| gap.until > floor);
    }

    /// The events after `from`, oldest first.
    pub(crate) fn after(
        &self,
        from: Revision,
    ) -> Result<impl DoubleEndedIterator<Item = &Arc<Event>>, Error> {
        let lost = |gap: &Gap| gap.after < from && from <= gap.until;
        if from < self.floor || self.gaps.iter().any(lost) {
            return Err(Error::Compacted {
                wanted: from,
                oldest: self.floor,
            });
        }
        let start = self.events.partition_point(|event| event.revision <= from);
        Ok(self.events.range(start..))
    }
}

/// What an event costs: the value before it, which only history keeps alive, and the rest.
fn size(event: &Event) -> usize {
    let previous = event.previous.as_ref().map_or(0, |entry| entry.value.len());
    let tombstone = event.tombstone.as_ref().map_or(0, bytes::Bytes::len);
    EVENT_OVERHEAD_BYTES + event.key.len() + previous + tombstone
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(revision: Revision, bytes: usize) -> Arc<Event> {
        Arc::new(Event {
            revision,
            key: Arc::from("k"),
            value: None,
            previous: None,
            tombstone: Some(vec![0; bytes].into()),
        })
    }

    fn history(events_max: usize, bytes_max: usize) -> History {
        let options = Options {
            history_events_max: events_max,
            history_bytes_max: bytes_max,
            ..Options::default()
        };
        let gap = Gap { after: 4, until: 9 };
        History::new(&options, 0, vec![gap])
    }

    fn revisions(history: &History, from: Revision) -> Result<Vec<Revision>, String> {
        let events = history.after(from).map_err(|error| error.to_string())?;
        Ok(events.map(|event| event.revision).collect())
    }

    #[test]
    fn the_oldest_events_go_first_and_asking_for_them_is_an_error() {
        let mut history = history(3, usize::MAX);
        (1..=4).for_each(|revision| history.push(event(revision, 0)));
        assert_eq!(revisions(&history, 1), Ok(vec![2, 3, 4]));
        assert_eq!(revisions(&history, 4), Ok(vec![]));
        assert_eq!(
            revisions(&history, 0),
            Err("revision 0 is older than the oldest kept revision 1".to_owned())
        );
    }

    #[test]
    fn bytes_are_bounded_too() {
        let mut history = history(usize::MAX, 2 * EVENT_OVERHEAD_BYTES + 1000);
        history.push(event(1, 900));
        history.push(event(2, 90));
        assert_eq!(revisions(&history, 0), Ok(vec![1, 2]));
        history.push(event(3, 90));
        assert_eq!(history.floor(), 1);
    }

    #[test]
    fn revisions_lost_in_a_crash_cannot_be_resumed_from() {
        let mut history = history(100, usize::MAX);
        history.push(event(4, 0));
        history.push(event(11, 0));
        assert_eq!(revisions(&history, 4), Ok(vec![11]));
        assert!(revisions(&history, 5).is_err());
        assert!(revisions(&history, 9).is_err());
        assert_eq!(revisions(&history, 10), Ok(vec![11]));
    }
}
