//! What the agent writes down: the finalizer and status of works on the hub, the
//! AppliedManifestWork in the WEC. Every write is guarded, retried at once on conflict, and left
//! out when it would change nothing.

use super::executor::Account;
use hyades_api::names::annotations;
use hyades_api::names::finalizers;
use hyades_api::work::AppliedManifestWork;
use hyades_api::work::AppliedManifestWorkSpec;
use hyades_api::work::AppliedResource;
use hyades_api::work::ManifestWork;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Resource;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::PostParams;
use serde::de::DeserializeOwned;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;
use std::fmt::Debug;

/// Attempts at one guarded write. Each conflict means that another party got ahead; more than a
/// few in a row do not happen by chance.
const ATTEMPTS_MAX: usize = 4;

/// Where a guarded write goes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Part {
    Object,
    Status,
}

/// Writes what `changes` asks for, given the newest object, until no conflict stands in the way.
/// Returns the object as it is then; nothing when it is gone.
async fn write<K>(
    api: &Api<K>,
    current: &K,
    part: Part,
    changes: impl Fn(&K) -> Option<Value>,
) -> kube::Result<Option<K>>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    let mut current = current.clone();
    for attempt in 1.. {
        let Some(wanted) = changes(&current) else {
            return Ok(Some(current));
        };
        let result = match part {
            Part::Object => apply::patch(api, &current, wanted).await,
            Part::Status => apply::patch_status(api, &current, wanted).await,
        };
        match result {
            Ok(updated) => return Ok(Some(updated)),
            Err(error) if Trouble::of(&error).is_not_found() => return Ok(None),
            Err(error) if Trouble::of(&error).is_conflict() && attempt < ATTEMPTS_MAX => {
                match api.get_opt(&current.name_any()).await? {
                    Some(newest) if newest.meta().uid == current.meta().uid => current = newest,
                    _ => return Ok(None),
                }
            }
            Err(error) => return Err(error),
        }
    }
    Ok(None)
}

/// Adds a finalizer, if it is missing.
pub async fn add_finalizer<K>(api: &Api<K>, current: &K, finalizer: &str) -> kube::Result<Option<K>>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    write(api, current, Part::Object, |object| {
        let mut list = object.finalizers().to_vec();
        if list.iter().any(|name| name == finalizer) {
            return None;
        }
        list.push(finalizer.to_owned());
        Some(json!({"metadata": {"finalizers": list}}))
    })
    .await
}

/// Removes a finalizer, if it is there.
pub async fn remove_finalizer<K>(api: &Api<K>, current: &K, finalizer: &str) -> kube::Result<()>
where
    K: Resource + Clone + DeserializeOwned + Debug,
{
    write(api, current, Part::Object, |object| {
        let list = object.finalizers();
        if !list.iter().any(|name| name == finalizer) {
            return None;
        }
        let kept: Vec<_> = list.iter().filter(|name| *name != finalizer).collect();
        let value = if kept.is_empty() {
            Value::Null
        } else {
            json!(kept)
        };
        Some(json!({"metadata": {"finalizers": value}}))
    })
    .await
    .map(drop)
}

/// Writes what `build` wants the status of a work to be; only the parts that differ.
pub async fn write_status(
    api: &Api<ManifestWork>,
    current: &ManifestWork,
    build: impl Fn(&ManifestWork) -> hyades_api::work::ManifestWorkStatus,
) -> kube::Result<Option<ManifestWork>> {
    write(api, current, Part::Status, |work| {
        let wanted = build(work);
        let mut changes = Map::new();
        if wanted.conditions != work.status.conditions {
            changes.insert("conditions".to_owned(), json!(wanted.conditions));
        }
        if wanted.resource_status != work.status.resource_status {
            changes.insert("resourceStatus".to_owned(), json!(wanted.resource_status));
        }
        (!changes.is_empty()).then_some(Value::Object(changes))
    })
    .await
}

