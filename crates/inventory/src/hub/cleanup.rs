//! Emptying the mailbox of a WEC that is deregistered: what is deleted when.

use super::cluster::WORKS_PERIOD;
use hyades_api::conditions::Statement;
use hyades_api::conditions::managed_cluster as statements;
use hyades_api::names::annotations;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use hyades_runtime::kube::core::ApiResource;
use jiff::Timestamp;
use std::time::Duration;

/// Cleanup priorities go up to here; lower ones are deleted first.
const PRIORITY_MAX: u32 = 100;

/// A kind of object to delete from mailboxes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Resource(pub(super) ApiResource);

impl Resource {
    /// Reads `GROUP/VERSION/PLURAL`.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.split('/');
        let (group, version, plural) = (parts.next()?, parts.next()?, parts.next()?);
        let complete = parts.next().is_none() && ![group, version, plural].contains(&"");
        complete.then(|| {
            Self(ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version: format!("{group}/{version}"),
                kind: String::new(),
                plural: plural.to_owned(),
            })
        })
    }
}

/// What is left of one kind, and what to do about it.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Remaining {
    /// Names to delete now.
    pub(super) delete: Vec<String>,
    /// What to report.
    pub(super) statement: Statement,
    /// Since when all that may go now has waited for finalizers; nothing if there is more to delete.
    waiting_since: Option<Timestamp>,
}

/// Longest pause between two looks at a mailbox in which all waits for finalizers: a WEC that is
/// off for days costs a reading of its mailbox a minute.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The share of the time waited already that the next pause may add to it.
const PAUSE_SHARE: u32 = 4;

impl Remaining {
    /// How long to wait before the next look, which reads all that is left.
    pub(super) fn pause(&self, now: Timestamp) -> Duration {
        let waited = self.waiting_since.map(|since| now.duration_since(since));
        let waited = waited.and_then(|waited| Duration::try_from(waited).ok());
        (waited.unwrap_or_default() / PAUSE_SHARE).clamp(WORKS_PERIOD, PAUSE_MAX)
    }
}

/// Names deleted in one go. More are deleted with the next look, a second later, so that a mailbox
/// of any size is emptied in bounded memory.
const DELETE_MAX: usize = 500;

/// Counts the objects of one kind that are left in a mailbox, page by page.
///
/// Only those of the lowest priority go now; the others wait until these are gone. Objects that are
/// being deleted already wait for their finalizers.
#[derive(Debug, Default)]
pub(super) struct Survey {
    lowest: Option<u32>,
    delete: Vec<String>,
    count: usize,
    pending: usize,
    last_deletion: Option<Timestamp>,
}

impl Survey {
    /// Takes note of one more page.
    pub(super) fn add(&mut self, objects: &[ObjectMeta]) {
        for object in objects {
            let priority = priority(object);
            if self.lowest.is_none_or(|lowest| priority < lowest) {
                self.lowest = Some(priority);
                self.delete.clear();
            }
            self.count += 1;
            let finalizers = object.finalizers.as_ref();
            self.pending += usize::from(finalizers.is_some_and(|all| !all.is_empty()));
            let deletion = object.deletion_timestamp.as_ref().map(|time| time.0);
            self.last_deletion = self.last_deletion.max(deletion);
            let is_next = self.lowest == Some(priority) && object.deletion_timestamp.is_none();
            let name = object.name.clone().filter(|_| is_next);
            self.delete
                .extend(name.filter(|_| self.delete.len() < DELETE_MAX));
        }
    }

    /// What to do about them; nothing if there are none.
    pub(super) fn decide(self, resource: &Resource) -> Option<Remaining> {
        self.lowest?;
        // The misspelling is upstream's; programs compare the text.
        let message = format!(
            "The resource {} is remaning, the remaining count is {}, the finalizer pending count \
             is {}",
            resource.0.plural, self.count, self.pending
        );
        Some(Remaining {
            waiting_since: self.last_deletion.filter(|_| self.delete.is_empty()),
            delete: self.delete,
            statement: statements::RESOURCE_REMAINING.with_message(message),
        })
    }
}

