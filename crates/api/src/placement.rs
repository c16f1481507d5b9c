//! Group `cluster.open-cluster-management.io`: requests for a choice of WECs, the choices made, and
//! the scores that add-ons give their WECs for it.

use crate::kind::kind;
use crate::kind::part;
use crate::names::CLUSTER_GROUP;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelector;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::LabelSelectorRequirement;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;

/// Most WECs that one [`PlacementDecision`] names.
pub const DECISIONS_PER_OBJECT_MAX: usize = 100;

/// Weight of a prioritizer that states none; the CRD's default.
pub const WEIGHT_DEFAULT: i32 = 1;

kind! {
    /// A request for a choice of WECs out of the sets bound to its namespace.
    Placement, CLUSTER_GROUP, "v1beta1", "placements", NamespaceResourceScope,
    spec: PlacementSpec, status: PlacementStatus
}

part! {
    /// Which WECs are asked for.
    PlacementSpec {
        /// Sets to choose from; all that are bound to the namespace if none is named.
        cluster_sets: Vec<String>,
        /// How many WECs; all that fit if absent.
        number_of_clusters: Option<i32>,
        /// What a WEC must be like: any one of these. None lets every WEC in.
        predicates: Vec<ClusterPredicate>,
        /// Who comes first when more fit than are asked for.
        prioritizer_policy: PrioritizerPolicy,
        /// Wish to spread the choice; upstream keeps it and follows it nowhere.
        spread_policy: SpreadPolicy,
        /// Taints that do not keep a WEC away.
        tolerations: Vec<Toleration>,
        /// How the choice is divided.
        decision_strategy: DecisionStrategy,
    }
}

part! {
    /// One description of a WEC that fits.
    ClusterPredicate {
        /// Everything in it must hold.
        required_cluster_selector: ClusterSelector,
    }
}

part! {
    /// What must hold of a WEC, all of it.
    ClusterSelector {
        /// About labels of the inventory object.
        label_selector: LabelSelector,
        /// About claims of the WEC.
        claim_selector: ClaimSelector,
        /// About anything in the inventory object.
        cel_selector: CelSelector,
    }
}

part! {
    /// What must hold of a WEC's claims, read as if they were labels.
    ClaimSelector {
        /// Everything in it must hold.
        match_expressions: Vec<LabelSelectorRequirement>,
    }
}

part! {
    /// What must hold of the inventory object, in CEL.
    CelSelector {
        /// Every one must be true; `managedCluster` is the object.
        cel_expressions: Vec<String>,
    }
}

part! {
    /// How WECs that fit are put in order.
    PrioritizerPolicy {
        /// `Additive` (also when empty: the defaults count too) or `Exact`.
        mode: String,
        /// Prioritizers and their weights.
        configurations: Vec<PrioritizerConfiguration>,
    }
}

part! {
    /// One prioritizer with its weight.
    PrioritizerConfiguration {
        /// Which prioritizer.
        score_coordinate: Option<ScoreCoordinate>,
        /// -10 to 10; 0 switches it off. Absent means [`WEIGHT_DEFAULT`].
        weight: Option<i32>,
    }
}

part! {
    /// Where a score comes from.
    ScoreCoordinate {
        /// `BuiltIn` (also when empty) or `AddOn`.
        r#type: String,
        /// `Balance`, `Steady`, `ResourceAllocatableCPU` or `ResourceAllocatableMemory`.
        built_in: String,
        /// The score of an add-on.
        add_on: Option<AddOnScore>,
    }
}

part! {
    /// A score that an add-on gives.
    AddOnScore {
        /// Name of the [`AddOnPlacementScore`] in the mailbox.
        resource_name: String,
        /// Name of the score in it.
        score_name: String,
    }
}

part! {
    /// A wish to spread the choice.
    SpreadPolicy {
        /// At most 8.
        spread_constraints: Vec<SpreadConstraint>,
    }
}

part! {
    /// One wish to spread the choice over the values of a label or claim.
    SpreadConstraint {
        /// Name of the label or claim.
        topology_key: String,
        /// `Label` or `Claim`.
        topology_key_type: String,
        /// Largest wanted difference between two values.
        max_skew: Option<i32>,
        /// `ScheduleAnyway` or `DoNotSchedule`.
        when_unsatisfiable: String,
    }
}

part! {
    /// A taint that does not keep a WEC away.
    Toleration {
        /// Key of the taint; empty, with `Exists`, for all keys.
        key: String,
        /// `Equal` (also when empty) or `Exists`.
        operator: String,
        /// Value of the taint, with `Equal`.
        value: String,
        /// Effect of the taint; empty for all.
        effect: String,
        /// For how long after the taint was set, in seconds; for ever if absent.
        toleration_seconds: Option<i64>,
    }
}

part! {
    /// How the choice is divided.
    DecisionStrategy {
        /// Into groups.
        group_strategy: GroupStrategy,
    }
}

part! {
    /// Groups of WECs, for rollouts.
    GroupStrategy {
        /// Largest group: a number, or a percentage of the choice. Absent means 100 %.
        clusters_per_decision_group: Option<IntOrString>,
        /// Groups with names; a WEC goes to the first that takes it.
        decision_groups: Vec<DecisionGroup>,
    }
}

