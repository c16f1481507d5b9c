//! What people report of upstream's hub; tests are called after the threads. That silence is
//! noticed within one lease (ocm#117, ocm#1139) is shown with [`liveness`](crate::liveness).

use crate::fixture;
use crate::fixture::Its;
use crate::fixture::says;
use hyades_api::cluster::ManagedCluster;
use hyades_api::conditions;
use hyades_inventory::hub::Options;
use hyades_runtime::kube::Api;
use jiff::SignedDuration;
use jiff::Timestamp;
use std::time::Duration;

const AVAILABLE: &str = "ManagedClusterConditionAvailable";
const CLOCK: &str = "ManagedClusterConditionClockSynced";

/// What an agent promises, in seconds.
const PROMISE_SECONDS: i32 = 2;
/// The time between two renewals: as late as leaves room for a busy machine.
const PAUSE: Duration = Duration::from_millis(400);
/// Renewals, of which every fourth meets a hub that has just started.
const RENEWALS: usize = 12;

/// ocm#541: the condition Available flaps.
#[tokio::test]
async fn ocm_541_available_does_not_flap() {
    let mut its = Its::with_hub(Options::default()).await;
    let agent = its.register("c1", "a").await;
    let client = its.agent(&agent);
    its.report_available("c1").await;
    assert!(fixture::promise_lease(&client, "c1", PROMISE_SECONDS).await);
    its.until_cluster("c1", "is well", |object| object.spec.taints.is_empty())
        .await;
    let clusters = Api::<ManagedCluster>::all(its.admin());
    let since = async || {
        let object = clusters.get("c1").await.expect("there");
        assert!(says(&object, AVAILABLE, "True", "ManagedClusterAvailable"));
        let found = conditions::find(&object.status.conditions, AVAILABLE);
        found.expect("just seen").last_transition_time.clone()
    };
    let first = since().await;
    // Clocks jump back and forth meanwhile.
    let hours = [0, 1, -1, 24].into_iter().cycle();
    for (count, hours) in (1..=RENEWALS).zip(hours) {
        its.meanwhile(tokio::time::sleep(PAUSE)).await;
        let time = Timestamp::now() + SignedDuration::from_hours(hours);
        let renewed = fixture::promise_lease_at(&client, "c1", PROMISE_SECONDS, time);
        assert!(its.meanwhile(renewed).await);
        if count % 4 == 0 {
            its.stop_programs();
            its.start_operator(Default::default());
            its.start_hub(Options::default());
        }
        assert_eq!(since().await, first);
    }
}

/// open-cluster-management website#443: skewed clocks make clusters Unknown.
#[tokio::test]
async fn ocm_website_443_a_skewed_clock_is_told_and_makes_nobody_unknown() {
    let its = Its::with_hub(Options::default()).await;
    for (cluster, hours) in [("behind", -24), ("ahead", 24)] {
        let agent = its.register(cluster, "a").await;
        let client = its.agent(&agent);
        its.report_available(cluster).await;
        // Upstream's agents promise nothing: by their word alone the lease ended a day ago.
        let time = Timestamp::now() + SignedDuration::from_hours(hours);
        let renewed = fixture::renew_lease(&client, cluster, time);
        assert!(its.meanwhile(renewed).await);
        its.until_cluster(cluster, "has a wrong clock", |object| {
            says(object, CLOCK, "False", "ManagedClusterClockOutOfSync")
        })
        .await;
        let again = fixture::renew_lease(&client, cluster, time + PAUSE);
        assert!(its.meanwhile(again).await);
        its.meanwhile(tokio::time::sleep(PAUSE)).await;
        let clusters = Api::<ManagedCluster>::all(its.admin());
        let object = clusters.get(cluster).await.expect("there");
        assert!(says(&object, AVAILABLE, "True", "ManagedClusterAvailable"));
        assert!(object.spec.taints.is_empty(), "{:?}", object.spec.taints);
    }
}
