//! Columns against those a real API server was recorded with, and rows by example.

use serde::Deserialize;

use super::*;

#[derive(Deserialize)]
struct Recorded {
    group: String,
    plural: String,
    columns: Vec<(String, String, String, i64)>,
}

fn now() -> Timestamp {
    "2026-11-24T05:46:34Z".parse().expect("a time")
}

/// The cells of an object that was created three seconds ago.
fn cells(group: &str, plural: &str, mut object: Value) -> Vec<Value> {
    object["metadata"]["creationTimestamp"] = json!("2026-11-24T05:46:31Z");
    Columns::built_in(group, plural).row(&object, now())
}

#[test]
fn every_recorded_kind_has_its_columns() {
    let recorded = include_str!("../../tests/data/columns.jsonl");
    for line in recorded.lines() {
        let recorded: Recorded = serde_json::from_str(line).expect("a fixture line");
        let columns = Columns::built_in(&recorded.group, &recorded.plural);
        let headers: Vec<(String, String, String, i64)> = columns
            .headers()
            .into_iter()
            .map(|column| {
                (
                    column.name.into(),
                    column.kind.into(),
                    column.format.into(),
                    column.priority,
                )
            })
            .collect();
        assert_eq!(
            headers, recorded.columns,
            "{}/{}",
            recorded.group, recorded.plural
        );
        let row = columns.row(&json!({"metadata": {"name": "x"}}), now());
        assert_eq!(
            row.len(),
            headers.len(),
            "cells of an empty {}",
            recorded.plural
        );
    }
}

#[test]
fn rows_read_as_recorded() {
    let template = json!({"metadata": {"labels": {"app": "d1"}}, "spec": {"containers": [{"name": "only", "image": "z"}]}});
    let deployment = json!({
        "metadata": {"name": "d1"},
        "spec": {"replicas": 5, "selector": {"matchLabels": {"app": "d1"}}, "template": template},
        "status": {"replicas": 5, "updatedReplicas": 5, "unavailableReplicas": 5},
    });
    let expected = [
        json!("d1"),
        json!("0/5"),
        json!(5),
        json!(0),
        json!("3s"),
        json!("only"),
        json!("z"),
        json!("app=d1"),
    ];
    assert_eq!(cells("apps", "deployments", deployment), expected);

    let class = json!({"metadata": {"name": "system-cluster-critical"}, "value": 2_000_000_000, "preemptionPolicy": "PreemptLowerPriority"});
    let expected = [
        json!("system-cluster-critical"),
        json!(2_000_000_000),
        json!(false),
        json!("3s"),
        json!("PreemptLowerPriority"),
    ];
    assert_eq!(
        cells("scheduling.k8s.io", "priorityclasses", class),
        expected
    );

    let binding = json!({
        "metadata": {"name": "cluster-admin"},
        "roleRef": {"kind": "ClusterRole", "name": "cluster-admin"},
        "subjects": [{"kind": "Group", "name": "system:masters"}],
    });
    let expected = [
        json!("cluster-admin"),
        json!("ClusterRole/cluster-admin"),
        json!("3s"),
        json!(""),
        json!("system:masters"),
        json!(""),
    ];
    assert_eq!(
        cells("rbac.authorization.k8s.io", "clusterrolebindings", binding),
        expected
    );

    let event = json!({
        "metadata": {"name": "d1.18eae500efff85e1"},
        "involvedObject": {"kind": "ReplicaSet", "name": "d1-5c84dbdfcc"},
        "reason": "SuccessfulCreate", "message": "Created pod: x\n", "type": "Normal", "count": 1,
        "source": {"component": "replicaset-controller"},
        "firstTimestamp": "2026-11-24T05:46:33Z", "lastTimestamp": "2026-11-24T05:46:33Z",
    });
    let expected = [
        json!("1s"),
        json!("Normal"),
        json!("SuccessfulCreate"),
        json!("replicaset/d1-5c84dbdfcc"),
        json!(""),
        json!("replicaset-controller"),
        json!("Created pod: x"),
        json!("1s"),
        json!(1),
        json!("d1.18eae500efff85e1"),
    ];
    assert_eq!(cells("", "events", event), expected);
}

