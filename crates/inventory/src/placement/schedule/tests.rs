//! Tables of decisions.

use super::*;
use crate::placement::snapshot::Wec;
use serde_json::Value;
use serde_json::json;
use std::sync::Arc;

pub(super) fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

pub(super) const NOW: i64 = 1_000_000;

pub(super) fn placement(spec: Value) -> Placement {
    let object = json!({"metadata": {"name": "p", "namespace": "n"}, "spec": spec});
    serde_json::from_value(object).expect("a placement")
}

/// A WEC with the rest of its object as given.
pub(super) fn candidate(name: &str, rest: Value) -> Candidate {
    let mut object = rest;
    object["metadata"]["name"] = json!(name);
    let elsewhere = object["elsewhere"].as_u64().unwrap_or_default() as u32;
    let scores = object["scores"].take();
    let scores: Option<_> = serde_json::from_value(scores).expect("scores");
    Candidate {
        wec: Arc::new(Wec {
            version: name.bytes().fold(7, |sum, byte| sum * 31 + u64::from(byte)),
            object: Arc::new(serde_json::from_value(object).expect("a ManagedCluster")),
            scores: scores.unwrap_or_default(),
        }),
        elsewhere,
    }
}

pub(super) fn snapshot(mut candidates: Vec<Candidate>) -> Snapshot {
    candidates.sort_by(|a, b| a.wec.name().cmp(b.wec.name()));
    Snapshot {
        now: at(NOW),
        bindings: 1,
        sets: vec!["global".to_owned()],
        elsewhere_most: candidates
            .iter()
            .map(|one| one.elsewhere)
            .max()
            .unwrap_or_default(),
        candidates,
        existing: Vec::new(),
    }
}

fn plain(names: &[&str]) -> Snapshot {
    snapshot(
        names
            .iter()
            .map(|name| candidate(name, json!({})))
            .collect(),
    )
}

/// The same with these chosen already.
pub(super) fn with_chosen(mut snapshot: Snapshot, chosen: &[&str]) -> Snapshot {
    snapshot.existing = vec![DecisionObject {
        name: "p-decision-1".to_owned(),
        clusters: chosen.iter().map(|name| (*name).to_owned()).collect(),
        ..DecisionObject::default()
    }];
    snapshot
}

fn chosen(decisions: &Decisions) -> String {
    let all = decisions.objects.iter().flat_map(|object| &object.clusters);
    all.cloned().collect::<Vec<_>>().join(" ")
}

fn choose(snapshot: &Snapshot, spec: Value) -> String {
    chosen(&schedule(snapshot, &placement(spec)))
}

/// The condition `PlacementSatisfied` in short.
fn satisfied(snapshot: &Snapshot, spec: Value) -> String {
    let decisions = schedule(snapshot, &placement(spec));
    let [_, satisfied] = decisions.conditions;
    format!(
        "{} {}: {}",
        satisfied.status.as_str(),
        satisfied.reason,
        satisfied.message
    )
}

fn selector(selector: Value) -> Value {
    json!({"predicates": [{"requiredClusterSelector": selector}]})
}

#[test]
fn predicates_are_alternatives_and_their_parts_conditions() {
    let claims = |region: &str| json!({"clusterClaims": [{"name": "region", "value": region}]});
    let fleet = snapshot(vec![
        candidate(
            "a",
            json!({"metadata": {"labels": {"env": "prod"}}, "status": claims("east")}),
        ),
        candidate(
            "b",
            json!({"metadata": {"labels": {"env": "prod"}}, "status": claims("west")}),
        ),
        candidate(
            "c",
            json!({"metadata": {"labels": {"env": "dev"}}, "status": claims("east")}),
        ),
        candidate("d", json!({})),
    ]);
    let prod = json!({"matchLabels": {"env": "prod"}});
    let east =
        json!({"matchExpressions": [{"key": "region", "operator": "In", "values": ["east"]}]});
    let cel = json!({"celExpressions": ["managedCluster.metadata.name < 'c'", "managedCluster.metadata.labels.env != ''"]});
    for (spec, expected) in [
        (json!({}), "a b c d"),
        (json!({"predicates": []}), "a b c d"),
        (selector(json!({})), "a b c d"),
        (selector(json!({"labelSelector": prod})), "a b"),
        (selector(json!({"claimSelector": east})), "a c"),
        (
            selector(json!({"labelSelector": prod, "claimSelector": east})),
            "a",
        ),
        (selector(json!({"celSelector": cel})), "a b"),
        (
            selector(json!({"celSelector": cel, "claimSelector": east})),
            "a",
        ),
        (
            json!({"predicates": [
                {"requiredClusterSelector": {"labelSelector": prod, "claimSelector": east}},
                {"requiredClusterSelector": {"labelSelector": {"matchLabels": {"env": "dev"}}}},
            ]}),
            "a c",
        ),
        (
            selector(json!({"labelSelector": {"matchLabels": {"env": "none"}}})),
            "",
        ),
    ] {
        assert_eq!(choose(&fleet, spec.clone()), expected, "{spec}");
    }
}