part! {
    /// A group with a name.
    DecisionGroup {
        /// Its name.
        group_name: String,
        /// Who belongs to it.
        group_cluster_selector: GroupClusterSelector,
    }
}

part! {
    /// Who belongs to a group, all of it.
    GroupClusterSelector {
        /// About labels of the inventory object.
        label_selector: LabelSelector,
        /// About claims of the WEC.
        claim_selector: ClaimSelector,
    }
}

part! {
    /// What came of a placement.
    PlacementStatus {
        /// How many WECs were chosen.
        number_of_selected_clusters: i32,
        /// The groups, in order.
        decision_groups: Vec<DecisionGroupStatus>,
        /// `PlacementSatisfied` and `PlacementMisconfigured`.
        conditions: Vec<Condition>,
    }
}

part! {
    /// One group of the choice.
    DecisionGroupStatus {
        /// Its place, counted from 0.
        decision_group_index: i32,
        /// Its name; empty for those without one.
        decision_group_name: String,
        /// Names of its [`PlacementDecision`]s.
        decisions: Vec<String>,
        /// How many WECs it holds.
        cluster_count: i32,
    }
}

kind! {
    /// Up to [`DECISIONS_PER_OBJECT_MAX`] WECs of one group of a placement.
    PlacementDecision, CLUSTER_GROUP, "v1beta1", "placementdecisions", NamespaceResourceScope,
    status: PlacementDecisionStatus
}

part! {
    /// The WECs.
    PlacementDecisionStatus {
        /// One entry a WEC.
        decisions: Vec<ClusterDecision>,
    }
}

/// One chosen WEC. Both fields are written when empty too: the CRD requires them.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(rename_all = "camelCase", default)]
pub struct ClusterDecision {
    /// Name of the WEC.
    pub cluster_name: String,
    /// Always empty.
    pub reason: String,
}

kind! {
    /// Scores that an add-on gives a WEC, in its mailbox.
    AddOnPlacementScore, CLUSTER_GROUP, "v1alpha1", "addonplacementscores",
    NamespaceResourceScope,
    status: AddOnPlacementScoreStatus
}

part! {
    /// The scores.
    AddOnPlacementScoreStatus {
        /// Conditions, one a type.
        conditions: Vec<Condition>,
        /// One entry a name.
        scores: Vec<Score>,
        /// After this time the scores count no more; they do for ever if absent.
        valid_until: Option<Time>,
    }
}

/// A score. Both fields are written when empty or 0 too: the CRD requires them.
#[derive(Clone, Debug, Default, PartialEq, serde::Deserialize, serde::Serialize)]
#[serde(default)]
pub struct Score {
    /// Its name.
    pub name: String,
    /// -100 to 100; more is better.
    pub value: i32,
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_placement_is_read_with_what_a_server_fills_in() {
        let object: Placement = serde_json::from_value(json!({
            "apiVersion": "cluster.open-cluster-management.io/v1beta1",
            "kind": "Placement",
            "metadata": {"name": "p", "namespace": "n"},
            "spec": {
                "numberOfClusters": 2,
                "sortBy": "ClusterName",
                "scoreRateLimit": "1m",
                "prioritizerPolicy": {"mode": "Additive", "configurations": [
                    {"scoreCoordinate": {"type": "AddOn", "addOn": {"resourceName": "r", "scoreName": "s"}}, "weight": -3},
                ]},
                "tolerations": [{"key": "k", "operator": "Exists", "tolerationSeconds": 5}],
                "decisionStrategy": {"groupStrategy": {"clustersPerDecisionGroup": "25%"}},
            },
        }))
        .unwrap();
        assert_eq!(object.spec.number_of_clusters, Some(2));
        let [configuration] = &object.spec.prioritizer_policy.configurations[..] else {
            panic!("one configuration");
        };
        assert_eq!(configuration.weight, Some(-3));
        let coordinate = configuration.score_coordinate.as_ref().unwrap();
        assert_eq!(
            (
                coordinate.r#type.as_str(),
                coordinate.add_on.as_ref().unwrap().score_name.as_str()
            ),
            ("AddOn", "s")
        );
        assert_eq!(object.spec.tolerations[0].toleration_seconds, Some(5));
        let strategy = &object.spec.decision_strategy.group_strategy;
        assert_eq!(
            strategy.clusters_per_decision_group,
            Some(IntOrString::String("25%".to_owned()))
        );
    }

    #[test]
    fn decisions_and_scores_are_written_with_all_that_is_required() {
        let decision = ClusterDecision {
            cluster_name: "c1".to_owned(),
            ..Default::default()
        };
        assert_eq!(json!(decision), json!({"clusterName": "c1", "reason": ""}));
        let score = Score {
            name: "s".to_owned(),
            value: 0,
        };
        assert_eq!(json!(score), json!({"name": "s", "value": 0}));
        assert_eq!(
            json!(PlacementDecision::default()),
            json!({"apiVersion": "cluster.open-cluster-management.io/v1beta1", "kind": "PlacementDecision", "metadata": {}})
        );
    }
}
