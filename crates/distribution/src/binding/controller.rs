//! The shell: reads what is seen, writes Bindings and policies' status.

use super::desired;
use super::model::PolicyName;
use super::watches::Connect;
use super::watches::Shared;
use super::watches::Watches;
use hyades_api::cluster::ManagedCluster;
use hyades_api::control::Binding;
use hyades_api::control::BindingPolicy;
use hyades_api::control::BindingSpec;
use hyades_api::control::names::finalizers;
use hyades_api::control::names::managers;
use hyades_runtime::Cache;
use hyades_runtime::CancellationToken;
use hyades_runtime::Health;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::controller::Written;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::runtime::watcher;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use std::cell::Cell;
use std::cell::RefCell;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// Policies worked on at a time: two calls each. Most of the time is the server's.
const WORKERS: usize = 8;

/// How long Bindings wait, after the start, for the first lists of all resources. One that cannot be
/// listed at all holds up nobody for longer; what Bindings say of it is left as it is.
const FIRST_LISTS_TIMEOUT: Duration = Duration::from_secs(5);

/// How long transport has to answer a new Binding before the policy's status says that it has not:
/// an answer within this time spares a write.
const ANSWER_GRACE: Duration = Duration::from_millis(500);

/// A Binding is written again after a pause of so many times what the last write took, so that a
/// thousand new objects do not write a growing Binding a thousand times.
const PAUSE_FACTOR: u32 = 2;

/// The longest such pause; upstream waits for so long each time.
const PAUSE_MAX: Duration = Duration::from_secs(2);

/// The flags of KubeStellar's controller manager that concern Bindings.
#[derive(Clone, Debug, Default, clap::Args)]
#[group(id = "binding")]
pub struct Options {
    /// API groups whose objects policies can mean; all if empty. The core group is the empty one
    #[arg(long, value_delimiter = ',')]
    pub api_groups: Vec<String>,
}

/// What was written of a policy last.
struct LastWrite {
    version: Written,
    binding: Arc<Binding>,
    at: Instant,
    pause: Duration,
}

struct Controller {
    client: Client,
    shared: Arc<Shared>,
    policies: Cache<BindingPolicy>,
    bindings: Cache<Binding>,
    started: Instant,
    has_started: Rc<Cell<bool>>,
    writes: RefCell<HashMap<PolicyName, LastWrite>>,
    /// Why a policy's Binding could not be written.
    failures: RefCell<HashMap<PolicyName, String>>,
}

/// Runs the controller until shutdown: `connect` makes clients for the WDS, `its` is the ITS.
pub async fn run(
    options: Options,
    connect: Connect,
    its: Client,
    health: &Health,
    shutdown: CancellationToken,
) {
    let shared = Arc::new(Shared::default());
    let client = connect();
    let _clusters = watch_clusters(its, shared.clone());
    let controller = Rc::new(Controller {
        policies: watch_policies(&client, shared.clone()),
        bindings: watch_bindings(&client, shared.clone()),
        client: client.clone(),
        shared: shared.clone(),
        started: Instant::now(),
        has_started: Rc::default(),
        writes: RefCell::default(),
        failures: RefCell::default(),
    });
    let watched = shared.clone();
    health.add_ready("binding", move || {
        if watched.model().is_usable() {
            Ok(())
        } else {
            Err("the kinds of the WDS or the WECs of the ITS are not known yet".to_owned())
        }
    });
    let groups: BTreeSet<String> = options.api_groups.into_iter().collect();
    let watches = Watches::new(shared.clone(), connect);
    let late = async {
        tokio::time::sleep(FIRST_LISTS_TIMEOUT).await;
        controller.start_anyway();
    };
    let reconcile = |name| {
        let controller = controller.clone();
        async move { controller.reconcile(name).await }
    };
    let work = controller::work(
        "BindingPolicy",
        shared.queue.clone(),
        WORKERS,
        shutdown.clone(),
        reconcile,
    );
    tokio::join!(watches.run(client, groups, shutdown.clone()), work, async {
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = late => {}
        }
    });
}

