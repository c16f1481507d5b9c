//! What upstream's controllers do besides the main paths: roles that all WECs share, leases that
//! vanish, requests that wait, mailboxes that are not empty.

use crate::fixture;
use crate::fixture::Its;
use crate::fixture::may_renew_lease;
use crate::fixture::may_see_itself;
use crate::fixture::says;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_inventory::hub::Options;
use hyades_runtime::k8s_openapi::api::coordination::v1::Lease;
use hyades_runtime::k8s_openapi::api::rbac::v1::ClusterRole;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::DynamicObject;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::core::ApiResource;
use hyades_runtime::kube::core::GroupVersionKind;
use hyades_space::identity::UserInfo;
use serde_json::Value;
use serde_json::json;

const ACCEPTED: &str = "HubAcceptedManagedCluster";
const AVAILABLE: &str = "ManagedClusterConditionAvailable";

/// What an inventory object says of an agent that fell silent.
fn is_lost(object: &ManagedCluster) -> bool {
    says(
        object,
        AVAILABLE,
        "Unknown",
        "ManagedClusterLeaseUpdateStopped",
    )
}

fn message<'a>(object: &'a ManagedCluster, type_: &str) -> &'a str {
    let found = conditions::find(&object.status.conditions, type_);
    found.map_or("", |condition| condition.message.as_str())
}

async fn patch_cluster(its: &Its, cluster: &str, patch: Value) {
    let api = Api::<ManagedCluster>::all(its.admin());
    let patch = Patch::Merge(patch);
    let patched = api.patch(cluster, &PatchParams::default(), &patch).await;
    patched.expect("patched");
}

async fn delete_cluster(its: &Its, cluster: &str) {
    let api = Api::<ManagedCluster>::all(its.admin());
    let deleted = api.delete(cluster, &Default::default()).await;
    deleted.expect("deleted");
}

async fn cluster(admin: &Client, name: &str) -> Option<ManagedCluster> {
    let api = Api::<ManagedCluster>::all(admin.clone());
    api.get_opt(name).await.expect("an answer")
}

async fn role(admin: &Client, name: &str) -> Option<ClusterRole> {
    let api = Api::<ClusterRole>::all(admin.clone());
    api.get_opt(name).await.expect("an answer")
}

fn objects(client: &Client, group: &str, version: &str, kind: &str) -> Api<DynamicObject> {
    let kind = GroupVersionKind::gvk(group, version, kind);
    Api::namespaced_with(client.clone(), "c1", &ApiResource::from_gvk(&kind))
}

fn works(client: &Client) -> Api<DynamicObject> {
    objects(client, names::WORK_GROUP, "v1", "ManifestWork")
}

/// A work that its agent has not let go yet.
async fn hold_work(its: &Its) {
    its.apply(&json!({
        "apiVersion": "work.open-cluster-management.io/v1", "kind": "ManifestWork",
        "metadata": {
            "name": "w1", "namespace": "c1",
            "finalizers": [names::finalizers::MANIFEST_WORK_CLEANUP],
        },
        "spec": {"workload": {"manifests": [
            {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "m"}},
        ]}},
    }))
    .await;
}

/// Lets go the work, as the agent does once it has cleaned up.
async fn release_work(client: &Client) {
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let released = works(client)
        .patch("w1", &PatchParams::default(), &release)
        .await;
    released.expect("released");
}

#[tokio::test]
async fn the_roles_of_all_wecs_come_with_the_first_and_go_with_the_last() {
    let its = Its::with_hub(Options::default()).await;
    let both = [names::REGISTRATION_CLUSTER_ROLE, names::WORK_CLUSTER_ROLE];
    for name in both {
        assert!(role(&its.admin(), name).await.is_none(), "{name}");
    }
    its.announce("c1").await;
    its.announce("c2").await;
    for name in both {
        its.until(&format!("{name} is there"), async |admin| {
            let role = role(admin, name).await;
            role.is_some_and(|role| role.labels().get(labels::CLUSTER_NAME) == Some(&String::new()))
        })
        .await;
    }
    delete_cluster(&its, "c1").await;
    its.until("the first WEC is gone", async |admin| {
        cluster(admin, "c1").await.is_none()
    })
    .await;
    for name in both {
        assert!(role(&its.admin(), name).await.is_some(), "{name}");
    }
    delete_cluster(&its, "c2").await;
    for name in both {
        its.until(&format!("{name} is gone"), async |admin| {
            role(admin, name).await.is_none()
        })
        .await;
    }
}

