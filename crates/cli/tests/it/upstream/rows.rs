//! What a hub must do for upstream's programs, line by line.

use std::collections::BTreeSet;

use hyades_pki::Usage;
use jiff::Timestamp;
use serde_json::Value;
use serde_json::json;

use super::Its;
use super::agent;
use super::agent::Agent;
use super::agent::INVENTORY;
use super::agent::REQUESTS;
use super::agent::based_on;
use super::agent::inventory_object;
use super::agent::lease;
use super::agent::only_inventory_object;
use super::agent::requests_of;
use super::agent::works;
use super::bootstrap_token;
use super::condition_of;
use super::identity;

const ADDONS: &str =
    "/apis/addon.open-cluster-management.io/v1beta1/namespaces/cluster1/managedclusteraddons";

#[test]
fn row_1_discovery_has_every_group_and_health_answers() {
    let its = Its::start();
    for (path, resource) in [
        ("cluster.open-cluster-management.io/v1", "managedclusters"),
        ("cluster.open-cluster-management.io/v1beta1", "placements"),
        (
            "cluster.open-cluster-management.io/v1beta2",
            "managedclustersets",
        ),
        (
            "cluster.open-cluster-management.io/v1alpha1",
            "addonplacementscores",
        ),
        ("work.open-cluster-management.io/v1", "manifestworks"),
        (
            "addon.open-cluster-management.io/v1alpha1",
            "managedclusteraddons",
        ),
        (
            "addon.open-cluster-management.io/v1beta1",
            "managedclusteraddons",
        ),
        ("certificates.k8s.io/v1", "certificatesigningrequests"),
        ("coordination.k8s.io/v1", "leases"),
        ("authorization.k8s.io/v1", "selfsubjectaccessreviews"),
        ("authorization.k8s.io/v1", "subjectaccessreviews"),
        ("events.k8s.io/v1", "events"),
    ] {
        let json = |path: &str| {
            its.bootstrap
                .send_accepting("application/json, */*", "GET", path, None, Vec::new())
                .ok()
        };
        let listed = json(&format!("/apis/{path}"));
        let names = listed["resources"].as_array().expect("resources");
        let is_served = names.iter().any(|entry| entry["name"] == resource);
        assert!(is_served, "{path} has no {resource}: {listed:#}");
    }
    let version = its.bootstrap.get("/version").ok();
    assert!(
        version["gitVersion"]
            .as_str()
            .is_some_and(|text| text.starts_with('v'))
    );
    for path in ["/healthz", "/livez"] {
        assert_eq!(its.bootstrap.get(path).ok(), "ok", "{path}");
    }
}

#[test]
fn row_2_cluster_info_names_the_hub_to_the_bootstrap_token() {
    let its = Its::start();
    let path = "/api/v1/namespaces/kube-public/configmaps";
    let info = its.bootstrap.get(&format!("{path}/cluster-info")).ok();
    let text = info["data"]["kubeconfig"].as_str().expect("a kubeconfig");
    let read = hyades_pki::Kubeconfig::parse(text).expect("a kubeconfig");
    assert_eq!(read.clusters.len(), 1);
    let cluster = &read.clusters[0].cluster;
    assert_eq!(cluster.server.as_deref(), Some(its.wire.server()));
    assert!(cluster.certificate_authority_pem().is_some());
    let root = its.bootstrap.get(&format!("{path}/kube-root-ca.crt")).ok();
    assert!(root["data"]["ca.crt"].is_string());
}

#[test]
fn row_3_the_bootstrap_account_hands_out_tokens_that_may_register() {
    let its = Its::start();
    let role = "/apis/rbac.authorization.k8s.io/v1/clusterroles/open-cluster-management:bootstrap";
    its.admin.get(role).ok();
    let newcomer = its.wire.with_token(&bootstrap_token(&its.admin));
    let review = json!({
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "SelfSubjectReview",
        "metadata": {},
    });
    let path = "/apis/authentication.k8s.io/v1/selfsubjectreviews";
    let who = newcomer.create(path, &review).ok()["status"]["userInfo"].clone();
    let account = "system:serviceaccount:open-cluster-management:agent-registration-bootstrap";
    assert_eq!(who["username"], account);
    let groups: BTreeSet<&str> = texts(&who["groups"]);
    let expected = [
        "system:authenticated",
        "system:serviceaccounts",
        "system:serviceaccounts:open-cluster-management",
    ];
    assert_eq!(groups, BTreeSet::from(expected));
    // What upstream asks of a hub before it trusts a bootstrap token with it.
    for verb in ["create", "get"] {
        assert!(newcomer.may(&on_inventory(verb, "", "")), "{verb}");
    }
    for verb in ["create", "get", "list", "watch"] {
        assert!(newcomer.may(&on_requests(verb)), "{verb}");
    }
}

