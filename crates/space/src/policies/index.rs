//! The policies in force, by the resources they are about.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::Mutex;

use arc_swap::ArcSwap;
use hyades_store::Event;
use hyades_store::Store;
use serde_json::Value;

use super::definition::Binding;
use super::definition::Policy;
use crate::names;

/// The API group of policies and bindings.
pub(super) const GROUP: &str = "admissionregistration.k8s.io";

/// The policies in force.
#[derive(Debug, Default)]
pub(crate) struct Policies {
    validating: Family,
    mutating: Family,
}

/// The policies of one kind.
#[derive(Debug, Default)]
pub(super) struct Family {
    stated: Mutex<Stated>,
    in_force: ArcSwap<Table>,
}

/// What the store holds.
#[derive(Debug, Default)]
struct Stated {
    policies: BTreeMap<String, Arc<Policy>>,
    bindings: BTreeMap<String, Arc<Binding>>,
}

/// Policies with their bindings, each by name.
type Hooks = Arc<Vec<Hook>>;

/// A policy and what binds it.
#[derive(Debug, Clone)]
pub(super) struct Hook {
    pub(super) policy: Arc<Policy>,
    pub(super) bindings: Vec<Arc<Binding>>,
}

#[derive(Debug, Default)]
struct Table {
    /// By resource, those about any resource included.
    by_resource: HashMap<String, Hooks>,
    /// Those about any resource, for resources that none names.
    about_any: Hooks,
}

impl Policies {
    /// Policies that follow a store.
    pub(crate) fn following(store: &Store) -> Arc<Policies> {
        let policies = Arc::new(Policies::default());
        let followed = Arc::clone(&policies);
        store.hook(
            &format!("{GROUP}/"),
            Box::new(move |event| followed.follow(event)),
        );
        policies
    }

    /// The validating policies that may be about a resource, by name.
    pub(super) fn validating(&self, resource: &str) -> Hooks {
        self.validating.about(resource)
    }

    /// The mutating policies that may be about a resource, by name.
    pub(super) fn mutating(&self, resource: &str) -> Hooks {
        self.mutating.about(resource)
    }

    fn follow(&self, event: &Event) {
        let mut parts = event.key.split('/');
        let resource = parts.nth(1).unwrap_or_default();
        let (family, is_policy) = match resource {
            "validatingadmissionpolicies" => (&self.validating, true),
            "validatingadmissionpolicybindings" => (&self.validating, false),
            "mutatingadmissionpolicies" => (&self.mutating, true),
            "mutatingadmissionpolicybindings" => (&self.mutating, false),
            _ => return,
        };
        let name = names::split_key(&event.key).map_or("", |(_, name)| name);
        let entry = event.value.as_ref();
        let object = entry.and_then(|entry| serde_json::from_slice::<Value>(&entry.value).ok());
        family.set(name, is_policy, object.as_ref());
    }
}

impl Family {
    fn about(&self, resource: &str) -> Hooks {
        let table = self.in_force.load();
        let hooks = table.by_resource.get(resource).unwrap_or(&table.about_any);
        Arc::clone(hooks)
    }

    fn set(&self, name: &str, is_policy: bool, object: Option<&Value>) {
        let mut stated = self
            .stated
            .lock()
            .unwrap_or_else(|error| error.into_inner());
        match (is_policy, object) {
            (true, Some(object)) => {
                let policy = Arc::new(Policy::read(object));
                stated.policies.insert(name.to_owned(), policy);
            }
            (true, None) => {
                stated.policies.remove(name);
            }
            (false, Some(object)) => {
                let binding = Arc::new(Binding::read(object));
                stated.bindings.insert(name.to_owned(), binding);
            }
            (false, None) => {
                stated.bindings.remove(name);
            }
        }
        self.in_force.store(Arc::new(stated.table()));
    }
}

impl Stated {
    fn table(&self) -> Table {
        let mut hooks = Vec::new();
        for policy in self.policies.values() {
            let bindings = self.bindings.values();
            let bindings = bindings.filter(|binding| binding.policy_name == policy.name);
            let bindings: Vec<Arc<Binding>> = bindings.cloned().collect();
            if !bindings.is_empty() {
                let policy = Arc::clone(policy);
                hooks.push(Hook { policy, bindings });
            }
        }
        let names = |hook: &Hook| -> Option<Vec<String>> {
            let names = hook.policy.constraints.resource_names()?;
            Some(names.into_iter().map(str::to_owned).collect())
        };
        let resources = hooks.iter().filter_map(names).flatten();
        let resources: std::collections::BTreeSet<String> = resources.collect();
        let about = |resource: Option<&String>| -> Hooks {
            let concerns = |hook: &&Hook| match (names(hook), resource) {
                (None, _) => true,
                (Some(names), Some(resource)) => names.contains(resource),
                (Some(_), None) => false,
            };
            Arc::new(hooks.iter().filter(concerns).cloned().collect())
        };
        let by_resource = resources
            .iter()
            .map(|name| (name.clone(), about(Some(name))));
        Table {
            by_resource: by_resource.collect(),
            about_any: about(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn names(hooks: &Hooks) -> Vec<&str> {
        hooks.iter().map(|hook| hook.policy.name.as_str()).collect()
    }

    #[test]
    fn a_policy_is_found_by_what_it_names_once_it_is_bound() {
        let family = Family::default();
        let policy = |name: &str, resources: &[&str]| {
            let object = json!({
                "metadata": {"name": name},
                "spec": {"matchConstraints": {"resourceRules": [{"resources": resources}]}},
            });
            family.set(name, true, Some(&object));
        };
        policy("b", &["pods", "services/status"]);
        policy("a", &["*"]);
        policy("unbound", &["pods"]);
        assert!(family.about("pods").is_empty(), "nothing is bound");
        for name in ["a", "b"] {
            let object = json!({"metadata": {"name": name}, "spec": {"policyName": name}});
            family.set(name, false, Some(&object));
        }
        assert_eq!(names(&family.about("pods")), ["a", "b"]);
        assert_eq!(names(&family.about("services")), ["a", "b"]);
        assert_eq!(names(&family.about("nodes")), ["a"]);
        family.set("a", true, None);
        assert!(family.about("nodes").is_empty());
        assert_eq!(names(&family.about("pods")), ["b"]);
    }
}
