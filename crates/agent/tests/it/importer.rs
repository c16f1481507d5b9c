//! A cluster of Cluster API into which the hub puts the agent.

use crate::hub::Hub;
use crate::hub::options;
use crate::until;
use crate::wec::Wec;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_api::names;
use hyades_inventory::hub::Options;
use hyades_runtime::apply;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::PostParams;
use serde_json::Value;
use serde_json::json;
use tokio::task::LocalSet;

const IMPORTED: &str = "ManagedClusterImportSucceeded";

async fn ensure(hub: &Hub, object: Value) {
    until("the object is applied", async || {
        // The definition is served a moment after it is made.
        apply::ensure(&hub.client, "test", &object).await.ok()
    })
    .await;
}

/// The cluster `edge` of Cluster API, with this kubeconfig.
async fn provide(hub: &Hub, kubeconfig: &str) {
    ensure(
        hub,
        json!({
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
        }),
    )
    .await;
    ensure(
        hub,
        json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "edge"}}),
    )
    .await;
    ensure(
        hub,
        json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "edge-kubeconfig", "namespace": "edge"},
            "stringData": {"value": kubeconfig},
        }),
    )
    .await;
    ensure(
        hub,
        json!({
            "apiVersion": "cluster.x-k8s.io/v1beta1", "kind": "Cluster",
            "metadata": {"name": "edge", "namespace": "edge"},
            "status": {"phase": "Provisioned"},
        }),
    )
    .await;
}

/// Waits for what the import of `edge` comes to: reason and message.
async fn until_imported(hub: &Hub, status: &str) -> (String, String) {
    until(&format!("the import is {status}"), async || {
        let object = hub.clusters().get("edge").await.expect("there");
        let found = conditions::find(&object.status.conditions, IMPORTED)?;
        (found.status == status).then(|| (found.reason.clone(), found.message.clone()))
    })
    .await
}

async fn importing() -> (Hub, Wec) {
    let automatic = options(true);
    let mut gates = automatic.feature_gates.clone();
    gates.push("ClusterImporter=true".to_owned());
    let hub = Hub::start_with(Options {
        feature_gates: gates,
        ..automatic
    })
    .await;
    hub.publish(&hub.url, &hub.serving_ca_pem()).await;
    (hub, Wec::start("edge").await)
}

async fn announce(hub: &Hub) {
    let object: ManagedCluster = serde_json::from_value(json!({
        "metadata": {"name": "edge"}, "spec": {"hubAcceptsClient": true},
    }))
    .expect("a ManagedCluster");
    let api = hub.clusters();
    let created = api.create(&PostParams::default(), &object).await;
    created.expect("created");
}

#[tokio::test]
async fn a_cluster_of_cluster_api_gets_its_agent_from_the_hub_and_joins() {
    LocalSet::new()
        .run_until(async {
            let (hub, wec) = importing().await;
            provide(&hub, &wec.admin_kubeconfig().await).await;
            announce(&hub).await;
            let (reason, _) = until_imported(&hub, "True").await;
            assert_eq!(reason, "ImportSucceed");
            let klusterlet = wec.klusterlets().get(names::KLUSTERLET).await;
            assert_eq!(klusterlet.expect("there").spec.cluster_name, "edge");
            wec.start_operator();
            wec.start_agent().await;
            hub.until_available("edge").await;
        })
        .await;
}

#[tokio::test]
async fn an_agent_that_another_put_there_is_left_alone() {
    LocalSet::new()
        .run_until(async {
            let (hub, wec) = importing().await;
            wec.join(&hub, "elsewhere", hyades_agent::install::Mode::Singleton)
                .await;
            let before = wec
                .klusterlets()
                .get(names::KLUSTERLET)
                .await
                .expect("there");
            provide(&hub, &wec.admin_kubeconfig().await).await;
            announce(&hub).await;
            let (reason, message) = until_imported(&hub, "False").await;
            assert_eq!(reason, "ImportFailed");
            assert!(message.contains("for the name \"elsewhere\""), "{message}");
            let after = wec
                .klusterlets()
                .get(names::KLUSTERLET)
                .await
                .expect("there");
            assert_eq!(after.resource_version(), before.resource_version());
        })
        .await;
}
