//! Watches: the present state, when asked for, then every change of the scope, once and in order.
//!
//! ```text
//!  initial entries ▶ bookmark "initial-events-end" ▶ live events ⟳ bookmarks ▶ time-out
//! ```
//!
//! A stream is pulled by its client. One that does not read falls behind in the store's history and
//! is cut with 410; it never holds anything up. An idle stream waits on three timers and one wake-up
//! and costs nothing. Whoever loses the right to watch sees nothing more: the stream ends.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use bytes::BytesMut;
use futures::Stream;
use http_body::Frame;
use hyades_store::Entry;
use hyades_store::Event;
use hyades_store::Revision;
use rand::RngExt;
use tokio::time::Instant;

use crate::cache::EncodingKey;
use crate::conversion;
use crate::core::Core;
use crate::core::Place;
use crate::core::store_failed;
use crate::encode;
use crate::encode::IncludeObject;
use crate::identity::UserInfo;
use crate::list;
use crate::list::ListOptions;
use crate::names;
use crate::negotiate::Representation;
use crate::negotiate::Shape;
use crate::object;
use crate::object::Encoded;
use crate::query;
use crate::query::Query;
use crate::read;
use crate::selection::Selection;
use crate::server::Granted;
use crate::status::Status;

/// How often an idle watch that asks for bookmarks gets one; upstream's interval.
const BOOKMARK_INTERVAL: Duration = Duration::from_secs(60);

/// A watch without timeoutSeconds ends after a random time between this and twice this, as
/// upstream's do, so that clients do not come back all at once.
const TIMEOUT_SECONDS_MIN: u64 = 30 * 60;

/// How long before its end a watch gets its last bookmark, so that it arrives: upstream's margin.
const LAST_BOOKMARK_MARGIN: Duration = Duration::from_secs(2);

/// How many bytes of ready events are sent in one piece, to save wake-ups under load.
const BATCH_BYTES_MAX: usize = 64 * 1024;

/// How many initial entries are encoded between two pieces; keeps the first bytes early.
const INITIAL_BATCH: usize = 256;

/// Whoever reads a watch. He is judged again when rights have changed: a watch outlives the request
/// that opened it by up to an hour, and what he may see now is not what he might then.
pub(crate) struct Reader {
    user: UserInfo,
    granted: Option<Granted>,
    /// The version of the rights by which he was judged last.
    judged_by: Option<u64>,
}

impl Reader {
    /// A user, and what he was granted.
    pub(crate) fn new(user: UserInfo, granted: Option<Granted>) -> Reader {
        Reader {
            user,
            granted,
            judged_by: None,
        }
    }

    /// Whether he may still read.
    fn may_read(&mut self, core: &Core) -> bool {
        let version = core.guard.rights_version();
        if self.judged_by == Some(version) {
            return true;
        }
        self.judged_by = Some(version);
        self.granted.as_ref().is_some_and(|granted| {
            let Granted { attributes, labels } = granted;
            let judged = core
                .guard
                .authorize_selected(&self.user, attributes, labels);
            judged.is_ok()
        })
    }
}

/// A running watch.
pub(crate) struct Watcher {
    core: Arc<Core>,
    place: Place,
    reader: Reader,
    selection: Selection,
    representation: Representation,
    include: IncludeObject,
    initial: std::vec::IntoIter<Arc<Entry>>,
    /// The revision to announce after the initial entries.
    initial_end: Option<Revision>,
    events: hyades_store::Watch,
    bookmarks: bool,
    next_bookmark: Instant,
    deadline: Instant,
    /// Whether a table event still has to carry the columns.
    columns: bool,
    ended: bool,
}

/// Where a watch starts.
#[derive(Debug, PartialEq, Eq)]
enum Start {
    /// With the present state, then live.
    Present {
        /// Whether its end is announced.
        announced: bool,
    },
    /// With the first change after a revision.
    After(Revision),
}

