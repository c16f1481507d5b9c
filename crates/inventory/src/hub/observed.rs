//! What the hub sees: one watch a kind, trimmed to what is read, feeding three queues.

use super::joining;
use super::joining::Tally;
use super::liveness::Renewal;
use super::liveness::Sightings;
use super::pins;
use super::profiles;
use super::requests::RequestIndex;
use super::requests::SeenRequest;
use crate::placement;
use hyades_api::cluster::ManagedCluster;
use hyades_api::cluster::ManagedClusterSet;
use hyades_api::cluster::ManagedClusterSetBinding;
use hyades_api::cluster::StatedClaim;
use hyades_api::join::JoinRule;
use hyades_api::names::labels;
use hyades_runtime::Cache;
use hyades_runtime::CancellationToken;
use hyades_runtime::Queue;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
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
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Instant;

/// What may change on its own and wants attention. The key of a WEC is the name of its inventory
/// object, whatever that is; the empty key stands for the roles that all WECs share.
#[derive(Clone, Debug, Default)]
pub(super) struct Queues {
    pub(super) clusters: Queue<String>,
    pub(super) requests: Queue<String>,
    pub(super) sets: Queue<String>,
    pub(super) rules: Queue<String>,
    pub(super) placements: placement::Changes,
    pub(super) profiles: profiles::Changes,
    /// Inventory objects whose add-ons want attention.
    pub(super) addons: Queue<String>,
    /// Inventory objects that may be imported; nothing is queued unless that is wanted.
    pub(super) imports: Option<Queue<String>>,
}

/// The caches.
pub(super) struct Observed {
    pub(super) clusters: Cache<ManagedCluster>,
    pub(super) mailboxes: Cache<PartialObjectMeta<Namespace>>,
    pub(super) cluster_roles: Cache<PartialObjectMeta<ClusterRole>>,
    pub(super) cluster_role_bindings: Cache<PartialObjectMeta<ClusterRoleBinding>>,
    pub(super) role_bindings: Cache<PartialObjectMeta<RoleBinding>>,
    pub(super) leases: Cache<Lease>,
    pub(super) requests: Cache<SeenRequest>,
    pub(super) sets: Cache<ManagedClusterSet>,
    pub(super) set_bindings: Cache<ManagedClusterSetBinding>,
    pub(super) rules: Cache<JoinRule>,
    pub(super) sightings: Sightings,
    pub(super) tally: Tally,
    pub(super) index: RequestIndex,
    pub(super) queues: Queues,
    synced: CancellationToken,
}

impl Observed {
    /// Starts all watches.
    pub(super) fn watch(client: &Client, wants_profiles: bool, wants_imports: bool) -> Self {
        let queues = Queues {
            profiles: profiles::Changes::new(wants_profiles),
            imports: wants_imports.then(Queue::default),
            ..Queues::default()
        };
        let sightings = Sightings::default();
        let index = RequestIndex::default();
        let tally = Tally::default();
        Self {
            clusters: watch_clusters(client, &queues, index.clone()),
            mailboxes: watch_mailboxes(client, &queues, tally.clone()),
            cluster_roles: watch_rights(client, &queues),
            cluster_role_bindings: watch_rights(client, &queues),
            role_bindings: watch_rights(client, &queues),
            leases: watch_leases(client, &queues, sightings.clone()),
            requests: watch_requests(client, &queues, index.clone()),
            sets: watch_sets(client, &queues),
            set_bindings: watch_set_bindings(client, &queues),
            rules: watch_rules(client, &queues, index.clone()),
            sightings,
            tally,
            index,
            queues,
            synced: CancellationToken::new(),
        }
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
        self.rules.wait_until_synced().await;
        self.synced.cancel();
    }

