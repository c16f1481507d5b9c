//! A hub and a WEC, between which works go.

use crate::hub::Hub;
use crate::until;
use crate::until_gone;
use crate::wec::Wec;
use hyades_agent::install::Mode;
use hyades_api::conditions;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_api::work::AppliedManifestWork;
use hyades_api::work::ManifestWork;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::api::core::v1::ConfigMap;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::Value;
use serde_json::json;

/// A ConfigMap in `default` with one value.
pub fn config_map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"}, "data": {"a": value},
    })
}

/// A work for `cluster1`.
pub fn work(name: &str, spec: Value) -> ManifestWork {
    serde_json::from_value(
        json!({"metadata": {"name": name, "namespace": "cluster1"}, "spec": spec}),
    )
    .expect("a work")
}

/// A registered WEC, its mailbox and what its works leave.
pub struct Scene {
    pub works: Api<ManifestWork>,
    pub maps: Api<ConfigMap>,
    pub applied: Api<AppliedManifestWork>,
    pub hub: Hub,
    pub wec: Wec,
}

impl Scene {
    /// Registers `cluster1`.
    pub async fn start() -> Self {
        Self::start_with(&[]).await
    }

    /// As [`Scene::start`], with further flags for the agent.
    pub async fn start_with(flags: &[&str]) -> Self {
        let hub = Hub::start(true).await;
        let wec = Wec::start("cluster1").await;
        wec.join(&hub, "cluster1", Mode::Singleton).await;
        wec.start_operator();
        wec.start_agent_with(names::KLUSTERLET, namespaces::AGENT, flags)
            .await;
        hub.until_available("cluster1").await;
        Self {
            works: Api::namespaced(hub.client.clone(), "cluster1"),
            maps: Api::namespaced(wec.client.clone(), "default"),
            applied: Api::all(wec.client.clone()),
            hub,
            wec,
        }
    }

    pub async fn create(&self, work: &ManifestWork) {
        self.works
            .create(&PostParams::default(), work)
            .await
            .expect("a work");
    }

    pub async fn replace_manifests(&self, name: &str, manifests: Value) {
        let patch = Patch::Merge(json!({"spec": {"workload": {"manifests": manifests}}}));
        self.works
            .patch(name, &PatchParams::default(), &patch)
            .await
            .expect("an edit");
    }

    pub async fn until_map(&self, name: &str, value: Option<&str>) {
        until(&format!("ConfigMap {name} is {value:?}"), async || {
            let map = self.maps.get_opt(name).await.expect("an answer");
            let found = map.and_then(|map| map.data?.get("a").cloned());
            (found.as_deref() == value).then_some(())
        })
        .await;
    }

    /// Waits until the work says so about its present generation.
    pub async fn until_told(&self, name: &str, kind: &str, status: &str) -> ManifestWork {
        until(&format!("work {name} says {kind}={status}"), async || {
            let work = self.works.get_opt(name).await.expect("an answer")?;
            let condition = conditions::find(&work.status.conditions, kind)?;
            let current = condition.observed_generation == work.metadata.generation;
            (condition.status == status && current).then_some(work.clone())
        })
        .await
    }

    /// Makes an object in the WEC.
    pub async fn make(&self, object: Value) {
        let made = apply::ensure(&self.wec.client, "admin", &object).await;
        made.expect("an object");
    }

    /// Deletes a work and waits until it is gone.
    pub async fn delete(&self, name: &str) {
        let deleted = self.works.delete(name, &DeleteParams::default()).await;
        deleted.expect("deleted");
        until_gone(&self.works, name).await;
    }
}
