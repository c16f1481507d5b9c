//! Brings one WEC's objects into order; the only module that writes inventory objects.

use super::Hub;
use super::acceptance;
use super::acceptance::Admission;
use super::budget::Budget;
use super::deregistration::Deregistration;
use super::grants::Grants;
use super::lease::Leases;
use super::namespaces;
use super::observed;
use super::requests::Standing;
use super::rights::Extent;
use super::rights::Grant;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::managed_cluster as statements;
use hyades_api::identity::ClusterName;
use hyades_api::names::annotations;
use hyades_api::names::finalizers;
use hyades_runtime::CancellationToken;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::events::EventType;
use hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use jiff::Timestamp;
use serde_json::json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use std::time::Instant;

/// How often works are looked for while a WEC waits for the last of them to go. The hub does not
/// watch works, which are many; only deregistrations pay. Upstream looks every 5 s.
pub(super) const WORKS_PERIOD: Duration = Duration::from_secs(1);

/// How often works are looked for in the mailbox of a WEC that was turned away. They may stay for
/// long, for a WDS takes none away that is not let in any more. Upstream's number.
const DENIED_WORKS_PERIOD: Duration = Duration::from_secs(5);

/// A pause before reading again what changed under our hands; the event is on its way.
const CONFLICT_PAUSE: Duration = Duration::from_millis(5);

/// Outcome of a step: when to look again, if at all.
type Again = Result<Option<Duration>, Trouble>;

/// Reconciles WECs.
pub(super) struct Reconciler {
    hub: Rc<Hub>,
    grants: Rc<Grants>,
    leases: Leases,
    deregistration: Deregistration,
    /// The inventory objects after our last writes: what the cache shows of an older version is
    /// not acted upon, for the newer one is on its way.
    written: RefCell<HashMap<String, Written>>,
    budget: Budget,
}

/// An inventory object after our last write to it.
struct Written {
    uid: Option<String>,
    version: u64,
}

/// The version of an object whose last finalizer was removed: no later one will be seen.
const VERSION_LAST: u64 = u64::MAX;

impl Reconciler {
    pub(super) fn new(hub: Rc<Hub>) -> Self {
        let grants = Rc::new(Grants::new(hub.clone()));
        Self {
            deregistration: Deregistration::new(hub.clone(), grants.clone()),
            grants,
            leases: Leases::new(hub.clone()),
            hub,
            written: RefCell::default(),
            budget: Budget::default(),
        }
    }

    /// Reconciles the WEC of that name; the empty name stands for the roles of all.
    pub(super) async fn reconcile(&self, name: String) -> Again {
        let result = if name.is_empty() {
            self.grants.common().await.map(|()| None)
        } else {
            self.reconcile_named(&name).await
        };
        match result {
            Err(Trouble::Conflict(_)) => Ok(Some(CONFLICT_PAUSE)),
            // Gone since the cache was read; the event of its deletion is on its way.
            Err(Trouble::NotFound(detail)) if self.hub.observed.clusters.get(&name).is_none() => {
                tracing::debug!("{name}: {detail}");
                Ok(None)
            }
            other => other,
        }
    }

    async fn reconcile_named(&self, name: &str) -> Again {
        let object = self.hub.observed.clusters.get(name);
        let cluster: ClusterName = match name.parse() {
            Ok(cluster) => cluster,
            Err(error) => {
                return match object {
                    Some(object) => self.refuse(&object, error.to_string()).await,
                    None => Ok(None),
                };
            }
        };
        let Some(object) = object else {
            self.written.borrow_mut().remove(name);
            self.budget.forget(name);
            return self.gone(&cluster).await;
        };
        if self.is_stale(&object) {
            return Ok(None);
        }
        if let Some(wait) = self.budget.wait(name, Instant::now()) {
            tracing::debug!("{name} changes too often and waits {wait:?}");
            return Ok(Some(wait));
        }
        if object.metadata.deletion_timestamp.is_some() {
            return self.deregister(&cluster, &object).await;
        }
        let gates = &self.hub.settings.gates;
        let invitation = self.hub.invitation_of(&cluster);
        let changes = acceptance::decide(&object, gates, invitation.as_ref(), &now());
        let object = match changes {
            Some(changes) => Arc::new(self.patch(&object, changes).await?),
            None => object,
        };
        let claim = self.hub.claim_of(&cluster);
        if claim.is_some_and(|claim| !claim.is_approved) {
            // Rights are written once it is known whose they are; the approval brings the key back.
            return Ok(None);
        }
        match acceptance::admission(&object, self.grants.has_traces(&cluster)) {
            Admission::Waiting => self.wait(&cluster, &object).await,
            Admission::Accepted => self.keep(&cluster, &object).await,
            Admission::Denied => self.deny(&cluster, &object).await,
        }
    }

