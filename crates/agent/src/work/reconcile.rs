//! What is done about one work, and about one AppliedManifestWork.

use super::apply::Applied;
use super::apply::Applier;
use super::apply::History;
use super::apply::Item;
use super::apply::Retry;
use super::executor::Account;
use super::executor::Executors;
use super::feedback::Limits;
use super::mapping::Header;
use super::order;
use super::records;
use super::removal;
use super::rules::Rules;
use super::status;
use super::status::Outcome;
use crate::options::WorkOptions;
use crate::session::Session;
use futures::StreamExt;
use futures::stream;
use hyades_api::conditions;
use hyades_api::conditions::work as known;
use hyades_api::names;
use hyades_api::names::WORK_GROUP;
use hyades_api::names::annotations;
use hyades_api::names::finalizers;
use hyades_api::work::AppliedManifestWork;
use hyades_api::work::AppliedManifestWorkSpec;
use hyades_api::work::AppliedResource;
use hyades_api::work::ManifestWork;
use hyades_runtime::Cache;
use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::backoff;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use jiff::Timestamp;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;

/// A work that did not change is applied anew after this time, up to half as long again, against
/// drift. Upstream's numbers.
const RESYNC: Duration = Duration::from_secs(240);

/// Share by which [`RESYNC`] is lengthened at random.
const RESYNC_JITTER: f64 = 0.5;

/// Share by which the status interval is lengthened at random.
const STATUS_JITTER: f64 = 0.9;

/// Objects of one work that are written at a time.
const CONCURRENT_OBJECTS: usize = 16;

/// Deletion is told by a watch event; this is for the event that never comes.
const DELETION_RECHECK: Duration = Duration::from_secs(5);

/// How long objects in deletion are waited for before looking again: a quarter of the time
/// already waited, between these.
const REMOVAL_RECHECK: std::ops::RangeInclusive<Duration> =
    Duration::from_millis(50)..=Duration::from_secs(60);

/// Which hub and which agent.
pub struct Identity {
    /// What tells the hub apart.
    pub hub_hash: String,
    /// What tells the agent apart.
    pub agent_id: String,
}

/// What works are applied with, in every session.
#[derive(Clone)]
pub struct Means {
    /// How fields are fed back.
    pub limits: Limits,
    /// As whom objects are written.
    pub executors: Arc<Executors>,
    /// How conditions are computed.
    pub rules: Arc<Rules>,
}

/// What is known of both sides.
pub struct Stores {
    /// Works in the mailbox.
    pub works: Cache<ManifestWork>,
    /// AppliedManifestWorks in the WEC.
    pub applied: Cache<AppliedManifestWork>,
}

/// Why a work must be tried again.
#[derive(Debug, thiserror::Error)]
pub enum WorkError {
    /// An API server refused or could not be reached.
    #[error("{action}: {trouble}")]
    Server {
        /// What was tried.
        action: &'static str,
        /// What happened.
        trouble: Trouble,
    },
    /// Some manifests were not applied; the status says why.
    #[error("{failed} of {total} manifests were not applied: {first}")]
    Manifests {
        /// How many failed.
        failed: usize,
        /// How many there are.
        total: usize,
        /// Why the first one failed.
        first: String,
    },
    /// The AppliedManifestWork of an earlier work of the same name is still being removed.
    #[error("the objects of an earlier work of the same name are still being removed")]
    Predecessor,
}

fn server(action: &'static str) -> impl Fn(kube::Error) -> WorkError {
    move |error| WorkError::Server {
        action,
        trouble: Trouble::of(&error),
    }
}

/// When to look again, if at all.
type Again = Result<Option<Duration>, WorkError>;

/// Does what the queues ask for.
pub struct Worker {
    pub(super) mailbox: String,
    executors: Arc<Executors>,
    works_api: Api<ManifestWork>,
    pub(super) applied_api: Api<AppliedManifestWork>,
    applier: Applier,
    pub(super) identity: Identity,
    pub(super) stores: Stores,
    status_queue: Queue<String>,
    status_interval: Duration,
    pub(super) eviction_grace: Duration,
}