#[test]
fn row_4_a_request_is_filled_in_approved_and_signed_as_it_asks() {
    let its = Its::start();
    let agent = identity("cluster1", "mj9jx");
    agent::announce(&its.bootstrap, "cluster1");
    let asked = its.ask(&agent);
    assert!(asked.name.starts_with("cluster1-"), "{}", asked.name);
    let spec = &asked.object["spec"];
    assert_eq!(
        spec["username"],
        "system:serviceaccount:open-cluster-management:agent-registration-bootstrap"
    );
    let groups = texts(&spec["groups"]);
    assert!(groups.contains("system:serviceaccounts:open-cluster-management"));
    its.accept("cluster1");
    let agent = agent::await_certificate(&its.wire, &its.bootstrap, &agent, asked);
    let subject = agent.certificate.subject();
    assert_eq!(
        subject.common_name,
        "system:open-cluster-management:cluster1:mj9jx"
    );
    let organizations: BTreeSet<&str> = subject.organizations.iter().map(String::as_str).collect();
    let expected = [
        "system:open-cluster-management:cluster1",
        "system:open-cluster-management:managed-clusters",
    ];
    assert_eq!(organizations, BTreeSet::from(expected));
    assert!(subject.organizational_units.is_empty());
    assert!(agent.certificate.usages().contains(&Usage::ClientAuth));
    let seconds = agent.certificate.not_after().as_second() - Timestamp::now().as_second();
    let asked_for = agent::VALIDITY_SECONDS;
    assert!(
        (asked_for - 600..=asked_for).contains(&seconds),
        "valid for {seconds} s"
    );
}

#[test]
fn row_5_acceptance_makes_mailbox_finalizers_rights_condition_and_lease() {
    let its = Its::start();
    agent::announce(&its.bootstrap, "cluster1");
    its.admin.until(&inventory_object("cluster1"), |answer| {
        taints(&answer.body).contains("cluster.open-cluster-management.io/unreachable")
    });
    let agent = its.register_announced("cluster1", "a");
    let label = |object: &Value| {
        object["metadata"]["labels"]["open-cluster-management.io/cluster-name"].clone()
    };
    let mailbox = its.admin.get("/api/v1/namespaces/cluster1").ok();
    assert_eq!(label(&mailbox), "cluster1");
    let object = its.admin.get(&inventory_object("cluster1")).ok();
    let finalizers = texts(&object["metadata"]["finalizers"]);
    for name in ["api-resource-cleanup", "resource-cleanup"] {
        let name = format!("cluster.open-cluster-management.io/{name}");
        assert!(finalizers.contains(name.as_str()), "{finalizers:?}");
    }
    let accepted = condition_of(&object, "HubAcceptedManagedCluster");
    assert_eq!(accepted["message"], "Accepted by hub cluster admin");
    let rbac = "/apis/rbac.authorization.k8s.io/v1";
    let own = "open-cluster-management:managedcluster:cluster1";
    for path in [
        format!("{rbac}/clusterroles/{own}"),
        format!("{rbac}/clusterrolebindings/{own}"),
        format!("{rbac}/namespaces/cluster1/rolebindings/{own}:registration"),
        format!("{rbac}/namespaces/cluster1/rolebindings/{own}:work"),
        lease("cluster1"),
    ] {
        assert_eq!(label(&its.admin.get(&path).ok()), "cluster1", "{path}");
    }
    let lease = its.admin.get(&lease("cluster1")).ok();
    assert_eq!(lease["spec"]["holderIdentity"], "managed-cluster-lease");
    for role in ["registration", "work"] {
        let path = format!("{rbac}/clusterroles/open-cluster-management:managedcluster:{role}");
        assert_eq!(label(&its.admin.get(&path).ok()), "");
    }
    agent.renew_lease().ok();
    agent.report_available();
    its.admin.until(&inventory_object("cluster1"), |answer| {
        taints(&answer.body).is_empty()
    });
}

