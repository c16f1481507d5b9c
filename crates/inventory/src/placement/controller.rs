//! The controller: watches, the index, and the writes of what was decided.

use super::index::Index;
use super::index::Key;
use super::planner::Planner;
use super::schedule::Decisions;
use super::snapshot::DecisionObject;
use super::writer;
use super::writer::Write;
use hyades_api::cluster::ManagedCluster;
use hyades_api::cluster::ManagedClusterSet;
use hyades_api::cluster::ManagedClusterSetBinding;
use hyades_api::names::annotations;
use hyades_api::placement::AddOnPlacementScore;
use hyades_api::placement::Placement;
use hyades_api::placement::PlacementDecision;
use hyades_runtime::Cache;
use hyades_runtime::CancellationToken;
use hyades_runtime::Context;
use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::events::EventType;
use hyades_runtime::events::Recorder;
use hyades_runtime::k8s_openapi::NamespaceResourceScope;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::runtime::reflector::ObjectRef;
use hyades_runtime::kube::runtime::reflector::Store;
use hyades_runtime::kube::runtime::watcher;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::json;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::convert::Infallible;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Placements worked on at a time. Decisions are made one after the other; the rest of the time is
/// spent waiting for the server.
const WORKERS: usize = 8;

/// How long changes are gathered before a placement is decided again, so that a burst of joins is
/// one decision. Short beside what a person notices.
const SETTLE: Duration = Duration::from_millis(50);

/// A placement rests this many times as long as its last decision took: however fast the fleet
/// changes, one placement takes no more than a fiftieth of a processor.
const REST_FACTOR: u32 = 50;

/// Longest rest: what a user waits at most for a placement over a fleet that never keeps still.
const REST_MAX: Duration = Duration::from_secs(2);

/// When to try again what failed because the cache was behind: the event is on its way.
const BEHIND: Duration = Duration::from_millis(100);

/// Waiting beyond the moment a score ends: it still counts in that moment.
const JUST_AFTER: Duration = Duration::from_millis(1);

/// Longest wait for the end of a toleration or score; timers reach no further than two years.
const TIMER_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Something that placements may depend on, by the name of what changed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Changed {
    Wec(String),
    Set(String),
    Binding(String, String),
    Placement(String, String),
    Score(String, String),
    Decision(String, String),
}

/// Where watches tell of changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Changes(Queue<Changed>);

impl Changes {
    /// An inventory object changed.
    pub(crate) fn wec(&self, name: String) {
        self.0.add(Changed::Wec(name));
    }

    /// A set changed.
    pub(crate) fn set(&self, name: String) {
        self.0.add(Changed::Set(name));
    }

    /// A binding changed.
    pub(crate) fn binding(&self, namespace: String, name: String) {
        self.0.add(Changed::Binding(namespace, name));
    }
}

/// What others watch already.
pub(crate) struct Shared {
    /// Inventory objects, with labels, annotations, taints, claims and resources.
    pub(crate) wecs: Store<ManagedCluster>,
    /// Sets.
    pub(crate) sets: Store<ManagedClusterSet>,
    /// Bindings.
    pub(crate) bindings: Store<ManagedClusterSetBinding>,
}

/// Decides placements until the context's shutdown.
pub(crate) async fn run(shared: Shared, changes: Changes, context: &Context) {
    let controller = match Controller::new(shared, changes, context) {
        Ok(controller) => controller,
        Err(error) => {
            tracing::error!("no thread to decide placements: {error}; placements stay as they are");
            return;
        }
    };
    tokio::select! {
        () = context.shutdown.cancelled() => return,
        () = controller.wait_until_synced() => {}
    }
    controller.fill();
    controller.work(context.shutdown.clone()).await;
}

struct Controller {
    client: Client,
    events: Recorder,
    shared: Shared,
    placements: Cache<Placement>,
    decisions: Cache<PlacementDecision>,
    scores: Cache<AddOnPlacementScore>,
    changes: Changes,
    queue: Queue<Key>,
    index: RefCell<Index>,
    planner: Planner,
    /// When each placement may be decided again.
    rests: RefCell<HashMap<Key, Instant>>,
}

