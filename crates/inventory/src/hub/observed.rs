//! What the hub sees: one watch a kind, trimmed to what is read, feeding three queues.

use super::liveness::Sightings;
use hyades_api::cluster::ManagedCluster;
use hyades_api::cluster::ManagedClusterSet;
use hyades_api::cluster::ManagedClusterSetBinding;
use hyades_api::names::labels;
use hyades_runtime::Cache;
use hyades_runtime::CancellationToken;
use hyades_runtime::Queue;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::coordination::v1::Lease;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::rbac::v1::ClusterRole;
use hyades_runtime::k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use hyades_runtime::k8s_openapi::api::rbac::v1::RoleBinding;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::core::PartialObjectMeta;
use hyades_runtime::kube::runtime::watcher;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

/// What may change on its own and wants attention. The key of a WEC is the name of its inventory
/// object, whatever that is; the empty key stands for the roles that all WECs share.
#[derive(Clone, Debug, Default)]
pub(super) struct Queues {
    pub(super) clusters: Queue<String>,
    pub(super) requests: Queue<String>,
    pub(super) sets: Queue<String>,
}

/// The requests of each WEC, by name.
#[derive(Clone, Debug, Default)]
pub(super) struct RequestIndex(Arc<Mutex<HashMap<String, BTreeSet<String>>>>);

impl RequestIndex {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, BTreeSet<String>>> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn insert(&self, cluster: &str, request: String) {
        let mut index = self.lock();
        index.entry(cluster.to_owned()).or_default().insert(request);
    }

    fn remove(&self, cluster: &str, request: &str) {
        let mut index = self.lock();
        if let Some(names) = index.get_mut(cluster) {
            names.remove(request);
            if names.is_empty() {
                index.remove(cluster);
            }
        }
    }

    fn of(&self, cluster: &str) -> Vec<String> {
        let index = self.lock();
        index.get(cluster).into_iter().flatten().cloned().collect()
    }
}

/// The caches.
pub(super) struct Observed {
    pub(super) clusters: Cache<ManagedCluster>,
    pub(super) mailboxes: Cache<PartialObjectMeta<Namespace>>,
    pub(super) cluster_roles: Cache<PartialObjectMeta<ClusterRole>>,
    pub(super) cluster_role_bindings: Cache<PartialObjectMeta<ClusterRoleBinding>>,
    pub(super) role_bindings: Cache<PartialObjectMeta<RoleBinding>>,
    pub(super) leases: Cache<Lease>,
    pub(super) requests: Cache<CertificateSigningRequest>,
    pub(super) sets: Cache<ManagedClusterSet>,
    pub(super) set_bindings: Cache<ManagedClusterSetBinding>,
    pub(super) sightings: Sightings,
    index: RequestIndex,
    synced: CancellationToken,
}

impl Observed {
    /// Starts all watches.
    pub(super) fn watch(client: &Client) -> (Self, Queues) {
        let queues = Queues::default();
        let sightings = Sightings::default();
        let index = RequestIndex::default();
        let observed = Self {
            clusters: watch_clusters(client, &queues),
            mailboxes: watch_mailboxes(client, &queues),
            cluster_roles: watch_rights(client, &queues),
            cluster_role_bindings: watch_rights(client, &queues),
            role_bindings: watch_rights(client, &queues),
            leases: watch_leases(client, &queues, sightings.clone()),
            requests: watch_requests(client, &queues, index.clone()),
            sets: watch_sets(client, &queues),
            set_bindings: watch_set_bindings(client, &queues),
            sightings,
            index,
            synced: CancellationToken::new(),
        };
        (observed, queues)
    }

    /// Cancelled once the first lists are complete.
    pub(super) fn synced(&self) -> CancellationToken {
        self.synced.clone()
    }

    /// Waits for the first lists. Deciding with half of them would take rights away.
    pub(super) async fn wait_until_synced(&self) {
        self.clusters.wait_until_synced().await;
        self.mailboxes.wait_until_synced().await;
        self.cluster_roles.wait_until_synced().await;
        self.cluster_role_bindings.wait_until_synced().await;
        self.role_bindings.wait_until_synced().await;
        self.leases.wait_until_synced().await;
        self.requests.wait_until_synced().await;
        self.sets.wait_until_synced().await;
        self.set_bindings.wait_until_synced().await;
        self.synced.cancel();
    }

    /// The requests of one WEC, in the order of their names.
    pub(super) fn requests_of(&self, cluster: &str) -> Vec<Arc<CertificateSigningRequest>> {
        let names = self.index.of(cluster);
        let found = names.iter().filter_map(|name| self.requests.get(name));
        found.collect()
    }
}

/// What belongs to registration carries a WEC's label and no add-on's; upstream filters alike.
fn of_clusters() -> watcher::Config {
    let selector = format!("{},!{}", labels::CLUSTER_NAME, labels::ADDON_NAME);
    watcher::Config::default().labels(&selector)
}

