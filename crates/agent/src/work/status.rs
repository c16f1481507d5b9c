//! What a work's status says, from what became of its manifests. Pure.

use super::feedback::Feedback;
use super::job;
use super::mapping::Header;
use super::mapping::Target;
use super::rules;
use hyades_api::conditions;
use hyades_api::conditions::Statement;
use hyades_api::conditions::Status;
use hyades_api::conditions::work as known;
use hyades_api::work::ManifestResourceMeta;
use hyades_api::work::ManifestStatus;
use hyades_api::work::ManifestWork;
use hyades_api::work::ManifestWorkStatus;
use hyades_api::work::StatusFeedback;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

/// Whether an object is there.
#[derive(Clone, Debug, PartialEq)]
pub enum Presence {
    /// It exists.
    Present,
    /// It does not.
    Missing,
    /// It could not be read.
    Unreadable(String),
    /// Nobody knows where it would be.
    NoPlace,
}

/// What became of applying one manifest.
#[derive(Clone, Debug, PartialEq)]
pub enum Verdict {
    /// The object is what the manifest says.
    Done,
    /// The object came to its end and is gone, as it was to.
    Gone,
    /// It could not be made so, for this reason.
    Failed(String),
    /// The fields that the work ignores could not be found, for this reason.
    FieldsFailed(String),
}

impl Verdict {
    /// Why the manifest was not applied, if it was not.
    pub fn failure(&self) -> Option<&str> {
        match self {
            Self::Done | Self::Gone => None,
            Self::Failed(reason) | Self::FieldsFailed(reason) => Some(reason),
        }
    }
}

/// What became of one manifest.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// Where it is, in the words of its manifest or of discovery.
    pub meta: ManifestResourceMeta,
    /// Whether it was applied; nothing when only its state was looked at.
    pub applied: Option<Verdict>,
    /// Whether it is there.
    pub presence: Presence,
    /// Its fields for the hub.
    pub feedback: Feedback,
    /// What the rules of the work say of it; nothing when there was nothing to look at, and then
    /// what was said last stands.
    pub ruled: Option<Vec<Statement>>,
}

impl Outcome {
    /// Why the manifest was not applied, if it was not.
    pub fn failure(&self) -> Option<&str> {
        self.applied.as_ref()?.failure()
    }
}

/// Whether conditions say that the present generation came to its end.
pub fn is_complete(all: &[Condition], generation: Option<i64>) -> bool {
    let complete = conditions::find(all, known::COMPLETE);
    complete.is_some_and(|complete| {
        let observed = complete.observed_generation;
        complete.status == "True" && (observed.is_none() || observed == generation)
    })
}

/// How a manifest is named in the status.
pub fn meta(ordinal: usize, header: &Header, target: Option<&Target>) -> ManifestResourceMeta {
    ManifestResourceMeta {
        ordinal: i32::try_from(ordinal).unwrap_or(i32::MAX),
        group: header.group.clone(),
        version: header.version.clone(),
        kind: header.kind.clone(),
        resource: target
            .map(|target| target.resource.plural.clone())
            .unwrap_or_default(),
        name: header.name.clone(),
        namespace: header.namespace.clone(),
    }
}

/// The status of `work` after `outcomes`, one for each manifest in order. Times of transition are
/// taken over from the present status where the state is the same.
pub fn build(work: &ManifestWork, outcomes: &[Outcome], now: &Time) -> ManifestWorkStatus {
    let generation = work.metadata.generation;
    let mut status = work.status.clone();
    let previous = std::mem::take(&mut status.resource_status.manifests);
    for outcome in outcomes {
        let known = previous
            .iter()
            .find(|manifest| same_object(&manifest.resource_meta, &outcome.meta));
        let mut conditions = known
            .map(|manifest| manifest.conditions.clone())
            .unwrap_or_default();
        conditions.retain(|condition| still_ruled(condition, outcome, generation));
        for statement in manifest_statements(outcome, generation) {
            conditions::set(&mut conditions, &statement, now.clone());
        }
        status.resource_status.manifests.push(ManifestStatus {
            resource_meta: outcome.meta.clone(),
            status_feedback: StatusFeedback {
                values: outcome.feedback.values.clone(),
            },
            conditions,
        });
    }
    let manifests = status.resource_status.manifests.iter();
    let manifests = manifests.flat_map(|manifest| &manifest.conditions);
    let ruled = rules::aggregated(manifests.filter(|condition| rules::is_ruled(condition)));
    status.conditions.retain(|condition| {
        let of_type = |statement: &Statement| statement.type_ == condition.type_;
        condition.reason != rules::AGGREGATED || ruled.iter().any(of_type)
    });
    for statement in work_statements(outcomes).into_iter().chain(ruled) {
        conditions::set(
            &mut status.conditions,
            &statement.observing(generation),
            now.clone(),
        );
    }
    status
}

