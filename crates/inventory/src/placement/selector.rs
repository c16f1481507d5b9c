//! Selectors over labels, and over claims read as labels.

use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
use std::collections::BTreeMap;

/// Longest name of a label, its prefix not counted; as Kubernetes has it.
const LABEL_NAME_BYTES_MAX: usize = 63;

/// Longest prefix of a label; as Kubernetes has it.
const LABEL_PREFIX_BYTES_MAX: usize = 253;

/// What must hold of a set of names with values, all of it. An empty one holds of everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector(Vec<Requirement>);

#[derive(Clone, Debug, PartialEq, Eq)]
struct Requirement {
    key: String,
    wanted: Wanted,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Wanted {
    In(Vec<String>),
    NotIn(Vec<String>),
    Exists,
    Absent,
}

impl Selector {
    /// Reads a label selector; the error says which requirement is wrong.
    pub(super) fn of_labels(stated: &LabelSelector) -> Result<Self, String> {
        let mut requirements = Vec::new();
        for (key, value) in stated.match_labels.iter().flatten() {
            let values = vec![value.clone()];
            requirements.push(Requirement::checked(key, Wanted::In(values))?);
        }
        let expressions = stated.match_expressions.iter().flatten();
        for expression in expressions {
            requirements.push(Requirement::of(expression)?);
        }
        Ok(Self(requirements))
    }

    /// Reads a list of expressions.
    pub(super) fn of_expressions(stated: &[LabelSelectorRequirement]) -> Result<Self, String> {
        let requirements = stated.iter().map(Requirement::of);
        requirements.collect::<Result<_, _>>().map(Self)
    }

    /// Whether everything in it holds; `value` finds the value of a name.
    pub(super) fn matches<'a>(&self, value: impl Fn(&str) -> Option<&'a str>) -> bool {
        self.0.iter().all(|requirement| {
            let found = value(&requirement.key);
            let among = |values: &[String]| found.is_some_and(|f| values.iter().any(|v| v == f));
            match &requirement.wanted {
                Wanted::In(values) => among(values),
                Wanted::NotIn(values) => !among(values),
                Wanted::Exists => found.is_some(),
                Wanted::Absent => found.is_none(),
            }
        })
    }

    /// Whether it holds of these labels.
    pub(super) fn matches_labels(&self, labels: Option<&BTreeMap<String, String>>) -> bool {
        self.matches(|key| labels?.get(key).map(String::as_str))
    }
}

impl Requirement {
    fn of(stated: &LabelSelectorRequirement) -> Result<Self, String> {
        let values = stated.values.clone().unwrap_or_default();
        let operator = stated.operator.as_str();
        let wanted = match operator {
            "In" | "NotIn" if values.is_empty() => {
                let key = &stated.key;
                return Err(format!("operator {operator} of key {key:?} needs values"));
            }
            "In" => Wanted::In(values),
            "NotIn" => Wanted::NotIn(values),
            "Exists" | "DoesNotExist" if !values.is_empty() => {
                let key = &stated.key;
                return Err(format!(
                    "operator {operator} of key {key:?} takes no values"
                ));
            }
            "Exists" => Wanted::Exists,
            "DoesNotExist" => Wanted::Absent,
            other => return Err(format!("{other:?} is not a valid label selector operator")),
        };
        Self::checked(&stated.key, wanted)
    }

    fn checked(key: &str, wanted: Wanted) -> Result<Self, String> {
        if !is_label_key(key) {
            return Err(format!("key {key:?} is not the name of a label"));
        }
        if let Wanted::In(values) | Wanted::NotIn(values) = &wanted
            && let Some(value) = values.iter().find(|value| !is_label_value(value))
        {
            return Err(format!(
                "value {value:?} of key {key:?} is not the value of a label"
            ));
        }
        let key = key.to_owned();
        Ok(Self { key, wanted })
    }
}

fn is_label_key(key: &str) -> bool {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    let good_prefix = |prefix: &str| {
        let lower = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
        prefix.len() <= LABEL_PREFIX_BYTES_MAX
            && prefix.split('.').all(|part| {
                let bytes = part.as_bytes();
                bytes.first().is_some_and(lower)
                    && bytes.last().is_some_and(lower)
                    && bytes.iter().all(|b| lower(b) || *b == b'-')
            })
    };
    prefix.is_none_or(good_prefix) && !name.is_empty() && is_label_value(name)
}

fn is_label_value(value: &str) -> bool {
    let bytes = value.as_bytes();
    let outer = |b: Option<&u8>| b.is_none_or(u8::is_ascii_alphanumeric);
    let inner = |b: &u8| b.is_ascii_alphanumeric() || b"-_.".contains(b);
    bytes.len() <= LABEL_NAME_BYTES_MAX
        && outer(bytes.first())
        && outer(bytes.last())
        && bytes.iter().all(inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use serde_json::json;

    fn selector(stated: Value) -> Result<Selector, String> {
        Selector::of_labels(&serde_json::from_value(stated).expect("a label selector"))
    }

    fn matches(stated: Value, labels: Value) -> bool {
        let labels = serde_json::from_value(labels).expect("labels");
        selector(stated)
            .expect("valid")
            .matches_labels(Some(&labels))
    }

    #[test]
    fn every_operator_does_as_in_kubernetes() {
        let one = |operator: &str, values: Value| json!({"matchExpressions": [{"key": "k", "operator": operator, "values": values}]});
        for (stated, with_a, with_b, without) in [
            (json!({}), true, true, true),
            (json!({"matchLabels": {"k": "a"}}), true, false, false),
            (one("In", json!(["a", "x"])), true, false, false),
            (one("NotIn", json!(["a", "x"])), false, true, true),
            (one("Exists", json!(null)), true, true, false),
            (one("DoesNotExist", json!([])), false, false, true),
        ] {
            assert_eq!(
                matches(stated.clone(), json!({"k": "a"})),
                with_a,
                "{stated}"
            );
            assert_eq!(
                matches(stated.clone(), json!({"k": "b"})),
                with_b,
                "{stated}"
            );
            assert_eq!(
                matches(stated.clone(), json!({"j": "a"})),
                without,
                "{stated}"
            );
        }
        let both = json!({"matchLabels": {"k": "a"}, "matchExpressions": [{"key": "j", "operator": "Exists"}]});
        assert!(matches(both.clone(), json!({"k": "a", "j": ""})));
        assert!(!matches(both, json!({"k": "a"})), "all of it must hold");
    }

    #[test]
    fn a_wrong_requirement_is_named() {
        let one = |key: &str, operator: &str, values: Value| {
            let requirement = json!({"key": key, "operator": operator, "values": values});
            selector(json!({"matchExpressions": [requirement]})).expect_err("wrong")
        };
        assert_eq!(
            one("k", "Equals", json!(["a"])),
            "\"Equals\" is not a valid label selector operator"
        );
        assert_eq!(
            one("k", "In", json!([])),
            "operator In of key \"k\" needs values"
        );
        assert_eq!(
            one("k", "Exists", json!(["a"])),
            "operator Exists of key \"k\" takes no values"
        );
        assert_eq!(
            one("a/b/c", "Exists", json!(null)),
            "key \"a/b/c\" is not the name of a label"
        );
        assert_eq!(
            one("", "Exists", json!(null)),
            "key \"\" is not the name of a label"
        );
        assert_eq!(
            one("k", "In", json!(["no spaces"])),
            "value \"no spaces\" of key \"k\" is not the value of a label"
        );
    }
}
