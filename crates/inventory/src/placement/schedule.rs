//! The decision: which WECs, in which objects, and what to say of it.

use super::cel::Functions;
use super::groups;
use super::policy::Misconfigured;
use super::policy::Policy;
use super::snapshot::Candidate;
use super::snapshot::DecisionObject;
use super::snapshot::Snapshot;
use super::tolerations;
use super::tolerations::Verdict;
use hyades_api::conditions::Statement;
use hyades_api::conditions::placement as statements;
use hyades_api::names;
use hyades_api::placement::DecisionGroupStatus;
use hyades_api::placement::Placement;
use hyades_api::placement::PlacementSpec;
use jiff::Timestamp;
use std::cmp::Reverse;
use std::collections::BTreeSet;
use std::collections::HashMap;

/// How many expired scores are named: about as many as fit into an Event.
const EXPIRED_SHOWN_MAX: usize = 20;

/// What comes of a placement.
#[derive(Clone, Debug, PartialEq)]
pub struct Decisions {
    /// The objects of decisions, in the order of their numbers; at least one.
    pub objects: Vec<DecisionObject>,
    /// `PlacementMisconfigured` and `PlacementSatisfied`.
    pub conditions: [Statement; 2],
    /// The scores of those that fit, best first.
    pub scores: Vec<(String, i64)>,
    /// What did not stop the decision and yet should be known: a part, and what is wrong with it.
    pub warning: Option<Misconfigured>,
    /// When to decide again though nothing changes.
    pub again_at: Option<Timestamp>,
    /// How many WECs were held against the predicates anew.
    pub examined: usize,
}

impl Decisions {
    /// How many WECs are chosen.
    pub fn selected(&self) -> usize {
        self.objects
            .iter()
            .map(|object| object.clusters.len())
            .sum()
    }

    /// The groups, as the placement's status shows them.
    pub fn groups(&self) -> Vec<DecisionGroupStatus> {
        let mut groups: Vec<DecisionGroupStatus> = Vec::new();
        for object in &self.objects {
            let index = i32::try_from(object.group_index).unwrap_or(i32::MAX);
            if groups
                .last()
                .is_none_or(|group| group.decision_group_index != index)
            {
                groups.push(DecisionGroupStatus {
                    decision_group_index: index,
                    decision_group_name: object.group_name.clone(),
                    ..DecisionGroupStatus::default()
                });
            }
            if let Some(group) = groups.last_mut() {
                group.decisions.push(object.name.clone());
                group.cluster_count += i32::try_from(object.clusters.len()).unwrap_or(i32::MAX);
            }
        }
        groups
    }
}

/// Decides a placement.
///
/// The decision is stable: made again on its own outcome, with nothing else changed, it is the
/// same, unless the placement itself gives `Steady` a negative weight.
pub fn schedule(snapshot: &Snapshot, placement: &Placement) -> Decisions {
    Scheduler::new().schedule(snapshot, placement)
}

/// Decides placements, and remembers what it found out about WECs.
#[derive(Debug)]
pub(super) struct Scheduler {
    functions: Functions,
    known: HashMap<(String, String), Known>,
}

/// A placement's reading, and which versions of WECs fit it.
#[derive(Debug)]
struct Known {
    spec: PlacementSpec,
    policy: Result<Policy, Misconfigured>,
    fits: HashMap<u64, bool>,
}

impl Scheduler {
    /// One that knows nothing yet.
    pub(super) fn new() -> Self {
        Self {
            functions: Functions::new(),
            known: HashMap::new(),
        }
    }

    /// Forgets a placement that is gone.
    pub(super) fn forget(&mut self, namespace: &str, name: &str) {
        self.known.remove(&(namespace.to_owned(), name.to_owned()));
    }

    /// Decides a placement.
    pub(super) fn schedule(&mut self, snapshot: &Snapshot, placement: &Placement) -> Decisions {
        let metadata = &placement.metadata;
        let text = |text: &Option<String>| text.clone().unwrap_or_default();
        let key = (text(&metadata.namespace), text(&metadata.name));
        let mut known = match self.known.remove(&key) {
            Some(known) if known.spec == placement.spec => known,
            _ => Known {
                spec: placement.spec.clone(),
                policy: Policy::of(placement, &self.functions),
                fits: HashMap::new(),
            },
        };
        let decisions = match &known.policy {
            Ok(policy) => {
                let fitting = Fitting::find(policy, snapshot, &self.functions, &mut known.fits);
                decide(snapshot, placement, policy, fitting)
            }
            Err(why) => refuse(snapshot, placement, why),
        };
        self.known.insert(key, known);
        decisions
    }
}

