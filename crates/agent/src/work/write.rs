//! Writing one object of a work, as its strategy says.

use super::executor::Denied;
use super::ignore;
use super::job;
use super::mapping::MappingError;
use super::mapping::Target;
use super::merge;
use super::merge::Owner;
use super::treatment;
use super::treatment::Apply;
use super::treatment::Strategy;
use super::treatment::Treatment;
use hyades_runtime::Trouble;
use hyades_runtime::backoff::Policy;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::Value;
use serde_json::json;
use std::collections::HashMap;
use std::sync::Mutex;
use std::time::Duration;

/// Attempts at one object that others write at the same time.
const ATTEMPTS_MAX: u32 = 4;

/// Pauses between these attempts: another writer is done within milliseconds.
const CONTENTION: Policy = Policy {
    base: Duration::from_millis(10),
    cap: Duration::from_secs(2),
    factor: 5.0,
    jitter: 0.1,
};

/// Objects whose last write is remembered. A forgotten one costs a write that changes nothing.
const REMEMBERED_MAX: usize = 20_000;

/// What was last written: the manifest's fingerprint and the resource version it gave.
type Memory = HashMap<String, ([u8; 32], String)>;

/// Why a manifest was not applied.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The manifest has no place in the WEC.
    #[error("{0}")]
    Mapping(#[from] MappingError),
    /// The executor lacks a right.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// The fields that the work ignores cannot be found.
    #[error("{0}")]
    IgnoreFields(String),
    /// This agent cannot do what the work asks for.
    #[error("{0}")]
    Refused(String),
    /// Others own fields that server-side apply would change.
    #[error("{0}")]
    Conflict(String),
    /// The API server refused or could not be reached.
    #[error("{}", words(.0))]
    Api(#[from] kube::Error),
}

/// The server's own words where it answered, else what happened on the way.
pub fn words(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => status.message.clone(),
        other => Trouble::of(other).to_string(),
    }
}

/// An object in the WEC, and the client of whoever acts on it.
pub struct Place<'a> {
    /// Reaches objects of its type and namespace.
    pub api: Api<DynamicObject>,
    /// The object.
    pub target: &'a Target,
}

/// Writes objects, and remembers what it wrote.
#[derive(Default)]
pub struct Writer {
    memory: Mutex<Memory>,
}

impl Writer {
    /// Writes the object as its strategy says and returns it as it is then, if it exists.
    pub async fn write(
        &self,
        place: &Place<'_>,
        manifest: &Value,
        treatment: &Treatment,
        owner: &OwnerReference,
        is_new: bool,
    ) -> Result<Option<Value>, ApplyError> {
        let owner = Owner {
            reference: owner.clone(),
            orphan: treatment.orphan,
        };
        match &treatment.strategy {
            Strategy::Update => self.update(place, manifest, &owner, is_new).await.map(Some),
            Strategy::CreateOnly => self.create_only(place, manifest, &owner).await.map(Some),
            Strategy::ServerSideApply(settings) => self
                .server_side_apply(place, manifest, &owner, settings)
                .await
                .map(Some),
            Strategy::ReadOnly => {
                let live = place.api.get_opt(&place.target.name).await?;
                Ok(live.as_ref().map(value_of))
            }
            Strategy::Refused(why) => Err(ApplyError::Refused(why.clone())),
        }
    }

    async fn update(
        &self,
        place: &Place<'_>,
        manifest: &Value,
        owner: &Owner,
        is_new: bool,
    ) -> Result<Value, ApplyError> {
        let fingerprint = merge::fingerprint(manifest);
        let mut exists = !is_new;
        let mut attempt = 0;
        loop {
            attempt += 1;
            let live = if exists {
                self.read(place).await?
            } else {
                None
            };
            let result = match live {
                None => self.create(place, manifest, owner).await,
                Some(live) => match self.replacement(place, &live, manifest, owner, &fingerprint) {
                    None => Ok(live),
                    Some(_) if secret_changes_type(&live, manifest) => {
                        place
                            .api
                            .delete(&place.target.name, &DeleteParams::default())
                            .await?;
                        exists = false;
                        continue;
                    }
                    Some(object) => self.replace(place, &object).await,
                },
            };
            match result {
                Ok(object) => {
                    self.remember(place, fingerprint, &object);
                    return Ok(object);
                }
                Err(error) if attempt < ATTEMPTS_MAX && is_contention(&error) => {
                    exists = true;
                    // An object found to exist is no contention: go on at once.
                    if attempt > 1 {
                        tokio::time::sleep(CONTENTION.jittered(attempt - 1)).await;
                    }
                }
                Err(error) => return Err(judged(place, manifest, error).await),
            }
        }
    }

    /// What to write over `live`. Nothing when neither the manifest nor the object changed since
    /// the last write: the server's own defaults are no difference.
    fn replacement(
        &self,
        place: &Place<'_>,
        live: &Value,
        manifest: &Value,
        owner: &Owner,
        fingerprint: &[u8; 32],
    ) -> Option<Value> {
        let memory = self
            .memory
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        let unchanged = memory
            .get(&key_of(place.target))
            .is_some_and(|(known, version)| known == fingerprint && version == version_of(live));
        drop(memory);
        if unchanged && merge::updated_owners(live, owner).is_none() {
            return None;
        }
        match job::is_job(manifest) {
            true => job::updated(live, manifest, owner),
            false => merge::updated(live, manifest, owner),
        }
    }

    fn remember(&self, place: &Place<'_>, fingerprint: [u8; 32], object: &Value) {
        let mut memory = self
            .memory
            .lock()
            .unwrap_or_else(|poisoned| poisoned.into_inner());
        if memory.len() >= REMEMBERED_MAX {
            memory.clear();
        }
        memory.insert(
            key_of(place.target),
            (fingerprint, version_of(object).to_owned()),
        );
    }

