//! Joining by rule: nobody at the keyboard.

use crate::fixture;
use crate::fixture::Its;
use crate::fixture::may_renew_lease;
use crate::fixture::says;
use hyades_api::cluster::ManagedCluster;
use hyades_api::join::JoinRule;
use hyades_api::names;
use hyades_api::names::labels;
use hyades_inventory::hub::Options;
use hyades_runtime::k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use serde_json::Value;
use serde_json::json;

const ACCEPTED: &str = "HubAcceptedManagedCluster";

async fn write_rule(its: &Its, name: &str, spec: Value) {
    its.apply(&json!({
        "apiVersion": "hyades.io/v1alpha1",
        "kind": "JoinRule",
        "metadata": {"name": name},
        "spec": spec,
    }))
    .await;
}

fn newcomers() -> Value {
    json!({"user": names::BOOTSTRAP_SERVICE_ACCOUNT_USER})
}

#[tokio::test]
async fn a_fleet_joins_by_a_rule_and_an_event_names_it() {
    let its = Its::with_hub(Options::default()).await;
    write_rule(
        &its,
        "edge",
        json!({
            "identity": newcomers(),
            "clusterNames": "edge-*",
            "clusterSet": "global",
            "labels": {"tier": "edge"},
        }),
    )
    .await;
    for name in ["edge-1", "edge-2"] {
        its.announce(name).await;
        let agent = fixture::agent(name, "a");
        let request = fixture::request(&its.newcomer(), &agent).await;
        let client = its.agent(&agent);
        its.until("the agent may work", async |_| {
            may_renew_lease(&client, name).await
        })
        .await;
        its.until_cluster(name, "is accepted as the rule says", |object| {
            let label = |key: &str| object.labels().get(key).map(String::as_str);
            says(object, ACCEPTED, "True", "HubClusterAdminAccepted")
                && label("tier") == Some("edge")
                && label(labels::CLUSTER_SET) == Some("global")
        })
        .await;
        let verdicts = fixture::verdicts(&its.admin(), &request).await;
        assert_eq!(verdicts[0].2, "Auto approved by JoinRule edge.");
        its.until("an Event names the rule", async |admin| {
            let events = fixture::events(admin, name).await;
            let told = (
                "HubClusterAdminAccepted".to_owned(),
                "Accepted by JoinRule edge".to_owned(),
            );
            events.contains(&told)
        })
        .await;
    }
    its.until("the rule counts both", async |admin| {
        let api = Api::<JoinRule>::all(admin.clone());
        api.get("edge")
            .await
            .expect("the rule")
            .status
            .accepted_clusters
            == 2
    })
    .await;

    // A name that does not fit waits for a person.
    its.announce("core-1").await;
    let agent = fixture::agent("core-1", "a");
    let request = fixture::request(&its.newcomer(), &agent).await;
    its.until_cluster("core-1", "is taken note of", |object| {
        !object.spec.taints.is_empty()
    })
    .await;
    assert!(fixture::verdicts(&its.admin(), &request).await.is_empty());
}

#[tokio::test]
async fn a_rule_lets_in_as_many_as_it_may_and_goes_on_when_one_leaves() {
    let its = Its::with_hub(Options::default()).await;
    write_rule(
        &its,
        "two",
        json!({"identity": newcomers(), "maximumClusters": 2}),
    )
    .await;
    let mut agents = Vec::new();
    for name in ["c1", "c2", "c3"] {
        its.announce(name).await;
        let agent = fixture::agent(name, "a");
        fixture::request(&its.newcomer(), &agent).await;
        agents.push(agent);
    }
    let accepted = async |its: &Its| {
        let api = Api::<ManagedCluster>::all(its.admin());
        let list = api.list(&Default::default()).await.expect("a list");
        let accepted = list.items.into_iter().filter(|c| c.spec.hub_accepts_client);
        accepted.map(|object| object.name_any()).collect::<Vec<_>>()
    };
    its.until("the rule is exhausted", async |admin| {
        let api = Api::<JoinRule>::all(admin.clone());
        let status = api.get("two").await.expect("the rule").status;
        let said = status.conditions.iter();
        let exhausted = |c: &Condition| c.status == "False" && c.reason == "RuleExhausted";
        status.accepted_clusters == 2
            && said.clone().any(exhausted)
            && accepted(&its).await.len() == 2
    })
    .await;
    let first_two = accepted(&its).await;
    assert_eq!(first_two.len(), 2);

    let api = Api::<ManagedCluster>::all(its.admin());
    api.delete(&first_two[0], &Default::default())
        .await
        .expect("deleted");
    its.until("the third has taken the place", async |_| {
        let now = accepted(&its).await;
        now.len() == 2 && !now.contains(&first_two[0])
    })
    .await;
}

