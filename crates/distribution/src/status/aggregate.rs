//! One status made of several: what is true of all WECs, and the worst of what differs.
//!
//! KubeStellar's rules for Deployments, ReplicaSets and DaemonSets are those of its code. For all
//! other kinds they are those of its documentation, whose code for them came later or never.

use crate::object::GroupResource;
use hyades_api::conditions::Status;
use jiff::Timestamp;
use serde_json::Map;
use serde_json::Value;
use std::collections::BTreeMap;

type Fields = Map<String, Value>;

/// How one field is made of those of all WECs.
enum Rule {
    /// The least of the whole numbers. An absent one is 0, which these kinds leave out of what
    /// they write; else a WEC with nothing available would count as one with everything.
    Min,
    /// The greatest of the whole numbers.
    Max,
    /// By type, as documented.
    Conditions,
    /// The first condition of this type, and this reason if one is given; else none.
    FirstCondition {
        type_: &'static str,
        reason: Option<&'static str>,
    },
    /// By the general rules.
    General,
}

const DEPLOYMENT: &[(&str, Rule)] = &[
    ("replicas", Rule::Min),
    ("updatedReplicas", Rule::Min),
    ("availableReplicas", Rule::Min),
    ("readyReplicas", Rule::Min),
    ("observedGeneration", Rule::Min),
    ("unavailableReplicas", Rule::Max),
    (
        "conditions",
        Rule::FirstCondition {
            type_: "Progressing",
            reason: Some("ProgressDeadlineExceeded"),
        },
    ),
];

const REPLICA_SET: &[(&str, Rule)] = &[
    ("replicas", Rule::Min),
    ("fullyLabeledReplicas", Rule::Min),
    ("readyReplicas", Rule::Min),
    ("availableReplicas", Rule::Min),
    ("observedGeneration", Rule::Min),
    (
        "conditions",
        Rule::FirstCondition {
            type_: "ReplicaFailure",
            reason: None,
        },
    ),
];

const DAEMON_SET: &[(&str, Rule)] = &[
    ("currentNumberScheduled", Rule::Min),
    ("desiredNumberScheduled", Rule::Min),
    ("numberReady", Rule::Min),
    ("observedGeneration", Rule::Min),
    ("updatedNumberScheduled", Rule::Min),
    ("numberAvailable", Rule::Min),
    ("numberMisscheduled", Rule::Max),
];

/// `availableReplicas` is not in KubeStellar's code, whose documentation likens the kind to a
/// Deployment.
const STATEFUL_SET: &[(&str, Rule)] = &[
    ("replicas", Rule::Min),
    ("readyReplicas", Rule::Min),
    ("currentReplicas", Rule::Min),
    ("updatedReplicas", Rule::Min),
    ("availableReplicas", Rule::Min),
    ("observedGeneration", Rule::Min),
    ("conditions", Rule::Conditions),
    ("currentRevision", Rule::General),
    ("updateRevision", Rule::General),
];

const JOB: &[(&str, Rule)] = &[
    ("active", Rule::Min),
    ("succeeded", Rule::Min),
    ("failed", Rule::Min),
    ("conditions", Rule::Conditions),
];

/// The status that stands for these, of which there are two at least.
pub fn aggregate(resource: &GroupResource, statuses: &[&Value]) -> Value {
    let fields: Vec<&Fields> = statuses
        .iter()
        .filter_map(|status| status.as_object())
        .collect();
    let rules = match (resource.group.as_str(), resource.resource.as_str()) {
        ("apps", "deployments") => DEPLOYMENT,
        ("apps", "replicasets") => REPLICA_SET,
        ("apps", "daemonsets") => DAEMON_SET,
        ("apps", "statefulsets") => STATEFUL_SET,
        ("batch", "jobs") => JOB,
        _ => return Value::Object(general_fields(&fields)),
    };
    let by_rule = rules
        .iter()
        .filter_map(|(name, rule)| Some(((*name).to_owned(), rule.apply(name, &fields)?)));
    Value::Object(by_rule.collect())
}