impl Controller {
    fn new(shared: Shared, changes: Changes, context: &Context) -> std::io::Result<Self> {
        let client = &context.client;
        Ok(Self {
            events: Recorder::new(client.clone(), "placementController", &context.pod_name),
            shared,
            placements: watch(client, &changes, Changed::Placement),
            decisions: watch(client, &changes, Changed::Decision),
            scores: watch(client, &changes, Changed::Score),
            changes,
            queue: Queue::new(),
            index: RefCell::default(),
            planner: Planner::start(WORKERS)?,
            rests: RefCell::default(),
            client: client.clone(),
        })
    }

    async fn wait_until_synced(&self) {
        self.placements.wait_until_synced().await;
        self.decisions.wait_until_synced().await;
        self.scores.wait_until_synced().await;
    }

    /// Fills the index with all there is, and queues every placement once. The changes told of
    /// meanwhile are found to be none.
    fn fill(&self) {
        for set in self.shared.sets.state() {
            self.take_in(Changed::Set(set.name_any()));
        }
        for binding in self.shared.bindings.state() {
            self.take_in(Changed::Binding(namespace(&*binding), binding.name_any()));
        }
        for score in self.scores.list() {
            self.take_in(Changed::Score(namespace(&*score), score.name_any()));
        }
        for wec in self.shared.wecs.state() {
            self.take_in(Changed::Wec(wec.name_any()));
        }
        for decision in self.decisions.list() {
            self.take_in(Changed::Decision(
                namespace(&*decision),
                decision.name_any(),
            ));
        }
        for placement in self.placements.list() {
            self.take_in(Changed::Placement(
                namespace(&*placement),
                placement.name_any(),
            ));
        }
        self.call(self.index.borrow().all());
    }

    async fn work(&self, shutdown: CancellationToken) {
        tokio::join!(
            controller::work(
                "change",
                self.changes.0.clone(),
                1,
                shutdown.clone(),
                |changed| {
                    self.call(self.take_in(changed));
                    async { Ok::<_, Infallible>(None) }
                }
            ),
            controller::work("Placement", self.queue.clone(), WORKERS, shutdown, |key| {
                self.reconcile(key)
            }),
        );
    }

    /// Brings the index up to date with one object; says which placements that concerns.
    fn take_in(&self, changed: Changed) -> BTreeSet<Key> {
        let mut index = self.index.borrow_mut();
        match changed {
            Changed::Wec(name) => {
                let now = self.shared.wecs.get(&ObjectRef::new(&name));
                index.wec(&name, now)
            }
            Changed::Set(name) => {
                let now = self.shared.sets.get(&ObjectRef::new(&name));
                index.set(&name, now.as_deref())
            }
            Changed::Binding(namespace, name) => {
                let address = ObjectRef::new(&name).within(&namespace);
                let now = self.shared.bindings.get(&address);
                index.binding(&namespace, &name, now.as_deref())
            }
            Changed::Placement(namespace, name) => {
                let now = self.placements.get_in(&namespace, &name);
                index.placement(&(namespace, name), now)
            }
            Changed::Score(namespace, name) => {
                let now = self.scores.get_in(&namespace, &name);
                index.score(&namespace, &name, now)
            }
            Changed::Decision(namespace, name) => {
                let now = self.decisions.get_in(&namespace, &name);
                index.decision(&namespace, &name, now)
            }
        }
    }

    /// Queues placements.
    fn call(&self, keys: BTreeSet<Key>) {
        for key in keys {
            self.queue.add_after(key, SETTLE);
        }
    }

