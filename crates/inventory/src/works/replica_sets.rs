//! One reconciliation per ManifestWorkReplicaSet.

use super::observed::Key;
use super::observed::Observed;
use super::plan;
use super::plan::Birth;
use super::plan::Change;
use super::plan::Plan;
use super::plan::Selection;
use super::summary;
use futures::StreamExt;
use futures::stream;
use hyades_api::names::finalizers;
use hyades_api::names::labels;
use hyades_api::work::ManifestWork;
use hyades_api::work::ManifestWorkSpec;
use hyades_api::work::replica_set::ManifestWorkReplicaSet;
use hyades_api::work::replica_set::ManifestWorkReplicaSetStatus;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DeleteParams;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use sha2::Digest;
use sha2::Sha256;
use std::sync::Arc;
use std::time::Duration;

/// Works of one set written at a time. With five sets under way that is what a hub has of WECs.
const CONCURRENT_WORKS: usize = 16;

/// Works read at a time when a set is deleted: the API server's own clients read as many at once.
const PAGE_WORKS: u32 = 500;

/// Longest value of a label.
const LABEL_BYTES_MAX: usize = 63;

/// Pause before a work is made again in a mailbox that was not there.
const MAILBOX_PAUSE: Duration = Duration::from_secs(15);

/// Longest time until a set is looked at again; upstream's number. Rollouts that time moves on may
/// have their moment later.
const LOOK_AGAIN_MAX: Duration = Duration::from_secs(30 * 60);

type Again = Result<Option<Duration>, Trouble>;

/// Keeps sets.
pub(super) struct Reconciler {
    client: Client,
    observed: Observed,
}

/// What became of one write.
enum Written {
    Done,
    /// Not yet possible, for this reason.
    Later(String),
    Failed(String),
}

impl Reconciler {
    pub(super) fn new(client: Client, observed: Observed) -> Self {
        Self { client, observed }
    }

    pub(super) async fn reconcile(&self, key: Key) -> Again {
        let Some(set) = self.observed.sets.get_in(&key.0, &key.1) else {
            return Ok(None);
        };
        let works = self.observed.works_of(&key);
        if set.metadata.deletion_timestamp.is_some() {
            return self.finalize(&set, &works).await;
        }
        let now = Time(Timestamp::now());
        let label = label(&set);
        if label.len() > LABEL_BYTES_MAX {
            let why = format!(
                "the works are found again by the label value {label}, which has {} characters; \
                 {LABEL_BYTES_MAX} is the limit: give the set a shorter name",
                label.len()
            );
            let status = summary::misnamed(&set, why, &now);
            return self.report(&set, status).await.map(|()| None);
        }
        self.guard(&set).await?;
        let selections: Vec<Selection> = self.selections(&set);
        let plan = plan::decide(&set, &selections, &works, now.0);
        let (failure, again) = self.carry_out(&set, &label, &plan).await;
        let status = summary::status(&set, &selections, &plan, failure.as_deref(), &now);
        self.report(&set, status).await?;
        if let (Some(failure), None) = (failure, again) {
            return Err(Trouble::Other(failure));
        }
        let timed = plan.again_at.map(|at| {
            let seconds = at.as_second() - now.0.as_second();
            let time = Duration::from_secs(u64::try_from(seconds).unwrap_or(0).max(1));
            time.min(LOOK_AGAIN_MAX)
        });
        Ok([again, timed].into_iter().flatten().min())
    }

    fn selections(&self, set: &ManifestWorkReplicaSet) -> Vec<Selection> {
        let namespace = set.namespace().unwrap_or_default();
        let references = set.spec.placement_refs.iter();
        references
            .map(|reference| {
                let placement = self.observed.placements.get_in(&namespace, &reference.name);
                let spec = placement.map(|placement| placement.spec.clone());
                let per_group = spec.and_then(|spec| {
                    let strategy = spec.decision_strategy.group_strategy;
                    strategy.clusters_per_decision_group
                });
                Selection {
                    groups: self.observed.groups(&namespace, &reference.name),
                    per_group,
                }
            })
            .collect()
    }

