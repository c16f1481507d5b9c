//! Reports on the objects of KubeStellar's works: a WorkStatus in the mailbox for each, holding the
//! object's `.status` word for word.
//!
//! ```text
//! works, AppliedManifestWorks ─▶ plan ─▶ what is wanted ─▶ one watch a resource of the WEC
//!                                              │                      │
//! WorkStatuses in the mailbox ─────────────────┴──▶ write ◀───────────┘
//! ```
//!
//! KubeStellar has an add-on for this, with an agent of its own that may do everything in the WEC.
//! Here the agent that applies the objects reports on them, with the rights it has anyway, and only
//! for works that carry KubeStellar's labels: a hub without KubeStellar is not even asked for the
//! kind.

mod sights;
mod wanted;

use crate::session::Session;
use hyades_api::control::WorkStatus;
use hyades_api::names;
use hyades_api::work::AppliedManifestWork;
use hyades_api::work::ManifestWork;
use hyades_runtime::Cache;
use hyades_runtime::CancellationToken;
use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::follow;
use hyades_runtime::follow::Follower;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::api::PostParams;
use hyades_runtime::kube::runtime::reflector::ObjectRef;
use hyades_runtime::kube::runtime::reflector::Store;
use hyades_runtime::kube::runtime::watcher;
use serde_json::json;
use sights::Sights;
use std::cell::RefCell;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::sync::MutexGuard;
use std::sync::PoisonError;
use std::sync::atomic::AtomicBool;
use std::sync::atomic::Ordering;
use std::time::Duration;
use wanted::Action;
use wanted::Served;
use wanted::Subject;

/// Works whose reports are planned at a time: planning asks nobody.
const PLANNERS: usize = 1;

/// Reports written at a time: enough that a change all over the WEC does not wait for round trips,
/// few enough that the hub has time for others.
const WRITERS: usize = 8;

/// How long a report that nobody seems to want waits while works are being planned.
const PLANNING: Duration = Duration::from_millis(100);

/// What the reports of one session are made from.
pub(super) struct Sources {
    pub(super) session: Session,
    pub(super) wec: Client,
    pub(super) hub_hash: String,
    pub(super) works: Store<ManifestWork>,
    pub(super) applied: Store<AppliedManifestWork>,
    /// Names of works that changed, or whose AppliedManifestWorks did.
    pub(super) changed: Queue<String>,
}

struct Reporter {
    sources: Sources,
    sights: Arc<Mutex<Sights>>,
    /// Names of reports to look at.
    names: Queue<String>,
    watches: RefCell<HashMap<Served, Follower>>,
    reports: RefCell<Option<Reports>>,
}

/// The reports as they are in the mailbox.
#[derive(Clone)]
struct Reports {
    cache: Arc<Cache<WorkStatus>>,
    is_complete: Arc<AtomicBool>,
}

/// Reports until shutdown.
pub(super) async fn run(sources: Sources, shutdown: CancellationToken) {
    let reporter = Reporter {
        names: Queue::new(),
        sights: Arc::default(),
        watches: RefCell::default(),
        reports: RefCell::default(),
        sources,
    };
    let (changed, names) = (reporter.sources.changed.clone(), reporter.names.clone());
    let plan = async |name: String| {
        reporter.plan(&name);
        Ok::<_, Trouble>(None)
    };
    let stop = shutdown.clone();
    tokio::join!(
        controller::work("reports of work", changed, PLANNERS, stop, plan),
        controller::work("report", names, WRITERS, shutdown, |name| {
            reporter.write(name)
        }),
    );
}

