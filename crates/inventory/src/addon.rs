//! Add-ons on the hub: where they go, what they consist of, who they are, and how they fare.
//!
//! ```text
//! ClusterManagementAddOn, placements, configurations ─▶ one key per add-on (offered)
//!      │ creates, deletes, lets ask for a configuration (install, configs, rollout)
//!      ▼
//! ManagedClusterAddOn, works ─▶ one key per WEC and add-on (enabled)
//!      │ decides (plan) from the template rendered for the WEC (template, registration, health)
//!      ▼
//! works, rights, conditions
//!
//! CertificateSigningRequest ─▶ one key per request (certificates): approve, sign (requests)
//! ManagedCluster ─▶ one key per WEC: labels that say how its add-ons fare (health)
//! webhook: answers API servers that convert between the two versions of add-ons
//! ```
//!
//! Add-ons without a template belong to managers of their own; of them only life, labels, owners
//! and install strategies are looked after here, as upstream's central manager does.

mod certificates;
mod chosen;
mod configs;
mod enabled;
mod health;
mod install;
mod observed;
mod offered;
mod permissions;
mod plan;
mod registration;
mod requests;
mod template;
pub(crate) mod webhook;

use crate::manifests::named_rule;
use crate::manifests::rule;
use hyades_api::cluster::ManagedCluster;
use hyades_api::identity::AgentIdentity;
use hyades_api::identity::ClusterName;
use hyades_api::names;
use hyades_runtime::Context;
use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::controller;
use hyades_runtime::events::Recorder;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::runtime::reflector::Store;
use observed::Observed;
use observed::Queues;
use serde_json::Value;
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// Add-ons offered are few; each is a walk over its WECs in memory.
const OFFERED_WORKERS: usize = 4;

/// Enabled add-ons worked on at a time, as many as WECs: they wait for the server most of the time.
const ENABLED_WORKERS: usize = 32;

/// Requests and labels worked on at a time: one call each.
const SMALL_WORKERS: usize = 8;

/// What every part of this manager holds.
struct Manager {
    client: Client,
    observed: Observed,
    events: Recorder,
    /// The hub's namespace, for Secrets that are named without one.
    namespace: String,
    /// The agent to which the name of a WEC belongs.
    agent_of: AgentOf,
    waiting: Waiting,
}

/// Add-ons that a placement wants in WECs which take none yet, so that a WEC's acceptance wakes them.
#[derive(Debug, Default)]
struct Waiting(RefCell<HashMap<String, BTreeSet<String>>>);

impl Waiting {
    fn add(&self, cluster: &str, addon: &str) {
        let mut waiting = self.0.borrow_mut();
        let addons = waiting.entry(cluster.to_owned()).or_default();
        addons.insert(addon.to_owned());
    }

    fn take(&self, cluster: &str) -> BTreeSet<String> {
        self.0.borrow_mut().remove(cluster).unwrap_or_default()
    }
}

/// Finds the agent to which the name of a WEC belongs.
pub(crate) type AgentOf = Box<dyn Fn(&ClusterName) -> Option<AgentIdentity>>;

/// What the hub shares with the manager of add-ons.
pub(crate) struct Shared {
    /// Inventory objects.
    pub(crate) clusters: Store<ManagedCluster>,
    /// Names of inventory objects that changed.
    pub(crate) changed: Queue<String>,
    /// Finds the agent of a WEC.
    pub(crate) agent_of: AgentOf,
}

