//! What is wanted, and what was seen of it.

use super::wanted::Served;
use super::wanted::Sight;
use super::wanted::Subject;
use super::wanted::Want;
use hyades_api::control::names::labels;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::runtime::watcher::Event;
use serde_json::Value;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;

/// Names of reports.
pub(super) type Names = BTreeSet<String>;

/// Subjects by their reports, and what their watches showed. Objects that nobody wants a report on
/// are not kept: a WEC holds many.
#[derive(Default)]
pub(super) struct Sights {
    wants: HashMap<String, Want>,
    of_work: HashMap<String, Names>,
    of_subject: HashMap<Subject, Names>,
    /// How many subjects there are of a resource.
    of_served: HashMap<Served, usize>,
    /// Nothing for a subject that is not there.
    seen: HashMap<Subject, Option<Sight>>,
    /// Resources whose watch has shown all there is.
    complete: HashSet<Served>,
}

impl Sights {
    pub(super) fn want(&self, name: &str) -> Option<&Want> {
        self.wants.get(name)
    }

    pub(super) fn names(&self) -> impl Iterator<Item = &String> {
        self.wants.keys()
    }

    /// What was seen of a subject; nothing while it is not known whether it is there.
    pub(super) fn seen(&self, subject: &Subject) -> Option<Option<Sight>> {
        self.seen.get(subject).cloned()
    }

    /// Whether the watch of a subject's resource has shown all there is, so that a subject not seen
    /// has come to be wanted since.
    pub(super) fn is_complete(&self, subject: &Subject) -> bool {
        self.complete.contains(&subject.served)
    }

    /// The resources of all subjects.
    pub(super) fn served(&self) -> impl Iterator<Item = &Served> {
        self.of_served.keys()
    }

    /// Whether a resource has subjects.
    pub(super) fn has_subjects(&self, served: &Served) -> bool {
        self.of_served.contains_key(served)
    }

    /// A resource is watched no longer.
    pub(super) fn forget(&mut self, served: &Served) {
        self.complete.remove(served);
        self.seen.retain(|subject, _| subject.served != *served);
    }

    /// Replaces the reports about a work. Returns the names of those that changed.
    pub(super) fn replace(&mut self, work: &str, wants: BTreeMap<String, Want>) -> Names {
        let before = self.of_work.remove(work).unwrap_or_default();
        let mut changed: Names = before
            .iter()
            .filter(|name| !wants.contains_key(*name))
            .cloned()
            .collect();
        if !wants.is_empty() {
            self.of_work
                .insert(work.to_owned(), wants.keys().cloned().collect());
        }
        let mut left = Vec::new();
        for name in &changed {
            left.extend(self.drop_want(name));
        }
        for (name, want) in wants {
            if self.wants.get(&name) == Some(&want) {
                continue;
            }
            left.extend(self.drop_want(&name));
            self.add_want(&name, want);
            changed.insert(name);
        }
        for subject in left {
            if !self.of_subject.contains_key(&subject) {
                self.seen.remove(&subject);
            }
        }
        changed
    }

    fn add_want(&mut self, name: &str, want: Want) {
        let names = self.of_subject.entry(want.subject.clone()).or_default();
        if names.is_empty() {
            let served = want.subject.served.clone();
            *self.of_served.entry(served).or_default() += 1;
        }
        names.insert(name.to_owned());
        self.wants.insert(name.to_owned(), want);
    }

    /// Forgets a report; returns its subject.
    fn drop_want(&mut self, name: &str) -> Option<Subject> {
        let subject = self.wants.remove(name)?.subject;
        let names = self.of_subject.get_mut(&subject)?;
        names.remove(name);
        if names.is_empty() {
            self.of_subject.remove(&subject);
            if let Some(count) = self.of_served.get_mut(&subject.served) {
                *count -= 1;
                if *count == 0 {
                    self.of_served.remove(&subject.served);
                }
            }
        }
        Some(subject)
    }

    /// Takes note of an object that was read. What a watch told meanwhile is newer.
    pub(super) fn read(&mut self, subject: &Subject, sight: Option<Sight>) {
        if self.of_subject.contains_key(subject) {
            self.seen.entry(subject.clone()).or_insert(sight);
        }
    }

    /// Takes note of an event. Returns the names of the reports that it concerns.
    pub(super) fn note(
        &mut self,
        served: &Served,
        event: Event<DynamicObject>,
        listed: &mut HashSet<Subject>,
    ) -> Names {
        match event {
            Event::Init => {
                listed.clear();
                Names::new()
            }
            Event::InitApply(object) => {
                let subject = subject_of(served, &object);
                let names = self.see(&subject, Some(sight_of(&object)));
                if !names.is_empty() {
                    listed.insert(subject);
                }
                names
            }
            Event::InitDone => {
                self.complete.insert(served.clone());
                let subjects = self.of_subject.keys();
                let gone: Vec<Subject> = subjects
                    .filter(|subject| subject.served == *served && !listed.contains(*subject))
                    .cloned()
                    .collect();
                listed.clear();
                gone.iter()
                    .flat_map(|subject| self.see(subject, None))
                    .collect()
            }
            Event::Apply(object) => self.see(&subject_of(served, &object), Some(sight_of(&object))),
            Event::Delete(object) => self.see(&subject_of(served, &object), None),
        }
    }