/// The WECs that fit the predicates.
struct Fitting<'a> {
    candidates: Vec<&'a Candidate>,
    examined: usize,
}

impl<'a> Fitting<'a> {
    fn find(
        policy: &Policy,
        snapshot: &'a Snapshot,
        functions: &Functions,
        known: &mut HashMap<u64, bool>,
    ) -> Self {
        let mut now_known = HashMap::with_capacity(snapshot.candidates.len());
        let mut examined = 0;
        let mut fits = |candidate: &&Candidate| {
            let version = candidate.wec.version;
            let fits = known.get(&version).copied().unwrap_or_else(|| {
                examined += 1;
                policy.fits(&candidate.wec, functions)
            });
            now_known.insert(version, fits);
            fits
        };
        let candidates = snapshot.candidates.iter().filter(|one| fits(one)).collect();
        *known = now_known;
        Self {
            candidates,
            examined,
        }
    }
}

fn decide(
    snapshot: &Snapshot,
    placement: &Placement,
    policy: &Policy,
    fitting: Fitting<'_>,
) -> Decisions {
    let choice = Choice::of(&fitting.candidates, policy, snapshot);
    let missing = policy.wanted.map_or(0, |wanted| wanted - choice.chosen);
    let chosen: Vec<_> = choice.chosen().collect();
    let groups = policy.grouping.divide(&chosen);
    let name = placement.metadata.name.as_deref().unwrap_or_default();
    Decisions {
        objects: groups::lay_out(name, &groups, &snapshot.existing),
        conditions: [
            statements::SUCCEED_CONFIGURED,
            satisfied(snapshot, placement, choice.chosen, missing),
        ],
        again_at: choice.ends_at(policy, snapshot),
        scores: choice.ranking.scores(),
        warning: choice.ranking.warning,
        examined: fitting.examined,
    }
}

/// Candidates in order, and how many of the first are chosen.
struct Choice<'a> {
    ranking: Ranking<'a>,
    chosen: usize,
}

impl<'a> Choice<'a> {
    /// Chooses.
    ///
    /// Whoever loses its place may be one that a taint `NoSelectIfNew` let in only because it had
    /// one. Without it the others compare differently, so they are compared again, until the
    /// outcome is one that would be chosen again. Each round leaves out somebody.
    fn of(fitting: &[&'a Candidate], policy: &Policy, snapshot: &'a Snapshot) -> Self {
        let mut decided = snapshot.decided();
        loop {
            let judge = |one: &Candidate, decided: bool| {
                let taints = &one.wec.object.spec.taints;
                tolerations::judge(taints, &policy.tolerations, decided, snapshot.now)
            };
            let free = fitting.iter().copied();
            let free =
                free.filter(|one| judge(one, decided.contains(one.wec.name())) != Verdict::Kept);
            let free: Vec<_> = free.collect();
            let ranking = Ranking::of(&free, policy, snapshot, &decided);
            let chosen = ranking.order.len().min(policy.wanted.unwrap_or(usize::MAX));
            let losers = &ranking.order[chosen..];
            if !losers
                .iter()
                .any(|(one, _)| judge(one, false) == Verdict::Kept)
            {
                return Self { ranking, chosen };
            }
            let winners = ranking.order[..chosen].iter();
            decided = winners.map(|(one, _)| one.wec.name()).collect();
        }
    }

    fn chosen(&self) -> impl Iterator<Item = &'a Candidate> {
        self.ranking.order[..self.chosen]
            .iter()
            .map(|(one, _)| *one)
    }

    /// When a toleration or a score ends. Tolerations matter for those who are chosen only: the
    /// others are not missed.
    fn ends_at(&self, policy: &Policy, snapshot: &Snapshot) -> Option<Timestamp> {
        let ends = self.chosen().filter_map(|one| {
            let taints = &one.wec.object.spec.taints;
            match tolerations::judge(taints, &policy.tolerations, true, snapshot.now) {
                Verdict::FreeUntil(end) => Some(end),
                Verdict::Free | Verdict::Kept => None,
            }
        });
        ends.chain(self.ranking.until).min()
    }
}

