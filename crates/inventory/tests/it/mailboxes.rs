//! Mailboxes and leases that were there before, or that are still going.

use crate::fixture;
use crate::fixture::Its;
use crate::fixture::may_renew_lease;
use hyades_api::cluster::ManagedCluster;
use hyades_api::names;
use hyades_api::names::annotations;
use hyades_api::names::labels;
use hyades_inventory::hub::Options;
use hyades_pki::Key;
use hyades_runtime::k8s_openapi::api::coordination::v1::Lease;
use hyades_runtime::k8s_openapi::api::core::v1::ConfigMap;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use hyades_runtime::kube;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use serde_json::json;

/// Upstream's hub sees neither: it looks for the label alone, and never judges such a WEC.
#[tokio::test]
async fn a_mailbox_and_a_lease_made_by_hand_are_taken_over() {
    let its = Its::with_hub(Options::default()).await;
    its.apply(&json!({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "c1"}}))
        .await;
    its.apply(&json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": names::LEASE, "namespace": "c1"}, "spec": {},
    }))
    .await;
    its.register("c1", "a").await;
    let own = Some("c1".to_owned());
    its.until("both carry the label", async |admin| {
        let mailbox = Api::<Namespace>::all(admin.clone()).get("c1").await;
        let leases = Api::<Lease>::namespaced(admin.clone(), "c1");
        let lease = leases.get(names::LEASE).await;
        let of = |found: &std::collections::BTreeMap<String, String>| {
            found.get(labels::CLUSTER_NAME).cloned()
        };
        of(mailbox.expect("the mailbox").labels()) == own
            && of(lease.expect("the lease").labels()) == own
    })
    .await;
}

#[tokio::test]
async fn a_wec_accepted_while_its_old_mailbox_goes_gets_the_next_one() {
    let its = Its::with_hub(Options::default()).await;
    its.register("c1", "a").await;
    let clusters = Api::<ManagedCluster>::all(its.admin());
    let deleted = clusters.delete("c1", &Default::default()).await;
    deleted.expect("deleted");
    its.until("the WEC is gone", async |_| {
        clusters.get_opt("c1").await.expect("an answer").is_none()
    })
    .await;
    its.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "held", "namespace": "c1", "finalizers": ["example.com/held"]},
    }))
    .await;
    let mailboxes = Api::<Namespace>::all(its.admin());
    let old = mailboxes.get("c1").await.expect("the mailbox").uid();
    let deleted = mailboxes.delete("c1", &Default::default()).await;
    deleted.expect("deleted");

    its.announce("c1").await;
    let agent = fixture::agent("c1", "b");
    let request = fixture::request(&its.newcomer(), &agent).await;
    fixture::approve(&its.admin(), &request).await;
    its.accept("c1", true).await;
    let going = mailboxes.get("c1").await.expect("the old mailbox");
    assert_eq!(going.uid(), old);
    let maps = Api::<ConfigMap>::namespaced(its.admin(), "c1");
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let released = maps.patch("held", &PatchParams::default(), &release).await;
    released.expect("released");
    let client = its.agent(&agent);
    its.until("the agent may work in the new mailbox", async |_| {
        let mailbox = mailboxes.get_opt("c1").await.expect("an answer");
        mailbox.is_some_and(|mailbox| mailbox.uid() != old) && may_renew_lease(&client, "c1").await
    })
    .await;
}

#[tokio::test]
async fn an_agent_keeps_its_name_over_a_mailbox_that_somebody_deleted_and_a_hub_that_died_meanwhile()
 {
    let mut its = Its::with_hub(Options::default()).await;
    let key = Key::generate();
    let agent = its.register_by("c1", "a", &key).await;
    // Something keeps the old mailbox until the hub is gone.
    its.apply(&json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": "held", "namespace": "c1", "finalizers": ["example.com/held"]},
    }))
    .await;
    let mailboxes = Api::<Namespace>::all(its.admin());
    let old = mailboxes.get("c1").await.expect("the mailbox").uid();
    let deleted = mailboxes.delete("c1", &Default::default()).await;
    deleted.expect("deleted");
    let binding = names::cluster_role(&agent.cluster);
    let kept_key = async |admin: &kube::Client| {
        let bindings = Api::<ClusterRoleBinding>::all(admin.clone());
        let binding = bindings.get(&binding).await.expect("the binding");
        binding.annotations().get(annotations::PINNED_KEY).cloned()
    };
    its.until("the hub keeps the pin", async |admin| {
        kept_key(admin).await == Some(key.public_key_sha256())
    })
    .await;
    its.stop_programs();
    let maps = Api::<ConfigMap>::namespaced(its.admin(), "c1");
    let release = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    let released = maps.patch("held", &PatchParams::default(), &release).await;
    released.expect("released");

    its.start_operator(Default::default());
    its.start_hub(Options::default());
    let client = its.agent(&agent);
    its.until("the agent may work in the new mailbox", async |_| {
        let mailbox = mailboxes.get_opt("c1").await.expect("an answer");
        mailbox.is_some_and(|mailbox| {
            let stated = |key: &str| mailbox.annotations().get(key).cloned();
            mailbox.uid() != old
                && stated(annotations::PINNED_AGENT) == Some(agent.common_name())
                && stated(annotations::PINNED_KEY) == Some(key.public_key_sha256())
        }) && may_renew_lease(&client, "c1").await
    })
    .await;
    its.until("nothing is kept any more", async |admin| {
        kept_key(admin).await.is_none()
    })
    .await;
}
