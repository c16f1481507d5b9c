//! What is to be written so that decisions and status are as decided.

use super::schedule::Decisions;
use super::snapshot::DecisionObject;
use hyades_api::conditions;
use hyades_api::names::labels;
use hyades_api::placement::ClusterDecision;
use hyades_api::placement::Placement;
use hyades_api::placement::PlacementStatus;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::Resource;
use serde_json::Value;
use serde_json::json;

/// Longest list of scores in an Event, in bytes, as upstream has it.
const SCORES_BYTES_MAX: usize = 1000;

/// One write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write<'a> {
    /// A new object.
    Create(&'a DecisionObject),
    /// Other members or another group for the object of that name.
    Update {
        /// As it is to be.
        to: &'a DecisionObject,
        /// Whether the members differ.
        members: bool,
        /// Whether the group differs.
        group: bool,
    },
    /// The object of that name is one too many.
    Delete(&'a str),
}

/// What makes of the objects that are those that are wanted.
///
/// In an order in which a WEC that moves from one object to another is in both meanwhile and never
/// in none: when objects are added, members move towards the last, which is then written first;
/// when they become fewer, towards the first.
pub(super) fn plan<'a>(is: &'a [DecisionObject], wanted: &'a [DecisionObject]) -> Vec<Write<'a>> {
    let mut writes = Vec::new();
    for to in wanted {
        match is.iter().find(|from| from.name == to.name) {
            None => writes.push(Write::Create(to)),
            Some(from) if from == to => {}
            Some(from) => writes.push(Write::Update {
                to,
                members: from.clusters != to.clusters,
                group: (from.group_index, &from.group_name) != (to.group_index, &to.group_name),
            }),
        }
    }
    if wanted.len() > is.len() {
        writes.reverse();
    }
    let superfluous = is
        .iter()
        .filter(|from| wanted.iter().all(|to| to.name != from.name));
    writes.extend(superfluous.map(|from| Write::Delete(&from.name)));
    writes
}

/// The labels of an object of decisions.
pub(super) fn labels(placement: &str, object: &DecisionObject) -> Value {
    json!({
        labels::PLACEMENT: placement,
        labels::DECISION_GROUP_INDEX: object.group_index.to_string(),
        labels::DECISION_GROUP_NAME: object.group_name,
    })
}

/// A new object of decisions, still without members.
pub(super) fn new_object(placement: &Placement, object: &DecisionObject) -> Value {
    let name = placement.metadata.name.as_deref().unwrap_or_default();
    json!({
        "metadata": {
            "name": object.name,
            "namespace": placement.metadata.namespace,
            "labels": labels(name, object),
            "ownerReferences": [{
                "apiVersion": Placement::api_version(&()),
                "kind": Placement::kind(&()),
                "name": name,
                "uid": placement.metadata.uid,
                "controller": true,
                "blockOwnerDeletion": true,
            }],
        },
    })
}

/// The status of an object of decisions.
pub(super) fn members(object: &DecisionObject) -> Value {
    let decision = |name: &String| ClusterDecision {
        cluster_name: name.clone(),
        reason: String::new(),
    };
    json!({"decisions": object.clusters.iter().map(decision).collect::<Vec<_>>()})
}

/// The status of a placement; nothing if it is as it should be.
pub(super) fn status(placement: &Placement, decisions: &Decisions, now: Time) -> Option<Value> {
    let mut status = PlacementStatus {
        number_of_selected_clusters: i32::try_from(decisions.selected()).unwrap_or(i32::MAX),
        decision_groups: decisions.groups(),
        conditions: placement.status.conditions.clone(),
    };
    for statement in &decisions.conditions {
        conditions::set(&mut status.conditions, statement, now.clone());
    }
    (status != placement.status).then(|| {
        // Numbers that are 0 and names that are empty are written too, as upstream does.
        let groups = status.decision_groups.iter().map(|group| {
            json!({
                "decisionGroupIndex": group.decision_group_index,
                "decisionGroupName": group.decision_group_name,
                "decisions": group.decisions,
                "clusterCount": group.cluster_count,
            })
        });
        json!({
            "numberOfSelectedClusters": status.number_of_selected_clusters,
            "decisionGroups": groups.collect::<Vec<_>>(),
            "conditions": status.conditions,
        })
    })
}

/// The scores, for an Event.
pub(super) fn scores(decisions: &Decisions) -> String {
    let mut text = String::new();
    for (name, sum) in &decisions.scores {
        let score = format!("{name}:{sum} ");
        if text.len() + score.len() > SCORES_BYTES_MAX {
            text.push_str("......");
            break;
        }
        text.push_str(&score);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::Snapshot;
    use crate::placement::schedule;
    use jiff::Timestamp;

    fn object(number: usize, group: usize, clusters: &[&str]) -> DecisionObject {
        DecisionObject {
            name: format!("p-decision-{number}"),
            group_index: group,
            group_name: String::new(),
            clusters: clusters.iter().map(|name| (*name).to_owned()).collect(),
        }
    }

    fn shown(writes: &[Write<'_>]) -> String {
        let one = |write: &Write<'_>| match write {
            Write::Create(to) => format!("create {}", to.name),
            Write::Update { to, members, group } => format!("update {} {members} {group}", to.name),
            Write::Delete(name) => format!("delete {name}"),
        };
        writes.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    #[test]
    fn only_what_differs_is_written() {
        let is = [
            object(1, 0, &["a"]),
            object(2, 0, &["b"]),
            object(3, 0, &["c"]),
        ];
        assert_eq!(shown(&plan(&is, &is)), "");
        let wanted = [
            is[0].clone(),
            object(2, 0, &["b", "d"]),
            object(3, 1, &["c"]),
        ];
        assert_eq!(
            shown(&plan(&is, &wanted)),
            "update p-decision-2 true false, update p-decision-3 false true"
        );
        assert_eq!(shown(&plan(&[], &is[..1])), "create p-decision-1");
    }

    #[test]
    fn whoever_moves_is_never_in_no_object() {
        let two = [object(1, 0, &["a", "b"]), object(2, 1, &["c"])];
        let three = [
            object(1, 0, &["a"]),
            object(2, 0, &["b"]),
            object(3, 1, &["c"]),
        ];
        assert_eq!(
            shown(&plan(&two, &three)),
            "create p-decision-3, update p-decision-2 true true, update p-decision-1 true false"
        );
        assert_eq!(
            shown(&plan(&three, &two)),
            "update p-decision-1 true false, update p-decision-2 true true, delete p-decision-3"
        );
    }

    #[test]
    fn a_status_is_written_in_full_and_once() {
        let mut placement: Placement = serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "n"}, "spec": {}}),
        )
        .expect("a placement");
        let snapshot = Snapshot {
            now: Timestamp::UNIX_EPOCH,
            bindings: 0,
            sets: Vec::new(),
            candidates: Vec::new(),
            elsewhere_most: 0,
            existing: Vec::new(),
        };
        let decisions = schedule(&snapshot, &placement);
        let now = Time(Timestamp::UNIX_EPOCH);
        let written = status(&placement, &decisions, now.clone()).expect("a status");
        expect_test::expect![[r#"
            {
              "conditions": [
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "message": "Placement configurations check pass",
                  "reason": "Succeedconfigured",
                  "status": "False",
                  "type": "PlacementMisconfigured"
                },
                {
                  "lastTransitionTime": "1970-01-01T00:00:00Z",
                  "message": "No valid ManagedClusterSetBindings found in placement namespace",
                  "reason": "NoManagedClusterSetBindings",
                  "status": "False",
                  "type": "PlacementSatisfied"
                }
              ],
              "decisionGroups": [
                {
                  "clusterCount": 0,
                  "decisionGroupIndex": 0,
                  "decisionGroupName": "",
                  "decisions": [
                    "p-decision-1"
                  ]
                }
              ],
              "numberOfSelectedClusters": 0
            }"#]]
        .assert_eq(&serde_json::to_string_pretty(&written).expect("JSON"));
        placement.status = serde_json::from_value(written).expect("a status");
        assert_eq!(status(&placement, &decisions, now), None);
    }

    #[test]
    fn an_object_carries_upstreams_labels_and_its_owner() {
        let placement: Placement = serde_json::from_value(
            json!({"metadata": {"name": "p", "namespace": "n", "uid": "u"}, "spec": {}}),
        )
        .expect("a placement");
        let object = DecisionObject {
            group_name: "g".to_owned(),
            ..object(2, 1, &["a"])
        };
        assert_eq!(
            new_object(&placement, &object),
            json!({"metadata": {
                "name": "p-decision-2",
                "namespace": "n",
                "labels": {
                    "cluster.open-cluster-management.io/placement": "p",
                    "cluster.open-cluster-management.io/decision-group-index": "1",
                    "cluster.open-cluster-management.io/decision-group-name": "g",
                },
                "ownerReferences": [{
                    "apiVersion": "cluster.open-cluster-management.io/v1beta1",
                    "kind": "Placement",
                    "name": "p",
                    "uid": "u",
                    "controller": true,
                    "blockOwnerDeletion": true,
                }],
            }})
        );
        assert_eq!(
            members(&object),
            json!({"decisions": [{"clusterName": "a", "reason": ""}]})
        );
    }
}
