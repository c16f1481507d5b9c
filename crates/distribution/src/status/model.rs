//! What was seen, and whom a change concerns.
//!
//! An event costs the objects it is about: a report its one object, an object itself, a
//! StatusCollector those about which it is asked, a Binding those of its objects that are now wanted
//! otherwise, or all of them if its WECs changed.

mod object;
mod report;

use super::collector::Collector;
use super::decide::Wecs;
use crate::object::GroupResource;
use crate::object::ObjectKey;
use hyades_api::control::Binding;
use hyades_api::control::StatusCollector;
use hyades_api::control::StatusCollectorSpec;
use hyades_api::control::names::REPORT_NAMESPACE;
use hyades_runtime::kube::ResourceExt;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashMap;
use std::collections::HashSet;
use std::sync::Arc;

pub use object::Object;
pub use report::Report;
pub use report::name_of;

/// A name shared by all that mention it.
pub type Name = Arc<str>;

/// What is to be looked at.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Key {
    /// An object's own status.
    Status(ObjectKey),
    /// A CombinedStatus.
    Answer(AnswerName),
    /// What is said of a StatusCollector.
    Collector(Name),
    /// What is said of a Binding.
    Binding(Name),
}

/// Which CombinedStatus: that about an object, by a policy.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AnswerName {
    /// Where it lives.
    pub namespace: String,
    /// The object's uid.
    pub object: String,
    /// The policy's uid; that of the Binding if no policy made it.
    pub policy: String,
}

impl AnswerName {
    /// Reads the name of a CombinedStatus; none if it is not named as ours are.
    pub fn parse(namespace: &str, name: &str) -> Option<Self> {
        let (object, policy) = name.split_once('.')?;
        Some(Self {
            namespace: namespace.to_owned(),
            object: object.to_owned(),
            policy: policy.to_owned(),
        })
    }

    fn of(key: &ObjectKey, object: &Object, policy: &str) -> Self {
        let namespace = match key.name.namespace.as_str() {
            "" => REPORT_NAMESPACE,
            namespace => namespace,
        };
        Self {
            namespace: namespace.to_owned(),
            object: object.uid.clone(),
            policy: policy.to_owned(),
        }
    }
}

/// What a Binding wants to know of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Wanted {
    version: String,
    singleton: bool,
    several: bool,
    collectors: BTreeSet<String>,
}

/// A Binding, as far as it concerns status.
#[derive(Debug, Default)]
struct Bound {
    policy: String,
    destinations: BTreeSet<Name>,
    /// Those objects of which something is wanted.
    wanted: BTreeMap<ObjectKey, Wanted>,
}

impl Bound {
    fn of(binding: &Binding) -> Self {
        let workload = &binding.spec.workload;
        let objects = workload
            .cluster_scope
            .iter()
            .chain(&workload.namespace_scope);
        let wanted = objects.filter_map(|bound| {
            let modulation = &bound.modulation;
            let wanted = Wanted {
                version: bound.version.clone(),
                singleton: modulation.want_singleton_reported_state,
                several: modulation.want_multi_wec_reported_state,
                collectors: modulation.status_collectors.iter().cloned().collect(),
            };
            let is_any = wanted.singleton || wanted.several || !wanted.collectors.is_empty();
            is_any.then(|| (ObjectKey::of(bound), wanted))
        });
        let owners = binding.owner_references().iter();
        let policy = owners
            .filter(|owner| owner.kind == "BindingPolicy")
            .find(|owner| owner.controller == Some(true));
        Self {
            policy: policy.map_or_else(|| binding.uid().unwrap_or_default(), |it| it.uid.clone()),
            destinations: binding
                .spec
                .destinations
                .iter()
                .map(|destination| destination.cluster_id.as_str().into())
                .collect(),
            wanted: wanted.collect(),
        }
    }

    fn collectors(&self) -> BTreeSet<&str> {
        let all = self.wanted.values().flat_map(|wanted| &wanted.collectors);
        all.map(String::as_str).collect()
    }
}

