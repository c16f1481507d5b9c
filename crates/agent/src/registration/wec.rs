//! Looking at the WEC: health, version, nodes and claims, kept as one present picture.

use crate::options::RegistrationOptions;
use crate::registration::claims;
use crate::registration::resources;
use crate::registration::status::Liveness;
use crate::registration::status::Observed;
use hyades_api::cluster::ClusterClaim;
use hyades_runtime::Cache;
use hyades_runtime::Trouble;
use hyades_runtime::controller;
use hyades_runtime::k8s_openapi::api::core::v1::Node;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::runtime::watcher;
use std::time::Duration;
use std::time::Instant;
use tokio::sync::watch;

/// A failing API server is asked again after this time, not after the whole period.
const RETRY_AFTER: Duration = Duration::from_secs(5);

/// Longest answer of a failing API server quoted in a condition.
const QUOTED_BYTES_MAX: usize = 512;

/// The picture of the WEC. Dropping it ends its watches.
pub struct Wec {
    client: Client,
    observed: watch::Sender<Observed>,
    _nodes: Cache<Node>,
    _claims: Option<Cache<ClusterClaim>>,
}

impl Wec {
    /// Starts looking. Claims are left out unless `with_claims`.
    pub fn start(client: Client, options: &RegistrationOptions, with_claims: bool) -> Self {
        let observed = watch::Sender::new(Observed::default());
        Self {
            _nodes: watch_nodes(&client, observed.clone()),
            _claims: with_claims.then(|| watch_claims(&client, options, observed.clone())),
            client,
            observed,
        }
    }

    /// The picture, and notice of its changes.
    pub fn subscribe(&self) -> watch::Receiver<Observed> {
        self.observed.subscribe()
    }

    /// Asks for health and version now and every `period`, for ever.
    pub async fn probe(&self, period: Duration) {
        let mut failing_since: Option<Instant> = None;
        loop {
            let (health, version) =
                tokio::join!(healthy(&self.client), self.client.apiserver_version());
            let liveness = match health {
                Ok(()) => {
                    failing_since = None;
                    Liveness::Alive
                }
                Err(detail) => {
                    let since = *failing_since.get_or_insert_with(Instant::now);
                    tracing::warn!("this cluster's API server is not well: {detail}");
                    Liveness::Failing {
                        detail,
                        since: since.elapsed(),
                    }
                }
            };
            let wait = if liveness == Liveness::Alive {
                period
            } else {
                RETRY_AFTER.min(period)
            };
            self.observed.send_modify(|observed| {
                observed.liveness = liveness;
                if let Ok(info) = version {
                    observed.version = Some(info.git_version);
                }
            });
            tokio::time::sleep(wait).await;
        }
    }
}

/// Asks `/livez`, or `/healthz` where that is unknown or forbidden.
async fn healthy(client: &Client) -> Result<(), String> {
    match page(client, "/livez").await {
        Err(kube::Error::Api(status)) if matches!(status.code, 403 | 404) => {
            page(client, "/healthz").await
        }
        other => other,
    }
    .map_err(|error| match error {
        kube::Error::Api(status) => {
            let text: String = status.message.chars().take(QUOTED_BYTES_MAX).collect();
            format!("{}, {text}", status.code)
        }
        other => format!("0, {}", Trouble::of(&other)),
    })
}

async fn page(client: &Client, path: &str) -> kube::Result<()> {
    let request = hyades_runtime::client::get_request(path);
    client.request_text(request).await.map(drop)
}

fn watch_nodes(client: &Client, observed: watch::Sender<Observed>) -> Cache<Node> {
    let trim = |node: &mut Node| {
        // Only quantities and cordons are added up; images and addresses are the larger part.
        node.metadata.annotations = None;
        if let Some(status) = &mut node.status {
            status.images = None;
            status.conditions = None;
            status.volumes_attached = None;
            status.volumes_in_use = None;
        }
    };
    let mut nodes = std::collections::BTreeMap::new();
    let mut synced = false;
    controller::watch_trimmed(
        Api::all(client.clone()),
        watcher::Config::default(),
        trim,
        move |change| {
            match change {
                controller::Change::Applied(node) => {
                    nodes.insert(node.metadata.name.clone(), node.clone());
                }
                controller::Change::Deleted(node) => {
                    nodes.remove(&node.metadata.name);
                }
                controller::Change::Synced => synced = true,
            }
            if synced {
                let sums = resources::sum(nodes.values());
                observed.send_if_modified(|observed| {
                    let changed = observed.nodes.as_ref() != Some(&sums);
                    observed.nodes = Some(sums);
                    changed
                });
            }
        },
    )
}

fn watch_claims(
    client: &Client,
    options: &RegistrationOptions,
    observed: watch::Sender<Observed>,
) -> Cache<ClusterClaim> {
    let suffixes = options.reserved_cluster_claim_suffixes.clone();
    let custom_max = options.max_custom_cluster_claims;
    let mut claims = std::collections::BTreeMap::new();
    let mut synced = false;
    controller::watch(
        Api::all(client.clone()),
        watcher::Config::default(),
        move |change| {
            match change {
                controller::Change::Applied(claim) => {
                    let claim: &ClusterClaim = claim;
                    claims.insert(claim.metadata.name.clone(), claim.clone());
                }
                controller::Change::Deleted(claim) => {
                    claims.remove(&claim.metadata.name);
                }
                controller::Change::Synced => synced = true,
            }
            if synced {
                let selection = claims::select(claims.values(), &suffixes, custom_max);
                if selection.truncated > 0 {
                    tracing::warn!(
                        "{} claims beyond the limit of {custom_max} are not reported",
                        selection.truncated
                    );
                }
                observed.send_if_modified(|observed| {
                    let changed = observed.claims.as_ref() != Some(&selection.claims);
                    observed.claims = Some(selection.claims);
                    changed
                });
            }
        },
    )
}
