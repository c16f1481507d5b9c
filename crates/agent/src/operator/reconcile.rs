//! What is done about one Klusterlet.

use super::Surroundings;
use super::cleanup;
use super::cleanup::CleanupError;
use super::connection;
use super::connection::Finding;
use super::manifests::Plan;
use super::status;
use super::status::Applied;
use super::status::Rollout;
use hyades_api::conditions::Statement;
use hyades_api::names;
use hyades_api::names::finalizers;
use hyades_api::names::namespaces;
use hyades_api::operator::Klusterlet;
use hyades_runtime::Cache;
use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::apply::ApplyError;
use hyades_runtime::k8s_openapi::ByteString;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::core::v1::Secret;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;
use tokio::sync::Mutex;

/// The field manager of everything the operator applies.
const MANAGER: &str = "klusterlet-operator";

/// Objects are compared with what they should be at every change of the Klusterlet, and otherwise
/// after this time, against changes by hand. Upstream resyncs every three minutes.
const RESYNC: Duration = Duration::from_secs(180);

/// How soon the hub is asked again while it has the word: whether it accepted the cluster, or
/// denied its request. Nothing in the WEC tells. Upstream asks every thirty seconds.
const HUB_RECHECK: Duration = Duration::from_secs(10);

/// What a Secret holds, if it exists.
type SecretData = Option<BTreeMap<String, ByteString>>;

/// What was learnt about the hub, and from which Secrets.
struct Asked {
    secrets: [SecretData; 2],
    at: Instant,
    statement: Statement,
    awaits_hub: bool,
}

/// What the operator remembers of a Klusterlet between two reconciliations.
pub(super) struct Known {
    namespace: String,
    pub(super) surroundings: Arc<Surroundings>,
    /// Generation whose objects were applied, and when.
    applied: Option<(i64, Instant)>,
    asked: Option<Asked>,
}

/// Reconciles Klusterlets.
pub struct Operator {
    client: Client,
    pub(super) api: Api<Klusterlet>,
    klusterlets: Cache<Klusterlet>,
    pub(super) queue: Queue<String>,
    pub(super) known: Mutex<HashMap<String, Known>>,
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

impl Operator {
    /// An operator that knows nothing yet.
    pub fn new(client: Client, klusterlets: Cache<Klusterlet>, queue: Queue<String>) -> Self {
        Self {
            api: Api::all(client.clone()),
            client,
            klusterlets,
            queue,
            known: Mutex::default(),
        }
    }

    /// Brings about what one Klusterlet asks for, or takes it away.
    pub async fn reconcile(&self, name: String) -> Result<Option<Duration>, OperatorError> {
        let written = |action| {
            move |error| OperatorError::Klusterlet {
                action,
                trouble: Trouble::of(&error),
            }
        };
        // The cache may lag behind the operator's own writes, which would cost conflicts.
        let found = self
            .api
            .get_opt(&name)
            .await
            .map_err(written("read the Klusterlet"))?;
        let Some(klusterlet) = found.filter(|_| self.klusterlets.get(&name).is_some()) else {
            self.known.lock().await.remove(&name);
            return Ok(None);
        };
        let plan = match Plan::of(&klusterlet) {
            Ok(plan) => plan,
            Err(error) if klusterlet.metadata.deletion_timestamp.is_some() => {
                // Nothing was made for a Klusterlet that was never followed.
                tracing::info!("Klusterlet {name} is deleted and was not followed: {error}");
                self.release(&klusterlet)
                    .await
                    .map_err(written("removed the finalizer"))?;
                return Ok(None);
            }
            Err(error) => {
                let applied = Applied::Failed {
                    reason: "KlusterletApplyFailed",
                    message: error.to_string(),
                };
                self.tell(&klusterlet, vec![applied.statement()], None)
                    .await
                    .map_err(written("wrote the status"))?;
                return Ok(None);
            }
        };
        if klusterlet.metadata.deletion_timestamp.is_some() {
            self.known.lock().await.remove(&name);
            cleanup::run(&self.client, &plan).await?;
            self.release(&klusterlet)
                .await
                .map_err(written("removed the finalizer"))?;
            tracing::info!("Klusterlet {name} is gone, and its agent with it");
            return Ok(None);
        }
        let klusterlet = cleanup::guard(&self.api, &klusterlet)
            .await
            .map_err(written("added the finalizer"))?;
        let surroundings = self.surroundings(&plan).await;
        surroundings.wait_until_synced().await;
        let applied = self.apply(&klusterlet, &plan, &surroundings).await;
        let (connection, awaits_hub) = self.connection(&plan, &surroundings).await;
        let find = |name: &str| {
            Rollout::of(
                surroundings
                    .deployments
                    .get_in(&plan.namespace, name)
                    .as_deref(),
            )
        };
        let mut statements = vec![applied.statement(), status::gates(&plan), connection];
        statements.extend(status::rollouts(&plan, find));
        self.tell(&klusterlet, statements, Some(&plan))
            .await
            .map_err(written("wrote the status"))?;
        match applied {
            Applied::Failed { message, .. } => Err(OperatorError::Apply(message)),
            Applied::Uninstalled { .. } => Ok(None),
            Applied::Complete if awaits_hub => Ok(Some(HUB_RECHECK)),
            Applied::Complete => Ok(Some(RESYNC)),
        }
    }

