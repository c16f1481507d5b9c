//! Importing clusters of Cluster API, as far as it goes without the cluster itself.

use crate::fixture;
use crate::fixture::Its;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_inventory::hub::Options;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::PostParams;
use serde_json::Value;
use serde_json::json;

const IMPORTED: &str = "ManagedClusterImportSucceeded";

/// A hub that imports, and a namespace of Cluster API.
async fn importing() -> Its {
    let its = Its::with_hub(Options {
        feature_gates: vec!["ClusterImporter=true".to_owned()],
        ..Options::default()
    })
    .await;
    its.apply(&json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": "clusters.cluster.x-k8s.io"},
        "spec": {
            "group": "cluster.x-k8s.io",
            "scope": "Namespaced",
            "names": {"kind": "Cluster", "plural": "clusters"},
            "versions": [{
                "name": "v1beta1", "served": true, "storage": true,
                "schema": {"openAPIV3Schema": {
                    "type": "object", "x-kubernetes-preserve-unknown-fields": true,
                }},
            }],
        },
    }))
    .await;
    its.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "fleet"}}))
        .await;
    its
}

async fn write_source(its: &Its, phase: &str, revision: &str) {
    its.apply(&json!({
        "apiVersion": "cluster.x-k8s.io/v1beta1",
        "kind": "Cluster",
        "metadata": {"name": "edge", "namespace": "fleet", "labels": {"revision": revision}},
        "status": {"phase": phase},
    }))
    .await;
}

async fn write_kubeconfig(its: &Its, user: Value) {
    let kubeconfig = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "edge",
        "clusters": [{"name": "edge", "cluster": {"server": "http://127.0.0.1:1"}}],
        "users": [{"name": "edge", "user": user}],
        "contexts": [{"name": "edge", "context": {"cluster": "edge", "user": "edge"}}],
    });
    its.apply(&json!({
        "apiVersion": "v1", "kind": "Secret",
        "metadata": {"name": "edge-kubeconfig", "namespace": "fleet"},
        "stringData": {"value": kubeconfig.to_string()},
    }))
    .await;
}

fn inventory_object(name: &str, accepted: bool) -> ManagedCluster {
    serde_json::from_value(json!({
        "metadata": {"name": name, "annotations": {"cluster.x-k8s.io/cluster": "fleet/edge"}},
        "spec": {"hubAcceptsClient": accepted},
    }))
    .expect("a ManagedCluster")
}

async fn until_refused(its: &Its, reason: &str, words: &str) {
    its.until_cluster("c1", &format!("says {reason}: {words}"), |object| {
        let found = conditions::find(&object.status.conditions, IMPORTED);
        found.is_some_and(|condition| {
            condition.status == "False"
                && condition.reason == reason
                && condition.message.contains(words)
        })
    })
    .await;
}

#[tokio::test]
async fn each_step_of_an_import_that_fails_says_why() {
    let its = importing().await;
    write_source(&its, "Provisioning", "1").await;
    let api = Api::<ManagedCluster>::all(its.admin());
    api.create(&PostParams::default(), &inventory_object("c1", true))
        .await
        .expect("created");
    until_refused(&its, "KubeConfigNotFound", "\"Provisioning\"").await;

    write_source(&its, "Provisioned", "2").await;
    let grant = "kubectl -n fleet create role edge-kubeconfig --verb=get";
    until_refused(&its, "KubeConfigGetFailed", grant).await;

    let rbac = "rbac.authorization.k8s.io";
    its.apply(&json!({
        "apiVersion": format!("{rbac}/v1"), "kind": "Role",
        "metadata": {"name": "edge-kubeconfig", "namespace": "fleet"},
        "rules": [{"apiGroups": [""], "resources": ["secrets"], "verbs": ["get"],
                   "resourceNames": ["edge-kubeconfig"]}],
    }))
    .await;
    its.apply(&json!({
        "apiVersion": format!("{rbac}/v1"), "kind": "RoleBinding",
        "metadata": {"name": "edge-kubeconfig", "namespace": "fleet"},
        "roleRef": {"apiGroup": rbac, "kind": "Role", "name": "edge-kubeconfig"},
        "subjects": [{"kind": "ServiceAccount", "namespace": namespaces::HUB,
                      "name": names::HUB_SERVICE_ACCOUNT}],
    }))
    .await;
    write_source(&its, "Provisioned", "3").await;
    until_refused(
        &its,
        "KubeConfigNotFound",
        "no Secret fleet/edge-kubeconfig",
    )
    .await;

    // What would run a command on the hub is not followed.
    let command = json!({"exec": {"apiVersion": "client.authentication.k8s.io/v1",
        "command": "true", "interactiveMode": "Never"}});
    write_kubeconfig(&its, command).await;
    write_source(&its, "Provisioned", "4").await;
    until_refused(&its, "KubeConfigGetFailed", "it uses exec").await;

    write_kubeconfig(&its, json!({"token": "t0ken"})).await;
    write_source(&its, "Provisioned", "5").await;
    until_refused(&its, "ConfigRendererFailed", "'clusteradm init' makes it").await;
    let info = json!({"apiVersion": "v1", "kind": "Config",
        "clusters": [{"name": "", "cluster": {"server": "https://hub"}}]});
    its.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "cluster-info", "namespace": "kube-public"},
        "data": {"kubeconfig": info.to_string()},
    }))
    .await;

    // All that the hub itself has to give is there now; the cluster does not answer.
    write_source(&its, "Provisioned", "6").await;
    until_refused(&its, "ImportFailed", "looked for an agent").await;
    let told = api.get("c1").await.expect("there");
    let condition = conditions::find(&told.status.conditions, IMPORTED).expect("a condition");
    assert!(
        !condition.message.contains("t0ken"),
        "{}",
        condition.message
    );
}

#[tokio::test]
async fn no_newcomer_has_an_agent_put_into_a_cluster_of_its_choice() {
    let its = importing().await;
    write_source(&its, "Provisioned", "1").await;
    let newcomer = Api::<ManagedCluster>::all(its.newcomer());
    newcomer
        .create(&PostParams::default(), &inventory_object("c1", false))
        .await
        .expect("announced");
    fixture::request(&its.newcomer(), &fixture::agent("c1", "a")).await;
    let api = Api::<ManagedCluster>::all(its.admin());
    let untouched = async |name: &str| {
        let object = api.get(name).await.expect("there");
        conditions::find(&object.status.conditions, IMPORTED).is_none()
    };
    // Another, which an administrator makes and accepts, is looked at.
    api.create(&PostParams::default(), &inventory_object("c2", true))
        .await
        .expect("created");
    its.until_cluster("c2", "is looked at", |object| {
        conditions::find(&object.status.conditions, IMPORTED).is_some()
    })
    .await;
    assert!(untouched("c1").await, "it is not accepted");
    its.accept("c1", true).await;
    its.until_cluster("c1", "is accepted", |object| {
        fixture::says(
            object,
            "HubAcceptedManagedCluster",
            "True",
            "HubClusterAdminAccepted",
        )
    })
    .await;
    write_source(&its, "Provisioned", "2").await;
    its.meanwhile(tokio::time::sleep(std::time::Duration::from_millis(300)))
        .await;
    assert!(untouched("c1").await, "its agent has asked by itself");
}
