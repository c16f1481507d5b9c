//! Taking the agent of a deleted Klusterlet out of its WEC. The objects that works left stay, and
//! the hub is not told: deregistration is the hub's affair.

use super::manifests::Plan;
use hyades_api::names::finalizers;
use hyades_api::names::labels;
use hyades_api::names::namespaces;
use hyades_api::operator::Klusterlet;
use hyades_api::work::AppliedManifestWork;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::apply::Address;
use hyades_runtime::apply::ApplyError;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use serde_json::Value;
use serde_json::json;

/// Why the clean-up must be tried again.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// An object could not be removed.
    #[error(transparent)]
    Object(#[from] ApplyError),
    /// The API server refused or could not be reached.
    #[error("{action}: {trouble}")]
    Server {
        /// What was tried.
        action: &'static str,
        /// What happened.
        trouble: Trouble,
    },
}

fn server(action: &'static str) -> impl Fn(kube::Error) -> CleanupError {
    move |error| CleanupError::Server {
        action,
        trouble: Trouble::of(&error),
    }
}

/// Removes everything that [`Plan`] made, in an order that leaves no agent without its rights
/// while it still works: Deployments, marks on works, rights, namespaces.
///
/// # Errors
///
/// The first thing that could not be removed; everything before it is gone, and trying again is
/// right.
pub async fn run(client: &Client, plan: &Plan) -> Result<(), CleanupError> {
    let deployments = plan.deployments(true);
    let all = deployments
        .iter()
        .map(Address::of)
        .collect::<Result<Vec<_>, _>>()?;
    for address in all {
        apply::ensure_absent(client, &address).await?;
    }
    for name in plan.foreign_deployments() {
        apply::ensure_absent(client, &deployment(&plan.namespace, &name)?).await?;
    }
    release_works(client, &plan.agent_id).await?;
    for object in plan.rights().iter().rev() {
        apply::ensure_absent(client, &Address::of(object)?).await?;
    }
    apply::ensure_absent(client, &Address::of(&plan.agent_namespace())?).await?;
    if is_last(client, &plan.name).await? {
        apply::ensure_absent(client, &Address::of(&plan.addon_namespace())?).await?;
    }
    Ok(())
}

/// The address of a Deployment.
pub fn deployment(namespace: &str, name: &str) -> Result<Address, ApplyError> {
    Address::of(&json!({
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": name, "namespace": namespace},
    }))
}

/// Removes the agent's finalizer from its AppliedManifestWorks: nobody is left to honour it, and
/// their objects shall stay.
async fn release_works(client: &Client, agent_id: &str) -> Result<(), CleanupError> {
    let api: Api<AppliedManifestWork> = Api::all(client.clone());
    let all = match api.list(&ListParams::default()).await {
        Ok(all) => all,
        // Without the definition there are none.
        Err(error) if Trouble::of(&error).is_not_found() => return Ok(()),
        Err(error) => return Err(server("listed the applied works")(error)),
    };
    for applied in all
        .items
        .iter()
        .filter(|applied| applied.spec.agent_id == agent_id)
    {
        remove_finalizer(&api, applied, finalizers::APPLIED_MANIFEST_WORK_CLEANUP)
            .await
            .map_err(server("released an applied work"))?;
    }
    Ok(())
}

/// Whether no other Klusterlet has a namespace here.
async fn is_last(client: &Client, klusterlet: &str) -> Result<bool, CleanupError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let selector = format!(
        "{},{}!={klusterlet}",
        labels::KLUSTERLET_NAMESPACE,
        labels::KLUSTERLET_NAMESPACE
    );
    let others = api.list(&ListParams::default().labels(&selector)).await;
    let others = others.map_err(server("looked for other agents"))?;
    Ok(others
        .items
        .iter()
        .all(|namespace| namespace.name_any() == namespaces::AGENT_ADDON))
}

/// Removes a finalizer, if it is there.
pub async fn remove_finalizer<K>(api: &Api<K>, object: &K, finalizer: &str) -> kube::Result<()>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    if !object.finalizers().iter().any(|name| name == finalizer) {
        return Ok(());
    }
    let kept: Vec<_> = object
        .finalizers()
        .iter()
        .filter(|name| *name != finalizer)
        .collect();
    let value = if kept.is_empty() {
        Value::Null
    } else {
        json!(kept)
    };
    match apply::patch(api, object, json!({"metadata": {"finalizers": value}})).await {
        Err(error) if Trouble::of(&error).is_not_found() => Ok(()),
        other => other.map(drop),
    }
}

/// Adds the operator's finalizer to a Klusterlet; returns it as it is then.
pub async fn guard(api: &Api<Klusterlet>, klusterlet: &Klusterlet) -> kube::Result<Klusterlet> {
    let mut list = klusterlet.finalizers().to_vec();
    if list
        .iter()
        .any(|name| name == finalizers::KLUSTERLET_CLEANUP)
    {
        return Ok(klusterlet.clone());
    }
    list.push(finalizers::KLUSTERLET_CLEANUP.to_owned());
    apply::patch(api, klusterlet, json!({"metadata": {"finalizers": list}})).await
}