/// Makes sure that the AppliedManifestWork `name` exists and says what it should. The second
/// value tells whether it is new.
pub async fn ensure_applied(
    api: &Api<AppliedManifestWork>,
    known: Option<&AppliedManifestWork>,
    name: &str,
    spec: &AppliedManifestWorkSpec,
    work: &ManifestWork,
) -> kube::Result<(AppliedManifestWork, bool)> {
    let found = match known {
        Some(known) => known.clone(),
        None => match create_applied(api, name, spec, work).await {
            Ok(created) => return Ok((created, true)),
            Err(error) if matches!(Trouble::of(&error), Trouble::AlreadyExists(_)) => {
                api.get(name).await?
            }
            Err(error) => return Err(error),
        },
    };
    let updated = write(api, &found, Part::Object, |object| {
        let mut changes = Map::new();
        let mut metadata = Map::new();
        let missing = work
            .labels()
            .iter()
            .any(|(key, value)| object.labels().get(key) != Some(value));
        if missing {
            metadata.insert("labels".to_owned(), json!(work.labels()));
        }
        let executor = executor_of(work);
        if object.annotations().get(annotations::EXECUTOR) != executor.as_ref() {
            let changed = json!({annotations::EXECUTOR: executor});
            metadata.insert("annotations".to_owned(), changed);
        }
        if !metadata.is_empty() {
            changes.insert("metadata".to_owned(), Value::Object(metadata));
        }
        if object.spec.agent_id != spec.agent_id {
            changes.insert("spec".to_owned(), json!({"agentID": spec.agent_id}));
        }
        (!changes.is_empty()).then_some(Value::Object(changes))
    })
    .await?;
    match updated {
        Some(object) => Ok((object, false)),
        None => create_applied(api, name, spec, work)
            .await
            .map(|created| (created, true)),
    }
}

/// On whose behalf a work is applied, as it is written down; nothing if by the agent itself.
fn executor_of(work: &ManifestWork) -> Option<String> {
    let account = Account::of(work.spec.executor.as_ref()).ok().flatten();
    account.map(|account| account.to_string())
}

async fn create_applied(
    api: &Api<AppliedManifestWork>,
    name: &str,
    spec: &AppliedManifestWorkSpec,
    work: &ManifestWork,
) -> kube::Result<AppliedManifestWork> {
    let mut object = AppliedManifestWork::new(name, spec.clone());
    object.metadata.finalizers = Some(vec![finalizers::APPLIED_MANIFEST_WORK_CLEANUP.to_owned()]);
    object.metadata.labels = work.metadata.labels.clone();
    object.metadata.annotations = executor_of(work)
        .map(|executor| BTreeMap::from([(annotations::EXECUTOR.to_owned(), executor)]));
    api.create(&PostParams::default(), &object).await
}

/// Writes the list of what exists because of the work, if it differs.
pub async fn write_resources(
    api: &Api<AppliedManifestWork>,
    current: &AppliedManifestWork,
    resources: &[AppliedResource],
) -> kube::Result<()> {
    write(api, current, Part::Status, |object| {
        if object.status.applied_resources == resources {
            return None;
        }
        let rows: Vec<Value> = resources.iter().map(row).collect();
        Some(json!({"appliedResources": if rows.is_empty() { Value::Null } else { json!(rows) }}))
    })
    .await
    .map(drop)
}

/// An entry with all fields written out, empty ones too, as upstream's agent writes it.
fn row(resource: &AppliedResource) -> Value {
    json!({
        "group": resource.group,
        "version": resource.version,
        "resource": resource.resource,
        "namespace": resource.namespace,
        "name": resource.name,
        "uid": resource.uid,
    })
}

/// Sets or clears the time since which no hub wants the AppliedManifestWork.
pub async fn write_eviction_start(
    api: &Api<AppliedManifestWork>,
    current: &AppliedManifestWork,
    start: Option<hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time>,
) -> kube::Result<()> {
    write(api, current, Part::Status, |object| {
        (object.status.eviction_start_time != start).then(|| json!({"evictionStartTime": start}))
    })
    .await
    .map(drop)
}
