//! The rights of one WEC's agent, as RBAC objects.

use crate::manifests;
use crate::manifests::named_rule;
use crate::manifests::rule;
use hyades_api::control::names::CONTROL_GROUP;
use hyades_api::identity;
use hyades_api::identity::AgentIdentity;
use hyades_api::identity::ClusterName;
use hyades_api::names;
use hyades_api::names::annotations;
use hyades_api::names::finalizers;
use hyades_api::names::labels;
use serde_json::Value;
use serde_json::json;
use std::collections::BTreeMap;

const REQUESTS: (&str, &[&str]) = ("certificates.k8s.io", &["certificatesigningrequests"]);

/// Who the rights go to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Holder {
    /// Nobody yet: no agent's request has been approved.
    Nobody,
    /// The agent to which the name is pinned.
    Pinned(AgentIdentity),
    /// Every agent of the WEC's group, as upstream has it: the WEC was accepted by another hub
    /// before this one took over, and its agent has not shown itself yet. Its next renewal pins
    /// the name.
    Group,
}

impl Holder {
    fn subjects(&self, cluster: &ClusterName) -> Vec<Value> {
        match self {
            Self::Nobody => Vec::new(),
            Self::Pinned(agent) => vec![manifests::user_subject(&agent.common_name())],
            Self::Group => vec![manifests::group_subject(&identity::cluster_group(cluster))],
        }
    }
}

/// How far the rights go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Extent {
    /// The WEC is accepted.
    Full,
    /// The WEC was accepted and is denied now: its agent may look at its inventory object, so
    /// that it learns of it.
    Reduced,
}

/// Everything the objects of one WEC depend on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Grant {
    pub(super) holder: Holder,
    pub(super) extent: Extent,
}

/// The cluster-scoped half: ClusterRole and ClusterRoleBinding.
pub(super) fn cluster_scoped(
    cluster: &ClusterName,
    grant: &Grant,
    extra_labels: &BTreeMap<String, String>,
) -> [Value; 2] {
    let name = names::cluster_role(cluster);
    let rules = match grant.extent {
        Extent::Full => full_rules(cluster),
        Extent::Reduced => vec![inventory_rule(cluster, &["get", "list", "watch"])],
    };
    let binding = json!({
        "apiVersion": "rbac.authorization.k8s.io/v1",
        "kind": "ClusterRoleBinding",
        "metadata": {"name": name},
        "roleRef": role_reference(&name),
        "subjects": grant.holder.subjects(cluster),
    });
    let mut role = manifests::cluster_role(&name, rules);
    if grant.extent == Extent::Full {
        role["metadata"]["annotations"] =
            json!({annotations::COLLECTIONS_SELECTED_BY: own_requests(cluster.as_str())});
    }
    [role, binding].map(|object| labelled(object, cluster.as_str(), extra_labels))
}

/// The selector of the requests of one WEC. Upstream's agents list requests by it and need the right
/// to the list; spaces grant them no more of it.
pub(crate) fn own_requests(cluster: &str) -> String {
    format!(
        "{}.{}:{}={cluster}",
        REQUESTS.1[0],
        REQUESTS.0,
        labels::CLUSTER_NAME
    )
}

/// The half in the mailbox: the role bindings for registration and for works.
pub(super) fn mailbox_scoped(
    cluster: &ClusterName,
    grant: &Grant,
    extra_labels: &BTreeMap<String, String>,
) -> [Value; 2] {
    let binding = |name: String, role: &str| {
        json!({
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": {"name": name, "namespace": names::mailbox(cluster)},
            "roleRef": role_reference(role),
            "subjects": grant.holder.subjects(cluster),
        })
    };
    let registration = binding(
        names::registration_role_binding(cluster),
        names::REGISTRATION_CLUSTER_ROLE,
    );
    let mut work = binding(names::work_role_binding(cluster), names::WORK_CLUSTER_ROLE);
    work["metadata"]["finalizers"] = json!([finalizers::MANIFEST_WORK_CLEANUP]);
    [registration, work].map(|object| labelled(object, cluster.as_str(), extra_labels))
}

/// The ClusterRoles that the role bindings of all WECs refer to.
pub(super) fn common(extra_labels: &BTreeMap<String, String>) -> [Value; 2] {
    let registration =
        manifests::cluster_role(names::REGISTRATION_CLUSTER_ROLE, registration_rules());
    let work = manifests::cluster_role(names::WORK_CLUSTER_ROLE, work_rules());
    [registration, work].map(|object| labelled(object, "", extra_labels))
}

/// Every right that any agent may get, without names: what the hub must hold to hand it out.
pub(super) fn handed_out() -> Vec<Value> {
    let cluster = names::CLUSTER_GROUP;
    let mut rules = vec![
        rule(REQUESTS.0, REQUESTS.1, &["create", "get", "list", "watch"]),
        renewal_rule(),
        rule(
            cluster,
            &["managedclusters"],
            &["get", "list", "update", "watch"],
        ),
        rule(cluster, &["managedclusters/status"], &["patch", "update"]),
    ];
    rules.extend(registration_rules());
    rules.extend(work_rules());
    rules
}

fn full_rules(cluster: &ClusterName) -> Vec<Value> {
    let name = [cluster.as_str()];
    vec![
        rule(REQUESTS.0, REQUESTS.1, &["create", "get", "list", "watch"]),
        renewal_rule(),
        inventory_rule(cluster, &["get", "list", "update", "watch"]),
        named_rule(
            names::CLUSTER_GROUP,
            &["managedclusters/status"],
            &name,
            &["patch", "update"],
        ),
    ]
}

