//! What ends by itself: events, certificate requests, bootstrap tokens.
//!
//! Each object waits for its own moment; a change of the object is looked at when the moment comes.

use std::time::Duration;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use hyades_pki::Certificate;
use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::absent_is_done;
use super::queue::Queue;
use super::work;
use crate::access::authn::bootstrap_token;
use crate::delete::DeleteOptions;
use crate::loopback::Loopback;
use crate::names::Gvr;
use crate::names::resource_prefix;
use crate::names::scope_prefix;
use crate::names::split_key;
use crate::object;
use crate::status::Status;

/// How long events stay after they were last seen: upstream's `--event-ttl`.
const EVENT_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// How long a decided certificate request stays.
const DECIDED_REQUEST_LIFE: SignedDuration = SignedDuration::from_hours(1);

/// How long a certificate request may wait for a decision.
const PENDING_REQUEST_LIFE: SignedDuration = SignedDuration::from_hours(24);

/// One resource whose objects end.
#[derive(Clone)]
struct Expiry {
    name: &'static str,
    resource: Gvr,
    namespace: &'static str,
    /// When an object ends, as it looks at a moment; `None` when it does not.
    due: fn(&Value, Timestamp) -> Option<Timestamp>,
}

/// Starts a worker for each resource whose objects end.
pub fn spawn_all(space: &Loopback, stop: &CancellationToken) -> Vec<JoinHandle<()>> {
    let all = [
        Expiry {
            name: "event expiry",
            resource: Gvr::EVENTS,
            namespace: "",
            due: event_due,
        },
        Expiry {
            name: "certificate request cleaner",
            resource: Gvr::CERTIFICATE_SIGNING_REQUESTS,
            namespace: "",
            due: request_due,
        },
        Expiry {
            name: "bootstrap token cleaner",
            resource: Gvr::SECRETS,
            namespace: "kube-system",
            due: token_due,
        },
    ];
    all.into_iter()
        .map(|expiry| spawn(space, expiry, stop))
        .collect()
}

fn spawn(space: &Loopback, expiry: Expiry, stop: &CancellationToken) -> JoinHandle<()> {
    let queue: Queue<String> = Queue::default();
    let prefix = resource_prefix(&expiry.resource.group, &expiry.resource.resource);
    let feed = queue.clone();
    space.store().hook(
        &scope_prefix(&prefix, expiry.namespace),
        Box::new(move |event| {
            if event.value.is_some() {
                feed.add(event.key.to_string());
            }
        }),
    );
    let space = space.clone();
    let again = queue.clone();
    work(expiry.name, queue, stop, move |key| {
        let (space, expiry, again) = (space.clone(), expiry.clone(), again.clone());
        async move { expire(&space, &expiry, &again, key).await }
    })
}