/// Whether the work's status speaks of its present generation.
fn is_told(work: &ManifestWork) -> bool {
    let applied = conditions::find(&work.status.conditions, known::APPLIED);
    applied.is_some_and(|applied| applied.observed_generation == work.metadata.generation)
}

/// Whether the object of a manifest came to its end in the work's present generation.
fn is_complete(work: &ManifestWork, manifest: &Value) -> bool {
    let meta = status::meta(0, &Header::of(manifest), None);
    let known = work.status.resource_status.manifests.iter();
    let mut known = known.filter(|known| status::same_object(&known.resource_meta, &meta));
    known.any(|known| status::is_complete(&known.conditions, work.metadata.generation))
}

/// When a work whose manifests became this is applied again.
fn again(results: &[Applied]) -> Again {
    let mut failures = results
        .iter()
        .filter_map(|result| result.outcome.failure())
        .peekable();
    let soon = results.iter().any(|result| result.retry == Retry::Soon);
    match failures.peek() {
        Some(first) if soon => {
            let first = (*first).to_owned();
            Err(WorkError::Manifests {
                failed: failures.count(),
                total: results.len(),
                first,
            })
        }
        _ => {
            let at_times = results.iter().filter_map(|result| match result.retry {
                Retry::After(time) => Some(time),
                Retry::No | Retry::Soon => None,
            });
            let resync = backoff::jitter(RESYNC, RESYNC_JITTER);
            Ok(Some(at_times.min().unwrap_or(resync)))
        }
    }
}

impl Worker {
    /// A worker for one session.
    pub fn new(
        session: Session,
        wec: Client,
        means: Means,
        options: &WorkOptions,
        identity: Identity,
        stores: Stores,
        status_queue: Queue<String>,
    ) -> Self {
        let mailbox = names::mailbox(&session.identity.cluster).to_owned();
        Self {
            works_api: Api::namespaced(session.client, &mailbox),
            applied_api: Api::all(wec.clone()),
            executors: means.executors.clone(),
            applier: Applier::new(wec, means),
            mailbox,
            identity,
            stores,
            status_queue,
            status_interval: options.status_sync_interval,
            eviction_grace: options.appliedmanifestwork_eviction_grace_period,
        }
    }

    pub(super) fn now() -> Time {
        Time(Timestamp::now())
    }

    fn applied_name(&self, work: &str) -> String {
        names::applied_work(&self.identity.hub_hash, work)
    }

    /// Brings one work about, or takes it away.
    pub async fn work(&self, name: String) -> Again {
        let Some(work) = self.stores.works.get_in(&self.mailbox, &name) else {
            return Ok(None);
        };
        if work.metadata.deletion_timestamp.is_some() {
            return self.finalize(&work).await;
        }
        if status::is_complete(&work.status.conditions, work.metadata.generation) {
            return Ok(None);
        }
        self.bring_about(&work).await
    }

    async fn bring_about(&self, work: &ManifestWork) -> Again {
        let (guarded, applied) = tokio::join!(
            records::add_finalizer(&self.works_api, work, finalizers::MANIFEST_WORK_CLEANUP),
            self.ensure_applied(work),
        );
        // Nothing is applied before both stand: the one makes sure that the objects are removed
        // with the work, the other that they are known.
        let Some(work) = guarded.map_err(server("added the finalizer"))? else {
            return Ok(None);
        };
        let (applied, is_new) = applied?;
        let results = self.apply_all(&work, &applied, is_new).await;
        let failed = results
            .iter()
            .any(|result| result.outcome.failure().is_some());
        let resources: Vec<AppliedResource> = results
            .iter()
            .filter_map(|result| result.resource.clone())
            .collect();
        let outcomes: Vec<Outcome> = results
            .iter()
            .map(|result| result.outcome.clone())
            .collect();
        let now = Self::now();
        let build = |work: &ManifestWork| status::build(work, &outcomes, &now);
        let (recorded, told) = tokio::join!(
            self.record(&work, &applied, resources, failed),
            records::write_status(&self.works_api, &work, build),
        );
        recorded?;
        told.map_err(server("wrote the work's status"))?;
        self.status_queue.add_after(
            work.name_any(),
            backoff::jitter(self.status_interval, STATUS_JITTER),
        );
        again(&results)
    }

