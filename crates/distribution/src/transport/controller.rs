//! The shell: plans what was seen, writes works and what is to be said of them.

use super::model::BindingName;
use super::model::Watched;
use super::plan;
use super::plan::Plan;
use super::report::Account;
use super::transform;
use super::watches;
use super::watches::Key;
use super::watches::Objects;
use super::watches::Shared;
use super::wrap::Limits;
use super::wrap::Origin;
use super::write::Failure;
use super::write::Writer;
use crate::binding::Connect;
use hyades_api::control::Binding;
use hyades_api::control::CustomTransform;
use hyades_api::control::names::finalizers;
use hyades_runtime::Cache;
use hyades_runtime::CancellationToken;
use hyades_runtime::Health;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::controller;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use jiff::Timestamp;
use serde_json::json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// Bindings worked on at a time. Each has its writes in flight beside the others'.
const WORKERS: usize = 4;

/// How long a named object may be absent before that is told: a Binding follows its policy a moment
/// after the object is gone.
const ABSENCE_GRACE: Duration = Duration::from_secs(2);

/// After this time a Binding that changed while its status was written is looked at again.
const CONFLICT_PAUSE: Duration = Duration::from_millis(50);

/// The flags of KubeStellar's transport controller that mean something here.
#[derive(Clone, Debug, clap::Args)]
#[group(id = "transport")]
pub struct Options {
    /// Objects in one work, at most; with 1, works are named after their objects
    #[arg(long, default_value_t = Limits::default().max_objects)]
    pub max_num_wrapped: usize,
    /// Bytes of all objects of one work, at most
    #[arg(long, default_value_t = Limits::default().max_bytes)]
    pub max_size_wrapped: usize,
}

struct Controller {
    wds: Client,
    its: Client,
    wds_name: String,
    limits: Limits,
    shared: Arc<Shared>,
    bindings: Cache<Binding>,
    transforms: Cache<CustomTransform>,
    /// Since when each Binding names objects that are not there.
    absences: RefCell<HashMap<BindingName, Instant>>,
}

/// Runs the controller of the named WDS until shutdown: `connect` makes clients for the WDS, `its` is the ITS.
pub async fn run(
    options: Options,
    wds_name: String,
    connect: Connect,
    its: Client,
    health: &Health,
    shutdown: CancellationToken,
) {
    let shared = Arc::new(Shared::default());
    let wds = connect();
    let _clusters = watches::clusters(&its, shared.clone());
    let _config_maps = watches::config_maps(&its, shared.clone());
    let _works = watches::works(&its, &wds_name, shared.clone());
    let controller = Rc::new(Controller {
        bindings: watches::bindings(&wds, shared.clone()),
        transforms: watches::transforms(&wds, shared.clone()),
        wds,
        its,
        wds_name,
        limits: Limits {
            max_objects: options.max_num_wrapped,
            max_bytes: options.max_size_wrapped,
        },
        shared: shared.clone(),
        absences: RefCell::default(),
    });
    let watched = shared.clone();
    health.add_ready("transport", move || {
        match watched.model().unlisted().next() {
            None => Ok(()),
            Some(what) => Err(format!("waiting for the first list of {what:?}")),
        }
    });
    let objects = Objects::new(shared.clone(), connect);
    let reconcile = |key| {
        let controller = controller.clone();
        async move { controller.reconcile(key).await }
    };
    let queue = shared.queue.clone();
    let work = controller::work("transport", queue, WORKERS, shutdown.clone(), reconcile);
    tokio::join!(objects.run(shutdown.clone()), work);
}

impl Controller {
    async fn reconcile(&self, key: Key) -> Result<Option<Duration>, Trouble> {
        let done = match &key {
            Key::Binding(name) => self.reconcile_binding(name).await,
            Key::Transforms => self.reconcile_transforms().await.map(|()| None),
        };
        match done {
            // Somebody changed it meanwhile.
            Err(Trouble::Conflict(_)) => Ok(Some(CONFLICT_PAUSE)),
            Err(Trouble::NotFound(_)) if self.is_gone(&key) => Ok(None),
            done => done,
        }
    }

    fn is_gone(&self, key: &Key) -> bool {
        match key {
            Key::Binding(name) => self.bindings.get(name).is_none(),
            Key::Transforms => false,
        }
    }

    async fn reconcile_binding(&self, name: &BindingName) -> Result<Option<Duration>, Trouble> {
        let Some(binding) = self.bindings.get(name) else {
            self.absences.borrow_mut().remove(name);
            return Ok(None);
        };
        if self.shared.model().unlisted().next().is_some() {
            // Once all is listed, every Binding is queued.
            return Ok(None);
        }
        if binding.metadata.deletion_timestamp.is_some() {
            return self.let_go(&binding).await.map(|()| None);
        }
        let binding = self.hold(&binding).await?.map_or(binding, Arc::new);
        let origin = self.origin(&binding);
        let (plan, actions) = self.decide(&binding, &origin);
        let failures = self.writer(&binding, &origin).perform(actions).await;
        let again = self.await_absent(name, &plan);
        self.tell(&binding, &plan, &failures, again.is_none())
            .await?;
        match failures.into_iter().next() {
            Some(failure) => Err(failure.trouble),
            None => Ok(again),
        }
    }

