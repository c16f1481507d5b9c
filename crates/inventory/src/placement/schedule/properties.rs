//! What holds of every decision.

use super::tests::NOW;
use super::tests::at;
use super::tests::candidate;
use super::tests::placement;
use super::tests::snapshot;
use super::tests::with_chosen;
use super::*;
use proptest::collection::vec;
use proptest::prelude::*;
use serde_json::Value;
use serde_json::json;

/// What a random WEC is like.
fn any_candidate() -> impl Strategy<Value = Value> {
    let effects = prop::sample::select(vec!["NoSelect", "NoSelectIfNew", "PreferNoSelect"]);
    let taints = vec((prop::sample::select(vec!["t", "u"]), effects), 0..3);
    (taints, 1..5u32, 0..4u32, -100..100i32, prop::bool::ANY).prop_map(
        |(taints, cpu, elsewhere, score, east)| {
            let taints: Vec<_> = taints
                .into_iter()
                .map(|(key, effect)| json!({"key": key, "effect": effect, "timeAdded": at(NOW - 10).to_string()}))
                .collect();
            let amounts = json!({"cpu": cpu.to_string()});
            json!({
                "elsewhere": elsewhere,
                "metadata": {"labels": {"region": if east { "east" } else { "west" }}},
                "spec": {"taints": taints},
                "status": {"allocatable": amounts, "capacity": amounts},
                "scores": {"r": {"metadata": {"name": "r"}, "status": {"scores": [{"name": "s", "value": score}]}}},
            })
        },
    )
}

/// A random placement; `Steady` counts for it or not at all.
fn any_spec() -> impl Strategy<Value = Value> {
    let weights = (-10..=10i32, 0..=10i32, -10..=10i32, -10..=10i32);
    let groups = prop::sample::select(vec![json!("100%"), json!("30%"), json!(2), json!(7)]);
    (prop::option::of(0..12i32), weights, groups, prop::bool::ANY, prop::bool::ANY).prop_map(
        |(number, (balance, steady, cpu, score), size, east, tolerant)| {
            let built_in = |name: &str, weight: i32| json!({"scoreCoordinate": {"type": "BuiltIn", "builtIn": name}, "weight": weight});
            let add_on = json!({"type": "AddOn", "addOn": {"resourceName": "r", "scoreName": "s"}});
            let mut spec = json!({
                "prioritizerPolicy": {"configurations": [
                    built_in("Balance", balance),
                    built_in("Steady", steady),
                    built_in("ResourceAllocatableCPU", cpu),
                    {"scoreCoordinate": add_on, "weight": score},
                ]},
                "decisionStrategy": {"groupStrategy": {"clustersPerDecisionGroup": size}},
            });
            if let Some(number) = number {
                spec["numberOfClusters"] = json!(number);
            }
            if east {
                let selector = json!({"labelSelector": {"matchLabels": {"region": "east"}}});
                spec["predicates"] = json!([{"requiredClusterSelector": selector}]);
            }
            if tolerant {
                spec["tolerations"] = json!([{"key": "t", "operator": "Exists", "tolerationSeconds": 60}]);
            }
            spec
        },
    )
}

proptest! {
    #[test]
    fn a_placement_never_moves_without_a_reason(
        wecs in vec((any_candidate(), prop::bool::ANY), 0..25),
        spec in any_spec(),
    ) {
        let named = |(number, (rest, _)): (usize, &(Value, bool))| candidate(&format!("c{number:02}"), rest.clone());
        let fleet = snapshot(wecs.iter().enumerate().map(named).collect());
        let before = wecs.iter().enumerate().filter(|(_, (_, chosen))| *chosen);
        let before: Vec<_> = before.map(|(number, _)| format!("c{number:02}")).collect();
        let mut fleet = with_chosen(fleet, &before.iter().map(String::as_str).collect::<Vec<_>>());
        let placement = placement(spec);
        let first = schedule(&fleet, &placement);
        fleet.existing = first.objects.clone();
        let second = schedule(&fleet, &placement);
        prop_assert_eq!(&second.objects, &first.objects);
        prop_assert_eq!(&second.conditions, &first.conditions);
        prop_assert_eq!(second.again_at, first.again_at);
    }

    #[test]
    fn a_choice_is_as_large_as_it_can_be_and_every_wec_is_in_it_once(
        wecs in vec(any_candidate(), 0..25),
        spec in any_spec(),
    ) {
        let named = |(number, rest): (usize, &Value)| candidate(&format!("c{number:02}"), rest.clone());
        let fleet = snapshot(wecs.iter().enumerate().map(named).collect());
        let placement = placement(spec);
        let decisions = schedule(&fleet, &placement);
        let wanted = placement.spec.number_of_clusters.map_or(usize::MAX, |number| number as usize);
        prop_assert_eq!(decisions.selected(), decisions.scores.len().min(wanted));
        let all: BTreeSet<_> = decisions.objects.iter().flat_map(|object| &object.clusters).collect();
        prop_assert_eq!(all.len(), decisions.selected());
        let worst_chosen = decisions.scores.iter().filter(|(name, _)| all.contains(name)).map(|(_, sum)| sum).min();
        let best_left = decisions.scores.iter().filter(|(name, _)| !all.contains(name)).map(|(_, sum)| sum).max();
        prop_assert!(best_left.is_none() || worst_chosen.is_none() || worst_chosen >= best_left);
    }
}
