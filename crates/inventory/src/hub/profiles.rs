//! Cluster profiles: the inventory told to namespaces, as SIG Multicluster has it.
//!
//! ```text
//! set bound to a namespace ─┐
//! member of the set ────────┼▶ one key per namespace and WEC ▶ profile made, changed or deleted
//! profile changed by hand ──┘
//! ```
//!
//! Stands behind the feature gate ClusterProfile. A profile that another manager made, or a person,
//! is left alone.

mod content;

use super::Hub;
use super::sets;
use content::profile;
use content::status;
use hyades_api::cluster::ManagedCluster;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_api::profile::ClusterProfile;
use hyades_runtime::Cache;
use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::runtime::watcher;
use serde_json::json;
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

/// Why a profile may have to change.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    /// A WEC changed.
    Cluster(String),
    /// A set changed.
    Set(String),
    /// What is bound to a namespace changed.
    Namespace(String),
    /// One profile is to be looked at.
    Profile {
        /// The namespace it is told to.
        namespace: String,
        /// The WEC it is about.
        cluster: String,
    },
}

/// The queue of profiles; nothing is queued unless the gate is on.
#[derive(Clone, Debug, Default)]
pub(super) struct Changes(Option<Queue<Key>>);

impl Changes {
    /// A queue, if profiles are wanted.
    pub(super) fn new(wanted: bool) -> Self {
        Self(wanted.then(Queue::default))
    }

    /// Takes note of a change.
    pub(super) fn add(&self, key: Key) {
        if let Some(queue) = &self.0 {
            queue.add(key);
        }
    }

    /// The queue, if there is one.
    pub(super) fn queue(&self) -> Option<Queue<Key>> {
        self.0.clone()
    }
}

fn watch(client: &Client, queue: Queue<Key>) -> Cache<ClusterProfile> {
    let ours = format!("{}={}", labels::PROFILE_MANAGER, names::PROFILE_MANAGER);
    let config = watcher::Config::default().labels(&ours);
    controller::watch(Api::all(client.clone()), config, move |change| {
        if let Change::Applied(object) | Change::Deleted(object) = change {
            queue.add(Key::Profile {
                namespace: object.namespace().unwrap_or_default(),
                cluster: object.name_any(),
            });
        }
    })
}

/// Keeps profiles.
pub(super) struct Reconciler {
    hub: Rc<Hub>,
    profiles: Cache<ClusterProfile>,
    queue: Queue<Key>,
}

impl Reconciler {
    /// Starts to watch profiles, and waits for the first list: with half of it, profiles would be
    /// made twice.
    pub(super) async fn start(hub: Rc<Hub>, queue: Queue<Key>) -> Self {
        let profiles = watch(&hub.client, queue.clone());
        profiles.wait_until_synced().await;
        Self {
            hub,
            profiles,
            queue,
        }
    }

    /// Looks at one profile, or finds out which are to be looked at.
    pub(super) async fn reconcile(&self, key: Key) -> Result<Option<Duration>, Trouble> {
        match key {
            Key::Cluster(cluster) => {
                for namespace in self.namespaces() {
                    self.look(namespace, &cluster);
                }
            }
            Key::Set(set) => {
                for binding in self.hub.observed.set_bindings.list() {
                    if binding.spec.cluster_set == set {
                        let namespace = binding.namespace().unwrap_or_default();
                        self.queue.add(Key::Namespace(namespace));
                    }
                }
            }
            Key::Namespace(namespace) => {
                for cluster in self.hub.observed.clusters.list() {
                    self.look(namespace.clone(), &cluster.name_any());
                }
            }
            Key::Profile { namespace, cluster } => {
                match self.reconcile_profile(&namespace, &cluster).await {
                    // Somebody changed it meanwhile; its event brings the key back.
                    Ok(()) | Err(Trouble::Conflict(_) | Trouble::NotFound(_)) => {}
                    Err(trouble) => return Err(trouble),
                }
            }
        }
        Ok(None)
    }