#[tokio::test]
async fn an_accepted_wec_has_the_rules_that_upstream_gives() {
    let its = Its::with_hub(Options::default()).await;
    let agent = its.register("c1", "a").await;
    let name = names::cluster_role(&agent.cluster);
    let role = role(&its.admin(), &name).await.expect("a role");
    let mut rules = json!(role.rules);
    for rule in rules.as_array_mut().expect("rules") {
        for list in rule.as_object_mut().expect("a rule").values_mut() {
            let list = list.as_array_mut().expect("a list");
            list.sort_by_key(ToString::to_string);
        }
    }
    let cluster = names::CLUSTER_GROUP;
    let wanted = [
        json!({
            "apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"],
            "verbs": ["create", "get", "list", "watch"],
        }),
        json!({
            "apiGroups": ["register.open-cluster-management.io"],
            "resources": ["managedclusters/clientcertificates"], "verbs": ["renew"],
        }),
        json!({
            "apiGroups": [cluster], "resources": ["managedclusters"], "resourceNames": ["c1"],
            "verbs": ["get", "list", "update", "watch"],
        }),
        json!({
            "apiGroups": [cluster], "resources": ["managedclusters/status"],
            "resourceNames": ["c1"], "verbs": ["patch", "update"],
        }),
    ];
    for rule in &wanted {
        let all = rules.as_array().expect("rules");
        assert!(all.contains(rule), "{rule} is not among {rules:#}");
    }
}

#[tokio::test]
async fn a_denied_wec_keeps_its_works_until_the_last_is_gone() {
    let its = Its::with_hub(Options::default()).await;
    let agent = its.register("c1", "a").await;
    let client = its.agent(&agent);
    hold_work(&its).await;
    its.accept("c1", false).await;
    its.until("the agent may only look", async |_| {
        !may_renew_lease(&client, "c1").await && may_see_itself(&client, "c1").await
    })
    .await;
    let held = works(&client).get("w1").await.expect("its work");
    assert!(held.metadata.deletion_timestamp.is_none());
    let object = cluster(&its.admin(), "c1").await.expect("there");
    assert!(says(&object, ACCEPTED, "True", "HubClusterAdminAccepted"));

    let deleted = works(&its.admin()).delete("w1", &Default::default()).await;
    deleted.expect("deleted");
    release_work(&client).await;
    its.until_cluster("c1", "is denied", |object| {
        says(object, ACCEPTED, "False", "HubClusterAdminDenied")
            && message(object, ACCEPTED) == "Denied by hub cluster admin"
    })
    .await;
    assert!(works(&client).list(&Default::default()).await.is_err());
    assert!(may_see_itself(&client, "c1").await);
}

#[tokio::test]
async fn rights_end_although_the_object_vanished_without_the_hub() {
    let its = Its::with_hub(Options::default()).await;
    let agent = its.register("c1", "a").await;
    let client = its.agent(&agent);
    // The hub does not run meanwhile.
    delete_cluster(&its, "c1").await;
    patch_cluster(&its, "c1", json!({"metadata": {"finalizers": null}})).await;
    assert!(cluster(&its.admin(), "c1").await.is_none());
    its.until("no right is left", async |admin| {
        let is_there = role(admin, &names::cluster_role(&agent.cluster)).await;
        is_there.is_none()
            && !may_renew_lease(&client, "c1").await
            && works(&client).list(&Default::default()).await.is_err()
    })
    .await;
}

#[tokio::test]
async fn with_the_gate_everybody_is_accepted_once_and_requests_wait_for_their_user() {
    let its = Its::with_hub(Options {
        feature_gates: vec!["ManagedClusterAutoApproval=true".to_owned()],
        auto_approved_csr_users: vec!["somebody-else".to_owned()],
        ..Options::default()
    })
    .await;
    its.announce("c1").await;
    let agent = fixture::agent("c1", "a");
    let request = fixture::request(&its.newcomer(), &agent).await;
    its.until_cluster("c1", "is accepted", |object| {
        says(object, ACCEPTED, "True", "HubClusterAdminAccepted")
            && object
                .annotations()
                .contains_key("open-cluster-management.io/automatically-accepted-on")
    })
    .await;
    let verdicts = fixture::verdicts(&its.admin(), &request).await;
    assert!(verdicts.is_empty(), "{verdicts:?}");
    // Whoever is turned away afterwards stays out.
    its.accept("c1", false).await;
    its.until_cluster("c1", "is denied", |object| {
        says(object, ACCEPTED, "False", "HubClusterAdminDenied")
    })
    .await;
    let object = cluster(&its.admin(), "c1").await.expect("there");
    assert!(!object.spec.hub_accepts_client);
}

