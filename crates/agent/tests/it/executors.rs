//! Works under an executor: done with its rights, and with none of the agent's.

use crate::scene::Scene;
use crate::scene::config_map;
use crate::scene::work;
use crate::until;
use crate::until_later;
use hyades_api::conditions;
use hyades_api::conditions::work as known;
use hyades_api::names::annotations;
use hyades_api::work::ManifestWork;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::k8s_openapi::api::rbac::v1::ClusterRole;
use hyades_runtime::k8s_openapi::api::rbac::v1::RoleBinding;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::DeleteParams;
use serde_json::Value;
use serde_json::json;
use std::time::Duration;
use tokio::task::LocalSet;

/// Longer than the agent waits before it asks again about an account without rights.
const ANOTHER_LOOK: Duration = Duration::from_secs(61);

fn executed(name: &str, manifests: Value) -> ManifestWork {
    let account = json!({"namespace": "default", "name": "team"});
    let subject = json!({"type": "ServiceAccount", "serviceAccount": account});
    let spec = json!({"workload": {"manifests": manifests}, "executor": {"subject": subject}});
    work(name, spec)
}

/// Gives the account `team` these rights in `default`.
async fn grant(scene: &Scene, rules: Value) {
    let rbac = "rbac.authorization.k8s.io";
    let api_version = format!("{rbac}/v1");
    let metadata = json!({"name": "team", "namespace": "default"});
    scene
        .make(json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": metadata}))
        .await;
    scene
        .make(json!({"apiVersion": api_version, "kind": "Role", "metadata": metadata, "rules": rules}))
        .await;
    scene
        .make(json!({
            "apiVersion": api_version, "kind": "RoleBinding", "metadata": metadata,
            "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "team"},
            "subjects": [{"kind": "ServiceAccount", "name": "team", "namespace": "default"}],
        }))
        .await;
}

fn on_maps(verbs: &[&str]) -> Value {
    json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": verbs}])
}

/// Waits until a work's first manifest is refused in words that contain `words`.
async fn until_refused(scene: &Scene, name: &str, words: &str) {
    until(&format!("work {name} is refused: {words}"), async || {
        let work = scene.works.get(name).await.expect("the work");
        let manifest = work.status.resource_status.manifests.first()?;
        let applied = conditions::find(&manifest.conditions, known::APPLIED)?;
        (applied.status == "False" && applied.message.contains(words)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_work_waits_for_its_executors_rights_and_is_done_with_them() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::start().await;
            scene
                .create(&executed("job", json!([config_map("mine", "1")])))
                .await;
            let words = "Failed to apply manifest: not allowed to apply the resource  configmaps, \
                         default mine, will try again in 1m0s";
            until_refused(&scene, "job", words).await;
            grant(&scene, on_maps(&["create", "update", "patch", "get"])).await;
            scene.wec.take_requests();
            until_later(ANOTHER_LOOK, "the agent asks again", async || {
                let asked = scene.wec.take_requests();
                let asks = |line: &String| line.ends_with("/subjectaccessreviews");
                asked.iter().any(asks).then_some(())
            })
            .await;
            until_refused(&scene, "job", words).await;
            scene.until_map("mine", None).await;

            let all = ["create", "update", "patch", "get", "delete"];
            grant(&scene, on_maps(&all)).await;
            until_later(ANOTHER_LOOK, "the map is made", async || {
                scene.maps.get_opt("mine").await.expect("an answer")
            })
            .await;
            scene.until_told("job", known::APPLIED, "True").await;
            let records = scene
                .applied
                .list(&Default::default())
                .await
                .expect("records");
            let executor = records.items[0]
                .metadata
                .annotations
                .clone()
                .expect("annotations");
            assert_eq!(executor[annotations::EXECUTOR], "default/team");
            scene.delete("job").await;
            scene.until_map("mine", None).await;
        })
        .await;
}

#[tokio::test]
async fn an_executor_escalates_nothing_with_the_agents_help() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::start().await;
            let on_roles = json!([{"apiGroups": ["rbac.authorization.k8s.io"], "resources": ["roles"],
                "verbs": ["create", "update", "patch", "get", "delete"]}]);
            grant(&scene, on_roles).await;
            let role = json!({
                "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role",
                "metadata": {"name": "more", "namespace": "default"},
                "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"]}],
            });
            scene.create(&executed("climb", json!([role]))).await;
            until_refused(&scene, "climb", "default more, error: ").await;
            let roles: Api<ClusterRole> = Api::all(scene.wec.client.clone());
            assert!(roles.get_opt("more").await.expect("an answer").is_none());
        })
        .await;
}

#[tokio::test]
async fn what_is_fed_back_is_read_with_the_executors_rights() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::start().await;
            scene.make(config_map("theirs", "secret")).await;
            let mut work = executed("peek", json!([config_map("theirs", "?")]));
            work.spec.manifest_configs = serde_json::from_value(json!([{
                "resourceIdentifier": {"resource": "configmaps", "namespace": "default", "name": "theirs"},
                "updateStrategy": {"type": "ReadOnly"},
                "feedbackRules": [{"type": "JSONPaths", "jsonPaths": [{"name": "a", "path": ".data.a"}]}],
            }]))
            .expect("settings");
            scene.create(&work).await;
            until_refused(&scene, "peek", "default theirs").await;
            let told = scene.works.get("peek").await.expect("the work");
            let status = serde_json::to_string(&told.status).expect("JSON");
            assert!(!status.contains("secret"), "{status}");
            grant(&scene, on_maps(&["get"])).await;
            let told = until_later(ANOTHER_LOOK, "the map may be read", async || {
                let work = scene.works.get("peek").await.expect("the work");
                conditions::is_true(&work.status.conditions, known::APPLIED).then_some(work)
            })
            .await;
            let values = &told.status.resource_status.manifests[0].status_feedback.values;
            assert_eq!(values[0].field_value.string.as_deref(), Some("secret"));
        })
        .await;
}

#[tokio::test]
async fn objects_go_with_their_work_although_the_executor_went_before() {
    LocalSet::new()
        .run_until(async {
            let gate = "--feature-gates=ExecutorValidatingCaches=true";
            let scene = Scene::start_with(&[gate]).await;
            grant(
                &scene,
                on_maps(&["create", "update", "patch", "get", "delete"]),
            )
            .await;
            scene
                .create(&executed("left", json!([config_map("left", "1")])))
                .await;
            scene.until_told("left", known::APPLIED, "True").await;
            let client = scene.wec.client.clone();
            let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), "default");
            let bindings: Api<RoleBinding> = Api::namespaced(client, "default");
            let parameters = DeleteParams::default();
            accounts.delete("team", &parameters).await.expect("deleted");
            bindings.delete("team", &parameters).await.expect("deleted");
            scene.delete("left").await;
            scene.until_map("left", None).await;
        })
        .await;
}
