//! How add-ons fare: by the life of their WEC, by their works, and in the labels of the inventory
//! object.

use hyades_api::addon::ManagedClusterAddOn;
use hyades_api::addon::conditions as known;
use hyades_api::addon::identity::AddOnName;
use hyades_api::addon::names;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::managed_cluster;
use hyades_api::conditions::work as work_conditions;
use hyades_api::work::FieldValue;
use hyades_api::work::ManifestStatus;
use hyades_api::work::ManifestWork;
use hyades_runtime::kube::ResourceExt;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;

/// Whether nobody knows how the WEC fares.
pub(super) fn is_lost(cluster: &ManagedCluster) -> bool {
    let found = conditions::find(&cluster.status.conditions, managed_cluster::AVAILABLE);
    found.is_some_and(|found| found.status == "Unknown")
}

/// The labels of an inventory object that differ from what its add-ons say, as a merge patch of
/// `metadata.labels`; nothing if none do.
pub(super) fn labels<'a>(
    cluster: &ManagedCluster,
    addons: impl Iterator<Item = &'a ManagedClusterAddOn>,
) -> Option<Value> {
    let wanted: BTreeMap<String, &str> = addons
        .filter(|addon| addon.metadata.deletion_timestamp.is_none())
        .filter_map(|addon| {
            let name: AddOnName = addon.name_any().parse().ok()?;
            let label = names::feature_label(&name);
            // A label's key has at most 63 bytes after the slash; of longer names nothing can be said.
            let fits = label.rsplit('/').next().is_some_and(|key| key.len() <= 63);
            fits.then(|| (label, value(addon)))
        })
        .collect();
    let mut changes = serde_json::Map::new();
    for (key, present) in cluster.labels() {
        if key.starts_with(names::FEATURE_LABEL_PREFIX) && !wanted.contains_key(key) {
            changes.insert(key.clone(), Value::Null);
        } else if wanted.get(key).is_some_and(|value| value == present) {
            continue;
        }
    }
    for (key, value) in &wanted {
        if cluster.labels().get(key).map(String::as_str) != Some(value) {
            changes.insert(key.clone(), json!(value));
        }
    }
    (!changes.is_empty()).then_some(Value::Object(changes))
}

fn value(addon: &ManagedClusterAddOn) -> &'static str {
    let found = conditions::find(&addon.status.conditions, known::AVAILABLE);
    match found.map(|found| found.status.as_str()) {
        Some("True") => "available",
        Some("False") => "unhealthy",
        _ => "unreachable",
    }
}

/// A Deployment or DaemonSet whose pods say how the add-on fares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Workload {
    /// `deployments` or `daemonsets`.
    pub(super) resource: &'static str,
    pub(super) namespace: String,
    pub(super) name: String,
}

/// The workloads among manifests that want pods.
pub(super) fn workloads(manifests: &[Value]) -> Vec<Workload> {
    let found = manifests.iter().filter_map(|manifest| {
        let resource = match (manifest["apiVersion"].as_str()?, manifest["kind"].as_str()?) {
            ("apps/v1", "Deployment") if manifest["spec"]["replicas"] != 0 => "deployments",
            ("apps/v1", "DaemonSet") => "daemonsets",
            _ => return None,
        };
        let text = |key: &str| {
            manifest["metadata"][key]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        Some(Workload {
            resource,
            namespace: text("namespace"),
            name: text("name"),
        })
    });
    found.collect()
}

/// How an add-on fares by what its work reports of its workloads.
pub(super) fn by_work(
    addon: &str,
    work: Option<&ManifestWork>,
    workloads: &[Workload],
) -> Statement {
    let Some(work) = work else {
        return known::WORK_NOT_FOUND;
    };
    let available = conditions::find(&work.status.conditions, work_conditions::AVAILABLE);
    match available {
        None => return known::WORK_NOT_APPLIED,
        Some(found) if found.status == "False" => {
            let message = found.message.clone();
            return known::PROBE_UNAVAILABLE
                .with_reason("WorkNotApply")
                .with_message(message);
        }
        Some(_) => {}
    }
    let statuses = &work.status.resource_status.manifests;
    let mut silent = Vec::new();
    for workload in workloads {
        let status = statuses.iter().find(|status| is_of(status, workload));
        let Some(values) = status.map(values).filter(|values| !values.is_empty()) else {
            silent.push(workload);
            continue;
        };
        if let Some(why) = unwell(workload, &values) {
            let message = format!("Probe addon unavailable with err {why}");
            return known::PROBE_UNAVAILABLE.with_message(message);
        }
    }
    match silent.first() {
        Some(first) if silent.len() == workloads.len() => {
            let message = format!(
                "Probe results are not returned for apps/{}: {}/{}",
                first.resource, first.namespace, first.name
            );
            known::NO_PROBE_RESULT.with_message(message)
        }
        _ => known::PROBE_AVAILABLE.with_message(format!("{addon} add-on is available.")),
    }
}

fn is_of(status: &ManifestStatus, workload: &Workload) -> bool {
    let meta = &status.resource_meta;
    meta.group == "apps"
        && meta.resource == workload.resource
        && meta.namespace == workload.namespace
        && meta.name == workload.name
}

fn values(status: &ManifestStatus) -> BTreeMap<&str, &FieldValue> {
    let values = status.status_feedback.values.iter();
    values
        .map(|value| (value.name.as_str(), &value.field_value))
        .collect()
}

fn unwell(workload: &Workload, values: &BTreeMap<&str, &FieldValue>) -> Option<String> {
    let number = |name: &str| values.get(name).and_then(|value| value.integer);
    let (wanted, ready) = match workload.resource {
        "deployments" => (number("Replicas"), number("ReadyReplicas")),
        _ => (number("DesiredNumberScheduled"), number("NumberReady")),
    };
    let ready = ready.unwrap_or(0);
    let enough = wanted.is_none_or(|wanted| ready >= wanted.min(1));
    (!enough).then(|| {
        format!(
            "readyReplicas is {ready} for {} {}/{}",
            workload.resource, workload.namespace, workload.name
        )
    })
}

/// The rules by which the WEC's agent reports what [`by_work`] reads.
pub(super) fn feedback_rules(workloads: &[Workload]) -> Vec<Value> {
    let rule = |workload: &Workload| {
        json!({
            "resourceIdentifier": {
                "group": "apps",
                "resource": workload.resource,
                "namespace": workload.namespace,
                "name": workload.name,
            },
            "feedbackRules": [{"type": "WellKnownStatus"}],
        })
    };
    workloads.iter().map(rule).collect()
}

#[cfg(test)]
mod tests;
