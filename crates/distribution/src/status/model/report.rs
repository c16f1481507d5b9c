//! What WECs report.

use super::Key;
use super::Model;
use super::Name;
use crate::object::GroupResource;
use crate::object::ObjectKey;
use crate::object::ObjectName;
use hyades_api::control::WorkStatus;
use hyades_runtime::kube::ResourceExt;
use serde_json::Value;
use std::collections::HashSet;
use std::sync::Arc;

/// What one WorkStatus says.
#[derive(Clone, Debug, PartialEq)]
pub struct Report {
    /// The WorkStatus's name.
    pub name: String,
    /// Its version.
    pub resource_version: String,
    /// The object's status in the WEC; null if it has none there.
    pub status: Value,
    /// When that was last news, in the form of RFC 3339; none if that is not known.
    pub reported: Option<String>,
}

impl Report {
    fn of(work_status: WorkStatus) -> Self {
        let fields = work_status.metadata.managed_fields.iter().flatten();
        let of_status = fields.filter(|entry| {
            let fields = entry.fields_v1.as_ref();
            fields.is_some_and(|fields| fields.0.get("f:status").is_some())
        });
        let reported = of_status.filter_map(|entry| entry.time.as_ref()).max();
        Self {
            name: work_status.name_any(),
            resource_version: work_status.resource_version().unwrap_or_default(),
            reported: reported.map(|time| time.0.to_string()),
            status: work_status.status,
        }
    }

    /// The object's status, if it has one.
    pub fn status(&self) -> Option<&Value> {
        Some(&self.status).filter(|status| !status.is_null())
    }
}

/// Which WorkStatus: its WEC, and its name in the WEC's mailbox.
pub type ReportName = (Name, String);

/// The name of a WorkStatus.
pub fn name_of(work_status: &WorkStatus) -> ReportName {
    let wec = work_status.namespace().unwrap_or_default();
    (wec.as_str().into(), work_status.name_any())
}

/// The object that a WorkStatus is about; none if it does not say which.
fn object_of(work_status: &WorkStatus) -> Option<ObjectKey> {
    let source = &work_status.spec.source_ref;
    let is_whole = !source.resource.is_empty() && !source.name.is_empty();
    is_whole.then(|| ObjectKey {
        resource: GroupResource::new(&source.group, &source.resource),
        name: ObjectName::new(&source.namespace, &source.name),
    })
}

impl Model {
    /// Takes note of a WorkStatus.
    pub fn see_report(&mut self, work_status: WorkStatus) -> Vec<Key> {
        let name = name_of(&work_status);
        let object = object_of(&work_status);
        let report = Report::of(work_status);
        let known = object
            .as_ref()
            .and_then(|key| self.reports.get(key)?.get(&name.0));
        let mut known = known.into_iter().flatten();
        if known.any(|it| it.name == report.name && it.resource_version == report.resource_version)
        {
            return Vec::new();
        }
        let mut keys = self.miss_report(&name);
        if let Some(key) = object {
            let of_wec = self.reports.entry(key.clone()).or_default();
            let all = of_wec.entry(name.0.clone()).or_default();
            all.push(Arc::new(report));
            // The newest comes last. There are several if several works bring the object to the
            // WEC, and they say the same or are about to.
            all.sort_by(|left, right| {
                let newness = |report: &'_ Arc<Report>| {
                    (
                        report.status().is_some(),
                        report.reported.clone(),
                        report.name.clone(),
                    )
                };
                newness(left).cmp(&newness(right))
            });
            let concerned = self.keys_of(&key);
            keys.extend(
                concerned
                    .into_iter()
                    .filter(|it| !keys.contains(it))
                    .collect::<Vec<_>>(),
            );
            self.reported.insert(name, key);
        }
        keys
    }

    /// Takes note that a WorkStatus is gone.
    pub fn miss_report(&mut self, name: &ReportName) -> Vec<Key> {
        let Some(key) = self.reported.remove(name) else {
            return Vec::new();
        };
        if let Some(of_wec) = self.reports.get_mut(&key) {
            if let Some(all) = of_wec.get_mut(&name.0) {
                all.retain(|report| report.name != name.1);
            }
            of_wec.retain(|_, all| !all.is_empty());
            if of_wec.is_empty() {
                self.reports.remove(&key);
            }
        }
        self.keys_of(&key)
    }

    /// Takes note that there are these WorkStatuses and no others.
    pub fn see_all_reports(&mut self, listed: &HashSet<ReportName>) -> Vec<Key> {
        let known = self.reported.keys();
        let gone: Vec<_> = known
            .filter(|name| !listed.contains(*name))
            .cloned()
            .collect();
        gone.iter()
            .flat_map(|name| self.miss_report(name))
            .collect()
    }

    /// What a WEC reports of an object: the newest, if it reports several times.
    pub fn report(&self, key: &ObjectKey, wec: &str) -> Option<&Arc<Report>> {
        self.reports.get(key)?.get(wec)?.last()
    }
}
