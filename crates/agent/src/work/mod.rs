//! Works: what the hub put into this WEC's mailbox, applied, watched over and removed.
//!
//! ```text
//!  mailbox ─watch─▶ works ─▶ reconcile ─┬─ finalizer on the work ┐
//!                                       ├─ AppliedManifestWork   ┴▶ apply, batch by batch
//!                                       │                              │
//!                                       │          ┌─ list of objects ─┴─ status of the work (one write)
//!                                       │          └─ prune what is no longer wanted
//!                                       └─ deleted: remove the AppliedManifestWork, then the finalizer
//!
//!  WEC ─watch─▶ AppliedManifestWorks ─▶ deleted: remove the objects, then the finalizer
//!  every so often: look at the objects (status), apply anew (drift), evict what no hub wants
//! ```
//!
//! A change in the mailbox acts at once. The objects themselves are not watched: there may be any
//! number and kind of them.

mod apply;
mod eviction;
mod executor;
mod feedback;
mod ignore;
mod job;
mod mapping;
mod merge;
mod order;
mod reconcile;
mod records;
mod removal;
mod report;
mod rules;
mod status;
mod treatment;
mod write;

use crate::credentials::Credentials;
use crate::error::AgentError;
use crate::options::CommonOptions;
use crate::options::WorkAgentOptions;
use crate::options::WorkOptions;
use crate::secrets::WatchedSecret;
use crate::session::Session;
use crate::session::Sessions;
use crate::wec::with_wec;
use executor::Executors;
use feedback::Limits;
use hyades_api::features;
use hyades_api::identity::AgentIdentity;
use hyades_api::names;
use hyades_api::names::finalizers;
use hyades_api::work::AppliedManifestWork;
use hyades_api::work::ManifestWork;
use hyades_pki::Certificate;
use hyades_runtime::Cache;
use hyades_runtime::Context;
use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::backoff::Backoff;
use hyades_runtime::backoff::Policy;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::runtime::watcher;
use reconcile::Means;
use reconcile::Worker;
use sha2::Digest;
use sha2::Sha256;
use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// How often unwanted AppliedManifestWorks are looked for.
const EVICTION_CHECK: Duration = Duration::from_secs(60);

/// How the agent asks whether the hub has accepted it: a work may arrive right after.
const ACCESS: Policy = Policy {
    base: Duration::from_millis(25),
    cap: Duration::from_secs(5),
    factor: 1.6,
    jitter: 0.3,
};

/// Works whose status is looked at a time: a slow API server of the WEC is not flooded.
const STATUS_WORKERS: usize = 4;

/// Runs the component `work-agent` until shutdown.
///
/// # Errors
///
/// Flags that do not fit together.
pub async fn run(options: WorkAgentOptions, context: Context) -> Result<(), AgentError> {
    let sessions = watch::Sender::new(None);
    let receiver = sessions.subscribe();
    let works = with_wec(&options.common, &context, async |wec| {
        let (context, receiver) = (context.clone(), receiver.clone());
        let work = options.work.clone();
        run_with(&options.common, work, context, wec.client, receiver).await
    });
    tokio::select! {
        () = follow_secret(&options.common, &context, &sessions) => Ok(()),
        result = works => result,
    }
}

