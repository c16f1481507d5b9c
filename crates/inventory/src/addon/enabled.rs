//! One reconciliation per enabled add-on: writes what [`plan`](super::plan) decides.

use super::Manager;
use super::chosen;
use super::configs;
use super::observed;
use super::observed::Key;
use super::permissions;
use super::plan;
use super::plan::Plan;
use super::plan::View;
use hyades_api::addon::AddOnDeploymentConfigSpec;
use hyades_api::addon::ManagedClusterAddOn;
use hyades_api::addon::ManagedClusterAddOnStatus;
use hyades_api::addon::conditions as known;
use hyades_api::addon::identity::AddOnName;
use hyades_api::addon::names;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::identity::ClusterName;
use hyades_api::work::ManifestWork;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::apply::ApplyError;
use hyades_runtime::events::EventType;
use hyades_runtime::k8s_openapi::api::core::v1::ServiceAccount;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use jiff::Timestamp;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// Manager of the fields this hub applies.
const FIELD_MANAGER: &str = "hyades-addon-manager";

/// Pause after a conflict: the newer object is on its way to the cache.
const CONFLICT_PAUSE: Duration = Duration::from_millis(20);

/// Pause before rights are tried again that an administrator must grant first.
const REFUSED_PAUSE: Duration = Duration::from_secs(60);

type Again = Result<Option<Duration>, Trouble>;

pub(super) struct Reconciler {
    manager: Rc<Manager>,
    /// Fingerprints of the rights written last, so that an unchanged reconciliation asks nothing.
    rights: RefCell<HashMap<Key, String>>,
}

impl Reconciler {
    pub(super) fn new(manager: Rc<Manager>) -> Self {
        Self {
            manager,
            rights: RefCell::default(),
        }
    }

    pub(super) async fn reconcile(&self, key: Key) -> Again {
        let (Ok(cluster), Ok(addon)) = (key.0.parse(), key.1.parse()) else {
            return Ok(None);
        };
        let Some(object) = self.manager.observed.enabled.get_in(&key.0, &key.1) else {
            self.rights.borrow_mut().remove(&key);
            return Ok(None);
        };
        match self.keep(&key, &cluster, &addon, &object).await {
            Err(Trouble::Conflict(_)) => Ok(Some(CONFLICT_PAUSE)),
            // Gone since the cache was read.
            Err(Trouble::NotFound(detail)) if object.metadata.deletion_timestamp.is_some() => {
                tracing::debug!("{}/{}: {detail}", key.0, key.1);
                Ok(None)
            }
            other => other,
        }
    }

    async fn keep(
        &self,
        key: &Key,
        cluster: &ClusterName,
        addon: &AddOnName,
        object: &ManagedClusterAddOn,
    ) -> Again {
        let observed = &self.manager.observed;
        let Some(inventory) = observed.cluster(cluster.as_str()) else {
            return self.release(object).await;
        };
        let work = |name: String| observed.works.get_in(cluster.as_str(), &name);
        let deploy = work(names::deploy_work(addon));
        let hook = work(names::pre_delete_work(addon));
        let offered = observed.offered.get(addon.as_str());
        let find = |name: &str| observed.templates.get(name);
        let plan = plan::decide(&View {
            cluster_name: cluster,
            addon_name: addon,
            addon: object,
            offered: offered.as_deref(),
            cluster: &inventory,
            template: match object.metadata.deletion_timestamp {
                None => chosen::template(offered.as_deref(), object, find),
                Some(_) => chosen::template_of_going(object, find),
            },
            settings: self.settings(object),
            agent: (self.manager.agent_of)(cluster),
            deploy: deploy.as_deref(),
            hook: hook.as_deref(),
            bindings: &observed.bindings.own(key),
        });
        self.carry_out(key, object, plan).await
    }

    fn settings(
        &self,
        object: &ManagedClusterAddOn,
    ) -> Result<Option<AddOnDeploymentConfigSpec>, ()> {
        let kind = configs::deployment_configs();
        let mut references = object.status.config_references.iter();
        let Some(reference) = references.find(|reference| reference.group_resource() == kind)
        else {
            return Ok(None);
        };
        let wanted = reference.desired_config.as_ref().ok_or(())?;
        let settings = &self.manager.observed.settings;
        let found = settings.get_in(&wanted.namespace, &wanted.name).ok_or(())?;
        let is_going = object.metadata.deletion_timestamp.is_some();
        if !is_going && configs::fingerprint(&found.spec) != wanted.spec_hash {
            return Err(());
        }
        found.settings().map(Some).map_err(|_| ())
    }

