//! Conditions: how they are read and set, and every one that hub and agent agree on.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use std::borrow::Cow;

/// Longest message of a condition, in bytes; the schema's limit is 32768 characters.
pub const MESSAGE_BYTES_MAX: usize = 32768;

/// The three states of a condition.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// It holds.
    True,
    /// It does not hold.
    False,
    /// Nobody can tell.
    Unknown,
}

impl Status {
    /// As written in objects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::True => "True",
            Self::False => "False",
            Self::Unknown => "Unknown",
        }
    }
}

/// What a controller has to say about one type of condition, before times are put to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Statement {
    /// The type.
    pub type_: Cow<'static, str>,
    /// The state.
    pub status: Status,
    /// One word for programs.
    pub reason: Cow<'static, str>,
    /// A sentence for people.
    pub message: Cow<'static, str>,
    /// The generation of the spec it speaks of, where that is reported.
    pub observed_generation: Option<i64>,
}

impl Statement {
    /// A statement with a fixed reason and message.
    pub const fn new(
        type_: &'static str,
        status: Status,
        reason: &'static str,
        message: &'static str,
    ) -> Self {
        Self {
            type_: Cow::Borrowed(type_),
            status,
            reason: Cow::Borrowed(reason),
            message: Cow::Borrowed(message),
            observed_generation: None,
        }
    }

    /// The same about another type of condition.
    pub fn with_type(mut self, type_: impl Into<String>) -> Self {
        self.type_ = Cow::Owned(type_.into());
        self
    }

    /// The same with another message.
    pub fn with_message(mut self, message: impl Into<String>) -> Self {
        self.message = Cow::Owned(message.into());
        self
    }

    /// The same with another reason.
    pub fn with_reason(mut self, reason: impl Into<String>) -> Self {
        self.reason = Cow::Owned(reason.into());
        self
    }

    /// The same, speaking of this generation of the spec.
    pub fn observing(mut self, generation: Option<i64>) -> Self {
        self.observed_generation = generation;
        self
    }
}

/// The condition of this type.
pub fn find<'a>(conditions: &'a [Condition], type_: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.type_ == type_)
}

/// Whether the condition of this type is there and True.
pub fn is_true(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == "True")
}

/// Whether the condition of this type is there and False.
pub fn is_false(conditions: &[Condition], type_: &str) -> bool {
    find(conditions, type_).is_some_and(|condition| condition.status == "False")
}

/// Puts a statement into a list of conditions; returns whether the list changed.
///
/// The time of transition moves when the state changes and at no other time. An unchanged statement
/// changes nothing, so that a caller who writes only changed lists writes nothing when idle.
pub fn set(conditions: &mut Vec<Condition>, statement: &Statement, now: Time) -> bool {
    let status = statement.status.as_str();
    let message = bounded(&statement.message);
    let Some(found) = conditions.iter_mut().find(|c| c.type_ == statement.type_) else {
        conditions.push(Condition {
            last_transition_time: now,
            message: message.to_owned(),
            observed_generation: statement.observed_generation,
            reason: statement.reason.clone().into_owned(),
            status: status.to_owned(),
            type_: statement.type_.clone().into_owned(),
        });
        return true;
    };
    let observed_generation = statement.observed_generation.or(found.observed_generation);
    let same = found.status == status
        && found.reason == statement.reason
        && found.message == message
        && found.observed_generation == observed_generation;
    if same {
        return false;
    }
    if found.status != status {
        found.last_transition_time = now;
        status.clone_into(&mut found.status);
    }
    found.reason = statement.reason.clone().into_owned();
    message.clone_into(&mut found.message);
    found.observed_generation = observed_generation;
    true
}

fn bounded(message: &str) -> &str {
    let mut end = message.len().min(MESSAGE_BYTES_MAX);
    while !message.is_char_boundary(end) {
        end -= 1;
    }
    &message[..end]
}

/// Conditions of a ManagedCluster.
pub mod managed_cluster {
    use super::Statement;
    use super::Status;

