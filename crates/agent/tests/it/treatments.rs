//! What a work may ask for beyond being applied: fields left alone, conditions by rules, Jobs.

use crate::pass;
use crate::scene::Scene;
use crate::scene::config_map;
use crate::scene::work;
use crate::until;
use crate::until_gone;
use crate::until_later;
use hyades_api::conditions;
use hyades_api::conditions::work as known;
use hyades_api::work::ManifestWork;
use hyades_runtime::k8s_openapi::api::batch::v1::Job;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde_json::Value;
use serde_json::json;
use std::time::Duration;
use tokio::task::LocalSet;

/// Longer than an unchanged work is left alone.
const ANOTHER_TURN: Duration = Duration::from_secs(400);

/// Longer than objects are not looked at.
const ANOTHER_LOOK: Duration = Duration::from_secs(30);

fn ignoring(name: &str, fields: Value) -> ManifestWork {
    let strategy = json!({"type": "ServerSideApply",
                          "serverSideApply": {"force": true, "ignoreFields": [fields]}});
    work(
        name,
        json!({
            "workload": {"manifests": [config_map(name, "1")]},
            "manifestConfigs": [{
                "resourceIdentifier": {"resource": "configmaps", "namespace": "default", "name": name},
                "updateStrategy": strategy,
            }],
        }),
    )
}

impl Scene {
    /// Changes the one value of a ConfigMap in the WEC.
    async fn change_map(&self, name: &str, value: &str) {
        let patch = Patch::Merge(json!({"data": {"a": value}}));
        let patched = self.maps.patch(name, &PatchParams::default(), &patch).await;
        patched.expect("a change");
    }

    fn jobs(&self) -> Api<Job> {
        Api::namespaced(self.wec.client.clone(), "default")
    }

    /// Whether the work's only manifest says so of `kind`, in words that contain `words`.
    async fn manifest_says(&self, name: &str, kind: &str, reason: &str, words: &str) -> Option<()> {
        let work = self.works.get(name).await.expect("the work");
        let manifest = work.status.resource_status.manifests.first()?;
        let found = conditions::find(&manifest.conditions, kind)?;
        let current = found.observed_generation == work.metadata.generation;
        (current && found.reason == reason && found.message.contains(words)).then_some(())
    }

    /// Waits until [`Scene::manifest_says`] so.
    async fn until_manifest(&self, name: &str, kind: &str, reason: &str, words: &str) {
        until(
            &format!("{name} says {kind}: {reason} {words}"),
            async || self.manifest_says(name, kind, reason, words).await,
        )
        .await;
    }
}

#[tokio::test]
async fn fields_ignored_when_present_are_left_to_others() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::start().await;
            let fields = json!({"condition": "OnSpokePresent", "jsonPointers": ["/data/a"]});
            scene.create(&ignoring("shared", fields)).await;
            scene.until_map("shared", Some("1")).await;
            scene.until_told("shared", known::APPLIED, "True").await;
            scene.change_map("shared", "theirs").await;
            let mut edited = config_map("shared", "2");
            edited["data"]["b"] = json!("2");
            scene.replace_manifests("shared", json!([edited])).await;
            scene.until_told("shared", known::APPLIED, "True").await;
            let map = scene.maps.get("shared").await.expect("the map");
            let data = map.data.expect("data");
            assert_eq!((data["a"].as_str(), data["b"].as_str()), ("theirs", "2"));
            scene.delete("shared").await;
            scene.until_map("shared", None).await;
        })
        .await;
}

#[tokio::test]
async fn what_the_wec_changes_stays_until_the_manifest_does() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::start().await;
            let fields = json!({"condition": "OnSpokeChange", "jqPathExpressions": [".data.a"]});
            scene.create(&ignoring("theirs", fields)).await;
            scene.until_told("theirs", known::APPLIED, "True").await;
            scene.change_map("theirs", "9").await;
            let before = scene.maps.get("theirs").await.expect("the map").metadata;
            pass(ANOTHER_TURN).await;
            // A second work shows that the agent's turn has come.
            let spec = json!({"workload": {"manifests": [config_map("after", "1")]}});
            scene.create(&work("after", spec)).await;
            scene.until_map("after", Some("1")).await;
            let after = scene.maps.get("theirs").await.expect("the map").metadata;
            assert_eq!(before.resource_version, after.resource_version);
            scene
                .replace_manifests("theirs", json!([config_map("theirs", "2")]))
                .await;
            scene.until_map("theirs", Some("2")).await;
        })
        .await;
}