impl Rule {
    fn apply(&self, name: &str, all: &[&Fields]) -> Option<Value> {
        let number = |fields: &&Fields| fields.get(name).and_then(Value::as_i64).unwrap_or(0);
        let numbers = || all.iter().map(number);
        match self {
            Self::Min => Some(numbers().min().unwrap_or_default().into()),
            Self::Max => Some(numbers().max().unwrap_or_default().into()),
            Self::Conditions => Some(conditions(all)),
            Self::FirstCondition { type_, reason } => {
                let wanted = |condition: &&Value| {
                    let is = |field: &str, text: &str| condition[field].as_str() == Some(text);
                    is("type", type_) && reason.is_none_or(|reason| is("reason", reason))
                };
                let first = listed(all, name).find(wanted).cloned();
                Some(Value::Array(first.into_iter().collect()))
            }
            Self::General => general(name, all),
        }
    }
}

fn listed<'a>(all: &[&'a Fields], name: &str) -> impl Iterator<Item = &'a Value> {
    let lists = all
        .iter()
        .filter_map(move |fields| fields.get(name)?.as_array());
    lists.flatten().collect::<Vec<_>>().into_iter()
}

fn general_fields(all: &[&Fields]) -> Fields {
    let mut names: Vec<&String> = all.iter().flat_map(|fields| fields.keys()).collect();
    names.sort_unstable();
    names.dedup();
    names
        .into_iter()
        .filter_map(|name| Some((name.clone(), general(name, all)?)))
        .collect()
}

/// A field by the general rules: numbers become the least one, truth values are true if all are,
/// conditions are merged, and all else stays only if it is the same everywhere.
fn general(name: &str, all: &[&Fields]) -> Option<Value> {
    let values: Vec<&Value> = all.iter().filter_map(|fields| fields.get(name)).collect();
    let is_everywhere = values.len() == all.len();
    if name == "conditions" && values.iter().all(|value| value.is_array()) {
        return Some(conditions(all));
    }
    if let Some(numbers) = each(&values, |value| Some((value.as_f64()?, value))) {
        let least = numbers
            .into_iter()
            .min_by(|(left, _), (right, _)| left.total_cmp(right));
        return least.map(|(_, value)| value.clone());
    }
    if let Some(truths) = each(&values, Value::as_bool) {
        // A false one is often left out of an object, so that an absent one counts as false.
        let is_true = is_everywhere && truths.into_iter().all(|truth| truth);
        return Some(Value::Bool(is_true));
    }
    let first = *values.first()?;
    let is_same = is_everywhere && values.iter().all(|value| *value == first);
    is_same.then(|| first.clone())
}

/// What all values are, if each is.
fn each<'a, T>(values: &[&'a Value], of: impl Fn(&'a Value) -> Option<T>) -> Option<Vec<T>> {
    values.iter().map(|value| of(value)).collect()
}

/// One condition of each type, by type.
fn conditions(all: &[&Fields]) -> Value {
    let mut by_type: BTreeMap<&str, Vec<&Value>> = BTreeMap::new();
    for condition in listed(all, "conditions") {
        if let Some(type_) = condition["type"].as_str().filter(|it| !it.is_empty()) {
            by_type.entry(type_).or_default().push(condition);
        }
    }
    by_type.into_values().filter_map(merged).collect()
}

/// The latest of the conditions of one type, with the state of all: false if any is, else unknown if
/// any is.
fn merged(conditions: Vec<&Value>) -> Option<Value> {
    let is_any = |state: Status| {
        let is = |condition: &&Value| condition["status"].as_str() == Some(state.as_str());
        conditions.iter().any(is)
    };
    let state = [Status::False, Status::Unknown]
        .into_iter()
        .find(|state| is_any(*state))
        .unwrap_or(Status::True);
    let time = |condition: &Value| -> Option<Timestamp> {
        condition["lastTransitionTime"].as_str()?.parse().ok()
    };
    // Of several with the same time the first one, whose WEC comes first by name.
    let mut latest = *conditions.first()?;
    for condition in &conditions {
        if time(condition) > time(latest) {
            latest = condition;
        }
    }
    let mut merged = latest.clone();
    merged["status"] = state.as_str().into();
    Some(merged)
}

#[cfg(test)]
mod tests;