    /// The requests of one WEC that are kept.
    pub(super) fn requests_of(&self, cluster: &str) -> Vec<Arc<SeenRequest>> {
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

/// Bytes of names and values of claims kept of one WEC; those beyond are not read. Upstream's agent
/// states twenty of its own choice and some reserved ones, of about 50 bytes each; placements, which
/// read them, allow for a good deal more.
const CLAIMS_BYTES_MAX: usize = 64 * 1024;

fn watch_clusters(client: &Client, queues: &Queues, index: RequestIndex) -> Cache<ManagedCluster> {
    let queues = queues.clone();
    controller::watch_trimmed(
        Api::all(client.clone()),
        watcher::Config::default(),
        trim_cluster,
        move |change| {
            if let Change::Applied(object) | Change::Deleted(object) = change {
                let name = object.name_any();
                // A rule lets a request's WEC in only when its inventory object is there.
                for request in index.pending_of(&name) {
                    queues.requests.add(request);
                }
                queues.addons.add(name.clone());
                if let Some(imports) = &queues.imports {
                    imports.add(name.clone());
                }
                queues.clusters.add(name);
                queues.clusters.add(String::new());
                queues.placements.wec(object.name_any());
                queues
                    .profiles
                    .add(profiles::Key::Cluster(object.name_any()));
                // Sets count members; a burst of changes is counted once.
                queues.sets.add_after(String::new(), super::sets::SETTLE);
            }
        },
    )
}

/// Nobody here reads the authorities of WECs, which are the largest part of their objects.
/// Placements read the rest.
pub(super) fn trim_cluster(object: &mut ManagedCluster) {
    object.metadata.managed_fields = None;
    for config in &mut object.spec.managed_cluster_client_configs {
        config.ca_bundle = None;
    }
    let mut bytes = 0_usize;
    let claims = &mut object.status.cluster_claims;
    let fits = |claim: &StatedClaim| {
        bytes += claim.name.len() + claim.value.len();
        bytes <= CLAIMS_BYTES_MAX
    };
    let kept = claims.iter().map(fits).take_while(|fits| *fits).count();
    if kept < claims.len() {
        let name = object.metadata.name.as_deref().unwrap_or_default();
        tracing::warn!(
            "{name}: of {} claims the first {kept} are read, for the hub keeps {CLAIMS_BYTES_MAX} bytes \
             of them; let the cluster state fewer",
            claims.len()
        );
        claims.truncate(kept);
        claims.shrink_to_fit();
    }
}

fn watch_mailboxes(
    client: &Client,
    queues: &Queues,
    tally: Tally,
) -> Cache<PartialObjectMeta<Namespace>> {
    let queues = queues.clone();
    let told = move |object: &PartialObjectMeta<Namespace>, rule: Option<&str>| {
        let name = object.name_any();
        for rule in tally.saw(&name, rule) {
            queues.rules.add_after(rule, joining::SETTLE);
        }
        if rule.is_none() {
            // A place of a rule may be free again.
            queues.requests.add_after(String::new(), joining::SETTLE);
        }
        queues.clusters.add(name);
    };
    controller::watch(
        Api::all(client.clone()),
        of_clusters(),
        move |change| match change {
            Change::Applied(object) => told(object, pins::rule(&object.metadata)),
            Change::Deleted(object) => told(object, None),
            Change::Synced => {}
        },
    )
}

fn watch_rights<K>(client: &Client, queues: &Queues) -> Cache<PartialObjectMeta<K>>
where
    K: Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let queues = queues.clone();
    let trim = |object: &mut PartialObjectMeta<K>| {
        let all = object.metadata.annotations.take().unwrap_or_default();
        let kept: BTreeMap<_, _> = all
            .into_iter()
            .filter(|(key, _)| pins::KEPT.contains(&key.as_str()))
            .collect();
        object.metadata.annotations = Some(kept).filter(|kept| !kept.is_empty());
    };
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
        // An agent may write as much as it likes here, and none of it is read.
        if let Some(spec) = &mut object.spec {
            spec.holder_identity = None;
            spec.preferred_holder = None;
            spec.strategy = None;
        }
    };
    let blind = sightings.clone();
    controller::watch_attentively(
        Api::all(client.clone()),
        of_clusters(),
        trim,
        move |change| {
            if let Change::Applied(object) | Change::Deleted(object) = &change
                && object.name_any() == hyades_api::names::LEASE
                && let Some(cluster) = object.namespace()
            {
                let must_look = match change {
                    Change::Deleted(_) => {
                        sightings.forget(&cluster);
                        true
                    }
                    _ => {
                        let renewal = Renewal::of(object);
                        sightings.saw(&cluster, renewal, Instant::now(), Timestamp::now())
                    }
                };
                if must_look {
                    queues.clusters.add(cluster);
                }
            }
        },
        move |pause| blind.blind_until(Instant::now() + pause),
    )
}