fn watch_policies(client: &Client, shared: Arc<Shared>) -> Cache<BindingPolicy> {
    let api = Api::all(client.clone());
    controller::watch(api, watcher::Config::default(), move |change| {
        let (Change::Applied(policy) | Change::Deleted(policy)) = change else {
            return;
        };
        let name = policy.name_any();
        let is_there =
            matches!(change, Change::Applied(_)) && policy.metadata.deletion_timestamp.is_none();
        shared.tell(|model| match is_there {
            true if model.says(&name, &policy.spec) => BTreeSet::from([name.as_str().into()]),
            true => model.see_policy(&name, &policy.spec),
            false => model.miss_policy(&name),
        });
        shared.queue.add(name.as_str().into());
    })
}

fn watch_bindings(client: &Client, shared: Arc<Shared>) -> Cache<Binding> {
    let api = Api::<Binding>::all(client.clone());
    controller::watch(api, watcher::Config::default(), move |change| {
        if let Change::Applied(binding) | Change::Deleted(binding) = change {
            shared.queue.add(binding.name_any().as_str().into());
        }
    })
}

fn watch_clusters(its: Client, shared: Arc<Shared>) -> Cache<ManagedCluster> {
    let trim = |cluster: &mut ManagedCluster| {
        cluster.status = Default::default();
        cluster.metadata.annotations = None;
    };
    controller::watch_trimmed(
        Api::<ManagedCluster>::all(its),
        watcher::Config::default(),
        trim,
        move |change| {
            shared.tell(|model| match change {
                Change::Applied(cluster) => {
                    let is_staying = cluster.metadata.deletion_timestamp.is_none();
                    let is_accepted = cluster.spec.hub_accepts_client && is_staying;
                    model.see_cluster(&cluster.name_any(), cluster.labels(), is_accepted)
                }
                Change::Deleted(cluster) => model.miss_cluster(&cluster.name_any()),
                Change::Synced => model.see_all_clusters(),
            });
        },
    )
}

impl Controller {
    async fn reconcile(&self, name: PolicyName) -> Result<Option<Duration>, Trouble> {
        match self.reconcile_policy(&name).await {
            // Somebody changed it meanwhile; the event of that brings the key back.
            Err(Trouble::Conflict(_) | Trouble::NotFound(_) | Trouble::AlreadyExists(_)) => {
                Ok(None)
            }
            result => result,
        }
    }

    async fn reconcile_policy(&self, name: &PolicyName) -> Result<Option<Duration>, Trouble> {
        let Some(policy) = self.policies.get(name) else {
            self.writes.borrow_mut().remove(name);
            self.failures.borrow_mut().remove(name);
            return Ok(None);
        };
        if policy.metadata.deletion_timestamp.is_some() {
            return self.let_go(&policy).await.map(|()| None);
        }
        if !self.is_started() {
            return Ok(None);
        }
        if let Some(pause) = self.pause(name) {
            return Ok(Some(pause));
        }
        let (held, written) = tokio::join!(self.hold(&policy), self.write(name, &policy));
        if let Err(trouble) = &written {
            self.note_failure(name, trouble);
        } else {
            self.failures.borrow_mut().remove(name);
        }
        let policy = held?.map_or(policy, Arc::new);
        let again = self.tell(name, &policy).await?;
        written.map(|()| again)
    }

    /// Whether Bindings may be written: all that could be seen was seen.
    fn is_started(&self) -> bool {
        if !self.has_started.get() {
            let model = self.shared.model();
            let is_complete = model.unlisted().is_empty() || self.has_waited_long_enough();
            self.has_started.set(model.is_usable() && is_complete);
        }
        self.has_started.get()
    }

    fn has_waited_long_enough(&self) -> bool {
        self.started.elapsed() >= FIRST_LISTS_TIMEOUT
    }

