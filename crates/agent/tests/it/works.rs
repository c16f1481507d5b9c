//! Works: from the mailbox to the WEC and back.

use crate::scene::Scene;
use crate::scene::config_map;
use crate::scene::work;
use crate::until;
use hyades_api::conditions;
use hyades_api::conditions::work as known;
use hyades_runtime::kube::api::DeleteParams;
use serde_json::json;
use std::time::Duration;
use std::time::Instant;
use tokio::task::LocalSet;

#[tokio::test]
async fn a_work_is_applied_follows_its_edits_and_goes_with_its_objects() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::start().await;
            let start = Instant::now();
            let manifests = json!([config_map("go", "1"), config_map("stay", "1")]);
            scene
                .create(&work(
                    "hello",
                    json!({"workload": {"manifests": manifests}}),
                ))
                .await;
            scene.until_map("go", Some("1")).await;
            println!("work created to object on the WEC: {:?}", start.elapsed());
            let told = scene.until_told("hello", known::AVAILABLE, "True").await;
            println!(
                "work created to Available on the hub: {:?}",
                start.elapsed()
            );
            assert!(conditions::is_true(&told.status.conditions, known::APPLIED));
            assert_eq!(told.status.resource_status.manifests.len(), 2);
            assert_eq!(
                told.status.resource_status.manifests[1]
                    .resource_meta
                    .resource,
                "configmaps"
            );
            let records = scene
                .applied
                .list(&Default::default())
                .await
                .expect("records")
                .items;
            assert_eq!(records.len(), 1);
            assert_eq!(records[0].spec.manifest_work_name, "hello");

            scene
                .replace_manifests(
                    "hello",
                    json!([config_map("stay", "2"), config_map("new", "1")]),
                )
                .await;
            scene.until_map("stay", Some("2")).await;
            scene.until_map("new", Some("1")).await;
            scene.until_map("go", None).await;
            scene.until_told("hello", known::APPLIED, "True").await;

            scene
                .works
                .delete("hello", &DeleteParams::default())
                .await
                .expect("deleted");
            until("the work is gone", async || {
                scene
                    .works
                    .get_opt("hello")
                    .await
                    .expect("an answer")
                    .is_none()
                    .then_some(())
            })
            .await;
            scene.until_map("stay", None).await;
            scene.until_map("new", None).await;
            assert!(
                scene
                    .applied
                    .list(&Default::default())
                    .await
                    .expect("records")
                    .items
                    .is_empty()
            );
        })
        .await;
}

#[tokio::test]
async fn strategies_orphans_and_feedback_do_as_the_work_says() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::start().await;
            let named = |name: &str| json!({"resource": "configmaps", "namespace": "default", "name": name});
            let applied = json!({"type": "ServerSideApply", "serverSideApply": {"fieldManager": "work-agent-x"}});
            scene
                .create(&work("mixed", json!({
                    "workload": {"manifests": [config_map("once", "1"), config_map("ssa", "1"), config_map("look", "1"), config_map("kept", "1")]},
                    "deleteOption": {"propagationPolicy": "SelectivelyOrphan", "selectivelyOrphans": {"orphaningRules": [named("kept")]}},
                    "manifestConfigs": [
                        {"resourceIdentifier": named("once"), "updateStrategy": {"type": "CreateOnly"}},
                        {"resourceIdentifier": named("ssa"), "updateStrategy": applied,
                         "feedbackRules": [{"type": "JSONPaths", "jsonPaths": [{"name": "a", "path": ".data.a"}]}]},
                        {"resourceIdentifier": named("look"), "updateStrategy": {"type": "ReadOnly"}},
                    ],
                })))
                .await;
            let told = scene.until_told("mixed", known::AVAILABLE, "False").await;
            assert!(conditions::is_true(&told.status.conditions, known::APPLIED));
            let missing: Vec<bool> = told
                .status
                .resource_status
                .manifests
                .iter()
                .map(|manifest| conditions::is_false(&manifest.conditions, known::AVAILABLE))
                .collect();
            assert_eq!(missing, [false, false, true, false], "what is only looked at is not made");
            let fed_back = &told.status.resource_status.manifests[1].status_feedback.values[0];
            assert_eq!(fed_back.field_value.string.as_deref(), Some("1"));
            let manifests = json!([config_map("once", "2"), config_map("ssa", "2"), config_map("kept", "2")]);
            scene.replace_manifests("mixed", manifests).await;
            scene.until_map("ssa", Some("2")).await;
            scene.until_map("kept", Some("2")).await;
            scene.until_told("mixed", known::AVAILABLE, "True").await;
            scene.until_map("once", Some("1")).await;

            scene.works.delete("mixed", &DeleteParams::default()).await.expect("deleted");
            scene.until_map("ssa", None).await;
            scene.until_map("once", None).await;
            until("the work is gone", async || {
                scene.works.get_opt("mixed").await.expect("an answer").is_none().then_some(())
            })
            .await;
            scene.until_map("kept", Some("2")).await;
        })
        .await;
}