    fn sets(&self, set: &ManifestWorkReplicaSet) -> Api<ManifestWorkReplicaSet> {
        Api::namespaced(self.client.clone(), &set.namespace().unwrap_or_default())
    }

    fn works(&self, mailbox: &str) -> Api<ManifestWork> {
        Api::namespaced(self.client.clone(), mailbox)
    }

    /// Puts the finalizer on the set, before any work is made.
    async fn guard(&self, set: &ManifestWorkReplicaSet) -> Result<(), Trouble> {
        let ours = finalizers::REPLICA_SET_CLEANUP;
        let mut all = set.finalizers().to_vec();
        if all.iter().any(|name| name == ours) {
            return Ok(());
        }
        all.push(ours.to_owned());
        let changes = json!({"metadata": {"finalizers": all}});
        let patched = apply::patch(&self.sets(set), set, changes).await;
        patched.map(drop).map_err(|error| Trouble::of(&error))
    }

    /// Does what the plan says. The first failure, in words; and when to try again where only
    /// something is missing.
    async fn carry_out(
        &self,
        set: &ManifestWorkReplicaSet,
        label: &str,
        plan: &Plan,
    ) -> (Option<String>, Option<Duration>) {
        let superfluous = plan.delete.iter().map(|work| place(&**work));
        let mut results = self.delete(superfluous).await;
        let create = stream::iter(&plan.create)
            .map(|birth| self.create(set, label, birth))
            .buffer_unordered(CONCURRENT_WORKS);
        results.extend(create.collect::<Vec<_>>().await);
        let changes = replacing(&set.spec.manifest_work_template);
        let update = stream::iter(&plan.update)
            .map(|change| self.update(change, &changes))
            .buffer_unordered(CONCURRENT_WORKS);
        results.extend(update.collect::<Vec<_>>().await);
        let (mut failure, mut again) = (None, Some(MAILBOX_PAUSE));
        for result in results {
            match result {
                Written::Done => {}
                Written::Later(why) => {
                    failure.get_or_insert(why);
                }
                Written::Failed(why) => {
                    failure.get_or_insert(why);
                    again = None;
                }
            }
        }
        again = again.filter(|_| failure.is_some());
        (failure, again)
    }

    /// Makes a work. Its name follows from the set and the WEC, so that it is made once however
    /// often it is tried.
    async fn create(&self, set: &ManifestWorkReplicaSet, label: &str, birth: &Birth) -> Written {
        let name = child_name(set, &birth.cluster);
        let mut work = ManifestWork::new(name, set.spec.manifest_work_template.clone());
        work.metadata.generate_name = Some(set.name_any());
        work.metadata.labels = Some(
            [
                (labels::REPLICA_SET, label),
                (labels::REPLICA_SET_PLACEMENT, &birth.placement),
            ]
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .into(),
        );
        let api = self.works(&birth.cluster);
        match api.create(&PostParams::default(), &work).await {
            Ok(_) => Written::Done,
            Err(error) => match Trouble::of(&error) {
                // Ours, and the watch will tell; or going, and then its event.
                Trouble::AlreadyExists(_) => Written::Done,
                Trouble::NotFound(detail) => Written::Later(format!(
                    "the mailbox of {} is not there: {detail}",
                    birth.cluster
                )),
                trouble => {
                    Written::Failed(format!("made the work for {}: {trouble}", birth.cluster))
                }
            },
        }
    }

    /// Changes a work. Its agent writes its status all the time, so that only the uid guards the
    /// write.
    async fn update(&self, change: &Change, spec: &Value) -> Written {
        let work = &change.work;
        let labels = json!({labels::REPLICA_SET_PLACEMENT: change.placement});
        let mut patch = json!({"metadata": {"uid": work.uid(), "labels": labels}});
        if change.with_spec {
            patch["spec"] = spec.clone();
        }
        let mailbox = work.namespace().unwrap_or_default();
        let parameters = PatchParams::default();
        let patched = self
            .works(&mailbox)
            .patch(&work.name_any(), &parameters, &Patch::Merge(patch))
            .await;
        settled(patched.map(drop), &format!("changed the work of {mailbox}"))
    }

