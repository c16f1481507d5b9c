//! What a set's status says. Pure.

use super::plan::Plan;
use super::plan::Selection;
use super::plan::Share;
use super::plan::says;
use crate::rollout::Progress;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::Status;
use hyades_api::conditions::work as known;
use hyades_api::work::replica_set::ManifestWorkReplicaSet;
use hyades_api::work::replica_set::ManifestWorkReplicaSetStatus;
use hyades_api::work::replica_set::PlacementSummary;
use hyades_api::work::replica_set::WorkSummary;
use hyades_api::work::replica_set::conditions::MANIFEST_WORK_APPLIED;
use hyades_api::work::replica_set::conditions::PLACEMENT_ROLLED_OUT;
use hyades_api::work::replica_set::conditions::PLACEMENT_VERIFIED;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// The status of a set. `failure` is why a work could not be written, if one could not.
pub(super) fn status(
    set: &ManifestWorkReplicaSet,
    selections: &[Selection],
    plan: &Plan,
    failure: Option<&str>,
    now: &Time,
) -> ManifestWorkReplicaSetStatus {
    let mut status = ManifestWorkReplicaSetStatus {
        conditions: set.status.conditions.clone(),
        ..ManifestWorkReplicaSetStatus::default()
    };
    let names = set
        .spec
        .placement_refs
        .iter()
        .map(|reference| &reference.name);
    for (name, share) in names.clone().zip(&plan.shares) {
        let summary = count(share);
        status.summary += summary;
        status.placement_summary.push(PlacementSummary {
            name: name.clone(),
            available_decision_groups: format!(
                "{} ({} / {} clusters applied)",
                share.groups_reached, summary.total, summary.desired_total
            ),
            summary,
        });
    }
    let found = names.zip(selections);
    let missing = found.filter(|(_, selection)| selection.groups.is_none());
    let missing: Vec<&str> = missing.map(|(name, _)| name.as_str()).collect();
    for statement in [
        verified(&missing, &status.summary),
        rolled_out(plan, &missing),
        applied(plan, &status.summary, failure),
    ] {
        say(&mut status, statement, set, now);
    }
    status
}

/// The status of a set whose name makes no label.
pub(super) fn misnamed(
    set: &ManifestWorkReplicaSet,
    why: String,
    now: &Time,
) -> ManifestWorkReplicaSetStatus {
    let mut status = set.status.clone();
    let statement = statement(
        MANIFEST_WORK_APPLIED,
        Status::False,
        "InvalidManifestWorkName",
        why,
    );
    say(&mut status, statement, set, now);
    status
}

fn say(
    status: &mut ManifestWorkReplicaSetStatus,
    statement: Statement,
    set: &ManifestWorkReplicaSet,
    now: &Time,
) {
    let statement = statement.observing(set.metadata.generation);
    conditions::set(&mut status.conditions, &statement, now.clone());
}

fn statement(
    type_: &'static str,
    status: Status,
    reason: &'static str,
    message: impl Into<String>,
) -> Statement {
    Statement::new(type_, status, reason, "").with_message(message)
}

fn count(share: &Share) -> WorkSummary {
    let number = |holds: &dyn Fn(&super::plan::Member) -> bool| {
        let members = share.members.values();
        i64::try_from(members.filter(|member| holds(member)).count()).unwrap_or(i64::MAX)
    };
    let saying = |type_: &'static str| number(&|member| says(&member.work, type_, "True"));
    WorkSummary {
        total: number(&|_| true),
        desired_total: i64::try_from(share.chosen.len()).unwrap_or(i64::MAX),
        updated: number(&|member| member.is_current),
        applied: saying(known::APPLIED),
        available: saying(known::AVAILABLE),
        progressing: saying(known::PROGRESSING),
        degraded: saying(known::DEGRADED),
    }
}

fn verified(missing: &[&str], summary: &WorkSummary) -> Statement {
    if !missing.is_empty() {
        let message = format!(
            "there is no placement {} in this namespace, or it is not decided yet; the works that came by it stay",
            missing.join(", ")
        );
        return statement(
            PLACEMENT_VERIFIED,
            Status::False,
            "PlacementDecisionNotFound",
            message,
        );
    }
    if summary.desired_total == 0 {
        let message = "the placements have chosen no cluster";
        return statement(
            PLACEMENT_VERIFIED,
            Status::False,
            "PlacementDecisionEmpty",
            message,
        );
    }
    statement(PLACEMENT_VERIFIED, Status::True, "AsExpected", "")
}

fn rolled_out(plan: &Plan, missing: &[&str]) -> Statement {
    let through = |share: &Share| {
        share.chosen.iter().all(|cluster| {
            let member = share.members.get(cluster);
            member.is_some_and(|member| member.state.progress == Progress::Succeeded)
        })
    };
    match missing.is_empty() && plan.shares.iter().all(through) {
        true => statement(PLACEMENT_ROLLED_OUT, Status::True, "Complete", ""),
        false => statement(PLACEMENT_ROLLED_OUT, Status::False, "Progressing", ""),
    }
}

fn applied(plan: &Plan, summary: &WorkSummary, failure: Option<&str>) -> Statement {
    if let Some(failure) = failure {
        return statement(
            MANIFEST_WORK_APPLIED,
            Status::False,
            "NotAsExpected",
            failure,
        );
    }
    let members = plan.shares.iter().flat_map(|share| &share.members);
    let mut refused = members.filter(|(_, member)| says(&member.work, known::APPLIED, "False"));
    if let Some((cluster, _)) = refused.next() {
        let message = format!(
            "{} works are not applied, that of {cluster} first; see their status",
            1 + refused.count()
        );
        return statement(
            MANIFEST_WORK_APPLIED,
            Status::False,
            "NotAsExpected",
            message,
        );
    }
    match summary.applied == summary.desired_total {
        true => statement(MANIFEST_WORK_APPLIED, Status::True, "AsExpected", ""),
        false => statement(MANIFEST_WORK_APPLIED, Status::False, "Processing", ""),
    }
}