    async fn release(&self, klusterlet: &Klusterlet) -> hyades_runtime::kube::Result<()> {
        cleanup::remove_finalizer(&self.api, klusterlet, finalizers::KLUSTERLET_CLEANUP).await
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
        let surroundings = Arc::new(Surroundings::start(
            &self.client,
            &plan.namespace,
            &plan.name,
            &self.queue,
        ));
        let entry = Known {
            namespace: plan.namespace.clone(),
            surroundings: surroundings.clone(),
            applied: None,
            asked: None,
        };
        known.insert(plan.name.clone(), entry);
        surroundings
    }

    /// Applies what is not there yet.
    async fn apply(&self, klusterlet: &Klusterlet, plan: &Plan, around: &Surroundings) -> Applied {
        let namespace = around.namespace.get(&plan.namespace);
        let seen = namespace_state(namespace.as_deref(), klusterlet);
        if seen == Seen::Unwanted {
            self.forget_applied(&plan.name).await;
            return Applied::Uninstalled {
                namespace: plan.namespace.clone(),
            };
        }
        let generation = klusterlet.metadata.generation.unwrap_or_default();
        let is_current = match self
            .known
            .lock()
            .await
            .get(&plan.name)
            .and_then(|known| known.applied)
        {
            Some((done, at)) => done == generation && at.elapsed() < RESYNC,
            None => false,
        };
        if !is_current || seen == Seen::Missing {
            if let Err(failure) = self.apply_foundation(klusterlet, plan).await {
                return failure;
            }
            if let Some(known) = self.known.lock().await.get_mut(&plan.name) {
                known.applied = Some((generation, Instant::now()));
            }
        }
        let has_credentials = around
            .hub
            .get_in(&plan.namespace, names::HUB_KUBECONFIG_SECRET)
            .is_some();
        match self.apply_deployments(plan, has_credentials).await {
            Ok(()) => Applied::Complete,
            Err(error) => failed("KlusterletApplyFailed", &error),
        }
    }

    async fn forget_applied(&self, name: &str) {
        if let Some(known) = self.known.lock().await.get_mut(name) {
            known.applied = None;
        }
    }

    /// Definitions, namespaces and rights, in this order; what is independent at once.
    async fn apply_foundation(&self, klusterlet: &Klusterlet, plan: &Plan) -> Result<(), Applied> {
        self.ensure_all(&plan.definitions())
            .await
            .map_err(|error| failed("CRDApplyFailed", &error))?;
        let managed = |error| failed("ManagedClusterResourceApplyFailed", &error);
        self.ensure_all(&[plan.agent_namespace()])
            .await
            .map_err(managed)?;
        // As with the agent's namespace: once made, its deletion by hand is respected.
        if !is_observed(klusterlet) {
            self.ensure_all(&[plan.addon_namespace()])
                .await
                .map_err(managed)?;
        }
        self.copy_pull_secret(&plan.namespace)
            .await
            .map_err(managed)?;
        self.ensure_all(&plan.rights()).await.map_err(managed)
    }

    async fn apply_deployments(
        &self,
        plan: &Plan,
        has_credentials: bool,
    ) -> Result<(), ApplyError> {
        self.ensure_all(&plan.deployments(has_credentials)).await?;
        for name in plan.foreign_deployments() {
            apply::ensure_absent(&self.client, &cleanup::deployment(&plan.namespace, &name)?)
                .await?;
        }
        Ok(())
    }

    async fn ensure_all(&self, objects: &[Value]) -> Result<(), ApplyError> {
        let ensuring = objects
            .iter()
            .map(|object| apply::ensure(&self.client, MANAGER, object));
        for result in futures::future::join_all(ensuring).await {
            result?;
        }
        Ok(())
    }