    /// An add-on whose WEC is gone waits for nothing more.
    async fn release(&self, object: &ManagedClusterAddOn) -> Again {
        let changes = plan::finalizers_without_hook(object);
        let differs = changes["finalizers"] != json!(object.finalizers());
        if object.metadata.deletion_timestamp.is_some() && differs {
            self.patch(object, changes).await?;
        }
        Ok(None)
    }

    async fn carry_out(&self, key: &Key, object: &ManagedClusterAddOn, mut plan: Plan) -> Again {
        let mut again = None;
        let going = object.metadata.deletion_timestamp.is_some();
        let drops_finalizer = going && plan.metadata.is_some();
        if let Some(changes) = plan.metadata.take().filter(|_| !drops_finalizer) {
            // The object comes back with its event, and the rest is done then.
            self.patch(object, changes).await?;
            return Ok(None);
        }
        for binding in &plan.withdraw {
            permissions::withdraw(&self.manager.client, binding).await?;
        }
        if let Err((problem, statement)) = self.grant(key, &plan.rights).await {
            tracing::warn!("{}/{}: {problem}", key.0, key.1);
            plan.said
                .retain(|said| said.type_ != known::REGISTRATION_APPLIED);
            plan.said.push(statement);
            again = Some(REFUSED_PAUSE);
        } else if let Some(account) = self.token_account(key, &plan).await? {
            plan.said.push(account);
        }
        for work in &plan.works {
            if let Err(error) = self.ensure(work).await {
                plan.said.retain(|said| {
                    said.type_ != known::MANIFEST_APPLIED && said.type_ != known::PROGRESSING
                });
                let message = error.to_string();
                plan.said
                    .push(known::MANIFESTS_NOT_APPLIED.with_message(message));
                self.state(object, &plan).await?;
                return Err(trouble(error));
            }
        }
        if let Some(work) = &plan.delete {
            let api: Api<ManifestWork> = observed::namespaced(&self.manager.client, &key.0);
            match api.delete(work, &Default::default()).await.map(drop) {
                Err(error) if !Trouble::of(&error).is_not_found() => {
                    return Err(Trouble::of(&error));
                }
                _ => {}
            }
        }
        let stated = self.state(object, &plan).await?;
        if drops_finalizer && !stated {
            // What is said about the hook is said before the object may go.
            if let Some(why) = &plan.no_hook {
                self.tell(object, why).await;
            }
            let changes = plan::finalizers_without_hook(object);
            self.patch(object, changes).await?;
            return Ok(None);
        }
        Ok(again)
    }

    /// Writes rights that differ from those written last.
    async fn grant(&self, key: &Key, rights: &[Value]) -> Result<(), (ApplyError, Statement)> {
        let fingerprint = configs::fingerprint(&json!(rights));
        let is_written = self.rights.borrow().get(key) == Some(&fingerprint);
        if is_written
            && account_of(rights).is_none_or(|name| self.sees_account(key, name))
            && self.manager.observed.bindings.sees(rights)
        {
            return Ok(());
        }
        for object in rights {
            if let Err(error) = self.ensure(object).await {
                let message = refused(object, &error);
                return Err((error, known::PERMISSION_FAILED.with_message(message)));
            }
        }
        self.rights.borrow_mut().insert(key.clone(), fingerprint);
        Ok(())
    }

    /// Says that an add-on goes without its hook; it is gone before a condition could be read.
    async fn tell(&self, object: &ManagedClusterAddOn, why: &str) {
        let cluster = object.namespace().unwrap_or_default();
        tracing::warn!("add-on {} of {cluster}: {why}", object.name_any());
        let regarding = object.object_ref(&());
        let reason = "AddOnHookNotRun";
        let events = &self.manager.events;
        events
            .record(&cluster, &regarding, EventType::Warning, reason, why)
            .await;
    }

    fn sees_account(&self, (cluster, _): &Key, name: &str) -> bool {
        let observed = &self.manager.observed;
        observed.account_uid(cluster, name).is_some()
    }