    async fn reconcile(&self, key: Key) -> Result<Option<Duration>, Trouble> {
        let rest = self.rests.borrow().get(&key).copied();
        let rest = rest.map(|until| until.saturating_duration_since(Instant::now()));
        if let Some(rest) = rest.filter(|rest| !rest.is_zero()) {
            return Ok(Some(rest));
        }
        let found = self.index.borrow().snapshot(&key, Timestamp::now());
        let Some((placement, snapshot)) = found else {
            self.rests.borrow_mut().remove(&key);
            self.planner.forget(key.clone()).await?;
            return Ok(None);
        };
        let disabled = placement
            .annotations()
            .get(annotations::SCHEDULING_DISABLED);
        if disabled.is_some_and(|value| value == "true") {
            return Ok(None);
        }
        let is = snapshot.existing.clone();
        let started = Instant::now();
        let decisions = self.planner.decide(placement.clone(), snapshot).await?;
        let now = Instant::now();
        let rest = ((now - started) * REST_FACTOR).min(REST_MAX);
        self.rests.borrow_mut().insert(key.clone(), now + rest);
        self.index.borrow_mut().expect(&key, &decisions.objects);
        match self.write(&key, &placement, &is, &decisions).await {
            Ok(()) => Ok(decisions.again_at.map(until)),
            // Somebody changed or removed it meanwhile, or the cache is behind our own writes.
            Err(Trouble::Conflict(_) | Trouble::NotFound(_) | Trouble::AlreadyExists(_)) => {
                Ok(Some(BEHIND))
            }
            Err(trouble) => Err(trouble),
        }
    }

    async fn write(
        &self,
        key: &Key,
        placement: &Placement,
        is: &[DecisionObject],
        decisions: &Decisions,
    ) -> Result<(), Trouble> {
        for write in writer::plan(is, &decisions.objects) {
            self.write_one(key, placement, write, decisions).await?;
        }
        let now = Time(Timestamp::now());
        let Some(status) = writer::status(placement, decisions, now) else {
            return Ok(());
        };
        let api = Api::<Placement>::namespaced(self.client.clone(), &key.0);
        let patched = apply::patch_status(&api, placement, status).await;
        let mut patched = patched.map_err(|error| Trouble::of(&error))?;
        patched.metadata.managed_fields = None;
        let news = self
            .index
            .borrow_mut()
            .placement(key, Some(Arc::new(patched)));
        self.call(news);
        Ok(())
    }

    async fn write_one(
        &self,
        key: &Key,
        placement: &Placement,
        write: Write<'_>,
        decisions: &Decisions,
    ) -> Result<(), Trouble> {
        let api = Api::<PlacementDecision>::namespaced(self.client.clone(), &key.0);
        let trouble = |error| Trouble::of(&error);
        match write {
            Write::Create(to) => {
                let created = self.create(&api, placement, to).await?;
                let created = self.keep(key, created);
                let kind = EventType::Normal;
                self.tell(placement, kind, "DecisionCreate", &to.name, "created", None)
                    .await;
                if !to.clusters.is_empty() || !created.status.decisions.is_empty() {
                    let status = writer::members(to);
                    let patched = apply::patch_status(&api, &*created, status).await;
                    self.keep(key, patched.map_err(trouble)?);
                    self.tell_update(placement, to, decisions).await;
                }
            }
            Write::Update { to, members, group } => {
                let Some(mut object) = self.stored(key, &to.name) else {
                    return Err(Trouble::NotFound(to.name.clone()));
                };
                if members {
                    let status = writer::members(to);
                    let patched = apply::patch_status(&api, &*object, status).await;
                    object = self.keep(key, patched.map_err(trouble)?);
                }
                if group {
                    let labels = writer::labels(&key.1, to);
                    let changes = json!({"metadata": {"labels": labels}});
                    let patched = apply::patch(&api, &*object, changes).await;
                    self.keep(key, patched.map_err(trouble)?);
                }
                self.tell_update(placement, to, decisions).await;
            }
            Write::Delete(name) => {
                match api.delete(name, &Default::default()).await.map_err(trouble) {
                    Ok(_) | Err(Trouble::NotFound(_)) => {}
                    Err(trouble) => return Err(trouble),
                }
                self.index.borrow_mut().decision(&key.0, name, None);
                self.tell(
                    placement,
                    EventType::Normal,
                    "DecisionDelete",
                    name,
                    "deleted",
                    None,
                )
                .await;
            }
        }
        Ok(())
    }