#[test]
fn kinds_without_columns_show_their_time_of_creation() {
    let row = cells(
        "rbac.authorization.k8s.io",
        "roles",
        json!({"metadata": {"name": "r"}}),
    );
    assert_eq!(row, [json!("r"), json!("2026-11-24T05:46:31Z")]);
}

/// Ready, status and restarts of a pod.
fn pod(metadata: Value, spec: Value, status: Value) -> [String; 3] {
    let mut object = json!({"metadata": metadata, "spec": spec, "status": status});
    object["metadata"]["name"] = json!("p");
    let row = cells("", "pods", object);
    [1, 2, 3].map(|place| row[place].as_str().expect("text").to_owned())
}

#[test]
fn pods_say_what_their_containers_do() {
    let one = || json!({"containers": [{"name": "a"}]});
    let with_init =
        || json!({"initContainers": [{"name": "i"}, {"name": "j"}], "containers": [{"name": "a"}]});
    let cases = [
        (
            json!({}),
            one(),
            json!({"phase": "Pending"}),
            ["0/1", "Pending", "0"],
        ),
        (
            json!({}),
            one(),
            json!({"phase": "Running", "containerStatuses": [{"name": "a", "ready": true, "restartCount": 0, "state": {"running": {}}}]}),
            ["1/1", "Running", "0"],
        ),
        (
            json!({}),
            one(),
            json!({"phase": "Running", "containerStatuses": [{"name": "a", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                "lastState": {"terminated": {"finishedAt": "2026-11-24T05:46:24Z"}}}]}),
            ["0/1", "CrashLoopBackOff", "2 (10s ago)"],
        ),
        (
            json!({}),
            one(),
            json!({"phase": "Succeeded", "containerStatuses": [{"name": "a", "state": {"terminated": {"reason": "Completed", "exitCode": 0}}}]}),
            ["0/1", "Completed", "0"],
        ),
        (
            json!({}),
            one(),
            json!({"phase": "Failed", "containerStatuses": [{"name": "a", "state": {"terminated": {"exitCode": 3}}}]}),
            ["0/1", "ExitCode:3", "0"],
        ),
        (
            json!({"deletionTimestamp": "2026-11-24T05:46:33Z"}),
            one(),
            json!({"phase": "Running"}),
            ["0/1", "Terminating", "0"],
        ),
        (
            json!({}),
            with_init(),
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "state": {"terminated": {"exitCode": 0}}}, {"name": "j", "state": {"running": {}}}]}),
            ["0/1", "Init:1/2", "0"],
        ),
        (
            json!({}),
            with_init(),
            json!({"phase": "Pending", "initContainerStatuses": [{"name": "i", "restartCount": 1, "state": {"waiting": {"reason": "ErrImagePull"}}}]}),
            ["0/1", "Init:ErrImagePull", "1"],
        ),
        (
            json!({}),
            one(),
            json!({"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
            ["0/1", "SchedulingGated", "0"],
        ),
    ];
    for (metadata, spec, status, expected) in cases {
        assert_eq!(pod(metadata, spec, status.clone()), expected, "{status}");
    }
}

#[test]
fn signing_requests_say_what_was_decided() {
    let state = |status: Value| {
        let object = json!({"metadata": {"name": "c"}, "spec": {"signerName": "s", "username": "u", "expirationSeconds": 3600}, "status": status});
        cells("certificates.k8s.io", "certificatesigningrequests", object)
    };
    let expected = [
        json!("c"),
        json!("3s"),
        json!("s"),
        json!("u"),
        json!("60m"),
        json!("Pending"),
    ];
    assert_eq!(state(json!({})), expected);
    let issued = state(
        json!({"conditions": [{"type": "Approved", "status": "True"}], "certificate": "eA=="}),
    );
    assert_eq!(issued[5], "Approved,Issued");
    let denied = state(json!({"conditions": [{"type": "Denied", "status": "True"}]}));
    assert_eq!(denied[5], "Denied");
}

