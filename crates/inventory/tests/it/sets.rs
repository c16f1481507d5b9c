//! Sets: those the hub keeps, members, bindings, and what sets give their members.

use crate::fixture::Its;
use hyades_api::cluster::ManagedCluster;
use hyades_api::cluster::ManagedClusterSet;
use hyades_api::cluster::ManagedClusterSetBinding;
use hyades_api::conditions;
use hyades_api::names::labels;
use hyades_api::profile::ClusterProfile;
use hyades_inventory::hub::Options;
use hyades_runtime::k8s_openapi::api::core::v1::Namespace;
use hyades_runtime::kube::Api;
use hyades_runtime::kube::Client;
use hyades_runtime::kube::ResourceExt;
use hyades_runtime::kube::api::Patch;
use hyades_runtime::kube::api::PatchParams;
use hyades_runtime::kube::api::PostParams;
use serde_json::Value;
use serde_json::json;

const GROUP: &str = "cluster.open-cluster-management.io";

async fn set(its: &Its, name: &str, spec: Value) {
    let object = json!({
        "apiVersion": format!("{GROUP}/v1beta2"), "kind": "ManagedClusterSet",
        "metadata": {"name": name}, "spec": spec,
    });
    its.apply(&object).await;
}

async fn bind(its: &Its, namespace: &str, set: &str) {
    let object = json!({
        "apiVersion": format!("{GROUP}/v1beta2"), "kind": "ManagedClusterSetBinding",
        "metadata": {"name": set, "namespace": namespace}, "spec": {"clusterSet": set},
    });
    its.apply(&object).await;
}

async fn namespace(its: &Its, name: &str) {
    let object: Namespace =
        serde_json::from_value(json!({"metadata": {"name": name}})).expect("a namespace");
    let api = Api::<Namespace>::all(its.admin());
    api.create(&PostParams::default(), &object)
        .await
        .expect("created");
}

async fn label(its: &Its, cluster: &str, key: &str, value: Option<&str>) {
    let patch = Patch::Merge(json!({"metadata": {"labels": {key: value}}}));
    let api = Api::<ManagedCluster>::all(its.admin());
    let patched = api.patch(cluster, &PatchParams::default(), &patch).await;
    patched.expect("labelled");
}

async fn says_of_members(admin: &Client, set: &str, reason: &str, message: &str) -> bool {
    let api = Api::<ManagedClusterSet>::all(admin.clone());
    let Some(object) = api.get_opt(set).await.expect("an answer") else {
        return false;
    };
    conditions::find(&object.status.conditions, "ClusterSetEmpty")
        .is_some_and(|said| said.reason == reason && said.message == message)
}

async fn is_bound(admin: &Client, namespace: &str, set: &str, reason: &str) -> bool {
    let api = Api::<ManagedClusterSetBinding>::namespaced(admin.clone(), namespace);
    let object = api.get(set).await.expect("there");
    conditions::find(&object.status.conditions, "Bound").is_some_and(|said| said.reason == reason)
}

async fn delete_set(its: &Its, name: &str) {
    let api = Api::<ManagedClusterSet>::all(its.admin());
    api.delete(name, &Default::default())
        .await
        .expect("deleted");
}

