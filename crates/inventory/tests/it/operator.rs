//! The operator.

use crate::fixture::Its;
use hyades_api::names;
use hyades_api::names::namespaces;
use hyades_api::operator::ClusterManager;
use hyades_inventory::operator::Options;
use hyades_runtime::k8s_openapi::api::apps::v1::Deployment;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::api::Patch;
use serde_json::json;

async fn hub_deployment(client: &Client) -> Option<Deployment> {
    let name = names::hub_deployment(names::CLUSTER_MANAGER);
    let api = Api::<Deployment>::namespaced(client.clone(), namespaces::HUB);
    api.get_opt(&name).await.expect("an answer")
}

#[tokio::test]
async fn a_cluster_manager_brings_up_a_hub_and_takes_it_down_again() {
    let mut its = Its::start().await;
    its.start_operator(Default::default());
    its.until("the ClusterManager says Applied", async |admin| {
        let api = Api::<ClusterManager>::all(admin.clone());
        let manager = api.get(names::CLUSTER_MANAGER).await.expect("an answer");
        hyades_api::conditions::is_true(&manager.status.conditions, "Applied")
            && Some(manager.status.observed_generation) == manager.metadata.generation
    })
    .await;
    let admin = its.admin();
    assert!(hub_deployment(&admin).await.is_some());
    let spaces = Api::<Namespace>::all(admin.clone());
    let properties = spaces.get_opt(namespaces::CUSTOMIZATION_PROPERTIES).await;
    assert!(properties.expect("an answer").is_some());

    let api = Api::<ClusterManager>::all(admin.clone());
    api.delete(names::CLUSTER_MANAGER, &Default::default())
        .await
        .expect("deleted");
    its.until("the ClusterManager and its hub are gone", async |admin| {
        let api = Api::<ClusterManager>::all(admin.clone());
        let manager = api
            .get_opt(names::CLUSTER_MANAGER)
            .await
            .expect("an answer");
        manager.is_none() && hub_deployment(admin).await.is_none()
    })
    .await;
    let inventory = Api::<hyades_api::cluster::ManagedCluster>::all(admin);
    inventory
        .list(&Default::default())
        .await
        .expect("the inventory stays");
}

#[tokio::test]
async fn a_deployment_deleted_by_hand_comes_back() {
    let mut its = Its::start().await;
    its.start_operator(Default::default());
    its.until("the hub's Deployment is there", async |admin| {
        hub_deployment(admin).await.is_some()
    })
    .await;
    let first = hub_deployment(&its.admin()).await.expect("there");
    let api = Api::<Deployment>::namespaced(its.admin(), namespaces::HUB);
    let name = names::hub_deployment(names::CLUSTER_MANAGER);
    api.delete(&name, &Default::default())
        .await
        .expect("deleted");
    its.until("another Deployment is there", async |admin| {
        let second = hub_deployment(admin).await;
        second.is_some_and(|second| second.metadata.uid != first.metadata.uid)
    })
    .await;
}

#[tokio::test]
async fn labels_of_the_cluster_manager_reach_what_is_made_for_it_and_leave_it_again() {
    let mut its = Its::start().await;
    its.start_operator(Options {
        enable_sync_labels: true,
    });
    let managers = Api::<ClusterManager>::all(its.admin());
    let label = async |value: serde_json::Value| {
        let patch = Patch::Merge(json!({"metadata": {"labels": {"team": value}}}));
        let patched = managers
            .patch(names::CLUSTER_MANAGER, &Default::default(), &patch)
            .await;
        patched.expect("labelled");
    };
    let team = async |admin: &Client| {
        let deployment = hub_deployment(admin).await?;
        let pods = deployment.spec.template.metadata?.labels?;
        let spaces = Api::<Namespace>::all(admin.clone());
        let space = spaces.get_opt(namespaces::HUB).await.expect("an answer")?;
        let both = [deployment.metadata.labels?, space.metadata.labels?];
        let all = [pods].into_iter().chain(both);
        Some(
            all.map(|labels| labels.get("team").cloned())
                .collect::<Vec<_>>(),
        )
    };
    label(json!("edge")).await;
    its.until("hub, pods and namespace carry the label", async |admin| {
        team(admin).await == Some(vec![Some("edge".to_owned()); 3])
    })
    .await;
    label(json!(null)).await;
    its.until("none of them carries it any more", async |admin| {
        team(admin).await == Some(vec![None; 3])
    })
    .await;
}