/// Works for each session in turn until shutdown.
pub(crate) async fn run_with(
    common: &CommonOptions,
    options: WorkOptions,
    context: Context,
    wec: Client,
    mut sessions: watch::Receiver<Option<Session>>,
) -> Result<(), AgentError> {
    let gates = common.gates()?;
    let limits = Limits {
        raw_json: gates.enabled(features::RAW_FEEDBACK_JSON_STRING),
        raw_json_bytes_max: options.max_json_raw_length,
    };
    let caches = gates.enabled(features::EXECUTOR_VALIDATING_CACHES);
    let means = Means {
        limits,
        executors: Arc::new(Executors::new(wec.clone(), caches)),
        rules: Arc::default(),
    };
    loop {
        let session = sessions.borrow_and_update().clone();
        let serving = async {
            match session {
                Some(session) => serve(session, common, &options, &means, &context, &wec).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            () = context.shutdown.cancelled() => return Ok(()),
            () = serving => {}
            changed = sessions.changed() => if changed.is_err() { return Ok(()) },
        }
    }
}

/// Publishes a session for whatever the hub kubeconfig Secret holds, for ever.
async fn follow_secret(common: &CommonOptions, context: &Context, sessions: &Sessions) {
    let mut secret = WatchedSecret::start(
        context.client.clone(),
        &context.namespace,
        &common.hub_kubeconfig_secret,
    );
    let mut known = None;
    loop {
        let credentials = secret.read().await.secret().and_then(Credentials::read);
        if credentials.is_none() {
            tracing::info!(
                "waiting for the registration agent to write Secret {}",
                secret.name
            );
        }
        if credentials != known {
            sessions.send_replace(match &credentials {
                Some(credentials) => open(credentials).await,
                None => None,
            });
            known = credentials;
        }
        secret.changed().await;
    }
}

async fn open(credentials: &Credentials) -> Option<Session> {
    let opened = async {
        let chain = Certificate::parse_pem_bundle(&credentials.certificate_pem)
            .map_err(|error| error.to_string())?;
        let certificate = chain.first().ok_or("there is no certificate")?;
        let identity = AgentIdentity::from_common_name(&certificate.subject().common_name)
            .map_err(|error| error.to_string())?;
        Session::open(credentials, identity, "work-agent")
            .await
            .map_err(|error| error.to_string())
    };
    opened
        .await
        .inspect_err(|error| tracing::warn!("the agent's credentials are of no use: {error}"))
        .ok()
}

/// What tells hubs apart: SHA-256 of the server URL as written, in lower-case hexadecimal.
pub fn hub_hash(server: &str) -> String {
    Sha256::digest(server.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

async fn serve(
    session: Session,
    common: &CommonOptions,
    options: &WorkOptions,
    means: &Means,
    context: &Context,
    wec: &Client,
) {
    if !session.is_admitted {
        await_access(&session).await;
    }
    let hash = hub_hash(&session.server);
    tracing::info!(
        "serving the mailbox {} of {}",
        session.identity.cluster,
        session.server
    );
    let (work_queue, status_queue, applied_queue) = (Queue::new(), Queue::new(), Queue::new());
    let reports = Queue::new();
    let works = watch_works(&session, work_queue.clone(), reports.clone());
    let queues = [&work_queue, &applied_queue, &reports].map(Queue::clone);
    let applied = watch_applied(wec, &hash, queues);
    tokio::join!(works.wait_until_synced(), applied.wait_until_synced());
    let agent_id = Some(common.agent_id.clone())
        .filter(|id| !id.is_empty())
        .unwrap_or_else(|| hash.clone());
    let reporting = report::run(
        report::Sources {
            session: session.clone(),
            wec: wec.clone(),
            hub_hash: hash.clone(),
            works: works.store(),
            applied: applied.store(),
            changed: reports,
        },
        context.shutdown.clone(),
    );
    let worker = Worker::new(
        session,
        wec.clone(),
        means.clone(),
        options,
        reconcile::Identity {
            hub_hash: hash,
            agent_id,
        },
        reconcile::Stores { works, applied },
        status_queue.clone(),
    );
    let stop = || context.shutdown.clone();
    tokio::join!(
        reporting,
        controller::work(
            "work",
            work_queue,
            options.workload_agent_workers,
            stop(),
            |name| worker.work(name)
        ),
        controller::work(
            "status of work",
            status_queue,
            STATUS_WORKERS,
            stop(),
            |name| worker.look(name)
        ),
        controller::work(
            "applied work",
            applied_queue,
            options.workload_agent_workers,
            stop(),
            |name| { worker.applied(name) }
        ),
        async {
            tokio::select! {
                () = stop().cancelled_owned() => {}
                () = evict_regularly(&worker) => {}
            }
        },
    );
}

async fn evict_regularly(worker: &Worker) {
    loop {
        worker.evict().await;
        tokio::time::sleep(EVICTION_CHECK).await;
    }
}

/// Waits until the hub lets this agent read its mailbox.
async fn await_access(session: &Session) {
    let api: Api<ManifestWork> = Api::namespaced(
        session.client.clone(),
        names::mailbox(&session.identity.cluster),
    );
    let mut backoff = Backoff::new(ACCESS);
    while let Err(error) = api.list(&ListParams::default().limit(1)).await {
        let delay = backoff.next_delay();
        if backoff.failures() == 1 || delay * 2 > ACCESS.cap {
            tracing::info!(
                "waiting for the hub to open the mailbox {}: {}; asking again in {:.1} s",
                session.identity.cluster,
                Trouble::of(&error),
                delay.as_secs_f64()
            );
        }
        tokio::time::sleep(delay).await;
    }
}

/// What of a work makes the agent act when it changes.
#[derive(Clone, PartialEq)]
struct Trigger {
    uid: Option<String>,
    generation: Option<i64>,
    labels: BTreeMap<String, String>,
    deleting: bool,
    has_finalizer: bool,
}

impl Trigger {
    fn of(work: &ManifestWork) -> Self {
        Self {
            uid: work.uid(),
            generation: work.metadata.generation,
            labels: work.labels().clone(),
            deleting: work.metadata.deletion_timestamp.is_some(),
            has_finalizer: work
                .finalizers()
                .iter()
                .any(|name| name == finalizers::MANIFEST_WORK_CLEANUP),
        }
    }

    /// Whether the agent has something to do after the change from `before`. Its own writes, the
    /// finalizer and the status, are no news to it.
    fn is_news(&self, before: Option<&Self>) -> bool {
        let Some(before) = before else {
            return true;
        };
        let mut before = before.clone();
        // Gaining the finalizer is the agent's own doing; losing it is not.
        before.has_finalizer |= self.has_finalizer;
        *self != before
    }
}

fn watch_works(
    session: &Session,
    queue: Queue<String>,
    reports: Queue<String>,
) -> Cache<ManifestWork> {
    let api = Api::namespaced(
        session.client.clone(),
        names::mailbox(&session.identity.cluster),
    );
    let mut known: HashMap<String, Trigger> = HashMap::new();
    controller::watch(
        api,
        watcher::Config::default(),
        move |change: Change<'_, ManifestWork>| match change {
            Change::Applied(work) => {
                let name = work.name_any();
                reports.add(name.clone());
                let trigger = Trigger::of(work);
                if trigger.is_news(known.get(&name)) {
                    queue.add(name.clone());
                }
                known.insert(name, trigger);
            }
            Change::Deleted(work) => {
                known.remove(&work.name_any());
                reports.add(work.name_any());
            }
            Change::Synced => {}
        },
    )
}

fn watch_applied(
    wec: &Client,
    hash: &str,
    [works, applied, reports]: [Queue<String>; 3],
) -> Cache<AppliedManifestWork> {
    let hash = hash.to_owned();
    let api = Api::all(wec.clone());
    controller::watch(
        api,
        watcher::Config::default(),
        move |change: Change<'_, AppliedManifestWork>| match change {
            Change::Applied(object) if object.metadata.deletion_timestamp.is_some() => {
                applied.add(object.name_any())
            }
            Change::Applied(object) if object.spec.hub_hash == hash => {
                reports.add(object.spec.manifest_work_name.clone())
            }
            Change::Deleted(object) if object.spec.hub_hash == hash => {
                works.add(object.spec.manifest_work_name.clone());
                reports.add(object.spec.manifest_work_name.clone());
            }
            Change::Applied(_) | Change::Deleted(_) | Change::Synced => {}
        },
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_api::work::ManifestWorkSpec;

    #[test]
    fn hubs_are_told_apart_by_their_url_as_written() {
        let hash = hub_hash("https://127.0.0.1:6443");
        assert_eq!(hash.len(), 64);
        assert_ne!(hash, hub_hash("https://127.0.0.1:6443/"));
        assert_eq!(
            hub_hash(""),
            "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        );
    }

    fn work(generation: i64, finalizer: bool, deleting: bool) -> Trigger {
        let mut work = ManifestWork::new("w", ManifestWorkSpec::default());
        work.metadata.generation = Some(generation);
        if finalizer {
            work.finalizers_mut()
                .push(finalizers::MANIFEST_WORK_CLEANUP.to_owned());
        }
        let mut trigger = Trigger::of(&work);
        trigger.deleting = deleting;
        trigger
    }

    #[test]
    fn the_agents_own_writes_are_no_news() {
        let first = work(1, false, false);
        assert!(first.is_news(None));
        assert!(
            !work(1, false, false).is_news(Some(&first)),
            "a status write"
        );
        assert!(!work(1, true, false).is_news(Some(&first)), "the finalizer");
        let settled = work(1, true, false);
        assert!(work(2, true, false).is_news(Some(&settled)));
        assert!(work(1, true, true).is_news(Some(&settled)));
        assert!(
            work(1, false, false).is_news(Some(&settled)),
            "the finalizer was taken away"
        );
    }
}
