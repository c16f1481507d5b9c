//! What the managers of add-ons see: one watch a kind, feeding four queues.

use super::permissions::Bindings;
use super::requests;
use hyades_api::addon::AddOnDeploymentConfig;
use hyades_api::addon::AddOnTemplate;
use hyades_api::addon::ClusterManagementAddOn;
use hyades_api::addon::ConfigGroupResource;
use hyades_api::addon::ManagedClusterAddOn;
use hyades_api::addon::names;
use hyades_api::cluster::ManagedCluster;
use hyades_api::names::labels;
use hyades_api::placement::Placement;
use hyades_api::placement::PlacementDecision;
use hyades_api::work::ManifestWork;
use hyades_runtime::Cache;
use hyades_runtime::Queue;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::k8s_openapi::NamespaceResourceScope;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::core::PartialObjectMeta;
use hyades_runtime::kube::runtime::reflector::ObjectRef;
use hyades_runtime::kube::runtime::reflector::Store;
use hyades_runtime::kube::runtime::watcher;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;

/// A WEC and an add-on enabled for it.
pub(super) type Key = (String, String);

/// What wants attention.
#[derive(Clone, Debug, Default)]
pub(super) struct Queues {
    pub(super) enabled: Queue<Key>,
    pub(super) offered: Queue<String>,
    pub(super) clusters: Queue<String>,
    pub(super) requests: Queue<String>,
}

/// Who has what, so that a change costs no search.
#[derive(Debug, Default)]
struct Indexes {
    offered: BTreeSet<String>,
    clusters_of_addon: HashMap<String, BTreeSet<String>>,
    addons_of_cluster: HashMap<String, BTreeSet<String>>,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Index(Arc<Mutex<Indexes>>);

impl Index {
    fn lock(&self) -> MutexGuard<'_, Indexes> {
        self.0
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner())
    }

    fn insert(&self, cluster: &str, addon: &str) {
        let mut index = self.lock();
        let clusters = index.clusters_of_addon.entry(addon.to_owned());
        clusters.or_default().insert(cluster.to_owned());
        let addons = index.addons_of_cluster.entry(cluster.to_owned());
        addons.or_default().insert(addon.to_owned());
    }

    fn remove(&self, cluster: &str, addon: &str) {
        let mut index = self.lock();
        forget(&mut index.clusters_of_addon, addon, cluster);
        forget(&mut index.addons_of_cluster, cluster, addon);
    }

    /// The WECs an add-on is enabled for, by name.
    pub(super) fn clusters_of(&self, addon: &str) -> Vec<String> {
        let index = self.lock();
        let found = index.clusters_of_addon.get(addon);
        found.into_iter().flatten().cloned().collect()
    }

    fn addons_of(&self, cluster: &str) -> Vec<String> {
        let index = self.lock();
        let found = index.addons_of_cluster.get(cluster);
        found.into_iter().flatten().cloned().collect()
    }

    fn offered(&self) -> Vec<String> {
        self.lock().offered.iter().cloned().collect()
    }
}

fn forget(map: &mut HashMap<String, BTreeSet<String>>, key: &str, value: &str) {
    if let Some(values) = map.get_mut(key) {
        values.remove(value);
        if values.is_empty() {
            map.remove(key);
        }
    }
}

/// The caches.
pub(super) struct Observed {
    clusters: Store<ManagedCluster>,
    pub(super) enabled: Cache<ManagedClusterAddOn>,
    pub(super) offered: Cache<ClusterManagementAddOn>,
    pub(super) templates: Cache<AddOnTemplate>,
    pub(super) settings: Cache<AddOnDeploymentConfig>,
    pub(super) placements: Cache<Placement>,
    pub(super) decisions: Cache<PlacementDecision>,
    pub(super) works: Cache<ManifestWork>,
    pub(super) requests: Cache<CertificateSigningRequest>,
    /// Accounts whose tokens add-ons get. Nobody waits for these: one that is not seen yet is read.
    accounts: Cache<PartialObjectMeta<ServiceAccount>>,
    pub(super) bindings: Bindings,
    index: Index,
}

