//! What an inventory object's metadata and spec should be, and how far its WEC is let in.

use super::joining::Invitation;
use super::taints;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::managed_cluster as types;
use hyades_api::features;
use hyades_api::features::FeatureGates;
use hyades_api::names;
use hyades_api::names::annotations;
use hyades_api::names::finalizers;
use hyades_api::names::labels;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use hyades_runtime::kube::ResourceExt;
use serde_json::Map;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;

/// How far a WEC is let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    /// The administrator has not let it in: nothing is made for it.
    Waiting,
    /// The administrator has let it in.
    Accepted,
    /// The administrator had let it in, and took that back.
    Denied,
}

/// Reads the administrator's decision. `has_traces` says whether the hub holds anything it made for
/// this WEC: whoever announces a WEC chooses its finalizers, and must get nothing made by them.
pub(super) fn admission(object: &ManagedCluster, has_traces: bool) -> Admission {
    if object.spec.hub_accepts_client {
        return Admission::Accepted;
    }
    // Only a WEC that was once let in has the condition or the finalizer. The finalizer comes before
    // its rights and the condition after them, so a change of mind in between must find the former.
    let condition = conditions::find(&object.status.conditions, types::HUB_ACCEPTED);
    let marks = object.finalizers();
    let is_marked = marks
        .iter()
        .any(|name| name == finalizers::API_RESOURCE_CLEANUP);
    match condition.is_some() || (is_marked && has_traces) {
        true => Admission::Denied,
        false => Admission::Waiting,
    }
}

/// Whether a JoinRule may let this WEC in: it waits, or its administrator has accepted it ahead of
/// its first request. One that was let in once and turned away stays out.
pub(super) fn may_be_invited(object: &ManagedCluster) -> bool {
    match admission(object, true) {
        Admission::Accepted => true,
        Admission::Denied => false,
        Admission::Waiting => !was_accepted_at_once(object),
    }
}

/// The changes, as a merge patch, that bring a living inventory object's metadata and spec into
/// order; nothing if it is. `invitation` is that of the rule that has let the WEC in, if one has.
pub(super) fn decide(
    object: &ManagedCluster,
    gates: &FeatureGates,
    invitation: Option<&Invitation>,
    now: &Time,
) -> Option<Value> {
    let mut metadata = Map::new();
    let mut spec = Map::new();
    let mut accepted = object.spec.hub_accepts_client;
    let mut wanted_labels = BTreeMap::new();
    let invitation = invitation.filter(|_| !accepted && may_be_invited(object));
    let by = match invitation {
        Some(invitation) => {
            wanted_labels = invitation.labels_for(object);
            Some(format!("JoinRule {}", invitation.rule))
        }
        None if accepts_at_once(object, gates) => {
            let gate = features::MANAGED_CLUSTER_AUTO_APPROVAL;
            Some(format!("the feature gate {gate}"))
        }
        None => None,
    };
    if let Some(by) = by {
        let key = annotations::AUTOMATICALLY_ACCEPTED_ON;
        let mut stamps = json!({key: now});
        if !accepted {
            stamps[annotations::ACCEPTED_BY] = json!(by);
            spec.insert("hubAcceptsClient".into(), json!(true));
            accepted = true;
        }
        metadata.insert("annotations".into(), stamps);
    } else if !accepted && object.annotations().contains_key(annotations::ACCEPTED_BY) {
        // Nobody has accepted it: what says otherwise was written by the newcomer itself.
        metadata.insert(
            "annotations".into(),
            json!({annotations::ACCEPTED_BY: null}),
        );
    }
    let wanted = finalizers_of(object, gates, accepted);
    if wanted != object.finalizers() {
        metadata.insert("finalizers".into(), json!(wanted));
    }
    let set = object.labels().get(labels::CLUSTER_SET);
    if gates.enabled(features::DEFAULT_CLUSTER_SET) && set.is_none_or(String::is_empty) {
        let default = || names::DEFAULT_CLUSTER_SET.to_owned();
        wanted_labels
            .entry(labels::CLUSTER_SET.to_owned())
            .or_insert_with(default);
    }
    if !wanted_labels.is_empty() {
        metadata.insert("labels".into(), json!(wanted_labels));
    }
    let available = conditions::find(&object.status.conditions, types::AVAILABLE);
    let available = available.map(|condition| condition.status.as_str());
    if let Some(taints) = taints::decide(&object.spec.taints, available, now) {
        spec.insert("taints".into(), json!(taints));
    }
    let mut changes = Map::new();
    for (field, content) in [("metadata", metadata), ("spec", spec)] {
        if !content.is_empty() {
            changes.insert(field.into(), Value::Object(content));
        }
    }
    (!changes.is_empty()).then_some(Value::Object(changes))
}