#[tokio::test]
async fn approvals_are_told_in_upstreams_words_and_a_user_without_the_right_waits() {
    let its = Its::with_hub(Options {
        feature_gates: vec!["ManagedClusterAutoApproval=true".to_owned()],
        auto_approved_csr_users: vec![names::BOOTSTRAP_SERVICE_ACCOUNT_USER.to_owned()],
        ..Options::default()
    })
    .await;
    // Somebody named like an agent, who may ask and has not been given the right to renew.
    let stranger = fixture::agent("c9", "a");
    its.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRoleBinding",
        "metadata": {"name": "stranger"},
        "roleRef": {
            "apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole",
            "name": "asks",
        },
        "subjects": [{
            "apiGroup": "rbac.authorization.k8s.io", "kind": "User",
            "name": stranger.common_name(),
        }],
    }))
    .await;
    its.apply(&json!({
        "apiVersion": "rbac.authorization.k8s.io/v1", "kind": "ClusterRole",
        "metadata": {"name": "asks"},
        "rules": [{
            "apiGroups": ["certificates.k8s.io"], "resources": ["certificatesigningrequests"],
            "verbs": ["create"],
        }],
    }))
    .await;
    let client = its.client(UserInfo {
        name: stranger.common_name(),
        groups: vec!["system:authenticated".to_owned()],
        ..UserInfo::default()
    });
    let waiting = fixture::request(&client, &stranger).await;

    its.announce("c1").await;
    let agent = fixture::agent("c1", "a");
    let first = fixture::request(&its.newcomer(), &agent).await;
    let own = its.agent(&agent);
    its.until("the agent may work", async |_| {
        may_renew_lease(&own, "c1").await
    })
    .await;
    let renewal = fixture::request(&own, &agent).await;
    let words = (
        "Approved".to_owned(),
        "AutoApprovedByHubCSRApprovingController".to_owned(),
        "Auto approving Managed cluster agent certificate after SubjectAccessReview.".to_owned(),
    );
    for (request, event) in [
        (first, "ManagedClusterAutoApproved"),
        (renewal, "ManagedClusterCSRAutoApproved"),
    ] {
        its.until(&format!("{event} is told"), async |admin| {
            // Before there is a mailbox the hub's own namespace is the place.
            let mut events = fixture::events(admin, "c1").await;
            events.extend(fixture::events(admin, names::namespaces::HUB).await);
            fixture::verdicts(admin, &request).await == [words.clone()]
                && events.iter().any(|(reason, _)| reason == event)
        })
        .await;
    }
    let verdicts = fixture::verdicts(&its.admin(), &waiting).await;
    assert!(verdicts.is_empty(), "{verdicts:?}");
}

#[tokio::test]
async fn a_lease_deleted_by_hand_comes_back_as_the_hub_makes_it() {
    let its = Its::with_hub(Options::default()).await;
    its.register("c1", "a").await;
    let leases = Api::<Lease>::namespaced(its.admin(), "c1");
    let deleted = leases.delete(names::LEASE, &Default::default()).await;
    deleted.expect("deleted");
    its.until("there is a lease again", async |admin| {
        let leases = Api::<Lease>::namespaced(admin.clone(), "c1");
        leases
            .get_opt(names::LEASE)
            .await
            .expect("an answer")
            .is_some()
    })
    .await;
    let lease = leases.get(names::LEASE).await.expect("the lease");
    assert_eq!(
        lease.labels().get(labels::CLUSTER_NAME),
        Some(&"c1".to_owned())
    );
    let spec = lease.spec.expect("a spec");
    assert_eq!(
        spec.holder_identity.as_deref(),
        Some("managed-cluster-lease")
    );
    assert!(spec.renew_time.is_some());
    assert_eq!(spec.lease_duration_seconds, None);
}

#[tokio::test]
async fn a_wec_that_leaves_without_a_lease_is_unknown_at_once() {
    let its = Its::with_hub(Options::default()).await;
    its.register("c1", "a").await;
    its.report_available("c1").await;
    hold_work(&its).await;
    delete_cluster(&its, "c1").await;
    // A hub that has not seen the deletion yet would make another lease.
    its.until_cluster("c1", "is seen to leave", |object| {
        conditions::find(&object.status.conditions, "Deleting").is_some()
    })
    .await;
    let leases = Api::<Lease>::namespaced(its.admin(), "c1");
    let deleted = leases.delete(names::LEASE, &Default::default()).await;
    deleted.expect("deleted");
    its.until_cluster("c1", "is unknown", |object| {
        is_lost(object)
            && message(object, AVAILABLE) == "Registration agent stopped updating its lease."
    })
    .await;
    its.until("an Event says so in the mailbox", async |admin| {
        let events = fixture::events(admin, "c1").await;
        events
            .iter()
            .any(|(reason, _)| reason == "AvailableUnknown")
    })
    .await;
}

