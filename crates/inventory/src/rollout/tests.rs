//! Strategies, one table each.

use super::*;
use serde_json::Value;
use serde_json::json;

const NOW: i64 = 10_000;

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(second).expect("a time")
}

/// What a placement that says it chose so many is taken to have chosen.
fn known(said: Value, objects: &[&[&str]]) -> Option<Vec<Group>> {
    let mut placement = json!({"metadata": {"name": "p", "namespace": "n"}});
    for (key, value) in said.as_object().expect("an object") {
        placement[key] = value.clone();
    }
    let placement: Placement = serde_json::from_value(placement).expect("a placement");
    let object = |clusters: &&[&str]| -> Arc<PlacementDecision> {
        let chosen = clusters.iter();
        let chosen: Vec<Value> = chosen
            .map(|name| json!({"clusterName": name, "reason": ""}))
            .collect();
        let object = json!({
            "metadata": {"name": "p-decision-1", "namespace": "n", "labels": {labels::PLACEMENT: "p"}},
            "status": {"decisions": chosen},
        });
        Arc::new(serde_json::from_value(object).expect("decisions"))
    };
    Group::of(&placement, objects.iter().map(object))
}

#[test]
fn a_placement_is_decided_when_its_status_agrees_with_its_decisions() {
    let status = |number: i64| {
        let condition = json!({"type": "PlacementSatisfied", "status": "True", "reason": "R",
                               "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z"});
        json!({"status": {"numberOfSelectedClusters": number, "conditions": [condition]}})
    };
    let count = |groups: Option<Vec<Group>>| {
        groups.map(|groups| {
            groups
                .iter()
                .map(|group| group.clusters.len())
                .sum::<usize>()
        })
    };
    assert_eq!(count(known(status(2), &[&["a", "b"]])), Some(2));
    assert_eq!(count(known(status(0), &[&[]])), Some(0), "nobody is chosen");
    assert_eq!(known(status(2), &[]), None, "its decisions were deleted");
    assert_eq!(known(status(0), &[]), None);
    assert_eq!(known(status(2), &[&[]]), None, "made anew, and still empty");
    assert_eq!(known(status(2), &[&["a"]]), None);
    let moving: &[&[&str]] = &[&["a", "b"], &["b"]];
    assert_eq!(count(known(status(2), moving)), Some(2), "one that moves");
    assert_eq!(known(json!({}), &[&[]]), None, "a new placement");
    let by_hand = json!({"metadata": {"name": "p", "namespace": "n",
        "annotations": {annotations::SCHEDULING_DISABLED: "true"}}});
    assert_eq!(count(known(by_hand, &[&["a"]])), Some(1));
}

/// `c1 succeeded 100 ago`, one a line.
fn states(text: &str) -> BTreeMap<String, State> {
    text.lines()
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            let words: Vec<_> = line.split(' ').collect();
            let progress = match words[1] {
                "waits" => Progress::ToApply,
                "goes" => Progress::Progressing,
                "succeeded" => Progress::Succeeded,
                "failed" => Progress::Failed,
                other => panic!("{other}"),
            };
            let since = words
                .get(2)
                .map(|ago| at(NOW - ago.parse::<i64>().expect("a number")));
            (words[0].to_owned(), State { progress, since })
        })
        .collect()
}

fn group(name: &str, index: i32, clusters: &[&str]) -> Group {
    Group {
        name: name.to_owned(),
        index,
        clusters: clusters.iter().map(|name| (*name).to_owned()).collect(),
    }
}

fn run(strategy: Value, text: &str, groups: &[Group]) -> Decision {
    let strategy: RolloutStrategy = serde_json::from_value(strategy).expect("a strategy");
    decide(&strategy, &states(text), groups, None, at(NOW))
}

fn going(decision: &Decision) -> Vec<&str> {
    decision.go.iter().map(String::as_str).collect()
}

#[test]
fn all_go_at_once_unless_told_otherwise() {
    for strategy in [json!({}), json!({"type": "All"})] {
        let decision = run(strategy, "a waits\nb goes\nc succeeded\nd failed", &[]);
        assert_eq!(going(&decision), ["a", "b", "c", "d"]);
    }
}

