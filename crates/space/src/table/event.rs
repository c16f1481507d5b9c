//! Events, which two groups show and one of them stores.

use serde_json::Value;

use super::Header;
use super::NAME;
use super::view::View;

/// Where the two groups keep what an event says.
pub(super) struct Fields {
    object: &'static str,
    source: &'static str,
    first: &'static str,
    last: &'static str,
    count: &'static str,
    reporter: &'static str,
    message: &'static str,
}

pub(super) const CORE: Fields = Fields {
    object: "/involvedObject",
    source: "/source",
    first: "/firstTimestamp",
    last: "/lastTimestamp",
    count: "/count",
    reporter: "/reportingComponent",
    message: "/message",
};

pub(super) const EVENTS: Fields = Fields {
    object: "/regarding",
    source: "/deprecatedSource",
    first: "/deprecatedFirstTimestamp",
    last: "/deprecatedLastTimestamp",
    count: "/deprecatedCount",
    reporter: "/reportingController",
    message: "/note",
};

pub(super) const COLUMNS: &[Header] = &[
    Header::text("Last Seen", "The time since it last happened."),
    Header::text("Type", "Normal or Warning."),
    Header::text("Reason", "Why it happened, in a word."),
    Header::text("Object", "What it happened to."),
    Header::text("Subobject", "The part of the object it happened to.").wide(),
    Header::text("Source", "Who reported it.").wide(),
    Header::text("Message", "What happened."),
    Header::text("First Seen", "The time since it first happened.").wide(),
    Header::text("Count", "How often it happened.").wide(),
    NAME.wide(),
];

pub(super) fn row(view: View<'_>, fields: &Fields) -> Vec<Value> {
    let first_time = view.time(fields.first).or_else(|| view.time("/eventTime"));
    let last_time = view.time(fields.last).or(first_time);
    let is_series = view.get("/series").is_some();
    let (last_time, count) = match (is_series, view.int(fields.count)) {
        (true, _) => (
            view.time("/series/lastObservedTime"),
            view.int("/series/count"),
        ),
        // An event of the newer group that happened once has no count.
        (false, 0) => (last_time, 1),
        (false, count) => (last_time, count),
    };
    let object = View {
        object: view.get(fields.object).unwrap_or(&Value::Null),
        ..view
    };
    let kind = object.str("/kind").to_lowercase();
    let target = match object.str("/name") {
        "" => kind,
        name => format!("{kind}/{name}"),
    };
    let source = View {
        object: view.get(fields.source).unwrap_or(&Value::Null),
        ..view
    };
    let (component, instance) = match source.str("/component") {
        "" => (view.str(fields.reporter), view.str("/reportingInstance")),
        component => (component, source.str("/host")),
    };
    let reported_by = match instance {
        "" => component.to_owned(),
        instance => format!("{component}, {instance}"),
    };
    vec![
        Value::from(view.since(last_time)),
        view.text("/type"),
        view.text("/reason"),
        Value::from(target),
        object.text("/fieldPath"),
        Value::from(reported_by),
        Value::from(view.str(fields.message).trim()),
        Value::from(view.since(first_time)),
        Value::from(count),
        view.name(),
    ]
}
