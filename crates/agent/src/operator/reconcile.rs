//! What is done about one Klusterlet.

use super::apply::Done;
use super::cleanup;
use super::cleanup::CleanupError;
use super::connection;
use super::connection::Bootstrap;
use super::connection::Clients;
use super::connection::Finding;
use super::hosted;
use super::hosted::Unprepared;
use super::manifests::Plan;
use super::status;
use super::status::Applied;
use super::status::Rollout;
use super::surroundings::AddOnNamespaces;
use super::surroundings::Surroundings;
use crate::options::KlusterletOptions;
use hyades_api::conditions::Statement;
use hyades_api::names;
use hyades_api::names::finalizers;
use hyades_api::operator::Klusterlet;
use hyades_runtime::Cache;
use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use tokio::sync::Mutex;

/// The field manager of everything the operator applies.
pub(super) const MANAGER: &str = "klusterlet-operator";

/// Objects are compared with what they should be at every change of the Klusterlet, and otherwise
/// after this time, against changes by hand. Upstream resyncs every three minutes.
pub(super) const RESYNC: Duration = Duration::from_secs(180);

/// How soon the hub is asked again while it has the word: whether it accepted the cluster, or
/// denied its request. Nothing in the WEC tells. Upstream asks every thirty seconds.
const HUB_RECHECK: Duration = Duration::from_secs(10);

/// The hub is asked again after this part of the time that it has been waited for, so that a fleet
/// that nobody accepts does not keep it busy.
const HUB_RECHECK_PART: u32 = 10;

/// How soon the WEC of a hosted agent is asked again when it could not be reached.
const MANAGED_RECHECK: Duration = Duration::from_secs(30);

/// What a Secret holds, if it exists.
type SecretData = Option<BTreeMap<String, ByteString>>;

/// What was learnt about the hub, and from which Secrets.
struct Asked {
    secrets: Vec<SecretData>,
    at: Instant,
    statement: Statement,
    /// After which time the answer may be another, though no Secret changed.
    fresh_for: Duration,
    /// Since when the hub has had the word, and the clients to ask it with meanwhile.
    awaiting: Option<(Instant, Clients)>,
}

/// The WEC as it is reached for one Klusterlet, and with what.
struct Managed {
    by: SecretData,
    client: Client,
    /// Namespaces there that want the credentials for pulling images.
    wanting: AddOnNamespaces,
}

/// What the operator remembers of a Klusterlet between two reconciliations.
pub(super) struct Known {
    namespace: String,
    pub(super) surroundings: Arc<Surroundings>,
    managed: Option<Managed>,
    pub(super) applied: Option<Done>,
    /// The generation for which the agent's former namespaces were deleted.
    left_for: Option<i64>,
    asked: Option<Asked>,
}

/// Reconciles Klusterlets.
pub struct Operator {
    pub(super) client: Client,
    pub(super) api: Api<Klusterlet>,
    klusterlets: Cache<Klusterlet>,
    pub(super) queue: Queue<String>,
    pub(super) known: Mutex<HashMap<String, Known>>,
    options: KlusterletOptions,
}

/// Why a Klusterlet must be tried again.
#[derive(Debug, thiserror::Error)]
pub enum OperatorError {
    /// The clean-up did not end.
    #[error(transparent)]
    Cleanup(#[from] CleanupError),
    /// Objects could not be applied; the status says so too.
    #[error("{0}")]
    Apply(String),
    /// The Klusterlet itself could not be written.
    #[error("{action}: {trouble}")]
    Klusterlet {
        /// What was tried.
        action: &'static str,
        /// What happened.
        trouble: Trouble,
    },
}

/// Makes an error of a write of the Klusterlet itself.
fn written(action: &'static str) -> impl Fn(hyades_runtime::kube::Error) -> OperatorError {
    move |error| OperatorError::Klusterlet {
        action,
        trouble: Trouble::of(&error),
    }
}

impl Operator {
    /// An operator that knows nothing yet.
    pub fn new(
        client: Client,
        klusterlets: Cache<Klusterlet>,
        queue: Queue<String>,
        options: KlusterletOptions,
    ) -> Self {
        Self {
            api: Api::all(client.clone()),
            client,
            klusterlets,
            queue,
            known: Mutex::default(),
            options,
        }
    }

