//! Taking the agent of a deleted Klusterlet out of its WEC. The objects that works left stay, and
//! the hub is not told: deregistration is the hub's affair.

use super::hosted;
use super::manifests::Plan;
use crate::install;
use hyades_api::names;
use hyades_api::names::annotations;
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
use hyades_runtime::kube::core::PartialObjectMeta;
use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeSet;

/// Why the clean-up must be tried again.
#[derive(Debug, thiserror::Error)]
pub enum CleanupError {
    /// An object could not be removed.
    #[error(transparent)]
    Object(#[from] ApplyError),
    /// The WEC of a hosted agent cannot be reached; after five minutes it is left as it is.
    #[error("the managed cluster cannot be cleaned up yet: {0}")]
    Unreachable(String),
    /// The API server refused or could not be reached.
    #[error("{action}: {trouble}")]
    Server {
        /// What was tried.
        action: &'static str,
        /// What happened.
        trouble: Trouble,
    },
}

pub(super) fn server(action: &'static str) -> impl Fn(kube::Error) -> CleanupError {
    move |error| CleanupError::Server {
        action,
        trouble: Trouble::of(&error),
    }
}

/// How long a WEC that cannot be reached holds up the removal of its hosted agent.
const UNREACHABLE_LIMIT: SignedDuration = SignedDuration::from_mins(5);

/// Removes everything that [`Plan`] made, in an order that leaves no agent without its rights
/// while it still works: Deployments, marks on works, rights, namespaces. Without `managed` the
/// WEC is left as it is.
///
/// # Errors
///
/// The first thing that could not be removed; everything before it is gone, and trying again is
/// right.
pub async fn run(
    client: &Client,
    managed: Option<&Client>,
    plan: &Plan,
) -> Result<(), CleanupError> {
    remove(client, &plan.deployments(true)).await?;
    for name in plan.foreign_deployments() {
        apply::ensure_absent(client, &deployment(&plan.namespace, &name)?).await?;
    }
    if let Some(managed) = managed {
        release_works(managed, &plan.agent_id).await?;
        for namespace in addon_namespaces(managed).await? {
            remove(managed, &plan.addon_rights(&namespace)).await?;
        }
        remove(managed, &plan.managed_rights()).await?;
        remove(managed, &[plan.klusterlet_namespace()]).await?;
        if is_last(managed, &plan.name).await? {
            remove(managed, &[plan.addon_namespace()]).await?;
        }
    }
    let secrets = std::iter::once(names::HUB_KUBECONFIG_SECRET).chain(hosted::SECRETS);
    let secrets: Vec<_> = secrets
        .map(|name| install::kubeconfig_secret(&plan.namespace, name, ""))
        .collect();
    remove(client, &secrets).await?;
    remove(client, &plan.management_rights()).await?;
    remove(client, &[plan.agent_namespace()]).await
}

/// Removes objects, the last first.
pub(super) async fn remove(client: &Client, objects: &[Value]) -> Result<(), CleanupError> {
    for object in objects.iter().rev() {
        apply::ensure_absent(client, &Address::of(object)?).await?;
    }
    Ok(())
}

/// Whether an object has a finalizer.
pub fn is_marked(klusterlet: &Klusterlet, finalizer: &str) -> bool {
    klusterlet.finalizers().iter().any(|name| name == finalizer)
}

/// Leaves a WEC that cannot be reached alone once that has lasted; an error until then. The time
/// stands in an annotation, so that it outlives the operator.
///
/// # Errors
///
/// While the WEC may still come back.
pub async fn give_up(
    api: &Api<Klusterlet>,
    klusterlet: &Klusterlet,
    why: &str,
) -> Result<Option<Client>, CleanupError> {
    let key = annotations::MANAGED_RESOURCES_EVICTION;
    let stated = klusterlet.annotations().get(key);
    let since = stated.and_then(|text| text.parse::<Timestamp>().ok());
    let now = Timestamp::now();
    match since {
        Some(since) if now.duration_since(since) >= UNREACHABLE_LIMIT => {
            tracing::warn!("the managed cluster is left as it is: {why}");
            return Ok(None);
        }
        Some(_) => {}
        None => {
            let changes = json!({"metadata": {"annotations": {key: format!("{now:.0}")}}});
            apply::patch(api, klusterlet, changes)
                .await
                .map_err(server("noted that the managed cluster is out of reach"))?;
        }
    }
    Err(CleanupError::Unreachable(why.to_owned()))
}

/// Deletes namespaces that the agent of this Klusterlet had before it moved to another.
pub async fn former_namespaces(client: &Client, plan: &Plan) -> Result<(), CleanupError> {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let selector = format!("{}={}", labels::KLUSTERLET_NAMESPACE, plan.name);
    let found = api.list(&ListParams::default().labels(&selector)).await;
    let found = found.map_err(server("looked for former namespaces"))?;
    for namespace in found.items.iter().map(ResourceExt::name_any) {
        if namespace == plan.managed_namespace {
            continue;
        }
        tracing::info!("deleting the agent's former namespace {namespace}");
        let object =
            json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}});
        apply::ensure_absent(client, &Address::of(&object)?).await?;
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

/// The common namespace of add-ons, and those that are marked as such.
async fn addon_namespaces(client: &Client) -> Result<BTreeSet<String>, CleanupError> {
    let api: Api<Namespace> = Api::all(client.clone());
    let selector = format!("{}=true", labels::ADDON_NAMESPACE);
    let parameters = ListParams::default().labels(&selector);
    let marked = api.list_metadata(&parameters).await;
    let marked = marked.map_err(server("looked for namespaces of add-ons"))?;
    let names = marked.items.iter().map(ResourceExt::name_any);
    Ok(names.chain([namespaces::AGENT_ADDON.to_owned()]).collect())
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
    remove_finalizers(api, object, &[finalizer]).await
}

/// Removes finalizers, in one write, if any of them is there.
pub async fn remove_finalizers<K>(api: &Api<K>, object: &K, finalizers: &[&str]) -> kube::Result<()>
where
    K: kube::Resource + Clone + serde::de::DeserializeOwned + std::fmt::Debug,
{
    let present = object.finalizers();
    let kept: Vec<_> = present
        .iter()
        .filter(|name| !finalizers.contains(&name.as_str()))
        .collect();
    if kept.len() == present.len() {
        return Ok(());
    }
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

/// Adds a finalizer to a Klusterlet; returns it as it is then.
pub async fn guard(
    api: &Api<Klusterlet>,
    klusterlet: &Klusterlet,
    finalizer: &str,
) -> kube::Result<Klusterlet> {
    if is_marked(klusterlet, finalizer) {
        return Ok(klusterlet.clone());
    }
    let mut list = klusterlet.finalizers().to_vec();
    list.push(finalizer.to_owned());
    apply::patch(api, klusterlet, json!({"metadata": {"finalizers": list}})).await
}