/// A StatusCollector, and the question that it asks.
#[derive(Debug)]
struct Asked {
    spec: StatusCollectorSpec,
    question: Result<Arc<Collector>, Vec<String>>,
}

/// What was seen.
#[derive(Debug, Default)]
pub struct Model {
    bindings: BTreeMap<Name, Bound>,
    by_policy: HashMap<String, Name>,
    by_object: HashMap<ObjectKey, BTreeSet<Name>>,
    collectors: BTreeMap<Name, Asked>,
    reports: HashMap<ObjectKey, BTreeMap<Name, Vec<Arc<Report>>>>,
    reported: HashMap<(Name, String), ObjectKey>,
    objects: HashMap<ObjectKey, Arc<Object>>,
    by_uid: HashMap<String, ObjectKey>,
    /// Objects that carry a label of ours, with the version in which they are read.
    marked: BTreeMap<ObjectKey, String>,
    /// Resources of which all objects were seen.
    listed: HashSet<GroupResource>,
}

/// What a CombinedStatus is made of.
#[derive(Clone, Debug)]
pub struct Subject {
    /// The object.
    pub key: ObjectKey,
    /// The object as it is in the WDS.
    pub object: Arc<Object>,
    /// The Binding, which is named as its policy is.
    pub binding: Name,
    /// What is asked, by name.
    pub collectors: Vec<(String, Arc<Collector>)>,
    /// Where the object goes, and what each WEC reports.
    pub reports: BTreeMap<Name, Option<Arc<Report>>>,
}

/// What is known about a CombinedStatus.
#[derive(Debug)]
pub enum Lookup {
    /// It is wanted.
    Wanted(Box<Subject>),
    /// Nobody wants it.
    Unwanted,
    /// That cannot be told before all objects were seen.
    Unknown,
}

impl Model {
    /// Takes note of a Binding, or that it is gone or going.
    pub fn see_binding(&mut self, name: &str, binding: Option<&Binding>) -> Vec<Key> {
        let name: Name = name.into();
        let living = binding.filter(|binding| binding.metadata.deletion_timestamp.is_none());
        let new = living.map(Bound::of);
        let old = self.bindings.remove(&name).unwrap_or_default();
        let is_there = new.is_some();
        let new = new.unwrap_or_default();
        let mut keys = Vec::new();
        let is_moved = old.destinations != new.destinations || old.policy != new.policy;
        let objects: BTreeSet<&ObjectKey> = old.wanted.keys().chain(new.wanted.keys()).collect();
        for key in objects {
            let (before, after) = (old.wanted.get(key), new.wanted.get(key));
            if before != after || is_moved {
                keys.push(Key::Status(key.clone()));
                keys.extend(self.answer_of(key, &old));
                keys.extend(self.answer_of(key, &new));
            }
            match (before.is_some(), after.is_some()) {
                (false, true) => {
                    let names = self.by_object.entry(key.clone()).or_default();
                    names.insert(name.clone());
                }
                (true, false) => self.unbind(key, &name),
                _ => {}
            }
        }
        self.by_policy.remove(&old.policy);
        if is_there {
            keys.push(Key::Binding(name.clone()));
            self.by_policy.insert(new.policy.clone(), name.clone());
            self.bindings.insert(name, new);
        }
        keys
    }

    fn unbind(&mut self, key: &ObjectKey, name: &Name) {
        if let Some(names) = self.by_object.get_mut(key) {
            names.remove(name);
            if names.is_empty() {
                self.by_object.remove(key);
            }
        }
    }

    /// The CombinedStatus about an object that a Binding wants, if it does and the object is known.
    fn answer_of(&self, key: &ObjectKey, bound: &Bound) -> Option<Key> {
        let wanted = bound.wanted.get(key)?;
        let object = self.objects.get(key)?;
        let is_asked = !wanted.collectors.is_empty();
        is_asked.then(|| Key::Answer(AnswerName::of(key, object, &bound.policy)))
    }

