//! The Deployment controller: rolls a Deployment's pod template out through ReplicaSets.
//!
//! `plan` decides from what is observed; the shell below writes what it decided. Names, annotations
//! and conditions are those of Kubernetes' own controller.

mod plan;
mod rollout_status;

pub use plan::Action;
pub use plan::plan;
pub(crate) use plan::template_hash;
pub use rollout_status::status;

use std::sync::Arc;
use std::time::Duration;

use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use hyades_runtime::k8s_openapi::api::apps::v1::ReplicaSet;
use hyades_runtime::k8s_openapi::api::core::v1::PodTemplateSpec;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::controllers;
use crate::role::Role;

pub(crate) async fn run(client: Client, role: &Role, stop: CancellationToken) {
    let run = controllers::run::<Deployment, ReplicaSet, _, _>;
    run(client, role, template, stop, reconcile).await;
}

fn template(deployment: &Deployment) -> Option<&PodTemplateSpec> {
    Some(&deployment.spec.template)
}

async fn reconcile(
    deployment: Arc<Deployment>,
    client: Client,
) -> Result<Option<Duration>, kube::Error> {
    let namespace = deployment.namespace().unwrap_or_default();
    let uid = deployment.uid().unwrap_or_default();
    if deployment.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    // The space is in this very process, so asking it is cheaper than a cache that could be stale.
    let sets = Api::<ReplicaSet>::namespaced(client.clone(), &namespace);
    let owned: Vec<Arc<ReplicaSet>> = sets
        .list(&ListParams::default())
        .await?
        .items
        .into_iter()
        .filter(|set| set.owner_references().iter().any(|owner| owner.uid == uid))
        .map(Arc::new)
        .collect();
    let actions = plan(&deployment, &owned);
    for action in &actions {
        match action {
            Action::Create(set) => match sets.create(&PostParams::default(), set).await {
                // The name follows from the template, so an earlier attempt has made it.
                Err(kube::Error::Api(status)) if status.is_already_exists() => {}
                other => drop(other?),
            },
            Action::Scale { name, replicas } => {
                let patch = json!({"spec": {"replicas": replicas}});
                sets.patch(name, &PatchParams::default(), &Patch::Merge(patch))
                    .await?;
            }
            Action::Annotate { name, revision } => {
                let patch = json!({"metadata": {"annotations": {plan::REVISION: revision}}});
                sets.patch(name, &PatchParams::default(), &Patch::Merge(patch))
                    .await?;
            }
            Action::Delete { name } => match sets.delete(name, &DeleteParams::default()).await {
                Err(kube::Error::Api(status)) if status.is_not_found() => {}
                other => drop(other?),
            },
        }
    }
    write_status(&client, &deployment, &owned).await?;
    Ok(rollout_status::deadline(&deployment, &owned))
}

async fn write_status(
    client: &Client,
    deployment: &Deployment,
    owned: &[Arc<ReplicaSet>],
) -> Result<(), kube::Error> {
    let namespace = deployment.namespace().unwrap_or_default();
    let deployments = Api::<Deployment>::namespaced(client.clone(), &namespace);
    let revision = plan::newest_revision(deployment, owned);
    if let Some(revision) = revision
        && deployment.annotations().get(plan::REVISION) != Some(&revision)
    {
        let patch = json!({"metadata": {"annotations": {plan::REVISION: revision}}});
        deployments
            .patch(
                &deployment.name_any(),
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await?;
    }
    let wanted = status(deployment, owned);
    if deployment.status.as_ref() == Some(&wanted) {
        return Ok(());
    }
    let patch = json!({"status": wanted});
    deployments
        .patch_status(
            &deployment.name_any(),
            &PatchParams::default(),
            &Patch::Merge(patch),
        )
        .await?;
    Ok(())
}
