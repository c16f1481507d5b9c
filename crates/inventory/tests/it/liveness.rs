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

/// ocm#117, ocm#1139: with leases of a minute and less it takes five minutes to notice.
#[tokio::test]
async fn an_agent_that_promises_is_lost_within_one_lease_and_comes_back_with_its_next_renewal() {
    let its = Its::with_hub(Options::default()).await;
    let agent = its.register("c1", "a").await;
    let client = its.agent(&agent);
    assert!(fixture::promise_lease(&client, "c1", 1).await);
    let lost = |object: &ManagedCluster| {
        says(
            object,
            "ManagedClusterConditionAvailable",
            "Unknown",
            "ManagedClusterLeaseUpdateStopped",
        )
    };
    // The lease of the inventory object is a minute, of which five would be waited for.
    its.until_cluster("c1", "is lost", lost).await;

    assert!(fixture::promise_lease(&client, "c1", 1).await);
    its.report_available("c1").await;
    its.until_cluster("c1", "has lost its taint", |object| {
        object.spec.taints.is_empty()
    })
    .await;
    its.until_cluster("c1", "is lost again", lost).await;
}

#[tokio::test]
async fn a_hub_that_starts_calls_nobody_lost_who_renews() {
    let mut its = Its::with_hub(Options::default()).await;
    let agent = its.register("c1", "a").await;
    let client = its.agent(&agent);
    its.report_available("c1").await;
    assert!(fixture::promise_lease(&client, "c1", 1).await);
    its.stop_programs();
    // Longer than the promise, while nobody looks.
    tokio::time::sleep(std::time::Duration::from_millis(1200)).await;
    its.start_hub(Options::default());
    let api = Api::<ManagedCluster>::all(its.admin());
    for _ in 0..8 {
        its.meanwhile(tokio::time::sleep(std::time::Duration::from_millis(200)))
            .await;
        let object = api.get("c1").await.expect("there");
        assert!(says(
            &object,
            "ManagedClusterConditionAvailable",
            "True",
            "ManagedClusterAvailable"
        ));
        assert!(fixture::promise_lease(&client, "c1", 1).await);
    }
}

#[tokio::test]
async fn a_clock_that_nobody_shall_look_at_is_not_judged() {
    let its = Its::with_hub(Options::default()).await;
    let excused = its.register("c1", "a").await;
    let judged = its.register("c2", "a").await;
    let skip = "registration.open-cluster-management.io/skip-clock-sync-check";
    let patch = Patch::Merge(json!({"metadata": {"annotations": {skip: "true"}}}));
    let api = Api::<ManagedCluster>::all(its.admin());
    let patched = api.patch("c1", &PatchParams::default(), &patch).await;
    patched.expect("annotated");
    let seen = |object: &ManagedCluster| object.metadata.annotations.is_some();
    its.until_cluster("c1", "is excused", seen).await;
    let behind = Timestamp::now() - 1.hour();
    for agent in [excused, judged] {
        let client = its.agent(&agent);
        let renewed = fixture::renew_lease(&client, agent.cluster.as_str(), behind);
        assert!(its.meanwhile(renewed).await);
    }
    let is_wrong =
        |object: &ManagedCluster| says(object, CLOCK, "False", "ManagedClusterClockOutOfSync");
    its.until_cluster("c2", "has a wrong clock", is_wrong).await;
    assert!(!is_wrong(&api.get("c1").await.expect("there")));
}

#[tokio::test]
async fn a_storm_of_one_agent_costs_the_hub_a_bounded_number_of_writes_and_holds_nobody_up() {
    /// Renewals in the storm.
    const RENEWALS: u64 = 300;
    /// Writes that one agent may cause in a row, and one more a second.
    const WRITES_MAX: u64 = 60;
    let its = Its::with_hub(Options::default()).await;
    let calm = its.register("c1", "a").await;
    let wild = its.register("c2", "a").await;
    for cluster in ["c1", "c2"] {
        its.until_cluster(cluster, "is at rest", |object| {
            says(object, CLOCK, "True", "ManagedClusterClockSynced")
        })
        .await;
    }
    its.hub_writes().clear();
    let start = Timestamp::now();
    let (calm, wild) = (its.agent(&calm), its.agent(&wild));
    for count in 0..RENEWALS {
        let now = Timestamp::now();
        let wrong = if count % 2 == 0 { now - 1.hour() } else { now };
        assert!(its.meanwhile(fixture::renew_lease(&calm, "c1", now)).await);
        assert!(
            its.meanwhile(fixture::renew_lease(&wild, "c2", wrong))
                .await
        );
    }
    its.register("c3", "a").await;
    let elapsed = Timestamp::now()
        .duration_since(start)
        .as_secs()
        .unsigned_abs();
    let commits = its.hub_writes().commits();
    let of = |cluster: &str| commits.iter().filter(|line| line.contains(cluster)).count() as u64;
    assert_eq!(of("managedclusters/c1"), 0, "renewals alone cost nothing");
    let caused = of("managedclusters/c2");
    assert!(
        (1..=WRITES_MAX + elapsed + 1).contains(&caused),
        "{caused} writes in {elapsed} s"
    );
}
