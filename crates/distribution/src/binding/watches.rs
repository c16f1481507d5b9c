//! Watching the metadata of all objects of a WDS, and which kinds there are.

use super::kinds;
use super::kinds::Kind;
use super::model::Changed;
use super::model::Metadata;
use super::model::Model;
use super::model::PolicyName;
use crate::object::GroupResource;
use crate::object::ObjectKey;
use crate::object::ObjectName;
use hyades_runtime::Backoff;
use hyades_runtime::CancellationToken;
use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::backoff::Policy;
use hyades_runtime::follow;
use hyades_runtime::follow::Follower;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::api::PartialObjectMeta;
use hyades_runtime::kube::runtime::watcher;
use hyades_runtime::kube::runtime::watcher::Event;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::time::Duration;
use tokio::sync::Notify;

/// Most watches on one connection. kube-apiserver allows 100 requests at a time on one, and
/// controllers need some beside their watches.
const WATCHES_PER_CONNECTION: usize = 60;

/// How long after a change of a definition the kinds are read: changes come in bundles.
const SETTLE: Duration = Duration::from_millis(20);

/// When they are read again after that. A kube-apiserver publishes a new kind with a delay of up to
/// some seconds, and says so nowhere.
const ECHOES: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(5)];

/// How often kinds are read when no definition changes: aggregated API servers come and go without
/// one. Two requests each time.
const KINDS_PERIOD: Duration = Duration::from_secs(300);

/// What watches and controller share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    model: Mutex<Model>,
    /// Policies to look at.
    pub(super) queue: Queue<PolicyName>,
    kinds_changed: Notify,
}

impl Shared {
    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        // Each event leaves it whole, whatever happens after.
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the model something and queues the policies that mean something else now.
    pub(super) fn tell(&self, event: impl FnOnce(&mut Model) -> Changed) {
        let changed = event(&mut self.model());
        for policy in changed {
            self.queue.add(policy);
        }
    }
}

/// Makes clients for a WDS: one connection takes so many watches only.
pub type Connect = Box<dyn Fn() -> Client>;

/// The watches that run.
pub(super) struct Watches {
    shared: Arc<Shared>,
    connect: Connect,
    clients: Vec<(Client, usize)>,
    running: BTreeMap<GroupResource, Running>,
}

struct Running {
    kind: Kind,
    connection: usize,
    _follower: Follower,
}

impl Watches {
    pub(super) fn new(shared: Arc<Shared>, connect: Connect) -> Self {
        Self {
            shared,
            connect,
            clients: Vec::new(),
            running: BTreeMap::new(),
        }
    }

