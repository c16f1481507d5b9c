//! Watching what transport needs to know, in both spaces.

use super::model::BindingName;
use super::model::Concerned;
use super::model::Model;
use super::model::Watched;
use super::seen::SeenWork;
use super::wrap::label_value;
use crate::binding::Connect;
use crate::object::GroupResource;
use hyades_api::cluster::ManagedCluster;
use hyades_api::control::Binding;
use hyades_api::control::CustomTransform;
use hyades_api::control::names::finalizers;
use hyades_api::control::names::labels;
use hyades_api::names::namespaces;
use hyades_runtime::Cache;
use hyades_runtime::CancellationToken;
use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::follow;
use hyades_runtime::follow::Follower;
use hyades_runtime::k8s_openapi::api::core::v1::ConfigMap;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ApiResource;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::api::TypeMeta;
use hyades_runtime::kube::runtime::watcher;
use hyades_runtime::kube::runtime::watcher::Event;
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::Notify;

/// Most watches on one connection. kube-apiserver allows 100 requests at a time on one, and writes
/// need some beside the watches.
const WATCHES_PER_CONNECTION: usize = 60;

/// How long a Binding waits after a work's status changed, so that reports of many WECs make one
/// status.
const REPORTS_SETTLE: Duration = Duration::from_millis(200);

/// What is worked on.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Key {
    Binding(BindingName),
    /// All CustomTransforms at once: each can make a difference to the others.
    Transforms,
}

/// What watches and controller share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    pub(super) model: Mutex<Model>,
    pub(super) queue: Queue<Key>,
    resources_changed: Notify,
}

impl Shared {
    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        // Each event leaves it whole, whatever happens after.
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the model something and queues the Bindings that this concerns.
    pub(super) fn tell(&self, event: impl FnOnce(&mut Model) -> Concerned) {
        let concerned = event(&mut self.model());
        for binding in concerned {
            self.queue.add(Key::Binding(binding));
        }
    }

    fn list(&self, what: Watched) {
        self.tell(|model| model.see_list(what));
    }
}

/// What of a Binding, beside its spec, is a reason to look at it.
type Outline = (Option<String>, Option<i64>, bool, bool);

fn outline(binding: &Binding) -> Outline {
    let mut finalizers = binding.finalizers().iter();
    (
        binding.uid(),
        binding.metadata.generation,
        binding.metadata.deletion_timestamp.is_some(),
        finalizers.any(|finalizer| finalizer == finalizers::BINDING),
    )
}

pub(super) fn bindings(wds: &Client, shared: Arc<Shared>) -> Cache<Binding> {
    let mut outlines: HashMap<String, Outline> = HashMap::new();
    let api = Api::<Binding>::all(wds.clone());
    controller::watch(api, watcher::Config::default(), move |change| {
        let binding = match change {
            Change::Applied(binding) => {
                let news = outline(binding);
                // Most changes are of the status, and our own.
                if outlines.get(&binding.name_any()) == Some(&news) {
                    return;
                }
                outlines.insert(binding.name_any(), news);
                shared.model().see_binding(binding);
                binding
            }
            Change::Deleted(binding) => {
                outlines.remove(&binding.name_any());
                shared.model().miss_binding(&binding.name_any());
                binding
            }
            Change::Synced => return shared.list(Watched::Bindings),
        };
        shared.resources_changed.notify_one();
        shared.queue.add(Key::Binding(binding.name_any().into()));
    })
}

pub(super) fn transforms(wds: &Client, shared: Arc<Shared>) -> Cache<CustomTransform> {
    let api = Api::<CustomTransform>::all(wds.clone());
    controller::watch(api, watcher::Config::default(), move |change| {
        // Until they are read, Bindings wait: see the controller.
        let _ = change;
        shared.queue.add(Key::Transforms);
    })
}

pub(super) fn clusters(its: &Client, shared: Arc<Shared>) -> Cache<ManagedCluster> {
    let api = Api::<ManagedCluster>::all(its.clone());
    let trim = |cluster: &mut ManagedCluster| cluster.status = Default::default();
    controller::watch_trimmed(
        api,
        watcher::Config::default(),
        trim,
        move |change| match change {
            Change::Applied(cluster) => shared.tell(|model| model.see_cluster(cluster)),
            Change::Deleted(cluster) => {
                shared.tell(|model| model.miss_cluster(&cluster.name_any()));
            }
            Change::Synced => shared.list(Watched::Clusters),
        },
    )
}

pub(super) fn config_maps(its: &Client, shared: Arc<Shared>) -> Cache<ConfigMap> {
    let api = Api::<ConfigMap>::namespaced(its.clone(), namespaces::CUSTOMIZATION_PROPERTIES);
    controller::watch(
        api,
        watcher::Config::default(),
        move |change| match change {
            Change::Applied(map) => {
                shared.tell(|model| model.see_config_map(&map.name_any(), Some(map)));
            }
            Change::Deleted(map) => {
                shared.tell(|model| model.see_config_map(&map.name_any(), None));
            }
            Change::Synced => shared.list(Watched::ConfigMaps),
        },
    )
}