#[tokio::test]
async fn a_denial_by_hand_outlasts_the_rule() {
    let its = Its::with_hub(Options::default()).await;
    write_rule(&its, "all", json!({"identity": newcomers()})).await;
    its.announce("c1").await;
    let agent = fixture::agent("c1", "a");
    fixture::request(&its.newcomer(), &agent).await;
    its.until_cluster("c1", "is accepted", |object| {
        says(object, ACCEPTED, "True", "HubClusterAdminAccepted")
    })
    .await;
    its.accept("c1", false).await;
    its.until_cluster("c1", "is denied", |object| {
        says(object, ACCEPTED, "False", "HubClusterAdminDenied")
    })
    .await;
    fixture::request(&its.newcomer(), &agent).await;
    write_rule(&its, "another", json!({"identity": newcomers()})).await;
    its.meanwhile(tokio::time::sleep(std::time::Duration::from_millis(100)))
        .await;
    let api = Api::<ManagedCluster>::all(its.admin());
    assert!(!api.get("c1").await.expect("there").spec.hub_accepts_client);
}

#[tokio::test]
async fn a_hub_that_dies_between_approval_and_acceptance_goes_on_where_it_stopped() {
    let mut its = Its::with_hub(Options::default()).await;
    write_rule(&its, "all", json!({"identity": newcomers()})).await;
    its.stop_programs();
    its.announce("c1").await;
    let agent = fixture::agent("c1", "a");
    let request = fixture::request(&its.newcomer(), &agent).await;
    // What the hub wrote before it died.
    fixture::conclude(
        &its.admin(),
        &request,
        json!({
            "type": "Approved",
            "status": "True",
            "reason": "AutoApprovedByHubCSRApprovingController",
            "message": "Auto approved by JoinRule all.",
        }),
    )
    .await;
    its.start_hub(Options::default());
    let client = its.agent(&agent);
    its.until("the agent may work", async |_| {
        may_renew_lease(&client, "c1").await
    })
    .await;
    its.until("the rule counts it", async |admin| {
        let api = Api::<JoinRule>::all(admin.clone());
        api.get("all")
            .await
            .expect("the rule")
            .status
            .accepted_clusters
            == 1
    })
    .await;
}

#[tokio::test]
async fn senseless_rules_are_refused_by_the_api_server() {
    let its = Its::with_hub(Options::default()).await;
    let api = Api::<JoinRule>::all(its.admin());
    let refused = async |spec: Value| {
        let rule = json!({"metadata": {"name": "r"}, "spec": spec});
        let rule: JoinRule = serde_json::from_value(rule).expect("a rule");
        let created = api.create(&Default::default(), &rule).await;
        created.expect_err("refused").to_string()
    };
    let error = refused(json!({"identity": {"user": "u", "group": "g"}})).await;
    assert!(
        error.contains("state either user or group, and not both"),
        "{error}"
    );
    let error = refused(json!({"identity": {"user": "u"}, "maximumClusters": -1})).await;
    assert!(error.contains("spec.maximumClusters"), "{error}");
    let error = refused(json!({"identity": {"user": "u"}, "clusterNames": "Edge/*"})).await;
    assert!(error.contains("spec.clusterNames"), "{error}");
    let error = refused(json!({
        "identity": {"user": "u"}, "labels": {labels::CLUSTER_SET: "s1"},
    }))
    .await;
    assert!(error.contains("state the set in clusterSet"), "{error}");
}

