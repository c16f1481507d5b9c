//! Which works a set makes, changes and deletes now. Pure.
//!
//! A WEC has one work of a set, by the first of its placements that chose it. A placement that is not
//! there, or not decided, has not chosen nobody: its works stay as they are.

use super::observed;
use crate::rollout;
use crate::rollout::Group;
use crate::rollout::Progress;
use crate::rollout::State;
use hyades_api::conditions;
use hyades_api::conditions::work as known;
use hyades_api::names::labels;
use hyades_api::work::ManifestWork;
use hyades_api::work::replica_set::ManifestWorkReplicaSet;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use hyades_runtime::k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use hyades_runtime::kube::ResourceExt;
use jiff::Timestamp;
use std::collections::BTreeMap;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What a placement of the set has chosen.
pub(super) struct Selection {
    /// The groups; nothing while the placement is not there, or not decided.
    pub(super) groups: Option<Vec<Group>>,
    /// The placement's number of WECs a group.
    pub(super) per_group: Option<IntOrString>,
}

/// A work of the set.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// The work.
    pub(super) work: Arc<ManifestWork>,
    /// Whether it is as the template says.
    pub(super) is_current: bool,
    /// How far it is.
    pub(super) state: State,
}

/// The WECs of one placement.
#[derive(Debug, Default)]
pub(super) struct Share {
    /// The WECs that it chose and no placement before it.
    pub(super) chosen: BTreeSet<String>,
    /// The works, by WEC.
    pub(super) members: BTreeMap<String, Member>,
    /// Groups whose WECs have all been reached.
    pub(super) groups_reached: usize,
}

/// A work to be made.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Birth {
    pub(super) cluster: String,
    pub(super) placement: String,
}

/// A work to be given the placement it comes through now, and perhaps the template's spec.
#[derive(Debug)]
pub(super) struct Change {
    pub(super) work: Arc<ManifestWork>,
    pub(super) placement: String,
    /// Whether it is its turn to be as the template says, and it is not.
    pub(super) with_spec: bool,
}

/// What to do.
#[derive(Debug, Default)]
pub(super) struct Plan {
    pub(super) create: Vec<Birth>,
    pub(super) update: Vec<Change>,
    pub(super) delete: Vec<Arc<ManifestWork>>,
    /// By placement, in the order of the spec.
    pub(super) shares: Vec<Share>,
    /// When time alone will change the answer.
    pub(super) again_at: Option<Timestamp>,
}

/// Decides about the works of a set. `selections` are those of its placements, in order.
pub(super) fn decide(
    set: &ManifestWorkReplicaSet,
    selections: &[Selection],
    works: &[Arc<ManifestWork>],
    now: Timestamp,
) -> Plan {
    let mut plan = Plan {
        shares: shares(selections),
        ..Plan::default()
    };
    sort_works(set, selections, works, &mut plan);
    let references = set.spec.placement_refs.iter();
    for ((reference, selection), share) in references.zip(selections).zip(&mut plan.shares) {
        let state = |cluster: &String| {
            let member = share.members.get(cluster);
            member.map_or(TO_APPLY, |member| member.state)
        };
        let states: BTreeMap<String, State> = share
            .chosen
            .iter()
            .map(|cluster| (cluster.clone(), state(cluster)))
            .collect();
        let groups = selection.groups.as_deref().unwrap_or_default();
        let decision = rollout::decide(
            &reference.rollout_strategy,
            &states,
            groups,
            selection.per_group.as_ref(),
            now,
        );
        plan.again_at = [plan.again_at, decision.again_at]
            .into_iter()
            .flatten()
            .min();
        // Whom an earlier placement has is none of this one's business.
        let reached = |cluster: &String| {
            !share.chosen.contains(cluster)
                || decision.go.contains(cluster)
                || decision.timed_out.contains(cluster)
        };
        let chosen = |group: &&Group| !group.clusters.is_empty();
        share.groups_reached = groups
            .iter()
            .filter(chosen)
            .filter(|group| group.clusters.iter().all(reached))
            .count();
        let go = decision.go.iter();
        let new = go.filter(|cluster| !share.members.contains_key(*cluster));
        plan.create.extend(new.map(|cluster| Birth {
            cluster: cluster.clone(),
            placement: reference.name.clone(),
        }));
        for (cluster, member) in &share.members {
            let with_spec = !member.is_current && decision.go.contains(cluster);
            if with_spec || has_moved_to(&reference.name, set, selections, &member.work) {
                plan.update.push(Change {
                    work: member.work.clone(),
                    placement: reference.name.clone(),
                    with_spec,
                });
            }
        }
    }
    plan
}

const TO_APPLY: State = State {
    progress: Progress::ToApply,
    since: None,
};