    /// Takes note of a StatusCollector, or that it is gone.
    pub fn see_collector(&mut self, name: &str, collector: Option<&StatusCollector>) -> Vec<Key> {
        let name: Name = name.into();
        let Some(collector) = collector else {
            self.collectors.remove(&name);
            return self.users_of(&name);
        };
        let known = self.collectors.get(&name);
        let mut keys = vec![Key::Collector(name.clone())];
        if known.is_none_or(|known| known.spec != collector.spec) {
            keys.extend(self.users_of(&name));
            let asked = Asked {
                question: Collector::compile(&collector.spec).map(Arc::new),
                spec: collector.spec.clone(),
            };
            self.collectors.insert(name, asked);
        }
        keys
    }

    /// The Bindings that name a StatusCollector, and the CombinedStatuses that want it.
    fn users_of(&self, collector: &str) -> Vec<Key> {
        let mut keys = Vec::new();
        for (name, bound) in &self.bindings {
            let wanted = bound.wanted.iter();
            let users: Vec<_> = wanted
                .filter(|(_, it)| it.collectors.contains(collector))
                .collect();
            if !users.is_empty() {
                keys.push(Key::Binding(name.clone()));
            }
            keys.extend(
                users
                    .iter()
                    .filter_map(|(key, _)| self.answer_of(key, bound)),
            );
        }
        keys
    }

    /// What is wrong with a StatusCollector.
    pub fn collector_errors(&self, name: &str) -> Option<Vec<String>> {
        let asked = self.collectors.get(name)?;
        Some(asked.question.as_ref().err().cloned().unwrap_or_default())
    }

    /// The StatusCollectors that a Binding names and that are not there, or not valid; none if there
    /// is no such Binding.
    pub fn missing_collectors(&self, binding: &str) -> Option<Vec<&str>> {
        let named = self.bindings.get(binding)?.collectors();
        let is_missing = |name: &&str| self.question(name).is_none();
        Some(named.into_iter().filter(is_missing).collect())
    }

    fn question(&self, collector: &str) -> Option<&Arc<Collector>> {
        self.collectors.get(collector)?.question.as_ref().ok()
    }

    /// All that an object's event or a report of it concerns.
    fn keys_of(&self, key: &ObjectKey) -> Vec<Key> {
        let mut keys = vec![Key::Status(key.clone())];
        let names = self.by_object.get(key).into_iter().flatten();
        let bindings = names.filter_map(|name| self.bindings.get(name));
        keys.extend(bindings.filter_map(|bound| self.answer_of(key, bound)));
        keys
    }

    /// Takes note of an object of a resource that is watched in this version.
    pub fn see_object(&mut self, key: &ObjectKey, version: &str, mut object: Object) -> Vec<Key> {
        let known = self.objects.get(key);
        if known.is_some_and(|known| known.resource_version == object.resource_version) {
            return Vec::new();
        }
        let mut keys = Vec::new();
        if let Some(known) = known.cloned() {
            if known.uid != object.uid {
                keys = self.miss_object(key);
            }
            object.keep_content_of(&known);
        }
        match object.is_marked() {
            true => self.marked.insert(key.clone(), version.to_owned()),
            false => self.marked.remove(key),
        };
        self.by_uid.insert(object.uid.clone(), key.clone());
        self.objects.insert(key.clone(), Arc::new(object));
        keys.extend(self.keys_of(key));
        keys
    }

    /// Takes note that an object is gone.
    pub fn miss_object(&mut self, key: &ObjectKey) -> Vec<Key> {
        let keys = self.keys_of(key);
        self.marked.remove(key);
        if let Some(object) = self.objects.remove(key) {
            self.by_uid.remove(&object.uid);
        }
        keys
    }