fn start(query: &Query) -> Result<Start, Status> {
    let version = query.first("resourceVersion").unwrap_or_default();
    let rule = query.first("resourceVersionMatch").unwrap_or_default();
    let wanted = list::revision(version)?;
    let forbidden = |field: &str, why: &str| {
        let cause = query::forbidden(field, why);
        Err(query::options_invalid("ListOptions", vec![cause]))
    };
    match query.optional_flag("sendInitialEvents") {
        Some(_) if rule != "NotOlderThan" => forbidden(
            "resourceVersionMatch",
            "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
        ),
        Some(_) if !query.flag("allowWatchBookmarks") => forbidden(
            "allowWatchBookmarks",
            "sendInitialEvents requires setting allowWatchBookmarks to true",
        ),
        Some(true) => Ok(Start::Present { announced: true }),
        Some(false) if wanted == 0 => Ok(Start::Present { announced: false }),
        Some(false) => Ok(Start::After(wanted)),
        None if !rule.is_empty() => forbidden(
            "resourceVersionMatch",
            "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
        ),
        None if wanted == 0 => Ok(Start::Present { announced: false }),
        None => Ok(Start::After(wanted)),
    }
}

/// Opens a watch.
pub(crate) async fn open(
    core: &Arc<Core>,
    place: &Place,
    query: &Query,
    representation: Representation,
    reader: Reader,
) -> Result<Watcher, Status> {
    let mut selection = Selection::parse(&place.resource, query)?;
    if !place.name.is_empty() {
        selection.pin_name(&place.name);
    }
    // A watch of one name is told about that key only, and is not woken for others.
    let scope = selection
        .key(place)
        .unwrap_or_else(|| names::scope_prefix(&place.resource.prefix, &place.namespace));
    let start = start(query)?;
    let (initial, from, initial_end) = match start {
        Start::After(revision) => (Vec::new(), revision, None),
        Start::Present { announced } => {
            let wanted = list::revision(query.first("resourceVersion").unwrap_or_default())?;
            let newest = core.store.revision();
            if wanted > newest {
                return Err(Status::future_revision(wanted, newest));
            }
            let options = ListOptions::present(selection.clone());
            let listing = list::list(core, place, &options)?;
            let end = announced.then_some(listing.revision);
            let entries = conversion::entries(&place.resource, listing.entries).await?;
            (entries, listing.revision, end)
        }
    };
    let events = core.store.watch(&scope, from).map_err(store_failed)?;
    let timeout = match query.number("timeoutSeconds")? {
        Some(seconds) if seconds > 0 => u64::try_from(seconds).unwrap_or(TIMEOUT_SECONDS_MIN),
        _ => rand::rng().random_range(TIMEOUT_SECONDS_MIN..2 * TIMEOUT_SECONDS_MIN),
    };
    let now = Instant::now();
    let deadline = now + Duration::from_secs(timeout.min(u64::from(u32::MAX)));
    Ok(Watcher {
        core: Arc::clone(core),
        place: place.clone(),
        reader,
        selection,
        representation,
        include: IncludeObject::parse(query),
        initial: initial.into_iter(),
        initial_end,
        events,
        bookmarks: query.flag("allowWatchBookmarks"),
        next_bookmark: next_bookmark(now, deadline),
        deadline,
        columns: true,
        ended: false,
    })
}

/// When the next bookmark is due: each interval, and once shortly before the end.
fn next_bookmark(now: Instant, deadline: Instant) -> Instant {
    let last = deadline - LAST_BOOKMARK_MARGIN;
    let regular = now + BOOKMARK_INTERVAL;
    if now < last {
        regular.min(last)
    } else {
        regular
    }
}

/// How an event looks to a watcher with a selection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Seen {
    Added,
    Modified,
    Deleted,
}

impl Seen {
    fn as_str(self) -> &'static str {
        match self {
            Seen::Added => "ADDED",
            Seen::Modified => "MODIFIED",
            Seen::Deleted => "DELETED",
        }
    }
}

