//! A name belongs to a key, until an administrator hands it over.

use crate::fixture;
use crate::fixture::Its;
use crate::fixture::may_renew_lease;
use crate::fixture::may_see_itself;
use crate::fixture::says;
use hyades_api::names::annotations;
use hyades_inventory::hub::Options;
use hyades_pki::Key;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use jiff::SignedDuration;
use jiff::Timestamp;
use serde_json::json;

async fn hand_over(its: &Its, cluster: &str, heir: &str) {
    let until = Timestamp::now() + SignedDuration::from_hours(1);
    let patch = Patch::Merge(json!({"metadata": {"annotations": {
        annotations::HAND_OVER_TO: heir,
        annotations::HAND_OVER_UNTIL: until.to_string(),
    }}}));
    let api = Api::<Namespace>::all(its.admin());
    let patched = api.patch(cluster, &PatchParams::default(), &patch).await;
    patched.expect("patched");
}

#[tokio::test]
async fn a_name_handed_over_goes_to_the_new_agent_and_the_old_one_is_shut_out() {
    let its = Its::with_hub(Options::default()).await;
    let old = its.register("c1", "a").await;
    let new = fixture::agent("c1", "b");
    let refused = fixture::request(&its.newcomer(), &new).await;
    its.until(
        "the new agent is denied, and the hub says so",
        async |admin| {
            let events = fixture::events(admin, "c1").await;
            events.iter().any(|(reason, note)| {
                reason == "ClusterNameTaken"
                    && note.contains("clusteradm accept --clusters c1 --replace")
            })
        },
    )
    .await;

    hand_over(&its, "c1", &new.common_name()).await;
    its.until(
        "the denial is forgotten, so that the agent asks again",
        async |admin| {
            let api = Api::<
                hyades_runtime::k8s_openapi::api::certificates::v1::CertificateSigningRequest,
            >::all(admin.clone());
            api.get_opt(&refused).await.expect("an answer").is_none()
        },
    )
    .await;
    let again = fixture::request(&its.newcomer(), &new).await;
    let client = its.agent(&new);
    its.until("the new agent may work", async |_| {
        may_renew_lease(&client, "c1").await
    })
    .await;
    let verdicts = fixture::verdicts(&its.admin(), &again).await;
    assert!(
        verdicts[0].2.contains("handed the cluster's name over"),
        "{verdicts:?}"
    );
    its.until("the old agent is shut out", async |_| {
        let old = its.agent(&old);
        !may_see_itself(&old, "c1").await && !may_renew_lease(&old, "c1").await
    })
    .await;
    its.until("the hand-over is done with", async |admin| {
        let mailbox = Api::<Namespace>::all(admin.clone())
            .get("c1")
            .await
            .expect("there");
        let all = mailbox.annotations();
        all.get(annotations::PINNED_AGENT) == Some(&new.common_name())
            && !all.contains_key(annotations::HAND_OVER_TO)
    })
    .await;

    // The old agent, back with bootstrap credentials, is now the stranger.
    let back = fixture::request(&its.newcomer(), &old).await;
    its.until("the old agent is denied", async |admin| {
        let verdicts = fixture::verdicts(admin, &back).await;
        verdicts
            .iter()
            .any(|verdict| verdict.0 == "Denied" && verdict.1 == "ClusterNameTaken")
    })
    .await;
}

#[tokio::test]
async fn another_key_under_the_owners_name_waits_and_the_hub_warns() {
    let its = Its::with_hub(Options {
        feature_gates: vec!["ManagedClusterAutoApproval=true".to_owned()],
        auto_approved_csr_users: vec![hyades_api::names::BOOTSTRAP_SERVICE_ACCOUNT_USER.to_owned()],
        ..Options::default()
    })
    .await;
    let agent = its.register("c1", "a").await;
    let stranger = fixture::request(&its.newcomer(), &agent).await;
    its.until("the hub warns", async |admin| {
        let events = fixture::events(admin, "c1").await;
        events
            .iter()
            .any(|(reason, _)| reason == "ClusterKeyDiffers")
    })
    .await;
    assert!(fixture::verdicts(&its.admin(), &stranger).await.is_empty());
}

#[tokio::test]
async fn a_name_follows_its_owner_to_the_key_of_a_renewal_and_leaves_the_former_key() {
    let its = Its::with_hub(Options::default()).await;
    let (first, second) = (Key::generate(), Key::generate());
    let agent = its.register_by("c1", "a", &first).await;
    until_pinned(&its, &first).await;
    // Acceptance and clock have been told: nothing else is left to write.
    its.until_cluster("c1", "is at rest", |object| {
        let clock = "ManagedClusterConditionClockSynced";
        says(
            object,
            "HubAcceptedManagedCluster",
            "True",
            "HubClusterAdminAccepted",
        ) && says(object, clock, "True", "ManagedClusterClockSynced")
    })
    .await;
    its.hub_writes().clear();
    let renewal = fixture::request_for(&its.agent(&agent), &agent, &second).await;
    until_pinned(&its, &second).await;
    let requests = "/apis/certificates.k8s.io/v1/certificatesigningrequests";
    assert_eq!(
        its.hub_writes().commits(),
        [
            format!("PATCH {requests}/{renewal}/approval"),
            "PATCH /api/v1/namespaces/c1".to_owned()
        ]
    );

    // With bootstrap credentials, the new key is known and the former one is not.
    let newcomer = its.newcomer();
    let known = fixture::request_for(&newcomer, &agent, &second).await;
    let former = fixture::request_for(&newcomer, &agent, &first).await;
    its.until("the owner's key is let in", async |admin| {
        let verdicts = fixture::verdicts(admin, &known).await;
        verdicts.iter().any(|verdict| verdict.0 == "Approved")
    })
    .await;
    its.until("the hub warns of the other", async |admin| {
        let events = fixture::events(admin, "c1").await;
        events
            .iter()
            .any(|(reason, _)| reason == "ClusterKeyDiffers")
    })
    .await;
    assert!(fixture::verdicts(&its.admin(), &former).await.is_empty());
}

async fn until_pinned(its: &Its, key: &Key) {
    its.until("the name belongs to the key", async |admin| {
        let mailbox = Api::<Namespace>::all(admin.clone()).get_opt("c1").await;
        let mailbox = mailbox.expect("an answer");
        let pinned = mailbox.as_ref().map(ResourceExt::annotations);
        pinned.and_then(|all| all.get(annotations::PINNED_KEY)) == Some(&key.public_key_sha256())
    })
    .await;
}
