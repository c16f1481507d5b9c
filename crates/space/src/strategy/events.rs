//! Events are stored once, as core events, and read in both groups.

use serde_json::Value;

/// Field names in the core group and in `events.k8s.io`.
const FIELDS: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("source", "deprecatedSource"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("count", "deprecatedCount"),
];

/// Renames a core event's fields to those of `events.k8s.io`.
pub(super) fn from_core(event: &mut Value) {
    for (core, new) in FIELDS {
        rename(event, core, new);
    }
}

/// Renames an `events.k8s.io` event's fields to those of the core group.
pub(super) fn to_core(event: &mut Value) {
    for (core, new) in FIELDS {
        rename(event, new, core);
    }
}

fn rename(event: &mut Value, from: &str, to: &str) {
    if let Some(map) = event.as_object_mut()
        && let Some(value) = map.remove(from)
    {
        map.insert(to.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn an_event_reads_the_same_after_a_round_trip() {
        let event = json!({"note": "n", "regarding": {"name": "x"}, "reason": "R"});
        let mut stored = event.clone();
        to_core(&mut stored);
        let core = json!({"message": "n", "involvedObject": {"name": "x"}, "reason": "R"});
        assert_eq!(stored, core);
        from_core(&mut stored);
        assert_eq!(stored, event);
    }
}