    fn see(&mut self, subject: &Subject, sight: Option<Sight>) -> Names {
        let Some(names) = self.of_subject.get(subject) else {
            return Names::new();
        };
        self.seen.insert(subject.clone(), sight);
        names.clone()
    }
}

fn subject_of(served: &Served, object: &DynamicObject) -> Subject {
    Subject {
        served: served.clone(),
        namespace: object.namespace().unwrap_or_default(),
        name: object.name_any(),
    }
}

/// What counts of an object.
pub(super) fn sight_of(object: &DynamicObject) -> Sight {
    let status = object.data.get("status").filter(|status| !status.is_null());
    Sight {
        status: status.cloned().filter(Value::is_object),
        singleton: object.labels().get(labels::SINGLETON_STATUS).cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn served() -> Served {
        Served {
            group: "apps".to_owned(),
            version: "v1".to_owned(),
            plural: "deployments".to_owned(),
        }
    }

    fn want(name: &str) -> Want {
        Want {
            subject: Subject {
                served: served(),
                namespace: "n".to_owned(),
                name: name.to_owned(),
            },
            kind: "Deployment".to_owned(),
            work: ("w".to_owned(), "u".to_owned()),
            labels: BTreeMap::new(),
        }
    }

    fn object(name: &str, replicas: i64) -> DynamicObject {
        serde_json::from_value(json!({
            "apiVersion": "apps/v1", "kind": "Deployment",
            "metadata": {"name": name, "namespace": "n"}, "status": {"replicas": replicas},
        }))
        .expect("an object")
    }

    fn wants(names: &[&str]) -> BTreeMap<String, Want> {
        let one = |name: &&str| (format!("report-{name}"), want(name));
        names.iter().map(one).collect()
    }

    #[test]
    fn a_works_reports_come_and_go_and_what_stays_is_no_change() {
        let mut sights = Sights::default();
        let told = |names: Names| names.into_iter().collect::<Vec<_>>().join(" ");
        assert_eq!(
            told(sights.replace("w", wants(&["a", "b"]))),
            "report-a report-b"
        );
        assert_eq!(told(sights.replace("w", wants(&["a", "b"]))), "");
        assert_eq!(
            told(sights.replace("w", wants(&["b", "c"]))),
            "report-a report-c"
        );
        assert!(sights.want("report-a").is_none());
        assert_eq!(
            told(sights.replace("w", BTreeMap::new())),
            "report-b report-c"
        );
        assert_eq!(sights.served().count(), 0);
    }

    #[test]
    fn a_list_shows_what_is_there_and_what_is_gone_and_strangers_are_not_kept() {
        let mut sights = Sights::default();
        let mut listed = HashSet::new();
        sights.replace("w", wants(&["a", "b"]));
        let mut list = |sights: &mut Sights, names: &[&str]| -> Names {
            let objects = names.iter().map(|name| Event::InitApply(object(name, 1)));
            let events: Vec<_> = std::iter::once(Event::Init)
                .chain(objects)
                .chain(std::iter::once(Event::InitDone))
                .collect();
            let mut told = Names::new();
            for event in events {
                told.extend(sights.note(&served(), event, &mut listed));
            }
            told
        };
        assert_eq!(sights.seen(&want("a").subject), None);
        assert_eq!(list(&mut sights, &["a", "stranger"]).len(), 2);
        assert!(sights.is_complete(&want("a").subject));
        assert!(sights.seen(&want("a").subject).flatten().is_some());
        assert_eq!(sights.seen(&want("b").subject), Some(None));
        assert_eq!(sights.seen(&want("stranger").subject), None);
        list(&mut sights, &["b"]);
        assert_eq!(sights.seen(&want("a").subject), Some(None));
    }

    #[test]
    fn what_a_watch_tells_is_newer_than_what_was_asked_for_before() {
        let mut sights = Sights::default();
        sights.replace("w", wants(&["a"]));
        let subject = want("a").subject;
        let event = Event::Apply(object("a", 2));
        sights.note(&served(), event, &mut HashSet::new());
        sights.read(&subject, Some(sight_of(&object("a", 1))));
        let seen = sights.seen(&subject).flatten().expect("a sight");
        assert_eq!(seen.status, Some(json!({"replicas": 2})));
        sights.replace("w", BTreeMap::new());
        sights.read(&subject, None);
        assert_eq!(sights.seen(&subject), None, "nobody wants it");
    }
}