    /// Whether the hub lets the WEC in.
    pub const HUB_ACCEPTED: &str = "HubAcceptedManagedCluster";
    /// Whether the agent has arrived with its own credentials.
    pub const JOINED: &str = "ManagedClusterJoined";
    /// Whether the agent renews its lease and finds its API server well.
    pub const AVAILABLE: &str = "ManagedClusterConditionAvailable";
    /// Whether the agent's clock agrees with the hub's.
    pub const CLOCK_SYNCED: &str = "ManagedClusterConditionClockSynced";
    /// How far deregistration has come.
    pub const DELETING: &str = "Deleting";
    /// Whether the agent's certificate could be renewed.
    pub const CERTIFICATE_ROTATED: &str = "ClusterCertificateRotated";

    /// Whether the hub has put the agent into the WEC.
    pub const IMPORTED: &str = "ManagedClusterImportSucceeded";
    /// The hub has put the agent into the WEC.
    pub const IMPORT_SUCCEEDED: Statement =
        Statement::new(IMPORTED, Status::True, "ImportSucceed", "");

    /// The administrator has accepted the WEC.
    pub const ACCEPTED: Statement = Statement::new(
        HUB_ACCEPTED,
        Status::True,
        "HubClusterAdminAccepted",
        "Accepted by hub cluster admin",
    );
    /// The administrator has taken the acceptance back.
    pub const DENIED: Statement = Statement::new(
        HUB_ACCEPTED,
        Status::False,
        "HubClusterAdminDenied",
        "Denied by hub cluster admin",
    );
    /// The rights of the WEC could not be written; the message says why.
    pub const ACCEPT_ERROR: Statement = Statement::new(HUB_ACCEPTED, Status::False, "Error", "");
    /// The agent has joined.
    pub const JOINED_STATEMENT: Statement = Statement::new(
        JOINED,
        Status::True,
        "ManagedClusterJoined",
        "Managed cluster joined",
    );
    /// The WEC is well.
    pub const AVAILABLE_STATEMENT: Statement = Statement::new(
        AVAILABLE,
        Status::True,
        "ManagedClusterAvailable",
        "Managed cluster is available",
    );
    /// The WEC's API server is not well; the message says how.
    pub const API_SERVER_UNAVAILABLE: Statement = Statement::new(
        AVAILABLE,
        Status::False,
        "ManagedClusterKubeAPIServerUnavailable",
        "",
    );
    /// The agent has stopped renewing its lease.
    pub const LEASE_STOPPED: Statement = Statement::new(
        AVAILABLE,
        Status::Unknown,
        "ManagedClusterLeaseUpdateStopped",
        "Registration agent stopped updating its lease.",
    );
    /// The clocks agree.
    pub const CLOCK_IN_SYNC: Statement = Statement::new(
        CLOCK_SYNCED,
        Status::True,
        "ManagedClusterClockSynced",
        "The clock of the managed cluster is synced with the hub.",
    );
    /// The clocks disagree.
    pub const CLOCK_OUT_OF_SYNC: Statement = Statement::new(
        CLOCK_SYNCED,
        Status::False,
        "ManagedClusterClockOutOfSync",
        "The clock of hub and agent is out of sync. This may cause the Unknown status and affect agent functionalities.",
    );
    /// The mailbox is empty.
    pub const NO_RESOURCE: Statement = Statement::new(
        DELETING,
        Status::True,
        "NoResource",
        "No cleaned resource in cluster ns.",
    );
    /// The mailbox still holds objects; the message says which.
    pub const RESOURCE_REMAINING: Statement =
        Statement::new(DELETING, Status::False, "ResourceRemaining", "");
    /// The mailbox could not be emptied; the message says why.
    pub const DELETING_ERROR: Statement =
        Statement::new(DELETING, Status::False, "DeletingError", "");
    /// The agent's certificate was renewed; the message says from when to when it is valid.
    pub const CERTIFICATE_UPDATED: Statement = Statement::new(
        CERTIFICATE_ROTATED,
        Status::True,
        "ClientCertificateUpdated",
        "",
    );
    /// The agent's certificate could not be renewed; the message says why.
    pub const CERTIFICATE_UPDATE_FAILED: Statement = Statement::new(
        CERTIFICATE_ROTATED,
        Status::False,
        "ClientCertificateUpdateFailed",
        "",
    );
}

