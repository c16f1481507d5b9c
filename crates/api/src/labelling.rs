//! The labels of what an operator makes: the name of its owner and, where that is asked for
//! (`--enable-sync-labels`), the owner's own labels.

use crate::names::labels;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;

/// Labels under this domain have a meaning to Open Cluster Management and are not handed on.
const DOMAIN: &str = "open-cluster-management.io/";

/// The owner's labels that are handed on: all but `app`, by which pods are found, and those of Open
/// Cluster Management itself.
pub fn inherited(owner: Option<&BTreeMap<String, String>>) -> BTreeMap<String, String> {
    let all = owner.into_iter().flatten();
    let handed_on = |key: &str| key != labels::APP && !key.starts_with(DOMAIN);
    all.filter(|(key, _)| handed_on(key))
        .map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

/// Adds labels to an object and, if it makes pods, to these.
pub fn add(object: &mut Value, labels: &BTreeMap<String, String>) {
    let pods = object.pointer("/spec/template/metadata").is_some();
    for (key, value) in labels {
        object["metadata"]["labels"][key] = json!(value);
        if pods {
            object["spec"]["template"]["metadata"]["labels"][key] = json!(value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        let owned = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        pairs.iter().map(owned).collect()
    }

    #[test]
    fn what_finds_pods_and_what_has_a_meaning_already_is_not_handed_on() {
        let owner = labels(&[
            ("app", "mine"),
            ("team", "edge"),
            ("example.org/cost", "7"),
            ("open-cluster-management.io/cluster-name", "c1"),
            ("open-cluster-management.io.example.org/x", "y"),
        ]);
        let expected = labels(&[
            ("team", "edge"),
            ("example.org/cost", "7"),
            ("open-cluster-management.io.example.org/x", "y"),
        ]);
        assert_eq!(inherited(Some(&owner)), expected);
        assert!(inherited(None).is_empty());
    }

    #[test]
    fn labels_are_added_to_those_there_are_and_to_pods() {
        let mut plain = json!({"metadata": {"name": "a"}});
        let mut deployment = json!({
            "metadata": {"labels": {"app": "x"}},
            "spec": {"template": {"metadata": {"labels": {"app": "x"}}}},
        });
        let added = labels(&[("team", "edge")]);
        add(&mut plain, &added);
        add(&mut deployment, &added);
        assert_eq!(
            plain,
            json!({"metadata": {"name": "a", "labels": {"team": "edge"}}})
        );
        let both = json!({"app": "x", "team": "edge"});
        assert_eq!(deployment["metadata"]["labels"], both);
        assert_eq!(deployment["spec"]["template"]["metadata"]["labels"], both);
    }
}