    /// Brings about what one Klusterlet asks for, or takes it away.
    pub async fn reconcile(&self, name: String) -> Result<Option<Duration>, OperatorError> {
        // The cache may lag behind the operator's own writes, which would cost conflicts.
        let found = self.api.get_opt(&name).await;
        let found = found.map_err(written("read the Klusterlet"))?;
        let Some(klusterlet) = found.filter(|_| self.klusterlets.get(&name).is_some()) else {
            self.known.lock().await.remove(&name);
            return Ok(None);
        };
        let deleting = klusterlet.metadata.deletion_timestamp.is_some();
        let plan = Plan::of(&klusterlet);
        let plan = match self.options.enable_sync_labels {
            true => plan.map(Plan::handing_labels_on),
            false => plan,
        };
        match plan {
            Ok(plan) if deleting => self.remove(&klusterlet, &plan).await,
            Ok(plan) => self.establish(&klusterlet, &plan).await,
            Err(error) if deleting && was_followed(&klusterlet) => {
                tracing::info!("Klusterlet {name} is deleted, as far as it was followed: {error}");
                self.remove(&klusterlet, &Plan::of_remains(&klusterlet))
                    .await
            }
            Err(error) if deleting => {
                // Nothing was made for a Klusterlet that was never followed.
                tracing::info!("Klusterlet {name} is deleted and was not followed: {error}");
                self.release(&klusterlet).await?;
                Ok(None)
            }
            Err(error) => {
                let applied = Applied::Failed {
                    reason: "KlusterletApplyFailed",
                    message: error.to_string(),
                };
                self.tell(&klusterlet, vec![applied.statement()], None)
                    .await
                    .map_err(written("wrote the status"))?;
                Ok(None)
            }
        }
    }

    async fn remove(
        &self,
        klusterlet: &Klusterlet,
        plan: &Plan,
    ) -> Result<Option<Duration>, OperatorError> {
        let managed = match plan.mode.is_hosted() {
            false => Some(self.client.clone()),
            true if !cleanup::is_marked(klusterlet, finalizers::KLUSTERLET_HOSTED_CLEANUP) => None,
            true => {
                let api: Api<Secret> = Api::namespaced(self.client.clone(), &plan.namespace);
                let secret = api.get_opt(names::EXTERNAL_MANAGED_KUBECONFIG_SECRET).await;
                let secret = secret.map_err(cleanup::server(
                    "read the Secret with the managed cluster's kubeconfig",
                ))?;
                match hosted::managed_client(secret.as_ref()).await {
                    Ok(client) => Some(client),
                    Err(why) => cleanup::give_up(&self.api, klusterlet, &why).await?,
                }
            }
        };
        self.known.lock().await.remove(&plan.name);
        cleanup::run(&self.client, managed.as_ref(), plan).await?;
        self.release(klusterlet).await?;
        tracing::info!("Klusterlet {} is gone, and its agent with it", plan.name);
        Ok(None)
    }

    async fn release(&self, klusterlet: &Klusterlet) -> Result<(), OperatorError> {
        let own = [
            finalizers::KLUSTERLET_CLEANUP,
            finalizers::KLUSTERLET_HOSTED_CLEANUP,
        ];
        cleanup::remove_finalizers(&self.api, klusterlet, &own)
            .await
            .map_err(written("removed the finalizers"))
    }