#[tokio::test]
async fn what_cannot_be_applied_is_told_and_does_not_stop_the_rest() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::start().await;
            let unknown = json!({"apiVersion": "example.com/v1", "kind": "Widget", "metadata": {"name": "w", "namespace": "default"}});
            let spec = json!({"workload": {"manifests": [unknown, config_map("fine", "1")]}});
            scene.create(&work("broken", spec)).await;
            let told = scene.until_told("broken", known::APPLIED, "False").await;
            scene.until_map("fine", Some("1")).await;
            let condition = &told.status.resource_status.manifests[0].conditions[0];
            assert_eq!(condition.message, "Failed to apply manifest: no matches for kind \"Widget\" in version \"example.com/v1\"");
        })
        .await;
}

#[tokio::test]
async fn an_agent_that_has_nothing_to_do_writes_nothing() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::start().await;
            scene
                .create(&work(
                    "still",
                    json!({"workload": {"manifests": [config_map("a", "1")]}}),
                ))
                .await;
            let settled = scene.until_told("still", known::AVAILABLE, "True").await;
            tokio::time::sleep(Duration::from_millis(300)).await;
            let later = scene.works.get("still").await.expect("the work");
            assert_eq!(
                later.metadata.resource_version,
                settled.metadata.resource_version
            );
        })
        .await;
}

/// What the WEC is asked for on account of works: path and method, in any order.
async fn asked_for(scene: &Scene) -> Vec<String> {
    // What an agent does is done by the time it says so; this is for what it might do afterwards.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut lines = scene.wec.take_requests();
    lines.retain(|line| {
        let others = [
            "/leases/", "/secrets", "/events", "livez", "/nodes", "/version",
        ];
        !others.iter().any(|other| line.contains(other))
    });
    lines.sort();
    lines
}

#[tokio::test]
async fn a_work_that_asks_for_nothing_special_costs_its_wec_four_requests_and_a_change_two() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::start().await;
            asked_for(&scene).await;
            let spec = json!({"workload": {"manifests": [config_map("a", "1")]}});
            scene.create(&work("plain", spec)).await;
            scene.until_told("plain", known::AVAILABLE, "True").await;
            let name = scene
                .applied
                .list(&Default::default())
                .await
                .expect("records")
                .items[0]
                .metadata
                .name
                .clone()
                .expect("a name");
            let group = "/apis/work.open-cluster-management.io/v1/appliedmanifestworks";
            let maps = "/api/v1/namespaces/default/configmaps";
            let wanted = [
                "GET /api/v1".to_owned(),
                format!("PATCH {group}/{name}/status"),
                format!("POST {maps}"),
                format!("POST {group}"),
            ];
            assert_eq!(asked_for(&scene).await, wanted);
            scene
                .replace_manifests("plain", json!([config_map("a", "2")]))
                .await;
            scene.until_map("a", Some("2")).await;
            scene.until_told("plain", known::APPLIED, "True").await;
            let wanted = [format!("GET {maps}/a"), format!("PUT {maps}/a")];
            assert_eq!(asked_for(&scene).await, wanted);
        })
        .await;
}