impl Reporter {
    fn sights(&self) -> MutexGuard<'_, Sights> {
        lock(&self.sights)
    }

    /// Finds out what is wanted about a work.
    fn plan(&self, name: &str) {
        let sources = &self.sources;
        let mailbox = names::mailbox(&sources.session.identity.cluster);
        let work = sources.works.get(&ObjectRef::new(name).within(mailbox));
        let applied_name = names::applied_work(&sources.hub_hash, name);
        let applied = sources.applied.get(&ObjectRef::new(&applied_name));
        let wants = match (&work, &applied) {
            (Some(work), Some(applied)) => wanted::wanted(work, applied),
            _ => Default::default(),
        };
        if work.is_some_and(|work| wanted::is_kubestellars(&work)) {
            self.watch_reports();
        }
        let changed = self.sights().replace(name, wants);
        if changed.is_empty() {
            return;
        }
        self.watch_what_is_wanted();
        changed.into_iter().for_each(|name| self.names.add(name));
    }

    /// Starts to watch the mailbox's reports. From the first time on that something can be wanted:
    /// reports from an earlier life of this agent are found by that.
    fn watch_reports(&self) {
        let mut reports = self.reports.borrow_mut();
        if reports.is_some() {
            return;
        }
        let session = &self.sources.session;
        let mailbox = names::mailbox(&session.identity.cluster);
        let api = Api::namespaced(session.client.clone(), mailbox);
        let is_complete = Arc::new(AtomicBool::new(false));
        let (complete, names) = (is_complete.clone(), self.names.clone());
        let sights = self.sights.clone();
        let trim = |report: &mut WorkStatus| {
            report.status = wanted::digest(Some(&report.status));
        };
        let cache = controller::watch_trimmed(
            api,
            watcher::Config::default(),
            trim,
            move |change: Change<'_, WorkStatus>| match change {
                Change::Applied(report) | Change::Deleted(report) => names.add(report.name_any()),
                Change::Synced => {
                    complete.store(true, Ordering::Relaxed);
                    let wanted: Vec<String> = lock(&sights).names().cloned().collect();
                    wanted.into_iter().for_each(|name| names.add(name));
                }
            },
        );
        *reports = Some(Reports {
            cache: Arc::new(cache),
            is_complete,
        });
    }

    /// Watches each resource of which an object is wanted, and no other.
    fn watch_what_is_wanted(&self) {
        let mut watches = self.watches.borrow_mut();
        let mut sights = self.sights();
        watches.retain(|resource, _| {
            let stays = sights.has_subjects(resource);
            if !stays {
                sights.forget(resource);
            }
            stays
        });
        let new: Vec<Served> = sights
            .served()
            .filter(|resource| !watches.contains_key(resource))
            .cloned()
            .collect();
        drop(sights);
        for resource in new {
            let watch = self.watch(&resource);
            watches.insert(resource, watch);
        }
    }

    fn watch(&self, served: &Served) -> Follower {
        let api = Api::<DynamicObject>::all_with(self.sources.wec.clone(), &served.api_resource());
        let (sights, names) = (self.sights.clone(), self.names.clone());
        let resource = served.clone();
        let mut listed = HashSet::new();
        let note = move |event| {
            let concerned = lock(&sights).note(&resource, event, &mut listed);
            concerned.into_iter().for_each(|name| names.add(name));
        };
        let plural = served.plural.clone();
        follow::follow(api, watcher::Config::default(), plural, note, |_| {})
    }

    /// Brings one report into order.
    async fn write(&self, name: String) -> Result<Option<Duration>, Trouble> {
        let Some(reports) = self.reports.borrow().clone() else {
            return Ok(None);
        };
        if !reports.is_complete.load(Ordering::Relaxed) {
            // All that is wanted comes again when it is.
            return Ok(None);
        }
        let want = self.sights().want(&name).cloned();
        if want.is_none() && !self.sources.changed.is_empty() {
            // It may be about a work that is still to be planned.
            return Ok(Some(PLANNING));
        }
        let sight = match &want {
            Some(want) => match self.sight_of(&want.subject).await? {
                Known::Yes(sight) => sight,
                // The end of the resource's list brings the name again.
                Known::NotYet => return Ok(None),
            },
            None => None,
        };
        let mailbox = names::mailbox(&self.sources.session.identity.cluster);
        let present = reports.cache.get_in(mailbox, &name);
        let action = wanted::decide(want.as_ref(), sight.as_ref(), present.as_deref());
        let api = Api::<WorkStatus>::namespaced(self.sources.session.client.clone(), mailbox);
        let done = match (action, want.zip(sight), present) {
            (Action::Delete, _, _) => api.delete(&name, &Default::default()).await.map(|_| ()),
            (Action::Create, Some((want, sight)), _) => {
                let report = wanted::report(&name, mailbox, &want, &sight);
                let parameters = PostParams::default();
                match api.create(&parameters, &report).await {
                    Ok(created) if !report.status.is_null() => {
                        write_status(&api, report, created.resource_version()).await
                    }
                    other => other.map(|_| ()),
                }
            }
            (Action::Relabel, Some((want, sight)), Some(present)) => {
                let labels = wanted::labels_of(&want, &sight);
                let former = present
                    .labels()
                    .keys()
                    .filter(|key| !labels.contains_key(*key));
                let mut changes = json!(labels);
                former.for_each(|key| changes[key] = json!(null));
                let changes = json!({"metadata": {"labels": changes}});
                // The event of this brings what else differs.
                apply::patch(&api, &*present, changes).await.map(|_| ())
            }
            (Action::Update, Some((want, sight)), Some(present)) => {
                let report = wanted::report(&name, mailbox, &want, &sight);
                write_status(&api, report, present.resource_version()).await
            }
            _ => Ok(()),
        };
        match done.map_err(|error| Trouble::of(&error)) {
            // Somebody wrote meanwhile: the event of that brings the name again.
            Err(Trouble::Conflict(_) | Trouble::AlreadyExists(_) | Trouble::NotFound(_)) => {
                Ok(None)
            }
            other => other.map(|()| None),
        }
    }

    /// What is known of a subject. One that came to be wanted after its resource's list is asked
    /// for.
    async fn sight_of(&self, subject: &Subject) -> Result<Known, Trouble> {
        let (seen, is_complete) = {
            let sights = self.sights();
            (sights.seen(subject), sights.is_complete(subject))
        };
        match seen {
            Some(sight) => return Ok(Known::Yes(sight)),
            None if !is_complete => return Ok(Known::NotYet),
            None => {}
        }
        let resource = subject.served.api_resource();
        let wec = self.sources.wec.clone();
        let api: Api<DynamicObject> = match subject.namespace.as_str() {
            "" => Api::all_with(wec, &resource),
            namespace => Api::namespaced_with(wec, namespace, &resource),
        };
        let found = api.get_opt(&subject.name).await;
        let found = found.map_err(|error| Trouble::of(&error))?;
        let mut sights = self.sights();
        sights.read(subject, found.as_ref().map(sights::sight_of));
        Ok(Known::Yes(sights.seen(subject).flatten()))
    }
}

/// What is known of a subject, if anything.
enum Known {
    Yes(Option<wanted::Sight>),
    NotYet,
}

fn lock(sights: &Mutex<Sights>) -> MutexGuard<'_, Sights> {
    // It is whole between any two of its assignments.
    sights.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Replaces a report's status as a whole: a field that an object no longer has must go.
async fn write_status(
    api: &Api<WorkStatus>,
    mut report: WorkStatus,
    version: Option<String>,
) -> kube::Result<()> {
    report.metadata.resource_version = version;
    let name = report.name_any();
    api.replace_subresource("status", &name, &PostParams::default(), &report)
        .await
        .map(|_| ())
}
