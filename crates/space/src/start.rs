//! Starting a complete space: access control, the objects every space has, its controllers.

use std::sync::Arc;

use hyades_pki::Authority;
use hyades_pki::ServiceAccountKey;
use hyades_store::Store;

use crate::Space;
use crate::access::Access;
use crate::access::bootstrap;
use crate::controllers;
use crate::controllers::ControllerOptions;
use crate::logs::PodLogs;
use crate::status::Status;

/// What a space is made of.
pub struct SpaceOptions {
    /// The space's name.
    pub name: String,
    /// Its store.
    pub store: Store,
    /// The authority that certifies its clients.
    pub client_ca: Authority,
    /// The key that signs its service-account tokens.
    pub service_account_key: ServiceAccountKey,
    /// The certificate of the authority that certifies its server, as PEM; published in every
    /// namespace.
    pub serving_ca_pem: String,
    /// The URL at which clients reach it.
    pub public_url: String,
    /// Where logs of its pods come from, when a node runs them.
    pub pod_logs: Option<Arc<dyn PodLogs>>,
}

/// Why a space could not be started.
#[derive(Debug, thiserror::Error)]
#[error("space {name}: its initial objects could not be written: {status}")]
pub struct StartError {
    /// The space.
    pub name: String,
    /// What the pipeline answered.
    pub status: Status,
}

impl Space {
    /// Starts a space: its initial objects are there and its controllers run when this returns.
    ///
    /// # Errors
    /// [`StartError`] when the initial objects cannot be written, such as on a full disk. Nothing of
    /// the space runs on then.
    pub async fn start(options: SpaceOptions) -> Result<Space, StartError> {
        let access = Access::new(
            options.store.clone(),
            &options.client_ca,
            options.service_account_key,
            &options.public_url,
        );
        let space = Space::bare(
            &options.name,
            options.store,
            Arc::new(access),
            options.pod_logs,
        );
        let loopback = space.loopback();
        if let Err(status) =
            bootstrap::ensure(&loopback, &options.client_ca.certificate_pem()).await
        {
            space.stop().await;
            return Err(StartError {
                name: options.name,
                status,
            });
        }
        let controllers = ControllerOptions {
            client_ca: Arc::new(options.client_ca),
            serving_ca_pem: options.serving_ca_pem.into(),
        };
        // The workers end with the space's stop token; nobody needs their handles.
        drop(controllers::spawn_all(
            &loopback,
            &controllers,
            &space.stopping(),
        ));
        Ok(space)
    }
}