async fn expire(
    space: &Loopback,
    expiry: &Expiry,
    again: &Queue<String>,
    key: String,
) -> Result<(), Status> {
    let Some(entry) = space.store().get(&key) else {
        return Ok(());
    };
    let present = object::decode(&entry.value);
    let now = Timestamp::now();
    let Some(due) = (expiry.due)(&present, now) else {
        return Ok(());
    };
    let rest = now.duration_until(due);
    if rest.is_positive() {
        again.add_after(key, Duration::try_from(rest).unwrap_or(Duration::MAX));
        return Ok(());
    }
    let Some((namespace, name)) = split_key(&key) else {
        return Ok(());
    };
    let options = DeleteOptions {
        uid: Some(object::uid(&present).to_owned()),
        ..DeleteOptions::default()
    };
    absent_is_done(
        space
            .delete(&expiry.resource, Some(namespace), name, options)
            .await,
    )
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

fn after(start: Timestamp, life: SignedDuration) -> Timestamp {
    start.checked_add(life).unwrap_or(Timestamp::MAX)
}

/// An event ends an hour after it was last seen. Its writer says when that was, and so cannot say
/// that it will be seen in the future: such an event would never end.
fn event_due(event: &Value, now: Timestamp) -> Option<Timestamp> {
    [
        &event["metadata"]["creationTimestamp"],
        &event["lastTimestamp"],
        &event["eventTime"],
        &event["series"]["lastObservedTime"],
    ]
    .into_iter()
    .filter_map(time)
    .filter(|seen| *seen <= now)
    .max()
    .map(|seen| after(seen, EVENT_LIFE))
    .or(Some(after(now, EVENT_LIFE)))
}

/// A request ends an hour after its decision, a day after its creation when nobody decides, and
/// with its certificate.
fn request_due(request: &Value, _: Timestamp) -> Option<Timestamp> {
    let decided = request["status"]["conditions"]
        .as_array()
        .into_iter()
        .flatten()
        .filter(|condition| {
            ["Approved", "Denied", "Failed"]
                .iter()
                .any(|kind| condition["type"] == *kind)
        })
        .filter_map(|condition| {
            time(&condition["lastUpdateTime"]).or(time(&condition["lastTransitionTime"]))
        })
        .min();
    let created = time(&request["metadata"]["creationTimestamp"])?;
    let due = match decided {
        Some(decided) => after(decided, DECIDED_REQUEST_LIFE),
        None => after(created, PENDING_REQUEST_LIFE),
    };
    Some(match certificate_end(request) {
        Some(end) => due.min(end),
        None => due,
    })
}

fn certificate_end(request: &Value) -> Option<Timestamp> {
    let pem = BASE64_STANDARD
        .decode(request["status"]["certificate"].as_str()?)
        .ok()?;
    let certificate = Certificate::from_pem(std::str::from_utf8(&pem).ok()?).ok()?;
    Some(certificate.not_after())
}

fn token_due(secret: &Value, _: Timestamp) -> Option<Timestamp> {
    if secret["type"] != bootstrap_token::SECRET_TYPE {
        return None;
    }
    // A token whose expiration cannot be read proves nothing; its owner may still mend it.
    bootstrap_token::expiration(secret).ok().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn at(text: &str) -> Option<Timestamp> {
        Some(text.parse().unwrap())
    }

    #[test]
    fn an_event_lives_an_hour_from_when_it_was_last_seen() {
        let mut event = json!({"metadata": {"creationTimestamp": "2026-11-24T06:00:00Z"}});
        let now = at("2026-11-24T06:45:00Z").unwrap();
        assert_eq!(event_due(&event, now), at("2026-11-24T07:00:00Z"));
        event["lastTimestamp"] = "2026-11-24T06:30:00Z".into();
        assert_eq!(event_due(&event, now), at("2026-11-24T07:30:00Z"));
    }

    #[test]
    fn an_event_from_the_future_ends_like_any_other() {
        let event = json!({
            "metadata": {"creationTimestamp": "2026-11-24T06:00:00Z"},
            "lastTimestamp": "9999-01-01T00:00:00Z",
        });
        let now = at("2026-11-24T06:45:00Z").unwrap();
        assert_eq!(event_due(&event, now), at("2026-11-24T07:00:00Z"));
    }

    #[test]
    fn a_request_waits_a_day_for_a_decision_and_an_hour_after_it() {
        let mut request = json!({"metadata": {"creationTimestamp": "2026-11-24T06:00:00Z"}});
        assert_eq!(
            request_due(&request, Timestamp::UNIX_EPOCH),
            at("2026-11-25T06:00:00Z")
        );
        for decision in ["Approved", "Denied", "Failed"] {
            request["status"]["conditions"] =
                json!([{"type": decision, "lastUpdateTime": "2026-11-24T06:10:00Z"}]);
            assert_eq!(
                request_due(&request, Timestamp::UNIX_EPOCH),
                at("2026-11-24T07:10:00Z"),
                "{decision}"
            );
        }
    }

    #[test]
    fn only_bootstrap_tokens_with_an_expiration_end() {
        let expiration = BASE64_STANDARD.encode("2026-11-24T06:00:00Z");
        let mut secret = json!({"type": bootstrap_token::SECRET_TYPE, "data": {}});
        assert_eq!(token_due(&secret, Timestamp::UNIX_EPOCH), None);
        secret["data"]["expiration"] = expiration.into();
        assert_eq!(
            token_due(&secret, Timestamp::UNIX_EPOCH),
            at("2026-11-24T06:00:00Z")
        );
        secret["type"] = "Opaque".into();
        assert_eq!(token_due(&secret, Timestamp::UNIX_EPOCH), None);
    }
}
