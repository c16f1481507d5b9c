//! Works for all WECs that placements choose.

use super::ManifestWorkSpec;
use crate::kind::kind;
use crate::kind::part;
use crate::names::WORK_GROUP;
use crate::rollout::RolloutStrategy;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;

kind! {
    /// One work for each WEC that placements of its namespace choose.
    ManifestWorkReplicaSet, WORK_GROUP, "v1alpha1", "manifestworkreplicasets", NamespaceResourceScope,
    spec: ManifestWorkReplicaSetSpec, status: ManifestWorkReplicaSetStatus
}

part! {
    /// What goes where.
    ManifestWorkReplicaSetSpec {
        /// The works' spec.
        manifest_work_template: ManifestWorkSpec,
        /// Placements in the set's own namespace, and how changes spread over their WECs.
        placement_refs: Vec<PlacementReference>,
        /// `Background` (the default), or `Foreground`: then the set goes after its works.
        cascade_deletion_policy: String,
    }
}

part! {
    /// A placement, and how changes spread over its WECs.
    PlacementReference {
        /// Its name.
        name: String,
        /// How changes spread; to all at once if absent.
        rollout_strategy: RolloutStrategy,
    }
}

part! {
    /// What became of a set.
    ManifestWorkReplicaSetStatus {
        /// Of the types in [`conditions`].
        conditions: Vec<Condition>,
        /// All works together.
        summary: WorkSummary,
        /// By placement, in the order of the spec.
        placement_summary: Vec<PlacementSummary>,
    }
}

part! {
    /// What became of the works of one placement.
    PlacementSummary {
        /// Name of the placement.
        name: String,
        /// Groups that the change has reached, and WECs that have the work, in words.
        available_decision_groups: String,
        /// Its works, counted.
        summary: WorkSummary,
    }
}

/// Works, counted. All are written, zeros too: what counts down must not stay.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct WorkSummary {
    /// Works there are.
    pub total: i64,
    /// Works there are to be.
    pub desired_total: i64,
    /// Works that are as the template says.
    pub updated: i64,
    /// Works that are applied.
    pub applied: i64,
    /// Works whose objects are all there.
    pub available: i64,
    /// Works on their way.
    pub progressing: i64,
    /// Works that are not what they describe.
    pub degraded: i64,
}

impl std::ops::AddAssign for WorkSummary {
    fn add_assign(&mut self, other: Self) {
        self.total += other.total;
        self.desired_total += other.desired_total;
        self.updated += other.updated;
        self.applied += other.applied;
        self.available += other.available;
        self.progressing += other.progressing;
        self.degraded += other.degraded;
    }
}

/// Conditions of a set.
pub mod conditions {
    /// Whether its placements have chosen WECs.
    pub const PLACEMENT_VERIFIED: &str = "PlacementVerified";
    /// Whether all WECs have come through the newest change.
    pub const PLACEMENT_ROLLED_OUT: &str = "PlacementRolledOut";
    /// Whether all works are applied.
    pub const MANIFEST_WORK_APPLIED: &str = "ManifestworkApplied";
}
