//! Sets of WECs: the two that the hub keeps, their members, and who may use them.

use super::Hub;
use super::namespaces;
use super::profiles;
use crate::placement::Membership;
use hyades_api::cluster::ManagedCluster;
use hyades_api::cluster::ManagedClusterSet;
use hyades_api::cluster::ManagedClusterSetBinding;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::cluster_set as statements;
use hyades_api::features;
use hyades_api::names;
use hyades_api::names::annotations;
use hyades_runtime::Queue;
use hyades_runtime::Trouble;
use hyades_runtime::apply;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::PostParams;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;
use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

/// How long changes of inventory objects are gathered before members are counted again: counting
/// reads all of them, so a thousand joins at once shall count once.
pub(super) const SETTLE: Duration = Duration::from_millis(200);

const EXCLUSIVE: &str = "ExclusiveClusterSetLabel";
const SELECTOR: &str = "LabelSelector";

/// The selector of a set that the hub keeps.
fn kept(set: &str) -> Option<Value> {
    match set {
        names::DEFAULT_CLUSTER_SET => Some(json!({"selectorType": EXCLUSIVE})),
        names::GLOBAL_CLUSTER_SET => Some(json!({"selectorType": SELECTOR, "labelSelector": {}})),
        _ => None,
    }
}

/// Whether a WEC belongs to a set. A set whose selector cannot be read has no members.
pub(super) fn holds(set: &ManagedClusterSet, wec: &ManagedCluster) -> bool {
    Membership::of(set).is_ok_and(|membership| membership.holds(&set.name_any(), wec.labels()))
}

/// What to say about the members of a set.
fn members(set: &ManagedClusterSet, count: usize) -> Statement {
    let generation = set.metadata.generation;
    let statement = match count {
        0 => statements::NO_CLUSTER_MATCHED,
        count => {
            let message = format!("{count} ManagedClusters selected");
            statements::CLUSTERS_SELECTED.with_message(message)
        }
    };
    statement.observing(generation)
}

/// The selector to write back into a set that the hub keeps, if somebody changed it.
fn restored(set: &ManagedClusterSet) -> Option<Value> {
    let wanted = kept(&set.name_any())?;
    let off = set.annotations().get(annotations::AUTO_UPDATE);
    if off.map(String::as_str) == Some("false") {
        return None;
    }
    let stated = json!(set.spec.cluster_selector);
    let same = stated["selectorType"] == wanted["selectorType"]
        && (stated["selectorType"] == EXCLUSIVE || is_empty(&stated["labelSelector"]));
    (!same).then(|| {
        let mut selector = wanted;
        // A merge patch leaves what it does not name.
        selector["labelSelector"] = match selector.get("labelSelector") {
            Some(_) => json!({"matchLabels": null, "matchExpressions": null}),
            None => Value::Null,
        };
        json!({"spec": {"clusterSelector": selector}})
    })
}

fn is_empty(selector: &Value) -> bool {
    selector.as_object().is_none_or(serde_json::Map::is_empty)
}

/// Reconciles sets.
pub(super) struct Reconciler {
    hub: Rc<Hub>,
    queue: Queue<String>,
    /// Of each set, the uid and generation of which its members were told last.
    told: RefCell<HashMap<String, (String, i64)>>,
}

impl Reconciler {
    pub(super) fn new(hub: Rc<Hub>, queue: Queue<String>) -> Self {
        Self {
            hub,
            queue,
            told: RefCell::default(),
        }
    }

    /// Reconciles the set of that name; the empty name stands for all of them.
    pub(super) async fn reconcile(&self, name: String) -> Result<Option<Duration>, Trouble> {
        if name.is_empty() {
            for set in self.hub.observed.sets.list() {
                self.queue.add(set.name_any());
            }
            for kept in [names::DEFAULT_CLUSTER_SET, names::GLOBAL_CLUSTER_SET] {
                self.queue.add(kept.to_owned());
            }
            return Ok(None);
        }
        match self.reconcile_set(&name).await {
            Ok(()) => Ok(None),
            // Somebody changed it meanwhile; its event brings the key back.
            Err(Trouble::Conflict(_) | Trouble::NotFound(_) | Trouble::AlreadyExists(_)) => {
                Ok(None)
            }
            Err(trouble) => Err(trouble),
        }
    }

    async fn reconcile_set(&self, name: &str) -> Result<(), Trouble> {
        let keeps = self
            .hub
            .settings
            .gates
            .enabled(features::DEFAULT_CLUSTER_SET);
        let api = Api::<ManagedClusterSet>::all(self.hub.client.clone());
        let set = self.hub.observed.sets.get(name);
        self.bind(name, set.is_some()).await?;
        self.tell_members(name, set.as_deref());
        let Some(set) = set else {
            if let Some(selector) = kept(name).filter(|_| keeps) {
                let mut set = ManagedClusterSet::new(name, Default::default());
                set.spec.cluster_selector = serde_json::from_value(selector)
                    .map_err(|error| Trouble::Other(error.to_string()))?;
                let created = api.create(&PostParams::default(), &set).await;
                created.map_err(|error| Trouble::of(&error))?;
            }
            return Ok(());
        };
        if set.metadata.deletion_timestamp.is_some() {
            return Ok(());
        }
        if let Some(changes) = restored(&set).filter(|_| keeps) {
            let patched = apply::patch(&api, &*set, changes).await;
            return patched.map(|_| ()).map_err(|error| Trouble::of(&error));
        }
        self.count(&api, &set).await
    }

