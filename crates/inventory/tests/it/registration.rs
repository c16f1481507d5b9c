//! From a newcomer to an accepted WEC, and back to nothing.

use crate::fixture;
use crate::fixture::Its;
use crate::fixture::may_renew_lease;
use crate::fixture::may_see_itself;
use crate::fixture::says;
use hyades_api::cluster::ManagedCluster;
use hyades_api::names;
use hyades_api::names::annotations;
use hyades_api::work::ManifestWork;
use hyades_inventory::hub::Options;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::json;

const ACCEPTED: &str = "HubAcceptedManagedCluster";

async fn pin(client: &Client, cluster: &str) -> Option<String> {
    let api = Api::<Namespace>::all(client.clone());
    let mailbox = api.get_opt(cluster).await.expect("an answer")?;
    mailbox
        .annotations()
        .get(annotations::PINNED_AGENT)
        .cloned()
}

async fn create_work(client: &Client, cluster: &str, finalizer: Option<&str>) {
    let api = Api::<ManifestWork>::namespaced(client.clone(), cluster);
    let manifest = json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "a"}});
    let spec = serde_json::from_value(json!({"workload": {"manifests": [manifest]}}));
    let mut work = ManifestWork::new("w1", spec.expect("a spec"));
    work.metadata.finalizers = finalizer.map(|finalizer| vec![finalizer.to_owned()]);
    api.create(&PostParams::default(), &work)
        .await
        .expect("created");
}

async fn exists(client: &Client, cluster: &str) -> bool {
    let api = Api::<ManagedCluster>::all(client.clone());
    api.get_opt(cluster).await.expect("an answer").is_some()
}

#[tokio::test]
async fn a_newcomer_waits_and_an_accepted_wec_gets_everything() {
    let its = Its::with_hub(Options::default()).await;
    its.announce("c1").await;
    its.until_cluster("c1", "is taken note of", |object| {
        object
            .spec
            .taints
            .iter()
            .any(|t| t.key == names::taints::UNREACHABLE)
            && object
                .labels()
                .get(names::labels::CLUSTER_SET)
                .is_some_and(|set| set == "default")
    })
    .await;
    let mailboxes = Api::<Namespace>::all(its.admin());
    assert!(mailboxes.get_opt("c1").await.expect("an answer").is_none());

    let agent = fixture::agent("c1", "a");
    let client = its.agent(&agent);
    assert!(!may_see_itself(&client, "c1").await);
    let request = fixture::request(&its.newcomer(), &agent).await;
    fixture::approve(&its.admin(), &request).await;
    its.accept("c1", true).await;
    its.until_cluster("c1", "is accepted", |object| {
        says(object, ACCEPTED, "True", "HubClusterAdminAccepted")
    })
    .await;
    its.until("the agent may renew its lease", async |_| {
        may_renew_lease(&client, "c1").await
    })
    .await;
    assert_eq!(pin(&its.admin(), "c1").await, Some(agent.common_name()));

    let works = Api::<ManifestWork>::namespaced(client.clone(), "c1");
    works.list(&Default::default()).await.expect("its works");
    let others = Api::<ManifestWork>::all(client.clone())
        .list(&Default::default())
        .await;
    assert!(others.is_err(), "an agent sees its own mailbox only");
    let inventory = Api::<ManagedCluster>::all(client)
        .list(&Default::default())
        .await;
    assert!(
        inventory.is_err(),
        "an agent sees its own inventory object only"
    );
}

#[tokio::test]
async fn the_name_of_a_wec_is_denied_to_a_second_agent_and_the_first_is_not_disturbed() {
    let its = Its::with_hub(Options::default()).await;
    let first = its.register("c1", "a").await;
    let second = fixture::agent("c1", "b");
    let request = fixture::request(&its.newcomer(), &second).await;
    its.until("the second request is denied", async |admin| {
        let verdicts = fixture::verdicts(admin, &request).await;
        verdicts.iter().any(|(type_, reason, message)| {
            type_ == "Denied"
                && reason == "ClusterNameTaken"
                && message.contains("taken by the agent \"a\"")
        })
    })
    .await;
    assert!(!may_see_itself(&its.agent(&second), "c1").await);
    assert!(may_see_itself(&its.agent(&first), "c1").await);
}

