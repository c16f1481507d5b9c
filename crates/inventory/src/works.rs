//! Works on the hub: made for all WECs of a placement, and deleted some time after their end.
//!
//! ```text
//! ManifestWorkReplicaSet ─┐
//! PlacementDecision ──────┼▶ one key per set ▶ decide (plan) ─┬▶ works made, changed, deleted
//! its works ──────────────┘                                   └▶ status (summary)
//!
//! other works ▶ one key per work ▶ deleted when its time after completion is over (finished)
//! ```
//!
//! Each half stands behind its feature gate and watches nothing without it. Of works only labels,
//! conditions and a fingerprint of the spec are kept in memory.

mod finished;
mod observed;
mod plan;
mod replica_sets;
mod summary;

use crate::manifests::rule;
use hyades_api::features;
use hyades_api::features::FeatureGates;
use hyades_api::names;
use hyades_runtime::Context;
use hyades_runtime::controller;
use serde_json::Value;

/// Sets worked on at a time; upstream's number.
const SET_WORKERS: usize = 5;

/// Finished works deleted at a time: one call each.
const FINISHED_WORKERS: usize = 8;

/// Runs what the gates ask for until the context's shutdown.
pub(crate) async fn run(gates: &FeatureGates, context: &Context) {
    tokio::join!(
        async {
            if gates.enabled(features::MANIFEST_WORK_REPLICA_SET) {
                keep_sets(context).await;
            }
        },
        async {
            if gates.enabled(features::CLEAN_UP_COMPLETED_MANIFEST_WORK) {
                delete_finished(context).await;
            }
        },
    );
}

async fn keep_sets(context: &Context) {
    let observed = observed::Observed::watch(&context.client);
    tokio::select! {
        () = context.shutdown.cancelled() => return,
        () = observed.wait_until_synced() => {}
    }
    let queue = observed.queue.clone();
    let reconciler = replica_sets::Reconciler::new(context.client.clone(), observed);
    let shutdown = context.shutdown.clone();
    controller::work(
        "ManifestWorkReplicaSet",
        queue,
        SET_WORKERS,
        shutdown,
        |key| reconciler.reconcile(key),
    )
    .await;
}

async fn delete_finished(context: &Context) {
    let finished = finished::Finished::watch(&context.client);
    let queue = finished.queue.clone();
    let shutdown = context.shutdown.clone();
    controller::work(
        "finished ManifestWork",
        queue,
        FINISHED_WORKERS,
        shutdown,
        |key| finished.reconcile(key),
    )
    .await;
}

/// What the hub may do on an ITS for this. Whoever may write sets decides what runs in the WECs of
/// the placements that he may use; the hub therefore acts as any executor that a set names.
pub(crate) fn rules() -> Vec<Value> {
    let group = names::WORK_GROUP;
    vec![
        rule(
            group,
            &["manifestworkreplicasets"],
            &["get", "list", "watch", "update", "patch"],
        ),
        rule(
            group,
            &[
                "manifestworkreplicasets/status",
                "manifestworkreplicasets/finalizers",
            ],
            &["patch", "update"],
        ),
        rule(
            group,
            &["manifestworks"],
            &[
                "create",
                "get",
                "list",
                "watch",
                "update",
                "patch",
                "delete",
                "execute-as",
            ],
        ),
    ]
}
