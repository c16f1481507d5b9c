//! What the hub may do on an ITS. Nothing here is about pods, and nothing is `escalate` or `bind`:
//! the hub holds each right it hands out to an agent.

use super::rights;
use crate::manifests::named_rule;
use crate::manifests::rule;
use hyades_api::names;
use serde_json::Value;

/// The rules of the hub's ClusterRole.
pub fn rules() -> Vec<Value> {
    const READ: &[&str] = &["get", "list", "watch"];
    const WRITE: &[&str] = &["create", "get", "list", "watch", "update", "patch"];
    const ALL: &[&str] = &[
        "create", "get", "list", "watch", "update", "patch", "delete",
    ];
    const STATUS: &[&str] = &["patch", "update"];
    let cluster = names::CLUSTER_GROUP;
    let certificates = "certificates.k8s.io";
    let mut rules = vec![
        rule("", &["namespaces"], WRITE),
        rule("coordination.k8s.io", &["leases"], WRITE),
        rule(
            "rbac.authorization.k8s.io",
            &["clusterroles", "clusterrolebindings", "rolebindings"],
            ALL,
        ),
        rule(
            certificates,
            &["certificatesigningrequests"],
            &["get", "list", "watch", "delete"],
        ),
        rule(
            certificates,
            &["certificatesigningrequests/approval"],
            STATUS,
        ),
        named_rule(
            certificates,
            &["signers"],
            &[names::CLIENT_SIGNER],
            &["approve"],
        ),
        rule(
            "authorization.k8s.io",
            &["subjectaccessreviews"],
            &["create"],
        ),
        rule(
            cluster,
            &["managedclusters"],
            &["get", "list", "watch", "update", "patch"],
        ),
        rule(
            cluster,
            &["managedclusters/status", "managedclusters/finalizers"],
            STATUS,
        ),
        rule(cluster, &["managedclustersets"], WRITE),
        rule(cluster, &["managedclustersets/status"], STATUS),
        rule(
            cluster,
            &["managedclustersets/join", "managedclustersets/bind"],
            &["create"],
        ),
        rule(cluster, &["managedclustersetbindings"], READ),
        rule(names::HYADES_GROUP, &["joinrules"], READ),
        rule(names::HYADES_GROUP, &["joinrules/status"], STATUS),
        rule(names::PROFILE_GROUP, &["clusterprofiles"], ALL),
        rule(names::PROFILE_GROUP, &["clusterprofiles/status"], STATUS),
        rule(cluster, &["managedclustersetbindings/status"], STATUS),
        rule(cluster, &["placements", "addonplacementscores"], READ),
        // An owner reference that holds up its owner's deletion takes the right to the finalizers.
        rule(
            cluster,
            &[
                "placements/status",
                "placements/finalizers",
                "placementdecisions/status",
            ],
            STATUS,
        ),
        rule(cluster, &["placementdecisions"], ALL),
        rule(
            names::REGISTER_GROUP,
            &["managedclusters/accept"],
            &["update"],
        ),
        // For the agents of imported clusters: who and where the hub is, and a token to begin with.
        rule(names::CAPI_GROUP, &["clusters"], READ),
        named_rule("", &["configmaps"], &["cluster-info"], &["get"]),
        named_rule("", &["secrets"], &[names::IMAGE_PULL_SECRET], &["get"]),
        named_rule(
            "",
            &["serviceaccounts/token"],
            &[names::BOOTSTRAP_SERVICE_ACCOUNT],
            &["create"],
        ),
        rule(names::WORK_GROUP, &["manifestworks"], &["delete"]),
        rule(names::ADDON_GROUP, &["managedclusteraddons"], &["delete"]),
    ];
    rules.extend(rights::handed_out());
    rules.extend(crate::addon::rules());
    rules
}
