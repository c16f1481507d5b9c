//! A name belongs to a key, until an administrator hands it over.

use crate::fixture;
use crate::fixture::Its;
use crate::fixture::may_renew_lease;
use crate::fixture::may_see_itself;
use hyades_api::names::annotations;
use hyades_inventory::hub::Options;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde_json::json;

async fn hand_over(its: &Its, cluster: &str, heir: &str) {
    let patch =
        Patch::Merge(json!({"metadata": {"annotations": {annotations::HAND_OVER_TO: heir}}}));
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