    async fn count(
        &self,
        api: &Api<ManagedClusterSet>,
        set: &ManagedClusterSet,
    ) -> Result<(), Trouble> {
        let membership = match Membership::of(set) {
            Ok(membership) => membership,
            Err(error) => {
                // Members cannot be counted; the last count stays.
                tracing::warn!("ManagedClusterSet {}: {error}", set.name_any());
                return Ok(());
            }
        };
        let clusters = self.hub.observed.clusters.list();
        let (name, wecs) = (set.name_any(), clusters.iter());
        let count = wecs
            .filter(|wec| membership.holds(&name, wec.labels()))
            .count();
        let mut all = set.status.conditions.clone();
        if !conditions::set(&mut all, &members(set, count), Time(Timestamp::now())) {
            return Ok(());
        }
        let patched = apply::patch_status(api, set, json!({"conditions": all})).await;
        patched.map(|_| ()).map_err(|error| Trouble::of(&error))
    }

    /// After a set itself has changed, wakes the WECs whose namespaces are not those their sets want,
    /// and the profiles it gives or took away.
    fn tell_members(&self, name: &str, set: Option<&ManagedClusterSet>) {
        let present = set.and_then(|set| Some((set.uid()?, set.metadata.generation?)));
        let before = match &present {
            Some(present) => self
                .told
                .borrow_mut()
                .insert(name.to_owned(), present.clone()),
            None => self.told.borrow_mut().remove(name),
        };
        if before == present {
            return;
        }
        let observed = &self.hub.observed;
        observed
            .queues
            .profiles
            .add(profiles::Key::Set(name.to_owned()));
        let sets = observed.sets.list();
        for object in observed.clusters.list() {
            if namespaces::decide(&object, &sets).is_some() {
                observed.queues.clusters.add(object.name_any());
            }
        }
    }

    /// Tells the bindings of a set whether it exists.
    async fn bind(&self, set: &str, exists: bool) -> Result<(), Trouble> {
        for binding in self.hub.observed.set_bindings.list() {
            if binding.spec.cluster_set != set || binding.metadata.deletion_timestamp.is_some() {
                continue;
            }
            let statement = if exists {
                statements::SET_BOUND
            } else {
                statements::SET_NOT_FOUND
            };
            let statement = statement.observing(binding.metadata.generation);
            let mut all = binding.status.conditions.clone();
            if conditions::set(&mut all, &statement, Time(Timestamp::now())) {
                let namespace = binding.namespace().unwrap_or_default();
                let client = self.hub.client.clone();
                let api = Api::<ManagedClusterSetBinding>::namespaced(client, &namespace);
                let status = json!({"conditions": all});
                let patched = apply::patch_status(&api, &*binding, status).await;
                patched.map_err(|error| Trouble::of(&error))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_api::names::labels;

    fn set(name: &str, selector: Value) -> ManagedClusterSet {
        let object = json!({"metadata": {"name": name}, "spec": {"clusterSelector": selector}});
        serde_json::from_value(object).expect("a set")
    }

    fn wec(labels: Value) -> ManagedCluster {
        let object = json!({"metadata": {"name": "c1", "labels": labels}});
        serde_json::from_value(object).expect("a ManagedCluster")
    }

    fn belongs(set: &ManagedClusterSet, wec: &ManagedCluster) -> bool {
        let membership = Membership::of(set).expect("a selector");
        membership.holds(&set.name_any(), wec.labels())
    }

    #[test]
    fn members_are_found_by_label_or_by_selector() {
        let mine = set("s1", json!({"selectorType": EXCLUSIVE}));
        assert!(belongs(&mine, &wec(json!({labels::CLUSTER_SET: "s1"}))));
        assert!(!belongs(&mine, &wec(json!({labels::CLUSTER_SET: "s10"}))));
        assert!(!belongs(&mine, &wec(json!({}))));

        let all = set(
            "global",
            json!({"selectorType": SELECTOR, "labelSelector": {}}),
        );
        assert!(belongs(&all, &wec(json!({}))));
        let east =
            json!({"selectorType": SELECTOR, "labelSelector": {"matchLabels": {"region": "east"}}});
        assert!(belongs(
            &set("east", east.clone()),
            &wec(json!({"region": "east"}))
        ));
        assert!(!belongs(
            &set("east", east),
            &wec(json!({"region": "west"}))
        ));
    }

    #[test]
    fn the_kept_sets_are_restored_unless_told_otherwise() {
        let wanted = kept("global").expect("kept");
        assert_eq!(restored(&set("global", wanted)), None);
        assert_eq!(
            restored(&set("mine", json!({"selectorType": SELECTOR}))),
            None
        );
        let changed = set("default", json!({"selectorType": SELECTOR}));
        assert_eq!(
            restored(&changed),
            Some(json!({
                "spec": {"clusterSelector": {"selectorType": EXCLUSIVE, "labelSelector": null}},
            }))
        );
        let mut free = changed;
        let annotations = free.metadata.annotations.get_or_insert_default();
        annotations.insert(annotations::AUTO_UPDATE.to_owned(), "false".to_owned());
        assert_eq!(restored(&free), None);
    }

    #[test]
    fn an_empty_set_says_so_and_a_full_one_counts() {
        let set = set("s1", json!({}));
        assert_eq!(members(&set, 0).reason, "NoClusterMatched");
        assert_eq!(members(&set, 3).message, "3 ManagedClusters selected");
    }
}
