//! Namespaces that sets want in their members: told to each member in its inventory object, whose
//! agent makes them and says there how that went.

use super::sets;
use hyades_api::cluster::ManagedCluster;
use hyades_api::cluster::ManagedClusterSet;
use hyades_api::cluster::ManagedNamespaceStatus;
use hyades_runtime::kube::ResourceExt;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Namespaces told to one WEC at most, the first by set and name. At about 300 bytes each with the
/// agent's condition they take a quarter of the megabyte and a half that an object may have.
const NAMESPACES_MAX: usize = 1000;

/// The namespaces to write into an inventory object, if they differ from those there. What the
/// agent said about those that stay is kept.
pub(super) fn decide(
    object: &ManagedCluster,
    sets: &[Arc<ManagedClusterSet>],
) -> Option<Vec<ManagedNamespaceStatus>> {
    let present = &object.status.managed_namespaces;
    let wanted = wanted(object, sets);
    let key = |entry: &ManagedNamespaceStatus| (entry.cluster_set.clone(), entry.name.clone());
    if present.iter().map(key).eq(wanted.iter().cloned()) {
        return None;
    }
    let entry = |(cluster_set, name): (String, String)| {
        let same = |entry: &&ManagedNamespaceStatus| {
            entry.cluster_set == cluster_set && entry.name == name
        };
        let conditions = present.iter().find(same);
        ManagedNamespaceStatus {
            conditions: conditions
                .map(|entry| entry.conditions.clone())
                .unwrap_or_default(),
            name,
            cluster_set,
        }
    };
    Some(wanted.into_iter().map(entry).collect())
}

/// Set and name of each namespace that the sets of a WEC want, in order.
fn wanted(object: &ManagedCluster, sets: &[Arc<ManagedClusterSet>]) -> BTreeSet<(String, String)> {
    let wanting = sets.iter().filter(|set| {
        !set.spec.managed_namespaces.is_empty() && set.metadata.deletion_timestamp.is_none()
    });
    let of_member = wanting.filter(|set| sets::holds(set, object));
    let all = of_member.flat_map(|set| {
        let names = set.spec.managed_namespaces.iter();
        names.map(|namespace| (set.name_any(), namespace.name.clone()))
    });
    let mut all: BTreeSet<(String, String)> = all.collect();
    while all.len() > NAMESPACES_MAX {
        all.pop_last();
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use serde_json::json;

    fn set(name: &str, selector: Value, namespaces: &[&str]) -> Arc<ManagedClusterSet> {
        let namespaces: Vec<_> = namespaces
            .iter()
            .map(|name| json!({"name": name}))
            .collect();
        let object = json!({
            "metadata": {"name": name},
            "spec": {"clusterSelector": selector, "managedNamespaces": namespaces},
        });
        Arc::new(serde_json::from_value(object).expect("a set"))
    }

    fn wec(set: &str, present: Value) -> ManagedCluster {
        let label = "cluster.open-cluster-management.io/clusterset";
        let object = json!({
            "metadata": {"name": "c1", "labels": {label: set}},
            "status": {"managedNamespaces": present},
        });
        serde_json::from_value(object).expect("a ManagedCluster")
    }

    fn names(entries: &[ManagedNamespaceStatus]) -> Vec<(&str, &str)> {
        entries
            .iter()
            .map(|entry| (entry.cluster_set.as_str(), entry.name.as_str()))
            .collect()
    }

    #[test]
    fn a_member_is_told_the_namespaces_of_all_its_sets_in_order_and_keeps_its_answers() {
        let exclusive = json!({"selectorType": "ExclusiveClusterSetLabel"});
        let everybody = json!({"selectorType": "LabelSelector", "labelSelector": {}});
        let sets = [
            set("s1", exclusive.clone(), &["b", "a"]),
            set("s2", exclusive, &["c"]),
            set("global", everybody, &["g"]),
        ];
        let said = json!([{
            "name": "a", "clusterSet": "s1",
            "conditions": [{
                "type": "NamespaceAvailable", "status": "True", "reason": "NamespaceApplied",
                "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
            }],
        }, {"name": "c", "clusterSet": "s2"}]);
        let decided = decide(&wec("s1", said), &sets).expect("a change");
        assert_eq!(names(&decided), [("global", "g"), ("s1", "a"), ("s1", "b")]);
        assert_eq!(decided[1].conditions.len(), 1);
        let settled = wec("s1", json!(decided));
        assert_eq!(decide(&settled, &sets), None);
        let left = decide(&settled, &[]).expect("nothing is wanted any more");
        assert!(left.is_empty());
    }

    #[test]
    fn no_set_makes_an_inventory_object_grow_without_end() {
        let many: Vec<String> = (0..NAMESPACES_MAX + 7)
            .map(|i| format!("n{i:05}"))
            .collect();
        let many: Vec<&str> = many.iter().map(String::as_str).collect();
        let everybody = json!({"selectorType": "LabelSelector", "labelSelector": {}});
        let sets = [set("global", everybody, &many)];
        let decided = decide(&wec("s1", json!([])), &sets).expect("a change");
        assert_eq!(decided.len(), NAMESPACES_MAX);
        assert_eq!(decided[0].name, "n00000");
    }
}