/// Who is whose: each WEC belongs to the first placement that chose it.
fn shares(selections: &[Selection]) -> Vec<Share> {
    let mut taken = BTreeSet::new();
    let mut shares = Vec::with_capacity(selections.len());
    for selection in selections {
        let groups = selection.groups.iter().flatten();
        let clusters = groups.flat_map(|group| &group.clusters);
        let chosen: BTreeSet<String> = clusters
            .filter(|cluster| taken.insert((*cluster).clone()))
            .cloned()
            .collect();
        shares.push(Share {
            chosen,
            ..Share::default()
        });
    }
    shares
}

/// Puts each work to its placement, or among those to be deleted.
fn sort_works(
    set: &ManifestWorkReplicaSet,
    selections: &[Selection],
    works: &[Arc<ManifestWork>],
    plan: &mut Plan,
) {
    let template = observed::fingerprint(&set.spec.manifest_work_template);
    let tells_progress = tells_progress(set);
    let mut works: Vec<_> = works.iter().collect();
    works.sort_by_key(|work| (work.namespace(), work.name_any()));
    for work in works {
        let cluster = work.namespace().unwrap_or_default();
        let mut shares = plan.shares.iter_mut();
        let share = shares.find(|share| share.chosen.contains(&cluster));
        let share = match share {
            // Of two works for one WEC the first by name stays.
            Some(share) if !share.members.contains_key(&cluster) => share,
            None if is_undecided(set, selections, work) => continue,
            _ => {
                if work.metadata.deletion_timestamp.is_none() {
                    plan.delete.push(work.clone());
                }
                continue;
            }
        };
        let is_current = observed::is_current(work, &template);
        let state = match is_current {
            true => progress(work, tells_progress),
            false => TO_APPLY,
        };
        let member = Member {
            work: work.clone(),
            is_current,
            state,
        };
        share.members.insert(cluster, member);
    }
}

/// Whether the placement through which a work came still belongs to the set, and is not there or not
/// decided now.
fn is_undecided(
    set: &ManifestWorkReplicaSet,
    selections: &[Selection],
    work: &ManifestWork,
) -> bool {
    let placement = work.labels().get(labels::REPLICA_SET_PLACEMENT);
    let mut references = set.spec.placement_refs.iter().zip(selections);
    references.any(|(reference, selection)| {
        Some(&reference.name) == placement && selection.groups.is_none()
    })
}

/// Whether a work names another placement than the one it comes through now. While the one it names
/// is undecided, it keeps that name: it may still be that one's.
fn has_moved_to(
    placement: &String,
    set: &ManifestWorkReplicaSet,
    selections: &[Selection],
    work: &ManifestWork,
) -> bool {
    work.metadata.deletion_timestamp.is_none()
        && work.labels().get(labels::REPLICA_SET_PLACEMENT) != Some(placement)
        && !is_undecided(set, selections, work)
}

/// Whether the template has rules that tell how far a work is.
fn tells_progress(set: &ManifestWorkReplicaSet) -> bool {
    let configs = set.spec.manifest_work_template.manifest_configs.iter();
    let mut rules = configs.flat_map(|config| &config.condition_rules);
    rules.any(|rule| rule.condition == known::PROGRESSING)
}

/// The condition of this type about the work's present generation.
pub(super) fn current<'a>(work: &'a ManifestWork, type_: &str) -> Option<&'a Condition> {
    let found = conditions::find(&work.status.conditions, type_)?;
    // The agent writes no generation where it speaks of the objects alone.
    let observed = found.observed_generation;
    (observed.is_none() || observed == work.metadata.generation).then_some(found)
}

/// Whether the work says so of its present generation.
pub(super) fn says(work: &ManifestWork, type_: &str, status: &str) -> bool {
    current(work, type_).is_some_and(|condition| condition.status == status)
}

/// How far a work is that is as the template says. Rules of the template tell; without any, a work
/// has come through when all its objects are there.
fn progress(work: &ManifestWork, tells_progress: bool) -> State {
    let state = |progress, since: Option<&Condition>| State {
        progress,
        since: since.map(|condition| condition.last_transition_time.0),
    };
    let applied = current(work, known::APPLIED);
    if !says(work, known::APPLIED, "True") {
        // What was refused fails by its deadline, as what hangs does.
        return state(Progress::Progressing, applied);
    }
    if !tells_progress {
        let available = current(work, known::AVAILABLE);
        let both = [applied, available].into_iter().flatten();
        let latest = both.max_by_key(|condition| condition.last_transition_time.0);
        return match says(work, known::AVAILABLE, "True") {
            true => state(Progress::Succeeded, latest),
            false => state(Progress::Progressing, latest),
        };
    }
    let Some(progressing) = current(work, known::PROGRESSING) else {
        return state(Progress::Progressing, applied);
    };
    match progressing.status.as_str() {
        "False" => state(Progress::Succeeded, Some(progressing)),
        "True" if says(work, known::DEGRADED, "True") => state(Progress::Failed, Some(progressing)),
        _ => state(Progress::Progressing, Some(progressing)),
    }
}

#[cfg(test)]
pub(super) mod tests;
