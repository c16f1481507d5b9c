//! What an object leaves behind when it goes from its WDS to a WEC: everything that the WDS's own
//! machinery gave it.

use hyades_api::control::names::annotations;
use hyades_api::control::names::labels;
use serde_json::Map;
use serde_json::Value;

/// Metadata that says something about the object in its WDS only. An object whose deletion is held
/// up there is as it was until it is gone.
const METADATA: [&str; 11] = [
    "creationTimestamp",
    "deletionGracePeriodSeconds",
    "deletionTimestamp",
    "finalizers",
    "generateName",
    "generation",
    "managedFields",
    "ownerReferences",
    "resourceVersion",
    "selfLink",
    "uid",
];

/// What `kubectl apply` remembers; the WEC has its own author.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Fields of a Service that its cluster chooses.
const SERVICE_SPEC: [&str; 5] = [
    "externalTrafficPolicy",
    "internalTrafficPolicy",
    "ipFamilies",
    "ipFamilyPolicy",
    "sessionAffinity",
];

/// The address of a Service that has none, which is the author's choice and stays.
const HEADLESS: &str = "None";

/// The value of the annotation that keeps a Service's node ports.
const PRESERVE_NODE_PORT: &str = "nodeport";

/// By these the Job controller of the WDS knows its pods.
const JOB_LABELS: [&str; 2] = ["batch.kubernetes.io/controller-uid", "controller-uid"];
const JOB_TRACKING: &str = "batch.kubernetes.io/job-tracking";
/// Fields of a Job that are made for its uid, or say what it does in the WDS.
const JOB_SPEC: [&str; 2] = ["selector", "suspend"];

/// Takes off an object what is not to travel.
pub fn clean(object: &mut Value) {
    let kind = |object: &Value, name: &str| object[name].as_str().map(str::to_owned);
    let kind = (kind(object, "apiVersion"), kind(object, "kind"));
    let Value::Object(fields) = object else {
        return;
    };
    fields.remove("status");
    if let Some(metadata) = member(fields, "metadata") {
        remove_all(metadata, &METADATA);
        remove_from(metadata, "annotations", &[LAST_APPLIED]);
        remove_from(metadata, "labels", &labels::OF_THE_WDS);
    }
    match (kind.0.as_deref(), kind.1.as_deref()) {
        (Some("v1"), Some("Service")) => clean_service(fields),
        (Some("batch/v1"), Some("Job")) => clean_job(fields),
        _ => {}
    }
}

fn member<'m>(
    fields: &'m mut Map<String, Value>,
    name: &str,
) -> Option<&'m mut Map<String, Value>> {
    fields.get_mut(name)?.as_object_mut()
}

fn remove_all(fields: &mut Map<String, Value>, names: &[&str]) {
    for name in names {
        fields.remove(*name);
    }
}

/// Removes entries of a map, and with the last of them the map.
fn remove_from(fields: &mut Map<String, Value>, map: &str, names: &[&str]) {
    let Some(entries) = member(fields, map) else {
        return;
    };
    remove_all(entries, names);
    if entries.is_empty() {
        fields.remove(map);
    }
}

fn clean_service(fields: &mut Map<String, Value>) {
    let metadata = fields.get("metadata");
    let preserve = metadata.map(|metadata| &metadata["annotations"][annotations::PRESERVE]);
    let keeps_node_ports = preserve.is_some_and(|preserve| preserve == PRESERVE_NODE_PORT);
    let Some(spec) = member(fields, "spec") else {
        return;
    };
    remove_all(spec, &SERVICE_SPEC);
    if spec
        .get("clusterIP")
        .is_some_and(|address| address != HEADLESS)
    {
        spec.remove("clusterIP");
    }
    if let Some(Value::Array(addresses)) = spec.get_mut("clusterIPs") {
        addresses.retain(|address| address == HEADLESS);
        if addresses.is_empty() {
            spec.remove("clusterIPs");
        }
    }
    if keeps_node_ports {
        return;
    }
    let ports = spec.get_mut("ports").and_then(Value::as_array_mut);
    for port in ports.into_iter().flatten() {
        if let Some(port) = port.as_object_mut() {
            port.remove("nodePort");
        }
    }
}

