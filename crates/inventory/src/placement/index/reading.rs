//! What objects mean to the index.

use super::Key;
use super::Place;
use crate::placement::snapshot::DecisionObject;
use hyades_api::cluster::ManagedCluster;
use hyades_api::names::labels;
use hyades_api::placement::Placement;
use hyades_api::placement::PlacementDecision;
use hyades_runtime::kube::ResourceExt;

/// What of a WEC changed that placements can see.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Weight {
    /// Nothing.
    Nothing,
    /// Something that only CEL sees.
    Rest,
    /// Labels, claims, taints, resources, or that it is there at all.
    Facts,
}

/// Whether a placement asks for a set.
pub(super) fn may_use(placement: &Placement, set: &str) -> bool {
    let sets = &placement.spec.cluster_sets;
    sets.is_empty() || sets.iter().any(|name| name == set)
}

/// Whether a placement looks at WECs by CEL.
pub(super) fn uses_cel(placement: &Placement) -> bool {
    let predicates = placement.spec.predicates.iter();
    let mut selectors = predicates.map(|one| &one.required_cluster_selector.cel_selector);
    selectors.any(|selector| !selector.cel_expressions.is_empty())
}

/// Whether a placement looks at the scores of that name.
pub(super) fn uses_scores(placement: &Placement, resource: &str) -> bool {
    let configurations = placement.spec.prioritizer_policy.configurations.iter();
    let coordinates = configurations.filter_map(|one| one.score_coordinate.as_ref());
    let mut scores = coordinates.filter_map(|one| one.add_on.as_ref());
    scores.any(|score| score.resource_name == resource)
}

/// What of a WEC changed.
pub(super) fn compared(before: &ManagedCluster, now: &ManagedCluster) -> Weight {
    let same_facts = before.labels() == now.labels()
        && before.spec.taints == now.spec.taints
        && before.status.cluster_claims == now.status.cluster_claims
        && before.status.allocatable == now.status.allocatable
        && before.status.capacity == now.status.capacity
        && before.uid() == now.uid();
    if !same_facts {
        Weight::Facts
    } else if before.spec == now.spec
        && before.status == now.status
        && before.annotations() == now.annotations()
    {
        Weight::Nothing
    } else {
        Weight::Rest
    }
}

/// The number in the name of an object of decisions, and the name; those without come last.
pub(super) fn place(name: &str) -> Place {
    let number = name
        .rsplit_once("-decision-")
        .and_then(|(_, number)| number.parse().ok());
    (number.unwrap_or(usize::MAX), name.to_owned())
}

/// The placement that an object of decisions belongs to: by its label, or else by its name.
pub(super) fn owner(namespace: &str, object: &PlacementDecision) -> Option<Key> {
    let labelled = object.labels().get(labels::PLACEMENT).cloned();
    let named = || {
        let (placement, _) = object.metadata.name.as_deref()?.rsplit_once("-decision-")?;
        Some(placement.to_owned())
    };
    Some((namespace.to_owned(), labelled.or_else(named)?))
}

/// What an object of decisions says.
pub(super) fn said(object: &PlacementDecision) -> DecisionObject {
    let label = |key: &str| object.labels().get(key).map_or("", String::as_str);
    let decisions = object.status.decisions.iter();
    DecisionObject {
        name: object.name_any(),
        // An object without its label is in no group, and is written anew.
        group_index: label(labels::DECISION_GROUP_INDEX)
            .parse()
            .unwrap_or(usize::MAX),
        group_name: label(labels::DECISION_GROUP_NAME).to_owned(),
        clusters: decisions
            .map(|decision| decision.cluster_name.clone())
            .collect(),
    }
}

/// Whether an object is an older version of another. Kubernetes lets clients compare versions of
/// one resource as numbers; a server with other versions only costs a conflict now and then.
pub(super) fn is_older<K: ResourceExt>(one: &K, other: &K) -> bool {
    let version = |object: &K| object.resource_version()?.parse::<u64>().ok();
    one.uid() == other.uid()
        && matches!((version(one), version(other)), (Some(one), Some(other)) if one < other)
}
