use super::*;
use crate::works::summary;
use expect_test::expect;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use serde_json::Value;
use serde_json::json;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

/// A set with these placements and rollout strategies.
fn set(references: Value) -> ManifestWorkReplicaSet {
    serde_json::from_value(json!({
        "metadata": {"name": "web", "namespace": "n", "uid": "1", "generation": 4},
        "spec": {"manifestWorkTemplate": {"workload": {"manifests": [{"v": 2}]}},
                 "placementRefs": references},
    }))
    .expect("a set")
}

fn group(index: i32, clusters: &[&str]) -> Group {
    Group {
        name: format!("g{index}"),
        index,
        clusters: clusters.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn chosen(clusters: &[&str]) -> Selection {
    Selection {
        groups: Some(vec![group(0, clusters)]),
        per_group: None,
    }
}

/// A work as the cache holds it, of the template's newest version or of another.
fn work(
    cluster: &str,
    placement: &str,
    version: i64,
    conditions: &[(&str, &str)],
) -> Arc<ManifestWork> {
    let conditions: Vec<Value> = conditions
        .iter()
        .map(|(type_, status)| {
            json!({"type": type_, "status": status, "reason": "R", "message": "",
                   "observedGeneration": 1, "lastTransitionTime": "1970-01-01T00:00:10Z"})
        })
        .collect();
    let mut work: ManifestWork = serde_json::from_value(json!({
        "metadata": {"name": format!("web-{cluster}"), "namespace": cluster, "generation": 1, "labels": {
            "work.open-cluster-management.io/manifestworkreplicaset": "n.web",
            "work.open-cluster-management.io/placementname": placement}},
        "spec": {"workload": {"manifests": [{"v": version}]}},
        "status": {"conditions": conditions},
    }))
    .expect("a work");
    observed::trim(&mut work);
    Arc::new(work)
}

const WELL: &[(&str, &str)] = &[("Applied", "True"), ("Available", "True")];

/// What is decided, and what is said of it.
fn told(
    set: &ManifestWorkReplicaSet,
    selections: &[Selection],
    works: &[Arc<ManifestWork>],
    now: i64,
) -> String {
    let plan = decide(set, selections, works, at(now));
    let mut lines: Vec<String> = Vec::new();
    let births = plan.create.iter();
    lines.extend(births.map(|birth| format!("create {} by {}", birth.cluster, birth.placement)));
    let changed = |change: &Change| {
        let verb = if change.with_spec {
            "update"
        } else {
            "relabel"
        };
        format!("{verb} {} by {}", change.work.name_any(), change.placement)
    };
    lines.extend(plan.update.iter().map(changed));
    lines.extend(
        plan.delete
            .iter()
            .map(|work| format!("delete {}", work.name_any())),
    );
    lines.extend(
        plan.again_at
            .map(|at| format!("again at {}", at.as_second())),
    );
    let status = summary::status(set, selections, &plan, None, &Time(at(now)));
    for condition in &status.conditions {
        let (type_, state) = (&condition.type_, &condition.status);
        lines.push(format!(
            "{type_}={state} {} {}",
            condition.reason, condition.message
        ));
    }
    for one in &status.placement_summary {
        let counts = serde_json::to_value(one.summary).expect("JSON");
        let counts: Vec<String> = ["applied", "available", "updated", "degraded"]
            .iter()
            .map(|key| format!("{key} {}", counts[key]))
            .collect();
        let groups = &one.available_decision_groups;
        lines.push(format!("{}: {groups}, {}", one.name, counts.join(", ")));
    }
    lines.join("\n")
}

#[test]
fn every_chosen_wec_gets_a_work_and_the_others_lose_theirs() {
    let set = set(json!([{"name": "p"}]));
    let works = [
        work("a", "p", 2, WELL),
        work("b", "p", 1, WELL),
        work("d", "p", 2, WELL),
    ];
    expect![[r#"
        create c by p
        update web-b by p
        delete web-d
        PlacementVerified=True AsExpected 
        PlacementRolledOut=False Progressing 
        ManifestworkApplied=False Processing 
        p: 1 (2 / 3 clusters applied), applied 2, available 2, updated 1, degraded 0"#]]
    .assert_eq(&told(&set, &[chosen(&["a", "b", "c"])], &works, 20));
    let works = [work("a", "p", 2, WELL), work("b", "p", 2, WELL)];
    expect![[r#"
        PlacementVerified=True AsExpected 
        PlacementRolledOut=True Complete 
        ManifestworkApplied=True AsExpected 
        p: 1 (2 / 2 clusters applied), applied 2, available 2, updated 2, degraded 0"#]]
    .assert_eq(&told(&set, &[chosen(&["a", "b"])], &works, 20));
}

#[test]
fn a_placement_that_is_not_there_has_not_chosen_nobody() {
    let set = set(json!([{"name": "p"}]));
    let works = [work("a", "p", 1, WELL), work("b", "gone", 2, WELL)];
    let missing = Selection {
        groups: None,
        per_group: None,
    };
    expect![[r#"
        delete web-b
        PlacementVerified=False PlacementDecisionNotFound there is no placement p in this namespace, or it is not decided yet; the works that came by it stay
        PlacementRolledOut=False Progressing 
        ManifestworkApplied=True AsExpected 
        p: 0 (0 / 0 clusters applied), applied 0, available 0, updated 0, degraded 0"#]]
    .assert_eq(&told(&set, &[missing], &works, 20));
    expect![[r#"
        delete web-a
        PlacementVerified=False PlacementDecisionEmpty the placements have chosen no cluster
        PlacementRolledOut=True Complete 
        ManifestworkApplied=True AsExpected 
        p: 0 (0 / 0 clusters applied), applied 0, available 0, updated 0, degraded 0"#]]
    .assert_eq(&told(&set, &[chosen(&[])], &works[..1], 20));
}

#[test]
fn a_wec_of_two_placements_has_one_work() {
    let set = set(json!([{"name": "p"}, {"name": "q"}]));
    let works = [work("a", "p", 2, WELL), work("b", "p", 2, WELL)];
    expect![[r#"
        create c by q
        relabel web-b by q
        PlacementVerified=True AsExpected 
        PlacementRolledOut=False Progressing 
        ManifestworkApplied=False Processing 
        p: 1 (1 / 1 clusters applied), applied 1, available 1, updated 1, degraded 0
        q: 1 (1 / 2 clusters applied), applied 1, available 1, updated 1, degraded 0"#]]
    .assert_eq(&told(
        &set,
        &[chosen(&["a"]), chosen(&["a", "b", "c"])],
        &works,
        20,
    ));
}

#[test]
fn a_work_names_the_placement_it_comes_through_unless_its_own_is_undecided() {
    let set = set(json!([{"name": "p"}, {"name": "q"}]));
    let undecided = || Selection {
        groups: None,
        per_group: None,
    };
    let works = [work("a", "p", 2, WELL)];
    let moved = told(&set, &[chosen(&[]), chosen(&["a"])], &works, 20);
    assert!(
        moved.starts_with("relabel web-a by q\nPlacement"),
        "{moved}"
    );
    let waiting = told(&set, &[undecided(), chosen(&["a"])], &works, 20);
    assert!(waiting.starts_with("PlacementVerified"), "{waiting}");
    let works = [work("a", "q", 2, WELL)];
    let kept = told(&set, &[chosen(&[]), undecided()], &works, 20);
    assert!(kept.starts_with("PlacementVerified"), "{kept}");
}

#[test]
fn some_change_at_a_time_and_the_next_follow_when_they_are_well() {
    let strategy = json!({"type": "Progressive", "progressive": {"maxConcurrency": 1, "minSuccessTime": "30s"}});
    let set = set(json!([{"name": "p", "rolloutStrategy": strategy}]));
    let all = [chosen(&["a", "b", "c"])];
    let with = |first: Arc<ManifestWork>| [first, work("b", "p", 1, WELL)];
    let begun = told(&set, &all, &with(work("a", "p", 1, WELL)), 20);
    assert!(begun.starts_with("update web-a by p\nPlacement"), "{begun}");
    let under_way = with(work(
        "a",
        "p",
        2,
        &[("Applied", "True"), ("Available", "False")],
    ));
    let under_way = told(&set, &all, &under_way, 20);
    assert!(under_way.starts_with("PlacementVerified"), "{under_way}");
    let fresh = told(&set, &all, &with(work("a", "p", 2, WELL)), 20);
    assert!(fresh.starts_with("again at 40\nPlacement"), "{fresh}");
    let settled = told(&set, &all, &with(work("a", "p", 2, WELL)), 50);
    assert!(
        settled.starts_with("update web-b by p\nPlacement"),
        "{settled}"
    );
}

#[test]
fn rules_of_the_template_tell_how_far_a_work_is() {
    let state = |conditions: &[(&str, &str)], rules: bool| {
        progress(&work("a", "p", 2, conditions), rules).progress
    };
    let applied = ("Applied", "True");
    assert_eq!(state(&[], true), Progress::Progressing);
    assert_eq!(state(&[("Applied", "False")], true), Progress::Progressing);
    assert_eq!(
        state(WELL, true),
        Progress::Progressing,
        "nothing is told yet"
    );
    assert_eq!(
        state(&[applied, ("Progressing", "True")], true),
        Progress::Progressing
    );
    assert_eq!(
        state(&[applied, ("Progressing", "False")], true),
        Progress::Succeeded
    );
    let degraded = [applied, ("Progressing", "True"), ("Degraded", "True")];
    assert_eq!(state(&degraded, true), Progress::Failed);
    assert_eq!(state(WELL, false), Progress::Succeeded);
    assert_eq!(
        state(&[applied, ("Available", "False")], false),
        Progress::Progressing
    );
    let mut newer = (*work("a", "p", 2, WELL)).clone();
    newer.metadata.generation = Some(2);
    assert_eq!(
        progress(&newer, false).progress,
        Progress::Progressing,
        "of an earlier generation"
    );
    let mut set = set(json!([]));
    assert!(!tells_progress(&set));
    set.spec.manifest_work_template.manifest_configs =
        serde_json::from_value(json!([{"conditionRules": [{"condition": "Progressing"}]}]))
            .expect("rules");
    assert!(tells_progress(&set));
}

#[test]
fn of_two_works_for_one_wec_one_stays_and_those_going_are_left() {
    let set = set(json!([{"name": "p"}]));
    let mut second = (*work("a", "p", 2, WELL)).clone();
    second.metadata.name = Some("web-z".to_owned());
    let works = [Arc::new(second.clone()), work("a", "p", 2, WELL)];
    let plan = decide(&set, &[chosen(&["a"])], &works, at(20));
    let deleted: Vec<String> = plan.delete.iter().map(|work| work.name_any()).collect();
    assert_eq!(deleted, ["web-z"]);
    second.metadata.deletion_timestamp = Some(Time(at(1)));
    let works = [Arc::new(second), work("a", "p", 2, WELL)];
    assert!(
        decide(&set, &[chosen(&["a"])], &works, at(20))
            .delete
            .is_empty()
    );
}