#[test]
fn progressive_keeps_as_many_busy_as_allowed() {
    let two = json!({"type": "Progressive", "progressive": {"maxConcurrency": 2}});
    let decision = run(two.clone(), "a waits\nb waits\nc waits", &[]);
    assert_eq!(going(&decision), ["a", "b"]);
    let decision = run(two.clone(), "a succeeded\nb goes\nc waits\nd waits", &[]);
    assert_eq!(going(&decision), ["a", "b", "c"]);
    let half = json!({"type": "Progressive", "progressive": {"maxConcurrency": "50%"}});
    let decision = run(half, "a waits\nb waits\nc waits", &[]);
    assert_eq!(going(&decision), ["a", "b"], "shares are rounded up");
}

#[test]
fn a_placements_group_size_bounds_what_the_strategy_leaves_open() {
    let strategy: RolloutStrategy =
        serde_json::from_value(json!({"type": "Progressive"})).expect("a strategy");
    let size = IntOrString::Int(1);
    let decision = decide(
        &strategy,
        &states("a waits\nb waits"),
        &[],
        Some(&size),
        at(NOW),
    );
    assert_eq!(going(&decision), ["a"]);
}

#[test]
fn success_counts_once_it_has_lasted() {
    let soak = json!({"type": "Progressive", "progressive": {
        "maxConcurrency": 1, "minSuccessTime": "5m"}});
    let decision = run(soak.clone(), "a succeeded 100\nb waits", &[]);
    assert_eq!(going(&decision), ["a"]);
    assert_eq!(decision.again_at, Some(at(NOW + 200)));
    let decision = run(soak, "a succeeded 300\nb waits", &[]);
    assert_eq!(going(&decision), ["a", "b"]);
}

#[test]
fn failures_beyond_the_limit_stop_the_rest() {
    let strict = json!({"type": "Progressive", "progressive": {
        "maxConcurrency": 1, "progressDeadline": "10m"}});
    let late = "a goes 601\nb waits\nc waits";
    let decision = run(strict.clone(), late, &[]);
    assert_eq!(going(&decision), [""; 0]);
    assert_eq!(decision.timed_out.len(), 1);
    let decision = run(strict, "a failed 10\nb waits", &[]);
    assert_eq!(going(&decision), ["a"], "there is time left");
    assert_eq!(decision.again_at, Some(at(NOW + 590)));
    let lenient = json!({"type": "Progressive", "progressive": {
        "maxConcurrency": 1, "progressDeadline": "10m", "maxFailures": 1}});
    assert_eq!(going(&run(lenient, late, &[])), ["b"]);
}

#[test]
fn mandatory_groups_come_through_first() {
    let strategy = json!({"type": "Progressive", "progressive": {
        "mandatoryDecisionGroups": [{"groupName": "canary"}]}});
    let groups = [group("canary", 0, &["z"]), group("", 1, &["a", "b"])];
    let decision = run(strategy.clone(), "a waits\nb waits\nz waits", &groups);
    assert_eq!(going(&decision), ["z"]);
    let decision = run(strategy, "a waits\nb waits\nz succeeded", &groups);
    assert_eq!(going(&decision), ["a", "b", "z"]);
}

#[test]
fn groups_go_one_after_the_other() {
    let strategy = json!({"type": "ProgressivePerGroup", "progressivePerGroup": {
        "mandatoryDecisionGroups": [{"groupIndex": 1}]}});
    let groups = [
        group("", 0, &["a", "b"]),
        group("", 1, &["c"]),
        group("", 2, &["d"]),
    ];
    let decision = run(
        strategy.clone(),
        "a waits\nb waits\nc waits\nd waits",
        &groups,
    );
    assert_eq!(going(&decision), ["c"]);
    let decision = run(
        strategy.clone(),
        "a waits\nb waits\nc succeeded\nd waits",
        &groups,
    );
    assert_eq!(going(&decision), ["a", "b", "c"]);
    let decision = run(
        strategy,
        "a succeeded\nb goes\nc succeeded\nd waits",
        &groups,
    );
    assert_eq!(going(&decision), ["a", "b", "c"]);
}

#[test]
fn durations_are_those_the_schema_lets_in() {
    assert_eq!(duration("1h30m"), Some(SignedDuration::from_secs(5400)));
    assert_eq!(duration("10s"), Some(SignedDuration::from_secs(10)));
    for none in ["None", "", "0", "5", "x", "99999999999999999999h"] {
        assert_eq!(duration(none), None, "{none}");
    }
}