    fn look(&self, namespace: String, cluster: &str) {
        self.queue.add(Key::Profile {
            namespace,
            cluster: cluster.to_owned(),
        });
    }

    /// The namespaces to which any set is bound.
    fn namespaces(&self) -> BTreeSet<String> {
        let bindings = self.hub.observed.set_bindings.list();
        let namespaces = bindings.iter().filter_map(|binding| binding.namespace());
        namespaces.collect()
    }

    async fn reconcile_profile(&self, namespace: &str, cluster: &str) -> Result<(), Trouble> {
        let object = self.hub.observed.clusters.get(cluster);
        let told = object.as_deref().and_then(|object| {
            let living = object.metadata.deletion_timestamp.is_none();
            let set = self.set_through_which(namespace, object)?;
            living.then_some((object, set))
        });
        let present = self.profiles.get_in(namespace, cluster);
        let api = Api::<ClusterProfile>::namespaced(self.hub.client.clone(), namespace);
        let Some((object, set)) = told else {
            return match present {
                Some(_) => self.delete(&api, cluster).await,
                None => Ok(()),
            };
        };
        let wanted = profile(namespace, cluster, &set);
        let present = match present {
            None => match self.create(&api, &wanted).await? {
                Some(created) => created,
                None => return Ok(()),
            },
            Some(present) => (*present).clone(),
        };
        if present.spec.cluster_manager != wanted.spec.cluster_manager {
            // The manager cannot be changed. Once it is deleted, its event brings the key back.
            return self.delete(&api, cluster).await;
        }
        let same_labels = wanted
            .labels()
            .iter()
            .all(|(key, value)| present.labels().get(key) == Some(value));
        let present = match same_labels && present.spec == wanted.spec {
            true => present,
            false => {
                let changes = json!({
                    "metadata": {"labels": wanted.labels()},
                    "spec": {"displayName": wanted.spec.display_name},
                });
                let patched = apply::patch(&api, &present, changes).await;
                patched.map_err(|error| Trouble::of(&error))?
            }
        };
        if let Some(status) = status(&present.status, object) {
            // What is empty is left out of an object, and a patch must empty it.
            let status = json!({
                "version": {"kubernetes": status.version.kubernetes},
                "properties": status.properties,
                "conditions": status.conditions,
            });
            let patched = apply::patch_status(&api, &present, status).await;
            patched.map_err(|error| Trouble::of(&error))?;
        }
        Ok(())
    }

    /// The set through which a namespace learns of a WEC: the first by name that is bound there.
    fn set_through_which(&self, namespace: &str, object: &ManagedCluster) -> Option<String> {
        let observed = &self.hub.observed;
        let bindings = observed.set_bindings.list();
        let bound = bindings.iter().filter(|binding| {
            binding.namespace().as_deref() == Some(namespace)
                && binding.metadata.deletion_timestamp.is_none()
                // One that is not named like its set binds nothing.
                && binding.name_any() == binding.spec.cluster_set
        });
        let holding = bound.filter(|binding| {
            let set = observed.sets.get(&binding.spec.cluster_set);
            set.is_some_and(|set| sets::holds(&set, object))
        });
        holding.map(|binding| binding.name_any()).min()
    }

    /// Makes a profile; nothing if somebody else's has its name.
    async fn create(
        &self,
        api: &Api<ClusterProfile>,
        wanted: &ClusterProfile,
    ) -> Result<Option<ClusterProfile>, Trouble> {
        match api.create(&PostParams::default(), wanted).await {
            Ok(created) => Ok(Some(created)),
            Err(error) => match Trouble::of(&error) {
                Trouble::AlreadyExists(detail) => {
                    tracing::debug!("a cluster profile of another manager stays: {detail}");
                    Ok(None)
                }
                trouble => Err(trouble),
            },
        }
    }

    async fn delete(&self, api: &Api<ClusterProfile>, name: &str) -> Result<(), Trouble> {
        let deleted = api.delete(name, &Default::default()).await;
        deleted.map(|_| ()).map_err(|error| Trouble::of(&error))
    }
}
