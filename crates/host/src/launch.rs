//! The seam between the host and what it serves: how a space is brought up, and down.

mod cluster_info;
mod pod_logs;
mod space;

use std::path::PathBuf;

use futures::future::BoxFuture;
use hyades_pki::Authority;
use hyades_pki::ServiceAccountKey;

use crate::HostError;
use crate::SpaceName;
use crate::router::SpaceService;

pub(crate) use space::SpaceLauncher;

/// What is known of a space before it runs.
pub(crate) struct Launching {
    /// Its name.
    pub(crate) name: SpaceName,
    /// Its folder, which exists.
    pub(crate) folder: PathBuf,
    /// Its URL.
    pub(crate) url: String,
    /// What its URL is trusted by.
    pub(crate) ca_pem: String,
    /// Its authority for clients.
    pub(crate) client_ca: Authority,
    /// Its key for service-account tokens.
    pub(crate) service_account_key: ServiceAccountKey,
}

/// A space that answers.
pub(crate) struct Running {
    /// Answers requests from outside.
    pub(crate) service: SpaceService,
    /// Stops it.
    stop: BoxFuture<'static, ()>,
}

impl Running {
    /// A space, and what it takes to stop it.
    pub(crate) fn new(
        service: SpaceService,
        stop: impl Future<Output = ()> + Send + 'static,
    ) -> Running {
        Running {
            service,
            stop: Box::pin(stop),
        }
    }

    /// Stops the space: its pods, its watches, its store.
    pub(crate) async fn stop(self) {
        drop(self.service);
        self.stop.await;
    }
}

/// Brings spaces up.
pub(crate) trait Launch: Send + Sync + 'static {
    /// Starts a space from its folder; resolves when it answers.
    fn launch(&self, launching: Launching) -> BoxFuture<'_, Result<Running, HostError>>;
}
