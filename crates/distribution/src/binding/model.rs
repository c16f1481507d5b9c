//! What was seen, and what every policy means by it. Pure: events go in, names of policies that mean
//! something else now come out.

mod destinations;

use super::clause::Candidate;
use super::clause::Labels;
use super::clause::Policy;
use super::index::Index;
use super::kinds;
use super::kinds::Kind;
use crate::object::GroupResource;
use crate::object::ObjectKey;
use crate::object::ObjectName;
use hyades_api::control::BindingPolicySpec;
use hyades_api::control::Modulation;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::collections::HashSet;
use std::sync::Arc;

/// The name of a BindingPolicy, and of its Binding.
pub(super) type PolicyName = Arc<str>;

/// Policies that mean something else after an event.
pub(super) type Changed = BTreeSet<PolicyName>;

/// What is kept of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Metadata {
    pub(super) resource_version: String,
    pub(super) labels: Labels,
}

#[derive(Debug)]
struct Object {
    metadata: Metadata,
    /// The policies that mean it.
    meant_by: Vec<PolicyName>,
}

/// What is kept of a resource.
#[derive(Debug)]
pub(super) struct Watched {
    pub(super) kind: Kind,
    /// Whether all its objects were seen. Until then nothing follows from not having seen one.
    pub(super) is_listed: bool,
    /// Why it cannot be watched at the moment.
    pub(super) trouble: Option<String>,
}

#[derive(Debug, PartialEq, Eq)]
struct Cluster {
    labels: Labels,
    is_accepted: bool,
}

/// What a policy means.
#[derive(Debug, Default)]
pub(super) struct Meant {
    spec: BindingPolicySpec,
    pub(super) policy: Policy,
    pub(super) objects: BTreeMap<Arc<ObjectKey>, Modulation>,
    pub(super) destinations: BTreeSet<String>,
    /// WECs that match and are not accepted: they have no mailbox to send to.
    pub(super) waiting: BTreeSet<String>,
}

/// A policy that means a smaller part of all objects has them looked up; for a larger part it is
/// quicker to go through all.
const LOOKUP_SHARE: usize = 16;

/// Everything seen of a WDS and of its ITS that bears on Bindings.
#[derive(Debug, Default)]
pub(super) struct Model {
    kinds: BTreeMap<GroupResource, Watched>,
    are_kinds_known: bool,
    objects: BTreeMap<Arc<ObjectKey>, Object>,
    clusters: BTreeMap<String, Cluster>,
    are_clusters_known: bool,
    policies: BTreeMap<PolicyName, Meant>,
    index: Index,
}

impl Model {
    /// Whether enough was seen to write a Binding at all: what kinds there are, and which WECs.
    pub(super) fn is_usable(&self) -> bool {
        self.are_kinds_known && self.are_clusters_known
    }

    /// Resources whose objects were not all seen yet.
    pub(super) fn unlisted(&self) -> Vec<&GroupResource> {
        let unlisted = self.kinds.iter().filter(|(_, kind)| !kind.is_listed);
        unlisted.map(|(resource, _)| resource).collect()
    }

    pub(super) fn are_kinds_known(&self) -> bool {
        self.are_kinds_known
    }

    pub(super) fn kind(&self, resource: &GroupResource) -> Option<&Watched> {
        self.kinds.get(resource)
    }

    /// Whether all namespaces were seen, and so their labels.
    pub(super) fn are_namespaces_known(&self) -> bool {
        let watched = self.kind(&kinds::namespaces());
        watched.is_some_and(|watched| watched.is_listed)
    }

    pub(super) fn has_object(&self, key: &ObjectKey) -> bool {
        self.objects.contains_key(key)
    }

    pub(super) fn has_cluster(&self, name: &str) -> bool {
        self.clusters.contains_key(name)
    }

    pub(super) fn meant(&self, policy: &str) -> Option<&Meant> {
        self.policies.get(policy)
    }

    /// Whether a policy is known with this spec.
    pub(super) fn says(&self, policy: &str, spec: &BindingPolicySpec) -> bool {
        self.meant(policy).is_some_and(|meant| meant.spec == *spec)
    }