#[tokio::test]
async fn kept_sets_come_back_when_they_are_deleted_or_changed() {
    let its = Its::with_hub(Options::default()).await;
    let selector = async |admin: &Client, name: &str| -> Option<(String, Value)> {
        let api = Api::<ManagedClusterSet>::all(admin.clone());
        let object = api.get_opt(name).await.expect("an answer")?;
        let uid = object.uid().expect("a uid");
        Some((uid, json!(object.spec.cluster_selector)))
    };
    let everybody = json!({"selectorType": "LabelSelector", "labelSelector": {}});
    its.until("both sets are there", async |admin| {
        let default = selector(admin, "default").await;
        let global = selector(admin, "global").await;
        default.is_some_and(|(_, it)| it["selectorType"] == "ExclusiveClusterSetLabel")
            && global.is_some_and(|(_, it)| it == everybody)
    })
    .await;

    let (first, _) = selector(&its.admin(), "global").await.expect("there");
    delete_set(&its, "global").await;
    its.until("it is made again", async |admin| {
        selector(admin, "global")
            .await
            .is_some_and(|(uid, _)| uid != first)
    })
    .await;

    let narrow =
        json!({"spec": {"clusterSelector": {"labelSelector": {"matchLabels": {"a": "b"}}}}});
    let api = Api::<ManagedClusterSet>::all(its.admin());
    let patch = Patch::Merge(narrow.clone());
    let parameters = PatchParams::default();
    api.patch("global", &parameters, &patch)
        .await
        .expect("changed");
    its.until("its selector is restored", async |admin| {
        selector(admin, "global")
            .await
            .is_some_and(|(_, it)| it == everybody)
    })
    .await;

    let mut free = narrow;
    free["metadata"] = json!({"annotations": {format!("{GROUP}/autoupdate"): "false"}});
    let patch = Patch::Merge(free);
    api.patch("global", &parameters, &patch)
        .await
        .expect("changed");
    its.announce("c1").await;
    its.until("it has been counted with its own selector", async |admin| {
        says_of_members(
            admin,
            "default",
            "ClustersSelected",
            "1 ManagedClusters selected",
        )
        .await
            && says_of_members(
                admin,
                "global",
                "NoClusterMatched",
                "No ManagedCluster selected",
            )
            .await
    })
    .await;
}

#[tokio::test]
async fn members_are_counted_as_their_labels_say_and_bindings_follow_their_sets() {
    let its = Its::with_hub(Options::default()).await;
    namespace(&its, "team").await;
    bind(&its, "team", "east").await;
    its.until("the binding waits for its set", async |admin| {
        is_bound(admin, "team", "east", "ClusterSetNotFound").await
    })
    .await;
    let east = json!({"clusterSelector": {
        "selectorType": "LabelSelector",
        "labelSelector": {"matchExpressions": [
            {"key": "region", "operator": "In", "values": ["east"]},
        ]},
    }});
    set(&its, "east", east).await;
    set(&its, "mine", json!({})).await;
    for cluster in ["c1", "c2"] {
        its.announce(cluster).await;
        label(&its, cluster, "region", Some("east")).await;
    }
    label(&its, "c1", labels::CLUSTER_SET, Some("mine")).await;
    its.until("all are counted", async |admin| {
        let (one, two) = ("1 ManagedClusters selected", "2 ManagedClusters selected");
        says_of_members(admin, "east", "ClustersSelected", two).await
            && says_of_members(admin, "mine", "ClustersSelected", one).await
            && says_of_members(admin, "default", "ClustersSelected", one).await
            && says_of_members(admin, "global", "ClustersSelected", two).await
            && is_bound(admin, "team", "east", "ClusterSetBound").await
    })
    .await;

    label(&its, "c1", labels::CLUSTER_SET, Some("default")).await;
    label(&its, "c2", "region", None).await;
    delete_set(&its, "east").await;
    its.until("they are counted again", async |admin| {
        let two = "2 ManagedClusters selected";
        says_of_members(
            admin,
            "mine",
            "NoClusterMatched",
            "No ManagedCluster selected",
        )
        .await
            && says_of_members(admin, "default", "ClustersSelected", two).await
            && is_bound(admin, "team", "east", "ClusterSetNotFound").await
    })
    .await;
}

#[tokio::test]
async fn members_are_told_the_namespaces_their_sets_want_and_untold_when_they_leave() {
    let its = Its::with_hub(Options::default()).await;
    its.register("c1", "a").await;
    its.register("c2", "a").await;
    set(
        &its,
        "mine",
        json!({"managedNamespaces": [{"name": "apps"}, {"name": "data"}]}),
    )
    .await;
    label(&its, "c1", labels::CLUSTER_SET, Some("mine")).await;
    let told = |object: &ManagedCluster, names: &[&str]| {
        let entries = &object.status.managed_namespaces;
        entries
            .iter()
            .map(|entry| entry.name.as_str())
            .eq(names.iter().copied())
    };
    its.until_cluster("c1", "is told both", |object| {
        told(object, &["apps", "data"])
    })
    .await;

    // The agent says how that went; it stays while the set changes its mind about the other.
    let api = Api::<ManagedCluster>::all(its.admin());
    let mut entries = json!(
        api.get("c1")
            .await
            .expect("there")
            .status
            .managed_namespaces
    );
    entries[0]["conditions"] = json!([{
        "type": "NamespaceAvailable", "status": "True", "reason": "NamespaceApplied",
        "message": "", "lastTransitionTime": "2026-01-01T00:00:00Z",
    }]);
    let patch = Patch::Merge(json!({"status": {"managedNamespaces": entries}}));
    let reported = api
        .patch_status("c1", &PatchParams::default(), &patch)
        .await;
    reported.expect("reported");
    set(
        &its,
        "mine",
        json!({"managedNamespaces": [{"name": "apps"}]}),
    )
    .await;
    its.until_cluster("c1", "is told one", |object| {
        told(object, &["apps"]) && object.status.managed_namespaces[0].conditions.len() == 1
    })
    .await;
    let other = api.get("c2").await.expect("there");
    assert!(
        told(&other, &[]),
        "a cluster of another set is told nothing"
    );

    delete_set(&its, "mine").await;
    its.until_cluster("c1", "is told none", |object| told(object, &[]))
        .await;
}

