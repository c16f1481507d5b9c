//! Which change concerns whom, and what a placement is decided on.

use super::*;
use hyades_api::names::labels;
use serde_json::Value;
use serde_json::json;

fn wec(name: &str, set: &str, rest: Value) -> Arc<ManagedCluster> {
    let mut object = rest;
    object["metadata"]["name"] = json!(name);
    object["metadata"]["uid"] = json!(name);
    object["metadata"]["labels"][labels::CLUSTER_SET] = json!(set);
    Arc::new(serde_json::from_value(object).expect("a ManagedCluster"))
}

fn set(name: &str, selector: Value) -> ManagedClusterSet {
    let object = json!({"metadata": {"name": name}, "spec": {"clusterSelector": selector}});
    serde_json::from_value(object).expect("a set")
}

fn exclusive(name: &str) -> ManagedClusterSet {
    set(name, json!({"selectorType": "ExclusiveClusterSetLabel"}))
}

fn binding(namespace: &str, name: &str, set: &str) -> ManagedClusterSetBinding {
    let metadata = json!({"name": name, "namespace": namespace});
    let object = json!({"metadata": metadata, "spec": {"clusterSet": set}});
    serde_json::from_value(object).expect("a binding")
}

fn placement(namespace: &str, name: &str, spec: Value) -> Arc<Placement> {
    let metadata = json!({"name": name, "namespace": namespace, "uid": name});
    let object = json!({"metadata": metadata, "spec": spec});
    Arc::new(serde_json::from_value(object).expect("a placement"))
}

fn decision(
    placement: &str,
    number: usize,
    version: u32,
    clusters: &[&str],
) -> Arc<PlacementDecision> {
    let decisions: Vec<_> = clusters
        .iter()
        .map(|name| json!({"clusterName": name}))
        .collect();
    let name = format!("{placement}-decision-{number}");
    let object = json!({
        "metadata": {
            "name": name,
            "namespace": "n1",
            "uid": name,
            "resourceVersion": version.to_string(),
            "labels": {labels::PLACEMENT: placement, labels::DECISION_GROUP_INDEX: "0", labels::DECISION_GROUP_NAME: ""},
        },
        "status": {"decisions": decisions},
    });
    Arc::new(serde_json::from_value(object).expect("a decision"))
}

fn score(value: i32, version: u32) -> Arc<AddOnPlacementScore> {
    let object = json!({
        "metadata": {"name": "r", "namespace": "c1", "resourceVersion": version.to_string()},
        "status": {"scores": [{"name": "s", "value": value}]},
    });
    Arc::new(serde_json::from_value(object).expect("scores"))
}

fn names(keys: BTreeSet<Key>) -> String {
    let all = keys
        .into_iter()
        .map(|(namespace, name)| format!("{namespace}/{name}"));
    all.collect::<Vec<_>>().join(" ")
}

/// Sets `a` and `b`; `n1` may use both, `n2` only `b`. In `n1` the placement `any` asks for either,
/// `only-a` for `a`, `cel` looks by CEL, `scored` at scores; in `n2` there is `other`.
fn filled() -> Index {
    let mut index = Index::default();
    for name in ["a", "b"] {
        index.set(name, Some(&exclusive(name)));
        index.binding("n1", name, Some(&binding("n1", name, name)));
    }
    index.binding("n2", "b", Some(&binding("n2", "b", "b")));
    let cel = json!({"celSelector": {"celExpressions": ["true"]}});
    let coordinate = json!({"type": "AddOn", "addOn": {"resourceName": "r", "scoreName": "s"}});
    for (namespace, name, spec) in [
        ("n1", "any", json!({})),
        ("n1", "only-a", json!({"clusterSets": ["a"]})),
        (
            "n1",
            "cel",
            json!({"clusterSets": ["a"], "predicates": [{"requiredClusterSelector": cel}]}),
        ),
        (
            "n1",
            "scored",
            json!({"clusterSets": ["a"], "prioritizerPolicy": {"configurations": [{"scoreCoordinate": coordinate}]}}),
        ),
        ("n2", "other", json!({})),
    ] {
        let key = (namespace.to_owned(), name.to_owned());
        let concerned = index.placement(&key, Some(placement(namespace, name, spec)));
        assert_eq!(concerned, BTreeSet::from([key]));
    }
    index
}

fn snapshot(index: &Index, namespace: &str, name: &str) -> Snapshot {
    let key = (namespace.to_owned(), name.to_owned());
    index
        .snapshot(&key, Timestamp::UNIX_EPOCH)
        .expect("the placement")
        .1
}

fn candidates(index: &Index, namespace: &str, name: &str) -> String {
    let snapshot = snapshot(index, namespace, name);
    let names = snapshot
        .candidates
        .iter()
        .map(|one| one.wec.name().to_owned());
    names.collect::<Vec<_>>().join(" ")
}