    async fn establish(
        &self,
        klusterlet: &Klusterlet,
        plan: &Plan,
    ) -> Result<Option<Duration>, OperatorError> {
        let mut klusterlet = cleanup::guard(&self.api, klusterlet, finalizers::KLUSTERLET_CLEANUP)
            .await
            .map_err(written("added the finalizer"))?;
        let surroundings = self.surroundings(plan).await;
        surroundings.wait_until_synced().await;
        let mut statements = vec![status::gates(plan)];
        let managed = self.managed(plan, &surroundings).await;
        if plan.mode.is_hosted() {
            let result = managed.as_ref().map(drop).map_err(String::as_str);
            statements.push(status::prepared(result));
            if managed.is_ok() {
                let mark = finalizers::KLUSTERLET_HOSTED_CLEANUP;
                klusterlet = cleanup::guard(&self.api, &klusterlet, mark)
                    .await
                    .map_err(written("added the finalizer"))?;
            }
        }
        let applied = match &managed {
            Ok(managed) => Some(self.apply(&klusterlet, plan, managed, &surroundings).await),
            Err(_) => None,
        };
        statements.extend(applied.iter().map(Applied::statement));
        let (connection, fresh_for) = self.connection(plan, &surroundings).await;
        statements.push(connection);
        let find = |name: &str| {
            let found = surroundings.deployments.get_in(&plan.namespace, name);
            Rollout::of(found.as_deref())
        };
        statements.extend(status::rollouts(plan, find));
        self.tell(&klusterlet, statements, Some(plan))
            .await
            .map_err(written("wrote the status"))?;
        if let (Ok(managed), Some(Applied::Complete)) = (&managed, &applied) {
            self.leave_former_namespaces(&klusterlet, plan, managed)
                .await?;
        }
        match applied {
            None => Ok(Some(MANAGED_RECHECK)),
            Some(Applied::Failed { message, .. }) => Err(OperatorError::Apply(message)),
            Some(Applied::Uninstalled { .. }) => Ok(None),
            Some(Applied::Complete) => Ok(Some(fresh_for)),
        }
    }

    /// Deletes the namespaces the agent has left, once for each generation of the Klusterlet.
    async fn leave_former_namespaces(
        &self,
        klusterlet: &Klusterlet,
        plan: &Plan,
        managed: &Client,
    ) -> Result<(), OperatorError> {
        let generation = klusterlet.metadata.generation;
        if let Some(known) = self.known.lock().await.get_mut(&plan.name)
            && std::mem::replace(&mut known.left_for, generation) == generation
        {
            return Ok(());
        }
        let left = cleanup::former_namespaces(managed, plan).await;
        if left.is_err()
            && let Some(known) = self.known.lock().await.get_mut(&plan.name)
        {
            known.left_for = None;
        }
        Ok(left?)
    }

    /// What is followed for this Klusterlet; anew when it moved to another namespace.
    async fn surroundings(&self, plan: &Plan) -> Arc<Surroundings> {
        let mut known = self.known.lock().await;
        if let Some(entry) = known
            .get(&plan.name)
            .filter(|entry| entry.namespace == plan.namespace)
        {
            return entry.surroundings.clone();
        }
        let surroundings = Arc::new(Surroundings::start(&self.client, plan, &self.queue));
        let entry = Known {
            namespace: plan.namespace.clone(),
            surroundings: surroundings.clone(),
            managed: None,
            applied: None,
            left_for: None,
            asked: None,
        };
        known.insert(plan.name.clone(), entry);
        surroundings
    }

    /// A client for the WEC, kept while what it was made from stays the same.
    async fn managed(&self, plan: &Plan, around: &Surroundings) -> Result<Client, Unprepared> {
        let external = around.external(&plan.namespace);
        let by = external.as_ref().and_then(|secret| secret.data.clone());
        if let Some(managed) = self
            .known
            .lock()
            .await
            .get(&plan.name)
            .and_then(|known| known.managed.as_ref())
            .filter(|managed| managed.by == by)
        {
            return Ok(managed.client.clone());
        }
        let client = match plan.mode.is_hosted() {
            true => hosted::managed_client(external.as_deref()).await?,
            false => self.client.clone(),
        };
        if let Some(known) = self.known.lock().await.get_mut(&plan.name) {
            known.managed = Some(Managed {
                by,
                client: client.clone(),
                wanting: AddOnNamespaces::start(client.clone(), &plan.name, &self.queue),
            });
            // What was applied was applied elsewhere, if anything was.
            known.applied = None;
        }
        Ok(client)
    }

