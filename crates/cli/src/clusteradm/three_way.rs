//! Client-side apply as `kubectl apply` does it: what was applied last, what shall be, what is.

use hyades_runtime::apply::covers;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// Holds the object as it was applied last.
pub const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The object with the annotation that records it.
pub fn annotated(object: &Value) -> Value {
    let record = format!("{}\n", recorded(object));
    let mut object = object.clone();
    if object["metadata"]["annotations"].is_null() {
        object["metadata"]["annotations"] = json!({});
    }
    object["metadata"]["annotations"][LAST_APPLIED] = Value::String(record);
    object
}

/// The object as the annotation records it: as given, with annotations present, without itself.
fn recorded(object: &Value) -> Value {
    let mut object = object.clone();
    match object["metadata"]["annotations"].as_object_mut() {
        Some(annotations) => {
            annotations.remove(LAST_APPLIED);
        }
        None => object["metadata"]["annotations"] = json!({}),
    }
    object
}

/// The JSON merge patch that brings `live` to `object`: what the object says is set, what it said
/// when applied last and no longer says is removed, and everything else is left alone. `None`
/// when nothing is to be done.
pub fn patch(live: &Value, object: &Value) -> Option<Value> {
    let last = live["metadata"]["annotations"][LAST_APPLIED]
        .as_str()
        .and_then(|text| serde_json::from_str(text).ok())
        .unwrap_or(Value::Null);
    let patch = difference(&last, &recorded(object), live)?;
    // The record follows every change, and changes with nothing else.
    let mut patch = Value::Object(patch);
    patch["metadata"]["annotations"][LAST_APPLIED] =
        annotated(object)["metadata"]["annotations"][LAST_APPLIED].clone();
    Some(patch)
}

fn difference(last: &Value, wanted: &Value, live: &Value) -> Option<Map<String, Value>> {
    let empty = Map::new();
    let fields = |value: &'_ Value| value.as_object().cloned().unwrap_or_default();
    let (last, live) = (fields(last), fields(live));
    let wanted = wanted.as_object().unwrap_or(&empty);
    let mut patch = Map::new();
    for (key, value) in wanted {
        let (before, now) = (last.get(key), live.get(key));
        match (value, now) {
            // An empty object that is absent says nothing.
            (Value::Object(fields), None) if fields.is_empty() => {}
            (Value::Object(_), Some(now @ Value::Object(_))) => {
                if let Some(inner) = difference(before.unwrap_or(&Value::Null), value, now) {
                    patch.insert(key.clone(), Value::Object(inner));
                }
            }
            // The server fills in fields of list items: they are no difference, unless the list
            // wanted has changed itself.
            (Value::Array(_), Some(now)) if before == Some(value) && covers(now, value) => {}
            (_, Some(now)) if now == value => {}
            _ => {
                patch.insert(key.clone(), value.clone());
            }
        }
    }
    for key in last.keys() {
        if !wanted.contains_key(key) && live.contains_key(key) {
            patch.insert(key.clone(), Value::Null);
        }
    }
    (!patch.is_empty()).then_some(patch)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Value {
        json!({
            "apiVersion": "v1", "kind": "ConfigMap",
            "metadata": {"name": "a"},
            "data": {"x": "1", "y": "2"},
            "list": [{"name": "c"}],
        })
    }

    #[test]
    fn what_was_applied_is_recorded_as_kubectl_records_it() {
        let annotated = annotated(&json!({"kind": "A", "metadata": {"name": "a"}}));
        assert_eq!(
            annotated["metadata"]["annotations"][LAST_APPLIED],
            "{\"kind\":\"A\",\"metadata\":{\"annotations\":{},\"name\":\"a\"}}\n"
        );
    }

    #[test]
    fn applying_twice_changes_nothing_even_when_the_server_fills_in_fields() {
        let mut live = annotated(&object());
        live["metadata"]["uid"] = json!("u");
        live["list"][0]["protocol"] = json!("TCP");
        live["status"] = json!({});
        assert_eq!(patch(&live, &object()), None);
    }

    #[test]
    fn what_is_no_longer_said_is_removed_and_what_others_added_stays() {
        let mut live = annotated(&object());
        live["data"]["theirs"] = json!("3");
        let mut wanted = object();
        wanted["data"] = json!({"x": "9"});
        let patch = patch(&live, &wanted).expect("a difference");
        assert_eq!(patch["data"], json!({"x": "9", "y": null}));
        let record = patch["metadata"]["annotations"][LAST_APPLIED].as_str();
        assert!(record.is_some_and(|text| text.contains("\"x\":\"9\"")));
    }

    #[test]
    fn a_list_that_changed_replaces_the_live_one() {
        let live = annotated(&object());
        let mut wanted = object();
        wanted["list"] = json!([{"name": "d"}]);
        let patch = patch(&live, &wanted).expect("a difference");
        assert_eq!(patch["list"], json!([{"name": "d"}]));
    }

    #[test]
    fn an_object_that_others_made_is_taken_over() {
        let live =
            json!({"metadata": {"name": "a", "labels": {"theirs": "yes"}}, "data": {"x": "0"}});
        let patch = patch(&live, &object()).expect("a difference");
        assert_eq!(patch["data"], json!({"x": "1", "y": "2"}));
        assert!(patch["metadata"].get("labels").is_none());
    }
}