/// The conditions of a work that is being deleted.
pub fn deleting(work: &ManifestWork, now: &Time) -> Option<Vec<Condition>> {
    let statement = Statement::new(
        known::DELETING,
        Status::True,
        "WorkDeleting",
        "ManifestWork is being deleted",
    )
    .observing(work.metadata.generation);
    let mut all = work.status.conditions.clone();
    conditions::set(&mut all, &statement, now.clone()).then_some(all)
}

/// Whether a condition of a manifest stays: those of rules do while the rule is there, and where
/// there was nothing to judge, while they speak of the present generation.
fn still_ruled(condition: &Condition, outcome: &Outcome, generation: Option<i64>) -> bool {
    let of_type = |statement: &Statement| statement.type_ == condition.type_;
    !rules::is_ruled(condition)
        || match &outcome.ruled {
            Some(statements) => statements.iter().any(of_type),
            None => condition.observed_generation == generation,
        }
}

/// Whether two entries are about one object, although one may not know its resource.
pub fn same_object(a: &ManifestResourceMeta, b: &ManifestResourceMeta) -> bool {
    (&a.group, &a.kind, &a.namespace, &a.name) == (&b.group, &b.kind, &b.namespace, &b.name)
}

fn manifest_statements(outcome: &Outcome, generation: Option<i64>) -> Vec<Statement> {
    let applied = outcome.applied.as_ref().map(applied);
    let ruled = outcome.ruled.iter().flatten().cloned();
    applied
        .into_iter()
        .chain(ruled)
        .map(|statement| statement.observing(generation))
        .chain([available(&outcome.presence), synced(&outcome.feedback)])
        .collect()
}

fn applied(verdict: &Verdict) -> Statement {
    let statement = |status, reason| Statement::new(known::APPLIED, status, reason, "");
    match verdict {
        Verdict::Done => statement(Status::True, "AppliedManifestComplete")
            .with_message("Apply manifest complete"),
        Verdict::Gone => statement(Status::True, "AppliedManifestComplete")
            .with_message(format!("Apply manifest complete: {}", job::GONE)),
        Verdict::Failed(error) => statement(Status::False, "AppliedManifestFailed")
            .with_message(format!("Failed to apply manifest: {error}")),
        Verdict::FieldsFailed(error) => {
            statement(Status::False, "AppliedManifestSSAIgnoreFieldError")
                .with_message(format!("Failed to process ignoreFields: {error}"))
        }
    }
}

fn available(presence: &Presence) -> Statement {
    let statement =
        |status, reason, message| Statement::new(known::AVAILABLE, status, reason, message);
    match presence {
        Presence::Present => statement(Status::True, "ResourceAvailable", "Resource is available"),
        Presence::Missing => statement(
            Status::False,
            "ResourceNotAvailable",
            "Resource is not available",
        ),
        Presence::Unreadable(error) => statement(Status::Unknown, "FetchingResourceFailed", "")
            .with_message(format!("Failed to fetch resource: {error}")),
        Presence::NoPlace => statement(
            Status::Unknown,
            "IncompleteResourceMeta",
            "Resource meta is incomplete",
        ),
    }
}

fn synced(feedback: &Feedback) -> Statement {
    let statement =
        |status, reason| Statement::new(known::STATUS_FEEDBACK_SYNCED, status, reason, "");
    if !feedback.errors.is_empty() {
        let message = format!(
            "Sync status feedback failed with error {}",
            feedback.errors.join("; ")
        );
        return statement(Status::False, "StatusFeedbackSyncFailed").with_message(message);
    }
    statement(
        Status::True,
        if feedback.asked {
            "StatusFeedbackSynced"
        } else {
            "NoStatusFeedbackSynced"
        },
    )
}