#[test]
fn taints_keep_wecs_away() {
    let taint = |effect: &str| json!({"spec": {"taints": [{"key": "t", "effect": effect, "timeAdded": at(NOW - 10).to_string()}]}});
    let fleet = snapshot(vec![
        candidate("a", json!({})),
        candidate("b", taint("NoSelect")),
        candidate("c", taint("NoSelectIfNew")),
        candidate("d", taint("PreferNoSelect")),
    ]);
    assert_eq!(choose(&fleet, json!({})), "a d");
    let tolerant = json!({"tolerations": [{"key": "t", "operator": "Exists"}]});
    assert_eq!(choose(&fleet, tolerant), "a b c d");
    let chosen_before = with_chosen(fleet, &["b", "c"]);
    assert_eq!(
        choose(&chosen_before, json!({})),
        "a c d",
        "who is chosen stays, unless NoSelect"
    );
}

#[test]
fn a_toleration_that_ends_brings_the_placement_back() {
    let taint = json!({"spec": {"taints": [{"key": "t", "effect": "NoSelect", "timeAdded": at(NOW - 10).to_string()}]}});
    let fleet = snapshot(vec![candidate("a", json!({})), candidate("b", taint)]);
    let spec =
        json!({"tolerations": [{"key": "t", "operator": "Exists", "tolerationSeconds": 15}]});
    let mut later = fleet.clone();
    let decisions = schedule(&fleet, &placement(spec.clone()));
    assert_eq!(
        (chosen(&decisions).as_str(), decisions.again_at),
        ("a b", Some(at(NOW + 5)))
    );
    later.now = at(NOW + 5);
    let decisions = schedule(&later, &placement(spec.clone()));
    assert_eq!(
        (chosen(&decisions).as_str(), decisions.again_at),
        ("a", None)
    );
    let mut one = spec;
    one["numberOfClusters"] = json!(1);
    let decisions = schedule(&fleet, &placement(one));
    assert_eq!(
        decisions.again_at, None,
        "b is not chosen, so nobody waits for it"
    );
}

#[test]
fn the_best_are_taken_and_names_decide_between_equals() {
    let cpu = |amount: &str| json!({"allocatable": {"cpu": amount}, "capacity": {"cpu": amount}});
    let score = |value: i32| json!({"r": {"metadata": {"name": "r"}, "status": {"scores": [{"name": "s", "value": value}]}}});
    let fleet = snapshot(vec![
        candidate(
            "a",
            json!({"elsewhere": 2, "status": cpu("8"), "scores": score(10)}),
        ),
        candidate(
            "b",
            json!({"elsewhere": 1, "status": cpu("4"), "scores": score(20)}),
        ),
        candidate("c", json!({"status": cpu("2"), "scores": score(-90)})),
        candidate("d", json!({"status": cpu("16")})),
    ]);
    let two = |policy: Value| json!({"numberOfClusters": 2, "prioritizerPolicy": policy});
    let built_in =
        |name: &str, weight: i32| json!({"scoreCoordinate": {"builtIn": name}, "weight": weight});
    let add_on = |weight: i32| json!({"scoreCoordinate": {"type": "AddOn", "addOn": {"resourceName": "r", "scoreName": "s"}}, "weight": weight});
    for (policy, expected) in [
        (json!({}), "c d"),
        (json!({"mode": "Exact"}), "a b"),
        (
            json!({"mode": "Exact", "configurations": [built_in("ResourceAllocatableCPU", 1)]}),
            "a d",
        ),
        (
            json!({"mode": "Exact", "configurations": [built_in("ResourceAllocatableCPU", -1)]}),
            "b c",
        ),
        (
            json!({"mode": "Exact", "configurations": [add_on(1)]}),
            "a b",
        ),
        (
            json!({"mode": "Exact", "configurations": [add_on(-1)]}),
            "c d",
        ),
        // Balance says -100, 0, 100, 100 and the add-on 3·(10, 20, -90, 0).
        (json!({"configurations": [add_on(3)]}), "b d"),
        (json!({"configurations": [built_in("Balance", 0)]}), "a b"),
    ] {
        assert_eq!(choose(&fleet, two(policy.clone())), expected, "{policy}");
    }
    let decisions = schedule(
        &fleet,
        &placement(two(json!({"configurations": [add_on(3)]}))),
    );
    let scores: Vec<_> = decisions
        .scores
        .iter()
        .map(|(name, sum)| format!("{name}:{sum}"))
        .collect();
    assert_eq!(scores.join(" "), "d:100 b:60 a:-70 c:-170");
}