    /// The resource versions of objects, in their order; empty for one that is not there.
    pub(super) fn resource_versions<'m, T>(
        &'m self,
        keys: &BTreeMap<Arc<ObjectKey>, T>,
    ) -> Vec<&'m str> {
        let version = |object: &'m Object| object.metadata.resource_version.as_str();
        if keys.len() < self.objects.len() / LOOKUP_SHARE {
            let of = |key: &Arc<ObjectKey>| self.objects.get(key).map_or("", version);
            return keys.keys().map(of).collect();
        }
        // Both are in the same order.
        let mut all = self.objects.iter().peekable();
        let mut of = |key: &Arc<ObjectKey>| {
            while all.next_if(|(other, _)| *other < key).is_some() {}
            let found = all.next_if(|(other, _)| *other == key);
            found.map_or("", |(_, object)| version(object))
        };
        keys.keys().map(&mut of).collect()
    }

    /// All WECs that have an object because a policy wants its status from the one that has it.
    pub(super) fn singleton_destinations(&self, key: &ObjectKey) -> BTreeSet<&str> {
        let object = self.objects.get(key);
        let policies = object.into_iter().flat_map(|object| &object.meant_by);
        let meant = policies.filter_map(|policy| self.policies.get(policy));
        meant
            .filter(|meant| {
                let treatment = meant.objects.get(key);
                treatment.is_some_and(|treatment| treatment.want_singleton_reported_state)
            })
            .flat_map(|meant| meant.destinations.iter().map(String::as_str))
            .collect()
    }

    /// Resources that a policy may mean and that cannot be watched, and why.
    pub(super) fn troubles(&self, policy: &str) -> Vec<(&GroupResource, &str)> {
        let Some(meant) = self.policies.get(policy) else {
            return Vec::new();
        };
        let troubled = self.kinds.iter().filter_map(|(resource, watched)| {
            let trouble = watched.trouble.as_deref()?;
            may_mean(&meant.policy, resource).then_some((resource, trouble))
        });
        troubled.collect()
    }

    /// Takes note of the resources there are. Those that are gone take their objects with them.
    pub(super) fn see_kinds(&mut self, found: &BTreeMap<GroupResource, Kind>) -> Changed {
        let mut changed = Changed::new();
        let known = self.kinds.keys();
        let gone = known.filter(|resource| !found.contains_key(*resource));
        for resource in gone.cloned().collect::<Vec<_>>() {
            self.kinds.remove(&resource);
            for key in self.keys_of(&resource, |_| true) {
                self.forget(&key, &mut changed);
            }
        }
        for (resource, kind) in found {
            let watched = self.kinds.entry(resource.clone()).or_insert(Watched {
                kind: kind.clone(),
                is_listed: false,
                trouble: None,
            });
            if watched.kind != *kind {
                watched.kind = kind.clone();
                changed.extend(self.policies.keys().cloned());
            }
        }
        if !self.are_kinds_known {
            self.are_kinds_known = true;
            changed.extend(self.policies.keys().cloned());
        }
        changed
    }

    /// Takes note of an object that is there.
    pub(super) fn see(&mut self, key: ObjectKey, metadata: Metadata) -> Changed {
        let mut changed = Changed::new();
        if let Some(object) = self.objects.get_mut(&key) {
            let is_relabelled = object.metadata.labels != metadata.labels;
            object.metadata = metadata;
            if !is_relabelled {
                return changed;
            }
        } else {
            let object = Object {
                metadata,
                meant_by: Vec::new(),
            };
            self.objects.insert(Arc::new(key.clone()), object);
        }
        let Some((key, object)) = self.objects.get_key_value(&key) else {
            return changed;
        };
        let key = key.clone();
        let mut asked = self.index.candidates(&key, &object.metadata.labels);
        asked.extend(object.meant_by.iter().cloned());
        self.ask(&key, asked, &mut changed);
        self.see_namespace(&key, &mut changed);
        changed
    }

    /// Takes note of an object that is gone.
    pub(super) fn miss(&mut self, key: &ObjectKey) -> Changed {
        let mut changed = Changed::new();
        self.forget(key, &mut changed);
        self.see_namespace(key, &mut changed);
        changed
    }

    /// Takes note of all objects of a resource: those that were seen before and are not among them
    /// are gone.
    pub(super) fn see_all(
        &mut self,
        resource: &GroupResource,
        names: &HashSet<ObjectName>,
    ) -> Changed {
        let mut changed = Changed::new();
        for key in self.keys_of(resource, |name| !names.contains(name)) {
            self.forget(&key, &mut changed);
            self.see_namespace(&key, &mut changed);
        }
        if let Some(watched) = self.kinds.get_mut(resource)
            && !watched.is_listed
        {
            watched.is_listed = true;
            watched.trouble = None;
            changed.extend(self.policies.keys().cloned());
        }
        changed
    }

    /// Takes note of why a resource's objects cannot be seen. Those of a resource that was listed
    /// are known well enough while its watch is tried again.
    pub(super) fn see_trouble(&mut self, resource: &GroupResource, trouble: String) -> Changed {
        let Some(watched) = self.kinds.get_mut(resource) else {
            return Changed::new();
        };
        if watched.is_listed || watched.trouble.as_ref() == Some(&trouble) {
            return Changed::new();
        }
        watched.trouble = Some(trouble);
        let concerned = self
            .policies
            .iter()
            .filter(|(_, meant)| may_mean(&meant.policy, resource));
        concerned.map(|(name, _)| name.clone()).collect()
    }

    /// Takes note of a policy that is there.
    pub(super) fn see_policy(&mut self, name: &str, spec: &BindingPolicySpec) -> Changed {
        let mut changed = self.miss_policy(name);
        let name = PolicyName::from(name);
        let policy = Policy::read(spec);
        self.index.insert(&name, &policy);
        let keys: Vec<_> = self
            .kinds
            .keys()
            .filter(|resource| may_mean(&policy, resource))
            .flat_map(|resource| self.keys_of(resource, |_| true))
            .collect();
        let meant = Meant {
            spec: spec.clone(),
            policy,
            ..Meant::default()
        };
        self.policies.insert(name.clone(), meant);
        for key in keys {
            self.ask(&key, Changed::from([name.clone()]), &mut changed);
        }
        self.choose_destinations(&name, &mut changed);
        changed.insert(name);
        changed
    }

    /// Takes note of a policy that is gone, or going.
    pub(super) fn miss_policy(&mut self, name: &str) -> Changed {
        let mut changed = Changed::new();
        let neighbours = self.singleton_neighbours(name);
        if let Some(meant) = self.policies.remove(name) {
            self.index.remove(&PolicyName::from(name), &meant.policy);
            for key in meant.objects.keys() {
                if let Some(object) = self.objects.get_mut(key) {
                    object.meant_by.retain(|policy| **policy != *name);
                }
            }
            changed.extend(neighbours);
            changed.insert(PolicyName::from(name));
        }
        changed
    }

    fn keys_of(
        &self,
        resource: &GroupResource,
        wanted: impl Fn(&ObjectName) -> bool,
    ) -> Vec<Arc<ObjectKey>> {
        self.keys_from(resource, "", |key| wanted(&key.name))
    }

    /// Keys of a resource from a namespace on, as long as the resource lasts.
    fn keys_from(
        &self,
        resource: &GroupResource,
        namespace: &str,
        wanted: impl Fn(&ObjectKey) -> bool,
    ) -> Vec<Arc<ObjectKey>> {
        let first = ObjectKey {
            resource: resource.clone(),
            name: ObjectName::new(namespace, ""),
        };
        self.objects
            .range(first..)
            .map(|(key, _)| key)
            .take_while(|key| key.resource == *resource)
            .filter(|key| wanted(key))
            .cloned()
            .collect()
    }

    /// When the object is a namespace, asks anew about what is in it, those policies that look at
    /// the labels of namespaces.
    fn see_namespace(&mut self, key: &ObjectKey, changed: &mut Changed) {
        if !kinds::is_namespace(&key.resource) {
            return;
        }
        let asked: Changed = self
            .policies
            .iter()
            .filter(|(_, meant)| meant.policy.looks_at_namespaces())
            .map(|(name, _)| name.clone())
            .collect();
        if asked.is_empty() {
            return;
        }
        let namespace = &key.name.name;
        let resources: Vec<_> = self.kinds.keys().cloned().collect();
        for resource in resources {
            let inside = |key: &ObjectKey| key.name.namespace == *namespace;
            for key in self.keys_from(&resource, namespace, inside) {
                self.ask(&key, asked.clone(), changed);
            }
        }
    }

    /// Asks these policies about an object.
    fn ask(&mut self, key: &Arc<ObjectKey>, policies: Changed, changed: &mut Changed) {
        let Some(object) = self.objects.get(key) else {
            return;
        };
        let labels = &object.metadata.labels;
        let kind = self.kinds.get(&key.resource);
        let is_selectable = kind.is_none_or(|watched| watched.kind.is_selectable)
            && !kinds::belongs_to_the_space(key, labels);
        let namespace = (!key.name.namespace.is_empty()).then(|| ObjectKey {
            resource: kinds::namespaces(),
            name: ObjectName::new("", &key.name.namespace),
        });
        let namespace = namespace.and_then(|key| self.objects.get(&key));
        let candidate = Candidate {
            key,
            labels,
            namespace_labels: namespace.map(|namespace| &namespace.metadata.labels),
        };
        let answers: Vec<_> = policies
            .into_iter()
            .filter_map(|name| {
                let meant = self.policies.get(&name)?;
                let treatment = meant.policy.treatment(&candidate).filter(|_| is_selectable);
                (meant.objects.get(key) != treatment.as_ref()).then_some((name, treatment))
            })
            .collect();
        for (name, treatment) in answers {
            self.mean(key, name, treatment, changed);
        }
    }

    /// Writes down how a policy treats an object from now on.
    fn mean(
        &mut self,
        key: &Arc<ObjectKey>,
        name: PolicyName,
        treatment: Option<Modulation>,
        changed: &mut Changed,
    ) {
        let (Some(meant), Some(object)) =
            (self.policies.get_mut(&name), self.objects.get_mut(&**key))
        else {
            return;
        };
        let is_meant = treatment.is_some();
        let is_singleton = |treatment: &Modulation| treatment.want_singleton_reported_state;
        let mut counts = treatment.as_ref().is_some_and(is_singleton);
        let before = match treatment {
            Some(treatment) => meant.objects.insert(key.clone(), treatment),
            None => meant.objects.remove(&**key),
        };
        counts |= before.as_ref().is_some_and(is_singleton);
        if is_meant && before.is_none() {
            object.meant_by.push(name.clone());
        } else if !is_meant {
            object.meant_by.retain(|policy| *policy != name);
        }
        if counts {
            // The others count the WECs of this one too.
            changed.extend(object.meant_by.iter().cloned());
        }
        changed.insert(name);
    }

    fn forget(&mut self, key: &ObjectKey, changed: &mut Changed) {
        let Some(object) = self.objects.remove(key) else {
            return;
        };
        for name in object.meant_by {
            if let Some(meant) = self.policies.get_mut(&name) {
                meant.objects.remove(key);
            }
            changed.insert(name);
        }
        // Where a selector cannot be read, the Binding may name an object that is not meant.
        let policies = self.policies.iter();
        let unreadable = policies.filter(|(_, meant)| !meant.policy.object_problems.is_empty());
        changed.extend(unreadable.map(|(name, _)| name.clone()));
    }

    /// Policies that want the one WEC's status of an object of which this one wants it too.
    fn singleton_neighbours(&self, name: &str) -> Changed {
        let meant = self.policies.get(name);
        let objects = meant.into_iter().flat_map(|meant| &meant.objects);
        objects
            .filter(|(_, treatment)| treatment.want_singleton_reported_state)
            .filter_map(|(key, _)| self.objects.get(key))
            .flat_map(|object| &object.meant_by)
            .filter(|policy| ***policy != *name)
            .cloned()
            .collect()
    }
}

fn may_mean(policy: &Policy, resource: &GroupResource) -> bool {
    let mut clauses = policy.clauses.iter();
    clauses.any(|clause| clause.may_match_resource(&resource.group, &resource.resource))
}

#[cfg(test)]
mod tests;
