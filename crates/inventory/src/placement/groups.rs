//! How a choice is divided: into groups, and each group into objects of decisions.

use super::policy::Misconfigured;
use super::selector::Selector;
use super::snapshot::Candidate;
use super::snapshot::DecisionObject;
use hyades_api::names;
use hyades_api::placement::DECISIONS_PER_OBJECT_MAX;
use hyades_api::placement::GroupStrategy;
use hyades_runtime::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use std::collections::BTreeSet;

/// The rules by which a choice is divided into groups.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Grouping {
    size: Size,
    named: Vec<Named>,
}

/// Largest group.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Size {
    Clusters(usize),
    Percent(f64),
}

#[derive(Clone, Debug, PartialEq)]
struct Named {
    name: String,
    labels: Selector,
    claims: Selector,
}

/// A group of a choice.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Group<'a> {
    pub(super) name: &'a str,
    pub(super) clusters: BTreeSet<&'a str>,
}

impl Grouping {
    /// Reads the rules.
    pub(super) fn of(stated: &GroupStrategy) -> Result<Self, Misconfigured> {
        let named = stated.decision_groups.iter().map(|group| {
            let selector = &group.group_cluster_selector;
            let expressions = &selector.claim_selector.match_expressions;
            Ok(Named {
                name: group.group_name.clone(),
                labels: Selector::of_labels(&selector.label_selector)?,
                claims: Selector::of_expressions(expressions)?,
            })
        });
        let named: Result<_, String> = named.collect();
        Ok(Self {
            size: size(stated.clusters_per_decision_group.as_ref())?,
            named: named.map_err(|message| Misconfigured::new("", message))?,
        })
    }

    /// Divides a choice. A WEC goes to the first group that takes it; who is left over forms groups
    /// without a name. Groups that are too large are cut, in the order of names.
    pub(super) fn divide<'a>(&'a self, chosen: &[&'a Candidate]) -> Vec<Group<'a>> {
        let length = self.size.of(chosen.len());
        let mut rest: Vec<&Candidate> = chosen.to_vec();
        let mut groups = Vec::new();
        for named in &self.named {
            let takes = |one: &&Candidate| {
                let labels = one.wec.object.metadata.labels.as_ref();
                named.labels.matches_labels(labels)
                    && named.claims.matches(|name| one.wec.claim(name))
            };
            let (taken, left): (Vec<_>, Vec<_>) = rest.into_iter().partition(takes);
            cut(&named.name, &taken, length, &mut groups);
            rest = left;
        }
        cut("", &rest, length, &mut groups);
        if groups.is_empty() {
            // There is always an object of decisions, so that readers find the choice empty and
            // not missing.
            groups.push(Group::default());
        }
        groups
    }
}

fn cut<'a>(name: &'a str, chosen: &[&'a Candidate], length: usize, groups: &mut Vec<Group<'a>>) {
    let mut clusters: Vec<_> = chosen.iter().map(|one| one.wec.name()).collect();
    clusters.sort_unstable();
    let pieces = clusters.chunks(length.max(1));
    groups.extend(pieces.map(|piece| Group {
        name,
        clusters: piece.iter().copied().collect(),
    }));
}

impl Size {
    fn of(self, total: usize) -> usize {
        let length = match self {
            Self::Clusters(count) => count,
            // In upstream's order of operations, whose rounding shows.
            Self::Percent(percent) => (percent / 100.0 * total as f64).ceil() as usize,
        };
        if length == 0 {
            total
        } else {
            length.min(total)
        }
    }
}

fn size(stated: Option<&IntOrString>) -> Result<Size, Misconfigured> {
    match stated {
        None => Ok(Size::Percent(100.0)),
        // As upstream has it, 0 and less mean no limit.
        Some(IntOrString::Int(count)) => Ok(Size::Clusters(usize::try_from(*count).unwrap_or(0))),
        Some(IntOrString::String(text)) => {
            let percent = text
                .strip_suffix('%')
                .and_then(|number| number.parse().ok());
            let percent = percent.filter(|percent: &f64| percent.is_finite());
            let message = format!("{text} invalid type: string is not a percentage");
            percent
                .map(Size::Percent)
                .ok_or_else(|| Misconfigured::new("", message))
        }
    }
}

/// Divides groups into objects of decisions.
///
/// Upstream fills objects in the order of names, so that one WEC more may touch them all. Here a
/// WEC stays in its object while its group does: one more costs one write. There are never more
/// objects than needed; when one becomes too many, the last is emptied.
pub(super) fn lay_out(
    placement: &str,
    groups: &[Group<'_>],
    existing: &[DecisionObject],
) -> Vec<DecisionObject> {
    let mut objects = Vec::new();
    for (index, group) in groups.iter().enumerate() {
        let needed = group
            .clusters
            .len()
            .div_ceil(DECISIONS_PER_OBJECT_MAX)
            .max(1);
        let before = existing.iter().filter(|object| object.group_index == index);
        let mut homeless = group.clusters.clone();
        let mut pieces: Vec<BTreeSet<&str>> = before
            .take(needed)
            .map(|object| stay(object, &mut homeless))
            .collect();
        pieces.resize(needed, BTreeSet::new());
        let mut homeless = homeless.into_iter();
        for piece in &mut pieces {
            let room = DECISIONS_PER_OBJECT_MAX - piece.len();
            piece.extend(homeless.by_ref().take(room));
        }
        for piece in pieces {
            objects.push(DecisionObject {
                name: names::placement_decision(placement, objects.len() + 1),
                group_index: index,
                group_name: group.name.to_owned(),
                clusters: piece.into_iter().map(str::to_owned).collect(),
            });
        }
    }
    objects
}

/// Who stays in an object; they are homeless no more.
fn stay<'a>(object: &DecisionObject, homeless: &mut BTreeSet<&'a str>) -> BTreeSet<&'a str> {
    let staying = object
        .clusters
        .iter()
        .filter_map(|name| homeless.get(name.as_str()).copied());
    let staying: BTreeSet<_> = staying.take(DECISIONS_PER_OBJECT_MAX).collect();
    for name in &staying {
        homeless.remove(name);
    }
    staying
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::placement::snapshot::Wec;
    use serde_json::Value;
    use serde_json::json;
    use std::collections::BTreeMap;
    use std::sync::Arc;