/// Conditions of a JoinRule.
pub mod join_rule {
    use super::Statement;
    use super::Status;

    /// Whether the rule lets anybody in now.
    pub const OPEN: &str = "Open";

    /// It does.
    pub const RULE_OPEN: Statement = Statement::new(OPEN, Status::True, "RuleOpen", "");
    /// Its time is over.
    pub const RULE_EXPIRED: Statement = Statement::new(OPEN, Status::False, "RuleExpired", "");
    /// It has let in as many as it may.
    pub const RULE_EXHAUSTED: Statement = Statement::new(OPEN, Status::False, "RuleExhausted", "");
}

/// Conditions of a ManagedClusterSet and its bindings.
pub mod cluster_set {
    use super::Statement;
    use super::Status;

    /// Whether a set has no members.
    pub const EMPTY: &str = "ClusterSetEmpty";
    /// Whether a binding's set exists.
    pub const BOUND: &str = "Bound";

    /// The set has no members.
    pub const NO_CLUSTER_MATCHED: Statement = Statement::new(
        EMPTY,
        Status::True,
        "NoClusterMatched",
        "No ManagedCluster selected",
    );
    /// The set has members; the message says how many.
    pub const CLUSTERS_SELECTED: Statement =
        Statement::new(EMPTY, Status::False, "ClustersSelected", "");
    /// The binding's set exists.
    pub const SET_BOUND: Statement = Statement::new(BOUND, Status::True, "ClusterSetBound", "");
    /// The binding's set does not exist.
    pub const SET_NOT_FOUND: Statement =
        Statement::new(BOUND, Status::False, "ClusterSetNotFound", "");
}

/// Conditions of a Placement.
pub mod placement {
    use super::Statement;
    use super::Status;

    /// Whether as many WECs were chosen as were asked for.
    pub const SATISFIED: &str = "PlacementSatisfied";
    /// Whether the placement cannot be followed as it is written.
    pub const MISCONFIGURED: &str = "PlacementMisconfigured";

    /// Everybody who was asked for is there.
    pub const ALL_DECISIONS_SCHEDULED: Statement = Statement::new(
        SATISFIED,
        Status::True,
        "AllDecisionsScheduled",
        "All cluster decisions scheduled",
    );
    /// The placement's namespace may use no set.
    pub const NO_SET_BINDINGS: Statement = Statement::new(
        SATISFIED,
        Status::False,
        "NoManagedClusterSetBindings",
        "No valid ManagedClusterSetBindings found in placement namespace",
    );
    /// The namespace may use none of the sets asked for; the message names these.
    pub const NO_INTERSECTION: Statement =
        Statement::new(SATISFIED, Status::False, "NoIntersection", "");
    /// No set has a member; the message names the sets.
    pub const ALL_SETS_EMPTY: Statement =
        Statement::new(SATISFIED, Status::False, "AllManagedClusterSetsEmpty", "");
    /// Nobody fits.
    pub const NO_CLUSTER_MATCHED: Statement = Statement::new(
        SATISFIED,
        Status::False,
        "NoManagedClusterMatched",
        "No ManagedCluster matches any of the cluster predicate",
    );
    /// Fewer fit than were asked for; the message says how many are missing.
    pub const NOT_ALL_DECISIONS_SCHEDULED: Statement =
        Statement::new(SATISFIED, Status::False, "NotAllDecisionsScheduled", "");
    /// The placement cannot be followed; the message says which part and why.
    pub const MISCONFIGURED_STATEMENT: Statement =
        Statement::new(MISCONFIGURED, Status::True, "Misconfigured", "");
    /// The placement can be followed. The reason is spelt as upstream spells it.
    pub const SUCCEED_CONFIGURED: Statement = Statement::new(
        MISCONFIGURED,
        Status::False,
        "Succeedconfigured",
        "Placement configurations check pass",
    );
}

