//! Watching WorkStatuses in the ITS, and in the WDS the objects that have to do with status.

use super::model::Key;
use super::model::Model;
use super::model::Object;
use super::model::name_of;
use crate::binding::kinds;
use crate::object::GroupResource;
use crate::object::ObjectKey;
use crate::object::ObjectName;
use futures::StreamExt;
use hyades_api::control::WorkStatus;
use hyades_api::control::names::labels;
use hyades_runtime::CancellationToken;
use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::follow;
use hyades_runtime::follow::Follower;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ApiResource;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::api::ListParams;
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

/// Most resources whose objects are watched. They share a connection, on which a kube-apiserver
/// allows 100 requests at a time; WDSes have some dozen kinds.
const RESOURCES_MAX: usize = 90;

/// How long after a change of what is wanted the watches follow: changes come in bundles.
const SETTLE: Duration = Duration::from_millis(5);

/// How long CombinedStatuses wait for more of what concerns them. KubeStellar waits for 5 s.
const ANSWER_DELAY: Duration = Duration::from_millis(100);

/// Lists asked for at a time when marks are looked for.
const LISTS: usize = 8;

/// What watches and controller share.
#[derive(Debug, Default)]
pub(super) struct Shared {
    model: Mutex<Model>,
    /// What is to be looked at.
    pub(super) queue: Queue<Key>,
    resources_changed: Notify,
    reports_listed: Notify,
}

impl Shared {
    pub(super) fn model(&self) -> MutexGuard<'_, Model> {
        // Each event leaves it whole, whatever happens after.
        self.model.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Tells the model something and queues what that concerns.
    pub(super) fn tell(&self, event: impl FnOnce(&mut Model) -> Vec<Key>) {
        let keys = event(&mut self.model());
        keys.into_iter().for_each(|key| self.add(key));
    }

    pub(super) fn add(&self, key: Key) {
        match key {
            Key::Answer(_) => self.queue.add_after(key, ANSWER_DELAY),
            Key::Status(_) | Key::Collector(_) | Key::Binding(_) => self.queue.add(key),
        }
    }

    /// Says that other resources may have to be watched now.
    pub(super) fn want_other_resources(&self) {
        self.resources_changed.notify_one();
    }

    /// Waits until all reports of the ITS were seen once.
    pub(super) async fn wait_for_reports(&self) {
        self.reports_listed.notified().await;
    }
}

/// Watches what WECs report of objects of this WDS.
pub(super) fn watch_reports(shared: Arc<Shared>, its: Client, wds: &str) -> Follower {
    let config = watcher::Config::default().labels(&format!("{}={wds}", labels::ORIGIN_WDS));
    let mut listed = HashSet::new();
    let on_event = move |event: Event<WorkStatus>| match event {
        Event::Init => listed = HashSet::new(),
        Event::InitApply(report) => {
            listed.insert(name_of(&report));
            shared.tell(|model| model.see_report(report));
        }
        Event::InitDone => {
            let listed = std::mem::take(&mut listed);
            shared.tell(|model| model.see_all_reports(&listed));
            shared.reports_listed.notify_one();
        }
        Event::Apply(report) => shared.tell(|model| model.see_report(report)),
        Event::Delete(report) => shared.tell(|model| model.miss_report(&name_of(&report))),
    };
    let api = Api::<WorkStatus>::all(its);
    follow::follow(api, config, "workstatuses".to_owned(), on_event, |_| {})
}

/// The watches of objects.
pub(super) struct Objects {
    shared: Arc<Shared>,
    client: Client,
    running: BTreeMap<GroupResource, (String, Follower)>,
}

impl Objects {
    pub(super) fn new(shared: Arc<Shared>, client: Client) -> Self {
        Self {
            shared,
            client,
            running: BTreeMap::new(),
        }
    }

    /// Keeps watching exactly the resources that have to do with status, until shutdown.
    pub(super) async fn run(mut self, shutdown: CancellationToken) {
        loop {
            self.keep();
            tokio::select! {
                () = shutdown.cancelled() => return,
                () = self.shared.resources_changed.notified() => tokio::time::sleep(SETTLE).await,
            }
        }
    }