fn priority(object: &ObjectMeta) -> u32 {
    let stated = object.annotations.as_ref();
    let stated = stated.and_then(|all| all.get(annotations::CLEANUP_PRIORITY));
    let stated = stated.and_then(|text| text.parse().ok());
    stated
        .filter(|priority| *priority <= PRIORITY_MAX)
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(
        name: &str,
        priority: Option<&str>,
        finalizers: &[&str],
        deleting: bool,
    ) -> ObjectMeta {
        let mut meta = json!({"name": name, "finalizers": finalizers});
        if let Some(priority) = priority {
            meta["annotations"] = json!({annotations::CLEANUP_PRIORITY: priority});
        }
        if deleting {
            meta["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
        }
        serde_json::from_value(meta).expect("metadata")
    }

    fn works() -> Resource {
        Resource::parse("work.open-cluster-management.io/v1/manifestworks").expect("a resource")
    }

    fn decide(resource: &Resource, pages: &[&[ObjectMeta]]) -> Option<Remaining> {
        let mut survey = Survey::default();
        for page in pages {
            survey.add(page);
        }
        survey.decide(resource)
    }

    #[test]
    fn the_lowest_priority_is_found_on_whatever_page_and_a_bounded_number_goes_at_once() {
        let named = |name: usize| object(&format!("w{name}"), Some("50"), &["f"], false);
        let first: Vec<_> = (0..500).map(named).collect();
        let low = [object("low", Some("1"), &[], false)];
        let remaining = decide(&works(), &[&first, &low]).expect("some are left");
        assert_eq!(remaining.delete, ["low"]);
        assert!(
            remaining
                .statement
                .message
                .contains("count is 501, the finalizer pending count is 500")
        );
        let second: Vec<_> = (500..600).map(named).collect();
        let remaining = decide(&works(), &[&first, &second]).expect("some are left");
        assert_eq!(remaining.delete.len(), DELETE_MAX);
    }

    #[test]
    fn the_lowest_priority_goes_first_and_nonsense_counts_as_zero() {
        let objects = [
            object("last", Some("50"), &[], false),
            object("first", None, &["f"], false),
            object("odd", Some("101"), &[], false),
            object("going", Some("x"), &["f"], true),
        ];
        let remaining = decide(&works(), &[&objects]).expect("some are left");
        assert_eq!(remaining.delete, ["first", "odd"]);
        assert_eq!(
            remaining.statement.message,
            "The resource manifestworks is remaning, the remaining count is 4, the finalizer \
             pending count is 2"
        );
        let later = decide(&works(), &[&objects[..1]]).expect("one is left");
        assert_eq!(later.delete, ["last"]);
        assert_eq!(decide(&works(), &[]), None);
    }

    #[test]
    fn the_longer_all_has_waited_for_finalizers_the_longer_the_pause() {
        let going = object("going", None, &["f"], true);
        let pause = |objects: &[ObjectMeta], seconds: i64| {
            let remaining = decide(&works(), &[objects]).expect("some are left");
            let deleted = going.deletion_timestamp.as_ref().expect("a time").0;
            let now = deleted.as_second() + seconds;
            let now = Timestamp::from_second(now).expect("a time");
            remaining.pause(now).as_secs()
        };
        let waiting = std::slice::from_ref(&going);
        let pauses = [-9, 0, 4, 40, 239, 240, 1_000_000].map(|seconds| pause(waiting, seconds));
        assert_eq!(pauses, [1, 1, 1, 10, 59, 60, 60]);
        let last = [
            going.clone(),
            object("waits its turn", Some("50"), &[], false),
        ];
        assert_eq!(pause(&last, 1000), 60, "only those before it count");
        let first = [going.clone(), object("left", None, &[], false)];
        assert_eq!(pause(&first, 1000), 1, "there is more to delete");
    }

    #[test]
    fn resources_are_named_in_three_parts() {
        assert_eq!(works().0.api_version, "work.open-cluster-management.io/v1");
        for bad in ["", "pods", "v1/pods", "a/v1/", "a/b/c/d"] {
            assert_eq!(Resource::parse(bad), None, "{bad}");
        }
    }
}
