//! The operator of the hub: makes what a ClusterManager describes, and reports on it.
//!
//! ```text
//! ClusterManager ─┐
//! hub Deployment ─┼▶ desired::decide ▶ apply what differs ▶ status::decide ▶ patch if changed
//! drift timer ────┘
//! ```
//!
//! When a ClusterManager goes, its hub goes; CRDs, inventory objects and mailboxes stay. What is
//! registered outlives the program that serves it, and a new ClusterManager takes it over.

mod desired;
mod status;

pub use desired::rules;

use crate::policies;
use desired::Refusal;
use hyades_api::names::finalizers;
use hyades_api::names::namespaces;
use hyades_api::operator::ClusterManager;
use hyades_runtime::Cache;
use hyades_runtime::Context;
use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::apply::Address;
use hyades_runtime::apply::ApplyError;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::runtime::watcher;
use jiff::Timestamp;
use serde_json::json;
use std::collections::BTreeMap;
use std::time::Duration;

/// The field manager of everything the operator applies.
const FIELD_MANAGER: &str = "hyades-cluster-manager";

/// How often objects are compared again although no event asked for it: hand-made changes to
/// what is not watched are undone within this time. Upstream compares every 3 minutes; ours costs
/// one GET an object, so rarely is better.
const DRIFT_PERIOD: Duration = Duration::from_secs(600);

/// ClusterManagers worked on at a time. An ITS has one.
const WORKERS: usize = 1;

/// Flags of the operator.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Options {
    /// Copy the labels of the ClusterManager to everything made for it
    #[arg(long)]
    pub enable_sync_labels: bool,
}

/// Why a reconciliation failed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Apply(#[from] ApplyError),
    #[error("patched the ClusterManager: {0}")]
    Patch(Trouble),
    #[error("deleted the hub: {0}")]
    Delete(ApplyError),
}

struct Operator {
    client: Client,
    managers: Cache<ClusterManager>,
    deployments: Cache<Deployment>,
    sync_labels: bool,
}

/// Runs the operator until the context's shutdown.
///
/// # Errors
///
/// None today: what fails is tried again, and told in the log and in the ClusterManager's status.
pub async fn run(options: Options, context: Context) -> Result<(), std::convert::Infallible> {
    let queue: Queue<String> = Queue::new();
    let client = context.client.clone();
    let managers = controller::watch(
        Api::<ClusterManager>::all(client.clone()),
        watcher::Config::default(),
        enqueue(&queue),
    );
    managers.wait_until_synced().await;
    let store = managers.store();
    let changed = queue.clone();
    let deployments = controller::watch(
        Api::<Deployment>::namespaced(client.clone(), namespaces::HUB),
        watcher::Config::default(),
        move |_| {
            for manager in store.state() {
                changed.add(manager.name_any());
            }
        },
    );
    let operator = Operator {
        client,
        managers,
        deployments,
        sync_labels: options.enable_sync_labels,
    };
    let shutdown = context.shutdown;
    controller::work("ClusterManager", queue, WORKERS, shutdown, |name| {
        operator.reconcile(name)
    })
    .await;
    Ok(())
}

fn enqueue(queue: &Queue<String>) -> impl FnMut(Change<'_, ClusterManager>) + Send + use<> {
    let queue = queue.clone();
    move |change| match change {
        Change::Applied(object) | Change::Deleted(object) => queue.add(object.name_any()),
        Change::Synced => {}
    }
}

impl Operator {
    async fn reconcile(&self, name: String) -> Result<Option<Duration>, Error> {
        let Some(manager) = self.managers.get(&name) else {
            return Ok(None);
        };
        if manager.metadata.deletion_timestamp.is_some() {
            self.clean_up(&manager).await?;
            return Ok(None);
        }
        let manager = match self.with_finalizer(&manager).await {
            // The changed object's event brings this key back at once.
            Ok(true) | Err(Trouble::Conflict(_)) => return Ok(None),
            Err(trouble) => return Err(Error::Patch(trouble)),
            Ok(false) => manager,
        };
        let inherited = match self.sync_labels {
            true => desired::inherited(&manager),
            false => BTreeMap::new(),
        };
        let (result, retry) = match desired::decide(&manager, &inherited) {
            Err(refusal) => (Err(refusal), Ok(None)),
            Ok(objects) => {
                let applied = self.apply(&manager, &inherited, &objects).await;
                match applied {
                    Ok(()) => (Ok(objects), Ok(Some(DRIFT_PERIOD))),
                    Err(error) => {
                        let message = error.to_string();
                        (Err(Refusal::apply_failed(message)), Err(error.into()))
                    }
                }
            }
        };
        self.report(&manager, &result).await?;
        retry
    }

