//! Controllers of the workloads that only a simulation has pods for: StatefulSets, DaemonSets, Jobs.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use hyades_runtime::k8s_openapi::api::apps::v1::DaemonSet;
use hyades_runtime::k8s_openapi::api::apps::v1::StatefulSet;
use hyades_runtime::k8s_openapi::api::batch::v1::Job;
use hyades_runtime::k8s_openapi::api::core::v1::Pod;
use hyades_runtime::k8s_openapi::api::core::v1::PodTemplateSpec;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use hyades_runtime::k8s_openapi::jiff::Timestamp;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::core::NamespaceResourceScope;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::controllers;
use crate::deployment;
use crate::role::Role;

/// Label with the revision that a pod was made from.
pub(super) const REVISION: &str = "controller-revision-hash";

/// What brings a workload closer to what it wants.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Plan {
    /// Pods to create.
    pub(super) create: Vec<Pod>,
    /// The names of pods to delete.
    pub(super) delete: Vec<String>,
    /// Its status, as a merge patch.
    pub(super) status: Value,
}

/// A workload that is made of pods.
pub(super) trait Workload:
    Resource<DynamicType = (), Scope = NamespaceResourceScope>
    + Clone
    + Debug
    + DeserializeOwned
    + Serialize
    + Send
    + Sync
    + 'static
{
    /// What its pods are made from.
    fn template(&self) -> Option<&PodTemplateSpec>;

    /// Decides, from the pods that it owns.
    fn plan(&self, owned: &[Pod], now: Timestamp) -> Plan;
}

/// Runs the three controllers until `stop`.
pub(crate) async fn run(client: Client, role: &Role, stop: CancellationToken) {
    tokio::join!(
        one::<StatefulSet>(client.clone(), role, stop.clone()),
        one::<DaemonSet>(client.clone(), role, stop.clone()),
        one::<Job>(client, role, stop),
    );
}

async fn one<K: Workload>(client: Client, role: &Role, stop: CancellationToken) {
    controllers::run::<K, Pod, _, _>(client, role, K::template, stop, reconcile).await;
}

async fn reconcile<K: Workload>(
    workload: Arc<K>,
    client: Client,
) -> Result<Option<Duration>, kube::Error> {
    if workload.meta().deletion_timestamp.is_some() {
        return Ok(None);
    }
    let namespace = workload.namespace().unwrap_or_default();
    let pods = Api::<Pod>::namespaced(client.clone(), &namespace);
    // As for ReplicaSets, the space itself is asked, which is in this very process.
    let owned = controllers::owned(&*workload, pods.list(&ListParams::default()).await?.items);
    let plan = workload.plan(&owned, Timestamp::now());
    for pod in &plan.create {
        match pods.create(&PostParams::default(), pod).await {
            // It is still going, and its end brings the workload again.
            Err(kube::Error::Api(status)) if status.is_already_exists() => {}
            other => drop(other?),
        }
    }
    for name in &plan.delete {
        match pods.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.is_not_found() => {}
            other => drop(other?),
        }
    }
    let present = serde_json::to_value(&*workload).map_err(kube::Error::SerdeError)?;
    if differs(&present["status"], &plan.status) {
        let api = Api::<K>::namespaced(client, &namespace);
        let patch = Patch::Merge(json!({"status": plan.status}));
        let name = workload.name_any();
        let parameters = PatchParams::default();
        api.patch_status(&name, &parameters, &patch).await?;
    }
    Ok(None)
}

/// Whether a merge patch of `wanted` would change a status.
fn differs(present: &Value, wanted: &Value) -> bool {
    let fields = wanted.as_object().into_iter().flatten();
    fields
        .into_iter()
        .any(|(field, value)| present[field.as_str()] != *value)
}

/// A pod of a workload's template, without a name.
pub(super) fn pod(workload: &impl Workload, template: &PodTemplateSpec, revision: &str) -> Pod {
    let metadata = template.metadata.clone().unwrap_or_default();
    let mut labels = metadata.labels.unwrap_or_default();
    if !revision.is_empty() {
        labels.insert(REVISION.to_owned(), revision.to_owned());
    }
    Pod {
        metadata: ObjectMeta {
            generate_name: Some(format!("{}-", workload.name_any())),
            namespace: workload.namespace(),
            labels: Some(labels),
            annotations: metadata.annotations,
            finalizers: metadata.finalizers,
            owner_references: workload.controller_owner_ref(&()).map(|owner| vec![owner]),
            ..ObjectMeta::default()
        },
        spec: template.spec.clone(),
        status: None,
    }
}

/// The revision of a template.
pub(super) fn revision(template: &PodTemplateSpec) -> String {
    deployment::template_hash(template)
}

/// Whether a pod was made from a revision.
pub(super) fn is_of(pod: &Pod, revision: &str) -> bool {
    pod.labels().get(REVISION).map(String::as_str) == Some(revision)
}