/// Whether the object is to be accepted without asking: once only, so that a later denial sticks.
fn accepts_at_once(object: &ManagedCluster, gates: &FeatureGates) -> bool {
    gates.enabled(features::MANAGED_CLUSTER_AUTO_APPROVAL) && !was_accepted_at_once(object)
}

fn was_accepted_at_once(object: &ManagedCluster) -> bool {
    let done = annotations::AUTOMATICALLY_ACCEPTED_ON;
    object.annotations().contains_key(done)
}

fn finalizers_of(object: &ManagedCluster, gates: &FeatureGates, accepted: bool) -> Vec<String> {
    let cleanup = gates.enabled(features::RESOURCE_CLEANUP);
    let mut wanted: Vec<String> = object.finalizers().to_vec();
    if !cleanup {
        wanted.retain(|finalizer| finalizer != finalizers::RESOURCE_CLEANUP);
    }
    for (finalizer, needed) in [
        (finalizers::RESOURCE_CLEANUP, cleanup),
        (finalizers::API_RESOURCE_CLEANUP, accepted),
    ] {
        if needed && !wanted.iter().any(|present| present == finalizer) {
            wanted.push(finalizer.to_owned());
        }
    }
    wanted
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_api::features::Family;

    fn now() -> Time {
        Time(jiff::Timestamp::from_second(7).expect("a time"))
    }

    fn gates(settings: &[&str]) -> FeatureGates {
        let settings = settings.iter().copied();
        FeatureGates::parse(&[Family::HubRegistration], settings).expect("gates")
    }

    fn object(json: Value) -> ManagedCluster {
        serde_json::from_value(json).expect("a ManagedCluster")
    }

    fn accepted_condition(status: &str) -> Value {
        json!({"conditions": [{
            "type": "HubAcceptedManagedCluster", "status": status, "reason": "r", "message": "",
            "lastTransitionTime": "1970-01-01T00:00:00Z",
        }]})
    }

    #[test]
    fn admission_follows_the_administrator_and_remembers_the_past() {
        let spec = |accepted: bool| json!({"hubAcceptsClient": accepted});
        let cases = [
            (json!({"spec": spec(false)}), Admission::Waiting),
            (json!({"spec": spec(true)}), Admission::Accepted),
            (
                json!({"spec": spec(false), "status": accepted_condition("True")}),
                Admission::Denied,
            ),
            (
                json!({"spec": spec(false), "status": accepted_condition("False")}),
                Admission::Denied,
            ),
            (
                json!({"spec": spec(true), "status": accepted_condition("False")}),
                Admission::Accepted,
            ),
            (
                json!({"spec": spec(false), "metadata": {"finalizers": [
                    "cluster.open-cluster-management.io/api-resource-cleanup",
                ]}}),
                Admission::Denied,
            ),
        ];
        for (json, expected) in cases {
            assert_eq!(admission(&object(json.clone()), true), expected, "{json}");
        }
    }

    #[test]
    fn a_finalizer_that_a_newcomer_brings_is_no_acceptance() {
        let marked = object(json!({"metadata": {
            "name": "c1", "finalizers": [finalizers::API_RESOURCE_CLEANUP],
        }}));
        assert_eq!(admission(&marked, false), Admission::Waiting);
        assert!(!may_be_invited(&marked));
    }

    #[test]
    fn a_newcomer_gets_its_set_its_taint_and_a_finalizer_in_one_patch() {
        let changes = decide(
            &object(json!({"metadata": {"name": "c1"}})),
            &gates(&[]),
            None,
            &now(),
        );
        assert_eq!(
            changes,
            Some(json!({
                "metadata": {
                    "finalizers": ["cluster.open-cluster-management.io/resource-cleanup"],
                    "labels": {"cluster.open-cluster-management.io/clusterset": "default"},
                },
                "spec": {"taints": [{
                    "key": "cluster.open-cluster-management.io/unreachable",
                    "effect": "NoSelect",
                    "timeAdded": "1970-01-01T00:00:07Z",
                }]},
            }))
        );
    }

    #[test]
    fn an_object_in_order_is_left_alone() {
        let mut present = object(json!({
            "metadata": {
                "name": "c1",
                "labels": {"cluster.open-cluster-management.io/clusterset": "s1"},
                "finalizers": [
                    "example.com/other",
                    "cluster.open-cluster-management.io/resource-cleanup",
                    "cluster.open-cluster-management.io/api-resource-cleanup",
                ],
            },
            "spec": {"hubAcceptsClient": true},
        }));
        let statement = types::AVAILABLE_STATEMENT;
        conditions::set(&mut present.status.conditions, &statement, now());
        assert_eq!(decide(&present, &gates(&[]), None, &now()), None);
    }

    #[test]
    fn acceptance_without_asking_happens_once() {
        let gates = gates(&["ManagedClusterAutoApproval=true", "DefaultClusterSet=false"]);
        let newcomer = object(json!({"metadata": {"name": "c1"}}));
        let changes = decide(&newcomer, &gates, None, &now()).expect("changes");
        assert_eq!(changes["spec"]["hubAcceptsClient"], true);
        let stamp = &changes["metadata"]["annotations"][annotations::AUTOMATICALLY_ACCEPTED_ON];
        assert_eq!(stamp, "1970-01-01T00:00:07Z");
        let finalizers = changes["metadata"]["finalizers"]
            .as_array()
            .expect("a list");
        assert_eq!(finalizers.len(), 2);
        assert_eq!(changes["metadata"].get("labels"), None);

        let denied = object(json!({"metadata": {
            "name": "c1",
            "annotations": {annotations::AUTOMATICALLY_ACCEPTED_ON: "1970-01-01T00:00:01Z"},
        }}));
        let changes = decide(&denied, &gates, None, &now()).expect("changes");
        assert_eq!(changes["spec"].get("hubAcceptsClient"), None);
    }

    fn invitation() -> Invitation {
        Invitation {
            rule: "edge".to_owned(),
            labels: [("tier".to_owned(), "edge".to_owned())].into(),
            cluster_set: Some("s1".to_owned()),
        }
    }

    #[test]
    fn an_invited_newcomer_is_accepted_labelled_and_put_into_its_set_in_one_patch() {
        let newcomer = object(json!({"metadata": {"name": "c1"}}));
        let changes = decide(&newcomer, &gates(&[]), Some(&invitation()), &now());
        let changes = changes.expect("changes");
        assert_eq!(changes["spec"]["hubAcceptsClient"], true);
        assert_eq!(
            changes["metadata"]["labels"],
            json!({"tier": "edge", labels::CLUSTER_SET: "s1"})
        );
        assert_eq!(
            changes["metadata"]["annotations"],
            json!({
                annotations::AUTOMATICALLY_ACCEPTED_ON: "1970-01-01T00:00:07Z",
                annotations::ACCEPTED_BY: "JoinRule edge",
            })
        );
    }

    #[test]
    fn a_wec_that_was_turned_away_is_not_invited_again() {
        let turned_away = [
            json!({"metadata": {"name": "c1"}, "status": accepted_condition("False")}),
            json!({"metadata": {"name": "c1", "annotations": {
                annotations::AUTOMATICALLY_ACCEPTED_ON: "1970-01-01T00:00:01Z",
            }}}),
        ];
        for json in turned_away {
            let object = object(json);
            assert!(!may_be_invited(&object));
            let changes = decide(&object, &gates(&[]), Some(&invitation()), &now());
            assert_eq!(
                changes.expect("changes")["spec"].get("hubAcceptsClient"),
                None
            );
        }
    }

    #[test]
    fn a_newcomer_cannot_say_who_accepted_it() {
        let newcomer = object(json!({"metadata": {
            "name": "c1", "annotations": {annotations::ACCEPTED_BY: "the queen"},
        }}));
        let changes = decide(&newcomer, &gates(&[]), None, &now()).expect("changes");
        assert_eq!(
            changes["metadata"]["annotations"],
            json!({annotations::ACCEPTED_BY: null})
        );
    }
}