#[tokio::test]
async fn of_two_pending_requests_the_one_not_approved_is_denied() {
    let its = Its::with_hub(Options::default()).await;
    its.announce("c1").await;
    let (a, b) = (fixture::agent("c1", "a"), fixture::agent("c1", "b"));
    let of_a = fixture::request(&its.newcomer(), &a).await;
    let of_b = fixture::request(&its.newcomer(), &b).await;
    fixture::approve(&its.admin(), &of_b).await;
    its.until("the other request is denied", async |admin| {
        fixture::verdicts(admin, &of_a)
            .await
            .iter()
            .any(|verdict| verdict.0 == "Denied")
    })
    .await;
    its.until("the name is pinned", async |admin| {
        pin(admin, "c1").await == Some(b.common_name())
    })
    .await;
}

#[tokio::test]
async fn a_renewal_is_approved_without_asking() {
    let its = Its::with_hub(Options::default()).await;
    let agent = its.register("c1", "a").await;
    let request = fixture::request(&its.agent(&agent), &agent).await;
    its.until("the renewal is approved", async |admin| {
        let verdicts = fixture::verdicts(admin, &request).await;
        verdicts.iter().any(|(type_, reason, _)| {
            type_ == "Approved" && reason == "AutoApprovedByHubCSRApprovingController"
        })
    })
    .await;
}

/// Options of a hub that lets in whoever has bootstrap credentials.
fn automatic() -> Options {
    Options {
        feature_gates: vec!["ManagedClusterAutoApproval=true".to_owned()],
        auto_approved_csr_users: vec![names::BOOTSTRAP_SERVICE_ACCOUNT_USER.to_owned()],
        ..Options::default()
    }
}

#[tokio::test]
async fn listed_users_and_the_gate_register_a_wec_without_a_person() {
    let its = Its::with_hub(automatic()).await;
    its.announce("c1").await;
    let agent = fixture::agent("c1", "a");
    let request = fixture::request(&its.newcomer(), &agent).await;
    let client = its.agent(&agent);
    its.until("the agent may work", async |_| {
        may_renew_lease(&client, "c1").await
    })
    .await;
    its.until("the request is approved", async |admin| {
        fixture::verdicts(admin, &request)
            .await
            .iter()
            .any(|verdict| verdict.0 == "Approved")
    })
    .await;
}

/// Many workers decide at the same time, and each asks the server in between.
#[tokio::test]
async fn of_two_agents_that_ask_in_the_same_moment_one_gets_the_name() {
    const NAMES: usize = 16;
    let mut its = Its::with_hub(automatic()).await;
    its.stop_programs();
    let mut asked = Vec::new();
    for number in 0..NAMES {
        let cluster = format!("c{number}");
        its.announce(&cluster).await;
        let mut requests = Vec::new();
        for name in ["a", "b"] {
            let agent = fixture::agent(&cluster, name);
            requests.push(fixture::request(&its.newcomer(), &agent).await);
        }
        asked.push(requests);
    }
    // The hub finds all of them at once.
    its.start_operator(Default::default());
    its.start_hub(automatic());
    for requests in asked {
        let what = format!("one of {requests:?} is approved and one denied");
        its.until(&what, async |admin| {
            let mut types = Vec::new();
            for name in &requests {
                let verdicts = fixture::verdicts(admin, name).await;
                types.extend(verdicts.into_iter().map(|(type_, ..)| type_));
            }
            types.sort();
            let approved = types.iter().filter(|type_| *type_ == "Approved").count();
            assert!(approved < 2, "two agents got one name: {requests:?}");
            types == ["Approved", "Denied"]
        })
        .await;
    }
}

#[tokio::test]
async fn a_reserved_name_is_never_let_in() {
    let its = Its::with_hub(Options::default()).await;
    // An API server without the hub's policies takes such an object; the hub has nothing of it.
    its.lift_policy(names::policies::CLUSTERS).await;
    its.announce("kube-system").await;
    its.accept("kube-system", true).await;
    its.until_cluster("kube-system", "is refused", |object| {
        says(object, ACCEPTED, "False", "Error")
    })
    .await;
    let mailbox = Api::<Namespace>::all(its.admin()).get("kube-system").await;
    let labels = mailbox.expect("there").labels().clone();
    assert!(!labels.contains_key(names::labels::CLUSTER_NAME));
}