    fn is_stale(&self, object: &ManagedCluster) -> bool {
        let written = self.written.borrow();
        let ours = written.get(&object.name_any());
        ours.filter(|ours| ours.uid == object.metadata.uid)
            .is_some_and(|ours| version(object).is_some_and(|cached| cached < ours.version))
    }

    /// A WEC that waits for the administrator. Nothing is made for it, unless one of its requests
    /// is approved already: that pins the name, and requests do not live for ever.
    async fn wait(&self, cluster: &ClusterName, object: &ManagedCluster) -> Again {
        if self.hub.owner_of(cluster).is_some() {
            self.grants.mailbox(cluster, object).await?;
        }
        Ok(None)
    }

    /// A living, accepted WEC: mailbox, rights, lease, conditions.
    async fn keep(&self, cluster: &ClusterName, object: &ManagedCluster) -> Again {
        if self.grants.mailbox_is_going(cluster) {
            return self.lose_mailbox(cluster, object).await;
        }
        let granted = self.grant(cluster, object).await;
        if let Err(trouble) = granted {
            let message = trouble.to_string();
            self.state(object, &[statements::ACCEPT_ERROR.with_message(message)])
                .await?;
            return Err(trouble);
        }
        let mut said = vec![statements::ACCEPTED];
        let (again, about_life) = self.leases.judge(object).await?;
        said.extend(about_life);
        self.state(object, &said).await?;
        Ok(again)
    }

    async fn grant(&self, cluster: &ClusterName, object: &ManagedCluster) -> Result<(), Trouble> {
        let plan = self.grants.plan(cluster, object).await?;
        let grant = Grant {
            holder: plan.holder.clone(),
            extent: Extent::Full,
        };
        // A binding is refused while the role it refers to does not exist.
        self.grants.common().await?;
        let made = CancellationToken::new();
        let prepare = async {
            self.grants.settle(cluster, &plan).await?;
            made.cancel();
            Ok(())
        };
        let lease = async {
            made.cancelled().await;
            self.leases.ensure(cluster).await
        };
        tokio::try_join!(self.grants.apply(cluster, grant, prepare), lease)?;
        self.forget_denials(cluster).await
    }

    /// Deletes the denied requests of the agent that the name is handed over to: it asks again as
    /// soon as they are gone, and not before.
    async fn forget_denials(&self, cluster: &ClusterName) -> Result<(), Trouble> {
        let Some(heir) = self.grants.heir(cluster) else {
            return Ok(());
        };
        let api = Api::<CertificateSigningRequest>::all(self.hub.client.clone());
        for request in self.hub.observed.requests_of(cluster.as_str()) {
            let asks = request.reading.as_ref();
            let is_heirs = asks.is_ok_and(|request| heir.is(&request.agent, &request.key_sha256));
            if is_heirs && request.standing == Standing::Denied {
                match api.delete(&request.name_any(), &Default::default()).await {
                    Ok(_) => {}
                    Err(error) => match Trouble::of(&error) {
                        Trouble::NotFound(_) => {}
                        trouble => return Err(trouble),
                    },
                }
            }
        }
        for request in self.hub.observed.index.pending_of(cluster.as_str()) {
            self.hub.observed.queues.requests.add(request);
        }
        Ok(())
    }

