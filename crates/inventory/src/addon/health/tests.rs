//! Labels and probes.

use super::*;

fn cluster(labels: Value) -> ManagedCluster {
    serde_json::from_value(json!({"metadata": {"name": "c1", "labels": labels}})).expect("a WEC")
}

fn addon(name: &str, available: Option<&str>) -> ManagedClusterAddOn {
    let conditions: Vec<_> = available
        .iter()
        .map(|status| {
            json!({
                "type": "Available", "status": status, "reason": "R", "message": "",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        })
        .collect();
    serde_json::from_value(json!({
        "metadata": {"name": name, "namespace": "c1"}, "spec": {},
        "status": {"conditions": conditions},
    }))
    .expect("an add-on")
}

#[test]
fn labels_say_available_unhealthy_or_unreachable() {
    let addons = [
        addon("a", Some("True")),
        addon("b", Some("False")),
        addon("c", Some("Unknown")),
        addon("d", None),
    ];
    let key = |name: &str| format!("feature.open-cluster-management.io/addon-{name}");
    assert_eq!(
        labels(&cluster(json!({})), addons.iter()),
        Some(json!({
            key("a"): "available", key("b"): "unhealthy",
            key("c"): "unreachable", key("d"): "unreachable",
        }))
    );
}

#[test]
fn labels_go_with_their_add_on_and_nothing_is_written_when_all_are_right() {
    let present = json!({
        "feature.open-cluster-management.io/addon-a": "available",
        "feature.open-cluster-management.io/addon-gone": "available",
        "team": "x",
    });
    let changes = labels(&cluster(present), [addon("a", Some("True"))].iter());
    assert_eq!(
        changes,
        Some(json!({"feature.open-cluster-management.io/addon-gone": null}))
    );
    let right = json!({"feature.open-cluster-management.io/addon-a": "available", "team": "x"});
    assert_eq!(
        labels(&cluster(right), [addon("a", Some("True"))].iter()),
        None
    );
}

#[test]
fn names_too_long_for_a_label_are_left_out() {
    let addons = [addon(&"a".repeat(60), Some("True"))];
    assert_eq!(labels(&cluster(json!({})), addons.iter()), None);
}

fn work(available: Option<&str>, values: Value) -> ManifestWork {
    let conditions: Vec<_> = available
        .iter()
        .map(|status| {
            json!({
                "type": "Available", "status": status, "reason": "R", "message": "broken",
                "lastTransitionTime": "2026-01-01T00:00:00Z",
            })
        })
        .collect();
    serde_json::from_value(json!({
        "metadata": {"name": "w"}, "spec": {},
        "status": {
            "conditions": conditions,
            "resourceStatus": {"manifests": [{
                "resourceMeta": {
                    "ordinal": 0, "group": "apps", "resource": "deployments",
                    "namespace": "ns", "name": "d",
                },
                "statusFeedback": {"values": values},
            }]},
        },
    }))
    .expect("a work")
}

fn deployment() -> Vec<Workload> {
    workloads(&[
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
               "metadata": {"name": "d", "namespace": "ns"}, "spec": {}}),
        json!({"apiVersion": "apps/v1", "kind": "Deployment",
               "metadata": {"name": "none", "namespace": "ns"}, "spec": {"replicas": 0}}),
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}}),
    ])
}

fn replicas(wanted: i64, ready: i64) -> Value {
    let value = |name: &str, number: i64| json!({"name": name, "fieldValue": {"type": "Integer", "integer": number}});
    json!([value("Replicas", wanted), value("ReadyReplicas", ready)])
}

#[test]
fn an_add_on_with_a_deployment_fares_as_its_pods_do() {
    let judge = |work: Option<&ManifestWork>| {
        let said = by_work("hello", work, &deployment());
        (
            said.status.as_str(),
            said.reason.into_owned(),
            said.message.into_owned(),
        )
    };
    assert_eq!(judge(None).1, "WorkNotFound");
    assert_eq!(judge(Some(&work(None, json!([])))).1, "WorkNotApply");
    let broken = judge(Some(&work(Some("False"), json!([]))));
    assert_eq!((broken.0, broken.2.as_str()), ("False", "broken"));
    let silent = judge(Some(&work(Some("True"), json!([]))));
    assert_eq!(
        silent.2,
        "Probe results are not returned for apps/deployments: ns/d"
    );
    let down = judge(Some(&work(Some("True"), replicas(2, 0))));
    assert_eq!((down.0, down.1.as_str()), ("False", "ProbeUnavailable"));
    let well = judge(Some(&work(Some("True"), replicas(2, 1))));
    assert_eq!(
        (well.0, well.2.as_str()),
        ("True", "hello add-on is available.")
    );
}

#[test]
fn agents_are_asked_for_what_is_read() {
    let rules = feedback_rules(&deployment());
    assert_eq!(rules.len(), 1);
    assert_eq!(rules[0]["resourceIdentifier"]["name"], "d");
}