    /// Starts without the lists that are still missing.
    fn start_anyway(&self) {
        let unlisted: Vec<_> = self
            .shared
            .model()
            .unlisted()
            .into_iter()
            .cloned()
            .collect();
        for resource in &unlisted {
            tracing::warn!(
                "no list of {resource} within {} s: going on without it, and leaving what Bindings \
                 say of it as it is",
                FIRST_LISTS_TIMEOUT.as_secs()
            );
        }
        for policy in self.policies.list() {
            self.shared.queue.add(policy.name_any().as_str().into());
        }
    }

    fn pause(&self, name: &PolicyName) -> Option<Duration> {
        let writes = self.writes.borrow();
        let last = writes.get(name)?;
        let rest = last.pause.checked_sub(last.at.elapsed())?;
        (!rest.is_zero()).then_some(rest)
    }

    /// A conflict is no failure: the next try is on its way.
    fn note_failure(&self, name: &PolicyName, trouble: &Trouble) {
        let is_race = matches!(
            trouble,
            Trouble::Conflict(_) | Trouble::NotFound(_) | Trouble::AlreadyExists(_)
        );
        if !is_race {
            let mut failures = self.failures.borrow_mut();
            failures.insert(name.clone(), trouble.to_string());
        }
    }

    /// Puts the finalizer on a policy; returns the policy if it was changed.
    async fn hold(&self, policy: &BindingPolicy) -> Result<Option<BindingPolicy>, Trouble> {
        if has_finalizer(policy) {
            return Ok(None);
        }
        let mut all = policy.finalizers().to_vec();
        all.push(finalizers::BINDING_POLICY.to_owned());
        self.finalize(policy, &all).await.map(Some)
    }

    /// Takes the finalizer off a policy that goes. Its Binding goes by its owner reference, and the
    /// Binding's works by the Binding's finalizer.
    async fn let_go(&self, policy: &BindingPolicy) -> Result<(), Trouble> {
        if !has_finalizer(policy) {
            return Ok(());
        }
        let mut others = policy.finalizers().to_vec();
        others.retain(|finalizer| finalizer != finalizers::BINDING_POLICY);
        self.finalize(policy, &others).await.map(|_| ())
    }

    async fn finalize(
        &self,
        policy: &BindingPolicy,
        finalizers: &[String],
    ) -> Result<BindingPolicy, Trouble> {
        let api = Api::<BindingPolicy>::all(self.client.clone());
        let changes = json!({"metadata": {"finalizers": finalizers}});
        let patched = apply::patch(&api, policy, changes).await;
        patched.map_err(|error| Trouble::of(&error))
    }

    /// The Binding of that name as far as known: what the watch shows, or what was written since.
    fn binding(&self, name: &PolicyName) -> Option<Arc<Binding>> {
        let seen = self.bindings.get(name);
        let writes = self.writes.borrow();
        match writes.get(name) {
            Some(last) if self.bindings.is_behind(&last.version) => Some(last.binding.clone()),
            _ => seen,
        }
    }

    /// Makes the Binding say what the policy means.
    async fn write(&self, name: &PolicyName, policy: &BindingPolicy) -> Result<(), Trouble> {
        let started = Instant::now();
        let current = self.binding(name);
        let owner = owner_of(policy);
        let is_owned = |binding: &Binding| {
            Some(binding.owner_references()) == owner.as_ref().map(std::slice::from_ref)
        };
        let wanted = {
            let model = self.shared.model();
            let Some(meant) = model.meant(name) else {
                return Ok(());
            };
            if current.as_ref().is_some_and(|current| {
                is_owned(current) && desired::says(&current.spec, &model, meant)
            }) {
                return Ok(());
            }
            desired::spec(&model, meant, current.as_ref().map(|binding| &binding.spec))
        };
        let Some(owner) = &owner else {
            return Ok(());
        };
        let api = Api::<Binding>::all(self.client.clone());
        let written = match current {
            // It is another's, or a former policy's, and makes room once its works are gone.
            Some(current) if current.metadata.deletion_timestamp.is_some() => return Ok(()),
            Some(current) => {
                if is_owned(&current) && desired::are_same(&current.spec, &wanted) {
                    return Ok(());
                }
                let changes = json!({
                    "metadata": {"ownerReferences": [owner]},
                    "spec": whole(&wanted),
                });
                let patch = apply::guarded_patch(&*current, changes);
                api.patch(name, &by_us(), &Patch::Merge(patch)).await
            }
            None => {
                let mut binding = Binding::new(&**name, wanted);
                binding.metadata.owner_references = Some(vec![owner.clone()]);
                // Transport would put it there before its first work: so it has one write less.
                binding.metadata.finalizers = Some(vec![finalizers::BINDING.to_owned()]);
                let parameters = PostParams {
                    field_manager: Some(managers::BINDING.to_owned()),
                    ..PostParams::default()
                };
                api.create(&parameters, &binding).await
            }
        };
        let binding = written.map_err(|error| Trouble::of(&error))?;
        self.note_write(name, binding, started);
        Ok(())
    }