#[test]
fn row_6_a_renewal_by_the_agents_own_certificate_is_approved_without_asking() {
    let its = Its::start();
    let agent = its.register("cluster1", "a");
    let asked = agent::ask(&agent.caller, &agent.identity);
    assert_eq!(
        asked.object["spec"]["username"],
        agent.identity.common_name()
    );
    let path = format!("{REQUESTS}/{}", asked.name);
    let renewed = agent::await_certificate(&its.wire, &agent.caller, &agent.identity, asked);
    let request = its.admin.get(&path).ok();
    let approval = condition_of(&request, "Approved");
    assert_eq!(
        approval["reason"],
        "AutoApprovedByHubCSRApprovingController"
    );
    assert_eq!(
        approval["message"],
        "Auto approving Managed cluster agent certificate after SubjectAccessReview."
    );
    assert_ne!(renewed.certificate.serial(), agent.certificate.serial());
    renewed.renew_lease().ok();
    // As upstream's agent tells of it.
    let rotated = agent::condition(
        "ClusterCertificateRotated",
        "ClientCertificateUpdated",
        "client certificate rotated starting from a to b",
    );
    while renewed.report(std::slice::from_ref(&rotated)).code == 409 {}
    its.until_condition(
        "cluster1",
        "ClusterCertificateRotated",
        "True",
        "ClientCertificateUpdated",
    );
}

#[test]
fn row_7_a_newcomer_belongs_to_the_default_set_and_the_kept_sets_are_there() {
    let its = Its::start();
    agent::announce(&its.bootstrap, "cluster1");
    its.admin.until(&inventory_object("cluster1"), |answer| {
        answer.body["metadata"]["labels"]["cluster.open-cluster-management.io/clusterset"]
            == "default"
    });
    for set in ["default", "global"] {
        let path =
            format!("/apis/cluster.open-cluster-management.io/v1beta2/managedclustersets/{set}");
        its.admin.until(&path, |answer| {
            condition_of(&answer.body, "ClusterSetEmpty")["reason"] == "ClustersSelected"
        });
    }
}

#[test]
fn row_8_patches_based_on_another_version_or_another_object_are_refused() {
    let its = Its::start();
    let agent = its.register("cluster1", "a");
    let path = format!("{}/status", inventory_object("cluster1"));
    let seen = agent.inventory_object();
    let status = json!({"version": {"kubernetes": "v1.36.3"}});
    let mut stale = based_on(&seen, status.clone());
    stale["metadata"]["resourceVersion"] = json!("1");
    let message = agent.caller.merge(&path, &stale).refused(409);
    assert!(
        message.starts_with(
            "Operation cannot be fulfilled on managedclusters.cluster.open-cluster-management.io \
             \"cluster1\": the object has been modified"
        ),
        "{message}"
    );
    // The hub may write in the same moment.
    let patched = loop {
        let fresh = based_on(&agent.inventory_object(), status.clone());
        let answer = agent.caller.merge(&path, &fresh);
        if answer.code != 409 {
            break answer.ok();
        }
    };
    assert_eq!(patched["status"]["version"]["kubernetes"], "v1.36.3");
    // The main resource is not the agent's to patch, as upstream has it.
    let spec = json!({"spec": {"hubAcceptsClient": true}});
    agent
        .caller
        .merge(&inventory_object("cluster1"), &spec)
        .refused(403);
    let path = works("cluster1");
    let mut work = its.admin.create(&path, &super::walk::work("hello")).ok();
    work["metadata"]["uid"] = json!("00000000-0000-4000-8000-000000000000");
    let message = agent.hold_work(&work).refused(422);
    assert!(message.contains("metadata.uid: Invalid value"), "{message}");
}

#[test]
fn row_9_informers_get_streaming_lists_of_what_they_select() {
    let its = Its::start();
    agent::announce(&its.bootstrap, "other");
    let mut early = its.bootstrap.watch(&only_inventory_object("cluster1"));
    assert!(early.initial().is_empty(), "nothing of other WECs is shown");
    let mut requests = its.bootstrap.watch(&requests_of("cluster1"));
    assert!(requests.initial().is_empty());
    its.ask(&identity("other", "z"));
    let agent = its.register("cluster1", "a");
    let added = early.until(|event| event.kind == "ADDED");
    assert_eq!(added["metadata"]["name"], "cluster1");
    let own = requests.until(|event| event.kind == "ADDED");
    assert_eq!(
        own["metadata"]["labels"]["open-cluster-management.io/cluster-name"],
        "cluster1"
    );
    for path in [
        only_inventory_object("cluster1"),
        requests_of("cluster1"),
        works("cluster1"),
        ADDONS.to_owned(),
    ] {
        agent.caller.watch(&path).initial();
    }
    // The hub's own clean-up lists metadata only.
    let partial = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1";
    let listed = its
        .admin
        .send_accepting(partial, "GET", INVENTORY, None, Vec::new())
        .ok();
    assert_eq!(listed["kind"], "PartialObjectMetadataList");
    assert_eq!(listed["items"][0].get("spec"), None);
}

