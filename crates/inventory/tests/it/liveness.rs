//! Agents that fall silent, and agents with wrong clocks.

use crate::fixture;
use crate::fixture::Its;
use crate::fixture::says;
use hyades_api::cluster::ManagedCluster;
use hyades_api::names;
use hyades_inventory::hub::Options;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use jiff::Timestamp;
use jiff::ToSpan;
use serde_json::json;

const CLOCK: &str = "ManagedClusterConditionClockSynced";

async fn set_lease_duration(its: &Its, cluster: &str, seconds: i32) {
    let api = Api::<ManagedCluster>::all(its.admin());
    let patch = Patch::Merge(json!({"spec": {"leaseDurationSeconds": seconds}}));
    let patched = api.patch(cluster, &PatchParams::default(), &patch).await;
    patched.expect("patched");
}

#[tokio::test]
async fn a_silent_agent_is_lost_although_its_lease_lies_in_the_future() {
    let its = Its::with_hub(Options::default()).await;
    let agent = its.register("c1", "a").await;
    let future = Timestamp::now() + 1.hour();
    assert!(fixture::renew_lease(&its.agent(&agent), "c1", future).await);
    set_lease_duration(&its, "c1", 1).await;
    its.until_cluster("c1", "is lost", |object| {
        says(
            object,
            "ManagedClusterConditionAvailable",
            "Unknown",
            "ManagedClusterLeaseUpdateStopped",
        )
    })
    .await;
    its.until_cluster("c1", "is tainted", |object| {
        let mut taints = object.spec.taints.iter();
        taints.any(|taint| taint.key == names::taints::UNREACHABLE && taint.time_added.is_some())
    })
    .await;
}

#[tokio::test]
async fn a_wrong_clock_is_reported_and_a_corrected_one_too() {
    let its = Its::with_hub(Options::default()).await;
    let agent = its.register("c1", "a").await;
    let client = its.agent(&agent);
    let behind = Timestamp::now() - 1.hour();
    assert!(
        its.meanwhile(fixture::renew_lease(&client, "c1", behind))
            .await
    );
    its.until_cluster("c1", "has a wrong clock", |object| {
        says(object, CLOCK, "False", "ManagedClusterClockOutOfSync")
    })
    .await;
    assert!(its.meanwhile(fixture::may_renew_lease(&client, "c1")).await);
    its.until_cluster("c1", "has a right clock", |object| {
        says(object, CLOCK, "True", "ManagedClusterClockSynced")
    })
    .await;
}