    /// Namespaces of the WEC that are marked as namespaces of add-ons: their pods need the credentials
    /// for pulling images, and registration its rights there.
    pub(super) async fn addon_namespaces(&self, plan: &Plan) -> BTreeSet<String> {
        let known = self.known.lock().await;
        let managed = known
            .get(&plan.name)
            .and_then(|known| known.managed.as_ref());
        managed
            .map(|managed| managed.wanting.names())
            .unwrap_or_default()
    }

    /// Asks the hub about the agent's rights, when the answer may have changed. The second value
    /// tells how long it holds.
    async fn connection(&self, plan: &Plan, around: &Surroundings) -> (Statement, Duration) {
        let hub = around
            .hub
            .get_in(&plan.namespace, names::HUB_KUBECONFIG_SECRET);
        let bootstraps = self.bootstraps(plan, around).await;
        let first = bootstraps
            .iter()
            .map(|(_, read)| read.as_ref().ok()?.as_ref());
        let all = std::iter::once(hub.as_ref()).chain(first);
        let secrets: Vec<_> = all
            .map(|secret| secret.and_then(|one| one.data.clone()))
            .collect();
        let mut awaiting = None;
        if let Some(asked) = self
            .known
            .lock()
            .await
            .get_mut(&plan.name)
            .and_then(|known| known.asked.as_mut())
            .filter(|asked| asked.secrets == secrets)
        {
            if asked.at.elapsed() < asked.fresh_for {
                return (asked.statement.clone(), asked.fresh_for);
            }
            awaiting = asked.awaiting.take();
        }
        let now = Instant::now();
        let (since, mut clients) = awaiting.unwrap_or_else(|| (now, Clients::default()));
        let own = connection::test_hub(&mut clients, hub.as_deref()).await;
        let first = match own.functional {
            true => None,
            false => {
                let cluster = plan.cluster_name(hub.as_deref());
                Some(connection::test_bootstraps(&mut clients, &bootstraps, &cluster).await)
            }
        };
        let statement = connection::statement(&own, first.as_ref());
        let awaits_hub = awaits_hub(&own, first.as_ref());
        let fresh_for = match awaits_hub {
            true => (now.duration_since(since) / HUB_RECHECK_PART).clamp(HUB_RECHECK, RESYNC),
            false => RESYNC,
        };
        if let Some(known) = self.known.lock().await.get_mut(&plan.name) {
            let statement = statement.clone();
            known.asked = Some(Asked {
                secrets,
                at: now,
                statement,
                fresh_for,
                awaiting: awaits_hub.then_some((since, clients)),
            });
        }
        (statement, fresh_for)
    }

    /// The Secrets with first credentials, in order of preference.
    async fn bootstraps(&self, plan: &Plan, around: &Surroundings) -> Vec<Bootstrap> {
        if plan.bootstrap_secrets.is_none() {
            let name = names::BOOTSTRAP_HUB_KUBECONFIG_SECRET;
            let secret = around.bootstrap.get_in(&plan.namespace, name);
            return vec![(name.to_owned(), Ok(secret))];
        }
        // The operator's right to read them comes with the rest, so they are not watched.
        let api: Api<Secret> = Api::namespaced(self.client.clone(), &plan.namespace);
        let mut found = Vec::new();
        for name in plan.bootstrap_secret_names() {
            let secret = api.get_opt(&name).await;
            let secret = secret.map_err(|error| Trouble::of(&error));
            found.push((name, secret.map(|secret| secret.map(Arc::new))));
        }
        found
    }
}

/// Whether anything may have been made for a Klusterlet: the finalizer comes before everything else.
fn was_followed(klusterlet: &Klusterlet) -> bool {
    cleanup::is_marked(klusterlet, finalizers::KLUSTERLET_CLEANUP)
}

/// Whether everything is as it should be but for the hub's certificate or acceptance.
fn awaits_hub(hub: &Finding, bootstrap: Option<&Finding>) -> bool {
    !hub.functional && bootstrap.is_some_and(|bootstrap| bootstrap.functional)
}
