//! The controllers that are part of the API itself: what upstream's kube-controller-manager does
//! for namespaces, service accounts, owner references, certificates and definitions.
//!
//! ```text
//!  store hook ─▶ Queue of keys ─▶ one worker a controller ─▶ decide (pure) ─▶ Loopback
//!                  ▲                                            │
//!                  └──────────── retry with back-off ◀──────────┘
//! ```
//!
//! Nothing polls: hooks see every change before its writer is answered, and what depends on time
//! waits for its own moment. Workers read the present state, so a missed intermediate state does no
//! harm.

mod aggregation;
mod definitions;
mod expiry;
mod garbage;
mod namespace_contents;
mod namespaces;
mod queue;
mod signer;

use std::hash::Hash;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt as _;
use hyades_pki::Authority;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use self::queue::Queue;
use crate::loopback::Loopback;
use crate::status::Status;

/// What the controllers need beside the space itself.
#[derive(Clone)]
pub struct ControllerOptions {
    /// The authority that certifies the space's clients.
    pub client_ca: Arc<Authority>,
    /// The certificate of the authority that certifies the space's server, as PEM, published to
    /// every namespace.
    pub serving_ca_pem: Arc<str>,
}

/// Starts all controllers; they end when `stop` is cancelled.
pub fn spawn_all(
    space: &Loopback,
    options: &ControllerOptions,
    stop: &CancellationToken,
) -> Vec<JoinHandle<()>> {
    let mut workers = vec![
        namespaces::spawn(space, stop),
        namespace_contents::spawn(space, Arc::clone(&options.serving_ca_pem), stop),
        garbage::spawn(space, stop),
        signer::spawn(space, Arc::clone(&options.client_ca), stop),
        definitions::spawn(space, stop),
        aggregation::spawn(space, stop),
    ];
    workers.extend(expiry::spawn_all(space, stop));
    workers
}

/// Runs a controller's worker: takes keys until stopped, and retries those that fail.
fn work<K, F>(
    name: &'static str,
    queue: Queue<K>,
    stop: &CancellationToken,
    mut reconcile: impl FnMut(K) -> F + Send + 'static,
) -> JoinHandle<()>
where
    K: Clone + Eq + Hash + Ord + std::fmt::Debug + Send + Sync + 'static,
    F: Future<Output = Result<(), Status>> + Send,
{
    let stop = stop.clone();
    tokio::spawn(async move {
        loop {
            let key = tokio::select! {
                () = stop.cancelled() => return,
                key = queue.next() => key,
            };
            // One object that a defect stumbles over must not end the controller for all others.
            let attempt = AssertUnwindSafe(reconcile(key.clone())).catch_unwind();
            let outcome = attempt
                .await
                .unwrap_or_else(|_| Err(Status::internal("the controller panicked; see its log")));
            match outcome {
                Ok(()) => queue.forget(&key),
                Err(_) if stop.is_cancelled() => return,
                Err(status) => {
                    // Losing against another writer is normal; the retry sees what it wrote.
                    if !status.is_conflict() {
                        tracing::warn!(controller = name, ?key, %status, "will be tried again");
                    }
                    queue.retry(key);
                }
            }
        }
    })
}

/// A missing object where an absent one is as good as a handled one.
fn absent_is_done<T>(result: Result<T, Status>) -> Result<(), Status> {
    match result {
        Err(status) if !status.is_not_found() => Err(status),
        _ => Ok(()),
    }
}