#[test]
fn row_10_access_reviews_tell_the_truth_before_acceptance_after_it_and_after_denial() {
    let its = Its::start();
    let identity = identity("cluster1", "a");
    agent::announce(&its.bootstrap, "cluster1");
    let asked = its.ask(&identity);
    let request = its.admin.get(&format!("{REQUESTS}/{}", asked.name)).ok();
    its.approve(&request);
    let agent = agent::await_certificate(&its.wire, &its.bootstrap, &identity, asked);
    let lacking = |agent: &Agent| -> Vec<Value> {
        let asked = hub_reviews("cluster1").into_iter();
        asked.filter(|review| !agent.caller.may(review)).collect()
    };
    assert_eq!(lacking(&agent), hub_reviews("cluster1"), "not accepted yet");
    its.set_accepted("cluster1", true);
    agent
        .caller
        .until(&lease("cluster1"), |answer| answer.code == 200);
    assert_eq!(lacking(&agent), Vec::<Value>::new());

    its.set_accepted("cluster1", false);
    its.until_denied("cluster1");
    let left: Vec<Value> = hub_reviews("cluster1")
        .into_iter()
        .filter(|review| agent.caller.may(review))
        .collect();
    let looks = ["get", "list", "watch"].map(|verb| on_inventory(verb, "", "cluster1"));
    assert_eq!(left, looks);
    agent.renew_lease().refused(403);
    agent.inventory_object();
}

fn on_inventory(verb: &str, subresource: &str, name: &str) -> Value {
    json!({
        "group": "cluster.open-cluster-management.io",
        "resource": "managedclusters",
        "subresource": subresource,
        "verb": verb,
        "name": name,
    })
}

fn on_requests(verb: &str) -> Value {
    json!({"group": "certificates.k8s.io", "resource": "certificatesigningrequests", "verb": verb})
}

/// The reviews by which upstream's operator judges a hub kubeconfig.
fn hub_reviews(cluster: &str) -> Vec<Value> {
    let mut reviews: Vec<Value> = ["get", "list", "watch"].map(on_requests).to_vec();
    for verb in ["get", "list", "update", "watch"] {
        reviews.push(on_inventory(verb, "", cluster));
    }
    for verb in ["patch", "update"] {
        reviews.push(on_inventory(verb, "status", cluster));
    }
    reviews.push(json!({
        "group": "register.open-cluster-management.io",
        "resource": "managedclusters",
        "subresource": "clientcertificates",
        "verb": "renew",
    }));
    let in_mailbox = |group: &str, resource: &str, subresource: &str, name: &str, verb: &str| {
        json!({
            "group": group,
            "resource": resource,
            "subresource": subresource,
            "namespace": cluster,
            "name": name,
            "verb": verb,
        })
    };
    for verb in ["get", "update"] {
        let lease = "managed-cluster-lease";
        reviews.push(in_mailbox("coordination.k8s.io", "leases", "", lease, verb));
    }
    for group in ["", "events.k8s.io"] {
        for verb in ["create", "patch", "update"] {
            reviews.push(in_mailbox(group, "events", "", "", verb));
        }
    }
    let work = "work.open-cluster-management.io";
    for verb in ["get", "list", "watch", "update"] {
        reviews.push(in_mailbox(work, "manifestworks", "", "", verb));
    }
    for verb in ["patch", "update"] {
        reviews.push(in_mailbox(work, "manifestworks", "status", "", verb));
    }
    reviews
}

fn texts(list: &Value) -> BTreeSet<&str> {
    let list = list.as_array().into_iter().flatten();
    list.filter_map(Value::as_str).collect()
}

fn taints(object: &Value) -> BTreeSet<&str> {
    let taints = object["spec"]["taints"].as_array().into_iter().flatten();
    taints.filter_map(|taint| taint["key"].as_str()).collect()
}