/// An object that enters the selection is added, one that leaves it is deleted.
fn seen(before: bool, after: bool) -> Option<Seen> {
    match (before, after) {
        (false, true) => Some(Seen::Added),
        (true, true) => Some(Seen::Modified),
        (true, false) => Some(Seen::Deleted),
        (false, false) => None,
    }
}

impl Watcher {
    /// The stream of the response's body.
    pub(crate) fn into_stream(
        self,
    ) -> impl Stream<Item = Result<Frame<Bytes>, Infallible>> + Send + 'static {
        futures::stream::unfold(self, |mut watcher| async move {
            let bytes = watcher.next_bytes().await?;
            Some((Ok(Frame::data(bytes)), watcher))
        })
    }

    /// The next piece to send; `None` at the end.
    async fn next_bytes(&mut self) -> Option<Bytes> {
        if self.ended {
            return None;
        }
        let core = Arc::clone(&self.core);
        if !self.reader.may_read(&core) {
            return None;
        }
        if let Some(bytes) = self.next_initial() {
            return Some(bytes);
        }
        loop {
            tokio::select! {
                biased;
                () = core.stop.cancelled() => return None,
                event = self.events.next() => {
                    // Rights follow a write before its event is out, so none is shown too late.
                    if !self.reader.may_read(&core) {
                        return None;
                    }
                    let bytes = self.live_shown(event).await;
                    if !bytes.is_empty() {
                        return Some(bytes);
                    }
                    if self.ended {
                        return None;
                    }
                }
                () = tokio::time::sleep_until(self.deadline) => {
                    return None;
                }
                () = tokio::time::sleep_until(self.next_bookmark), if self.bookmarks => {
                    self.next_bookmark = next_bookmark(Instant::now(), self.deadline);
                    if let Some(bytes) = self.bookmark() {
                        return Some(bytes);
                    }
                }
            }
        }
    }

    /// The next piece of the initial state, its announced end included.
    fn next_initial(&mut self) -> Option<Bytes> {
        let mut bytes = BytesMut::new();
        for _ in 0..INITIAL_BATCH {
            let Some(entry) = self.initial.next() else {
                break;
            };
            let shown = read::in_version(&self.place.resource, &entry.value);
            bytes.extend_from_slice(&self.encode(Seen::Added, &shown));
            if bytes.len() > BATCH_BYTES_MAX {
                return Some(bytes.freeze());
            }
        }
        if self.initial.len() == 0
            && let Some(revision) = self.initial_end.take()
        {
            let bookmark = encode::bookmark(
                self.representation.shape,
                &self.place.resource,
                revision,
                true,
            );
            let frame = encode::watch_frame(self.representation.encoding, "BOOKMARK", &bookmark);
            bytes.extend_from_slice(&frame.unwrap_or_default());
        }
        (!bytes.is_empty()).then(|| bytes.freeze())
    }

    /// Encodes an event after conversion, if its resource needs one: one at a time then.
    async fn live_shown(&mut self, event: Result<Arc<Event>, hyades_store::Error>) -> Bytes {
        let (true, Ok(event)) = (conversion::is_remote(&self.place.resource), &event) else {
            return self.live(event);
        };
        match conversion::event(&self.place.resource, Arc::clone(event)).await {
            Ok(event) => self.event(&event).unwrap_or_default(),
            Err(status) => {
                // Skipping the event would leave the client with a wrong picture for good.
                self.ended = true;
                let encoding = self.representation.encoding;
                encode::watch_frame(encoding, "ERROR", &status.to_value()).unwrap_or_default()
            }
        }
    }

    /// Encodes an event, and whatever else is ready.
    fn live(&mut self, first: Result<Arc<Event>, hyades_store::Error>) -> Bytes {
        let mut next = first.map(Some);
        let mut bytes = BytesMut::new();
        loop {
            match next {
                Ok(Some(event)) => {
                    if let Some(frame) = self.event(&event) {
                        bytes.extend_from_slice(&frame);
                    }
                }
                Ok(None) => return bytes.freeze(),
                Err(error) => {
                    self.ended = true;
                    bytes.extend_from_slice(&self.failure(error));
                    return bytes.freeze();
                }
            }
            if bytes.len() > BATCH_BYTES_MAX {
                return bytes.freeze();
            }
            next = self.events.try_next();
        }
    }

    /// The error event that tells a client to list anew. A space that stops just ends its watches.
    fn failure(&self, error: hyades_store::Error) -> Bytes {
        let status = store_failed(error);
        if status.code != 410 {
            return Bytes::new();
        }
        encode::watch_frame(self.representation.encoding, "ERROR", &status.to_value())
            .unwrap_or_default()
    }

    fn bookmark(&self) -> Option<Bytes> {
        let revision = self.events.progress();
        let shape = self.representation.shape;
        let bookmark = encode::bookmark(shape, &self.place.resource, revision, false);
        encode::watch_frame(self.representation.encoding, "BOOKMARK", &bookmark).ok()
    }

    /// An event as this watcher sees it, if it does.
    fn event(&mut self, event: &Event) -> Option<Bytes> {
        let matches = |entry: &Option<Arc<Entry>>| {
            entry
                .as_ref()
                .is_some_and(|entry| self.selection.matches(&entry.key, &entry.value))
        };
        let seen = seen(matches(&event.previous), matches(&event.value))?;
        let core = Arc::clone(&self.core);
        let table = self.representation.shape == Shape::Table;
        let key = EncodingKey {
            revision: event.revision,
            kind: seen.as_str(),
            representation: self.representation.token(),
            api_version: self.place.resource.api_version(),
        };
        let mut encode = || {
            let shown = shown(seen, event);
            let shown = read::in_version(&self.place.resource, &shown);
            self.encode(seen, &shown)
        };
        // Tables depend on includeObject and on what the stream has sent before.
        Some(if table {
            encode()
        } else {
            core.events.get(key, encode)
        })
    }

    fn encode(&mut self, seen: Seen, bytes: &Bytes) -> Bytes {
        let columns = std::mem::take(&mut self.columns);
        let encoded = encode::watch_event(
            self.representation,
            &self.place.resource,
            seen.as_str(),
            bytes,
            self.include,
            columns,
        );
        encoded.unwrap_or_else(|status| {
            tracing::warn!(resource = %self.place.resource.gvr, %status, "an event does not encode");
            Bytes::new()
        })
    }
}