    fn note_write(&self, name: &PolicyName, binding: Binding, started: Instant) {
        let version = binding.resource_version().unwrap_or_default();
        let write = LastWrite {
            version: self.bindings.written(version),
            binding: Arc::new(binding),
            at: Instant::now(),
            pause: (started.elapsed() * PAUSE_FACTOR).min(PAUSE_MAX),
        };
        self.writes.borrow_mut().insert(name.clone(), write);
    }

    /// Writes the policy's status if it is to say something else; returns when to look again.
    async fn tell(
        &self,
        name: &PolicyName,
        policy: &BindingPolicy,
    ) -> Result<Option<Duration>, Trouble> {
        let binding = self.binding(name);
        let failure = self.failures.borrow().get(name).cloned();
        if failure.is_none()
            && let Some(rest) = self.grace(name, binding.as_deref())
        {
            return Ok(Some(rest));
        }
        let status = {
            let model = self.shared.model();
            let Some(meant) = model.meant(name) else {
                return Ok(None);
            };
            let now = Time(Timestamp::now());
            let (binding, failure) = (binding.as_deref(), failure.as_deref());
            desired::status(&model, policy, meant, binding, failure, &now)
        };
        if status == policy.status {
            return Ok(None);
        }
        let body = apply::guarded_patch(
            policy,
            json!({"status": {
                "observedGeneration": status.observed_generation,
                "conditions": status.conditions,
                "errors": status.errors,
            }}),
        );
        let api = Api::<BindingPolicy>::all(self.client.clone());
        let patched = api.patch_status(name, &by_us(), &Patch::Merge(body)).await;
        patched.map_err(|error| Trouble::of(&error))?;
        Ok(None)
    }

    /// How long transport still has to answer what was written, before that is told.
    fn grace(&self, name: &PolicyName, binding: Option<&Binding>) -> Option<Duration> {
        let writes = self.writes.borrow();
        let rest = ANSWER_GRACE.checked_sub(writes.get(name)?.at.elapsed())?;
        let binding = binding?;
        let is_answered = Some(binding.status.observed_generation) == binding.metadata.generation;
        (!is_answered && !rest.is_zero()).then_some(rest)
    }
}

fn has_finalizer(policy: &BindingPolicy) -> bool {
    let mut all = policy.finalizers().iter();
    all.any(|finalizer| finalizer == finalizers::BINDING_POLICY)
}

/// The policy as its Binding's owner, as upstream writes it.
fn owner_of(policy: &BindingPolicy) -> Option<OwnerReference> {
    Some(OwnerReference {
        block_owner_deletion: Some(false),
        ..policy.controller_owner_ref(&())?
    })
}

/// A spec with its empty lists, since a merge patch leaves what it does not name.
fn whole(spec: &BindingSpec) -> Value {
    json!({
        "destinations": spec.destinations,
        "workload": {
            "clusterScope": spec.workload.cluster_scope,
            "namespaceScope": spec.workload.namespace_scope,
        },
    })
}

fn by_us() -> PatchParams {
    PatchParams {
        field_manager: Some(managers::BINDING.to_owned()),
        ..PatchParams::default()
    }
}