    fn origin(&self, binding: &Binding) -> Origin {
        Origin {
            wds: self.wds_name.clone(),
            binding: binding.name_any(),
            binding_uid: binding.uid().unwrap_or_default(),
        }
    }

    fn writer<'w>(&'w self, binding: &Binding, origin: &'w Origin) -> Writer<'w> {
        Writer {
            its: &self.its,
            model: &self.shared.model,
            origin,
            generation: binding.metadata.generation.unwrap_or_default(),
        }
    }

    fn decide(&self, binding: &Binding, origin: &Origin) -> (Plan, Vec<plan::Action>) {
        let mut model = self.shared.model();
        let plan = plan::plan(binding, &model, self.limits, origin);
        let actions = plan::actions(&plan, model.works(&origin.binding));
        model.note_customised(&origin.binding, plan.is_customised);
        (plan, actions)
    }

    /// How long objects that are not there may still turn up before that is told.
    fn await_absent(&self, name: &BindingName, plan: &Plan) -> Option<Duration> {
        let mut absences = self.absences.borrow_mut();
        if plan.missing.is_empty() {
            absences.remove(name);
            return None;
        }
        let since = absences.entry(name.clone()).or_insert_with(Instant::now);
        let rest = ABSENCE_GRACE.checked_sub(since.elapsed())?;
        (!rest.is_zero()).then_some(rest)
    }

    /// Puts the finalizer on a Binding; returns the Binding if it was changed.
    async fn hold(&self, binding: &Binding) -> Result<Option<Binding>, Trouble> {
        let mut all = binding.finalizers().to_vec();
        if all.iter().any(|finalizer| finalizer == finalizers::BINDING) {
            return Ok(None);
        }
        all.push(finalizers::BINDING.to_owned());
        self.finalize(binding, &all).await.map(Some)
    }

    /// Deletes the works of a Binding that goes, then takes the finalizer off it. The WECs' objects
    /// go with the works, which is not waited for.
    async fn let_go(&self, binding: &Binding) -> Result<(), Trouble> {
        let mut others = binding.finalizers().to_vec();
        others.retain(|finalizer| finalizer != finalizers::BINDING);
        if others.len() == binding.finalizers().len() {
            return Ok(());
        }
        let origin = self.origin(binding);
        let actions = plan::removal(self.shared.model().works(&origin.binding));
        let failures = self.writer(binding, &origin).perform(actions).await;
        if let Some(failure) = failures.into_iter().next() {
            return Err(failure.trouble);
        }
        self.finalize(binding, &others).await.map(|_| ())
    }

    async fn finalize(&self, binding: &Binding, all: &[String]) -> Result<Binding, Trouble> {
        let api = Api::<Binding>::all(self.wds.clone());
        let changes = json!({"metadata": {"finalizers": all}});
        let patched = apply::patch(&api, binding, changes).await;
        patched.map_err(|error| Trouble::of(&error))
    }

    /// Writes the Binding's status if it is to say something else.
    async fn tell(
        &self,
        binding: &Binding,
        plan: &Plan,
        failures: &[Failure],
        tells_missing: bool,
    ) -> Result<(), Trouble> {
        let name = binding.name_any();
        // The one that was planned for, with the newest status.
        let newest = self.bindings.get(&name);
        let newest =
            newest.filter(|newest| newest.metadata.generation == binding.metadata.generation);
        let binding = newest.as_deref().unwrap_or(binding);
        let status = {
            let model = self.shared.model();
            let account = Account {
                binding,
                plan,
                seen: model.works(&name),
                failures,
                tells_missing,
            };
            account.status(&Time(Timestamp::now()))
        };
        if status == binding.status {
            return Ok(());
        }
        let api = Api::<Binding>::all(self.wds.clone());
        let changes = json!({
            "observedGeneration": status.observed_generation,
            "conditions": status.conditions,
            "errors": status.errors,
        });
        let patched = apply::patch_status(&api, binding, changes).await;
        patched.map(|_| ()).map_err(|error| Trouble::of(&error))
    }

    /// Reads all CustomTransforms anew, and says what is wrong with each.
    async fn reconcile_transforms(&self) -> Result<(), Trouble> {
        let all = self.transforms.list();
        let (read, statuses) = transform::digest(all.iter().map(|one| &**one));
        self.shared.tell(|model| model.see_transforms(read));
        self.shared
            .tell(|model| model.see_list(Watched::Transforms));
        let api = Api::<CustomTransform>::all(self.wds.clone());
        for one in all {
            let Some(status) = statuses.get(&one.name_any()) else {
                continue;
            };
            if *status == one.status {
                continue;
            }
            let changes = json!({
                "observedGeneration": status.observed_generation,
                "errors": status.errors,
                "warnings": status.warnings,
            });
            let patched = apply::patch_status(&api, &one, changes).await;
            match patched.map_err(|error| Trouble::of(&error)) {
                Ok(_) | Err(Trouble::NotFound(_)) => {}
                Err(trouble) => return Err(trouble),
            }
        }
        Ok(())
    }
}
