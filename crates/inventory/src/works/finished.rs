//! Works that are deleted some time after they came to their end.
//!
//! Those of ManifestWorkReplicaSets are left to their sets, which would make them again.

use super::plan;
use hyades_api::conditions::work as known;
use hyades_api::names::labels;
use hyades_api::work::ManifestWork;
use hyades_runtime::Cache;
use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::controller;
use hyades_runtime::controller::Change;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::Preconditions;
use hyades_runtime::kube::runtime::watcher;
use jiff::SignedDuration;
use jiff::Timestamp;
use std::time::Duration;

/// Mailbox and name of a work.
type Key = (String, String);

/// Watches works, and deletes those whose time is over.
pub(super) struct Finished {
    client: Client,
    works: Cache<ManifestWork>,
    pub(super) queue: Queue<Key>,
}

impl Finished {
    /// Starts the watch.
    pub(super) fn watch(client: &Client) -> Self {
        let queue = Queue::new();
        let changed = queue.clone();
        let config = watcher::Config::default().labels(&format!("!{}", labels::REPLICA_SET));
        let works = controller::watch_trimmed(
            Api::all(client.clone()),
            config,
            |work: &mut ManifestWork| {
                work.spec.workload = Default::default();
                work.spec.manifest_configs.clear();
                work.status.resource_status = Default::default();
            },
            move |change: Change<'_, ManifestWork>| {
                if let Change::Applied(work) = change
                    && deadline(work).is_some()
                {
                    changed.add((work.namespace().unwrap_or_default(), work.name_any()));
                }
            },
        );
        Self {
            client: client.clone(),
            works,
            queue,
        }
    }

    /// Deletes a work whose time is over; says when to look again at one whose time is not.
    pub(super) async fn reconcile(
        &self,
        (namespace, name): Key,
    ) -> Result<Option<Duration>, Trouble> {
        let Some(work) = self.works.get_in(&namespace, &name) else {
            return Ok(None);
        };
        let Some(deadline) = deadline(&work) else {
            return Ok(None);
        };
        let now = Timestamp::now();
        if deadline > now {
            let seconds = deadline.as_second() - now.as_second();
            let seconds = u64::try_from(seconds).unwrap_or_default().max(1);
            return Ok(Some(Duration::from_secs(seconds)));
        }
        let api: Api<ManifestWork> = Api::namespaced(self.client.clone(), &namespace);
        // A work that changed since is perhaps not finished any more.
        let parameters = DeleteParams::default().preconditions(Preconditions {
            uid: work.uid(),
            resource_version: work.resource_version(),
        });
        match api.delete(&name, &parameters).await {
            Ok(_) => {
                tracing::info!(
                    "deleted work {name} of {namespace}: its time after completion is over"
                );
                Ok(None)
            }
            Err(error) => match Trouble::of(&error) {
                // Gone, or changed: the event brings it back.
                Trouble::NotFound(_) | Trouble::Conflict(_) => Ok(None),
                trouble => Err(trouble),
            },
        }
    }
}

/// When a work is to be deleted, if it is.
fn deadline(work: &ManifestWork) -> Option<Timestamp> {
    if work.metadata.deletion_timestamp.is_some() {
        return None;
    }
    let seconds = work
        .spec
        .delete_option
        .as_ref()?
        .ttl_seconds_after_finished?;
    // What was said of an earlier spec is no news of this one, which has perhaps not run yet.
    let complete = plan::current(work, known::COMPLETE)?;
    if complete.status != "True" {
        return None;
    }
    let since = complete.last_transition_time.0;
    let length = SignedDuration::from_secs(seconds.max(0));
    // Further off than time reaches: never.
    since.checked_add(length).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn work(ttl: Option<i64>, status: &str) -> ManifestWork {
        serde_json::from_value(json!({
            "metadata": {"name": "w", "namespace": "c"},
            "spec": {"deleteOption": {"ttlSecondsAfterFinished": ttl}},
            "status": {"conditions": [{"type": "Complete", "status": status, "reason": "R",
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]},
        }))
        .expect("a work")
    }

    #[test]
    fn a_works_time_counts_from_its_completion() {
        let at = |text: &str| text.parse::<Timestamp>().ok();
        assert_eq!(
            deadline(&work(Some(90), "True")),
            at("2026-01-01T00:01:30Z")
        );
        assert_eq!(deadline(&work(Some(0), "True")), at("2026-01-01T00:00:00Z"));
        assert_eq!(deadline(&work(Some(90), "False")), None);
        assert_eq!(deadline(&work(None, "True")), None);
        assert_eq!(deadline(&work(Some(i64::MAX), "True")), None, "never");
        let mut newer = work(Some(0), "True");
        newer.metadata.generation = Some(2);
        newer.status.conditions[0].observed_generation = Some(1);
        assert_eq!(deadline(&newer), None, "its new spec has not run");
        newer.status.conditions[0].observed_generation = Some(2);
        assert_eq!(deadline(&newer), at("2026-01-01T00:00:00Z"));
        let mut going = work(Some(0), "True");
        going.metadata.deletion_timestamp = Some(
            hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
                Timestamp::UNIX_EPOCH,
            ),
        );
        assert_eq!(deadline(&going), None);
    }
}