#[tokio::test]
async fn only_its_agent_calls_a_lost_wec_available_again() {
    let its = Its::with_hub(Options::default()).await;
    let agent = its.register("c1", "a").await;
    let client = its.agent(&agent);
    its.report_available("c1").await;
    assert!(fixture::promise_lease(&client, "c1", 1).await);
    its.until_cluster("c1", "is lost", is_lost).await;
    // The hub has seen the renewal once the clock of it has been judged.
    let behind = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(1);
    let renewed = fixture::renew_lease(&client, "c1", behind);
    assert!(its.meanwhile(renewed).await);
    its.until_cluster("c1", "has renewed", |object| {
        let clock = "ManagedClusterConditionClockSynced";
        says(object, clock, "False", "ManagedClusterClockOutOfSync")
    })
    .await;
    let object = cluster(&its.admin(), "c1").await.expect("there");
    assert!(is_lost(&object));
    its.report_available("c1").await;
    its.until_cluster("c1", "has lost its taint", |object| {
        object.spec.taints.is_empty()
    })
    .await;
}

#[tokio::test]
async fn a_wec_whose_server_is_not_well_gets_the_taint_of_that() {
    let its = Its::with_hub(Options::default()).await;
    its.register("c1", "a").await;
    let api = Api::<ManagedCluster>::all(its.admin());
    let mut all = api.get("c1").await.expect("there").status.conditions;
    let statement = conditions::managed_cluster::API_SERVER_UNAVAILABLE;
    let now = hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Time(
        jiff::Timestamp::now(),
    );
    conditions::set(&mut all, &statement, now);
    let patch = Patch::Merge(json!({"status": {"conditions": all}}));
    let reported = api
        .patch_status("c1", &PatchParams::default(), &patch)
        .await;
    reported.expect("reported");
    its.until_cluster("c1", "has the one taint", |object| {
        let taints = &object.spec.taints;
        let is_it = |key: &str| taints.len() == 1 && taints[0].key == key;
        is_it(names::taints::UNAVAILABLE) && taints[0].time_added.is_some()
    })
    .await;
}

#[tokio::test]
async fn add_ons_are_labelled_by_their_health_and_unknown_with_their_wec() {
    let its = Its::with_hub(Options::default()).await;
    let agent = its.register("c1", "a").await;
    its.report_available("c1").await;
    let client = its.agent(&agent);
    its.apply(&json!({
        "apiVersion": "addon.open-cluster-management.io/v1alpha1", "kind": "ManagedClusterAddOn",
        "metadata": {"name": "search", "namespace": "c1"}, "spec": {},
    }))
    .await;
    let label = "feature.open-cluster-management.io/addon-search";
    let labelled = |object: &ManagedCluster, value: Option<&str>| {
        object.labels().get(label).map(String::as_str) == value
    };
    its.until_cluster("c1", "has an add-on that nobody heard of", |object| {
        labelled(object, Some("unreachable"))
    })
    .await;
    let addons = objects(
        &its.admin(),
        "addon.open-cluster-management.io",
        "v1alpha1",
        "ManagedClusterAddOn",
    );
    for (status, value) in [("True", "available"), ("False", "unhealthy")] {
        let patch = json!({"status": {"conditions": [{
            "type": "Available", "status": status, "reason": "Test", "message": "",
            "lastTransitionTime": "2026-01-01T00:00:00Z",
        }]}});
        let patched = addons
            .patch_status("search", &PatchParams::default(), &Patch::Merge(patch))
            .await;
        patched.expect("reported");
        its.until_cluster("c1", value, |object| labelled(object, Some(value)))
            .await;
    }
    assert!(fixture::promise_lease(&client, "c1", 1).await);
    its.until("the add-on is unknown", async |_| {
        let addon = json!(addons.get("search").await.expect("the add-on"));
        let conditions = addon["status"]["conditions"].as_array().cloned();
        conditions.into_iter().flatten().any(|condition| {
            condition["type"] == "Available"
                && condition["status"] == "Unknown"
                && condition["reason"] == "ManagedClusterLeaseUpdateStopped"
                && condition["message"] == "Registration agent stopped updating its lease."
        })
    })
    .await;
    its.until_cluster("c1", "has an add-on out of reach", |object| {
        labelled(object, Some("unreachable"))
    })
    .await;
    let deleted = addons.delete("search", &Default::default()).await;
    deleted.expect("deleted");
    its.until_cluster("c1", "has lost the label", |object| labelled(object, None))
        .await;
}
