//! Which WECs a policy means.

use super::Changed;
use super::Cluster;
use super::Labels;
use super::Model;
use super::PolicyName;
use std::collections::BTreeSet;

impl Model {
    /// Takes note of a WEC that is there, and of whether works can be sent to it.
    pub(in crate::binding) fn see_cluster(
        &mut self,
        name: &str,
        labels: &Labels,
        accepted: bool,
    ) -> Changed {
        let seen = Cluster {
            labels: labels.clone(),
            is_accepted: accepted,
        };
        if self.clusters.get(name) == Some(&seen) {
            return Changed::new();
        }
        self.clusters.insert(name.to_owned(), seen);
        self.choose_cluster(name)
    }

    /// Takes note of a WEC that is gone.
    pub(in crate::binding) fn miss_cluster(&mut self, name: &str) -> Changed {
        self.clusters.remove(name);
        self.choose_cluster(name)
    }

    /// Takes note that all WECs were seen.
    pub(in crate::binding) fn see_all_clusters(&mut self) -> Changed {
        if self.are_clusters_known {
            return Changed::new();
        }
        self.are_clusters_known = true;
        self.policies.keys().cloned().collect()
    }

    /// Decides anew which policies mean a WEC.
    fn choose_cluster(&mut self, name: &str) -> Changed {
        let mut changed = Changed::new();
        let cluster = self.clusters.get(name);
        let mut moved = Vec::new();
        for (policy, meant) in &mut self.policies {
            let wanted = cluster
                .filter(|cluster| meant.policy.selects_cluster(&cluster.labels))
                .map(|cluster| cluster.is_accepted);
            let is_destination = put(&mut meant.destinations, name, wanted == Some(true));
            let is_waiting = put(&mut meant.waiting, name, wanted == Some(false));
            if is_destination {
                moved.push(policy.clone());
            }
            // Where a selector of WECs cannot be read, the Binding may name one that is not meant.
            let may_be_kept = cluster.is_none() && !meant.policy.cluster_problems.is_empty();
            if is_destination || is_waiting || may_be_kept {
                changed.insert(policy.clone());
            }
        }
        for policy in moved {
            changed.extend(self.singleton_neighbours(&policy));
        }
        changed
    }

    pub(super) fn choose_destinations(&mut self, name: &PolicyName, changed: &mut Changed) {
        let Some(meant) = self.policies.get_mut(name) else {
            return;
        };
        for (cluster, seen) in &self.clusters {
            let is_selected = meant.policy.selects_cluster(&seen.labels);
            put(
                &mut meant.destinations,
                cluster,
                is_selected && seen.is_accepted,
            );
            put(
                &mut meant.waiting,
                cluster,
                is_selected && !seen.is_accepted,
            );
        }
        changed.extend(self.singleton_neighbours(name));
    }
}

/// Puts a name into a set or takes it out; returns whether that changed the set.
fn put(names: &mut BTreeSet<String>, name: &str, wanted: bool) -> bool {
    match (wanted, names.contains(name)) {
        (true, false) => names.insert(name.to_owned()),
        (false, true) => names.remove(name),
        _ => false,
    }
}
