//! Listing: selectors, pages, and the revision at which a list is true.

use std::sync::Arc;

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use hyades_store::Entry;
use hyades_store::Revision;
use serde::Deserialize;
use serde::Serialize;
use serde_json::Value;

use crate::core::Core;
use crate::core::Place;
use crate::core::store_failed;
use crate::names;
use crate::object;
use crate::query;
use crate::query::Query;
use crate::selection::Selection;
use crate::status::Status;
use crate::strategy;

/// How many entries are looked at between two questions to the store when a page is filtered by a
/// selector: enough to amortise the question, few enough to stop soon after the page is full.
const SCAN_ENTRIES: usize = 500;

/// What a list request asks for.
#[derive(Debug, Clone, Default)]
pub(crate) struct ListOptions {
    /// What is selected.
    pub(crate) selection: Selection,
    /// At most so many items; 0 is all.
    pub(crate) limit: usize,
    /// Where the last page ended.
    after: Option<String>,
    /// The revision to be listed; the present when `None`.
    at: Option<Revision>,
    /// The list must not be older than this.
    not_older_than: Revision,
}

/// One page.
#[derive(Debug)]
pub(crate) struct Listing {
    /// The entries, in key order.
    pub(crate) entries: Vec<Arc<Entry>>,
    /// The revision at which the page is true.
    pub(crate) revision: Revision,
    /// The token of the next page; empty on the last one.
    pub(crate) next: String,
    /// How many items follow the page; unknown when a selector filters.
    pub(crate) remaining: Option<usize>,
}

/// The continue token: opaque to clients, in the shape upstream's has.
#[derive(Debug, Serialize, Deserialize)]
struct Token {
    v: String,
    rv: Revision,
    start: String,
}

const TOKEN_VERSION: &str = "meta.k8s.io/v1";

impl ListOptions {
    /// Everything selected, as it is now.
    pub(crate) fn present(selection: Selection) -> ListOptions {
        ListOptions {
            selection,
            ..ListOptions::default()
        }
    }

    /// Reads the options of a list over a scope.
    pub(crate) fn parse(
        place: &Place,
        query: &Query,
        newest: Revision,
    ) -> Result<ListOptions, Status> {
        let mut options = ListOptions {
            selection: Selection::parse(&place.resource, query)?,
            limit: usize::try_from(query.number("limit")?.unwrap_or(0)).unwrap_or(0),
            ..ListOptions::default()
        };
        let version = query.first("resourceVersion").unwrap_or_default();
        let rule = query.first("resourceVersionMatch").unwrap_or_default();
        check_match(version, rule, query)?;
        let wanted = revision(version)?;
        if let Some(token) = query.first("continue").filter(|token| !token.is_empty()) {
            if wanted > 0 {
                let message = "specifying resource version is not allowed when using continue";
                return Err(Status::bad_request(message));
            }
            let token = decode_token(token)?;
            options.at = Some(token.rv);
            let scope = names::scope_prefix(&place.resource.prefix, &place.namespace);
            options.after = Some(format!("{scope}{}", token.start));
        } else if rule == "Exact" {
            options.at = Some(wanted);
        } else {
            options.not_older_than = wanted;
        }
        if version == "0" {
            // Upstream answers such lists whole, from its cache; clients rely on no page boundary.
            options.limit = 0;
        }
        let future = options.not_older_than.max(options.at.unwrap_or(0));
        if future > newest {
            return Err(Status::future_revision(future, newest));
        }
        Ok(options)
    }
}

/// The rules about resourceVersionMatch.
fn check_match(version: &str, rule: &str, query: &Query) -> Result<(), Status> {
    let forbidden = |why: &str| {
        let cause = query::forbidden("resourceVersionMatch", why);
        Err(query::options_invalid("ListOptions", vec![cause]))
    };
    match rule {
        "" => return Ok(()),
        "Exact" | "NotOlderThan" => {}
        other => {
            let cause = query::unsupported(
                "resourceVersionMatch",
                &format!("\"{other}\""),
                "\"Exact\", \"NotOlderThan\", \"\"",
            );
            return Err(query::options_invalid("ListOptions", vec![cause]));
        }
    }
    if version.is_empty() && !query.flag("sendInitialEvents") {
        return forbidden("resourceVersionMatch is forbidden unless resourceVersion is provided");
    }
    if query
        .first("continue")
        .is_some_and(|token| !token.is_empty())
    {
        return forbidden("resourceVersionMatch is forbidden when continue is provided");
    }
    if rule == "Exact" && version == "0" {
        return forbidden("resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\"");
    }
    Ok(())
}

/// Parses a resourceVersion; absent is 0.
pub(crate) fn revision(text: &str) -> Result<Revision, Status> {
    if text.is_empty() {
        return Ok(0);
    }
    text.parse().map_err(|_| {
        Status::bad_request(format!(
            "invalid resource version: resourceVersion: Invalid value: \"{text}\": \
             strconv.ParseUint: parsing \"{text}\": invalid syntax"
        ))
    })
}

