//! The rules kind by kind.

use super::*;
use serde_json::json;

fn aggregated(group: &str, resource: &str, statuses: &[Value]) -> Value {
    let statuses: Vec<&Value> = statuses.iter().collect();
    aggregate(&GroupResource::new(group, resource), &statuses)
}

#[test]
fn a_deployment_is_as_far_as_its_slowest_wec() {
    let stuck = json!({
        "type": "Progressing", "status": "False", "reason": "ProgressDeadlineExceeded",
    });
    let statuses = [
        json!({
            "replicas": 3, "updatedReplicas": 3, "availableReplicas": 3, "readyReplicas": 3,
            "observedGeneration": 2, "collisionCount": 1,
            "conditions": [{"type": "Progressing", "status": "True", "reason": "NewReplicaSetAvailable"}],
        }),
        json!({
            "replicas": 2, "updatedReplicas": 1, "unavailableReplicas": 1,
            "observedGeneration": 1, "conditions": [{"type": "Available", "status": "True"}, stuck],
        }),
    ];
    assert_eq!(
        aggregated("apps", "deployments", &statuses),
        json!({
            "replicas": 2, "updatedReplicas": 1, "availableReplicas": 0, "readyReplicas": 0,
            "unavailableReplicas": 1, "observedGeneration": 1, "conditions": [stuck],
        }),
        "a number that is left out is 0"
    );
}

#[test]
fn replica_sets_and_daemon_sets_have_rules_of_their_own() {
    let failure = json!({"type": "ReplicaFailure", "status": "True"});
    let statuses = [
        json!({"replicas": 2, "readyReplicas": 2, "fullyLabeledReplicas": 2}),
        json!({"replicas": 1, "readyReplicas": 0, "conditions": [failure]}),
    ];
    assert_eq!(
        aggregated("apps", "replicasets", &statuses),
        json!({
            "replicas": 1, "fullyLabeledReplicas": 0, "readyReplicas": 0, "availableReplicas": 0,
            "observedGeneration": 0, "conditions": [failure],
        })
    );
    let statuses = [
        json!({"currentNumberScheduled": 3, "numberReady": 3, "numberMisscheduled": 0}),
        json!({"currentNumberScheduled": 5, "numberReady": 1, "numberMisscheduled": 2}),
    ];
    assert_eq!(
        aggregated("apps", "daemonsets", &statuses),
        json!({
            "currentNumberScheduled": 3, "desiredNumberScheduled": 0, "numberReady": 1,
            "observedGeneration": 0, "updatedNumberScheduled": 0, "numberAvailable": 0,
            "numberMisscheduled": 2,
        })
    );
}

#[test]
fn a_stateful_set_keeps_a_revision_that_all_wecs_share() {
    let statuses = [
        json!({"replicas": 3, "readyReplicas": 3, "currentRevision": "web-1", "updateRevision": "web-2"}),
        json!({"replicas": 2, "readyReplicas": 1, "currentRevision": "web-1", "updateRevision": "web-1"}),
    ];
    assert_eq!(
        aggregated("apps", "statefulsets", &statuses),
        json!({
            "replicas": 2, "readyReplicas": 1, "currentReplicas": 0, "updatedReplicas": 0,
            "availableReplicas": 0, "observedGeneration": 0, "conditions": [],
            "currentRevision": "web-1",
        })
    );
}

#[test]
fn a_job_is_complete_when_it_is_everywhere() {
    let complete = |status: &str, second: u32| {
        json!({
            "active": 0, "succeeded": 4, "startTime": "2026-01-01T00:00:00Z",
            "conditions": [{
                "type": "Complete", "status": status, "reason": format!("At{second}"),
                "lastTransitionTime": format!("2026-01-01T00:00:0{second}Z"),
            }],
        })
    };
    assert_eq!(
        aggregated("batch", "jobs", &[complete("True", 1), complete("True", 3)]),
        json!({
            "active": 0, "succeeded": 4, "failed": 0,
            "conditions": [{
                "type": "Complete", "status": "True", "reason": "At3",
                "lastTransitionTime": "2026-01-01T00:00:03Z",
            }],
        })
    );
}

#[test]
fn conditions_are_false_if_any_is_and_else_unknown_if_any_is() {
    let state = |states: &[&str]| {
        let statuses: Vec<Value> = states
            .iter()
            .map(|state| json!({"conditions": [{"type": "Ready", "status": state}]}))
            .collect();
        aggregated("example.com", "things", &statuses)["conditions"][0]["status"].clone()
    };
    assert_eq!(state(&["True", "True"]), "True");
    assert_eq!(state(&["True", "Unknown"]), "Unknown");
    assert_eq!(state(&["Unknown", "Unknown"]), "Unknown");
    assert_eq!(state(&["Unknown", "False", "True"]), "False");
}

#[test]
fn other_kinds_follow_the_general_rules() {
    let statuses = [
        json!({
            "count": 3, "share": 0.5, "ready": true, "synced": true, "phase": "Running",
            "host": "a", "list": [1, 2], "other": [1], "map": {"a": 1}, "only": "here",
            "conditions": [
                {"type": "B", "status": "True"},
                {"type": "A", "status": "True", "message": "old",
                 "lastTransitionTime": "2026-01-01T00:00:00Z"},
            ],
        }),
        json!({
            "count": 2, "share": 0.25, "ready": false, "phase": "Running", "host": "b",
            "list": [1, 2], "other": [2], "map": {"a": 1},
            "conditions": [
                {"type": "A", "status": "Unknown", "message": "new",
                 "lastTransitionTime": "2026-01-02T00:00:00+01:00"},
            ],
        }),
    ];
    assert_eq!(
        aggregated("example.com", "things", &statuses),
        json!({
            "count": 2, "share": 0.25, "ready": false, "synced": false, "phase": "Running",
            "list": [1, 2], "map": {"a": 1},
            "conditions": [
                {"type": "A", "status": "Unknown", "message": "new",
                 "lastTransitionTime": "2026-01-02T00:00:00+01:00"},
                {"type": "B", "status": "True"},
            ],
        })
    );
}
