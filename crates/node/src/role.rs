//! Whether the space describes workloads for others, in which case none of them is run here.
//!
//! In a WDS a Deployment is what a WEC shall run. Pods of it in the WDS itself would be nobody's, and
//! their status would fight with what comes back from the WECs. What Hyades runs for itself, the
//! distribution among it, runs in a WDS too.

use std::sync::Arc;

use hyades_api::image;
use hyades_runtime::Cache;
use hyades_runtime::controller;
use hyades_runtime::k8s_openapi::api::core::v1::PodSpec;
use hyades_runtime::k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::core::PartialObjectMeta;
use hyades_runtime::kube::runtime::watcher;

/// The definition that a space has exactly if it is a WDS.
const DEFINITION: &str = "bindingpolicies.control.kubestellar.io";

/// What a space is for; clones share it.
#[derive(Clone)]
pub(crate) struct Role(Arc<Cache<PartialObjectMeta<CustomResourceDefinition>>>);

impl Role {
    /// Finds out, and goes on to watch.
    pub(crate) async fn of(client: &Client) -> Role {
        let config = watcher::Config::default().fields(&format!("metadata.name={DEFINITION}"));
        let cache = controller::watch(Api::all(client.clone()), config, |_| {});
        cache.wait_until_synced().await;
        Role(Arc::new(cache))
    }

    /// Whether pods of this kind are for others to run.
    pub(crate) fn leaves_alone(&self, spec: Option<&PodSpec>) -> bool {
        !self.0.is_empty() && !spec.is_some_and(is_hyades)
    }
}

fn is_hyades(spec: &PodSpec) -> bool {
    let images = spec.containers.iter().map(|container| &container.image);
    images
        .map(|image| image.as_deref().unwrap_or_default())
        .all(image::is_hyades)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_pod_is_ours_if_all_its_containers_are() {
        let is_ours = |images: &[&str]| {
            let one = |image: &&str| json!({"name": "c", "image": image});
            let containers: Vec<_> = images.iter().map(one).collect();
            let spec = serde_json::from_value(json!({"containers": containers}));
            is_hyades(&spec.expect("a specification"))
        };
        let ours = image::reference();
        assert!(is_ours(&[&ours]));
        assert!(!is_ours(&[&ours, "nginx"]));
        assert!(!is_ours(&["nginx"]));
    }
}