#[test]
fn steady_holds_a_placement_where_it_is() {
    let fleet = with_chosen(plain(&["a", "b", "c"]), &["c"]);
    assert_eq!(choose(&fleet, json!({"numberOfClusters": 1})), "c");
    assert_eq!(choose(&fleet, json!({"numberOfClusters": 2})), "a c");
    let exact = json!({"numberOfClusters": 1, "prioritizerPolicy": {"mode": "Exact"}});
    assert_eq!(choose(&fleet, exact), "a", "without Steady names decide");
}

#[test]
fn the_condition_says_what_is_missing() {
    let three = plain(&["a", "b", "c"]);
    assert_eq!(
        satisfied(&three, json!({})),
        "True AllDecisionsScheduled: All cluster decisions scheduled"
    );
    assert_eq!(
        satisfied(&three, json!({"numberOfClusters": 3})),
        "True AllDecisionsScheduled: All cluster decisions scheduled"
    );
    assert_eq!(
        satisfied(&three, json!({"numberOfClusters": 5})),
        "False NotAllDecisionsScheduled: 2 cluster decisions unscheduled"
    );
    let nobody =
        "False NoManagedClusterMatched: No ManagedCluster matches any of the cluster predicate";
    assert_eq!(satisfied(&three, json!({"numberOfClusters": 0})), nobody);
    let none = json!({"labelSelector": {"matchLabels": {"k": "v"}}});
    assert_eq!(satisfied(&three, selector(none)), nobody);
    assert_eq!(
        satisfied(&plain(&[]), json!({})),
        "False AllManagedClusterSetsEmpty: All ManagedClusterSets [global] have no member ManagedCluster"
    );
    let mut unbound = plain(&[]);
    unbound.sets.clear();
    assert_eq!(
        satisfied(&unbound, json!({"clusterSets": ["x", "y"]})),
        "False NoIntersection: None of ManagedClusterSets [x,y] is bound to placement namespace"
    );
    unbound.bindings = 0;
    assert_eq!(
        satisfied(&unbound, json!({"clusterSets": ["x"]})),
        "False NoManagedClusterSetBindings: No valid ManagedClusterSetBindings found in placement namespace"
    );
}

#[test]
fn a_placement_that_can_be_followed_says_so() {
    let [misconfigured, _] = schedule(&plain(&["a"]), &placement(json!({}))).conditions;
    assert_eq!(misconfigured, statements::SUCCEED_CONFIGURED);
    assert_eq!(misconfigured.reason, "Succeedconfigured");
    assert_eq!(misconfigured.message, "Placement configurations check pass");
}

