//! Validation of events, which two groups show with different field names.

use serde_json::Value;

use super::checks::all_invalid;
use super::object::at;
use super::object::integer;
use super::object::text;
use crate::validate::FieldError;
use crate::validate::FieldPath;
use crate::validate::names;

/// How long `reportingInstance`, `action` and `reason` may be each, as upstream limits them.
const MAX_WORD_CHARACTERS: usize = 128;

/// How long the message may be, as upstream limits it.
const MAX_MESSAGE_CHARACTERS: usize = 1024;

/// The names that a group has for the fields of its events.
struct Names {
    object: &'static str,
    controller: &'static str,
    message: &'static str,
}

const CORE: Names = Names {
    object: "involvedObject",
    controller: "reportingComponent",
    message: "message",
};

const EVENTS: Names = Names {
    object: "regarding",
    controller: "reportingController",
    message: "note",
};

/// Checks an event of the core group.
pub(super) fn core(new: &Value, errors: &mut Vec<FieldError>) {
    either(&CORE, new, errors);
}

/// Checks an event of `events.k8s.io`, of which new ones leave the old fields empty.
pub(super) fn events(new: &Value, old: Option<&Value>, errors: &mut Vec<FieldError>) {
    either(&EVENTS, new, errors);
    if old.is_some() {
        return;
    }
    if text(new, "eventTime").is_empty() {
        errors.push(FieldError::required("eventTime", ""));
    }
    let severity = text(new, "type");
    if !matches!(severity, "Normal" | "Warning") {
        let detail = format!("has invalid value: {severity}");
        errors.push(FieldError::invalid("type", "", detail));
    }
    let source = at(new, "deprecatedSource");
    let deprecated = [
        (
            "firstTimestamp",
            !text(new, "deprecatedFirstTimestamp").is_empty(),
        ),
        (
            "lastTimestamp",
            !text(new, "deprecatedLastTimestamp").is_empty(),
        ),
        (
            "count",
            integer(new, "deprecatedCount").is_some_and(|count| count != 0),
        ),
        (
            "source",
            !(text(source, "component").is_empty() && text(source, "host").is_empty()),
        ),
    ];
    for (field, _) in deprecated.into_iter().filter(|(_, is_set)| *is_set) {
        errors.push(FieldError::invalid(field, "", "needs to be unset"));
    }
}

/// What both groups demand. Messages name the core group's fields in either.
fn either(fields: &Names, new: &Value, errors: &mut Vec<FieldError>) {
    let involved = text(at(new, fields.object), "namespace");
    let namespace = text(at(new, "metadata"), "namespace");
    let is_new_style = !text(new, "eventTime").is_empty();
    // Events about objects outside namespaces live in the default one, or with the system.
    let fits = match (involved, is_new_style) {
        ("", true) => matches!(namespace, "default" | "kube-system"),
        ("", false) => matches!(namespace, "" | "default"),
        (_, true) => true,
        (involved, false) => involved == namespace,
    };
    if !fits {
        errors.push(FieldError::invalid(
            "involvedObject.namespace",
            involved,
            "does not match event.namespace",
        ));
    }
    if !is_new_style {
        return;
    }
    let controller = text(new, fields.controller);
    if controller.is_empty() {
        errors.push(FieldError::required(fields.controller, ""));
    }
    let path = FieldPath::new(fields.controller);
    all_invalid(names::qualified_name(controller), controller, &path, errors);
    for field in ["reportingInstance", "action", "reason"] {
        let word = text(new, field);
        if word.is_empty() {
            errors.push(FieldError::required(field, ""));
        }
        too_long(field, word, MAX_WORD_CHARACTERS, errors);
    }
    let message = text(new, fields.message);
    too_long("message", message, MAX_MESSAGE_CHARACTERS, errors);
}

fn too_long(field: &str, content: &str, limit: usize, errors: &mut Vec<FieldError>) {
    if content.len() > limit {
        let detail = format!("can have at most {limit} characters");
        errors.push(FieldError::invalid(field, "", detail));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn complaints(event: &Value) -> Vec<String> {
        let mut errors = Vec::new();
        events(event, None, &mut errors);
        errors.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_event_about_an_object_outside_namespaces_may_name_a_namespace() {
        let mut event = json!({
            "metadata": {"namespace": "cluster1", "name": "e"},
            "eventTime": "2026-11-24T05:40:35.896979Z",
            "reportingController": "klusterlet-agent", "reportingInstance": "klusterlet-agent-vm",
            "action": "Available", "reason": "Available", "type": "Normal", "note": "Fine.",
            "regarding": {"kind": "ManagedCluster", "namespace": "cluster1", "name": "cluster1"},
        });
        assert_eq!(complaints(&event), Vec::<String>::new());
        event["regarding"]["namespace"] = "".into();
        event["action"] = "".into();
        event["deprecatedCount"] = 2.into();
        expect_test::expect![[r#"
            involvedObject.namespace: Invalid value: "": does not match event.namespace
            action: Required value
            count: Invalid value: "": needs to be unset"#]]
        .assert_eq(&complaints(&event).join("\n"));
    }
}