    /// Gives the agents what the operator itself pulls its image with.
    async fn copy_pull_secret(&self, namespace: &str) -> Result<(), ApplyError> {
        let api: Api<Secret> = Api::namespaced(self.client.clone(), namespaces::OPERATOR);
        let Ok(Some(source)) = api.get_opt(names::IMAGE_PULL_SECRET).await else {
            // Without one the image needs none.
            return Ok(());
        };
        let copy = json!({
            "apiVersion": "v1",
            "kind": "Secret",
            "metadata": {"name": names::IMAGE_PULL_SECRET, "namespace": namespace},
            "type": source.type_,
            "data": source.data,
        });
        self.ensure_all(&[copy]).await
    }

    /// Asks the hub about the agent's rights, when the answer may have changed. The second value
    /// tells whether the hub has the next word.
    async fn connection(&self, plan: &Plan, around: &Surroundings) -> (Statement, bool) {
        let hub = around
            .hub
            .get_in(&plan.namespace, names::HUB_KUBECONFIG_SECRET);
        let bootstrap = around
            .bootstrap
            .get_in(&plan.namespace, names::BOOTSTRAP_HUB_KUBECONFIG_SECRET);
        let data =
            |secret: &Option<Arc<Secret>>| secret.as_ref().and_then(|secret| secret.data.clone());
        let secrets = [data(&hub), data(&bootstrap)];
        if let Some(asked) = self
            .known
            .lock()
            .await
            .get(&plan.name)
            .and_then(|known| known.asked.as_ref())
        {
            let fresh_for = if asked.awaits_hub {
                HUB_RECHECK
            } else {
                RESYNC
            };
            if asked.secrets == secrets && asked.at.elapsed() < fresh_for {
                return (asked.statement.clone(), asked.awaits_hub);
            }
        }
        let own = connection::test_hub(hub.as_deref()).await;
        let first = match own.functional {
            true => None,
            false => Some(
                connection::test_bootstrap(
                    bootstrap.as_deref(),
                    &plan.cluster_name(hub.as_deref()),
                )
                .await,
            ),
        };
        let statement = connection::statement(&own, first.as_ref());
        let awaits_hub = awaits_hub(&own, first.as_ref());
        if let Some(known) = self.known.lock().await.get_mut(&plan.name) {
            let statement = statement.clone();
            known.asked = Some(Asked {
                secrets,
                at: Instant::now(),
                statement,
                awaits_hub,
            });
        }
        (statement, awaits_hub)
    }
}

fn failed(reason: &'static str, error: &ApplyError) -> Applied {
    Applied::Failed {
        reason,
        message: error.to_string(),
    }
}

/// Whether everything is as it should be but for the hub's certificate or acceptance.
fn awaits_hub(hub: &Finding, bootstrap: Option<&Finding>) -> bool {
    !hub.functional && bootstrap.is_some_and(|bootstrap| bootstrap.functional)
}

/// Whether the Klusterlet was followed completely as it is now.
fn is_observed(klusterlet: &Klusterlet) -> bool {
    klusterlet.metadata.generation == Some(klusterlet.status.observed_generation)
}

/// What the agent's namespace tells.
#[derive(Debug, PartialEq)]
enum Seen {
    /// It is there.
    Present,
    /// It is not there yet, and shall be made.
    Missing,
    /// It is being deleted, or was deleted after it had been made.
    Unwanted,
}

fn namespace_state(namespace: Option<&Namespace>, klusterlet: &Klusterlet) -> Seen {
    match namespace {
        Some(namespace) if namespace.metadata.deletion_timestamp.is_some() => Seen::Unwanted,
        Some(_) => Seen::Present,
        None if is_observed(klusterlet) => Seen::Unwanted,
        None => Seen::Missing,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::operator::manifests::tests::klusterlet;
    use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
    use jiff::Timestamp;

    #[test]
    fn a_namespace_deleted_by_hand_is_not_made_again() {
        let mut object = klusterlet(json!({}));
        object.metadata.generation = Some(2);
        assert_eq!(
            namespace_state(None, &object),
            Seen::Missing,
            "never applied"
        );
        object.status.observed_generation = 2;
        assert_eq!(
            namespace_state(None, &object),
            Seen::Unwanted,
            "deleted since"
        );
        let mut namespace = Namespace::default();
        assert_eq!(
            namespace_state(Some(&namespace), &object),
            Seen::Present,
            "joined again"
        );
        namespace.metadata.deletion_timestamp = Some(Time(Timestamp::UNIX_EPOCH));
        assert_eq!(
            namespace_state(Some(&namespace), &object),
            Seen::Unwanted,
            "being deleted"
        );
        object.metadata.generation = Some(3);
        assert_eq!(
            namespace_state(None, &object),
            Seen::Missing,
            "the spec asks anew"
        );
    }
}