    async fn create_only(
        &self,
        place: &Place<'_>,
        manifest: &Value,
        owner: &Owner,
    ) -> Result<Value, ApplyError> {
        match self.create(place, manifest, owner).await {
            Err(error) if matches!(Trouble::of(&error), Trouble::AlreadyExists(_)) => {
                let live = place.api.get(&place.target.name).await?;
                Ok(self.own(place, value_of(&live), owner).await?)
            }
            other => Ok(other?),
        }
    }

    async fn server_side_apply(
        &self,
        place: &Place<'_>,
        manifest: &Value,
        owner: &Owner,
        settings: &Apply,
    ) -> Result<Value, ApplyError> {
        if settings.ignored.is_empty() {
            return self.patch(place, manifest, owner, settings).await;
        }
        let plan =
            ignore::Plan::of(manifest, &settings.ignored).map_err(ApplyError::IgnoreFields)?;
        match place.api.get_opt(&place.target.name).await? {
            None => self.patch(place, plan.full(), owner, settings).await,
            Some(live) => {
                let value = value_of(&live);
                if plan.stands(&value) {
                    return Ok(self.own(place, value, owner).await?);
                }
                let partial = plan.partial(&live, &settings.field_manager);
                self.patch(place, &partial, owner, settings).await
            }
        }
    }

    async fn patch(
        &self,
        place: &Place<'_>,
        object: &Value,
        owner: &Owner,
        settings: &Apply,
    ) -> Result<Value, ApplyError> {
        let mut parameters = PatchParams::apply(&settings.field_manager);
        parameters.force = settings.force;
        let applied = place
            .api
            .patch(&place.target.name, &parameters, &Patch::Apply(object))
            .await;
        match applied {
            Ok(live) => Ok(self.own(place, value_of(&live), owner).await?),
            Err(error) if Trouble::of(&error).is_conflict() => {
                Err(ApplyError::Conflict(words(&error)))
            }
            Err(error) => Err(judged(place, object, error).await),
        }
    }

    /// Sets or removes the work's mark of ownership, if it is not as wanted.
    async fn own(&self, place: &Place<'_>, live: Value, owner: &Owner) -> kube::Result<Value> {
        let Some(owners) = merge::updated_owners(&live, owner) else {
            return Ok(live);
        };
        let patch = json!({"metadata": {
            "uid": live.pointer("/metadata/uid"),
            "resourceVersion": live.pointer("/metadata/resourceVersion"),
            "ownerReferences": owners,
        }});
        let api = &place.api;
        let patched = api
            .patch(
                &place.target.name,
                &PatchParams::default(),
                &Patch::Merge(patch),
            )
            .await?;
        Ok(value_of(&patched))
    }

    async fn read(&self, place: &Place<'_>) -> kube::Result<Option<Value>> {
        Ok(place
            .api
            .get_opt(&place.target.name)
            .await?
            .as_ref()
            .map(value_of))
    }

    async fn create(
        &self,
        place: &Place<'_>,
        manifest: &Value,
        owner: &Owner,
    ) -> kube::Result<Value> {
        let object = dynamic(merge::created(manifest, owner))?;
        let parameters = PostParams {
            field_manager: Some(treatment::FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        Ok(value_of(&place.api.create(&parameters, &object).await?))
    }

    async fn replace(&self, place: &Place<'_>, object: &Value) -> kube::Result<Value> {
        let mut object = dynamic(object.clone())?;
        object.metadata.managed_fields = None;
        let parameters = PostParams {
            field_manager: Some(treatment::FIELD_MANAGER.to_owned()),
            ..PostParams::default()
        };
        Ok(value_of(
            &place
                .api
                .replace(&place.target.name, &parameters, &object)
                .await?,
        ))
    }
}

/// A refusal by the API server; a final one where a Job is there already.
async fn judged(place: &Place<'_>, manifest: &Value, error: kube::Error) -> ApplyError {
    let may_be_final = job::is_job(manifest) && matches!(Trouble::of(&error), Trouble::Invalid(_));
    if may_be_final && matches!(place.api.get_opt(&place.target.name).await, Ok(Some(_))) {
        return ApplyError::Refused(job::refusal(&words(&error)));
    }
    error.into()
}

fn dynamic(object: Value) -> kube::Result<DynamicObject> {
    serde_json::from_value(object).map_err(kube::Error::SerdeError)
}

/// An object as JSON.
pub fn value_of(object: &DynamicObject) -> Value {
    serde_json::to_value(object).unwrap_or_default()
}

fn version_of(object: &Value) -> &str {
    object
        .pointer("/metadata/resourceVersion")
        .and_then(Value::as_str)
        .unwrap_or_default()
}

fn key_of(target: &Target) -> String {
    let namespace = target.namespace.as_deref().unwrap_or_default();
    format!(
        "{}/{}/{namespace}/{}",
        target.resource.api_version, target.resource.plural, target.name
    )
}

fn is_contention(error: &kube::Error) -> bool {
    matches!(
        Trouble::of(error),
        Trouble::Conflict(_) | Trouble::AlreadyExists(_)
    )
}

/// The type of a Secret is immutable: a Secret of another type must be made anew.
fn secret_changes_type(live: &Value, manifest: &Value) -> bool {
    let kind = |object: &Value| {
        object
            .get("type")
            .and_then(Value::as_str)
            .unwrap_or("Opaque")
            .to_owned()
    };
    manifest["kind"] == "Secret" && manifest["apiVersion"] == "v1" && kind(live) != kind(manifest)
}