    /// Creates an object of decisions. One of that name that is there already, labelled as another
    /// placement's or not yet seen by the cache, is taken over.
    async fn create(
        &self,
        api: &Api<PlacementDecision>,
        placement: &Placement,
        to: &DecisionObject,
    ) -> Result<PlacementDecision, Trouble> {
        let new = writer::new_object(placement, to);
        let object = serde_json::from_value(new.clone());
        let object = object.map_err(|error| Trouble::Other(error.to_string()))?;
        let created = api.create(&PostParams::default(), &object).await;
        match created.map_err(|error| Trouble::of(&error)) {
            Err(Trouble::AlreadyExists(_)) => {
                let live = api.get(&to.name).await;
                let live = live.map_err(|error| Trouble::of(&error))?;
                let patched = apply::patch(api, &live, new).await;
                patched.map_err(|error| Trouble::of(&error))
            }
            outcome => outcome,
        }
    }

    /// Puts what the server answered into the index, before the watch tells of it.
    fn keep(&self, key: &Key, mut object: PlacementDecision) -> Arc<PlacementDecision> {
        object.metadata.managed_fields = None;
        let object = Arc::new(object);
        let name = object.name_any();
        let mut index = self.index.borrow_mut();
        // Half-written it may differ from what is wanted; the rest follows at once.
        index.decision(&key.0, &name, Some(object.clone()));
        object
    }

    fn stored(&self, key: &Key, name: &str) -> Option<Arc<PlacementDecision>> {
        let index = self.index.borrow();
        let mut stored = index.stored(key);
        let found = stored.find(|stored| stored.says.name == name)?;
        Some(found.object.clone())
    }

    async fn tell_update(&self, placement: &Placement, to: &DecisionObject, decisions: &Decisions) {
        let warning = decisions.warning.as_ref();
        let kind = match warning {
            Some(_) => EventType::Warning,
            None => EventType::Normal,
        };
        let why = warning.map(|why| format!(": {} in plugin {}", why.message, why.plugin));
        self.tell(placement, kind, "DecisionUpdate", &to.name, "updated", why)
            .await;
        let scores = writer::scores(decisions);
        if !scores.is_empty() {
            let regarding = placement.object_ref(&());
            let namespace = namespace(placement);
            let kind = EventType::Normal;
            self.events
                .record(&namespace, &regarding, kind, "ScoreUpdate", &scores)
                .await;
        }
    }

    async fn tell(
        &self,
        placement: &Placement,
        kind: EventType,
        reason: &str,
        decision: &str,
        done: &str,
        why: Option<String>,
    ) {
        let (namespace, name) = (namespace(placement), placement.name_any());
        let why = why.unwrap_or_default();
        let note = format!(
            "Decision {decision} is {done} with placement {name} in namespace {namespace}{why}"
        );
        let regarding = placement.object_ref(&());
        self.events
            .record(&namespace, &regarding, kind, reason, &note)
            .await;
    }
}

fn watch<K>(client: &Client, changes: &Changes, told: fn(String, String) -> Changed) -> Cache<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    K: Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let queue = changes.0.clone();
    let all = Api::all(client.clone());
    controller::watch(all, watcher::Config::default(), move |change| {
        if let Change::Applied(object) | Change::Deleted(object) = change {
            queue.add(told(namespace(object), object.name_any()));
        }
    })
}

fn namespace<K: ResourceExt>(object: &K) -> String {
    object.namespace().unwrap_or_default()
}

fn until(at: Timestamp) -> Duration {
    let left = at.duration_since(Timestamp::now());
    let left = Duration::try_from(left).unwrap_or_default();
    left.saturating_add(JUST_AFTER).min(TIMER_MAX)
}