    /// Deletes works, given by mailbox and name.
    async fn delete(&self, works: impl Iterator<Item = (String, String)>) -> Vec<Written> {
        let delete = async |(mailbox, name): (String, String)| {
            let parameters = DeleteParams::default();
            let deleted = self.works(&mailbox).delete(&name, &parameters).await;
            settled(deleted.map(drop), &format!("deleted the work of {mailbox}"))
        };
        stream::iter(works)
            .map(delete)
            .buffer_unordered(CONCURRENT_WORKS)
            .collect()
            .await
    }

    /// Deletes the works of a deleted set, then lets the set go: at once, or after them.
    async fn finalize(&self, set: &ManifestWorkReplicaSet, works: &[Arc<ManifestWork>]) -> Again {
        let ours = finalizers::REPLICA_SET_CLEANUP;
        if !set.finalizers().iter().any(|name| name == ours) {
            return Ok(None);
        }
        let in_foreground = set.spec.cascade_deletion_policy == "Foreground";
        self.delete_living(works.iter().map(|work| &**work)).await?;
        // The event of each that goes brings the set back.
        if in_foreground && !works.is_empty() {
            return Ok(None);
        }
        if self.delete_unseen(set).await? && in_foreground {
            return Ok(None);
        }
        let kept = set.finalizers().iter().filter(|name| *name != ours);
        let kept: Vec<&String> = kept.collect();
        let changes = json!({"metadata": {"finalizers": kept}});
        match apply::patch(&self.sets(set), set, changes).await {
            Ok(_) => Ok(None),
            Err(error) => match Trouble::of(&error) {
                Trouble::NotFound(_) | Trouble::Conflict(_) => Ok(None),
                trouble => Err(trouble),
            },
        }
    }

    /// Deletes those of these works that are not being deleted.
    async fn delete_living<'a, K>(&self, works: impl Iterator<Item = &'a K>) -> Result<(), Trouble>
    where
        K: ResourceExt + 'a,
    {
        let living = works.filter(|work| work.meta().deletion_timestamp.is_none());
        for result in self.delete(living.map(place)).await {
            if let Written::Failed(why) | Written::Later(why) = result {
                return Err(Trouble::Other(why));
            }
        }
        Ok(())
    }

    /// Deletes the works of a set that the server has, whatever the watch has shown of them: works
    /// made just before the set was deleted may not be in the cache yet, and once the set is gone
    /// nobody looks for them. Returns whether there were any. Asked once, when the cache has none.
    async fn delete_unseen(&self, set: &ManifestWorkReplicaSet) -> Result<bool, Trouble> {
        let label = label(set);
        if label.len() > LABEL_BYTES_MAX {
            // None was ever made.
            return Ok(false);
        }
        let api = Api::<ManifestWork>::all(self.client.clone());
        let selector = format!("{}={label}", labels::REPLICA_SET);
        let mut parameters = ListParams::default().labels(&selector).limit(PAGE_WORKS);
        let mut found = false;
        // All pages are of one revision, so that they end.
        loop {
            let page = api.list_metadata(&parameters).await;
            let page = page.map_err(|error| Trouble::of(&error))?;
            found |= !page.items.is_empty();
            self.delete_living(page.items.iter()).await?;
            match page.metadata.continue_.filter(|token| !token.is_empty()) {
                Some(token) => parameters.continue_token = Some(token),
                None => return Ok(found),
            }
        }
    }

    async fn report(
        &self,
        set: &ManifestWorkReplicaSet,
        status: ManifestWorkReplicaSetStatus,
    ) -> Result<(), Trouble> {
        if status == set.status {
            return Ok(());
        }
        let body = json!({
            "conditions": status.conditions,
            "summary": status.summary,
            "placementSummary": status.placement_summary,
        });
        match apply::patch_status(&self.sets(set), set, body).await {
            Ok(_) => Ok(()),
            Err(error) => match Trouble::of(&error) {
                // Gone, or newer: the event brings it back.
                Trouble::NotFound(_) | Trouble::Conflict(_) => Ok(()),
                trouble => Err(trouble),
            },
        }
    }
}

