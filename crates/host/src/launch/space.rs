//! Real spaces: a store, the API over it, and the process node that runs its pods.

use std::path::PathBuf;
use std::sync::Arc;

use futures::future::BoxFuture;
use hyades_node::Node;
use hyades_node::NodeOptions;
use hyades_node::simulation::Simulation;
use hyades_runtime::kube::Client;
use hyades_space::Space;
use hyades_space::SpaceOptions;
use hyades_space::identity::UserInfo;
use hyades_store::Options;
use hyades_store::Store;
use tower::util::BoxCloneSyncService;

use super::Launch;
use super::Launching;
use super::Running;
use super::cluster_info;
use super::pod_logs::NodeLogs;
use crate::HostError;
use crate::folder;

/// The space's file.
const STORE: &str = "store.redb";
/// The folder of its pods' logs and kubeconfigs.
const PODS: &str = "pods";

/// Starts spaces whose pods run this binary.
#[derive(Clone)]
pub(crate) struct SpaceLauncher {
    /// What pods run.
    pub(crate) binary: PathBuf,
    /// How others are simulated.
    pub(crate) simulation: Option<Simulation>,
}

impl Launch for SpaceLauncher {
    fn launch(&self, launching: Launching) -> BoxFuture<'_, Result<Running, HostError>> {
        Box::pin(start(launching, self.clone()))
    }
}

async fn start(launching: Launching, launcher: SpaceLauncher) -> Result<Running, HostError> {
    let Launching {
        name,
        folder,
        url,
        ca_pem,
        client_ca,
        service_account_key,
    } = launching;
    let failed = |reason: String| HostError::Space {
        name: name.to_string(),
        reason,
    };
    let pods_dir = folder.join(PODS);
    folder::create_folder(&pods_dir)?;
    let file = folder.join(STORE);
    // Reads the whole file, which takes a second when a hub has ten thousand WECs.
    let opened = tokio::task::spawn_blocking(move || Store::open(&file, Options::default())).await;
    let store = opened
        .map_err(|error| failed(error.to_string()))?
        .map_err(|error| failed(error.to_string()))?;
    let logs = Arc::new(NodeLogs::default());
    let space = Space::start(SpaceOptions {
        name: name.to_string(),
        store,
        client_ca,
        service_account_key,
        serving_ca_pem: ca_pem.clone(),
        public_url: url.clone(),
        pod_logs: Some(logs.clone()),
    })
    .await
    .map_err(|error| failed(error.to_string()))?;
    let published = cluster_info::publish(&space.loopback(), &url, &ca_pem).await;
    if let Err(reason) = published {
        space.stop().await;
        return Err(failed(reason));
    }
    let client = Client::new(space.service_as(UserInfo::apiserver()), "default");
    let node = Node::start(NodeOptions {
        client,
        node_name: format!("{name}-host"),
        server_url: url,
        server_ca_pem: ca_pem,
        pods_dir,
        binary: launcher.binary,
        simulation: launcher.simulation,
    });
    logs.attach(space.loopback(), node.logs());
    let service = BoxCloneSyncService::new(space.service());
    Ok(Running::new(service, async move {
        node.stop().await;
        logs.detach();
        space.stop().await;
    }))
}