fn clean_job(fields: &mut Map<String, Value>) {
    if let Some(metadata) = member(fields, "metadata") {
        remove_from(metadata, "annotations", &[JOB_TRACKING]);
        remove_from(metadata, "labels", &JOB_LABELS);
    }
    let Some(spec) = member(fields, "spec") else {
        return;
    };
    remove_all(spec, &JOB_SPEC);
    let template = member(spec, "template");
    if let Some(metadata) = template.and_then(|template| member(template, "metadata")) {
        remove_from(metadata, "labels", &JOB_LABELS);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[track_caller]
    fn cleaned(mut object: Value, expected: Value) {
        clean(&mut object);
        assert_eq!(object, expected);
    }

    #[test]
    fn every_object_leaves_behind_what_its_wds_gave_it() {
        cleaned(
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {
                    "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7",
                    "generation": 3, "creationTimestamp": "2026-01-01T00:00:00Z", "selfLink": "/x",
                    "generateName": "web-", "finalizers": ["f"], "managedFields": [{}],
                    "ownerReferences": [{"uid": "o"}],
                    "labels": {"app": "web", "managed-by.kubestellar.io/singletonstatus": "true",
                        "managed-by.kubestellar.io/multiwecstatus": "true",
                        "kubestellar.io/executing-count": "1"},
                    "annotations": {"kubectl.kubernetes.io/last-applied-configuration": "{}",
                        "note": "stays"},
                },
                "spec": {"replicas": 2, "status": "an inner one stays"},
                "status": {"replicas": 2},
            }),
            json!({
                "apiVersion": "apps/v1", "kind": "Deployment",
                "metadata": {"name": "web", "namespace": "shop", "labels": {"app": "web"},
                    "annotations": {"note": "stays"}},
                "spec": {"replicas": 2, "status": "an inner one stays"},
            }),
        );
        cleaned(
            json!({"metadata": {"name": "a", "annotations":
                {"kubectl.kubernetes.io/last-applied-configuration": "{}"}}}),
            json!({"metadata": {"name": "a"}}),
        );
    }

    #[test]
    fn a_deletion_that_a_finalizer_holds_up_changes_nothing() {
        cleaned(
            json!({"metadata": {"name": "a", "deletionTimestamp": "2026-01-01T00:00:00Z",
                "deletionGracePeriodSeconds": 0, "finalizers": ["f"]}}),
            json!({"metadata": {"name": "a"}}),
        );
    }

    fn service(annotations: Value, spec: Value) -> Value {
        json!({"apiVersion": "v1", "kind": "Service",
            "metadata": {"name": "s", "annotations": annotations}, "spec": spec})
    }

    #[test]
    fn a_service_leaves_behind_what_its_cluster_chose() {
        cleaned(
            service(
                json!({"a": "b"}),
                json!({
                    "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"],
                    "ipFamilies": ["IPv4"], "ipFamilyPolicy": "SingleStack",
                    "internalTrafficPolicy": "Cluster", "externalTrafficPolicy": "Cluster",
                    "sessionAffinity": "None", "type": "NodePort", "selector": {"a": "b"},
                    "ports": [{"port": 80, "nodePort": 30080}, {"port": 81}],
                }),
            ),
            service(
                json!({"a": "b"}),
                json!({"type": "NodePort", "selector": {"a": "b"},
                    "ports": [{"port": 80}, {"port": 81}]}),
            ),
        );
    }

    #[test]
    fn a_headless_service_stays_headless_and_node_ports_stay_if_asked_for() {
        let spec = json!({"clusterIP": "None", "clusterIPs": ["None"],
            "ports": [{"port": 80, "nodePort": 30080}]});
        let annotations = json!({"control.kubestellar.io/preserve": "nodeport"});
        cleaned(
            service(annotations.clone(), spec.clone()),
            service(annotations, spec),
        );
    }

    #[test]
    fn a_job_leaves_behind_what_its_controller_gave_it() {
        cleaned(
            json!({
                "apiVersion": "batch/v1", "kind": "Job",
                "metadata": {"name": "j",
                    "labels": {"controller-uid": "u", "batch.kubernetes.io/controller-uid": "u",
                        "job-name": "j"},
                    "annotations": {"batch.kubernetes.io/job-tracking": ""}},
                "spec": {"suspend": false, "selector": {"matchLabels": {"controller-uid": "u"}},
                    "template": {"metadata": {"labels": {"controller-uid": "u",
                        "batch.kubernetes.io/controller-uid": "u", "app": "j"}}, "spec": {}}},
                "status": {"succeeded": 1},
            }),
            json!({
                "apiVersion": "batch/v1", "kind": "Job",
                "metadata": {"name": "j", "labels": {"job-name": "j"}},
                "spec": {"template": {"metadata": {"labels": {"app": "j"}}, "spec": {}}},
            }),
        );
    }

    #[test]
    fn kinds_of_the_same_name_in_other_groups_keep_their_fields() {
        let object = json!({"apiVersion": "serving.knative.dev/v1", "kind": "Service",
            "metadata": {"name": "s"}, "spec": {"sessionAffinity": "None"}});
        cleaned(object.clone(), object);
    }
}