    /// What to say about the account of an add-on that gets tokens; read as long as its watch does
    /// not show it.
    async fn token_account(
        &self,
        (cluster, _): &Key,
        plan: &Plan,
    ) -> Result<Option<Statement>, Trouble> {
        let Some(name) = account_of(&plan.rights) else {
            return Ok(None);
        };
        let uid = match self.manager.observed.account_uid(cluster, name) {
            Some(uid) => uid,
            None => {
                let api: Api<ServiceAccount> = observed::namespaced(&self.manager.client, cluster);
                let found = api.get_metadata(name).await;
                let found = found.map_err(|error| Trouble::of(&error))?;
                found.uid().unwrap_or_default()
            }
        };
        let message = format!("ServiceAccount {cluster}/{name} (UID: {uid}) is ready");
        Ok(Some(known::TOKEN_INFRASTRUCTURE.with_message(message)))
    }

    async fn ensure(&self, object: &Value) -> Result<(), ApplyError> {
        let applied = apply::ensure(&self.manager.client, FIELD_MANAGER, object).await;
        applied.map(drop)
    }

    async fn patch(&self, object: &ManagedClusterAddOn, metadata: Value) -> Result<(), Trouble> {
        let cluster = object.namespace().unwrap_or_default();
        let api: Api<ManagedClusterAddOn> = observed::namespaced(&self.manager.client, &cluster);
        let patched = apply::patch(&api, object, json!({"metadata": metadata})).await;
        patched.map(drop).map_err(|error| Trouble::of(&error))
    }

    /// Writes the status in one patch of what differs; whether there was anything to write.
    async fn state(&self, object: &ManagedClusterAddOn, plan: &Plan) -> Result<bool, Trouble> {
        let mut wanted = plan.status.clone();
        for statement in &plan.said {
            conditions::set(&mut wanted.conditions, statement, Time(Timestamp::now()));
        }
        let Some(changes) = difference(&object.status, &wanted) else {
            return Ok(false);
        };
        let cluster = object.namespace().unwrap_or_default();
        let api: Api<ManagedClusterAddOn> = observed::namespaced(&self.manager.client, &cluster);
        let patched = apply::patch_status(&api, object, changes).await;
        patched.map_err(|error| Trouble::of(&error))?;
        Ok(true)
    }
}

/// The name of the account among an add-on's rights, if it gets tokens.
fn account_of(rights: &[Value]) -> Option<&str> {
    let account = rights
        .iter()
        .find(|right| right["kind"] == "ServiceAccount")?;
    account["metadata"]["name"].as_str()
}

/// The fields of a status that differ, each as a whole; nothing if none do.
fn difference(
    before: &ManagedClusterAddOnStatus,
    wanted: &ManagedClusterAddOnStatus,
) -> Option<Value> {
    let (before, wanted) = (json!(before), json!(wanted));
    let mut changes = Map::new();
    for (key, value) in wanted.as_object().into_iter().flatten() {
        if before.get(key) != Some(value) {
            changes.insert(key.clone(), value.clone());
        }
    }
    for (key, _) in before.as_object().into_iter().flatten() {
        if wanted.get(key).is_none() {
            changes.insert(key.clone(), Value::Null);
        }
    }
    (!changes.is_empty()).then_some(Value::Object(changes))
}

fn trouble(error: ApplyError) -> Trouble {
    match error {
        ApplyError::Refused { trouble, .. } => trouble,
        other => Trouble::Other(other.to_string()),
    }
}

/// What to do about rights that the hub may not hand out: it holds none that it could not name
/// beforehand, and an administrator lets it bind further roles one by one.
fn refused(object: &Value, error: &ApplyError) -> String {
    let ApplyError::Refused {
        trouble: Trouble::Forbidden(_),
        ..
    } = error
    else {
        return format!("Failed to set permission for hub agent: {error}");
    };
    let role = &object["roleRef"];
    let (kind, name) = (role["kind"].as_str(), role["name"].as_str());
    let advice = match (kind, name) {
        (Some(kind), Some(name)) => format!(
            "let the hub bind it: grant its account the verb bind on {} {name:?}",
            if kind == "ClusterRole" {
                "clusterroles"
            } else {
                "roles"
            }
        ),
        _ => "grant the hub's account the rights it is to hand out here".to_owned(),
    };
    format!("Failed to set permission for hub agent: {error}; {advice}")
}