    /// Keeps watching exactly the kinds there are, until shutdown.
    pub(super) async fn run(
        mut self,
        client: Client,
        groups: BTreeSet<String>,
        shutdown: CancellationToken,
    ) {
        let mut backoff = Backoff::new(Policy::API);
        let mut echoes = ECHOES.iter();
        loop {
            let pause = match kinds::discover(&client).await {
                Ok(discovery) => {
                    backoff.reset();
                    let mut found = kinds::watched(&discovery, &groups);
                    let missing = self.missing(&found);
                    found.extend(kinds::not_surely_gone(&client, missing).await);
                    self.keep(found);
                    echoes.next().copied().unwrap_or(KINDS_PERIOD)
                }
                Err(error) => {
                    let trouble = Trouble::of(&error);
                    let delay = backoff.next_delay();
                    tracing::warn!(
                        "read which kinds the WDS has: {trouble}; trying again in {:.1} s",
                        delay.as_secs_f64()
                    );
                    delay
                }
            };
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
                () = self.shared.kinds_changed.notified() => {
                    tokio::time::sleep(SETTLE).await;
                    echoes = ECHOES.iter();
                }
            }
        }
    }

    /// The kinds that are watched and were not found.
    fn missing(&self, found: &BTreeMap<GroupResource, Kind>) -> BTreeMap<GroupResource, Kind> {
        let running = self.running.iter();
        let missing = running.filter(|(resource, _)| !found.contains_key(*resource));
        missing
            .map(|(resource, watch)| (resource.clone(), watch.kind.clone()))
            .collect()
    }

    fn keep(&mut self, found: BTreeMap<GroupResource, Kind>) {
        let is_same = |resource: &GroupResource, running: &Running| {
            found.get(resource) == Some(&running.kind)
        };
        let (clients, running) = (&mut self.clients, &mut self.running);
        running.retain(|resource, watch| {
            let stays = is_same(resource, watch);
            if !stays {
                clients[watch.connection].1 -= 1;
                tracing::info!(
                    "{resource} is watched no more in version {}",
                    watch.kind.version
                );
            }
            stays
        });
        self.shared.tell(|model| model.see_kinds(&found));
        for (resource, kind) in found {
            if !self.running.contains_key(&resource) {
                let watch = self.start(&resource, kind);
                self.running.insert(resource, watch);
            }
        }
    }

    fn start(&mut self, resource: &GroupResource, kind: Kind) -> Running {
        tracing::debug!("watching {resource} in version {}", kind.version);
        let connection = self.connection();
        let client = self.clients[connection].0.clone();
        let api: Api<PartialObjectMeta<DynamicObject>> =
            Api::all_with(client, &kind.api_resource(resource));
        let mut listener = Listener {
            shared: self.shared.clone(),
            resource: resource.clone(),
            listed: None,
        };
        let (shared, troubled) = (self.shared.clone(), resource.clone());
        let on_trouble = move |trouble: &Trouble| {
            if trouble.is_not_found() {
                shared.kinds_changed.notify_one();
            }
            shared.tell(|model| model.see_trouble(&troubled, trouble.to_string()));
        };
        let follower = follow::follow(
            api,
            watcher::Config::default(),
            resource.to_string(),
            move |event| listener.hear(event),
            on_trouble,
        );
        Running {
            kind,
            connection,
            _follower: follower,
        }
    }

    /// The first connection with room.
    fn connection(&mut self) -> usize {
        let mut clients = self.clients.iter();
        let place = clients.position(|(_, watches)| *watches < WATCHES_PER_CONNECTION);
        let place = place.unwrap_or_else(|| {
            self.clients.push(((self.connect)(), 0));
            self.clients.len() - 1
        });
        self.clients[place].1 += 1;
        place
    }
}

/// Tells the model of one resource's objects.
struct Listener {
    shared: Arc<Shared>,
    resource: GroupResource,
    /// What the list under way has brought so far.
    listed: Option<HashSet<ObjectName>>,
}

impl Listener {
    fn hear(&mut self, event: Event<PartialObjectMeta<DynamicObject>>) {
        match event {
            Event::Init => self.listed = Some(HashSet::new()),
            Event::InitApply(object) => {
                let name = name_of(&object);
                if let Some(listed) = &mut self.listed {
                    listed.insert(name.clone());
                }
                self.see(name, object);
            }
            Event::InitDone => {
                let listed = self.listed.take().unwrap_or_default();
                self.shared
                    .tell(|model| model.see_all(&self.resource, &listed));
            }
            Event::Apply(object) => {
                self.see(name_of(&object), object);
                self.changed();
            }
            Event::Delete(object) => {
                let key = self.key(name_of(&object));
                self.shared.tell(|model| model.miss(&key));
                self.changed();
            }
        }
    }

    fn key(&self, name: ObjectName) -> ObjectKey {
        ObjectKey {
            resource: self.resource.clone(),
            name,
        }
    }

    fn see(&self, name: ObjectName, object: PartialObjectMeta<DynamicObject>) {
        let metadata = Metadata {
            resource_version: object.metadata.resource_version.unwrap_or_default(),
            labels: object.metadata.labels.unwrap_or_default(),
        };
        let key = self.key(name);
        self.shared.tell(|model| model.see(key, metadata));
    }

    /// Definitions say which kinds there are.
    fn changed(&self) {
        if kinds::is_definition(&self.resource) {
            self.shared.kinds_changed.notify_one();
        }
    }
}

fn name_of(object: &PartialObjectMeta<DynamicObject>) -> ObjectName {
    ObjectName::new(object.namespace().unwrap_or_default(), object.name_any())
}
