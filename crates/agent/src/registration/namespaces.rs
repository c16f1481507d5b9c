//! Namespaces that the WEC's cluster sets want in it: made, marked, and unmarked when no longer
//! wanted. None is ever deleted.

use super::Shared;
use crate::work::hub_hash;
use hyades_api::cluster::ManagedCluster;
use hyades_api::cluster::ManagedNamespaceStatus;
use hyades_api::conditions::Statement;
use hyades_api::conditions::Status;
use hyades_api::names::labels;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::apply::ApplyError;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::core::PartialObjectMeta;
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;

/// Namespaces are compared with what the hub wants when that changes, and otherwise after this
/// time, against changes by hand.
const RESYNC: Duration = Duration::from_secs(600);

/// A namespace that could not be made is tried again after this time.
const RETRY: Duration = Duration::from_secs(30);

/// Longest value of a label; a hub's hash has one character more.
const LABEL_LENGTH_MAX: usize = 63;

/// How each wanted namespace fares: made, or why not.
pub type Outcomes = BTreeMap<String, Result<(), String>>;

/// The label of a hub's namespaces.
fn label(server: &str) -> String {
    let mut hash = hub_hash(server);
    hash.truncate(LABEL_LENGTH_MAX);
    format!("{}{hash}", labels::CLUSTER_SET_PREFIX)
}

/// The field manager of a hub's label: an agent of another hub that wants the same namespace must
/// not take this one's label for its own and drop it.
fn manager(label: &str) -> String {
    let hash = label.trim_start_matches(labels::CLUSTER_SET_PREFIX);
    format!("klusterlet-agent-{hash}")
}

/// What to say about a namespace.
pub fn statement(outcome: &Result<(), String>) -> Statement {
    const TYPE: &str = "NamespaceAvailable";
    match outcome {
        Ok(()) => Statement::new(
            TYPE,
            Status::True,
            "NamespaceApplied",
            "Namespace is applied",
        ),
        Err(why) => Statement::new(TYPE, Status::False, "NamespaceApplyFailed", "")
            .with_message(why.clone()),
    }
}

/// Names of the namespaces an inventory object asks for.
fn wanted(cluster: Option<&ManagedCluster>) -> BTreeSet<String> {
    let entries = cluster.map(|cluster| cluster.status.managed_namespaces.as_slice());
    let names = entries.unwrap_or_default().iter();
    names
        .map(|entry: &ManagedNamespaceStatus| entry.name.clone())
        .collect()
}

/// Keeps the namespaces as the hub wants them, for ever.
pub(super) async fn keep(
    shared: &Shared<'_>,
    server: &str,
    mut current: watch::Receiver<Option<ManagedCluster>>,
) {
    let client = shared.observation.client();
    let label = label(server);
    // Where nothing is wanted at the start, what a former run marked waits for the first resync.
    let mut known = Some(BTreeSet::new());
    loop {
        let wanted = wanted(current.borrow_and_update().as_ref());
        let pause = match known.as_ref() == Some(&wanted) {
            true => RESYNC,
            false => {
                let outcomes = establish(client, &label, &wanted).await;
                let failed = outcomes.values().any(Result::is_err);
                shared.observation.note_namespaces(outcomes);
                let unmarked = unmark_others(client, &label, &wanted).await;
                match (failed, unmarked) {
                    (false, Ok(())) => {
                        known = Some(wanted.clone());
                        RESYNC
                    }
                    (_, unmarked) => {
                        if let Err(error) = unmarked {
                            let trouble = Trouble::of(&error);
                            tracing::warn!("unmarking namespaces that no set wants: {trouble}");
                        }
                        RETRY
                    }
                }
            }
        };
        tokio::select! {
            () = tokio::time::sleep(pause) => known = None,
            changed = current.changed() => if changed.is_err() { return },
        }
    }
}

async fn establish(client: &Client, label: &str, wanted: &BTreeSet<String>) -> Outcomes {
    let mut outcomes = Outcomes::new();
    for name in wanted {
        let object = json!({
            "apiVersion": "v1",
            "kind": "Namespace",
            "metadata": {"name": name, "labels": {label: "true"}},
        });
        let result = apply::ensure(client, &manager(label), &object).await;
        let told = |error: ApplyError| format!("Failed to apply namespace {name:?}: {error}");
        outcomes.insert(name.clone(), result.map(drop).map_err(told));
    }
    outcomes
}

/// Marks namespaces that are no longer wanted as such.
async fn unmark_others(
    client: &Client,
    label: &str,
    wanted: &BTreeSet<String>,
) -> kube::Result<()> {
    let api: Api<PartialObjectMeta<Namespace>> = Api::all(client.clone());
    let selector = format!("{label}=true");
    let marked = api.list(&ListParams::default().labels(&selector)).await?;
    let names = marked.items.iter().map(ResourceExt::name_any);
    for name in names.filter(|name| !wanted.contains(name)) {
        let patch = Patch::Merge(json!({"metadata": {"labels": {label: "false"}}}));
        api.patch(&name, &PatchParams::default(), &patch).await?;
        tracing::info!("namespace {name} is no longer wanted by a cluster set; it stays");
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_label_fits_whatever_the_hubs_address() {
        let label = label("https://hub.example:6443/spaces/its1");
        let name = label
            .strip_prefix(labels::CLUSTER_SET_PREFIX)
            .expect("the prefix");
        assert_eq!(name.len(), LABEL_LENGTH_MAX);
        assert!(hub_hash("https://hub.example:6443/spaces/its1").starts_with(name));
    }

    #[test]
    fn each_hub_has_a_field_manager_of_its_own_that_the_api_takes() {
        let [one, other] = ["its1", "its2"]
            .map(|space| manager(&label(&format!("https://hub.example:6443/spaces/{space}"))));
        assert_ne!(one, other);
        assert!(one.len() <= 128, "the API's limit: {one}");
        assert!(!one.contains('/'), "{one}");
    }

    #[test]
    fn the_condition_says_what_became_of_the_namespace() {
        let good = statement(&Ok(()));
        assert_eq!(
            (good.status, good.reason.as_ref()),
            (Status::True, "NamespaceApplied")
        );
        let bad = statement(&Err("no right".to_owned()));
        assert_eq!(bad.reason, "NamespaceApplyFailed");
        assert_eq!(bad.message, "no right");
    }
}