#[tokio::test]
async fn ignored_fields_that_cannot_be_found_are_told_by_their_own_reason() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::start().await;
            let fields = json!({"condition": "OnSpokePresent", "jqPathExpressions": ["env.HOME"]});
            scene.create(&ignoring("broken", fields)).await;
            let words = "Failed to process ignoreFields: jq \"env.HOME\": cannot read";
            let reason = "AppliedManifestSSAIgnoreFieldError";
            scene
                .until_manifest("broken", known::APPLIED, reason, words)
                .await;
            scene.until_map("broken", None).await;
        })
        .await;
}

fn job(image: &str) -> Value {
    json!({
        "apiVersion": "batch/v1", "kind": "Job",
        "metadata": {"name": "once", "namespace": "default"},
        "spec": {"ttlSecondsAfterFinished": 60, "template": {"spec": {
            "restartPolicy": "Never", "containers": [{"name": "c", "image": image}]}}},
    })
}

async fn finish(scene: &Scene) {
    let done = json!({"status": {"conditions": [{"type": "Complete", "status": "True",
        "lastProbeTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    let patched = scene
        .jobs()
        .patch_status("once", &PatchParams::default(), &Patch::Merge(done))
        .await;
    patched.expect("finished");
}

/// Removes the Job as the cluster does some time after its end.
async fn vanish(scene: &Scene) {
    let parameters = DeleteParams::background();
    scene
        .jobs()
        .delete("once", &parameters)
        .await
        .expect("deleted");
    until_gone(&scene.jobs(), "once").await;
}

async fn until_job(scene: &Scene, image: &str) {
    until("the Job is there", async || {
        let job = scene.jobs().get_opt("once").await.expect("an answer")?;
        let containers = job.spec?.template.spec?.containers;
        (containers[0].image.as_deref() == Some(image)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_job_that_ran_and_vanished_is_not_made_again_until_its_work_changes() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::start().await;
            let spec = json!({"workload": {"manifests": [job("a:1")]}});
            scene.create(&work("jobs", spec)).await;
            scene.until_told("jobs", known::APPLIED, "True").await;
            until_job(&scene, "a:1").await;
            finish(&scene).await;
            vanish(&scene).await;
            let words = "it came to its end and is gone; it is made again when the work changes";
            let reason = "AppliedManifestComplete";
            until_later(ANOTHER_TURN, "the Job is known to be gone", async || {
                scene
                    .manifest_says("jobs", known::APPLIED, reason, words)
                    .await
            })
            .await;
            assert!(
                scene
                    .jobs()
                    .get_opt("once")
                    .await
                    .expect("an answer")
                    .is_none()
            );
            scene.replace_manifests("jobs", json!([job("a:2")])).await;
            until_job(&scene, "a:2").await;
            scene.delete("jobs").await;
            until_gone(&scene.jobs(), "once").await;
        })
        .await;
}

#[tokio::test]
async fn a_work_is_complete_when_its_job_is_and_stays_so_without_it() {
    LocalSet::new()
        .run_until(async {
            let scene = Scene::start().await;
            let rules = json!([
                {"type": "WellKnownConditions", "condition": "Complete"},
                {"type": "CEL", "condition": "Told", "celExpressions": ["hasConditions(object.status)"],
                 "messageExpression": "result ? object.metadata.name + ' speaks' : 'silence'"},
            ]);
            let identifier = json!({"group": "batch", "resource": "jobs", "namespace": "default", "name": "once"});
            let config = json!({"resourceIdentifier": identifier, "conditionRules": rules});
            scene
                .create(&work("jobs", json!({"workload": {"manifests": [job("a:1")]}, "manifestConfigs": [config]})))
                .await;
            let told = scene.until_told("jobs", "Told", "False").await;
            let complete = conditions::find(&told.status.conditions, known::COMPLETE).expect("told");
            assert_eq!(
                (complete.status.as_str(), complete.reason.as_str(), complete.message.as_str()),
                ("False", "ConditionRulesAggregated", "Job is not finished")
            );
            finish(&scene).await;
            until_later(ANOTHER_LOOK, "the work is complete", async || {
                let work = scene.works.get("jobs").await.expect("the work");
                conditions::is_true(&work.status.conditions, known::COMPLETE).then_some(())
            })
            .await;
            scene.until_manifest("jobs", "Told", "ConditionRuleEvaluated", "once speaks").await;
            vanish(&scene).await;
            let told = until_later(ANOTHER_TURN, "the Job is missed", async || {
                let work = scene.works.get("jobs").await.expect("the work");
                conditions::is_false(&work.status.conditions, known::AVAILABLE).then_some(work)
            })
            .await;
            assert!(conditions::is_true(&told.status.conditions, known::COMPLETE));
            assert!(scene.jobs().get_opt("once").await.expect("an answer").is_none());
        })
        .await;
}
