//! The shell: reads what is seen, writes objects' status, CombinedStatuses, and what is said of
//! StatusCollectors and Bindings.

use super::combined;
use super::combined::Rows;
use super::model::AnswerName;
use super::model::Key;
use super::model::Lookup;
use super::model::Name;
use super::returned;
use super::watches;
use super::watches::Objects;
use super::watches::Shared;
use crate::binding::Connect;
use crate::object::ObjectKey;
use crate::transport::wrap::label_value;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::Status;
use hyades_api::control::Binding;
use hyades_api::control::CombinedStatus;
use hyades_api::control::StatusCollector;
use hyades_api::control::StatusCollectorStatus;
use hyades_api::control::names;
use hyades_api::control::names::labels;
use hyades_api::control::names::managers;
use hyades_api::control::names::reasons;
use hyades_runtime::Backoff;
use hyades_runtime::Cache;
use hyades_runtime::CancellationToken;
use hyades_runtime::Health;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::backoff::Policy;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::runtime::watcher;
use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt::Debug;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use std::time::Instant;

/// Keys worked on at a time: up to three calls each. Most of the time is the server's.
const WORKERS: usize = 16;

/// An object's status is written again after a pause of so many times what the last look took, so
/// that a thousand reports are not brought together a thousand times.
const PAUSE_FACTOR: u32 = 2;

/// The longest such pause.
const PAUSE_MAX: Duration = Duration::from_millis(100);

struct Controller {
    client: Client,
    shared: Arc<Shared>,
    bindings: Cache<Binding>,
    collectors: Cache<StatusCollector>,
    answers: Cache<CombinedStatus>,
    /// What is known of the rows of each CombinedStatus.
    rows: RefCell<HashMap<AnswerName, Rows>>,
    /// Until when each object's status rests.
    rests: RefCell<HashMap<ObjectKey, Instant>>,
}

/// Runs status return for the WDS of that name until shutdown: `connect` makes clients for the WDS,
/// `its` is the ITS.
///
/// Nothing is written before all Bindings, StatusCollectors, CombinedStatuses and reports were seen
/// once: an ITS or WDS that cannot be read takes nothing back.
pub async fn run(
    wds: &str,
    connect: Connect,
    its: Client,
    health: &Health,
    shutdown: CancellationToken,
) {
    let shared = Arc::new(Shared::default());
    let client = connect();
    let _reports = watches::watch_reports(shared.clone(), its, &label_value(wds));
    let controller = Rc::new(Controller {
        bindings: watch_bindings(&client, shared.clone()),
        collectors: watch_collectors(&client, shared.clone()),
        answers: watch_answers(&client, shared.clone()),
        client: client.clone(),
        shared: shared.clone(),
        rows: RefCell::default(),
        rests: RefCell::default(),
    });
    let is_ready = Arc::new(AtomicBool::new(false));
    let answered = is_ready.clone();
    health.add_ready("status", move || match answered.load(Ordering::Relaxed) {
        true => Ok(()),
        false => Err("not all Bindings of the WDS and reports of the ITS were seen yet".to_owned()),
    });
    let objects = Objects::new(shared.clone(), connect());
    let reconcile = |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    let work = async {
        tokio::join!(
            controller.bindings.wait_until_synced(),
            controller.collectors.wait_until_synced(),
            controller.answers.wait_until_synced(),
            shared.wait_for_reports(),
        );
        is_ready.store(true, Ordering::Relaxed);
        let queue = shared.queue.clone();
        let working = controller::work("status", queue, WORKERS, shutdown.clone(), reconcile);
        tokio::join!(working, controller.take_up_what_was_left());
    };
    let until_shutdown = async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = work => {}
        }
    };
    tokio::join!(objects.run(shutdown.clone()), until_shutdown);
}