    async fn ensure_applied(
        &self,
        work: &ManifestWork,
    ) -> Result<(AppliedManifestWork, bool), WorkError> {
        let name = self.applied_name(&work.name_any());
        let spec = AppliedManifestWorkSpec {
            hub_hash: self.identity.hub_hash.clone(),
            agent_id: self.identity.agent_id.clone(),
            manifest_work_name: work.name_any(),
        };
        let known = self.stores.applied.get(&name);
        let (applied, is_new) =
            records::ensure_applied(&self.applied_api, known.as_deref(), &name, &spec, work)
                .await
                .map_err(server("recorded the work in the cluster"))?;
        if applied.metadata.deletion_timestamp.is_some() {
            return Err(WorkError::Predecessor);
        }
        Ok((applied, is_new))
    }

    async fn apply_all(
        &self,
        work: &ManifestWork,
        applied: &AppliedManifestWork,
        is_new: bool,
    ) -> Vec<Applied> {
        let owner = OwnerReference {
            api_version: format!("{WORK_GROUP}/v1"),
            kind: "AppliedManifestWork".to_owned(),
            name: applied.name_any(),
            uid: applied.uid().unwrap_or_default(),
            ..OwnerReference::default()
        };
        let manifests = &work.spec.workload.manifests;
        // Without rules nothing comes to its end, and nobody needs to look.
        let mut configs = work.spec.manifest_configs.iter();
        let has_rules = configs.any(|config| !config.condition_rules.is_empty());
        let history = |manifest: &Value| History {
            is_new,
            is_complete: has_rules && is_complete(work, manifest),
            recorded: match is_told(work) {
                true => &applied.status.applied_resources,
                false => &[],
            },
        };
        let mut results = Vec::with_capacity(manifests.len());
        for batch in order::batches(manifests) {
            let items = batch.into_iter().map(|ordinal| Item {
                ordinal,
                manifest: &manifests[ordinal],
                spec: &work.spec,
                history: history(&manifests[ordinal]),
            });
            let owner = &owner;
            let mut applying = stream::iter(items)
                .map(|item| async move { self.applier.apply(&item, owner).await })
                .buffer_unordered(CONCURRENT_OBJECTS);
            while let Some(result) = applying.next().await {
                results.push(result);
            }
        }
        results.sort_by_key(|result| result.outcome.meta.ordinal);
        results
    }

    /// Writes down what exists because of the work, and removes what is no longer wanted.
    async fn record(
        &self,
        work: &ManifestWork,
        applied: &AppliedManifestWork,
        mut resources: Vec<AppliedResource>,
        failed: bool,
    ) -> Result<(), WorkError> {
        let before = &applied.status.applied_resources;
        let surplus = removal::surplus(before, &removal::sorted(resources.clone()));
        // A manifest that failed may stand for any of these: the last good state stays.
        let mut kept = if failed { surplus.clone() } else { Vec::new() };
        let owner_uid = applied.uid().unwrap_or_default();
        if !failed {
            let account = Account::of(work.spec.executor.as_ref()).ok().flatten();
            let hands = self.executors.hands(account.as_ref());
            for resource in surplus {
                let gone = removal::remove(&hands, &resource, &owner_uid)
                    .await
                    .map_err(server("removed an object that is no longer wanted"))?;
                if !gone {
                    kept.push(resource);
                }
            }
        }
        resources.append(&mut kept);
        records::write_resources(&self.applied_api, applied, &removal::sorted(resources))
            .await
            .map_err(server("recorded the applied objects"))
    }

