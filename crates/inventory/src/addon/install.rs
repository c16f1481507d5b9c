//! Install strategies: which WECs get an add-on.

use hyades_api::addon::ClusterManagementAddOn;
use hyades_api::addon::ManagedClusterAddOn;
use hyades_api::addon::PlacementStrategy;
use hyades_api::addon::names;
use hyades_runtime::kube::ResourceExt;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What to change.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Install {
    /// WECs that get the add-on.
    pub(super) create: BTreeSet<String>,
    /// WECs that lose it.
    pub(super) delete: BTreeSet<String>,
}

/// Whether an add-on is managed by a manager of its own, so that the hub keeps its hands off.
pub(super) fn is_self_managed(offered: &ClusterManagementAddOn) -> bool {
    let lifecycle = offered.annotations().get(names::LIFECYCLE);
    lifecycle.map(String::as_str) == Some(names::LIFECYCLE_SELF)
}

/// Decides where an add-on goes. `selected` gives the WECs of a placement; nothing while the
/// placement is not there, and then nobody loses the add-on: what runs stays. Only what an install
/// strategy made is removed by one; add-ons enabled by hand stay.
pub(super) fn decide(
    offered: &ClusterManagementAddOn,
    existing: &[Arc<ManagedClusterAddOn>],
    selected: impl Fn(&PlacementStrategy) -> Option<BTreeSet<String>>,
) -> Install {
    let strategy = &offered.spec.install_strategy;
    let going = offered.metadata.deletion_timestamp.is_some();
    if going || is_self_managed(offered) || strategy.r#type != "Placements" {
        return Install::default();
    }
    let placements: Vec<_> = strategy.placements.iter().map(selected).collect();
    let complete = placements.iter().all(Option::is_some);
    let wanted: BTreeSet<String> = placements.into_iter().flatten().flatten().collect();
    let present: BTreeSet<String> = existing
        .iter()
        .filter_map(|addon| addon.namespace())
        .collect();
    let ours = existing
        .iter()
        .filter(|addon| complete && is_made_by(addon, offered))
        .filter(|addon| addon.metadata.deletion_timestamp.is_none())
        .filter_map(|addon| addon.namespace());
    Install {
        create: wanted.difference(&present).cloned().collect(),
        delete: ours.filter(|cluster| !wanted.contains(cluster)).collect(),
    }
}

fn is_made_by(addon: &ManagedClusterAddOn, offered: &ClusterManagementAddOn) -> bool {
    addon.owner_references().iter().any(|owner| {
        owner.controller == Some(true) && Some(&owner.uid) == offered.metadata.uid.as_ref()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::Value;
    use serde_json::json;

    fn offered(strategy: Value) -> ClusterManagementAddOn {
        serde_json::from_value(json!({
            "metadata": {"name": "hello", "uid": "u"},
            "spec": {"installStrategy": strategy},
        }))
        .expect("an add-on")
    }

    fn enabled(cluster: &str, by_hand: bool) -> Arc<ManagedClusterAddOn> {
        let addon = json!({
            "metadata": {
                "name": "hello", "namespace": cluster,
                "ownerReferences": [{
                    "apiVersion": "addon.open-cluster-management.io/v1alpha1",
                    "kind": "ClusterManagementAddOn", "name": "hello", "uid": "u",
                    "controller": !by_hand,
                }],
            },
            "spec": {},
        });
        Arc::new(serde_json::from_value(addon).expect("an add-on"))
    }

    fn placements(names: &[&str]) -> Value {
        let all: Vec<_> = names
            .iter()
            .map(|name| json!({"name": name, "namespace": "ns"}))
            .collect();
        json!({"type": "Placements", "placements": all})
    }

    fn selected(strategy: &PlacementStrategy) -> Option<BTreeSet<String>> {
        let clusters: &[&str] = match strategy.name.as_str() {
            "east" => &["a", "b"],
            "west" => &["c"],
            _ => return None,
        };
        Some(clusters.iter().map(|name| (*name).to_owned()).collect())
    }

    fn set(names: &[&str]) -> BTreeSet<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    #[test]
    fn selected_wecs_get_the_add_on_and_others_lose_it() {
        let existing = [enabled("b", false), enabled("d", false), enabled("e", true)];
        let install = decide(&offered(placements(&["east", "west"])), &existing, selected);
        assert_eq!(install.create, set(&["a", "c"]));
        assert_eq!(
            install.delete,
            set(&["d"]),
            "what was enabled by hand stays"
        );
    }

    #[test]
    fn a_missing_placement_takes_nothing_away() {
        let existing = [enabled("d", false)];
        let install = decide(&offered(placements(&["east", "gone"])), &existing, selected);
        assert_eq!(install.create, set(&["a", "b"]));
        assert_eq!(install.delete, set(&[]));
    }

    #[test]
    fn manual_and_self_managed_add_ons_are_left_alone() {
        let existing = [enabled("d", false)];
        for strategy in [json!({}), json!({"type": "Manual"})] {
            assert_eq!(
                decide(&offered(strategy), &existing, selected),
                Install::default()
            );
        }
        let mut own = offered(placements(&["east"]));
        own.metadata.annotations = Some([(names::LIFECYCLE.to_owned(), "self".to_owned())].into());
        assert_eq!(decide(&own, &existing, selected), Install::default());
    }
}