fn renewal_rule() -> Value {
    rule(
        names::REGISTER_GROUP,
        &["managedclusters/clientcertificates"],
        &["renew"],
    )
}

fn inventory_rule(cluster: &ClusterName, verbs: &[&str]) -> Value {
    named_rule(
        names::CLUSTER_GROUP,
        &["managedclusters"],
        &[cluster.as_str()],
        verbs,
    )
}

fn registration_rules() -> Vec<Value> {
    let addon = names::ADDON_GROUP;
    vec![
        rule(
            "coordination.k8s.io",
            &["leases"],
            &["get", "list", "watch", "update"],
        ),
        rule(addon, &["managedclusteraddons"], &["get", "list", "watch"]),
        rule(
            addon,
            &["managedclusteraddons/status"],
            &["patch", "update"],
        ),
        rule("events.k8s.io", &["events"], &["create"]),
    ]
}

fn work_rules() -> Vec<Value> {
    let work = names::WORK_GROUP;
    vec![
        json!({
            "apiGroups": ["", "events.k8s.io"],
            "resources": ["events"],
            "verbs": ["create", "patch", "update"],
        }),
        rule(
            work,
            &["manifestworks"],
            &["get", "list", "watch", "update", "patch"],
        ),
        rule(work, &["manifestworks/status"], &["patch", "update"]),
        // What KubeStellar's add-on for status gets upstream.
        rule(
            CONTROL_GROUP,
            &["workstatuses"],
            &[
                "get", "list", "watch", "create", "delete", "update", "patch",
            ],
        ),
        rule(
            CONTROL_GROUP,
            &["workstatuses/status"],
            &["patch", "update"],
        ),
    ]
}

fn role_reference(name: &str) -> Value {
    json!({"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": name})
}

fn labelled(mut object: Value, cluster: &str, extra: &BTreeMap<String, String>) -> Value {
    let mut all = json!(extra);
    all[labels::CLUSTER_NAME] = json!(cluster);
    object["metadata"]["labels"] = all;
    object
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cluster() -> ClusterName {
        "c1".parse().expect("a name")
    }

    fn pinned() -> Holder {
        Holder::Pinned(AgentIdentity::new(cluster(), "a").expect("an agent"))
    }

    #[test]
    fn rights_go_to_the_pinned_user_alone() {
        let grant = Grant {
            holder: pinned(),
            extent: Extent::Full,
        };
        let none = BTreeMap::new();
        let objects = cluster_scoped(&cluster(), &grant, &none);
        let mailbox = mailbox_scoped(&cluster(), &grant, &none);
        for binding in [&objects[1], &mailbox[0], &mailbox[1]] {
            assert_eq!(
                binding["subjects"],
                json!([{
                    "apiGroup": "rbac.authorization.k8s.io",
                    "kind": "User",
                    "name": "system:open-cluster-management:c1:a",
                }])
            );
        }
        assert_eq!(
            mailbox[1]["metadata"]["finalizers"],
            json!([finalizers::MANIFEST_WORK_CLEANUP])
        );
    }

    #[test]
    fn nobody_holds_rights_before_a_request_is_approved() {
        let grant = Grant {
            holder: Holder::Nobody,
            extent: Extent::Full,
        };
        let [_, binding] = cluster_scoped(&cluster(), &grant, &BTreeMap::new());
        assert_eq!(binding["subjects"], json!([]));
    }

    #[test]
    fn a_denied_agent_may_only_look_at_its_inventory_object() {
        let grant = Grant {
            holder: pinned(),
            extent: Extent::Reduced,
        };
        let [role, _] = cluster_scoped(&cluster(), &grant, &BTreeMap::new());
        assert_eq!(
            role["rules"],
            json!([{
                "apiGroups": ["cluster.open-cluster-management.io"],
                "resources": ["managedclusters"],
                "resourceNames": ["c1"],
                "verbs": ["get", "list", "watch"],
            }])
        );
    }

    #[test]
    fn every_object_carries_the_clusters_label_and_the_extra_ones() {
        let grant = Grant {
            holder: Holder::Group,
            extent: Extent::Full,
        };
        let extra = BTreeMap::from([("team".to_owned(), "x".to_owned())]);
        for object in cluster_scoped(&cluster(), &grant, &extra) {
            assert_eq!(
                object["metadata"]["labels"],
                json!({"team": "x", "open-cluster-management.io/cluster-name": "c1"})
            );
        }
        for object in common(&extra) {
            assert_eq!(object["metadata"]["labels"][labels::CLUSTER_NAME], "");
        }
    }

    #[test]
    fn the_hub_holds_what_it_hands_out() {
        let held = handed_out();
        let holds = |group: &str, resource: &str, verb: &str| {
            held.iter().any(|rule| {
                let has = |key: &str, value: &str| {
                    rule[key]
                        .as_array()
                        .is_some_and(|all| all.contains(&json!(value)))
                };
                has("apiGroups", group) && has("resources", resource) && has("verbs", verb)
            })
        };
        let mut handed = full_rules(&cluster());
        handed.extend(registration_rules());
        handed.extend(work_rules());
        for rule in handed {
            let texts = |key: &str| {
                let all = rule[key].as_array().expect("a list").clone();
                all.into_iter()
                    .map(|text| text.as_str().expect("text").to_owned())
            };
            for group in texts("apiGroups") {
                for resource in texts("resources") {
                    for verb in texts("verbs") {
                        assert!(holds(&group, &resource, &verb), "{group} {resource} {verb}");
                    }
                }
            }
        }
    }
}