#[test]
fn a_wec_concerns_the_placements_that_may_choose_it_and_no_others() {
    let mut index = filled();
    let everybody_of_a = "n1/any n1/cel n1/only-a n1/scored";
    assert_eq!(
        names(index.wec("c1", Some(wec("c1", "a", json!({}))))),
        everybody_of_a
    );
    assert_eq!(
        names(index.wec("c2", Some(wec("c2", "b", json!({}))))),
        "n1/any n2/other"
    );
    assert_eq!(
        names(index.wec("c3", Some(wec("c3", "none", json!({}))))),
        ""
    );
    assert_eq!(candidates(&index, "n1", "any"), "c1 c2");
    assert_eq!(candidates(&index, "n2", "other"), "c2");

    let moved = index.wec("c1", Some(wec("c1", "b", json!({}))));
    assert_eq!(names(moved), "n1/any n1/cel n1/only-a n1/scored n2/other");
    assert_eq!(candidates(&index, "n1", "only-a"), "");
    assert_eq!(names(index.wec("c1", None)), "n1/any n2/other");
    let leaving = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    assert_eq!(
        names(index.wec("c2", Some(wec("c2", "b", leaving)))),
        "n1/any n2/other"
    );
    assert_eq!(candidates(&index, "n1", "any"), "");
    assert_eq!(names(index.wec("c2", None)), "", "gone already");
}

#[test]
fn a_change_that_nobody_can_see_concerns_nobody() {
    let mut index = filled();
    index.wec("c1", Some(wec("c1", "a", json!({}))));
    let touched = json!({"metadata": {"resourceVersion": "9"}});
    assert_eq!(names(index.wec("c1", Some(wec("c1", "a", touched)))), "");
    let version = snapshot(&index, "n1", "any").candidates[0].wec.version;
    let condition = json!({"status": {"conditions": [{"type": "x", "status": "True", "reason": "y", "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"}]}});
    assert_eq!(
        names(index.wec("c1", Some(wec("c1", "a", condition)))),
        "n1/cel"
    );
    assert_ne!(
        snapshot(&index, "n1", "any").candidates[0].wec.version,
        version
    );
    for seen in [
        json!({"metadata": {"labels": {"k": "v"}}}),
        json!({"spec": {"taints": [{"key": "t", "effect": "NoSelect"}]}}),
        json!({"status": {"clusterClaims": [{"name": "n", "value": "v"}]}}),
        json!({"status": {"allocatable": {"cpu": "1"}}}),
        json!({"status": {"capacity": {"cpu": "1"}}}),
    ] {
        let concerned = index.wec("c1", Some(wec("c1", "a", seen.clone())));
        assert_eq!(
            names(concerned),
            "n1/any n1/cel n1/only-a n1/scored",
            "{seen}"
        );
    }
}

#[test]
fn scores_concern_those_who_look_at_them() {
    let mut index = filled();
    assert_eq!(
        names(index.score("c1", "r", Some(score(1, 1)))),
        "",
        "no such WEC yet"
    );
    index.wec("c1", Some(wec("c1", "a", json!({}))));
    assert_eq!(
        snapshot(&index, "n1", "any").candidates[0].wec.scores.len(),
        1
    );
    assert_eq!(
        names(index.score("c1", "r", Some(score(1, 2)))),
        "",
        "the same as before"
    );
    assert_eq!(
        names(index.score("c1", "r", Some(score(2, 3)))),
        "n1/cel n1/scored"
    );
    assert_eq!(
        names(index.score("c1", "other", Some(score(2, 3)))),
        "n1/cel"
    );
    assert_eq!(names(index.score("c1", "r", None)), "n1/cel n1/scored");
}

