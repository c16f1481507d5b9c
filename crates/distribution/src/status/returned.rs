//! What is to be written of an object's own status, and of the labels that speak of it.

use super::decide;
use super::decide::Mark;
use super::decide::Outcome;
use super::model::Model;
use super::model::Object;
use super::model::Report;
use crate::object::ObjectKey;
use hyades_api::control::names::labels;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;

/// What is to be written; nothing where all is as it should be.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Writes {
    /// Labels to set before the status, so that whoever stops in between knows what to take back.
    pub labels_before: Map<String, Value>,
    /// The status.
    pub status: Option<Value>,
    /// Labels to take off after it.
    pub labels_after: Map<String, Value>,
}

/// Decides what is to be written of an object.
pub fn decide(model: &Model, key: &ObjectKey, object: &Object) -> Writes {
    if decide::is_kept_by_the_wds(&key.resource) {
        return Writes::default();
    }
    let (singleton, several) = model.qualified(key);
    let source = decide::source(singleton.as_ref(), several.as_ref());
    let report = |wec: &str| model.report(key, wec).map(|report| Report::status(report));
    let outcome = decide::outcome(&key.resource, &source, report);
    let count = singleton.map(|wecs| (&wecs | &several.unwrap_or_default()).len());
    writes(object, outcome, count)
}

/// `executing` is how many WECs have the object, while the status of a single one is wanted.
fn writes(object: &Object, outcome: Outcome, executing: Option<usize>) -> Writes {
    let is = |label: &str| object.labels.contains_key(label);
    let was_returned = is(labels::SINGLETON_STATUS) || is(labels::MULTI_WEC_STATUS);
    let (status, mark) = match outcome {
        Outcome::Write(status, mark) => (Some(status), Some(mark)),
        Outcome::Keep => return labelled(object, executing, &[]),
        Outcome::Clear => (was_returned.then(|| json!({})), None),
    };
    let marks = [
        (labels::SINGLETON_STATUS, mark == Some(Mark::Singleton)),
        (labels::MULTI_WEC_STATUS, mark == Some(Mark::Several)),
    ];
    let is_empty = |status: &Value| status.as_object().is_none_or(Map::is_empty);
    let is_same =
        |status: &Value| *status == object.status || (is_empty(status) && is_empty(&object.status));
    Writes {
        status: status.filter(|status| !is_same(status)),
        ..labelled(object, executing, &marks)
    }
}

fn labelled(object: &Object, executing: Option<usize>, marks: &[(&str, bool)]) -> Writes {
    let count = executing.map(|count| count.to_string());
    let wanted = marks
        .iter()
        .map(|(label, is_wanted)| (*label, is_wanted.then(|| "true".to_owned())))
        .chain([(labels::EXECUTING_COUNT, count)]);
    let mut writes = Writes::default();
    for (label, value) in wanted {
        if object.labels.get(label) != value.as_ref() {
            match value {
                Some(value) => writes.labels_before.insert(label.to_owned(), value.into()),
                None => writes.labels_after.insert(label.to_owned(), Value::Null),
            };
        }
    }
    writes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object(labels: &[(&str, &str)], status: Value) -> Object {
        Object {
            labels: labels
                .iter()
                .map(|(label, value)| ((*label).to_owned(), (*value).to_owned()))
                .collect(),
            status,
            ..Object::default()
        }
    }

    fn map(value: Value) -> Map<String, Value> {
        value.as_object().cloned().unwrap_or_default()
    }

    #[test]
    fn a_returned_status_is_marked_first_and_written_once() {
        let ready = json!({"readyReplicas": 1});
        let write = || Outcome::Write(ready.clone(), Mark::Singleton);
        let new = writes(&object(&[], json!({})), write(), Some(1));
        let both = [
            (labels::SINGLETON_STATUS, "true"),
            (labels::EXECUTING_COUNT, "1"),
        ];
        assert_eq!(
            new,
            Writes {
                labels_before: map(json!({
                    "managed-by.kubestellar.io/singletonstatus": "true",
                    "kubestellar.io/executing-count": "1",
                })),
                status: Some(ready.clone()),
                labels_after: Map::new(),
            }
        );
        let again = writes(&object(&both, ready.clone()), write(), Some(1));
        assert_eq!(again, Writes::default());
    }

    #[test]
    fn a_status_of_several_takes_the_place_of_that_of_one() {
        let one = object(&[(labels::SINGLETON_STATUS, "true")], json!({"a": 1}));
        let several = Outcome::Write(json!({"a": 1}), Mark::Several);
        assert_eq!(
            writes(&one, several, None),
            Writes {
                labels_before: map(json!({"managed-by.kubestellar.io/multiwecstatus": "true"})),
                status: None,
                labels_after: map(json!({"managed-by.kubestellar.io/singletonstatus": null})),
            }
        );
    }

    #[test]
    fn only_what_was_returned_is_cleared() {
        let own = object(&[], json!({"a": 1}));
        assert_eq!(writes(&own, Outcome::Clear, None), Writes::default());
        let marked = object(&[(labels::MULTI_WEC_STATUS, "true")], json!({"a": 1}));
        let cleared = writes(&marked, Outcome::Clear, None);
        assert_eq!(cleared.status, Some(json!({})));
        assert_eq!(
            cleared.labels_after,
            map(json!({"managed-by.kubestellar.io/multiwecstatus": null}))
        );
        assert_eq!(writes(&marked, Outcome::Keep, None), Writes::default());
    }
}
