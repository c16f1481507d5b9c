//! What the node's two controllers share: how they are run.

use std::fmt::Debug;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::runtime::Controller;
use hyades_runtime::kube::runtime::controller::Action;
use hyades_runtime::kube::runtime::watcher;
use serde::de::DeserializeOwned;
use tokio_util::sync::CancellationToken;

/// The retry delay after a failed write, most often a conflict with a fresher object.
const RETRY: Duration = Duration::from_millis(200);

/// Reconciles every `K` whenever it or an `Owned` of its own changes, until `stop`.
pub(crate) async fn run<K, Owned, Reconcile, Outcome>(
    client: Client,
    stop: CancellationToken,
    reconcile: Reconcile,
) where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    Owned: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
    K::DynamicType: Hash + Eq,
    Reconcile: FnMut(Arc<K>, Arc<Client>) -> Outcome,
    Outcome: Future<Output = Result<Action, kube::Error>> + Send + 'static,
{
    Controller::new(Api::<K>::all(client.clone()), watcher::Config::default())
        .owns(
            Api::<Owned>::all(client.clone()),
            watcher::Config::default(),
        )
        .graceful_shutdown_on(async move { stop.cancelled().await })
        .run(
            reconcile,
            |_, _, _| Action::requeue(RETRY),
            Arc::new(client),
        )
        .for_each(|outcome| async move {
            if let Err(error) = outcome {
                tracing::debug!(%error, "a {} is retried", K::kind(&()));
            }
        })
        .await;
}