/// Runs until the context's shutdown.
pub(crate) async fn run(context: &Context, shared: Shared) {
    let queues = Queues {
        clusters: shared.changed,
        ..Queues::default()
    };
    let observed = Observed::watch(&context.client, shared.clusters, &queues);
    tokio::select! {
        () = context.shutdown.cancelled() => return,
        () = observed.wait_until_synced() => {}
    }
    let manager = Rc::new(Manager {
        client: context.client.clone(),
        observed,
        events: Recorder::new(context.client.clone(), "addon-manager", &context.pod_name),
        namespace: context.namespace.clone(),
        agent_of: shared.agent_of,
        waiting: Waiting::default(),
    });
    let offered = offered::Reconciler::new(manager.clone());
    let enabled = enabled::Reconciler::new(manager.clone());
    let certificates = certificates::Reconciler::new(manager.clone());
    tokio::join!(
        controller::work(
            "ClusterManagementAddOn",
            queues.offered.clone(),
            OFFERED_WORKERS,
            context.shutdown.clone(),
            |name| offered.reconcile(name),
        ),
        controller::work(
            "ManagedClusterAddOn",
            queues.enabled.clone(),
            ENABLED_WORKERS,
            context.shutdown.clone(),
            |key| enabled.reconcile(key),
        ),
        controller::work(
            "add-on's CertificateSigningRequest",
            queues.requests.clone(),
            SMALL_WORKERS,
            context.shutdown.clone(),
            |name| certificates.reconcile(name),
        ),
        controller::work(
            "add-ons of ManagedCluster",
            queues.clusters.clone(),
            SMALL_WORKERS,
            context.shutdown.clone(),
            |name| label(&manager, &queues, name),
        ),
    );
}

/// Writes the labels that say how the add-ons of a WEC fare, and has each looked at again: the life
/// and the annotations of the WEC are theirs too. Add-ons that wait for it are installed.
async fn label(
    manager: &Manager,
    queues: &Queues,
    name: String,
) -> Result<Option<Duration>, Trouble> {
    let Some(cluster) = manager.observed.cluster(&name) else {
        manager.waiting.take(&name);
        return Ok(None);
    };
    if offered::takes_addons(&cluster) {
        for addon in manager.waiting.take(&name) {
            queues.offered.add(addon);
        }
    }
    let addons = manager.observed.enabled_in(&name);
    for addon in &addons {
        let addon = addon.metadata.name.clone().unwrap_or_default();
        queues.enabled.add((name.clone(), addon));
    }
    if cluster.metadata.deletion_timestamp.is_some() {
        return Ok(None);
    }
    let Some(labels) = health::labels(&cluster, addons.iter().map(AsRef::as_ref)) else {
        return Ok(None);
    };
    let api = Api::<ManagedCluster>::all(manager.client.clone());
    let changes = json!({"metadata": {"labels": labels}});
    match apply::patch(&api, &*cluster, changes).await {
        Ok(_) => Ok(None),
        Err(error) => match Trouble::of(&error) {
            // The newer object is on its way and brings this WEC back.
            Trouble::Conflict(_) | Trouble::NotFound(_) => Ok(None),
            trouble => Err(trouble),
        },
    }
}

/// What this manager may do on an ITS, beyond the rights of the hub.
///
/// It holds no right to bind roles, to approve or sign for other signers than Kubernetes' own, or
/// to read Secrets: what templates ask for of these an administrator grants by name, and until then
/// the add-on's conditions and Events say which.
pub(crate) fn rules() -> Vec<Value> {
    const READ: &[&str] = &["get", "list", "watch"];
    let addon = names::ADDON_GROUP;
    let cluster = names::CLUSTER_GROUP;
    vec![
        rule(
            addon,
            &["managedclusteraddons"],
            &[
                "create", "get", "list", "watch", "update", "patch", "delete",
            ],
        ),
        rule(
            addon,
            &[
                "managedclusteraddons/status",
                "clustermanagementaddons/status",
            ],
            &["patch", "update"],
        ),
        rule(
            addon,
            &[
                "managedclusteraddons/finalizers",
                "clustermanagementaddons/finalizers",
            ],
            &["update"],
        ),
        rule(
            addon,
            &[
                "clustermanagementaddons",
                "addontemplates",
                "addondeploymentconfigs",
            ],
            READ,
        ),
        rule(cluster, &["placements", "placementdecisions"], READ),
        rule(names::WORK_GROUP, &["manifestworks"], &["create"]),
        rule(
            "",
            &["serviceaccounts"],
            &["create", "get", "list", "patch", "watch"],
        ),
        rule(
            "rbac.authorization.k8s.io",
            &["roles"],
            &["create", "get", "list", "patch", "update"],
        ),
        rule(
            "certificates.k8s.io",
            &["certificatesigningrequests/status"],
            &["patch", "update"],
        ),
        named_rule(
            "apiextensions.k8s.io",
            &["customresourcedefinitions"],
            &webhook::DEFINITIONS,
            &["get", "patch"],
        ),
    ]
}