    /// A WEC whose mailbox somebody is deleting. The finalizer of the role binding must not keep the
    /// namespace for ever; once it is gone, a new mailbox is made.
    async fn lose_mailbox(&self, cluster: &ClusterName, object: &ManagedCluster) -> Again {
        self.grants.forget(cluster);
        self.grants.keep_pin(cluster).await?;
        let message = format!(
            "The namespace {cluster} is being deleted; the cluster is accepted again when it is gone"
        );
        let said = [statements::ACCEPT_ERROR.with_message(message)];
        self.state(object, &said).await?;
        let complete = self.deregistration.revoke_works(cluster).await?;
        Ok((!complete).then_some(WORKS_PERIOD))
    }

    /// A WEC whose acceptance was taken back: its agent keeps the right to its works until the last
    /// is gone, so that it can clean up.
    async fn deny(&self, cluster: &ClusterName, object: &ManagedCluster) -> Again {
        let holder = self.grants.mailbox(cluster, object).await?;
        let grant = Grant {
            holder,
            extent: Extent::Reduced,
        };
        self.grants.apply(cluster, grant, async { Ok(()) }).await?;
        self.deregistration.revoke_registration(cluster).await?;
        if !self.deregistration.revoke_works(cluster).await? {
            return Ok(Some(DENIED_WORKS_PERIOD));
        }
        let (again, about_life) = self.leases.judge(object).await?;
        let said: Vec<_> = [statements::DENIED].into_iter().chain(about_life).collect();
        self.state(object, &said).await?;
        Ok(again)
    }

    /// A WEC being deregistered.
    async fn deregister(&self, cluster: &ClusterName, object: &ManagedCluster) -> Again {
        if !has_our_finalizer(object) {
            return Ok(None);
        }
        self.deregistration.revoke_all_but_works(cluster).await?;
        if has_finalizer(object, finalizers::RESOURCE_CLEANUP) {
            let emptied = self.deregistration.empty_mailbox(cluster).await;
            let statement = match &emptied {
                Ok(None) => statements::NO_RESOURCE,
                Ok(Some(remaining)) => remaining.statement.clone(),
                Err(trouble) => statements::DELETING_ERROR.with_message(trouble.to_string()),
            };
            if !matches!(emptied, Ok(None)) {
                let mut said = vec![statement];
                if conditions::find(&object.status.conditions, statements::HUB_ACCEPTED).is_some() {
                    said.extend(self.leases.judge(object).await?.1);
                }
                self.state(object, &said).await?;
                let now = Timestamp::now();
                return emptied.map(|remaining| remaining.map(|remaining| remaining.pause(now)));
            }
            if self.state(object, &[statement]).await? {
                // The object comes back with its event.
                return Ok(None);
            }
        }
        if !self.deregistration.revoke_works(cluster).await? {
            return Ok(Some(WORKS_PERIOD));
        }
        self.deregistration.free_name(cluster).await?;
        self.hub.observed.sightings.forget(cluster.as_str());
        self.drop_finalizers(object).await
    }

    /// A WEC whose inventory object is gone: whatever still gives rights goes too.
    async fn gone(&self, cluster: &ClusterName) -> Again {
        self.hub.observed.sightings.forget(cluster.as_str());
        self.deregistration.revoke_all_but_works(cluster).await?;
        // Requests stay: a next life may have begun already, and the watch that will show its
        // inventory object may be behind the one that shows its request.
        self.grants.unpin(cluster).await?;
        let complete = self.deregistration.revoke_works(cluster).await?;
        Ok((!complete).then_some(WORKS_PERIOD))
    }

    /// An inventory object whose name no WEC may have.
    async fn refuse(&self, object: &ManagedCluster, why: String) -> Again {
        if object.metadata.deletion_timestamp.is_some() {
            return self.drop_finalizers(object).await;
        }
        if object.spec.hub_accepts_client {
            let statement = statements::ACCEPT_ERROR.with_message(why);
            self.state(object, &[statement]).await?;
        }
        Ok(None)
    }

