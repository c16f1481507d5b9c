//! The component `klusterlet`: runs the agents that a Klusterlet asks for, in the WEC itself or, in
//! the hosted modes, beside the operator and for a WEC elsewhere.
//!
//! ```text
//!  Klusterlet ─┐
//!  namespace   ├─ any change ─▶ reconcile ─▶ definitions ▶ namespaces ▶ rights ▶ Deployments ▶ status
//!  Secrets     │                     │           └──── in the WEC ─────────┘        beside the operator
//!  Deployments ┘                     └─ ask the hub: has the agent its rights? (HubConnectionDegraded)
//! ```
//!
//! **When the agent's namespace is deleted by hand**, as the registration page does to clean up a
//! deregistered WEC, the agent is taken as uninstalled: nothing here has a finalizer in that
//! namespace, so the deletion ends, and the namespace is not made again. The Klusterlet says so
//! (Applied=False, AgentNamespaceDeleted). Joining again makes the namespace, and the agent comes
//! back; so does changing the Klusterlet's spec.

mod apply;
mod cleanup;
mod connection;
mod flags;
mod hosted;
mod manifests;
mod reconcile;
mod report;
mod rights;
mod status;
mod surroundings;

use crate::error::AgentError;
use crate::options::KlusterletOptions;
use hyades_api::operator::Klusterlet;
use hyades_runtime::Cache;
use hyades_runtime::Context;
use hyades_runtime::Queue;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::runtime::watcher;
use reconcile::Operator;

/// Klusterlets reconciled at a time. A WEC has one, seldom two.
const WORKERS: usize = 2;

/// Runs the component `klusterlet` until shutdown.
///
/// # Errors
///
/// None at present: everything that can change is waited for.
pub async fn run(options: KlusterletOptions, context: Context) -> Result<(), AgentError> {
    let queue = Queue::new();
    let klusterlets = watch_klusterlets(&context, queue.clone());
    let client = context.client.clone();
    let operator = Operator::new(client, klusterlets, queue.clone(), options);
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
                let labels = klusterlet.metadata.labels.clone();
                let generation = klusterlet.metadata.generation;
                let trigger = (klusterlet.uid(), generation, deleting, labels);
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