/// Conditions of a ClusterManager.
pub mod cluster_manager {
    /// Whether everything the hub needs was applied.
    pub const APPLIED: &str = "Applied";
    /// Whether the hub is still being rolled out.
    pub const PROGRESSING: &str = "Progressing";
    /// Whether the hub's registration controllers are not all there.
    pub const HUB_REGISTRATION_DEGRADED: &str = "HubRegistrationDegraded";
    /// Whether nobody decides placements.
    pub const HUB_PLACEMENT_DEGRADED: &str = "HubPlacementDegraded";
    /// Whether all feature gates are known.
    pub const VALID_FEATURE_GATES: &str = "ValidFeatureGates";
}

/// Conditions of a Klusterlet.
pub mod klusterlet {
    /// Whether everything the agent needs was applied.
    pub const APPLIED: &str = "Applied";
    /// Whether the agent's Deployments are there.
    pub const AVAILABLE: &str = "Available";
    /// Whether the agent cannot reach its hub, or has no rights there.
    pub const HUB_CONNECTION_DEGRADED: &str = "HubConnectionDegraded";
    /// Hosted modes: whether the WEC can be reached by the kubeconfig given.
    pub const READY_TO_APPLY: &str = "ReadyToApply";
    /// Whether the registration agent's pods are not all there.
    pub const REGISTRATION_DESIRED_DEGRADED: &str = "RegistrationDesiredDegraded";
    /// Whether the work agent's pods are not all there.
    pub const WORK_DESIRED_DEGRADED: &str = "WorkDesiredDegraded";
    /// Whether all feature gates are known.
    pub const VALID_FEATURE_GATES: &str = "ValidFeatureGates";
}

/// Conditions of a ManifestWork and of its manifests.
pub mod work {
    /// Whether the manifests were applied.
    pub const APPLIED: &str = "Applied";
    /// Whether the objects exist in the WEC.
    pub const AVAILABLE: &str = "Available";
    /// Whether the fields to feed back were read.
    pub const STATUS_FEEDBACK_SYNCED: &str = "StatusFeedbackSynced";
    /// Whether the agent is removing the work's objects.
    pub const DELETING: &str = "Deleting";
    /// Whether the work is done for good.
    pub const COMPLETE: &str = "Complete";
    /// Whether the work is still on its way to what it describes.
    pub const PROGRESSING: &str = "Progressing";
    /// Whether the work is not what it describes and does not get there.
    pub const DEGRADED: &str = "Degraded";
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(k8s_openapi::jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn the_time_of_transition_moves_only_with_the_state() {
        let mut conditions = Vec::new();
        assert!(set(&mut conditions, &managed_cluster::ACCEPTED, at(1)));
        assert!(!set(&mut conditions, &managed_cluster::ACCEPTED, at(2)));
        assert_eq!(conditions[0].last_transition_time, at(1));

        let reworded = managed_cluster::ACCEPTED.with_message("again");
        assert!(set(&mut conditions, &reworded, at(3)));
        assert_eq!(conditions[0].last_transition_time, at(1));
        assert_eq!(conditions[0].message, "again");

        assert!(set(&mut conditions, &managed_cluster::DENIED, at(4)));
        assert_eq!(conditions[0].last_transition_time, at(4));
        assert_eq!(conditions.len(), 1);
        assert!(is_false(&conditions, managed_cluster::HUB_ACCEPTED));
        assert!(!is_true(&conditions, managed_cluster::JOINED));
    }

    #[test]
    fn a_new_generation_is_a_change() {
        let mut conditions = Vec::new();
        let statement = managed_cluster::ACCEPTED.observing(Some(1));
        assert!(set(&mut conditions, &statement, at(1)));
        assert!(set(
            &mut conditions,
            &statement.clone().observing(Some(2)),
            at(2)
        ));
        assert_eq!(conditions[0].observed_generation, Some(2));
        assert_eq!(conditions[0].last_transition_time, at(1));
    }

    #[test]
    fn messages_are_cut_at_the_schemas_limit_between_characters() {
        let mut conditions = Vec::new();
        let long = format!("a{}", "é".repeat(MESSAGE_BYTES_MAX));
        let statement = managed_cluster::ACCEPT_ERROR.with_message(long);
        set(&mut conditions, &statement, at(1));
        assert_eq!(conditions[0].message.len(), MESSAGE_BYTES_MAX - 1);
        assert!(!set(&mut conditions, &statement, at(2)));
    }
}