/// The object that an event shows: the new one, or for one that is gone from view the last one seen,
/// at the revision of its going.
fn shown(seen: Seen, event: &Event) -> Bytes {
    match (seen, &event.value, &event.tombstone, &event.previous) {
        (Seen::Added | Seen::Modified, Some(entry), ..) => entry.value.clone(),
        (Seen::Deleted, None, Some(tombstone), _) => tombstone.clone(),
        (Seen::Deleted, _, _, Some(previous)) => {
            Encoded::new(&object::decode(&previous.value)).at(event.revision)
        }
        _ => Bytes::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_enter_and_leave_a_selection() {
        assert_eq!(seen(false, true), Some(Seen::Added));
        assert_eq!(seen(true, true), Some(Seen::Modified));
        assert_eq!(seen(true, false), Some(Seen::Deleted));
        assert_eq!(seen(false, false), None);
    }

    #[test]
    fn the_start_follows_the_rules_of_streaming_lists() {
        let start = |text: &str| start(&Query::parse(text));
        assert_eq!(start("").unwrap(), Start::Present { announced: false });
        assert_eq!(start("resourceVersion=7").unwrap(), Start::After(7));
        let streaming =
            "sendInitialEvents=true&resourceVersionMatch=NotOlderThan&allowWatchBookmarks=true";
        assert_eq!(
            start(streaming).unwrap(),
            Start::Present { announced: true }
        );
        assert_eq!(
            start("sendInitialEvents=true").unwrap_err().message,
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
             sendInitialEvents requires setting resourceVersionMatch to NotOlderThan"
        );
    }
}