    async fn apply(
        &self,
        manager: &ClusterManager,
        inherited: &BTreeMap<String, String>,
        objects: &[serde_json::Value],
    ) -> Result<(), ApplyError> {
        for object in objects {
            match apply::ensure_with_labels(&self.client, FIELD_MANAGER, object).await {
                Err(ApplyError::Refused { trouble, .. })
                    if trouble.is_not_found() && policies::is_dispensable(object) =>
                {
                    tracing::debug!(kind = %object["kind"], "the server has no such kind");
                }
                other => {
                    other?;
                }
            }
        }
        self.copy_pull_secret(manager, inherited).await
    }

    /// Pods pull images with a Secret of their own namespace; the operator's has the original. An
    /// ITS whose images need none may lack it.
    async fn copy_pull_secret(
        &self,
        manager: &ClusterManager,
        inherited: &BTreeMap<String, String>,
    ) -> Result<(), ApplyError> {
        let name = hyades_api::names::IMAGE_PULL_SECRET;
        let api = Api::<Secret>::namespaced(self.client.clone(), namespaces::OPERATOR);
        let original = api.get_opt(name).await;
        let original = original.map_err(|error| ApplyError::Refused {
            kind: "Secret".to_owned(),
            name: format!("{}/{name}", namespaces::OPERATOR),
            trouble: Trouble::of(&error),
        })?;
        if let Some(original) = original {
            let copy = desired::pull_secret(&original, manager, inherited);
            apply::ensure_with_labels(&self.client, FIELD_MANAGER, &copy).await?;
        }
        Ok(())
    }

    /// Adds the finalizer; returns whether it had to.
    async fn with_finalizer(&self, manager: &ClusterManager) -> Result<bool, Trouble> {
        let mine = finalizers::CLUSTER_MANAGER_CLEANUP;
        if manager.finalizers().iter().any(|other| other == mine) {
            return Ok(false);
        }
        let mut all = manager.finalizers().to_vec();
        all.push(mine.to_owned());
        let changes = json!({"metadata": {"finalizers": all}});
        let api = Api::<ClusterManager>::all(self.client.clone());
        let patched = apply::patch(&api, manager, changes).await;
        patched.map(|_| true).map_err(|error| Trouble::of(&error))
    }

    async fn report(
        &self,
        manager: &ClusterManager,
        result: &Result<Vec<serde_json::Value>, Refusal>,
    ) -> Result<(), Error> {
        let name = hyades_api::names::hub_deployment(&manager.name_any());
        let deployment = self.deployments.get_in(namespaces::HUB, &name);
        let now = Time(Timestamp::now());
        let Some(status) = status::decide(manager, result, deployment.as_deref(), now) else {
            return Ok(());
        };
        let api = Api::<ClusterManager>::all(self.client.clone());
        match apply::patch_status(&api, manager, status).await {
            Ok(_) => Ok(()),
            Err(error) => match Trouble::of(&error) {
                // Someone else's change brings this key back with the newer object.
                Trouble::Conflict(_) | Trouble::NotFound(_) => Ok(()),
                trouble => Err(Error::Patch(trouble)),
            },
        }
    }

    async fn clean_up(&self, manager: &ClusterManager) -> Result<(), Error> {
        let mine = finalizers::CLUSTER_MANAGER_CLEANUP;
        if !manager.finalizers().iter().any(|other| other == mine) {
            return Ok(());
        }
        for object in desired::owned(&manager.name_any()) {
            let address = Address::of(&object).map_err(Error::Delete)?;
            let absent = apply::ensure_absent(&self.client, &address).await;
            absent.map_err(Error::Delete)?;
        }
        let rest: Vec<&String> = manager
            .finalizers()
            .iter()
            .filter(|other| *other != mine)
            .collect();
        let changes = json!({"metadata": {"finalizers": rest}});
        let api = Api::<ClusterManager>::all(self.client.clone());
        match apply::patch(&api, manager, changes).await {
            Ok(_) => Ok(()),
            Err(error) => match Trouble::of(&error) {
                Trouble::NotFound(_) => Ok(()),
                trouble => Err(Error::Patch(trouble)),
            },
        }
    }
}