#[tokio::test]
async fn a_join_by_rule_costs_ten_commits_of_the_hub_of_which_four_wait_for_each_other() {
    let its = Its::with_hub(Options::default()).await;
    write_rule(&its, "all", json!({"identity": newcomers()})).await;
    // The first WEC also brings the roles that all share.
    let join = async |cluster: &str| {
        its.announce(cluster).await;
        its.until_cluster(cluster, "is taken note of", |object| {
            !object.spec.taints.is_empty()
        })
        .await;
        fixture::request(&its.newcomer(), &fixture::agent(cluster, "a")).await;
        its.until_cluster(cluster, "is accepted", |object| {
            says(object, ACCEPTED, "True", "HubClusterAdminAccepted")
        })
        .await;
        // What follows in the background: sets, counts of rules.
        let pause = tokio::time::sleep(std::time::Duration::from_millis(400));
        its.meanwhile(pause).await;
    };
    join("c1").await;
    its.hub_writes().clear();
    join("c2").await;
    expect_test::expect![[r#"
        PATCH /apis/certificates.k8s.io/v1/certificatesigningrequests/
        PATCH /apis/cluster.open-cluster-management.io/v1/managedclusters/c2
        PATCH /apis/cluster.open-cluster-management.io/v1/managedclusters/c2
        PATCH /apis/cluster.open-cluster-management.io/v1/managedclusters/c2/status
        PATCH /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/open-cluster-management:managedcluster:c2
        PATCH /apis/rbac.authorization.k8s.io/v1/clusterroles/open-cluster-management:managedcluster:c2
        PATCH /apis/rbac.authorization.k8s.io/v1/namespaces/c2/rolebindings/open-cluster-management:managedcluster:c2:registration
        PATCH /apis/rbac.authorization.k8s.io/v1/namespaces/c2/rolebindings/open-cluster-management:managedcluster:c2:work
        POST /api/v1/namespaces
        POST /apis/coordination.k8s.io/v1/namespaces/c2/leases"#]].assert_eq(&commits_of_a_join(&its));
}

#[tokio::test]
async fn a_wec_accepted_before_its_agent_asks_has_each_of_its_rights_written_once() {
    let its = Its::with_hub(Options {
        feature_gates: vec!["ManagedClusterAutoApproval=true".to_owned()],
        auto_approved_csr_users: vec![names::BOOTSTRAP_SERVICE_ACCOUNT_USER.to_owned()],
        ..Options::default()
    })
    .await;
    // The first WEC also brings the roles that all share.
    let join = async |cluster: &str| {
        its.announce(cluster).await;
        its.until_cluster(cluster, "is accepted", |object| {
            says(object, ACCEPTED, "True", "HubClusterAdminAccepted")
        })
        .await;
        let agent = fixture::agent(cluster, "a");
        fixture::request(&its.newcomer(), &agent).await;
        let client = its.agent(&agent);
        its.until("the agent may work", async |_| {
            may_renew_lease(&client, cluster).await
        })
        .await;
        let pause = tokio::time::sleep(std::time::Duration::from_millis(400));
        its.meanwhile(pause).await;
    };
    join("c1").await;
    its.hub_writes().clear();
    join("c2").await;
    // The mailbox is made before it is known whom it is for, and the clock of an agent is judged
    // when it first renews its lease.
    expect_test::expect![[r#"
        PATCH /api/v1/namespaces/c2
        PATCH /apis/certificates.k8s.io/v1/certificatesigningrequests/
        PATCH /apis/cluster.open-cluster-management.io/v1/managedclusters/c2
        PATCH /apis/cluster.open-cluster-management.io/v1/managedclusters/c2/status
        PATCH /apis/cluster.open-cluster-management.io/v1/managedclusters/c2/status
        PATCH /apis/rbac.authorization.k8s.io/v1/clusterrolebindings/open-cluster-management:managedcluster:c2
        PATCH /apis/rbac.authorization.k8s.io/v1/clusterroles/open-cluster-management:managedcluster:c2
        PATCH /apis/rbac.authorization.k8s.io/v1/namespaces/c2/rolebindings/open-cluster-management:managedcluster:c2:registration
        PATCH /apis/rbac.authorization.k8s.io/v1/namespaces/c2/rolebindings/open-cluster-management:managedcluster:c2:work
        POST /api/v1/namespaces
        POST /apis/coordination.k8s.io/v1/namespaces/c2/leases"#]].assert_eq(&commits_of_a_join(&its));
}

/// What the hub wrote for a WEC, without what sets and rules count, a line each.
fn commits_of_a_join(its: &Its) -> String {
    let mut commits = its.hub_writes().commits();
    commits.retain(|line| !line.contains("managedclustersets") && !line.contains("joinrules"));
    for line in &mut commits {
        if let Some(at) = line.find("/certificatesigningrequests/") {
            line.truncate(at + "/certificatesigningrequests/".len());
        }
    }
    commits.sort();
    commits.join("\n")
}
