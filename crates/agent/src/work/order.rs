//! In which order manifests are applied: what others need comes first.

use serde_json::Value;

/// Kinds by group, in the order of application. Kinds that are not here come after them all.
const GROUPS: [&[&str]; 7] = [
    &[
        "PriorityClass",
        "Namespace",
        "CustomResourceDefinition",
        "StorageClass",
        "PersistentVolume",
        "PodSecurityPolicy",
    ],
    &["ClusterRole", "ClusterRoleBinding", "Role", "RoleBinding"],
    &[
        "NetworkPolicy",
        "ResourceQuota",
        "LimitRange",
        "PodDisruptionBudget",
        "ServiceAccount",
    ],
    &["Secret", "ConfigMap", "PersistentVolumeClaim"],
    &["Service"],
    &[
        "DaemonSet",
        "Pod",
        "ReplicationController",
        "ReplicaSet",
        "Deployment",
        "HorizontalPodAutoscaler",
        "StatefulSet",
        "Job",
        "CronJob",
    ],
    &[
        "APIService",
        "MutatingWebhookConfiguration",
        "ValidatingWebhookConfiguration",
        "ValidatingAdmissionPolicy",
        "ValidatingAdmissionPolicyBinding",
    ],
];

/// Positions of the manifests, in batches: batches one after the other, the manifests of a batch
/// in any order or at once. Within a batch they keep the author's order.
pub fn batches(manifests: &[Value]) -> Vec<Vec<usize>> {
    let mut batches = vec![Vec::new(); GROUPS.len() + 1];
    for (ordinal, manifest) in manifests.iter().enumerate() {
        let kind = manifest
            .get("kind")
            .and_then(Value::as_str)
            .unwrap_or_default();
        let group = GROUPS
            .iter()
            .position(|kinds| kinds.contains(&kind))
            .unwrap_or(GROUPS.len());
        batches[group].push(ordinal);
    }
    batches.retain(|batch| !batch.is_empty());
    batches
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn namespaces_come_before_their_contents_and_unknown_kinds_last() {
        let kinds = [
            "Deployment",
            "Widget",
            "ConfigMap",
            "Namespace",
            "Secret",
            "Role",
        ];
        let manifests: Vec<_> = kinds.iter().map(|kind| json!({"kind": kind})).collect();
        let named: Vec<Vec<&str>> = batches(&manifests)
            .iter()
            .map(|batch| batch.iter().map(|at| kinds[*at]).collect())
            .collect();
        assert_eq!(
            named,
            [
                vec!["Namespace"],
                vec!["Role"],
                vec!["ConfigMap", "Secret"],
                vec!["Deployment"],
                vec!["Widget"]
            ]
        );
        assert!(batches(&[]).is_empty());
    }
}