fn decode_token(text: &str) -> Result<Token, Status> {
    let invalid = |why: String| {
        Status::bad_request(format!(
            "invalid continue token: continue key is not valid: {why}"
        ))
    };
    let bytes = BASE64_URL_SAFE_NO_PAD
        .decode(text.trim_end_matches('='))
        .map_err(|error| invalid(error.to_string()))?;
    let token: Token = serde_json::from_slice(&bytes).map_err(|_| {
        let first = bytes.first().map_or(' ', |byte| char::from(*byte));
        invalid(format!(
            "invalid character '{}' looking for beginning of value",
            go_character(first)
        ))
    })?;
    if token.v == TOKEN_VERSION {
        Ok(token)
    } else {
        Err(invalid(
            "the server does not recognize its version".to_owned(),
        ))
    }
}

fn go_character(character: char) -> String {
    if character.is_control() {
        format!("\\u{:04x}", u32::from(character))
    } else {
        character.to_string()
    }
}

fn encode_token(revision: Revision, start: &str) -> String {
    let token = Token {
        v: TOKEN_VERSION.to_owned(),
        rv: revision,
        start: start.to_owned(),
    };
    BASE64_URL_SAFE_NO_PAD.encode(serde_json::to_vec(&token).unwrap_or_default())
}

/// Lists a scope.
pub(crate) fn list(core: &Core, place: &Place, options: &ListOptions) -> Result<Listing, Status> {
    let scope = names::scope_prefix(&place.resource.prefix, &place.namespace);
    if let Some(key) = options.selection.key(place)
        && options.at.is_none()
    {
        return list_one(core, options, &key);
    }
    let everything = options.selection.is_everything();
    let scan = match options.limit {
        0 => 0,
        limit if everything => limit,
        limit => limit.max(SCAN_ENTRIES),
    };
    let mut after = options.after.clone();
    let mut at = options.at;
    let mut entries: Vec<Arc<Entry>> = Vec::new();
    loop {
        let page = core
            .store
            .list(&scope, after.as_deref(), scan, at)
            .map_err(|error| page_failed(error, options))?;
        at = Some(page.revision);
        let last = page.entries.last().map(|entry| Arc::clone(&entry.key));
        let mut matching = page
            .entries
            .into_iter()
            .filter(|entry| options.selection.matches(&entry.key, &entry.value));
        let room = match options.limit {
            0 => usize::MAX,
            limit => limit - entries.len(),
        };
        entries.extend(matching.by_ref().take(room));
        // A page is full only if something follows it, be it in this scan or beyond.
        let more_here = matching.next().is_some();
        let full = options.limit > 0 && entries.len() == options.limit;
        if more_here || (full && page.remaining > 0) {
            let end = entries.last().map_or(&*scope, |entry| &*entry.key);
            let remaining = everything.then_some(page.remaining);
            return Ok(Listing {
                next: encode_token(page.revision, end.strip_prefix(&scope).unwrap_or(end)),
                remaining,
                revision: page.revision,
                entries,
            });
        }
        if page.remaining == 0 {
            return Ok(Listing {
                entries,
                revision: page.revision,
                next: String::new(),
                remaining: None,
            });
        }
        after = last.map(|key| key.to_string());
    }
}

/// A list pinned to one name is a lookup: of all keys that begin with the object's, its own is the
/// first.
fn list_one(core: &Core, options: &ListOptions, key: &str) -> Result<Listing, Status> {
    let page = core
        .store
        .list(key, None, 1, None)
        .map_err(|error| page_failed(error, options))?;
    let selected = |entry: &Arc<Entry>| {
        *entry.key == *key && options.selection.matches(&entry.key, &entry.value)
    };
    Ok(Listing {
        entries: page.entries.into_iter().filter(selected).collect(),
        revision: page.revision,
        next: String::new(),
        remaining: None,
    })
}

fn page_failed(error: hyades_store::Error, options: &ListOptions) -> Status {
    match error {
        hyades_store::Error::Compacted { .. } if options.after.is_some() => Status::expired(
            "The provided continue parameter is too old to display a consistent list result. You \
             must start a new list without the continue parameter.",
        ),
        other => store_failed(other),
    }
}

/// All selected objects, decoded, with the revision of the list.
pub(crate) fn objects(
    core: &Core,
    place: &Place,
    selector: &str,
) -> Result<(Vec<Value>, Revision), Status> {
    let options = ListOptions::present(Selection::labels(selector)?);
    let listing = list(core, place, &options)?;
    let objects = listing
        .entries
        .iter()
        .map(|entry| strategy::to_version(&place.resource, object::decode(&entry.value)))
        .collect();
    Ok((objects, listing.revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn continue_tokens_survive_the_round_trip_and_junk_is_refused() {
        let token = decode_token(&encode_token(274, "o1/l1")).unwrap();
        assert_eq!((token.rv, token.start.as_str()), (274, "o1/l1"));
        assert_eq!(
            decode_token("junk").unwrap_err().message,
            "invalid continue token: continue key is not valid: invalid character '\\u008e' \
             looking for beginning of value"
        );
    }

    #[test]
    fn match_rules_need_a_version() {
        let query = Query::parse("resourceVersionMatch=Exact");
        let error = check_match("", "Exact", &query).unwrap_err();
        assert_eq!(
            error.message,
            "ListOptions.meta.k8s.io \"\" is invalid: resourceVersionMatch: Forbidden: \
             resourceVersionMatch is forbidden unless resourceVersion is provided"
        );
        assert!(revision("abc").is_err());
    }
}
