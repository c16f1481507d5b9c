//! WorkStatuses: what the objects of KubeStellar's works say of themselves, in the mailbox.

use crate::scene::Scene;
use crate::scene::work;
use crate::until;
use crate::until_gone;
use hyades_api::control::WorkStatus;
use hyades_api::control::names::labels;
use hyades_api::crds;
use hyades_api::work::ManifestWork;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde_json::Value;
use serde_json::json;
use tokio::task::LocalSet;

fn deployment(name: &str) -> Value {
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {
            "selector": {"matchLabels": {"app": name}},
            "template": {
                "metadata": {"labels": {"app": name}},
                "spec": {"containers": [{"name": "c", "image": "example.com/c"}]},
            },
        },
    })
}

fn kubestellars(name: &str, manifests: Value) -> ManifestWork {
    let mut work = work(name, json!({"workload": {"manifests": manifests}}));
    let labels = work.labels_mut();
    labels.insert(labels::ORIGIN_WDS.to_owned(), "wds1".to_owned());
    work
}

struct Reports {
    scene: Scene,
    all: Api<WorkStatus>,
    deployments: Api<Deployment>,
}

impl Reports {
    async fn start() -> Self {
        let scene = Scene::start().await;
        for definition in crds::transport() {
            let made = apply::ensure(&scene.hub.client, "test", &definition).await;
            made.expect("a definition");
        }
        Self {
            all: Api::namespaced(scene.hub.client.clone(), "cluster1"),
            deployments: Api::namespaced(scene.wec.client.clone(), "default"),
            scene,
        }
    }

    /// Plays the WEC's controllers.
    async fn run(&self, name: &str, status: Value) {
        let patch = Patch::Merge(json!({"status": status}));
        let parameters = PatchParams::default();
        let patched = self.deployments.patch_status(name, &parameters, &patch);
        patched.await.expect("a status");
    }

    async fn until(&self, deployment: &str, says: impl Fn(&WorkStatus) -> bool) -> WorkStatus {
        until(&format!("the report on {deployment}"), async || {
            let all = self.all.list(&Default::default()).await.expect("reports");
            let ours = |report: &WorkStatus| report.spec.source_ref.name == deployment;
            all.items.into_iter().find(|it| ours(it) && says(it))
        })
        .await
    }
}

#[tokio::test]
async fn the_status_of_each_object_of_kubestellars_works_is_in_the_mailbox() {
    let run = async {
        let reports = Reports::start().await;
        let map = crate::scene::config_map("settings", "1");
        let work = kubestellars("w", json!([deployment("a"), deployment("b"), map]));
        reports.scene.create(&work).await;
        let a = reports.until("a", |_| true).await;
        reports.until("b", |_| true).await;
        assert_eq!(a.labels().get(labels::ORIGIN_WDS), Some(&"wds1".to_owned()));
        assert!(a.name_any().ends_with("-appsv1-deployment-default-a"));
        let owner = &a.owner_references()[0];
        assert_eq!(
            (owner.kind.as_str(), owner.name.as_str()),
            ("ManifestWork", "w")
        );

        reports
            .run("a", json!({"replicas": 2, "readyReplicas": 1}))
            .await;
        let expected = json!({"replicas": 2, "readyReplicas": 1});
        reports.until("a", |it| it.status == expected).await;
        reports
            .run("a", json!({"replicas": 1, "readyReplicas": null}))
            .await;
        // What an object says no more is not left in its report.
        let expected = json!({"replicas": 1});
        reports.until("a", |it| it.status == expected).await;

        let (name, parameters) = (a.name_any(), DeleteParams::default());
        let deleted = reports.all.delete(&name, &parameters).await;
        deleted.expect("deleted");
        let again = reports.until("a", |it| it.uid() != a.uid()).await;
        reports.until("a", |it| it.status == expected).await;

        let b = reports.until("b", |_| true).await;
        let manifests = json!([deployment("b")]);
        reports.scene.replace_manifests("w", manifests).await;
        until_gone(&reports.all, &again.name_any()).await;
        reports.scene.delete("w").await;
        until_gone(&reports.all, &b.name_any()).await;
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn an_object_that_wants_singleton_status_says_so_in_its_report() {
    let run = async {
        let reports = Reports::start().await;
        reports
            .scene
            .create(&kubestellars("w", json!([deployment("a")])))
            .await;
        let says = |it: &WorkStatus| it.labels().contains_key(labels::SINGLETON_STATUS);
        reports.until("a", |it| !says(it)).await;
        for (value, expected) in [(json!("true"), true), (json!(null), false)] {
            let labels = json!({labels::SINGLETON_STATUS: value});
            let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
            let parameters = PatchParams::default();
            let patched = reports.deployments.patch("a", &parameters, &patch).await;
            patched.expect("labels");
            reports.until("a", |it| says(it) == expected).await;
        }
    };
    LocalSet::new().run_until(run).await;
}

#[tokio::test]
async fn works_of_others_are_not_reported_on() {
    let run = async {
        let reports = Reports::start().await;
        let manifests = json!([deployment("foreign")]);
        let foreign = work("foreign", json!({"workload": {"manifests": manifests}}));
        reports.scene.create(&foreign).await;
        let applied = hyades_api::conditions::work::APPLIED;
        reports.scene.until_told("foreign", applied, "True").await;
        let ours = kubestellars("ours", json!([deployment("a")]));
        reports.scene.create(&ours).await;
        reports.until("a", |_| true).await;
        let all = reports.all.list(&Default::default()).await;
        assert_eq!(all.expect("reports").items.len(), 1);
    };
    LocalSet::new().run_until(run).await;
}