impl Observed {
    /// Starts all watches. Inventory objects are watched by the hub, which tells of their changes.
    pub(super) fn watch(client: &Client, clusters: Store<ManagedCluster>, queues: &Queues) -> Self {
        let index = Index::default();
        Self {
            clusters,
            enabled: watch_enabled(client, queues, &index),
            offered: watch_offered(client, queues, &index),
            templates: watch_for_all(client, queues, &index),
            settings: watch_for_all(client, queues, &index),
            placements: watch_for_all(client, queues, &index),
            decisions: watch_for_all(client, queues, &index),
            works: watch_works(client, queues),
            requests: watch_requests(client, queues),
            accounts: watch_accounts(client, queues),
            bindings: Bindings::watch(client, queues, &index),
            index,
        }
    }

    /// Waits for the first lists: deciding with half of them would remove add-ons.
    pub(super) async fn wait_until_synced(&self) {
        self.enabled.wait_until_synced().await;
        self.offered.wait_until_synced().await;
        self.templates.wait_until_synced().await;
        self.settings.wait_until_synced().await;
        self.placements.wait_until_synced().await;
        self.decisions.wait_until_synced().await;
        self.works.wait_until_synced().await;
        self.requests.wait_until_synced().await;
    }

    /// An inventory object.
    pub(super) fn cluster(&self, name: &str) -> Option<Arc<ManagedCluster>> {
        self.clusters.get(&ObjectRef::new(name))
    }

    /// The WECs an add-on is enabled for.
    pub(super) fn enabled_of(&self, addon: &str) -> Vec<Arc<ManagedClusterAddOn>> {
        let clusters = self.index.clusters_of(addon);
        let found = clusters
            .iter()
            .filter_map(|cluster| self.enabled.get_in(cluster, addon));
        found.collect()
    }

    /// The add-ons enabled for a WEC.
    pub(super) fn enabled_in(&self, cluster: &str) -> Vec<Arc<ManagedClusterAddOn>> {
        let addons = self.index.addons_of(cluster);
        let found = addons
            .iter()
            .filter_map(|addon| self.enabled.get_in(cluster, addon));
        found.collect()
    }

    /// The uid of an account whose token an add-on gets.
    pub(super) fn account_uid(&self, cluster: &str, name: &str) -> Option<String> {
        self.accounts.get_in(cluster, name)?.uid()
    }

    /// The fingerprint of a configuration of a kind that this hub looks after.
    pub(super) fn fingerprint(
        &self,
        kind: &ConfigGroupResource,
        namespace: &str,
        name: &str,
    ) -> Option<String> {
        let spec = if *kind == super::configs::templates() {
            self.templates.get(name)?.spec.clone()
        } else {
            self.settings.get_in(namespace, name)?.spec.clone()
        };
        Some(super::configs::fingerprint(&spec))
    }
}

fn watch_enabled(client: &Client, queues: &Queues, index: &Index) -> Cache<ManagedClusterAddOn> {
    let (queues, index) = (queues.clone(), index.clone());
    let all = Api::all(client.clone());
    controller::watch(all, watcher::Config::default(), move |change| {
        let (object, gone) = match change {
            Change::Applied(object) => (object, false),
            Change::Deleted(object) => (object, true),
            Change::Synced => return,
        };
        let (cluster, addon) = (object.namespace().unwrap_or_default(), object.name_any());
        if gone {
            index.remove(&cluster, &addon);
        } else {
            index.insert(&cluster, &addon);
        }
        queues.clusters.add(cluster.clone());
        queues.offered.add(addon.clone());
        queues.enabled.add((cluster, addon));
    })
}