/// Tells the model of each object of a kind, and of each that is gone.
fn watch<K>(client: &Client, mut tell: impl FnMut(&str, Option<&K>) + Send + 'static) -> Cache<K>
where
    K: kube::Resource<DynamicType = ()> + Clone + Debug + DeserializeOwned + Send + Sync + 'static,
{
    let api = Api::<K>::all(client.clone());
    controller::watch(
        api,
        watcher::Config::default(),
        move |change| match change {
            Change::Applied(object) => tell(&object.name_any(), Some(object)),
            Change::Deleted(object) => tell(&object.name_any(), None),
            Change::Synced => {}
        },
    )
}

fn watch_bindings(client: &Client, shared: Arc<Shared>) -> Cache<Binding> {
    watch(client, move |name, binding| {
        shared.tell(|model| model.see_binding(name, binding));
        shared.want_other_resources();
    })
}

fn watch_collectors(client: &Client, shared: Arc<Shared>) -> Cache<StatusCollector> {
    watch(client, move |name, collector| {
        shared.tell(|model| model.see_collector(name, collector));
    })
}

fn watch_answers(client: &Client, shared: Arc<Shared>) -> Cache<CombinedStatus> {
    let api = Api::<CombinedStatus>::all(client.clone());
    controller::watch(api, watcher::Config::default(), move |change| {
        if let Change::Applied(object) | Change::Deleted(object) = change {
            let namespace = object.namespace().unwrap_or_default();
            let name = AnswerName::parse(&namespace, &object.name_any());
            name.into_iter()
                .for_each(|name| shared.add(Key::Answer(name)));
        }
    })
}

impl Controller {
    /// Looks for what was returned before this program started.
    async fn take_up_what_was_left(&self) {
        let mut backoff = Backoff::new(Policy::API);
        while let Err(trouble) = watches::find_marks(&self.shared, &self.client).await {
            let delay = backoff.next_delay();
            tracing::warn!(
                "looked for status that was returned before: {trouble}; trying again in {:.1} s",
                delay.as_secs_f64()
            );
            tokio::time::sleep(delay).await;
        }
    }

    async fn reconcile(&self, key: Key) -> Result<Option<Duration>, Trouble> {
        let done = match &key {
            Key::Status(object) => self.return_status(object).await,
            Key::Answer(name) => self.answer(name).await.map(|()| None),
            Key::Collector(name) => self.tell_collector(name).await.map(|()| None),
            Key::Binding(name) => self.tell_binding(name).await.map(|()| None),
        };
        match done {
            // Somebody changed it meanwhile; the event of that brings the key back.
            Err(Trouble::Conflict(_)) => Ok(None),
            done => done,
        }
    }

    /// Writes an object's own status if it is to be another; returns how long to rest before the
    /// next time, if that has come already.
    async fn return_status(&self, key: &ObjectKey) -> Result<Option<Duration>, Trouble> {
        let started = Instant::now();
        let rest = self.rests.borrow().get(key).copied();
        if let Some(rest) = rest.and_then(|rest| rest.checked_duration_since(started)) {
            return Ok(Some(rest));
        }
        self.rests.borrow_mut().remove(key);
        let found = {
            let model = self.shared.model();
            let object = model.object(key);
            object.map(|object| (returned::decide(&model, key, &object), object))
        };
        let Some((writes, object)) = found else {
            return Ok(None);
        };
        if writes != returned::Writes::default() {
            self.write_status(key, &object.api_version, &object.resource_version, writes)
                .await?;
        }
        let rest = (started.elapsed() * PAUSE_FACTOR).min(PAUSE_MAX);
        self.rests
            .borrow_mut()
            .insert(key.clone(), Instant::now() + rest);
        Ok(None)
    }

    async fn write_status(
        &self,
        key: &ObjectKey,
        api_version: &str,
        resource_version: &str,
        writes: returned::Writes,
    ) -> Result<(), Trouble> {
        let version = api_version.rsplit('/').next().unwrap_or_default();
        let resource = watches::type_of(&key.resource, version);
        let api: Api<DynamicObject> = match key.name.namespace.as_str() {
            "" => Api::all_with(self.client.clone(), &resource),
            namespace => Api::namespaced_with(self.client.clone(), namespace, &resource),
        };
        let name = &key.name.name;
        let written = async {
            let mut seen = resource_version.to_owned();
            if !writes.labels_before.is_empty() {
                let object = label(&api, name, writes.labels_before).await?;
                seen = object.resource_version().unwrap_or_default();
            }
            if let Some(status) = &writes.status {
                replace_status(&api, name, &seen, status).await?;
            }
            if !writes.labels_after.is_empty() {
                label(&api, name, writes.labels_after).await?;
            }
            Ok(())
        };
        match written
            .await
            .map_err(|error: kube::Error| Trouble::of(&error))
        {
            // It is gone.
            Err(Trouble::NotFound(_)) => Ok(()),
            written => written,
        }
    }

    /// Makes a CombinedStatus say what it is to say, or deletes it.
    async fn answer(&self, name: &AnswerName) -> Result<(), Trouble> {
        let full = names::combined_status(&name.object, &name.policy);
        let present = self.answers.get_in(&name.namespace, &full);
        let lookup = self.shared.model().subject(name);
        let subject = match lookup {
            Lookup::Wanted(subject) => subject,
            Lookup::Unknown => return Ok(()),
            Lookup::Unwanted => {
                self.rows.borrow_mut().remove(name);
                let ours = present.filter(|it| it.labels().contains_key(labels::BINDING_POLICY));
                return match ours {
                    Some(_) => self.delete_answer(&name.namespace, &full).await,
                    None => Ok(()),
                };
            }
        };
        let mut rows = self.rows.borrow_mut().remove(name).unwrap_or_default();
        // Long evaluations are kept off the thread of watches and writes.
        let evaluated = tokio::task::spawn_blocking(move || {
            let results = rows.answers(&subject);
            (rows, subject, results)
        });
        let (rows, subject, results) = evaluated
            .await
            .map_err(|error| Trouble::Other(format!("evaluated {full}: {error}")))?;
        self.rows.borrow_mut().insert(name.clone(), rows);
        let desired = combined::desired(name, &subject, results);
        self.write_answer(present.as_deref(), &full, &desired).await
    }

    async fn write_answer(
        &self,
        present: Option<&CombinedStatus>,
        name: &str,
        desired: &CombinedStatus,
    ) -> Result<(), Trouble> {
        let namespace = desired.namespace().unwrap_or_default();
        let api = Api::<CombinedStatus>::namespaced(self.client.clone(), &namespace);
        let written = match present {
            Some(present) if combined::says(present, desired) => return Ok(()),
            Some(present) => {
                let changes = json!({
                    "metadata": {
                        "labels": desired.labels(),
                        "annotations": desired.annotations(),
                        "ownerReferences": desired.owner_references(),
                    },
                    "results": desired.results,
                });
                let patch = Patch::Merge(apply::guarded_patch(present, changes));
                api.patch(name, &by_us(), &patch).await
            }
            None => {
                let parameters = PostParams {
                    field_manager: Some(managers::STATUS.to_owned()),
                    ..PostParams::default()
                };
                api.create(&parameters, desired).await
            }
        };
        match written.map_err(|error| Trouble::of(&error)) {
            // The watch is about to show it, and its event brings the key back.
            Err(Trouble::AlreadyExists(_)) => Ok(()),
            written => written.map(|_| ()),
        }
    }

    async fn delete_answer(&self, namespace: &str, name: &str) -> Result<(), Trouble> {
        let api = Api::<CombinedStatus>::namespaced(self.client.clone(), namespace);
        let deleted = api.delete(name, &Default::default()).await;
        match deleted.map_err(|error| Trouble::of(&error)) {
            Err(Trouble::NotFound(_)) => Ok(()),
            deleted => deleted.map(|_| ()),
        }
    }

    /// Says what is wrong with a StatusCollector.
    async fn tell_collector(&self, name: &Name) -> Result<(), Trouble> {
        let errors = self.shared.model().collector_errors(name);
        let (Some(collector), Some(errors)) = (self.collectors.get(name), errors) else {
            return Ok(());
        };
        let status = StatusCollectorStatus {
            observed_generation: collector.metadata.generation.unwrap_or_default(),
            errors,
        };
        if collector.status == status {
            return Ok(());
        }
        let status = json!({
            "observedGeneration": status.observed_generation, "errors": status.errors,
        });
        let patch = Patch::Merge(apply::guarded_patch(&*collector, json!({"status": status})));
        let api = Api::<StatusCollector>::all(self.client.clone());
        let patched = api.patch_status(name, &by_us(), &patch).await;
        gone_or(patched)
    }

    /// Says of a Binding whether all StatusCollectors that it names are there and valid.
    async fn tell_binding(&self, name: &Name) -> Result<(), Trouble> {
        let statement = match self.shared.model().missing_collectors(name) {
            None => return Ok(()),
            Some(missing) => availability(&missing),
        };
        let Some(binding) = self.bindings.get(name) else {
            return Ok(());
        };
        let mut all = binding.status.conditions.clone();
        if !conditions::set(&mut all, &statement, Time(Timestamp::now())) {
            return Ok(());
        }
        let status = json!({
            "observedGeneration": binding.status.observed_generation, "conditions": all,
        });
        let patch = Patch::Merge(apply::guarded_patch(&*binding, json!({"status": status})));
        let api = Api::<Binding>::all(self.client.clone());
        let patched = api.patch_status(name, &by_us(), &patch).await;
        gone_or(patched)
    }
}

fn availability(missing: &[&str]) -> Statement {
    let type_ = names::conditions::STATUS_COLLECTORS_AVAILABLE;
    if missing.is_empty() {
        let message = "All StatusCollector(s) are available";
        return Statement::new(type_, Status::True, reasons::RECONCILE_SUCCESS, message);
    }
    let message = format!("Missing StatusCollector(s) [{}]", missing.join(" "));
    Statement::new(type_, Status::False, reasons::RECONCILE_ERROR, "").with_message(message)
}

/// The result of a write to an object that may be gone meanwhile.
fn gone_or<T>(written: kube::Result<T>) -> Result<(), Trouble> {
    match written.map_err(|error| Trouble::of(&error)) {
        Err(Trouble::NotFound(_)) => Ok(()),
        written => written.map(|_| ()),
    }
}

async fn label(
    api: &Api<DynamicObject>,
    name: &str,
    labels: Map<String, Value>,
) -> kube::Result<DynamicObject> {
    let patch = Patch::Merge(json!({"metadata": {"labels": labels}}));
    api.patch(name, &by_us(), &patch).await
}

/// Replaces an object's status as a whole, if the object is still at that version; by its status
/// subresource, or as any other field if the kind has none.
async fn replace_status(
    api: &Api<DynamicObject>,
    name: &str,
    resource_version: &str,
    status: &Value,
) -> kube::Result<()> {
    let patch = json!([
        {"op": "replace", "path": "/metadata/resourceVersion", "value": resource_version},
        {"op": "add", "path": "/status", "value": status},
    ]);
    let patch: Patch<()> =
        Patch::Json(serde_json::from_value(patch).map_err(kube::Error::SerdeError)?);
    match api.patch_status(name, &by_us(), &patch).await {
        Err(error) if Trouble::of(&error).is_not_found() => {
            api.patch(name, &by_us(), &patch).await.map(|_| ())
        }
        written => written.map(|_| ()),
    }
}

fn by_us() -> PatchParams {
    PatchParams {
        field_manager: Some(managers::STATUS.to_owned()),
        ..PatchParams::default()
    }
}
