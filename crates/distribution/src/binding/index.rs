//! Finding the policies that may mean an object, without asking each of them.
//!
//! Each clause stands in the index under the narrowest thing that it asks of an object: a name, a
//! label, a namespace, a resource, a group, or nothing. An object is looked up under each of its
//! own, so that thousands of policies for one application each cost nothing to the others' objects.

use super::clause::Clause;
use super::clause::Labels;
use super::clause::Policy;
use super::model::PolicyName;
use crate::object::ObjectKey;
use std::collections::BTreeSet;
use std::collections::HashMap;

/// What a clause asks of an object.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Anchor {
    Name(String),
    Label(String, String),
    Namespace(String),
    Resource(String),
    Group(String),
    Anything,
}

/// Which policies stand under which anchors. A policy counts once an anchor, however many of its
/// clauses stand there.
#[derive(Debug, Default)]
pub(super) struct Index {
    by_anchor: HashMap<Anchor, BTreeSet<PolicyName>>,
}

impl Index {
    pub(super) fn insert(&mut self, name: &PolicyName, policy: &Policy) {
        for anchor in policy.clauses.iter().flat_map(anchors) {
            let policies = self.by_anchor.entry(anchor).or_default();
            policies.insert(name.clone());
        }
    }

    pub(super) fn remove(&mut self, name: &PolicyName, policy: &Policy) {
        for anchor in policy.clauses.iter().flat_map(anchors) {
            if let Some(policies) = self.by_anchor.get_mut(&anchor) {
                policies.remove(name);
                if policies.is_empty() {
                    self.by_anchor.remove(&anchor);
                }
            }
        }
    }

    /// The policies that may mean an object of this name and with these labels.
    pub(super) fn candidates(&self, key: &ObjectKey, labels: &Labels) -> BTreeSet<PolicyName> {
        let fixed = [
            Anchor::Name(key.name.name.clone()),
            Anchor::Namespace(key.name.namespace.clone()),
            Anchor::Resource(key.resource.resource.clone()),
            Anchor::Group(key.resource.group.clone()),
            Anchor::Anything,
        ];
        let labels = labels
            .iter()
            .map(|(key, value)| Anchor::Label(key.clone(), value.clone()));
        fixed
            .into_iter()
            .chain(labels)
            .filter_map(|anchor| self.by_anchor.get(&anchor))
            .flatten()
            .cloned()
            .collect()
    }
}

fn anchors(clause: &Clause) -> Vec<Anchor> {
    let each = |names: &BTreeSet<String>, anchor: fn(String) -> Anchor| {
        names.iter().cloned().map(anchor).collect()
    };
    if let Some(names) = &clause.names {
        return each(names, Anchor::Name);
    }
    if let Some(needed) = clause.needed_labels() {
        return needed
            .into_iter()
            .map(|(key, value)| Anchor::Label(key, value))
            .collect();
    }
    if let Some(namespaces) = &clause.namespaces {
        return each(namespaces, Anchor::Namespace);
    }
    if let Some(resources) = &clause.resources {
        return each(resources, Anchor::Resource);
    }
    match &clause.group {
        Some(group) => vec![Anchor::Group(group.clone())],
        None => vec![Anchor::Anything],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object::GroupResource;
    use crate::object::ObjectName;
    use serde_json::Value;
    use serde_json::json;

    fn policy(clause: Value) -> Policy {
        let spec = json!({"downsync": [clause]});
        Policy::read(&serde_json::from_value(spec).expect("a spec"))
    }

    #[test]
    fn an_object_costs_the_policies_that_may_mean_it() {
        let policies = [
            (
                "name",
                json!({"resources": ["pods"], "objectNames": ["web"]}),
            ),
            ("other-name", json!({"objectNames": ["api"]})),
            (
                "label",
                json!({"objectSelectors": [{"matchLabels": {"app": "web"}}]}),
            ),
            (
                "other-label",
                json!({"objectSelectors": [{"matchLabels": {"app": "api"}}]}),
            ),
            (
                "unlabelled",
                json!({"namespaces": ["shop"], "objectSelectors": [{}]}),
            ),
            ("namespace", json!({"namespaces": ["shop"]})),
            ("other-namespace", json!({"namespaces": ["bank"]})),
            (
                "resource",
                json!({"apiGroup": "apps", "resources": ["pods"]}),
            ),
            ("group", json!({"apiGroup": ""})),
            ("other-group", json!({"apiGroup": "apps"})),
            ("anything", json!({"resources": ["*"]})),
        ];
        let mut index = Index::default();
        for (name, clause) in &policies {
            index.insert(&PolicyName::from(*name), &policy(clause.clone()));
        }
        let key = ObjectKey {
            resource: GroupResource::new("", "pods"),
            name: ObjectName::new("shop", "web"),
        };
        let labels = Labels::from([("app".to_owned(), "web".to_owned())]);
        let found: Vec<_> = index.candidates(&key, &labels).into_iter().collect();
        let found: Vec<&str> = found.iter().map(|name| &**name).collect();
        assert_eq!(
            found,
            [
                "anything",
                "group",
                "label",
                "name",
                "namespace",
                "resource",
                "unlabelled"
            ]
        );

        for (name, clause) in &policies {
            index.remove(&PolicyName::from(*name), &policy(clause.clone()));
        }
        assert!(index.by_anchor.is_empty(), "nothing is left behind");
    }
}