#[tokio::test]
async fn a_deregistered_wec_loses_everything_and_the_other_one_nothing() {
    let its = Its::with_hub(Options::default()).await;
    let gone = its.register("c1", "a").await;
    let stays = its.register("c2", "b").await;
    create_work(
        &its.admin(),
        "c1",
        Some(names::finalizers::MANIFEST_WORK_CLEANUP),
    )
    .await;
    create_work(&its.admin(), "c2", None).await;
    let inventory = Api::<ManagedCluster>::all(its.admin());
    inventory
        .delete("c1", &Default::default())
        .await
        .expect("deleted");

    its.until_cluster("c1", "says what remains", |object| {
        says(object, "Deleting", "False", "ResourceRemaining")
    })
    .await;
    let client = its.agent(&gone);
    its.until("only works are left to the agent", async |_| {
        !may_see_itself(&client, "c1").await && !may_renew_lease(&client, "c1").await
    })
    .await;
    // The agent finds its work deleted, cleans up, and lets it go.
    let works = Api::<ManifestWork>::namespaced(client.clone(), "c1");
    let work = works.get("w1").await.expect("still readable");
    assert!(work.metadata.deletion_timestamp.is_some());
    let release = Patch::Merge(json!({"metadata": {"finalizers": []}}));
    works
        .patch("w1", &PatchParams::default(), &release)
        .await
        .expect("released");

    its.until("the inventory object is gone", async |admin| {
        !exists(admin, "c1").await
    })
    .await;
    assert!(
        works.list(&Default::default()).await.is_err(),
        "no right is left"
    );
    assert_eq!(pin(&its.admin(), "c1").await, None);

    let other = its.agent(&stays);
    assert!(may_see_itself(&other, "c2").await && may_renew_lease(&other, "c2").await);
    let kept = Api::<ManifestWork>::namespaced(other, "c2").get("w1").await;
    assert!(kept.expect("there").metadata.deletion_timestamp.is_none());
}

#[tokio::test]
async fn after_deregistration_the_name_is_free_for_another_agent_and_the_old_one_stays_out() {
    let its = Its::with_hub(Options::default()).await;
    let old = its.register("c1", "a").await;
    let inventory = Api::<ManagedCluster>::all(its.admin());
    inventory
        .delete("c1", &Default::default())
        .await
        .expect("deleted");
    its.until("the inventory object is gone", async |admin| {
        !exists(admin, "c1").await
    })
    .await;

    let new = its.register("c1", "b").await;
    assert_eq!(pin(&its.admin(), "c1").await, Some(new.common_name()));
    let client = its.agent(&old);
    assert!(!may_see_itself(&client, "c1").await);
    assert!(!may_renew_lease(&client, "c1").await);
}

#[tokio::test]
async fn a_denied_wec_may_only_look_and_comes_back_when_accepted_again() {
    let its = Its::with_hub(Options::default()).await;
    let agent = its.register("c1", "a").await;
    its.accept("c1", false).await;
    its.until_cluster("c1", "is denied", |object| {
        says(object, ACCEPTED, "False", "HubClusterAdminDenied")
    })
    .await;
    let client = its.agent(&agent);
    assert!(may_see_itself(&client, "c1").await);
    assert!(!may_renew_lease(&client, "c1").await);

    its.accept("c1", true).await;
    its.until("the agent may work again", async |_| {
        may_renew_lease(&client, "c1").await
    })
    .await;
}

#[tokio::test]
async fn a_binding_deleted_by_hand_comes_back() {
    use hyades_runtime::k8s_openapi::api::rbac::v1::ClusterRoleBinding;
    let its = Its::with_hub(Options::default()).await;
    let agent = its.register("c1", "a").await;
    let api = Api::<ClusterRoleBinding>::all(its.admin());
    let name = names::cluster_role(&agent.cluster);
    api.delete(&name, &Default::default())
        .await
        .expect("deleted");
    let client = its.agent(&agent);
    its.until("the agent may see itself again", async |_| {
        may_see_itself(&client, "c1").await
    })
    .await;
}

#[tokio::test]
async fn a_wec_that_is_at_rest_is_not_written_to() {
    let its = Its::with_hub(Options::default()).await;
    let agent = its.register("c1", "a").await;
    let api = Api::<ManagedCluster>::all(its.admin());
    its.until_cluster("c1", "is accepted", |object| {
        says(object, ACCEPTED, "True", "HubClusterAdminAccepted")
            && says(
                object,
                "ManagedClusterConditionClockSynced",
                "True",
                "ManagedClusterClockSynced",
            )
    })
    .await;
    let before = api.get("c1").await.expect("there").resource_version();
    let client = its.agent(&agent);
    for _ in 0..3 {
        assert!(its.meanwhile(may_renew_lease(&client, "c1")).await);
        let pause = tokio::time::sleep(std::time::Duration::from_millis(50));
        its.meanwhile(pause).await;
    }
    let after = api.get("c1").await.expect("there").resource_version();
    assert_eq!(
        before, after,
        "renewals of a lease change no inventory object"
    );
}
