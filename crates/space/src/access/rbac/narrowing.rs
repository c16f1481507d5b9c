//! Collections that a role grants only in part.
//!
//! RBAC grants the list of a resource whole or not at all. Agents of upstream list certificate
//! requests by the label of their cluster, and their role must therefore open the requests of all
//! clusters. A ClusterRole with the annotation [`COLLECTIONS_SELECTED_BY`] opens, in a space, only
//! what is selected so; a real API server does not know the annotation and grants what the rules
//! say. Access reviews do not name a selector and are answered by the rules alone, since programs
//! ask them before they list anything.

use hyades_schema::selector::Selector;
use serde_json::Value;

use crate::identity::Attributes;

/// The annotation: `RESOURCE.GROUP:LABEL=VALUE` entries, separated by commas; `*` stands for any
/// one value. `RESOURCE.GROUP:metadata.name=*` admits only what is selected by one name, which
/// every other entry of the resource admits, too.
pub const COLLECTIONS_SELECTED_BY: &str = "hyades.io/collections-selected-by";

/// The selector key that stands for the object's name.
const NAME: &str = "metadata.name";

/// Any one value.
const ANY: &str = "*";

/// How the collections of some resources must be selected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Narrowing {
    entries: Vec<Entry>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    resource: String,
    group: String,
    key: String,
    value: String,
}

impl Narrowing {
    /// Reads the annotation of a ClusterRole. An entry that cannot be read narrows every resource to
    /// nothing: a mistake must not open what was meant to be closed.
    pub fn of_role(role: &Value) -> Option<Narrowing> {
        let text = role["metadata"]["annotations"][COLLECTIONS_SELECTED_BY].as_str()?;
        let entries = text.split(',').map(|entry| {
            let (resource, selector) = entry.trim().split_once(':')?;
            let (resource, group) = resource.split_once('.').unwrap_or((resource, ""));
            let (key, value) = selector.split_once('=')?;
            Some(Entry {
                resource: resource.to_owned(),
                group: group.to_owned(),
                key: key.to_owned(),
                value: value.to_owned(),
            })
        });
        let entries = entries.collect::<Option<Vec<_>>>().unwrap_or_else(|| {
            let nothing = Entry {
                resource: ANY.to_owned(),
                group: String::new(),
                key: text.to_owned(),
                value: String::new(),
            };
            vec![nothing]
        });
        Some(Narrowing { entries })
    }

    /// Why a request is beyond what is granted, if it is: it is for a collection that is not
    /// selected as it must be.
    pub fn refuses(&self, asked: &Attributes, labels: &Selector) -> Option<String> {
        let Attributes::Resource {
            verb,
            group,
            resource,
            name,
            ..
        } = asked
        else {
            return None;
        };
        let is_collection = ["list", "watch", "deletecollection"].contains(&verb.as_str());
        // A single name is what the verb `get` opens as well.
        if !is_collection || !name.is_empty() {
            return None;
        }
        let entry = self.entries.iter().find(|entry| {
            entry.resource == ANY || (entry.resource == *resource && entry.group == *group)
        })?;
        let is_selected = match labels.required_value(&entry.key) {
            _ if entry.key == NAME => false,
            Some(_) if entry.value == ANY => true,
            value => value == Some(&entry.value),
        };
        (!is_selected).then(|| {
            format!(
                "granted only when selected by {}={}",
                entry.key, entry.value
            )
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn narrowing(text: &str) -> Narrowing {
        let role = json!({"metadata": {"annotations": {COLLECTIONS_SELECTED_BY: text}}});
        Narrowing::of_role(&role).expect("annotated")
    }

    fn refuses(text: &str, verb: &str, name: &str, labels: &str) -> bool {
        let asked = Attributes::Resource {
            verb: verb.to_owned(),
            group: "g.io".to_owned(),
            version: "v1".to_owned(),
            resource: "things".to_owned(),
            subresource: String::new(),
            namespace: String::new(),
            name: name.to_owned(),
        };
        let labels = Selector::parse(labels).expect("a selector");
        narrowing(text).refuses(&asked, &labels).is_some()
    }

    #[test]
    fn a_collection_must_be_selected_by_the_very_label() {
        let own = "things.g.io:team=c1";
        assert!(!refuses(own, "list", "", "team=c1"));
        assert!(!refuses(own, "watch", "", "a=b,team in (c1)"));
        for labels in ["", "team=c10", "team in (c1,c2)", "team", "team!=c2"] {
            assert!(refuses(own, "list", "", labels), "{labels}");
        }
        assert!(!refuses(own, "get", "x", ""));
        assert!(!refuses(own, "list", "x", ""), "a single name");
        assert!(!refuses("others.g.io:team=c1", "list", "", ""));
    }

    #[test]
    fn any_one_value_is_still_one_value() {
        let any = "things.g.io:team=*";
        assert!(!refuses(any, "list", "", "team=c7"));
        assert!(refuses(any, "list", "", "team in (c1,c2)"));
        let by_name = "things.g.io:metadata.name=*";
        assert!(refuses(by_name, "list", "", "metadata.name=x"));
        assert!(!refuses(by_name, "watch", "x", ""));
    }

    #[test]
    fn what_cannot_be_read_opens_nothing() {
        assert!(refuses("nonsense", "list", "", "team=c1"));
        assert_eq!(Narrowing::of_role(&json!({"metadata": {}})), None);
    }
}