/// A write whose object vanished or was made anew meanwhile has nothing left to do: events tell.
fn settled(result: hyades_runtime::kube::Result<()>, action: &str) -> Written {
    match result {
        Ok(()) => Written::Done,
        Err(error) => match Trouble::of(&error) {
            Trouble::NotFound(_) | Trouble::Conflict(_) => Written::Done,
            trouble => Written::Failed(format!("{action}: {trouble}")),
        },
    }
}

/// The label by which the works of a set are found again.
fn label(set: &ManifestWorkReplicaSet) -> String {
    format!("{}.{}", set.namespace().unwrap_or_default(), set.name_any())
}

/// Mailbox and name of a work.
fn place<K: ResourceExt>(work: &K) -> (String, String) {
    (work.namespace().unwrap_or_default(), work.name_any())
}

/// The name of a set's work for a WEC: as generated by the server from the set's name, and yet the
/// same each time.
fn child_name(set: &ManifestWorkReplicaSet, cluster: &str) -> String {
    const SUFFIX_BYTES: usize = 5;
    let uid = set.uid().unwrap_or_default();
    let digest = Sha256::digest(format!("{uid}/{cluster}").as_bytes());
    // The letters and digits that Kubernetes generates names from: no vowels, nothing alike.
    let alphabet = b"bcdfghjklmnpqrstvwxz2456789";
    let letter = |byte: &u8| char::from(alphabet[usize::from(*byte) % alphabet.len()]);
    let suffix: String = digest.iter().take(SUFFIX_BYTES).map(letter).collect();
    format!("{}{suffix}", set.name_any())
}

/// The merge patch that makes any spec this one: what the spec lacks is taken away.
fn replacing(spec: &ManifestWorkSpec) -> Value {
    let mut value = serde_json::to_value(spec).unwrap_or_default();
    let lacks = |value: &mut Value, keys: &[&str]| {
        if let Value::Object(fields) = value {
            for key in keys {
                fields.entry(*key).or_insert(Value::Null);
            }
        }
    };
    lacks(
        &mut value,
        &["workload", "deleteOption", "manifestConfigs", "executor"],
    );
    lacks(
        &mut value["deleteOption"],
        &[
            "propagationPolicy",
            "selectivelyOrphans",
            "ttlSecondsAfterFinished",
        ],
    );
    lacks(&mut value["workload"], &["manifests"]);
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_look_generated_and_are_the_same_each_time() {
        let set = |uid: &str| {
            let mut set = ManifestWorkReplicaSet::new("web", Default::default());
            set.metadata.uid = Some(uid.to_owned());
            set
        };
        let name = child_name(&set("1"), "cluster1");
        assert_eq!(name, child_name(&set("1"), "cluster1"));
        assert_ne!(name, child_name(&set("1"), "cluster2"));
        assert_ne!(
            name,
            child_name(&set("2"), "cluster1"),
            "a successor of the same name"
        );
        assert!(name.starts_with("web") && name.len() == 8, "{name}");
    }

    #[test]
    fn what_a_template_lost_its_works_lose_too() {
        let spec = json!({"workload": {"manifests": [{"a": 1}]},
                          "deleteOption": {"propagationPolicy": "Orphan"}});
        let spec: ManifestWorkSpec = serde_json::from_value(spec).expect("a spec");
        assert_eq!(
            replacing(&spec),
            json!({
                "workload": {"manifests": [{"a": 1}]},
                "deleteOption": {"propagationPolicy": "Orphan", "selectivelyOrphans": null,
                                 "ttlSecondsAfterFinished": null},
                "manifestConfigs": null, "executor": null,
            })
        );
    }
}
