//! Fields of an object that are reported back to the hub.

use hyades_api::work::FeedbackRule;
use hyades_api::work::FeedbackValue;
use hyades_api::work::FieldValue;
use hyades_api::work::JsonPath as PathRule;
use hyades_jsonpath::JsonPath;
use serde_json::Value;

/// What reading the fields gave.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Feedback {
    /// The values found.
    pub values: Vec<FeedbackValue>,
    /// What went wrong; other values are reported all the same.
    pub errors: Vec<String>,
    /// Whether anything was asked for.
    pub asked: bool,
}

/// How values are read.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Whether lists, maps and several matches are reported as JSON (gate RawFeedbackJsonString).
    pub raw_json: bool,
    /// Longest JSON reported, in bytes.
    pub raw_json_bytes_max: usize,
}

/// Name and path of the fields that everybody wants of well-known kinds.
type WellKnown = &'static [(&'static str, &'static str)];

fn well_known(api_version: &str, kind: &str) -> Option<WellKnown> {
    match (api_version, kind) {
        ("apps/v1", "Deployment") => Some(&[
            ("ReadyReplicas", ".status.readyReplicas"),
            ("Replicas", ".status.replicas"),
            ("AvailableReplicas", ".status.availableReplicas"),
        ]),
        ("apps/v1", "DaemonSet") => Some(&[
            ("NumberReady", ".status.numberReady"),
            ("DesiredNumberScheduled", ".status.desiredNumberScheduled"),
            ("NumberAvailable", ".status.numberAvailable"),
        ]),
        ("batch/v1", "Job") => Some(&[
            (
                "JobComplete",
                ".status.conditions[?(@.type==\"Complete\")].status",
            ),
            ("JobSucceeded", ".status.succeeded"),
        ]),
        ("v1", "Pod") => Some(&[
            (
                "PodReady",
                ".status.conditions[?(@.type==\"Ready\")].status",
            ),
            ("PodPhase", ".status.phase"),
        ]),
        _ => None,
    }
}

/// Reads the fields that `rules` ask for.
pub fn read(object: &Value, rules: &[FeedbackRule], limits: Limits) -> Feedback {
    let mut feedback = Feedback {
        asked: !rules.is_empty(),
        ..Feedback::default()
    };
    let text = |pointer: &str| {
        object
            .pointer(pointer)
            .and_then(Value::as_str)
            .unwrap_or_default()
    };
    let (api_version, kind) = (text("/apiVersion"), text("/kind"));
    for rule in rules {
        match rule.r#type.as_str() {
            "WellKnownStatus" => match well_known(api_version, kind) {
                Some(paths) => paths
                    .iter()
                    .for_each(|(name, path)| feedback.add(object, name, path, limits)),
                None => {
                    let (group, version) = api_version.split_once('/').unwrap_or(("", api_version));
                    feedback.errors.push(format!(
                        "cannot find the wellknown statuses for resource with gvk {group}/{version}, Kind={kind}"
                    ));
                }
            },
            "JSONPaths" => {
                let version = api_version.rsplit('/').next().unwrap_or_default();
                rule.json_paths
                    .iter()
                    .for_each(|path| feedback.add_path(object, path, version, limits));
            }
            other => feedback
                .errors
                .push(format!("there is no feedback rule type {other:?}")),
        }
    }
    feedback
}

impl Feedback {
    fn add_path(&mut self, object: &Value, rule: &PathRule, version: &str, limits: Limits) {
        if !rule.version.is_empty() && rule.version != version {
            self.errors.push(format!(
                "version set in the path {} is not matched for the related resource",
                rule.name
            ));
            return;
        }
        self.add(object, &rule.name, &rule.path, limits);
    }

    fn add(&mut self, object: &Value, name: &str, path: &str, limits: Limits) {
        match value_at(object, name, path, limits) {
            Ok(Some(field_value)) => {
                // One entry a name: the schema's key. The last rule wins.
                self.values.retain(|value| value.name != name);
                self.values.push(FeedbackValue {
                    name: name.to_owned(),
                    field_value,
                });
            }
            Ok(None) => {}
            Err(error) => self.errors.push(error),
        }
    }
}

fn value_at(
    object: &Value,
    name: &str,
    path: &str,
    limits: Limits,
) -> Result<Option<FieldValue>, String> {
    let parsed = JsonPath::parse(&format!("{{{path}}}"))
        .map_err(|error| format!("failed to parse json path {path} of {name} with error: {error}"))?
        .allow_missing_keys(true);
    let found = parsed
        .find(object)
        .map_err(|error| format!("failed to find value for {name} with error: {error}"))?;
    match found.as_slice() {
        [] => Ok(None),
        [first, _, ..] if !limits.raw_json => scalar(first, name, limits),
        [only] => scalar(only, name, limits),
        several => raw(
            &Value::Array(several.iter().map(|value| (*value).clone()).collect()),
            name,
            limits,
        )
        .map(Some),
    }
}