#[test]
fn sets_and_bindings_give_and_take() {
    let mut index = filled();
    for (name, of) in [("c1", "a"), ("c2", "b")] {
        index.wec(
            name,
            Some(wec(
                name,
                of,
                json!({"metadata": {"labels": {"name": name}}}),
            )),
        );
    }
    assert_eq!(names(index.binding("n2", "b", None)), "n2/other");
    assert_eq!(snapshot(&index, "n2", "other").bindings, 0);
    let misnamed = binding("n2", "a", "b");
    assert_eq!(
        names(index.binding("n2", "a", Some(&misnamed))),
        "",
        "binds neither a nor b"
    );
    assert_eq!(
        names(index.binding("n1", "b", Some(&binding("n1", "b", "b")))),
        "",
        "as before"
    );

    let everybody = "n1/any n1/cel n1/only-a n1/scored";
    assert_eq!(
        names(index.set("b", None)),
        everybody,
        "it is bound no more"
    );
    let after = snapshot(&index, "n1", "any");
    assert_eq!((after.bindings, after.sets), (1, vec!["a".to_owned()]));
    assert_eq!(names(index.set("b", Some(&exclusive("b")))), everybody);
    assert_eq!(candidates(&index, "n1", "any"), "c1 c2");

    let selecting = |labels: Value| {
        set(
            "b",
            json!({"selectorType": "LabelSelector", "labelSelector": labels}),
        )
    };
    assert_eq!(names(index.set("b", Some(&selecting(json!({}))))), "n1/any");
    assert_eq!(
        candidates(&index, "n1", "any"),
        "c1 c2",
        "each once, though in two sets"
    );
    index.set(
        "b",
        Some(&selecting(json!({"matchLabels": {"name": "c2"}}))),
    );
    let wrong = selecting(json!({"matchExpressions": [{"key": "k", "operator": "Like"}]}));
    assert_eq!(
        names(index.set("b", Some(&wrong))),
        "",
        "the last good members stay"
    );
    assert_eq!(candidates(&index, "n1", "any"), "c1 c2");
    assert_eq!(
        names(index.set("a", Some(&exclusive("a")))),
        "",
        "as before"
    );
    let missing = index.snapshot(&("n1".to_owned(), "none".to_owned()), Timestamp::UNIX_EPOCH);
    assert!(missing.is_none());
}

#[test]
fn what_was_decided_is_no_news_and_what_somebody_else_wrote_is() {
    let mut index = filled();
    let key = ("n1".to_owned(), "any".to_owned());
    let wanted = said(&decision("any", 1, 0, &["c1"]));
    index.expect(&key, &[wanted]);
    let mut told = |number: usize, now: Option<Arc<PlacementDecision>>| {
        let name = format!("any-decision-{number}");
        names(index.decision("n1", &name, now))
    };
    assert_eq!(told(1, Some(decision("any", 1, 3, &["c1"]))), "");
    assert_eq!(
        told(1, Some(decision("any", 1, 2, &[]))),
        "",
        "older than what is known"
    );
    assert_eq!(told(1, Some(decision("any", 1, 4, &["c2"]))), "n1/any");
    assert_eq!(told(1, None), "n1/any");
    assert_eq!(
        told(2, Some(decision("any", 2, 5, &[]))),
        "n1/any",
        "one too many"
    );
    assert_eq!(told(2, None), "");
    let foreign = index.decision("n1", "x-decision-1", Some(decision("x", 1, 1, &["c1"])));
    assert_eq!(names(foreign), "", "there is no such placement");
}

#[test]
fn others_decisions_are_counted_and_ones_own_are_not() {
    let mut index = filled();
    for name in ["c1", "c2"] {
        index.wec(name, Some(wec(name, "a", json!({}))));
    }
    for (placement, clusters) in [
        ("any", &["c1", "c2"][..]),
        ("cel", &["c1"]),
        ("x", &["c1", "far"]),
    ] {
        let object = decision(placement, 1, 1, clusters);
        index.decision("n1", &object.name_any(), Some(object.clone()));
    }
    let counts = |index: &Index, name: &str| {
        let snapshot = snapshot(index, "n1", name);
        let counts: Vec<_> = snapshot
            .candidates
            .iter()
            .map(|one| one.elsewhere)
            .collect();
        (counts, snapshot.elsewhere_most)
    };
    assert_eq!(counts(&index, "any"), (vec![2, 0], 2));
    assert_eq!(counts(&index, "only-a"), (vec![3, 1], 3));
    index.decision("n1", "x-decision-1", None);
    assert_eq!(counts(&index, "only-a"), (vec![2, 1], 2));
    assert!(!index.chosen.contains_key("far"));
}

#[test]
fn a_status_of_ones_own_is_no_news_and_another_spec_is() {
    let mut index = filled();
    let key = ("n1".to_owned(), "any".to_owned());
    let mut object = placement("n1", "any", json!({}));
    Arc::make_mut(&mut object)
        .status
        .number_of_selected_clusters = 3;
    assert_eq!(names(index.placement(&key, Some(object.clone()))), "");
    Arc::make_mut(&mut object).spec.number_of_clusters = Some(1);
    assert_eq!(names(index.placement(&key, Some(object.clone()))), "n1/any");
    let disabled = Arc::make_mut(&mut object).annotations_mut();
    disabled.insert(
        hyades_api::names::annotations::SCHEDULING_DISABLED.to_owned(),
        "true".to_owned(),
    );
    assert_eq!(names(index.placement(&key, Some(object))), "n1/any");
    assert_eq!(
        names(index.placement(&key, None)),
        "n1/any",
        "so that it is forgotten"
    );
    assert_eq!(index.all().len(), 4);
}