fn watch_offered(client: &Client, queues: &Queues, index: &Index) -> Cache<ClusterManagementAddOn> {
    let (queues, index) = (queues.clone(), index.clone());
    let all = Api::all(client.clone());
    controller::watch(all, watcher::Config::default(), move |change| {
        let name = match change {
            Change::Applied(object) => {
                index.lock().offered.insert(object.name_any());
                object.name_any()
            }
            Change::Deleted(object) => {
                index.lock().offered.remove(&object.name_any());
                object.name_any()
            }
            Change::Synced => return,
        };
        for cluster in index.clusters_of(&name) {
            queues.enabled.add((cluster, name.clone()));
        }
        queues.offered.add(name);
    })
}

/// A kind whose changes may concern any add-on offered. Add-ons are few.
fn watch_for_all<K>(client: &Client, queues: &Queues, index: &Index) -> Cache<K>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let (queues, index) = (queues.clone(), index.clone());
    let all = Api::all(client.clone());
    controller::watch(all, watcher::Config::default(), move |change| {
        if let Change::Applied(_) | Change::Deleted(_) = change {
            for name in index.offered() {
                queues.offered.add(name);
            }
        }
    })
}

fn watch_works(client: &Client, queues: &Queues) -> Cache<ManifestWork> {
    let queues = queues.clone();
    let config = watcher::Config::default().labels(labels::ADDON_NAME);
    // What the work asks for is known by its fingerprint; what it reports is read.
    let trim = |work: &mut ManifestWork| work.spec = Default::default();
    controller::watch_trimmed(Api::all(client.clone()), config, trim, move |change| {
        if let Change::Applied(work) | Change::Deleted(work) = change
            && let Some(addon) = work.labels().get(labels::ADDON_NAME)
        {
            let cluster = work.namespace().unwrap_or_default();
            queues.enabled.add((cluster, addon.clone()));
        }
    })
}

fn watch_requests(client: &Client, queues: &Queues) -> Cache<CertificateSigningRequest> {
    let queues = queues.clone();
    let selector = format!("{},{}", labels::CLUSTER_NAME, labels::ADDON_NAME);
    let config = watcher::Config::default().labels(&selector);
    // Others' requests are left alone whatever is in them, so that nothing of them is kept.
    let trim = |request: &mut CertificateSigningRequest| {
        if requests::purpose(request).is_none() {
            request.spec = Default::default();
            request.metadata.annotations = None;
        }
    };
    controller::watch_trimmed(Api::all(client.clone()), config, trim, move |change| {
        if let Change::Applied(request) = change
            && requests::purpose(request).is_some()
        {
            queues.requests.add(request.name_any());
        }
    })
}

/// An account that somebody deletes must come back, and its successor's uid be told.
fn watch_accounts(client: &Client, queues: &Queues) -> Cache<PartialObjectMeta<ServiceAccount>> {
    let queues = queues.clone();
    let selector = format!(
        "{}=true,{}",
        names::TOKEN_INFRASTRUCTURE,
        names::TOKEN_ADDON_NAME
    );
    let config = watcher::Config::default().labels(&selector);
    controller::watch(Api::all(client.clone()), config, move |change| {
        let account: &PartialObjectMeta<ServiceAccount> = match change {
            Change::Applied(account) | Change::Deleted(account) => account,
            Change::Synced => return,
        };
        if let Some(addon) = account.labels().get(names::TOKEN_ADDON_NAME) {
            let cluster = account.namespace().unwrap_or_default();
            queues.enabled.add((cluster, addon.clone()));
        }
    })
}

/// Owner reference to an object of an add-on.
pub(super) fn owner<K: Resource<DynamicType = ()>>(
    object: &K,
    controller: bool,
) -> serde_json::Value {
    let mut owner = serde_json::json!({
        "apiVersion": K::api_version(&()),
        "kind": K::kind(&()),
        "name": object.meta().name,
        "uid": object.meta().uid,
    });
    if controller {
        owner["controller"] = true.into();
        owner["blockOwnerDeletion"] = true.into();
    }
    owner
}

/// The client for ManagedClusterAddOns of one WEC.
pub(super) fn namespaced<K>(client: &Client, cluster: &str) -> Api<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
{
    Api::namespaced(client.clone(), cluster)
}
