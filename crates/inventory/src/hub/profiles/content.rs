//! What a cluster profile says.

use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::conditions::managed_cluster as types;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_api::profile::ClusterProfile;
use hyades_api::profile::ClusterProfileSpec;
use hyades_api::profile::ClusterProfileStatus;
use hyades_api::profile::ProfileManager;
use hyades_api::profile::ProfileProperty;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use std::collections::BTreeMap;

/// Whether the WEC's API server answers.
const CONTROL_PLANE_HEALTHY: &str = "ControlPlaneHealthy";

/// Whether the WEC is registered.
const JOINED: &str = "Joined";

/// Longest name of a property, in characters; the definition has it so.
const PROPERTY_NAME_MAX: usize = 253;

/// Longest value of a property, in characters; the definition has it so.
const PROPERTY_VALUE_MAX: usize = 1024;

/// A profile without its status.
pub(super) fn profile(namespace: &str, cluster: &str, set: &str) -> ClusterProfile {
    let mut profile = ClusterProfile::new(
        cluster,
        ClusterProfileSpec {
            display_name: cluster.to_owned(),
            cluster_manager: ProfileManager {
                name: names::PROFILE_MANAGER.to_owned(),
            },
        },
    );
    profile.metadata.namespace = Some(namespace.to_owned());
    let marks = [
        (labels::PROFILE_MANAGER, names::PROFILE_MANAGER),
        (labels::PROFILE_CLUSTER_SET, set),
        (labels::CLUSTER_NAME, cluster),
    ];
    let marks = marks.map(|(key, value)| (key.to_owned(), value.to_owned()));
    profile.metadata.labels = Some(BTreeMap::from(marks));
    profile
}

/// The status of a WEC's profile, if it must change.
pub(super) fn status(
    present: &ClusterProfileStatus,
    object: &ManagedCluster,
) -> Option<ClusterProfileStatus> {
    let mut wanted = ClusterProfileStatus {
        version: object.status.version.clone(),
        properties: properties(object),
        conditions: present.conditions.clone(),
    };
    for (ours, theirs) in [
        (CONTROL_PLANE_HEALTHY, types::AVAILABLE),
        (JOINED, types::JOINED),
    ] {
        let said = conditions::find(&object.status.conditions, theirs);
        let said = said.map(|said| Condition {
            type_: ours.to_owned(),
            observed_generation: None,
            ..said.clone()
        });
        wanted
            .conditions
            .retain(|condition| condition.type_ != ours);
        wanted.conditions.extend(said);
    }
    // The order of conditions is no difference worth a write.
    wanted.conditions.sort_by(|a, b| a.type_.cmp(&b.type_));
    (wanted != *present).then_some(wanted)
}

/// The claims that can be properties. Of two with one name the last counts.
fn properties(object: &ManagedCluster) -> Vec<ProfileProperty> {
    let fits = |text: &str, most: usize| !text.is_empty() && text.chars().count() <= most;
    let claims = object.status.cluster_claims.iter().filter(|claim| {
        fits(&claim.name, PROPERTY_NAME_MAX) && fits(&claim.value, PROPERTY_VALUE_MAX)
    });
    let by_name: BTreeMap<&str, &str> = claims
        .map(|claim| (claim.name.as_str(), claim.value.as_str()))
        .collect();
    let property = |(name, value): (&str, &str)| ProfileProperty {
        name: name.to_owned(),
        value: value.to_owned(),
    };
    by_name.into_iter().map(property).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_profile_says_what_its_cluster_says() {
        let object: ManagedCluster = serde_json::from_value(json!({
            "metadata": {"name": "c1"},
            "status": {
                "version": {"kubernetes": "v1.36.2"},
                "clusterClaims": [
                    {"name": "region", "value": "west"},
                    {"name": "region", "value": "east"},
                    {"name": "empty", "value": ""},
                    {"name": "long", "value": "x".repeat(PROPERTY_VALUE_MAX + 1)},
                ],
                "conditions": [{
                    "type": types::AVAILABLE, "status": "Unknown",
                    "reason": "ManagedClusterLeaseUpdateStopped", "message": "m",
                    "lastTransitionTime": "2026-01-01T00:00:00Z",
                }],
            },
        }))
        .expect("a ManagedCluster");
        let decided = status(&ClusterProfileStatus::default(), &object).expect("a change");
        assert_eq!(decided.version.kubernetes, "v1.36.2");
        let facts: Vec<_> = decided
            .properties
            .iter()
            .map(|p| (&*p.name, &*p.value))
            .collect();
        assert_eq!(facts, [("region", "east")]);
        assert_eq!(decided.conditions.len(), 1);
        assert_eq!(decided.conditions[0].type_, CONTROL_PLANE_HEALTHY);
        assert_eq!(decided.conditions[0].status, "Unknown");
        assert_eq!(status(&decided, &object), None);
    }

    #[test]
    fn conditions_of_others_stay() {
        let present: ClusterProfileStatus = serde_json::from_value(json!({"conditions": [{
            "type": "Theirs", "status": "True", "reason": "r", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]}))
        .expect("a status");
        assert_eq!(status(&present, &ManagedCluster::default()), None);
    }
}