/// Candidates in the order of their scores.
struct Ranking<'a> {
    /// The best first; of equal ones, in the order of names.
    order: Vec<(&'a Candidate, i64)>,
    until: Option<Timestamp>,
    warning: Option<Misconfigured>,
}

impl<'a> Ranking<'a> {
    fn of(
        candidates: &[&'a Candidate],
        policy: &Policy,
        snapshot: &Snapshot,
        decided: &BTreeSet<&str>,
    ) -> Self {
        let mut sums = vec![0; candidates.len()];
        let mut until: Option<Timestamp> = None;
        let mut warning = None;
        for (prioritizer, weight) in &policy.prioritizers {
            let scored = prioritizer.score(candidates, snapshot, decided);
            for (sum, score) in sums.iter_mut().zip(scored.scores) {
                *sum += weight * score;
            }
            until = [until, scored.until].into_iter().flatten().min();
            if let [shown @ .., last] = &scored.expired[..] {
                let shown = shown.iter().take(EXPIRED_SHOWN_MAX - 1).chain([last]);
                let shown: Vec<_> = shown.map(String::as_str).collect();
                let message = format!("AddOnPlacementScores {} expired", shown.join(" "));
                warning = Some(Misconfigured::new(prioritizer.to_string(), message));
            }
        }
        let mut order: Vec<_> = candidates.iter().copied().zip(sums).collect();
        order.sort_by_key(|(candidate, sum)| (Reverse(*sum), candidate.wec.name()));
        Self {
            order,
            until,
            warning,
        }
    }

    fn scores(&self) -> Vec<(String, i64)> {
        let named = |(candidate, sum): &(&Candidate, i64)| (candidate.wec.name().to_owned(), *sum);
        self.order.iter().map(named).collect()
    }
}

/// What stands when a placement cannot be followed. Upstream empties the choice, and whatever runs
/// in the WECs goes. Here a slip of the pen removes nothing: who was chosen stays, unless the
/// namespace may no longer use that WEC or it is being deregistered.
fn refuse(snapshot: &Snapshot, placement: &Placement, why: &Misconfigured) -> Decisions {
    let candidates = snapshot.candidates.iter().map(|one| one.wec.name());
    let candidates: BTreeSet<_> = candidates.collect();
    let mut objects = snapshot.existing.clone();
    for object in &mut objects {
        object
            .clusters
            .retain(|name| candidates.contains(name.as_str()));
    }
    if objects.is_empty() {
        let name = placement.metadata.name.as_deref().unwrap_or_default();
        objects.push(DecisionObject {
            name: names::placement_decision(name, 1),
            ..DecisionObject::default()
        });
    }
    let kept: usize = objects.iter().map(|object| object.clusters.len()).sum();
    let satisfied = match satisfied(snapshot, placement, kept, 1) {
        statement if statement.reason == statements::NOT_ALL_DECISIONS_SCHEDULED.reason => {
            let message = format!("the last {kept} cluster decisions stand: {why}");
            statement.with_message(message)
        }
        statement => statement,
    };
    let misconfigured = statements::MISCONFIGURED_STATEMENT.with_message(why.to_string());
    Decisions {
        objects,
        conditions: [misconfigured, satisfied],
        scores: Vec::new(),
        warning: None,
        again_at: None,
        examined: 0,
    }
}

fn satisfied(
    snapshot: &Snapshot,
    placement: &Placement,
    chosen: usize,
    missing: usize,
) -> Statement {
    if snapshot.bindings == 0 {
        statements::NO_SET_BINDINGS
    } else if snapshot.sets.is_empty() {
        let sets = placement.spec.cluster_sets.join(",");
        let message =
            format!("None of ManagedClusterSets [{sets}] is bound to placement namespace");
        statements::NO_INTERSECTION.with_message(message)
    } else if snapshot.candidates.is_empty() {
        let sets = snapshot.sets.join(",");
        let message = format!("All ManagedClusterSets [{sets}] have no member ManagedCluster");
        statements::ALL_SETS_EMPTY.with_message(message)
    } else if chosen == 0 {
        statements::NO_CLUSTER_MATCHED
    } else if missing == 0 {
        statements::ALL_DECISIONS_SCHEDULED
    } else {
        let message = format!("{missing} cluster decisions unscheduled");
        statements::NOT_ALL_DECISIONS_SCHEDULED.with_message(message)
    }
}

#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;
