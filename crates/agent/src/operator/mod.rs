//! The component `klusterlet`: runs the agents that a Klusterlet asks for, in the WEC itself.
//!
//! ```text
//!  Klusterlet ─┐
//!  namespace   ├─ any change ─▶ reconcile ─▶ definitions ▶ namespaces ▶ rights ▶ Deployments ▶ status
//!  Secrets     │                     │
//!  Deployments ┘                     └─ ask the hub: has the agent its rights? (HubConnectionDegraded)
//! ```
//!
//! **When the agent's namespace is deleted by hand**, as the registration page does to clean up a
//! deregistered WEC, the agent is taken as uninstalled: nothing here has a finalizer in that
//! namespace, so the deletion ends, and the namespace is not made again. The Klusterlet says so
//! (Applied=False, AgentNamespaceDeleted). Joining again makes the namespace, and the agent comes
//! back; so does changing the Klusterlet's spec.

mod cleanup;
mod connection;
mod manifests;
mod reconcile;
mod report;
mod rights;
mod status;

use crate::error::AgentError;
use crate::options::KlusterletOptions;
use hyades_api::names;
use hyades_api::operator::Klusterlet;
use hyades_runtime::Cache;
use hyades_runtime::Context;
use hyades_runtime::Queue;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::k8s_openapi::NamespaceResourceScope;
use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::runtime::watcher;
use reconcile::Operator;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

/// Klusterlets reconciled at a time. A WEC has one, seldom two.
const WORKERS: usize = 2;

/// Runs the component `klusterlet` until shutdown.
///
/// # Errors
///
/// None at present: everything that can change is waited for.
pub async fn run(_options: KlusterletOptions, context: Context) -> Result<(), AgentError> {
    let queue = Queue::new();
    let klusterlets = watch_klusterlets(&context, queue.clone());
    let operator = Operator::new(context.client.clone(), klusterlets, queue.clone());
    controller::work(
        "Klusterlet",
        queue,
        WORKERS,
        context.shutdown.clone(),
        |name| operator.reconcile(name),
    )
    .await;
    Ok(())
}

fn watch_klusterlets(context: &Context, queue: Queue<String>) -> Cache<Klusterlet> {
    let mut known = std::collections::HashMap::new();
    controller::watch(
        Api::all(context.client.clone()),
        watcher::Config::default(),
        move |change: Change<'_, Klusterlet>| match change {
            Change::Applied(klusterlet) => {
                // The operator's own writes, finalizer and status, are no news.
                let deleting = klusterlet.metadata.deletion_timestamp.is_some();
                let trigger = (klusterlet.uid(), klusterlet.metadata.generation, deleting);
                if known.insert(klusterlet.name_any(), trigger.clone()) != Some(trigger) {
                    queue.add(klusterlet.name_any());
                }
            }
            Change::Deleted(klusterlet) => {
                known.remove(&klusterlet.name_any());
                queue.add(klusterlet.name_any());
            }
            Change::Synced => {}
        },
    )
}

/// What is followed in the namespace of one Klusterlet's agents. Dropping it ends the watches.
struct Surroundings {
    namespace: Cache<Namespace>,
    bootstrap: Cache<Secret>,
    hub: Cache<Secret>,
    deployments: Cache<Deployment>,
}

impl Surroundings {
    /// Starts following; every change puts `klusterlet` into the queue.
    fn start(
        client: &hyades_runtime::kube::Client,
        namespace: &str,
        klusterlet: &str,
        queue: &Queue<String>,
    ) -> Self {
        let named =
            |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
        let secret = |name: &str| {
            follow(
                Api::<Secret>::namespaced(client.clone(), namespace),
                named(name),
                klusterlet,
                queue,
            )
        };
        Self {
            namespace: follow_namespace(
                Api::all(client.clone()),
                named(namespace),
                klusterlet,
                queue,
            ),
            bootstrap: secret(names::BOOTSTRAP_HUB_KUBECONFIG_SECRET),
            hub: secret(names::HUB_KUBECONFIG_SECRET),
            deployments: follow(
                Api::namespaced(client.clone(), namespace),
                watcher::Config::default(),
                klusterlet,
                queue,
            ),
        }
    }

    async fn wait_until_synced(&self) {
        tokio::join!(
            self.namespace.wait_until_synced(),
            self.bootstrap.wait_until_synced(),
            self.hub.wait_until_synced(),
            self.deployments.wait_until_synced(),
        );
    }
}

fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    klusterlet: &str,
    queue: &Queue<String>,
) -> Cache<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (klusterlet, queue) = (klusterlet.to_owned(), queue.clone());
    controller::watch(api, config, move |_| queue.add(klusterlet.clone()))
}

fn follow_namespace(
    api: Api<Namespace>,
    config: watcher::Config,
    klusterlet: &str,
    queue: &Queue<String>,
) -> Cache<Namespace> {
    let (klusterlet, queue) = (klusterlet.to_owned(), queue.clone());
    controller::watch(api, config, move |_| queue.add(klusterlet.clone()))
}
