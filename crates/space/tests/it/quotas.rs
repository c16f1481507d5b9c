//! How much those with few rights may pile up.

use serde_json::Value;
use serde_json::json;

use crate::support::TestSpace;

/// Events that somebody who may write them in one namespace only may have there.
const EVENTS_MAX: usize = 1_000;
/// The same in bytes.
const EVENT_BYTES_MAX: usize = 1024 * 1024;

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

fn event(namespace: &str, name: &str, message: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": name}, "reason": "R",
        "involvedObject": {"kind": "Pod", "name": "p", "namespace": namespace},
        "message": message})
}

fn events(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/events")
}

/// A space with the mailboxes `c1` and `c2`, in which `c1` and `c2` may write Events; `hub` may
/// everywhere.
async fn mailboxes() -> TestSpace {
    let space = TestSpace::start().await;
    let rules = json!([{"apiGroups": ["", "events.k8s.io"], "resources": ["events"],
        "verbs": ["create", "patch", "update"]}]);
    let role = json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "events"}, "rules": rules});
    let path = format!("{RBAC}/clusterroles");
    space.must("POST", &path, Some(&role)).await;
    let binding = |kind: &str, user: &str| {
        json!({"apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": {"name": "events"},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
                "name": "events"},
            "subjects": [{"kind": "User", "name": user, "apiGroup": "rbac.authorization.k8s.io"}]})
    };
    let path = format!("{RBAC}/clusterrolebindings");
    let everywhere = binding("ClusterRoleBinding", "hub");
    space.must("POST", &path, Some(&everywhere)).await;
    for mailbox in ["c1", "c2"] {
        let namespace = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": mailbox}});
        space
            .must("POST", "/api/v1/namespaces", Some(&namespace))
            .await;
        let path = format!("{RBAC}/namespaces/{mailbox}/rolebindings");
        let own = binding("RoleBinding", mailbox);
        space.must("POST", &path, Some(&own)).await;
    }
    space
}

#[tokio::test]
async fn a_mailbox_takes_so_many_events_of_its_agent_and_more_of_the_hub() {
    let space = mailboxes().await;
    let agent = space.certificate("c1", &[]);
    for number in 0..EVENTS_MAX {
        let event = event("c1", &format!("e{number}"), "m");
        let answer = space
            .send(
                Some(agent.clone()),
                &[],
                "POST",
                &events("c1"),
                Some(&event),
            )
            .await;
        assert_eq!(answer.code, 201, "{}", answer.body);
    }
    // Both groups are one store.
    for path in [
        events("c1"),
        "/apis/events.k8s.io/v1/namespaces/c1/events".to_owned(),
    ] {
        let late = match path.contains("events.k8s.io") {
            true => json!({"metadata": {"name": "late"}, "reason": "R", "action": "A",
                "type": "Normal", "eventTime": "2026-01-01T00:00:00.000000Z",
                "regarding": {"kind": "Pod", "name": "p", "namespace": "c1"},
                "reportingController": "x.io/c", "reportingInstance": "i"}),
            false => event("c1", "late", "m"),
        };
        let refused = space
            .send(Some(agent.clone()), &[], "POST", &path, Some(&late))
            .await;
        assert_eq!(refused.code, 403, "{}", refused.body);
        let words = "forbidden: exceeded quota: 1000 objects, or 1048576 bytes, is the limit of \
                     events of one namespace for those who may write events in this namespace \
                     only, and reached in \"c1\"; events end an hour after they were last seen";
        assert!(refused.message().ends_with(words), "{}", refused.message());
    }
    // Neither another WEC nor the hub is held up.
    for (user, mailbox) in [("c2", "c2"), ("hub", "c1")] {
        let late = event(mailbox, "late", "m");
        let other = space.certificate(user, &[]);
        let answer = space
            .send(Some(other), &[], "POST", &events(mailbox), Some(&late))
            .await;
        assert_eq!(answer.code, 201, "{user}: {}", answer.body);
    }
    // There is room again for what was deleted.
    for name in ["e0", "late"] {
        let path = format!("{}/{name}", events("c1"));
        space.must("DELETE", &path, None).await;
    }
    let late = event("c1", "late", "m");
    let answer = space
        .send(Some(agent), &[], "POST", &events("c1"), Some(&late))
        .await;
    assert_eq!(answer.code, 201, "{}", answer.body);
}

#[tokio::test]
async fn few_events_cannot_grow_without_end_either() {
    let space = mailboxes().await;
    let agent = space.certificate("c1", &[]);
    let path = events("c1");
    let small = event("c1", "small", "m");
    let made = space
        .send(Some(agent.clone()), &[], "POST", &path, Some(&small))
        .await;
    assert_eq!(made.code, 201, "{}", made.body);
    let large = "m".repeat(200 * 1024);
    let mut bytes = 0;
    let refused = loop {
        let name = format!("large{bytes}");
        let large = event("c1", &name, &large);
        let answer = space
            .send(Some(agent.clone()), &[], "POST", &path, Some(&large))
            .await;
        if answer.code != 201 {
            break answer;
        }
        bytes += 200 * 1024;
        assert!(bytes <= EVENT_BYTES_MAX);
    };
    assert_eq!(refused.code, 403, "{}", refused.body);
    assert!(bytes > EVENT_BYTES_MAX / 2);
    // Nor can one that is there.
    let grown = json!({"message": large});
    let path = format!("{path}/small");
    let refused = space
        .send(Some(agent.clone()), &[], "PATCH", &path, Some(&grown))
        .await;
    assert_eq!(refused.code, 403, "{}", refused.body);
    let same = json!({"message": "n"});
    let answer = space
        .send(Some(agent), &[], "PATCH", &path, Some(&same))
        .await;
    assert_eq!(answer.code, 200, "{}", answer.body);
}