fn watch_requests(client: &Client, queues: &Queues, index: RequestIndex) -> Cache<SeenRequest> {
    let queues = queues.clone();
    let all = Api::all(client.clone());
    controller::watch(all, of_clusters(), move |change| match change {
        Change::Applied(object) => {
            let name = object.name_any();
            let cluster = cluster_of(object).unwrap_or_default();
            index.saw(cluster, &name, object.stage());
            if object.is_pending() {
                queues.requests.add(name);
                return;
            }
            queues.clusters.add(cluster.to_owned());
            // An approval gives the name away: the others who ask for it are to be told.
            for other in index.pending_of(cluster) {
                queues.requests.add(other);
            }
            if index.has_too_many_decided(cluster) {
                queues.requests.add(name);
            }
        }
        Change::Deleted(object) => {
            index.forget(cluster_of(object).unwrap_or_default(), &object.name_any());
        }
        Change::Synced => {}
    })
}

fn watch_rules(client: &Client, queues: &Queues, index: RequestIndex) -> Cache<JoinRule> {
    let queues = queues.clone();
    let all = Api::all(client.clone());
    let mut generations = HashMap::new();
    controller::watch(
        all,
        watcher::Config::default(),
        move |change| match change {
            Change::Applied(object) => {
                let name = object.name_any();
                let generation = object.metadata.generation;
                // A change of the status alone lets nobody else in.
                if generations.insert(name.clone(), generation) != Some(generation) {
                    for request in index.all_pending() {
                        queues.requests.add(request);
                    }
                }
                queues.rules.add(name);
            }
            Change::Deleted(object) => {
                generations.remove(&object.name_any());
            }
            Change::Synced => {}
        },
    )
}

fn watch_sets(client: &Client, queues: &Queues) -> Cache<ManagedClusterSet> {
    let queues = queues.clone();
    let all = Api::all(client.clone());
    controller::watch(all, watcher::Config::default(), move |change| {
        if let Change::Applied(object) | Change::Deleted(object) = change {
            queues.sets.add(object.name_any());
            queues.placements.set(object.name_any());
        }
    })
}

fn watch_set_bindings(client: &Client, queues: &Queues) -> Cache<ManagedClusterSetBinding> {
    let queues = queues.clone();
    let all = Api::all(client.clone());
    controller::watch(all, watcher::Config::default(), move |change| {
        if let Change::Applied(object) | Change::Deleted(object) = change {
            let namespace = object.namespace().unwrap_or_default();
            queues
                .profiles
                .add(profiles::Key::Namespace(namespace.clone()));
            queues.placements.binding(namespace, object.name_any());
        }
        if let Change::Applied(object) = change {
            queues.sets.add(object.spec.cluster_set.clone());
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn claims_without_end_are_not_kept() {
        let claim = |count: usize| StatedClaim {
            name: format!("claim{count:05}"),
            value: "x".repeat(90),
        };
        let mut object = ManagedCluster::default();
        object.status.cluster_claims = (0..20).map(claim).collect();
        trim_cluster(&mut object);
        assert_eq!(object.status.cluster_claims.len(), 20);
        // Ten megabytes.
        object.status.cluster_claims = (0..100_000).map(claim).collect();
        trim_cluster(&mut object);
        let kept = &object.status.cluster_claims;
        assert_eq!(kept.len(), CLAIMS_BYTES_MAX / 100);
        assert_eq!(kept[0].name, "claim00000");
    }
}