    /// Takes a deleted work's objects away, then lets the work go.
    async fn finalize(&self, work: &ManifestWork) -> Again {
        let ours = finalizers::MANIFEST_WORK_CLEANUP;
        if !work.finalizers().iter().any(|name| name == ours) {
            return Ok(None);
        }
        let name = self.applied_name(&work.name_any());
        let now = Self::now();
        let tell = records::write_status(&self.works_api, work, |work| {
            let mut status = work.status.clone();
            if let Some(conditions) = status::deleting(work, &now) {
                status.conditions = conditions;
            }
            status
        });
        let parameters = DeleteParams::default();
        let (told, deleted) = tokio::join!(tell, self.applied_api.delete(&name, &parameters));
        let Some(work) = told.map_err(server("wrote the work's status"))? else {
            return Ok(None);
        };
        match deleted {
            // It is still there, and its own finalizer is at work; a watch event will tell.
            Ok(answer) if answer.is_left() => return Ok(Some(DELETION_RECHECK)),
            Ok(_) => {}
            Err(error) if Trouble::of(&error).is_not_found() => {}
            Err(error) => return Err(server("removed the work's record in the cluster")(error)),
        }
        records::remove_finalizer(&self.works_api, &work, ours)
            .await
            .map_err(server("removed the finalizer"))?;
        tracing::info!("work {} is gone, and its objects with it", work.name_any());
        Ok(None)
    }

    /// Removes the objects of a deleted AppliedManifestWork, then lets it go.
    pub async fn applied(&self, name: String) -> Again {
        let Some(applied) = self.stores.applied.get(&name) else {
            return Ok(None);
        };
        let Some(since) = applied.metadata.deletion_timestamp.as_ref() else {
            return Ok(None);
        };
        let ours = finalizers::APPLIED_MANIFEST_WORK_CLEANUP;
        let mine = applied.spec.hub_hash == self.identity.hub_hash
            || applied.spec.agent_id == self.identity.agent_id;
        if !mine || !applied.finalizers().iter().any(|name| name == ours) {
            return Ok(None);
        }
        let uid = applied.uid().unwrap_or_default();
        let executor = applied.annotations().get(annotations::EXECUTOR);
        let account = executor.and_then(|text| Account::read(text));
        let hands = self.executors.hands(account.as_ref());
        let mut removing = stream::iter(&applied.status.applied_resources)
            .map(|resource| removal::remove(&hands, resource, &uid))
            .buffer_unordered(CONCURRENT_OBJECTS);
        let mut remaining = 0;
        while let Some(gone) = removing.next().await {
            remaining += usize::from(!gone.map_err(server("removed an object"))?);
        }
        if remaining > 0 {
            let waited_seconds = (Timestamp::now().as_second() - since.0.as_second()).max(0);
            let waited = Duration::from_secs(waited_seconds.unsigned_abs());
            tracing::info!(
                "waiting for {remaining} objects of {} to be gone",
                applied.spec.manifest_work_name
            );
            return Ok(Some(
                (waited / 4).clamp(*REMOVAL_RECHECK.start(), *REMOVAL_RECHECK.end()),
            ));
        }
        records::remove_finalizer(&self.applied_api, &applied, ours)
            .await
            .map_err(server("removed the finalizer of the record"))?;
        Ok(None)
    }

    /// Looks at the objects of a work and tells the hub what changed.
    pub async fn look(&self, name: String) -> Again {
        let Some(work) = self.stores.works.get_in(&self.mailbox, &name) else {
            return Ok(None);
        };
        if work.metadata.deletion_timestamp.is_some() {
            return Ok(None);
        }
        let again = Some(backoff::jitter(self.status_interval, STATUS_JITTER));
        if !is_told(&work) {
            // It is being applied anew, and that tells its status too.
            return Ok(again);
        }
        let items = work
            .spec
            .workload
            .manifests
            .iter()
            .enumerate()
            .map(|(ordinal, manifest)| Item {
                ordinal,
                manifest,
                spec: &work.spec,
                history: History::default(),
            });
        let mut outcomes: Vec<Outcome> = stream::iter(items)
            .map(|item| async move { self.applier.look(&item).await })
            .buffered(CONCURRENT_OBJECTS)
            .collect()
            .await;
        outcomes.sort_by_key(|outcome| outcome.meta.ordinal);
        let now = Self::now();
        let generation = work.metadata.generation;
        records::write_status(&self.works_api, &work, |newest| {
            // What was looked at belongs to the generation that was looked for.
            if newest.metadata.generation != generation {
                return newest.status.clone();
            }
            status::build(newest, &outcomes, &now)
        })
        .await
        .map_err(server("wrote the work's status"))?;
        Ok(again)
    }
}