#[test]
fn a_slip_of_the_pen_removes_nothing() {
    let wrong = selector(json!({"celSelector": {"celExpressions": ["xxxx.expression"]}}));
    let message = "Predicate:compilation failed: undeclared reference to 'xxxx'";
    let fleet = with_chosen(plain(&["a", "b", "c"]), &["a", "b", "left"]);
    let decisions = schedule(&fleet, &placement(wrong.clone()));
    let [misconfigured, satisfied] = &decisions.conditions;
    assert_eq!(
        (misconfigured.status.as_str(), &*misconfigured.reason),
        ("True", "Misconfigured")
    );
    assert_eq!(misconfigured.message, message);
    assert_eq!(satisfied.reason, "NotAllDecisionsScheduled");
    assert_eq!(
        satisfied.message,
        format!("the last 2 cluster decisions stand: {message}")
    );
    assert_eq!(
        chosen(&decisions),
        "a b",
        "only who is no candidate any more goes"
    );

    let new = schedule(&plain(&["a"]), &placement(wrong));
    assert_eq!((chosen(&new).as_str(), new.objects.len()), ("", 1));
    assert_eq!(new.conditions[1].reason, "NoManagedClusterMatched");
}

#[test]
fn scores_that_are_too_old_are_told_of() {
    let scores = json!({"r": {"metadata": {"name": "r"}, "status": {"scores": [{"name": "s", "value": 100}], "validUntil": at(NOW - 1).to_string()}}});
    let fleet = snapshot(vec![
        candidate("a", json!({})),
        candidate("b", json!({"scores": scores})),
    ]);
    let coordinate = json!({"type": "AddOn", "addOn": {"resourceName": "r", "scoreName": "s"}});
    let spec = json!({"numberOfClusters": 1, "prioritizerPolicy": {"configurations": [{"scoreCoordinate": coordinate, "weight": 1}]}});
    let decisions = schedule(&fleet, &placement(spec));
    assert_eq!(chosen(&decisions), "a", "an old score is none");
    let warning = decisions.warning.expect("a warning");
    assert_eq!(warning.plugin, "AddOn/r/s");
    assert_eq!(warning.message, "AddOnPlacementScores b/r expired");
}

#[test]
fn the_status_lists_groups_and_their_objects() {
    let names: Vec<_> = (0..150).map(|number| format!("c{number:03}")).collect();
    let fleet = plain(&names.iter().map(String::as_str).collect::<Vec<_>>());
    let strategy = json!({"groupStrategy": {"clustersPerDecisionGroup": 120}});
    let decisions = schedule(&fleet, &placement(json!({"decisionStrategy": strategy})));
    assert_eq!(decisions.selected(), 150);
    let groups: Vec<_> = decisions
        .groups()
        .into_iter()
        .map(|group| {
            (
                group.decision_group_index,
                group.cluster_count,
                group.decisions.join(" "),
            )
        })
        .collect();
    assert_eq!(
        groups,
        [
            (0, 120, "p-decision-1 p-decision-2".to_owned()),
            (1, 30, "p-decision-3".to_owned()),
        ]
    );
}

#[test]
fn five_thousand_wecs_are_examined_once_and_then_only_as_they_change() {
    let wec = |number: u64, version: u64, env: &str| Candidate {
        wec: Arc::new(Wec {
            version,
            object: Arc::new(
                serde_json::from_value(
                    json!({"metadata": {"name": format!("c{number:05}"), "labels": {"env": env}}}),
                )
                .expect("a ManagedCluster"),
            ),
            scores: Default::default(),
        }),
        elsewhere: 0,
    };
    let mut fleet = snapshot(
        (0..5000)
            .map(|number| wec(number, number, "prod"))
            .collect(),
    );
    let cel = json!({"celExpressions": ["managedCluster.metadata.labels.env == 'prod'"]});
    let placement = placement(selector(json!({"celSelector": cel})));
    let mut scheduler = Scheduler::new();
    let first = scheduler.schedule(&fleet, &placement);
    assert_eq!(
        (first.examined, first.selected(), first.objects.len()),
        (5000, 5000, 50)
    );

    fleet.existing = first.objects.clone();
    let idle = scheduler.schedule(&fleet, &placement);
    assert_eq!((idle.examined, &idle.objects), (0, &first.objects));

    fleet.candidates[17] = wec(17, 9001, "dev");
    fleet.candidates[4000] = wec(4000, 9002, "prod");
    let changed = scheduler.schedule(&fleet, &placement);
    assert_eq!((changed.examined, changed.selected()), (2, 4999));
    let touched = changed
        .objects
        .iter()
        .filter(|object| !first.objects.contains(object));
    assert_eq!(touched.count(), 1, "one WEC left, so one object changed");
}