    fn keep(&mut self) {
        let wanted = self.shared.model().resources();
        let shared = &self.shared;
        self.running.retain(|resource, (version, _)| {
            let stays = wanted.get(resource) == Some(version);
            if !stays {
                shared.model().forget(resource);
            }
            stays
        });
        for (resource, version) in wanted {
            if self.running.contains_key(&resource) {
                continue;
            }
            if self.running.len() >= RESOURCES_MAX {
                tracing::error!(
                    "status of {resource} is not returned: that of {RESOURCES_MAX} resources is, \
                     which is the limit; let policies want the status of fewer kinds"
                );
                continue;
            }
            let follower = self.follow(&resource, &version);
            self.running.insert(resource, (version, follower));
        }
    }

    fn follow(&self, resource: &GroupResource, version: &str) -> Follower {
        let type_ = type_of(resource, version);
        let api = Api::<DynamicObject>::all_with(self.client.clone(), &type_);
        let mut listener = Listener {
            shared: self.shared.clone(),
            resource: resource.clone(),
            version: version.to_owned(),
            api_version: type_.api_version.clone(),
            listed: HashSet::new(),
        };
        follow::follow(
            api,
            watcher::Config::default(),
            resource.to_string(),
            move |event| listener.hear(event),
            |_| {},
        )
    }
}

/// How a resource is addressed. The kind is no part of that.
pub(super) fn type_of(resource: &GroupResource, version: &str) -> ApiResource {
    let group = resource.group.clone();
    ApiResource {
        api_version: match group.as_str() {
            "" => version.to_owned(),
            group => format!("{group}/{version}"),
        },
        group,
        version: version.to_owned(),
        kind: String::new(),
        plural: resource.resource.clone(),
    }
}

/// Tells the model of one resource's objects.
struct Listener {
    shared: Arc<Shared>,
    resource: GroupResource,
    version: String,
    api_version: String,
    listed: HashSet<ObjectKey>,
}

impl Listener {
    fn hear(&mut self, event: Event<DynamicObject>) {
        match event {
            Event::Init => self.listed.clear(),
            Event::InitApply(object) => {
                self.listed.insert(self.key(&object));
                self.see(object);
            }
            Event::InitDone => {
                let listed = std::mem::take(&mut self.listed);
                self.shared
                    .tell(|model| model.see_all_objects(&self.resource, &listed));
                self.shared.want_other_resources();
            }
            Event::Apply(object) => self.see(object),
            Event::Delete(object) => {
                let key = self.key(&object);
                self.shared.tell(|model| model.miss_object(&key));
                self.shared.want_other_resources();
            }
        }
    }

    fn key(&self, object: &DynamicObject) -> ObjectKey {
        ObjectKey {
            resource: self.resource.clone(),
            name: ObjectName::new(object.namespace().unwrap_or_default(), object.name_any()),
        }
    }

    fn see(&self, object: DynamicObject) {
        let key = self.key(&object);
        let object = Object::of(object, &self.api_version);
        let is_marked = object.is_marked();
        self.shared
            .tell(|model| model.see_object(&key, &self.version, object));
        if !is_marked {
            // The last one with a mark may have lost it.
            self.shared.want_other_resources();
        }
    }
}

/// Looks for objects that still have what was returned before this program started: nobody may want
/// it any more. One of each resource is enough, as it has the resource watched.
pub(super) async fn find_marks(shared: &Shared, client: &Client) -> Result<(), Trouble> {
    let discovery = kinds::discover(client).await;
    let discovery = discovery.map_err(|error| Trouble::of(&error))?;
    let kinds = kinds::watched(&discovery, &BTreeSet::new());
    let lists = kinds.iter().flat_map(|(resource, kind)| {
        labels::OF_THE_WDS.map(|label| find_mark(shared, client, resource, &kind.version, label))
    });
    let mut lists = futures::stream::iter(lists).buffer_unordered(LISTS);
    while let Some(()) = lists.next().await {}
    shared.want_other_resources();
    Ok(())
}

async fn find_mark(
    shared: &Shared,
    client: &Client,
    resource: &GroupResource,
    version: &str,
    label: &str,
) {
    let api = Api::<DynamicObject>::all_with(client.clone(), &type_of(resource, version));
    let parameters = ListParams::default().labels(label).limit(1);
    match api.list_metadata(&parameters).await {
        Ok(found) => {
            for object in found.items {
                let namespace = object.namespace().unwrap_or_default();
                let key = ObjectKey {
                    resource: resource.clone(),
                    name: ObjectName::new(namespace, object.name_any()),
                };
                shared.model().see_mark(key, version.to_owned());
            }
        }
        Err(error) => {
            let trouble = Trouble::of(&error);
            tracing::warn!("looked for {resource} with returned status: {trouble}");
        }
    }
}