    fn grouping(stated: Value) -> Result<Grouping, Misconfigured> {
        Grouping::of(&serde_json::from_value(stated).expect("a strategy"))
    }

    fn candidate(name: &str, region: &str) -> Candidate {
        let claims = json!([{"name": "region.example.com", "value": region}]);
        let object = json!({
            "metadata": {"name": name, "labels": {"region": region}},
            "status": {"clusterClaims": claims},
        });
        Candidate {
            wec: Arc::new(Wec {
                version: 0,
                object: Arc::new(serde_json::from_value(object).expect("a ManagedCluster")),
                scores: BTreeMap::new(),
            }),
            elsewhere: 0,
        }
    }

    /// The groups of ten WECs, `c0` to `c9`, of which the even ones are in the east.
    fn divided(stated: Value) -> Vec<(String, String)> {
        let region = |number: u32| {
            if number.is_multiple_of(2) {
                "east"
            } else {
                "west"
            }
        };
        let all: Vec<_> = (0..10)
            .rev()
            .map(|number| candidate(&format!("c{number}"), region(number)))
            .collect();
        let grouping = grouping(stated).expect("valid");
        let groups = grouping.divide(&all.iter().collect::<Vec<_>>());
        let shown = groups.into_iter().map(|group| {
            let clusters: Vec<_> = group.clusters.into_iter().collect();
            (group.name.to_owned(), clusters.join(" "))
        });
        shown.collect()
    }

    fn shown(list: &[(&str, &str)]) -> Vec<(String, String)> {
        let owned = |(name, clusters): &(&str, &str)| ((*name).to_owned(), (*clusters).to_owned());
        list.iter().map(owned).collect()
    }

    #[test]
    fn groups_are_cut_by_number_and_by_percentage() {
        let whole = shown(&[("", "c0 c1 c2 c3 c4 c5 c6 c7 c8 c9")]);
        let halves = shown(&[("", "c0 c1 c2 c3 c4"), ("", "c5 c6 c7 c8 c9")]);
        let fours = shown(&[("", "c0 c1 c2 c3"), ("", "c4 c5 c6 c7"), ("", "c8 c9")]);
        for (size, expected) in [
            (json!(null), &whole),
            (json!("100%"), &whole),
            (json!(0), &whole),
            (json!(-3), &whole),
            (json!(10), &whole),
            (json!(11), &whole),
            (json!("50%"), &halves),
            (json!(5), &halves),
            (json!(4), &fours),
            (json!("31%"), &fours),
            (json!("40%"), &fours),
        ] {
            assert_eq!(
                &divided(json!({"clustersPerDecisionGroup": size})),
                expected,
                "{size}"
            );
        }
    }