    async fn drop_finalizers(&self, object: &ManagedCluster) -> Again {
        let ours = [
            finalizers::RESOURCE_CLEANUP,
            finalizers::API_RESOURCE_CLEANUP,
        ];
        let all = object.finalizers();
        let rest: Vec<_> = all.iter().filter(|f| !ours.contains(&f.as_str())).collect();
        if rest.len() < all.len() {
            self.patch(object, json!({"metadata": {"finalizers": rest}}))
                .await?;
            tracing::info!("{} is deregistered", object.name_any());
            if rest.is_empty() {
                self.note(object, VERSION_LAST);
            }
        }
        Ok(None)
    }

    async fn patch(
        &self,
        object: &ManagedCluster,
        changes: serde_json::Value,
    ) -> Result<ManagedCluster, Trouble> {
        self.budget.spend(&object.name_any(), Instant::now());
        let api = Api::<ManagedCluster>::all(self.hub.client.clone());
        let patched = apply::patch(&api, object, changes).await;
        self.remember(patched)
    }

    /// Writes what there is to say into the conditions, and the namespaces that sets want, in one
    /// patch, and tells of it in the mailbox; whether there was anything to write.
    async fn state(&self, object: &ManagedCluster, said: &[Statement]) -> Result<bool, Trouble> {
        let mut all = object.status.conditions.clone();
        let changed: Vec<&Statement> = said
            .iter()
            .filter(|statement| conditions::set(&mut all, statement, now()))
            .collect();
        let namespaces = namespaces::decide(object, &self.hub.observed.sets.list());
        if changed.is_empty() && namespaces.is_none() {
            return Ok(false);
        }
        let mut status = json!({"conditions": all});
        if let Some(namespaces) = namespaces {
            status["managedNamespaces"] = json!(namespaces);
        }
        self.budget.spend(&object.name_any(), Instant::now());
        let api = Api::<ManagedCluster>::all(self.hub.client.clone());
        let patched = apply::patch_status(&api, object, status).await;
        self.remember(patched)?;
        for statement in changed {
            self.tell(object, statement).await;
        }
        Ok(true)
    }

    fn note(&self, object: &ManagedCluster, version: u64) {
        let uid = object.uid();
        let mut written = self.written.borrow_mut();
        written.insert(object.name_any(), Written { uid, version });
    }

    fn remember(
        &self,
        patched: hyades_runtime::kube::Result<ManagedCluster>,
    ) -> Result<ManagedCluster, Trouble> {
        let mut object = patched.map_err(|error| Trouble::of(&error))?;
        observed::trim_cluster(&mut object);
        if let Some(version) = version(&object) {
            self.note(&object, version);
        }
        Ok(object)
    }

    async fn tell(&self, object: &ManagedCluster, statement: &Statement) {
        let name = object.name_any();
        let (kind, reason) = match &*statement.type_ {
            statements::HUB_ACCEPTED if statement.status == conditions::Status::True => {
                (EventType::Normal, &*statement.reason)
            }
            statements::HUB_ACCEPTED => (EventType::Warning, &*statement.reason),
            statements::AVAILABLE => (EventType::Warning, "AvailableUnknown"),
            _ => return,
        };
        let by = object.annotations().get(annotations::ACCEPTED_BY);
        let note = match by.filter(|_| *statement == statements::ACCEPTED) {
            Some(by) => format!("Accepted by {by}"),
            None => statement.message.clone().into_owned(),
        };
        tracing::info!("{name}: {note} ({})", statement.reason);
        let regarding = object.object_ref(&());
        let note = &note;
        self.hub
            .events
            .record(&name, &regarding, kind, reason, note)
            .await;
    }
}

fn now() -> Time {
    Time(Timestamp::now())
}

/// The version of an object as a number. Kubernetes lets clients compare versions of one resource
/// that way; a server with other versions only costs a conflict now and then.
fn version(object: &ManagedCluster) -> Option<u64> {
    object.metadata.resource_version.as_ref()?.parse().ok()
}

fn has_finalizer(object: &ManagedCluster, finalizer: &str) -> bool {
    object
        .finalizers()
        .iter()
        .any(|present| present == finalizer)
}

fn has_our_finalizer(object: &ManagedCluster) -> bool {
    has_finalizer(object, finalizers::RESOURCE_CLEANUP)
        || has_finalizer(object, finalizers::API_RESOURCE_CLEANUP)
}