#[tokio::test]
async fn profiles_tell_a_namespace_of_the_members_of_the_sets_bound_to_it() {
    let its = Its::with_hub(Options {
        feature_gates: vec!["ClusterProfile=true".to_owned()],
        ..Options::default()
    })
    .await;
    namespace(&its, "team").await;
    let theirs: ClusterProfile = serde_json::from_value(json!({
        "metadata": {"name": "c2", "namespace": "team"},
        "spec": {"displayName": "theirs", "clusterManager": {"name": "other"}},
    }))
    .expect("a profile");
    let profiles = Api::<ClusterProfile>::namespaced(its.admin(), "team");
    profiles
        .create(&PostParams::default(), &theirs)
        .await
        .expect("created");
    its.register("c1", "a").await;
    its.register("c2", "a").await;
    its.report_available("c1").await;
    bind(&its, "team", "default").await;
    let profile = async |admin: &Client, name: &str| {
        let api = Api::<ClusterProfile>::namespaced(admin.clone(), "team");
        api.get_opt(name).await.expect("an answer")
    };
    its.until("c1 has a profile with its status", async |admin| {
        let Some(found) = profile(admin, "c1").await else {
            return false;
        };
        let marked = |key: &str, value: &str| found.labels().get(key).is_some_and(|is| is == value);
        marked("x-k8s.io/cluster-manager", "open-cluster-management")
            && marked("x-k8s.io/clusterset", "default")
            && marked(labels::CLUSTER_NAME, "c1")
            && found.spec.display_name == "c1"
            && found.spec.cluster_manager.name == "open-cluster-management"
            && conditions::is_true(&found.status.conditions, "ControlPlaneHealthy")
    })
    .await;

    // What is changed or deleted by hand comes back.
    let patch = Patch::Merge(json!({"spec": {"displayName": "x"}}));
    let changed = profiles.patch("c1", &PatchParams::default(), &patch).await;
    changed.expect("changed");
    its.until("its name is restored", async |admin| {
        profile(admin, "c1")
            .await
            .is_some_and(|found| found.spec.display_name == "c1")
    })
    .await;
    let first = profile(&its.admin(), "c1")
        .await
        .and_then(|found| found.uid());
    let deleted = profiles.delete("c1", &Default::default()).await;
    deleted.expect("deleted");
    its.until("it is made again", async |admin| {
        profile(admin, "c1")
            .await
            .is_some_and(|found| found.uid() != first)
    })
    .await;

    set(&its, "mine", json!({})).await;
    label(&its, "c1", labels::CLUSTER_SET, Some("mine")).await;
    its.until("it goes with its membership", async |admin| {
        profile(admin, "c1").await.is_none()
    })
    .await;
    bind(&its, "team", "mine").await;
    its.until("it comes by another set", async |admin| {
        let found = profile(admin, "c1").await;
        found.is_some_and(|found| found.labels()["x-k8s.io/clusterset"] == "mine")
    })
    .await;
    let bindings = Api::<ManagedClusterSetBinding>::namespaced(its.admin(), "team");
    let unbound = bindings.delete("mine", &Default::default()).await;
    unbound.expect("unbound");
    its.until("it goes with the binding", async |admin| {
        profile(admin, "c1").await.is_none()
    })
    .await;
    let other = profile(&its.admin(), "c2").await.expect("theirs stays");
    assert_eq!(other.spec.display_name, "theirs");
}
