//! What the operator follows of a Klusterlet's surroundings.

use super::manifests::Plan;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_runtime::Cache;
use hyades_runtime::Queue;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::k8s_openapi::NamespaceResourceScope;
use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::core::PartialObjectMeta;
use hyades_runtime::kube::runtime::watcher;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use std::fmt::Debug;
use std::sync::Arc;

/// What is followed in the namespace of one Klusterlet's agents. Dropping it ends the watches.
pub(super) struct Surroundings {
    pub(super) namespace: Cache<Namespace>,
    pub(super) bootstrap: Cache<Secret>,
    pub(super) hub: Cache<Secret>,
    pub(super) deployments: Cache<Deployment>,
    /// Hosted modes: the kubeconfig of the WEC.
    external: Option<Cache<Secret>>,
}

impl Surroundings {
    /// Starts following; every change puts the Klusterlet into the queue.
    pub(super) fn start(client: &Client, plan: &Plan, queue: &Queue<String>) -> Self {
        let (namespace, klusterlet) = (plan.namespace.as_str(), plan.name.as_str());
        let named =
            |name: &str| watcher::Config::default().fields(&format!("metadata.name={name}"));
        let secret = |name: &str| {
            follow(
                Api::<Secret>::namespaced(client.clone(), namespace),
                named(name),
                klusterlet,
                queue,
            )
        };
        Self {
            namespace: follow_namespace(
                Api::all(client.clone()),
                named(namespace),
                klusterlet,
                queue,
            ),
            bootstrap: secret(names::BOOTSTRAP_HUB_KUBECONFIG_SECRET),
            hub: secret(names::HUB_KUBECONFIG_SECRET),
            external: plan
                .mode
                .is_hosted()
                .then(|| secret(names::EXTERNAL_MANAGED_KUBECONFIG_SECRET)),
            deployments: follow(
                Api::namespaced(client.clone(), namespace),
                watcher::Config::default(),
                klusterlet,
                queue,
            ),
        }
    }

    pub(super) async fn wait_until_synced(&self) {
        tokio::join!(
            self.namespace.wait_until_synced(),
            self.bootstrap.wait_until_synced(),
            self.hub.wait_until_synced(),
            self.deployments.wait_until_synced(),
            async {
                if let Some(external) = &self.external {
                    external.wait_until_synced().await;
                }
            },
        );
    }

    /// Hosted modes: the Secret with the kubeconfig of the WEC, if it is there.
    pub(super) fn external(&self, namespace: &str) -> Option<Arc<Secret>> {
        let name = names::EXTERNAL_MANAGED_KUBECONFIG_SECRET;
        self.external.as_ref()?.get_in(namespace, name)
    }
}

fn follow<K>(
    api: Api<K>,
    config: watcher::Config,
    klusterlet: &str,
    queue: &Queue<String>,
) -> Cache<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + Sync
        + 'static,
{
    let (klusterlet, queue) = (klusterlet.to_owned(), queue.clone());
    controller::watch(api, config, move |_| queue.add(klusterlet.clone()))
}

fn follow_namespace(
    api: Api<Namespace>,
    config: watcher::Config,
    klusterlet: &str,
    queue: &Queue<String>,
) -> Cache<Namespace> {
    let (klusterlet, queue) = (klusterlet.to_owned(), queue.clone());
    controller::watch(api, config, move |_| queue.add(klusterlet.clone()))
}

/// Namespaces of a WEC that are marked as namespaces of add-ons, by their metadata alone.
/// Dropping it ends the watch.
pub(super) struct AddOnNamespaces {
    cache: Cache<PartialObjectMeta<Namespace>>,
}

impl AddOnNamespaces {
    /// Starts following; every change puts `klusterlet` into the queue.
    pub(super) fn start(client: Client, klusterlet: &str, queue: &Queue<String>) -> Self {
        let selector = format!("{}=true", labels::ADDON_NAMESPACE);
        let (klusterlet, queue) = (klusterlet.to_owned(), queue.clone());
        let cache = controller::watch(
            Api::all(client),
            watcher::Config::default().labels(&selector),
            move |change| {
                if !matches!(change, Change::Synced) {
                    queue.add(klusterlet.clone());
                }
            },
        );
        Self { cache }
    }

    /// Those that are not being deleted.
    pub(super) fn names(&self) -> BTreeSet<String> {
        let all = self.cache.list().into_iter();
        all.filter(|one| one.metadata.deletion_timestamp.is_none())
            .filter_map(|one| one.metadata.name.clone())
            .collect()
    }
}