/// The WEC an object belongs to, by its label.
pub(super) fn cluster_of<K: ResourceExt>(object: &K) -> Option<&str> {
    object
        .labels()
        .get(labels::CLUSTER_NAME)
        .map(String::as_str)
}

fn watch_clusters(client: &Client, queues: &Queues) -> Cache<ManagedCluster> {
    let queues = queues.clone();
    controller::watch_trimmed(
        Api::all(client.clone()),
        watcher::Config::default(),
        trim_cluster,
        move |change| {
            if let Change::Applied(object) | Change::Deleted(object) = change {
                queues.clusters.add(object.name_any());
                queues.clusters.add(String::new());
                // Sets count members; a burst of changes is counted once.
                queues.sets.add_after(String::new(), super::sets::SETTLE);
            }
        },
    )
}

/// The hub neither reads nor writes what the agent reports of resources and claims.
pub(super) fn trim_cluster(object: &mut ManagedCluster) {
    object.metadata.managed_fields = None;
    object.status.capacity.clear();
    object.status.allocatable.clear();
    object.status.cluster_claims.clear();
    object.spec.managed_cluster_client_configs.clear();
}

fn watch_mailboxes(client: &Client, queues: &Queues) -> Cache<PartialObjectMeta<Namespace>> {
    let queues = queues.clone();
    controller::watch(Api::all(client.clone()), of_clusters(), move |change| {
        if let Change::Applied(object) | Change::Deleted(object) = change {
            queues.clusters.add(object.name_any());
        }
    })
}

fn watch_rights<K>(client: &Client, queues: &Queues) -> Cache<PartialObjectMeta<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let queues = queues.clone();
    let trim = |object: &mut PartialObjectMeta<K>| object.metadata.annotations = None;
    controller::watch_trimmed(
        Api::all(client.clone()),
        of_clusters(),
        trim,
        move |change| {
            if let Change::Applied(object) | Change::Deleted(object) = change
                && let Some(cluster) = cluster_of(object)
            {
                queues.clusters.add(cluster.to_owned());
            }
        },
    )
}

fn watch_leases(client: &Client, queues: &Queues, sightings: Sightings) -> Cache<Lease> {
    let queues = queues.clone();
    let trim = |object: &mut Lease| {
        object.metadata.annotations = None;
        object.metadata.owner_references = None;
    };
    controller::watch_trimmed(
        Api::all(client.clone()),
        of_clusters(),
        trim,
        move |change| {
            if let Change::Applied(object) | Change::Deleted(object) = &change
                && object.name_any() == hyades_api::names::LEASE
                && let Some(cluster) = object.namespace()
            {
                match change {
                    Change::Deleted(_) => sightings.forget(&cluster),
                    _ => sightings.saw(&cluster, object),
                }
                queues.clusters.add(cluster);
            }
        },
    )
}

fn watch_requests(
    client: &Client,
    queues: &Queues,
    index: RequestIndex,
) -> Cache<CertificateSigningRequest> {
    let queues = queues.clone();
    controller::watch_trimmed(
        Api::all(client.clone()),
        of_clusters(),
        trim_request,
        move |change| match change {
            Change::Applied(object) => {
                let cluster = cluster_of(object).unwrap_or_default();
                index.insert(cluster, object.name_any());
                if super::requests::is_pending(object) {
                    queues.requests.add(object.name_any());
                } else {
                    queues.clusters.add(cluster.to_owned());
                    // An approval gives the name away: the others who ask for it are to be told.
                    for other in index.of(cluster) {
                        queues.requests.add(other);
                    }
                }
            }
            Change::Deleted(object) => {
                index.remove(cluster_of(object).unwrap_or_default(), &object.name_any());
            }
            Change::Synced => {}
        },
    )
}

/// Of a request that has been signed, only the request is read again: to find whose name it pins.
fn trim_request(object: &mut CertificateSigningRequest) {
    if let Some(status) = &mut object.status {
        status.certificate = None;
    }
}

fn watch_sets(client: &Client, queues: &Queues) -> Cache<ManagedClusterSet> {
    let queues = queues.clone();
    let all = Api::all(client.clone());
    controller::watch(all, watcher::Config::default(), move |change| {
        if let Change::Applied(object) | Change::Deleted(object) = change {
            queues.sets.add(object.name_any());
        }
    })
}

fn watch_set_bindings(client: &Client, queues: &Queues) -> Cache<ManagedClusterSetBinding> {
    let queues = queues.clone();
    let all = Api::all(client.clone());
    controller::watch(all, watcher::Config::default(), move |change| {
        if let Change::Applied(object) = change {
            queues.sets.add(object.spec.cluster_set.clone());
        }
    })
}