pub(super) fn works(its: &Client, wds: &str, shared: Arc<Shared>) -> Follower {
    let selector = format!("{}={}", labels::ORIGIN_WDS, label_value(wds));
    let on_event = move |event| match event {
        Event::Init => shared.model().begin_work_list(),
        Event::InitApply(work) => shared.model().list_work(&work),
        Event::InitDone => shared.tell(Model::end_work_list),
        Event::Apply(work) => {
            let concerned = shared.model().see_work(&work);
            for binding in concerned {
                let key = Key::Binding(binding);
                shared.queue.add_after(key, REPORTS_SETTLE);
            }
        }
        Event::Delete(work) => shared.tell(|model| model.miss_work(&work)),
    };
    follow::follow(
        Api::<SeenWork>::all(its.clone()),
        watcher::Config::default().labels(&selector),
        SeenWork::plural(&()).into_owned(),
        on_event,
        |_| {},
    )
}

/// The watches of workload objects.
pub(super) struct Objects {
    shared: Arc<Shared>,
    connect: Connect,
    clients: Vec<(Client, usize)>,
    running: BTreeMap<GroupResource, Running>,
}

struct Running {
    version: String,
    connection: usize,
    _follower: Follower,
}

impl Objects {
    pub(super) fn new(shared: Arc<Shared>, connect: Connect) -> Self {
        Self {
            shared,
            connect,
            clients: Vec::new(),
            running: BTreeMap::new(),
        }
    }

    /// Keeps watching the resources that Bindings name, until shutdown.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        loop {
            let shared = self.shared.clone();
            let wanted = shared.model().resources();
            self.keep(wanted).await;
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = shared.resources_changed.notified() => {}
            }
        }
    }

    async fn keep(&mut self, wanted: BTreeMap<GroupResource, String>) {
        let stale = self.running.extract_if(.., |resource, running| {
            wanted.get(resource) != Some(&running.version)
        });
        let stale: Vec<_> = stale.collect();
        for (resource, running) in stale {
            if let Some((_, watches)) = self.clients.get_mut(running.connection) {
                *watches -= 1;
            }
            // What is watched in another version stays known meanwhile.
            if !wanted.contains_key(&resource) {
                self.shared.model().forget_resource(&resource);
            }
        }
        for (resource, version) in wanted {
            if !self.running.contains_key(&resource) {
                let running = self.start(&resource, version).await;
                self.running.insert(resource, running);
            }
        }
    }

    async fn start(&mut self, resource: &GroupResource, version: String) -> Running {
        let mut free = self.clients.iter();
        let connection = free.position(|(_, watches)| *watches < WATCHES_PER_CONNECTION);
        let connection = connection.unwrap_or_else(|| {
            self.clients.push(((self.connect)(), 0));
            self.clients.len() - 1
        });
        let (client, watches) = &mut self.clients[connection];
        *watches += 1;
        let api_version = match resource.group.as_str() {
            "" => version.clone(),
            group => format!("{group}/{version}"),
        };
        let described = ApiResource {
            group: resource.group.clone(),
            version: version.clone(),
            kind: kind_of(client, resource, &api_version).await,
            api_version,
            plural: resource.resource.clone(),
        };
        let api = Api::<DynamicObject>::all_with(client.clone(), &described);
        let (shared, of) = (self.shared.clone(), resource.clone());
        let types = TypeMeta {
            api_version: described.api_version.clone(),
            kind: described.kind.clone(),
        };
        let follower = follow::follow(
            api,
            watcher::Config::default(),
            resource.to_string(),
            move |event| deliver(&shared, &of, &types, event),
            |_| {},
        );
        Running {
            version,
            connection,
            _follower: follower,
        }
    }
}

/// The kind of a resource, or nothing if the server does not say. Items of a plain list do not say
/// of which kind they are.
async fn kind_of(client: &Client, resource: &GroupResource, api_version: &str) -> String {
    let list = match resource.group.as_str() {
        "" => client.list_core_api_resources(api_version).await,
        _ => client.list_api_group_resources(api_version).await,
    };
    match list {
        Ok(list) => {
            let mut all = list.resources.into_iter();
            let found = all.find(|described| described.name == resource.resource);
            found.map(|described| described.kind).unwrap_or_default()
        }
        Err(error) => {
            let trouble = Trouble::of(&error);
            tracing::warn!("read the kind of {resource} in {api_version}: {trouble}");
            String::new()
        }
    }
}

fn deliver(
    shared: &Shared,
    resource: &GroupResource,
    types: &TypeMeta,
    event: Event<DynamicObject>,
) {
    let value = |mut object: DynamicObject| {
        object.types.get_or_insert_with(|| types.clone());
        // An object that was read from JSON can be written as JSON.
        serde_json::to_value(object).unwrap_or(Value::Null)
    };
    match event {
        Event::Init => shared.model().begin_list(resource),
        Event::InitApply(object) => shared.model().list_object(resource, value(object)),
        Event::InitDone => shared.tell(|model| model.end_list(resource)),
        Event::Apply(object) => shared.tell(|model| model.see_object(resource, value(object))),
        Event::Delete(object) => shared.tell(|model| model.miss_object(resource, value(object))),
    }
}