fn work_statements(outcomes: &[Outcome]) -> Vec<Statement> {
    let mut statements = Vec::new();
    if outcomes.iter().any(|outcome| outcome.applied.is_some()) {
        let failed = outcomes.iter().any(|outcome| outcome.failure().is_some());
        statements.push(if failed {
            Statement::new(
                known::APPLIED,
                Status::False,
                "AppliedManifestWorkFailed",
                "Failed to apply manifest work",
            )
        } else {
            Statement::new(
                known::APPLIED,
                Status::True,
                "AppliedManifestWorkComplete",
                "Apply manifest work complete",
            )
        });
    }
    statements.push(work_available(outcomes));
    statements
}

fn work_available(outcomes: &[Outcome]) -> Statement {
    let total = outcomes.len();
    let missing = outcomes
        .iter()
        .filter(|outcome| outcome.presence == Presence::Missing)
        .count();
    let present = outcomes
        .iter()
        .filter(|outcome| outcome.presence == Presence::Present)
        .count();
    let unknown = total - missing - present;
    let statement = |status, reason| Statement::new(known::AVAILABLE, status, reason, "");
    if total == 0 {
        return statement(Status::Unknown, "ResourcesStatusUnknown")
            .with_message("cannot get any available resource ");
    }
    if missing > 0 {
        return statement(Status::False, "ResourcesNotAvailable")
            .with_message(format!("{missing} of {total} resources are not available"));
    }
    if unknown > 0 {
        return statement(Status::Unknown, "ResourcesStatusUnknown").with_message(format!(
            "{unknown} of {total} resources have unknown status"
        ));
    }
    statement(Status::True, "ResourcesAvailable").with_message("All resources are available")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyades_api::work::ManifestWorkSpec;
    use jiff::Timestamp;
    use serde_json::json;

    fn at(second: i64) -> Time {
        Time(Timestamp::from_second(second).expect("a time"))
    }

    fn outcome(ordinal: usize, failure: &str, presence: Presence) -> Outcome {
        let header = Header {
            version: "v1".to_owned(),
            kind: "ConfigMap".to_owned(),
            namespace: "default".to_owned(),
            name: format!("c{ordinal}"),
            ..Header::default()
        };
        let target = crate::work::mapping::tests::target(
            "",
            "v1",
            "ConfigMap",
            "configmaps",
            "default",
            &header.name,
        );
        Outcome {
            meta: meta(ordinal, &header, Some(&target)),
            applied: Some(match failure {
                "" => Verdict::Done,
                failure => Verdict::Failed(failure.to_owned()),
            }),
            presence,
            feedback: Feedback::default(),
            ruled: Some(Vec::new()),
        }
    }

    fn work(generation: i64) -> ManifestWork {
        let mut work = ManifestWork::new("hello", ManifestWorkSpec::default());
        work.metadata.generation = Some(generation);
        work
    }

    #[test]
    fn the_status_of_a_complete_work_is_upstreams() {
        let status = build(&work(1), &[outcome(0, "", Presence::Present)], &at(0));
        let time = "1970-01-01T00:00:00Z";
        assert_eq!(
            serde_json::to_value(&status).expect("JSON"),
            json!({
                "conditions": [
                    {"lastTransitionTime": time, "message": "Apply manifest work complete", "observedGeneration": 1,
                     "reason": "AppliedManifestWorkComplete", "status": "True", "type": "Applied"},
                    {"lastTransitionTime": time, "message": "All resources are available", "observedGeneration": 1,
                     "reason": "ResourcesAvailable", "status": "True", "type": "Available"},
                ],
                "resourceStatus": {"manifests": [{
                    "conditions": [
                        {"lastTransitionTime": time, "message": "Apply manifest complete", "observedGeneration": 1,
                         "reason": "AppliedManifestComplete", "status": "True", "type": "Applied"},
                        {"lastTransitionTime": time, "message": "Resource is available",
                         "reason": "ResourceAvailable", "status": "True", "type": "Available"},
                        {"lastTransitionTime": time, "message": "",
                         "reason": "NoStatusFeedbackSynced", "status": "True", "type": "StatusFeedbackSynced"},
                    ],
                    "resourceMeta": {"group": "", "kind": "ConfigMap", "name": "c0", "namespace": "default",
                                     "ordinal": 0, "resource": "configmaps", "version": "v1"},
                }]},
            })
        );
    }

    #[test]
    fn an_unchanged_outcome_gives_the_same_status_and_a_new_generation_keeps_the_times() {
        let mut work = work(1);
        let outcomes = [outcome(0, "", Presence::Present)];
        work.status = build(&work, &outcomes, &at(0));
        assert_eq!(build(&work, &outcomes, &at(9)), work.status);
        work.metadata.generation = Some(2);
        let status = build(&work, &outcomes, &at(9));
        assert_eq!(status.conditions[0].observed_generation, Some(2));
        assert_eq!(status.conditions[0].last_transition_time, at(0));
    }

    #[test]
    fn one_failure_fails_the_work_and_the_message_says_why() {
        let outcomes = [
            outcome(0, "", Presence::Present),
            outcome(1, "forbidden", Presence::Missing),
            outcome(2, "no matches", Presence::NoPlace),
        ];
        let status = build(&work(1), &outcomes, &at(0));
        let told: Vec<_> = status
            .conditions
            .iter()
            .map(|c| (c.reason.as_str(), c.message.as_str()))
            .collect();
        assert_eq!(
            told,
            [
                ("AppliedManifestWorkFailed", "Failed to apply manifest work"),
                (
                    "ResourcesNotAvailable",
                    "1 of 3 resources are not available"
                ),
            ]
        );
        let failed = &status.resource_status.manifests[1].conditions[0];
        assert_eq!(failed.message, "Failed to apply manifest: forbidden");
        let ordinals: Vec<_> = status
            .resource_status
            .manifests
            .iter()
            .map(|m| m.resource_meta.ordinal)
            .collect();
        assert_eq!(ordinals, [0, 1, 2]);
    }

    #[test]
    fn looking_does_not_touch_the_applied_conditions() {
        let mut work = work(1);
        work.status = build(&work, &[outcome(0, "", Presence::Present)], &at(0));
        let looked = Outcome {
            applied: None,
            ..outcome(0, "", Presence::Missing)
        };
        let status = build(&work, &[looked], &at(5));
        assert!(conditions::is_true(&status.conditions, known::APPLIED));
        assert!(conditions::is_false(&status.conditions, known::AVAILABLE));
    }

    fn complete(status: Status) -> Option<Vec<Statement>> {
        let statement = Statement::new(known::COMPLETE, status, "ConditionRuleEvaluated", "done");
        Some(vec![statement])
    }

    #[test]
    fn what_rules_say_stands_for_its_generation_and_goes_with_the_rule() {
        let mut work = work(1);
        let ruled = |ruled| Outcome {
            ruled,
            ..outcome(0, "", Presence::Present)
        };
        let generation = work.metadata.generation;
        work.status = build(&work, &[ruled(complete(Status::False))], &at(0));
        assert!(!is_complete(&work.status.conditions, generation));
        work.status = build(&work, &[ruled(complete(Status::True))], &at(1));
        assert!(is_complete(&work.status.conditions, generation));
        let told = conditions::find(&work.status.conditions, known::COMPLETE).expect("told");
        assert_eq!(
            (told.reason.as_str(), told.message.as_str()),
            (rules::AGGREGATED, "done")
        );

        let gone = Outcome {
            ruled: None,
            applied: Some(Verdict::Gone),
            ..outcome(0, "", Presence::Missing)
        };
        let still = build(&work, std::slice::from_ref(&gone), &at(2));
        assert!(
            is_complete(&still.conditions, generation),
            "the object is gone and was complete"
        );
        work.metadata.generation = Some(2);
        assert!(!is_complete(&work.status.conditions, Some(2)));
        let anew = build(&work, &[gone], &at(2));
        assert!(conditions::find(&anew.conditions, known::COMPLETE).is_none());
        let without = build(&work, &[ruled(Some(Vec::new()))], &at(3));
        assert!(conditions::find(&without.conditions, known::COMPLETE).is_none());
        let of_manifest = &without.resource_status.manifests[0].conditions;
        assert!(conditions::find(of_manifest, known::COMPLETE).is_none());
    }

    #[test]
    fn deletion_is_told_once() {
        let mut work = work(3);
        let conditions = deleting(&work, &at(1)).expect("a change");
        assert_eq!(
            (
                conditions[0].reason.as_str(),
                conditions[0].observed_generation
            ),
            ("WorkDeleting", Some(3))
        );
        work.status.conditions = conditions;
        assert_eq!(deleting(&work, &at(2)), None);
    }
}