fn scalar(value: &Value, name: &str, limits: Limits) -> Result<Option<FieldValue>, String> {
    let typed = |kind: &str| FieldValue {
        r#type: kind.to_owned(),
        ..FieldValue::default()
    };
    let unknown = |kind: &str| format!("the type {kind} of the value for {name} is not found");
    match value {
        Value::Null => Ok(None),
        Value::Bool(boolean) => Ok(Some(FieldValue {
            boolean: Some(*boolean),
            ..typed("Boolean")
        })),
        Value::String(string) => Ok(Some(FieldValue {
            string: Some(string.clone()),
            ..typed("String")
        })),
        Value::Number(number) if number.is_i64() => Ok(Some(FieldValue {
            integer: number.as_i64(),
            ..typed("Integer")
        })),
        other if limits.raw_json => raw(other, name, limits).map(Some),
        Value::Number(_) => Err(unknown("float64")),
        Value::Array(_) => Err(unknown("slice")),
        Value::Object(_) => Err(unknown("map")),
    }
}

fn raw(value: &Value, name: &str, limits: Limits) -> Result<FieldValue, String> {
    let json = value.to_string();
    if json.len() > limits.raw_json_bytes_max {
        return Err(format!(
            "the length of the value for {name} is {} bytes and exceeds the limit of {}",
            json.len(),
            limits.raw_json_bytes_max
        ));
    }
    Ok(FieldValue {
        r#type: "JsonRaw".to_owned(),
        json_raw: Some(json),
        ..FieldValue::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const PLAIN: Limits = Limits {
        raw_json: false,
        raw_json_bytes_max: 1024,
    };
    const RAW: Limits = Limits {
        raw_json: true,
        raw_json_bytes_max: 20,
    };

    fn deployment() -> Value {
        json!({
            "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"generation": 3, "labels": {"a": "b"}},
            "spec": {"paused": true, "ratio": 0.5, "list": [1, 2]},
            "status": {"readyReplicas": 1, "availableReplicas": 2},
        })
    }

    fn rules(value: Value) -> Vec<FeedbackRule> {
        serde_json::from_value(value).expect("rules")
    }

    fn path(name: &str, path: &str) -> Vec<FeedbackRule> {
        rules(json!([{"type": "JSONPaths", "jsonPaths": [{"name": name, "path": path}]}]))
    }

    #[test]
    fn well_known_fields_are_read_and_missing_ones_left_out() {
        let feedback = read(
            &deployment(),
            &rules(json!([{"type": "WellKnownStatus"}])),
            PLAIN,
        );
        assert_eq!(
            serde_json::to_value(&feedback.values).expect("JSON"),
            json!([
                {"name": "ReadyReplicas", "fieldValue": {"type": "Integer", "integer": 1}},
                {"name": "AvailableReplicas", "fieldValue": {"type": "Integer", "integer": 2}},
            ])
        );
        assert!(feedback.errors.is_empty() && feedback.asked);
    }

    #[test]
    fn a_kind_without_well_known_fields_is_an_error() {
        let object = json!({"apiVersion": "v1", "kind": "ConfigMap"});
        let feedback = read(&object, &rules(json!([{"type": "WellKnownStatus"}])), PLAIN);
        assert_eq!(
            feedback.errors,
            ["cannot find the wellknown statuses for resource with gvk /v1, Kind=ConfigMap"]
        );
    }

    #[test]
    fn scalars_are_typed_and_other_values_need_the_gate() {
        let value = |name: &str, limits| {
            let feedback = read(&deployment(), &path("v", name), limits);
            match feedback.values.first() {
                Some(value) => serde_json::to_value(&value.field_value).expect("JSON"),
                None => json!(feedback.errors),
            }
        };
        assert_eq!(
            value(".metadata.generation", PLAIN),
            json!({"type": "Integer", "integer": 3})
        );
        assert_eq!(
            value(".spec.paused", PLAIN),
            json!({"type": "Boolean", "boolean": true})
        );
        assert_eq!(
            value(".metadata.labels.a", PLAIN),
            json!({"type": "String", "string": "b"})
        );
        assert_eq!(value(".missing", PLAIN), json!([]));
        assert_eq!(
            value(".spec.ratio", PLAIN),
            json!(["the type float64 of the value for v is not found"])
        );
        assert_eq!(
            value(".spec.list[*]", PLAIN),
            json!({"type": "Integer", "integer": 1})
        );
        assert_eq!(
            value(".spec.list[*]", RAW),
            json!({"type": "JsonRaw", "jsonRaw": "[1,2]"})
        );
        assert_eq!(
            value(".metadata.labels", RAW),
            json!({"type": "JsonRaw", "jsonRaw": "{\"a\":\"b\"}"})
        );
        assert!(
            value(".status", RAW)[0]
                .as_str()
                .expect("an error")
                .contains("exceeds the limit of 20")
        );
    }

    #[test]
    fn a_path_for_another_version_is_an_error_and_spoils_nothing_else() {
        let feedback = read(
            &deployment(),
            &rules(json!([{"type": "JSONPaths", "jsonPaths": [
                {"name": "old", "path": ".x", "version": "v1beta1"},
                {"name": "bad", "path": ".["},
                {"name": "gen", "path": ".metadata.generation", "version": "v1"},
            ]}])),
            PLAIN,
        );
        assert_eq!(feedback.values.len(), 1);
        assert_eq!(feedback.errors.len(), 2);
    }
}
