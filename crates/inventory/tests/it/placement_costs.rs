//! What a change costs a placement over a fleet, and what moves none.

use crate::fixture::Its;
use crate::placement::bind;
use crate::placement::decisions;
use crate::placement::its;
use crate::placement::place;
use crate::placement::placements;
use crate::placement::until_chosen;
use hyades_api::cluster::ManagedCluster;
use hyades_api::cluster::ManagedClusterSpec;
use hyades_api::names::annotations;
use hyades_api::names::labels;
use hyades_inventory::hub::Options;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::ListParams;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::Value;
use serde_json::json;

/// Tolerates what the hub says of WECs whose agents were never heard of.
fn of_all() -> Value {
    json!({"tolerations": [{"operator": "Exists"}]})
}

/// Announces a WEC, and no more.
async fn announce(its: &Its, name: &str) {
    let object = ManagedCluster::new(name, ManagedClusterSpec::default());
    let api = Api::<ManagedCluster>::all(its.admin());
    let created = api.create(&PostParams::default(), &object).await;
    created.expect("created");
}

async fn until_selected(its: &Its, placement: &str, count: i32) {
    its.until(&format!("{placement} chooses {count}"), async |admin| {
        let object = placements(admin).get(placement).await;
        let status = object.expect("the placement").status;
        status.number_of_selected_clusters == count
    })
    .await;
}

/// Names and versions of everything that placements are written as.
async fn versions(its: &Its) -> Vec<(String, Option<String>)> {
    let admin = its.admin();
    let all = ListParams::default();
    let ours = decisions(&admin).list(&all).await.expect("a list").items;
    let mut versions: Vec<_> = ours
        .iter()
        .map(|object| (object.name_any(), object.resource_version()))
        .collect();
    let ours = placements(&admin).list(&all).await.expect("a list").items;
    let placements = ours.iter().filter(|object| object.name_any() != "later");
    versions.extend(placements.map(|object| (object.name_any(), object.resource_version())));
    versions.retain(|(name, _)| !name.starts_with("later-"));
    versions
}

#[tokio::test]
async fn one_wec_more_in_a_fleet_of_hundreds_costs_one_object_and_the_status() {
    let its = its().await;
    bind(&its, "global").await;
    for number in 0..204 {
        announce(&its, &format!("c{number:03}")).await;
    }
    place(&its, "p", of_all()).await;
    until_selected(&its, "p", 204).await;
    let objects = decisions(&its.admin()).list(&ListParams::default()).await;
    let objects = objects.expect("a list").items;
    let sizes: Vec<_> = objects
        .iter()
        .map(|object| object.status.decisions.len())
        .collect();
    assert_eq!(sizes, [100, 100, 4]);

    its.hub_writes().clear();
    announce(&its, "a-first").await;
    until_selected(&its, "p", 205).await;
    let of_placements = |line: &String| line.contains("/placement");
    let commits: Vec<_> = its
        .hub_writes()
        .commits()
        .into_iter()
        .filter(of_placements)
        .collect();
    let base = "PATCH /apis/cluster.open-cluster-management.io/v1beta1/namespaces/team";
    assert_eq!(
        commits,
        [
            format!("{base}/placementdecisions/p-decision-3/status"),
            format!("{base}/placements/p/status"),
        ]
    );
}

#[tokio::test]
async fn a_hub_that_starts_again_moves_nothing_and_writes_nothing() {
    let mut its = its().await;
    bind(&its, "global").await;
    for name in ["c1", "c2", "c3"] {
        announce(&its, name).await;
    }
    for (name, count) in [("p", 1), ("q", 2), ("r", 1)] {
        let mut spec = of_all();
        spec["numberOfClusters"] = json!(count);
        place(&its, name, spec).await;
        until_selected(&its, name, count).await;
    }
    let before = versions(&its).await;
    its.stop_programs();
    its.start_hub(Options::default());
    place(&its, "later", of_all()).await;
    until_chosen(&its, "later", "c1 c2 c3").await;
    assert_eq!(versions(&its).await, before);
}

#[tokio::test]
async fn a_placement_whose_scheduling_is_disabled_stays_as_it_is() {
    let its = its().await;
    bind(&its, "global").await;
    announce(&its, "c1").await;
    place(&its, "p", of_all()).await;
    until_chosen(&its, "p", "c1").await;
    let set = async |value: Value| {
        let annotations = json!({annotations::SCHEDULING_DISABLED: value});
        let patch = Patch::Merge(json!({"metadata": {"annotations": annotations}}));
        let all = placements(&its.admin());
        let patched = all.patch("p", &PatchParams::default(), &patch).await;
        patched.expect("patched");
    };
    set(json!("true")).await;
    announce(&its, "c2").await;
    place(&its, "later", of_all()).await;
    until_chosen(&its, "later", "c1 c2").await;
    until_chosen(&its, "p", "c1").await;
    set(json!(null)).await;
    until_chosen(&its, "p", "c1 c2").await;
}

#[tokio::test]
async fn an_object_in_the_way_of_a_decision_is_taken_over() {
    let its = its().await;
    bind(&its, "global").await;
    announce(&its, "c1").await;
    let foreign = json!({
        "metadata": {"name": "p-decision-1", "labels": {labels::PLACEMENT: "gone"}},
    });
    let foreign = serde_json::from_value(foreign).expect("a decision");
    let all = decisions(&its.admin());
    let created = all.create(&PostParams::default(), &foreign).await;
    created.expect("created");
    let forged = json!({"status": {"decisions": [{"clusterName": "c9", "reason": ""}]}});
    let patch = Patch::Merge(forged);
    let patched = all
        .patch_status("p-decision-1", &PatchParams::default(), &patch)
        .await;
    patched.expect("patched");

    place(&its, "p", of_all()).await;
    until_chosen(&its, "p", "c1").await;
    let object = all.get("p-decision-1").await.expect("a decision");
    assert_eq!(object.owner_references().len(), 1);
}