/// A printer column; its description is left to the server.
fn printer_column(name: &str, kind: &str, json_path: &str, priority: i32) -> PrinterColumn {
    PrinterColumn {
        name: name.into(),
        kind: kind.into(),
        format: String::new(),
        description: String::new(),
        priority,
        json_path: json_path.into(),
    }
}

#[test]
fn custom_columns_follow_their_paths() {
    let ready = ".status.conditions[?(@.type==\"Ready\")].status";
    let columns = Columns::custom(&[
        printer_column("Size", "integer", ".spec.size", 0),
        printer_column("Ready", "string", ready, 0),
        printer_column("Age", "date", ".metadata.creationTimestamp", 0),
        printer_column("Missing", "string", ".spec.missing", 1),
    ])
    .expect("valid paths");
    let object = json!({
        "metadata": {"name": "a", "creationTimestamp": "2026-11-24T05:46:34Z"},
        "spec": {"size": 6},
        "status": {"conditions": [{"type": "Ready", "status": "True"}]},
    });
    assert_eq!(
        columns.row(&object, now()),
        [
            json!("a"),
            json!(6),
            json!("True"),
            json!("0s"),
            Value::Null
        ]
    );
    let headers = columns.headers();
    let expected = format!("Custom resource definition column (in JSONPath format): {ready}");
    assert_eq!(headers[2].description, expected);
    assert_eq!(headers[4].priority, 1);
}

#[test]
fn a_custom_resource_without_columns_shows_its_age() {
    let columns = Columns::custom(&[]).expect("no paths");
    let names: Vec<String> = columns
        .headers()
        .into_iter()
        .map(|column| column.name.into())
        .collect();
    assert_eq!(names, ["Name", "Age"]);
}

#[test]
fn a_path_that_does_not_parse_is_named() {
    let refused = Columns::custom(&[printer_column("X", "string", ".a[", 0)]);
    let message = refused.err().map(|error| error.to_string());
    let expected = "the printer column \"X\" has an invalid jsonPath \".a[\": unterminated array";
    assert_eq!(message.as_deref(), Some(expected));
}

#[test]
fn rows_carry_as_much_of_their_object_as_is_asked_for() {
    let object = json!({"metadata": {"name": "a", "creationTimestamp": "2026-11-24T05:46:31Z"}, "data": {"k": "v"}});
    let objects = [object.clone()];
    let columns = Columns::built_in("", "configmaps");
    let shown = |include, headers| {
        table(
            &objects,
            json!({"resourceVersion": "5"}),
            &columns,
            include,
            headers,
            now(),
        )
    };

    let first = shown(IncludeObject::Metadata, true);
    assert_eq!(first["metadata"], json!({"resourceVersion": "5"}));
    assert_eq!(first["columnDefinitions"][0]["format"], "name");
    assert_eq!(first["rows"][0]["cells"], json!(["a", 1, "3s"]));
    let expected = json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": object["metadata"]});
    assert_eq!(first["rows"][0]["object"], expected);

    let later = shown(IncludeObject::Nothing, false);
    assert_eq!(later["columnDefinitions"], Value::Null);
    assert_eq!(later["rows"][0]["object"], Value::Null);
    assert_eq!(
        shown(IncludeObject::Object, false)["rows"][0]["object"],
        object
    );
}

#[test]
fn a_pod_that_has_run_its_course_says_so_in_its_row() {
    let pod = json!({"metadata": {"name": "p"}, "status": {"phase": "Failed"}});
    let columns = Columns::built_in("", "pods");
    let shown = table(
        &[pod],
        json!({}),
        &columns,
        IncludeObject::Nothing,
        true,
        now(),
    );
    assert_eq!(shown["rows"][0]["conditions"][0]["reason"], "Failed");
}