    /// Takes note that a resource has these objects and no others.
    pub fn see_all_objects(
        &mut self,
        resource: &GroupResource,
        listed: &HashSet<ObjectKey>,
    ) -> Vec<Key> {
        let known = self.objects.keys().chain(self.marked.keys());
        let gone = known.filter(|key| key.resource == *resource && !listed.contains(key));
        let gone: BTreeSet<ObjectKey> = gone.cloned().collect();
        self.listed.insert(resource.clone());
        gone.iter().flat_map(|key| self.miss_object(key)).collect()
    }

    /// Forgets a resource that is watched no more.
    pub fn forget(&mut self, resource: &GroupResource) {
        self.objects.retain(|key, _| key.resource != *resource);
        self.by_uid.retain(|_, key| key.resource != *resource);
        self.listed.remove(resource);
    }

    /// Takes note that an object carries a label of ours, before it is watched.
    pub fn see_mark(&mut self, key: ObjectKey, version: String) {
        self.marked.entry(key).or_insert(version);
    }

    /// The resources to watch, and in which version: those of objects of which something is wanted,
    /// and of those that still have what was returned.
    pub fn resources(&self) -> BTreeMap<GroupResource, String> {
        let wanted = self.bindings.values().flat_map(|bound| &bound.wanted);
        let wanted = wanted.map(|(key, wanted)| (key, &wanted.version));
        // Bindings say in which version their objects are read, and come last.
        let all = self.marked.iter().chain(wanted);
        all.map(|(key, version)| (key.resource.clone(), version.clone()))
            .collect()
    }

    /// An object, if it is known.
    pub fn object(&self, key: &ObjectKey) -> Option<Arc<Object>> {
        self.objects.get(key).cloned()
    }

    /// The destinations of those Bindings that want an object's status from a single WEC, and of
    /// those that want it from several.
    pub fn qualified(&self, key: &ObjectKey) -> (Option<Wecs<'_>>, Option<Wecs<'_>>) {
        let (mut singleton, mut several): (Option<Wecs<'_>>, Option<Wecs<'_>>) = (None, None);
        for name in self.by_object.get(key).into_iter().flatten() {
            let bound = self.bindings.get(name);
            let Some((bound, wanted)) = bound.and_then(|it| Some((it, it.wanted.get(key)?))) else {
                continue;
            };
            let destinations = || bound.destinations.iter().map(|wec| &**wec);
            if wanted.singleton {
                singleton.get_or_insert_default().extend(destinations());
            }
            if wanted.several {
                several.get_or_insert_default().extend(destinations());
            }
        }
        (singleton, several)
    }

    /// What a CombinedStatus is made of, if it is wanted.
    pub fn subject(&self, name: &AnswerName) -> Lookup {
        let binding = self.by_policy.get(&name.policy);
        let Some((binding, bound)) = binding.and_then(|it| Some((it, self.bindings.get(it)?)))
        else {
            return Lookup::Unwanted;
        };
        let Some(key) = self.by_uid.get(&name.object) else {
            let mut resources = bound.wanted.keys().map(|key| &key.resource);
            return match resources.all(|resource| self.listed.contains(resource)) {
                true => Lookup::Unwanted,
                false => Lookup::Unknown,
            };
        };
        let (Some(wanted), Some(object)) = (bound.wanted.get(key), self.objects.get(key)) else {
            return Lookup::Unwanted;
        };
        let is_ours = AnswerName::of(key, object, &bound.policy) == *name;
        if wanted.collectors.is_empty() || !is_ours {
            return Lookup::Unwanted;
        }
        let collectors = wanted.collectors.iter();
        let destinations = bound.destinations.iter();
        Lookup::Wanted(Box::new(Subject {
            key: key.clone(),
            object: object.clone(),
            binding: binding.clone(),
            collectors: collectors
                .filter_map(|it| Some((it.clone(), self.question(it)?.clone())))
                .collect(),
            reports: destinations
                .map(|wec| (wec.clone(), self.report(key, wec).cloned()))
                .collect(),
        }))
    }
}

#[cfg(test)]
mod tests;