    #[test]
    fn a_wec_goes_to_the_first_group_that_takes_it() {
        let labels = json!({"labelSelector": {"matchLabels": {"region": "east"}}});
        let claims = json!({"claimSelector": {"matchExpressions": [
            {"key": "region.example.com", "operator": "In", "values": ["east", "west"]},
        ]}});
        let nobody = json!({"labelSelector": {"matchLabels": {"region": "north"}}});
        let groups = json!([
            {"groupName": "nobody", "groupClusterSelector": nobody},
            {"groupName": "east", "groupClusterSelector": labels},
            {"groupName": "both", "groupClusterSelector": claims},
        ]);
        assert_eq!(
            divided(json!({"decisionGroups": groups})),
            shown(&[("east", "c0 c2 c4 c6 c8"), ("both", "c1 c3 c5 c7 c9")])
        );
        assert_eq!(
            divided(json!({"decisionGroups": [groups[1]], "clustersPerDecisionGroup": 3})),
            shown(&[
                ("east", "c0 c2 c4"),
                ("east", "c6 c8"),
                ("", "c1 c3 c5"),
                ("", "c7 c9")
            ])
        );
    }

    #[test]
    fn nobody_chosen_is_one_empty_group() {
        let groups = grouping(json!({"clustersPerDecisionGroup": "25%"})).expect("valid");
        assert_eq!(groups.divide(&[]), [Group::default()]);
    }

    #[test]
    fn what_is_no_percentage_is_refused() {
        for text in ["half", "1.5.1%", "10"] {
            let refused = grouping(json!({"clustersPerDecisionGroup": text})).expect_err("refused");
            assert_eq!(
                refused.to_string(),
                format!(":{text} invalid type: string is not a percentage")
            );
        }
        let selector =
            json!({"labelSelector": {"matchExpressions": [{"key": "k", "operator": "In"}]}});
        let group = json!({"groupName": "g", "groupClusterSelector": selector});
        let refused = grouping(json!({"decisionGroups": [group]})).expect_err("refused");
        assert_eq!(
            refused.to_string(),
            ":operator In of key \"k\" needs values"
        );
    }

    fn names(range: std::ops::Range<u32>) -> BTreeSet<String> {
        range.map(|number| format!("c{number:04}")).collect()
    }

    fn group(clusters: &BTreeSet<String>) -> Group<'_> {
        Group {
            name: "",
            clusters: clusters.iter().map(String::as_str).collect(),
        }
    }

    fn sizes(objects: &[DecisionObject]) -> Vec<(&str, usize, usize)> {
        let size = |o: &'_ DecisionObject| (o.group_index, o.clusters.len());
        objects
            .iter()
            .map(|o| (o.name.as_str(), size(o).0, size(o).1))
            .collect()
    }

    #[test]
    fn an_object_holds_a_hundred_of_one_group() {
        let (first, second) = (names(0..250), names(250..251));
        let groups = [group(&first), group(&second)];
        let objects = lay_out("p", &groups, &[]);
        assert_eq!(
            sizes(&objects),
            [
                ("p-decision-1", 0, 100),
                ("p-decision-2", 0, 100),
                ("p-decision-3", 0, 50),
                ("p-decision-4", 1, 1),
            ]
        );
        assert_eq!(
            lay_out("p", &groups, &objects),
            objects,
            "nothing moves without a reason"
        );
        assert_eq!(
            sizes(&lay_out("p", &[Group::default()], &[])),
            [("p-decision-1", 0, 0)]
        );
    }

    #[test]
    fn one_wec_more_or_less_touches_one_object() {
        let touched = |before: &[DecisionObject], after: &[DecisionObject]| {
            let same = |object: &&DecisionObject| !before.contains(object);
            after.iter().filter(same).count()
        };
        let mut chosen = names(1..500);
        let before = lay_out("p", &[group(&chosen)], &[]);
        chosen.insert("c0000".to_owned());
        let after = lay_out("p", &[group(&chosen)], &before);
        assert_eq!(
            touched(&before, &after),
            1,
            "the first of all names fills the last object"
        );
        chosen.remove("c0150");
        let fewer = lay_out("p", &[group(&chosen)], &after);
        assert_eq!(touched(&after, &fewer), 1);
        chosen.insert("c9999".to_owned());
        let again = lay_out("p", &[group(&chosen)], &fewer);
        assert_eq!(touched(&fewer, &again), 1, "the hole is filled");
        assert_eq!(again.len(), 5);
    }

    #[test]
    fn an_object_too_many_is_emptied_into_the_others() {
        let mut chosen = names(0..201);
        let before = lay_out("p", &[group(&chosen)], &[]);
        assert_eq!(before.len(), 3);
        chosen.remove("c0050");
        let after = lay_out("p", &[group(&chosen)], &before);
        assert_eq!(after.len(), 2);
        assert!(after[0].clusters.contains("c0200"));
        assert_eq!(after[1], before[1]);
    }
}
